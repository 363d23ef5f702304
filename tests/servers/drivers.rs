//! Command lines and PHP through Forebay: what they see is what they see on the primary itself.
//!
//! Nobody is configured: each logs in with what the server knows. The scripts are `driver.php`
//! and `driver.sql`; their outputs through Forebay and without it have to be the same.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, launcher, on_both, until};

on_both!(
    php_mysqli,
    php_pdo_emulated,
    php_pdo_native,
    php_mysqli_on_a_socket,
    php_pdo_on_a_socket,
    mysql_in_clear,
    mysql_with_tls,
    mysql_on_a_socket,
    mariadb_with_tls,
    mariadb_on_a_socket,
);

fn php_mysqli(flavour: Flavour) {
    php(flavour, "mysqli", Way::Tcp);
}

fn php_mysqli_on_a_socket(flavour: Flavour) {
    php(flavour, "mysqli", Way::Unix);
}

fn php_pdo_on_a_socket(flavour: Flavour) {
    php(flavour, "emulated", Way::Unix);
}

fn php_pdo_emulated(flavour: Flavour) {
    php(flavour, "emulated", Way::Tcp);
}

fn php_pdo_native(flavour: Flavour) {
    php(flavour, "native", Way::Tcp);
}

fn mysql_in_clear(flavour: Flavour) {
    command_line(flavour, "mysql_clear", Way::Tcp, |address, tenant| {
        mysql(address, tenant, &["--ssl-mode=DISABLED", "--get-server-public-key"])
    });
}

fn mysql_with_tls(flavour: Flavour) {
    command_line(flavour, "mysql_tls", Way::Tcp, |address, tenant| {
        mysql(address, tenant, &["--ssl-mode=REQUIRED"])
    });
}

/// On a socket it sends its password as it is, and asks for no key.
fn mysql_on_a_socket(flavour: Flavour) {
    command_line(flavour, "mysql_socket", Way::Unix, |host, tenant| mysql(host, tenant, &[]));
}

fn mariadb_on_a_socket(flavour: Flavour) {
    command_line(flavour, "mariadb_socket", Way::Unix, |host, tenant| mariadb(host, tenant, &[]));
}

fn mariadb_with_tls(flavour: Flavour) {
    command_line(flavour, "mariadb_tls", Way::Tcp, |address, tenant| {
        mariadb(address, tenant, &["--ssl"])
    });
}

/// How the client comes to Forebay.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tcp,
    Unix,
}

fn start(stack: &Stack, way: Way) -> Proxy {
    let setup = Setup::of(stack);
    match way {
        Way::Tcp => setup.start(),
        Way::Unix => setup.unix().start(),
    }
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

/// Both outputs, one below the other; a program that is missing says how to install it.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}. Install it with: make install", command.get_program())
    });
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn php(flavour: Flavour, driver: &str, way: Way) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant(&format!("php_{driver}_{way:?}").to_lowercase());
    let proxy = start(&stack, way);
    let ask = |address: &str, more: &[&str]| {
        let name = &tenant.name;
        let arguments = [driver, address, name, name, name];
        output_of(Command::new("php").arg(here("driver.php")).args(arguments).args(more))
    };
    let direct = ask(stack.address(PRIMARY), &[]);
    assert!(direct.contains("still well: "), "without Forebay: {direct}");
    // Twice: the second time logs in by what was learned, on pooled connections.
    for time in ["first", "second"] {
        assert_same(&direct, &ask(&proxy.host(), &[]), time);
    }
    // And a visitor who comes when the replicas have it all is served by one of them.
    let seen = ask(stack.address(PRIMARY), &["look"]);
    let at_replicas = || proxy.metric("forebay_route_total", &["target=\"replica\""]);
    let before = at_replicas();
    until("a read of a replica", || {
        assert_same(&seen, &ask(&proxy.host(), &["look"]), "a look");
        at_replicas() > before
    });
}

fn command_line(
    flavour: Flavour,
    name: &str,
    way: Way,
    through: impl Fn(&str, &Tenant) -> Command,
) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant(name);
    let proxy = start(&stack, way);
    let ask = |mut command: Command| {
        let script = File::open(here("driver.sql")).unwrap();
        output_of(command.stdin(script))
    };
    // Each client speaks to its own kind of server directly; the other it may not be able to.
    let direct = ask(match flavour {
        Flavour::MariaDb => mariadb(stack.address(PRIMARY), &tenant, &[]),
        Flavour::MySql97 | Flavour::MySql56 => {
            mysql(stack.address(PRIMARY), &tenant, &["--ssl-mode=REQUIRED"])
        }
    });
    assert!(direct.contains("ERROR 1146 (42S02)"), "without Forebay: {}", cut(&direct));
    assert_same(&direct, &ask(through(&proxy.host(), &tenant)), name);
}

fn arguments(address: &str, tenant: &Tenant) -> Vec<String> {
    let (host, port) = address.split_once(':').unwrap();
    let name = &tenant.name;
    let place = if port.starts_with('/') { "socket" } else { "port" };
    vec![
        "--no-defaults".into(),
        format!("--host={host}"),
        format!("--{place}={port}"),
        format!("--user={name}"),
        format!("--password={name}"),
        format!("--database={name}"),
        "--default-character-set=utf8mb4".into(),
        "--max-allowed-packet=64M".into(),
        "--batch".into(),
        "--force".into(),
    ]
}

pub(crate) fn mysql(address: &str, tenant: &Tenant, more: &[&str]) -> Command {
    let mut command = mysql_program();
    command.args(arguments(address, tenant)).args(more);
    command
}

/// Where `make install` keeps what it fetched.
pub(crate) fn cache() -> PathBuf {
    let said = Command::new(launcher()).arg("cache").output().expect("deploy/local/stack");
    PathBuf::from(String::from_utf8(said.stdout).expect("a path").trim_end())
}

/// MySQL's own command line.
pub(crate) fn mysql_program() -> Command {
    let folder = std::env::var_os("FOREBAY_MYSQL97").map(PathBuf::from);
    let mut command = Command::new(folder.unwrap_or_else(|| cache().join("mysql97")).join("run"));
    command.arg("mysql");
    command
}

pub(crate) fn mariadb(address: &str, tenant: &Tenant, more: &[&str]) -> Command {
    let mut command = Command::new("mariadb");
    command.args(arguments(address, tenant)).args(more);
    command
}

fn cut(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// Line by line, so that a difference is seen where it is.
#[track_caller]
fn assert_same(direct: &str, through: &str, what: &str) {
    let (expected, found) = (told(direct), told(through));
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(cut(found), cut(expected), "{what}");
        assert!(found == expected, "{what}: long lines differ");
    }
    assert_eq!(found.len(), expected.len(), "{what}: {}", cut(through));
}

/// What the server told: without the clients' own warnings, and without the statements that
/// mariadb, other than mysql, repeats between two rulers when they fail.
fn told(output: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let lines = output.lines().filter(|line| {
        let is_ruler = *line == "--------------";
        is_quoted ^= is_ruler;
        !is_ruler && !is_quoted && !line.is_empty() && !line.contains("[Warning]")
    });
    lines.collect()
}
