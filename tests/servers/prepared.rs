//! Prepared statements that several servers and several connections have to know.

use super::balancer::forget;
use super::client::Client;
use super::general_log::entries;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};
use super::statement::Value::{Null, Number, Sent, Text};
use super::statement::{
    Statement, body, close, execute, execute_again, fetch, heard, heard_prepare, open, prepare,
    reset, send_long,
};
use forebay::limits::PREPARED_PER_CONNECTION_MAX as MAX;
use forebay::wire::ok::Status;

on_both!(
    go_where_their_texts_go,
    two_hundred_sessions_on_four_connections,
    parameters_on_a_connection_that_never_heard_of_them,
    long_data_is_kept_or_keeps_its_connection,
    cursors_keep_their_connection,
    lost_servers_lose_no_statement,
    tables_that_change,
    the_longest_unused_is_closed,
    texts_mean_what_they_meant,
    what_a_server_would_refuse,
    executing_the_last_prepared,
    a_server_that_forgets,
    each_is_prepared_once,
);

fn with_table(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    let columns = "id INT PRIMARY KEY AUTO_INCREMENT, n BIGINT, text LONGTEXT";
    root.run(&format!("CREATE TABLE {}.note ({columns})", tenant.name));
    root.run(&format!(
        "INSERT INTO {}.note (n, text) VALUES (10, 'ten'), (20, 'twenty'), (30, NULL)",
        tenant.name
    ));
    stack.sync();
    tenant
}

/// Few connections: what one session prepared on one of them, the next session does not find.
fn few(stack: &Stack, count: usize) -> Proxy {
    // The watcher's connection is one of them.
    let limit = format!("[pool]\nmax_connections_per_server = {}", count + 1);
    let proxy = Setup::of(stack).monitored().file(&limit).start();
    proxy.wait_for_readers(2);
    proxy
}

fn at_replicas(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_route_total", &["target=\"replica\""])
}

/// Leaves the only connection to the primary so that it is reset: nothing is prepared there then.
fn forget_all(client: &mut Client) {
    client.run("INSERT INTO note (n) VALUES (-1)");
    client.simple(31, &[]).expect("COM_RESET_CONNECTION");
}

/// Whether its next statement is bound to the connection that it has.
fn is_held(proxy: &Proxy, client: &mut Client) -> bool {
    let held = ["reason=\"held\""];
    let before = proxy.metric("forebay_route_total", &held);
    client.run("SELECT COUNT(*) FROM note");
    proxy.metric("forebay_route_total", &held) > before
}

fn go_where_their_texts_go(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_routes");
    let proxy = few(&stack, 4);
    let mut client = proxy.client(&tenant);
    let read = prepare(&mut client, "SELECT text FROM note WHERE n = ?").unwrap();
    let write = prepare(&mut client, "INSERT INTO note (n, text) VALUES (?, ?)").unwrap();
    assert_eq!((read.params, read.columns, write.params), (1, 1, 2));
    for number in 100..150 {
        let text = number.to_string();
        let done = execute(&mut client, &write, &[Number(number), Text(&text)]).unwrap();
        assert_eq!(done.affected, 1);
        assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), done.insert_id.to_string());
        assert_eq!(execute(&mut client, &read, &[Number(number)]).unwrap().text(), text);
    }
    stack.sync();
    let before = at_replicas(&proxy);
    until("reads of replicas", || {
        assert_eq!(execute(&mut client, &read, &[Number(20)]).unwrap().text(), "twenty");
        at_replicas(&proxy) > before + 20.0
    });
    assert!(!is_held(&proxy, &mut client));
    client.run("BEGIN");
    execute(&mut client, &write, &[Number(7), Null]).unwrap();
    assert_eq!(execute(&mut client, &read, &[Number(7)]).unwrap().text(), "NULL");
    client.run("ROLLBACK");
    assert_eq!(execute(&mut client, &read, &[Number(7)]).unwrap().text(), "");
    let executed = REPLICAS.iter().flat_map(|node| entries(&stack, node, &tenant.name));
    let executed: Vec<_> = executed.filter(|entry| entry.command == "Execute").collect();
    assert!(executed.len() > 20, "{} at the replicas", executed.len());
    assert!(executed.iter().all(|entry| entry.text.starts_with("SELECT")), "{executed:?}");
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
}

