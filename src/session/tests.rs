//! One-line conversations, and the table of P4 and P5.

use std::time::Instant;

use crate::cluster::{Role, ServerId};
use crate::freshness::{Freshness, Touched, Written};
use crate::position::{self, Position};
use crate::session::Session;
use crate::session::hold::Holds;
use crate::session::observe::{Ending, Outcome, Replied, Said, Sent, Told, Verdict, after_loss};
use crate::session::plan::{Forward, Kind, Needs, Plan, Policy, Reason, Retry};
use crate::session::refusal::Refusal;
use crate::session::variable::Values;
use crate::sql::{Classifier, LocalCache, Mode, Scope, Statement};
use crate::wire::ok::{Status, Tracked};
use crate::wire::reply::{End, Expect, Summary};

const SPLIT: Policy = Policy::SPLIT;

/// A session and a server that answers as MySQL would, as far as routing can see.
struct Stage {
    session: Session,
    classifier: Classifier,
    shapes: LocalCache,
    freshness: Freshness,
    in_transaction: bool,
    autocommit: bool,
    writes: u64,
    /// The client brings new shapes too fast: nothing new is parsed.
    in_a_hurry: bool,
}

impl Stage {
    fn new() -> Self {
        let mut session = Session::new(1, Mode::default());
        session.begin_with(|values| values.database = Some((*b"wp").into()));
        let freshness = Freshness::new(Instant::now());
        freshness.start(Some(gtid(0)), None, Instant::now());
        Self {
            session,
            classifier: Classifier::new(7),
            shapes: LocalCache::default(),
            freshness,
            in_transaction: false,
            autocommit: true,
            writes: 0,
            in_a_hurry: false,
        }
    }

    /// P or R with marks: `!` refused, `=` answered here; a small `r` needs more than the start.
    fn say(&mut self, text: &str) -> String {
        let (text_bytes, mode, may) = (text.as_bytes(), Mode::default(), !self.in_a_hurry);
        let statement = self.classifier.classify_if(&mut self.shapes, text_bytes, mode, || may);
        let plan = self.session.plan(&statement, SPLIT, &self.freshness);
        let forward = match plan {
            Plan::Answer(_) => return "=".into(),
            Plan::Refuse(_) => return "!".into(),
            Plan::Forward(forward) => forward,
            other => return format!("{other:?}"),
        };
        let summary = self.answer(&statement, text, forward.want.role);
        let outcome = Outcome {
            role: forward.want.role,
            sent: Sent::Whole,
            replied: Replied::Nothing,
            end: Ending::Answered,
            summary: &summary,
        };
        let said = Said::Statement(&statement, text.as_bytes());
        let (verdict, write) = self.session.observe(&forward, said, &outcome);
        if let Some(write) = write {
            let names: Vec<&[u8]>;
            let touched = match &write.schemas {
                None => Touched::Everything,
                Some(all) => {
                    names = all.iter().map(|name| &**name).collect();
                    Touched::Schemas(&names)
                }
            };
            self.freshness.record(Written {
                touched,
                position: write.position,
                at: Instant::now(),
            });
        }
        let mut mark = match forward.want.role {
            Role::Primary => "P".to_owned(),
            Role::Reader if forward.want.floor.0 > 2 => "r".to_owned(),
            Role::Reader => "R".to_owned(),
        };
        if verdict == Verdict::Hold && self.session.holds().is_hard() {
            mark.push('*');
        }
        mark
    }

