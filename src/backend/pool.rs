//! The connections to one server: the ledger's accounts and the sockets they speak of.
//!
//! One lock, held for nanoseconds and never across an await. A [`Lease`] that is dropped closes
//! its connection; only `give_back` returns it. Which server is `cluster`'s choice, and what a
//! connection needs before it is used is `setup`'s.

mod lease;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use lease::Lease;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::connection::{Connection, GivenUp};
use crate::backend::dial::DialError;
use crate::backend::dialer::{Dialer, OpenError};
use crate::backend::setup::Recipe;
use crate::cluster::ledger::{Counts, Decision, Handover, Idle, Key, Slot, Stay, Wanted};
use crate::cluster::{Ledger, Live, ServerId};
use crate::limits;
use crate::metrics::{BackendLogin, ServerCounters};
use crate::secret::Credentials;
use crate::wire::capability::Capabilities;

/// The place of a connection in its pool: how a session finds its last one again.
pub type Place = Slot;

/// Between two looks who is not short any more, while somebody waits.
const REVIEWED: Duration = Duration::from_millis(limits::POOL_REVIEWED_MS);

/// Why there is no connection.
#[derive(Debug)]
pub enum LeaseError {
    /// The server cannot be reached, or refuses the login.
    Open(OpenError),
    /// Every connection was busy until the deadline.
    Busy,
}

/// Who asks for a connection, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose login.
    pub credentials: &'a Arc<Credentials>,
    /// A number of that login.
    pub account: u64,
    /// Of [`SHARED`](crate::backend::dial::SHARED), what the session's client has.
    pub shared: Capabilities,
    /// To be set up as a reader.
    pub is_reader: bool,
    /// The session's number.
    pub session: u64,
    /// Fingerprint of the session's state.
    pub state: u64,
    /// The connection that it used last.
    pub last: Option<Place>,
    /// When to give up.
    pub deadline: Instant,
    /// For how long.
    pub stay: Stay,
}

