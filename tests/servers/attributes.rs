//! Query attributes: named values along with a statement, of MySQL 8.0.23 and later.
//!
//! A server shows them by a function of a component of its own. Who gets none is asked for none.

use std::io::Write as _;
use std::process::Stdio;

use forebay::wire::capability::Capabilities;
use forebay::wire::cursor::put_lenenc_bytes;

use super::balancer::downgrade;
use super::client::{Client, Login};
use super::drivers::mysql;
use super::general_log::statements;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, until};
use super::statement::{Rows, Statement, Told, heard, prepare};

const MYSQL: Flavour = Flavour::MySql97;
/// The first byte of a chunk that is full.
const FULL: usize = 0xff_ffff;
const TOO_LARGE: u16 = 1153;
const MALFORMED: u16 = 1835;
const WRONG_ARGUMENTS: u16 = 1210;

fn with_function(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    let known = root.cell("SELECT COUNT(*) FROM mysql.component WHERE component_urn LIKE '%attr%'");
    if known == "0" {
        root.run("INSTALL COMPONENT 'file://component_query_attributes'");
    }
    root.run(&format!("CREATE TABLE {}.note (n BIGINT, text LONGTEXT)", tenant.name));
    root.run(&format!("INSERT INTO {}.note VALUES (10, 'ten')", tenant.name));
    stack.sync();
    tenant
}

fn login(tenant: &Tenant) -> Login<'_> {
    tenant.login().with(Capabilities::QUERY_ATTRIBUTES)
}

/// Few connections, and a client of them that has attributes.
fn few(stack: &Stack, count: usize) -> Proxy {
    let limit = format!("[pool]\nmax_connections_per_server = {}", count + 1);
    Setup::of(stack).monitored().file(&limit).start()
}

#[track_caller]
fn client(address: &str, tenant: &Tenant) -> Client {
    let client = Client::connect(address, &login(tenant)).unwrap_or_else(|lost| panic!("{lost}"));
    assert!(client.capabilities.has(Capabilities::QUERY_ATTRIBUTES), "offered to it");
    client
}

fn set(client: &mut Client, all: &[(&str, &str)]) {
    client.attributes = all.iter().map(|&(name, value)| (name.into(), value.into())).collect();
}

fn routed(proxy: &Proxy, target: &str) -> f64 {
    proxy.metric("forebay_route_total", &[&format!("target=\"{target}\"")])
}

/// Of a long value the function does not give much more.
const SHOWN: usize = 1000;
const SHOW: &str = "SELECT mysql_query_attribute_string('n')";

