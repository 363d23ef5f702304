//! What clients come in by: certificate, key, accounts, and what the primary's greeting told.
//!
//! It makes the door that newcomers are greeted with, and makes it anew when one of its parts
//! changes; who is at the old door goes through that one. `app` builds it, `reload` refits it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "console")]
use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep};

use super::build::credentials;
use crate::backend::dial::greeting_only;
use crate::backend::fleet::Fleet;
use crate::client::greet::{Door, OFFERED, Proof, Prove};
use crate::client::house::House;
use crate::config::Rules;
use crate::config::rules::{Certificate, Tls};
use crate::control::Latch;
use crate::link::tls;
use crate::secret::{Book, Credentials, Policy, RsaKey};
use crate::wire::capability::Capabilities;
use crate::wire::handshake::Greeting;

/// Between two tries to reach the primary at the start.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// All of a client's login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes doors.
pub(super) struct Entrance {
    house: Arc<House>,
    rsa: Arc<RsaKey>,
    book: Arc<Book>,
    /// What may change; never locked across an await.
    fittings: Mutex<Fittings>,
    /// The operators' door, and what it is behind.
    #[cfg(feature = "console")]
    pub(super) console: Option<Arc<ArcSwap<Door>>>,
}

/// The parts of a door that come and go.
struct Fittings {
    tls: OfferedTls,
    /// None until the primary has answered once.
    greeting: Option<Greeting>,
    /// Statements may have attributes, as far as the other servers go.
    attributes: bool,
}

/// TLS as clients are offered it.
#[derive(Clone)]
pub(super) struct OfferedTls {
    config: Option<Arc<rustls::ServerConfig>>,
    is_required: bool,
}

/// All that is read anew: made whole before any of it counts.
pub(super) struct Renewed {
    /// None: it is the same self-signed certificate, or there is none.
    tls: Option<OfferedTls>,
    listed: Vec<Arc<Credentials>>,
    monitor: Option<Arc<Credentials>>,
    /// Who vouches for servers; none: nobody is asked.
    authorities: Option<tls::Authorities>,
    #[cfg(feature = "console")]
    console: Option<Arc<Credentials>>,
}

impl OfferedTls {
    /// Reads certificate and key, or makes them.
    pub(super) fn new(rules: &Tls) -> Result<Self, String> {
        let certificate = match &rules.certificate {
            Certificate::None => None,
            Certificate::SelfSigned => {
                Some(tls::Certificate::SelfSigned(vec!["forebay".into(), "localhost".into()]))
            }
            Certificate::Files { certificate, key } => {
                Some(tls::Certificate::Files { chain: certificate.clone(), key: key.clone() })
            }
        };
        let config = certificate.as_ref().map(tls::server_config).transpose();
        let config = config.map_err(|error| format!("tls.certificate, tls.key: {error}"))?;
        Ok(Self { config, is_required: rules.require })
    }
}

impl Renewed {
    /// Reads what the rules name; `before` says what is in force.
    pub(super) fn read(rules: &Rules, before: &Tls) -> Result<Self, String> {
        let is_same = rules.tls == *before;
        let is_in_files = matches!(rules.tls.certificate, Certificate::Files { .. });
        let tls = (!is_same || is_in_files).then(|| OfferedTls::new(&rules.tls)).transpose()?;
        let authorities = rules.backend.tls_ca.as_deref().map(tls::Authorities::read).transpose();
        Ok(Self {
            tls,
            authorities: authorities.map_err(|error| format!("TLS to servers: {error}"))?,
            listed: rules.users.iter().map(credentials).collect::<Result<_, _>>()?,
            monitor: rules.monitor.as_ref().map(credentials).transpose()?,
            #[cfg(feature = "console")]
            console: rules
                .console
                .as_ref()
                .map(|console| credentials(&console.account))
                .transpose()?,
        })
    }
}

impl Entrance {
    pub(super) fn new(
        rules: &Rules,
        house: Arc<House>,
        rsa: RsaKey,
        tls: OfferedTls,
    ) -> Result<Self, String> {
        let policy = Policy {
            listed: rules.users.iter().map(credentials).collect::<Result<_, _>>()?,
            learn: rules.auth.learn,
            denied: rules.auth.deny.iter().map(|name| name.clone().into_bytes()).collect(),
            fresh_for: rules.auth.ttl,
        };
        let rsa = Arc::new(rsa);
        #[cfg(feature = "console")]
        let console = match &rules.console {
            Some(console) => {
                Some(Arc::new(ArcSwap::from_pointee(to_console(console, &rsa, tls.clone())?)))
            }
            None => None,
        };
        Ok(Self {
            house,
            rsa,
            book: Arc::new(Book::new(policy).map_err(|error| error.to_string())?),
            fittings: Mutex::new(Fittings { tls, greeting: None, attributes: true }),
            #[cfg(feature = "console")]
            console,
        })
    }

