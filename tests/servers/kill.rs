//! KILL by the numbers that clients know, and what becomes of work whose client has gone.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Failure};
use super::drivers::{mariadb, mysql};
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};
use super::statement;

on_both!(
    a_statement_is_killed,
    a_session_is_killed,
    what_waits_for_a_connection_is_killed,
    whom_nobody_may_kill,
    a_number_of_its_own,
    nobody_else_is_hit,
    a_client_that_vanishes,
    control_c_in_mysql,
    control_c_in_mariadb,
);

/// A proved read that takes hours.
const LONG: &str =
    "SELECT COUNT(*) FROM big a, big b, big c, big d WHERE a.n + b.n + c.n + d.n < 0";
/// Not a proved read, and a number of seconds.
const SLEEP: &str = "SELECT SLEEP(300) AS slept";
/// The error of a statement that was killed.
const INTERRUPTED: u16 = 1317;

fn prepare(flavour: Flavour, name: &str) -> (Stack, Tenant) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.big (n INT PRIMARY KEY)", tenant.name));
    let rows: Vec<String> = (0..1000).map(|n| format!("({n})")).collect();
    root.run(&format!("INSERT INTO {}.big VALUES {}", tenant.name, rows.join(",")));
    root.run(&format!("CREATE TABLE {}.note (n INT)", tenant.name));
    stack.sync();
    (stack, tenant)
}

/// How many connections of the account run a statement like this, over all servers.
fn running(stack: &Stack, tenant: &Tenant, like: &str) -> u32 {
    let name = &tenant.name;
    let question = format!(
        "SELECT COUNT(*) FROM information_schema.processlist \
         WHERE user = '{name}' AND info LIKE '{like}%'"
    );
    NODES.iter().map(|node| stack.root(node).cell(&question).parse::<u32>().unwrap()).sum()
}

fn wait_until_it_runs(stack: &Stack, tenant: &Tenant, sql: &str) {
    until("it runs", || running(stack, tenant, &sql[..20]) == 1);
}

fn wait_until_nothing_runs(stack: &Stack, tenant: &Tenant) {
    until("nothing runs", || {
        running(stack, tenant, &LONG[..20]) + running(stack, tenant, &SLEEP[..20]) == 0
    });
}

/// What a client is told of a statement that was killed: MySQL's SLEEP says that it woke.
#[track_caller]
fn assert_killed(victim: &mut Client, sql: &str) {
    match victim.answers() {
        Err(failure) => assert_eq!(failure.code(), INTERRUPTED, "{sql}: {failure}"),
        Ok(answers) => assert_eq!((sql, answers[0].cell().as_str()), (SLEEP, "1")),
    }
}

fn a_statement_is_killed(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "killed");
    let mut proxy = Proxy::start(&stack);
    let (mut victim, mut killer) = (proxy.client(&tenant), proxy.client(&tenant));
    proxy.wait_for_readers(2);
    let number = victim.greeting.thread_id;
    for sql in [LONG, SLEEP] {
        victim.command(3, sql.as_bytes()).unwrap();
        wait_until_it_runs(&stack, &tenant, sql);
        killer.run(&format!("KILL QUERY {number}"));
        assert_killed(&mut victim, sql);
        wait_until_nothing_runs(&stack, &tenant);
        assert_eq!(victim.cell("SELECT COUNT(*) FROM big"), "1000");
    }
    // Between two statements there is nothing to be killed.
    killer.run(&format!("KILL QUERY {number}"));
    assert_eq!(victim.cell("SELECT COUNT(*) FROM big"), "1000");
    // A transaction goes on.
    victim.run("START TRANSACTION");
    victim.run("INSERT INTO note VALUES (1)");
    victim.command(3, SLEEP.as_bytes()).unwrap();
    wait_until_it_runs(&stack, &tenant, SLEEP);
    killer.run(&format!("KILL QUERY {number}"));
    assert_killed(&mut victim, SLEEP);
    assert_eq!(victim.cell("SELECT COUNT(*) FROM note"), "1");
    victim.run("COMMIT");
    assert_eq!(killer.cell("SELECT COUNT(*) FROM note"), "1");
    // Prepared.
    victim.command(3, SLEEP.as_bytes()).unwrap();
    wait_until_it_runs(&stack, &tenant, SLEEP);
    let prepared = statement::prepare(&mut killer, &format!("KILL QUERY {number}")).unwrap();
    statement::execute(&mut killer, &prepared, &[]).unwrap();
    assert_killed(&mut victim, SLEEP);
    // Itself.
    assert_eq!(killer.refused("KILL QUERY CONNECTION_ID()"), INTERRUPTED);
    assert_eq!(killer.cell("SELECT 1"), "1");
    proxy.assert_alive();
}

