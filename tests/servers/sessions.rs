//! One server connection for all: nothing of one client's session is seen by the next.

use forebay::wire::capability::Capabilities;

use super::client::{Client, Login};
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    nothing_leaks,
    reset_and_change_of_user,
    with_and_without_a_database,
    several_statements_only_for_who_asked,
    variables_that_no_tracker_tells_of,
    a_transaction_is_rolled_back_when_its_client_leaves,
    a_write_never_lands_in_another_database,
    what_triggers_leave,
    new_sessions_begin_as_the_primary_says_now,
);

/// One connection to each server beside the watcher's, which is of another account.
fn single(stack: &Stack) -> Proxy {
    Setup::of(stack).monitored().file("[pool]\nmax_connections_per_server = 2").start()
}

/// What a client leaves behind, and what the next must not see: question and fresh answer.
const TRACES: &[(&str, &str)] = &[
    ("SET SESSION sql_mode = 'ANSI_QUOTES'", "SELECT @@SESSION.sql_mode LIKE '%ANSI_QUOTES%'"),
    ("SET time_zone = '+07:00'", "SELECT @@SESSION.time_zone = '+07:00'"),
    ("SET @@time_zone = '+08:00'", "SELECT @@SESSION.time_zone = '+08:00'"),
    ("SET @@sql_mode = 'ANSI'", "SELECT @@SESSION.sql_mode LIKE '%ANSI%'"),
    ("SET @secret = 'known'", "SELECT IFNULL(@secret, 0)"),
    ("SELECT GET_LOCK('leak', 0)", "SELECT IS_USED_LOCK('leak') IS NOT NULL"),
    ("SET NAMES latin1", "SELECT @@character_set_client = 'latin1'"),
    (
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT @@transaction_isolation = 'SERIALIZABLE'",
    ),
    ("SET autocommit = 0", "SELECT @@autocommit = 0"),
    ("SET SESSION group_concat_max_len = 5", "SELECT @@group_concat_max_len = 5"),
    ("SET SESSION foreign_key_checks = 0", "SELECT @@foreign_key_checks = 0"),
    ("INSERT INTO note (text) VALUES ('x')", "SELECT LAST_INSERT_ID()"),
    ("SET SESSION max_sort_length = 64", "SELECT @@max_sort_length = 64"),
];

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!(
        "CREATE TABLE {}.note (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(99))",
        tenant.name
    ));
    stack.sync();
    tenant
}

fn nothing_leaks(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "leak");
    let proxy = single(&stack);
    for (leave, look) in TRACES {
        // MariaDB's older name.
        let look = match flavour {
            Flavour::MariaDb => look.replace("@@transaction_isolation", "@@tx_isolation"),
            Flavour::MySql97 | Flavour::MySql56 => (*look).to_owned(),
        };
        let mut first = proxy.client(&tenant);
        first.run(leave);
        if !leave.starts_with("INSERT") {
            assert_ne!(first.cell(&look), "0", "{leave} has no effect on its own session");
        }
        first.quit();
        assert_eq!(proxy.client(&tenant).cell(&look), "0", "{leave} is seen by the next client");
    }
    let mut first = proxy.client(&tenant);
    first.run("CREATE TEMPORARY TABLE scrap (id INT)");
    first.run("SELECT * FROM scrap");
    first.quit();
    assert_eq!(proxy.client(&tenant).refused("SELECT * FROM scrap"), 1146);
    let mut first = proxy.client(&tenant);
    first.run("PREPARE s FROM 'SELECT 1'");
    first.quit();
    assert_eq!(proxy.client(&tenant).refused("EXECUTE s"), 1243);
}

