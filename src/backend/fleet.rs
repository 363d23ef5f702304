//! All servers: who they are, their pools, and how far each has come.
//!
//! Replaces snapshots, never edits them; hands out leases for what `cluster::pick` chose. Finding
//! servers and asking after them is `probe`'s; it calls back here with what it found. What a
//! client's login asks of them is `login`'s.

mod login;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::catalog::Catalogs;
use crate::backend::dial::DialError;
use crate::backend::dialer::{Dialer, OpenError, Ways};
use crate::backend::fence::Fences;
use crate::backend::pool::{Ask, Lease, LeaseError, Place, Pool};
use crate::backend::query::{QueryError, ask};
use crate::backend::replays::Replays;
use crate::backend::setup::Baseline;
use crate::backend::truth::Truth;
use crate::cluster::health::{self, Event};
use crate::cluster::ledger::Stay;
use crate::cluster::{
    Choice, Finding, Identity, NoServer, Role, Server, ServerId, Snapshot, Want, pick,
};
use crate::freshness::{Freshness, KeyedTables, Sight, Touched, Written};
use crate::metrics::Metrics;
use crate::position::{Ordinal, Position};
use crate::secret::{Credentials, Digest};
use crate::session::loss::of_login;
use crate::session::observe::is_leaving;
use crate::session::variable::BASELINE;
use crate::session::write::Write;
use crate::sql::Flavour;
use crate::wire::auth::Digests as _;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;

/// What an operator may say about the fleet.
#[derive(Debug)]
pub struct FleetPolicy {
    /// `host:port` of the primary.
    pub primary: String,
    /// `host:port` of each replica, or of what stands before them.
    pub replicas: Vec<String>,
    /// Connections to one server, over all accounts; one of them watches it.
    pub connections_max: u32,
    /// Idle connections older than this are closed.
    pub idle_max: Duration,
    /// Without GTIDs: how long after a write reads of its schema go to the primary.
    pub window: Duration,
    /// How long a login may wait for the connection that proves it.
    pub wait_max: Duration,
    /// How long a read may wait for a replica that will have what it needs in a moment.
    pub replica_wait: Duration,
    /// While no primary can be reached, what was known last has to do.
    pub serves_stale: bool,
    /// Which columns have floors for each of their values.
    pub keyed_tables: KeyedTables,
    /// Whether the primary's log may be read.
    pub follower: bool,
    /// Who asks after the servers; none: the account that logged in last.
    pub monitor: ArcSwapOption<Credentials>,
    /// How long an answer may be given again without asking a server; none: never.
    pub local_answers: Option<Duration>,
}

/// All servers of the process.
pub struct Fleet {
    /// What reads must have seen.
    pub freshness: Freshness,
    /// What names are views, or tables that replicas lack rows of.
    pub catalogs: Catalogs,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What the operator said.
    pub policy: FleetPolicy,
    /// How connections are opened.
    pub ways: Ways,
    /// What the primary last said of its position.
    pub truth: Truth,
    /// What servers said before.
    pub replays: Replays,
    /// What the primary has as of now.
    pub fences: Fences,
    /// Told when a server has applied more.
    pub progressed: Notify,
    /// Told when a write was recorded, or an account learned: the watchers look at once.
    pub stir: Notify,
    /// Told when global settings may have changed.
    pub(super) unsettled: Notify,
    snapshot: ArcSwap<Snapshot>,
    pools: ArcSwap<BTreeMap<ServerId, Arc<Pool>>>,
    account: ArcSwapOption<Credentials>,
    changing: Mutex<()>,
    random: AtomicU64,
    started: AtomicBool,
    /// Since when the primary is lost, while it is.
    lost_at: ArcSwapOption<Instant>,
}

/// Asks for a connection.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which server.
    pub server: ServerId,
    /// As a reader or as the primary.
    pub role: Role,
    /// Whose login.
    pub credentials: &'a Arc<Credentials>,
    /// A number of that login.
    pub account: u64,
    /// Of [`SHARED`](crate::backend::dial::SHARED), what the session's client has.
    pub shared: Capabilities,
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

