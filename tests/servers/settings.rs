//! What a session has set goes with it from one connection to another, and holds none.

use super::client::{Client, Login};
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};
use super::statement::prepare;

on_both!(
    isolation_goes_with_its_session,
    what_is_set_in_front_takes_no_answer_away,
    what_was_counted_is_the_sessions_own,
    a_list_of_fields_has_warnings_of_its_own,
    an_error_is_asked_for_behind_what_names_no_table,
    what_a_replica_found_is_asked_behind_a_setting,
    joins_are_too_big_everywhere,
);

/// What the server calls the isolation of transactions.
fn variable(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MariaDb | Flavour::MySql56 => "tx_isolation",
        Flavour::MySql97 => "transaction_isolation",
    }
}

fn holds(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_holds", &[])
}

/// What a transaction reads after somebody else's write, if it read before.
fn reads_again(client: &mut Client, other: &mut Client) -> bool {
    client.run("BEGIN");
    let before = client.cell("SELECT n FROM note");
    other.run("UPDATE note SET n = n + 1");
    let after = client.cell("SELECT n FROM note");
    client.run("COMMIT");
    before != after
}

fn isolation_goes_with_its_session(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("isolation");
    let made = format!("CREATE TABLE {}.note (n INT)", tenant.name);
    stack.root(PRIMARY).run(&made);
    stack.root(PRIMARY).run(&format!("INSERT INTO {}.note VALUES (1)", tenant.name));
    stack.sync();
    let mut proxy = Setup::of(&stack).monitored().start();
    let name = variable(flavour);
    let look = format!("SELECT @@{name}");
    proxy.client(&tenant).run("SELECT 1");
    proxy.wait_for_readers(2);
    for set in [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        "SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
        format!("SET SESSION {name} = 'READ-COMMITTED'"),
        format!("SET @@SESSION.{name} = 'read-committed'"),
        format!("SET {name} = 'READ-COMMITTED'"),
    ] {
        let (mut client, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
        client.run(&set);
        assert_eq!(holds(&proxy), 0.0, "{set}");
        assert_eq!(other.cell(&look), "REPEATABLE-READ", "{set}");
        assert_eq!(client.cell(&look), "READ-COMMITTED", "{set}");
        assert!(reads_again(&mut client, &mut other), "{set}");
        assert!(!reads_again(&mut other, &mut client), "{set}");
        // A replica is told too.
        other.run("SELECT SUM(n) FROM note");
        let on_replicas = proxy.metric("forebay_route_total", &["target=\"replica\""]);
        stack.sync();
        client.run("SELECT MAX(n) FROM note");
        let hinted = format!("/* forebay: replica */ SELECT CONCAT(@@{name}, @@read_only + 0)");
        assert_eq!(client.cell(&hinted), "READ-COMMITTED1", "{set}");
        let now = proxy.metric("forebay_route_total", &["target=\"replica\""]);
        assert!(now > on_replicas, "{set}");
        // It is gone with its session.
        client.simple(31, &[]).expect("COM_RESET_CONNECTION");
        assert_eq!(client.cell(&look), "REPEATABLE-READ", "{set}");
    }
    let mut client = proxy.client(&tenant);
    for (set, held) in [
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", 1.0),
        // It needs no transaction, and the next one is still to come.
        ("SELECT 1", 1.0),
        ("COMMIT", 0.0),
        ("SET SESSION TRANSACTION READ ONLY", 1.0),
    ] {
        client.run(set);
        assert_eq!(holds(&proxy), held, "{set}");
    }
    what_is_for_the_next_transaction(&stack, &tenant);
    proxy.assert_alive();
}

/// Statements that need no transaction leave it on the connection, for whoever gets that.
fn what_is_for_the_next_transaction(stack: &Stack, tenant: &Tenant) {
    let alone = "[pool]\nmax_connections_per_server = 2";
    let proxy = Setup::of(stack).monitored().replicas(&[]).file(alone).start();
    let (mut client, mut other) = (proxy.client(tenant), proxy.client(tenant));
    client.run("SET TRANSACTION READ ONLY");
    client.run("SELECT 1");
    client.run("DO 1");
    let read_only = 1792;
    assert_eq!(client.refused("UPDATE note SET n = n + 1"), read_only);
    client.run("ROLLBACK");
    other.run("UPDATE note SET n = n + 1");
}

/// `max_join_size` switches `sql_big_selects` off each time that it is set, and no server tells that.
fn joins_are_too_big_everywhere(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("big_joins");
    let mut root = stack.root(PRIMARY);
    // It knows how many rows it has; others guess.
    root.run(&format!("CREATE TABLE {}.note (n INT) ENGINE=MyISAM", tenant.name));
    root.run(&format!("INSERT INTO {}.note VALUES (1), (2), (3), (4)", tenant.name));
    stack.sync();
    let mut proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).run("SELECT 1");
    proxy.wait_for_readers(2);
    let is_refused = |client: &mut Client| match client.query("SELECT a.n FROM note a, note b") {
        Ok(_) => false,
        Err(failure) => {
            assert_eq!(failure.code(), 1104, "{failure:?}");
            true
        }
    };
    let (mut client, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
    for (set, expected) in [
        ("SET SESSION sql_big_selects = 0", false),
        ("SET SESSION sql_big_selects = 1", false),
        ("SET SESSION max_join_size = 2", true),
        ("SET SESSION sql_big_selects = 1", false),
        ("SET SESSION max_join_size = 2", true),
        ("SET SESSION max_join_size = DEFAULT", false),
        ("SET SESSION max_join_size = 3", true),
    ] {
        client.run(set);
        for _ in 0..4 {
            assert_eq!(is_refused(&mut client), expected, "{set}");
            assert!(!is_refused(&mut other), "{set}");
        }
    }
    client.simple(31, &[]).expect("COM_RESET_CONNECTION");
    assert!(!is_refused(&mut client));
    proxy.assert_alive();
}

/// MySQL 5.6 does not tell what a SET did.
#[test]
fn without_trackers() {
    let stack = Stack::shared(Flavour::MySql56);
    let tenant: Tenant = stack.tenant("trackless");
    let proxy = Setup::of(&stack).monitored().start();
    let cases = [
        ("SET SESSION group_concat_max_len = 77", "SELECT @@group_concat_max_len", "77"),
        ("SET NAMES latin2", "SELECT @@character_set_client", "latin2"),
        ("SET sql_mode = 'PIPES_AS_CONCAT'", "SELECT 'a' || 'b'", "ab"),
        ("SET time_zone = '+07:00'", "SELECT @@time_zone", "+07:00"),
        (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SELECT @@tx_isolation",
            "READ-COMMITTED",
        ),
    ];
    for (set, look, expected) in cases {
        let (mut one, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
        let fresh = other.cell(look);
        one.run(set);
        for _ in 0..2 {
            assert_eq!(other.cell(look), fresh, "{set}");
            assert_eq!(one.cell(look), expected, "{set}");
        }
        // WordPress chooses its schema later; the connections that there are have one.
        proxy.client(&tenant).run("DO 1");
        let nowhere = Login::new(&tenant.name, &tenant.name);
        let mut one = Client::connect(&proxy.address, &nowhere).unwrap();
        one.run(set);
        assert_eq!(one.cell(look), expected, "{set}, without a schema");
        one.simple(2, tenant.name.as_bytes()).expect("COM_INIT_DB");
        assert_eq!(one.cell(look), expected, "{set}, and then one");
    }
}

/// LAST_INSERT_ID() of a connection that was given away is set on the next one, by a statement.
fn what_is_set_in_front_takes_no_answer_away(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("in_front");
    stack
        .root(PRIMARY)
        .run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY AUTO_INCREMENT)", tenant.name));
    stack.sync();
    let alone = "[pool]\nmax_connections_per_server = 2";
    let proxy = Setup::of(&stack).monitored().replicas(&[]).file(alone).start();
    let (mut client, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
    client.run("INSERT INTO note VALUES (41)");
    client.run("INSERT INTO note VALUES (NULL)");
    // There is one connection for both.
    other.run("SELECT COUNT(*) FROM note");
    let warned = client.run("SELECT CAST('4x' AS SIGNED)");
    assert_eq!(warned.warnings, 1);
    assert_eq!(client.run("SHOW WARNINGS").rows.len(), 1);
    assert_eq!(client.cell("SELECT @@warning_count"), "1");
    other.run("DO 1");
    client.run("DO 1");
    client.run("SELECT 1");
    client.run("SHOW COUNT(*) WARNINGS");
    assert_eq!(client.cell("SELECT ROW_COUNT()"), "-1");
    assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), "42");
}

