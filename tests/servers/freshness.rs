//! Nobody reads what a write has made old: with replicas that are seconds late.

use super::client::Client;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(no_stale_read_across_connections, eventual_reads_are_stale, stopped_replicas_are_left);

const PAIRS: usize = 200;

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE counter (id INT PRIMARY KEY, n INT)");
    root.run("INSERT INTO counter VALUES (1, 0)");
    stack.sync();
    tenant
}

fn late(stack: &Stack, seconds: &str) {
    for node in REPLICAS {
        stack.script(&["lag", node, seconds]);
    }
}

/// Writes on one connection, reads on another at once; gives how many reads were old.
fn stale_pairs(writer: &mut Client, reader: &mut Client, pairs: usize) -> usize {
    let mut stale = 0;
    for n in 1..=pairs {
        writer.run(&format!("UPDATE counter SET n = {n} WHERE id = 1"));
        let read = reader.cell("SELECT n FROM counter WHERE id = 1");
        stale += usize::from(read != n.to_string());
    }
    stale
}

/// Waits until a proxy reads from replicas at all.
fn settled(proxy: &Proxy, client: &mut Client) {
    proxy.wait_for_readers(2);
    until("a read on a replica", || {
        client.run("SELECT n FROM counter WHERE id = 1");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > 0.0
    });
}

fn no_stale_read_across_connections(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let (tenant, other) = (prepare(&stack, "fresh"), prepare(&stack, "calm"));
    let proxy = Setup::of(&stack).followed(&stack).start();
    let mut reader = proxy.client(&tenant);
    settled(&proxy, &mut reader);
    until("the primary's log is followed", || proxy.metric("forebay_follower_up", &[]) > 0.0);
    late(&stack, "3");
    let stale = stale_pairs(&mut proxy.client(&tenant), &mut reader, PAIRS);
    assert_eq!(stale, 0, "of {PAIRS}");
    // Another schema's reads go on at the replicas.
    let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
    let mut calm = proxy.client(&other);
    for _ in 0..20 {
        calm.run("SELECT n FROM counter WHERE id = 1");
    }
    let after = proxy.metric("forebay_route_total", &["target=\"replica\""]);
    late(&stack, "0");
    assert_eq!(after - before, 20.0);
    assert!(proxy.metric("forebay_stale_reads_prevented_total", &[]) >= PAIRS as f64);
}

/// The same run without the law: it shows that the test above bites.
fn eventual_reads_are_stale(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "eventual");
    let proxy = Setup::of(&stack).arguments(&["--consistency", "eventual"]).start();
    let mut reader = proxy.client(&tenant);
    settled(&proxy, &mut reader);
    late(&stack, "3");
    let stale = stale_pairs(&mut proxy.client(&tenant), &mut reader, 20);
    late(&stack, "0");
    assert!(stale > 10, "{stale} of 20");
}

fn stopped_replicas_are_left(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "stopped");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    settled(&proxy, &mut client);
    let word = match flavour {
        Flavour::MariaDb => "SLAVE",
        Flavour::MySql97 | Flavour::MySql56 => "REPLICA",
    };
    for node in REPLICAS {
        stack.root(node).run(&format!("STOP {word}"));
    }
    let stale = stale_pairs(&mut proxy.client(&tenant), &mut client, 20);
    for node in REPLICAS {
        stack.root(node).run(&format!("START {word}"));
    }
    assert_eq!(stale, 0);
    let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
    until("replicas are read again", || {
        client.run("SELECT n FROM counter WHERE id = 1");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > before
    });
}
