//! Writes in the order of their acknowledgement, and how far a position has come among them.
//!
//! Progress is a prefix: the last write such that it *and all before it* are contained. Membership
//! of one GTID proves nothing about the ones before it. Never claims more than that; forgets by
//! merging old writes into one, which asks for all of them at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::position::{Ordinal, Position};

/// Writes not yet known at every reader, after a base that stands for all older ones.
#[derive(Debug)]
pub struct Pending {
    base: Entry,
    /// Ordinals ascend without gaps, starting after the base's.
    entries: VecDeque<Entry>,
    /// All that the base and the entries ever stood for: what is in here raises no floor again.
    seen: Option<Position>,
    window: Option<Duration>,
    entries_max: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    ordinal: Ordinal,
    /// All of it that is known.
    position: Option<Arc<Position>>,
    /// There is more to it than `position`; only a fence can tell what.
    unresolved: bool,
    /// It was read from the primary's log, where a write stands before the primary has executed
    /// it: that a fence lacks it does not mean that it is lost.
    streamed: bool,
    at: Instant,
}

impl Pending {
    /// Nothing recorded, nothing known: nobody has applied even that.
    pub fn new(entries_max: usize, now: Instant) -> Pending {
        let entries_max = entries_max.min(limits::WRITES_PENDING_MAX);
        let base = Entry {
            ordinal: Ordinal(0),
            position: None,
            unresolved: true,
            streamed: false,
            at: now,
        };
        Pending { base, entries: VecDeque::new(), seen: None, window: None, entries_max }
    }

    /// Forgets what `covers` covers; the new base is what a primary has executed. All ordinals are
    /// new ones, so that no progress from before reaches them. Gives the last.
    pub fn start(
        &mut self,
        covers: Ordinal,
        position: Option<Position>,
        window: Option<Duration>,
        now: Instant,
    ) -> Ordinal {
        let ordinal = self.next();
        let since = self.entries.partition_point(|entry| entry.ordinal <= covers);
        let mut since = self.entries.split_off(since);
        for (entry, more) in since.iter_mut().zip(1..) {
            entry.ordinal = Ordinal(ordinal.0.saturating_add(more));
        }
        self.seen = position.clone().filter(|position| !position.is_empty());
        for entry in &since {
            if let Some(position) = &entry.position {
                see(&mut self.seen, position);
            }
        }
        self.base = Entry::new(ordinal, position, now);
        self.entries = since;
        self.window = window;
        self.entries.back().map_or(ordinal, |entry| entry.ordinal)
    }

    /// A write without a position counts as applied after a while.
    pub fn is_windowed(&self) -> bool {
        self.window.is_some()
    }

    /// One write more. Past the limit the oldest one joins the base.
    pub fn push(&mut self, position: Option<Position>, at: Instant) -> Ordinal {
        let ordinal = self.next();
        if let Some(position) = &position {
            see(&mut self.seen, position);
        }
        self.entries.push_back(Entry::new(ordinal, position, at));
        while self.entries.len() > self.entries_max {
            self.join_oldest();
        }
        ordinal
    }

    /// The same for one that the primary's log has shown.
    pub fn push_streamed(&mut self, position: Option<Position>, at: Instant) -> Ordinal {
        let ordinal = self.push(position, at);
        self.entries.back_mut().unwrap_or(&mut self.base).streamed = true;
        ordinal
    }