    fn answer(&mut self, statement: &Statement, text: &str, role: Role) -> Summary {
        let upper = text.to_ascii_uppercase();
        let mut summary = Summary { end: Some(End::Ok), ..Summary::default() };
        let begins = upper.starts_with("BEGIN") || upper.starts_with("START");
        if begins {
            self.in_transaction = true;
        } else if upper.starts_with("COMMIT") || upper.starts_with("ROLLBACK") {
            self.in_transaction = false;
        } else if upper.starts_with("SET AUTOCOMMIT") {
            self.autocommit = upper.ends_with('1');
        } else if ["INSERT", "UPDATE", "DELETE"].iter().any(|it| upper.starts_with(it))
            && role == Role::Primary
        {
            summary.affected = 1;
            summary.insert_id = 7;
            if !self.in_transaction {
                self.writes += 1;
                summary.tracked = vec![Tracked::Gtids(gtid_text(self.writes))];
            }
        }
        for setting in statement.settings.iter().filter(|it| it.scope == Scope::Session) {
            let name = match setting.name.as_str() {
                "names" => "character_set_client",
                name => name,
            };
            if Values::carries(name) && !upper.contains("UNTOLD") {
                let (name, value) = (name.into(), b"utf8mb4".to_vec());
                summary.tracked.push(Tracked::Variable { name, value });
            }
        }
        if upper.contains("TRIGGERED") {
            summary.tracked.push(Tracked::StateChanged);
        } else if upper.contains("GARBLED") {
            summary.tracked.push(Tracked::Unknown(2));
        }
        let mut status = if self.autocommit { Status::AUTOCOMMIT } else { Status(0) };
        if self.in_transaction {
            status = status.with(Status::IN_TRANS);
        }
        summary.status = status;
        summary
    }
}

fn gtid_text(number: u64) -> Vec<u8> {
    format!("11111111-1111-1111-1111-111111111111:1-{}", number + 1).into_bytes()
}

fn gtid(number: u64) -> Position {
    Position::parse(position::Flavour::MySql, &gtid_text(number)).unwrap()
}

fn check(script: &str, expected: &str) {
    let mut stage = Stage::new();
    let got: Vec<String> = script.split('|').map(|text| stage.say(text.trim())).collect();
    assert_eq!(got.join(" "), expected, "{script}");
}

