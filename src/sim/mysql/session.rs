//! One session on a toy server: its variables, its transaction, its locks, and what it runs.
//!
//! As a real server's in what the proxy may get wrong: session state stays on the connection,
//! trackers tell of it, READ ONLY refuses writes, a reset clears all but the schema. No packets
//! here (`talk`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Farm, Server, dump};
use crate::sim::oracle::Found;
use crate::sim::query::{self, Asked, Target};
use crate::sim::store::{Change, Place, SCHEMAS, Table, schema_named};
use crate::sql::Flavour;
use crate::wire::err::Err as Refused;
use crate::wire::ok::{Status, Tracked};

/// (id, character set, collation): the first one of a set is its default.
pub(in crate::sim) const COLLATIONS: [(u8, &str, &str); 4] = [
    (255, "utf8mb4", "utf8mb4_0900_ai_ci"),
    (45, "utf8mb4", "utf8mb4_general_ci"),
    (8, "latin1", "latin1_swedish_ci"),
    (47, "latin1", "latin1_bin"),
];

/// A session variable and its value on the primary and on replicas, which an operator set up
/// differently.
const DEFAULTS: [(&str, &str, &str); 13] = [
    ("character_set_client", "utf8mb4", "latin1"),
    ("character_set_results", "utf8mb4", "latin1"),
    ("character_set_connection", "utf8mb4", "latin1"),
    ("collation_connection", "utf8mb4_0900_ai_ci", "latin1_swedish_ci"),
    ("sql_mode", "STRICT_TRANS_TABLES", ""),
    ("time_zone", "SYSTEM", "+02:00"),
    ("group_concat_max_len", "1024", "4096"),
    ("sql_select_limit", "18446744073709551615", "100"),
    ("lc_time_names", "en_US", "de_DE"),
    ("default_week_format", "0", "1"),
    ("div_precision_increment", "4", "5"),
    ("max_sort_length", "1024", "8"),
    ("sql_auto_is_null", "0", "1"),
];

/// How a fresh session's variables are.
pub(in crate::sim) fn defaults(is_primary: bool) -> BTreeMap<&'static str, String> {
    let value = |(name, primary, replica): (&'static str, &str, &str)| {
        (name, if is_primary { primary } else { replica }.to_owned())
    };
    DEFAULTS.into_iter().map(value).collect()
}

/// SET NAMES: what else it sets.
pub(in crate::sim) fn set_names(variables: &mut BTreeMap<&'static str, String>, charset: &str) {
    for name in ["character_set_client", "character_set_results", "character_set_connection"] {
        variables.insert(name, charset.to_owned());
    }
    let default = COLLATIONS.into_iter().find(|(_, known, _)| *known == charset);
    let collation = default.map_or("binary", |(_, _, collation)| collation);
    variables.insert("collation_connection", collation.to_owned());
}

/// One session.
pub(super) struct Session {
    farm: Arc<Farm>,
    at: usize,
    life: u64,
    thread: u32,
    database: Option<&'static str>,
    variables: BTreeMap<&'static str, String>,
    tracks: BTreeSet<String>,
    user_variables: BTreeMap<String, String>,
    last_insert_id: u64,
    open: Option<Vec<Change>>,
    is_read_only: bool,
    locks: BTreeSet<String>,
    /// The client whose transaction, user variables or locks these are.
    owner: Option<u32>,
    /// The other side is still there.
    pub(super) is_heard: bool,
    /// What the next OK tells.
    pub(super) told: Vec<Tracked>,
}

/// What a statement is answered with.
pub(super) enum Answer {
    Done { affected: u64, insert_id: u64 },
    Rows(Vec<&'static str>, Vec<Vec<Option<String>>>),
    Refused(Refused),
}

const DONE: Answer = Answer::Done { affected: 0, insert_id: 0 };

impl Session {
    pub(super) fn new(farm: Arc<Farm>, at: usize, thread: u32, charset: u8) -> Self {
        let life = farm.server(at).map_or(0, Server::deaths);
        let mut variables = defaults(at == 0);
        if let Some((_, charset, collation)) = COLLATIONS.into_iter().find(|it| it.0 == charset) {
            set_names(&mut variables, charset);
            variables.insert("collation_connection", collation.to_owned());
        }
        Self {
            farm,
            at,
            life,
            thread,
            database: None,
            variables,
            tracks: BTreeSet::new(),
            user_variables: BTreeMap::new(),
            last_insert_id: 0,
            open: None,
            is_read_only: false,
            locks: BTreeSet::new(),
            owner: None,
            is_heard: true,
            told: Vec::new(),
        }
    }

    fn server(&self) -> Option<&Server> {
        self.farm.server(self.at)
    }

    pub(super) fn status(&self) -> Status {
        let open = if self.open.is_some() { Status::IN_TRANS } else { Status(0) };
        Status::AUTOCOMMIT.with(open)
    }

