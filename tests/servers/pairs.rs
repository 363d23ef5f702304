//! Pairs of a write and a read through different proxies, while servers are late, stop, die and
//! come back: nobody reads what a write before it has made old, and nobody gets an error.
//!
//! `FRESHNESS_PAIRS` says how many for each kind of trouble; `make freshness` says many.

mod checker;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::checker::{Findings, How, Scene, tables};
use super::late::Late;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, Words, on_both, until};

on_both!(
    replicas_that_are_late,
    eventual_is_seen_to_be_stale,
    options_by_their_names,
    posts_by_what_they_are,
    appliers_that_stop,
    replicas_that_are_killed,
    appliers_that_overtake,
    two_phases,
    tables_in_memory,
    strict_needs_no_beginning,
    filters_that_leave_out,
    a_primary_that_is_demoted,
);

/// Two proxies before one stack, and a schema.
struct Field {
    // Dropped in this order: proxies, then the stack is healed.
    proxies: Vec<Proxy>,
    late: Option<Late>,
    is_strict: bool,
    tenant: Tenant,
    stack: Stack,
}

impl Field {
    fn new(flavour: Flavour, name: &str, level: &str) -> Self {
        Self::on(Stack::alone(flavour), name, level)
    }

    fn on(stack: Stack, name: &str, level: &str) -> Self {
        let tenant = stack.tenant(&format!("pairs_{name}"));
        let mut root = stack.root(PRIMARY);
        root.run(&format!("USE {}", tenant.name));
        for line in tables() {
            root.run(&line);
        }
        stack.sync();
        // One sees the primary's log, the other has to ask for each read.
        let setup = || Setup::of(&stack).arguments(&["--consistency", level]);
        let proxies = vec![setup().followed(&stack).start(), setup().monitored().start()];
        let field = Self { proxies, late: None, is_strict: level == "strict", tenant, stack };
        field.settle();
        field
    }

    /// Both proxies read from replicas.
    fn settle(&self) {
        for proxy in &self.proxies {
            let mut client = proxy.client(&self.tenant);
            proxy.wait_for_readers(2);
            until("a read on a replica", || {
                client.run("SELECT name FROM names WHERE id = 0");
                proxy.metric("forebay_route_total", &["target=\"replica\""]) > 0.0
            });
        }
    }

    fn late(mut self) -> Self {
        self.late = Some(Late::between(&self.stack));
        self
    }

    /// The pairs, while `trouble` is made again and again in another thread.
    fn run(&self, how: How, pairs: usize, trouble: impl Fn(&Stack, u32) + Sync) -> Findings {
        self.run_where(how, pairs, |_| false, trouble)
    }

    fn run_where(
        &self,
        how: How,
        pairs: usize,
        may_refuse: fn(u16) -> bool,
        trouble: impl Fn(&Stack, u32) + Sync,
    ) -> Findings {
        let (seed, rounds) = (seed(), AtomicUsize::new(0));
        let scene = Scene {
            doors: self.proxies.iter().map(|proxy| proxy.address.clone()).collect(),
            primary: self.stack.address(PRIMARY).to_owned(),
            login: self.tenant.login(),
            how,
            pairs,
            seed,
            rounds: &rounds,
            rounds_min: 3,
            may_refuse,
            is_strict: self.is_strict,
        };
        let is_over = AtomicBool::new(false);
        let found = thread::scope(|scope| {
            let is_over = &is_over;
            let again = (0u32..).take_while(|_| !is_over.load(Ordering::Relaxed));
            let (trouble, stack, rounds) = (&trouble, &self.stack, &rounds);
            scope.spawn(move || {
                again.for_each(|round| {
                    trouble(stack, round);
                    rounds.fetch_add(1, Ordering::Relaxed);
                });
            });
            let found = scene.run();
            is_over.store(true, Ordering::Relaxed);
            found
        });
        eprintln!(
            "{:?} {how:?} seed {seed}: {} pairs, {} stale, {} backwards, {} errors; reads on replicas {}",
            self.stack.flavour,
            found.pairs,
            found.stale.len(),
            found.backwards.len(),
            found.errors.len(),
            self.on_replicas(),
        );
        found
    }

    fn on_replicas(&self) -> f64 {
        let of = |proxy: &Proxy| proxy.metric("forebay_route_total", &["target=\"replica\""]);
        self.proxies.iter().map(of).sum()
    }

