//! What the primary's tables are now: the columns that keys are taken from, and foreign keys.
//!
//! What an account may not see looks as if it were not there. A column that is not seen has no
//! keys, which is safe; a foreign key is not to be missed, so those are read where nothing is
//! hidden or not at all. Called by `follow`, which knows up to where in the stream it holds.

use std::sync::Arc;

use tokio::time::Instant;

use crate::backend::dialer::OpenError;
use crate::backend::fleet::Fleet;
use crate::backend::position_question::{Dialect, Notation};
use crate::backend::query::{Answers, QueryError, Rows, ask, put_query};
use crate::cluster::{Role, Server};
use crate::freshness::closure::{Cascades, Closure};
use crate::freshness::keyed::{Keyed, KeyedTable};
use crate::freshness::transaction::Layout;
use crate::freshness::{Collation, KeyColumn, KeyKind, KeyedTables};
use crate::limits;
use crate::link::Stream;
use crate::position::Position;
use crate::secret::Credentials;
use crate::sql::Flavour;
use crate::wire::capability::Capabilities;

/// What was seen.
#[derive(Debug)]
pub(super) struct Look {
    /// The tables.
    pub(super) layout: Layout,
    /// What the primary had executed afterwards.
    pub(super) position: Position,
    /// Changes of tables that the stream had shown before.
    pub(super) changes: u64,
    /// The account may not see foreign keys.
    pub(super) is_refused: bool,
    /// Somebody had logged in who uses the tables, and whoever does sees them.
    pub(super) is_by_user: bool,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blind {
    /// No connection.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The primary tells no position.
    #[error("the primary tells no position")]
    NoPosition,
}

const TABLES: &str = "SELECT TABLE_SCHEMA,TABLE_NAME FROM information_schema.TABLES \
    WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA NOT IN \
    ('mysql','sys','information_schema','performance_schema')";

/// A connection to ask over.
struct Line<'a> {
    stream: &'a mut Stream,
    capabilities: Capabilities,
}

/// Looks at the primary, by the account that follows it and by the one that logged in last.
pub(super) async fn look(
    fleet: Arc<Fleet>,
    primary: Arc<Server>,
    account: Arc<Credentials>,
    changes: u64,
) -> Result<Look, Blind> {
    let deadline = Instant::now() + fleet.ways.connect_timeout;
    let Some(pool) = fleet.pool(primary.id) else { return Err(Blind::NoPosition) };
    let dialer = pool.dialer();
    let opening = dialer.open_at(&primary.address, &account, Capabilities(0), false, deadline);
    let (mut connection, _) = opening.await?;
    let capabilities = connection.capabilities;
    let mut line = Line { stream: &mut connection.stream, capabilities };
    let mut layout = Layout::default();
    // Whoever uses the tables sees them too: keys need no more rights than that.
    let learned = fleet.learned();
    if let Some(learned) = &learned
        && let Ok(mut lease) = fleet.lease_primary(learned, fleet.account_of(learned)).await
    {
        let capabilities = lease.capabilities;
        let mut line = Line { stream: &mut lease.stream, capabilities };
        columns(&mut line, &fleet.policy.keyed_tables, &mut layout).await?;
        lease.give_back(0);
    }
    columns(&mut line, &fleet.policy.keyed_tables, &mut layout).await?;
    let dialect = dialer.dialect();
    layout.closure = closure(line.stream, line.capabilities, dialect).await?;
    let is_refused = layout.closure == Closure::Unknown;
    let rows = line.ask(dialect.ask_primary(Notation::Gtids)).await?;
    let position = dialect.read_primary(Notation::Gtids, &rows).ok_or(Blind::NoPosition)?;
    Ok(Look { layout, position, changes, is_refused, is_by_user: learned.is_some() })
}

impl Line<'_> {
    async fn ask(&mut self, text: &str) -> Result<Rows, QueryError> {
        ask(self.stream, self.capabilities, text).await
    }
}