    /// COM_INIT_DB.
    pub(super) fn use_database(&mut self, name: &str) -> Answer {
        let Some(known) = schema_named(name) else {
            return refuse(1049, b"42000", "Unknown database");
        };
        self.database = Some(known);
        self.told.push(Tracked::Schema(known.into()));
        self.told.push(Tracked::StateChanged);
        DONE
    }

    /// The connection is lost by the server's doing, and its locks with it.
    pub(super) fn lost(&self) {
        if let Some(owner) = self.owner {
            self.farm.oracle.unlocked(owner);
        }
    }

    /// The last transaction that a follower has who asks for the log in these words.
    pub(super) fn last_followed(&self, payload: &[u8]) -> u64 {
        match self.farm.profile.flavour {
            Flavour::MySql => dump::last_of(payload),
            Flavour::MariaDb => {
                let place = self.user_variables.get("@slave_connect_state");
                place.and_then(|place| place.rsplit('-').next()?.parse().ok()).unwrap_or(0)
            }
        }
    }

    /// COM_RESET_CONNECTION, and the end.
    pub(super) fn reset(&mut self) {
        self.variables = defaults(self.at == 0);
        self.tracks.clear();
        self.user_variables.clear();
        self.last_insert_id = 0;
        self.open = None;
        self.is_read_only = false;
        self.owner = None;
        let locks = std::mem::take(&mut self.locks);
        let Some(server) = self.farm.server(self.at) else { return };
        if server.deaths() == self.life {
            server.change(|state| state.locks.retain(|name, _| !locks.contains(name)));
        }
    }

    /// Runs a statement.
    pub(super) fn run(&mut self, text: &str) -> Answer {
        let Some(asked) = query::parse(text) else {
            let shown: String = text.chars().take(200).collect();
            self.farm.oracle.fail(&format!("no toy server understands {shown:?}"));
            return refuse(1064, b"42000", "You have an error in your SQL syntax");
        };
        let client = query::client_of(text);
        let is_write = matches!(
            &asked,
            Asked::Write(..) | Asked::Add(..) | Asked::Read(_, true) | Asked::Lock(_)
        );
        // A read that was given up, at a server that froze, is run when its session has gone on.
        if let Some(client) = client.filter(|_| self.is_heard || is_write) {
            self.compare(client);
        }
        if is_write && self.at > 0 {
            self.farm.oracle.fail(&format!("a replica was sent {text:?}"));
            return read_only();
        }
        self.answer(asked, client).unwrap_or_else(Answer::Refused)
    }

    fn compare(&self, client: u32) {
        let found = Found {
            server: self.at,
            database: self.database,
            variables: &self.variables,
            in_transaction: self.open.is_some(),
            owner: self.owner,
        };
        self.farm.oracle.arrived(client, &found);
    }

    fn answer(&mut self, asked: Asked, client: Option<u32>) -> Result<Answer, Refused> {
        match asked {
            Asked::Read(target, _) => {
                let token = self.read(self.place(target)?, client);
                Ok(Answer::Rows(vec!["token"], vec![vec![token]]))
            }
            Asked::ReadLong(target) => Ok(self.read_long(self.place(target)?, client)),
            Asked::Write(target, token) => {
                let place = self.place(target)?;
                self.write(Change { place, token }, client)
            }
            Asked::Add(schema, token) => self.add(schema, token, client),
            Asked::Begin => {
                self.commit();
                self.open = Some(Vec::new());
                self.owner = client;
                Ok(DONE)
            }
            Asked::Commit => {
                self.commit();
                Ok(DONE)
            }
            Asked::Rollback => {
                self.open = None;
                self.disown();
                Ok(DONE)
            }
            Asked::Set(assignments) => {
                for (name, value) in assignments {
                    self.set(&name, value, client)?;
                }
                Ok(DONE)
            }
            Asked::ReadOnly => {
                self.is_read_only = true;
                Ok(DONE)
            }
            Asked::Lock(name) => Ok(self.lock(name, client)),
            Asked::Unlock(name) => Ok(self.unlock(&name)),
            Asked::Values(expressions) => self.values(&expressions),
            Asked::Uptime => Ok(self.uptime()),
            Asked::Tables => {
                let tables = SCHEMAS.into_iter().flat_map(|schema| {
                    ["items", "notes"].map(|table| vec![Some(schema.into()), Some(table.into())])
                });
                Ok(Answer::Rows(vec!["TABLE_SCHEMA", "TABLE_NAME"], tables.collect()))
            }
            Asked::Columns => Ok(columns()),
            Asked::Names => Ok(Answer::Rows(vec!["schema", "name", "what"], Vec::new())),
            Asked::Hidden => Err(error(1227, b"42000", "Access denied")),
            Asked::Kill => Ok(DONE),
            Asked::Use(name) => Ok(self.use_database(name)),
            Asked::Collations => {
                let row = |(id, charset, collation): (u8, &str, &str)| {
                    vec![Some(id.to_string()), Some(charset.into()), Some(collation.into())]
                };
                let rows = COLLATIONS.into_iter().map(row).collect();
                Ok(Answer::Rows(vec!["ID", "CHARACTER_SET_NAME", "COLLATION_NAME"], rows))
            }
        }
    }

