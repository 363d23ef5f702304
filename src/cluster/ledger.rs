//! The accounts of one server's connections: who has which, who may have the next.
//!
//! Pure bookkeeping for `backend`'s pool, which holds the sockets under the same `Slot`s and does
//! what a `Decision` says. Always: idle + leased + opening <= the limit. While anybody waits
//! nothing is idle, so that nobody can overtake the ones that wait.

mod idle;
mod line;
#[cfg(any(test, feature = "sim"))]
mod probe;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use idle::Shelf;
#[cfg(any(test, feature = "sim"))]
pub use probe::probe;

use crate::limits;
use crate::wire::capability::Capabilities;

/// The connections of one server, over all accounts.
#[derive(Debug)]
pub struct Ledger {
    connections_max: usize,
    waiters_max: usize,
    places: Vec<Place>,
    /// Indices of `places` that nobody uses.
    free: Vec<u32>,
    shelf: Shelf,
    /// By order of arrival.
    waiting: BTreeMap<u64, Waiter>,
    tickets: HashMap<u64, Standing>,
    arrivals: u64,
    returns: u64,
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
struct Place {
    generation: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    Opening(Key),
    Leased {
        key: Key,
        owner: u64,
    },
    Idle {
        key: Key,
        idle: Idle,
        turn: u64,
    },
    /// Given to a waiter that has not taken it yet; `was` goes back when it never does.
    Promised {
        was: Option<(Key, Idle)>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: u64,
    key: Key,
    needs_clean: bool,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Waiting(u64),
    Granted(Decision, Key),
}

impl Ledger {
    /// A server without connections.
    pub fn new(connections_max: u32, waiters_max: usize) -> Ledger {
        Ledger {
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
            waiters_max: waiters_max.min(limits::POOL_WAITERS_MAX),
            places: Vec::new(),
            free: Vec::new(),
            shelf: Shelf::default(),
            waiting: BTreeMap::new(),
            tickets: HashMap::new(),
            arrivals: 0,
            returns: 0,
        }
    }

    /// Asks for a connection. `ticket` names the asker should it have to wait.
    pub fn acquire(&mut self, wanted: &Wanted, ticket: u64) -> Decision {
        let key = wanted.key;
        let shelved = self
            .own(wanted)
            .or_else(|| self.shelf.unowned_in_state(key, wanted.state, wanted.needs_clean))
            .or_else(|| self.shelf.unowned(key, wanted.needs_clean));
        if let Some(index) = shelved {
            return self.reuse(index);
        }
        if self.total() < self.connections_max {
            return self.open(key);
        }
        if let Some(index) = self.shelf.owned(key, wanted.needs_clean) {
            return self.reuse(index);
        }
        if let Some(index) = self.shelf.longest() {
            self.unshelve(index);
            self.set(index, State::Opening(key));
            return self.slot(index).map_or(Decision::Refuse, Decision::CloseThenOpen);
        }
        self.enqueue(wanted, ticket)
    }

