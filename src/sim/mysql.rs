//! The toy fleet: one primary, replicas behind it, and what each keeps of itself.
//!
//! Replication here is real in what matters: transactions have numbers, replicas apply them later
//! and not always in order, servers die and come back, a crashed replica with less than it had.
//! The conversation of one connection is `mysql::session`'s; which server does what when is
//! `world`'s.

mod dump;
mod session;
pub(super) use session::{COLLATIONS, defaults, set_names};
mod talk;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::duplex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::link::{Line, PIPE_BYTES, Temper};
use super::oracle::Oracle;
use super::random::Random;
use super::store::{Change, Store};
use crate::link::network::{Connecting, Memory};
use crate::sql::Flavour;

/// How a run's fleet is, and how badly it behaves: of a thousand statements so many end so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) flavour: Flavour,
    pub(super) replicas: usize,
    /// All servers stand behind one address for readers.
    pub(super) balanced: bool,
    /// Proxies that know nothing of each other.
    pub(super) proxies: usize,
    /// Connections that the proxy may have to one server.
    pub(super) connections_max: u32,
    pub(super) temper: Temper,
    /// A statement takes up to so long.
    pub(super) work_ms_max: u64,
    /// A replica may be so late.
    pub(super) lag_ms_max: u64,
    /// Transactions that replicas apply out of order.
    pub(super) early: u64,
    /// The connection is lost before a statement runs.
    pub(super) lost_before: u64,
    /// It is lost when the statement was run and nothing was said.
    pub(super) lost_after: u64,
    /// It is lost in the middle of the reply.
    pub(super) lost_within: u64,
    /// The server says that it leaves, and does.
    pub(super) leaves: u64,
    /// A replica says that a read is a write.
    pub(super) refuses_read: u64,
    /// Times between two calamities; 0: there are none.
    pub(super) calamity_ms_mean: u64,
    /// Of a thousand proxies, so many may read the primary's log.
    pub(super) follows: u64,
    /// The log may be so late.
    pub(super) stream_ms_max: u64,
}

impl Profile {
    /// While a request runs, writes of others may be so old and not be seen. Without a follower
    /// every write through the same proxy is seen at once; with one, as soon as the log shows it.
    pub(super) fn unseen_max(&self) -> Option<Duration> {
        match (self.follows, self.proxies) {
            (0, 1) => None,
            (0, _) => Some(UNSEEN_OF_OTHERS_MAX),
            _ => Some(UNSEEN_MAX),
        }
    }
}

/// All toy servers and their history.
pub(super) struct Farm {
    pub(super) profile: Profile,
    pub(super) oracle: Arc<Oracle>,
    servers: Vec<Server>,
    log: Mutex<Vec<Vec<Change>>>,
    /// Told at each commit.
    committed: Notify,
    random: Mutex<Random>,
    /// Nothing goes wrong any more.
    calm: watch::Sender<bool>,
    born: Instant,
}

/// One toy server; the first one is the primary.
pub(super) struct Server {
    at: usize,
    state: Mutex<State>,
    /// How often it has died.
    deaths: AtomicU64,
    /// Told at each: whoever speaks for it stops. Not a `watch` channel, which wakes in an order of
    /// its own.
    died: Notify,
}

/// What a server is at one moment.
#[derive(Default)]
pub(super) struct State {
    up: bool,
    /// New connections are refused with 1040.
    full: bool,
    /// It says nothing any more, and its connections stay open.
    frozen: bool,
    /// It applies nothing of what the primary sends.
    stopped: bool,
    store: Store,
    locks: BTreeMap<String, u32>,
    /// Of each that is logged in: whether it is known to be gone.
    connections: Vec<Arc<AtomicBool>>,
    connections_max: usize,
    /// Since it was started; real servers begin anew too.
    threads: u32,
    started_s: u64,
    last_id: u64,
}

impl Farm {
    pub(super) fn new(profile: Profile, oracle: Arc<Oracle>, random: Random) -> Arc<Self> {
        let server = |at| Server {
            at,
            state: Mutex::new(State { up: true, ..State::default() }),
            deaths: AtomicU64::new(0),
            died: Notify::new(),
        };
        Arc::new(Self {
            profile,
            oracle,
            servers: (0..=profile.replicas).map(server).collect(),
            log: Mutex::default(),
            committed: Notify::new(),
            random: Mutex::new(random),
            calm: watch::Sender::new(false),
            born: Instant::now(),
        })
    }

    pub(super) fn server(&self, at: usize) -> Option<&Server> {
        self.servers.get(at)
    }

