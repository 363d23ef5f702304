//! What the admin port and the console show: the fleet, the pools, where statements went.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::admin::{self, Facts, Question, Status, Table, Topic};
use crate::client::house::House;
use crate::cluster::{Health, Role, Server};
use crate::config::rules::Setting;
use crate::metrics::PoolState;
use crate::sql::{Flavour, Mode};

/// Answers the admin port's questions.
pub(super) struct Shown {
    house: Arc<House>,
    /// What is in force.
    settings: ArcSwap<Vec<Setting>>,
    started: Instant,
}

impl Shown {
    pub(super) fn new(house: Arc<House>, settings: Vec<Setting>) -> Self {
        Self { house, settings: ArcSwap::from_pointee(settings), started: Instant::now() }
    }

    /// From now on these are in force.
    pub(super) fn show(&self, settings: Vec<Setting>) {
        self.settings.store(Arc::new(settings));
    }

    fn servers(&self) -> Table {
        let snapshot = self.house.fleet.snapshot();
        let newest = self.house.fleet.freshness.last();
        let rows = snapshot.servers.iter().map(|server| {
            let pool = self.house.fleet.pool(server.id);
            let counts = pool.map(|pool| pool.counts()).unwrap_or_default();
            let behind = newest.0.saturating_sub(server.live.applied().0);
            vec![
                server.address.clone(),
                role_word(server.role).into(),
                health_word(server),
                if server.role == Role::Primary { "-".into() } else { behind.to_string() },
                counts.idle.to_string(),
                counts.leased.to_string(),
                server.identity.to_string(),
            ]
        });
        let columns = ["address", "role", "health", "writes behind", "idle", "leased", "identity"];
        Table::new("Servers", &columns, rows.collect())
    }

    fn pools(&self) -> Table {
        let snapshot = self.house.fleet.snapshot();
        let rows = snapshot.servers.iter().map(|server| {
            let pool = self.house.fleet.pool(server.id);
            let counts = pool.map(|pool| pool.counts()).unwrap_or_default();
            let counts = [counts.idle, counts.leased, counts.opening, counts.waiting];
            let most = self.house.fleet.policy.connections_max.to_string();
            let address = [server.address.clone(), role_word(server.role).into()];
            address.into_iter().chain(counts.map(|count| count.to_string())).chain([most]).collect()
        });
        let columns = ["address", "role", "idle", "leased", "opening", "waiting", "limit"];
        Table::new("Connections to servers", &columns, rows.collect())
    }

    fn config(&self) -> Table {
        let settings = self.settings.load();
        let rows = settings
            .iter()
            .map(|setting| vec![setting.key.into(), setting.value.clone(), setting.origin.clone()]);
        Table::new("Settings", &["key", "value", "origin"], rows.collect())
    }

    fn route(&self, sql: &str) -> Table {
        let facts = admin::facts(&self.house.classifier, sql, self.mode());
        let live = self.live(sql, None).into_iter().map(|(name, value)| vec![name, value]);
        let rows = facts.into_iter().map(|(name, value)| vec![name.into(), value]).chain(live);
        Table::new("Where a statement would go", &["fact", "value"], rows.collect())
    }

    /// What it must have seen, and who has.
    fn live(&self, sql: &str, schema: Option<&str>) -> Vec<(String, String)> {
        let House { fleet, classifier, levels, .. } = &*self.house;
        let question = Question { sql, schema, mode: self.mode() };
        admin::live(classifier, question, levels, &fleet.freshness, &fleet.snapshot())
    }

    fn routes(&self) -> Table {
        let rows = self.house.metrics.route.counts().into_iter();
        let rows = rows.map(|(to, why, count)| vec![to.into(), why.into(), count.to_string()]);
        let columns = ["target", "reason", "statements"];
        Table::new("Where statements went, and why", &columns, rows.collect())
    }

    fn mode(&self) -> Mode {
        let primary = self.house.fleet.snapshot().primary;
        let pool = primary.and_then(|id| self.house.fleet.pool(id));
        let flavour = pool.map_or(Flavour::MySql, |pool| pool.dialer().flavour());
        match self.house.fleet.baseline() {
            Some(baseline) => baseline.mode(flavour),
            None => Mode { flavour, ..Mode::default() },
        }
    }
}

impl Facts for Shown {
    fn status(&self) -> Status {
        let control = &self.house.control;
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let observed = admin::observed(&self.house.metrics);
        let mut status = Status {
            facts: vec![
                fact("phase", control.phase().name().into()),
                fact("mode", control.mode().name().into()),
                fact("clients", self.house.metrics.clients().to_string()),
                fact("writes on their way", self.house.fleet.freshness.pending().to_string()),
                fact("version", env!("CARGO_PKG_VERSION").into()),
                fact("up for", format!("{} s", self.started.elapsed().as_secs())),
            ],
            tables: vec![self.servers(), self.routes()],
        };
        status.facts.extend(observed);
        status
    }

    fn table(&self, topic: Topic<'_>) -> Table {
        match topic {
            Topic::Backends => self.servers(),
            Topic::Pools => self.pools(),
            Topic::Routes => self.routes(),
            Topic::Config => self.config(),
            Topic::Route(sql) => self.route(sql),
        }
    }

    fn explain(&self, sql: &str, schema: Option<&str>) -> String {
        let mut text = admin::explain(&self.house.classifier, sql, self.mode());
        let live = self.live(sql, schema);
        if !live.is_empty() {
            text.push_str("\nAt this moment:\n");
        }
        for (name, value) in live {
            text.push_str(&format!("  {name:<11} {value}\n"));
        }
        text
    }

    fn metrics(&self) -> Result<String, String> {
        let fleet = &self.house.fleet;
        let snapshot = fleet.snapshot();
        let rendered = self.house.metrics.render(|gauges| {
            for server in &snapshot.servers {
                // What `cluster::pick` asks: a replica nobody has looked at yet is not up.
                let up = match server.role {
                    Role::Primary => !server.health.is_down(),
                    Role::Reader => server.health.serves_reads(),
                };
                gauges.server(&server.address, role_word(server.role), up);
                for found in &*server.findings {
                    gauges.finding(&server.address, found.fault.label());
                }
                if let Some(pool) = fleet.pool(server.id) {
                    let counts = pool.counts();
                    gauges.pool(&server.address, PoolState::Idle, counts.idle);
                    gauges.pool(&server.address, PoolState::Leased, counts.leased);
                    gauges.pool(&server.address, PoolState::Opening, counts.opening);
                }
            }
            for (hold, sessions) in self.house.registry.holds() {
                gauges.holds(hold.label(), sessions);
            }
            let sizes = fleet.freshness.floor_sizes();
            gauges.floors("schemas", sizes.schemas);
            gauges.floors("tables", sizes.tables);
            gauges.floors("keys", sizes.keys);
        });
        rendered.map_err(|error| error.to_string())
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Reader => "reader",
    }
}

/// With everything that is wrong with it, whether it keeps reads away or not.
fn health_word(server: &Server) -> String {
    let health = match &server.health {
        Health::Unknown { .. } => "unknown",
        Health::Up => "up",
        Health::Suspect { .. } => "suspect",
        Health::Down => "down",
        Health::Unfit(_) => "unfit",
    };
    let found: Vec<_> = server.findings.iter().map(ToString::to_string).collect();
    match found.is_empty() {
        true => health.into(),
        false => format!("{health}: {}", found.join("; ")),
    }
}
