//! Replicas whose position proves nothing are not read from, and say why.

use std::io::Write as _;

use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(
    filtered_replicas,
    replicas_that_have_what_their_primary_has_not,
    replicas_that_may_have_lost_rows,
    stopped_replicas_stay_as_long_as_they_are_good_enough,
);

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    stack.root(PRIMARY).run(&format!("CREATE TABLE {}.note (id INT PRIMARY KEY)", tenant.name));
    stack.sync();
    tenant
}

/// A proxy that has found both replicas, asked by an account that may ask after replication.
fn start(stack: &Stack, tenant: &Tenant) -> Proxy {
    let proxy = Setup::of(stack).monitored().start();
    proxy.client(tenant).quit();
    proxy.wait_for_readers(2);
    proxy
}

fn until_found(proxy: &Proxy, stack: &Stack, finding: &str, is_up: bool) {
    let server = format!("server=\"{}\"", stack.address(REPLICAS[0]));
    let finding = format!("finding=\"{finding}\"");
    until("found", || {
        let found = proxy.metric("forebay_server_findings", &[&server, &finding]) == 1.0;
        let up = proxy.metric("forebay_server_up", &[&server]) == 1.0;
        found && up == is_up
    });
}

fn until_fine(proxy: &Proxy) {
    until("fine again", || {
        let up = proxy.metric("forebay_server_up", &["role=\"reader\""]);
        up == 2.0 && proxy.metric("forebay_server_findings", &[]) == 0.0
    });
}

fn filtered_replicas(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "filtered");
    let proxy = start(&stack, &tenant);
    // An account that may ask for nothing: MariaDB shows its filters all the same.
    let blind = Setup::of(&stack).start();
    let mut reader = blind.client(&tenant);
    until("hidden", || {
        reader.run("SELECT id FROM note");
        blind.metric("forebay_server_findings", &["finding=\"hidden\""]) == 2.0
    });
    blind.wait_for_readers(2);
    let mut root = stack.root(REPLICAS[0]);
    let filter = |root: &mut super::client::Client, tables: &str| match flavour {
        Flavour::MariaDb => {
            root.run("STOP SLAVE");
            root.run(&format!("SET GLOBAL replicate_wild_ignore_table = '{tables}'"));
            root.run("START SLAVE");
        }
        Flavour::MySql97 | Flavour::MySql56 => {
            let list = if tables.is_empty() { String::new() } else { format!("'{tables}'") };
            root.run("STOP REPLICA SQL_THREAD");
            root.run(&format!("CHANGE REPLICATION FILTER REPLICATE_WILD_IGNORE_TABLE = ({list})"));
            root.run("START REPLICA SQL_THREAD");
        }
    };
    filter(&mut root, "other.%");
    until_found(&proxy, &stack, "filtered", false);
    let (_, page) = proxy.get("/").unwrap();
    assert!(page.contains("replicate_wild_ignore_table=other.%"), "{page}");
    assert!(proxy.log().contains("replication filter replicate_wild_ignore_table=other.%"));
    if flavour == Flavour::MariaDb {
        until_found(&blind, &stack, "filtered", false);
    }
    filter(&mut root, "");
    until_fine(&proxy);
}

fn replicas_that_have_what_their_primary_has_not(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "diverged");
    let proxy = start(&stack, &tenant);
    let (mut root, mut primary) = (stack.root(REPLICAS[0]), stack.root(PRIMARY));
    match flavour {
        Flavour::MariaDb => {
            root.run("STOP SLAVE");
            let place = root.cell("SELECT @@GLOBAL.gtid_slave_pos");
            root.run(&format!("SET GLOBAL gtid_slave_pos = '{place},77-77-7'"));
            until_found(&proxy, &stack, "diverged", false);
            root.run(&format!("SET GLOBAL gtid_slave_pos = '{place}'"));
            root.run("START SLAVE");
        }
        Flavour::MySql97 | Flavour::MySql56 => {
            let gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:7";
            let empty =
                format!("SET gtid_next = '{gtid}'; BEGIN; COMMIT; SET gtid_next = AUTOMATIC");
            let run = |client: &mut super::client::Client| {
                empty.split("; ").for_each(|statement| drop(client.run(statement)));
            };
            root.run("SET GLOBAL super_read_only = OFF");
            run(&mut root);
            root.run("SET GLOBAL super_read_only = ON");
            until_found(&proxy, &stack, "diverged", false);
            // The usual way out: the primary takes it for its own.
            run(&mut primary);
        }
    }
    until_fine(&proxy);
}

/// A server that does not flush its log at each commit claims rows after a crash that it lost.
fn replicas_that_may_have_lost_rows(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "lost_rows");
    let lines = stack.folder.join("extra.cnf");
    let before = std::fs::read(&lines).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&lines).unwrap();
    writeln!(file, "innodb_flush_log_at_trx_commit=0").unwrap();
    let crash = || {
        stack.script(&["kill", REPLICAS[0]]);
        stack.script(&["start", REPLICAS[0]]);
    };
    crash();
    let proxy = start(&stack, &tenant);
    // Many run like that: it is said, and they are read from.
    until_found(&proxy, &stack, "unflushed", true);
    crash();
    until_found(&proxy, &stack, "may_have_lost", false);
    stack.root(REPLICAS[0]).run("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    until_fine(&proxy);
    std::fs::write(&lines, before).unwrap();
}

fn stopped_replicas_stay_as_long_as_they_are_good_enough(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = prepare(&stack, "stopped");
    let proxy = start(&stack, &tenant);
    let mut root = stack.root(REPLICAS[0]);
    let word = if flavour == Flavour::MariaDb { "SLAVE" } else { "REPLICA" };
    root.run(&format!("STOP {word} SQL_THREAD"));
    until_found(&proxy, &stack, "applier_stopped", true);
    root.run(&format!("STOP {word} IO_THREAD"));
    until_found(&proxy, &stack, "receiver_stopped", true);
    root.run(&format!("START {word}"));
    until_fine(&proxy);
}