/// The connections to one server.
#[derive(Debug)]
pub struct Pool {
    server: ServerId,
    dialer: Dialer,
    counters: Option<ServerCounters>,
    inner: Mutex<Inner>,
    /// Of those that wait, one has the clock for all.
    clock: Semaphore,
    /// Sessions that wait; read without the lock.
    waiting: AtomicUsize,
    /// Told when somebody begins to wait.
    wanted: Notify,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    /// By the index of their slots.
    idle: Vec<Option<(Slot, Box<Connection>)>>,
    /// Of those that there are, by the same.
    given_up: Vec<Option<Arc<GivenUp>>>,
    waiters: HashMap<u64, oneshot::Sender<()>>,
    tickets: u64,
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(
        server: ServerId,
        dialer: Dialer,
        connections_max: u32,
        counters: Option<ServerCounters>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            dialer,
            counters,
            clock: Semaphore::new(1),
            inner: Mutex::new(Inner {
                ledger: Ledger::new(connections_max, limits::POOL_WAITERS_MAX),
                idle: Vec::new(),
                given_up: Vec::new(),
                waiters: HashMap::new(),
                tickets: 0,
            }),
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
        })
    }

    /// How connections to this server are opened.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What its connections are told first.
    #[must_use]
    pub fn recipe(&self, is_reader: bool) -> Recipe {
        Recipe { flavour: self.dialer.flavour(), is_reader }
    }

    /// How many connections are where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().ledger.counts()
    }

    /// Waits until somebody waits for a connection.
    pub async fn wanted(&self) {
        loop {
            let told = self.wanted.notified();
            if self.waiting.load(Ordering::Relaxed) > 0 {
                return;
            }
            told.await;
        }
    }

    /// A connection for the asker.
    pub async fn lease(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        live: &Arc<Live>,
    ) -> Result<Lease, LeaseError> {
        loop {
            let mut decision = self.acquire(ask);
            if let (Decision::Wait, Some(waiting)) = &mut decision {
                let Some(granted) = waiting.granted(ask.deadline).await else {
                    return Err(LeaseError::Busy);
                };
                decision = (granted, None);
            }
            match decision.0 {
                Decision::Reuse(slot) => {
                    let (connection, owner) = {
                        let mut inner = self.lock();
                        (inner.take(slot), inner.ledger.owner(slot))
                    };
                    let lease = connection.and_then(|it| self.reuse(slot, it, owner, live));
                    if let Some(lease) = lease {
                        return Ok(lease);
                    }
                }
                Decision::Open(slot) | Decision::CloseThenOpen(slot) => {
                    // Boxed: a login's state must not weigh on each idle session.
                    return Box::pin(self.open(slot, ask, live)).await;
                }
                Decision::Wait | Decision::Refuse => return Err(LeaseError::Busy),
            }
        }
    }

    fn acquire(self: &Arc<Self>, ask: &Ask<'_>) -> (Decision, Option<Waiting>) {
        let wanted = wanted_of(ask);
        let mut inner = self.lock();
        inner.tickets = inner.tickets.wrapping_add(1);
        let ticket = inner.tickets;
        let decision = inner.ledger.acquire(&wanted, ticket);
        if decision != Decision::Wait {
            return (decision, None);
        }
        let (tell, told) = oneshot::channel();
        inner.waiters.insert(ticket, tell);
        drop(inner);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_waiters();
        (decision, Some(Waiting { pool: Arc::clone(self), ticket, told }))
    }

    /// One that is idle, if there is one for the asker: nothing has to be waited for.
    pub fn lease_idle(self: &Arc<Self>, ask: &Ask<'_>, live: &Arc<Live>) -> Option<Lease> {
        loop {
            let mut inner = self.lock();
            let slot = inner.ledger.acquire_idle(&wanted_of(ask))?;
            let (connection, owner) = (inner.take(slot), inner.ledger.owner(slot));
            drop(inner);
            if let Some(lease) = self.reuse(slot, connection?, owner, live) {
                return Some(lease);
            }
        }
    }

    /// The idle connection of a slot; none if it died meanwhile.
    fn reuse(
        self: &Arc<Self>,
        slot: Slot,
        mut connection: Box<Connection>,
        owner: u64,
        live: &Arc<Live>,
    ) -> Option<Lease> {
        if connection.stream.is_readable_now() {
            // An idle server has nothing to say but good-bye.
            drop(connection);
            self.closed(slot);
            return None;
        }
        connection.given_up.forget();
        Some(Lease {
            pool: Arc::clone(self),
            slot,
            owner,
            connection: Some(connection),
            is_new: false,
            live: Arc::clone(live),
            _outstanding: live.begin(),
            is_long: false,
        })
    }

    async fn open(
        self: &Arc<Self>,
        slot: Slot,
        ask: &Ask<'_>,
        live: &Arc<Live>,
    ) -> Result<Lease, LeaseError> {
        let evicted = self.lock().take(slot);
        drop(evicted);
        let mut opening = Opening { pool: self, slot: Some(slot) };
        let opened =
            self.dialer.open(ask.credentials, ask.shared, ask.is_reader, ask.deadline).await;
        self.count_login(opened.as_ref().err());
        let opened = opened.map_err(LeaseError::Open)?;
        opening.slot = None;
        let mut inner = self.lock();
        inner.ledger.opened(slot, Instant::now().into_std());
        inner.tell_of(slot, &opened);
        drop(inner);
        Ok(Lease {
            pool: Arc::clone(self),
            slot,
            owner: 0,
            connection: Some(Box::new(opened)),
            is_new: true,
            live: Arc::clone(live),
            _outstanding: live.begin(),
            is_long: ask.stay == Stay::Long,
        })
    }

    fn count_login(&self, error: Option<&OpenError>) {
        let Some(counters) = &self.counters else { return };
        counters.logins.inc(match error {
            None => BackendLogin::Done,
            Some(OpenError::Dial(DialError::Refused(_))) => BackendLogin::Refused,
            Some(OpenError::Dial(DialError::TimedOut)) => BackendLogin::TimedOut,
            Some(OpenError::Dial(DialError::Unreachable(_) | DialError::Tls(_))) => {
                BackendLogin::Unreachable
            }
            Some(OpenError::Dial(_) | OpenError::Setup(_) | OpenError::Stranger) => {
                BackendLogin::Malformed
            }
        });
    }

    /// It refused a statement as a write.
    pub fn count_misroute(&self) {
        if let Some(counters) = &self.counters {
            counters.misroutes.inc();
        }
    }

    fn return_idle(&self, slot: Slot, mut connection: Box<Connection>, session: u64, state: u64) {
        connection.idle_since = Instant::now();
        let idle = Idle {
            state,
            clean: connection.clean,
            session,
            since: connection.idle_since.into_std(),
        };
        let mut inner = self.lock();
        inner.put(slot, connection);
        let handover = inner.ledger.release(slot, idle);
        inner.tell(handover);
    }

    fn closed(&self, slot: Slot) {
        let mut inner = self.lock();
        let gone = inner.take(slot);
        inner.forget(slot);
        let handover = inner.ledger.closed(slot);
        inner.tell(handover);
        drop(inner);
        drop(gone);
    }

    /// What a session left on its last connection is nobody's any more.
    pub fn disown(&self, slot: Place, session: u64) {
        self.lock().ledger.disown(slot, session);
    }

    /// Closes connections that were idle for long.
    pub fn expire(&self, now: Instant, idle_max: Duration) {
        let old = self.lock().ledger.expire(now.into_std(), idle_max);
        for slot in old {
            self.closed(slot);
        }
    }

    /// The server is down: every idle connection is closed, and whoever waits for one of its
    /// replies is told.
    pub fn give_up(&self) {
        self.expire(Instant::now(), Duration::ZERO);
        let told: Vec<_> = self.lock().given_up.iter().flatten().cloned().collect();
        for given_up in told {
            given_up.tell();
        }
    }

    /// Looks who is not short any more, for ever: one waiter does it at a time, for all.
    async fn look_at_the_clock(&self) {
        let Ok(_turn) = self.clock.acquire().await else { return };
        loop {
            sleep(REVIEWED).await;
            let mut inner = self.lock();
            while let Some(handover) = inner.ledger.review(Instant::now().into_std()) {
                inner.tell(Some(handover));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, slot: Slot, connection: Box<Connection>) {
        let at = slot.index();
        if self.idle.len() <= at {
            self.idle.resize_with(at.saturating_add(1), || None);
        }
        if let Some(place) = self.idle.get_mut(at) {
            *place = Some((slot, connection));
        }
    }

    fn take(&mut self, slot: Slot) -> Option<Box<Connection>> {
        let place = self.idle.get_mut(slot.index())?;
        place.take_if(|(its, _)| *its == slot).map(|(_, connection)| connection)
    }

    /// Whom to tell when the server is given up. A number that has another connection by now
    /// loses no more than that.
    fn tell_of(&mut self, slot: Slot, connection: &Connection) {
        let at = slot.index();
        if self.given_up.len() <= at {
            self.given_up.resize_with(at.saturating_add(1), || None);
        }
        if let Some(place) = self.given_up.get_mut(at) {
            *place = Some(Arc::clone(&connection.given_up));
        }
    }

    fn forget(&mut self, slot: Slot) {
        if let Some(place) = self.given_up.get_mut(slot.index()) {
            *place = None;
        }
    }

    fn tell(&mut self, handover: Option<Handover>) {
        let Some(handover) = handover else { return };
        let told = self.waiters.remove(&handover.ticket).is_some_and(|tell| tell.send(()).is_ok());
        if !told {
            // It gave up in this very moment: its own `cancel` passes the connection on.
        }
    }
}

fn wanted_of(ask: &Ask<'_>) -> Wanted {
    Wanted {
        key: key_of(ask),
        session: ask.session,
        state: ask.state,
        // A dirty one is reset in front of the statement: dearer than luck, cheaper than a login.
        needs_clean: false,
        last: ask.last,
        stay: ask.stay,
        now: Instant::now().into_std(),
    }
}

fn key_of(ask: &Ask<'_>) -> Key {
    Key { account: (ask.account << 1) | u64::from(ask.is_reader), shared: ask.shared }
}

/// A place in the queue; dropping it leaves the queue.
struct Waiting {
    pool: Arc<Pool>,
    ticket: u64,
    told: oneshot::Receiver<()>,
}

impl Waiting {
    async fn granted(&mut self, deadline: Instant) -> Option<Decision> {
        let told = async {
            tokio::select! {
                biased;
                told = &mut self.told => told.is_ok(),
                () = self.pool.look_at_the_clock() => false,
            }
        };
        if !timeout_at(deadline, told).await.unwrap_or(false) {
            return None;
        }
        self.pool.lock().ledger.claim(self.ticket)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut inner = self.pool.lock();
        inner.waiters.remove(&self.ticket);
        let handover = inner.ledger.cancel(self.ticket);
        inner.tell(handover);
    }
}

/// A login on its way; dropping it gives its place to the next.
struct Opening<'a> {
    pool: &'a Pool,
    slot: Option<Slot>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let mut inner = self.pool.lock();
            let handover = inner.ledger.open_failed(slot);
            inner.tell(handover);
        }
    }
}
