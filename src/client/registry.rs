//! Who is here, by the number that each client was told, and what a server does for each now.
//!
//! The table is touched when somebody comes, leaves or kills. What a session works on stands in
//! its own seat, in atomics: a query costs it three of them and no lock. Whoever kills pins the
//! seat first: until he lets go, the connection that the victim works on stays the victim's, so
//! that nobody else's statement is hit. Opens no connection itself (`client::kill` does).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::Semaphore;

use crate::cluster::ServerId;
use crate::limits;
use crate::link::Bell;
use crate::secret::Credentials;
use crate::session::hold::{Hold, Holds};

/// Every session of the process.
#[derive(Debug)]
pub struct Registry {
    seats: Mutex<HashMap<u32, Arc<Seat>>>,
    /// Connections that carry a KILL to a server: they stand beside the pools.
    pub(super) errands: Semaphore,
}

/// One session as others see it.
#[derive(Debug)]
pub struct Seat {
    /// The number that the client was told.
    pub number: u32,
    credentials: Mutex<Arc<Credentials>>,
    work: AtomicU8,
    /// Server and thread number of the connection that it works on, or worked on last.
    place: AtomicU64,
    /// Why it keeps a connection between statements.
    holds: AtomicU32,
    is_interrupted: AtomicBool,
    is_ended: AtomicBool,
    /// Told when any of these changes by somebody else's doing.
    changed: Bell,
}

/// No server works for it.
const IDLE: u8 = 0;
/// A server works for it.
const BUSY: u8 = 1;
/// Somebody kills what the server does for it: its connection has to stay.
const PINNED: u8 = 2;
/// Somebody did so.
const KILLED: u8 = 3;

impl Default for Registry {
    fn default() -> Self {
        Self { seats: Mutex::default(), errands: Semaphore::new(limits::KILLS_AT_ONCE) }
    }
}

impl Registry {
    /// A client has come. Its number was told it at the greeting.
    pub fn enter(&self, number: u32, credentials: &Arc<Credentials>) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            number,
            credentials: Mutex::new(Arc::clone(credentials)),
            work: AtomicU8::new(IDLE),
            place: AtomicU64::new(0),
            holds: AtomicU32::new(0),
            is_interrupted: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            changed: Bell::default(),
        });
        self.lock().insert(number, Arc::clone(&seat));
        seat
    }

    /// It has left.
    pub fn leave(&self, seat: &Arc<Seat>) {
        if let Entry::Occupied(known) = self.lock().entry(seat.number)
            && Arc::ptr_eq(known.get(), seat)
        {
            known.remove();
        }
    }

    /// The session of a number.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<Arc<Seat>> {
        self.lock().get(&u32::try_from(number).ok()?).cloned()
    }

    /// Every session looks at what has changed for all.
    pub fn wake_all(&self) {
        let seats: Vec<_> = self.lock().values().cloned().collect();
        for seat in seats {
            seat.changed.ring();
        }
    }

    /// How many sessions keep a connection for each reason.
    #[must_use]
    pub fn holds(&self) -> [(Hold, usize); Hold::ALL.len()] {
        let mut counts = Hold::ALL.map(|hold| (hold, 0));
        for seat in self.lock().values() {
            let holds = Holds::from_bits(seat.holds.load(Ordering::Relaxed));
            for (_, count) in counts.iter_mut().filter(|(hold, _)| holds.has(*hold)) {
                *count += 1;
            }
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the session itself says.
impl Seat {
    /// It logged in anew, as somebody else perhaps.
    pub fn change_user(&self, credentials: &Arc<Credentials>) {
        *self.lock() = Arc::clone(credentials);
    }

    /// A command begins: what was meant for the one before does not concern it.
    pub fn begin(&self) {
        if self.is_interrupted() {
            self.is_interrupted.store(false, Ordering::Relaxed);
        }
    }

    /// Why it keeps a connection from now on.
    pub fn note_holds(&self, holds: Holds) {
        if self.holds.load(Ordering::Relaxed) != holds.bits() {
            self.holds.store(holds.bits(), Ordering::Relaxed);
        }
    }

    /// A server begins to work for it, on the connection that is that thread there.
    pub fn work(&self, server: ServerId, thread: u32) {
        self.move_to(server, thread);
        self.work.store(BUSY, Ordering::SeqCst);
    }

    /// The connection that it works on is another one now.
    pub fn move_to(&self, server: ServerId, thread: u32) {
        let place = (u64::from(server.0) << 32) | u64::from(thread);
        self.place.store(place, Ordering::Relaxed);
    }

    /// The server is done. Waits while somebody kills there. True: somebody did.
    pub async fn rest(&self) -> bool {
        poll_fn(|context| match self.try_rest() {
            Poll::Ready(was_hit) => Poll::Ready(was_hit),
            Poll::Pending => {
                self.changed.listen(context);
                self.try_rest()
            }
        })
        .await
    }

    fn try_rest(&self) -> Poll<bool> {
        match self.work.compare_exchange(BUSY, IDLE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(IDLE) => Poll::Ready(false),
            Err(KILLED) => {
                self.work.store(IDLE, Ordering::Release);
                Poll::Ready(true)
            }
            Err(_) => Poll::Pending,
        }
    }

    /// Its statement is to stop.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::SeqCst)
    }

    /// It is to end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    /// Waits until its statement is to stop.
    pub async fn interrupted(&self) {
        self.changed.until(|| self.is_interrupted()).await;
    }

    /// Waits until it is to end.
    pub async fn ended(&self) {
        self.changed.until(|| self.is_ended()).await;
    }

    /// Ready when it is to end; else the session is woken by whatever others do to it.
    pub fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        self.changed.poll(context, || self.is_ended())
    }
}

