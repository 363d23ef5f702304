//! Statements that are proved by an exact token pattern, since sqlparser does not know them.
//!
//! SHOW TABLES / COLUMNS / INDEX / CREATE TABLE, DESCRIBE, `TABLE t`, the head of EXPLAIN, and the
//! targets of plain DDL. A pattern must fit to the last token; there is no "and then anything".
//! Called by `rule`.

use super::rule::Lexemes;
use super::token::Kind;
use super::{Effects, Table, is_system_schema};

/// What a SHOW asks for beyond the schema.
pub(crate) fn effects(tokens: Lexemes<'_, '_>) -> Effects {
    let count = tokens.has_word_from(1, "WARNINGS") || tokens.has_word_from(1, "ERRORS");
    if count && !tokens.has_word_from(1, "FROM") && !tokens.has_word_from(1, "LIKE") {
        return Effects::DIAGNOSTICS;
    }
    match subject(tokens).1 {
        Subject::Other => Effects::SERVER_FACT,
        _ => Effects::NONE,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Tables,
    OfTable,
    CreateTable,
    Other,
}

/// Where the subject's word ends, and which it is.
fn subject(tokens: Lexemes<'_, '_>) -> (usize, Subject) {
    let mut at = 1;
    at += usize::from(tokens.word(at, "EXTENDED"));
    at += usize::from(tokens.word(at, "FULL"));
    let is = |words: &[&str]| words.iter().any(|word| tokens.word(at, word));
    let subject = if is(&["TABLES"]) {
        Subject::Tables
    } else if is(&["COLUMNS", "FIELDS", "INDEX", "INDEXES", "KEYS"]) {
        Subject::OfTable
    } else if at == 1 && tokens.words(1, &["CREATE", "TABLE"]) {
        return (3, Subject::CreateTable);
    } else {
        Subject::Other
    };
    (at + 1, subject)
}

/// The table of a SHOW that is proved, and whether it is all that the answer depends on.
pub(crate) fn show(tokens: Lexemes<'_, '_>) -> Result<(Vec<Table>, bool), &'static str> {
    let (at, subject) = subject(tokens);
    match subject {
        Subject::Tables => {
            let (schema, at) = from_schema(tokens, at);
            ends_with_pattern(tokens, at)?;
            match schema.is_some_and(|schema| is_system_schema(&schema)) {
                true => Err("a schema about the server"),
                false => Ok((Vec::new(), false)),
            }
        }
        Subject::OfTable => {
            if !from(tokens, at) {
                return Err("an odd SHOW");
            }
            let (mut table, at) = table_at(tokens, at + 1).ok_or("an odd SHOW")?;
            let (schema, at) = from_schema(tokens, at);
            ends_with_pattern(tokens, at)?;
            table.schema = schema.or(table.schema);
            Ok((vec![table], true))
        }
        Subject::CreateTable => {
            let (table, at) = table_at(tokens, at).ok_or("an odd SHOW")?;
            match at == tokens.len() {
                true => Ok((vec![table], true)),
                false => Err("an odd SHOW"),
            }
        }
        Subject::Other => Err("a SHOW about the server"),
    }
}

fn from(tokens: Lexemes<'_, '_>, at: usize) -> bool {
    tokens.word(at, "FROM") || tokens.word(at, "IN")
}

fn from_schema(tokens: Lexemes<'_, '_>, at: usize) -> (Option<String>, usize) {
    match from(tokens, at).then(|| tokens.name(at + 1)).flatten() {
        Some(schema) => (Some(schema), at + 2),
        None => (None, at),
    }
}

/// Nothing, or `LIKE 'pattern'`. A WHERE is an expression and is left to the primary.
fn ends_with_pattern(tokens: Lexemes<'_, '_>, at: usize) -> Result<(), &'static str> {
    let like = tokens.word(at, "LIKE") && tokens.kind(at + 1) == Kind::Text;
    match tokens.len() == if like { at + 2 } else { at } {
        true => Ok(()),
        false => Err("a SHOW with a condition"),
    }
}

/// `[schema.]table` and the index behind it.
fn table_at(tokens: Lexemes<'_, '_>, at: usize) -> Option<(Table, usize)> {
    let first = tokens.name(at)?;
    if !tokens.symbol(at + 1, b'.') {
        return Some((Table { schema: None, name: first }, at + 1));
    }
    let name = tokens.name(at + 2)?;
    Some((Table { schema: Some(first), name }, at + 3))
}

/// `DESCRIBE t [column | 'pattern']`
pub(crate) fn describe(tokens: Lexemes<'_, '_>) -> Result<Table, &'static str> {
    let (table, at) = table_at(tokens, 1).ok_or("an odd DESCRIBE")?;
    let column = matches!(tokens.kind(at), Kind::Word | Kind::Quoted | Kind::Text);
    match tokens.len() == at + usize::from(column) {
        true => Ok(table),
        false => Err("an odd DESCRIBE"),
    }
}

/// Where the statement begins that an EXPLAIN explains without running it.
pub(crate) fn explained(tokens: Lexemes<'_, '_>) -> Option<usize> {
    let mut at = 1;
    if tokens.word(at, "EXTENDED") || tokens.word(at, "PARTITIONS") {
        at += 1;
    } else if tokens.word(at, "FORMAT") {
        let plain = tokens.symbol(at + 1, b'=') && tokens.kind(at + 2) == Kind::Word;
        at = plain.then_some(at + 3)?;
    }
    let starts = ["SELECT", "WITH", "TABLE"];
    let query = tokens.symbol(at, b'(') || starts.iter().any(|word| tokens.word(at, word));
    query.then_some(at)
}

/// `TABLE t`, whole.
pub(crate) fn table(tokens: Lexemes<'_, '_>) -> Option<Table> {
    if !tokens.word(0, "TABLE") {
        return None;
    }
    let (table, at) = table_at(tokens, 1)?;
    let limit = tokens.word(at, "LIMIT") && tokens.kind(at + 1) == Kind::Integer;
    (tokens.len() == if limit { at + 2 } else { at }).then_some(table)
}

/// The tables that CREATE, ALTER, DROP or TRUNCATE TABLE names. `None` for all other DDL.
pub(crate) fn ddl_targets(tokens: Lexemes<'_, '_>) -> Option<Vec<Table>> {
    let drop = tokens.word(0, "DROP");
    let truncate = tokens.word(0, "TRUNCATE");
    let plain = truncate || drop || tokens.word(0, "CREATE") || tokens.word(0, "ALTER");
    if !plain || tokens.has_word_from(0, "RENAME") || tokens.has_word_from(0, "EXCHANGE") {
        return None;
    }
    let mut at = 1;
    for word in ["OR", "REPLACE", "TEMPORARY", "IGNORE"] {
        at += usize::from(tokens.word(at, word));
    }
    if tokens.word(at, "TABLE") || tokens.word(at, "TABLES") {
        at += 1;
    } else if !truncate {
        return None;
    }
    for word in ["IF", "NOT", "EXISTS"] {
        at += usize::from(tokens.word(at, word));
    }
    let mut tables = Vec::new();
    loop {
        let (table, after) = table_at(tokens, at)?;
        tables.push(table);
        if !(drop && tokens.symbol(after, b',')) {
            return Some(tables);
        }
        at = after + 1;
    }
}
