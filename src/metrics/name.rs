//! The names: one line for each metric, with its labels and its help text.
//!
//! Not the numbers; `metrics` and its other parts hold those. Called by them alone.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// A metric as it is announced.
#[derive(Debug)]
pub(super) struct Definition {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Counter, labels, help }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition { name, kind: Kind::Gauge, labels, help }
}

pub(super) const ROUTE: Definition = counter(
    "forebay_route_total",
    &["target", "reason"],
    "Statements by where they went (primary, replica, local, refused) and why.",
);
pub(super) const QUERY_SECONDS: Definition = Definition {
    name: "forebay_query_seconds",
    kind: Kind::Histogram,
    labels: &["target", "phase"],
    help: "Time of one statement in sixteen, by target and phase (queue, connect, backend, relay).",
};
pub(super) const CLIENTS: Definition = gauge("forebay_clients", &[], "Clients connected now.");
pub(super) const CLIENT_CONNECTS: Definition =
    counter("forebay_client_connects_total", &[], "Client connections accepted.");
pub(super) const LOGINS: Definition = counter(
    "forebay_logins_total",
    &["result"],
    "Client logins by how they ended (known, proved, denied, refused, throttled, broken).",
);
pub(super) const POOL_CONNECTIONS: Definition = gauge(
    "forebay_pool_connections",
    &["server", "state"],
    "Connections to servers by state (idle, leased, opening).",
);
pub(super) const POOL_WAITS: Definition = counter(
    "forebay_pool_waits_total",
    &[],
    "Statements that had to wait for a connection to a server.",
);
pub(super) const BACKEND_LOGINS: Definition = counter(
    "forebay_backend_logins_total",
    &["server", "result"],
    "Logins at servers by how they ended (ok, refused, unreachable, timed_out, malformed).",
);
pub(super) const SERVER_UP: Definition = gauge(
    "forebay_server_up",
    &["server", "role"],
    "1 while a server may be used in that role (primary, reader), else 0.",
);
pub(super) const SERVER_FINDINGS: Definition = gauge(
    "forebay_server_findings",
    &["server", "finding"],
    "1 for each thing that is wrong with a replica (filtered, diverged, may_have_lost: no reads; \
     unflushed, applier_stopped, receiver_stopped, no_replica, hidden: told only).",
);
pub(super) const MISROUTE: Definition = counter(
    "forebay_misroute_total",
    &["server"],
    "Statements that a replica refused as writes; each was run again on the primary, each is a bug.",
);
pub(super) const RETRIES: Definition = counter(
    "forebay_retries_total",
    &["reason"],
    "Statements run a second time, unseen, by reason (lost, unsent, refused, missing).",
);
pub(super) const STALE_READS_PREVENTED: Definition = counter(
    "forebay_stale_reads_prevented_total",
    &[],
    "Reads kept from replicas that had not yet applied a write they had to see.",
);
pub(super) const FENCE_SECONDS: Definition = Definition {
    name: "forebay_fence_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long reads waited to learn what the primary has (the fence).",
};
pub(super) const REPLICA_WAIT_SECONDS: Definition = Definition {
    name: "forebay_replica_wait_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long reads waited for a replica that was about to have what they need.",
};
pub(super) const FOLLOWER_UP: Definition = gauge(
    "forebay_follower_up",
    &[],
    "1 while the primary's log is followed, else 0: then every write counts as one to all tables.",
);
pub(super) const FOLLOWER_TRANSACTIONS: Definition =
    counter("forebay_follower_transactions_total", &[], "Transactions read in the primary's log.");
pub(super) const FOLLOWER_BYTES: Definition =
    counter("forebay_follower_bytes_total", &[], "Bytes of the primary's log that were read.");