/// As PHP does it, page after page: what is executed next goes to the connection that knows it.
fn each_is_prepared_once(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_once");
    let proxy = few(&stack, 4);
    let count = |command: &str| {
        let all = NODES.iter().flat_map(|node| entries(&stack, node, &tenant.name));
        all.filter(|entry| entry.command == command).count()
    };
    let mut executed = 0;
    let mut visit = |text: &str| {
        let mut client = proxy.client(&tenant);
        for number in 0..5 {
            let it = prepare(&mut client, &format!("{text} + {number}")).unwrap();
            execute(&mut client, &it, &[Number(7)]).unwrap();
            execute_again(&mut client, &it, &[Number(8)]).unwrap();
            close(&mut client, &it);
            executed += 2;
        }
        client.quit();
    };
    let texts = ["SELECT text FROM note WHERE n = ?", "UPDATE note SET text = 'x' WHERE n = ?"];
    for text in texts.iter().cycle().take(20) {
        visit(text);
    }
    until("all is logged", || count("Execute") == executed);
    assert_eq!(count("Prepare") * 2, executed);
}

fn two_hundred_sessions_on_four_connections(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_many");
    let proxy = few(&stack, 4);
    let mut clients: Vec<_> = (0..200).map(|_| proxy.client(&tenant)).collect();
    let sql = |at: usize| format!("SELECT {at} + ?, n FROM note WHERE n = 10");
    let statements: Vec<Statement> = clients
        .iter_mut()
        .enumerate()
        .map(|(at, client)| prepare(client, &sql(at)).unwrap())
        .collect();
    for round in 0..3_i64 {
        for (at, (client, statement)) in clients.iter_mut().zip(&statements).enumerate() {
            let rows = if round == 0 {
                execute(client, statement, &[Number(round)])
            } else {
                execute_again(client, statement, &[Number(round)])
            };
            assert_eq!(rows.unwrap().text(), format!("{} 10", at as i64 + round));
        }
    }
    for node in NODES {
        let question = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'",
            tenant.name
        );
        let connections: usize = stack.root(node).cell(&question).parse().unwrap();
        assert!(connections <= 4, "{node} has {connections}");
    }
}

fn parameters_on_a_connection_that_never_heard_of_them(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_types");
    let proxy = few(&stack, 1);
    let mut one = proxy.client(&tenant);
    let mut other = proxy.client(&tenant);
    let echo = "/* forebay: primary */ SELECT CONCAT(?, '-', ?) FROM note WHERE n = 10";
    let echo = prepare(&mut one, echo).unwrap();
    assert_eq!(execute(&mut one, &echo, &[Number(1), Text("a")]).unwrap().text(), "1-a");
    for round in 0..20_i64 {
        forget_all(&mut other);
        let again = execute_again(&mut one, &echo, &[Number(round), Text("b")]).unwrap();
        assert_eq!(again.text(), format!("{round}-b"));
        // Other types from now on, and again not told twice.
        let text = format!("x{round}");
        let changed = execute(&mut one, &echo, &[Text(&text), Number(round)]).unwrap();
        assert_eq!(changed.text(), format!("{text}-{round}"));
        forget_all(&mut other);
        let again = execute_again(&mut one, &echo, &[Text("c"), Number(3)]).unwrap();
        assert_eq!(again.text(), "c-3");
        execute(&mut one, &echo, &[Number(1), Text("a")]).unwrap();
    }
    // So many that their types do not stand in what is routed on.
    let marks = vec!["?"; 6000].join(",");
    let many = prepare(&mut one, &format!("SELECT COUNT(*) FROM note WHERE n IN ({marks})"));
    let many = many.unwrap();
    let values: Vec<_> = (0..6000).map(|number| Number(number * 10)).collect();
    assert_eq!(execute(&mut one, &many, &values).unwrap().text(), "3");
    assert_eq!(execute_again(&mut one, &many, &values).unwrap().text(), "3");
    assert!(!is_held(&proxy, &mut one), "a text of 12,000 bytes is kept");
    let marks = vec!["?"; 60_000].join(",");
    let text = format!("SELECT COUNT(*) FROM note WHERE n IN ({marks})");
    let long = prepare(&mut one, &text).unwrap();
    assert!(is_held(&proxy, &mut one), "only one connection knows so long a text");
    let values: Vec<_> = (0..60_000).map(|number| Number(number * 10)).collect();
    assert_eq!(execute(&mut one, &long, &values).unwrap().text(), "3");
    assert_eq!(execute_again(&mut one, &long, &values).unwrap().text(), "3");
    close(&mut one, &long);
    assert!(!is_held(&proxy, &mut one));
    let write = prepare(&mut one, "INSERT INTO note (n, text) VALUES (?, ?)").unwrap();
    let long = "0123456789abcdef".repeat(17 << 16);
    assert_eq!(execute(&mut one, &write, &[Number(40), Text(&long)]).unwrap().affected, 1);
    assert_eq!(execute_again(&mut one, &write, &[Number(40), Text(&long)]).unwrap().affected, 1);
    let question = "SELECT COUNT(*), MIN(LENGTH(text)) FROM note WHERE n = 40";
    assert_eq!(one.run(question).rows[0][1], Some((17 << 20).to_string()));
    assert_eq!(one.cell(question), "2");
}

