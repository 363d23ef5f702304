//! The checkers: what must be true of every run, said by servers and clients as things happen.
//!
//! The first broken promise ends the run. Keeps the last events for whoever has to find out why.
//! It sees what no proxy can see (what a server did, what a client was told), and nothing of the
//! proxy's insides.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use super::store::{Place, Store};

/// Events that are kept.
const EVENTS_KEPT: usize = 20_000;

/// Clients write for so long, and then for the rest of the second time they do not.
const WRITE_MS: u128 = 4_000;
const WRITE_AND_QUIET_MS: u128 = 12_000;

/// Sees everything.
pub(super) struct Oracle {
    inner: Mutex<Inner>,
    /// Told at the first failure.
    pub(super) failed: Notify,
    started: Instant,
}

/// What happened so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections of clients that were let in.
    pub visits: u64,
    /// Commands that were answered.
    pub commands: u64,
    /// Reads of rows that replicas ran for clients.
    pub replica_reads: u64,
    /// Reads of rows that the primary ran for clients.
    pub primary_reads: u64,
    /// Writes that clients were told are done.
    pub writes: u64,
    /// Writes that clients were told nobody knows of.
    pub unknown: u64,
    /// Errors that clients were told.
    pub errors: u64,
    /// Things that went wrong on purpose.
    pub faults: u64,
    /// Reads of a row that had to see somebody's write of it.
    pub pairs: u64,
    /// Transactions that somebody read in the log.
    pub streamed: u64,
}

#[derive(Default)]
struct Inner {
    failure: Option<String>,
    events: VecDeque<String>,
    hash: Xxh3,
    counts: Counts,
    writes: BTreeMap<String, Written>,
    /// The acknowledged transactions of each row, and when the last one up to there was.
    floors: BTreeMap<Place, Vec<(Instant, u64)>>,
    sessions: BTreeMap<u32, Believed>,
    /// Who holds which user lock, as far as clients were told.
    locks: BTreeMap<String, u32>,
}

#[derive(Default)]
struct Written {
    place: Option<Place>,
    runs: u32,
    committed: Option<u64>,
    acknowledged: bool,
    denied: bool,
}

/// What a client may believe of its session: what one server's own connection would be like.
#[derive(Clone, Debug, Default)]
pub(super) struct Believed {
    pub(super) database: Option<&'static str>,
    pub(super) variables: BTreeMap<&'static str, String>,
    /// A transaction is open, and no error has been told since.
    pub(super) in_transaction: bool,
}