fn reset_and_change_of_user(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "reset");
    let other = prepare(&stack, "reset_other");
    let proxy = single(&stack);
    let mut client = proxy.client(&tenant);
    let soil = |client: &mut Client| {
        client.run("SET @a = 1");
        client.run("SET time_zone = '+07:00'");
        client.run("CREATE TEMPORARY TABLE scrap (id INT)");
    };
    let assert_clean = |client: &mut Client, database: &str| {
        assert_eq!(client.cell("SELECT @a"), "NULL");
        assert_eq!(client.cell("SELECT @@time_zone = '+07:00'"), "0");
        assert_eq!(client.refused("SELECT * FROM scrap"), 1146);
        assert_eq!(client.cell("SELECT DATABASE()"), database);
    };
    soil(&mut client);
    client.simple(31, &[]).expect("COM_RESET_CONNECTION");
    assert_clean(&mut client, &tenant.name);
    soil(&mut client);
    client.change_user(&other.login()).unwrap_or_else(|failure| panic!("{failure}"));
    assert_clean(&mut client, &other.name);
    assert!(client.cell("SELECT CURRENT_USER()").starts_with(&other.name));
    let wrong = Login::new(&tenant.name, "wrong").to(&tenant.name);
    assert_eq!(client.change_user(&wrong).unwrap_err().code(), 1045);
    assert!(client.query("SELECT 1").is_err(), "a refused change of user ends the connection");
}

fn with_and_without_a_database(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "database");
    let proxy = single(&stack);
    for _ in 0..2 {
        let mut with = proxy.client(&tenant);
        assert_eq!(with.cell("SELECT DATABASE()"), tenant.name);
        with.run("SELECT COUNT(*) FROM note");
        with.quit();
        let login = Login::new(&tenant.name, &tenant.name);
        let mut without = Client::connect(&proxy.address, &login).unwrap();
        assert_eq!(without.cell("SELECT DATABASE()"), "NULL");
        assert_eq!(without.refused("SELECT COUNT(*) FROM note"), 1046);
        assert_eq!(without.refused("INSERT INTO note (text) VALUES ('x')"), 1046);
        without.run(&format!("SELECT COUNT(*) FROM {}.note", tenant.name));
        without.simple(2, tenant.name.as_bytes()).expect("COM_INIT_DB");
        without.run("INSERT INTO note (text) VALUES ('x')");
        without.quit();
    }
    let mut client = proxy.client(&tenant);
    assert_eq!(client.simple(2, b"nowhere").unwrap_err().code() / 2, 1044 / 2, "1044 or 1049");
    assert_eq!(client.cell("SELECT DATABASE()"), tenant.name);
    let login = Login::new(&tenant.name, &tenant.name).to("nowhere");
    let refused = Client::connect(&proxy.address, &login).err().expect("no such schema");
    assert!([1044, 1049].contains(&refused.code()), "{refused}");
}

fn variables_that_no_tracker_tells_of(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "untold");
    let proxy = single(&stack);
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    for set in ["SET @@sql_mode = 'PIPES_AS_CONCAT'", "SET @@LOCAL.sql_mode = 'PIPES_AS_CONCAT'"] {
        let mut client = proxy.client(&tenant);
        client.run(set);
        for _ in 0..3 {
            assert_eq!(client.cell("SELECT 'a' || 'b'"), "ab", "{set}");
        }
        client.quit();
    }
}

