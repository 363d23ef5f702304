//! The accounts of one server's connections: who has which, who may have the next.
//!
//! Pure bookkeeping for `backend`'s pool, which holds the sockets under the same `Slot`s and does
//! what a `Decision` says. Always: idle + leased + opening <= the limit. A part of them is a reserve
//! (`share`): it is for short statements, while what is not short fills the rest. Nobody is
//! overtaken by one of its kind.

mod idle;
mod line;
mod place;
#[cfg(any(test, feature = "sim"))]
mod probe;
mod share;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use idle::Shelf;
use place::{Places, State};
#[cfg(any(test, feature = "sim"))]
pub use probe::probe;
pub use share::Stay;
use share::{Lines, Shares, Waiter};

use crate::limits;
use crate::wire::capability::Capabilities;

/// The connections of one server, over all accounts.
#[derive(Debug)]
pub struct Ledger {
    shares: Shares,
    waiters_max: usize,
    places: Places,
    shelf: Shelf,
    lines: Lines,
    tickets: HashMap<u64, Standing>,
    returns: u64,
    /// The latest that it was told.
    now: Option<Instant>,
}

/// The number of one connection; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

/// Connections of one key are alike but for their session state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Whose login; the caller's own numbering.
    pub account: u64,
    /// What its login agreed on, where logins differ.
    pub shared: Capabilities,
}

/// What a session needs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whose login.
    pub key: Key,
    /// Who asks; not 0.
    pub session: u64,
    /// Hash of the state the session is in: a connection in that state needs no setup.
    pub state: u64,
    /// Only a connection that nobody used since its login or reset will do.
    pub needs_clean: bool,
    /// The connection that this session gave back last.
    pub last: Option<Slot>,
    /// For how long.
    pub stay: Stay,
    /// When it asks.
    pub now: Instant,
}

/// A connection that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Hash of the state it is in.
    pub state: u64,
    /// Freshly logged in or reset.
    pub clean: bool,
    /// The session that left implicit state (last insert id, warnings) there; 0 for none.
    pub session: u64,
    /// When it was given back.
    pub since: Instant,
}

/// What the asker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Use this connection; `owner` says whose implicit state is there.
    Reuse(Slot),
    /// Log in anew; then `opened` or `open_failed`.
    Open(Slot),
    /// Close the idle connection of this slot, log in anew for it; then as for `Open`.
    CloseThenOpen(Slot),
    /// Wait; on a `Handover` of this ticket `claim` it, on giving up `cancel` it.
    Wait,
    /// Too many wait already.
    Refuse,
}

/// A waiter's turn has come. It holds until the ticket is claimed or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a waiter that is not told waits for ever"]
pub struct Handover {
    /// Who.
    pub ticket: u64,
    /// What `claim` will answer.
    pub decision: Decision,
}

/// How many connections are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nobody's now.
    pub idle: usize,
    /// Some session's, or promised to one.
    pub leased: usize,
    /// Being logged in.
    pub opening: usize,
    /// Sessions that wait.
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Waiting(u64),
    Granted(Decision, Wanted),
}

impl Ledger {
    /// A server without connections.
    pub fn new(connections_max: u32, waiters_max: usize) -> Ledger {
        Ledger {
            shares: Shares::of(connections_max),
            waiters_max: waiters_max.min(limits::POOL_WAITERS_MAX),
            places: Places::default(),
            shelf: Shelf::default(),
            lines: Lines::default(),
            tickets: HashMap::new(),
            returns: 0,
            now: None,
        }
    }

    /// Asks for a connection. `ticket` names the asker should it have to wait.
    pub fn acquire(&mut self, wanted: &Wanted, ticket: u64) -> Decision {
        let mut wanted = *wanted;
        if self.admits(&mut wanted) { self.take(&wanted) } else { self.enqueue(&wanted, ticket) }
    }

    /// A connection that is there already, if there is one that the asker may have; else nothing
    /// happens.
    pub fn acquire_idle(&mut self, wanted: &Wanted) -> Option<Slot> {
        let mut wanted = *wanted;
        if !self.admits(&mut wanted) {
            return None;
        }
        let index = self.known(&wanted)?;
        let decision = self.set_aside(index, Decision::Reuse);
        self.redeem(decision, &wanted)?.slot()
    }

    /// Whether the asker may have a connection now. What turns out to be long is marked as that.
    fn admits(&mut self, wanted: &mut Wanted) -> bool {
        self.tick(wanted.now);
        let busy = self.busy();
        if self.shares.are_open(busy) {
            return true;
        }
        let Stay::Short(shape) = wanted.stay else { return false };
        if self.places.has_long(shape, self.now) {
            wanted.stay = Stay::Long;
            return false;
        }
        self.are_open_to_short(busy) && !self.lines.has_short()
    }

    fn take(&mut self, wanted: &Wanted) -> Decision {
        let decision = self.promise(wanted);
        self.redeem(decision, wanted).unwrap_or(Decision::Refuse)
    }

