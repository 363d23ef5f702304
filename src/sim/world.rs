//! One run: seed -> fleet, proxy, clients, faults -> a report, or what went wrong.
//!
//! The proxy is put together as `app` does it, from the same parts. Each run has a thread and a
//! paused clock of its own, so that equal seeds are equal runs, whatever ran before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::link::{PIPE_BYTES, Temper};
use super::mysql::{Farm, Profile, Roads};
pub use super::oracle::Counts;
use super::oracle::Oracle;
use super::php::{Client, PASSWORD};
use super::random::Random;
use crate::backend::dial::greeting_only;
use crate::backend::dialer::Ways;
use crate::backend::fleet::{Fleet, FleetPolicy};
use crate::backend::probe;
use crate::client::accept::{Arrival, Peer};
use crate::client::announce::Announcers;
use crate::client::enter::enter;
use crate::client::greet::{Door, OFFERED, Proof, Prove};
use crate::client::house::House;
use crate::client::registry::Registry;
use crate::control::{Control, Demands, Mode, Phase};
use crate::freshness::KeyedTables;
use crate::freshness::{Level, Levels};
use crate::link::{Network, tls};
use crate::metrics::Metrics;
use crate::secret::{Book, Credentials, Policy, RsaKey};
use crate::session::plan::Reason;
use crate::sql::{Classifier, Flavour};
use crate::wire::capability::Capabilities;

/// A run that kept every promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub counts: Counts,
    /// How long it took there.
    pub took_ms: u128,
    /// A number made of every event: equal runs have equal ones.
    pub hash: u64,
}

/// A promise was broken.
#[derive(Debug, thiserror::Error)]
#[error("seed {seed}: {why}\n{}", last_of(events))]
pub struct Failure {
    /// Runs it again.
    pub seed: u64,
    /// Which promise, and how.
    pub why: String,
    /// What happened last.
    pub events: Vec<String>,
}

/// Events that a failure shows.
const EVENTS_SHOWN: usize = 60;

fn last_of(events: &[String]) -> String {
    events.get(events.len().saturating_sub(EVENTS_SHOWN)..).unwrap_or_default().join("\n")
}

/// What runs can share, because it takes long to make and changes nothing.
#[derive(Clone)]
pub struct Kit {
    rsa: Arc<RsaKey>,
    tls: tls::BackendTls,
}

impl Kit {
    /// Makes it.
    pub fn new() -> Result<Self, String> {
        Ok(Self {
            rsa: Arc::new(RsaKey::generate().map_err(|error| error.to_string())?),
            tls: tls::BackendTls::unverified(tls::Mode::Disabled)
                .map_err(|error| error.to_string())?,
        })
    }

    /// Runs one world to its end.
    pub fn run(&self, seed: u64) -> Result<Report, Failure> {
        let kit = self.clone();
        let failed = move |why: &str| Failure { seed, why: why.to_owned(), events: Vec::new() };
        let thread = std::thread::Builder::new().name(format!("world {seed}"));
        let running = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .map_err(|error| failed(&error.to_string()))?;
            runtime.block_on(play(seed, kit))
        });
        let running = running.map_err(|error| failed(&error.to_string()))?;
        running.join().unwrap_or_else(|_| Err(failed("a panic")))
    }
}

/// Runs one world to its end.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let failed = |why| Failure { seed, why, events: Vec::new() };
    Kit::new().map_err(failed)?.run(seed)
}

/// No run takes longer than this, there.
const RUN_MAX: Duration = Duration::from_secs(1800);
/// Between the last client's end and the last look.
const SETTLE_MAX: Duration = Duration::from_secs(30);

