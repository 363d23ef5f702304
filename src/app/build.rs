//! Rules -> the objects that run. Each layer gets its own plain policy.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, sleep};

use crate::admin::Facts;
use crate::app::facts::Shown;
use crate::backend::dial::greeting_only;
use crate::backend::dialer::Ways;
use crate::backend::fleet::{Fleet, FleetPolicy};
use crate::client::greet::{Door, OFFERED, Proof, Prove};
use crate::client::house::House;
use crate::config::Rules;
use crate::config::rules::{Account, BackendTls, Certificate, Consistency};
use crate::control::{Control, Demands, Latch};
use crate::link::{Network, tls};
use crate::metrics::Metrics;
use crate::secret::{Book, Credentials, Policy, RsaKey, nonce};
use crate::session::plan::Reason;
use crate::sql::Classifier;
use crate::wire::capability::Capabilities;
use crate::wire::handshake::Greeting;

/// Between two tries to reach the primary at the start.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// All of a client's login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What runs.
pub(super) struct Built {
    pub house: Arc<House>,
    pub demands: Demands,
    pub facts: Arc<dyn Facts>,
    pub door: Doorway,
    /// What lets an operator in to the console.
    #[cfg(feature = "console")]
    pub console: Option<Arc<Door>>,
}

/// All of a door but what the primary's greeting has yet to tell.
pub(super) struct Doorway {
    tls: Option<Arc<rustls::ServerConfig>>,
    require_tls: bool,
    rsa: Arc<RsaKey>,
    book: Arc<Book>,
}

/// Builds it all; nothing is connected yet.
pub(super) async fn build(rules: &Rules) -> Result<Built, String> {
    let say = |what: &'static str| move |error: &dyn std::fmt::Display| format!("{what}: {error}");
    let reasons: Vec<&'static str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    let metrics = Metrics::new(&reasons).map_err(|error| say("metrics")(&error))?;
    let metrics = Arc::new(metrics);
    let (control, demands) = Control::new(rules.mode);
    let seed = random()?;
    let mode = match rules.backend.tls {
        BackendTls::Disabled => tls::Mode::Disabled,
        BackendTls::Preferred => tls::Mode::Preferred,
        BackendTls::Required => tls::Mode::Required,
    };
    let ways = Ways {
        network: Network::Real,
        tls: tls::BackendTls::unverified(mode).map_err(|error| say("TLS to servers")(&error))?,
        connect_timeout: rules.backend.connect_timeout,
        baseline: Arc::default(),
    };
    let policy = FleetPolicy {
        primary: rules.primary.clone(),
        replicas: rules.replicas.clone(),
        connections_max: rules.pool.max_connections_per_server,
        idle_max: rules.pool.idle_max,
        window: rules.freshness_window,
        monitor: rules.monitor.as_ref().map(credentials).transpose()?,
        local_answers: rules.local_answers.then_some(rules.auth.ttl),
    };
    let fleet = Fleet::new(policy, ways, Arc::clone(&metrics), seed);
    let door = doorway(rules).await?;
    let house = Arc::new(House {
        classifier: Classifier::new(random()?),
        fleet,
        metrics,
        door: ArcSwapOption::empty(),
        control,
        causal: rules.consistency == Consistency::Causal,
        wait_max: rules.pool.wait_max,
        sessions: AtomicU64::new(0),
    });
    let facts = Arc::new(Shown::new(Arc::clone(&house), rules.settings.clone()));
    #[cfg(feature = "console")]
    let console = rules.console.as_ref().map(|console| door.to_console(console)).transpose()?;
    Ok(Built {
        house,
        demands,
        facts,
        door,
        #[cfg(feature = "console")]
        console,
    })
}

async fn doorway(rules: &Rules) -> Result<Doorway, String> {
    let certificate = match &rules.tls.certificate {
        Certificate::None => None,
        Certificate::SelfSigned => {
            Some(tls::Certificate::SelfSigned(vec!["forebay".into(), "localhost".into()]))
        }
        Certificate::Files { certificate, key } => {
            Some(tls::Certificate::Files { chain: certificate.clone(), key: key.clone() })
        }
    };
    let config = certificate.as_ref().map(tls::server_config).transpose();
    // 100 ms of arithmetic: not on a thread that serves.
    let rsa = tokio::task::spawn_blocking(RsaKey::generate).await;
    let rsa = rsa.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let listed = rules.users.iter().map(credentials).collect::<Result<_, _>>()?;
    let policy = Policy {
        listed,
        learn: rules.auth.learn,
        denied: rules.auth.deny.iter().map(|name| name.clone().into_bytes()).collect(),
        fresh_for: rules.auth.ttl,
    };
    Ok(Doorway {
        tls: config.map_err(|error| format!("TLS: {error}"))?,
        require_tls: rules.tls.require,
        rsa: Arc::new(rsa),
        book: Arc::new(Book::new(policy).map_err(|error| error.to_string())?),
    })
}

fn credentials(account: &Account) -> Result<Arc<Credentials>, String> {
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

/// Asks the primary who it is until it answers, then lets clients in.
pub(super) async fn open_door(house: Arc<House>, door: Doorway, latch: Latch) {
    let ways = &house.fleet.ways;
    let mut complained = false;
    loop {
        let deadline = Instant::now() + ways.connect_timeout;
        match greeting_only(&ways.network, &house.fleet.policy.primary, deadline).await {
            Ok(greeting) => {
                house.door.store(Some(Arc::new(door.behind(&house, greeting))));
                drop(latch);
                return;
            }
            Err(error) if !complained => {
                complained = true;
                tracing::warn!(primary = %house.fleet.policy.primary, %error, "no primary yet");
            }
            Err(_) => {}
        }
        sleep(TRY_AGAIN).await;
    }
}

#[cfg(feature = "console")]
impl Doorway {
    /// The door of the console: the same TLS, and a book with a single name.
    fn to_console(&self, rules: &crate::config::rules::Console) -> Result<Arc<Door>, String> {
        use crate::admin::console;
        let policy = Policy {
            listed: vec![credentials(&rules.account)?],
            learn: false,
            denied: Vec::new(),
            ..Policy::default()
        };
        Ok(Arc::new(Door {
            version: console::VERSION.into(),
            charset: console::CHARSET,
            capabilities: console::OFFERED,
            tls: self.tls.clone(),
            require_tls: self.require_tls,
            rsa: Arc::clone(&self.rsa),
            book: Arc::new(Book::new(policy).map_err(|error| error.to_string())?),
            prove: Arc::new(console::Nobody),
            login_timeout: LOGIN_TIMEOUT,
            bare_passwords: AtomicU64::new(0),
        }))
    }
}

impl Doorway {
    fn behind(self, house: &House, greeting: Greeting) -> Door {
        let mut capabilities = OFFERED.without(Capabilities::SESSION_TRACK);
        if !greeting.capabilities.has(Capabilities::DEPRECATE_EOF) {
            capabilities = capabilities.without(Capabilities::DEPRECATE_EOF);
        }
        Door {
            version: greeting.version,
            charset: greeting.charset,
            capabilities,
            tls: self.tls,
            require_tls: self.require_tls,
            rsa: self.rsa,
            book: self.book,
            prove: Arc::new(Prover(Arc::clone(&house.fleet))),
            login_timeout: LOGIN_TIMEOUT,
            bare_passwords: AtomicU64::new(0),
        }
    }
}

struct Prover(Arc<Fleet>);

impl Prove for Prover {
    fn prove(&self, credentials: Arc<Credentials>) -> Proof<'_> {
        Box::pin(self.0.prove(credentials))
    }
}