#[test]
fn the_command_line_sends_them() {
    let stack = Stack::shared(MYSQL);
    let tenant = with_function(&stack, "attr_cli");
    let proxy = Setup::of(&stack).monitored().start();
    let script = format!(
        "{SHOW};\nquery_attributes n v1\n{SHOW};\n{SHOW};\nBEGIN;\nquery_attributes m x n 'v 2'\n\
         {SHOW};\nINSERT INTO note VALUES (20, 'x');\nquery_attributes n v3\nCOMMIT;\n\
         query_attributes n v4\nSELECT COUNT(*) FROM note;\n"
    );
    let ask = |address: &str| {
        let options = ["--skip-column-names", "--commands", "--named-commands"];
        let mut command = mysql(address, &tenant, &options);
        command.arg("--ssl-mode=REQUIRED");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("mysql");
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let expected = |count: u32| format!("NULL\nv1\nNULL\nv 2\n{count}\n");
    assert_eq!(ask(stack.address(PRIMARY)), expected(2));
    assert_eq!(ask(&proxy.address), expected(3));
    assert_eq!(ask(&proxy.address), expected(4));
}

/// On any connection, whatever has to be said in front of the statement; at replicas too.
#[test]
fn statements_as_text() {
    let stack = Stack::shared(MYSQL);
    let tenant = with_function(&stack, "attr_text");
    // The function keeps a session's connection: one is left for the others.
    let proxy = few(&stack, 2);
    let mut shown = client(&proxy.address, &tenant);
    let (mut one, mut other) = (client(&proxy.address, &tenant), client(&proxy.address, &tenant));
    let mut plain = proxy.client(&tenant);
    assert!(!plain.capabilities.has(Capabilities::QUERY_ATTRIBUTES));
    for round in 0..3 {
        let value = format!("SELECT {round}");
        set(&mut one, &[("m", "x"), ("n", &value)]);
        set(&mut shown, &[("m", "x"), ("n", &value)]);
        assert_eq!(shown.cell(SHOW), value);
        other.run("SET NAMES latin1, sql_mode = 'ANSI_QUOTES'");
        other.run("INSERT INTO note VALUES (1, 'other')");
        other.run("SET @x = 1");
        assert_eq!(other.cell("SELECT @x"), "1");
        other.simple(31, &[]).expect("COM_RESET_CONNECTION");
        one.run("SET time_zone = '+03:00'");
        one.run(&format!("INSERT INTO note VALUES ({round}, 'x')"));
        assert_eq!(one.cell("SELECT ROW_COUNT()"), "1");
        assert_eq!(one.cell("SELECT LAST_INSERT_ID()"), "0");
        assert_eq!(plain.run("INSERT INTO note VALUES (5, 'plain')").affected, 1);
        let state = "SELECT CONCAT(@@time_zone, @@sql_mode = 'ANSI_QUOTES', DATABASE())";
        assert_eq!(one.cell(state), format!("+03:000{}", tenant.name));
        set(&mut shown, &[]);
        assert_eq!(shown.cell(SHOW), "NULL");
    }
    shown.quit();
    let before = routed(&proxy, "replica");
    until("a read of a replica", || {
        assert_eq!(one.cell("SELECT text FROM note WHERE n = 10"), "ten");
        routed(&proxy, "replica") > before
    });
    // What is answered from memory, is so with them and without.
    for attributes in [&[][..], &[("n", "v")], &[]] {
        let mut two = [(); 2].map(|()| client(&proxy.address, &tenant));
        let mut before = 0.0;
        for client in &mut two {
            before = routed(&proxy, "local");
            set(client, attributes);
            client.run("SET NAMES utf8mb4");
            let mode = client.cell("SELECT @@SESSION.sql_mode");
            assert_eq!(mode, plain.cell("SELECT @@SESSION.sql_mode"));
            client.simple(14, &[]).expect("COM_PING");
        }
        assert!(routed(&proxy, "local") >= before + 3.0, "answered from memory");
    }
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
    // Half an attribute, and the next statement.
    for body in [&b"SELECT 1"[..], b"\x01\x01\0\x01\xfe\0\x01n\x20v", b"\x01\x01", b""] {
        let payload = [&[3], body].concat();
        one.send(0, &payload).unwrap();
        assert_eq!(one.answers().expect_err("half an attribute").code(), MALFORMED);
        assert_eq!(one.cell("SELECT 7"), "7");
    }
}

/// Longer than what statements are understood from, and longer than packets.
#[test]
fn long_ones() {
    let stack = Stack::shared(MYSQL);
    let tenant = with_function(&stack, "attr_long");
    let proxy = few(&stack, 2);
    let mut one = client(&proxy.address, &tenant);
    for len in [15_000, 16_300, 16_384, 20_000, 60_000] {
        let value = "SELECT ';".repeat(len / 9);
        set(&mut one, &[("n", &value), ("m", "x")]);
        let is_shown = |cell: String| cell.len() >= SHOWN && value.starts_with(&cell);
        assert!(is_shown(one.cell(SHOW)), "{len}");
        one.run("BEGIN");
        one.run("INSERT INTO note VALUES (1, 'x')");
        one.run("ROLLBACK");
        assert_eq!(one.cell("SELECT COUNT(*) FROM note"), "1", "a transaction was understood");
        // The statement is long too.
        let tail = " ".repeat(30_000);
        assert!(is_shown(one.cell(&format!("{SHOW} {tail}"))), "{len}");
    }
    // Statements of one chunk, of a chunk and an empty one, of two.
    for text_len in [FULL - 100, 17 << 20] {
        for fill in 0..3_usize {
            set(&mut one, &[("n", &"v".repeat(fill))]);
            let mut sql = String::from("INSERT INTO note VALUES (99, REPEAT('x', 9)) -- ");
            // Byte, count, sets, bits, told, type, name, value: 12 and the value.
            let lacking = FULL + 1 - 12 - fill - sql.len();
            let len = if text_len < FULL { lacking - 2 + fill } else { text_len };
            sql.push_str(&"y".repeat(len));
            assert_eq!(one.run(&sql).affected, 1, "{text_len} {fill}");
        }
    }
    assert_eq!(one.cell("SELECT COUNT(*) FROM note WHERE n = 99"), "6");
    // Too long, and the next statement.
    for sql in ["SELECT 1", &format!("SELECT 1 -- {}", "y".repeat(17 << 20))] {
        set(&mut one, &[("n", &"v".repeat(90_000))]);
        assert_eq!(one.query(sql).expect_err("too long").code(), TOO_LARGE);
        set(&mut one, &[]);
        assert_eq!(one.cell("SELECT 7"), "7");
    }
}

/// COM_STMT_EXECUTE: the parameter, and attributes behind it. `types`: they are told.
fn execute(
    client: &mut Client,
    it: &Statement,
    parameter: Option<&str>,
    types: bool,
    attributes: &[(&str, &str)],
) -> Told<Rows> {
    const STRING: [u8; 2] = [254, 0];
    let parameter = parameter.map(|text| ("", text));
    let all: Vec<_> = parameter.into_iter().chain(attributes.iter().copied()).collect();
    let mut body = it.id.to_le_bytes().to_vec();
    body.extend([8, 1, 0, 0, 0, all.len() as u8]);
    if !all.is_empty() {
        body.resize(body.len() + all.len().div_ceil(8), 0);
        body.push(u8::from(types));
        for (name, _) in all.iter().filter(|_| types) {
            body.extend(STRING);
            put_lenenc_bytes(&mut body, name.as_bytes());
        }
        all.iter().for_each(|(_, value)| put_lenenc_bytes(&mut body, value.as_bytes()));
    }
    client.command(0x17, &body).unwrap();
    heard(client)
}

/// With parameters and without, on connections that have not heard their types.
#[test]
fn prepared_statements() {
    let stack = Stack::shared(MYSQL);
    let tenant = with_function(&stack, "attr_prepared");
    let proxy = few(&stack, 1);
    let (mut one, mut other) = (client(&proxy.address, &tenant), client(&proxy.address, &tenant));
    let echo =
        prepare(&mut one, "/* forebay: primary */ SELECT ?, n FROM note WHERE n = 10").unwrap();
    let bare = prepare(&mut one, "/* forebay: primary */ SELECT n FROM note WHERE n = 10").unwrap();
    let read = prepare(&mut one, "SELECT n FROM note WHERE text = ?").unwrap();
    let two = [("m", "x"), ("n", "SELECT 1")];
    let say = |client: &mut Client, it: &Statement, parameter, types, attributes: &[_]| {
        execute(client, it, parameter, types, attributes).map(|rows| rows.text())
    };
    for round in 0..3 {
        let mut forget = || {
            other.run(&format!("INSERT INTO note VALUES (-{round}, '')"));
            other.simple(31, &[]).expect("COM_RESET_CONNECTION");
        };
        assert_eq!(say(&mut one, &echo, Some("p"), true, &two).unwrap(), "p 10");
        assert_eq!(say(&mut one, &echo, Some("q"), false, &[]).unwrap(), "q 10");
        forget();
        assert_eq!(say(&mut one, &echo, Some("r"), false, &[]).unwrap(), "r 10");
        forget();
        assert_eq!(say(&mut one, &echo, Some("s"), true, &[]).unwrap(), "s 10");
        assert_eq!(say(&mut one, &bare, None, true, &two).unwrap(), "10");
        forget();
        assert_eq!(say(&mut one, &bare, None, true, &[]).unwrap(), "10");
        assert_eq!(say(&mut one, &read, Some("ten"), true, &two).unwrap(), "10");
        assert_eq!(say(&mut one, &read, Some("ten"), false, &[]).unwrap(), "10");
        // Attributes whose types are not told; no parameter.
        let wrong = say(&mut one, &echo, Some("p"), false, &two).unwrap_err();
        assert_eq!(wrong.0, WRONG_ARGUMENTS);
        let wrong = say(&mut one, &echo, None, true, &[]).unwrap_err();
        assert_eq!(wrong.0, WRONG_ARGUMENTS);
    }
    // What they say is heard.
    let echo = prepare(&mut one, "SELECT mysql_query_attribute_string('n'), ?").unwrap();
    let bare = prepare(&mut one, SHOW).unwrap();
    for (attributes, expected) in [(&two[..], "SELECT 1"), (&[], "NULL"), (&two[1..], "SELECT 1")] {
        let told = say(&mut one, &echo, Some("p"), true, attributes).unwrap();
        assert_eq!(told, format!("{expected} p"));
        assert_eq!(say(&mut one, &bare, None, true, attributes).unwrap(), expected);
        assert_eq!(say(&mut one, &echo, Some("q"), false, &[]).unwrap(), "NULL q");
    }
    one.simple(31, &[]).expect("COM_RESET_CONNECTION");
    // As long as packets, and the head longer than what is routed on.
    let write = prepare(&mut one, "INSERT INTO note VALUES (50, ?)").unwrap();
    let long = "0123456789abcdef".repeat(17 << 16);
    for name_len in [1, 20_000, 60_000] {
        let name = "n".repeat(name_len);
        let wrote = execute(&mut one, &write, Some(&long), true, &[(&name, "v")]);
        assert_eq!(wrote.unwrap().affected, 1);
    }
    let question = "SELECT COUNT(*) FROM note WHERE n = 50 AND LENGTH(text) = 17 << 20";
    assert_eq!(one.cell(question), "3");
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
}

/// Only where every server takes them.
#[test]
fn who_is_offered_them() {
    fn is_offered(proxy: &Proxy) -> bool {
        let client = Client::greeted(&proxy.address).unwrap();
        client.greeting.capabilities.has(Capabilities::QUERY_ATTRIBUTES)
    }
    let [mysql, mariadb, old] = [MYSQL, Flavour::MariaDb, Flavour::MySql56].map(Stack::shared);
    for stack in [&mariadb, &old] {
        let proxy = Setup::of(stack).monitored().start();
        assert!(!is_offered(&proxy), "{:?}", stack.flavour);
        proxy.wait_for_readers(2);
        assert!(!is_offered(&proxy), "{:?}", stack.flavour);
    }
    let proxy = Setup::of(&mysql).monitored().start();
    proxy.wait_for_readers(2);
    assert!(is_offered(&proxy));
    let mixed = Setup::of(&mysql).monitored().replicas(&[mariadb.address(PRIMARY)]).start();
    until("one of them takes none", || !is_offered(&mixed));
}

/// A server that took them takes none any more. Who has them drops them for it, and goes on.
#[test]
fn a_server_that_lost_them() {
    let stack = Stack::shared(MYSQL);
    let tenant = with_function(&stack, "attr_lost");
    let relays: Vec<_> = REPLICAS.iter().map(|node| downgrade(stack.address(node))).collect();
    let addresses: Vec<&str> = relays.iter().map(|(address, _)| &**address).collect();
    let proxy = Setup::of(&stack).monitored().replicas(&addresses).start();
    let mut one = client(&proxy.address, &tenant);
    proxy.wait_for_readers(2);
    set(&mut one, &[("n", "SELECT 1;")]);
    // The function keeps its connection.
    let mut shown = client(&proxy.address, &tenant);
    set(&mut shown, &[("n", "v")]);
    let read = prepare(&mut one, "SELECT n FROM note WHERE text = ?").unwrap();
    let mut check = |name: &str| {
        let before = routed(&proxy, "replica");
        until(name, || {
            assert_eq!(one.cell("SELECT text FROM note WHERE n = 10"), "ten");
            for types in [true, false] {
                let attributes: &[_] = if types { &[("n", "v"), ("m", "x")] } else { &[] };
                let read = execute(&mut one, &read, Some("ten"), types, attributes);
                assert_eq!(read.unwrap().text(), "10");
            }
            routed(&proxy, "replica") >= before + 6.0
        });
        assert_eq!(shown.cell(SHOW), "v", "the primary takes them");
    };
    check("reads of replicas that take them");
    for (_, change) in relays {
        change();
    }
    until("not offered any more", || {
        let client = Client::greeted(&proxy.address).unwrap();
        !client.greeting.capabilities.has(Capabilities::QUERY_ATTRIBUTES)
    });
    check("reads of replicas that take none");
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
    let there: Vec<String> =
        REPLICAS.iter().flat_map(|node| statements(&stack, node, &tenant.name)).collect();
    assert!(there.iter().any(|text| text == "SELECT text FROM note WHERE n = 10"), "{there:?}");
}
