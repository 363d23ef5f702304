//! Where a statement would go and why, in words for people.
//!
//! It asks `session::plan`, the one place that decides, about the statement alone: a transaction,
//! a hold or a lagging replica sends a proved read to the primary too, and the text says so. Called
//! by `app` for `/explain` and by `cli`.

use std::fmt::Write as _;
use std::time::Instant;

use crate::cluster::Role;
use crate::freshness::Freshness;
use crate::session::Session;
use crate::session::plan::{Plan, Policy, Reason};
use crate::sql::{Classifier, Hint, LocalCache, Mode, Proof, Statement, Table};

/// Which kind of server the plan of a fresh session sends a statement to, and why.
#[must_use]
pub fn verdict(statement: &Statement) -> (&'static str, String) {
    let policy = Policy::SPLIT;
    let mut session = Session::new(1, Mode::default());
    match session.plan(statement, policy, &Freshness::new(Instant::now())) {
        Plan::Forward(forward) => match forward.want.role {
            Role::Primary => ("primary", why_primary(statement, forward.why)),
            Role::Reader => ("replica", why_replica(statement)),
        },
        Plan::Refuse(refusal) => ("nowhere", format!("it is refused: {}", refusal.told().2)),
        Plan::Kill => ("nowhere", "it stops what another client does, at that one's server".into()),
        _ => ("nowhere", "it is answered by Forebay itself".into()),
    }
}

fn why_primary(statement: &Statement, reason: Reason) -> String {
    let why = if statement.why.is_empty() { "it is not a plain read" } else { statement.why };
    match (reason, statement.proof) {
        (Reason::HintPrimary, _) => "its comment asks for the primary".into(),
        (_, Proof::UnknownRead) => format!("not proved to be a plain read: {why}"),
        _ => why.into(),
    }
}

fn why_replica(statement: &Statement) -> String {
    match (statement.proof, statement.hint) {
        (Proof::Read, Hint::Eventual) => {
            "proved to be a plain read; its comment waives freshness".into()
        }
        (Proof::Read, _) => "proved to be a plain read".into(),
        _ => format!("its comment asks for it, though it is not proved: {}", statement.why),
    }
}

/// What is to be said about one statement, line by line: a name and a value each.
#[must_use]
pub fn facts(classifier: &Classifier, sql: &str, mode: Mode) -> Vec<(&'static str, String)> {
    let statement = classifier.classify(&mut LocalCache::new(), sql.as_bytes(), mode);
    let (target, why) = verdict(&statement);
    let mut facts = vec![
        ("goes to", target.into()),
        ("because", why),
        ("verb", format!("{:?}", statement.verb).to_lowercase()),
        ("effects", or_none(statement.effects.to_string().to_lowercase())),
        ("reads", tables(&statement.reads, statement.tables_known)),
        ("writes", tables(&statement.writes, statement.tables_known)),
    ];
    if statement.statements > 1 {
        facts.push(("statements", statement.statements.to_string()));
    }
    if statement.is_replayable {
        let when = "once the primary has answered it to the same account in the same state";
        facts.push(("from memory", when.into()));
    }
    facts.push(("shape", format!("{:032x}", statement.digest)));
    facts
}

/// The whole text about one statement.
#[must_use]
pub fn explain(classifier: &Classifier, sql: &str, mode: Mode) -> String {
    let mut text = format!("{}\n\n", printable(sql.trim()));
    let facts = facts(classifier, sql, mode);
    for (name, value) in &facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<11} {value}");
    }
    if facts.first().is_some_and(|(_, target)| target == "replica") {
        text.push_str(
            "\nInside a transaction, while the session holds a connection, or while no replica\n\
             has applied what it must have seen, it goes to the primary all the same.\n",
        );
        if facts.iter().any(|(name, value)| *name == "reads" && value != "none") {
            text.push_str(
                "So it does if one of these names is a view that is more than a plain read, or a\n\
                 table of an engine such as MEMORY: the servers know, and this text does not say.\n",
            );
        }
    }
    text
}

fn tables(tables: &[Table], known: bool) -> String {
    let names: Vec<_> = tables
        .iter()
        .map(|table| match &table.schema {
            Some(schema) => printable(&format!("{schema}.{}", table.name)),
            None => printable(&table.name),
        })
        .collect();
    match (known, names.is_empty()) {
        (true, _) => or_none(names.join(", ")),
        (false, true) => "not known".into(),
        (false, false) => format!("{}, perhaps more", names.join(", ")),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

/// Without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}
