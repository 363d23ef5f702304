//! Many clients on few connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, on_both};

on_both!(never_more_logins_than_allowed);

const CLIENTS: usize = 50;
const ROUNDS: usize = 20;

/// Connections that an account has at a server.
fn logins(root: &mut super::client::Client, user: &str) -> u32 {
    let sql = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'");
    root.cell(&sql).parse().unwrap()
}

fn never_more_logins_than_allowed(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("crowd");
    let mut root = stack.root(PRIMARY);
    root.run(&format!(
        "CREATE TABLE {}.mark (id INT PRIMARY KEY AUTO_INCREMENT, who INT)",
        tenant.name
    ));
    stack.sync();
    let proxy = Setup::of(&stack)
        .file("[pool]\nmax_connections_per_server = 4")
        .arguments(&["--threads", "3"])
        .start();
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut roots: Vec<_> = NODES.iter().map(|node| stack.root(node)).collect();
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                for root in &mut roots {
                    most = most.max(logins(root, &tenant.name));
                }
            }
            most
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|who| {
                let (proxy, tenant) = (&proxy, &tenant);
                scope.spawn(move || {
                    let mut client = proxy.client(tenant);
                    for round in 1..=ROUNDS {
                        let id =
                            client.run(&format!("INSERT INTO mark (who) VALUES ({who})")).insert_id;
                        assert_eq!(client.cell("SELECT LAST_INSERT_ID()"), id.to_string());
                        let own = format!("SELECT COUNT(*) FROM mark WHERE who = {who}");
                        assert_eq!(client.cell(&own), round.to_string());
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    });
    assert!((1..=4).contains(&most), "{most} logins at one server");
}

#[test]
fn a_thousand_connects_are_one_login() {
    let stack = Stack::shared(Flavour::MySql97);
    let tenant = stack.tenant("thousand");
    let proxy = Proxy::start(&stack);
    for _ in 0..1000 {
        let mut client = proxy.client(&tenant);
        assert_eq!(client.cell("SELECT COUNT(*) FROM information_schema.tables WHERE 1 = 0"), "0");
        client.quit();
    }
    // Of the pools; each server has one more connection that watches it.
    let address = format!("server=\"{}\"", stack.address(PRIMARY));
    let logins = proxy.metric("forebay_backend_logins_total", &[&address, "result=\"ok\""]);
    assert_eq!(logins, 1.0);
}
