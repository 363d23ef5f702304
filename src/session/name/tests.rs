//! Where a statement goes once its names are known, and which commands change names.

use std::collections::HashSet;
use std::time::Instant;

use super::Session;
use crate::cluster::Role;
use crate::cluster::catalog::{Catalog, Changes, Draft, Name, Names};
use crate::freshness::{Freshness, Touched, Written};
use crate::session::observe::Said;
use crate::session::plan::{Forward, Plan, Policy};
use crate::sql::{Classifier, Mode, Unfit};
use crate::wire::reply::{End, Summary};

const SPLIT: Policy = Policy::SPLIT;

/// `good` reads wp.t, `far` reads far.t, `bad` takes a lock, `memory` is of another engine.
fn catalog() -> Catalog {
    let mut draft = Draft::new(Mode::default());
    draft.add_view("wp", "good", "select `wp`.`t`.`a` AS `a` from `wp`.`t`");
    draft.add_view("wp", "far", "select `far`.`t`.`a` AS `a` from `far`.`t`");
    draft.add_view("wp", "bad", "select get_lock('a',0) AS `l`");
    draft.add("wp", "memory", Unfit::Engine);
    let seen: HashSet<Name> = draft.questions().into_iter().cloned().collect();
    draft.resolve(&seen, 0).unwrap()
}

fn session() -> Session {
    let mut session = Session::new(1, Mode::default());
    session.begin_with(|values| values.database = Some((*b"wp").into()));
    session
}

/// R or P, why, and a star where the session then keeps its connection.
fn placed(session: &mut Session, text: &str, catalog: &Catalog, policy: Policy) -> (String, u64) {
    let freshness = Freshness::new(Instant::now());
    freshness.record(Written {
        touched: Touched::Schemas(&[b"far"]),
        position: None,
        at: Instant::now(),
    });
    let changes = Changes::default();
    let names = Names { look: changes.look(), catalog };
    let statement = Classifier::read_once(text.as_bytes(), Mode::default());
    let statement = session.see(statement.into(), &names);
    let Plan::Forward(Forward { want, why, begins, .. }) =
        session.plan(&statement, policy, &freshness)
    else {
        panic!("{text} is not forwarded")
    };
    let role = if want.role == Role::Reader { "R" } else { "P" };
    let held = if begins.is_hard() { "*" } else { "" };
    (format!("{role} {}{held}", why.label()), want.floor.0)
}

#[test]
fn where_names_lead() {
    let check = |text: &str, expected: &str| {
        let (found, _) = placed(&mut session(), text, &catalog(), SPLIT);
        assert_eq!(found, expected, "{text}");
    };
    check("SELECT a FROM t", "R read");
    check("SELECT 1", "R read");
    check("SELECT a FROM good", "R read");
    check("SELECT a FROM GOOD", "R read");
    check("SELECT a FROM bad", "P view*");
    check("SELECT a FROM wp.bad", "P view*");
    check("SELECT a FROM `Bad` b JOIN t ON t.a = b.a", "P view*");
    check("SELECT a FROM t WHERE a IN (SELECT l FROM bad)", "P view*");
    check("(SELECT a FROM t) UNION (SELECT l FROM bad)", "P view*");
    check("WITH x AS (SELECT l FROM bad) SELECT * FROM x", "P view*");
    check("WITH bad AS (SELECT a FROM t) SELECT * FROM bad", "R read");
    check("SELECT a FROM other.bad", "R read");
    check("TABLE bad", "P view*");
    check("EXPLAIN SELECT * FROM bad", "P view*");
    check("SELECT a FROM memory", "P engine");
    check("SELECT a FROM memory, bad", "P view*");
    check("SELECT a FROM `é`", "P unlisted");
    check("SHOW CREATE TABLE bad", "R read");
    check("DESCRIBE bad", "R read");
    check("SHOW COLUMNS FROM bad", "R read");
    check("SHOW TABLES", "R read");
    check("SELECT TABLE_NAME FROM information_schema.TABLES", "R read");
    check("/* forebay: replica */ SELECT a FROM bad", "R hint_replica*");
    check("/* forebay: replica */ SELECT a FROM memory", "R hint_replica");
    check("/* forebay: primary */ SELECT a FROM bad", "P hint_primary*");
    check("/* forebay: eventual */ SELECT a FROM bad", "P view*");
    check("INSERT INTO t SELECT l FROM bad", "P write*");
    check("INSERT INTO t SELECT a FROM good", "P write");
    check("UPDATE t SET a = 1", "P write");
}

#[test]
fn a_view_that_locks_keeps_its_connection_in_every_mode() {
    let all_primary = Policy { split: false, ..SPLIT };
    let (found, _) = placed(&mut session(), "SELECT l FROM bad", &catalog(), all_primary);
    assert_eq!(found, "P mode_primary*");
}

