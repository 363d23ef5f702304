//! The ways in: the Unix socket, behind a balancer that announces, certificates and passwords that
//! change, and what wrong passwords cost those who bring none.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::client::{Client, Login};
use super::haproxy::Haproxy;
use super::logins::{certificate, refusal_of};
use super::proxy::{Proxy, Setup, free_address, http, run, scratch};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(behind_haproxy);

/// Where the tests' balancers stand; clients come from other addresses of this machine.
const BALANCER: &str = "proxy_protocol_from = ['127.0.0.1/32']";

#[test]
fn a_socket_is_as_good_as_tls() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("socket");
    let proxy = Setup::of(&stack).file("[tls]\nrequire = true").unix().start();
    let socket = proxy.unix.clone().unwrap();
    // It is asked for its password, and sends it as it is.
    let login = tenant.login().barely();
    let mut client = Client::connect_unix(&socket, &login).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(client.cell("SELECT 1"), "1");
    assert_eq!(refusal_of(proxy.try_client(&tenant)).0, 3159, "on plain TCP");
    let (_, text) = refusal_of(Client::connect_unix(&socket, &Login::new(&tenant.name, "wrong")));
    assert!(text.contains("'@'localhost'"), "{text}");
}

#[test]
fn a_socket_lives_as_long_as_the_program() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("socket_life");
    let setup = Setup::of(&stack).file("[drain]\ndelay_s = 0").unix();
    let mut killed = setup.start();
    let socket = killed.unix.take().unwrap();
    // Somebody listens: a second one must not take it away.
    let path = socket.to_str().unwrap();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--admin-http", "off", "--unix", path];
    let output = run(&[&arguments[..], &["--primary", stack.address(PRIMARY)]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"), "{output:?}");
    Client::connect_unix(&socket, &tenant.login()).unwrap();
    drop(killed);
    assert!(socket.exists(), "who is killed leaves it behind");

    let mut proxy = setup.start();
    let mut client = Client::connect_unix(&socket, &tenant.login()).unwrap();
    client.command(3, b"SELECT SLEEP(1), 'whole'").unwrap();
    proxy.signal("TERM");
    until("nobody listens", || !socket.exists());
    let rows = client.answers().unwrap();
    assert_eq!(rows[0].rows[0][1].as_deref(), Some("whole"));
    client.quit();
    assert_eq!(proxy.wait_for_end(Duration::from_secs(20)).code(), Some(0));
}

/// As on a node of a cluster: the new one starts while the old one serves, and relieves it.
#[test]
fn a_socket_is_handed_over() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("socket_turns");
    let setup = Setup::of(&stack).file("unix_takeover = true\n[drain]\ndelay_s = 0").unix();
    let mut old = setup.start();
    let socket = old.unix.take().unwrap();
    until("somebody listens", || socket.exists());
    let mut client = Client::connect_unix(&socket, &tenant.login()).unwrap();
    let new = setup.start();
    until("newcomers are the new one's", || {
        Client::connect_unix(&socket, &tenant.login()).unwrap();
        new.metric("forebay_client_connects_total", &[]) > 0.0
    });
    assert_eq!(client.cell("SELECT 1"), "1", "who was there stays with the old one");
    client.quit();
    old.signal("TERM");
    assert_eq!(old.wait_for_end(Duration::from_secs(20)).code(), Some(0));
    Client::connect_unix(&socket, &tenant.login()).expect("it left the new one's socket alone");
}

/// A TCP connection from another address of this machine.
fn connect_from(from: &str, to: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}

/// The host that an error names, for a client that sends `header` first.
fn host_behind(proxy: &Proxy, from: &str, header: &[u8], tenant: &Tenant) -> String {
    let mut stream = connect_from(from, &proxy.address);
    std::io::Write::write_all(&mut stream, header).unwrap();
    let text = match Client::greeted_over(stream) {
        Ok(mut client) => {
            let wrong = Login::new(&tenant.name, "wrong");
            refusal_of(client.log_in(&wrong).map(|_| client)).1
        }
        Err(failure) => return failure.to_string(),
    };
    let (_, behind) = text.split_once("'@'").unwrap_or_else(|| panic!("{text}"));
    behind.split('\'').next().unwrap().to_owned()
}

