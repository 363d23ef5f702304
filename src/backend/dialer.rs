//! Opens connections to one server and makes sure that it is that server.
//!
//! An address may be virtual (a balancer over all pods) or be used again by another pod, so every
//! new connection is asked who answers. Called by `pool` and `probe`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::connection::Connection;
use crate::backend::dial::{DialError, Dialed, Login, dial, is_mariadb};
use crate::backend::position_question::{Dialect, version_number};
use crate::backend::query::{Answers, QueryError, put_query};
use crate::backend::setup::{Baseline, Recipe};
use crate::backend::statements::Statements;
use crate::cluster::Identity;
use crate::cluster::identity::Facts;
use crate::link::Network;
use crate::link::tls::BackendTls;
use crate::secret::Credentials;
use crate::session::variable::Values;
use crate::sql::Flavour;
use crate::wire::capability::Capabilities;
use crate::wire::err::MUST_CHANGE_PASSWORD;

/// Connections to a virtual address that are tried until the wanted server answers.
const DIALS_MAX: usize = 12;

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No login.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Logged in, but the set-up failed.
    #[error(transparent)]
    Setup(#[from] QueryError),
    /// Another server answers there.
    #[error("another server answers at this address")]
    Stranger,
}

impl OpenError {
    /// An expired password may log in and do nothing: that is a refused login.
    fn of_login(self) -> OpenError {
        match self {
            OpenError::Setup(QueryError::Refused(refused))
                if refused.code == MUST_CHANGE_PASSWORD =>
            {
                OpenError::Dial(DialError::Refused(refused))
            }
            other => other,
        }
    }

    /// It is the account that cannot log in so: this says nothing about the server, and a client
    /// may make it up.
    #[must_use]
    pub fn is_of_account(&self) -> bool {
        use DialError::{Crypto, Plugin, Refused};
        matches!(self, OpenError::Dial(Refused(_) | Plugin(_) | Crypto(_)))
    }

    /// The server does not take this account's password, or not any more.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            OpenError::Dial(DialError::Refused(refusal)) => matches!(refusal.code, 1045 | 1698),
            _ => false,
        }
    }
}

/// What every dialer of the process shares.
#[derive(Clone)]
pub struct Ways {
    /// Real sockets, or a simulated fleet.
    pub network: Network,
    /// TLS towards servers.
    pub tls: BackendTls,
    /// How long a login may take.
    pub connect_timeout: Duration,
    /// Servers may ask for files of clients.
    pub local_infile: bool,
    /// The primary's fresh-login values.
    pub baseline: Arc<ArcSwapOption<Baseline>>,
    /// Told when a server can do other things than was thought.
    pub changed: Arc<Notify>,
}

impl Ways {
    /// A global setting was changed, one perhaps that is not among the known values: every
    /// connection that is there is reset before its next use.
    pub fn begin_anew(&self) {
        self.baseline.rcu(|known| {
            let known = known.as_deref()?;
            Some(Arc::new(Baseline { epoch: known.epoch.wrapping_add(1), ..known.clone() }))
        });
    }
}

/// Opens connections to one server.
pub struct Dialer {
    ways: Ways,
    addresses: Mutex<Vec<String>>,
    identity: Mutex<Option<Identity>>,
    mariadb: AtomicBool,
    version: AtomicU32,
    /// It answered, and cannot take attributes.
    lacks_attributes: AtomicBool,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A way to a server. `identity`: who must answer; none: whoever does.
    #[must_use]
    pub fn new(ways: Ways, address: &str, identity: Option<Identity>, flavour: Flavour) -> Self {
        Self {
            ways,
            addresses: Mutex::new(vec![address.to_owned()]),
            identity: Mutex::new(identity),
            mariadb: AtomicBool::new(flavour == Flavour::MariaDb),
            version: AtomicU32::new(0),
            lacks_attributes: AtomicBool::new(false),
        }
    }