    /// The connection that the asker itself gave back last, if nobody took it since.
    fn own(&self, wanted: &Wanted) -> Option<u32> {
        let slot = wanted.last?;
        match self.state(slot)? {
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

    fn reuse(&mut self, index: u32) -> Decision {
        let Some((key, idle)) = self.unshelve(index) else { return Decision::Refuse };
        self.set(index, State::Leased { key, owner: idle.session });
        self.slot(index).map_or(Decision::Refuse, Decision::Reuse)
    }

    fn open(&mut self, key: Key) -> Decision {
        let index = self.free.pop().or_else(|| {
            let index = u32::try_from(self.places.len()).ok()?;
            self.places.push(Place { generation: 0, state: State::Free });
            Some(index)
        });
        let Some(index) = index else { return Decision::Refuse };
        self.set(index, State::Opening(key));
        self.slot(index).map_or(Decision::Refuse, Decision::Open)
    }

    fn enqueue(&mut self, wanted: &Wanted, ticket: u64) -> Decision {
        if self.waiting.len() >= self.waiters_max || self.tickets.contains_key(&ticket) {
            return Decision::Refuse;
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        self.tickets.insert(ticket, Standing::Waiting(self.arrivals));
        let waiter = Waiter { ticket, key: wanted.key, needs_clean: wanted.needs_clean };
        self.waiting.insert(self.arrivals, waiter);
        Decision::Wait
    }

    /// A leased connection is given back; the first that waits gets it.
    pub fn release(&mut self, slot: Slot, idle: Idle) -> Option<Handover> {
        let &State::Leased { key, .. } = self.state(slot)? else { return None };
        self.offer(slot.index, Some((key, idle)))
    }

    /// A connection is closed, whatever it was; its place goes to the first that waits.
    pub fn closed(&mut self, slot: Slot) -> Option<Handover> {
        match self.state(slot)? {
            State::Idle { .. } => {
                self.unshelve(slot.index);
            }
            State::Leased { .. } | State::Opening(_) => {}
            // Whoever claims it will find out, and say so then.
            State::Promised { .. } | State::Free => return None,
        }
        self.offer(slot.index, None)
    }

    /// The login succeeded: the connection is leased to whoever opened it. False if it was no
    /// connection being opened.
    pub fn opened(&mut self, slot: Slot) -> bool {
        let Some(&State::Opening(key)) = self.state(slot) else { return false };
        self.set(slot.index, State::Leased { key, owner: 0 });
        true
    }

    /// The login failed; its place goes to the first that waits.
    pub fn open_failed(&mut self, slot: Slot) -> Option<Handover> {
        let State::Opening(_) = self.state(slot)? else { return None };
        self.offer(slot.index, None)
    }

    /// A waiter takes what was handed over; from then it is as if `acquire` had answered so.
    /// `None`: it is not its turn.
    pub fn claim(&mut self, ticket: u64) -> Option<Decision> {
        let &Standing::Granted(decision, key) = self.tickets.get(&ticket)? else { return None };
        self.tickets.remove(&ticket);
        let slot = decision.slot()?;
        let &State::Promised { was } = self.state(slot)? else { return None };
        let state = match (decision, was) {
            (Decision::Reuse(_), Some((key, idle))) => State::Leased { key, owner: idle.session },
            _ => State::Opening(key),
        };
        self.set(slot.index, state);
        Some(decision)
    }

    /// A waiter gives up, in time or too late: what it was given goes to the next. May be called
    /// at any time and again.
    pub fn cancel(&mut self, ticket: u64) -> Option<Handover> {
        match self.tickets.remove(&ticket)? {
            Standing::Waiting(arrival) => {
                self.waiting.remove(&arrival);
                None
            }
            Standing::Granted(decision, _) => {
                let slot = decision.slot()?;
                let &State::Promised { was } = self.state(slot)? else { return None };
                self.offer(slot.index, was)
            }
        }
    }

    /// A session has ended: what it left on its last connection is nobody's.
    pub fn disown(&mut self, slot: Slot, session: u64) {
        match self.state(slot) {
            Some(&State::Idle { key, mut idle, turn }) if idle.session == session => {
                self.unshelve(slot.index);
                idle.session = 0;
                self.shelve(slot.index, key, idle, turn);
            }
            Some(&State::Promised { was: Some((key, mut idle)) }) if idle.session == session => {
                idle.session = 0;
                self.set(slot.index, State::Promised { was: Some((key, idle)) });
            }
            _ => {}
        }
    }

    /// Takes out the connections that were idle for `idle_max`. The caller closes each and then
    /// says `closed`: until then they count.
    pub fn expire(&mut self, now: Instant, idle_max: Duration) -> Vec<Slot> {
        let old = |place: &Place| match place.state {
            State::Idle { idle, .. } => now.saturating_duration_since(idle.since) >= idle_max,
            _ => false,
        };
        let indices = (0u32..).zip(&self.places).filter(|(_, place)| old(place));
        let indices: Vec<u32> = indices.map(|(index, _)| index).collect();
        indices.into_iter().filter_map(|index| self.reuse(index).slot()).collect()
    }

    /// Whose implicit state is on a connection that is leased or idle; 0 for nobody's.
    pub fn owner(&self, slot: Slot) -> u64 {
        match self.state(slot) {
            Some(State::Leased { owner, .. }) => *owner,
            Some(State::Idle { idle, .. }) => idle.session,
            _ => 0,
        }
    }

    /// How many connections are where.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { waiting: self.waiting.len(), ..Counts::default() };
        for place in &self.places {
            match place.state {
                State::Free => {}
                State::Idle { .. } => counts.idle += 1,
                State::Leased { .. } | State::Promised { .. } => counts.leased += 1,
                State::Opening(_) => counts.opening += 1,
            }
        }
        counts
    }

    /// Connections that exist or are about to.
    pub fn total(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    /// Gives a connection, or the place for one, to the first that waits; else keeps it.
    fn offer(&mut self, index: u32, was: Option<(Key, Idle)>) -> Option<Handover> {
        let waiter = self.waiting.pop_first().map(|(_, waiter)| waiter);
        if was.is_none() {
            self.renew(index);
        }
        let Some(waiter) = waiter else {
            match was {
                Some((key, idle)) => {
                    self.returns = self.returns.wrapping_add(1);
                    self.shelve(index, key, idle, self.returns);
                }
                None => self.free.push(index),
            }
            return None;
        };
        let slot = self.slot(index)?;
        let decision = match was {
            None => Decision::Open(slot),
            Some((key, idle)) if key == waiter.key && (idle.clean || !waiter.needs_clean) => {
                Decision::Reuse(slot)
            }
            Some(_) => Decision::CloseThenOpen(slot),
        };
        self.set(index, State::Promised { was });
        self.tickets.insert(waiter.ticket, Standing::Granted(decision, waiter.key));
        Some(Handover { ticket: waiter.ticket, decision })
    }

    fn shelve(&mut self, index: u32, key: Key, idle: Idle, turn: u64) {
        self.shelf.put(index, key, idle, turn);
        self.set(index, State::Idle { key, idle, turn });
    }

    /// Takes an idle connection off the shelf; the caller says at once what it is now.
    fn unshelve(&mut self, index: u32) -> Option<(Key, Idle)> {
        let State::Idle { key, idle, turn } = self.place(index)?.state else { return None };
        self.shelf.take(index, key, idle, turn);
        Some((key, idle))
    }

    /// Another connection from here on: old slots of this index mean nothing any more.
    fn renew(&mut self, index: u32) {
        if let Some(place) = self.place_mut(index) {
            place.generation = place.generation.wrapping_add(1);
            place.state = State::Free;
        }
    }

    fn set(&mut self, index: u32, state: State) {
        if let Some(place) = self.place_mut(index) {
            place.state = state;
        }
    }

    fn state(&self, slot: Slot) -> Option<&State> {
        let place = self.place(slot.index).filter(|place| place.generation == slot.generation)?;
        Some(&place.state)
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.place(index).map(|place| Slot { index, generation: place.generation })
    }

    fn place(&self, index: u32) -> Option<&Place> {
        self.places.get(usize::try_from(index).ok()?)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(index).ok()?)
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
