//! What a name stands for: views that lock or ask about their connection, and tables that
//! replicas lose.

use std::collections::HashSet;

use super::client::Client;
use super::proxy::Proxy;
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(
    what_names_stand_for,
    a_view_is_known_as_soon_as_it_is_made,
    views_of_others_and_views_that_may_not_be_seen,
    prepared_and_executed_definitions,
    a_definition_whose_client_left,
);

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    for sql in [
        format!("USE {}", tenant.name),
        "CREATE TABLE note (id INT PRIMARY KEY, text VARCHAR(99))".into(),
        "INSERT INTO note VALUES (1, 'a'), (2, 'b')".into(),
        "CREATE TABLE scratch (id INT) ENGINE=MEMORY".into(),
        "INSERT INTO scratch VALUES (1)".into(),
        "CREATE TABLE sheet (id INT NOT NULL) ENGINE=CSV".into(),
        "CREATE VIEW plain AS SELECT id, text FROM note WHERE id > 0".into(),
        "CREATE VIEW joined AS SELECT a.id, COUNT(*) n FROM note a LEFT JOIN plain b \
         ON a.id = b.id WHERE a.text LIKE 'a%' OR a.text IN ('b') GROUP BY a.id ORDER BY a.id"
            .into(),
        format!("CREATE VIEW locks AS SELECT GET_LOCK('{}', 0) l", tenant.name),
        "CREATE VIEW locks_below AS SELECT note.id, locks.l FROM note JOIN locks".into(),
        "CREATE VIEW who AS SELECT CONNECTION_ID() c, USER() u".into(),
        "CREATE VIEW from_memory AS SELECT id FROM scratch".into(),
    ] {
        root.run(&sql);
    }
    stack.sync();
    tenant
}

/// A proxy that reads from replicas, and how many of a client's statements went where and why.
struct Watch {
    proxy: Proxy,
}

impl Watch {
    fn start(stack: &Stack, tenant: &Tenant) -> (Self, Client) {
        let watch = Self { proxy: Proxy::start(stack) };
        let mut client = watch.proxy.client(tenant);
        watch.proxy.wait_for_readers(2);
        until("a read on a replica", || {
            watch.place(&mut client, "SELECT id FROM note") == "replica read"
        });
        (watch, client)
    }

    /// Where it went and why, by the metrics.
    fn place(&self, client: &mut Client, sql: &str) -> String {
        let before = self.routes();
        client.run(sql);
        let after = self.routes();
        let mut moved = after.difference(&before);
        let series = moved.next().expect(sql);
        let words: Vec<&str> = series.split('"').collect();
        // Labels stand in the order of their names.
        format!("{} {}", words[3], words[1])
    }