/// Adds the keyed columns of all tables that can be seen and are not known yet.
async fn columns(
    line: &mut Line<'_>,
    keyed: &KeyedTables,
    layout: &mut Layout,
) -> Result<(), QueryError> {
    let rows = line.ask(TABLES).await?;
    let names = rows.iter().filter_map(|row| Some((plain(row, 0)?, plain(row, 1)?)));
    let is_known = |schema: &str, table: &str| {
        layout.widths.contains_key(&(schema.as_bytes().into(), table.as_bytes().into()))
    };
    let ranked = |(schema, table): (_, _)| {
        Some((keyed.of(table).filter(|_| !is_known(schema, table))?, schema, table))
    };
    let mut tables: Vec<(Keyed<'_>, &str, &str)> = names.filter_map(ranked).collect();
    tables.sort_by_key(|(keyed, _, _)| keyed.rank);
    tables.truncate(limits::KEYED_TABLES_MAX);
    for some in tables.chunks(32) {
        let mut flight = Vec::new();
        for (_, schema, table) in some {
            let text = format!(
                "SELECT COLUMN_NAME,ORDINAL_POSITION,DATA_TYPE,COLLATION_NAME FROM \
                 information_schema.COLUMNS WHERE TABLE_SCHEMA='{schema}' AND TABLE_NAME='{table}'"
            );
            put_query(&mut flight, line.capabilities, text.as_bytes());
        }
        let mut answers = Answers::to(line.stream, line.capabilities, &flight).await?;
        for (keyed, schema, table) in some {
            let rows = answers.rows().await?;
            let name = (schema.as_bytes().into(), table.as_bytes().into());
            layout.columns.insert(schema.as_bytes(), table.as_bytes(), keyed_table(keyed, &rows));
            layout.widths.insert(name, rows.len());
        }
    }
    Ok(())
}

/// The keyed columns of a table, those that are of a kind that can be compared.
fn keyed_table(keyed: &Keyed<'_>, rows: &Rows) -> KeyedTable {
    let named = |name: &str| {
        let is_it = |row: &&Vec<_>| text(row, 0).is_some_and(|it| it.eq_ignore_ascii_case(name));
        rows.iter().find(is_it)
    };
    let index = |row| text(row, 1)?.parse::<u16>().ok()?.checked_sub(1);
    let column = |name: &&str| {
        let row = named(name)?;
        let kind = match &*text(row, 2)?.to_ascii_lowercase() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => KeyKind::Integer,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                KeyKind::Text(Collation::parse(text(row, 3)?.as_bytes())?)
            }
            _ => return None,
        };
        Some(KeyColumn { name: (*name).to_owned(), index: index(row)?, kind })
    };
    let columns = keyed.columns.iter().filter_map(column).collect();
    let autoload = keyed.autoload.and_then(|name| index(named(name)?)).map(usize::from);
    KeyedTable { columns, autoload }
}

fn text(row: &[Option<Vec<u8>>], at: usize) -> Option<&str> {
    std::str::from_utf8(row.get(at)?.as_deref()?).ok()
}

/// A name that may stand in a text of ours as it is.
fn plain(row: &[Option<Vec<u8>>], at: usize) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    text(row, at).filter(|name| name.bytes().all(is_plain))
}

/// MariaDB names the children of foreign keys beside the parents, MySQL 9.6 logs their rows if it
/// keeps the foreign keys itself. The others leave that to the engine, and log the parents alone.
/// Also asked by `forebay check --connect`, which says what grade an account can have.
///
/// # Errors
///
/// The connection is gone.
pub async fn closure(
    stream: &mut Stream,
    capabilities: Capabilities,
    dialect: Dialect,
) -> Result<Closure, QueryError> {
    let mut line = Line { stream, capabilities };
    if dialect.flavour == Flavour::MariaDb {
        return Ok(Closure::Told);
    }
    let is_native = known(line.ask("SELECT @@GLOBAL.innodb_native_foreign_keys").await)?;
    if is_native.is_some_and(|rows| rows.first().and_then(|row| text(row, 0)) == Some("0")) {
        return Ok(Closure::Told);
    }
    let list = if dialect.version >= 80_000 { "INNODB_FOREIGN" } else { "INNODB_SYS_FOREIGN" };
    let question = format!("SELECT FOR_NAME,REF_NAME,TYPE FROM information_schema.{list}");
    let Some(rows) = known(line.ask(&question).await)? else { return Ok(Closure::Unknown) };
    let keys = rows.iter().map(|row| {
        let name = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        // What it does cannot be told: anything.
        let acts = text(row, 2).and_then(|acts| acts.parse().ok()).unwrap_or(u32::MAX);
        (name(0), name(1), acts)
    });
    Ok(Closure::Known(Cascades::read(keys)))
}

/// `None`: the server does not know what it is asked, or does not tell this account.
fn known(rows: Result<Rows, QueryError>) -> Result<Option<Rows>, QueryError> {
    match rows {
        Ok(rows) => Ok(Some(rows)),
        Err(QueryError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server that is the primary now.
pub(super) fn primary(fleet: &Fleet) -> Option<Arc<Server>> {
    let snapshot = fleet.snapshot();
    snapshot.servers.iter().find(|server| server.role == Role::Primary).cloned()
}
