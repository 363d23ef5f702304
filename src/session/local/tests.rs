//! Answers from memory: what is kept, whom it answers, and when it is run after all.

use std::sync::Arc;

use crate::cluster::Role;
use crate::freshness::Freshness;
use crate::session::Session;
use crate::session::hold::Hold;
use crate::session::local::{Key, Recording};
use crate::session::observe::{Ending, Outcome, Replied, Said, Sent};
use crate::session::plan::{Plan, Policy};
use crate::session::variable::Values;
use crate::sql::{Classifier, LocalCache, Mode, Statement};
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::ok::{Status, Tracked};
use crate::wire::reply::{End, Summary};

const CLIENT: Capabilities = Capabilities::PROTOCOL_41;
const POLICY: Policy = Policy::SPLIT;
const QUERY: u8 = 3;

fn facts(text: &str) -> Arc<Statement> {
    Classifier::new(1).classify(&mut LocalCache::new(), text.as_bytes(), Mode::default())
}

fn answer(status: u16, tracked: &[(&str, &str)]) -> Summary {
    let told = tracked.iter().map(|(name, value)| match *name {
        "schema" => Tracked::Schema((*value).into()),
        name => Tracked::Variable { name: name.into(), value: (*value).into() },
    });
    Summary {
        end: Some(End::Ok),
        status: Status(status),
        results: 1,
        tracked: told.collect(),
        ..Summary::default()
    }
}

/// Lets a session say something to the primary; gives the recording of it, if there is one.
fn say(session: &mut Session, text: &str, summary: &Summary) -> Option<Recording> {
    let draft = session.key(1, CLIENT, QUERY, text.as_bytes())?.draft();
    run(session, text, summary);
    session.record(draft, summary, b"its answer")
}

fn run(session: &mut Session, text: &str, summary: &Summary) {
    let statement = facts(text);
    let freshness = Freshness::new(std::time::Instant::now());
    let Plan::Forward(forward) = session.plan(&statement, POLICY, &freshness) else { panic!() };
    let outcome = Outcome {
        role: Role::Primary,
        sent: Sent::Whole,
        replied: Replied::Nothing,
        end: Ending::Answered,
        summary,
    };
    let said = Said::Statement(&statement, text.as_bytes());
    let _told = session.observe(&forward, said, &outcome);
    session.settle(said);
}

fn fresh() -> Session {
    Session::new(1, Mode::default())
}

#[test]
fn a_replay_leaves_what_the_server_told() {
    let mode = answer(2, &[("sql_mode", "ANSI_QUOTES")]);
    let text = "SET SESSION sql_mode='ANSI_QUOTES'";
    let mut first = fresh();
    let recording = Arc::new(say(&mut first, text, &mode).unwrap());
    let mut second = fresh();
    let key = second.key(1, CLIENT, QUERY, text.as_bytes()).unwrap();
    assert!(recording.fits(&key));
    assert_eq!(recording.reply(), b"its answer");
    second.replay(&recording);
    assert_eq!(second.values(), first.values());
    assert_eq!(second.fingerprint(), first.fingerprint());
    assert_eq!(second.mode(), first.mode());
    assert!(second.mode().ansi_quotes);
}

#[test]
fn flags_are_replayed_too() {
    let mode = answer(0x202, &[("sql_mode", "NO_BACKSLASH_ESCAPES")]);
    let text = "SET sql_mode='NO_BACKSLASH_ESCAPES'";
    let recording = Arc::new(say(&mut fresh(), text, &mode).unwrap());
    let mut second = fresh();
    second.replay(&recording);
    assert!(second.mode().no_backslash_escapes);
    assert_eq!(second.status(), Status(0x202));
    assert!(!recording.fits(&second.key(1, CLIENT, QUERY, text.as_bytes()).unwrap()));
}

#[test]
fn every_part_of_the_key_counts() {
    let text = "SET NAMES latin1";
    let recording = say(&mut fresh(), text, &answer(2, &[("character_set_client", "latin1")]));
    let recording = recording.unwrap();
    let check = |session: &Session, account, client, command, text: &str, expected| {
        let key = session.key(account, client, command, text.as_bytes()).unwrap();
        assert_eq!(recording.fits(&key), expected, "{key:?}");
    };
    let session = fresh();
    check(&session, 1, CLIENT, QUERY, text, true);
    check(&session, 2, CLIENT, QUERY, text, false);
    check(&session, 1, CLIENT.with(Capabilities::DEPRECATE_EOF), QUERY, text, false);
    check(&session, 1, CLIENT, 2, text, false);
    check(&session, 1, CLIENT, QUERY, "SET NAMES  latin1", false);
    let mut other = fresh();
    other.begin_with(|values| values.database = Some((*b"wp").into()));
    check(&other, 1, CLIENT, QUERY, text, false);
    let nothing = Values::default();
    assert!(!recording.fits(&Key::of_login(1, &nothing, text.as_bytes())));
}