    /// The lines of the metric.
    fn routes(&self) -> HashSet<String> {
        let (_, text) = self.proxy.get("/metrics").unwrap();
        let lines = text.lines().filter(|line| line.starts_with("forebay_route_total{"));
        lines.map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(&self, tenant: &Tenant, sql: &str, expected: &str) {
        let mut client = self.proxy.client(tenant);
        assert_eq!(self.place(&mut client, sql), expected, "{sql}");
    }

    fn comes_to(&self, tenant: &Tenant, sql: &str, expected: &str) {
        until(&format!("{sql}: {expected}"), || {
            let mut client = self.proxy.client(tenant);
            let found = self.place(&mut client, sql);
            found == expected
        });
    }
}

/// No replica holds the lock of this name, and nobody there waits for it.
#[track_caller]
fn assert_no_lock(stack: &Stack, name: &str) {
    for node in REPLICAS {
        let holder = stack.root(node).cell(&format!("SELECT IFNULL(IS_USED_LOCK('{name}'), 0)"));
        assert_eq!(holder, "0", "{node} holds a lock");
    }
}

fn what_names_stand_for(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "views");
    let (watch, _client) = Watch::start(&stack, &tenant);
    watch.check(&tenant, "SELECT id FROM note", "replica read");
    watch.check(&tenant, "SELECT id FROM plain", "replica read");
    watch.check(&tenant, "SELECT * FROM joined", "replica read");
    watch.check(&tenant, "SHOW CREATE TABLE who", "replica read");
    watch.check(&tenant, "DESCRIBE who", "replica read");
    // What such a view did is not known: reads wait for it from here on.
    watch.check(&tenant, "SELECT * FROM who", "primary view");
    watch.check(&tenant, "SELECT * FROM scratch", "primary engine");
    watch.check(&tenant, "SELECT * FROM sheet", "primary engine");
    watch.check(&tenant, "SELECT * FROM from_memory", "primary view");
    watch.check(&tenant, "SELECT * FROM locks_below", "primary view");
    // The lock is the session's until it ends, and another may have it then.
    let (mut one, mut other) = (watch.proxy.client(&tenant), watch.proxy.client(&tenant));
    let lock = |client: &mut Client| client.cell("SELECT l FROM locks");
    until("a lock of clients that left is given back", || lock(&mut one) == "1");
    assert_no_lock(&stack, &tenant.name);
    assert_eq!(lock(&mut other), "0", "two have one lock");
    one.quit();
    until("a lock of a client that left is given back", || lock(&mut other) == "1");
    assert_no_lock(&stack, &tenant.name);
    assert_eq!(watch.proxy.metric("forebay_misroute_total", &[]), 0.0);
}

fn a_view_is_known_as_soon_as_it_is_made(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "new_views");
    let (watch, mut client) = Watch::start(&stack, &tenant);
    let locks = format!("SELECT GET_LOCK('{}', 0) a", tenant.name);
    // From a good one to a bad one: each read is made by another session at once.
    for round in 0..20 {
        client.run("CREATE OR REPLACE VIEW turn AS SELECT id AS a FROM note");
        assert_ne!(watch.place(&mut watch.proxy.client(&tenant), "SELECT a FROM turn"), "");
        client.run(&format!("CREATE OR REPLACE VIEW turn AS {locks}"));
        let mut reader = watch.proxy.client(&tenant);
        let found = watch.place(&mut reader, "SELECT a FROM turn");
        assert!(found.starts_with("primary "), "round {round}: {found}");
        reader.quit();
    }
    watch.comes_to(&tenant, "SELECT a FROM turn", "primary view");
    client.run("CREATE OR REPLACE VIEW turn AS SELECT id AS a FROM note");
    watch.comes_to(&tenant, "SELECT a FROM turn", "replica read");
    // A table, then a view of its name.
    client.run("CREATE TABLE swap (a INT)");
    watch.comes_to(&tenant, "SELECT a FROM swap", "replica read");
    client.run("DROP TABLE swap");
    client.run(&format!("CREATE VIEW swap AS {locks}"));
    let found = watch.place(&mut watch.proxy.client(&tenant), "SELECT a FROM swap");
    assert!(found.starts_with("primary "), "{found}");
    watch.comes_to(&tenant, "SELECT a FROM swap", "primary view");
    // Another engine, and back.
    client.run("CREATE TABLE moved (a INT)");
    watch.comes_to(&tenant, "SELECT a FROM moved", "replica read");
    client.run("ALTER TABLE moved ENGINE=MEMORY");
    let found = watch.place(&mut watch.proxy.client(&tenant), "SELECT a FROM moved");
    assert!(found.starts_with("primary "), "{found}");
    watch.comes_to(&tenant, "SELECT a FROM moved", "primary engine");
    client.run("ALTER TABLE moved ENGINE=InnoDB");
    watch.comes_to(&tenant, "SELECT a FROM moved", "replica read");
    // A long-lived session that read meanwhile is not held for it.
    assert_eq!(watch.place(&mut client, "SELECT id FROM note"), "replica read");
    stack.sync();
    assert_no_lock(&stack, &tenant.name);
}

