//! What is answered from memory: no server is asked, and no client can tell.

use std::path::Path;
use std::process::Command;

use forebay::wire::capability::Capabilities;
use forebay::wire::cursor::Cursor;

use super::client::{Client, Login};
use super::general_log;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    a_thousand_pages_ask_nothing,
    logins_to_a_schema_ask_once,
    answers_are_those_of_a_server,
    diagnostics_are_those_of_a_server,
    rights_that_are_taken_are_gone,
    sessions_do_not_see_each_other,
    it_can_be_turned_off,
);

const QUERY: u8 = 3;
const INIT_DB: u8 = 2;

/// What the tenant's connections asked of the primary.
fn asked(stack: &Stack, tenant: &Tenant) -> usize {
    general_log::entries(stack, PRIMARY, &tenant.name).len()
}

fn answered_here(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_route_total", &["target=\"local\""])
}

fn pages(address: &str, tenant: &Tenant, count: usize) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/preamble.php");
    let output = Command::new("php")
        .arg(script)
        .args([address, &tenant.name, &count.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("php: {error}. Install it with: make install"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn a_thousand_pages_ask_nothing(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("pages");
    let proxy = Setup::of(&stack).monitored().file("[auth]\nttl_s = 3600").start();
    let direct = pages(stack.address(PRIMARY), &tenant, 2);
    proxy.wait_for_readers(2);
    // The watcher of the primary may have come after the first page: then there is a second first.
    assert_eq!(pages(&proxy.address, &tenant, 2), direct);
    assert_eq!(pages(&proxy.address, &tenant, 2), direct);
    let (before, here) = (asked(&stack, &tenant), answered_here(&proxy));
    let said = pages(&proxy.address, &tenant, 1000);
    assert_eq!(said, direct.replacen("1 x", "999 x", 1));
    // The last page asked one question that is answered by a server, on a connection that had to
    // be brought to its state: no more than that.
    let more = asked(&stack, &tenant) - before;
    assert!(more <= 8, "{more} commands reached the primary for 1,000 pages");
    assert_eq!(answered_here(&proxy) - here, 5000.0);
}

fn logins_to_a_schema_ask_once(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("schema_login");
    let proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    proxy.client(&tenant).quit();
    let before = asked(&stack, &tenant);
    for _ in 0..100 {
        proxy.client(&tenant).quit();
    }
    assert_eq!(asked(&stack, &tenant), before);
    assert_eq!(proxy.client(&tenant).cell("SELECT DATABASE()"), tenant.name);
}

/// One reply, packet by packet, with its sequence numbers.
fn reply(client: &mut Client, command: u8, body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    client.command(command, body).unwrap();
    let modern = client.capabilities.has(Capabilities::DEPRECATE_EOF);
    let mut packets = vec![client.read().unwrap()];
    if matches!(packets[0].1.first(), Some(0 | 0xff)) {
        return packets;
    }
    let columns = Cursor::new(&packets[0].1).lenenc().unwrap();
    for _ in 0..columns {
        packets.push(client.read().unwrap());
    }
    if !modern {
        let (sequence, mut middle) = client.read().unwrap();
        if String::from_utf8_lossy(body).contains("FOUND_ROWS") {
            // It comes before the statement has ended: how many warnings there will be (MySQL has
            // one against these words) is not known when it is made.
            middle[1] = 0;
        }
        packets.push((sequence, middle));
    }
    loop {
        let packet = client.read().unwrap();
        let is_last = matches!(packet.1.first(), Some(0xfe | 0xff));
        packets.push(packet);
        if is_last {
            return packets;
        }
    }
}

/// All replies to a script. `|USE x` is COM_INIT_DB.
fn say(address: &str, login: &Login<'_>, script: &[&str]) -> Vec<Vec<(u8, Vec<u8>)>> {
    let mut client = Client::connect(address, login).unwrap();
    let mut say = |text: &&str| match text.strip_prefix("|USE ") {
        Some(name) => reply(&mut client, INIT_DB, name.as_bytes()),
        None => reply(&mut client, QUERY, text.as_bytes()),
    };
    let replies = script.iter().map(&mut say).collect();
    client.quit();
    replies
}

/// Says a script to a server directly and three times through Forebay. All replies have to be the
/// same to the last byte.
fn compare(stack: &Stack, proxy: &Proxy, login: &Login<'_>, script: &[&str]) {
    let direct = say(stack.address(PRIMARY), login, script);
    for time in ["first", "second", "third"] {
        let through = say(&proxy.address, login, script);
        for ((text, expected), got) in script.iter().zip(&direct).zip(&through) {
            assert_eq!(got, expected, "{text} in {script:?}, the {time} time, as {login:?}");
        }
    }
}

const SETTINGS: &[&str] = &[
    "SET NAMES utf8",
    "SET NAMES utf8mb4",
    "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_520_ci'",
    "SET NAMES latin1",
    "SET NAMES binary",
    "SET SESSION sql_mode='NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
    "SET sql_mode='NO_BACKSLASH_ESCAPES'",
    "SET sql_mode='TRADITIONAL'",
    "SET sql_mode='ANSI'",
    "SET SESSION sql_mode=''",
    "SET sql_mode='NONSENSE'",
    "SET @@SESSION.time_zone = '+05:30'",
    "SET SESSION group_concat_max_len = 77777",
    "SET SESSION SQL_BIG_SELECTS=1",
    "SET foreign_key_checks = 0, unique_checks = 0",
    "SET lc_time_names = 'de_DE'",
    "SET default_week_format = 99",
    "SET wait_timeout = 100",
    "SET sql_select_limit = 5",
    "SET sql_notes = 0",
    "SET character_set_results = NULL",
    "SET character_set_connection = latin1",
    "SET collation_connection = 'utf8mb4_bin'",
    "SET max_execution_time = 1000",
    "SET max_statement_time = 10",
    "SET time_zone = 'Nowhere'",
];

const QUESTIONS: &str = "SELECT @@SESSION.sql_mode|SELECT @@sql_mode|SELECT @@session.time_zone, \
    @@group_concat_max_len|SELECT @@collation_connection, @@character_set_client, \
    @@character_set_results, @@character_set_connection|SELECT @@wait_timeout, @@sql_notes, \
    @@sql_select_limit, @@lc_time_names, @@default_week_format|SELECT @@max_execution_time|SELECT \
    @@max_statement_time|SELECT @@foreign_key_checks, @@unique_checks, @@sql_big_selects";

fn answers_are_those_of_a_server(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("same_bytes");
    let proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let here = answered_here(&proxy);
    let (name, nowhere) = (format!("USE {}", tenant.name), "USE nowhere_at_all");
    let init = format!("|USE {}", tenant.name);
    let plain = Login::new(&tenant.name, &tenant.name);
    for login in [plain.clone(), plain.with(Capabilities::DEPRECATE_EOF)] {
        for charset in ["latin1", "utf8mb4", "utf8mb3", "binary"] {
            let names = format!("SET NAMES {charset}");
            for setting in SETTINGS {
                let mut script = vec![names.as_str(), setting];
                script.extend(QUESTIONS.split('|'));
                script.extend([nowhere, name.as_str(), setting, init.as_str(), setting]);
                compare(&stack, &proxy, &login, &script);
            }
        }
    }
    let scripts = 2.0 * 4.0 * SETTINGS.len() as f64;
    assert!(answered_here(&proxy) - here > scripts * 2.0 * 8.0, "hardly anything was remembered");
}

fn diagnostics_are_those_of_a_server(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("diagnostics");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY AUTO_INCREMENT)", tenant.name));
    for _ in 0..9 {
        root.run(&format!("INSERT INTO {}.note VALUES (NULL)", tenant.name));
    }
    stack.sync();
    let proxy = Setup::of(&stack).monitored().start();
    proxy.client(&tenant).quit();
    proxy.wait_for_readers(2);
    let here = answered_here(&proxy);
    let init = format!("|USE {}", tenant.name);
    let calc = "SELECT SQL_CALC_FOUND_ROWS id FROM note WHERE id > 0 LIMIT 2";
    let scripts: &[&[&str]] = &[
        &["SET NAMES utf8", "SHOW WARNINGS"],
        &["SET NAMES utf8", "SHOW WARNINGS", "SHOW WARNINGS", "SHOW COUNT(*) WARNINGS"],
        &["SET NAMES utf8", "SELECT @@warning_count, @@error_count"],
        &["SET NAMES utf8", &init, "SHOW WARNINGS"],
        &["SET NAMES utf8", "SET NAMES utf8mb4", "SHOW WARNINGS"],
        &["SET NAMES utf8", "SELECT @@SESSION.sql_mode", "SHOW WARNINGS"],
        &["SET sql_mode='NO_ZERO_IN_DATE'", "SHOW WARNINGS", "SELECT @@sql_mode"],
        &["SET sql_mode='NO_ZERO_IN_DATE'", &init, "SELECT 1", "SHOW WARNINGS"],
        &["SET sql_notes=0", "SET NAMES utf8", "SHOW WARNINGS"],
        &["SET NAMES utf8", "SELECT ROW_COUNT()"],
        &["SELECT @@SESSION.sql_mode", "SELECT ROW_COUNT()"],
        &["SELECT @@SESSION.sql_mode", "SELECT FOUND_ROWS()", "SELECT FOUND_ROWS()"],
        &[calc, "SET NAMES utf8", "SELECT FOUND_ROWS()"],
        &[calc, "SELECT @@SESSION.sql_mode", "SELECT FOUND_ROWS()"],
        &["SELECT id FROM note WHERE id > 3 LIMIT 4", &init, "SELECT FOUND_ROWS()"],
        &[calc, "SET time_zone='+01:00'", "SET NAMES utf8", "SHOW WARNINGS", "SELECT FOUND_ROWS()"],
        &["SELECT @@sql_mode", calc, "SELECT FOUND_ROWS()"],
        &["SELECT * FROM nowhere", "SET NAMES utf8mb4", "SHOW ERRORS"],
        &["SELECT * FROM nowhere", "SET NAMES utf8", "SELECT @@error_count", "SHOW WARNINGS"],
        &["SET NAMES utf8", "USE nowhere_at_all", "SHOW WARNINGS", "SELECT @@time_zone"],
        &["SET NAMES utf8", "SET sql_mode='NONSENSE'", "SHOW WARNINGS"],
        &["SET NAMES utf8", "DO 1", "SHOW COUNT(*) WARNINGS"],
    ];
    for script in scripts {
        for login in [tenant.login(), tenant.login().with(Capabilities::DEPRECATE_EOF)] {
            if let [first, rest @ ..] = script
                && *first == calc
            {
                // A setting that is not known yet runs at the primary, and the replica that has
                // counted the rows is let go.
                say(&proxy.address, &login, rest);
            }
            compare(&stack, &proxy, &login, script);
        }
    }
    assert!(answered_here(&proxy) - here > 4.0 * scripts.len() as f64, "not from memory");
    an_insert_id_outlives_settings(&proxy, &tenant);
    more_than_is_kept(&proxy, &tenant);
}

fn an_insert_id_outlives_settings(proxy: &Proxy, tenant: &Tenant) {
    for _ in 0..3 {
        let mut client = proxy.client(tenant);
        let id = client.run("INSERT INTO note VALUES (NULL)").insert_id.to_string();
        client.run("SET NAMES utf8mb4");
        client.run("SELECT @@SESSION.sql_mode");
        assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), id);
        client.run("SET NAMES latin1");
        assert_eq!(client.cell("SELECT @@character_set_client, LAST_INSERT_ID()"), "latin1");
        assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), id);
    }
}

