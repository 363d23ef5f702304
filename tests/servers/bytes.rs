//! Whole conversations, byte for byte: what a client hears through Forebay is what the primary
//! itself says to the same client.

use forebay::wire::capability::Capabilities;
use forebay::wire::prepared::{ExecuteHead, Form};

use super::client::{Client, Login};
use super::proxy::Setup;
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both};

on_both!(every_reply_is_the_servers, rows_longer_than_a_packet);

const INIT_DB: u8 = 2;
const QUERY: u8 = 3;
const FIELD_LIST: u8 = 4;
const STATISTICS: u8 = 9;
const PING: u8 = 14;
const PREPARE: u8 = 22;
const EXECUTE: u8 = 0x17;
const SET_OPTION: u8 = 27;
const RESET_CONNECTION: u8 = 31;

/// A number and a payload.
type Packet = (u8, Vec<u8>);

fn command(code: u8, body: &[u8]) -> Vec<u8> {
    [&[code], body].concat()
}

fn queries<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| command(QUERY, text.as_bytes())).collect()
}

/// The whole reply to one command. What is asked behind it, in the same write, shows where it ends.
fn reply(client: &mut Client, command: &[u8]) -> Vec<Packet> {
    const END: &[u8] = b"\x07the end";
    client.command(command[0], &command[1..]).unwrap();
    client.command(QUERY, b"SELECT 'the end'").unwrap();
    let mut packets = Vec::new();
    loop {
        let is_last = packets.last().is_some_and(|(_, payload): &Packet| payload == END);
        packets.push(client.read().unwrap_or_else(|lost| (0, lost.kind().to_string().into())));
        if is_last || packets.len() > 10_000 || packets.last().is_some_and(|last| last.0 == 0) {
            return packets;
        }
    }
}

/// What may differ: numbers of statements are given by the server, or by us; and what stands behind
/// column definitions says how the statement will end, which is not known when it is made.
fn mask(packets: &mut [Packet], is_prepare: bool, is_classic: bool) {
    if is_prepare && let Some((_, payload)) = packets.first_mut() {
        payload.iter_mut().skip(1).take(4).for_each(|byte| *byte = 0);
    }
    let definitions = packets.iter().map(|(_, payload)| payload.starts_with(b"\x03def"));
    let definitions: Vec<bool> = definitions.chain([false]).collect();
    for (at, (_, payload)) in packets.iter_mut().enumerate().skip(1) {
        if is_classic && definitions[at - 1] && payload.len() == 5 && payload[0] == 0xfe {
            payload[1..].fill(0);
        }
    }
}

/// An EXECUTE with one parameter, as a client writes it that agreed on attributes.
fn with_a_name(execute: &[u8], id: u32) -> Vec<u8> {
    let (head, values) = ExecuteHead::parse(&execute[5..], 1, Form::Plain).unwrap();
    let mut named = Vec::new();
    head.retold(&[], Form::Named).write(&mut named, id);
    [&named, values].concat()
}

/// The first of the two attributes is long.
fn converse(address: &str, login: &Login<'_>, script: &[Vec<u8>]) -> Vec<Vec<Packet>> {
    let mut client = Client::connect(address, login).unwrap_or_else(|failure| panic!("{failure}"));
    let has_names = client.capabilities.has(Capabilities::QUERY_ATTRIBUTES);
    client.attributes = vec![("a".into(), "SELECT 1;".repeat(30)), ("".into(), "".into())];
    let is_classic = !client.capabilities.has(Capabilities::DEPRECATE_EOF);
    let mut number = [0; 4];
    let mut replies = Vec::new();
    for command in script {
        let mut command = command.clone();
        if (0x17..=0x1c).contains(&command[0]) && command[0] != SET_OPTION {
            command[1..5].copy_from_slice(&number);
        }
        if command[0] == EXECUTE && has_names {
            command = with_a_name(&command, u32::from_le_bytes(number));
        }
        let mut packets = reply(&mut client, &command);
        let is_prepare = command[0] == PREPARE && packets[0].1[0] == 0;
        if is_prepare {
            number.copy_from_slice(&packets[0].1[1..5]);
        }
        mask(&mut packets, is_prepare, is_classic);
        replies.push(packets);
    }
    replies
}

fn with_tables(stack: &Stack, tenant: &Tenant) {
    let mut root = stack.root(PRIMARY);
    for sql in [
        &format!("USE {}", tenant.name),
        "DROP TABLE IF EXISTS note, other",
        "CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, n INT UNIQUE, text VARCHAR(99))",
        "INSERT INTO note VALUES (1, 10, 'ten'), (2, 20, NULL), (3, 30, 'x')",
        "CREATE TABLE other (id INT)",
        "DROP PROCEDURE IF EXISTS p",
        "CREATE PROCEDURE p(x INT) BEGIN SELECT x AS first; UPDATE note SET text = x; \
         SELECT n FROM note; END",
        "DROP FUNCTION IF EXISTS f",
        "CREATE FUNCTION f() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE note SET n = n + 1; \
         RETURN 1; END",
    ] {
        root.run(sql);
    }
    stack.sync();
}

