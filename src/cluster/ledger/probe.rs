//! Any sequence of operations against a naive model: for property tests and the fuzzer.
//!
//! Never part of the proxy itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Decision, Handover, Idle, Key, Ledger, Slot, Stay, Wanted};
use crate::wire::capability::Capabilities;

const CONNECTIONS_MAX: usize = 4;
/// So many of them are for short statements.
const RESERVE: usize = 1;
/// From then on nothing is short.
const LONG: Duration = Duration::from_millis(100);
const WAITERS_MAX: usize = 5;

/// Plays `ops`, three bytes an operation, and says what was wrong, if anything. Any instant will
/// do to start at.
pub fn probe(ops: &[u8], start: Instant) -> Result<(), String> {
    let mut model = Model::new(start);
    for (step, op) in ops.chunks_exact(3).enumerate() {
        if let &[kind, one, two] = op {
            model.play(kind, one, two).map_err(|wrong| format!("step {step} {op:?}: {wrong}"))?;
            model.check().map_err(|wrong| format!("after step {step} {op:?}: {wrong}"))?;
        }
    }
    model.end()
}

/// What the pool's users know: who holds what, who waits.
struct Model {
    ledger: Ledger,
    leased: BTreeMap<Slot, (Key, Stay, Instant)>,
    opening: BTreeMap<Slot, (Key, Stay)>,
    idle: BTreeMap<Slot, (Key, Idle)>,
    /// Sockets: a slot is in it from `opened` to the close.
    sockets: BTreeSet<Slot>,
    waiting: VecDeque<(u64, Wanted)>,
    granted: BTreeMap<u64, (Decision, Wanted)>,
    /// What goes back when a grant is cancelled.
    promised: BTreeMap<Slot, (Key, Idle)>,
    last: BTreeMap<u64, Slot>,
    ticket: u64,
    now: Instant,
    /// What of that the ledger was told.
    told: Instant,
}

impl Model {
    fn new(now: Instant) -> Model {
        Model {
            ledger: Ledger::new(4, WAITERS_MAX),
            leased: BTreeMap::new(),
            opening: BTreeMap::new(),
            idle: BTreeMap::new(),
            sockets: BTreeSet::new(),
            waiting: VecDeque::new(),
            granted: BTreeMap::new(),
            promised: BTreeMap::new(),
            last: BTreeMap::new(),
            ticket: 0,
            now,
            told: now,
        }
    }

    fn play(&mut self, kind: u8, one: u8, two: u8) -> Result<(), String> {
        self.now += Duration::from_millis(10);
        match kind % 14 {
            0..=3 => self.acquire(one, two),
            4 | 5 => self.release(one, two),
            6 => self.close(one),
            7 => self.open_ends(one, two),
            8 => self.claim(one),
            9 => self.cancel(one, two),
            10 => self.disown(one),
            11 => self.expire(one),
            12 => self.prolong(one),
            _ => self.review(),
        }
    }

    fn acquire(&mut self, one: u8, two: u8) -> Result<(), String> {
        let session = u64::from(one % 6) + 1;
        let shape = u64::from(two >> 4) % 3;
        let wanted = Wanted {
            key: Key { account: u64::from(two % 3), shared: Capabilities(u32::from(two >> 7)) },
            session,
            state: u64::from(two >> 3) % 3,
            needs_clean: one & 0x40 != 0,
            last: self.last.get(&session).copied(),
            stay: if one & 0x20 != 0 { Stay::Long } else { Stay::Short(shape) },
            now: self.now,
        };
        self.ticket += 1;
        self.told = self.now;
        let is_open = self.busy() < CONNECTIONS_MAX - RESERVE;
        let stay = if is_open { wanted.stay } else { self.stay_of(&wanted) };
        let wanted = Wanted { stay, ..wanted };
        let rank = match self.may_have(&wanted) {
            true => self.expected_rank(&wanted),
            false if self.waiting.len() < WAITERS_MAX => 6,
            false => 7,
        };
        let decision = self.ledger.acquire(&wanted, self.ticket);
        let got = self.rank(&wanted, decision);
        if got != rank {
            return Err(format!("{decision:?} is of rank {got}, {rank} was to be had: {wanted:?}"));
        }
        match decision {
            Decision::Wait => self.waiting.push_back((self.ticket, wanted)),
            Decision::Refuse => {}
            _ => self.take(decision, &wanted)?,
        }
        Ok(())
    }