impl<'a> Request<'a> {
    fn ask(&self) -> Ask<'a> {
        Ask {
            credentials: self.credentials,
            account: self.account,
            shared: self.shared,
            is_reader: self.role == Role::Reader,
            session: self.session,
            state: self.state,
            last: self.last,
            deadline: self.deadline,
            stay: self.stay,
        }
    }
}

impl Fleet {
    /// A fleet of which only the primary's address is known. `seed`: randomness.
    #[must_use]
    pub fn new(policy: FleetPolicy, ways: Ways, metrics: Arc<Metrics>, seed: u64) -> Arc<Self> {
        let fleet = Self {
            metrics,
            started: AtomicBool::new(false),
            lost_at: ArcSwapOption::empty(),
            freshness: Freshness::new(now()),
            catalogs: Catalogs::default(),
            snapshot: ArcSwap::default(),
            pools: ArcSwap::default(),
            account: ArcSwapOption::empty(),
            changing: Mutex::new(()),
            random: AtomicU64::new(seed | 1),
            fences: Fences::default(),
            progressed: Notify::new(),
            stir: Notify::new(),
            unsettled: Notify::new(),
            truth: Truth::default(),
            replays: Replays::new(policy.local_answers),
            policy,
            ways,
        };
        let primary = Server::new(ServerId(1), &fleet.policy.primary, Role::Primary);
        fleet.join(primary, None);
        Arc::new(fleet)
    }

    /// The fleet as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Which server is to have it.
    pub fn pick(&self, want: &Want) -> Result<Choice, NoServer> {
        pick(want, &self.snapshot.load(), self.next_random())
    }

    /// The primary's fresh-login values, once an account has logged in.
    #[must_use]
    pub fn baseline(&self) -> Option<Arc<Baseline>> {
        self.ways.baseline.load_full()
    }

