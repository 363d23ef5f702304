//! Who shares connections with whom, and what two-phase transactions keep to themselves.

use forebay::wire::capability::Capabilities;

use super::client::Client;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, NODES, PRIMARY, Stack, Tenant, on_both, until};

on_both!(accounts_share_no_connection, two_phases_keep_their_connection);

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY, owner VARCHAR(99))", tenant.name));
    root.run(&format!("INSERT INTO {0}.note VALUES (1, '{0}')", tenant.name));
    stack.sync();
    tenant
}

/// Two connections to each server beside the watcher's.
fn few(stack: &Stack) -> Proxy {
    let file = "[pool]\nmax_connections_per_server = 3\nwait_ms_max = 60000";
    Setup::of(stack).monitored().file(file).start()
}

/// Four accounts take turns on two connections, two of them under one name of schema: each is
/// itself, and sees its own.
fn accounts_share_no_connection(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenants = ["share_one", "share_two", "share_three"].map(|name| prepare(&stack, name));
    let proxy = few(&stack);
    let found = Capabilities::FOUND_ROWS;
    let mut clients = Vec::new();
    for tenant in &tenants {
        clients.push((tenant, "0", proxy.client(tenant)));
        let login = tenant.login().with(found);
        clients.push((tenant, "1", Client::connect(&proxy.address, &login).unwrap()));
    }
    proxy.wait_for_readers(2);
    for _ in 0..8 {
        for (tenant, counted, client) in &mut clients {
            let name = &tenant.name;
            let user = client.cell("SELECT CURRENT_USER()");
            assert_eq!(user.split('@').next(), Some(name.as_str()));
            // On a replica another account may not even look.
            assert_eq!(client.cell(&format!("SELECT owner FROM {name}.note WHERE id = 1")), *name);
            assert_eq!(client.cell("SELECT DATABASE()"), *name);
            let update = client.run("UPDATE note SET id = 1 WHERE id = 1");
            assert_eq!(update.affected.to_string(), *counted, "CLIENT_FOUND_ROWS of {name}");
        }
    }
    let names = tenants.each_ref().map(|tenant| format!("'{}'", tenant.name)).join(",");
    let question =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user IN ({names})");
    for node in NODES {
        let count: usize = stack.root(node).cell(&question).parse().unwrap();
        assert!(count <= 2, "{node} has {count} connections");
    }
}

/// XA belongs to its session until it is prepared, and to nobody from then on.
fn two_phases_keep_their_connection(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "phases");
    let proxy = few(&stack);
    let (mut one, mut other) = (proxy.client(&tenant), proxy.client(&tenant));
    let xid = |name: &str| format!("'{}_{name}'", tenant.name);
    one.run(&format!("XA START {}", xid("back")));
    one.run("INSERT INTO note VALUES (2, 'in two phases')");
    assert_eq!(one.cell("SELECT COUNT(*) FROM note"), "2", "it sees its own");
    // The others are in no transaction of anybody's.
    other.run("INSERT INTO note VALUES (3, 'beside')");
    assert_eq!(other.cell("SELECT GROUP_CONCAT(id ORDER BY id) FROM note"), "1,3");
    one.run(&format!("XA END {}", xid("back")));
    one.run(&format!("XA ROLLBACK {}", xid("back")));
    assert_eq!(one.cell("SELECT GROUP_CONCAT(id ORDER BY id) FROM note"), "1,3");
    // Prepared, it outlives its session, and whoever comes next may end it.
    one.run(&format!("XA START {}", xid("on")));
    one.run("INSERT INTO note VALUES (4, 'prepared')");
    one.run(&format!("XA END {}", xid("on")));
    one.run(&format!("XA PREPARE {}", xid("on")));
    one.quit();
    assert_eq!(other.cell("SELECT GROUP_CONCAT(id ORDER BY id) FROM note"), "1,3");
    until("the server has let it go", || other.query(&format!("XA COMMIT {}", xid("on"))).is_ok());
    assert_eq!(other.cell("SELECT GROUP_CONCAT(id ORDER BY id) FROM note"), "1,3,4");
    // It keeps a connection since then, and short statements are left the other one.
    other.simple(31, &[]).expect("COM_RESET_CONNECTION");
    // Whoever leaves before that takes it along.
    let mut third = proxy.client(&tenant);
    third.run(&format!("XA START {}", xid("gone")));
    third.run("INSERT INTO note VALUES (5, 'gone')");
    drop(third);
    other.run("INSERT INTO note VALUES (5, 'anew')");
    assert_eq!(other.cell("SELECT owner FROM note WHERE id = 5"), "anew");
    assert_eq!(
        stack.root(PRIMARY).cell(&format!("SELECT COUNT(*) FROM {}.note", tenant.name)),
        "4"
    );
}
