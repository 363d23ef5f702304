//! Limits of the pools, as the servers see them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::client::{Client, Failure};
use super::general_log::logins;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};

on_both!(never_a_fifth_login, a_thousand_connects_are_one_login);

const CLIENTS: usize = 50;
/// The watcher's connection is one of them.
const LIMIT: usize = 4;
const ROUNDS: usize = 8;

fn never_a_fifth_login(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("limit");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.tally (client INT, round INT)", tenant.name));
    stack.sync();
    let setup = Setup::of(&stack)
        .file(&format!("[pool]\nmax_connections_per_server = {LIMIT}\nwait_ms_max = 60000"));
    let proxy = setup.arguments(&["--threads", "3"]).start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let done = AtomicBool::new(false);
    let most: [AtomicUsize; 3] = Default::default();
    let (proxy, tenant) = (&proxy, &tenant);
    thread::scope(|scope| {
        for (node, most) in NODES.iter().zip(&most) {
            scope.spawn(|| count_logins(&stack, node, tenant, most, &done));
        }
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || work(proxy, tenant, client))).collect();
        let failed: Vec<_> =
            clients.into_iter().filter_map(|client| client.join().unwrap().err()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "{failed:?}");
    });
    for (node, most) in NODES.iter().zip(&most) {
        let most = most.load(Ordering::Relaxed);
        assert!((1..=LIMIT).contains(&most), "{node} had {most} connections at once");
    }
    let written = root.cell(&format!("SELECT COUNT(*) FROM {}.tally", tenant.name));
    assert_eq!(written, (CLIENTS * ROUNDS * 2).to_string());
}

/// Reads, writes and transactions; between them a client that has written stays idle.
fn work(proxy: &Proxy, tenant: &Tenant, client: usize) -> Result<(), Failure> {
    let mut connection = proxy.try_client(tenant)?;
    for round in 0..ROUNDS {
        connection.query(&format!("INSERT INTO tally VALUES ({client}, {round})"))?;
        let mut another = proxy.try_client(tenant)?;
        another.query("SELECT COUNT(*) FROM tally")?;
        connection.query("START TRANSACTION")?;
        connection.query(&format!("INSERT INTO tally VALUES ({client}, {round})"))?;
        connection.query("COMMIT")?;
        let seen =
            connection.query(&format!("SELECT COUNT(*) FROM tally WHERE client = {client}"))?;
        assert_eq!(seen.cell(), (2 * round + 2).to_string());
        another.query("SELECT 1")?;
    }
    Ok(())
}

/// Keeps the highest number of connections that the account had at a server.
fn count_logins(stack: &Stack, node: &str, tenant: &Tenant, most: &AtomicUsize, done: &AtomicBool) {
    let mut root = stack.root(node);
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'",
        tenant.name
    );
    while !done.load(Ordering::Relaxed) {
        most.fetch_max(root.cell(&question).parse().unwrap(), Ordering::Relaxed);
        // The servers have something else to do, too.
        thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

fn a_thousand_connects_are_one_login(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("thousand");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.tally (n INT)", tenant.name));
    stack.sync();
    let before = logins(&stack, PRIMARY, &tenant.name);
    let proxy = Setup::of(&stack).monitored().start();
    for _ in 0..1000 {
        let mut client: Client = proxy.client(&tenant);
        assert_eq!(client.cell("SELECT 1 FROM DUAL"), "1");
        client.quit();
    }
    assert_eq!(logins(&stack, PRIMARY, &tenant.name) - before, 1, "logins at the primary");
    let mut client = proxy.client(&tenant);
    client.run("INSERT INTO tally VALUES (1)");
    client.quit();
    until("all gone", || proxy.metric("forebay_clients", &[]) == 0.0);
    assert_eq!(logins(&stack, PRIMARY, &tenant.name) - before, 1, "logins at the primary");
}