#[test]
fn a_balancer_announces_whom_it_passes_on() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("announced");
    let mut proxy = Setup::of(&stack).file(BALANCER).start();
    let check = |from: &str, header: &[u8], expected: &str| {
        let host = host_behind(&proxy, from, header, &tenant);
        assert!(host.contains(expected), "{from} {header:?}: {host}");
    };
    let binary = |command: u8, family: u8, body: &[u8]| {
        let len = u16::try_from(body.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, body].concat()
    };
    check("127.0.0.1", b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 3306\r\n", "203.0.113.9");
    check("127.0.0.1", b"PROXY TCP6 2001:db8::9 ::1 1234 3306\r\n", "2001:db8::9");
    check("127.0.0.1", b"PROXY UNKNOWN\r\n", "127.0.0.1");
    let v4 = [203, 0, 113, 10, 127, 0, 0, 1, 4, 210, 12, 234];
    check("127.0.0.1", &binary(0x21, 0x11, &v4), "203.0.113.10");
    check("127.0.0.1", &binary(0x20, 0, b""), "127.0.0.1");
    check("127.0.0.1", &binary(0x21, 0x31, &[0; 216]), "localhost");
    // Who must announce and does not is told so.
    check("127.0.0.1", b"\x20\0\0\x01", "must begin with a PROXY header");
    check("127.0.0.1", &binary(0x21, 0x11, &v4[..4]), "must begin with a PROXY header");
    // Who may not is greeted at once; what it sends then is a bad packet.
    check("127.0.0.2", b"", "127.0.0.2");
    let stream = connect_from("127.0.0.2", &proxy.address);
    let mut client = Client::greeted_over(stream).unwrap();
    client.send_bytes(b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 3306\r\n").unwrap();
    let (_, payload) = client.read().unwrap();
    assert_eq!(payload.first(), Some(&0xff));
    proxy.assert_alive();
}

fn behind_haproxy(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("haproxied");
    let mut proxy = Setup::of(&stack).file(BALANCER).start();
    for (options, with_check) in [
        ("send-proxy", false),
        ("send-proxy-v2", false),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", false),
        ("send-proxy check check-send-proxy inter 100", true),
        ("send-proxy-v2 check check-send-proxy inter 100", true),
    ] {
        let haproxy = Haproxy::start(&proxy.address, options, with_check);
        let stream = connect_from("127.0.0.3", &haproxy.address);
        let mut client = Client::greeted_over(stream).expect("a greeting");
        let (_, text) =
            refusal_of(client.log_in(&Login::new(&tenant.name, "wrong")).map(|_| client));
        assert!(text.contains("'@'127.0.0.3'"), "{options}: {text}");
        let mut client = Client::connect(&haproxy.address, &tenant.login())
            .unwrap_or_else(|failure| panic!("{options}: {failure}"));
        assert_eq!(client.cell("SELECT 1"), "1", "{options}");
    }
    // Its own clients without a header are refused, and PHP comes through with one.
    let haproxy = Haproxy::start(&proxy.address, "", false);
    let failure = Client::connect(&haproxy.address, &tenant.login()).err().unwrap();
    assert!(failure.to_string().contains("PROXY header"), "{failure}");
    let haproxy = Haproxy::start(&proxy.address, "send-proxy-v2", false);
    let script = "$l = mysqli_init(); [$h, $p] = explode(':', $argv[1]); \
                  $l->real_connect($h, $argv[2], $argv[2], $argv[2], (int) $p); \
                  echo $l->query('SELECT 6 * 7')->fetch_row()[0];";
    let output = Command::new("php").args(["-r", script, &haproxy.address, &tenant.name]).output();
    let output = output.expect("php is missing; install it with: make install");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42", "{output:?}");
    proxy.assert_alive();
}

/// Who a server says it is: its certificate's number, by openssl's command.
fn certificate_shown(address: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", "mysql", "-connect", address])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl; install it with: apt-get install openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("{output:?}"));
    let end = text.find("-----END CERTIFICATE-----").unwrap();
    text[begin..end].to_owned()
}

fn reload(proxy: &Proxy) -> (u16, String) {
    let request = "POST /reload HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    http(&proxy.admin, request).unwrap()
}

#[test]
fn certificates_change_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("renewed");
    let (certificate_file, key_file) = certificate();
    let file = format!(
        "[tls]\ncertificate = '{}'\nkey = '{}'",
        certificate_file.display(),
        key_file.display()
    );
    let mut proxy = Setup::of(&stack).file(&file).start();
    let mut client = proxy.client(&tenant);
    let first = certificate_shown(&proxy.address);
    // A key that does not fit changes nothing, and says so.
    let (next_certificate, next_key) = certificate();
    std::fs::copy(&next_key, &key_file).unwrap();
    proxy.signal("HUP");
    until("the log tells", || proxy.log().contains("nothing was reloaded"));
    assert_eq!(certificate_shown(&proxy.address), first);
    let (status, told) = reload(&proxy);
    assert_eq!(status, 409, "{told}");
    // The certificate that fits it: seen without a word.
    std::fs::copy(&next_certificate, &certificate_file).unwrap();
    until("the new certificate", || certificate_shown(&proxy.address) != first);
    let second = certificate_shown(&proxy.address);
    // And by a signal.
    let (next_certificate, next_key) = certificate();
    std::fs::copy(&next_certificate, &certificate_file).unwrap();
    std::fs::copy(&next_key, &key_file).unwrap();
    proxy.signal("HUP");
    until("the newest", || certificate_shown(&proxy.address) != second);
    assert_eq!(client.cell("SELECT 1"), "1", "who is in stays in");
    proxy.assert_alive();
}

