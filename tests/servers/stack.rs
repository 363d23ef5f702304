//! The servers: one stack of `deploy/local` for each kind, shared by all tests of a run.
//!
//! A stack belongs to the process that runs the tests and ends with it. Tests that kill or slow
//! servers have it alone (a file lock), and leave it as they found it; the others share it, each
//! with a schema and an account of its own.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::client::{Client, Login};

/// Every kind of server that there is a stack of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    MariaDb,
    MySql97,
    /// The oldest one; only what is said to work there is tested on it.
    MySql56,
}

/// The test, once for each kind of server.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn mariadb() {
                super::$name(crate::servers::stack::Flavour::MariaDb);
            }

            #[test]
            fn mysql97() {
                super::$name(crate::servers::stack::Flavour::MySql97);
            }
        }
    )+};
}
pub(crate) use on_both;

/// One of the three servers.
pub(crate) const PRIMARY: &str = "primary";
pub(crate) const REPLICAS: [&str; 2] = ["replica1", "replica2"];
pub(crate) const NODES: [&str; 3] = ["primary", "replica1", "replica2"];

/// Waits for something to come true.
#[track_caller]
pub(crate) fn until(what: &str, is_true: impl FnMut() -> bool) {
    until_within(Duration::from_secs(20), what, is_true);
}