/// What others do to it.
impl Seat {
    /// Who it is.
    pub fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.lock())
    }

    /// Its statement is to stop, wherever that waits; the session too, if it `ends`.
    pub fn interrupt(&self, ends: bool) {
        self.is_ended.fetch_or(ends, Ordering::Release);
        // In one order with `work`: whoever begins to work sees this, or is found working.
        self.is_interrupted.store(true, Ordering::SeqCst);
        self.changed.ring();
    }

    /// Holds it where it is. None: no server works for it, or somebody else holds it to kill there.
    pub fn pin(self: &Arc<Self>) -> Option<Pin> {
        let pin = |from| {
            self.work.compare_exchange(from, PINNED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        // One that was hit once and still works may be hit again.
        (pin(BUSY) || pin(KILLED)).then(|| Pin(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Credentials>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that does not give its connection back until this is dropped.
#[derive(Debug)]
pub struct Pin(Arc<Seat>);

impl Pin {
    /// Where a server works for it.
    #[must_use]
    pub fn place(&self) -> (ServerId, u32) {
        let place = self.0.place.load(Ordering::Relaxed);
        (ServerId((place >> 32) as u32), place as u32)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.work.store(KILLED, Ordering::Release);
        self.0.changed.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn somebody() -> Arc<Credentials> {
        Arc::new(Credentials::new(b"shop".to_vec(), b"secret".to_vec()).unwrap())
    }

    async fn is_ready<T>(future: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::ZERO, future).await.ok()
    }

    #[test]
    fn a_number_is_found_while_its_client_is_here() {
        let registry = Registry::default();
        let old = registry.enter(7, &somebody());
        assert!(registry.find(7).is_some());
        for other in [0, 8, 7 + (1 << 32), u64::MAX] {
            assert!(registry.find(other).is_none(), "{other}");
        }
        // Numbers come round after four thousand million clients.
        let new = registry.enter(7, &somebody());
        registry.leave(&old);
        assert!(registry.find(7).is_some_and(|found| Arc::ptr_eq(&found, &new)));
        registry.leave(&new);
        assert!(registry.find(7).is_none());
    }

    #[tokio::test]
    async fn a_connection_stays_while_somebody_kills_there() {
        let seat = Registry::default().enter(7, &somebody());
        assert!(seat.pin().is_none(), "nothing to be killed");
        seat.work(ServerId(3), 4_000_000_000);
        assert!(!seat.rest().await, "nobody came");
        assert!(seat.pin().is_none(), "its connection is somebody else's by now");
        seat.work(ServerId(3), 4_000_000_000);
        let pin = seat.pin().unwrap();
        assert_eq!(pin.place(), (ServerId(3), 4_000_000_000));
        assert!(seat.pin().is_none(), "one at a time");
        let rests = seat.rest();
        tokio::pin!(rests);
        assert!(is_ready(&mut rests).await.is_none(), "it has to stay");
        drop(pin);
        assert_eq!(is_ready(&mut rests).await, Some(true));
        assert!(seat.pin().is_none());
    }

    #[tokio::test]
    async fn a_statement_that_works_on_may_be_hit_twice() {
        let seat = Registry::default().enter(7, &somebody());
        seat.work(ServerId(1), 1);
        drop(seat.pin());
        assert!(seat.pin().is_some());
        assert!(seat.rest().await);
    }

    #[tokio::test]
    async fn what_waits_is_told() {
        let seat = Registry::default().enter(7, &somebody());
        let (interrupted, ended) = (seat.interrupted(), seat.ended());
        tokio::pin!(interrupted, ended);
        assert!(is_ready(&mut interrupted).await.is_none());
        assert!(is_ready(&mut ended).await.is_none());
        seat.interrupt(false);
        assert!(is_ready(&mut interrupted).await.is_some());
        assert!(is_ready(&mut ended).await.is_none());
        seat.begin();
        assert!(!seat.is_interrupted(), "that was for the one before");
        seat.interrupt(true);
        assert!(is_ready(&mut ended).await.is_some());
        seat.begin();
        assert!(seat.is_ended(), "for good");
    }
}
