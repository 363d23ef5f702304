//! The facts about one statement, as `session` reads them.
//!
//! True of every member of the statement's shape: nothing here depends on a plain literal's value.
//! Made by `rule` and `parse`, kept by `cache`.

use super::{Effects, KeySlot, Table, Verb};

/// What is known of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it begins as, once comments, parentheses and WITH are seen through.
    pub verb: Verb,
    /// What it does beside giving rows.
    pub effects: Effects,
    /// Whether it may go to a replica.
    pub proof: Proof,
    /// What its leading comment asks for.
    pub hint: Hint,
    /// Tables it reads. Whole only if `tables_known`.
    pub reads: Vec<Table>,
    /// Tables it writes. Whole only if `tables_known`.
    pub writes: Vec<Table>,
    /// `reads` and `writes` are all the tables that the text names.
    pub tables_known: bool,
    /// The columns of `reads` that it compares with literals. Empty if it is not a proved read.
    pub keys: Vec<KeySlot>,
    /// Assignments of a SET, in order.
    pub settings: Vec<Setting>,
    /// The schema of a USE.
    pub use_database: Option<String>,
    /// How many statements the text holds (a trailing `;` adds none).
    pub statements: u32,
    /// The shape: equal for texts that differ in plain literals only.
    pub digest: u128,
    /// Why it is not a proved read; empty if it is.
    pub why: &'static str,
    /// Longer than what is lexed: its end is not known.
    pub is_long: bool,
    /// Its answer depends on the account and on the session's own values alone.
    pub is_replayable: bool,
    /// It may make untrue what was answered before: rights, schemas, the server's own settings.
    pub is_voiding: bool,
    /// What is wrong with a name in it. A text alone never tells: `session` fills it in.
    pub unfit: Option<Unfit>,
    /// Its client brings new shapes faster than they are worked out: what the tokens show, whole,
    /// but no proof and no tables.
    pub is_unparsed: bool,
}

impl Statement {
    /// A statement of which nothing is known but that it may do anything.
    #[must_use]
    pub fn unknown(why: &'static str) -> Statement {
        Statement {
            verb: Verb::Other,
            effects: Effects::WRITES | Effects::CALLS_UNKNOWN | Effects::DANGER,
            proof: Proof::No,
            hint: Hint::None,
            reads: Vec::new(),
            writes: Vec::new(),
            tables_known: false,
            keys: Vec::new(),
            settings: Vec::new(),
            use_database: None,
            statements: 1,
            digest: 0,
            why,
            is_long: false,
            is_replayable: false,
            is_voiding: false,
            unfit: None,
            is_unparsed: false,
        }
    }
}

/// How sure it is that a statement only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A plain read of tables: lexer and parser both say so.
    Read,
    /// Begins as a query and holds no known danger, but was not proved. A hint may send it to a replica.
    UnknownRead,
    /// Not a read, or known to need the primary.
    No,
}

/// Why a name in a statement is read from the primary, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unfit {
    /// A table whose engine does not give replicas its rows, or loses them with a restart.
    Engine,
    /// Not looked up yet, or not since it was changed: it may be any of these.
    Unlisted,
    /// A view that is not proved to be a plain read of fit tables.
    View,
}

impl Unfit {
    /// In words.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Engine => "a table of an engine whose rows replicas may lack",
            Self::Unlisted => "a name that was not looked up since it may have changed",
            Self::View => "a view that is not proved to be a plain read",
        }
    }
}

/// What a leading `/* forebay: ... */` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Nothing.
    #[default]
    None,
    /// Send it to the primary.
    Primary,
    /// Treat an unknown read as a read.
    Replica,
    /// This read needs no freshness.
    Eventual,
    /// This read must see what its own connection wrote.
    Session,
    /// This read must see what was acknowledged before its request began.
    Causal,
    /// This read must see what was acknowledged before it came.
    Strict,
}

/// One assignment of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Lower case; `names` for SET NAMES, `character_set` for SET CHARACTER SET, `role`.
    pub name: String,
    /// Whose value changes.
    pub scope: Scope,
    /// The value is one plain literal or word, so that it means the same on every connection.
    /// `DEFAULT`, expressions, functions and `@@` references are not.
    pub literal: bool,
}

/// Whose value a SET changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This connection's.
    Session,
    /// This connection's too, but said as `@@x` without a scope: MariaDB does not tell of that.
    Untold,
    /// The server's (GLOBAL, PERSIST, PERSIST_ONLY).
    Global,
    /// The next transaction's only.
    NextTransaction,
    /// A user variable.
    User,
}