#[test]
fn conversations() {
    check("SELECT 1", "R");
    check("BEGIN | SELECT 1 | COMMIT | SELECT 1", "P* P* P R");
    check("START TRANSACTION | INSERT INTO t VALUES (1) | ROLLBACK | SELECT a FROM t", "P* P* P R");
    check("INSERT INTO t VALUES (1) | SELECT a FROM t", "P r");
    check("INSERT INTO t VALUES (1) | SELECT a FROM other.t", "P R");
    check("INSERT INTO t VALUES (1) | SELECT table_name FROM information_schema.tables", "P r");
    check("INSERT INTO t VALUES (1) | SELECT 1 FROM other.t, information_schema.columns", "P r");
    check("INSERT INTO t VALUES (1) | SHOW TABLES", "P r");
    check("INSERT INTO t VALUES (1) | SHOW TABLES FROM wp LIKE 't%'", "P r");
    check("INSERT INTO t VALUES (1) | SHOW COLUMNS FROM t", "P r");
    check("INSERT INTO t VALUES (1) | SHOW CREATE TABLE t", "P r");
    check("INSERT INTO t VALUES (1) | DESCRIBE t", "P r");
    check("INSERT INTO t VALUES (1) | SELECT 1", "P R");
    check("INSERT INTO t VALUES (1) | SELECT TABLE_NAME FROM information_schema.TABLES", "P r");
    check("INSERT INTO t VALUES (1) | SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES", "P r");
    check("INSERT INTO t VALUES (1) | /* forebay: eventual */ SELECT a FROM t", "P R");
    check("SET autocommit=0 | SELECT 1 | SET autocommit=1 | SELECT 1", "P* P* P R");
    check("SELECT GET_LOCK('a', 0) | SELECT a FROM t | SELECT RELEASE_LOCK('a')", "P* P* P*");
    check("SELECT @a := 1 | SELECT 1", "P* P*");
    check("SET @a = 1 | SELECT @a | SELECT a FROM t", "P* P* P*");
    check("SET NAMES utf8mb4 | SELECT 1", "P R");
    check("SET SESSION sql_mode='' | SELECT 1", "P R");
    check("SET SESSION nonsense=1 | SELECT 1", "P* P*");
    // No server tells that this switches sql_big_selects.
    check("SET SESSION sql_big_selects=1 | SELECT 1", "P R");
    check("SET SESSION max_join_size=2 | SELECT 1", "P* P*");
    check("SET @@SESSION.sql_mode='ANSI' | SELECT 1", "P R");
    // A server of before trackers, or one that does not know the name it was to look at.
    check("SET SESSION sql_mode='' /* untold */ | SELECT 1", "P* P*");
    check("SET NAMES utf8mb4 /* untold */ | SELECT 1", "P* P*");
    check("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED | SELECT 1", "P R");
    check("SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED | SELECT 1", "P R");
    check("SET SESSION transaction_isolation='READ-COMMITTED' | SELECT 1", "P R");
    check("SET SESSION tx_isolation='READ-COMMITTED' | SELECT 1", "P R");
    check("SET tx_isolation='READ-COMMITTED' | SELECT 1", "P R");
    check("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE /* untold */ | SELECT 1", "P* P*");
    check("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY | SELECT 1", "P* P*");
    check("SET SESSION TRANSACTION READ ONLY | SELECT 1", "P* P*");
    // What needs no transaction leaves it for the next one.
    check("SET @@transaction_isolation='SERIALIZABLE' | SELECT 1 | SELECT a FROM t", "P* P* P*");
    check("SET TRANSACTION READ ONLY | SELECT 1 | ROLLBACK | SELECT 1", "P* P* P R");
    check("SET TRANSACTION READ WRITE | INSERT INTO t VALUES (1) | SELECT 1", "P* P R");
    // MariaDB tells of no variable that is named so.
    check("SET @@sql_mode='ANSI' | SELECT 1", "P* P*");
    check("SET @@default_storage_engine='Aria' | SELECT 1", "P* P*");
    check(
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE | BEGIN | SELECT 1 | COMMIT | SELECT 1",
        "P* P* P* P R",
    );
    check("CREATE TEMPORARY TABLE t (a INT) | SELECT a FROM t", "P* P*");
    check("LOCK TABLES t WRITE | SELECT a FROM t | UNLOCK TABLES | SELECT a FROM t", "P* P* P R");
    check("SELECT f() | SELECT 1", "P* P*");
    check("CALL p() | SELECT 1", "P* P*");
    check("SELECT a FROM t FOR UPDATE | SELECT 1", "P R");
    check("SELECT 1 | UPDATE t SET a = 1 | SELECT 1", "R P R");
    check("SELECT 1 | DELETE FROM t | SELECT b FROM t", "R P r");
    check("INSERT INTO t VALUES (1) | SELECT LAST_INSERT_ID() | SELECT 1", "P P R");
    check("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1 | SELECT FOUND_ROWS()", "R R");
    check("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1 | DO 1 | SELECT FOUND_ROWS()", "R P P");
    check(
        "SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1 | BEGIN | COMMIT | SELECT FOUND_ROWS()",
        "R P* P R",
    );
    check("/* forebay: primary */ SELECT 1", "P");
    check("KILL 7 | SELECT 1", "Kill R");
    check("KILL 7; KILL 8 | SELECT 1; KILL 8", "! !");
    check("SELECT 1; SELECT 2 | SELECT 3", "P* P*");
    check("XA START 'a' | SELECT 1", "P* P*");
    check("INSERT INTO triggered VALUES (1) | SELECT 1", "P* P*");
    check("INSERT INTO garbled VALUES (1) | SELECT 1", "P* P*");
}