    /// Whether all of it is a write that was pushed, or was there at the start.
    pub fn has_seen(&self, position: &Position) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(position))
    }

    /// All of `seen` is in this position, which has no gaps of other people's writes.
    pub fn see_whole(&mut self, position: &Position) {
        if self.seen.as_ref().is_none_or(|seen| position.contains(seen)) {
            self.seen = Some(position.clone());
        }
    }

    /// How long the first write that a server lacks has been on its way to it, given what it has.
    pub fn overdue(&self, applied: Ordinal, now: Instant) -> Option<Duration> {
        let first = match applied < self.base.ordinal {
            true => Some(&self.base),
            false => {
                let known = self.entries.partition_point(|entry| entry.ordinal <= applied);
                self.entries.get(known)
            }
        };
        first.map(|entry| now.saturating_duration_since(entry.at))
    }

    /// The first write that a server lacks, given what it has: where that one is, as far as is
    /// known. `None`: it lacks none.
    pub fn first_lacked(&self, applied: Ordinal) -> Option<Option<Arc<Position>>> {
        let first = match applied < self.base.ordinal {
            true => Some(&self.base),
            false => {
                let known = self.entries.partition_point(|entry| entry.ordinal <= applied);
                self.entries.get(known)
            }
        };
        first.map(|entry| entry.position.clone().filter(|_| !entry.unresolved))
    }

    /// How long the last of the writes took that a server has got, if it has got any.
    pub fn delay(&self, before: Ordinal, applied: Ordinal, now: Instant) -> Option<Duration> {
        let got = self.entries.partition_point(|entry| entry.ordinal <= applied).checked_sub(1)?;
        let last = self.entries.get(got).filter(|last| last.ordinal > before)?;
        Some(now.saturating_duration_since(last.at))
    }

    /// The last write of which a server has that one and all before it, given what it said
    /// (`None`: it cannot say) and what was known of this incarnation of it (`from`).
    pub fn applied(&self, from: Ordinal, position: Option<&Position>, now: Instant) -> Ordinal {
        let mut applied = from;
        if applied < self.base.ordinal {
            if !self.covers(&self.base, position, now) {
                return applied;
            }
            applied = self.base.ordinal;
        }
        let known = self.entries.partition_point(|entry| entry.ordinal <= applied);
        for entry in self.entries.range(known..) {
            if !self.covers(entry, position, now) {
                break;
            }
            applied = entry.ordinal;
        }
        applied
    }

    fn covers(&self, entry: &Entry, position: Option<&Position>, now: Instant) -> bool {
        let old = |window| now.saturating_duration_since(entry.at) >= window;
        let contained = match (&entry.position, position) {
            (Some(needed), Some(position)) => position.contains(needed.as_ref()),
            (Some(_), None) => self.window.is_some_and(old),
            (None, _) => true,
        };
        contained && (!entry.unresolved || self.window.is_some_and(old))
    }

    /// Gives the writes up to `covers` the primary's whole executed set, where they have no
    /// position of their own, or one that this set lacks: a write that was acknowledged and that
    /// the primary has not was lost with another one, and would be waited for for ever.
    pub fn resolve(&mut self, covers: Ordinal, position: &Position) {
        // An empty set is what a server without GTIDs answers.
        if position.is_empty() {
            return;
        }
        let position = Arc::new(position.clone());
        let entries = std::iter::once(&mut self.base).chain(&mut self.entries);
        for entry in entries.take_while(|entry| entry.ordinal <= covers) {
            let held = entry.position.as_ref().is_some_and(|own| position.contains(own));
            if entry.unresolved || !(held || entry.streamed) {
                entry.position = Some(Arc::clone(&position));
                entry.unresolved = false;
            }
        }
    }

    /// There is nobody to ask: what is not known of these writes is waited for no more. Where time
    /// has to do, it goes on to do.
    pub fn give_up_unresolved(&mut self) {
        if self.window.is_none() && self.base.position.is_some() {
            let entries = std::iter::once(&mut self.base).chain(&mut self.entries);
            entries.for_each(|entry| entry.unresolved = false);
        }
    }

    /// The last write that a fence has to resolve.
    pub fn last_unresolved(&self) -> Option<Ordinal> {
        let mut entries = self.entries.iter().rev().chain([&self.base]);
        entries.find(|entry| entry.unresolved).map(|entry| entry.ordinal)
    }

    /// Joins the writes up to `until` into the base.
    pub fn prune(&mut self, until: Ordinal) {
        while self.entries.front().is_some_and(|entry| entry.ordinal <= until) {
            self.join_oldest();
        }
    }

    /// Keeps the base small: own writes alone are full of gaps where others wrote. A server that
    /// has applied the base shows what is in the gaps.
    pub fn compact(&mut self, applied: Ordinal, position: &Position) {
        if let Some(base) = &mut self.base.position
            && applied >= self.base.ordinal
            && base.parts() > limits::POSITION_PARTS_KEPT_MAX
        {
            Arc::make_mut(base).close_gaps(position);
        }
    }

    /// The last write that is not kept on its own.
    pub fn base(&self) -> Ordinal {
        self.base.ordinal
    }

    /// What has all that is not kept on its own; `None` while not even a fence told.
    pub fn base_position(&self) -> Option<&Position> {
        self.base.position.as_deref()
    }

    /// Writes kept on their own.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no write is kept on its own.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn next(&self) -> Ordinal {
        let last = self.entries.back().map_or(self.base.ordinal, |entry| entry.ordinal);
        Ordinal(last.0.saturating_add(1))
    }

    fn join_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.base.join(entry);
        }
    }
}

fn see(seen: &mut Option<Position>, position: &Position) {
    match seen {
        // Of another kind: what is not known to be seen raises floors once more.
        Some(seen) => drop(seen.union(position)),
        None => *seen = Some(position.clone()),
    }
}

impl Entry {
    fn new(ordinal: Ordinal, position: Option<Position>, at: Instant) -> Entry {
        let position = position.filter(|position| !position.is_empty());
        let unresolved = position.is_none();
        Entry { ordinal, unresolved, streamed: false, position: position.map(Arc::new), at }
    }

    /// Both in one: applied where both are.
    fn join(&mut self, later: Entry) {
        self.ordinal = later.ordinal;
        self.at = self.at.max(later.at);
        self.unresolved |= later.unresolved;
        self.streamed |= later.streamed;
        match (&mut self.position, later.position) {
            (Some(ours), Some(theirs)) => {
                self.unresolved |= !Arc::make_mut(ours).union(&theirs);
            }
            (ours @ None, Some(theirs)) => *ours = Some(theirs),
            (_, None) => {}
        }
    }
}
