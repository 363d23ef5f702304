//! `forebay check --connect`: logs in to every server and says what Forebay can promise there.
//!
//! It asks and changes nothing. What the answers mean is `report`'s. Called by `check`.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Instant, timeout};

use crate::app;
use crate::backend::connection::Connection;
use crate::backend::dialer::{Dialer, Ways};
use crate::backend::follow;
use crate::backend::inspect::{inspect, known};
use crate::backend::position_question::{Dialect, Notation};
use crate::backend::query::{QueryError, Record, Rows, ask, ask_records};
use crate::backend::resolve::resolve;
use crate::cluster::{Condition, Role};
use crate::config::Rules;
use crate::freshness::closure::Closure;
use crate::secret::Credentials;
use crate::sql::Flavour;
use crate::wire::capability::Capabilities;
use report::{Facts, Log, Report};

/// What the settings are asked by.
const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin','binlog_format',\
    'binlog_row_image','gtid_mode','read_only','super_read_only','lower_case_table_names',\
    'replica_preserve_commit_order','slave_preserve_commit_order','replica_parallel_workers',\
    'slave_parallel_workers','version')";
/// Whether the keyed tables of any WordPress can be seen.
const COLUMNS: &str = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE \
    (TABLE_NAME LIKE '%options' AND COLUMN_NAME = 'option_name') OR \
    (TABLE_NAME LIKE '%postmeta' AND COLUMN_NAME = 'post_id')";

/// The report, and whether all is well. An error: nothing could be asked.
pub(super) fn examine(rules: &Rules) -> Result<(String, bool), String> {
    let Some(account) = &rules.monitor else {
        return Err("whose login? Give --user and --password-file, or [monitor]".into());
    };
    let credentials = app::credentials(account)?;
    let ways = app::ways(rules)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let facts = runtime.block_on(ask_all(rules, &ways, &credentials));
    let report = Report::of(&facts);
    Ok((report.to_string(), report.is_fine()))
}

async fn ask_all(rules: &Rules, ways: &Ways, credentials: &Arc<Credentials>) -> Vec<Facts> {
    let mut all = vec![ask_server(ways, credentials, &rules.primary, Role::Primary).await];
    for name in &rules.replicas {
        for address in resolve(&ways.network, name).await {
            ways.tls.know(&address, name);
            all.push(ask_server(ways, credentials, &address, Role::Reader).await);
        }
    }
    all
}

async fn ask_server(
    ways: &Ways,
    credentials: &Arc<Credentials>,
    address: &str,
    role: Role,
) -> Facts {
    let mut facts = Facts {
        address: address.to_owned(),
        role,
        failure: None,
        flavour: Flavour::MySql,
        version: String::new(),
        identity: String::new(),
        place: String::new(),
        account: String::new(),
        grants: Vec::new(),
        settings: BTreeMap::new(),
        log: None,
        sees_columns: false,
        knows_foreign_keys: false,
        tells_gtids_too_soon: false,
        condition: Condition::default(),
    };
    let wait = ways.connect_timeout.saturating_mul(2);
    let asked = timeout(wait, fill(&mut facts, ways, credentials)).await;
    facts.failure = match asked {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some("does not answer in time".into()),
    };
    facts
}

async fn fill(
    facts: &mut Facts,
    ways: &Ways,
    credentials: &Arc<Credentials>,
) -> Result<(), String> {
    let dialer = Dialer::new(ways.clone(), &facts.address, None, Flavour::MySql);
    let deadline = Instant::now() + ways.connect_timeout;
    let reader = facts.role == Role::Reader;
    let opened =
        dialer.open_at(&facts.address, credentials, Capabilities(0), reader, deadline).await;
    let (mut connection, identity) = opened.map_err(|error| format!("cannot log in: {error}"))?;
    facts.identity = identity.to_string();
    facts.flavour = dialer.flavour();
    let told = ask_facts(facts, &mut connection, dialer.dialect()).await;
    told.map_err(|error| error.to_string())
}

async fn ask_facts(
    facts: &mut Facts,
    connection: &mut Connection,
    dialect: Dialect,
) -> Result<(), QueryError> {
    let rows = put(connection, "SELECT CURRENT_USER(),CONCAT(@@hostname,':',@@port)").await?;
    let mut cells = rows.unwrap_or_default().into_iter().next().unwrap_or_default().into_iter();
    facts.account = text(cells.next());
    facts.place = text(cells.next());
    let grants = put(connection, "SHOW GRANTS").await?.unwrap_or_default();
    facts.grants = grants.into_iter().map(|row| text(row.into_iter().next())).collect();
    for row in put(connection, SETTINGS).await?.unwrap_or_default() {
        let mut cells = row.into_iter();
        facts.settings.insert(text(cells.next()).to_ascii_lowercase(), text(cells.next()));
    }
    facts.version = facts.setting("version").unwrap_or_default().to_owned();
    facts.tells_gtids_too_soon = dialect.tells_gtids_too_soon();
    match facts.role {
        Role::Primary => {
            let question = dialect.ask_primary(Notation::File);
            let answer = ask_records(&mut connection.stream, connection.capabilities, question);
            facts.log = known(answer.await)?.map(|rows| log(&rows));
            let columns = put(connection, COLUMNS).await?.unwrap_or_default();
            let count = columns.into_iter().next().map(|row| text(row.into_iter().next()));
            facts.sees_columns = count.is_some_and(|count| count != "0");
            let capabilities = connection.capabilities;
            let closure = follow::closure(&mut connection.stream, capabilities, dialect).await?;
            facts.knows_foreign_keys = closure != Closure::Unknown;
        }
        Role::Reader => facts.condition = inspect(connection, dialect).await?.condition,
    }
    Ok(())
}

/// None: the server does not answer that.
async fn put(connection: &mut Connection, question: &str) -> Result<Option<Rows>, QueryError> {
    known(ask(&mut connection.stream, connection.capabilities, question).await)
}

fn text(cell: Option<Option<Vec<u8>>>) -> String {
    String::from_utf8_lossy(&cell.flatten().unwrap_or_default()).into_owned()
}

fn log(rows: &[Record]) -> Log {
    let Some(row) = rows.first() else { return Log::default() };
    let filters = row.beginning("Binlog_").filter(|(_, value)| !value.is_empty());
    let filters = filters.map(|(name, value)| format!("{}={value}", name.to_ascii_lowercase()));
    Log { is_written: true, filters: filters.collect() }
}