    #[track_caller]
    fn assert_right(&mut self, found: &Findings) {
        let few = |lines: &[String]| lines.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(found.stale.is_empty(), "{} stale:\n{}", found.stale.len(), few(&found.stale));
        assert!(found.backwards.is_empty(), "backwards:\n{}", few(&found.backwards));
        assert!(found.errors.is_empty(), "errors:\n{}", few(&found.errors));
        for proxy in &mut self.proxies {
            proxy.assert_alive();
        }
    }
}

fn pairs() -> usize {
    std::env::var("FRESHNESS_PAIRS").map_or(300, |words| words.parse().expect("a number of pairs"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let given = std::env::var("FRESHNESS_SEED").ok();
    given.map_or_else(|| u64::from(now().subsec_nanos()), |words| words.parse().unwrap())
}

/// Lets a moment pass between two troubles.
fn pass(ms: u64) {
    thread::park_timeout(Duration::from_millis(ms));
}

fn both(stack: &Stack, lines: &[String]) {
    for node in REPLICAS {
        let mut root = stack.root(node);
        for line in lines {
            root.run(line);
        }
    }
}

/// Late by something else every 50 ms.
fn lateness(late: &Late, round: u32) {
    let ms = [0, 2, 300, 0, 20, 1000, 5][round as usize % 7];
    late.set(Duration::from_millis(ms));
    pass(50);
}

fn replicas_that_are_late(flavour: Flavour) {
    let mut field = Field::new(flavour, "late", "causal").late();
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Rows, pairs(), |_, round| lateness(late, round));
    field.assert_right(&found);
}

fn options_by_their_names(flavour: Flavour) {
    let mut field = Field::new(flavour, "options", "causal").late();
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Options, pairs(), |_, round| lateness(late, round));
    field.assert_right(&found);
}

/// Rows that come to have a value, and rows that had it.
fn posts_by_what_they_are(flavour: Flavour) {
    let mut field = Field::new(flavour, "posts", "causal").late();
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Posts, pairs(), |_, round| lateness(late, round));
    field.assert_right(&found);
}

/// The same without the law: it shows that the checker sees.
fn eventual_is_seen_to_be_stale(flavour: Flavour) {
    let field = Field::new(flavour, "eventual", "eventual").late();
    field.late.as_ref().unwrap().set(Duration::from_secs(1));
    let found = field.run(How::Rows, 100, |_, _| pass(50));
    assert!(found.stale.len() > 20, "only {} of {} are stale", found.stale.len(), found.pairs);
    assert!(found.errors.is_empty(), "{:?}", found.errors);
}

/// A connection that was open all the time reads what was written a moment ago.
fn strict_needs_no_beginning(flavour: Flavour) {
    let mut field = Field::new(flavour, "strict", "strict").late();
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Rows, pairs(), |_, round| lateness(late, round));
    field.assert_right(&found);
}

fn appliers_that_stop(flavour: Flavour) {
    stop_appliers(Stack::alone(flavour), pairs());
}

/// By file and offset.
#[test]
fn without_gtids_mysql97() {
    stop_appliers(Stack::alone_by_file(Flavour::MySql97), pairs().min(10_000));
}

#[test]
fn without_gtids_mysql56() {
    stop_appliers(Stack::alone_by_file(Flavour::MySql56), pairs().min(10_000));
}

#[test]
fn appliers_that_stop_mysql56() {
    stop_appliers(Stack::alone(Flavour::MySql56), pairs().min(10_000));
}

fn stop_appliers(stack: Stack, pairs: usize) {
    let Words { replica, .. } = Words::of(stack.flavour);
    let mut field = Field::on(stack, "stop", "causal");
    let found = field.run(How::Rows, pairs, |stack, round| {
        let node = REPLICAS[round as usize % 2];
        stack.root(node).run(&format!("STOP {replica} SQL_THREAD"));
        pass(100);
        stack.root(node).run(&format!("START {replica} SQL_THREAD"));
        pass(50);
    });
    field.assert_right(&found);
}

fn replicas_that_are_killed(flavour: Flavour) {
    let mut field = Field::new(flavour, "killed", "causal");
    let found = field.run(How::Rows, pairs(), |stack, round| {
        let node = REPLICAS[round as usize % 2];
        stack.script(&["kill", node]);
        pass(100);
        stack.script(&["start", node]);
        pass(700);
    });
    field.assert_right(&found);
}

