//! How far replicas are: told by the replicas themselves, with GTIDs and without, and after they
//! have crashed.

use std::thread;
use std::time::Duration;

use super::client::Client;
use super::general_log::statements;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until, until_within};

on_both!(a_late_replica_is_waited_for_not_polled, a_crashed_replica_proves_itself_again);

const REPLICA_READS: (&str, &[&str]) = ("forebay_route_total", &["target=\"replica\""]);

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.counter (id INT PRIMARY KEY, n INT)", tenant.name));
    root.run(&format!("INSERT INTO {}.counter VALUES (1, 0), (2, 0)", tenant.name));
    stack.sync();
    tenant
}

fn replica_reads(proxy: &Proxy) -> f64 {
    proxy.metric(REPLICA_READS.0, REPLICA_READS.1)
}

/// What the watchers have asked since then.
struct Asked(Vec<usize>);

impl Asked {
    fn begin(stack: &Stack) -> Self {
        Self(REPLICAS.map(|node| statements(stack, node, "monitor").len()).into())
    }

    fn since(&self, stack: &Stack) -> Vec<Vec<String>> {
        let pairs = REPLICAS.iter().zip(&self.0);
        pairs.map(|(node, old)| statements(stack, node, "monitor").split_off(*old)).collect()
    }
}

fn until_replicas_are_read(proxy: &Proxy, client: &mut Client) {
    let before = replica_reads(proxy);
    until("a read on a replica", || {
        client.run("SELECT n FROM counter WHERE id = 1");
        replica_reads(proxy) > before
    });
}

/// Writes on one connection, reads on another at once; gives how many reads were old.
fn stale_pairs(proxy: &Proxy, tenant: &Tenant, pairs: usize, id: usize) -> usize {
    let (mut writer, mut reader) = (proxy.client(tenant), proxy.client(tenant));
    let mut stale = 0;
    for n in 1..=pairs {
        writer.run(&format!("UPDATE counter SET n = n + 1 WHERE id = {id}"));
        let written =
            writer.cell(&format!("/* forebay: primary */ SELECT n FROM counter WHERE id = {id}"));
        let read = reader.cell(&format!("SELECT n FROM counter WHERE id = {id}"));
        stale += usize::from(read.parse::<u64>().unwrap() < written.parse::<u64>().unwrap());
        if n % 8 == 0 {
            // Now and then the replicas may come into it.
            thread::park_timeout(Duration::from_millis(10));
        }
    }
    stale
}

fn a_late_replica_is_waited_for_not_polled(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "waited");
    let proxy = Setup::of(&stack).monitored().start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    for node in REPLICAS {
        stack.script(&["lag", node, "3"]);
    }
    proxy.wait_for_readers(2);
    let asked = Asked::begin(&stack);
    client.run("UPDATE counter SET n = n + 1 WHERE id = 1");
    let at_once = replica_reads(&proxy);
    client.run("SELECT n FROM counter WHERE id = 1");
    assert_eq!(replica_reads(&proxy), at_once, "read before it was there");
    until_replicas_are_read(&proxy, &mut client);
    let (word, position) = match flavour {
        Flavour::MariaDb => ("MASTER_GTID_WAIT(", "gtid_slave_pos"),
        Flavour::MySql97 | Flavour::MySql56 => ("WAIT_FOR_EXECUTED_GTID_SET(", "gtid_executed"),
    };
    for (node, lines) in REPLICAS.into_iter().zip(asked.since(&stack)) {
        let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
        assert!(count(word) > 0, "{node} was not asked to wait");
        let (asked, waits) = (count(position), count(word));
        // Some 3 s, in steps of half a second; polling would have been 600 times.
        assert!(asked < 60 && waits < 40, "{node} was asked {asked} times, waited {waits} times");
        stack.script(&["lag", node, "0"]);
    }
}

/// What was known of a replica is not known of what comes back after a crash.
fn a_crashed_replica_proves_itself_again(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "crashed");
    let proxy = Setup::of(&stack).monitored().start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    thread::scope(|scope| {
        let pairs = scope.spawn(|| stale_pairs(&proxy, &tenant, 1500, 1));
        for node in [REPLICAS[0], REPLICAS[1], REPLICAS[0]] {
            stack.script(&["kill", node]);
            stack.script(&["start", node]);
        }
        assert_eq!(pairs.join().unwrap(), 0, "stale reads");
    });
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
}