/// The same with a time of its own.
#[track_caller]
pub(crate) fn until_within(wait: Duration, what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + wait;
    while !is_true() {
        assert!(Instant::now() < deadline, "not within {wait:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A running stack, and the right to use it.
pub(crate) struct Stack {
    pub(crate) flavour: Flavour,
    /// It replicates by file and offset.
    by_file: bool,
    pub(crate) folder: PathBuf,
    environment: HashMap<String, String>,
    is_alone: bool,
    _lock: File,
}

/// How the kinds of server are told to stop, change and start following.
pub(crate) struct Words {
    pub(crate) replica: &'static str,
    pub(crate) change: &'static str,
    pub(crate) source: &'static str,
}

impl Words {
    pub(crate) fn of(flavour: Flavour) -> Self {
        match flavour {
            Flavour::MariaDb | Flavour::MySql56 => {
                Self { replica: "SLAVE", change: "CHANGE MASTER TO", source: "MASTER" }
            }
            Flavour::MySql97 => Self {
                replica: "REPLICA",
                change: "CHANGE REPLICATION SOURCE TO",
                source: "SOURCE",
            },
        }
    }
}

/// A schema with an account that may do anything there, on all servers.
pub(crate) struct Tenant {
    /// The schema's name, the user's and the password.
    pub(crate) name: String,
}

impl Tenant {
    pub(crate) fn login(&self) -> Login<'_> {
        Login::new(&self.name, &self.name).to(&self.name)
    }
}

impl Stack {
    /// The stack together with others.
    pub(crate) fn shared(flavour: Flavour) -> Self {
        Self::open(flavour, false, false)
    }

    /// The stack alone: its servers may be killed and slowed.
    pub(crate) fn alone(flavour: Flavour) -> Self {
        Self::open(flavour, true, false).hurt()
    }

    /// The same, of servers without GTIDs.
    pub(crate) fn alone_by_file(flavour: Flavour) -> Self {
        Self::open(flavour, true, true).hurt()
    }

    fn hurt(self) -> Self {
        File::create(self.hurt_mark()).unwrap();
        self
    }

    fn open(flavour: Flavour, is_alone: bool, by_file: bool) -> Self {
        let owner = parent_id();
        let name = match flavour {
            Flavour::MariaDb => "mariadb",
            Flavour::MySql97 => "mysql97",
            Flavour::MySql56 => "mysql56",
        };
        let kind = if by_file { format!("{name}-by-file") } else { name.to_owned() };
        let folder = std::env::temp_dir().join(format!("forebay-servers-{owner}-{kind}"));
        let lock_path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("servers-{kind}.lock"));
        let lock =
            OpenOptions::new().create(true).append(true).open(&lock_path).expect("a lock file");
        lock.lock().unwrap();
        if !folder.join("env").exists() {
            let owner = owner.to_string();
            let mut lines = vec![
                "general_log=ON",
                "max_allowed_packet=64M",
                "max_connections=400",
                "log_bin_trust_function_creators=ON",
                "local_infile=ON",
            ];
            if flavour == Flavour::MariaDb {
                lines.extend(["plugin_load_add=auth_ed25519", "plugin_load_add=auth_pam"]);
            }
            let gtid = if by_file { "off" } else { "on" };
            let words = ["up", path(&folder), "--db", name, "--gtid", gtid, "--owner", &owner];
            script(&words.map(String::from), &lines);
        }
        let environment = read_environment(&folder);
        let stack = Self { flavour, by_file, folder, environment, is_alone, _lock: lock };
        if stack.hurt_mark().exists() {
            stack.heal();
        }
        if !is_alone {
            stack._lock.lock_shared().unwrap();
        }
        stack
    }

    /// Stands while a test has the stack alone; stays when that test was killed.
    fn hurt_mark(&self) -> PathBuf {
        self.folder.join("hurt")
    }

    /// All servers run and follow, as at the start.
    fn heal(&self) {
        for node in NODES {
            self.script(&["start", node]);
        }
        let (_, port) = self.address(PRIMARY).rsplit_once(':').unwrap();
        for node in REPLICAS {
            match self.by_file {
                true => self.script(&["lag", node, "0"]),
                false => self.follow(node, port.parse().unwrap()),
            }
        }
        self.sync();
        std::fs::remove_file(self.hurt_mark()).unwrap();
    }

    /// Makes a replica follow who listens there, without a delay. Without GTIDs it would begin
    /// anew: who says where its source is, makes it forget how far it was.
    pub(crate) fn follow(&self, node: &str, port: u16) {
        let Words { replica, change, source } = Words::of(self.flavour);
        let mut root = self.root(node);
        root.run(&format!("STOP {replica}"));
        // Without GTIDs another port is another log, to be read from its beginning.
        let port = if self.by_file { String::new() } else { format!("{source}_PORT={port}, ") };
        root.run(&format!("{change} {port}{source}_DELAY=0"));
        root.run(&format!("START {replica}"));
    }

    /// Runs a command of the launcher on this stack.
    pub(crate) fn script(&self, words: &[&str]) {
        let mut all = vec![words[0].to_owned(), path(&self.folder).to_owned()];
        all.extend(words[1..].iter().map(|&word| word.to_owned()));
        script(&all, &[]);
    }

    /// Where a server listens.
    pub(crate) fn address(&self, node: &str) -> &str {
        &self.environment[&node.to_uppercase()]
    }

    /// Who vouches for this server: a PEM file.
    pub(crate) fn authority(&self, node: &str) -> PathBuf {
        self.folder.join(node).join("data/ca.pem")
    }

    /// A connection to a server as its root.
    pub(crate) fn root(&self, node: &str) -> Client {
        Client::root(&self.folder.join(node).join("socket"))
    }

    /// A new schema with its account.
    pub(crate) fn tenant(&self, name: &str) -> Tenant {
        let name = format!("t_{name}");
        let mut root = self.root(PRIMARY);
        root.run(&format!("DROP DATABASE IF EXISTS {name}"));
        root.run(&format!("CREATE DATABASE {name}"));
        match self.flavour {
            // It has no IF EXISTS for accounts, and a GRANT of nothing makes one.
            Flavour::MySql56 => {
                root.run(&format!("GRANT USAGE ON *.* TO {name}"));
                root.run(&format!("DROP USER {name}"));
            }
            _ => drop(root.run(&format!("DROP USER IF EXISTS {name}"))),
        }
        root.run(&format!("CREATE USER {name} IDENTIFIED BY '{name}'"));
        root.run(&format!("GRANT ALL ON {name}.* TO {name}"));
        self.sync();
        Tenant { name }
    }

    /// Waits until both replicas have applied all that the primary has.
    pub(crate) fn sync(&self) {
        if self.by_file {
            return self.script(&["sync"]);
        }
        let position = self.root(PRIMARY).cell(match self.flavour {
            Flavour::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
            Flavour::MySql97 | Flavour::MySql56 => "SELECT @@GLOBAL.gtid_executed",
        });
        let wait = match self.flavour {
            Flavour::MariaDb => "MASTER_GTID_WAIT",
            Flavour::MySql97 => "WAIT_FOR_EXECUTED_GTID_SET",
            // It counts what it waited for.
            Flavour::MySql56 => "0 > WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS",
        };
        for node in REPLICAS {
            let waited = self.root(node).cell(&format!("SELECT {wait}('{position}', 120)"));
            assert_eq!(waited, "0", "{node} does not catch up");
        }
    }

    /// Whether a server has executed anything of its own.
    pub(crate) fn has_diverged(&self, node: &str) -> bool {
        let own = match self.flavour {
            Flavour::MariaDb => "SELECT @@gtid_binlog_state REGEXP CONCAT('-', @@server_id, '-')",
            Flavour::MySql97 | Flavour::MySql56 => {
                "SELECT INSTR(@@GLOBAL.gtid_executed, @@server_uuid) > 0"
            }
        };
        self.root(node).cell(own) != "0"
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if self.is_alone && !std::thread::panicking() {
            self.heal();
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What starts and stops servers.
pub(crate) fn launcher() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/stack")
}

fn script(words: &[String], lines: &[&str]) {
    let lines = lines.iter().flat_map(|line| ["--cnf", *line]);
    let output = Command::new(launcher()).args(words).args(lines).output().expect("the launcher");
    assert!(
        output.status.success(),
        "stack {words:?}: {}\nWhat is missing is installed by: make install",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn read_environment(folder: &Path) -> HashMap<String, String> {
    let text = std::fs::read_to_string(folder.join("env")).expect("the stack's addresses");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