pub(super) const FOLLOWER_DELAY_SECONDS: Definition = Definition {
    name: "forebay_follower_delay_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long the log took to show what the primary said it had.",
};
pub(super) const READS_UNFENCED: Definition = counter(
    "forebay_reads_unfenced_total",
    &[],
    "What was served while there was no primary that takes writes: reads, which have seen what was \
     known last, settings and logins.",
);
pub(super) const OBSERVED_READS: Definition = counter(
    "forebay_observed_reads_total",
    &["outcome"],
    "Mode observe: proved reads by what split would have done (replica: one had what the read must \
     have seen; primary: none had, or the read had to go there).",
);
pub(super) const OBSERVED_STALE: Definition = counter(
    "forebay_observed_stale_total",
    &["rule"],
    "Mode observe: of these, how many another rule would have answered stale (eventual: any \
     replica; hyperdb: any, unless the connection itself wrote to a table that the read names).",
);
pub(super) const FLOORS: Definition = gauge(
    "forebay_floors",
    &["kind"],
    "Schemas, tables and keys of which it is known when they were last written (schemas, tables, \
     keys).",
);
pub(super) const ERRORS: Definition = counter(
    "forebay_errors_total",
    &["blame"],
    "Errors that Forebay itself told clients, by culprit (client, server, proxy, config).",
);
pub(super) const HOLDS: Definition = gauge(
    "forebay_holds",
    &["reason"],
    "Sessions that hold a connection to a server between statements, by reason.",
);
pub(super) const DRAIN_CUT: Definition = counter(
    "forebay_drain_cut_total",
    &[],
    "Clients that were still there when a drain reached its deadline.",
);
pub(super) const BUGS: Definition = counter(
    "forebay_bug_total",
    &[],
    "Beliefs of the program that turned out wrong; each ended one session and is worth a report.",
);
pub(super) const BUILD_INFO: Definition =
    gauge("forebay_build_info", &["version"], "Always 1; the label says which version runs.");
pub(super) const PROCESS_CPU: Definition = counter(
    "process_cpu_seconds_total",
    &[],
    "Processor time that the process used, in user and kernel mode.",
);
pub(super) const PROCESS_MEMORY: Definition =
    gauge("process_resident_memory_bytes", &[], "Memory that the process holds.");
pub(super) const PROCESS_FILES: Definition =
    gauge("process_open_fds", &[], "File descriptors that the process holds open.");

/// Every metric, in the order in which the README lists them.
pub(super) const ALL: &[&Definition] = &[
    &ROUTE,
    &QUERY_SECONDS,
    &CLIENTS,
    &CLIENT_CONNECTS,
    &LOGINS,
    &POOL_CONNECTIONS,
    &POOL_WAITS,
    &BACKEND_LOGINS,
    &SERVER_UP,
    &SERVER_FINDINGS,
    &MISROUTE,
    &RETRIES,
    &STALE_READS_PREVENTED,
    &FENCE_SECONDS,
    &REPLICA_WAIT_SECONDS,
    &FOLLOWER_UP,
    &FOLLOWER_TRANSACTIONS,
    &FOLLOWER_BYTES,
    &FOLLOWER_DELAY_SECONDS,
    &READS_UNFENCED,
    &OBSERVED_READS,
    &OBSERVED_STALE,
    &FLOORS,
    &ERRORS,
    &HOLDS,
    &DRAIN_CUT,
    &BUGS,
    &BUILD_INFO,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_FILES,
];

impl Definition {
    pub(super) fn counter(&self, registry: &Registry) -> Result<IntCounter, prometheus::Error> {
        let made = IntCounter::new(self.name, self.help)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn seconds(
        &self,
        registry: &Registry,
    ) -> Result<prometheus::Counter, prometheus::Error> {
        let made = prometheus::Counter::new(self.name, self.help)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn counters(&self, registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
        let made = IntCounterVec::new(Opts::new(self.name, self.help), self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn gauge(&self, registry: &Registry) -> Result<IntGauge, prometheus::Error> {
        let made = IntGauge::new(self.name, self.help)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn gauges(&self, registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
        let made = IntGaugeVec::new(Opts::new(self.name, self.help), self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn histograms(
        &self,
        registry: &Registry,
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(self.name, self.help).buckets(buckets.to_vec());
        let made = HistogramVec::new(options, self.labels)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn histogram(
        &self,
        registry: &Registry,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(self.name, self.help).buckets(buckets.to_vec());
        let made = Histogram::with_opts(options)?;
        registry.register(Box::new(made.clone()))?;
        Ok(made)
    }

    /// A line of the README's table.
    pub(super) fn row(&self) -> String {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        format!("| `{}` | {kind} | {} | {} |\n", self.name, self.labels.join(", "), self.help)
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}
