//! One conversation: what the client has said so far and what that makes the next word mean.
//!
//! Two verbs: [`Session::plan`] turns a command into a [`plan::Plan`] and holds all routing
//! policy; [`Session::observe`] turns what came of it into a [`observe::Verdict`] and holds all
//! learning. No sockets, no clock: `client` moves the bytes. A session that holds is never wrong,
//! only less shared.

pub mod account;
pub mod answer;
pub mod execute;
pub mod floor;
pub mod hold;
pub mod implicit;
pub mod local;
pub mod loss;
pub mod name;
pub mod observe;
pub mod own;
pub mod plan;
pub mod prepared;
pub mod refusal;
pub mod rehearse;
#[cfg(test)]
mod tests;
pub mod variable;
pub mod write;

use crate::cluster::{Role, ServerId};
use crate::sql::{Flavour, Mode, Scope, Statement};
use crate::wire::ok::Status;
use hold::{Hold, Holds};
use implicit::Implicit;
use local::Unplayed;
use own::Own;
use prepared::Prepared;
use variable::Values;
use write::Dirty;

/// The state of one client's conversation.
#[derive(Debug)]
pub struct Session {
    /// Unique in this process, never 0: the owner of a connection that was given back.
    pub id: u64,
    /// What has to be true of any connection that runs its statements.
    values: Values,
    fingerprint: u64,
    mode: Mode,
    fresh_mode: Mode,
    /// The client has said how its texts are to be read, and no tracker told what it said.
    is_mode_untold: bool,
    /// The flags that the client was last told.
    status: Status,
    /// Why the connection to the primary may not be given back.
    holds: Holds,
    /// The connection to a reader that must be kept for the next statement.
    reader_kept: bool,
    /// What the last statements left behind.
    implicit: Implicit,
    /// Where the last statement ran: diagnostics are asked there.
    last: Option<Role>,
    /// The replica that served the last read; reads do not go backwards inside a request.
    sticky: Option<ServerId>,
    /// The open transaction died with its server.
    cut: bool,
    /// LAST_INSERT_ID() of a connection that was given away.
    insert_id: Option<u64>,
    /// The connection that had LAST_INSERT_ID() was lost, and there is no newer one.
    insert_id_lost: bool,
    /// Written in the open transaction.
    dirty: Dirty,
    /// What its reads of replicas have to have seen.
    pub own: Own,
    prepared: Prepared,
    /// The client said that it may send several statements at once.
    multi_statements: bool,
    /// Answered from memory since the last statement that ran.
    unplayed: Unplayed,
    /// How many warnings the last statement left; none: not known for sure.
    warnings: Option<u16>,
}

impl Session {
    /// A conversation that has just begun. `fresh_mode`: how the server reads the text of a
    /// client that has set nothing.
    #[must_use]
    pub fn new(id: u64, fresh_mode: Mode) -> Self {
        let values = Values::default();
        Self {
            id,
            fingerprint: values.fingerprint(),
            values,
            mode: fresh_mode,
            fresh_mode,
            is_mode_untold: false,
            status: Status::AUTOCOMMIT,
            holds: Holds::NONE,
            reader_kept: false,
            implicit: Implicit::default(),
            last: None,
            sticky: None,
            cut: false,
            insert_id: None,
            insert_id_lost: false,
            dirty: Dirty::default(),
            own: Own::default(),
            prepared: Prepared::default(),
            multi_statements: false,
            unplayed: Unplayed::default(),
            warnings: Some(0),
        }
    }

    /// What has to be true of any connection that runs its statements.
    #[must_use]
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// The current schema.
    #[must_use]
    pub fn database(&self) -> Option<&[u8]> {
        self.values.database.as_deref()
    }

