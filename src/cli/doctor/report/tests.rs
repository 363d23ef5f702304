//! Facts of a fleet -> what is said about it.

use std::collections::BTreeMap;

use super::{Facts, Log, Report};
use crate::cluster::condition::Channel;
use crate::cluster::{Condition, Role};
use crate::sql::Flavour;

fn server(flavour: Flavour, role: Role) -> Facts {
    let settings = [
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("gtid_mode", "ON"),
        ("read_only", if role == Role::Reader { "ON" } else { "OFF" }),
        ("lower_case_table_names", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let address = if role == Role::Reader { "replica:3306" } else { "primary:3306" };
    let channel = Channel { receives: true, applies: true, ..Channel::default() };
    Facts {
        address: address.into(),
        role,
        failure: None,
        flavour,
        version: "1.2.3".into(),
        identity: address.into(),
        place: address.into(),
        account: "monitor@%".into(),
        grants: vec!["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `monitor`@`%`".into()],
        settings: BTreeMap::from(settings),
        log: Some(Log { is_written: true, filters: Vec::new() }),
        sees_columns: true,
        knows_foreign_keys: true,
        tells_gtids_too_soon: false,
        condition: Condition {
            channels: Some(vec![channel]),
            flush_log: Some(1),
            ..Condition::default()
        },
    }
}

/// Words: `p.NAME=VALUE` and `r.NAME=VALUE` are settings of the primary and of the replica, or
/// one of the facts below. Expected: the first word of the grade, whether all is fine, and words
/// of the notes that are not `ok`.
fn check(words: &str, grade: &str, is_fine: bool, notes: &[&str]) {
    let flavour = if words.contains("mariadb") { Flavour::MariaDb } else { Flavour::MySql };
    let (mut primary, mut replica) =
        (server(flavour, Role::Primary), server(flavour, Role::Reader));
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "mariadb" => {}
            "p.failure" => primary.failure = Some(value.into()),
            "r.failure" => replica.failure = Some(value.into()),
            "usage" => primary.grants = vec!["GRANT USAGE ON *.* TO `monitor`@`%`".into()],
            "all" => primary.grants = vec!["GRANT ALL PRIVILEGES ON *.* TO `monitor`@`%`".into()],
            "local" => {
                primary.grants = vec!["GRANT ALL PRIVILEGES ON `a`.* TO `monitor`@`%`".into()]
            }
            "p.hidden" => primary.log = None,
            "p.filter" => primary.log = Some(Log { is_written: true, filters: vec![value.into()] }),
            "foreign" => primary.knows_foreign_keys = false,
            "old" => primary.tells_gtids_too_soon = true,
            "blind" => primary.sees_columns = false,
            "r.hidden" => replica.condition.channels = None,
            "r.filter" => replica.condition.filters.push(value.into()),
            "r.flush" => replica.condition.flush_log = value.parse().ok(),
            "r.identity" => replica.identity = value.into(),
            "r.place" => replica.place = value.into(),
            _ => {
                let (server, name) = match name.split_once('.').unwrap() {
                    ("p", name) => (&mut primary, name),
                    (_, name) => (&mut replica, name),
                };
                server.settings.insert(name.into(), value.into());
            }
        }
    }
    let report = Report::of(&[primary, replica]);
    let text = report.to_string();
    let said: Vec<&str> =
        text.lines().filter(|line| line.contains("better") || line.contains("WRONG")).collect();
    let graded = text.lines().last().unwrap().strip_prefix("freshness  ").unwrap();
    assert_eq!(graded.split(':').next().unwrap(), grade, "{words}\n{text}");
    assert_eq!(report.is_fine(), is_fine, "{words}\n{text}");
    assert_eq!(said.len(), notes.len(), "{words}\n{text}");
    for (line, note) in said.iter().zip(notes) {
        assert!(line.contains(note), "{words}\n{line}\n has no {note:?}");
    }
}

#[test]
fn grades() {
    const SLAVE: &str = "GRANT REPLICATION SLAVE ON *.* TO 'monitor'@'%'";
    const CLIENT: &str = "GRANT REPLICATION CLIENT ON *.* TO 'monitor'@'%'";
    check("", "per key", true, &[]);
    check("all", "per key", true, &[]);
    check("mariadb", "per key", true, &[]);
    check("p.binlog_row_image=MINIMAL", "per table", true, &["binlog_row_image = FULL"]);
    check("blind", "per table", true, &["GRANT SELECT"]);
    check("p.binlog_format=MIXED", "whole", true, &["binlog_format = ROW"]);
    check("usage", "whole", true, &[SLAVE]);
    check("local", "whole", true, &[SLAVE]);
    // What is not followed names no tables.
    check("p.gtid_mode=OFF", "whole", true, &["gtid_mode = ON"]);
    // Nothing that is granted helps.
    check("old", "whole", true, &["5.7"]);
    check("old usage foreign p.gtid_mode=OFF", "whole", true, &["5.7"]);
    check("old usage p.hidden", "window", true, &["5.7", CLIENT]);
    check("foreign", "whole", true, &["GRANT PROCESS ON *.* TO 'monitor'@'%'"]);
    check("usage p.gtid_mode=OFF p.hidden", "window", true, &["gtid_mode", CLIENT, SLAVE]);
    // GTIDs need no privilege.
    check("p.hidden", "per key", true, &[]);
    check("p.failure=gone", "unknown", false, &["gone"]);
}

#[test]
fn what_is_wrong() {
    check("r.failure=gone", "per key", false, &["gone"]);
    check("p.read_only=ON", "per key", false, &["no primary"]);
    check("p.log_bin=OFF", "window", false, &["log_bin = OFF"]);
    check("p.filter=binlog_ignore_db=a", "per key", false, &["binlog_ignore_db=a"]);
    check("r.read_only=OFF", "per key", false, &["SET GLOBAL read_only = ON"]);
    check("r.read_only=OFF r.super_read_only=ON", "per key", true, &[]);
    check("r.filter=replicate_do_db=a", "per key", false, &["filter replicate_do_db=a"]);
    check("r.flush=0", "per key", false, &["innodb_flush_log_at_trx_commit = 0"]);
    check("r.hidden", "per key", true, &["GRANT REPLICATION CLIENT"]);
    check("mariadb r.hidden", "per key", true, &["GRANT SLAVE MONITOR"]);
    check("r.identity=primary:3306", "per key", false, &["auto.cnf"]);
    check("r.identity=primary:3306 r.place=primary:3306", "per key", true, &[]);
    check("r.lower_case_table_names=1", "per key", false, &["lower_case_table_names"]);
    let order = "r.replica_preserve_commit_order=OFF";
    check(order, "per key", true, &[]);
    check(&format!("{order} r.replica_parallel_workers=8"), "per key", true, &["several workers"]);
}
