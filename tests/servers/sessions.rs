//! Nothing of one session is ever seen by the next, on one shared connection.

use super::client::Client;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};

on_both!(nothing_is_left_for_the_next, no_database_is_no_database, a_reset_forgets);

/// What a session may leave behind, and a question whose answer must be a fresh session's.
const TRACES: &[(&str, &str)] = &[
    ("SET SESSION sql_mode = 'ANSI_QUOTES'", "SELECT @@SESSION.sql_mode"),
    ("SET time_zone = '+07:00'", "SELECT @@SESSION.time_zone"),
    ("SET NAMES latin1", "SELECT @@SESSION.character_set_client, @@SESSION.collation_connection"),
    ("SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SELECT @@SESSION.collation_connection"),
    ("SET SESSION group_concat_max_len = 5", "SELECT @@SESSION.group_concat_max_len"),
    ("SET @left = 1", "SELECT @left"),
    ("SELECT @left := 2", "SELECT @left"),
    ("CREATE TEMPORARY TABLE mark (id INT) SELECT 7 AS id", "SELECT COUNT(*) FROM mark"),
    ("SELECT GET_LOCK('left', 0)", "SELECT IS_FREE_LOCK('left')"),
    ("INSERT INTO mark VALUES (NULL)", "SELECT LAST_INSERT_ID()"),
    ("SET autocommit = 0", "SELECT @@SESSION.autocommit"),
    ("BEGIN", "SELECT @@SESSION.autocommit"),
    ("PREPARE left_over FROM 'SELECT 1'", "SELECT 1"),
    ("SET SESSION TRANSACTION READ ONLY", "SELECT 2"),
];

fn prepare(flavour: Flavour, name: &str) -> (Stack, Tenant, Proxy) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant(name);
    let create = format!("CREATE TABLE {}.mark (id INT PRIMARY KEY AUTO_INCREMENT)", tenant.name);
    stack.root(PRIMARY).run(&create);
    stack.sync();
    // One connection for everybody, and one that watches.
    let proxy = Setup::of(&stack).file("[pool]\nmax_connections_per_server = 2").start();
    (stack, tenant, proxy)
}

/// What a fresh session hears, as soon as the connection of the last one may be had.
fn ask(proxy: &Proxy, tenant: &Tenant, question: &str) -> Vec<Vec<Option<String>>> {
    let mut client = proxy.client(tenant);
    let mut rows = Vec::new();
    until("a lock is free again", || {
        rows = client.run(question).rows;
        !question.contains("IS_FREE_LOCK") || rows[0][0].as_deref() == Some("1")
    });
    client.quit();
    rows
}

fn nothing_is_left_for_the_next(flavour: Flavour) {
    let (_stack, tenant, proxy) = prepare(flavour, "traces");
    for (trace, question) in TRACES {
        let fresh = if trace.starts_with("INSERT") {
            vec![vec![Some("0".to_owned())]]
        } else {
            ask(&proxy, &tenant, question)
        };
        let mut client = proxy.client(&tenant);
        client.run(trace);
        client.quit();
        assert_eq!(ask(&proxy, &tenant, question), fresh, "{trace}");
    }
    // The temporary table hid the real one from nobody.
    assert_eq!(ask(&proxy, &tenant, "SELECT COUNT(*) FROM mark")[0][0].as_deref(), Some("1"));
}

fn no_database_is_no_database(flavour: Flavour) {
    let (_stack, tenant, proxy) = prepare(flavour, "homeless");
    let mut settled = proxy.client(&tenant);
    settled.run("INSERT INTO mark VALUES (NULL)");
    settled.quit();
    let login = super::client::Login::new(&tenant.name, &tenant.name);
    let mut homeless = Client::connect(&proxy.address, &login).unwrap();
    assert_eq!(homeless.refused("INSERT INTO mark VALUES (NULL)"), 1046);
    assert_eq!(homeless.refused("SELECT id FROM mark"), 1046);
    assert_eq!(homeless.run("SELECT DATABASE()").rows[0][0], None);
    homeless.simple(2, tenant.name.as_bytes()).unwrap();
    assert_eq!(homeless.cell("SELECT COUNT(*) FROM mark"), "1");
    let nowhere = homeless.simple(2, b"nowhere_at_all").unwrap_err().code();
    assert!([1044, 1049].contains(&nowhere), "{nowhere}");
    assert_eq!(homeless.cell("SELECT DATABASE()"), tenant.name);
}

fn a_reset_forgets(flavour: Flavour) {
    const COM_RESET_CONNECTION: u8 = 31;
    let (_stack, tenant, proxy) = prepare(flavour, "reset");
    let mut client = proxy.client(&tenant);
    let mode = client.cell("SELECT @@SESSION.sql_mode");
    client.run("SET SESSION sql_mode = ''");
    client.run("SET @kept = 1");
    client.simple(COM_RESET_CONNECTION, &[]).unwrap();
    assert_eq!(client.cell("SELECT @@SESSION.sql_mode"), mode);
    assert_eq!(client.run("SELECT @kept").rows[0][0], None);
    assert_eq!(client.cell("SELECT DATABASE()"), tenant.name);
    client.run("SET @kept = 1");
    client.change_user(&tenant.login()).unwrap();
    assert_eq!(client.run("SELECT @kept").rows[0][0], None);
    assert_eq!(client.cell("SELECT DATABASE()"), tenant.name);
}