async fn play(seed: u64, kit: Kit) -> Result<Report, Failure> {
    let mut random = Random::new(seed);
    let oracle = Arc::new(Oracle::new());
    let begun = Instant::now();
    let played = timeout(RUN_MAX, World::build(&kit, &oracle, &mut random)).await;
    let played = match played {
        Ok(Ok(world)) => timeout(RUN_MAX, world.play(&mut random)).await.is_ok(),
        Ok(Err(why)) => {
            oracle.fail(&why);
            true
        }
        Err(_) => false,
    };
    if !played {
        oracle.fail("the run never ended");
    }
    let (events, hash) = oracle.history();
    match oracle.failure() {
        Some(why) => Err(Failure { seed, why, events }),
        None => Ok(Report { counts: oracle.counts(), took_ms: begun.elapsed().as_millis(), hash }),
    }
}

/// How this seed's world is.
fn profile(random: &mut Random) -> Profile {
    let flavour = random.pick(&[Flavour::MySql, Flavour::MariaDb]).unwrap_or(Flavour::MySql);
    let temper = Temper {
        piece_bytes_max: random.pick(&[3, 40, 1000, 60_000]).unwrap_or(1000),
        wait_ms_max: random.pick(&[1, 5, 30]).unwrap_or(1),
        waits: random.pick(&[0, 20, 100]).unwrap_or(0),
    };
    // A third of the worlds is quiet, so that a fault of ours does not hide behind theirs.
    let rough = random.pick(&[0, 1, 4]).unwrap_or(0);
    Profile {
        flavour,
        temper,
        replicas: random.pick(&[1, 2, 2, 2, 3]).unwrap_or(2),
        balanced: random.chance(250),
        proxies: random.pick(&[1, 2]).unwrap_or(1),
        connections_max: random.pick(&[1, 2, 4, 20]).unwrap_or(4) as u32,
        work_ms_max: random.pick(&[0, 2, 20]).unwrap_or(2),
        lag_ms_max: random.pick(&[0, 3, 30, 300, 2000]).unwrap_or(30),
        early: random.pick(&[0, 0, 300]).unwrap_or(0),
        lost_before: rough * 2,
        lost_after: rough * 2,
        lost_within: rough * 2,
        leaves: rough * 2,
        refuses_read: rough * 2,
        calamity_ms_mean: if rough > 0 { random.pick(&[0, 500, 3000]).unwrap_or(0) } else { 0 },
        follows: random.pick(&[0, 0, 500, 1000, 1000]).unwrap_or(0),
        stream_ms_max: random.pick(&[0, 1, 20, 300, 3000]).unwrap_or(0),
    }
}

/// A fleet, proxies before it that know nothing of each other, and clients before those.
struct World {
    farm: Arc<Farm>,
    oracle: Arc<Oracle>,
    houses: Vec<Arc<House>>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Nobody may demand anything, but somebody must be there.
    _demands: Vec<Demands>,
}

const CLIENTS_MAX: u32 = 1000;

impl World {
    async fn build(kit: &Kit, oracle: &Arc<Oracle>, random: &mut Random) -> Result<Self, String> {
        let profile = profile(random);
        oracle.note(&format!("{profile:?}"));
        let farm = Farm::new(profile, Arc::clone(oracle), random.fork());
        let mut tasks = JoinSet::new();
        for at in 1..=profile.replicas {
            tasks.spawn(Arc::clone(&farm).replicate(at, random.fork()));
        }
        let (mut houses, mut all_demands) = (Vec::new(), Vec::new());
        for _ in 0..profile.proxies {
            let (house, demands) = build_house(kit, &farm, random)?;
            let door = open_door(kit, &house).await?;
            house.door.store(Some(Arc::new(door)));
            tasks.spawn(probe::watch(Arc::clone(&house.fleet)));
            house.control.enter(Phase::Serving);
            houses.push(house);
            all_demands.push(demands);
        }
        Ok(Self {
            farm,
            oracle: Arc::clone(oracle),
            houses,
            permits: Arc::new(Semaphore::new(CLIENTS_MAX as usize)),
            tasks,
            _demands: all_demands,
        })
    }

