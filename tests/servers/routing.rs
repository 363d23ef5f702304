//! No write reaches a replica, reads reach both: by the servers' own logs and positions.

use super::balancer::balance;
use super::client::Client;
use super::general_log::statements;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(no_write_reaches_a_replica, one_address_for_all_three, primary_listed_as_a_replica);

/// What writes, locks or must be answered by the primary. Each is told by its number.
const WRITES: &[&str] = &[
    "INSERT INTO note (text) VALUES ('w01')",
    "UPDATE note SET text = 'w02' WHERE id = 1",
    "DELETE FROM note WHERE text = 'w03'",
    "REPLACE INTO note VALUES (7, 'w04')",
    "INSERT INTO note (text) SELECT 'w05'",
    "/* SELECT */ INSERT INTO note (text) VALUES ('SELECT w06')",
    "SELECT * FROM note WHERE text = 'w07' FOR UPDATE",
    "SELECT * FROM note WHERE text = 'w08' LOCK IN SHARE MODE",
    "SELECT GET_LOCK('w09', 0)",
    "SELECT RELEASE_LOCK('w09')",
    "SELECT text INTO @w10 FROM note LIMIT 1",
    "CREATE TABLE w11 (id INT PRIMARY KEY)",
    "ALTER TABLE w11 ADD COLUMN b INT",
    "TRUNCATE TABLE w11",
    "DROP TABLE w11",
    "CREATE TEMPORARY TABLE w15 (id INT)",
    "DROP TEMPORARY TABLE w15",
    "CALL add_note('w17')",
    "SELECT noted('w18')",
    "/*!50000 INSERT INTO note (text) VALUES ('w19') */",
    "SELECT 1 /*!50000 INTO @w20 */",
    "DO SLEEP(0) /* w21 */",
    "LOCK TABLES note WRITE /* w22 */",
    "UNLOCK TABLES",
    "SET @w24 = 1",
    "SELECT @w25 := 1",
    "HANDLER note OPEN AS w26",
    "HANDLER w26 CLOSE",
    "ANALYZE TABLE note",
    "EXPLAIN SELECT * FROM note WHERE text = 'w29' FOR UPDATE",
    "PREPARE w30 FROM 'INSERT INTO note (text) VALUES (\"w30\")'",
    "EXECUTE w30",
    "DEALLOCATE PREPARE w30",
    "BEGIN",
    "SELECT COUNT(*) FROM note WHERE text = 'w34'",
    "COMMIT",
    "SELECT COUNT(*) FROM mysql_nowhere.w36",
    "(SELECT text FROM note WHERE text = 'w37' FOR UPDATE)",
    "SELECT 'w38', LAST_INSERT_ID(5)",
];

/// Proved reads: they may be anywhere.
const READS: &[&str] = &[
    "SELECT COUNT(*) FROM note WHERE text <> 'r01'",
    "(SELECT id FROM note WHERE text <> 'r02') UNION (SELECT 1)",
    "WITH some AS (SELECT id FROM note) SELECT COUNT(*), 'r03' FROM some",
    "SELECT 'INSERT INTO note', 'r04' FROM note",
    "SELECT id FROM note WHERE text = 'FOR UPDATE' OR text = 'r05'",
    "SHOW TABLES LIKE 'r06%'",
    "DESCRIBE note",
    "SELECT n.id FROM note n JOIN note m ON m.id = n.id WHERE n.text <> 'r08' LIMIT 3",
];

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {name}", name = tenant.name));
    root.run("CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(99))");
    root.run("CREATE PROCEDURE add_note(t TEXT) INSERT INTO note (text) VALUES (t)");
    // A function that writes: what calls it is no read, whatever it looks like.
    root.run(
        "CREATE FUNCTION noted(t TEXT) RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO note (text) VALUES (t); RETURN 1; END",
    );
    stack.sync();
    tenant
}

