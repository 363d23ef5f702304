//! The page that a scraper reads.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const REASONS: &[&str] = &["proved read", "a write", "in a transaction"];

/// A page on which every metric was counted at least once.
fn full_page() -> String {
    let metrics = Metrics::new(REASONS).unwrap();
    metrics.route.inc(Target::Primary.index(), 1);
    metrics.route.inc(Target::Replica.index(), 0);
    let start = Instant::now();
    let mut watch = Stopwatch::start(start);
    watch.lap(Lap::Queue, start + Duration::from_micros(40));
    watch.lap(Lap::Backend, start + Duration::from_millis(3));
    metrics.timings.observe(Target::Replica, &watch);
    let _present = metrics.admit();
    metrics.logins.inc(Login::Proved);
    let server = metrics.servers.join("db-1:3306").unwrap();
    server.logins.inc(BackendLogin::Done);
    server.misroutes.inc();
    metrics.errors.inc(Blame::Server);
    metrics.observed_reads.inc(Observed::Replica);
    metrics.observed_stale.inc(Careless::HyperDb);
    metrics
        .render(|gauges| {
            gauges.pool("db-1:3306", PoolState::Idle, 3);
            gauges.pool("db-1:3306", PoolState::Idle, 4);
            gauges.pool("db-1:3306", PoolState::Leased, 1);
            gauges.pool("db-1:3306", PoolState::Opening, 0);
            gauges.server("db-1:3306", "primary", true);
            gauges.finding("db-1:3306", "filtered");
            gauges.holds("transaction", 2);
            gauges.floors("keys", 5);
        })
        .unwrap()
}

#[test]
fn what_was_counted_is_shown() {
    let page = full_page();
    for line in [
        r#"forebay_route_total{reason="a write",target="primary"} 1"#,
        r#"forebay_route_total{reason="proved read",target="replica"} 1"#,
        r#"forebay_query_seconds_bucket{phase="queue",target="replica",le="0.0001"} 1"#,
        r#"forebay_query_seconds_bucket{phase="backend",target="replica",le="0.0025"} 0"#,
        r#"forebay_query_seconds_bucket{phase="backend",target="replica",le="0.005"} 1"#,
        r#"forebay_query_seconds_count{phase="connect",target="replica"} 0"#,
        "forebay_clients 1",
        "forebay_client_connects_total 1",
        r#"forebay_logins_total{result="proved"} 1"#,
        r#"forebay_logins_total{result="denied"} 0"#,
        r#"forebay_pool_connections{server="db-1:3306",state="idle"} 7"#,
        r#"forebay_backend_logins_total{result="ok",server="db-1:3306"} 1"#,
        r#"forebay_server_up{role="primary",server="db-1:3306"} 1"#,
        r#"forebay_misroute_total{server="db-1:3306"} 1"#,
        r#"forebay_errors_total{blame="server"} 1"#,
        r#"forebay_holds{reason="transaction"} 2"#,
        r#"forebay_floors{kind="keys"} 5"#,
        r#"forebay_observed_reads_total{outcome="replica"} 1"#,
        r#"forebay_observed_stale_total{rule="hyperdb"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "no line {line} in\n{page}");
    }
    assert!(!page.contains("in a transaction"), "a pair that never happened is not shown");
}

#[test]
fn every_name_on_the_page_is_in_the_list_and_the_other_way_round() {
    let page = full_page();
    let shown: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut listed: Vec<_> = name::ALL.iter().map(|definition| definition.name()).collect();
    listed.sort_unstable();
    assert_eq!(shown, listed);
}

#[test]
fn a_server_that_left_leaves_no_number_behind() {
    let metrics = Metrics::new(REASONS).unwrap();
    metrics.servers.join("db-9:3306").unwrap().misroutes.inc();
    assert!(metrics.render(|_| ()).unwrap().contains("db-9"));
    metrics.servers.forget("db-9:3306");
    metrics.servers.forget("never joined");
    assert!(!metrics.render(|_| ()).unwrap().contains("db-9"));
}

#[test]
fn a_client_counts_while_it_is_here() {
    let metrics = Metrics::new(REASONS).unwrap();
    let present = metrics.admit();
    assert_eq!((metrics.clients(), metrics.client_connects.get()), (1, 1));
    drop(present);
    assert_eq!((metrics.clients(), metrics.client_connects.get()), (0, 1));
}

#[test]
fn an_unknown_reason_counts_nothing() {
    let metrics = Metrics::new(REASONS).unwrap();
    metrics.route.inc(0, REASONS.len());
    metrics.route.inc(99, 0);
    assert_eq!(metrics.route.counts(), []);
    metrics.route.inc(Target::Refused.index(), 2);
    assert_eq!(metrics.route.counts(), [("refused", "in a transaction", 1)]);
}

#[test]
fn one_statement_in_sixteen_is_timed_from_wherever_it_begins() {
    for random in [0, 1, 7, 15, 16, u32::MAX] {
        let mut sampler = Sampler::new(random);
        let timed = (0..160).filter(|_| sampler.is_due()).count();
        assert_eq!(timed, 10, "from {random}");
    }
}

#[test]
fn promtool_finds_nothing_to_say() {
    // It is part of Debian's `prometheus`; where it is missing the end-to-end test asks for it.
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    promtool.stdin.take().unwrap().write_all(full_page().as_bytes()).unwrap();
    let found = promtool.wait_with_output().unwrap();
    let said = [found.stdout, found.stderr].concat();
    assert!(found.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_readme_lists_every_metric() {
    let readme = include_str!("../../README.md");
    let listed = readme
        .split_once("<!-- metrics -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- /metrics -->"))
        .map(|(table, _)| table.trim());
    let expected = reference();
    assert_eq!(listed, Some(expected.trim()), "README.md must hold:\n{expected}");
}