fn long_data_is_kept_or_keeps_its_connection(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_long");
    let proxy = few(&stack, 2);
    let mut client = proxy.client(&tenant);
    let sql = "INSERT INTO note (n, text) VALUES (?, CONCAT(?, 'end'))";
    let write = prepare(&mut client, sql).unwrap();
    for (round, (pieces, len)) in [(3, 1000), (2, 100_000), (4, 1 << 20)].into_iter().enumerate() {
        let piece = vec![b'a' + round as u8; len];
        for _ in 0..pieces {
            send_long(&mut client, &write, 1, &piece);
        }
        let is_long = pieces * len > 1 << 20;
        assert_eq!(is_held(&proxy, &mut client), is_long, "{pieces} x {len}");
        let number = 100 + round as i64;
        execute(&mut client, &write, &[Number(number), Sent]).unwrap();
        let question = format!("SELECT LENGTH(text) FROM note WHERE n = {number}");
        assert_eq!(client.cell(&question), (pieces * len + 3).to_string());
        // A piece counts for one EXECUTE.
        execute(&mut client, &write, &[Number(7), Text("")]).unwrap();
    }
    assert_eq!(client.cell("SELECT GROUP_CONCAT(text) FROM note WHERE n = 7"), "end,end,end");
    assert!(!is_held(&proxy, &mut client));
    for len in [10, 2 << 20] {
        send_long(&mut client, &write, 1, &vec![b'x'; len]);
        reset(&mut client, &write).unwrap();
        execute(&mut client, &write, &[Number(8), Text("")]).unwrap();
    }
    assert_eq!(client.cell("SELECT GROUP_CONCAT(text) FROM note WHERE n = 8"), "end,end");
    close(&mut client, &write);
    send_long(&mut client, &write, 1, b"for nobody");
    assert_eq!(client.cell("SELECT 1"), "1");
    assert!(!is_held(&proxy, &mut client));
}

fn cursors_keep_their_connection(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_cursor");
    let proxy = few(&stack, 2);
    let mut client = proxy.client(&tenant);
    let read = prepare(&mut client, "SELECT n FROM note WHERE n > ? ORDER BY n").unwrap();
    for _ in 0..2 {
        let opened = open(&mut client, &read, &[Number(5)]).unwrap();
        assert!(opened.status.has(Status::CURSOR_EXISTS));
        let some = fetch(&mut client, &read, &opened, 2).unwrap();
        assert_eq!(some.text(), "10 20");
        assert!(is_held(&proxy, &mut client));
        assert_eq!(client.cell("SELECT COUNT(*) FROM note"), "3");
        let rest = fetch(&mut client, &read, &opened, 99).unwrap();
        assert_eq!(rest.text(), "30");
        assert!(rest.status.has(Status::LAST_ROW_SENT));
        assert!(!is_held(&proxy, &mut client));
        assert_eq!(fetch(&mut client, &read, &opened, 1).unwrap_err().0, 1421);
    }
    let opened = open(&mut client, &read, &[Number(5)]).unwrap();
    reset(&mut client, &read).unwrap();
    assert!(!is_held(&proxy, &mut client));
    assert_eq!(fetch(&mut client, &read, &opened, 1).unwrap_err().0, 1421);
    open(&mut client, &read, &[Number(5)]).unwrap();
    close(&mut client, &read);
    assert_eq!(client.cell("SELECT COUNT(*) FROM note"), "3");
    assert!(!is_held(&proxy, &mut client));
}

fn lost_servers_lose_no_statement(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = with_table(&stack, "ps_lost");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    let read = prepare(&mut client, "SELECT text FROM note WHERE n = ?").unwrap();
    let write = prepare(&mut client, "UPDATE note SET n = n + ? WHERE text = 'ten'").unwrap();
    execute(&mut client, &write, &[Number(0)]).unwrap();
    for node in REPLICAS {
        assert_eq!(execute(&mut client, &read, &[Number(20)]).unwrap().text(), "twenty");
        stack.script(&["kill", node]);
        for _ in 0..20 {
            assert_eq!(execute_again(&mut client, &read, &[Number(20)]).unwrap().text(), "twenty");
        }
        stack.script(&["start", node]);
    }
    stack.script(&["kill", PRIMARY]);
    stack.script(&["start", PRIMARY]);
    assert_eq!(execute_again(&mut client, &write, &[Number(5)]).unwrap().affected, 1);
    assert_eq!(execute(&mut client, &read, &[Number(15)]).unwrap().text(), "ten");
}