    async fn play(mut self, random: &mut Random) {
        self.tasks.spawn(Arc::clone(&self.farm).misbehave(random.fork()));
        let connections_max = self.farm.profile.connections_max as usize;
        for house in &self.houses {
            let (house, oracle) = (Arc::clone(house), Arc::clone(&self.oracle));
            self.tasks.spawn(count_connections(house, oracle, connections_max));
        }
        let mut clients = JoinSet::new();
        let calamities = self.farm.profile.calamity_ms_mean > 0;
        for number in 1..=random.between(1, 12) {
            let client = Client {
                number: number as u32,
                oracle: Arc::clone(&self.oracle),
                random: random.fork(),
                temper: self.farm.profile.temper,
                unseen_max: self.farm.profile.unseen_max(),
                visits: random.between(1, if calamities { 14 } else { 6 }),
                pause_ms_max: if calamities { 1200 } else { 300 },
            };
            let (houses, permits) = (self.houses.clone(), Arc::clone(&self.permits));
            // Each visit through another proxy than the one before.
            let visits = AtomicUsize::new(number as usize);
            clients.spawn(client.run(move || {
                let at = visits.fetch_add(1, Ordering::Relaxed) % houses.len().max(1);
                come_in(houses.get(at), &permits)
            }));
        }
        // Cancel-safe: a run that failed is not gone on with.
        tokio::select! {
            biased;
            () = self.oracle.failed.notified() => return,
            () = all_of(&mut clients) => {}
        }
        self.farm.calm_down();
        self.settle().await;
    }