    /// Which [`Baseline`] is the last one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.ways.baseline.load().as_ref().map_or(0, |baseline| baseline.epoch)
    }

    /// The pool of a server.
    #[must_use]
    pub fn pool(&self, server: ServerId) -> Option<Arc<Pool>> {
        self.pools.load().get(&server).cloned()
    }

    /// All pools.
    #[must_use]
    pub fn pools(&self) -> Arc<BTreeMap<ServerId, Arc<Pool>>> {
        self.pools.load_full()
    }

    /// A number that tells logins apart: name and password.
    #[must_use]
    pub fn account_of(&self, credentials: &Credentials) -> u64 {
        let digest = credentials.expose(|password| {
            let inner = Digest::sha256(&[password]);
            Digest::sha256(&[credentials.user.as_slice(), &[0], &inner])
        });
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(digest) {
            *to = from;
        }
        u64::from_le_bytes(number) >> 1
    }

    /// One that is idle there, if there is one for it: without waiting.
    pub fn lease_idle(&self, request: &Request<'_>) -> Option<Lease> {
        let (pools, snapshot) = (self.pools.load(), self.snapshot.load());
        let server = snapshot.server(request.server)?;
        pools.get(&request.server)?.lease_idle(&request.ask(), &server.live)
    }

    /// A connection to a server. A failure to connect is noted against the server's health.
    pub async fn lease(&self, request: &Request<'_>) -> Result<Lease, LeaseError> {
        let (Some(pool), Some(server)) =
            (self.pool(request.server), self.snapshot.load().server(request.server).cloned())
        else {
            return Err(LeaseError::Busy);
        };
        let leased = pool.lease(&request.ask(), &server.live).await;
        if let Err(LeaseError::Open(error)) = &leased {
            self.note_open_error(request.server, error);
        }
        leased
    }

    fn note_open_error(&self, server: ServerId, error: &OpenError) {
        tracing::debug!(server = %server, %error, "cannot open a connection");
        if !error.is_of_account() {
            self.note(server, &Event::ConnectFailed);
        }
    }

    /// A session has ended: what it left on its last connection is nobody's.
    pub fn disown(&self, server: ServerId, place: Place, session: u64) {
        if let Some(pool) = self.pools.load().get(&server) {
            pool.disown(place, session);
        }
    }

    /// A write: reads of what it touched wait for it. To be called before the client is told.
    /// Gives its number, and what the follower has yet to show of it.
    ///
    /// Where only fences tell of writes, any write is one to everything: triggers and foreign keys
    /// reach further than the text does.
    pub fn record(&self, write: Write) -> (Ordinal, Option<Position>) {
        let sight = self.fences.sight();
        if sight == Sight::Stream
            && let Some(position) = write.position
        {
            // In this order: if it is shown, the last number is not below its own.
            let is_shown = self.freshness.covers(&position);
            return (self.freshness.last(), (!is_shown).then_some(position));
        }
        let names: Vec<&[u8]>;
        let touched = match &write.schemas {
            Some(schemas) if sight == Sight::None && write.position.is_none() => {
                names = schemas.iter().map(|name| &**name).collect();
                Touched::Schemas(&names)
            }
            _ => Touched::Everything,
        };
        let written = Written { touched, position: write.position, at: now() };
        let is_unknown = written.position.is_none();
        let ordinal = self.freshness.record(written);
        if is_unknown && self.does_without_primary() {
            self.freshness.give_up_unresolved();
        }
        self.stir.notify_waiters();
        (ordinal, None)
    }

    /// Something is wrong with the primary, and it is not known to be down.
    #[must_use]
    pub fn doubts_primary(&self) -> bool {
        let snapshot = self.snapshot.load();
        let health = snapshot.primary().map(|primary| &primary.health);
        health.is_some_and(|health| !health.serves_reads() && !health.is_down())
    }

    /// The primary cannot be reached. One connection that was lost does not say so: it may be
    /// well, and others may write to it.
    #[must_use]
    pub fn has_lost_primary(&self) -> bool {
        self.snapshot.load().primary().is_none_or(|primary| primary.health.is_down())
    }

    /// Until when to wait for it: `deadline`, but not longer after its loss than a statement may
    /// wait at all, or a page would take as long for every write in it.
    #[must_use]
    pub fn primary_awaited(&self, deadline: Instant) -> Instant {
        let lost_at = self.lost_at.load();
        lost_at.as_deref().map_or(deadline, |at| deadline.min(*at + self.policy.wait_max))
    }

    /// It cannot, and replicas are to be used in its place.
    #[must_use]
    pub fn does_without_primary(&self) -> bool {
        self.policy.serves_stale && self.has_lost_primary()
    }

    /// Whether the primary's position at the start is known.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Another primary: its position is to be read before any replica is trusted again.
    pub fn restart(&self) {
        self.started.store(false, Ordering::Release);
        self.truth.forget();
        self.freshness.start(None, None, now());
    }

    /// The primary's position was read for the first time, or that of a new incarnation: every
    /// read must have seen it. None: it has no GTIDs, and time must do. It was read after `covers`.
    pub fn start(&self, covers: Ordinal, position: Option<Position>) {
        let window = position.is_none().then_some(self.policy.window);
        self.freshness.start_after(covers, position, window, now());
        self.started.store(true, Ordering::Release);
        self.stir.notify_waiters();
    }

    /// No server that was seen would have to do without query attributes.
    #[must_use]
    pub fn takes_attributes(&self) -> bool {
        !self.pools().values().any(|pool| pool.dialer().lacks_attributes())
    }

    /// The account by which the servers are asked how they are.
    #[must_use]
    pub fn watcher(&self) -> Option<Arc<Credentials>> {
        self.policy.monitor.load_full().or_else(|| self.account.load_full())
    }

    /// The account that logged in last.
    pub(super) fn learned(&self) -> Option<Arc<Credentials>> {
        self.account.load_full()
    }

    /// From now on the servers are asked by this account, or by whoever logged in last.
    pub fn watch_as(&self, monitor: Option<Arc<Credentials>>) {
        self.policy.monitor.store(monitor);
    }

    /// The primary does not take this password any more: the next login that it takes is used.
    pub fn forget_account(&self, account: &Arc<Credentials>) {
        self.account.compare_and_swap(&Some(Arc::clone(account)), None);
    }

    /// Something happened to a server.
    pub fn note(&self, id: ServerId, event: &Event) {
        let snapshot = self.snapshot.load();
        let Some(server) = snapshot.server(id) else { return };
        let after = health::observe(&server.health, event, now());
        if after == server.health {
            return;
        }
        tracing::info!(server = %server.address, before = ?server.health, ?after, "health");
        let down = after.is_down();
        if server.role == Role::Primary {
            self.lost_at.store(down.then(|| Arc::new(Instant::now())));
        }
        self.change(|snapshot| snapshot.with_health(id, after));
        if down && self.does_without_primary() {
            self.freshness.give_up_unresolved();
            self.stir.notify_waiters();
        }
        if down && let Some(pool) = self.pool(id) {
            pool.give_up();
        }
    }

    /// A server of the fleet said who it is.
    pub fn identify(&self, id: ServerId, identity: &Identity) {
        if self.snapshot.load().server(id).is_none_or(|server| server.identity == *identity) {
            return;
        }
        if let Some(pool) = self.pool(id) {
            pool.dialer().insist_on(identity.clone());
        }
        self.change(|snapshot| snapshot.with_identity(id, identity.clone()));
    }

    /// A server that answered at a replica's address. Gives its number; the primary's when it is
    /// the primary.
    pub fn meet(&self, address: &str, identity: &Identity, flavour: Flavour) -> ServerId {
        let snapshot = self.snapshot.load();
        if let Some(known) = snapshot.find_identity(identity) {
            self.follow_to(known, address);
            return known;
        }
        let id = snapshot.next_id();
        let mut server = Server::new(id, address, Role::Reader);
        server.identity = identity.clone();
        tracing::info!(%address, %identity, "replica found");
        self.join(server, Some((identity.clone(), flavour)));
        id
    }

    /// A replica that went away is back elsewhere: a pod has a new address at each start.
    fn follow_to(&self, id: ServerId, address: &str) {
        let snapshot = self.snapshot.load();
        let Some(server) = snapshot.server(id) else { return };
        let is_away = server.role == Role::Reader && !server.health.serves_reads();
        if !is_away || server.answers_at(address) {
            return;
        }
        tracing::info!(from = %server.address, to = %address, "replica moved");
        if let Some(pool) = self.pool(id) {
            pool.dialer().reach_at(std::iter::once(address.to_owned()));
        }
        self.change(|snapshot| snapshot.with_address(id, address));
    }

    /// A server is known at this address and answers its watcher: nobody else can be there, for
    /// every new connection is asked who it is.
    #[must_use]
    pub fn is_well_at(&self, address: &str) -> bool {
        let snapshot = self.snapshot.load();
        let there = snapshot.find_address(address).and_then(|id| snapshot.server(id));
        there.is_some_and(|server| server.health.serves_reads())
    }

    /// What was found at a replica.
    pub(super) fn find(&self, id: ServerId, findings: Arc<[Finding]>) {
        self.change(|snapshot| snapshot.with_findings(id, findings));
    }

    /// The connection to a server was lost: what it had applied has to be asked anew.
    pub fn renew(&self, id: ServerId) {
        self.change(|snapshot| snapshot.with_incarnation(id));
    }

    fn join(&self, server: Server, told: Option<(Identity, Flavour)>) {
        let (identity, flavour) = match told {
            Some((identity, flavour)) => (Some(identity), flavour),
            None => (None, Flavour::MySql),
        };
        let dialer = Dialer::new(self.ways.clone(), &server.address, identity, flavour);
        let counters = self.metrics.servers.join(&server.address).ok();
        // One of the operator's connections is the watcher's.
        let connections_max = self.policy.connections_max.saturating_sub(1).max(1);
        let pool = Pool::new(server.id, dialer, connections_max, counters);
        let mut pools = BTreeMap::clone(&self.pools.load());
        pools.insert(server.id, pool);
        self.pools.store(Arc::new(pools));
        self.change(|snapshot| snapshot.with_server(server.clone()));
    }

    /// The one way in which a snapshot is replaced.
    fn change(&self, next: impl FnOnce(&Snapshot) -> Snapshot) {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = next(&self.snapshot.load());
        self.snapshot.store(Arc::new(changed));
        drop(changing);
    }

    fn next_random(&self) -> u64 {
        let step = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (step ^ (step >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 7
    }

    /// What was said may have changed rights, schemas or global settings: what was remembered of
    /// them is void, and the settings are looked at again.
    pub fn void(&self) {
        self.replays.void();
        self.unsettled.notify_one();
    }

    /// Reads how a session looks right after its login now. Pooled connections that began with
    /// other values are reset before their next use.
    pub(super) async fn refresh_baseline(
        &self,
        credentials: &Arc<Credentials>,
    ) -> Result<(), ErrPacket> {
        let Some(known) = self.baseline() else { return Ok(()) };
        let mut lease = self.lease_primary(credentials, self.account_of(credentials)).await?;
        if !lease.is_new() {
            let deadline = Instant::now() + self.ways.connect_timeout;
            lease.renew(credentials, Capabilities(0), deadline).await.map_err(told)?;
        }
        let mut baseline = self.read_baseline(&mut lease).await.map_err(lost)?;
        lease.give_back(0);
        if baseline.pairs != known.pairs {
            tracing::info!("the primary's settings for new sessions have changed");
            baseline.epoch = known.epoch.wrapping_add(1);
            self.ways.baseline.store(Some(Arc::new(baseline)));
            self.replays.void();
        }
        Ok(())
    }

    /// A connection to the primary for a question of our own.
    pub(super) async fn lease_primary(
        &self,
        credentials: &Arc<Credentials>,
        account: u64,
    ) -> Result<Lease, ErrPacket> {
        self.lease_for(&Want::primary(), credentials, account).await
    }

    /// The same for what a login asks: to a replica while the primary is lost.
    pub(super) async fn lease_for_login(
        &self,
        credentials: &Arc<Credentials>,
        account: u64,
    ) -> Result<Lease, ErrPacket> {
        let want = match self.does_without_primary() {
            true => of_login(Want::primary(), &self.freshness),
            false => Want::primary(),
        };
        self.lease_for(&want, credentials, account).await
    }

    async fn lease_for(
        &self,
        want: &Want,
        credentials: &Arc<Credentials>,
        account: u64,
    ) -> Result<Lease, ErrPacket> {
        let choice =
            self.pick(want).map_err(|error| ErrPacket::new(1105, b"HY000", error.to_string()))?;
        let request = Request {
            server: choice.server,
            role: choice.role(),
            credentials,
            account,
            shared: Capabilities(0),
            session: u64::MAX,
            state: 0,
            last: None,
            deadline: Instant::now() + self.policy.wait_max,
            stay: Stay::default(),
        };
        self.lease(&request).await.map_err(|error| match error {
            LeaseError::Open(error) => told(error),
            LeaseError::Busy => ErrPacket::new(1040, b"08004", "Too many connections"),
        })
    }

    async fn read_baseline(&self, lease: &mut Lease) -> Result<Baseline, QueryError> {
        let capabilities = lease.capabilities;
        let rows = ask(&mut lease.stream, capabilities, &Baseline::question()).await?;
        let values = rows.into_iter().next().unwrap_or_default();
        let pairs = BASELINE.iter().copied().zip(values.into_iter().map(Option::unwrap_or_default));
        let mut baseline = Baseline { pairs: pairs.collect(), ..Baseline::default() };
        let text = "SELECT ID,CHARACTER_SET_NAME,COLLATION_NAME FROM information_schema.COLLATIONS \
                    WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
        for row in ask(&mut lease.stream, capabilities, text).await? {
            if let [Some(id), Some(charset), Some(collation)] = row.as_slice()
                && let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok())
            {
                baseline.collations.insert(id, (charset.clone(), collation.clone()));
            }
        }
        Ok(baseline)
    }
}

/// Tokio's clock, so that a simulation may move it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The connection is gone, or the server says that it leaves.
fn is_lost(error: &QueryError) -> bool {
    match error {
        QueryError::Lost(_) => true,
        QueryError::Refused(refused) => is_leaving(refused.code),
        QueryError::Malformed(_) => false,
    }
}

/// What a client is told when no connection to the primary could be opened.
fn told(error: OpenError) -> ErrPacket {
    match error {
        OpenError::Dial(DialError::Refused(refused)) => refused,
        // MySQL leads names that it does not know into some plugin or other: they must look like
        // wrong passwords.
        error if error.is_of_account() => ErrPacket::new(1045, b"28000", "Access denied"),
        error => {
            let text = format!("The primary database server cannot be reached: {error}");
            ErrPacket::new(1105, b"HY000", text)
        }
    }
}

fn lost(error: QueryError) -> ErrPacket {
    ErrPacket::new(1105, b"HY000", format!("The primary database server was lost: {error}"))
}