fn tables_that_change(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_alter");
    let proxy = few(&stack, 1);
    let mut client = proxy.client(&tenant);
    let read = prepare(&mut client, "SELECT * FROM note WHERE n = ?").unwrap();
    assert_eq!(execute(&mut client, &read, &[Number(10)]).unwrap().text(), "1 10 ten");
    let mut another = proxy.client(&tenant);
    for (change, expected) in [
        ("ALTER TABLE note ADD COLUMN more VARCHAR(9) DEFAULT 'm'", "1 10 ten m"),
        ("ALTER TABLE note DROP COLUMN text", "1 10 m"),
        ("ALTER TABLE note RENAME COLUMN more TO less, ADD COLUMN last INT", "1 10 m NULL"),
    ] {
        another.run(change);
        for _ in 0..3 {
            let rows = execute_again(&mut client, &read, &[Number(10)]).unwrap();
            assert_eq!(rows.text(), expected, "{change}");
        }
    }
    // What cannot be prepared any more is an error of this EXECUTE, and its transaction goes on.
    let write = prepare(&mut client, "UPDATE note SET n = n + ?").unwrap();
    another.run("CREATE TABLE other (n INT)");
    another.run("DROP TABLE note");
    another.run("INSERT INTO other VALUES (1)");
    another.simple(31, &[]).expect("COM_RESET_CONNECTION");
    client.run("BEGIN");
    client.run("INSERT INTO other VALUES (2)");
    assert_eq!(execute(&mut client, &write, &[Number(10)]).unwrap_err().0, 1146);
    assert_eq!(execute_again(&mut client, &read, &[Number(10)]).unwrap_err().0, 1146);
    client.run("COMMIT");
    assert_eq!(client.cell("SELECT SUM(n) FROM other"), "3");
}

fn the_longest_unused_is_closed(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_lru");
    let proxy = few(&stack, 1);
    let mut client = proxy.client(&tenant);
    let statements: Vec<_> = (0..300)
        .map(|at| prepare(&mut client, &format!("SELECT ? + {at} FROM note FOR UPDATE")).unwrap())
        .collect();
    for round in 0..2 {
        for (at, statement) in statements.iter().enumerate().step_by(7) {
            let rows = execute(&mut client, statement, &[Number(round)]).unwrap();
            assert_eq!(rows.rows.len(), 3);
            assert_eq!(rows.rows[0][0], Some((at as i64 + round).to_string()));
        }
    }
    until("it is logged", || {
        let all = entries(&stack, PRIMARY, &tenant.name);
        let count = |command: &str| all.iter().filter(|entry| entry.command == command).count();
        let (prepared, closed) = (count("Prepare"), count("Close stmt"));
        // The last one that was driven out waits for the next command.
        prepared > 300 && (MAX..=MAX + 1).contains(&(prepared - closed))
    });
}

fn texts_mean_what_they_meant(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_here");
    let there = with_table(&stack, "ps_there");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("GRANT ALL ON {}.* TO {}", there.name, tenant.name));
    root.run(&format!("UPDATE {}.note SET text = 'there'", there.name));
    stack.sync();
    let proxy = few(&stack, 1);
    let mut other = proxy.client(&tenant);
    for round in 0..3 {
        let mut client = proxy.client(&tenant);
        let read = prepare(&mut client, "SELECT text FROM note WHERE n = ?").unwrap();
        let write = prepare(&mut client, "UPDATE note SET text = 'here' WHERE n = ?").unwrap();
        let quoted = prepare(&mut client, "SELECT \"text\" FROM note WHERE n = ?").unwrap();
        client.run(&format!("USE {}", there.name));
        client.run("SET SESSION sql_mode = 'ANSI_QUOTES'");
        forget_all(&mut other);
        let expected = if round == 0 { "ten" } else { "here" };
        assert_eq!(execute(&mut client, &read, &[Number(10)]).unwrap().text(), expected);
        assert_eq!(execute(&mut client, &quoted, &[Number(10)]).unwrap().text(), "text");
        // The server goes to the other schema and back for it, and says that its state changed: as
        // far as anybody can see a trigger did that, so the connection is kept from now on.
        execute(&mut client, &write, &[Number(10)]).unwrap();
        assert_eq!(client.cell("SELECT \"text\" FROM note WHERE n = 10"), "there");
        assert_eq!(client.cell("SELECT DATABASE()"), there.name);
        client.quit();
    }
    let here = format!("SELECT GROUP_CONCAT(text) FROM {}.note", tenant.name);
    assert_eq!(other.cell(&here), "here,twenty");
}

