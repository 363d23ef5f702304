//! No stale read, with replicas that are late, and that have stopped.

use super::client::Client;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(late_replicas_do_not_show, a_stopped_replica_is_not_read);

const PAIRS: usize = 200;

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.page (id INT PRIMARY KEY, version INT)", tenant.name));
    root.run(&format!("INSERT INTO {}.page VALUES (1, 0)", tenant.name));
    stack.sync();
    tenant
}

/// Writes by one client and reads by another at once; how many reads were old.
fn stale_reads(proxy: &Proxy, tenant: &Tenant) -> usize {
    let mut writer = proxy.client(tenant);
    let mut reader = proxy.client(tenant);
    let mut stale = 0;
    for version in 1..=PAIRS {
        writer.run(&format!("UPDATE page SET version = {version} WHERE id = 1"));
        // Now and then a client that has just come.
        if version % 20 == 0 {
            reader = proxy.client(tenant);
        }
        let seen = reader.cell("SELECT version FROM page WHERE id = 1");
        stale += usize::from(seen != version.to_string());
    }
    stale
}

fn at_replicas(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_route_total", &["target=\"replica\""])
}

fn late_replicas_do_not_show(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "late");
    let quiet = prepare(&stack, "quiet");
    REPLICAS.iter().for_each(|node| stack.script(&["lag", node, "2"]));
    let proxy = Proxy::start(&stack);
    let mut elsewhere = proxy.client(&quiet);
    proxy.wait_for_readers(2);
    until("the replicas have what was there at the start", || {
        let before = at_replicas(&proxy);
        elsewhere.run("SELECT * FROM page");
        at_replicas(&proxy) > before
    });
    assert_eq!(stale_reads(&proxy, &tenant), 0, "old rows");
    let prevented = proxy.metric("forebay_route_total", &["target=\"primary\"", "fresh"]);
    assert!(prevented >= PAIRS as f64 / 2.0, "{prevented} reads were kept from late replicas");
    // The replicas still lack those writes; what they do have is read there.
    let before = at_replicas(&proxy);
    for _ in 0..20 {
        assert_eq!(elsewhere.cell("SELECT version FROM page"), "0");
    }
    assert!(at_replicas(&proxy) - before > 15.0, "another schema's reads stay with the replicas");
    drop(proxy);
    // The same without the promise: the test can see old rows.
    let careless = Setup::of(&stack).arguments(&["--consistency", "eventual"]).start();
    careless.client(&tenant).quit();
    careless.wait_for_readers(2);
    assert!(stale_reads(&careless, &tenant) > 0, "late replicas are not late");
}

fn a_stopped_replica_is_not_read(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "stopped");
    let proxy = Proxy::start(&stack);
    let mut writer = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    let stop = match flavour {
        Flavour::MariaDb => "STOP SLAVE",
        Flavour::MySql97 => "STOP REPLICA",
    };
    stack.root(REPLICAS[0]).run(stop);
    writer.run("UPDATE page SET version = 7 WHERE id = 1");
    until("the other replica has it", || {
        let mut reader = proxy.client(&tenant);
        let before = at_replicas(&proxy);
        assert_eq!(reader.cell("SELECT version FROM page"), "7");
        at_replicas(&proxy) > before
    });
    for _ in 0..50 {
        let mut reader: Client = proxy.client(&tenant);
        assert_eq!(reader.cell("SELECT version FROM page"), "7");
    }
    let old = format!("SELECT version FROM {}.page", tenant.name);
    assert_eq!(stack.root(REPLICAS[0]).cell(&old), "0", "the stopped replica has it");
}
