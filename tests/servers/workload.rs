//! What WordPress and a shop send in a while, written down by `tests/wordpress/workload` and played
//! again through two proxies: how much of it replicas serve, by policy and lateness, and that none
//! of what they say is old.
//!
//! One statement at a time, each at its time; every read is put to the primary too, at once, so the
//! two must be equal. `WORKLOAD_SECONDS` says how long; `make freshness` takes half a minute.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::late::Late;
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, launcher, until};

/// A way to configure it.
struct Policy {
    name: &'static str,
    level: &'static str,
    /// It may read the primary's log.
    is_followed: bool,
}

const POLICIES: [Policy; 4] = [
    Policy { name: "causal, by table and key", level: "causal", is_followed: true },
    Policy { name: "causal, all or nothing", level: "causal", is_followed: false },
    Policy { name: "strict", level: "strict", is_followed: true },
    Policy { name: "eventual", level: "eventual", is_followed: true },
];

/// How late replicas are, and what they have to serve all the same by table and key.
const LATE_MS: [(u64, f64); 2] = [(250, 97.0), (3600, 80.0)];

/// One line of the general log.
struct Line {
    at: Duration,
    connection: u64,
    command: String,
    text: String,
}

/// What came of it.
#[derive(Debug, Default)]
struct Played {
    reads: usize,
    on_replicas: f64,
    /// How many of the others were sent to the primary by the last write of what.
    kept: BTreeMap<String, usize>,
    stale: Vec<String>,
    errors: Vec<String>,
}

impl Played {
    fn share(&self) -> f64 {
        100.0 * self.on_replicas / self.reads as f64
    }
}

#[test]
fn replicas_serve_what_they_can() {
    let seconds = std::env::var("WORKLOAD_SECONDS").unwrap_or_else(|_| "4".into());
    let is_full = seconds.parse::<f64>().expect("a number of seconds") >= 30.0;
    let flavours: &[_] =
        if is_full { &[Flavour::MariaDb, Flavour::MySql97] } else { &[Flavour::MariaDb] };
    let mut short = Vec::new();
    for &flavour in flavours {
        let written = write_down(flavour, &seconds);
        let lines = read_lines(&written);
        let stack = Stack::alone(flavour);
        let late = Late::between(&stack);
        for policy in &POLICIES {
            for (late_ms, share_min) in LATE_MS {
                // The small run is about old rows, not about shares.
                if !is_full && (policy.name != POLICIES[0].name || late_ms > 250) {
                    continue;
                }
                let played = play(&stack, &late, late_ms, policy, &written, &lines);
                judge(&played, flavour, policy, late_ms);
                let is_bound = is_full && policy.name == POLICIES[0].name;
                if is_bound && played.share() < share_min {
                    short.push(format!("{flavour:?} at {late_ms} ms: less than {share_min} %"));
                }
            }
        }
    }
    assert!(short.is_empty(), "{short:#?}");
}

fn judge(played: &Played, flavour: Flavour, policy: &Policy, late_ms: u64) {
    eprintln!(
        "{flavour:?} {:<25} {late_ms:>5} ms late: {:>5.1} % of {} reads on replicas, {} stale, {} errors",
        policy.name,
        played.share(),
        played.reads,
        played.stale.len(),
        played.errors.len(),
    );
    for (what, count) in &played.kept {
        eprintln!("{count:>8} waited for {what}");
    }
    assert!(played.errors.is_empty(), "{:#?}", &played.errors[..played.errors.len().min(5)]);
    if policy.level != "eventual" {
        assert!(played.stale.is_empty(), "{:#?}", &played.stale[..played.stale.len().min(5)]);
    }
}