fn scripts(flavour: Flavour) -> Vec<Vec<Vec<u8>>> {
    let all = |texts: &str| queries(texts.split('|').map(str::trim));
    let mut scripts = vec![
        all("SELECT @@collation_connection, @@character_set_client, @@character_set_results | \
             SELECT @@sql_mode | SELECT COUNT (*) FROM note | SELECT NOW () IS NULL"),
        all(
            "SELECT id, n, text FROM note ORDER BY n | SELECT n FROM note WHERE n = 0 | | SELEC 1 \
             | SELECT * FROM nothing | SELECT CAST('12x' AS SIGNED) AS n | DO 1 | SHOW TABLES",
        ),
        // An error behind the first rows of a result.
        all("SELECT n, (SELECT id FROM note b WHERE b.n < a.n) FROM note a ORDER BY a.id | \
             SELECT 'still here' | SELECT n FROM note ORDER BY n"),
        // What a statement found or changed, and which ids it made.
        all("UPDATE note SET n = n | UPDATE note SET n = 11 WHERE id = 1 | \
             INSERT INTO note (n) VALUES (40), (50) | SELECT LAST_INSERT_ID() | \
             INSERT INTO note (id, n) VALUES (100, 60) | SELECT LAST_INSERT_ID() | \
             REPLACE INTO note (id, n) VALUES (500, 60) | SELECT LAST_INSERT_ID() | \
             INSERT IGNORE INTO note (n) VALUES (60) | SELECT LAST_INSERT_ID() | \
             INSERT INTO note (n) VALUES (60) | SELECT LAST_INSERT_ID() | \
             INSERT INTO note (n) VALUES (60) ON DUPLICATE KEY UPDATE text = 'again' | \
             SELECT LAST_INSERT_ID() | SELECT LAST_INSERT_ID(7) | SELECT LAST_INSERT_ID() | \
             INSERT INTO other VALUES (LAST_INSERT_ID()) | SELECT id FROM other"),
        // Transactions show in every status.
        all("BEGIN | SELECT n FROM note ORDER BY n | INSERT INTO other VALUES (1) | COMMIT | \
             SET autocommit = 0 | SELECT n FROM note ORDER BY n | ROLLBACK | SET autocommit = 1 | \
             START TRANSACTION READ ONLY | SELECT n FROM note ORDER BY n | \
             INSERT INTO other VALUES (2) | COMMIT | SELECT COUNT(*) FROM other"),
        all("LOCK TABLES note READ | SELECT n FROM note ORDER BY n | SELECT * FROM other | \
             INSERT INTO note (n) VALUES (1) | UNLOCK TABLES | SELECT * FROM other"),
        all("CALL p(7) | SELECT text FROM note ORDER BY id | SELECT f() | \
             SELECT n FROM note ORDER BY n | SELECT 1; SELECT * FROM nothing; SELECT 2 | \
             SELECT 3; INSERT INTO other VALUES (9); SELECT id FROM other | CALL nothing()"),
        other_commands(),
        with_a_cursor(),
        in_gbk(),
    ];
    if flavour == Flavour::MariaDb {
        scripts.push(all("INSERT INTO other VALUES (3), (4) RETURNING id | SELECT id FROM other"));
    }
    scripts
}

fn other_commands() -> Vec<Vec<u8>> {
    let several = b"SELECT 1; SELECT id FROM note; DO 1";
    vec![
        command(PING, b""),
        command(FIELD_LIST, b"note\0"),
        command(FIELD_LIST, b"note\0n%"),
        command(FIELD_LIST, b"nothing\0"),
        command(INIT_DB, b"nowhere_at_all"),
        command(QUERY, several),
        command(SET_OPTION, &[0, 0]),
        command(QUERY, several),
        command(SET_OPTION, &[1, 0]),
        command(QUERY, several),
        command(SET_OPTION, &[2, 0]),
        command(QUERY, b"SET @a = 5"),
        command(RESET_CONNECTION, b""),
        command(QUERY, b"SELECT @a, DATABASE() IS NULL"),
        command(QUERY, b"SELECT @@character_set_client, @@collation_connection"),
        command(5, b"name"),
        command(0x0b, b""),
        command(0x0f, b""),
        command(0x10, b""),
        command(0x1d, b""),
        command(0x7f, b""),
    ]
}