fn what_a_server_would_refuse(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_wrong");
    let proxy = few(&stack, 2);
    let mut client = proxy.client(&tenant);
    assert_eq!(prepare(&mut client, "SELEC 1").unwrap_err().0, 1064);
    assert_eq!(prepare(&mut client, "SELECT * FROM nothing").unwrap_err().0, 1146);
    assert_eq!(prepare(&mut client, "SELECT 1; SELECT 2").unwrap_err().0, 1064);
    let unknown = Statement { id: 77, params: 0, columns: 0 };
    assert_eq!(execute(&mut client, &unknown, &[]).unwrap_err().0, 1243);
    assert_eq!(reset(&mut client, &unknown).unwrap_err().0, 1243);
    let read = prepare(&mut client, "SELECT n FROM note WHERE n = ?").unwrap();
    assert_eq!(execute_again(&mut client, &read, &[Number(1)]).unwrap_err().0, 1210);
    client.command(0x17, &body(read.id, 0, &[Number(1)], true)[..11]).unwrap();
    assert_eq!(heard(&mut client).unwrap_err().0, 1210);
    // A write that fails fails as it would by text, and its session goes on.
    let write = prepare(&mut client, "INSERT INTO note (id, n) VALUES (?, 1)").unwrap();
    assert_eq!(execute(&mut client, &write, &[Number(1)]).unwrap_err().0, 1062);
    assert_eq!(execute(&mut client, &write, &[Number(9)]).unwrap().affected, 1);
    client.simple(31, &[]).expect("COM_RESET_CONNECTION");
    assert_eq!(execute(&mut client, &read, &[Number(1)]).unwrap_err().0, 1243);
    assert_eq!(client.cell("SELECT COUNT(*) FROM note"), "4");
}

/// MariaDB's connectors send PREPARE and EXECUTE of "the last one" together.
fn executing_the_last_prepared(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_last");
    let proxy = few(&stack, 2);
    let mut client: Client = proxy.client(&tenant);
    let mut both = |sql: &str| {
        client.command(0x16, sql.as_bytes()).unwrap();
        client.command(0x17, &body(u32::MAX, 0, &[Number(20)], true)).unwrap();
        let prepared = heard_prepare(&mut client).map_err(|error| error.0);
        let executed = heard(&mut client).map_err(|error| error.0);
        (prepared.map(|it| it.params), executed.map(|rows| rows.text()))
    };
    let known = match flavour {
        Flavour::MariaDb => Ok("twenty".to_owned()),
        Flavour::MySql97 | Flavour::MySql56 => Err(1243),
    };
    assert_eq!(both("SELECT text FROM note WHERE n = ?"), (Ok(1), known));
    assert_eq!(both("SELECT text FROM nothing WHERE n = ?"), (Err(1146), Err(1243)));
}

fn a_server_that_forgets(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = with_table(&stack, "ps_forgets");
    let mut root = stack.root(PRIMARY);
    root.run(&format!(
        "CREATE PROCEDURE {}.p(x INT) BEGIN UPDATE note SET n = n + x; EXECUTE nothing; END",
        tenant.name
    ));
    let server = forget(stack.address(PRIMARY));
    let mut setup = Setup::of(&stack).replicas(&[&server]).file("[backend]\ntls = 'disabled'");
    setup.primary = server;
    let proxy = setup.start();
    let mut client = proxy.client(&tenant);
    let read = prepare(&mut client, "SELECT SUM(n) FROM note WHERE n > ?").unwrap();
    let write = prepare(&mut client, "UPDATE note SET n = n + ? WHERE id = 1").unwrap();
    for round in 1..10 {
        assert_eq!(execute(&mut client, &write, &[Number(1)]).unwrap().affected, 1);
        let sum = execute(&mut client, &read, &[Number(0)]).unwrap().text();
        assert_eq!(sum, (60 + round).to_string());
        assert_eq!(execute_again(&mut client, &read, &[Number(0)]).unwrap().text(), sum);
    }
    // A procedure may say so of a statement of its own, after it did something: then it is not run
    // again.
    let call = prepare(&mut client, "CALL p(?)").unwrap();
    for _ in 0..2 {
        assert_eq!(execute(&mut client, &call, &[Number(100)]).unwrap_err().0, 1243);
    }
    assert_eq!(client.cell("SELECT SUM(n) FROM note FOR UPDATE"), "669");
}