/// Transactions are applied in another order than they were written in.
fn appliers_that_overtake(flavour: Flavour) {
    let mut field = Field::new(flavour, "overtake", "causal").late();
    let (stop, start, keep) = match flavour {
        Flavour::MariaDb => (
            [
                "STOP SLAVE",
                "SET GLOBAL slave_parallel_threads = 8",
                "SET GLOBAL slave_parallel_mode = 'aggressive'",
            ],
            "START SLAVE",
            ["STOP SLAVE", "SET GLOBAL slave_parallel_threads = 0", "START SLAVE"],
        ),
        Flavour::MySql97 | Flavour::MySql56 => (
            [
                "STOP REPLICA",
                "SET GLOBAL replica_parallel_workers = 8",
                "SET GLOBAL replica_preserve_commit_order = OFF",
            ],
            "START REPLICA",
            ["STOP REPLICA", "SET GLOBAL replica_preserve_commit_order = ON", "START REPLICA"],
        ),
    };
    both(&field.stack, &stop.iter().copied().chain([start]).map(str::to_owned).collect::<Vec<_>>());
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Rows, pairs(), |_, round| lateness(late, round));
    both(&field.stack, &keep.map(str::to_owned));
    field.assert_right(&found);
}

fn two_phases(flavour: Flavour) {
    let mut field = Field::new(flavour, "xa", "causal").late();
    let late = field.late.as_ref().unwrap();
    let found = field.run(How::Xa, pairs(), |_, round| lateness(late, round));
    field.assert_right(&found);
}

/// A replica that was started again has lost their rows, and its position says nothing of it. Here
/// they are taken away: MariaDB writes down by itself that they are gone, which ends replication.
fn tables_in_memory(flavour: Flavour) {
    let mut field = Field::new(flavour, "memory", "causal");
    let name = field.tenant.name.clone();
    let lines = |on: &str| match flavour {
        Flavour::MySql97 => format!("SET GLOBAL super_read_only = {on}"),
        Flavour::MariaDb | Flavour::MySql56 => "SET sql_log_bin = 0".to_owned(),
    };
    let found = field.run(How::Lines, pairs().min(10_000), |stack, round| {
        let mut root = stack.root(REPLICAS[round as usize % 2]);
        for line in [
            "SET sql_log_bin = 0",
            &lines("OFF"),
            &format!("DELETE FROM {name}.lines_in_memory"),
            &lines("ON"),
        ] {
            root.run(line);
        }
        pass(100);
    });
    field.assert_right(&found);
}

/// Its position says that it has everything.
fn filters_that_leave_out(flavour: Flavour) {
    let mut field = Field::new(flavour, "filter", "causal");
    let table = format!("{}.pairs", field.tenant.name);
    let filter = |list: &str| match flavour {
        Flavour::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!("SET GLOBAL replicate_ignore_table = '{list}'"),
            "START SLAVE".to_owned(),
        ],
        Flavour::MySql97 | Flavour::MySql56 => [
            "STOP REPLICA SQL_THREAD".to_owned(),
            format!("CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = ({list})"),
            "START REPLICA SQL_THREAD".to_owned(),
        ],
    };
    for line in filter(&table) {
        field.stack.root(REPLICAS[0]).run(&line);
    }
    // What it took to notice is a second at most.
    field.proxies.iter().for_each(|proxy| proxy.wait_for_readers(1));
    let found = field.run(How::Rows, pairs(), |_, _| pass(50));
    for line in filter("") {
        field.stack.root(REPLICAS[0]).run(&line);
    }
    // What was left out is gone for ever.
    field.stack.root(PRIMARY).run(&format!("DROP DATABASE {}", field.tenant.name));
    field.assert_right(&found);
}

/// It goes on answering, and its word is no fence.
fn a_primary_that_is_demoted(flavour: Flavour) {
    let mut field = Field::new(flavour, "demoted", "causal").late();
    let late = field.late.as_ref().unwrap();
    let may_refuse = |code| matches!(code, 1290 | 1836);
    let found = field.run_where(How::Rows, pairs(), may_refuse, |stack, round| {
        lateness(late, round);
        stack.root(PRIMARY).run("SET GLOBAL read_only = 1");
        pass(20);
        stack.root(PRIMARY).run("SET GLOBAL read_only = 0");
    });
    field.assert_right(&found);
}
