//! Which servers Forebay believes, and by which plugins it logs in to them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::client::{Client, Login};
use super::logins::{certificate, refusal_of};
use super::proxy::{Proxy, Setup, http, scratch};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    a_login_that_cannot_be_is_no_fault_of_the_server,
    unverified_tls,
    servers_that_somebody_vouches_for,
    a_server_that_nobody_vouches_for,
    servers_by_their_names,
);

/// Those who vouch for these servers, in one file.
fn authorities(stack: &Stack, nodes: &[&str]) -> PathBuf {
    let file = scratch("ca.pem");
    let read = |node: &&str| std::fs::read_to_string(stack.authority(node)).unwrap();
    std::fs::write(&file, nodes.iter().map(read).collect::<String>()).unwrap();
    file
}

fn with_tls(stack: &Stack, mode: &str, authorities: Option<&PathBuf>) -> Setup {
    let file = authorities.map(|file| format!("\ntls_ca = '{}'", file.display()));
    Setup::of(stack).file(&format!("[backend]\ntls = '{mode}'{}", file.unwrap_or_default()))
}

/// A read, a write, and TLS on the way to the server.
fn works(proxy: &Proxy, tenant: &Tenant) {
    proxy.client(tenant).run("SELECT 1");
    proxy.wait_for_readers(2);
    let mut client = proxy.client(tenant);
    client.run("CREATE TABLE IF NOT EXISTS seen (id INT)");
    client.run("INSERT INTO seen VALUES (1)");
    assert_eq!(client.cell("SELECT MIN(id) FROM seen"), "1");
    let spoken = client.run("SHOW SESSION STATUS LIKE 'Ssl_version'").rows[0][1].clone();
    assert_eq!(spoken.as_deref(), Some("TLSv1.3"));
    let at_replicas = || proxy.metric("forebay_route_total", &["target=\"replica\""]);
    until("a read of a replica", || {
        client.run("SELECT id FROM seen");
        at_replicas() > 0.0
    });
}

fn unverified_tls(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    for mode in ["preferred", "required"] {
        let tenant = stack.tenant(&format!("tls_{mode}"));
        works(&with_tls(&stack, mode, None).start(), &tenant);
    }
}

fn servers_that_somebody_vouches_for(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("vouched");
    let file = authorities(&stack, &NODES);
    works(&with_tls(&stack, "verify-ca", Some(&file)).start(), &tenant);
}

fn a_server_that_nobody_vouches_for(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("unvouched");
    let (stranger, _) = certificate();
    let mut proxy = with_tls(&stack, "verify-ca", Some(&stranger)).start();
    let (code, text) = refusal_of(proxy.try_client(&tenant));
    assert!(code == 1105 && text.contains("signed by none of the authorities"), "{code} {text}");
    let log = proxy.log();
    assert_eq!(log.matches("no TLS with a server").count(), 1, "told once: {log}");
    assert_eq!(proxy.metric("forebay_logins_total", &["result=\"proved\""]), 0.0);
    proxy.assert_alive();
    // MySQL makes an authority for each server: here only the primary's is known.
    let file = authorities(&stack, &[PRIMARY]);
    let proxy = with_tls(&stack, "verify-ca", Some(&file)).start();
    proxy.client(&tenant).run("SELECT 1");
    if flavour == Flavour::MariaDb {
        return proxy.wait_for_readers(2);
    }
    let opened = ["result=\"unreachable\""];
    until("the others were tried", || {
        proxy.metric("forebay_backend_logins_total", &opened) > 0.0
            || proxy.metric("forebay_server_up", &["role=\"reader\""]) == 0.0
    });
    assert_eq!(proxy.metric("forebay_server_up", &["role=\"reader\""]), 0.0);
    assert_eq!(proxy.client(&tenant).cell("SELECT 1 FROM DUAL"), "1");
}

/// MariaDB's here have a certificate for 127.0.0.1 and localhost; MySQL's own is for nobody.
fn servers_by_their_names(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("named");
    let file = authorities(&stack, &NODES);
    let setup = with_tls(&stack, "verify-identity", Some(&file));
    if flavour == Flavour::MySql97 {
        let (code, text) = refusal_of(setup.start().try_client(&tenant));
        assert!(code == 1105 && text.contains("not valid for name"), "{code} {text}");
        return;
    }
    works(&setup.start(), &tenant);
    // By another name of the same server; replicas by that name too, which is looked up.
    let named = |address: &str| address.replace("127.0.0.1", "localhost");
    let replicas: Vec<String> = setup.replicas.iter().map(|address| named(address)).collect();
    let mut by_name = setup;
    by_name.primary = named(&by_name.primary);
    by_name.replicas = replicas;
    works(&by_name.start(), &tenant);
}