fn a_session_is_killed(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "ended");
    let mut proxy = Proxy::start(&stack);
    let mut killer = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    // Idle, in a transaction.
    let mut idle = proxy.client(&tenant);
    idle.run("START TRANSACTION");
    idle.run("INSERT INTO note VALUES (1)");
    killer.run(&format!("KILL {}", idle.greeting.thread_id));
    assert!(idle.read().is_err(), "it is closed");
    killer.run("ALTER TABLE note ADD COLUMN free INT");
    // At work, by the older command.
    for sql in [LONG, SLEEP] {
        let mut busy = proxy.client(&tenant);
        busy.run("START TRANSACTION");
        busy.run("INSERT INTO note (n) VALUES (2)");
        busy.command(3, sql.as_bytes()).unwrap();
        wait_until_it_runs(&stack, &tenant, sql);
        killer.simple(0x0c, &busy.greeting.thread_id.to_le_bytes()).unwrap();
        assert_killed(&mut busy, sql);
        assert!(busy.read().is_err(), "it is closed");
        wait_until_nothing_runs(&stack, &tenant);
    }
    until("rolled back", || {
        killer.run("ALTER TABLE note ADD COLUMN freer INT");
        killer.run("ALTER TABLE note DROP COLUMN freer");
        killer.cell("SELECT COUNT(*) FROM note") == "0"
    });
    let mut oneself = proxy.client(&tenant);
    assert_eq!(oneself.refused(&format!("KILL {}", oneself.greeting.thread_id)), INTERRUPTED);
    assert!(oneself.read().is_err(), "it is closed");
    proxy.assert_alive();
}

fn what_waits_for_a_connection_is_killed(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "waits");
    let pool = "[pool]\nmax_connections_per_server = 2\nwait_ms_max = 60000";
    let proxy = Setup::of(&stack).monitored().file(pool).start();
    let mut holder = proxy.client(&tenant);
    let (mut victim, mut killer) = (proxy.client(&tenant), proxy.client(&tenant));
    holder.run("SELECT GET_LOCK('waits', 0)");
    for (what, ends) in [("QUERY", false), ("CONNECTION", true)] {
        victim.command(3, b"INSERT INTO note VALUES (1)").unwrap();
        let number = victim.greeting.thread_id;
        // Whether it waits already cannot be seen: whoever is hit before he waits was idle.
        let begun = Instant::now();
        let (stop, told) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // After KILL CONNECTION nobody of that number may be left.
                    let _no_such = killer.query(&format!("KILL {what} {number}"));
                    thread::park_timeout(Duration::from_millis(5));
                }
                told.store(true, Ordering::Relaxed);
            });
            let failure = victim.answers().unwrap_err();
            stop.store(true, Ordering::Relaxed);
            assert!([INTERRUPTED, 0].contains(&failure.code()), "{failure}");
            assert!(ends || failure.code() == INTERRUPTED, "{failure}");
        });
        assert!(told.load(Ordering::Relaxed));
        assert!(begun.elapsed() < Duration::from_secs(30), "it waited on");
    }
    holder.run("SELECT RELEASE_LOCK('waits')");
    holder.quit();
    assert_eq!(killer.cell("SELECT COUNT(*) FROM note"), "0");
}

fn whom_nobody_may_kill(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "mine");
    let other = stack.tenant("theirs");
    let mut proxy = Proxy::start(&stack);
    let (mut killer, mut stranger) = (proxy.client(&tenant), proxy.client(&other));
    let theirs = stranger.greeting.thread_id;
    let told = |killer: &mut Client, sql: &str| match killer.query(sql) {
        Err(Failure::Refused { code, text, .. }) => format!("{code} {text}"),
        told => format!("{told:?}"),
    };
    let owner = format!("1095 You are not owner of thread {theirs}");
    assert_eq!(told(&mut killer, &format!("KILL {theirs}")), owner);
    assert_eq!(told(&mut killer, &format!("KILL QUERY {theirs}")), owner);
    assert_eq!(told(&mut killer, "KILL 4000000000"), "1094 Unknown thread id: 4000000000");
    assert_eq!(killer.simple(0x0c, &theirs.to_le_bytes()).unwrap_err().code(), 1095);
    // The numbers that servers know are nobody's here, however they are said.
    killer.run("SET NAMES gbk");
    assert_eq!(killer.refused("KILL 4000000000"), 1094);
    killer.run("SET NAMES utf8mb4");
    for sql in ["KILL USER root", "KILL @x", "KILL 1 + 1"] {
        assert_eq!(killer.refused(sql), 1235, "{sql}");
    }
    assert_eq!(stranger.cell("SELECT 'here'"), "here");
    // Whoever became somebody else is his.
    stranger.change_user(&tenant.login()).unwrap();
    killer.run(&format!("KILL {theirs}"));
    assert!(stranger.read().is_err(), "it is closed");
    proxy.assert_alive();
}

