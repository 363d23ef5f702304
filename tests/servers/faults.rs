//! Servers that die, hang up, and speak nonsense, while clients are at work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::balancer::{babble, chatter};
use super::client::{Client, Failure};
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(
    a_killed_replica_costs_no_error,
    a_killed_primary_leaves_a_write_unknown,
    a_transaction_cut_is_told_until_it_is_rolled_back,
    servers_that_were_restarted_between_two_statements,
    servers_that_say_more_than_was_asked,
    an_insert_id_goes_with_its_server,
);

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY, n INT)", tenant.name));
    root.run(&format!("INSERT INTO {}.note VALUES (1, 1), (2, 2)", tenant.name));
    stack.sync();
    tenant
}

fn killed_replica_client(proxy: &Proxy, tenant: &Tenant, reads: &AtomicUsize, done: &AtomicBool) {
    let mut client = proxy.client(tenant);
    while !done.load(Ordering::Relaxed) {
        let sum = client.query("SELECT SUM(n) FROM note");
        assert_eq!(sum.unwrap_or_else(|failure| panic!("{failure}")).cell(), "3");
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

fn a_killed_replica_costs_no_error(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "killed");
    let proxy = Proxy::start(&stack);
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let (reads, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let more_reads = |count: usize| {
        let before = reads.load(Ordering::Relaxed);
        until("reads go on", || reads.load(Ordering::Relaxed) > before + count);
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| killed_replica_client(&proxy, &tenant, &reads, &done)))
            .collect();
        for node in REPLICAS {
            more_reads(200);
            stack.script(&["kill", node]);
            more_reads(200);
            stack.script(&["start", node]);
        }
        more_reads(200);
        done.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    until("both are back", || {
        let up = proxy.metric("forebay_server_up", &["role=\"reader\""]);
        up == 2.0
    });
}

/// Sends a statement, waits until the primary runs it, and kills the primary.
pub(super) fn kill_under(
    stack: &Stack,
    client: &mut Client,
    tenant: &Tenant,
    sql: &str,
) -> Failure {
    client.command(3, sql.as_bytes()).unwrap();
    let mut root = stack.root(PRIMARY);
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' AND info = '{}'",
        tenant.name,
        sql.replace('\'', "''")
    );
    until("the statement runs", || root.cell(&question) == "1");
    stack.script(&["kill", PRIMARY]);
    client.answers().expect_err("no answer can be known")
}

fn a_killed_primary_leaves_a_write_unknown(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "unknown");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    client.run("INSERT INTO note VALUES (3, 3)");
    let slow = "INSERT INTO note SELECT 4, SLEEP(30)";
    let failure = kill_under(&stack, &mut client, &tenant, slow);
    assert_eq!(failure.code(), 1105, "{failure}");
    assert!(failure.to_string().contains("Outcome unknown"), "{failure}");
    // Not closed, and the next write is held until the primary is back.
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.query("INSERT INTO note VALUES (5, 5)"));
        stack.script(&["start", PRIMARY]);
        waiting.join().unwrap().unwrap_or_else(|failure| panic!("{failure}"));
    });
    assert_eq!(client.cell("SELECT GROUP_CONCAT(id ORDER BY id) FROM note"), "1,2,3,5");
}

fn a_transaction_cut_is_told_until_it_is_rolled_back(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "cut");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    client.run("BEGIN");
    client.run("UPDATE note SET n = 9 WHERE id = 1");
    let slow = "INSERT INTO note SELECT 4, SLEEP(30)";
    let failure = kill_under(&stack, &mut client, &tenant, slow);
    assert_eq!(failure.code(), 1213, "{failure}");
    assert_eq!(client.refused("COMMIT"), 1213);
    assert_eq!(client.refused("SELECT n FROM note"), 1213);
    client.run("ROLLBACK");
    stack.script(&["start", PRIMARY]);
    client.run("UPDATE note SET n = 5 WHERE id = 2");
    assert_eq!(client.cell("SELECT GROUP_CONCAT(n ORDER BY id) FROM note"), "1,5");
    // Lost between two statements of a transaction, too.
    client.run("BEGIN");
    client.run("UPDATE note SET n = 9 WHERE id = 1");
    stack.script(&["kill", PRIMARY]);
    stack.script(&["start", PRIMARY]);
    assert_eq!(client.refused("COMMIT"), 1213);
    client.run("ROLLBACK");
    assert_eq!(client.cell("SELECT GROUP_CONCAT(n ORDER BY id) FROM note FOR UPDATE"), "1,5");
}

fn servers_that_were_restarted_between_two_statements(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "between");
    let proxy = Proxy::start(&stack);
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client(&tenant)).collect();
    proxy.wait_for_readers(2);
    for (round, node) in [PRIMARY, REPLICAS[0], REPLICAS[1]].into_iter().enumerate() {
        for client in &mut clients {
            client.run("SELECT COUNT(*) FROM note");
            client.run("UPDATE note SET n = n + 1 WHERE id = 1");
        }
        stack.script(&[if round == 0 { "kill" } else { "stop" }, node]);
        stack.script(&["start", node]);
        for client in &mut clients {
            client.run("UPDATE note SET n = n + 1 WHERE id = 1");
            client.run("SELECT COUNT(*) FROM note");
        }
    }
    let total = (1 + 3 * 2 * clients.len()).to_string();
    assert_eq!(clients[0].cell("SELECT n FROM note WHERE id = 1"), total, "none twice, none lost");
}