    /// An idle connection that will do.
    fn known(&self, wanted: &Wanted) -> Option<u32> {
        let (key, needs_clean) = (wanted.key, wanted.needs_clean);
        self.own(wanted)
            .or_else(|| self.shelf.unowned_in_state(key, wanted.state, needs_clean))
            .or_else(|| self.shelf.unowned(key, needs_clean))
            .or_else(|| {
                // Somebody may come back for what is on it: rather another one, while there may be
                // more.
                let may_open = self.total() < self.shares.most;
                (!may_open).then(|| self.shelf.owned(key, needs_clean)).flatten()
            })
    }

    /// The best there is, set aside.
    fn promise(&mut self, wanted: &Wanted) -> Decision {
        if let Some(index) = self.known(wanted) {
            return self.set_aside(index, Decision::Reuse);
        }
        if self.total() < self.shares.most {
            return self.places.add().map_or(Decision::Refuse, |index| {
                self.places.set(index, State::Promised { was: None });
                self.places.slot(index).map_or(Decision::Refuse, Decision::Open)
            });
        }
        match self.shelf.longest() {
            Some(index) => self.set_aside(index, Decision::CloseThenOpen),
            None => Decision::Refuse,
        }
    }

    /// The connection that the asker itself gave back last, if nobody took it since.
    fn own(&self, wanted: &Wanted) -> Option<u32> {
        let slot = wanted.last?;
        match self.places.state(slot)? {
            State::Idle { key, idle, .. }
                if *key == wanted.key
                    && idle.session == wanted.session
                    && idle.session != 0
                    && (idle.clean || !wanted.needs_clean) =>
            {
                Some(slot.index)
            }
            _ => None,
        }
    }

    fn set_aside(&mut self, index: u32, decision: fn(Slot) -> Decision) -> Decision {
        let was = self.unshelve(index);
        self.places.set(index, State::Promised { was });
        self.places.slot(index).map_or(Decision::Refuse, decision)
    }

    /// What was set aside is the asker's.
    fn redeem(&mut self, decision: Decision, wanted: &Wanted) -> Option<Decision> {
        let slot = decision.slot()?;
        let &State::Promised { was } = self.places.state(slot)? else { return None };
        let stay = wanted.stay;
        let state = match (decision, was) {
            (Decision::Reuse(_), Some((key, idle))) => {
                let since = self.now.unwrap_or(wanted.now);
                State::Leased { key, owner: idle.session, stay, since }
            }
            _ => State::Opening { key: wanted.key, stay },
        };
        self.places.set(slot.index, state);
        Some(decision)
    }

    fn enqueue(&mut self, wanted: &Wanted, ticket: u64) -> Decision {
        if self.lines.len() >= self.waiters_max || self.tickets.contains_key(&ticket) {
            return Decision::Refuse;
        }
        let arrival = self.lines.join(Waiter { ticket, wanted: *wanted });
        self.tickets.insert(ticket, Standing::Waiting(arrival));
        Decision::Wait
    }

    /// A leased connection is given back; the first that waits gets it.
    pub fn release(&mut self, slot: Slot, idle: Idle) -> Option<Handover> {
        let &State::Leased { key, .. } = self.places.state(slot)? else { return None };
        self.put_back(slot.index, Some((key, idle)));
        self.review(idle.since)
    }

    /// A connection is closed, whatever it was; its place goes to the first that waits.
    pub fn closed(&mut self, slot: Slot) -> Option<Handover> {
        match self.places.state(slot)? {
            State::Idle { .. } => {
                self.unshelve(slot.index);
            }
            State::Leased { .. } | State::Opening { .. } => {}
            // Whoever claims it will find out, and say so then.
            State::Promised { .. } | State::Free => return None,
        }
        self.put_back(slot.index, None);
        self.hand_over()
    }

    /// The login succeeded: the connection is leased to whoever opened it. False if it was no
    /// connection being opened.
    pub fn opened(&mut self, slot: Slot, now: Instant) -> bool {
        let Some(&State::Opening { key, stay }) = self.places.state(slot) else { return false };
        self.places.set(slot.index, State::Leased { key, owner: 0, stay, since: now });
        true
    }

    /// The login failed; its place goes to the first that waits.
    pub fn open_failed(&mut self, slot: Slot) -> Option<Handover> {
        let State::Opening { .. } = self.places.state(slot)? else { return None };
        self.put_back(slot.index, None);
        self.hand_over()
    }

    /// Whoever has this connection says something long over it.
    pub fn prolong(&mut self, slot: Slot) {
        if let Some(&State::Leased { key, owner, since, .. }) = self.places.state(slot) {
            self.places.set(slot.index, State::Leased { key, owner, stay: Stay::Long, since });
        }
    }

    /// A waiter takes what was handed over; from then it is as if `acquire` had answered so.
    /// `None`: it is not its turn.
    pub fn claim(&mut self, ticket: u64) -> Option<Decision> {
        let &Standing::Granted(decision, wanted) = self.tickets.get(&ticket)? else { return None };
        self.tickets.remove(&ticket);
        self.redeem(decision, &wanted)
    }