    fn uptime(&self) -> Answer {
        let uptime_s = self.server().map(|server| server.look(|state| self.farm.uptime_s(state)));
        let row = vec![Some("Uptime".to_owned()), uptime_s.map(|uptime_s| uptime_s.to_string())];
        Answer::Rows(vec!["Variable_name", "Value"], vec![row])
    }

    fn place(&self, target: Target) -> Result<Place, Refused> {
        target.place(self.database).ok_or_else(|| error(1046, b"3D000", "No database selected"))
    }

    fn read(&self, place: Place, client: Option<u32>) -> Option<String> {
        if client.is_some() {
            self.farm.oracle.count(|counts| match self.at {
                0 => counts.primary_reads += 1,
                _ => counts.replica_reads += 1,
            });
        }
        let own = self.open.iter().flatten().rev().find(|change| change.place == place);
        if let Some(own) = own {
            return Some(own.token.clone());
        }
        self.server()?.look(|state| state.store.read(place).map(str::to_owned))
    }

    fn read_long(&self, place: Place, client: Option<u32>) -> Answer {
        let filling = "x".repeat(1000);
        let token = self.read(place, client);
        let row = || vec![token.clone(), Some(filling.clone())];
        let rows = (0..400).map(|_| row()).collect();
        Answer::Rows(vec!["token", "filling"], rows)
    }

    fn write(&mut self, change: Change, client: Option<u32>) -> Result<Answer, Refused> {
        if self.is_read_only {
            return Err(read_only_error());
        }
        self.farm.oracle.ran(&change.token, change.place);
        match &mut self.open {
            Some(open) => {
                open.push(change);
                self.owner = client;
            }
            None => self.commit_changes(vec![change]),
        }
        Ok(Answer::Done { affected: 1, insert_id: 0 })
    }

    fn add(
        &mut self,
        schema: Option<&'static str>,
        token: String,
        client: Option<u32>,
    ) -> Result<Answer, Refused> {
        let next = |server: &Server| {
            server.change(|state| {
                state.last_id += 1;
                state.last_id
            })
        };
        let id = self.server().map_or(0, next);
        let place = self.place(Target { schema, table: Table::Notes, id })?;
        self.write(Change { place, token }, client)?;
        self.last_insert_id = id;
        Ok(Answer::Done { affected: 1, insert_id: id })
    }

    fn commit(&mut self) {
        if let Some(changes) = self.open.take().filter(|changes| !changes.is_empty()) {
            self.commit_changes(changes);
        }
        self.disown();
    }

    fn commit_changes(&mut self, changes: Vec<Change>) {
        let Some(server) = self.farm.server(self.at).filter(|server| server.is_primary()) else {
            return;
        };
        let number = self.farm.commit(server, changes);
        let gtid = self.farm.gtid(number).into_bytes();
        if self.tracks.contains("own_gtid") {
            self.told.push(Tracked::Gtids(gtid));
        } else if self.tracks.contains("last_gtid") {
            self.told.push(Tracked::Variable { name: b"last_gtid".to_vec(), value: gtid });
        }
    }

    /// Nobody's state is on it any more, if so.
    fn disown(&mut self) {
        if self.locks.is_empty() && self.user_variables.is_empty() {
            self.owner = None;
        }
    }

    fn set(&mut self, name: &str, value: String, client: Option<u32>) -> Result<(), Refused> {
        match name {
            "session_track_gtids" => drop(self.tracks.insert(value)),
            "session_track_state_change" => drop(self.tracks.insert("state".into())),
            "session_track_schema" | "autocommit" => {}
            "session_track_system_variables" => {
                self.tracks.extend(value.split(',').map(str::to_owned));
            }
            "last_insert_id" => self.last_insert_id = value.parse().unwrap_or(0),
            "names" => {
                set_names(&mut self.variables, &value);
                for name in
                    ["character_set_client", "character_set_connection", "character_set_results"]
                {
                    self.tell(name, &value);
                }
            }
            _ if name.starts_with('@') && !name.starts_with("@@") => {
                self.user_variables.insert(name.to_owned(), value);
                self.owner = client;
            }
            _ => self.set_variable(name, value)?,
        }
        if self.tracks.contains("state") {
            self.told.retain(|it| *it != Tracked::StateChanged);
            self.told.push(Tracked::StateChanged);
        }
        Ok(())
    }

