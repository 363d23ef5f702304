//! Every client on every server, in clear and over TLS, by every plugin that the server has.
//!
//! A cell is a login of an account that Forebay has never seen, a write, and that row read back. A
//! row that cannot be says why. The table is printed. Every client speaks caching_sha2_password to
//! Forebay, whatever plugin the account has.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::drivers::{cache, mysql_program};
use super::logins::certificate;
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, NODES, PRIMARY, Stack};

#[test]
fn on_mariadb() {
    fill(Flavour::MariaDb);
}

#[test]
fn on_mysql97() {
    fill(Flavour::MySql97);
}

#[test]
fn on_mysql56() {
    fill(Flavour::MySql56);
}

const CLIENTS: [&str; 8] =
    ["mysqli", "PDO", "mysqli p:", "mysql 9.7", "mariadb", "PyMySQL", "mysql2", "mysql_async"];
const PLUGINS: [&str; 3] = ["native", "caching_sha2", "ed25519"];

/// What an account of that plugin is made with, or why there is none.
fn identified(flavour: Flavour, plugin: &str, password: &str) -> Result<String, &'static str> {
    match (flavour, plugin) {
        (Flavour::MariaDb, "native") => Ok(format!("IDENTIFIED BY '{password}'")),
        (Flavour::MariaDb, "ed25519") => {
            Ok(format!("IDENTIFIED VIA ed25519 USING PASSWORD('{password}')"))
        }
        (Flavour::MariaDb, _) => Err("MariaDB 10.11 has no caching_sha2_password"),
        (_, "ed25519") => Err("it is MariaDB's own"),
        (Flavour::MySql97, "native") => Err("MySQL 9 has no mysql_native_password"),
        (Flavour::MySql97, _) => Ok(format!("IDENTIFIED BY '{password}'")),
        (Flavour::MySql56, "native") => Ok(format!("IDENTIFIED BY '{password}'")),
        (Flavour::MySql56, _) => Err("caching_sha2_password came with MySQL 8"),
    }
}

fn fill(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let mut failed = Vec::new();
    eprintln!("{flavour:?}: {:12} {}", "", CLIENTS.map(|client| format!("{client:12}")).concat());
    for plugin in PLUGINS {
        for has_tls in [false, true] {
            let way = if has_tls { "TLS" } else { "plain" };
            let cells = match identified(flavour, plugin, "") {
                Ok(_) => row(&stack, plugin, has_tls, &mut failed),
                Err(why) => format!("cannot: {why}"),
            };
            eprintln!("{flavour:?}: {plugin:12} {way:6} {cells}");
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

fn row(stack: &Stack, plugin: &str, has_tls: bool, failed: &mut Vec<String>) -> String {
    let (certificate, key) = certificate();
    let proxy = start(stack, has_tls, &certificate, &key);
    let mut cells = String::new();
    for (at, client) in CLIENTS.iter().enumerate() {
        let name = format!("m{at}_{}_{}", &plugin[..3], u8::from(has_tls));
        let account = Account::new(stack, plugin, &name);
        let ca = has_tls.then_some(certificate.as_path());
        let told = account.ask(client, &proxy.address, ca);
        let is_well = told.trim_end() == account.number;
        if !is_well {
            failed.push(format!("{client} {plugin} tls={has_tls}: {told}"));
        }
        cells.push_str(if is_well { "ok          " } else { "WRONG       " });
    }
    cells
}

/// TLS on one side is TLS on the other too, but for this MySQL 5.6, which knows TLS 1.0 only.
fn start(stack: &Stack, has_tls: bool, certificate: &Path, key: &Path) -> Proxy {
    let mut setup = Setup::of(stack);
    if has_tls {
        setup = setup.file(&format!(
            "[tls]\nrequire = true\ncertificate = '{}'\nkey = '{}'",
            certificate.display(),
            key.display()
        ));
    }
    if has_tls && stack.flavour != Flavour::MySql56 {
        let file = scratch("ca.pem");
        let read = |node: &&str| std::fs::read_to_string(stack.authority(node)).unwrap();
        std::fs::write(&file, NODES.iter().map(read).collect::<String>()).unwrap();
        let tls_ca = file.display();
        setup = setup.file(&format!("[backend]\ntls = 'verify-ca'\ntls_ca = '{tls_ca}'"));
    }
    setup.start()
}

/// One that was never used: its first login is the hard one.
struct Account {
    name: String,
    password: String,
    database: String,
    number: String,
}

impl Account {
    fn new(stack: &Stack, plugin: &str, name: &str) -> Self {
        let tenant = stack.tenant(name);
        let name = tenant.name;
        let password = format!("a secret of {name}");
        let mut root = stack.root(PRIMARY);
        let identified = identified(stack.flavour, plugin, &password).unwrap();
        root.run(&format!("DROP USER {name}"));
        root.run(&format!("CREATE USER {name} {identified}"));
        root.run(&format!("GRANT ALL ON {name}.* TO {name}"));
        root.run(&format!("CREATE TABLE {name}.matrix (n INT PRIMARY KEY)"));
        let number = name.bytes().map(u32::from).sum::<u32>().to_string();
        Self { database: name.clone(), password, name, number }
    }

    /// What the client prints.
    fn ask(&self, client: &str, address: &str, ca: Option<&Path>) -> String {
        let (host, port) = address.split_once(':').unwrap();
        let mut command = match client {
            "mysqli" | "PDO" | "mysqli p:" => {
                let driver = match client {
                    "PDO" => "pdo",
                    "mysqli" => "mysqli",
                    _ => "persistent",
                };
                let mut php = Command::new("php");
                php.arg(here("matrix.php")).arg(driver);
                php
            }
            "PyMySQL" => {
                let mut python = Command::new("python3");
                python.env("PYTHONPATH", cache().join("pymysql/packages")).arg(here("matrix.py"));
                python
            }
            "mysql2" => {
                let mut node = Command::new("node");
                node.env("NODE_PATH", cache().join("mysql2/node_modules")).arg(here("matrix.js"));
                node
            }
            "mysql_async" => Command::new(cache().join("mysql-async-1/ask")),
            _ => return told(self.command_line(client, (host, port), ca)),
        };
        command.args([host, port, &self.name, &self.password, &self.database, &self.number]);
        command.args(ca);
        told(command)
    }

    fn command_line(&self, client: &str, (host, port): (&str, &str), ca: Option<&Path>) -> Command {
        let mut command = match client {
            "mariadb" => Command::new("mariadb"),
            _ => mysql_program(),
        };
        command.args(["--no-defaults", "--batch", "--skip-column-names"]);
        command.args([format!("--host={host}"), format!("--port={port}")]);
        command.args([format!("--user={}", self.name), format!("--database={}", self.database)]);
        // On the command line it would be warned about.
        command.env("MYSQL_PWD", &self.password);
        match (client, ca) {
            ("mariadb", None) => {
                command.arg("--skip-ssl");
            }
            ("mariadb", Some(ca)) => {
                command.arg(format!("--ssl-ca={}", ca.display())).arg("--ssl-verify-server-cert");
            }
            (_, None) => {
                command.args(["--ssl-mode=DISABLED", "--get-server-public-key"]);
            }
            (_, Some(ca)) => {
                command.arg(format!("--ssl-ca={}", ca.display())).arg("--ssl-mode=VERIFY_CA");
            }
        }
        let n = &self.number;
        command.arg("--execute");
        command.arg(format!("INSERT INTO matrix VALUES ({n}); SELECT n FROM matrix WHERE n = {n}"));
        command
    }
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

fn told(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}. Install it with: make install", command.get_program())
    });
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}