/// What does not count, or not as statements do.
const BETWEEN: [&str; 7] = [
    "ping",
    "prepare",
    "prepare in vain",
    "begin, ping",
    "ping, init",
    "wrong schema",
    "wrong fields",
];

/// A PING is answered without a server, and a PREPARE may come to a connection of others.
fn what_was_counted_is_the_sessions_own(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (tenant, proxy) = with_note(&stack, "counted", 2);
    stack.root(PRIMARY).run(&format!("INSERT INTO {}.note VALUES (1), (2), (3)", tenant.name));
    let straight = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    // There is one connection for both of them.
    let mut told = [straight, proxy.client(&tenant)].map(|mut line| {
        let mut other = proxy.client(&tenant);
        let mut told = Vec::new();
        for (before, ask, between) in questions(flavour) {
            before_it_is_asked(&mut line, &mut other, before, between);
            told.push(format!("{before}; {between}; {ask}: {}", line.cell(ask)));
            line.run("ROLLBACK");
        }
        told
    });
    for (straight, through) in std::mem::take(&mut told[0]).into_iter().zip(&told[1]) {
        assert_eq!(straight, *through);
    }
}

/// A table, and a proxy with so many connections to the primary, the watcher's among them.
fn with_note(stack: &Stack, name: &str, connections: usize) -> (Tenant, Proxy) {
    let tenant = stack.tenant(name);
    stack.root(PRIMARY).run(&format!("CREATE TABLE {}.note (n INT)", tenant.name));
    stack.sync();
    let few = format!("[pool]\nmax_connections_per_server = {connections}");
    let proxy = Setup::of(stack).monitored().replicas(&[]).file(&few).start();
    (tenant, proxy)
}