fn several_statements_only_for_who_asked(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "several");
    let proxy = single(&stack);
    let several = "INSERT INTO note (text) VALUES ('a'); SELECT COUNT(*) FROM note; SELECT 3";
    let asking = tenant.login().with(Capabilities::MULTI_STATEMENTS);
    for _ in 0..2 {
        let mut asked = Client::connect(&proxy.address, &asking).unwrap();
        assert_eq!(asked.query_all(several).unwrap().len(), 3);
        asked.run("SET @held = 1");
        assert_eq!(asked.query_all(several).unwrap().len(), 3, "on a held connection");
        asked.quit();
        // What is not read to its end may hold several too: for its length, or its character set.
        let mut long = Client::connect(&proxy.address, &asking).unwrap();
        let text = format!("SELECT '{}'; SELECT 2", "x".repeat(20_000));
        assert_eq!(long.query_all(&text).unwrap().len(), 2, "a long text");
        long.run("SET NAMES gbk");
        assert_eq!(long.query_all("SELECT 1; SELECT 2").unwrap().len(), 2, "under gbk");
        long.quit();
        let mut other = proxy.client(&tenant);
        assert_eq!(other.refused(several), 1064, "on the connection that was just used so");
        other.simple(27, &[0, 0]).expect("COM_SET_OPTION");
        assert_eq!(other.query_all(several).unwrap().len(), 3);
        other.simple(27, &[1, 0]).expect("COM_SET_OPTION");
        assert_eq!(other.refused(several), 1064);
        // A wrong option changes nothing, and what is on is off again for the next one.
        other.simple(27, &[0, 0]).expect("COM_SET_OPTION");
        assert_eq!(other.simple(27, &[9, 0]).unwrap_err().code(), 1047);
        assert_eq!(other.query_all(several).unwrap().len(), 3);
        other.quit();
        let mut asked = Client::connect(&proxy.address, &asking).unwrap();
        asked.simple(27, &[1, 0]).expect("COM_SET_OPTION");
        assert_eq!(asked.refused(several), 1064, "who asked at its login has turned it off");
        asked.simple(27, &[0, 0]).expect("COM_SET_OPTION");
        assert_eq!(asked.query_all(several).unwrap().len(), 3);
        asked.quit();
    }
}

fn a_transaction_is_rolled_back_when_its_client_leaves(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "left");
    let proxy = single(&stack);
    let mut first = proxy.client(&tenant);
    first.run("BEGIN");
    first.run("INSERT INTO note (text) VALUES ('never')");
    let held = ["reason=\"transaction\""];
    until("it is seen to hold", || proxy.metric("forebay_holds", &held) == 1.0);
    drop(first);
    until("rolled back", || proxy.metric("forebay_holds", &[]) == 0.0);
    let mut second = proxy.client(&tenant);
    second.run("COMMIT");
    assert_eq!(second.cell("SELECT COUNT(*) FROM note FOR UPDATE"), "0");
}

/// Global settings of the primary as they were; the next test finds them so.
struct Globals(Client, Vec<String>);

impl Globals {
    fn keep(mut root: Client, names: &[&str]) -> Self {
        let mut kept = Vec::new();
        for name in names {
            let quote = if *name == "sql_mode" { "'" } else { "" };
            let value = root.cell(&format!("SELECT @@GLOBAL.{name}"));
            kept.push(format!("SET GLOBAL {name} = {quote}{value}{quote}"));
        }
        Self(root, kept)
    }
}

impl Drop for Globals {
    fn drop(&mut self) {
        for text in &self.1 {
            self.0.run(text);
        }
    }
}

/// A server goes on to the next packet after an error: the write must not have been sent.
fn a_write_never_lands_in_another_database(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (here, there) = (prepare(&stack, "lands_here"), prepare(&stack, "lands_there"));
    let mut root = stack.root(PRIMARY);
    root.run(&format!("GRANT ALL ON {}.* TO {}", there.name, here.name));
    let proxy = single(&stack);
    let mut one = proxy.client(&here);
    let login = Login::new(&here.name, &here.name).to(&there.name);
    let mut other = Client::connect(&proxy.address, &login).unwrap();
    let count = |root: &mut Client| {
        let all =
            [&here, &there].map(|tenant| format!("SELECT COUNT(*) FROM {}.note", tenant.name));
        all.map(|question| root.cell(&question))
    };
    other.run("INSERT INTO note (text) VALUES ('there')");
    one.run("INSERT INTO note (text) VALUES ('here')");
    assert_eq!(count(&mut root), ["1", "1"]);
    // The one connection is in the one schema, and has lost its right to the other.
    root.run(&format!("REVOKE ALL ON {}.* FROM {}", there.name, here.name));
    for sql in ["INSERT INTO note (text) VALUES ('lost')", "DELETE FROM note", "DROP TABLE note"] {
        assert_eq!(other.refused(sql), 1044, "{sql}");
        one.run("INSERT INTO note (text) VALUES ('here')");
    }
    assert_eq!(count(&mut root), ["4", "1"]);
    root.run(&format!("DROP DATABASE {}", there.name));
    let code = other.refused("INSERT INTO note (text) VALUES ('lost')");
    assert!([1044, 1049].contains(&code), "{code}");
    assert_eq!(one.cell("SELECT COUNT(*) FROM note FOR UPDATE"), "4");
}