    /// Asks the primary who it is until it answers, then lets clients in.
    pub(super) async fn open(&self, latch: Latch) {
        let fleet = &self.house.fleet;
        let mut complained = false;
        loop {
            let deadline = Instant::now() + fleet.ways.connect_timeout;
            match greeting_only(&fleet.ways.network, &fleet.policy.primary, deadline).await {
                Ok(greeting) => {
                    self.fit(|fittings| fittings.greeting = Some(greeting));
                    break;
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(primary = %fleet.policy.primary, %error, "no primary yet");
                }
                Err(_) => {}
            }
            sleep(TRY_AGAIN).await;
        }
        drop(latch);
    }

    /// What one server cannot take, newcomers are not offered. It goes on for ever.
    pub(super) async fn follow_servers(&self) {
        let fleet = &self.house.fleet;
        let mut offered = true;
        loop {
            fleet.ways.changed.notified().await;
            let attributes = fleet.takes_attributes();
            if attributes != offered {
                offered = attributes;
                self.fit(|fittings| fittings.attributes = attributes);
            }
        }
    }

    /// Puts everything that was read anew in force. Who is logged in stays so.
    pub(super) fn refit(&self, renewed: Renewed) {
        self.house.fleet.watch_as(renewed.monitor);
        let trusted = renewed.authorities.map(|them| self.house.fleet.ways.tls.trust(them));
        if let Some(Err(error)) = trusted {
            tracing::error!(%error, "the authorities are those of before");
        }
        self.book.list(renewed.listed);
        #[cfg(feature = "console")]
        if let Some(door) = &self.console {
            let before = door.load();
            before.book.list(renewed.console.into_iter().collect());
            if let Some(tls) = renewed.tls.clone() {
                door.store(Arc::new(console_door(&self.rsa, &before.book, tls)));
            }
        }
        if let Some(tls) = renewed.tls {
            self.fit(|fittings| fittings.tls = tls);
        }
    }

    /// Changes a part, and hangs the door that comes of it.
    fn fit(&self, change: impl FnOnce(&mut Fittings)) {
        // A panic elsewhere leaves it whole: each change is a single assignment.
        let mut fittings = self.fittings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut fittings);
        if let Some(greeting) = &fittings.greeting {
            self.house.door.store(Some(Arc::new(self.door(greeting, &fittings))));
        }
    }

    fn door(&self, greeting: &Greeting, fittings: &Fittings) -> Door {
        let tls = fittings.tls.clone();
        let mut capabilities = OFFERED.without(Capabilities::SESSION_TRACK);
        let attributes = greeting.capabilities.intersect(Capabilities::QUERY_ATTRIBUTES);
        if fittings.attributes {
            capabilities = capabilities.with(attributes);
        }
        if !greeting.capabilities.has(Capabilities::DEPRECATE_EOF) {
            capabilities = capabilities.without(Capabilities::DEPRECATE_EOF);
        }
        if self.house.fleet.ways.local_infile {
            capabilities = capabilities.with(Capabilities::LOCAL_FILES);
        }
        Door {
            version: greeting.version.clone(),
            charset: greeting.charset,
            capabilities,
            tls: tls.config,
            require_tls: tls.is_required,
            rsa: Arc::clone(&self.rsa),
            book: Arc::clone(&self.book),
            prove: Arc::new(Prover(Arc::clone(&self.house.fleet))),
            login_timeout: LOGIN_TIMEOUT,
            bare_passwords: AtomicU64::new(0),
        }
    }
}

/// The door of the console: the same TLS, and a book with a single name.
#[cfg(feature = "console")]
fn to_console(
    rules: &crate::config::rules::Console,
    rsa: &Arc<RsaKey>,
    tls: OfferedTls,
) -> Result<Door, String> {
    let policy = Policy {
        listed: vec![credentials(&rules.account)?],
        learn: false,
        denied: Vec::new(),
        ..Policy::default()
    };
    let book = Arc::new(Book::new(policy).map_err(|error| error.to_string())?);
    Ok(console_door(rsa, &book, tls))
}

#[cfg(feature = "console")]
fn console_door(rsa: &Arc<RsaKey>, book: &Arc<Book>, tls: OfferedTls) -> Door {
    use crate::admin::console;
    Door {
        version: console::VERSION.into(),
        charset: console::CHARSET,
        capabilities: console::OFFERED,
        tls: tls.config,
        require_tls: tls.is_required,
        rsa: Arc::clone(rsa),
        book: Arc::clone(book),
        prove: Arc::new(console::Nobody),
        login_timeout: LOGIN_TIMEOUT,
        bare_passwords: AtomicU64::new(0),
    }
}

struct Prover(Arc<Fleet>);

impl Prove for Prover {
    fn prove(&self, credentials: Arc<Credentials>, was_right: bool) -> Proof<'_> {
        Box::pin(self.0.prove(credentials, was_right))
    }
}
