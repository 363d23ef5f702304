//! sqlparser's tree -> tables, through an allow-list of its nodes.
//!
//! The second opinion on a read, and the names of the tables. It advises and never authorises: it
//! expands every `/*!`, knows no lexer modes and mistakes MySQL's precedence, so it is asked about a
//! shape that the token rules found harmless. A node that is not listed is a refusal.
//! Called by `rule`.

mod walk;

use sqlparser::ast::Statement;
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::Table;
use crate::limits;

/// The tables of a write.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) reads: Vec<Table>,
    pub(crate) writes: Vec<Table>,
}

/// The tables of one plain query, or why it is not one.
pub(crate) fn query(sql: &str) -> Result<Vec<Table>, &'static str> {
    match one(sql)? {
        Statement::Query(query) => walk::query(&query),
        _ => Err("the parser sees no query"),
    }
}

/// The tables of one INSERT, REPLACE, UPDATE or DELETE, where all of them can be told.
pub(crate) fn write(sql: &str) -> Result<Tables, &'static str> {
    match one(sql)? {
        Statement::Insert(insert) => walk::insert(&insert),
        Statement::Update(update) => walk::update(&update),
        Statement::Delete(delete) => walk::delete(&delete),
        _ => Err("the parser sees no write"),
    }
}

fn one(sql: &str) -> Result<Statement, &'static str> {
    let dialect = MySqlDialect {};
    let parser = Parser::new(&dialect).with_recursion_limit(limits::PARSE_DEPTH_MAX);
    let parsed = parser.try_with_sql(sql).and_then(|mut parser| parser.parse_statements());
    let mut statements = parsed.map_err(|_| "the parser does not know it")?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err("the parser sees several statements"),
    }
}