#[test]
fn a_client_that_invents_shapes_is_held_and_let_go_as_any_other() {
    let check = |known: &str, script: &str, expected: &str| {
        let mut stage = Stage::new();
        stage.say(known);
        stage.in_a_hurry = true;
        let got: Vec<String> = script.split('|').map(|text| stage.say(text.trim())).collect();
        assert_eq!(got.join(" "), expected, "{script}");
    };
    check("SELECT a FROM t", "SELECT b FROM t | SELECT a FROM t", "P R");
    check("SELECT 1", "/* forebay: replica */ SELECT f(a) FROM t", "P*");
    check("SELECT 1", "/* forebay: replica */ SELECT b FROM t", "P");
    check("SELECT 1", "BEGIN | SELECT 2 | COMMIT | SELECT 1", "P* P* P R");
    check("SELECT 1", "SET autocommit=0 | SELECT 1 | SET autocommit=1 | SELECT 1", "P* P* P R");
    check("SELECT 1", "SELECT GET_LOCK('a', 0) | SELECT 1", "P* P*");
    check("SELECT 1", "SET @a = 1 | SELECT 1", "P* P*");
    check("SELECT 1", "SET NAMES utf8mb4 | SELECT 1", "P R");
    check("SELECT 1", "CREATE TEMPORARY TABLE t (a INT) | SELECT 1", "P* P*");
    check("SELECT 1", "LOCK TABLES t WRITE | SELECT 1 | UNLOCK TABLES | SELECT 1", "P* P* P R");
    check("SELECT 1", "SELECT a, b FROM t FOR UPDATE | SELECT 1", "P R");
    check("SELECT 1", "SELECT 1; SELECT b FROM t | SELECT 1", "P* P*");
    // What it writes is not known, so it may be anything.
    check("SELECT a FROM other.t", "INSERT INTO t (b) VALUES (1) | SELECT a FROM other.t", "P r");
    check("SELECT 1", "KILL 7 | SELECT 1", "Kill R");
}

#[test]
fn several_statements_are_allowed_where_there_may_be_several() {
    let check = |text: &str, mode: Mode, expected: bool| {
        for asked in [true, false] {
            let mut stage = Stage::new();
            if asked {
                stage.session.allow_multi_statements();
            }
            let statement = stage.classifier.classify(&mut stage.shapes, text.as_bytes(), mode);
            let plan = stage.session.plan(&statement, SPLIT, &stage.freshness);
            let Plan::Forward(forward) = plan else { panic!("not forwarded") };
            assert_eq!(forward.needs.multi_statements, asked && expected, "{text}");
        }
    };
    let gbk = Mode { lexable: false, ..Mode::default() };
    check("SELECT 1", Mode::default(), false);
    check("SELECT 1; SELECT 2", Mode::default(), true);
    check("SELECT 1 /*!99999 ; SELECT 2 */", Mode::default(), true);
    check("SELECT 1; SELECT 2", gbk, true);
    check(&format!("SELECT '{}'; SELECT 2", "x".repeat(20_000)), Mode::default(), true);
}

#[test]
fn a_cut_transaction_is_over_only_when_its_client_says_so() {
    let cut = |end: Ending, told: Refusal, script: &str, expected: &str| {
        let mut stage = Stage::new();
        stage.say("BEGIN");
        let statement = stage.classifier.classify(&mut stage.shapes, b"SELECT 1", Mode::default());
        let Plan::Forward(forward) = stage.session.plan(&statement, SPLIT, &stage.freshness) else {
            panic!("not forwarded")
        };
        let summary = Summary::default();
        let outcome = Outcome {
            role: Role::Primary,
            sent: Sent::Whole,
            replied: Replied::Nothing,
            end,
            summary: &summary,
        };
        let said = Said::Statement(&statement, b"SELECT 1");
        let (verdict, _) = stage.session.observe(&forward, said, &outcome);
        assert_eq!(verdict, Verdict::Fail(told));
        stage.in_transaction = false;
        let got: Vec<String> = script.split('|').map(|text| stage.say(text.trim())).collect();
        assert_eq!(got.join(" "), expected, "{script}");
    };
    use Ending::{Infile, Lost};
    let told = Refusal::TransactionCut;
    cut(Lost, told, "SELECT 1 | COMMIT | ROLLBACK | SELECT 1", "! ! = R");
    cut(Lost, told, "INSERT INTO t VALUES (1) | BEGIN | INSERT INTO t VALUES (1)", "! P* P*");
    // A server that waits for a file is left, and the transaction with it.
    cut(Infile, Refusal::LocalInfileOff, "SELECT 1 | COMMIT | ROLLBACK | SELECT 1", "! ! = R");
}

