//! Rules -> the objects that run. Each layer gets its own plain policy.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwapOption;

use crate::app::entrance::{Entrance, OfferedTls};
use crate::app::facts::Shown;
use crate::backend::dialer::Ways;
use crate::backend::fleet::{Fleet, FleetPolicy};
use crate::client::announce::Announcers;
use crate::client::house::House;
use crate::client::registry::Registry;
use crate::config::Rules;
use crate::config::rules::{Account, Backend, BackendTls};
use crate::control::{Control, Demands};
use crate::link::{Network, tls};
use crate::metrics::Metrics;
use crate::secret::{Credentials, RsaKey, nonce};
use crate::session::plan::Reason;
use crate::sql::Classifier;

/// What runs.
pub(super) struct Built {
    pub house: Arc<House>,
    pub demands: Demands,
    pub facts: Arc<Shown>,
    pub entrance: Arc<Entrance>,
}

/// Builds it all; nothing is connected yet.
pub(super) async fn build(rules: &Rules) -> Result<Built, String> {
    let say = |what: &'static str| move |error: &dyn std::fmt::Display| format!("{what}: {error}");
    let reasons: Vec<&'static str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    let metrics = Metrics::new(&reasons).map_err(|error| say("metrics")(&error))?;
    let metrics = Arc::new(metrics);
    let (control, demands) = Control::new(rules.mode);
    let seed = random()?;
    let ways = ways(rules)?;
    let policy = FleetPolicy {
        primary: rules.primary.clone(),
        replicas: rules.replicas.clone(),
        connections_max: rules.pool.max_connections_per_server,
        idle_max: rules.pool.idle_max,
        window: rules.freshness.window,
        keyed_tables: rules.freshness.keyed_tables.clone(),
        follower: rules.freshness.follower,
        replica_wait: rules.freshness.replica_wait,
        serves_stale: rules.freshness.serves_stale,
        wait_max: rules.pool.wait_max,
        monitor: ArcSwapOption::from(rules.monitor.as_ref().map(credentials).transpose()?),
        local_answers: rules.local_answers.then_some(rules.auth.ttl),
    };
    let fleet = Fleet::new(policy, ways, Arc::clone(&metrics), seed);
    let offered = OfferedTls::new(&rules.tls)?;
    // 100 ms of arithmetic: not on a thread that serves.
    let rsa = tokio::task::spawn_blocking(RsaKey::generate).await;
    let rsa = rsa.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let house = Arc::new(House {
        classifier: Classifier::new(random()?),
        fleet,
        metrics,
        door: ArcSwapOption::empty(),
        announcers: Announcers::new(rules.proxy_protocol_from.clone()),
        control,
        levels: rules.freshness.levels.clone(),
        wait_max: rules.pool.wait_max,
        sessions: AtomicU64::new(0),
        registry: Registry::default(),
    });
    let facts = Arc::new(Shown::new(Arc::clone(&house), rules.settings.clone()));
    let entrance = Arc::new(Entrance::new(rules, Arc::clone(&house), rsa, offered)?);
    Ok(Built { house, demands, facts, entrance })
}

/// How servers are reached.
pub(crate) fn ways(rules: &Rules) -> Result<Ways, String> {
    let tls = backend_tls(&rules.backend).map_err(|error| format!("TLS to servers: {error}"))?;
    Ok(Ways {
        network: Network::Real,
        tls,
        connect_timeout: rules.backend.connect_timeout,
        local_infile: rules.local_infile,
        baseline: Arc::default(),
        changed: Arc::default(),
    })
}

fn backend_tls(rules: &Backend) -> Result<tls::BackendTls, tls::TlsError> {
    let mode = match rules.tls {
        BackendTls::Disabled => tls::Mode::Disabled,
        BackendTls::Preferred => tls::Mode::Preferred,
        BackendTls::Required => tls::Mode::Required,
        BackendTls::VerifyCa => tls::Mode::VerifyCa,
        BackendTls::VerifyIdentity => tls::Mode::VerifyIdentity,
    };
    match &rules.tls_ca {
        Some(file) => tls::BackendTls::verified(mode, tls::Authorities::read(file)?),
        None => tls::BackendTls::unverified(mode),
    }
}

/// An account of the configuration, ready to log in with.
pub(crate) fn credentials(account: &Account) -> Result<Arc<Credentials>, String> {
    let name = account.name.clone().into_bytes();
    account
        .password
        .expose(|password| Credentials::new(name, password.to_vec()))
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

fn random() -> Result<u64, String> {
    let mut bytes = [0; 8];
    nonce::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(u64::from_le_bytes(bytes))
}