/// What no text shows: a trigger has set a variable, and holds a lock.
fn what_triggers_leave(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "triggers");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE quiet (id INT)");
    root.run(
        "CREATE TRIGGER notes BEFORE INSERT ON note FOR EACH ROW \
         SET @left = 41, @got = GET_LOCK('by_trigger', 0)",
    );
    stack.sync();
    let proxy = single(&stack);
    let mut first = proxy.client(&tenant);
    first.run("INSERT INTO note (text) VALUES ('x')");
    assert_eq!(first.cell("SELECT @left"), "41", "it is the session's own");
    first.quit();
    let mut second = proxy.client(&tenant);
    assert_eq!(second.cell("SELECT @left"), "NULL");
    assert_eq!(second.cell("SELECT IS_USED_LOCK('by_trigger')"), "NULL");
}

/// Global settings of the primary that are put back at the end.
struct Restored(Client, Vec<(&'static str, String)>);

impl Restored {
    fn of(stack: &Stack, names: &[&'static str]) -> Self {
        let mut root = stack.root(PRIMARY);
        let read = |name: &&'static str| (*name, root.cell(&format!("SELECT @@GLOBAL.{name}")));
        let values = names.iter().map(read).collect();
        Self(root, values)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        for (name, value) in &self.1 {
            let number = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty();
            let value = if number { value.clone() } else { format!("'{value}'") };
            let _done = self.0.query(&format!("SET GLOBAL {name} = {value}"));
        }
    }
}

/// `SET GLOBAL` reaches no open connection: neither those of the pool, nor any of a replica.
fn new_sessions_begin_as_the_primary_says_now(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "globals");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("INSERT INTO {}.note (text) VALUES (REPEAT('x', 90))", tenant.name));
    root.run(&format!("GRANT SUPER ON *.* TO '{}'@'%'", tenant.name));
    stack.sync();
    let _kept = Globals::keep(root, &["group_concat_max_len", "sql_mode"]);
    let proxy = Proxy::start(&stack);
    let mut first = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    let lengths = || -> Vec<String> {
        let ask = |hint: &str| {
            let text = format!("{hint} SELECT LENGTH(GROUP_CONCAT(text)) FROM note");
            proxy.client(&tenant).cell(&text)
        };
        (0..8).map(|at| ask(if at < 4 { "/* forebay: primary */" } else { "" })).collect()
    };
    assert_eq!(lengths(), ["90"; 8]);
    let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
    // The stack is others' after this, whatever comes of it.
    let _restored = Restored::of(&stack, &["group_concat_max_len", "sql_mode"]);
    first.run("SET GLOBAL group_concat_max_len = 16");
    first.run("SET GLOBAL sql_mode = CONCAT(@@GLOBAL.sql_mode, ',ANSI_QUOTES')");
    until("all begin with it", || lengths() == ["16"; 8]);
    assert_eq!(proxy.client(&tenant).cell("SELECT @@SESSION.group_concat_max_len"), "16");
    // How a text is read has changed with it, for who was there already, too.
    for client in [&mut first, &mut proxy.client(&tenant)] {
        assert_eq!(client.refused("SELECT \"text\" FROM \"nowhere\""), 1146);
        assert_eq!(client.cell("SELECT \"text\" FROM \"note\""), "x".repeat(90));
    }
    assert!(proxy.metric("forebay_route_total", &["target=\"replica\""]) > before);
}
