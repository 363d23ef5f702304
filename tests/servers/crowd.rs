//! Many clients on few connections, clients that wait for each other, and what all that costs in
//! memory.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{Client, Failure};
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    five_thousand_on_fifty,
    who_waits_for_a_lock_delays_nobody,
    who_waits_in_a_transaction_counts_too,
    what_turns_out_to_be_slow_delays_nobody,
    results_and_statements_of_any_size_stream,
);

const CLIENTS: usize = 5000;
/// So many of them are at work at any time.
const BUSY: usize = 200;
const CONNECTIONS: usize = 50;

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, client INT, n INT)");
    stack.sync();
    tenant
}

fn five_thousand_on_fifty(flavour: Flavour) {
    rlimit::increase_nofile_limit(3 * CLIENTS as u64).expect("file descriptors");
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "crowd");
    // The watcher's is one more.
    let setup = Setup::of(&stack).monitored().file(&format!(
        "[pool]\nmax_connections_per_server = {}\nwait_ms_max = 60000",
        CONNECTIONS + 1
    ));
    let mut proxy = setup.start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let done = AtomicBool::new(false);
    let most: [AtomicUsize; 3] = Default::default();
    let connected = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (node, most) in NODES.iter().zip(&most) {
            let (stack, tenant, done) = (&stack, &tenant, &done);
            scope.spawn(move || count_connections(stack, node, tenant, most, done));
        }
        let workers: Vec<_> = (0..BUSY)
            .map(|worker| {
                let (proxy, tenant, connected) = (&proxy, &tenant, &connected);
                scope.spawn(move || work(proxy, tenant, worker, connected))
            })
            .collect();
        let failed: Vec<_> =
            workers.into_iter().filter_map(|worker| worker.join().unwrap().err()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    });
    for (node, most) in NODES.iter().zip(&most) {
        let most = most.load(Ordering::Relaxed);
        assert!((1..=CONNECTIONS).contains(&most), "{node} had {most} connections at once");
    }
    let written = stack.root(PRIMARY).cell(&format!("SELECT COUNT(*) FROM {}.note", tenant.name));
    assert_eq!(written, (2 * CLIENTS).to_string());
    proxy.assert_alive();
}

/// A share of the clients: all are connected, one after the other does what a request does.
fn work(
    proxy: &Proxy,
    tenant: &Tenant,
    worker: usize,
    connected: &AtomicUsize,
) -> Result<(), Failure> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS / BUSY {
        clients.push(proxy.try_client(tenant)?);
        connected.fetch_add(1, Ordering::Relaxed);
    }
    until_all(connected);
    for (at, client) in clients.iter_mut().enumerate() {
        let number = worker * (CLIENTS / BUSY) + at;
        client.query("SET NAMES utf8mb4")?;
        client.query("SET SESSION sql_mode = ''")?;
        client.query("SELECT COUNT(*) FROM note WHERE client = -1")?;
        client.query(&format!("INSERT INTO note (client, n) VALUES ({number}, 1)"))?;
        client.query("BEGIN")?;
        client.query(&format!("INSERT INTO note (client, n) VALUES ({number}, 2)"))?;
        client.query("COMMIT")?;
        assert_ne!(client.query("SELECT LAST_INSERT_ID()")?.cell(), "0");
    }
    Ok(())
}

fn until_all(connected: &AtomicUsize) {
    super::stack::until_within(Duration::from_secs(120), "all are connected", || {
        connected.load(Ordering::Relaxed) == CLIENTS
    });
}

fn count_connections(
    stack: &Stack,
    node: &str,
    tenant: &Tenant,
    most: &AtomicUsize,
    done: &AtomicBool,
) {
    let mut root = stack.root(node);
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'",
        tenant.name
    );
    while !done.load(Ordering::Relaxed) {
        most.fetch_max(root.cell(&question).parse().unwrap(), Ordering::Relaxed);
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// So many connections to the primary, the watcher's among them, and no replica.
fn few(stack: &Stack, connections: u32) -> Proxy {
    let pool = format!("[pool]\nmax_connections_per_server = {connections}\nwait_ms_max = 60000");
    Setup::of(stack).monitored().replicas(&[]).file(&pool).start()
}

/// Asks how many such statements the server is at.
fn running(tenant: &Tenant, like: &str) -> String {
    let list = "SELECT COUNT(*) FROM information_schema.processlist";
    format!("{list} WHERE user = '{}' AND info LIKE '{like}'", tenant.name)
}

/// Four sessions wait in GET_LOCK, on a pool of four and the watcher's: without a reserve nobody
/// else would get a connection.
fn who_waits_for_a_lock_delays_nobody(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "patient");
    let proxy = few(&stack, 5);
    let mut owner = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    assert_eq!(owner.cell("SELECT GET_LOCK('patient', 0)"), "1");
    let mut waiting: Vec<Client> = (0..4).map(|_| proxy.client(&tenant)).collect();
    for client in &mut waiting {
        client.command(3, b"SELECT GET_LOCK('patient', 20)").unwrap();
    }
    let question = running(&tenant, "SELECT GET_LOCK(%20)");
    let mut root = stack.root(PRIMARY);
    until("as many wait at the server as may", || root.cell(&question) == "3");
    visit(&proxy, &tenant);
    assert_eq!(root.cell(&question), "3", "one too many waits at the server");
    drop(owner);
    thread::scope(|scope| {
        for client in &mut waiting {
            scope.spawn(|| {
                assert_eq!(client.answers().unwrap()[0].cell(), "1");
                client.run("SELECT RELEASE_LOCK('patient')");
                client.simple(31, &[]).expect("COM_RESET_CONNECTION");
            });
        }
    });
}