/// Every case of a server that is lost: what the client is told.
#[test]
fn what_a_client_is_told_when_a_server_is_lost() {
    let forward = |kind, retry| Forward {
        want: crate::cluster::Want::primary(),
        held: retry == Never,
        needs: Needs::default(),
        expect: Expect::Query,
        retry,
        kind,
        begins: Holds::NONE,
        soils: false,
        why: Reason::Write,
    };
    let check = |kind, retry, in_transaction, sent, replied, expected: Told| {
        let it = forward(kind, retry);
        let got = after_loss(&it, in_transaction, sent, replied);
        assert_eq!(got, expected, "{kind:?} {retry:?} {in_transaction} {sent:?} {replied:?}");
    };
    use Kind::{Commit, Read, Setting, Write};
    use Refusal::{Bug, OutcomeUnknown, ResultCut, StateLost};
    use Retry::{IfNoReplyByte, IfUnsent, Never};
    use Told::{Cut, Error, RunAgain};
    for sent in [Sent::Nothing, Sent::Part, Sent::Whole] {
        let whole = sent == Sent::Whole;
        for (kind, retry) in [(Read, IfNoReplyByte), (Setting, IfUnsent)] {
            check(kind, retry, false, sent, Replied::Nothing, RunAgain);
            check(kind, retry, false, sent, Replied::Some, Error(ResultCut));
        }
        for kind in [Read, Setting] {
            check(kind, Never, false, sent, Replied::Nothing, Error(StateLost));
            check(kind, Never, true, sent, Replied::Nothing, Cut);
            check(kind, Never, true, sent, Replied::Some, Cut);
        }
        for kind in [Write, Commit] {
            let unsent = if whole { Error(OutcomeUnknown) } else { RunAgain };
            check(kind, IfUnsent, false, sent, Replied::Nothing, unsent);
            let held = if whole { Error(OutcomeUnknown) } else { Error(StateLost) };
            check(kind, Never, false, sent, Replied::Nothing, held);
            check(kind, IfUnsent, false, sent, Replied::Some, Error(OutcomeUnknown));
            check(kind, Never, true, sent, Replied::Some, Error(OutcomeUnknown));
        }
        check(Write, Never, true, sent, Replied::Nothing, Cut);
        let commit = if whole { Error(OutcomeUnknown) } else { Cut };
        check(Commit, Never, true, sent, Replied::Nothing, commit);
        for kind in [Read, Setting, Write, Commit] {
            for in_transaction in [false, true] {
                check(kind, Never, in_transaction, sent, Replied::Whole, Error(Bug));
            }
        }
    }
}

/// A write is run again in no case in which the server may have had the whole of it.
#[test]
fn no_write_is_sent_twice() {
    for kind in [Kind::Write, Kind::Commit] {
        for retry in [Retry::Never, Retry::IfUnsent, Retry::IfNoReplyByte] {
            for in_transaction in [false, true] {
                for replied in [Replied::Nothing, Replied::Some, Replied::Whole] {
                    let it = Forward {
                        want: crate::cluster::Want::primary(),
                        held: false,
                        needs: Needs::default(),
                        expect: Expect::Query,
                        retry,
                        kind,
                        begins: Holds::NONE,
                        soils: false,
                        why: Reason::Write,
                    };
                    let told = after_loss(&it, in_transaction, Sent::Whole, replied);
                    assert_ne!(told, Told::RunAgain, "{it:?}");
                }
            }
        }
    }
}