    /// A waiter gives up, in time or too late: what it was given goes to the next. May be called
    /// at any time and again.
    pub fn cancel(&mut self, ticket: u64) -> Option<Handover> {
        match self.tickets.remove(&ticket)? {
            Standing::Waiting(arrival) => {
                self.lines.leave(arrival);
                None
            }
            Standing::Granted(decision, _) => {
                let slot = decision.slot()?;
                let &State::Promised { was } = self.places.state(slot)? else { return None };
                self.put_back(slot.index, was);
                self.hand_over()
            }
        }
    }

    /// Time has passed: what was short may be long by now, and the reserve open. To be called
    /// again while it hands something over.
    pub fn review(&mut self, now: Instant) -> Option<Handover> {
        self.tick(now);
        self.hand_over()
    }

    /// Sets aside what there is for the first that may have it.
    fn hand_over(&mut self) -> Option<Handover> {
        if self.lines.len() == 0 {
            return None;
        }
        let busy = self.busy();
        let waiter = if self.shares.are_open(busy) {
            self.lines.pop()?
        } else if self.lines.has_short() && self.are_open_to_short(busy) {
            let (places, now) = (&self.places, self.now);
            self.lines.pop_short(|shape| places.has_long(shape, now))?
        } else {
            return None;
        };
        let decision = self.promise(&waiter.wanted);
        self.tickets.insert(waiter.ticket, Standing::Granted(decision, waiter.wanted));
        Some(Handover { ticket: waiter.ticket, decision })
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(Some(now));
    }

    /// Those that are not idle.
    fn busy(&self) -> usize {
        self.total().saturating_sub(self.shelf.len())
    }

    fn are_open_to_short(&self, busy: usize) -> bool {
        // Those are counted only when there is no other way.
        busy < self.shares.most
            && self.shares.are_open_to_short(busy, self.places.count_short(self.now))
    }

    /// A session has ended: what it left on its last connection is nobody's.
    pub fn disown(&mut self, slot: Slot, session: u64) {
        match self.places.state(slot) {
            Some(&State::Idle { key, mut idle, turn }) if idle.session == session => {
                self.unshelve(slot.index);
                idle.session = 0;
                self.shelve(slot.index, key, idle, turn);
            }
            Some(&State::Promised { was: Some((key, mut idle)) }) if idle.session == session => {
                idle.session = 0;
                self.places.set(slot.index, State::Promised { was: Some((key, idle)) });
            }
            _ => {}
        }
    }

    /// Takes out the connections that were idle for `idle_max`. The caller closes each and then
    /// says `closed`: until then they count.
    pub fn expire(&mut self, now: Instant, idle_max: Duration) -> Vec<Slot> {
        let old = |idle: &Idle| now.saturating_duration_since(idle.since) >= idle_max;
        let old = self.places.idle().filter(|(_, idle)| old(idle)).map(|(index, _)| index);
        let indices: Vec<u32> = old.collect();
        indices.into_iter().filter_map(|index| self.withdraw(index, now)).collect()
    }

    /// Whose implicit state is on a connection that is leased or idle; 0 for nobody's.
    pub fn owner(&self, slot: Slot) -> u64 {
        match self.places.state(slot) {
            Some(State::Leased { owner, .. }) => *owner,
            Some(State::Idle { idle, .. }) => idle.session,
            _ => 0,
        }
    }

    /// How many connections are where.
    pub fn counts(&self) -> Counts {
        Counts { waiting: self.lines.len(), ..self.places.counts() }
    }

    /// Connections that exist or are about to.
    pub fn total(&self) -> usize {
        self.places.total()
    }

    /// Takes an idle connection out: it counts until it is closed.
    fn withdraw(&mut self, index: u32, now: Instant) -> Option<Slot> {
        let (key, idle) = self.unshelve(index)?;
        let (owner, stay) = (idle.session, Stay::default());
        self.places.set(index, State::Leased { key, owner, stay, since: now });
        self.places.slot(index)
    }

    /// A connection that is idle from now on, or the place of one that is no more.
    fn put_back(&mut self, index: u32, was: Option<(Key, Idle)>) {
        match was {
            Some((key, idle)) => {
                self.returns = self.returns.wrapping_add(1);
                self.shelve(index, key, idle, self.returns);
            }
            None => self.places.remove(index),
        }
    }

    fn shelve(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        self.shelf.put(index, key, idle, turn);
        self.places.set(index, State::Idle { key, idle, turn });
    }

    /// Takes an idle connection off the shelf; the caller says at once what it is now.
    fn unshelve(&mut self, index: u32) -> Option<(Key, Idle)> {
        let &State::Idle { key, idle, turn } = self.places.state_at(index)? else { return None };
        self.shelf.take(index, key, idle, turn);
        Some((key, idle))
    }
}

impl Slot {
    /// Small and dense: a place to keep the connection at.
    pub fn index(self) -> usize {
        usize::try_from(self.index).unwrap_or(usize::MAX)
    }
}

impl Decision {
    /// The connection it is about.
    pub fn slot(self) -> Option<Slot> {
        match self {
            Decision::Reuse(slot) | Decision::Open(slot) | Decision::CloseThenOpen(slot) => {
                Some(slot)
            }
            Decision::Wait | Decision::Refuse => None,
        }
    }
}

#[cfg(test)]
mod tests;
