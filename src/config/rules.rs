//! What holds while the process runs: checked, complete, one plain policy for each layer.
//!
//! No text that still has to be understood, no optional that means "default". Layers get their
//! own part from `app` and do not import this.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Sources;
use crate::control::Mode;
use crate::freshness::{KeyedTables, Levels};
use crate::link::AddressRange;

/// Everything that an operator decides.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where MySQL clients connect.
    pub listen: SocketAddr,
    /// The Unix socket where they connect too, if any.
    pub unix: Option<PathBuf>,
    /// Who listens there already is relieved.
    pub unix_takeover: bool,
    /// Whose connections begin with a PROXY header.
    pub proxy_protocol_from: Vec<AddressRange>,
    /// `host:port` of the server that takes writes.
    pub primary: String,
    /// `host:port` of the servers that take reads, each once.
    pub replicas: Vec<String>,
    /// How to route at the start.
    pub mode: Mode,
    /// What reads must have seen.
    pub freshness: Freshness,
    /// Session settings are answered from memory.
    pub local_answers: bool,
    /// Clients may load files of their own.
    pub local_infile: bool,
    /// Worker threads, at least one.
    pub threads: usize,
    /// Where the admin port listens, if anywhere.
    pub admin_http: Option<SocketAddr>,
    /// The console that answers SQL, if there is one.
    pub console: Option<Console>,
    /// The account for probes, if any.
    pub monitor: Option<Account>,
    /// Accounts that need not be learned.
    pub users: Vec<Account>,
    /// Who may log in.
    pub auth: Auth,
    /// What clients are offered.
    pub tls: Tls,
    /// How servers are reached.
    pub backend: Backend,
    /// How many connections, and how long to wait for one.
    pub pool: Pool,
    /// How to leave.
    pub drain: Drain,
    /// What is logged.
    pub log: Log,
    /// Every setting as it was given, for people; no secrets.
    pub settings: Vec<Setting>,
    /// What all of this was read from, to read it again.
    pub sources: Sources,
    /// Certificate, key and passwords: what is read again when one of them changes.
    pub files: Vec<PathBuf>,
}

/// One setting, as an operator is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What was given, or the default.
    pub value: String,
    /// The file, variable or flag that gave it, or `default`.
    pub origin: String,
}

/// Where the console listens, and who may log in.
#[derive(Clone, Debug)]
pub struct Console {
    /// A loopback address unless the account has a password.
    pub address: SocketAddr,
    /// The only account; its password may be empty.
    pub account: Account,
}

/// What reads must have seen.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// Whose reads what.
    pub levels: Levels,
    /// While no primary can be reached, what was known last has to do.
    pub serves_stale: bool,
    /// Without GTIDs, reads of what was written go to the primary for so long.
    pub window: Duration,
    /// Whether the primary's log may be read.
    pub follower: bool,
    /// Which tables have floors for each value of a column.
    pub keyed_tables: KeyedTables,
    /// How long a read may wait for a replica.
    pub replica_wait: Duration,
}

/// A name and its password.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user.
    pub name: String,
    /// The password.
    pub password: Password,
}

/// A password: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

/// Who may log in.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Users that are refused.
    pub deny: Vec<String>,
    /// Unknown accounts are tried at the primary.
    pub learn: bool,
    /// How long a learned password holds.
    pub ttl: Duration,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where the certificate comes from.
    pub certificate: Certificate,
    /// Clients without TLS are refused.
    pub require: bool,
}

/// Where the certificate that clients see comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// No TLS.
    None,
    /// Made at start.
    SelfSigned,
    /// Given files, readable when they were checked.
    Files {
        /// PEM chain.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct Backend {
    /// TLS towards servers.
    pub tls: BackendTls,
    /// Who vouches for servers: given if they are verified, and only then.
    pub tls_ca: Option<PathBuf>,
    /// Bound on connect and login together.
    pub connect_timeout: Duration,
}

/// TLS towards servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendTls {
    /// Never.
    Disabled,
    /// Where the server offers it.
    Preferred,
    /// A server without it is not used.
    Required,
    /// Nor is one that nobody vouches for.
    VerifyCa,
    /// Nor one that goes by another name.
    VerifyIdentity,
}

/// Connections to servers.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Most connections to one server.
    pub max_connections_per_server: u32,
    /// Longest wait for one.
    pub wait_max: Duration,
    /// One that idles longer is closed.
    pub idle_max: Duration,
}

/// How to leave.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Not ready, but still serving new clients.
    pub delay: Duration,
    /// Then clients may finish for so long.
    pub deadline: Duration,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines: `info`, or directives such as `warn,forebay=debug`; checked.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Password {
    pub(super) fn new(password: Vec<u8>) -> Self {
        Self(Zeroizing::new(password))
    }

    /// Hands the bytes to whoever needs them now; they should not be kept outside `secret`.
    pub fn expose<T>(&self, use_it: impl FnOnce(&[u8]) -> T) -> T {
        use_it(&self.0)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(not shown)")
    }
}