/// A connection as a server has it when a client's statement comes.
pub(super) struct Found<'a> {
    pub(super) server: usize,
    pub(super) database: Option<&'static str>,
    pub(super) variables: &'a BTreeMap<&'static str, String>,
    pub(super) in_transaction: bool,
    /// Whose transaction, user variables or locks are on it.
    pub(super) owner: Option<u32>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), failed: Notify::new(), started: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event down.
    pub(super) fn note(&self, event: &str) {
        let ms = self.started.elapsed().as_millis();
        let mut inner = self.lock();
        inner.keep(format!("{ms:>6} ms  {event}"));
    }

    /// Nobody writes for a while: a server that comes back with less than it had must be found out
    /// without the help of newer writes.
    pub(super) fn is_quiet_time(&self) -> bool {
        self.started.elapsed().as_millis() % WRITE_AND_QUIET_MS > WRITE_MS
    }

    /// A promise is broken.
    pub(super) fn fail(&self, why: &str) {
        let ms = self.started.elapsed().as_millis();
        let mut inner = self.lock();
        inner.keep(format!("{ms:>6} ms  FAILURE: {why}"));
        inner.failure.get_or_insert_with(|| why.to_owned());
        drop(inner);
        self.failed.notify_waiters();
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// The last events, and a number made of all of them.
    pub(super) fn history(&self) -> (Vec<String>, u64) {
        let inner = self.lock();
        (inner.events.iter().cloned().collect(), inner.hash.finish())
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.lock().counts);
    }

    /// Something goes wrong on purpose.
    pub(super) fn fault(&self, what: &str) {
        self.count(|counts| counts.faults += 1);
        self.note(what);
    }

    /// A server runs the statement that writes this token.
    pub(super) fn ran(&self, token: &str, place: Place) {
        let mut inner = self.lock();
        let written = inner.writes.entry(token.to_owned()).or_default();
        written.runs += 1;
        written.place = Some(place);
        let twice = written.runs > 1;
        drop(inner);
        if twice {
            self.fail(&format!("{token} was run twice"));
        }
    }

    /// The token is in the primary's store from now on.
    pub(super) fn committed(&self, token: &str, number: u64) {
        let mut inner = self.lock();
        let written = inner.writes.entry(token.to_owned()).or_default();
        written.committed = Some(number);
        let denied = written.denied;
        drop(inner);
        self.note(&format!("{token} is transaction {number}"));
        if denied {
            self.fail(&format!("{token} is done, and its client was told that it is not"));
        }
    }

    /// A client was told that its write is done. Gives where it is, and its number.
    pub(super) fn acknowledged(&self, token: &str) -> Option<(Place, u64)> {
        let mut inner = self.lock();
        inner.counts.writes += 1;
        let written = inner.writes.entry(token.to_owned()).or_default();
        written.acknowledged = true;
        let (Some(place), Some(number)) = (written.place, written.committed) else {
            drop(inner);
            self.fail(&format!("{token} was acknowledged, and no server has it"));
            return None;
        };
        let floors = inner.floors.entry(place).or_default();
        let floor = floors.last().map_or(0, |(_, floor)| *floor);
        floors.push((Instant::now(), number.max(floor)));
        Some((place, number))
    }

    /// A client was told that its write did not happen.
    pub(super) fn denied(&self, token: &str) {
        let mut inner = self.lock();
        let written = inner.writes.entry(token.to_owned()).or_default();
        written.denied = true;
        let done = written.committed.is_some();
        drop(inner);
        if done {
            self.fail(&format!("{token} is done, and its client was told that it is not"));
        }
    }

    /// What must be seen of what was acknowledged before then, or so far.
    pub(super) fn floor(&self, place: Place, until: Option<Instant>) -> u64 {
        let inner = self.lock();
        let floors = inner.floors.get(&place).map_or(&[][..], Vec::as_slice);
        let count = floors.partition_point(|(at, _)| until.is_none_or(|until| *at < until));
        count.checked_sub(1).and_then(|last| floors.get(last)).map_or(0, |(_, floor)| *floor)
    }

    /// What a read saw that had to see `floor`. `own`: tokens of the reader's open transaction.
    pub(super) fn saw(&self, place: Place, floor: u64, token: Option<&str>, own: &[String]) {
        let mut inner = self.lock();
        inner.counts.pairs += u64::from(floor > 0);
        let written = token.and_then(|token| inner.writes.get(token));
        let number = written.map_or(Some(0), |written| written.committed);
        let strange = token.is_some() && written.is_none();
        let needed = inner.floor_name(place, floor);
        drop(inner);
        let is_own = token.is_some_and(|token| own.iter().any(|known| known == token));
        match number {
            _ if strange => self.fail(&format!("{token:?} at {place:?} was never written")),
            _ if is_own => {}
            None => self.fail(&format!("{token:?} was read and is not committed")),
            Some(number) if number < floor => self.fail(&format!(
                "stale read of {place:?}: {token:?} ({number}) where {needed} ({floor}) was \
                 acknowledged before"
            )),
            Some(_) => {}
        }
    }

    /// What a client believes from now on.
    pub(super) fn believe(&self, client: u32, believed: Believed) {
        self.lock().sessions.insert(client, believed);
    }

    /// A client's statement has come to a server: is the connection as its session is?
    pub(super) fn arrived(&self, client: u32, found: &Found<'_>) {
        let inner = self.lock();
        let Some(believed) = inner.sessions.get(&client) else { return };
        let wrong = believed.differs(client, found);
        drop(inner);
        if let Some(wrong) = wrong {
            self.fail(&format!("c{client} on server {}: {wrong}", found.server));
        }
    }

    /// A client was told that it has this lock.
    pub(super) fn locked(&self, name: &str, client: u32) {
        let before = self.lock().locks.insert(name.to_owned(), client);
        if let Some(other) = before.filter(|other| *other != client) {
            self.fail(&format!("c{client} and c{other} both have the lock {name}"));
        }
    }

    /// A client gives its locks up, or may have lost them.
    pub(super) fn unlocked(&self, client: u32) {
        self.lock().locks.retain(|_, holder| *holder != client);
    }

    /// The server that kept them is gone.
    pub(super) fn unlocked_all(&self) {
        self.lock().locks.clear();
    }

    /// The end of a run: what was acknowledged is there, and is what the store says.
    pub(super) fn settle(&self, primary: &Store) {
        let inner = self.lock();
        let floors = inner.floors.iter().filter_map(|(place, all)| Some((place, all.last()?.1)));
        let mut floors = floors;
        let lost = floors.find(|(place, floor)| {
            let token = primary.read(**place);
            let number = token.and_then(|token| inner.writes.get(token)?.committed);
            number.is_none_or(|number| number < *floor)
        });
        let lost = lost.map(|(place, floor)| format!("{place:?} lacks transaction {floor}"));
        drop(inner);
        if let Some(lost) = lost {
            self.fail(&lost);
        }
    }
}

impl Inner {
    fn keep(&mut self, event: String) {
        self.hash.write(event.as_bytes());
        if self.events.len() >= EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn floor_name(&self, place: Place, floor: u64) -> String {
        let is_it = |written: &Written| {
            written.place == Some(place) && written.committed == Some(floor) && floor > 0
        };
        let found = self.writes.iter().find(|(_, written)| is_it(written));
        found.map(|(token, _)| token.clone()).unwrap_or_default()
    }
}

impl Believed {
    fn differs(&self, client: u32, found: &Found<'_>) -> Option<String> {
        if let Some(other) = found.owner.filter(|owner| *owner != client) {
            return Some(format!("what c{other} left is there"));
        }
        if self.database.is_some() && self.database != found.database {
            return Some(format!("schema {:?}, not {:?}", found.database, self.database));
        }
        if self.in_transaction && !found.in_transaction {
            return Some("its transaction is not there".into());
        }
        self.variables.iter().find_map(|(name, value)| {
            let there = found.variables.get(name);
            (there != Some(value)).then(|| format!("{name} is {there:?}, not {value:?}"))
        })
    }
}
