//! Who may have one of the connections that are left: short statements have a reserve, and those
//! that wait stand in two lines.
//!
//! Only the ledger's, which says how many connections are where and how long they have been.

use std::collections::BTreeMap;

use super::Wanted;

/// How long the asker will keep its connection, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// For a moment, unless statements of its shape turn out to be long. 0: of no known shape.
    Short(u64),
    /// It may wait for others, or its session keeps the connection.
    Long,
}

impl Default for Stay {
    fn default() -> Self {
        Stay::Short(0)
    }
}

/// Of so many connections a fifth, and at least one, is kept for short statements; a single one
/// has no reserve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    pub(super) most: usize,
    pub(super) reserve: usize,
}

impl Shares {
    pub(super) fn of(connections_max: u32) -> Shares {
        let most = usize::try_from(connections_max).unwrap_or(usize::MAX);
        Shares { most, reserve: if most > 1 { (most / 5).max(1) } else { 0 } }
    }

    /// So many are in use: anybody may have another one.
    pub(super) fn are_open(self, busy: usize) -> bool {
        busy < self.most.saturating_sub(self.reserve)
    }

    /// Short statements may: what was there before them turned out to be long. Of themselves so
    /// many are in use.
    pub(super) fn are_open_to_short(self, busy: usize, short: usize) -> bool {
        busy < self.most && short < self.reserve
    }
}

/// A session that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) wanted: Wanted,
}

/// Those that wait, by order of arrival.
#[derive(Debug, Default)]
pub(super) struct Lines {
    short: BTreeMap<u64, Waiter>,
    long: BTreeMap<u64, Waiter>,
    arrivals: u64,
}

impl Lines {
    /// Gives the number of its place.
    pub(super) fn join(&mut self, waiter: Waiter) -> u64 {
        self.arrivals = self.arrivals.wrapping_add(1);
        match waiter.wanted.stay {
            Stay::Short(_) => self.short.insert(self.arrivals, waiter),
            Stay::Long => self.long.insert(self.arrivals, waiter),
        };
        self.arrivals
    }

    pub(super) fn leave(&mut self, arrival: u64) {
        self.short.remove(&arrival).or_else(|| self.long.remove(&arrival));
    }

    /// The first of all.
    pub(super) fn pop(&mut self) -> Option<Waiter> {
        let first = |line: &BTreeMap<u64, Waiter>| line.first_key_value().map(|(at, _)| *at);
        let is_short = match (first(&self.short), first(&self.long)) {
            (Some(short), Some(long)) => short < long,
            (short, _) => short.is_some(),
        };
        let line = if is_short { &mut self.short } else { &mut self.long };
        line.pop_first().map(|(_, waiter)| waiter)
    }

    /// The first short one whose shape is not known to be long by now; those that are stand in the
    /// other line from then on.
    pub(super) fn pop_short(&mut self, is_long: impl Fn(u64) -> bool) -> Option<Waiter> {
        while let Some((arrival, mut waiter)) = self.short.pop_first() {
            match waiter.wanted.stay {
                Stay::Short(shape) if !is_long(shape) => return Some(waiter),
                _ => {
                    waiter.wanted.stay = Stay::Long;
                    self.long.insert(arrival, waiter);
                }
            }
        }
        None
    }

    pub(super) fn has_short(&self) -> bool {
        !self.short.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }
}
