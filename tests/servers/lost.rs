//! Requests while there is no primary: what comes before their first read is a replica's then.

use std::time::{Duration, Instant};

use super::client::{Client, Login};
use super::faults::kill_under;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, Words, on_both, until};

on_both!(
    pages_are_read_without_a_primary,
    a_login_waits_for_a_replica_that_knows_as_much,
    who_wants_no_stale_reads_is_refused,
    a_loss_is_waited_out_once,
);

const INIT_DB: u8 = 2;

/// Two accounts, of which the first has a table with a row.
fn prepare(stack: &Stack, name: &str) -> (Tenant, Tenant) {
    let (known, unknown) = (stack.tenant(name), stack.tenant(&format!("{name}_new")));
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY, n INT)", known.name));
    root.run(&format!("INSERT INTO {}.note VALUES (1, 1)", known.name));
    root.run(&format!("CREATE TABLE {}.note (n INT)", unknown.name));
    root.run(&format!("INSERT INTO {}.note VALUES (2)", unknown.name));
    stack.sync();
    (known, unknown)
}

/// Nothing is answered from memory, and a login is proved anew after a second.
fn forgetful(stack: &Stack, on_primary_loss: &str) -> Proxy {
    Setup::of(stack)
        .file(&format!("local_answers = false\non_primary_loss = '{on_primary_loss}'"))
        .file("[auth]\nttl_s = 1\n[pool]\nwait_ms_max = 400")
        .monitored()
        .start()
}

/// A write is on its way, as on any site: whether it was done, nobody knows then.
fn kill_primary_under(stack: &Stack, proxy: &Proxy, tenant: &Tenant) {
    let mut client = proxy.client(tenant);
    let failure = kill_under(stack, &mut client, tenant, "INSERT INTO note SELECT 4, SLEEP(30)");
    assert_eq!(failure.code(), 1105, "{failure}");
    until("it is missed", || proxy.metric("forebay_server_up", &["role=\"primary\""]) == 0.0);
}

fn kill_primary(stack: &Stack, proxy: &Proxy) {
    stack.script(&["kill", PRIMARY]);
    until("it is missed", || proxy.metric("forebay_server_up", &["role=\"primary\""]) == 0.0);
}

/// What wpdb says before its first query.
fn say_preamble(client: &mut Client, schema: &str) {
    client.run("SET NAMES utf8mb4");
    let mode = client.cell("SELECT @@SESSION.sql_mode");
    assert!(mode.contains("NO_ENGINE_SUBSTITUTION"), "{mode}");
    client.run("SET SESSION sql_mode='NO_ENGINE_SUBSTITUTION,ANSI_QUOTES'");
    client.simple(INIT_DB, schema.as_bytes()).unwrap_or_else(|failure| panic!("{failure}"));
}