    /// A number that differs when [`Self::values`] differ.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// How the next text is to be lexed.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        let is_untold = self.is_mode_untold && self.holds.has(Hold::UnknownSetting);
        Mode { lexable: self.mode.lexable && !is_untold, ..self.mode }
    }

    /// What follows `SET @@sql_mode = x` may not be as quoted as it looks.
    fn note_untold(&mut self, it: &Statement) {
        const READING: [&str; 2] = ["sql_mode", "character_set_client"];
        let mut untold = it.settings.iter().filter(|one| one.scope == Scope::Untold);
        self.is_mode_untold |= untold.any(|one| READING.contains(&one.name.as_str()));
    }

    /// The flags that the client was last told.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Why its connection to the primary is kept.
    #[must_use]
    pub const fn holds(&self) -> Holds {
        self.holds
    }

    /// What the client has prepared.
    #[must_use]
    pub const fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The same, to be changed.
    pub const fn prepared_mut(&mut self) -> &mut Prepared {
        &mut self.prepared
    }

    /// LAST_INSERT_ID() as it was when its connection was given away.
    #[must_use]
    pub const fn insert_id(&self) -> Option<u64> {
        self.insert_id
    }

    /// The held connection is about to be reset; its LAST_INSERT_ID() was asked for first.
    pub fn keep_insert_id(&mut self, insert_id: u64) {
        self.insert_id = Some(insert_id);
    }

    /// The held connection was given away; its LAST_INSERT_ID() was asked for first. None: it
    /// gave no answer.
    pub fn give_up(&mut self, insert_id: Option<u64>) {
        debug_assert!(self.holds.is_revocable());
        self.insert_id = insert_id;
        self.insert_id_lost = insert_id.is_none();
        self.holds.end(Hold::InsertId);
        self.holds.end(Hold::Diagnostics);
    }

    /// The held connection was given away, and the warnings that nobody asked for with it.
    pub fn give_up_warnings(&mut self) {
        debug_assert!(self.holds.is_revocable());
        self.holds.end(Hold::Diagnostics);
    }

    /// The connection that was kept for what its last statements left died.
    pub fn give_up_softly(&mut self) {
        debug_assert!(!self.holds.is_hard());
        self.insert_id_lost |= self.holds.has(Hold::InsertId);
        self.holds = Holds::NONE;
        self.implicit.forget(Role::Primary);
        self.last = None;
    }

    /// The client may send several statements at once.
    #[must_use]
    pub const fn allows_multi_statements(&self) -> bool {
        self.multi_statements
    }

    /// The client said at its login that it may send several statements at once.
    pub fn allow_multi_statements(&mut self) {
        self.multi_statements = true;
    }

    /// The values that the client's handshake asked for, before its first command.
    pub fn begin_with(&mut self, change: impl FnOnce(&mut Values)) {
        change(&mut self.values);
        self.values_changed();
    }

    /// COM_RESET_CONNECTION, COM_CHANGE_USER: everything but the database is as after a login.
    pub fn reset(&mut self) {
        let database = self.values.database.take();
        let multi_statements = self.multi_statements;
        *self = Self { multi_statements, ..Self::new(self.id, self.fresh_mode) };
        self.values.database = database;
        self.values_changed();
    }

    /// New sessions begin with other settings now; connections that are not held follow them.
    pub fn begin_anew_in(&mut self, fresh_mode: Mode) {
        self.fresh_mode = fresh_mode;
        self.values_changed();
    }

    fn values_changed(&mut self) {
        self.fingerprint = self.values.fingerprint();
        self.mode = mode_of(&self.values, self.status, self.fresh_mode);
    }
}

/// How the server reads text of a session with these values.
#[must_use]
pub fn mode_of(values: &Values, status: Status, fresh: Mode) -> Mode {
    let mut mode = fresh;
    if let Some(sql_mode) = values.variable("sql_mode") {
        let has = |word: &[u8]| memchr::memmem::find(sql_mode, word).is_some();
        mode.ansi_quotes = has(b"ANSI_QUOTES");
        mode.ignore_space = has(b"IGNORE_SPACE");
        mode.no_backslash_escapes = has(b"NO_BACKSLASH_ESCAPES");
    }
    mode.no_backslash_escapes |= status.has(Status::NO_BACKSLASH_ESCAPES);
    if let Some(charset) = values.variable("character_set_client") {
        mode.lexable = is_lexable(charset);
    }
    mode
}

/// Character sets in which no byte of a longer character can be a quote or a backslash. Under
/// gbk `\xbf\'` is one character and a quote that stays open; nothing is lexed there.
#[must_use]
pub fn is_lexable(charset: &[u8]) -> bool {
    const SAFE: &[&[u8]] = &[
        b"utf8mb4", b"utf8mb3", b"utf8", b"latin1", b"ascii", b"binary", b"latin2", b"latin5",
        b"latin7", b"cp1250", b"cp1251", b"cp1256", b"cp1257", b"koi8r", b"koi8u", b"greek",
        b"hebrew",
    ];
    SAFE.contains(&charset)
}

/// The mode of a server whose fresh sessions have this `sql_mode` and client character set.
#[must_use]
pub fn fresh_mode(flavour: Flavour, sql_mode: &[u8], charset: &[u8]) -> Mode {
    let has = |word: &[u8]| memchr::memmem::find(sql_mode, word).is_some();
    Mode {
        ansi_quotes: has(b"ANSI_QUOTES"),
        no_backslash_escapes: has(b"NO_BACKSLASH_ESCAPES"),
        ignore_space: has(b"IGNORE_SPACE"),
        lexable: is_lexable(charset),
        flavour,
    }
}