fn with_a_cursor() -> Vec<Vec<u8>> {
    const FETCH: u8 = 0x1c;
    let execute = |flags: u8| [1, 0, 0, 0, flags, 1, 0, 0, 0, 0, 1, 3, 0, 5, 0, 0, 0];
    let fetch = |rows: u8| command(FETCH, &[1, 0, 0, 0, rows, 0, 0, 0]);
    vec![
        command(PREPARE, b"SELECT n, text FROM note WHERE n > ? ORDER BY n"),
        command(EXECUTE, &execute(0)),
        command(EXECUTE, &execute(1)),
        fetch(2),
        fetch(99),
        command(EXECUTE, &execute(1)),
        command(0x1a, &[1, 0, 0, 0]),
        command(0x19, &[1, 0, 0, 0]),
        command(PREPARE, b"SELECT * FROM nothing WHERE n = ?"),
        command(PREPARE, b"INSERT INTO other VALUES (?)"),
    ]
}

/// `\xbf\` is one character there, and the quote behind it ends the string; elsewhere it does not.
fn in_gbk() -> Vec<Vec<u8>> {
    let trick = b"SELECT '\xbf\\' AS a, 2 AS b -- '".to_vec();
    let mut script = Vec::new();
    for before in ["SET NAMES utf8mb4", "SET NAMES gbk", "SET NAMES latin1", "SET NAMES big5"] {
        script.extend(queries([before]));
        script.push(command(QUERY, &trick));
    }
    for before in ["SET NAMES utf8mb4", "SET @@character_set_client = 'gbk'"] {
        script.extend(queries([before]));
        script.push(command(QUERY, &trick));
    }
    for mode in ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", ""] {
        script.extend(queries([
            &*format!("SET NAMES utf8mb4, sql_mode = '{mode}'"),
            r"SELECT 'a\' AS a, 2 AS b -- '",
            r#"SELECT n AS "a\" , 2 AS b -- " FROM note"#,
            "SELECT \"x\"",
        ]));
    }
    script
}

fn logins(tenant: &Tenant, flavour: Flavour) -> Vec<(&'static str, Login<'_>)> {
    use Capabilities as C;
    let plain = tenant.login();
    let several = plain.clone().with(C::MULTI_STATEMENTS).with(C::PS_MULTI_RESULTS);
    let mut logins = vec![
        ("plain", plain.clone()),
        ("modern", plain.clone().with(C::DEPRECATE_EOF)),
        ("several, found rows", several.clone().with(C::FOUND_ROWS)),
        ("several, modern", several.with(C::DEPRECATE_EOF)),
        ("ignoring space", plain.clone().with(C::IGNORE_SPACE)),
    ];
    if flavour == Flavour::MySql97 {
        logins.push(("with attributes", plain.with(C::QUERY_ATTRIBUTES)));
    }
    logins
}

fn every_reply_is_the_servers(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("bytes");
    let proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let mut wrong = Vec::new();
    for script in scripts(flavour) {
        for (name, login) in logins(&tenant, flavour) {
            with_tables(&stack, &tenant);
            let direct = converse(stack.address(PRIMARY), &login, &script);
            for time in ["first", "second"] {
                with_tables(&stack, &tenant);
                let through = converse(&proxy.address, &login, &script);
                let replies = script.iter().zip(direct.iter().zip(&through));
                wrong.extend(replies.filter(|(_, (expected, got))| expected != got).map(
                    |(said, (expected, got))| {
                        let said = said.escape_ascii();
                        format!("{name}, the {time} time: {said}\n got {got:?}\nwant {expected:?}")
                    },
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The one reply that is never twice the same.
    let mut client = proxy.client(&tenant);
    client.command(STATISTICS, b"").unwrap();
    let (_, text) = client.read().unwrap();
    assert!(text.starts_with(b"Uptime: "), "{}", text.escape_ascii());
    assert_eq!(client.cell("SELECT 1"), "1");
}

/// Chunks of them begin with bytes that are types of packets elsewhere.
fn rows_longer_than_a_packet(flavour: Flavour) {
    const FULL: usize = 0xff_ffff;
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("long_rows");
    with_tables(&stack, &tenant);
    let proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    for login in [tenant.login(), tenant.login().with(Capabilities::DEPRECATE_EOF)] {
        for (byte, len) in [("FE", FULL - 4), ("FE", FULL + 1), ("FF", FULL + 2), ("00", FULL + 2)]
        {
            let sql = format!("SELECT REPEAT(UNHEX('{byte}'), {len}) AS a FROM note WHERE id < 3");
            let script = queries([&*sql, "SELECT n FROM note ORDER BY n"]);
            let direct = converse(stack.address(PRIMARY), &login, &script);
            let through = converse(&proxy.address, &login, &script);
            assert!(direct[0].iter().any(|(_, payload)| payload.len() > len), "{sql}");
            assert!(direct == through, "{sql}, {login:?}");
        }
    }
}