    /// The family of the server, as its last greeting told.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        if self.mariadb.load(Ordering::Relaxed) { Flavour::MariaDb } else { Flavour::MySql }
    }

    /// The words that the server understands, as its last greeting told.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        Dialect { flavour: self.flavour(), version: self.version.load(Ordering::Relaxed) }
    }

    /// It answered, and cannot take query attributes.
    #[must_use]
    pub fn lacks_attributes(&self) -> bool {
        self.lacks_attributes.load(Ordering::Relaxed)
    }

    /// Where else the server answers.
    pub fn reach_at(&self, addresses: impl Iterator<Item = String>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.collect();
    }

    /// From now on only this server may answer.
    pub fn insist_on(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    fn insists_on(&self) -> Option<Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection to the server, set up.
    pub async fn open(
        &self,
        credentials: &Arc<Credentials>,
        shared: Capabilities,
        is_reader: bool,
        deadline: Instant,
    ) -> Result<Connection, OpenError> {
        let wanted = self.insists_on();
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut last = OpenError::Stranger;
        for round in 0..DIALS_MAX {
            for address in &addresses {
                match self.open_at(address, credentials, shared, is_reader, deadline).await {
                    Ok((connection, identity))
                        if wanted.as_ref().is_none_or(|wanted| *wanted == identity) =>
                    {
                        return Ok(connection);
                    }
                    Ok(_) => last = OpenError::Stranger,
                    Err(error) => last = error,
                }
            }
            let stranger = matches!(last, OpenError::Stranger);
            if !stranger || round + 1 == DIALS_MAX || Instant::now() >= deadline {
                break;
            }
        }
        Err(last)
    }

    /// A connection to whoever answers at an address, and who that is.
    pub async fn open_at(
        &self,
        address: &str,
        credentials: &Arc<Credentials>,
        shared: Capabilities,
        is_reader: bool,
        deadline: Instant,
    ) -> Result<(Connection, Identity), OpenError> {
        let login = Login {
            credentials: Arc::clone(credentials),
            shared,
            local_infile: self.ways.local_infile,
            database: None,
        };
        let deadline = deadline.min(Instant::now() + self.ways.connect_timeout);
        let dialed = dial(&self.ways.network, address, &self.ways.tls, &login, deadline).await?;
        let mariadb = is_mariadb(&dialed.greeting);
        self.mariadb.store(mariadb, Ordering::Relaxed);
        self.version.store(version_number(&dialed.greeting.version), Ordering::Relaxed);
        let lacks = !dialed.greeting.capabilities.has(Capabilities::QUERY_ATTRIBUTES);
        if self.lacks_attributes.swap(lacks, Ordering::Relaxed) != lacks {
            self.ways.changed.notify_one();
        }
        let setting_up = self.set_up(dialed, is_reader, address);
        let set_up = tokio::time::timeout_at(deadline, setting_up).await;
        set_up.map_err(|_| DialError::TimedOut)?.map_err(OpenError::of_login)
    }

    async fn set_up(
        &self,
        dialed: Dialed,
        is_reader: bool,
        address: &str,
    ) -> Result<(Connection, Identity), OpenError> {
        let Dialed { mut stream, greeting, capabilities, .. } = dialed;
        let flavour = self.flavour();
        let baseline = self.ways.baseline.load_full();
        let mut flight = Vec::new();
        let recipe = Recipe { flavour, is_reader };
        let replies = recipe.put(&mut flight, capabilities, baseline.as_deref());
        put_query(&mut flight, capabilities, who_are_you(flavour).as_bytes());
        let mut answers = Answers::to(&mut stream, capabilities, &flight).await?;
        for _ in 0..replies {
            answers.ok().await?;
        }
        let told = answers.rows().await;
        let identity = match told {
            Ok(rows) => identity_of(flavour, &rows, address),
            Err(QueryError::Refused(refused)) if refused.code != MUST_CHANGE_PASSWORD => {
                Identity::of_address(address)
            }
            Err(error) => return Err(error.into()),
        };
        let connection = Connection {
            stream,
            capabilities,
            thread_id: greeting.thread_id,
            is_reader,
            epoch: baseline.map_or(0, |baseline| baseline.epoch),
            values: Values::default(),
            statements: Statements::default(),
            residue: false,
            multi_statements: false,
            clean: true,
            idle_since: Instant::now(),
            given_up: Arc::default(),
        };
        Ok((connection, identity))
    }
}

fn who_are_you(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "SELECT @@server_uuid,@@hostname,@@server_id,@@port",
        Flavour::MariaDb => "SELECT NULL,@@hostname,@@server_id,@@port",
    }
}

fn identity_of(flavour: Flavour, rows: &[Vec<Option<Vec<u8>>>], address: &str) -> Identity {
    let cell = |at: usize| {
        let value = rows.first()?.get(at)?.as_deref()?;
        std::str::from_utf8(value).ok()
    };
    let facts = Facts {
        server_uuid: if flavour == Flavour::MySql { cell(0) } else { None },
        server_uid: None,
        hostname: cell(1),
        server_id: cell(2).and_then(|text| text.parse().ok()),
        port: cell(3).and_then(|text| text.parse().ok()),
    };
    Identity::new(&facts, address)
}