#[test]
fn not_every_answer_is_kept() {
    let check = |text: &str, summary: Summary, expected: bool| {
        assert_eq!(say(&mut fresh(), text, &summary).is_some(), expected, "{text} {summary:?}");
    };
    let good = || answer(2, &[("sql_mode", "ANSI")]);
    check("SET sql_mode='ANSI'", good(), true);
    check("SET sql_mode='ANSI'", Summary { warnings: 3, ..good() }, true);
    let refused = End::Err { code: 1231, state: *b"42000", message: Vec::new() };
    check("SET sql_mode='ANSI'", Summary { end: Some(refused), ..good() }, false);
    check("SET sql_mode='ANSI'", Summary { end: None, ..good() }, false);
    check("SET sql_mode='ANSI'", Summary { insert_id: 1, ..good() }, false);
    check("SET sql_mode='ANSI'", Summary { affected: 1, ..good() }, false);
    // It opened a transaction, or told what cannot be carried: the session holds now.
    check("SET sql_mode='ANSI'", Summary { status: Status(3), ..good() }, false);
    check("SET sql_mode='ANSI'", Summary { status: Status(0), ..good() }, false);
    check("SET sql_mode='ANSI'", answer(2, &[]), false);
    check("SET sql_mode='ANSI'", answer(2, &[("stranger", "1")]), false);
    let long = format!("SET time_zone='{}'", "x".repeat(crate::limits::REPLAY_BYTES_MAX));
    check(&long, answer(2, &[("time_zone", "x")]), false);
}

#[test]
fn a_session_that_holds_asks_its_server() {
    let mut session = fresh();
    assert!(session.key(1, CLIENT, QUERY, b"SET NAMES utf8").is_some());
    session.holds.add(Hold::InsertId);
    session.holds.add(Hold::Diagnostics);
    assert!(session.key(1, CLIENT, QUERY, b"SET NAMES utf8").is_some(), "soft holds");
    for hold in Hold::ALL {
        if !matches!(hold, Hold::InsertId | Hold::Diagnostics) {
            let mut session = fresh();
            session.holds.add(hold);
            assert!(session.key(1, CLIENT, QUERY, b"SET NAMES utf8").is_none(), "{hold:?}");
        }
    }
    let mut session = fresh();
    session.cut = true;
    assert!(session.key(1, CLIENT, QUERY, b"SET NAMES utf8").is_none(), "a cut transaction");
}

#[test]
fn who_asks_for_diagnostics_gets_those_of_what_was_replayed() {
    let told = answer(2, &[("character_set_client", "latin1")]);
    let names = say(&mut fresh(), "SET NAMES latin1", &told).unwrap();
    let names = Arc::new(names);
    let owed = |session: &Session, text: &str| {
        session.owes(Said::Statement(&facts(text), text.as_bytes())).len()
    };
    let mut session = fresh();
    assert_eq!(owed(&session, "SHOW WARNINGS"), 0);
    session.replay(&names);
    session.replay(&names);
    for text in
        ["SHOW WARNINGS", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT @@warning_count"]
    {
        assert_eq!(owed(&session, text), 1, "{text}");
    }
    assert_eq!(owed(&session, "SET NAMES utf8"), 1, "its turn comes after theirs");
    assert_eq!(session.owes(Said::Command(&Command::InitDb(b"wp"))).len(), 1);
    for text in ["SELECT 1", "UPDATE t SET a = 1", "BEGIN"] {
        assert_eq!(owed(&session, text), 0, "{text}");
    }
    assert!(session.owes(Said::Command(&Command::Ping)).is_empty());
    run(&mut session, "SELECT 1", &answer(2, &[]));
    assert_eq!(owed(&session, "SHOW WARNINGS"), 0, "another statement has run since");
}

#[test]
fn the_list_of_what_never_ran_is_bounded() {
    let mut session = fresh();
    let mut said = 0;
    for at in 0..1000 {
        let text = format!("SET time_zone='+0{}:00'", at % 9);
        let Some(key) = session.key(1, CLIENT, QUERY, text.as_bytes()) else { break };
        let recording = Arc::new(key.draft());
        session.replay(&recording);
        said += 1;
    }
    assert_eq!(said, crate::limits::UNPLAYED_MAX);
    session.reset();
    assert!(session.key(1, CLIENT, QUERY, b"SET NAMES utf8").is_some());
}
