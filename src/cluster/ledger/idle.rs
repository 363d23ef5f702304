//! The idle connections of one server, in the orders in which they are looked for.
//!
//! Only the ledger's index; what a connection is stands in the ledger's places.

use std::collections::BTreeSet;

use super::{Idle, Key};

/// Idle connections by key, state and age. A `turn` counts returns: lower is longer idle.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// (key, clean, state, turn, index) of those that are nobody's.
    unowned: BTreeSet<(Key, bool, u64, u64, u32)>,
    /// (key, clean, turn, index) of those with some session's implicit state.
    owned: BTreeSet<(Key, bool, u64, u32)>,
    /// (owned, turn, index) of all.
    all: BTreeSet<(bool, u64, u32)>,
}

impl Shelf {
    pub(super) fn put(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        self.all.insert((idle.session != 0, turn, index));
        match idle.session {
            0 => self.unowned.insert((key, idle.clean, idle.state, turn, index)),
            _ => self.owned.insert((key, idle.clean, turn, index)),
        };
    }

    pub(super) fn take(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        self.all.remove(&(idle.session != 0, turn, index));
        match idle.session {
            0 => self.unowned.remove(&(key, idle.clean, idle.state, turn, index)),
            _ => self.owned.remove(&(key, idle.clean, turn, index)),
        };
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// One in just that state, last returned first. Used ones before clean ones, so that these
    /// are left for who needs them.
    pub(super) fn unowned_in_state(&self, key: Key, state: u64, needs_clean: bool) -> Option<u32> {
        let of = |clean: bool| {
            let from = (key, clean, state, 0, 0);
            let to = (key, clean, state, u64::MAX, u32::MAX);
            self.unowned.range(from..=to).next_back().map(|entry| entry.4)
        };
        if needs_clean { of(true) } else { of(false).or_else(|| of(true)) }
    }

    /// One in any state; used ones before clean ones.
    pub(super) fn unowned(&self, key: Key, needs_clean: bool) -> Option<u32> {
        let from = (key, needs_clean, 0, 0, 0);
        let to = (key, true, u64::MAX, u64::MAX, u32::MAX);
        self.unowned.range(from..=to).next().map(|entry| entry.4)
    }

    /// One that has another session's implicit state, longest idle first.
    pub(super) fn owned(&self, key: Key, needs_clean: bool) -> Option<u32> {
        let of = |clean: bool| {
            self.owned.range((key, clean, 0, 0)..=(key, clean, u64::MAX, u32::MAX)).next()
        };
        let used = if needs_clean { None } else { of(false) };
        let oldest = used.into_iter().chain(of(true)).min_by_key(|entry| entry.2);
        oldest.map(|entry| entry.3)
    }

    /// The one to close for another account: nobody's first, longest idle first.
    pub(super) fn longest(&self) -> Option<u32> {
        self.all.first().map(|entry| entry.2)
    }
}