#[test]
fn authorities_change_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("reissued");
    let file = authorities(&stack, &[PRIMARY]);
    let right = std::fs::read(&file).unwrap();
    let mut proxy = with_tls(&stack, "verify-ca", Some(&file)).start();
    works(&proxy, &tenant);
    let reload = || {
        let request = "POST /reload HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        http(&proxy.admin, request).unwrap()
    };
    std::fs::write(&file, "nothing").unwrap();
    let (status, told) = reload();
    assert!(status == 409 && told.contains("no certificate in it"), "{status} {told}");
    let (stranger, _) = certificate();
    std::fs::copy(stranger, &file).unwrap();
    assert_eq!(reload().0, 200);
    // Connections of before stay; a new account needs a new one.
    let other = stack.tenant("reissued_later");
    let (_, text) = refusal_of(proxy.try_client(&other));
    assert!(text.contains("signed by none"), "{text}");
    proxy.client(&tenant).run("SELECT 1");
    std::fs::write(&file, right).unwrap();
    assert_eq!(reload().0, 200);
    proxy.client(&other).run("SELECT 1");
    proxy.assert_alive();
}

/// An account of MariaDB's own plugin, used by clients that have never heard of it.
#[test]
fn ed25519_accounts() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("ed25519");
    let name = &tenant.name;
    let proxy = Proxy::start(&stack);
    let passwords = [name.as_str(), "p\u{e4}ss \u{1f9c0}", &"long ".repeat(40)];
    for password in passwords {
        stack
            .root(PRIMARY)
            .run(&format!("ALTER USER {name} IDENTIFIED VIA ed25519 USING PASSWORD('{password}')"));
        stack.sync();
        let login = Login::new(name, password).to(name);
        let mut client = Client::connect(&proxy.address, &login)
            .unwrap_or_else(|failure| panic!("{password}: {failure}"));
        client.run("CREATE TABLE IF NOT EXISTS signed (id INT)");
        client.run("INSERT INTO signed VALUES (1)");
        assert_eq!(client.cell("SELECT MIN(id) FROM signed"), "1");
        let wrong = format!("{password}x");
        assert_eq!(refusal_of(Client::connect(&proxy.address, &Login::new(name, &wrong))).0, 1045);
    }
    proxy.wait_for_readers(2);
    // The nonce is binary: one in 256 ends in a byte that looks like an end.
    let proxy = Setup::of(&stack).file("[auth]\nttl_s = 1").start();
    stack
        .root(PRIMARY)
        .run(&format!("ALTER USER {name} IDENTIFIED VIA ed25519 USING PASSWORD('{name}')"));
    stack.sync();
    let before = proxy.metric("forebay_backend_logins_total", &["result=\"refused\""]);
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = proxy.client(&tenant);
        client.run("BEGIN");
        clients.push(client);
    }
    assert_eq!(proxy.metric("forebay_backend_logins_total", &["result=\"refused\""]), before);
}

/// Anybody may bring a password that does not fit into the servers' RSA keys, or a name that a
/// server leads into a plugin that we lack.
fn a_login_that_cannot_be_is_no_fault_of_the_server(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("impossible");
    let strange = stack.tenant("impossible_plugin");
    if flavour == Flavour::MariaDb {
        let name = &strange.name;
        stack.root(PRIMARY).run(&format!("ALTER USER {name} IDENTIFIED VIA pam"));
    }
    let mut proxy = Setup::of(&stack).unix().start();
    let mut client = proxy.client(&tenant);
    let path = proxy.unix.clone().unwrap();
    for round in 0..10 {
        let password = format!("{round}").repeat(400);
        let begun = Instant::now();
        for name in [&strange.name, "nobody_at_all"] {
            let login = Login::new(name, &password);
            assert_eq!(refusal_of(Client::connect_unix(&path, &login)).0, 1045);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for a better primary");
        client.run("DO 1");
        assert_eq!(proxy.metric("forebay_server_up", &["role=\"primary\""]), 1.0);
    }
    assert!(!proxy.log().contains("after=Down"), "{}", proxy.log());
    proxy.assert_alive();
}

/// What cannot be spoken is said in the log; the client hears what it would of a wrong password.
#[test]
fn plugins_that_are_not_spoken() {
    let stack = Stack::shared(Flavour::MariaDb);
    let mut proxy = Proxy::start(&stack);
    for plugin in ["unix_socket", "pam"] {
        let tenant = stack.tenant(plugin);
        let name = &tenant.name;
        stack.root(PRIMARY).run(&format!("ALTER USER {name} IDENTIFIED VIA {plugin}"));
        let (code, text) = refusal_of(proxy.try_client(&tenant));
        let wrong = format!("Access denied for user '{name}'@'127.0.0.1' (using password: YES)");
        assert_eq!((code, text), (1045, wrong), "{plugin}");
    }
    assert!(proxy.log().contains("no way to log in by dialog"), "{}", proxy.log());
    proxy.assert_alive();
}
