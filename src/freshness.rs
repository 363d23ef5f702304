//! What a read must have seen: which writes were acknowledged, and who has applied them.
//!
//! Writes are numbered, and raise the floors of what they touched: schemas, tables, and keys of the
//! tables that `keyed` lists. `record` one before its client is told; `fence` what the primary says
//! it has, of which anything that nobody recorded raises every floor; ask `floor` for a read;
//! `advance` a server by what it says it has. All may be called from any thread. No clock and no
//! sockets: `session` and `backend` call it.

pub mod closure;
pub mod floor;
pub mod key;
pub mod key_set;
pub mod keyed;
pub mod level;
pub mod pending;
pub mod transaction;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use floor::{Floors, Rows, Sizes, TableRows, Touched, Width};
pub use key::{Collation, Key};
pub use keyed::{KeyColumn, KeyColumns, KeyKind, KeyedTable, KeyedTables};
pub use level::{Level, Levels, Sight};
pub use pending::Pending;

use crate::cluster::{Live, Snapshot};
use crate::limits;
pub use crate::position::Ordinal;
use crate::position::Position;

/// The writes of this process and what reads must have seen of them.
///
/// Until `start`, nothing is known of what there was before: no server qualifies for a read.
#[derive(Debug)]
pub struct Freshness {
    floors: Floors,
    pending: Mutex<Pending>,
    /// The last write that was recorded.
    last: AtomicU64,
    /// `last` while nothing is pending, else 0: one look then answers a read.
    quiet: AtomicU64,
    /// Which columns of which tables keys are taken from. Empty: none, all is per table.
    key_columns: RwLock<Arc<KeyColumns>>,
}

/// A write whose client has not been told yet.
#[derive(Clone, Debug)]
pub struct Written<'a> {
    /// What it may have changed.
    pub touched: Touched<'a>,
    /// Where it stands in the stream. `None`: not said (an error, an unknown outcome, a server
    /// without GTIDs); then a fence must `resolve` it, or the window runs out.
    pub position: Option<Position>,
    /// Now.
    pub at: Instant,
}

impl Freshness {
    /// Nothing known, nobody fresh.
    pub fn new(now: Instant) -> Freshness {
        Freshness::bounded(limits::WRITES_PENDING_MAX, now)
    }

    fn bounded(writes_pending_max: usize, now: Instant) -> Freshness {
        let fresh = Freshness {
            floors: Floors::new(Ordinal(0)),
            pending: Mutex::new(Pending::new(writes_pending_max, now)),
            last: AtomicU64::new(0),
            quiet: AtomicU64::new(0),
            key_columns: RwLock::new(Arc::new(KeyColumns::default())),
        };
        fresh.start(None, None, now);
        fresh
    }

    /// A primary was found, at first or after another one: every read must have seen all that it
    /// has executed (`position`), and what was pending at the one before is moot.
    ///
    /// With a `window`, a write without a position counts as applied everywhere once it is that
    /// old: for servers without GTIDs only, as it proves nothing.
    pub fn start(&self, position: Option<Position>, window: Option<Duration>, now: Instant) {
        self.start_after(self.last(), position, window, now);
    }

    /// The same, of the same primary: `position` was read after `covers`, and what was recorded
    /// since then is still awaited.
    pub fn start_after(
        &self,
        covers: Ordinal,
        position: Option<Position>,
        window: Option<Duration>,
        now: Instant,
    ) {
        let mut pending = self.lock();
        let ordinal = pending.start(covers, position, window, now);
        self.quiet.store(0, Ordering::Release);
        self.floors.raise_everything(ordinal);
        self.last.store(ordinal.0, Ordering::Release);
        self.settle(&pending);
    }

    /// Whether time has to do for positions: a server that tells none counts as up to date then.
    pub fn is_windowed(&self) -> bool {
        self.lock().is_windowed()
    }

    /// Raises the floors of what was written. To be called before the client is told.
    pub fn record(&self, written: Written<'_>) -> Ordinal {
        self.raise(written, Pending::push)
    }

    /// The same for what was read from the primary's log. It may stand there before the primary
    /// has executed it, so a fence that lacks it says nothing.
    pub fn record_streamed(&self, written: Written<'_>) -> Ordinal {
        self.raise(written, Pending::push_streamed)
    }

    fn raise(
        &self,
        written: Written<'_>,
        push: fn(&mut Pending, Option<Position>, Instant) -> Ordinal,
    ) -> Ordinal {
        let mut pending = self.lock();
        if written.position.as_ref().is_some_and(|it| !it.is_empty() && pending.has_seen(it)) {
            // Whoever came first with it has raised them.
            return self.last();
        }
        let ordinal = push(&mut pending, written.position, written.at);
        self.quiet.store(0, Ordering::Release);
        self.floors.raise(&written.touched, ordinal);
        self.last.store(ordinal.0, Ordering::Release);
        ordinal
    }

    /// What a server must have applied for a read of these.
    pub fn floor(&self, reads: &Touched<'_>) -> Ordinal {
        self.floor_of_all().unwrap_or_else(|| self.floors.of(reads).unwrap_or_else(|| self.last()))
    }

