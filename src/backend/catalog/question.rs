//! The questions that a catalog is made from, and what the answers mean.
//!
//! Columns by place: their names' letter case differs between servers. Names come as bytes of
//! UTF-8, whatever the connection's character set is. Only `backend::catalog` asks them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::pool::Lease;
use crate::backend::query::{Answers, QueryError, Rows, put_command, put_query};
use crate::cluster::Catalog;
use crate::cluster::catalog::{Draft, Name};
use crate::limits;
use crate::secret::Credentials;
use crate::sql::{Mode, Unfit};
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;

const COM_RESET_CONNECTION: u8 = 31;
/// Schemas that hold no site's data; `sql` knows them.
const SYSTEM: &str = "('information_schema','performance_schema','sys','mysql')";
/// Engines whose rows go to replicas and outlive a restart there.
const ENGINES: &str = "('InnoDB','MyISAM','Aria','ROCKSDB','TokuDB','ARCHIVE','ndbcluster')";
/// Kinds of base tables.
const KINDS: &str = "('BASE TABLE','SYSTEM VERSIONED')";
/// A new login, where a connection cannot be reset.
const LOGIN_WAIT: Duration = Duration::from_secs(3);
/// Tables asked for in one question.
const NAMES_AT_ONCE: usize = 500;

/// Why there is no catalog.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no connection to the primary.
    #[error("no connection: {}", String::from_utf8_lossy(&.0.message))]
    NoLease(ErrPacket),
    /// No answer, or one that says no.
    #[error(transparent)]
    Asked(#[from] QueryError),
    /// It takes too long.
    #[error("no answer in time")]
    TimedOut,
    /// There are too many.
    #[error("more than {} views and unfit tables", limits::CATALOG_NAMES_MAX)]
    TooMany,
}

impl From<ErrPacket> for Failure {
    fn from(refused: ErrPacket) -> Self {
        Self::NoLease(refused)
    }
}

impl Failure {
    /// Asked again soon, the server would say the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Asked(QueryError::Refused(_) | QueryError::Malformed(_)) | Self::TooMany => true,
            Self::Asked(QueryError::Lost(_)) | Self::NoLease(_) | Self::TimedOut => false,
        }
    }
}

/// Reads a catalog. After a failure the connection may be in the middle of an answer.
pub(super) async fn read(
    lease: &mut Lease,
    credentials: &Arc<Credentials>,
    covers: u64,
) -> Result<Catalog, Failure> {
    let flavour = lease.pool().dialer().flavour();
    let mut draft = Draft::new(Mode { flavour, ..Mode::default() });
    let mut flight = begin(lease, credentials).await?;
    let capabilities = lease.capabilities;
    put_query(&mut flight, capabilities, views().as_bytes());
    put_query(&mut flight, capabilities, tables().as_bytes());
    // With autocommit off, the look would be a transaction.
    put_query(&mut flight, capabilities, b"COMMIT");
    let resets = lease.residue;
    let mut answers = Answers::to(&mut lease.stream, capabilities, &flight).await?;
    if resets {
        answers.ok().await?;
    }
    let (views, tables) = (answers.rows().await?, answers.rows().await?);
    answers.ok().await?;
    fill(&mut draft, &views, &tables)?;
    let mut seen = HashSet::new();
    for question in questions(&draft) {
        let mut flight = Vec::new();
        put_query(&mut flight, capabilities, question.as_bytes());
        put_query(&mut flight, capabilities, b"COMMIT");
        let mut answers = Answers::to(&mut lease.stream, capabilities, &flight).await?;
        let rows = answers.rows().await?;
        answers.ok().await?;
        seen.extend(rows.iter().filter_map(|row| Name::new(text(row, 0)?, text(row, 1)?)));
    }
    draft.resolve(&seen, covers).ok_or(Failure::TooMany)
}

