//! Brings a server connection to what a session needs: the flights sent in front of a statement.
//!
//! Only a proved read has its set-up pipelined; everything else waits for the set-up's OK, because
//! a server goes on to the next packet after an error, and the write would land in another site's
//! database. Pure of policy: `session::plan` says what is needed, `client` moves the bytes.

use std::collections::HashMap;

use crate::backend::connection::Connection;
use crate::backend::query::{put_command, put_query};
use crate::session::plan::Needs;
use crate::session::variable::{BASELINE, Difference, Values, assignments};
use crate::sql::{Flavour, Mode};
use crate::wire::capability::Capabilities;

const COM_INIT_DB: u8 = 2;
const COM_SET_OPTION: u8 = 27;
const COM_RESET_CONNECTION: u8 = 31;

/// How a session of an account looks on the primary right after its login.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// One more than the one before it had: a connection of another epoch is reset first.
    pub epoch: u64,
    /// Variables and their values.
    pub pairs: Vec<(&'static str, Vec<u8>)>,
    /// Collation ids: (character set, collation).
    pub collations: HashMap<u16, (Vec<u8>, Vec<u8>)>,
}

impl Baseline {
    /// The value of a variable at login.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }

    /// The question whose only row holds [`BASELINE`]'s values in order.
    #[must_use]
    pub fn question() -> String {
        let names: Vec<String> = BASELINE.iter().map(|name| format!("@@SESSION.{name}")).collect();
        format!("SELECT {}", names.join(","))
    }

    /// How the servers read a text of a session that has set nothing.
    #[must_use]
    pub fn mode(&self, flavour: Flavour) -> Mode {
        crate::session::fresh_mode(
            flavour,
            self.value("sql_mode").unwrap_or_default(),
            self.value("character_set_client").unwrap_or(b"utf8mb4"),
        )
    }
}

/// What every connection to one server is told after its login and after each reset.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The family of the server.
    pub flavour: Flavour,
    /// `SESSION TRANSACTION READ ONLY` and the primary's baseline.
    pub is_reader: bool,
}

impl Recipe {
    /// Appends the statements; gives how many OKs will come.
    pub fn put(
        &self,
        flight: &mut Vec<u8>,
        capabilities: Capabilities,
        baseline: Option<&Baseline>,
    ) -> usize {
        let mut replies = 0;
        if capabilities.has(Capabilities::SESSION_TRACK) {
            put_query(flight, capabilities, trackers(self.flavour).as_bytes());
            replies += 1;
        }
        if !self.is_reader {
            return replies;
        }
        if let Some(baseline) = baseline {
            let pairs = baseline.pairs.iter().map(|(name, value)| (*name, value.as_slice()));
            if let Some(text) = assignments(pairs, false) {
                put_query(flight, capabilities, &text);
                replies += 1;
            }
        }
        // autocommit=0 as a server's default would open a snapshot with the first SELECT.
        put_query(flight, capabilities, b"SET SESSION autocommit=1");
        put_query(flight, capabilities, b"SET SESSION TRANSACTION READ ONLY");
        replies + 2
    }
}

fn trackers(flavour: Flavour) -> String {
    // MariaDB takes none of a list with a name that it does not know.
    let (foreign, newer) = match flavour {
        Flavour::MySql => (["max_statement_time", "tx_isolation"], ""),
        Flavour::MariaDb => {
            let newer = "/*M!110101 ',transaction_isolation'*/";
            (["max_execution_time", "transaction_isolation"], newer)
        }
    };
    let mut names: Vec<&str> = Values::names().filter(|name| !foreign.contains(name)).collect();
    let gtids = match flavour {
        Flavour::MySql => "session_track_gtids=OWN_GTID,",
        Flavour::MariaDb => {
            names.push("last_gtid");
            ""
        }
    };
    format!(
        "SET SESSION {gtids}session_track_state_change=ON,session_track_schema=ON,\
         session_track_system_variables='{}'{newer}",
        names.join(",")
    )
}

/// What is sent in front of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// How many OKs will come for it.
    pub replies: usize,
    /// The connection is reset by it, to the baseline of this epoch.
    pub resets: Option<u64>,
    /// Several statements in one command are turned on by it, or off.
    pub multi_statements: Option<bool>,
    /// Only a new connection will do; nothing was appended.
    pub fresh: bool,
}

/// What a session wants of the connection it leased.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The session's state.
    pub values: &'a Values,
    /// What the statement asks beyond it.
    pub needs: Needs,
    /// LAST_INSERT_ID() of a connection that the session gave up.
    pub insert_id: Option<u64>,
    /// It used this connection last.
    pub is_owner: bool,
}

