//! LOAD DATA LOCAL: a client's own file, only for who may, and only when it was asked for.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use forebay::wire::capability::Capabilities;

use super::client::Client;
use super::drivers::{mariadb, mysql, output_of};
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both};

on_both!(
    command_lines_load_files,
    php_loads_a_file,
    packet_by_packet,
    who_may_not_send_files,
    a_server_that_asks_for_more,
);

/// In the files that programs send.
const ROWS: u32 = 20_000;
/// LOAD DATA LOCAL is disabled.
const OFF: [u16; 3] = [1148, 3948, 4166];

fn prepare(flavour: Flavour, name: &str) -> (Stack, Tenant) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant(name);
    let table = format!("CREATE TABLE {}.loaded (n INT PRIMARY KEY, text VARCHAR(9))", tenant.name);
    stack.root(PRIMARY).run(&table);
    stack.sync();
    (stack, tenant)
}

fn start(stack: &Stack) -> Proxy {
    Setup::of(stack).file("local_infile = true").start()
}

fn file(rows: u32) -> PathBuf {
    let path = scratch("rows.txt");
    let lines: String = (0..rows).map(|n| format!("{n}\tr{n}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    path
}

fn load(path: &std::path::Path) -> String {
    format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE loaded", path.display())
}

fn command_lines_load_files(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "load_cli");
    let proxy = start(&stack);
    let path = file(ROWS);
    let sql = format!("{}; SELECT COUNT(*), MAX(n) FROM loaded; TRUNCATE loaded", load(&path));
    let seen = format!("{ROWS}\t{}", ROWS - 1);
    for mut command in [
        mysql(&proxy.address, &tenant, &["--ssl-mode=REQUIRED"]),
        mariadb(&proxy.address, &tenant, &["--ssl"]),
    ] {
        let told = output_of(command.args(["--local-infile=1", "--execute", &sql]));
        assert!(told.contains(&seen), "{told}");
    }
    std::fs::remove_file(&path).unwrap();
}

fn php_loads_a_file(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "load_php");
    let proxy = start(&stack);
    let path = file(1000);
    let (host, port) = proxy.address.split_once(':').unwrap();
    let name = &tenant.name;
    let script = format!(
        "$it = mysqli_init(); $it->options(MYSQLI_OPT_LOCAL_INFILE, true); \
         $it->real_connect('{host}', '{name}', '{name}', '{name}', {port}); \
         $it->query(\"{}\"); echo $it->affected_rows, ' '; \
         echo $it->query('SELECT SUM(n) FROM loaded')->fetch_row()[0];",
        load(&path)
    );
    let mut php = Command::new("php");
    php.args(["-d", "mysqli.allow_local_infile=1", "-r", &script]);
    assert_eq!(output_of(&mut php), "1000 499500");
}

/// Sends what was asked for, in packets of these sizes; what the server says to it.
fn send(client: &mut Client, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut sequence, request) = client.read().unwrap();
    assert_eq!(request[0], 0xfb, "{request:?}");
    for piece in pieces.iter().copied().chain([&b""[..]]) {
        sequence = sequence.wrapping_add(1);
        // A packet of a whole chunk is followed by an empty one, which is not the last.
        client.send(sequence, piece).unwrap();
        sequence = sequence.wrapping_add((piece.len() / 0xff_ffff) as u8);
    }
    let (answered, payload) = client.read().unwrap();
    assert_eq!(answered, sequence.wrapping_add(1), "the numbers go on");
    payload
}

fn packet_by_packet(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "load_raw");
    let mut proxy = start(&stack);
    let login = tenant.login().with(Capabilities::LOCAL_FILES);
    let mut client = Client::connect(&proxy.address, &login).unwrap();
    let sql = b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE loaded";
    client.run("START TRANSACTION");
    let mut chunk = b"1\t".to_vec();
    chunk.resize(0xff_ffff, b'x');
    for (pieces, rows) in [
        (vec![], 0),
        (vec![&b"1\ta\n2\t"[..], b"b\n", b"3", b"\tc\n"], 3),
        // A value that is too long is cut, with a warning.
        (vec![&chunk[..], b"\n2\tb\n"], 2),
    ] {
        client.run("SAVEPOINT start_here");
        client.command(3, sql).unwrap();
        assert_eq!(send(&mut client, &pieces)[0], 0, "{rows} rows");
        assert_eq!(client.cell("SELECT COUNT(*) FROM loaded"), rows.to_string());
        client.run("ROLLBACK TO SAVEPOINT start_here");
    }
    // The transaction is the same one still; and so many that the numbers of packets come round.
    client.command(3, sql).unwrap();
    let rows: Vec<_> = (0..600).map(|n| format!("{n}\te\n")).collect();
    let pieces: Vec<_> = rows.iter().map(String::as_bytes).collect();
    send(&mut client, &pieces);
    client.run("COMMIT");
    assert_eq!(client.cell("SELECT COUNT(*) FROM loaded"), "600");
    // What the server refuses after the file.
    client.command(3, b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE missing").unwrap();
    let (_, payload) = client.read().unwrap();
    assert_eq!(payload[0], 0xff);
    // Whoever leaves in the middle has loaded nothing.
    client.command(3, sql).unwrap();
    let (sequence, _) = client.read().unwrap();
    client.send(sequence + 1, b"6000\tf\n7000\tg\n").unwrap();
    drop(client);
    let mut other = proxy.client(&tenant);
    other.run("ALTER TABLE loaded ADD COLUMN free INT");
    assert_eq!(other.cell("SELECT COUNT(*) FROM loaded"), "600");
    proxy.assert_alive();
}