    fn set_variable(&mut self, name: &str, value: String) -> Result<(), Refused> {
        let known = DEFAULTS.into_iter().find(|(known, _, _)| *known == name);
        let Some((known, _, _)) = known else {
            self.farm.oracle.fail(&format!("no toy server knows the variable {name}"));
            return Err(error(1193, b"HY000", "Unknown system variable"));
        };
        if name == "character_set_connection" {
            let default = COLLATIONS.into_iter().find(|(_, charset, _)| *charset == value);
            let collation = default.map_or("binary", |(_, _, collation)| collation);
            self.variables.insert("collation_connection", collation.to_owned());
        }
        self.tell(name, &value);
        self.variables.insert(known, value);
        Ok(())
    }

    fn tell(&mut self, name: &str, value: &str) {
        if self.tracks.contains(name) {
            self.told.push(Tracked::Variable { name: name.into(), value: value.into() });
        }
    }

    fn lock(&mut self, name: String, client: Option<u32>) -> Answer {
        let thread = self.thread;
        let take = |server: &Server| {
            server.change(|state| *state.locks.entry(name.clone()).or_insert(thread) == thread)
        };
        let got = self.server().is_some_and(take);
        if got {
            self.locks.insert(name);
            self.owner = client;
        }
        Answer::Rows(vec!["lock"], vec![vec![Some(u8::from(got).to_string())]])
    }

    fn unlock(&mut self, name: &str) -> Answer {
        let had = self.locks.remove(name);
        if let (true, Some(server)) = (had, self.server()) {
            server.change(|state| state.locks.remove(name));
        }
        self.disown();
        Answer::Rows(vec!["unlock"], vec![vec![Some(u8::from(had).to_string())]])
    }

    fn values(&self, expressions: &[String]) -> Result<Answer, Refused> {
        let values = expressions.iter().map(|expression| self.value(expression));
        let row = values.collect::<Option<_>>().ok_or_else(|| {
            self.farm.oracle.fail(&format!("no toy server knows {expressions:?}"));
            error(1193, b"HY000", "Unknown system variable")
        })?;
        Ok(Answer::Rows(vec!["value"; expressions.len()], vec![row]))
    }

    /// None: it is not known. `Some(None)`: NULL.
    fn value(&self, expression: &str) -> Option<Option<String>> {
        let farm = &self.farm;
        let position = || self.server().map(|server| server.look(|state| farm.position(state)));
        let is_mysql = farm.profile.flavour == Flavour::MySql;
        Some(match expression {
            "null" => None,
            "1" => Some("1".into()),
            "database()" => self.database.map(str::to_owned),
            "last_insert_id()" => Some(self.last_insert_id.to_string()),
            "@@server_uuid" => Some(format!("00000000-0000-0000-0000-{:012}", self.at)),
            "@@hostname" => Some(format!("toy{}", self.at)),
            "@@server_id" => Some((self.at + 1).to_string()),
            "@@port" => Some("3306".into()),
            "@@global.read_only" => Some("0".into()),
            "@@global.gtid_executed" if is_mysql => position(),
            "@@global.gtid_binlog_pos" | "@@global.gtid_slave_pos" if !is_mysql => position(),
            "@@global.gtid_mode" if is_mysql => Some("ON".into()),
            // Children's rows are logged.
            "@@global.innodb_native_foreign_keys" => Some("0".into()),
            "@@global.innodb_flush_log_at_trx_commit" => Some("1".into()),
            filter if filter.starts_with("@@global.replicate_") => Some(String::new()),
            _ if !expression.starts_with("@@") && expression.starts_with('@') => {
                self.user_variables.get(expression).cloned()
            }
            _ => {
                let name = expression.strip_prefix("@@session.")?;
                Some(self.variables.get(name)?.clone())
            }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reset();
    }
}

/// Of each table.
fn columns() -> Answer {
    let columns = [("id", "1", "int", None), ("token", "2", "varchar", Some("latin1_bin"))];
    let rows = columns.map(|(name, place, kind, collation)| {
        vec![Some(name.into()), Some(place.into()), Some(kind.into()), collation.map(str::to_owned)]
    });
    let names = vec!["COLUMN_NAME", "ORDINAL_POSITION", "DATA_TYPE", "COLLATION_NAME"];
    Answer::Rows(names, rows.into())
}

fn error(code: u16, state: &[u8; 5], text: &str) -> Refused {
    Refused::new(code, state, text)
}

fn refuse(code: u16, state: &[u8; 5], text: &str) -> Answer {
    Answer::Refused(error(code, state, text))
}

fn read_only_error() -> Refused {
    error(1792, b"25006", "Cannot execute statement in a READ ONLY transaction.")
}

/// What a replica says to a write.
pub(super) fn read_only() -> Answer {
    Answer::Refused(read_only_error())
}
