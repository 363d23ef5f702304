//! Clients that take or send too slowly, and statements that are too long.

use std::time::{Duration, Instant};

use forebay::wire::frame::write_packet;

use super::client::Client;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    who_reads_nothing_slows_the_server_down,
    who_reads_nothing_can_be_killed,
    who_stops_in_the_middle_of_a_statement_can_be_killed,
    a_statement_that_is_too_long_for_the_server,
);

/// Rows of a kilobyte, a GB of them.
const FLOOD: &str = "SELECT REPEAT('x', 1000) FROM many a, many b";
/// What the process may grow by while a client reads nothing.
const GROWTH_KIB_MAX: u64 = 2 * 1024;

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE many (id INT PRIMARY KEY)");
    let rows: Vec<String> = (0..1000).map(|id| format!("({id})")).collect();
    root.run(&format!("INSERT INTO many VALUES {}", rows.join(",")));
    root.run("CREATE TABLE note (text LONGTEXT)");
    stack.sync();
    tenant
}

/// How many servers are at work on it.
fn flooding(stack: &Stack, tenant: &Tenant) -> usize {
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' \
         AND info LIKE 'SELECT REPEAT%'",
        tenant.name
    );
    NODES.iter().filter(|node| stack.root(node).cell(&question) != "0").count()
}

/// Bytes that the servers have sent, all in all.
fn sent(stack: &Stack) -> Vec<String> {
    let question = "SHOW GLOBAL STATUS LIKE 'Bytes_sent'";
    NODES.iter().map(|node| stack.root(node).run(question).rows[0][1].clone().unwrap()).collect()
}

fn who_reads_nothing_slows_the_server_down(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "slow_reader");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    client.run(&format!("{FLOOD} LIMIT 3000"));
    let before = proxy.memory_kib();
    client.command(3, FLOOD.as_bytes()).unwrap();
    until("a server works", || flooding(&stack, &tenant) == 1);
    // It has sent what fits in sockets and in what is read ahead, and waits.
    let mut most = 0;
    let (mut last, mut since) = (sent(&stack), Instant::now());
    until("it waits", || {
        most = most.max(proxy.memory_kib());
        let now = sent(&stack);
        if small(&last, &now) {
            return since.elapsed() > Duration::from_millis(500);
        }
        (last, since) = (now, Instant::now());
        false
    });
    assert_eq!(flooding(&stack, &tenant), 1, "a gigabyte is nowhere");
    let growth = most.saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    // Whoever reads at last gets what he asked for.
    for _ in 0..3000 {
        client.read().unwrap();
    }
    assert_eq!(flooding(&stack, &tenant), 1);
}

/// Nothing but the answers to these very questions was sent.
fn small(last: &[String], now: &[String]) -> bool {
    let number = |text: &String| text.parse::<u64>().unwrap();
    last.iter().zip(now).all(|(last, now)| number(now) - number(last) < 256 * 1024)
}

/// The number of a client, killed by another of the same account.
#[track_caller]
fn kill(proxy: &Proxy, tenant: &Tenant, victim: &Client) {
    proxy.client(tenant).run(&format!("KILL {}", victim.greeting.thread_id));
}

fn who_reads_nothing_can_be_killed(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "slow_victim");
    let mut proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    client.command(3, FLOOD.as_bytes()).unwrap();
    until("a server works", || flooding(&stack, &tenant) == 1);
    kill(&proxy, &tenant, &client);
    until("the server is free", || flooding(&stack, &tenant) == 0);
    until("it is gone", || proxy.metric("forebay_clients", &[]) == 0.0);
    let broken = (0..1_000_000).find(|_| client.read().is_err());
    assert!(broken.is_some(), "it is closed");
    proxy.assert_alive();
}

fn who_stops_in_the_middle_of_a_statement_can_be_killed(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "half_victim");
    let mut proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    let text = format!("INSERT INTO note VALUES ('{}')", "x".repeat(1 << 20));
    let mut packet = Vec::new();
    write_packet(&mut packet, 0, &[&[3], text.as_bytes()].concat());
    client.send_bytes(&packet[..packet.len() / 2]).unwrap();
    let leased = || proxy.metric("forebay_pool_connections", &["state=\"leased\""]);
    until("it keeps a connection", || leased() == 1.0);
    kill(&proxy, &tenant, &client);
    until("the connection is free", || leased() == 0.0);
    assert!(client.read().is_err(), "it is closed");
    assert_eq!(proxy.client(&tenant).cell("SELECT COUNT(*) FROM note FOR UPDATE"), "0");
    proxy.assert_alive();
}

/// The server's own answer, and everybody else is served.
fn a_statement_that_is_too_long_for_the_server(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "too_long");
    let mut proxy = Setup::of(&stack).start();
    let mut other = proxy.client(&tenant);
    let text = format!("INSERT INTO note VALUES ('{}')", "x".repeat(65 << 20));
    for _ in 0..3 {
        let mut client = proxy.client(&tenant);
        let failure = client.query(&text).expect_err("the server takes no such statement");
        assert_eq!(failure.code(), 1153, "{failure}");
        assert_eq!(other.cell("SELECT COUNT(*) FROM note FOR UPDATE"), "0");
    }
    proxy.assert_alive();
}