    /// How the proxy is told to reach the primary, and the replicas.
    pub(super) fn addresses(&self) -> (String, Vec<String>) {
        let named = |server: &Server| format!("db{}:3306", server.at);
        let primary = self.servers.first().map(named).unwrap_or_default();
        let replicas = self.servers.iter().skip(1).map(named).collect();
        (primary, if self.profile.balanced { vec!["read:3306".into()] } else { replicas })
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on nothing goes wrong, and what is down comes back.
    pub(super) fn calm_down(&self) {
        self.calm.send_replace(true);
        for server in &self.servers {
            server.change(|state| {
                state.up = true;
                state.full = false;
                state.frozen = false;
                state.stopped = false;
            });
        }
    }

    /// For how many seconds a server has been up.
    fn uptime_s(&self, state: &State) -> u64 {
        self.born.elapsed().as_secs().saturating_sub(state.started_s)
    }

    pub(super) fn is_calm(&self) -> bool {
        *self.calm.borrow()
    }

    fn log(&self) -> MutexGuard<'_, Vec<Vec<Change>>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The primary commits: these changes are one transaction. Gives its number.
    fn commit(&self, primary: &Server, changes: Vec<Change>) -> u64 {
        let mut log = self.log();
        let number = log.len() as u64 + 1;
        primary.change(|state| state.store.apply(number, &changes));
        for change in &changes {
            self.oracle.committed(&change.token, number);
        }
        log.push(changes);
        drop(log);
        self.committed.notify_waiters();
        number
    }

    /// A transaction, if there is one of that number.
    fn transaction(&self, number: u64) -> Option<Vec<Change>> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.log().get(at).cloned()
    }

    /// Lets a replica apply what the primary has, late.
    pub(super) async fn replicate(self: Arc<Self>, at: usize, mut random: Random) {
        let Some(server) = self.servers.get(at) else { return };
        loop {
            let told = self.committed.notified();
            let next = server.look(|state| state.store.prefix() + 1);
            let is_up = server.look(|state| state.up && !state.stopped);
            if !is_up || self.transaction(next).is_none() {
                // A server that is down is looked at again; one that has all waits for more.
                let pause = Duration::from_millis(50);
                let _told_or_not = tokio::time::timeout(pause, told).await;
                continue;
            }
            let late = if random.chance(20) { 10 } else { 1 };
            sleep(Duration::from_millis(random.between(0, self.profile.lag_ms_max * late))).await;
            let is_mysql = self.profile.flavour == Flavour::MySql;
            let early = random.chance(self.profile.early) && is_mysql;
            let first = if early { next + 1 } else { next };
            let many = if random.chance(500) { 1 } else { 50 };
            for number in first..first + many {
                let Some(changes) = self.transaction(number) else { break };
                server.change(|state| state.replay(number, &changes));
            }
        }
    }

    /// Servers die and come back, until all is calm.
    pub(super) async fn misbehave(self: Arc<Self>, mut random: Random) {
        let mean = self.profile.calamity_ms_mean;
        while mean > 0 && !self.is_calm() {
            sleep(Duration::from_millis(random.between(mean / 4, mean * 2))).await;
            let at = usize::try_from(random.between(0, self.profile.replicas as u64)).unwrap_or(0);
            let Some(server) = self.servers.get(at).filter(|_| !self.is_calm()) else { continue };
            match random.between(0, 9) {
                0 => self.fill(&[server], &mut random).await,
                1 => self.fill(self.servers.get(1..).unwrap_or_default(), &mut random).await,
                2 | 3 => self.freeze(server, &mut random).await,
                _ => self.kill(server, &mut random).await,
            }
        }
    }

    async fn fill<S: Borrow<Server>>(&self, servers: &[S], random: &mut Random) {
        let set = |full| {
            for server in servers {
                server.borrow().change(|state| state.full = full);
            }
        };
        self.oracle.fault(&format!("{} servers are full", servers.len()));
        set(true);
        sleep(Duration::from_millis(random.between(10, 3000))).await;
        set(false);
    }

    async fn freeze(&self, server: &Server, random: &mut Random) {
        self.oracle.fault(&format!("server {} freezes", server.at));
        server.change(|state| state.frozen = true);
        sleep(Duration::from_millis(random.between(100, FREEZE_MS_MAX))).await;
        server.change(|state| state.frozen = false);
    }