/// Appends what it takes to bring `connection` to what is `wanted`.
pub fn put_steps(
    flight: &mut Vec<u8>,
    connection: &Connection,
    wanted: &Wanted<'_>,
    recipe: &Recipe,
    baseline: Option<&Baseline>,
) -> Steps {
    let any_database = wanted.needs.any_database;
    let mut lacking = wanted.values.difference(&connection.values, any_database);
    let foreign = (connection.residue || wanted.needs.own) && !wanted.is_owner;
    let epoch = baseline.map_or(connection.epoch, |baseline| baseline.epoch);
    let must_reset = lacking.reset
        || foreign
        || (wanted.needs.clean && !connection.clean)
        || connection.epoch != epoch;
    let can_reset = connection.capabilities.has(Capabilities::SESSION_TRACK);
    if lacking.fresh || (must_reset && !can_reset) {
        return Steps { fresh: true, ..Steps::default() };
    }
    let mut steps = Steps::default();
    if must_reset {
        put_command(flight, COM_RESET_CONNECTION, b"");
        steps.replies = 1 + recipe.put(flight, connection.capabilities, baseline);
        steps.resets = Some(epoch);
        let mut bare = Values::default();
        bare.database.clone_from(&connection.values.database);
        lacking = wanted.values.difference(&bare, any_database);
    }
    steps.replies += put_difference(flight, connection.capabilities, &lacking);
    if wanted.needs.multi_statements != connection.multi_statements {
        put_multi_statements(flight, &mut steps, wanted.needs.multi_statements);
    }
    if let (true, Some(id)) = (wanted.needs.insert_id, wanted.insert_id) {
        put_insert_id(flight, connection.capabilities, &mut steps, id);
    }
    steps
}

fn put_insert_id(flight: &mut Vec<u8>, capabilities: Capabilities, steps: &mut Steps, id: u64) {
    put_query(flight, capabilities, format!("SET last_insert_id={id}").as_bytes());
    steps.replies += 1;
}

/// Appends what a statement needs on a connection that its session holds, in the session's state.
pub fn put_held_steps(
    flight: &mut Vec<u8>,
    connection: &Connection,
    needs: Needs,
    insert_id: Option<u64>,
) -> Steps {
    let mut steps = Steps::default();
    if let (true, Some(id)) = (needs.insert_id, insert_id) {
        put_insert_id(flight, connection.capabilities, &mut steps, id);
    }
    if needs.multi_statements && !connection.multi_statements {
        put_multi_statements(flight, &mut steps, true);
    }
    steps
}

fn put_multi_statements(flight: &mut Vec<u8>, steps: &mut Steps, on: bool) {
    put_command(flight, COM_SET_OPTION, &[u8::from(!on), 0]);
    steps.replies += 1;
    steps.multi_statements = Some(on);
}

fn put_difference(flight: &mut Vec<u8>, capabilities: Capabilities, lacking: &Difference) -> usize {
    let mut replies = 0;
    if let Some(name) = &lacking.database {
        put_command(flight, COM_INIT_DB, name);
        replies += 1;
    }
    if let Some(text) = &lacking.set {
        put_query(flight, capabilities, text);
        replies += 1;
    }
    replies
}

/// Appends what makes a connection whose session has the values `from` read a text as it was
/// read under the values `to`; gives how many OKs will come. None: there is no way.
pub fn put_turn(
    flight: &mut Vec<u8>,
    capabilities: Capabilities,
    to: &Values,
    from: &Values,
    baseline: Option<&Baseline>,
) -> Option<usize> {
    let set = to.set_reading(|name| baseline.and_then(|baseline| baseline.value(name)))?;
    put_query(flight, capabilities, &set);
    if to.database == from.database {
        return Some(1);
    }
    put_command(flight, COM_INIT_DB, to.database.as_ref()?);
    Some(2)
}

/// Notes on the connection what [`put_steps`] did, once every OK has come.
pub fn note_steps(connection: &mut Connection, wanted: &Wanted<'_>, steps: Steps) {
    if let Some(epoch) = steps.resets {
        connection.epoch = epoch;
        connection.statements.clear();
        connection.residue = false;
        connection.clean = true;
    }
    if steps.replies > 0 || connection.values != *wanted.values {
        let database = connection.values.database.take();
        connection.values.clone_from(wanted.values);
        if connection.values.database.is_none() {
            connection.values.database = database;
        }
    }
    connection.multi_statements = steps.multi_statements.unwrap_or(connection.multi_statements);
    if wanted.needs.insert_id && wanted.insert_id.is_some() {
        connection.residue = true;
    }
}
