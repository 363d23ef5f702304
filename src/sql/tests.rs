//! Tables of statements and what they are taken for.
//!
//! A line is a text and its facts: `R` proved read, `U` unknown read, `P` primary; then the verb
//! unless it is SELECT, effects, tables read and `>` tables written (`?` if not all are known).

use super::*;

mod corpus;
mod property;
mod trap;
mod wordpress;

fn facts(text: &[u8], mode: Mode) -> std::sync::Arc<Statement> {
    Classifier::new(1).classify(&mut LocalCache::new(), text, mode)
}

fn name(table: &Table) -> String {
    table.schema.iter().map(|schema| format!("{schema}.")).collect::<String>() + &table.name
}

fn line(statement: &Statement) -> String {
    let mut line = match statement.proof {
        Proof::Read => "R",
        Proof::UnknownRead => "U",
        Proof::No => "P",
    }
    .to_owned();
    if statement.verb != Verb::Select {
        line += &format!(" {:?}", statement.verb);
    }
    if !statement.effects.is_empty() {
        line += &format!(" {}", statement.effects);
    }
    for table in &statement.reads {
        line += &format!(" {}", name(table));
    }
    for table in &statement.writes {
        line += &format!(" >{}", name(table));
    }
    for setting in &statement.settings {
        let literal = if setting.literal { "" } else { "~" };
        line += &format!(" {literal}{}:{:?}", setting.name, setting.scope);
    }
    if let Some(database) = &statement.use_database {
        line += &format!(" use:{database}");
    }
    let tables = matches!(
        statement.verb,
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::Ddl
    );
    if !statement.tables_known && (tables || statement.proof == Proof::Read) {
        line += " ?";
    }
    if statement.statements != 1 {
        line += &format!(" x{}", statement.statements);
    }
    line
}

#[track_caller]
fn check_in(mode: Mode, text: &str, expected: &str) {
    let statement = facts(text.as_bytes(), mode);
    assert_eq!(line(&statement), expected, "{text} ({})", statement.why);
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_in(Mode::default(), text, expected);
}
