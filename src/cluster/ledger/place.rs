//! The places of one server's connections: what each is used for, and since when.
//!
//! Only the ledger's table; who gets which is decided there.

use std::time::{Duration, Instant};

use super::{Counts, Idle, Key, Slot, Stay};
use crate::limits;

/// Whoever has a connection for longer is not short.
const SHORT_MAX: Duration = Duration::from_millis(limits::SHORT_STATEMENT_MS_MAX);

/// All places that there ever were at once.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: Vec<Place>,
    /// Indices of those that nobody uses.
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    generation: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Free,
    Opening {
        key: Key,
        stay: Stay,
    },
    Leased {
        key: Key,
        owner: u64,
        stay: Stay,
        since: Instant,
    },
    Idle {
        key: Key,
        idle: Idle,
        turn: u64,
    },
    /// Set aside for somebody who has not taken it yet; `was` goes back when he never does.
    Promised {
        was: Option<(Key, Idle)>,
    },
}

impl Places {
    /// One that nobody uses.
    pub(super) fn add(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let index = u32::try_from(self.all.len()).ok()?;
            self.all.push(Place { generation: 0, state: State::Free });
            Some(index)
        })
    }

    /// Another connection from here on: old slots of this index mean nothing any more.
    pub(super) fn remove(&mut self, index: u32) {
        if let Some(place) = self.place_mut(index) {
            place.generation = place.generation.wrapping_add(1);
            place.state = State::Free;
            self.free.push(index);
        }
    }

    pub(super) fn set(&mut self, index: u32, state: State) {
        if let Some(place) = self.place_mut(index) {
            place.state = state;
        }
    }

    pub(super) fn state(&self, slot: Slot) -> Option<&State> {
        let place = self.place(slot.index).filter(|place| place.generation == slot.generation)?;
        Some(&place.state)
    }

    pub(super) fn state_at(&self, index: u32) -> Option<&State> {
        self.place(index).map(|place| &place.state)
    }

    pub(super) fn slot(&self, index: u32) -> Option<Slot> {
        self.place(index).map(|place| Slot { index, generation: place.generation })
    }

    /// Connections that exist or are about to.
    pub(super) fn total(&self) -> usize {
        self.all.len().saturating_sub(self.free.len())
    }

    /// The idle ones, with what they are.
    pub(super) fn idle(&self) -> impl Iterator<Item = (u32, &Idle)> {
        (0u32..).zip(&self.all).filter_map(|(index, place)| match &place.state {
            State::Idle { idle, .. } => Some((index, idle)),
            _ => None,
        })
    }

    /// How many connections are where.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for place in &self.all {
            match place.state {
                State::Free => {}
                State::Idle { .. } => counts.idle += 1,
                State::Leased { .. } | State::Promised { .. } => counts.leased += 1,
                State::Opening { .. } => counts.opening += 1,
            }
        }
        counts
    }

    /// How many are in use for something that is short as far as is known.
    pub(super) fn count_short(&self, now: Option<Instant>) -> usize {
        let is_short = |state: &State| match state {
            State::Free | State::Idle { .. } => false,
            _ => !is_long(state, now),
        };
        self.all.iter().filter(|place| is_short(&place.state)).count()
    }

    /// A statement of this shape has its connection for long already.
    pub(super) fn has_long(&self, shape: u64, now: Option<Instant>) -> bool {
        let is_such = |state: &State| match state {
            State::Leased { stay: Stay::Short(its), .. } => *its == shape && is_long(state, now),
            _ => false,
        };
        shape != 0 && self.all.iter().any(|place| is_such(&place.state))
    }

    fn place(&self, index: u32) -> Option<&Place> {
        self.all.get(usize::try_from(index).ok()?)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.all.get_mut(usize::try_from(index).ok()?)
    }
}

/// In use for something long, by its own word or by the clock.
fn is_long(state: &State, now: Option<Instant>) -> bool {
    match state {
        State::Leased { stay: Stay::Long, .. } | State::Opening { stay: Stay::Long, .. } => true,
        State::Leased { since, .. } => {
            now.is_some_and(|now| now.saturating_duration_since(*since) >= SHORT_MAX)
        }
        _ => false,
    }
}