#[test]
fn nothing_is_read_elsewhere_before_names_are_known() {
    let check = |text: &str, expected: &str| {
        let (found, _) = placed(&mut session(), text, &Catalog::default(), SPLIT);
        assert_eq!(found, expected, "{text}");
    };
    check("SELECT a FROM t", "P unlisted");
    check("SELECT 1", "R read");
    check("SHOW TABLES", "R read");
    check("SELECT TABLE_NAME FROM information_schema.TABLES", "R read");
    check("UPDATE t SET a = 1", "P write");
}

#[test]
fn a_view_waits_for_what_it_reads() {
    let floor = |text: &str| placed(&mut session(), text, &catalog(), SPLIT).1;
    let written = floor("SELECT a FROM far.t");
    assert!(written > floor("SELECT a FROM t"));
    assert_eq!(floor("SELECT a FROM good"), floor("SELECT a FROM t"));
    assert_eq!(floor("SELECT a FROM far"), written);
}

/// The names, `*` for any, `-` for none; `!` where they are hidden from the beginning on.
#[test]
fn which_commands_change_names() {
    let check = |text: &str, expected: &str| {
        let statement = Classifier::read_once(text.as_bytes(), Mode::default());
        let found = session().changes(Said::Statement(&statement, text.as_bytes()));
        let found = found.map_or("-".to_owned(), |change| {
            let names = change.names.map_or("*".to_owned(), |names| {
                let names = names.iter().map(|it| format!("{}.{}", it.schema(), it.table()));
                names.collect::<Vec<_>>().join(",")
            });
            names + if change.at_once { "!" } else { "" }
        });
        assert_eq!(found, expected, "{text}");
    };
    check("CREATE TABLE T (a INT)", "wp.t!");
    check("CREATE TABLE IF NOT EXISTS x.t (a INT) ENGINE=MEMORY", "x.t!");
    check("CREATE TABLE t SELECT 1", "wp.t!");
    check("ALTER TABLE t ENGINE = MEMORY", "wp.t!");
    check("DROP TABLE t, x.u", "wp.t,x.u!");
    check("RENAME TABLE t TO u", "*!");
    check("ALTER TABLE t RENAME TO u", "*!");
    check("CREATE VIEW v AS SELECT 1", "*!");
    check("CREATE OR REPLACE VIEW v AS SELECT 1", "*!");
    check("CREATE ALGORITHM=MERGE DEFINER=a@b SQL SECURITY INVOKER VIEW v AS SELECT 1", "*!");
    check("DROP VIEW v", "*!");
    check("DROP DATABASE wp", "*!");
    check("CREATE TABLE é (a INT)", "*!");
    check("CREATE TEMPORARY TABLE t (a INT)", "-");
    check("DROP TEMPORARY TABLE t", "-");
    check("GRANT SELECT ON wp.* TO a", "*!");
    check("CALL p()", "*!");
    check("EXECUTE s", "*!");
    check("FROBNICATE", "*");
    check("/*!50001 CREATE VIEW v AS SELECT 1 */", "*");
    check("/*!99999 SELECT 1 */ CREATE VIEW v AS SELECT 1", "*");
    check("SELECT 1 /*!50001 + 1 */", "*");
    check("SELECT 1; CREATE VIEW v AS SELECT 1", "*");
    check("SELECT 1; SELECT 2", "-");
    check("SELECT f()", "-");
    check("SELECT a FROM t", "-");
    check("SELECT a INTO @a FROM t", "-");
    check("INSERT INTO t VALUES (1)", "-");
    check("UPDATE t SET a = 1", "-");
    check("BEGIN", "-");
    check("COMMIT", "-");
    check("SET NAMES utf8mb4", "-");
    check("FLUSH TABLES", "-");
}

#[test]
fn what_an_answer_shows_of_names() {
    let check = |text: &str, end: End, expected: bool| {
        let statement = Classifier::read_once(text.as_bytes(), Mode::default());
        let summary =
            Summary { end: Some(end.clone()), first_packet_err: true, ..Summary::default() };
        let mut session = session();
        session.allow_multi_statements();
        let said = Said::Statement(&statement, text.as_bytes());
        assert_eq!(session.changed_nothing(said, &summary), expected, "{text} {end:?}");
    };
    let err = |code| End::Err { code, state: *b"HY000", message: Vec::new() };
    check("CREATE VIEW v AS SELECT 1", End::Ok, false);
    check("CREATE VIEW v AS SELECT", err(1064), true);
    check("DROP TABLE a, b", err(1051), false);
    check("EXECUTE s", End::Rows, true);
    check("CALL p()", End::Ok, false);
    check("CREATE VIEW v AS SELECT 1; SELECT 1", End::Rows, false);
    check("CREATE VIEW v AS SELECT 1; SELEC", err(1064), false);
    check("SELECT 1 /*!50001 ; CREATE VIEW v AS SELECT 1; SELECT 2 */", End::Rows, false);
}
