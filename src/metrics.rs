//! Every number that Forebay tells about itself.
//!
//! Handles are resolved once, here; counting is one atomic addition and never looks a label up or
//! allocates. Gauges that other layers own are asked for when somebody scrapes. Names and help
//! texts stand in `metrics::name` and nowhere else; no routing or health is decided by a metric.

mod follower;
mod gauge;
mod label;
mod name;
mod process;
mod route;
mod server;
mod timing;

use prometheus::{Histogram, IntCounter, IntGauge, Registry, TextEncoder};

pub use follower::FollowerCounters;
pub use gauge::{Gauges, PoolState};
pub use label::{BackendLogin, Blame, Careless, Label, Labelled, Login, Observed, Retried, Target};
pub use route::RouteCounters;
pub use server::{ServerCounters, Servers};
pub use timing::{Lap, Sampler, Stopwatch, Timings};

/// Bounds in seconds: from a primary on the same machine to one that hangs.
const WAITS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.25, 1.0];

/// All counters and timings of the process; shared by reference with everyone who counts.
#[derive(Debug)]
pub struct Metrics {
    /// Where statements went, and why.
    pub route: RouteCounters,
    /// How long the parts of a statement took.
    pub timings: Timings,
    /// Clients that ever connected.
    pub client_connects: IntCounter,
    /// How clients' logins ended.
    pub logins: Labelled<Login>,
    /// Statements that had to wait for a connection.
    pub pool_waits: IntCounter,
    /// What is counted for each server.
    pub servers: Servers,
    /// Statements run a second time, unseen.
    pub retries: Labelled<Retried>,
    /// Reads kept from a replica that had not seen a write yet.
    pub stale_reads_prevented: IntCounter,
    /// How long reads waited for a fence, in seconds.
    pub fence_seconds: Histogram,
    /// How long reads waited for a replica, in seconds.
    pub replica_wait_seconds: Histogram,
    /// What is read of the primary's log.
    pub follower: FollowerCounters,
    /// Reads of replicas while no primary could be reached.
    pub reads_unfenced: IntCounter,
    /// What mode `split` would have done with reads.
    pub observed_reads: Labelled<Observed>,
    /// What other rules would have answered stale.
    pub observed_stale: Labelled<Careless>,
    /// Errors that clients were told, by culprit.
    pub errors: Labelled<Blame>,
    /// Clients that were cut at the end of a drain.
    pub drain_cut: IntCounter,
    /// Beliefs of the program that turned out wrong; each one is worth a report.
    pub bugs: IntCounter,
    clients: IntGauge,
    registry: Registry,
}

/// A client that is here; it counts as one until it is dropped.
#[derive(Debug)]
#[must_use = "a client counts only while this lives"]
pub struct Present(IntGauge);

impl Metrics {
    /// Registers everything. `reasons` are the words for why a statement went where it went, in
    /// the order of the indices that `route` is counted with.
    ///
    /// # Errors
    /// A name or a label is not what the registry accepts, which the tests of this module exclude.
    pub fn new(reasons: &[&'static str]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        name::BUILD_INFO
            .gauges(&registry)?
            .get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
            .set(1);
        Ok(Self {
            route: RouteCounters::new(&registry, Target::VALUES, reasons)?,
            timings: Timings::new(&registry)?,
            client_connects: name::CLIENT_CONNECTS.counter(&registry)?,
            logins: Labelled::new(&name::LOGINS, &registry)?,
            pool_waits: name::POOL_WAITS.counter(&registry)?,
            servers: Servers::new(&registry)?,
            retries: Labelled::new(&name::RETRIES, &registry)?,
            stale_reads_prevented: name::STALE_READS_PREVENTED.counter(&registry)?,
            fence_seconds: name::FENCE_SECONDS.histogram(&registry, WAITS)?,
            replica_wait_seconds: name::REPLICA_WAIT_SECONDS.histogram(&registry, WAITS)?,
            follower: FollowerCounters::new(&registry, WAITS)?,
            reads_unfenced: name::READS_UNFENCED.counter(&registry)?,
            observed_reads: Labelled::new(&name::OBSERVED_READS, &registry)?,
            observed_stale: Labelled::new(&name::OBSERVED_STALE, &registry)?,
            errors: Labelled::new(&name::ERRORS, &registry)?,
            drain_cut: name::DRAIN_CUT.counter(&registry)?,
            bugs: name::BUGS.counter(&registry)?,
            clients: name::CLIENTS.gauge(&registry)?,
            registry,
        })
    }

    /// Counts a client that connected, and counts it as present until the guard is dropped.
    pub fn admit(&self) -> Present {
        self.client_connects.inc();
        self.clients.inc();
        Present(self.clients.clone())
    }

    /// Clients connected now.
    #[must_use]
    pub fn clients(&self) -> i64 {
        self.clients.get()
    }

    /// The page that a scraper reads. `fill` is called once and sets the gauges of this moment;
    /// what it does not set is not shown, so a server that left leaves no number behind.
    ///
    /// # Errors
    /// The registry holds something that has no text form, which the tests exclude.
    pub fn render(&self, fill: impl FnOnce(&mut Gauges)) -> Result<String, prometheus::Error> {
        let momentary = Registry::new();
        let mut gauges = Gauges::new(&momentary)?;
        fill(&mut gauges);
        process::measure(&momentary)?;
        let mut families = self.registry.gather();
        families.extend(momentary.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The README's table of metrics.
#[must_use]
pub fn reference() -> String {
    let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for definition in name::ALL {
        table.push_str(&definition.row());
    }
    table
}

#[cfg(test)]
mod tests;