fn who_may_not_send_files(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "load_off");
    let sql = load(&file(3));
    // A client that did not say that it can, where others may.
    let mut proxy = start(&stack);
    let mut client = proxy.client(&tenant);
    client.run("START TRANSACTION");
    client.run("INSERT INTO loaded VALUES (1, 'one')");
    assert_eq!(client.refused(&sql), 3948);
    assert_eq!(client.cell("SELECT COUNT(*) FROM loaded"), "1", "the transaction goes on");
    client.run("ROLLBACK");
    // In a form that is not looked into the server asks all the same.
    client.run("START TRANSACTION");
    let hidden = format!("/*!50000 {sql} */");
    assert_eq!(client.refused(&hidden), 3948);
    assert_eq!(client.refused("INSERT INTO loaded VALUES (2, 'two')"), 1213, "it is cut");
    client.run("ROLLBACK");
    // Several statements.
    let wants = Capabilities::LOCAL_FILES.with(Capabilities::MULTI_STATEMENTS);
    let mut able = Client::connect(&proxy.address, &tenant.login().with(wants)).unwrap();
    assert_eq!(able.refused(&format!("{sql}; SELECT 1")), 3948);
    assert_eq!(able.cell("SELECT COUNT(*) FROM loaded"), "0");
    proxy.assert_alive();
    // As it is by itself: nobody may.
    let mut proxy = Proxy::start(&stack);
    let mut client = Client::connect(&proxy.address, &tenant.login().with(wants)).unwrap();
    assert!(!client.greeting.capabilities.has(Capabilities::LOCAL_FILES));
    let code = client.refused(&sql);
    assert!(OFF.contains(&code), "{code}");
    assert_eq!(client.cell("SELECT COUNT(*) FROM loaded"), "0");
    let told = output_of(mysql(&proxy.address, &tenant, &["--ssl-mode=REQUIRED"]).args([
        "--local-infile=1",
        "--execute",
        &sql,
    ]));
    assert!(told.contains("ERROR"), "{told}");
    proxy.assert_alive();
}

/// A server that asks for a file in answer to what is no LOAD DATA.
fn a_server_that_asks_for_more(flavour: Flavour) {
    let (stack, tenant) = prepare(flavour, "load_rogue");
    let rogue = subvert(stack.address(PRIMARY));
    let setup = Setup { primary: rogue, ..Setup::of(&stack) };
    let mut proxy = setup.file("local_infile = true\nreplicas = []").replicas(&[]).start();
    let login = tenant.login().with(Capabilities::LOCAL_FILES);
    let mut client = Client::connect(&proxy.address, &login).unwrap();
    for sql in ["SELECT 'thief'", "INSERT INTO loaded VALUES (1, 'thief')"] {
        client.run("SELECT 1 + 1");
        client.command(3, sql.as_bytes()).unwrap();
        let (_, payload) = client.read().unwrap();
        assert_eq!(payload.get(..3), Some(&[0xff, 0x6c, 0x0f][..]), "3948: {payload:?}");
    }
    assert_eq!(client.cell("SELECT COUNT(*) FROM loaded"), "0");
    proxy.assert_alive();
}

/// Stands before a server and asks for /etc/passwd instead of passing on what names a thief.
fn subvert(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&server) else { continue };
            let (to_client, from_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass_back(from_server, to_client));
            thread::spawn(move || pass_on(client, server));
        }
    });
    address
}

fn pass_back(mut server: TcpStream, mut client: TcpStream) {
    let _broken_or_done = io::copy(&mut server, &mut client);
    let _gone = client.shutdown(Shutdown::Both);
}

fn pass_on(mut client: TcpStream, mut server: TcpStream) -> Option<()> {
    let mut block = [0; 64 * 1024];
    loop {
        let len = client.read(&mut block).ok().filter(|len| *len > 0);
        let Some(bytes) = len.and_then(|len| block.get(..len)) else {
            return server.shutdown(Shutdown::Both).ok();
        };
        if bytes.windows(5).any(|word| word == b"thief") {
            client.write_all(b"\x0c\0\0\x01\xfb/etc/passwd").ok()?;
        } else {
            server.write_all(bytes).ok()?;
        }
    }
}
