//! The idle connections of one server, in the orders in which they are looked for.
//!
//! Only the ledger's index; what a connection is stands in the ledger's places. A connection comes
//! here after each statement and is taken back before the next by the session that left it, so
//! those are kept in a list, which costs no search; the few that are nobody's in trees.

use std::collections::BTreeSet;

use super::line::Line;
use super::{Idle, Key};

/// Idle connections by key, state and age. A `turn` counts returns: lower is longer idle.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// (key, clean, state, turn, index) of those that are nobody's.
    unowned: BTreeSet<(Key, bool, u64, u64, u32)>,
    /// (turn, index) of the same.
    oldest: BTreeSet<(u64, u32)>,
    /// Those with some session's implicit state, in the order of their turns.
    owned: Line<(Key, bool)>,
}

impl Shelf {
    /// Of those with an owner the newest is put last: turns only grow.
    pub(super) fn put(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        match idle.session {
            0 => {
                self.oldest.insert((turn, index));
                self.unowned.insert((key, idle.clean, idle.state, turn, index));
            }
            _ => self.owned.push(index, (key, idle.clean)),
        }
    }

    pub(super) fn take(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        match idle.session {
            0 => {
                self.oldest.remove(&(turn, index));
                self.unowned.remove(&(key, idle.clean, idle.state, turn, index));
            }
            _ => self.owned.remove(index),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.oldest.len().saturating_add(self.owned.len())
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
        self.owned.first(|(its, clean)| *its == key && (*clean || !needs_clean))
    }

    /// The one to close for another account: nobody's first, longest idle first.
    pub(super) fn longest(&self) -> Option<u32> {
        self.oldest.first().map(|entry| entry.1).or_else(|| self.owned.first(|_| true))
    }
}
