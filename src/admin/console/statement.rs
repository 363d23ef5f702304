//! The console's statements and what each answers.
//!
//! A handful of fixed sentences, not SQL: whatever else comes is an error that names them. It
//! gathers no facts itself. opensrv calls it, from behind `adapter`.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter, OkResponse,
    ParamParser, QueryResultWriter, StatementMetaWriter, StatusFlags,
};
use tokio::io::AsyncWrite;

use crate::admin::{Facts, Table, Topic};

/// The answers, as opensrv asks for them.
pub(super) struct Answers {
    facts: Arc<dyn Facts>,
}

/// What a text asks for.
#[derive(Debug, PartialEq, Eq)]
enum Statement<'a> {
    Show(Topic<'a>),
    Help,
    /// A constant that clients ask for when they connect: the column and its value.
    Constant(&'static str, &'static str),
    /// A client tells what is so anyway.
    Granted,
    Unknown,
}

/// What there is to say, for HELP and for errors.
const STATEMENTS: [(&str, &str); 6] = [
    ("SHOW BACKENDS", "the servers and how they are"),
    ("SHOW POOLS", "connections to each server"),
    ("SHOW ROUTES", "where statements went, and why"),
    ("SHOW CONFIG", "every setting and where it came from"),
    ("EXPLAIN ROUTE <statement>", "where a statement would go, and why"),
    ("HELP", "this list"),
];

impl<'a> Statement<'a> {
    fn parse(text: &'a str) -> Self {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == ';');
        if let Some(sql) = behind(text, &["EXPLAIN", "ROUTE"]) {
            return if sql.is_empty() { Self::Unknown } else { Self::Show(Topic::Route(sql)) };
        }
        let words: Vec<_> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
        match words.join(" ").as_str() {
            "SHOW BACKENDS" => Self::Show(Topic::Backends),
            "SHOW POOLS" => Self::Show(Topic::Pools),
            "SHOW ROUTES" => Self::Show(Topic::Routes),
            "SHOW CONFIG" => Self::Show(Topic::Config),
            "HELP" => Self::Help,
            "SELECT 1" => Self::Constant("1", "1"),
            "SELECT VERSION()" => Self::Constant("VERSION()", super::VERSION),
            "SELECT @@VERSION_COMMENT" | "SELECT @@VERSION_COMMENT LIMIT 1" => {
                Self::Constant("@@version_comment", "Forebay admin console")
            }
            // It speaks UTF-8 and has no transactions, whatever is asked for.
            set if set.starts_with("SET NAMES ") || set.starts_with("SET AUTOCOMMIT") => {
                Self::Granted
            }
            _ => Self::Unknown,
        }
    }
}

/// What stands behind these words, if the text begins with them.
fn behind<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    words.iter().try_fold(text, |text, word| {
        let (head, rest) = text.split_at_checked(word.len())?;
        let ends = rest.chars().next().is_none_or(char::is_whitespace);
        (ends && head.eq_ignore_ascii_case(word)).then(|| rest.trim_start())
    })
}

/// Why there is no such schema.
pub(super) fn no_database(name: &str) -> String {
    format!("Unknown database '{name}': the console has none")
}

impl Answers {
    pub(super) fn new(facts: Arc<dyn Facts>) -> Self {
        Self { facts }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Answers {
    type Error = io::Error;

    fn version(&self) -> String {
        super::VERSION.into()
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let table = match Statement::parse(query) {
            Statement::Show(topic) => self.facts.table(topic),
            Statement::Help => Table::new(
                "",
                &["statement", "answer"],
                STATEMENTS.iter().map(|&(name, what)| vec![name.into(), what.into()]).collect(),
            ),
            Statement::Constant(name, value) => Table::new("", &[name], vec![vec![value.into()]]),
            Statement::Granted => {
                let status_flags = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
                return results.completed(OkResponse { status_flags, ..Default::default() }).await;
            }
            Statement::Unknown => {
                let names: Vec<_> = STATEMENTS.iter().map(|(name, _)| *name).collect();
                let names = names.join(", ");
                let text = format!("This is Forebay's console, not a database. It has: {names}");
                return results.error(ErrorKind::ER_PARSE_ERROR, text.as_bytes()).await;
            }
        };
        write(&table, results).await
    }

    async fn on_init<'a>(
        &'a mut self,
        database: &'a str,
        result: InitWriter<'a, W>,
    ) -> io::Result<()> {
        result.error(ErrorKind::ER_BAD_DB_ERROR, no_database(database).as_bytes()).await
    }

    async fn on_prepare<'a>(
        &'a mut self,
        _: &'a str,
        result: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        result.error(ErrorKind::ER_UNKNOWN_COM_ERROR, NEVER.as_bytes()).await
    }

    async fn on_execute<'a>(
        &'a mut self,
        _: u32,
        _: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        results.error(ErrorKind::ER_UNKNOWN_COM_ERROR, NEVER.as_bytes()).await
    }

    async fn on_close<'a>(&'a mut self, _: u32)
    where
        W: 'async_trait,
    {
    }
}

/// The adapter lets no such command through.
const NEVER: &str = "Unknown command";

async fn write<W: AsyncWrite + Send + Unpin>(
    table: &Table,
    results: QueryResultWriter<'_, W>,
) -> io::Result<()> {
    let column = |name: &String| Column {
        table: String::new(),
        column: name.clone(),
        coltype: ColumnType::MYSQL_TYPE_VAR_STRING,
        colflags: ColumnFlags::empty(),
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let mut rows = results.start(&columns).await?;
    for row in &table.rows {
        rows.write_row(row.iter().map(String::as_str)).await?;
    }
    rows.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_they_say() {
        fn check(text: &str, expected: Statement<'_>) {
            assert_eq!(Statement::parse(text), expected, "{text}");
        }
        check("SHOW BACKENDS", Statement::Show(Topic::Backends));
        check(" show\n pools ;; ", Statement::Show(Topic::Pools));
        check("Show Routes;", Statement::Show(Topic::Routes));
        check("SHOW CONFIG", Statement::Show(Topic::Config));
        check("SHOW CONFIGS", Statement::Unknown);
        check("EXPLAIN ROUTE SELECT 'a;' ;", Statement::Show(Topic::Route("SELECT 'a;'")));
        check("explain\troute\nséance", Statement::Show(Topic::Route("séance")));
        check("EXPLAIN ROUTE", Statement::Unknown);
        check("EXPLAIN ROUTES x", Statement::Unknown);
        check("EXPLAIé ROUTE x", Statement::Unknown);
        check("help", Statement::Help);
        check("select 1", Statement::Constant("1", "1"));
        check("SELECT 2", Statement::Unknown);
        check("select VERSION()", Statement::Constant("VERSION()", super::super::VERSION));
        check("SET NAMES utf8mb4", Statement::Granted);
        check("set autocommit=0", Statement::Granted);
        check("SET @@global.read_only = 1", Statement::Unknown);
        check("", Statement::Unknown);
        check(";", Statement::Unknown);
    }
}