fn views_of_others_and_views_that_may_not_be_seen(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let (owner, guest) = (prepare(&stack, "view_owner"), stack.tenant("view_guest"));
    let mut root = stack.root(PRIMARY);
    for (right, name) in [("SELECT", "plain"), ("SELECT, SHOW VIEW", "joined"), ("SELECT", "locks")]
    {
        root.run(&format!("GRANT {right} ON {}.{name} TO {}", owner.name, guest.name));
    }
    root.run(&format!("CREATE TABLE {}.note (id INT)", guest.name));
    // Of a table that the guest may not see.
    root.run(&format!("CREATE VIEW {}.seen AS SELECT id FROM {}.note", guest.name, owner.name));
    root.run(&format!("CREATE VIEW {}.own AS SELECT id FROM {0}.note", guest.name));
    stack.sync();
    let (watch, _client) = Watch::start(&stack, &guest);
    let of_owner = |name: &str| format!("SELECT * FROM {}.{name}", owner.name);
    watch.check(&guest, "SELECT * FROM own", "replica read");
    watch.check(&guest, "SELECT * FROM seen", "primary view");
    watch.check(&guest, &of_owner("plain"), "primary view");
    watch.check(&guest, &of_owner("locks"), "primary view");
    // What it reads is not the guest's to see.
    watch.check(&guest, &of_owner("joined"), "primary view");
    assert_no_lock(&stack, &owner.name);
}

fn prepared_and_executed_definitions(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "executed_views");
    let (watch, mut client) = Watch::start(&stack, &tenant);
    let view = |name: &str| format!("CREATE VIEW {name} AS SELECT GET_LOCK(\"{name}\", 0) a");
    let read = |name: &str| {
        let found = watch.place(&mut watch.proxy.client(&tenant), &format!("SELECT a FROM {name}"));
        assert!(found.starts_with("primary "), "{name}: {found}");
        stack.sync();
        assert_no_lock(&stack, name);
    };
    client.run(&format!("PREPARE s FROM '{}'", view("v_text")));
    client.run("EXECUTE s");
    read("v_text");
    client.run(&format!("CREATE PROCEDURE p() {}", view("v_call")));
    client.run("CALL p()");
    read("v_call");
    client.run(&format!("/*!50001 {} */", view("v_comment")));
    read("v_comment");
    // COM_STMT_PREPARE and COM_STMT_EXECUTE.
    client.command(0x16, view("v_binary").as_bytes()).unwrap();
    let (_, prepared) = client.read().unwrap();
    let mut execute = prepared[1..5].to_vec();
    execute.extend([0, 1, 0, 0, 0]);
    client.simple(0x17, &execute).unwrap();
    read("v_binary");
}

/// The server may go on with what nobody waits for any more.
fn a_definition_whose_client_left(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "left_ddl");
    let (watch, _client) = Watch::start(&stack, &tenant);
    let (mut root, mut leaving) = (stack.root(PRIMARY), watch.proxy.client(&tenant));
    root.run(&format!("USE {}", tenant.name));
    root.run("BEGIN");
    root.run("SELECT * FROM note");
    leaving.command(3, b"ALTER TABLE note ENGINE=MEMORY").unwrap();
    let mut other = stack.root(PRIMARY);
    let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER%' \
                 AND STATE LIKE 'Waiting%' AND DB = ";
    let waits = format!("{waits} '{}'", tenant.name);
    until("it waits for the reader", || other.cell(&waits) == "1");
    drop(leaving);
    // All is read anew once more, and still it is not believed.
    watch.proxy.client(&tenant).run("CREATE TABLE beside (id INT)");
    watch.comes_to(&tenant, "SELECT id FROM beside", "replica read");
    root.run("COMMIT");
    until("it waits no more", || other.cell(&waits) == "0");
    watch.check(&tenant, "SELECT id FROM note", "primary unlisted");
}
