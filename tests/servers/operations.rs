//! What an operator does: check, watch, drain, scrape.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::proxy::{Proxy, free_address, http, run, scratch};
use super::stack::{Flavour, PRIMARY, Stack, until, until_within};

#[test]
fn all_mistakes_are_told_at_once() {
    let file = scratch("wrong.toml");
    let text = "mode = 'sideways'\nthreads = 'many'\n[pool]\nnonsense = 1\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    for command in ["check", "run"] {
        let output = run(&[command, "--config", path, "--primary", "127.0.0.1:3306"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        for word in ["sideways", "many", "nonsense"] {
            assert!(told.contains(word), "{word} is not in: {told}");
        }
    }
}

#[test]
fn explain_says_where_and_why() {
    let check = |sql: &str, words: &[&str]| {
        let output = run(&["explain", sql]);
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        for word in words {
            assert!(told.contains(word), "{word} is not in: {told}");
        }
    };
    check("SELECT a FROM t", &["replica"]);
    check("SELECT a FROM t FOR UPDATE", &["primary", "locks rows"]);
    check("DELETE FROM t", &["primary", "writes"]);
}

#[test]
fn a_taken_port_ends_the_program() {
    let stack = Stack::shared(Flavour::MariaDb);
    let proxy = Proxy::start(&stack);
    let output = run(&[
        "run",
        "--listen",
        &proxy.address,
        "--admin-http",
        "off",
        "--primary",
        stack.address(PRIMARY),
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen"), "{output:?}");
}

#[test]
fn the_mode_changes_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("moded");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    let reads = |target: &str, why: &str| {
        proxy.metric("forebay_route_total", &[&format!("target=\"{target}\""), why])
    };
    until("reads on replicas", || {
        client.run("SELECT 1");
        reads("replica", "reason=\"read\"") > 0.0
    });
    assert!(run(&["mode", "primary", "--admin-http", &proxy.admin]).status.success());
    let before = reads("replica", "");
    for _ in 0..10 {
        client.run("SELECT 1");
    }
    assert_eq!(reads("replica", ""), before);
    assert_eq!(reads("primary", "reason=\"mode_primary\""), 10.0);
}

#[test]
fn it_drains_on_sigterm() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("drained");
    let mut proxy = super::proxy::Setup::of(&stack).file("[drain]\ndelay_s = 2").start();
    let mut client = proxy.client(&tenant);
    client.command(3, b"SELECT SLEEP(1), 'whole'").unwrap();
    proxy.signal("TERM");
    until("not ready", || proxy.get("/readyz").is_some_and(|(status, _)| status == 503));
    // Whoever has not heard of it yet is served.
    let mut late = proxy.client(&tenant);
    assert_eq!(late.cell("SELECT 'late'"), "late");
    let rows = client.answers().unwrap();
    assert_eq!(rows[0].rows[0][1].as_deref(), Some("whole"));
    client.quit();
    late.quit();
    assert_eq!(proxy.wait_for_end(Duration::from_secs(20)).code(), Some(0));
}

#[test]
fn logs_are_json_and_keep_secrets() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("secretive");
    let proxy = super::proxy::Setup::of(&stack).file("[log]\nformat = 'json'").start();
    let mut client = proxy.client(&tenant);
    client.run("SELECT 'a very private literal'");
    let login = super::client::Login::new(&tenant.name, "a very wrong password");
    assert!(super::client::Client::connect(&proxy.address, &login).is_err());
    let log = proxy.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    assert!(!log.contains("very private") && !log.contains("very wrong"), "{log}");
}

#[test]
fn prometheus_scrapes_it() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("scraped");
    let proxy = Proxy::start(&stack);
    proxy.client(&tenant).run("SELECT 1");
    let (_, page) = proxy.get("/metrics").unwrap();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing; install it with: make install");
    let mut input = promtool.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, page.as_bytes()).unwrap();
    drop(input);
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success() && checked.stdout.is_empty(), "{checked:?}");
    assert!(checked.stderr.is_empty(), "{checked:?}");

    let folder = scratch("prometheus");
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("prometheus.yml");
    let jobs = format!(
        "scrape_configs:\n- job_name: forebay\n  scrape_interval: 1s\n  static_configs:\n  \
         - targets: ['{}']\n",
        proxy.admin
    );
    std::fs::write(&config, jobs).unwrap();
    let listen = free_address();
    let server = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is missing; install it with: make install");
    let _ends_with_the_test = Ends(server);
    until_within(Duration::from_secs(40), "up == 1", || {
        let answer = http(&listen, "GET /api/v1/query?query=up HTTP/1.0\r\n\r\n");
        answer.is_some_and(|(_, body)| body.contains("\"1\"]"))
    });
}

/// A process that ends with the test, also when it fails.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _gone = (self.0.kill(), self.0.wait());
    }
}
