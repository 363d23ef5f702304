//! Mode `observe`: everything goes to the primary, and what splitting would do is counted.

use std::process::Output;

use super::client::Client;
use super::proxy::{Proxy, Setup, run};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, on_both, until};

on_both!(late_replicas_are_seen_but_not_read);

const READS: usize = 20;
const READ: &str = "SELECT n FROM counter WHERE id = 1";

/// Reads observed: all, those that replicas would have served, those that any replica would have
/// answered stale, those that HyperDB would have.
fn counts(proxy: &Proxy) -> [f64; 4] {
    let reads = |outcome: &[&str]| proxy.metric("forebay_observed_reads_total", outcome);
    let stale = |rule| proxy.metric("forebay_observed_stale_total", &[rule]);
    let (eventual, hyperdb) = (stale("rule=\"eventual\""), stale("rule=\"hyperdb\""));
    [reads(&[]), reads(&["outcome=\"replica\""]), eventual, hyperdb]
}

/// What these reads add to the counts.
fn observe(proxy: &Proxy, client: &mut Client) -> [f64; 4] {
    let before = counts(proxy);
    for _ in 0..READS {
        client.run(READ);
    }
    let after = counts(proxy);
    std::array::from_fn(|at| after[at] - before[at])
}

fn set_mode(proxy: &Proxy, mode: &str) -> Output {
    run(&["mode", mode, "--admin-http", &proxy.admin])
}

fn late_replicas_are_seen_but_not_read(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = stack.tenant("observe");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE counter (id INT PRIMARY KEY, n INT)");
    root.run("INSERT INTO counter VALUES (1, 0)");
    stack.sync();
    let proxy = Setup::of(&stack).arguments(&["--mode", "observe"]).start();
    let (mut writer, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
    proxy.wait_for_readers(2);
    let all = READS as f64;
    until("replicas would serve all", || observe(&proxy, &mut other) == [all, all, 0.0, 0.0]);

    for node in REPLICAS {
        stack.script(&["lag", node, "3"]);
    }
    writer.run("UPDATE counter SET n = 1 WHERE id = 1");
    // A request that did not write: HyperDB lets it read any replica.
    assert_eq!(observe(&proxy, &mut other), [all, 0.0, all, all]);
    // The one that wrote.
    assert_eq!(observe(&proxy, &mut writer), [all, 0.0, all, 0.0]);
    assert_eq!(other.cell(READ), "1");
    let page = proxy.get("/").unwrap().1;
    assert!(page.contains("HyperDB's rule") && page.contains("reads observed"), "{page}");
    let asked = format!("/explain?schema={}&sql=SELECT+n+FROM+counter", tenant.name);
    let page = proxy.get(&asked).unwrap().1;
    assert!(page.contains("must have") && page.contains("not fresh enough"), "{page}");

    // Nobody tells the proxy: a fence or the watcher of the primary finds it. No read waits for that.
    for node in REPLICAS {
        stack.script(&["lag", node, "0"]);
    }
    stack.sync();
    until("replicas would serve all", || observe(&proxy, &mut other) == [all, all, 0.0, 0.0]);
    for node in REPLICAS {
        stack.script(&["lag", node, "3"]);
    }
    root.run("UPDATE counter SET n = 2 WHERE id = 1");
    until("writes of others are seen", || observe(&proxy, &mut other)[3] == all);
    for node in REPLICAS {
        stack.script(&["lag", node, "0"]);
    }

    let served = || proxy.metric("forebay_route_total", &["target=\"replica\""]);
    assert_eq!(served(), 0.0, "nothing was read from replicas");
    assert!(set_mode(&proxy, "split").status.success());
    let before = counts(&proxy);
    until("split at once", || {
        other.run(READ);
        served() > 0.0
    });
    assert_eq!(counts(&proxy), before, "counted in mode observe only");
}