#[test]
fn what_a_replica_refuses_runs_on_the_primary() {
    let check_why = |code: u16, role: Role, why: Option<Reason>, expected: &str| {
        let mut stage = Stage::new();
        let statement =
            stage.classifier.classify(&mut stage.shapes, b"SELECT a FROM t", Mode::default());
        let Plan::Forward(mut forward) = stage.session.plan(&statement, SPLIT, &stage.freshness)
        else {
            panic!("not forwarded")
        };
        if role == Role::Primary {
            forward.want = crate::cluster::Want::primary();
        }
        forward.why = why.unwrap_or(forward.why);
        let summary = Summary {
            end: Some(End::Err { code, state: *b"HY000", message: Vec::new() }),
            first_packet_err: true,
            ..Summary::default()
        };
        let outcome = Outcome {
            role,
            sent: Sent::Whole,
            replied: Replied::Nothing,
            end: Ending::Answered,
            summary: &summary,
        };
        let said = Said::Statement(&statement, b"SELECT a FROM t");
        let (verdict, _) = stage.session.observe(&forward, said, &outcome);
        let got = match verdict {
            Verdict::Retry(again) => format!("{:?} {}", again.want.role, again.why.label()),
            Verdict::Fail(_) => "fail".into(),
            other => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{code} {role:?}");
    };
    let check = |code, role, expected| check_why(code, role, None, expected);
    check(1792, Role::Reader, "Primary misrouted");
    check(1290, Role::Reader, "Primary misrouted");
    check(1146, Role::Reader, "Primary misrouted");
    check(1049, Role::Reader, "Primary misrouted");
    check(3024, Role::Reader, "Hold");
    check(1053, Role::Reader, "Reader replica_lost");
    check(1146, Role::Primary, "Hold");
    check(4031, Role::Primary, "Primary read");
    // Where there is no primary to do better.
    let lost = |code, expected| check_why(code, Role::Reader, Some(Reason::PrimaryLost), expected);
    lost(1146, "Hold");
    lost(1792, "Primary misrouted");
    lost(1836, "Primary misrouted");
}

#[test]
fn reads_stay_on_the_replica_that_served_the_last_one() {
    let mut stage = Stage::new();
    stage.session.served_by(ServerId(5));
    let statement = stage.classifier.classify(&mut stage.shapes, b"SELECT 1", Mode::default());
    let Plan::Forward(forward) = stage.session.plan(&statement, SPLIT, &stage.freshness) else {
        panic!()
    };
    assert_eq!(forward.want.sticky, Some(ServerId(5)));
}

/// What makes a session without a schema keep its connection is not sent over one that has another
/// session's schema: what it says next would run there.
#[test]
fn a_kept_connection_has_no_other_schema() {
    let check = |text: &str, expected: bool| {
        let mut stage = Stage::new();
        stage.session = Session::new(1, Mode::default());
        let statement =
            stage.classifier.classify(&mut stage.shapes, text.as_bytes(), Mode::default());
        let Plan::Forward(forward) = stage.session.plan(&statement, SPLIT, &stage.freshness) else {
            panic!("{text}")
        };
        assert_eq!(forward.needs.any_database, expected, "{text}");
    };
    check("SELECT 1", true);
    check("SET NAMES utf8mb4", true);
    check("USE wp", true);
    check("SET autocommit = 0", false);
    check("SHOW COUNT(*) WARNINGS", true);
    check("SHOW WARNINGS", true);
    check("SHOW TABLES", false);
    check("SELECT @a", false);
    check("SELECT GET_LOCK('a', 0)", false);
    check("SET @a = 1", false);
    check("SELECT a FROM t", false);
}