/// Somebody with short statements is served: who calls this sees after it that the others wait still.
fn visit(proxy: &Proxy, tenant: &Tenant) {
    let mut visitor = proxy.client(tenant);
    for _ in 0..20 {
        visitor.run("INSERT INTO note (n) VALUES (1)");
        visitor.run("SELECT COUNT(*) FROM note");
    }
}

/// The transactions had their connections before they waited, and say so only then.
fn who_waits_in_a_transaction_counts_too(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "patient_inside");
    let proxy = few(&stack, 5);
    let mut owner = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    assert_eq!(owner.cell("SELECT GET_LOCK('inside', 0)"), "1");
    let mut waiting: Vec<Client> = (0..4).map(|_| proxy.client(&tenant)).collect();
    let question = running(&tenant, "SELECT GET_LOCK(%20)");
    let mut root = stack.root(PRIMARY);
    for (at, client) in waiting.iter_mut().enumerate() {
        if at < 3 {
            client.run("BEGIN");
        }
        client.command(3, b"SELECT GET_LOCK('inside', 20)").unwrap();
        let there = (at + 1).min(3).to_string();
        until("it waits at the server", || root.cell(&question) == there);
    }
    // The fourth asks for a connection of its own: it would be the last one.
    visit(&proxy, &tenant);
    assert_eq!(root.cell(&question), "3", "one too many waits at the server");
    drop(owner);
    thread::scope(|scope| {
        for client in &mut waiting {
            scope.spawn(|| {
                assert_eq!(client.answers().unwrap()[0].cell(), "1");
                client.simple(31, &[]).expect("COM_RESET_CONNECTION");
            });
        }
    });
}

/// Eight updates of a row that somebody has locked, on five connections: nothing in their text says
/// that they will wait.
fn what_turns_out_to_be_slow_delays_nobody(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "slow_updates");
    let proxy = few(&stack, 6);
    let mut owner = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    owner.run("INSERT INTO note (id, n) VALUES (1000000, 0)");
    owner.run("BEGIN");
    owner.run("UPDATE note SET n = 1 WHERE id = 1000000");
    let mut waiting: Vec<Client> = (0..8).map(|_| proxy.client(&tenant)).collect();
    for client in &mut waiting {
        client.command(3, b"UPDATE note SET n = n + 1 WHERE id = 1000000").unwrap();
    }
    let question = running(&tenant, "UPDATE note SET n = n + 1 %");
    let mut root = stack.root(PRIMARY);
    until("they wait at the server", || root.cell(&question) == "4");
    visit(&proxy, &tenant);
    assert_eq!(root.cell(&question), "4", "one too many waits at the server");
    owner.run("COMMIT");
    for client in &mut waiting {
        assert_eq!(client.answers().unwrap()[0].affected, 1);
    }
    assert_eq!(owner.cell("SELECT n FROM note WHERE id = 1000000"), "9");
}

/// Bytes of the result that is read slowly.
const RESULT_MIB: usize = 256;
/// What the process may grow by: buffers, and what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

fn results_and_statements_of_any_size_stream(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "large");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.large (text LONGTEXT)", tenant.name));
    stack.sync();
    let proxy = Setup::of(&stack).replicas(&[]).start();
    let mut client = proxy.client(&tenant);
    client.run("SELECT 1");
    let before = proxy.memory_kib();
    let mut most = 0;
    // A cross join of a thousand rows of 256 KiB.
    let rows = RESULT_MIB * 4;
    let digits = "(SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)";
    let sql = format!(
        "SELECT REPEAT('x', 262100) FROM {digits} a, {digits} b, {digits} c, {digits} d, {digits} e \
         LIMIT {rows}"
    );
    client.command(3, sql.as_bytes()).unwrap();
    let mut got = 0;
    for _ in 0..3 {
        client.read().unwrap();
    }
    loop {
        let (_, row) = client.read().unwrap();
        if row.len() < 9 {
            break;
        }
        got += row.len();
        most = most.max(proxy.memory_kib());
    }
    assert!(got >= (RESULT_MIB - 1) << 20, "{got} bytes");
    assert_eq!(client.cell("SELECT LENGTH(REPEAT('x', 60000000))"), "60000000");
    let row = client.cell("SELECT REPEAT('x', 60000000)");
    assert_eq!(row.len(), 60_000_000);
    most = most.max(proxy.memory_kib());
    let text = "y".repeat(60_000_000);
    let insert = format!("INSERT INTO large VALUES ('{text}')");
    client.query(&insert).unwrap_or_else(|failure| panic!("a long INSERT: {failure}"));
    most = most.max(proxy.memory_kib());
    assert_eq!(client.cell("SELECT LENGTH(text) FROM large"), "60000000");
    let growth = most.saturating_sub(before);
    eprintln!("{flavour:?}: {RESULT_MIB} MiB and three texts of 60 MB: +{growth} KiB");
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
}