    /// After the last client: nothing is leased, everybody has left, the limits were kept.
    async fn settle(&self) {
        let deadline = Instant::now() + SETTLE_MAX;
        while let Some(left) = self.leftover() {
            if Instant::now() >= deadline {
                return self.oracle.fail(&format!("after all clients left: {left}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let bugs: u64 = self.houses.iter().map(|house| house.metrics.bugs.get()).sum();
        if bugs > 0 {
            self.oracle.fail(&format!("the proxies say that they have {bugs} bugs"));
        }
        if let Some(primary) = self.farm.server(0) {
            primary.look(|state| self.oracle.settle(state.store()));
        }
        if self.farm.profile.balanced {
            // Whoever dials a balancer may come to a server that it did not want, for a moment.
            return;
        }
        for at in 0..=self.farm.profile.replicas {
            let Some(server) = self.farm.server(at) else { continue };
            let most = server.look(|state| state.connections_max());
            // One that watches, and one that looks who is there; one that follows, and one that
            // looks at the tables.
            let more = if self.farm.profile.follows > 0 { 4 } else { 2 };
            let allowed = (self.farm.profile.connections_max as usize + more) * self.houses.len();
            if most > allowed {
                self.oracle.fail(&format!("server {at} had {most} connections of {allowed}"));
            }
        }
    }

    fn leftover(&self) -> Option<String> {
        let present = CLIENTS_MAX as usize - self.permits.available_permits();
        if present > 0 {
            return Some(format!("{present} are still here"));
        }
        self.houses.iter().find_map(|house| {
            house.fleet.pools().values().find_map(|pool| {
                let counts = pool.counts();
                let busy = counts.leased + counts.opening + counts.waiting;
                (busy > 0).then(|| format!("{counts:?}"))
            })
        })
    }
}

/// Looks again and again whether a pool has more connections than it may.
async fn count_connections(house: Arc<House>, oracle: Arc<Oracle>, connections_max: usize) {
    loop {
        for pool in house.fleet.pools().values() {
            let counts = pool.counts();
            if counts.idle + counts.leased + counts.opening > connections_max {
                oracle.fail(&format!("{counts:?} where {connections_max} are allowed"));
            }
        }
        sleep(Duration::from_millis(7)).await;
    }
}

async fn all_of(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// A client's connection; the proxy's end of it begins to be served.
fn come_in(house: Option<&Arc<House>>, permits: &Arc<Semaphore>) -> DuplexStream {
    let (ours, theirs) = duplex(PIPE_BYTES);
    if let (Some(house), Ok(permit)) = (house, Arc::clone(permits).try_acquire_owned()) {
        let arrival = Arrival { stream: theirs.into(), peer: Peer::Local, permit };
        tokio::spawn(enter(arrival, Arc::clone(house)));
    }
    ours
}

fn build_house(
    kit: &Kit,
    farm: &Arc<Farm>,
    random: &mut Random,
) -> Result<(Arc<House>, Demands), String> {
    let reasons: Vec<&'static str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    let metrics = Arc::new(Metrics::new(&reasons).map_err(|error| error.to_string())?);
    let (control, demands) = Control::new(Mode::Split);
    let ways = Ways {
        network: Network::Memory(Arc::new(Roads(Arc::clone(farm)))),
        tls: kit.tls.clone(),
        connect_timeout: Duration::from_secs(2),
        local_infile: false,
        baseline: Arc::default(),
        changed: Arc::default(),
    };
    let (primary, replicas) = farm.addresses();
    let follows = random.chance(farm.profile.follows);
    let is_monitored = random.chance(500) || follows;
    let monitor = is_monitored.then(|| account(b"php", b"")).transpose()?;
    // Both its columns can be asked for; the key is what every statement names.
    let keyed: &[&str] = if random.chance(700) { &["items.id", "notes.id"] } else { &[] };
    let policy = FleetPolicy {
        primary,
        replicas,
        connections_max: farm.profile.connections_max,
        idle_max: Duration::from_secs(random.between(1, 60)),
        window: Duration::from_secs(5),
        keyed_tables: KeyedTables::with(keyed).map_err(|error| error.to_string())?,
        follower: follows,
        replica_wait: Duration::from_millis(20),
        // Of two, one may have lost a primary that the other writes to.
        serves_stale: farm.profile.proxies == 1,
        wait_max: Duration::from_secs(10),
        monitor: ArcSwapOption::from(monitor),
        local_answers: Some(Duration::from_secs(60)),
    };
    let fleet = Fleet::new(policy, ways, Arc::clone(&metrics), random.next());
    let house = House {
        classifier: Classifier::new(random.next()),
        fleet,
        metrics,
        door: ArcSwapOption::empty(),
        announcers: Announcers::default(),
        control,
        levels: Levels::of_all(Level::Causal),
        wait_max: Duration::from_secs(10),
        sessions: AtomicU64::new(0),
        registry: Registry::default(),
    };
    Ok((Arc::new(house), demands))
}

/// Asks the primary who it is, as the program does at its start.
async fn open_door(kit: &Kit, house: &House) -> Result<Door, String> {
    let ways = &house.fleet.ways;
    let deadline = Instant::now() + ways.connect_timeout;
    let greeting = greeting_only(&ways.network, &house.fleet.policy.primary, deadline)
        .await
        .map_err(|error| error.to_string())?;
    let policy = Policy { listed: vec![account(b"shop", PASSWORD)?], ..Policy::default() };
    Ok(Door {
        version: greeting.version,
        charset: greeting.charset,
        capabilities: OFFERED.without(Capabilities::SESSION_TRACK),
        tls: None,
        require_tls: false,
        rsa: Arc::clone(&kit.rsa),
        book: Arc::new(Book::new(policy).map_err(|error| error.to_string())?),
        prove: Arc::new(Prover(Arc::clone(&house.fleet))),
        login_timeout: Duration::from_secs(10),
        bare_passwords: AtomicU64::new(0),
    })
}

fn account(user: &[u8], password: &[u8]) -> Result<Arc<Credentials>, String> {
    let made = Credentials::new(user.to_vec(), password.to_vec());
    made.map(Arc::new).map_err(|error| error.to_string())
}

struct Prover(Arc<Fleet>);

impl Prove for Prover {
    fn prove(&self, credentials: Arc<Credentials>, was_right: bool) -> Proof<'_> {
        Box::pin(self.0.prove(credentials, was_right))
    }
}