/// With workers that commit in any order, a GTID that is there says nothing of those before it.
#[test]
fn gaps_do_not_count() {
    let stack = Stack::alone(Flavour::MySql97);
    let tenant = prepare(&stack, "gaps");
    let mut primary = stack.root(PRIMARY);
    for id in 3..=8 {
        primary.run(&format!("INSERT INTO {}.counter VALUES ({id}, 0)", tenant.name));
    }
    let set = |node: &str, order: &str, workers: u32| {
        let mut root = stack.root(node);
        root.run("STOP REPLICA SQL_THREAD");
        root.run(&format!("SET GLOBAL replica_preserve_commit_order = {order}"));
        root.run(&format!("SET GLOBAL replica_parallel_workers = {workers}"));
        root.run("START REPLICA SQL_THREAD");
    };
    REPLICAS.iter().for_each(|node| set(node, "OFF", 8));
    let proxy = Setup::of(&stack).monitored().start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    let before = replica_reads(&proxy);
    let (stale, gaps) = thread::scope(|scope| {
        let work = |id| {
            let (proxy, tenant) = (&proxy, &tenant);
            move || stale_pairs(proxy, tenant, 300, id)
        };
        let workers: Vec<_> = (1..=8).map(|id| scope.spawn(work(id))).collect();
        let mut root = stack.root(REPLICAS[0]);
        let own = format!("{}:", primary.cell("SELECT @@server_uuid"));
        let mut gaps = 0;
        while workers.iter().any(|worker| !worker.is_finished()) {
            let executed = root.cell("SELECT @@GLOBAL.gtid_executed");
            let intervals = executed.split_once(&own).map_or("", |(_, rest)| rest);
            gaps += usize::from(intervals.contains(':'));
        }
        let stale: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        (stale, gaps)
    });
    REPLICAS.iter().for_each(|node| set(node, "ON", 4));
    eprintln!("{gaps} looks saw a gap, {} reads on replicas", replica_reads(&proxy) - before);
    assert_eq!(stale, 0, "stale reads");
    assert!(replica_reads(&proxy) > before, "no read was served by a replica");
}

/// The window is an hour here: if replicas are read again, it is by their position.
const NO_WINDOW: &str = "[freshness]\nwindow_ms = 3600000";

fn by_file(flavour: Flavour) {
    let stack = Stack::alone_by_file(flavour);
    let (tenant, other) = (prepare(&stack, "by_file"), prepare(&stack, "by_file_calm"));
    let proxy = Setup::of(&stack).monitored().file(NO_WINDOW).start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    assert_eq!(stale_pairs(&proxy, &tenant, 100, 1), 0, "stale reads");
    let asked = Asked::begin(&stack);
    REPLICAS.iter().for_each(|node| stack.script(&["lag", node, "2"]));
    assert_eq!(stale_pairs(&proxy, &tenant, 50, 1), 0, "stale reads, with late replicas");
    let mut calm = proxy.client(&other);
    until_replicas_are_read(&proxy, &mut calm);
    REPLICAS.iter().for_each(|node| stack.script(&["lag", node, "0"]));
    until_within(Duration::from_secs(30), "replicas are read again", || {
        let before = replica_reads(&proxy);
        client.run("SELECT n FROM counter WHERE id = 1");
        replica_reads(&proxy) > before
    });
    // A new file of the log, and a replica that has crashed.
    stack.root(PRIMARY).run("FLUSH BINARY LOGS");
    stack.script(&["kill", REPLICAS[0]]);
    stack.script(&["start", REPLICAS[0]]);
    assert_eq!(stale_pairs(&proxy, &tenant, 100, 2), 0, "stale reads, in a new file");
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    let waited = |lines: &Vec<String>| lines.iter().any(|line| line.contains("_POS_WAIT("));
    assert!(asked.since(&stack).iter().all(waited), "the replicas were not asked to wait");
}

#[test]
fn by_file_and_offset_mysql97() {
    by_file(Flavour::MySql97);
}

#[test]
fn by_file_and_offset_mysql56() {
    by_file(Flavour::MySql56);
}

/// Without the right to ask for positions, time has to do; that is said once.
#[test]
fn without_the_right_to_ask_time_must_do() {
    let stack = Stack::alone_by_file(Flavour::MySql97);
    let tenant = prepare(&stack, "timed");
    let proxy = Setup::of(&stack).file("[freshness]\nwindow_ms = 300").start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until_replicas_are_read(&proxy, &mut client);
    client.run("UPDATE counter SET n = 1 WHERE id = 1");
    let before = replica_reads(&proxy);
    client.run("SELECT n FROM counter WHERE id = 1");
    assert_eq!(replica_reads(&proxy), before, "within the window");
    until_replicas_are_read(&proxy, &mut client);
    let told = proxy.log().matches("REPLICATION CLIENT").count();
    assert_eq!(told, 1, "{}", proxy.log());
}