/// MySQL counts it among the warnings that it is deprecated, and says so nowhere.
fn a_list_of_fields_has_warnings_of_its_own(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (tenant, proxy) = with_note(&stack, "listed", 3);
    let straight = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    let told = [straight, proxy.client(&tenant)].map(|mut line| {
        let mut other = proxy.client(&tenant);
        let mut told = Vec::new();
        for ask in ["SHOW COUNT(*) WARNINGS", "SELECT ROW_COUNT()"] {
            line.run("INSERT INTO note VALUES (1), (2)");
            assert_eq!(line.fields("note").unwrap(), 1);
            // What was used last is used first.
            other.run("UPDATE note SET n = 3");
            told.push(line.cell(ask));
        }
        told
    });
    assert_eq!(told[0], told[1]);
}

/// MariaDB keeps it until a table is named; somebody else asks for a connection after each.
fn an_error_is_asked_for_behind_what_names_no_table(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (tenant, proxy) = with_note(&stack, "behind", 3);
    let straight = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    let behind =
        ["SELECT @@sql_mode", "SELECT 1", "SET time_zone = '+01:00'", "SELECT n FROM note"];
    let told = [straight, proxy.client(&tenant)].map(|mut line| {
        let mut told = Vec::new();
        for text in behind {
            line.refused("INSERT INTO nothing VALUES (1)");
            line.run(text);
            // Who comes first has no connection of its own.
            proxy.client(&tenant).run("UPDATE note SET n = 3");
            proxy.client(&tenant).run("UPDATE note SET n = 4");
            told.push(format!("{text}: {}", line.cell("SHOW COUNT(*) ERRORS")));
        }
        told
    });
    assert_eq!(told[0], told[1]);
}

/// The session has used both connections last, and one of them only knows.
fn what_a_replica_found_is_asked_behind_a_setting(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("found");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.note (n INT)", tenant.name));
    root.run(&format!("INSERT INTO {}.note VALUES (1), (2), (3)", tenant.name));
    stack.sync();
    let proxy = Setup::of(&stack).monitored().start();
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until("a read on a replica", || {
        client.run("SELECT n FROM note");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > 0.0
    });
    client.run("SELECT @@last_insert_id, @@identity");
    client.run("SELECT n FROM note");
    client.run("SET collation_connection = latin1_german2_ci");
    client.run("SHOW WARNINGS LIMIT 1");
    assert_eq!(client.cell("SELECT FOUND_ROWS()"), "3");
}

const STATEMENTS: [&str; 5] = [
    "SELECT n FROM note",
    "SHOW COLUMNS FROM note",
    "UPDATE note SET n = n + 1",
    "DO 1",
    "SELECT nothing",
];

/// Statement, question, and what is said between the two.
fn questions(flavour: Flavour) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut all = Vec::new();
    for before in STATEMENTS {
        for ask in ["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT @@error_count"] {
            // Only the text in its OK tells what an UPDATE has found, and warnings are kept for a
            // second.
            let is_update = flavour == Flavour::MySql97 && before.starts_with("UPDATE");
            let is_excused = (is_update && ask.contains("FOUND_ROWS"))
                || (before == "SELECT nothing" && ask.contains("error_count"));
            if !is_excused {
                all.extend(BETWEEN.map(|between| (before, ask, between)));
            }
        }
    }
    all
}

fn before_it_is_asked(line: &mut Client, other: &mut Client, before: &str, between: &str) {
    let is_open = between.starts_with("begin");
    line.run("SELECT n FROM note WHERE n > 1");
    if is_open {
        line.run("BEGIN");
    }
    let _may_fail = line.query(before);
    if !is_open {
        other.run("UPDATE note SET n = n WHERE n = 9");
    }
    match between {
        "prepare" => drop(prepare(line, "SELECT n FROM note").unwrap()),
        "prepare in vain" => drop(prepare(line, "SELECT nothing").unwrap_err()),
        "wrong schema" => drop(line.simple(2, b"nowhere").unwrap_err()),
        "wrong fields" => drop(line.simple(4, b"nowhere\0").unwrap_err()),
        _ => line.simple(14, &[]).expect("COM_PING"),
    }
    if between.ends_with("init") {
        line.simple(2, b"t_counted").expect("COM_INIT_DB");
    }
}