/// The folder of a written workload.
fn write_down(flavour: Flavour, seconds: &str) -> PathBuf {
    let db = if flavour == Flavour::MariaDb { "mariadb" } else { "mysql97" };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("workload-{db}"));
    let writer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wordpress/workload");
    let output = Command::new(writer)
        .args(["--db", db, "--seconds", seconds, "--out"])
        .arg(&folder)
        .output()
        .expect("python3: deploy/local/stack install redis");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn read_lines(folder: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(folder.join("workload.sql")).unwrap();
    let entries = text.split("\n;;\n").filter(|entry| !entry.is_empty());
    let lines = entries.map(|entry| {
        let (head, text) = entry.split_once('\n').unwrap();
        let mut words = head.trim_start_matches("-- ").splitn(3, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        Line {
            at: Duration::from_micros(number()),
            connection: number(),
            command: words.next().unwrap().to_owned(),
            text: text.to_owned(),
        }
    });
    lines.collect()
}

/// The schema as it was before.
fn load(stack: &Stack, folder: &Path) -> Tenant {
    let tenant = stack.tenant("workload");
    let file = scratch("data.sql");
    let data = std::fs::read_to_string(folder.join("data.sql")).unwrap();
    std::fs::write(&file, format!("USE {};\n{data}", tenant.name)).unwrap();
    let status = Command::new(launcher())
        .args(["sql", stack.folder.to_str().unwrap(), PRIMARY])
        .stdin(File::open(&file).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    stack.sync();
    tenant
}

fn play(
    stack: &Stack,
    late: &Late,
    late_ms: u64,
    policy: &Policy,
    written: &Path,
    lines: &[Line],
) -> Played {
    late.set(Duration::ZERO);
    let tenant = load(stack, written);
    let setup = || {
        let setup = Setup::of(stack)
            .arguments(&["--consistency", policy.level])
            .file("[log]\nlevel = 'info,forebay::client::fresh=debug'");
        if policy.is_followed { setup.followed(stack) } else { setup.monitored() }
    };
    let proxies = [setup().start(), setup().start()];
    for proxy in &proxies {
        let mut client = proxy.client(&tenant);
        proxy.wait_for_readers(2);
        until("a read on a replica", || {
            client.run("SELECT option_value FROM wp_options WHERE option_name = 'home'");
            on_replicas(proxy) > 0.0
        });
    }
    late.set(Duration::from_millis(late_ms));
    let before: f64 = proxies.iter().map(on_replicas).sum();
    let mut played = Played::default();
    let mut sessions = HashMap::new();
    let begin = Instant::now();
    for line in lines {
        while let Some(left) = (begin + line.at).checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        match line.command.as_str() {
            "Connect" => {
                let proxy = &proxies[usize::try_from(line.connection % 2).unwrap()];
                let login = tenant.login();
                let shadow = Client::connect(stack.address(PRIMARY), &login).expect("a login");
                sessions.insert(line.connection, Session { client: proxy.client(&tenant), shadow });
            }
            "Quit" => drop(sessions.remove(&line.connection)),
            "Query" => {
                let session = sessions.get_mut(&line.connection).expect("a session that began");
                session.say(&line.text, &mut played);
            }
            // There is one schema only.
            _ => {}
        }
    }
    played.on_replicas = proxies.iter().map(on_replicas).sum::<f64>() - before;
    for line in proxies.iter().flat_map(|proxy| kept_by(&proxy.log())) {
        *played.kept.entry(line).or_default() += 1;
    }
    late.set(Duration::ZERO);
    played
}

/// What each read waited for that no replica had, as the log tells it.
fn kept_by(log: &str) -> Vec<String> {
    let of = |line: &str| {
        let (_, what) = line.split_once("must have seen ")?.1.split_once("by=")?;
        Some(what.split_once(" write=")?.0.to_owned())
    };
    log.lines().filter_map(of).collect()
}

fn on_replicas(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_route_total", &["target=\"replica\""])
}

/// One of WordPress's connections, and one to the primary that only reads.
struct Session {
    client: Client,
    shadow: Client,
}

impl Session {
    fn say(&mut self, text: &str, played: &mut Played) {
        let is_begun_by =
            |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let answer = match self.client.query(text) {
            Ok(answer) => answer,
            Err(failure) => return played.errors.push(format!("{failure}: {text}")),
        };
        if is_begun_by("SET ") {
            self.shadow.run(text);
            return;
        }
        if !["SELECT", "SHOW", "DESCRIBE", "("].into_iter().any(is_begun_by) {
            return;
        }
        let (mut truth, mut told) = (self.shadow.run(text).rows, answer.rows);
        // WordPress leaves the order of equals open.
        truth.sort();
        told.sort();
        if truth != told {
            let words = format!("{text}: {told:?} for {truth:?}");
            played.stale.push(words.chars().take(400).collect());
        }
        // What is about the connection itself goes nowhere.
        if !text.contains("@@") {
            played.reads += 1;
        }
    }
}
