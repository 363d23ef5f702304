//! The connections to one server: the ledger's accounts and the sockets they speak of.
//!
//! One lock, held for nanoseconds and never across an await. A [`Lease`] that is dropped closes
//! its connection; only `give_back` returns it. Which server is `cluster`'s choice, and what a
//! connection needs before it is used is `setup`'s.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::connection::Connection;
use crate::backend::dial::DialError;
use crate::backend::dialer::{Dialer, OpenError};
use crate::backend::setup::Recipe;
use crate::cluster::ledger::{Counts, Decision, Handover, Idle, Key, Slot, Stay, Wanted};
use crate::cluster::{Ledger, Live, Outstanding, ServerId};
use crate::limits;
use crate::link::Stream;
use crate::metrics::{BackendLogin, ServerCounters};
use crate::position::Ordinal;
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
    /// Told when the server is given up: whoever waits for a reply from it waits in vain.
    given_up: Notify,
    /// How often that was.
    times_given_up: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    /// By the index of their slots.
    idle: Vec<Option<(Slot, Box<Connection>)>>,
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
                waiters: HashMap::new(),
                tickets: 0,
            }),
            waiting: AtomicUsize::new(0),
            wanted: Notify::new(),
            given_up: Notify::new(),
            times_given_up: AtomicU64::new(0),
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
                    if let Some(lease) = self.reuse(slot, live) {
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
        let wanted = Wanted {
            key: key_of(ask),
            session: ask.session,
            state: ask.state,
            // A dirty one is reset in front of the statement: dearer than luck, cheaper than a login.
            needs_clean: false,
            last: ask.last,
            stay: ask.stay,
            now: Instant::now().into_std(),
        };
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

    /// The idle connection of a slot; none if it died meanwhile.
    fn reuse(self: &Arc<Self>, slot: Slot, live: &Arc<Live>) -> Option<Lease> {
        let (connection, owner) = {
            let mut inner = self.lock();
            (inner.take(slot), inner.ledger.owner(slot))
        };
        let mut connection = connection?;
        if connection.stream.is_readable_now() {
            // An idle server has nothing to say but good-bye.
            drop(connection);
            self.closed(slot);
            return None;
        }
        Some(Lease {
            pool: Arc::clone(self),
            slot,
            owner,
            times_given_up: self.times_given_up.load(Ordering::Acquire),
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
        self.lock().ledger.opened(slot, Instant::now().into_std());
        Ok(Lease {
            pool: Arc::clone(self),
            slot,
            owner: 0,
            times_given_up: self.times_given_up.load(Ordering::Acquire),
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
        self.times_given_up.fetch_add(1, Ordering::Release);
        self.expire(Instant::now(), Duration::ZERO);
        self.given_up.notify_waiters();
    }

    /// Waits until it is given up once more than so many times.
    async fn given_up(&self, times: u64) {
        loop {
            let told = self.given_up.notified();
            if self.times_given_up.load(Ordering::Acquire) != times {
                return;
            }
            told.await;
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

    fn tell(&mut self, handover: Option<Handover>) {
        let Some(handover) = handover else { return };
        let told = self.waiters.remove(&handover.ticket).is_some_and(|tell| tell.send(()).is_ok());
        if !told {
            // It gave up in this very moment: its own `cancel` passes the connection on.
        }
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

/// A connection that one session has to itself. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    slot: Slot,
    owner: u64,
    /// Of its pool, when it was leased.
    times_given_up: u64,
    connection: Option<Box<Connection>>,
    is_new: bool,
    live: Arc<Live>,
    _outstanding: Outstanding,
    /// Its pool knows that it is not leased for a moment.
    is_long: bool,
}

impl Lease {
    /// It was logged in for this lease.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The server at its other end.
    #[must_use]
    pub fn server(&self) -> ServerId {
        self.pool.server
    }

    /// Its pool.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Its place there.
    #[must_use]
    pub fn place(&self) -> Place {
        self.slot
    }

    /// The session that used it last; 0: nobody who still lives.
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether its server has applied so much, in the incarnation that this lease speaks to.
    #[must_use]
    pub fn has_applied(&self, floor: Ordinal) -> bool {
        self.live.applied() >= floor
    }

    /// Waits until its server is given up: then no reply will come.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let (pool, times) = (Arc::clone(&self.pool), self.times_given_up);
        async move { pool.given_up(times).await }
    }

    /// What is said over it now is not short: the pool counts it as that.
    pub fn prolong(&mut self) {
        if !self.is_long {
            self.is_long = true;
            self.pool.lock().ledger.prolong(self.slot);
        }
    }

    /// From now on it is this session's.
    pub fn own(&mut self, session: u64) {
        self.owner = session;
    }

    /// Gives it back, in a state that `put_steps` knows how to leave. `session`: who may come
    /// back for what is left on it; 0 for nobody.
    pub fn give_back(mut self, session: u64) {
        if let Some(connection) = self.connection.take() {
            let state = if connection.residue { 1 } else { connection.values.fingerprint() };
            self.pool.return_idle(self.slot, connection, session, state);
        }
    }

    /// Closes it and logs in anew in its place: the only way back to "no database".
    pub async fn renew(
        &mut self,
        credentials: &Arc<Credentials>,
        shared: Capabilities,
        deadline: Instant,
    ) -> Result<(), OpenError> {
        let is_reader = self.is_reader;
        // The old one first: the server's limit may be this very connection.
        self.stream = Stream::from(tokio::io::duplex(1).0);
        let opened = self.pool.dialer.open(credentials, shared, is_reader, deadline).await?;
        self.owner = 0;
        self.is_new = true;
        **self = opened;
        Ok(())
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "the connection is taken only by give_back and drop")]
    fn deref(&self) -> &Connection {
        self.connection.as_deref().expect("a lease holds its connection until it ends")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "the connection is taken only by give_back and drop")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_deref_mut().expect("a lease holds its connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.pool.closed(self.slot);
        }
    }
}