/// Another connection would say 0, which is believed and stored.
fn an_insert_id_goes_with_its_server(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "insert_id");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    client.run("CREATE TABLE ids (id INT PRIMARY KEY AUTO_INCREMENT)");
    client.run("INSERT INTO ids VALUES (7)");
    client.run("INSERT INTO ids VALUES (NULL)");
    stack.script(&["kill", PRIMARY]);
    stack.script(&["start", PRIMARY]);
    assert_eq!(client.refused("SELECT LAST_INSERT_ID()"), 1105);
    client.run("INSERT INTO ids VALUES (NULL)");
    assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), "9");
}

/// Everything that a server could say wrong, at a replica's address.
/// What is left over is nobody's answer: the connection goes, and what it said with it.
fn servers_that_say_more_than_was_asked(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "chatter");
    let node = REPLICAS[0];
    let chatty = chatter(stack.address(node), b"say more");
    let mut proxy = Setup::of(&stack).monitored().replicas(&[&chatty]).start();
    let mut clients = [proxy.client(&tenant), proxy.client(&tenant)];
    proxy.wait_for_readers(1);
    let list = format!("FROM information_schema.processlist WHERE user = '{}'", tenant.name);
    let mut root = stack.root(node);
    for round in 0..3 {
        for client in &mut clients {
            let mut number = String::new();
            // After each time the replica is left alone for a while.
            until("it is read from", || {
                let sum = client.cell(&format!("SELECT n + {round} FROM note WHERE id = 2"));
                assert_eq!(sum, (2 + round).to_string());
                number = root.cell(&format!("SELECT COALESCE(MAX(id), 0) {list}"));
                number != "0"
            });
            // A read is run again elsewhere, unseen.
            until("that connection is closed", || {
                assert_eq!(client.cell("SELECT n, 'say more' FROM note WHERE id = 1"), "1");
                assert_eq!(client.cell("SELECT COUNT(*) FROM note"), "2");
                root.cell(&format!("SELECT COUNT(*) {list} AND id = {number}")) == "0"
            });
        }
    }
    // A write is not: its outcome counts as unknown.
    let chatty = chatter(stack.address(PRIMARY), b"say more");
    let setup = Setup { primary: chatty, ..Setup::of(&stack).monitored().replicas(&[]) };
    let mut direct = setup.start();
    let mut client = direct.client(&tenant);
    assert_eq!(client.refused("UPDATE note SET n = n + 1 WHERE id = 1 /* say more */"), 1105);
    assert_eq!(client.cell("SELECT n FROM note WHERE id = 1"), "2", "done once, and answered so");
    client.run("UPDATE note SET n = 1 WHERE id = 1");
    proxy.assert_alive();
    direct.assert_alive();
}

#[test]
fn replicas_that_speak_nonsense() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = prepare(&stack, "nonsense");
    // A greeting that is one, as far as it goes.
    let mut greeting = b"\x0a5.5.5-10.11.0-MariaDB\0\x07\0\0\0abcdefgh\0".to_vec();
    greeting.extend_from_slice(&[0xfe, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
    let packet = |sequence: u8, payload: &[u8]| {
        let len = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&len[..3], &[sequence], payload].concat()
    };
    let whole = packet(0, &greeting);
    let ok = packet(2, &[0, 0, 0, 2, 0, 0, 0]);
    let babblers = [
        babble(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), b"what?".to_vec()),
        babble(vec![0xff; 64], vec![0xff; 64]),
        babble(Vec::new(), b"x".to_vec()),
        babble(whole[..20].to_vec(), Vec::new()),
        babble(whole.clone(), vec![0xff, 0xff, 0xff, 2, 1]),
        babble(whole.clone(), packet(2, &[0xfe])),
        // It lets everybody in and answers everything so: an OK that is out of order, a count of
        // columns past all reason, rows without end.
        babble(whole.clone(), ok.clone()),
        babble(whole.clone(), [ok.clone(), packet(1, &[0xfe; 9])].concat()),
        babble(whole, [ok, packet(1, &[1]).repeat(1000)].concat()),
    ];
    let mut replicas: Vec<&str> = babblers.iter().map(String::as_str).collect();
    replicas.push(stack.address(REPLICAS[0]));
    let mut proxy = Setup::of(&stack).replicas(&replicas).start();
    let mut client = proxy.client(&tenant);
    until("reads of the one that makes sense", || {
        assert_eq!(client.cell("SELECT SUM(n) FROM note"), "3");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > 20.0
    });
    client.run("UPDATE note SET n = 1 WHERE id = 1");
    proxy.assert_alive();
}

/// A primary that is not there yet: clients wait for it.
#[test]
fn a_primary_that_comes_late() {
    let stack = Stack::alone(Flavour::MariaDb);
    let tenant = prepare(&stack, "late_primary");
    let proxy = Proxy::start(&stack);
    let mut first = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    let stranger = prepare(&stack, "stranger");
    stack.script(&["stop", PRIMARY]);
    thread::scope(|scope| {
        // Nobody can say yet whether its password is right.
        let unlearned = scope.spawn(|| proxy.client(&stranger).cell("SELECT SUM(n) FROM note"));
        let waiting = scope.spawn(|| {
            let mut client = proxy.client(&tenant);
            client.run("UPDATE note SET n = 4 WHERE id = 1");
        });
        assert_eq!(first.cell("SELECT SUM(n) FROM note"), "3");
        stack.script(&["start", PRIMARY]);
        waiting.join().unwrap();
        assert_eq!(unlearned.join().unwrap(), "3");
    });
    assert_eq!(first.cell("SELECT SUM(n) FROM note"), "6");
}
