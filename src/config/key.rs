//! The names of all settings, with their defaults, bounds and meaning: the only place for them.
//!
//! Not their values. `raw` refuses what is not listed here, `check` reads each by its name, and
//! the README's table is printed from here.

use crate::control::Mode;
use crate::freshness::Level;
use crate::limits;

/// A setting as the reference shows it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// As it would be typed; empty: there is none.
    pub(super) default: &'static str,
    pub(super) kind: Kind,
    meaning: &'static str,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number between two bounds.
    Whole { min: u64, max: u64 },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Free text, described so.
    Text(&'static str),
    /// Several texts, as an array or separated by commas, described so.
    List(&'static str),
    /// The name of a file.
    Path,
    /// Never printed, and never in the file.
    Secret,
    /// `[[users]]`.
    Users,
}

const fn key(name: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { name, default, kind, meaning }
}

const LISTENER: &str = "an IP address and a port, such as 0.0.0.0:3306";
const LEVELS: &str = "a name and a level each, such as reports=eventual";

/// Every setting, in the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:3306", Kind::Text(LISTENER), "Where MySQL clients connect."),
    key(
        "unix",
        "",
        Kind::Path,
        "A Unix socket where clients on the same machine connect too; everybody there may open it.",
    ),
    key(
        "unix_takeover",
        "false",
        Kind::Flag,
        "Who listens at `unix` already is relieved once this process can serve: a rollout where the \
         new one starts before the old one ends.",
    ),
    key(
        "proxy_protocol_from",
        "",
        Kind::List("a network each, such as 10.0.0.0/8"),
        "Balancers in these networks must announce whom they pass on, by the PROXY protocol (1 or \
         2). Nobody else may.",
    ),
    key(
        "primary",
        "",
        Kind::Text("host or host:port"),
        "The server that takes writes. It must be given.",
    ),
    key(
        "replicas",
        "",
        Kind::List("host or host:port each"),
        "Servers that take reads. A name with several addresses is several servers; the primary \
         may be among them.",
    ),
    key(
        "mode",
        "split",
        Kind::Word(Mode::NAMES),
        "`split` sends proved reads to replicas, `primary` sends everything to the primary; `observe` \
         does that too and counts what `split` would have done.",
    ),
    key(
        "consistency",
        "causal",
        Kind::Word(Level::NAMES),
        "What a read must have seen. `eventual`: nothing; `session`: what its own connection wrote; \
         `causal`: what was acknowledged to anybody, through any proxy or none, before its request \
         began; `strict`: before the read itself.",
    ),
    key(
        "consistency_users",
        "",
        Kind::List(LEVELS),
        "The same for some users. Counts before their schemas' levels.",
    ),
    key("consistency_schemas", "", Kind::List(LEVELS), "The same for some current schemas."),
    key(
        "on_primary_loss",
        "serve-stale",
        Kind::Word(&["serve-stale", "refuse"]),
        "While no primary can be reached, or it is read-only, reads are served as of what was known \
         last (counted), or refused.",
    ),
    key(
        "local_answers",
        "true",
        Kind::Flag,
        "`SET NAMES`, `SET sql_mode`, `SELECT @@sql_mode`, `USE` and the like are answered as the \
         primary last answered the same account in the same state, for at most `auth.ttl_s`.",
    ),
    key(
        "local_infile",
        "false",
        Kind::Flag,
        "Clients may send files of their own for `LOAD DATA LOCAL INFILE`, if the servers allow it.",
    ),
    key(
        "threads",
        "0",
        Kind::Whole { min: 0, max: 1024 },
        "Worker threads; 0 means as many as the processors that the process may use.",
    ),
    key(
        "admin.http",
        "127.0.0.1:9090",
        Kind::Text("an IP address and a port, or off"),
        "Status page, metrics, probes. Whoever reaches it may change the mode and drain.",
    ),
    key(
        "admin.sql",
        "off",
        Kind::Text("an IP address and a port, or off"),
        "The console that answers `SHOW BACKENDS` and the like to MySQL clients. Beyond loopback \
         it needs a password.",
    ),
    key("admin.user", "admin", Kind::Text("a user name"), "Who logs in to the console."),
    key(
        "admin.password_file",
        "",
        Kind::Path,
        "A file that holds its password; without one anybody on this machine may look.",
    ),
    key("admin.password", "", Kind::Secret, "Its password; only `FOREBAY__ADMIN__PASSWORD`."),
    key(
        "monitor.user",
        "",
        Kind::Text("a user name"),
        "An account for probes and for the primary's log; optional.",
    ),
    key("monitor.password_file", "", Kind::Path, "A file that holds its password."),
    key("monitor.password", "", Kind::Secret, "Its password; only `FOREBAY__MONITOR__PASSWORD`."),
    key(
        "users",
        "",
        Kind::Users,
        "`[[users]]` with `name` and `password_file`: accounts that log in without being learned; \
         native-only clients need one. A name may stand there twice, with two passwords.",
    ),
    key(
        "auth.deny",
        "root",
        Kind::List("a user name each"),
        "Users that may not log in through the proxy.",
    ),
    key(
        "auth.learn",
        "true",
        Kind::Flag,
        "Accounts are learned by logging in at the primary; if not, only `[[users]]` log in.",
    ),
    key(
        "auth.ttl_s",
        "60",
        Kind::Whole { min: 1, max: 86_400 },
        "A learned password is proved at the primary again after this.",
    ),
    key("tls.certificate", "", Kind::Path, "PEM file shown to clients."),
    key("tls.key", "", Kind::Path, "PEM file with its private key."),
    key("tls.require", "false", Kind::Flag, "Clients without TLS are refused."),
    key(
        "tls.self_signed",
        "true",
        Kind::Flag,
        "Without a certificate, make one at start; if not, there is no TLS.",
    ),
    key(
        "backend.tls",
        "disabled",
        Kind::Word(&["disabled", "preferred", "required", "verify-ca", "verify-identity"]),
        "TLS towards servers: never, where offered, or always, with anybody; only with servers \
         whose certificate `backend.tls_ca` signed; and only if it names the host that `primary` or \
         `replicas` names.",
    ),
    key(
        "backend.tls_ca",
        "",
        Kind::Path,
        "PEM file of those who sign the servers' certificates; of MySQL's own it is `ca.pem` in \
         the data folder. For `verify-ca` and `verify-identity`.",
    ),
    key(
        "backend.connect_timeout_ms",
        "3000",
        Kind::Whole { min: 10, max: 60_000 },
        "A server that does not answer a connect and login by then counts as unreachable.",
    ),
    key(
        "pool.max_connections_per_server",
        "100",
        Kind::Whole { min: 1, max: limits::CLIENTS_MAX as u64 },
        "Connections that are opened to one server, over all accounts. A fifth of them is a reserve, \
         open to short statements when others have turned out to be long.",
    ),
    key(
        "pool.wait_ms_max",
        "10000",
        Kind::Whole { min: 1, max: 600_000 },
        "A statement that waits longer for a connection is answered with an error.",
    ),
    key(
        "pool.idle_s_max",
        "60",
        Kind::Whole { min: 1, max: 86_400 },
        "A connection that nobody used for so long is closed.",
    ),
    key(
        "freshness.window_ms",
        "2000",
        Kind::Whole { min: 0, max: 3_600_000 },
        "Without GTIDs, reads of what was written go to the primary for so long.",
    ),
    key(
        "freshness.follower",
        "auto",
        Kind::Word(&["auto", "off"]),
        "`auto`: the primary's log is read if the monitor's account may do that, so that a write \
         keeps only reads of the same tables, or rows, from replicas that lack it.",
    ),
    key(
        "freshness.keyed_tables",
        "",
        Kind::List("a table and a column each, such as *_mymeta.object_id"),
        "More columns by whose values the writes of a table are told apart, up to six of each table; \
         those that WordPress and WooCommerce look for are.",
    ),
    key(
        "freshness.replica_wait_ms",
        "20",
        Kind::Whole { min: 0, max: 10_000 },
        "A read waits so long for a replica that is about to have what it needs; then it goes to \
         the primary.",
    ),
    key(
        "drain.delay_s",
        "5",
        Kind::Whole { min: 0, max: 3_600 },
        "After SIGTERM, new clients are still served for so long, not ready.",
    ),
    key(
        "drain.deadline_s",
        "60",
        Kind::Whole { min: 1, max: 86_400 },
        "After that, clients may finish for so long; the rest is cut and counted.",
    ),
    key("log.format", "text", Kind::Word(&["text", "json"]), "How log lines look."),
    key(
        "log.level",
        "info",
        Kind::Text("error, warn, info, debug, trace or off, or a list such as warn,forebay=debug"),
        "Which log lines are written.",
    ),
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The keys of a section, or the top-level ones for the empty name.
pub(super) fn siblings(name: &str) -> Vec<&'static str> {
    let section = name.rsplit_once('.').map(|(section, _)| section);
    let same = |key: &&Key| key.name.rsplit_once('.').map(|(section, _)| section) == section;
    let found: Vec<_> = KEYS.iter().filter(same).map(|key| key.name).collect();
    if found.is_empty() { KEYS.iter().map(|key| key.name).collect() } else { found }
}

/// There is a section of that name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

impl Kind {
    /// What is allowed, in words.
    pub(super) fn allowed(self) -> String {
        match self {
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Flag => "true or false".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Text(what) => what.into(),
            Self::List(what) => format!("a list, {what}"),
            Self::Path => "the name of a file".into(),
            Self::Secret => "a password".into(),
            Self::Users => "tables with name and password_file".into(),
        }
    }
}

/// The README's table of settings.
#[must_use]
pub fn reference() -> String {
    let mut table = String::from("| key | default | allowed | meaning |\n|---|---|---|---|\n");
    for Key { name, default, kind, meaning } in KEYS {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        table.push_str(&format!("| `{name}` | {default} | {} | {meaning} |\n", kind.allowed()));
    }
    table
}