    /// Short, unless one of its shape is long by now.
    fn stay_of(&self, wanted: &Wanted) -> Stay {
        match wanted.stay {
            Stay::Short(shape) if shape != 0 => {
                let is_such = |(_, stay, since): &(Key, Stay, Instant)| {
                    *stay == Stay::Short(shape) && self.told.duration_since(*since) >= LONG
                };
                if self.leased.values().any(is_such) { Stay::Long } else { wanted.stay }
            }
            stay => stay,
        }
    }

    fn busy(&self) -> usize {
        // A promise without a connection behind it counts for the one to be opened.
        self.leased.len() + self.opening.len() + self.granted.len()
    }

    fn is_reserve_open(&self) -> bool {
        let is_short = |(_, stay, since): &&(Key, Stay, Instant)| {
            *stay != Stay::Long && self.told.duration_since(*since) < LONG
        };
        let short = self.leased.values().filter(is_short).count()
            + self.opening.values().filter(|(_, stay)| *stay != Stay::Long).count()
            + self.granted.len();
        self.busy() < CONNECTIONS_MAX && short < RESERVE
    }

    fn may_have(&self, wanted: &Wanted) -> bool {
        let nobody_waits = self.waiting.iter().all(|(_, other)| other.stay == Stay::Long);
        self.busy() < CONNECTIONS_MAX - RESERVE
            || (wanted.stay != Stay::Long && self.is_reserve_open() && nobody_waits)
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<(u64, Wanted)> {
        if self.busy() < CONNECTIONS_MAX - RESERVE {
            return self.waiting.pop_front();
        }
        if !self.is_reserve_open() {
            return None;
        }
        for at in 0..self.waiting.len() {
            let (_, wanted) = self.waiting.get(at).copied()?;
            if self.stay_of(&wanted) != Stay::Long {
                return self.waiting.remove(at);
            }
            if let Some((_, wanted)) = self.waiting.get_mut(at) {
                wanted.stay = Stay::Long;
            }
        }
        None
    }

    /// How good an answer is; lower is better.
    fn rank(&self, wanted: &Wanted, decision: Decision) -> u8 {
        match decision {
            Decision::Reuse(slot) => match self.idle.get(&slot) {
                Some((key, idle)) => reuse_rank(wanted, slot, *key, idle).unwrap_or(99),
                None => 99,
            },
            Decision::Open(_) => 3,
            Decision::CloseThenOpen(_) => 5,
            Decision::Wait => 6,
            Decision::Refuse => 7,
        }
    }

    fn expected_rank(&self, wanted: &Wanted) -> u8 {
        let reuse = self.idle.iter().filter_map(|(slot, (k, i))| reuse_rank(wanted, *slot, *k, i));
        let rest = if self.total() < CONNECTIONS_MAX { 3 } else { 5 };
        reuse.chain([rest]).min().unwrap_or(rest)
    }

    /// A session does as it was told.
    fn take(&mut self, decision: Decision, wanted: &Wanted) -> Result<(), String> {
        let (key, stay) = (wanted.key, wanted.stay);
        match decision {
            Decision::Reuse(slot) => {
                let (had, idle) = self.idle.remove(&slot).ok_or("reuse of what is not idle")?;
                if had != key || self.ledger.owner(slot) != idle.session {
                    return Err("another account's connection, or its owner is forgotten".into());
                }
                self.leased.insert(slot, (key, stay, self.told));
            }
            Decision::CloseThenOpen(slot) => {
                self.idle.remove(&slot).ok_or("eviction of what is not idle")?;
                if !self.sockets.remove(&slot) {
                    return Err("eviction of what is not connected".into());
                }
                self.opening.insert(slot, (key, stay));
            }
            Decision::Open(slot) => {
                if self.opening.insert(slot, (key, stay)).is_some() || self.sockets.contains(&slot)
                {
                    return Err("opened twice".into());
                }
            }
            Decision::Wait | Decision::Refuse => return Err("not an answer to a waiter".into()),
        }
        Ok(())
    }

    fn release(&mut self, one: u8, two: u8) -> Result<(), String> {
        let Some((slot, (key, ..))) = nth(&self.leased, one) else { return Ok(()) };
        let session = u64::from(two % 7);
        let idle = Idle {
            state: u64::from(two >> 3) % 3,
            clean: two & 0x80 != 0,
            session,
            since: self.now,
        };
        self.leased.remove(&slot);
        self.last.insert(session, slot);
        self.idle.insert(slot, (key, idle));
        self.told = self.now;
        let handover = self.ledger.release(slot, idle);
        self.offered(handover)
    }

    fn close(&mut self, one: u8) -> Result<(), String> {
        let slots: Vec<Slot> = self.leased.keys().chain(self.idle.keys()).copied().collect();
        let Some(&slot) = slots.get(usize::from(one) % slots.len().max(1)) else { return Ok(()) };
        self.leased.remove(&slot);
        self.idle.remove(&slot);
        self.sockets.remove(&slot);
        let handover = self.ledger.closed(slot);
        self.offered(handover)?;
        match self.ledger.closed(slot) {
            None => Ok(()),
            Some(_) => Err("closed twice".into()),
        }
    }

    fn open_ends(&mut self, one: u8, two: u8) -> Result<(), String> {
        let Some((slot, (key, stay))) = nth(&self.opening, one) else { return Ok(()) };
        self.opening.remove(&slot);
        if two.is_multiple_of(4) {
            let handover = self.ledger.open_failed(slot);
            return self.offered(handover);
        }
        self.leased.insert(slot, (key, stay, self.now));
        self.sockets.insert(slot);
        if self.ledger.opened(slot, self.now) {
            Ok(())
        } else {
            Err("opened what was not opening".into())
        }
    }

    /// The first that may must get the best that there is, and nobody else.
    fn offered(&mut self, handover: Option<Handover>) -> Result<(), String> {
        let Some((ticket, wanted)) = self.next() else {
            return if handover.is_none() { Ok(()) } else { Err("it was nobody's turn".into()) };
        };
        let handover = handover.ok_or("whose turn it was got nothing")?;
        let decision = handover.decision;
        let rank = self.rank(&wanted, decision);
        if handover.ticket != ticket || rank != self.expected_rank(&wanted) {
            return Err(format!("{handover:?} of rank {rank} for {ticket} {wanted:?}"));
        }
        if let Some(slot) = decision.slot()
            && let Some(was) = self.idle.remove(&slot)
        {
            self.promised.insert(slot, was);
        }
        self.granted.insert(ticket, (decision, wanted));
        Ok(())
    }

    /// Time has passed.
    fn review(&mut self) -> Result<(), String> {
        self.told = self.now;
        loop {
            let handover = self.ledger.review(self.now);
            self.offered(handover)?;
            if handover.is_none() {
                return Ok(());
            }
        }
    }

    fn prolong(&mut self, one: u8) -> Result<(), String> {
        let Some((slot, (key, _, since))) = nth(&self.leased, one) else { return Ok(()) };
        self.leased.insert(slot, (key, Stay::Long, since));
        self.ledger.prolong(slot);
        Ok(())
    }

    fn claim(&mut self, one: u8) -> Result<(), String> {
        if let Some((ticket, _)) = self.waiting.front()
            && self.ledger.claim(*ticket).is_some()
        {
            return Err("claimed out of turn".into());
        }
        let Some((ticket, (decision, wanted))) = nth(&self.granted, one) else { return Ok(()) };
        self.granted.remove(&ticket);
        if self.ledger.claim(ticket) != Some(decision) || self.ledger.claim(ticket).is_some() {
            return Err("claimed something else, or twice".into());
        }
        if let Some(slot) = decision.slot()
            && let Some(was) = self.promised.remove(&slot)
        {
            self.idle.insert(slot, was);
        }
        self.take(decision, &wanted)
    }

    fn cancel(&mut self, one: u8, two: u8) -> Result<(), String> {
        let ticket = if two.is_multiple_of(2) && !self.waiting.is_empty() {
            let at = usize::from(one) % self.waiting.len();
            self.waiting.remove(at).map(|(ticket, _)| (ticket, None))
        } else {
            nth(&self.granted, one).map(|(ticket, (decision, _))| (ticket, Some(decision)))
        };
        let Some((ticket, decision)) = ticket else { return Ok(()) };
        let handover = self.ledger.cancel(ticket);
        match decision {
            None if handover.is_some() => return Err("nothing was to be handed over".into()),
            None => {}
            Some(decision) => {
                self.granted.remove(&ticket);
                let slot = decision.slot().ok_or("granted nothing")?;
                if let Some(was) = self.promised.remove(&slot) {
                    self.idle.insert(slot, was);
                }
                self.offered(handover)?;
            }
        }
        match self.ledger.cancel(ticket) {
            None => Ok(()),
            Some(_) => Err("cancelled twice".into()),
        }
    }

    fn disown(&mut self, one: u8) -> Result<(), String> {
        let session = u64::from(one % 6) + 1;
        let Some(slot) = self.last.remove(&session) else { return Ok(()) };
        self.ledger.disown(slot, session);
        for (key, (_, idle)) in self.idle.iter_mut().chain(&mut self.promised) {
            if *key == slot && idle.session == session {
                idle.session = 0;
            }
        }
        Ok(())
    }

    fn expire(&mut self, one: u8) -> Result<(), String> {
        let idle_max = Duration::from_millis(u64::from(one));
        let old = |idle: &Idle| self.now.duration_since(idle.since) >= idle_max;
        let expected: Vec<Slot> =
            self.idle.iter().filter(|(_, (_, i))| old(i)).map(|(slot, _)| *slot).collect();
        let mut got = self.ledger.expire(self.now, idle_max);
        got.sort();
        if got != expected {
            return Err(format!("{got:?} expired, not {expected:?}"));
        }
        for slot in got {
            let (key, _) = self.idle.remove(&slot).ok_or("expired what is not idle")?;
            self.leased.insert(slot, (key, Stay::default(), self.now));
        }
        Ok(())
    }

    fn total(&self) -> usize {
        self.idle.len() + self.busy()
    }

    /// What is true after every step.
    fn check(&self) -> Result<(), String> {
        let counts = self.ledger.counts();
        let seen = [counts.idle, counts.leased, counts.opening, counts.waiting];
        let leased = self.leased.len() + self.granted.len();
        let known = [self.idle.len(), leased, self.opening.len(), self.waiting.len()];
        if seen != known || self.ledger.total() != self.total() {
            return Err(format!("counts {seen:?}, really {known:?}"));
        }
        if self.total() > CONNECTIONS_MAX || self.sockets.len() > CONNECTIONS_MAX {
            return Err("more connections than allowed".into());
        }
        if !self.waiting.is_empty() && self.busy() < CONNECTIONS_MAX - RESERVE {
            return Err("somebody waits for what is there".into());
        }
        Ok(())
    }

    /// Everybody leaves: nothing may be left over.
    fn end(&mut self) -> Result<(), String> {
        let waiting: Vec<u64> = self.waiting.drain(..).map(|(ticket, _)| ticket).collect();
        let granted = std::mem::take(&mut self.granted);
        for ticket in waiting.into_iter().chain(granted.into_keys()) {
            if self.ledger.cancel(ticket).is_some() {
                return Err("somebody still waits".into());
            }
        }
        for slot in self.opening.keys() {
            let _ = self.ledger.open_failed(*slot);
        }
        for slot in self.leased.keys().chain(self.idle.keys()).chain(self.promised.keys()) {
            let _ = self.ledger.closed(*slot);
        }
        match self.ledger.total() {
            0 => Ok(()),
            left => Err(format!("{left} connections left over: {:?}", self.ledger.counts())),
        }
    }
}

fn reuse_rank(wanted: &Wanted, slot: Slot, key: Key, idle: &Idle) -> Option<u8> {
    if key != wanted.key || (wanted.needs_clean && !idle.clean) {
        return None;
    }
    match idle.session {
        0 if idle.state == wanted.state => Some(1),
        0 => Some(2),
        session if session == wanted.session && wanted.last == Some(slot) => Some(0),
        _ => Some(4),
    }
}

fn nth<K: Copy, V: Copy>(map: &BTreeMap<K, V>, at: u8) -> Option<(K, V)> {
    let at = usize::from(at) % map.len().max(1);
    map.iter().nth(at).map(|(key, value)| (*key, *value))
}
