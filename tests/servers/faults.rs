//! Servers that die: what a client is told, and what it never sees.

use super::balancer::babble;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(a_replicas_death_is_unseen, the_primarys_death_is_told);

const OUTCOME_UNKNOWN: u16 = 1105;
const ROLLED_BACK: u16 = 1213;

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    root.run(&format!("USE {}", tenant.name));
    root.run("CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(99))");
    root.run("INSERT INTO note (text) VALUES ('a')");
    stack.sync();
    tenant
}

fn a_replicas_death_is_unseen(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "mourned");
    let proxy = Proxy::start(&stack);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client(&tenant)).collect();
    proxy.wait_for_readers(2);
    let read_all = |clients: &mut Vec<super::client::Client>| {
        for client in clients {
            assert_eq!(client.cell("SELECT text FROM note"), "a");
        }
    };
    let reads = || proxy.metric("forebay_route_total", &["target=\"replica\""]);
    until("reads on replicas", || {
        read_all(&mut clients);
        reads() > 50.0
    });
    stack.script(&["kill", REPLICAS[0]]);
    for _ in 0..20 {
        read_all(&mut clients);
    }
    let before = reads();
    read_all(&mut clients);
    assert!(reads() > before, "the other replica serves");
    stack.script(&["start", REPLICAS[0]]);
    until("both replicas are up", || {
        proxy.metric("forebay_server_up", &["role=\"reader\""]) == 2.0
    });
    read_all(&mut clients);
}

fn the_primarys_death_is_told(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "told");
    let proxy = Proxy::start(&stack);
    let mut open = proxy.client(&tenant);
    open.run("BEGIN");
    open.run("INSERT INTO note (text) VALUES ('in a transaction')");
    let mut writer = proxy.client(&tenant);
    writer.run("INSERT INTO note (text) VALUES ('before')");
    // Sent whole and being executed when the server dies.
    writer.command(3, b"INSERT INTO note (text) SELECT SLEEP(30)").unwrap();
    let mut root = stack.root(PRIMARY);
    until("the write is being executed", || {
        root.cell("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(30)%'")
            .parse::<u32>()
            .unwrap()
            > 1
    });
    stack.script(&["kill", PRIMARY]);
    let failure = writer.answers().unwrap_err();
    assert_eq!(failure.code(), OUTCOME_UNKNOWN, "{failure}");
    for sql in ["SELECT 1", "COMMIT", "INSERT INTO note (text) VALUES ('lost')"] {
        assert_eq!(open.refused(sql), ROLLED_BACK, "{sql}");
    }
    open.run("ROLLBACK");
    stack.script(&["start", PRIMARY]);
    // The same connections go on.
    writer.run("INSERT INTO note (text) VALUES ('after')");
    open.run("INSERT INTO note (text) VALUES ('after too')");
    let count = "SELECT COUNT(*) FROM note WHERE text LIKE 'after%'";
    assert_eq!(open.cell(count), "2");
    let undone = "SELECT COUNT(*) FROM note WHERE text IN ('in a transaction', 'lost', '0')";
    assert_eq!(open.cell(undone), "0");
}

#[test]
fn nonsense_from_a_replica_harms_nobody() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = prepare(&stack, "babel");
    let babblers = [
        babble(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Vec::new()),
        babble(vec![0xff; 64], vec![0xff; 64]),
        babble(vec![1, 0, 0, 0, 10], Vec::new()),
        babble(Vec::new(), Vec::new()),
    ];
    let mut addresses: Vec<&str> = babblers.iter().map(String::as_str).collect();
    let good = stack.address(REPLICAS[0]).to_owned();
    addresses.push(&good);
    let mut proxy = Setup::of(&stack).replicas(&addresses).start();
    let mut client = proxy.client(&tenant);
    until("the good one serves", || {
        assert_eq!(client.cell("SELECT text FROM note"), "a");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > 0.0
    });
    proxy.assert_alive();
}