fn pages_are_read_without_a_primary(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let (known, unknown) = prepare(&stack, "pages");
    let proxy = forgetful(&stack, "serve-stale");
    let mut before = proxy.client(&known);
    before.run("UPDATE note SET n = 5");
    proxy.wait_for_readers(2);
    stack.sync();
    kill_primary_under(&stack, &proxy, &known);
    // Both by the schema in the login and by choosing it, known here before or not.
    for (tenant, n) in [(&known, "5"), (&unknown, "2"), (&known, "5")] {
        let mut client = proxy.client(tenant);
        assert_eq!(client.cell("SELECT n FROM note"), n);
        let login = Login::new(&tenant.name, &tenant.name);
        let mut client = Client::connect(&proxy.address, &login).unwrap();
        say_preamble(&mut client, &tenant.name);
        assert_eq!(client.cell("SELECT n FROM \"note\""), n, "what was set is in force");
        let mode = client.cell("SELECT @@sql_mode");
        assert!(mode.contains("ANSI_QUOTES"), "{mode}");
    }
    assert_eq!(before.cell("SELECT n FROM note"), "5");
    // A replica's no is a no.
    let wrong = Client::connect(&proxy.address, &Login::new(&unknown.name, "wrong"));
    assert_eq!(wrong.err().map(|failure| failure.code()), Some(1045));
    let elsewhere = Login::new(&known.name, &known.name).to(&unknown.name);
    let refused = Client::connect(&proxy.address, &elsewhere).err().map(|failure| failure.code());
    assert_eq!(refused, Some(1044));
    assert_eq!(before.simple(INIT_DB, b"nowhere").unwrap_err().code(), 1044);
    // What may change something waits, and is told.
    assert_eq!(before.refused("UPDATE note SET n = 6"), 1105);
    assert_eq!(before.refused("SET GLOBAL sort_buffer_size = 65536"), 1105);
    let told = |name: &str, labels: &[&str]| proxy.metric(name, labels) > 0.0;
    assert!(told("forebay_reads_unfenced_total", &[]));
    assert!(told("forebay_route_total", &["target=\"replica\"", "reason=\"primary_lost\""]));
    assert!(proxy.log().contains("a replica proved a login"), "{}", proxy.log());
    // What was set at a replica is the session's, at the primary too.
    let mut session = proxy.client(&known);
    session.run("SET SESSION sql_mode='ANSI_QUOTES'");
    stack.script(&["start", PRIMARY]);
    until("it is back", || proxy.metric("forebay_server_up", &["role=\"primary\""]) == 1.0);
    session.run("UPDATE \"note\" SET n = 7");
    assert_eq!(session.cell("SELECT n FROM \"note\" FOR UPDATE"), "7");
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
}

fn a_login_waits_for_a_replica_that_knows_as_much(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let (known, _) = prepare(&stack, "knows");
    let proxy = forgetful(&stack, "serve-stale");
    let mut client = proxy.client(&known);
    proxy.wait_for_readers(2);
    for node in REPLICAS {
        stack.root(node).run(&format!("STOP {}", Words::of(flavour).replica));
    }
    // Through Forebay, so that it knows; the replicas do not.
    client.run(&format!("DROP DATABASE {}", known.name));
    kill_primary(&stack, &proxy);
    // At a replica it would be let in.
    let dropped = proxy.try_client(&known).err().map(|failure| failure.code());
    assert_eq!(dropped, Some(1105), "the schema is gone");
    assert_eq!(client.simple(INIT_DB, known.name.as_bytes()).unwrap_err().code(), 1105);
    // A setting needs no more than a replica that is up.
    client.run("SET NAMES utf8mb4");
}

fn who_wants_no_stale_reads_is_refused(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let (known, _) = prepare(&stack, "refuses");
    let proxy = forgetful(&stack, "refuse");
    let mut client = proxy.client(&known);
    proxy.wait_for_readers(2);
    kill_primary(&stack, &proxy);
    assert_eq!(client.refused("SET NAMES utf8mb4"), 1105);
    let refused = proxy.try_client(&known).err().map(|failure| failure.code());
    assert_eq!(refused, Some(1105));
}

/// WordPress writes some options while it shows a page: each would wait anew.
fn a_loss_is_waited_out_once(flavour: Flavour) {
    const WAIT: Duration = Duration::from_secs(4);
    let stack = Stack::alone(flavour);
    let (known, _) = prepare(&stack, "once");
    let proxy = Setup::of(&stack).file("[pool]\nwait_ms_max = 4000").monitored().start();
    let mut client = proxy.client(&known);
    proxy.wait_for_readers(2);
    kill_primary(&stack, &proxy);
    let begun = Instant::now();
    assert_eq!(client.refused("UPDATE note SET n = 6"), 1105);
    let waited = begun.elapsed();
    for _ in 0..10 {
        assert_eq!(client.refused("UPDATE note SET n = 6"), 1105);
        assert_eq!(client.cell("SELECT n FROM note"), "1");
    }
    assert!(waited > WAIT / 2, "it was held: {waited:?}");
    assert!(begun.elapsed() < WAIT * 3, "once only: {:?}", begun.elapsed());
    stack.script(&["start", PRIMARY]);
    until("it is back", || proxy.metric("forebay_server_up", &["role=\"primary\""]) == 1.0);
    client.run("UPDATE note SET n = 7");
}