/// What a session left there could change the answers.
async fn begin(lease: &mut Lease, credentials: &Arc<Credentials>) -> Result<Vec<u8>, Failure> {
    let mut flight = Vec::new();
    if !lease.residue {
        return Ok(flight);
    }
    if lease.capabilities.has(Capabilities::SESSION_TRACK) {
        put_command(&mut flight, COM_RESET_CONNECTION, b"");
        return Ok(flight);
    }
    let deadline = Instant::now() + LOGIN_WAIT;
    let renewed = lease.renew(credentials, Capabilities(0), deadline).await;
    renewed.map_err(|error| QueryError::Lost(std::io::Error::other(error.to_string())))?;
    Ok(flight)
}

fn views() -> String {
    let longest = limits::COMMAND_ROUTED_BYTES_MAX;
    // A definition that is too long to be understood is not carried over: it counts as unseen.
    format!(
        "SELECT CAST(TABLE_SCHEMA AS BINARY), CAST(TABLE_NAME AS BINARY), \
         CAST(IF(LENGTH(VIEW_DEFINITION) > {longest}, '', VIEW_DEFINITION) AS BINARY) \
         FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN {SYSTEM} LIMIT {}",
        limits::CATALOG_NAMES_MAX + 1
    )
}

fn tables() -> String {
    format!(
        "SELECT CAST(TABLE_SCHEMA AS BINARY), CAST(TABLE_NAME AS BINARY), \
         TABLE_TYPE IN ('VIEW','SYSTEM VIEW') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA NOT IN {SYSTEM} AND NOT (COALESCE(TABLE_TYPE,'') IN {KINDS} \
         AND COALESCE(ENGINE,'') IN {ENGINES}) LIMIT {}",
        limits::CATALOG_NAMES_MAX + 1
    )
}

/// Which of the tables that views read are there, and fit.
fn questions(draft: &Draft) -> Vec<String> {
    let mut names = draft.questions();
    // What would have to be escaped is not asked for, and so not seen.
    let is_plain = |text: &str| !text.contains(['\'', '\\']);
    names.retain(|name| is_plain(name.schema()) && is_plain(name.table()));
    names.sort_unstable_by_key(|name| (name.schema(), name.table()));
    let mut questions = Vec::new();
    for one_schema in names.chunk_by(|a, b| a.schema() == b.schema()) {
        for names in one_schema.chunks(NAMES_AT_ONCE) {
            let Some(first) = names.first() else { continue };
            let list: Vec<String> = names.iter().map(|it| format!("'{}'", it.table())).collect();
            questions.push(format!(
                "SELECT CAST(TABLE_SCHEMA AS BINARY), CAST(TABLE_NAME AS BINARY) \
                 FROM information_schema.TABLES WHERE LOWER(TABLE_SCHEMA) = '{}' \
                 AND LOWER(TABLE_NAME) IN ({}) AND TABLE_TYPE IN {KINDS} AND ENGINE IN {ENGINES} \
                 LIMIT {}",
                first.schema(),
                list.join(","),
                names.len().saturating_mul(8)
            ));
        }
    }
    questions
}

fn fill(draft: &mut Draft, views: &Rows, tables: &Rows) -> Result<(), Failure> {
    if views.len().max(tables.len()) > limits::CATALOG_NAMES_MAX {
        return Err(Failure::TooMany);
    }
    let mut listed = HashSet::new();
    for row in views {
        let (schema, table) = named(row)?;
        draft.add_view(schema, table, text(row, 2).unwrap_or_default());
        listed.insert((schema, table));
    }
    for row in tables.iter() {
        let (schema, table) = named(row)?;
        let is_view = text(row, 2) == Some("1");
        if !listed.contains(&(schema, table)) {
            draft.add(schema, table, if is_view { Unfit::View } else { Unfit::Engine });
        }
    }
    Ok(())
}

fn named(row: &[Option<Vec<u8>>]) -> Result<(&str, &str), Failure> {
    let pair = text(row, 0).zip(text(row, 1));
    pair.ok_or_else(|| QueryError::from(Malformed { what: "a name that is no text" }).into())
}

fn text(row: &[Option<Vec<u8>>], column: usize) -> Option<&str> {
    std::str::from_utf8(row.get(column)?.as_deref()?).ok()
}