#[test]
fn passwords_change_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("rotated");
    let file = scratch("password");
    let write = |password: &str| std::fs::write(&file, format!("{password}\n")).unwrap();
    let set = |password: &str| {
        let name = &tenant.name;
        stack.root(PRIMARY).run(&format!("ALTER USER {name} IDENTIFIED BY '{password}'"));
        stack.sync();
    };
    write(&tenant.name);
    let listed = |path: &Path| {
        format!("[[users]]\nname = '{}'\npassword_file = '{}'", tenant.name, path.display())
    };
    let proxy = Setup::of(&stack).file(&listed(&file)).start();
    let log_in = |password: &str| {
        let login = Login::new(&tenant.name, password).natively();
        Client::connect(&proxy.address, &login)
    };
    log_in(&tenant.name).unwrap_or_else(|f| panic!("{f}")).run("SELECT 1");
    // An empty file is a mistake: what was known stays known.
    write("");
    let (status, told) = reload(&proxy);
    assert!(status == 409 && told.contains("must hold a password"), "{status} {told}");
    log_in(&tenant.name).unwrap_or_else(|f| panic!("{f}"));
    set("second");
    write("second");
    let (status, told) = reload(&proxy);
    assert_eq!(status, 200, "{told}");
    assert!(!told.contains("second") && !proxy.log().contains("second"));
    log_in("second").unwrap_or_else(|f| panic!("{f}")).run("SELECT 1");
    assert_eq!(refusal_of(log_in(&tenant.name)).0, 1045, "the old one");
    // As Kubernetes does it: a link is swapped, and nobody says so.
    set("third");
    let (next, link) = (scratch("password"), scratch("link"));
    std::fs::write(&next, "third").unwrap();
    std::os::unix::fs::symlink(&next, &link).unwrap();
    std::fs::rename(&link, &file).unwrap();
    until("the third password", || log_in("third").is_ok());
    log_in("third").unwrap().run("SELECT 1");
    // The servers are watched by the account that logged in, with the password that it has now:
    // cut off, it comes back.
    let mut root = stack.root(PRIMARY);
    root.run(&format!("KILL USER {}", tenant.name));
    let watchers = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'",
        tenant.name
    );
    until("watched again", || {
        // The next login is asked to lend its name.
        drop(log_in("third"));
        root.cell(&watchers) != "0" && proxy.metric("forebay_server_up", &["\"primary\""]) == 1.0
    });
}

/// Forebay's own accounts: who watches the servers, and who looks at the console.
#[test]
fn its_own_passwords_change_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let watcher = stack.tenant("watcher");
    let (watch, look) = (scratch("watch"), scratch("look"));
    std::fs::write(&watch, &watcher.name).unwrap();
    std::fs::write(&look, "first").unwrap();
    let console = free_address();
    let file = format!(
        "[monitor]\nuser = '{}'\npassword_file = '{}'\n\
         [admin]\nsql = '{console}'\npassword_file = '{}'",
        watcher.name,
        watch.display(),
        look.display()
    );
    let proxy = Setup::of(&stack).file(&file).start();
    proxy.wait_for_readers(2);
    let show = |password: &str| {
        let mut client = Client::connect(&console, &Login::new("admin", password))?;
        client.query("SHOW BACKENDS")
    };
    assert_eq!(show("first").unwrap().rows.len(), 3);
    let rename = format!("ALTER USER {} IDENTIFIED BY 'second'", watcher.name);
    stack.root(PRIMARY).run(&rename);
    stack.sync();
    std::fs::write(&watch, "second").unwrap();
    std::fs::write(&look, "second").unwrap();
    assert_eq!(reload(&proxy).0, 200);
    assert_eq!(show("second").unwrap().rows.len(), 3);
    assert_eq!(show("first").err().map(|failure| failure.code()), Some(1045));
    // The lines that it watches by are cut: it comes back with the new password.
    let mut root = stack.root(REPLICAS[0]);
    let mine = format!(
        "SELECT COALESCE(MAX(id), 0) FROM information_schema.processlist WHERE user = '{}'",
        watcher.name
    );
    let old = root.cell(&mine);
    assert_ne!(old, "0");
    root.run(&format!("KILL USER {}", watcher.name));
    until("it watches again", || ![old.as_str(), "0"].contains(&root.cell(&mine).as_str()));
}

