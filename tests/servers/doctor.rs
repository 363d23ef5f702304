//! `forebay check --connect` at real servers: what it says, and how it ends.

use super::proxy::{run, scratch};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both};

on_both!(it_names_the_grade_and_the_grants, it_finds_what_is_wrong);

/// What it says of a stack, asked by this account, and its exit code.
fn examine(stack: &Stack, user: &str, password: &str) -> (String, i32) {
    let file = scratch("doctor-password");
    std::fs::write(&file, password).unwrap();
    let replicas = REPLICAS.map(|node| stack.address(node)).join(",");
    let account = ["--user", user, "--password-file", file.to_str().unwrap()];
    let servers = ["--primary", stack.address(PRIMARY), "--replicas", &replicas];
    let output = run(&[["check", "--connect"].as_slice(), &account, &servers].concat());
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[track_caller]
fn check(stack: &Stack, tenant: &Tenant, code: i32, parts: &[&str]) {
    let (said, exit) = examine(stack, &tenant.name, &tenant.name);
    assert_eq!(exit, code, "{said}");
    for part in parts {
        let part = part.replace("ACCOUNT", &format!("'{}'@'%'", tenant.name));
        assert!(said.contains(&part), "no {part:?} in\n{said}");
    }
}

fn it_names_the_grade_and_the_grants(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("doctor");
    let mut root = stack.root(PRIMARY);
    let grant = |root: &mut super::client::Client, privilege: &str| {
        root.run(&format!("GRANT {privilege} ON *.* TO {}", tenant.name));
        stack.sync();
    };
    let state = match flavour {
        Flavour::MariaDb => "SLAVE MONITOR",
        Flavour::MySql97 | Flavour::MySql56 => "REPLICATION CLIENT",
    };
    let (state_line, slave_line) = (
        format!("GRANT {state} ON *.* TO ACCOUNT"),
        "GRANT REPLICATION SLAVE ON *.* TO ACCOUNT".to_owned(),
    );
    check(&stack, &tenant, 0, &["freshness  whole", &state_line, &slave_line]);
    grant(&mut root, state);
    grant(&mut root, "REPLICATION SLAVE");
    let (said, _) = examine(&stack, &tenant.name, &tenant.name);
    assert!(!said.contains(state), "{said}");
    check(&stack, &tenant, 0, &["freshness  per table", "GRANT SELECT ON"]);
    root.run(&format!("CREATE TABLE {}.wp_options (option_name VARCHAR(191))", tenant.name));
    check(&stack, &tenant, 0, &["freshness  per key"]);
}

/// It tells GTIDs too soon, and may have none.
mod of_mysql56 {
    use super::{Flavour, PRIMARY, Stack, check};

    fn is_not_followed(stack: &Stack) {
        let tenant = stack.tenant("doctor");
        let mut root = stack.root(PRIMARY);
        check(stack, &tenant, 0, &["freshness  window", "GRANT REPLICATION CLIENT"]);
        let all = "REPLICATION CLIENT, REPLICATION SLAVE, PROCESS";
        root.run(&format!("GRANT {all} ON *.* TO {}", tenant.name));
        stack.sync();
        check(stack, &tenant, 0, &["freshness  whole", "MySQL before 5.7"]);
    }

    #[test]
    fn with_gtids() {
        is_not_followed(&Stack::alone(Flavour::MySql56));
    }

    #[test]
    fn without_gtids() {
        is_not_followed(&Stack::alone_by_file(Flavour::MySql56));
    }
}

fn it_finds_what_is_wrong(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    let tenant = stack.tenant("doctor_wrong");
    let mut replica = stack.root(REPLICAS[0]);
    replica.run("SET GLOBAL read_only = OFF");
    check(&stack, &tenant, 1, &["read_only = OFF", "freshness  whole"]);
    replica.run(match flavour {
        Flavour::MariaDb => "SET GLOBAL read_only = ON",
        Flavour::MySql97 | Flavour::MySql56 => "SET GLOBAL super_read_only = ON",
    });
    check(&stack, &tenant, 0, &[]);
    replica.run("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
    check(&stack, &tenant, 1, &["innodb_flush_log_at_trx_commit = 0"]);
    replica.run("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    let (said, code) = examine(&stack, &tenant.name, "wrong");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot log in") && said.contains("freshness  unknown"), "{said}");
}