/// In the very packets of a server.
fn a_number_of_its_own(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "number");
    let proxy = Proxy::start(&stack);
    let packets = |client: &mut Client, sql: &str| -> Vec<Vec<u8>> {
        client.command(3, sql.as_bytes()).unwrap();
        (0..5).map(|_| client.read().unwrap().1).collect()
    };
    let mut direct = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    let mut through = proxy.client(&tenant);
    for sql in ["SELECT CONNECTION_ID()", "select connection_id() as id"] {
        let (mut expected, found) = (packets(&mut direct, sql), packets(&mut through, sql));
        let number = through.greeting.thread_id.to_string();
        expected[3] = [&[number.len() as u8], number.as_bytes()].concat();
        assert_eq!(found, expected, "{sql}");
    }
    let prepared = statement::prepare(&mut through, "SELECT CONNECTION_ID()").unwrap();
    let told = statement::execute(&mut through, &prepared, &[]).unwrap();
    assert_eq!(told.text(), through.greeting.thread_id.to_string());
    let more = through.cell("SELECT CONNECTION_ID() + 0");
    assert_ne!(more, through.greeting.thread_id.to_string(), "the server's, as the README says");
}

/// One connection for all: whoever is killed late hits somebody else.
fn nobody_else_is_hit(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "bystander");
    let one = "mode = 'primary'\n[pool]\nmax_connections_per_server = 2\nwait_ms_max = 60000";
    let mut proxy = Setup::of(&stack).file(one).monitored().start();
    let mut victim = proxy.client(&tenant);
    let mut bystander = proxy.client(&tenant);
    let mut killer = proxy.client(&tenant);
    let number = victim.greeting.thread_id;
    let (done, hits) = (AtomicBool::new(false), AtomicU32::new(0));
    // What is killed says 1 or an error.
    let wakes = |client: &mut Client, seconds: &str| {
        let told = client.query(&format!("SELECT SLEEP({seconds})"));
        told.is_ok_and(|told| told.cell() == "0")
    };
    thread::scope(|scope| {
        let (done, hits) = (&done, &hits);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                hits.fetch_add(u32::from(!wakes(&mut victim, "0.003")), Ordering::Relaxed);
            }
        });
        let standing_by = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                assert!(wakes(&mut bystander, "0.004"), "somebody else was hit");
            }
        });
        for _ in 0..300 {
            killer.run(&format!("KILL QUERY {number}"));
            if standing_by.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(standing_by.join().is_ok());
    });
    assert!(hits.load(Ordering::Relaxed) > 0, "nobody was hit at all");
    proxy.assert_alive();
}

fn a_client_that_vanishes(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "gone");
    let mut proxy = Proxy::start(&stack);
    let mut other = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    // A read: nobody wants it any more.
    let mut client = proxy.client(&tenant);
    client.command(3, LONG.as_bytes()).unwrap();
    wait_until_it_runs(&stack, &tenant, LONG);
    drop(client);
    wait_until_nothing_runs(&stack, &tenant);
    // A write runs to its end.
    let mut client = proxy.client(&tenant);
    let write = "INSERT INTO note SELECT 1 + SLEEP(1)";
    client.command(3, write.as_bytes()).unwrap();
    wait_until_it_runs(&stack, &tenant, write);
    drop(client);
    until("written", || other.cell("SELECT COUNT(*) FROM note") == "1");
    // But not for ever: what was not committed is not.
    let mut client = proxy.client(&tenant);
    client.run("START TRANSACTION");
    client.run("INSERT INTO note VALUES (2)");
    client.command(3, b"INSERT INTO note SELECT 3 + SLEEP(1)").unwrap();
    wait_until_it_runs(&stack, &tenant, "INSERT INTO note SELECT 3");
    drop(client);
    other.run("ALTER TABLE note ADD COLUMN free INT");
    assert_eq!(other.cell("SELECT COUNT(*) FROM note"), "1");
    // Somebody who says the next thing already is still there.
    let mut client = Client::connect(&proxy.address, &tenant.login()).unwrap();
    client.command(3, b"SELECT COUNT(*) FROM big a, big b WHERE a.n + b.n < 9").unwrap();
    client.command(3, b"SELECT 'more'").unwrap();
    assert_eq!(client.answers().unwrap()[0].cell(), "45");
    assert_eq!(client.answers().unwrap()[0].cell(), "more");
    proxy.assert_alive();
}

fn control_c_in_mysql(flavour: Flavour) {
    control_c(flavour, "ctrl_c_mysql", |address, tenant| {
        mysql(address, tenant, &["--ssl-mode=REQUIRED"])
    });
}

fn control_c_in_mariadb(flavour: Flavour) {
    control_c(flavour, "ctrl_c_mariadb", |address, tenant| mariadb(address, tenant, &["--ssl"]));
}

/// The command lines kill their statement over a second connection.
fn control_c(flavour: Flavour, name: &str, program: impl Fn(&str, &Tenant) -> Command) {
    let (stack, tenant) = prepare(flavour, name);
    let proxy = Proxy::start(&stack);
    proxy.client(&tenant).run("SELECT 1");
    let mut command = program(&proxy.address, &tenant);
    command.args(["--execute", LONG, "--unbuffered"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{error}. Install it with: make install"));
    wait_until_it_runs(&stack, &tenant, LONG);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    wait_until_nothing_runs(&stack, &tenant);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("1317"), "{told}");
}