    async fn kill(&self, server: &Server, random: &mut Random) {
        self.oracle.fault(&format!("server {} dies", server.at));
        server.die();
        if server.is_primary() {
            self.oracle.unlocked_all();
        }
        sleep(Duration::from_millis(random.between(20, 4000))).await;
        if server.at > 0 && random.chance(500) {
            self.forget_some(server, random);
        }
        let started_s = self.born.elapsed().as_secs();
        server.change(|state| {
            (state.up, state.stopped) = (true, true);
            (state.started_s, state.threads) = (started_s, 0);
        });
        self.oracle.note(&format!("server {} is back", server.at));
        // It serves at once, and finds its primary again a while later.
        sleep(Duration::from_millis(random.between(0, 6000))).await;
        server.change(|state| state.stopped = false);
    }

    /// A crashed replica lost what it had applied last.
    fn forget_some(&self, server: &Server, random: &mut Random) {
        let prefix = server.look(|state| state.store.prefix());
        let kept = prefix.saturating_sub(random.between(1, 60));
        let mut store = Store::default();
        for number in 1..=kept {
            store.apply(number, &self.transaction(number).unwrap_or_default());
        }
        self.oracle.note(&format!("server {} forgot what came after {kept}", server.at));
        server.change(|state| state.store = store);
    }

    /// How far a server has come, as it prints it.
    fn position(&self, state: &State) -> String {
        match self.profile.flavour {
            Flavour::MySql => match state.store.intervals() {
                Some(intervals) => format!("{UUID}:{intervals}"),
                None => String::new(),
            },
            Flavour::MariaDb if state.store.prefix() == 0 => String::new(),
            Flavour::MariaDb => format!("0-1-{}", state.store.prefix()),
        }
    }

    fn gtid(&self, number: u64) -> String {
        match self.profile.flavour {
            Flavour::MySql => format!("{UUID}:{number}"),
            Flavour::MariaDb => format!("0-1-{number}"),
        }
    }
}

/// What is promised where fences are shared.
const UNSEEN_OF_OTHERS_MAX: Duration = Duration::from_millis(4);
/// What is promised where a log is followed that may be late.
const UNSEEN_MAX: Duration = Duration::from_secs(1);
/// A server is silent for so long at most.
const FREEZE_MS_MAX: u64 = 20_000;
/// Of the primary, in GTIDs.
const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

impl Server {
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_primary(&self) -> bool {
        self.at == 0
    }

    /// How often it has died.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Returns when it has died more often than that.
    pub(super) async fn dies_after(&self, deaths: u64) {
        loop {
            let mut died = pin!(self.died.notified());
            died.as_mut().enable();
            if self.deaths() != deaths {
                return;
            }
            died.await;
        }
    }

    /// All its connections are lost, with what was open on them.
    fn die(&self) {
        self.change(|state| {
            state.up = false;
            state.locks.clear();
            state.connections.clear();
        });
        self.deaths.fetch_add(1, Ordering::Relaxed);
        self.died.notify_waiters();
    }
}

impl State {
    /// One connection more.
    fn count(&mut self, closed: Arc<AtomicBool>) {
        self.connections.retain(|closed| !closed.load(Ordering::Relaxed));
        self.connections.push(closed);
        self.connections_max = self.connections_max.max(self.connections.len());
    }

    fn replay(&mut self, number: u64, changes: &[Change]) {
        if self.up && !self.stopped {
            self.store.apply(number, changes);
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The most connections that were logged in at once.
    pub(super) fn connections_max(&self) -> usize {
        self.connections_max
    }
}

/// The made-up network between the proxy and the farm.
pub(super) struct Roads(pub(super) Arc<Farm>);

impl Memory for Roads {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let farm = &self.0;
            sleep(Duration::from_millis(farm.draw(|random| random.between(0, 2)))).await;
            let name = address.strip_suffix(":3306").unwrap_or(address);
            let at = match name.strip_prefix("db").map(str::parse) {
                Some(Ok(at)) => at,
                _ => farm.draw(|random| random.between(0, farm.profile.replicas as u64)) as usize,
            };
            let server = farm.servers.get(at).ok_or(io::ErrorKind::NotFound)?;
            if !server.look(|state| state.up) {
                // Half of the time nobody even says no.
                if farm.draw(|random| random.chance(100)) {
                    std::future::pending::<()>().await;
                }
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(PIPE_BYTES);
            let random = farm.draw(Random::fork);
            let line = Line::new(ours, random.clone(), farm.profile.temper);
            tokio::spawn(talk::serve(Arc::clone(farm), at, line, random));
            Ok(theirs)
        })
    }
}