fn use_it(stack: &Stack, proxy: &Proxy, tenant: &Tenant, readers: usize) {
    let mut client = proxy.client(tenant);
    proxy.wait_for_readers(readers);
    for sql in WRITES {
        let answered = client.query(sql);
        let may_fail = sql.contains("nowhere");
        assert!(answered.is_ok() != may_fail, "{sql}: {answered:?}");
    }
    until("reads of both replicas", || {
        // Each client stays with the replica that it was given: chance.
        for _ in 0..8 {
            let mut client = proxy.client(tenant);
            READS.iter().for_each(|sql| drop(client.run(sql)));
        }
        REPLICAS.iter().all(|node| reads_at(stack, node, tenant) >= READS.len())
    });
}

/// How many of the reads a server has answered, by its own account.
fn reads_at(stack: &Stack, node: &str, tenant: &Tenant) -> usize {
    let seen = statements(stack, node, &tenant.name);
    seen.iter().filter(|sql| READS.contains(&sql.as_str())).count()
}

/// What the replicas' own logs and positions say.
fn judge(stack: &Stack, tenant: &Tenant) {
    stack.sync();
    for node in REPLICAS {
        assert!(!stack.has_diverged(node), "{node} has written something of its own");
        let seen = statements(stack, node, &tenant.name);
        for sql in seen.iter().filter(|sql| !READS.contains(&sql.as_str())) {
            assert!(is_of_the_session(sql), "{node} was asked: {sql}");
        }
    }
}

/// What Forebay itself says to a replica.
fn is_of_the_session(sql: &str) -> bool {
    let is_question = sql.starts_with("SELECT ") && sql.contains("@@") && !sql.contains(":=");
    let is_of_replication = [
        "SHOW GLOBAL STATUS LIKE 'Uptime'",
        "SHOW ALL SLAVES STATUS",
        "SHOW REPLICA STATUS",
        "SELECT MASTER_GTID_WAIT(",
        "SELECT WAIT_FOR_EXECUTED_GTID_SET(",
        "SELECT CHANNEL_NAME, FILTER_NAME",
    ];
    is_question
        || is_of_replication.iter().any(|known| sql.starts_with(known))
        || sql.starts_with("SET ")
        || sql.starts_with("USE ")
        || sql.starts_with("SELECT NULL")
}

fn no_write_reaches_a_replica(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "routing");
    // Right after a write no replica is fresh, and a wrong route would end at the primary by luck:
    // an UPDATE taken for a read passed this test once.
    let proxy = Setup::of(&stack).arguments(&["--consistency", "eventual"]).start();
    use_it(&stack, &proxy, &tenant, 2);
    judge(&stack, &tenant);
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0, "the servers had to say no");
}

fn one_address_for_all_three(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "balanced");
    let servers = [PRIMARY, REPLICAS[0], REPLICAS[1]].map(|node| stack.address(node));
    let proxy = Setup::of(&stack).replicas(&[&balance(&servers)]).start();
    // Both have one address, and so one name in the metrics.
    use_it(&stack, &proxy, &tenant, 1);
    judge(&stack, &tenant);
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0);
}

fn primary_listed_as_a_replica(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "listed");
    let servers = [REPLICAS[0], PRIMARY, REPLICAS[1]].map(|node| stack.address(node));
    let proxy = Setup::of(&stack).replicas(&servers).start();
    use_it(&stack, &proxy, &tenant, 2);
    judge(&stack, &tenant);
    let writers = proxy.metric("forebay_server_up", &["role=\"primary\""]);
    assert_eq!(writers, 1.0, "the same server twice is one");
}

/// Everything to the primary, and back, while it runs.
#[test]
fn mode_is_switched_while_it_runs() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = prepare(&stack, "mode");
    let proxy = Proxy::start(&stack);
    let mut client = proxy.client(&tenant);
    proxy.wait_for_readers(2);
    until("a read of a replica", || is_read_at_replica(&proxy, &mut client));
    for (mode, expected) in [("primary", false), ("split", true)] {
        let switched = super::proxy::run(&["mode", mode, "--admin-http", &proxy.admin]);
        assert!(switched.status.success(), "{switched:?}");
        assert_eq!(is_read_at_replica(&proxy, &mut client), expected, "mode {mode}");
    }
}

fn is_read_at_replica(proxy: &Proxy, client: &mut Client) -> bool {
    let replica = ["target=\"replica\""];
    let before = proxy.metric("forebay_route_total", &replica);
    client.run(READS[0]);
    proxy.metric("forebay_route_total", &replica) > before
}