    /// The same for a read of anything, while no write is on its way: one look at one number.
    pub fn floor_of_all(&self) -> Option<Ordinal> {
        match self.quiet.load(Ordering::Acquire) {
            0 => None,
            quiet => Some(Ordinal(quiet)),
        }
    }

    /// What every read must have seen, whatever it reads. No floor is below it.
    pub fn floor_of_none(&self) -> Ordinal {
        self.floor_of_all().unwrap_or_else(|| self.floors.everything())
    }

    /// The floor of these rows, and the widest name that asks for so much. For people: `floor` is
    /// what counts.
    pub fn explain(&self, rows: &TableRows<'_>) -> (Ordinal, Width) {
        match self.floor_of_all() {
            Some(quiet) => (quiet, Width::Everything),
            None => self.floors.explain(rows).unwrap_or((self.last(), Width::Everything)),
        }
    }

    /// How many names have a floor of their own.
    pub fn floor_sizes(&self) -> Sizes {
        self.floors.sizes()
    }

    /// The columns of the primary's keyed tables, read after the last DDL: reads of them by key
    /// need only the writes of that key from now on.
    pub fn set_key_columns(&self, columns: KeyColumns) {
        *self.key_columns.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(columns);
    }

    /// A table may have been changed: until the columns are read again, there are no keys.
    pub fn forget_key_columns(&self) {
        self.set_key_columns(KeyColumns::default());
    }

    /// The columns that keys are taken from.
    pub fn key_columns(&self) -> Arc<KeyColumns> {
        Arc::clone(&self.key_columns.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last write recorded: what a fence that leaves now will cover.
    pub fn last(&self) -> Ordinal {
        Ordinal(self.last.load(Ordering::Acquire))
    }

    /// The last write whose position is not known: a fence is due. `None`: none is.
    pub fn awaits_fence(&self) -> Option<Ordinal> {
        self.lock().last_unresolved()
    }

    /// Whether everything up to there was recorded: the floors show it.
    pub fn covers(&self, position: &Position) -> bool {
        self.lock().has_seen(position)
    }

    /// A fence came back: `position` is all that the primary had executed, read there after
    /// `covers` (`last` as of when it was sent). It says where the writes are that came without a
    /// position; what nobody has recorded may be anything. False: there was such.
    ///
    /// An ordinal and not an instant, as a coarse clock would let a fence cover a later write.
    pub fn fence(&self, covers: Ordinal, position: &Position, at: Instant) -> bool {
        let mut pending = self.lock();
        pending.resolve(covers, position);
        if position.is_empty() {
            return true;
        }
        let known = pending.has_seen(position);
        if !known {
            let ordinal = pending.push(Some(position.clone()), at);
            self.quiet.store(0, Ordering::Release);
            self.floors.raise_everything(ordinal);
            self.last.store(ordinal.0, Ordering::Release);
        }
        pending.see_whole(position);
        known
    }

    /// The primary is lost, and what was known last has to do: a write whose outcome nobody knows
    /// keeps no reads waiting. A fence of the primary, once it is back, says what became of it.
    pub fn give_up_unresolved(&self) {
        self.lock().give_up_unresolved();
    }

    /// How long the first write that a server lacks has been on its way to it. `None`: it lacks
    /// none.
    pub fn overdue(&self, live: &Live, now: Instant) -> Option<Duration> {
        self.lock().overdue(live.applied(), now)
    }

    /// The first write that a server is not known to have: where it is in the stream, as far as
    /// that is known. As it has all before that one, having it makes a longer prefix. `None`: it
    /// has all.
    pub fn first_lacked(&self, live: &Live) -> Option<Option<Arc<Position>>> {
        match live.applied() < self.last() {
            true => self.lock().first_lacked(live.applied()),
            false => None,
        }
    }

    /// Takes note of how far a server says it has come (`None`: it cannot say).
    ///
    /// `live` must be the incarnation that said it.
    pub fn advance(&self, live: &Live, position: Option<&Position>, now: Instant) -> Ordinal {
        let mut pending = self.lock();
        let before = live.applied();
        let applied = pending.applied(before, position, now);
        if let Some(delay) = pending.delay(before, applied, now) {
            live.observe_delay(u32::try_from(delay.as_micros()).unwrap_or(u32::MAX));
        }
        if let Some(position) = position {
            pending.compact(applied, position);
        }
        drop(pending);
        live.raise_applied(applied);
        applied
    }

    /// Every reader that is up has applied this much: it need not be kept one by one any more.
    pub fn prune(&self, applied_by_all: Ordinal) {
        let mut pending = self.lock();
        pending.prune(applied_by_all);
        self.floors.forget_until(pending.base().min(applied_by_all));
        self.settle(&pending);
    }

    /// The same, for a fleet: servers that serve no reads now have to catch up all at once.
    pub fn prune_for(&self, fleet: &Snapshot) {
        let readers = fleet.readers().filter(|server| server.health.serves_reads());
        self.prune(readers.map(|server| server.live.applied()).min().unwrap_or(self.last()));
    }

    /// Writes not yet known to be at every reader.
    pub fn pending(&self) -> usize {
        self.lock().len()
    }

    fn settle(&self, pending: &Pending) {
        let quiet = if pending.is_empty() { pending.base().0 } else { 0 };
        self.quiet.store(quiet, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Each change is whole before anything in it can panic.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
