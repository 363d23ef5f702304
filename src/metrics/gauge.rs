//! Gauges whose truth lies elsewhere (pools, fleet, sessions), collected when somebody scrapes.
//!
//! Made new for each scrape: nothing is kept, so nothing can be out of date.

use prometheus::{IntGaugeVec, Registry};

use super::name;

/// What a scrape asks for; `app` fills it from the pools, the fleet and the sessions.
#[derive(Debug)]
pub struct Gauges {
    pool_connections: IntGaugeVec,
    server_up: IntGaugeVec,
    findings: IntGaugeVec,
    holds: IntGaugeVec,
    floors: IntGaugeVec,
}

/// What a pooled connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolState {
    /// Free to be leased.
    Idle,
    /// Owned by a session.
    Leased,
    /// Being dialled.
    Opening,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            pool_connections: name::POOL_CONNECTIONS.gauges(registry)?,
            server_up: name::SERVER_UP.gauges(registry)?,
            findings: name::SERVER_FINDINGS.gauges(registry)?,
            holds: name::HOLDS.gauges(registry)?,
            floors: name::FLOORS.gauges(registry)?,
        })
    }

    /// Connections of one server in one state; a server's pools add up.
    pub fn pool(&mut self, server: &str, state: PoolState, connections: usize) {
        let state = match state {
            PoolState::Idle => "idle",
            PoolState::Leased => "leased",
            PoolState::Opening => "opening",
        };
        self.pool_connections.with_label_values(&[server, state]).add(whole(connections));
    }

    /// A server in the role that it has (`primary`, `reader`).
    pub fn server(&mut self, server: &str, role: &str, up: bool) {
        self.server_up.with_label_values(&[server, role]).set(i64::from(up));
    }

    /// Something is wrong with a server.
    pub fn finding(&mut self, server: &str, finding: &str) {
        self.findings.with_label_values(&[server, finding]).set(1);
    }

    /// Sessions that hold a connection for this reason.
    pub fn holds(&mut self, reason: &str, sessions: usize) {
        self.holds.with_label_values(&[reason]).add(whole(sessions));
    }

    /// Names of one kind (`schemas`, `tables`, `keys`) that have a floor of their own.
    pub fn floors(&mut self, kind: &str, names: usize) {
        self.floors.with_label_values(&[kind]).set(whole(names));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
