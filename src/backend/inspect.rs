//! Asks a replica about its replication and its settings.
//!
//! Questions and the reading of their answers; what follows from them is `cluster::condition`'s.
//! A question that the account may not ask is no failure: it is then not known. Called by
//! `progress` and by the doctor.

use crate::backend::connection::Connection;
use crate::backend::position_question::Dialect;
use crate::backend::query::{Answers, QueryError, Record, Rows, put_query};
use crate::cluster::condition::{Channel, Condition};
use crate::limits;
use crate::sql::Flavour;

/// What was asked, before anything is concluded.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Its condition as far as one look shows it.
    pub condition: Condition,
    /// What it says of its replication, a row for each source.
    pub replication: Vec<Record>,
}

/// Asks all of it in one flight.
pub async fn inspect(
    connection: &mut Connection,
    dialect: Dialect,
) -> Result<Inspection, QueryError> {
    let (capabilities, mut flight) = (connection.capabilities, Vec::new());
    put_query(&mut flight, capabilities, dialect.ask_replication().as_bytes());
    put_query(&mut flight, capabilities, ask_settings(dialect.flavour).as_bytes());
    let mut answers = Answers::to(&mut connection.stream, capabilities, &flight).await?;
    let replication = known(answers.records().await)?;
    let settings = known(answers.rows().await)?;
    let channels = replication.as_deref().map(|rows| rows.iter().map(channel).collect());
    let mut condition = Condition { channels, ..Condition::default() };
    if let Some(settings) = settings {
        read_settings(dialect.flavour, &settings, &mut condition);
    }
    Ok(Inspection { condition, replication: replication.unwrap_or_default() })
}

/// How long the server runs, in seconds; `None`: it does not say.
pub async fn ask_uptime(connection: &mut Connection) -> Result<Option<u64>, QueryError> {
    let (capabilities, mut flight) = (connection.capabilities, Vec::new());
    put_query(&mut flight, capabilities, b"SHOW GLOBAL STATUS LIKE 'Uptime'");
    let mut answers = Answers::to(&mut connection.stream, capabilities, &flight).await?;
    let rows = known(answers.rows().await)?.unwrap_or_default();
    let value = rows.first().and_then(|row| row.get(1)?.as_deref());
    Ok(value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()))
}

/// A refusal means that it is not known.
pub fn known<T>(answer: Result<T, QueryError>) -> Result<Option<T>, QueryError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(QueryError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// MariaDB's filters that are set for all channels are settings that anybody may read.
const FILTERS: [&str; 6] = [
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
];

fn ask_settings(flavour: Flavour) -> String {
    let mut text = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit".to_owned();
    if flavour == Flavour::MariaDb {
        text.extend(FILTERS.iter().flat_map(|name| [",@@GLOBAL.", name]));
    }
    text
}

fn read_settings(flavour: Flavour, rows: &Rows, condition: &mut Condition) {
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let mut cells = row.iter().map(|cell| {
        let cell = cell.as_deref().unwrap_or_default();
        String::from_utf8_lossy(cell).into_owned()
    });
    condition.flush_log = cells.next().and_then(|text| text.parse().ok());
    if flavour == Flavour::MariaDb {
        let filters = FILTERS.iter().zip(cells).filter(|(_, value)| !value.is_empty());
        condition.filters = filters.map(|(name, value)| shown(name, &value)).collect();
    }
}

fn channel(row: &Record) -> Channel {
    let number = |names: &[&str]| row.get(names).and_then(|text| text.parse::<u32>().ok());
    let sql_error = number(&["Last_SQL_Errno"]).filter(|number| *number != 0);
    let is_filter = |(_, value): &(&str, &str)| !value.trim().is_empty();
    Channel {
        name: row.get(&["Channel_Name", "Connection_name"]).unwrap_or_default().to_owned(),
        receives: row.get(&["Replica_IO_Running", "Slave_IO_Running"]) == Some("Yes"),
        applies: row.get(&["Replica_SQL_Running", "Slave_SQL_Running"]) == Some("Yes"),
        filters: row
            .beginning("Replicate_")
            .filter(is_filter)
            .map(|(name, value)| shown(name, value))
            .collect(),
        error: sql_error.or_else(|| number(&["Last_IO_Errno"])).unwrap_or(0),
    }
}

fn shown(name: &str, value: &str) -> String {
    let value: String = value.chars().take(limits::FINDING_LETTERS_MAX).collect();
    format!("{}={value}", name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::channel;
    use crate::backend::query::Record;

    fn check(words: &str, expected: &str) {
        let pairs = words.split(' ').filter_map(|word| word.split_once('='));
        let it = channel(&Record::of(pairs.map(|(name, value)| (name, Some(value)))));
        let mut seen = vec![it.name.as_str()];
        seen.extend(it.receives.then_some("io"));
        seen.extend(it.applies.then_some("sql"));
        seen.extend(it.filters.iter().map(String::as_str));
        let error = it.error.to_string();
        seen.push(&error);
        assert_eq!(seen.join(" "), expected, "{words}");
    }

    #[test]
    fn both_families_of_words() {
        check("Replica_IO_Running=Yes Replica_SQL_Running=Yes Channel_Name=", " io sql 0");
        check("Slave_IO_Running=Yes Slave_SQL_Running=Yes Connection_name=eu", "eu io sql 0");
        check("Slave_IO_Running=Connecting Slave_SQL_Running=No Last_SQL_Errno=1062", " 1062");
        check("Slave_IO_Running=No Slave_SQL_Running=Yes Last_IO_Errno=1236", " sql 1236");
        check(
            "Replicate_Do_DB= Replicate_Wild_Ignore_Table=a.%",
            " replicate_wild_ignore_table=a.% 0",
        );
        check("Replicate_Ignore_Server_Ids=7", " replicate_ignore_server_ids=7 0");
        check("Replicate_Do_Domain_Ids=1", " replicate_do_domain_ids=1 0");
    }
}