/// Some settings in a row are remembered as not run; then they do run.
fn more_than_is_kept(proxy: &Proxy, tenant: &Tenant) {
    for _ in 0..3 {
        let mut client = proxy.client(tenant);
        for hour in 0..40 {
            client.run(&format!("SET time_zone = '+{:02}:00'", hour % 12));
        }
        assert_eq!(client.run("SELECT @@sql_mode").rows.len(), 1);
        assert_eq!(client.cell("SELECT FOUND_ROWS()"), "1");
        assert_eq!(client.cell("SELECT @@time_zone"), "+03:00");
    }
}

fn rights_that_are_taken_are_gone(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (tenant, other) = (stack.tenant("rights"), stack.tenant("rights_other"));
    let grant = format!("GRANT ALL ON {}.* TO {}", other.name, tenant.name);
    let revoke = format!("REVOKE ALL ON {}.* FROM {}", other.name, tenant.name);
    let mut root = stack.root(PRIMARY);
    let admin = stack.tenant("rights_admin");
    root.run(&format!("GRANT ALL ON *.* TO {} WITH GRANT OPTION", admin.name));
    root.run(&grant);
    let proxy = Setup::of(&stack).monitored().file("[auth]\nttl_s = 2").start();
    let tries = |name: &str| {
        let mut client = proxy.client(&tenant);
        let by_text = client.query(&format!("USE {name}")).map(drop);
        let by_command = client.simple(INIT_DB, name.as_bytes());
        let by_login = Client::connect(&proxy.address, &tenant.login().to(name)).map(drop);
        let codes: Vec<_> = [by_text, by_command, by_login]
            .map(|used| used.map_or_else(|failure| failure.code(), |()| 0))
            .into();
        codes
    };
    let uses = |name: &str| {
        let codes = tries(name);
        assert!(codes.iter().all(|code| *code == codes[0]), "{codes:?}");
        codes[0]
    };
    let mut admin = proxy.client(&admin);
    for _ in 0..3 {
        assert_eq!(
            [uses(&other.name), uses(&other.name), uses("nowhere")],
            [0, 0, uses("nowhere")]
        );
        admin.run(&revoke);
        assert_eq!(uses(&other.name), 1044);
        admin.run(&grant);
        assert_eq!(uses(&other.name), 0);
    }
    admin.run(&format!("DROP DATABASE {}", other.name));
    assert_ne!(uses(&other.name), 0);
    admin.run(&format!("CREATE DATABASE {}", other.name));
    assert_eq!(uses(&other.name), 0);
    // And without our knowledge, within the time that a password is trusted.
    root.run(&revoke);
    until("a right is lost", || tries(&other.name) == [1044; 3]);
}

fn sessions_do_not_see_each_other(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("globals");
    let proxy = Setup::of(&stack).monitored().start();
    let look = || proxy.client(&tenant).cell("SELECT @@div_precision_increment");
    assert_eq!([look(), look()], ["4", "4"]);
    let mut client = proxy.client(&tenant);
    client.run("SET SESSION div_precision_increment = 7");
    assert_eq!(client.cell("SELECT @@div_precision_increment"), "7");
    assert_eq!(look(), "4", "another session's");
    assert_eq!(client.cell("SELECT @@div_precision_increment"), "7");
}

fn it_can_be_turned_off(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("no_memory");
    let proxy = Setup::of(&stack).file("local_answers = false").monitored().start();
    for _ in 0..3 {
        let mut client = proxy.client(&tenant);
        let before = asked(&stack, &tenant);
        client.run("SET NAMES latin1");
        client.run("SELECT @@SESSION.sql_mode");
        client.simple(INIT_DB, tenant.name.as_bytes()).unwrap();
        client.quit();
        until("three more", || asked(&stack, &tenant) >= before + 3);
    }
    assert_eq!(answered_here(&proxy), 0.0);
}