/// A reload takes over what it can; what it cannot is not shown as if it had been.
#[test]
fn the_console_shows_what_is_in_force() {
    let stack = Stack::shared(Flavour::MariaDb);
    let (look, other) = (scratch("look"), scratch("other"));
    std::fs::write(&look, "first").unwrap();
    std::fs::write(&other, "second").unwrap();
    let console = free_address();
    let text = |user: &str, file: &Path, mode: &str| {
        format!(
            "mode = '{mode}'\n[admin]\nsql = '{console}'\nuser = '{user}'\npassword_file = '{}'\n",
            file.display()
        )
    };
    let proxy = Setup::of(&stack).file(&text("looker", &look, "primary")).start();
    let show = |user: &str, password: &str| {
        let mut client = Client::connect(&console, &Login::new(user, password)).unwrap();
        let rows = client.query("SHOW CONFIG").unwrap().rows;
        let value = |key: &str| {
            let row = rows.iter().find(|row| row[0].as_deref() == Some(key));
            row.and_then(|row| row[1].clone()).unwrap_or_else(|| panic!("no {key}"))
        };
        ["admin.user", "admin.password_file", "mode"].map(value)
    };
    let shown = |file: &Path| file.display().to_string();
    assert_eq!(show("looker", "first"), ["looker".to_owned(), shown(&look), "primary".into()]);
    // A mistake changes nothing, nor what is shown.
    std::fs::write(proxy.config(), text("watcher", &other, "nonsense")).unwrap();
    assert_eq!(reload(&proxy).0, 409);
    assert_eq!(show("looker", "first"), ["looker".to_owned(), shown(&look), "primary".into()]);
    std::fs::write(proxy.config(), text("watcher", &other, "split")).unwrap();
    let (status, told) = reload(&proxy);
    assert!(status == 200 && told.contains("a restart will change mode"), "{status} {told}");
    assert_eq!(show("watcher", "second"), ["watcher".to_owned(), shown(&other), "primary".into()]);
    // Back again: nothing is left to be changed by a restart.
    std::fs::write(proxy.config(), text("watcher", &other, "primary")).unwrap();
    let (status, told) = reload(&proxy);
    assert!(status == 200 && !told.contains("restart"), "{status} {told}");
}

#[test]
fn wrong_passwords_cost_others_nothing() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("flooded");
    let mut proxy = Setup::of(&stack).file("[auth]\nttl_s = 1").start();
    proxy.client(&tenant).run("SELECT 1");
    let asked = || {
        let failed = stack.root(PRIMARY).cell(
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = 'ACCESS_DENIED_ERRORS'",
        );
        failed.parse::<u64>().unwrap()
    };
    let (before, begun) = (asked(), Instant::now());
    let guesses = |thread: usize| {
        for guess in 0..1000 {
            let password = format!("guess {thread} {guess}");
            let failed = Client::connect(&proxy.address, &Login::new(&tenant.name, &password));
            let code = failed.err().map_or(0, |failure| failure.code());
            assert!([1045, 1129].contains(&code), "{code}");
        }
    };
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        let flood: Vec<_> = (0..4).map(|thread| scope.spawn(move || guesses(thread))).collect();
        while !flood.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let begun = Instant::now();
            proxy.client(&tenant).run("SELECT 1");
            waits.push(begun.elapsed());
        }
    });
    let (asked, took) = (asked() - before, begun.elapsed());
    waits.sort();
    let slow = waits[waits.len() * 99 / 100];
    eprintln!(
        "4000 guesses in {took:?}: {asked} at the server; {} logins, p50 {:?}, p99 {slow:?}",
        waits.len(),
        waits[waits.len() / 2]
    );
    let may = 20 + took.as_millis() as u64 / 200 + 1;
    assert!(asked <= may, "{asked} reached the server, {may} may");
    assert!(proxy.metric("forebay_logins_total", &["result=\"throttled\""]) >= 3000.0);
    assert!(slow < Duration::from_millis(500), "{slow:?}");
    // Another source is not held to account for it.
    let stream = connect_from("127.0.0.9", &proxy.address);
    let mut other = Client::greeted_over(stream).unwrap();
    let refused = other.log_in(&Login::new(&tenant.name, "once")).err().map(|f| f.code());
    assert_eq!(refused, Some(1045));
    proxy.assert_alive();
}
