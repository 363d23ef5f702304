//! All routing policy: (state, command, statement) -> Plan.
//!
//! Unknown means primary. Only this file makes a [`Want`]; what a read must have seen is said by
//! `floor`. It does not choose the server (`cluster::pick`) and moves nothing (`client`).

use crate::cluster::ledger::Stay;
use crate::cluster::{Role, Want};
use crate::freshness::{Freshness, Level, Ordinal};
use crate::session::Session;
use crate::session::answer::Local;
use crate::session::hold::{Hold, Holds};
use crate::session::implicit::only_asks;
use crate::session::refusal::Refusal;
use crate::session::variable::Values;
use crate::sql::{Effects, Flavour, Hint, Proof, Scope, Statement, Unfit, Verb, is_system_schema};
use crate::wire::command::Command;
use crate::wire::reply::Expect;

/// What to do with one command.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answer it here.
    Answer(Local),
    /// Let a server hear it.
    Forward(Forward),
    /// Answer it with an error of ours.
    Refuse(Refusal),
    /// Nothing is to be said and nothing to be done (COM_STMT_CLOSE of an unknown id).
    Ignore,
    /// COM_RESET_CONNECTION: forget, then say OK.
    Reset,
    /// KILL: it speaks of numbers that only we know.
    Kill,
    /// COM_CHANGE_USER: log in anew.
    ChangeUser,
    /// The client leaves.
    Close,
}

/// How a command is carried to a server and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Which server will do.
    pub want: Want,
    /// The connection that the session keeps, and no other.
    pub held: bool,
    /// What has to be true of the connection.
    pub needs: Needs,
    /// The form of the answer.
    pub expect: Expect,
    /// Whether it may be sent again.
    pub retry: Retry,
    /// What it can do to data: decides what a lost server means.
    pub kind: Kind,
    /// Holds that begin when it is sent, whatever comes of it.
    pub begins: Holds,
    /// Its end was not lexed: the connection is reset before another session has it.
    pub soils: bool,
    /// Why it goes where it goes.
    pub why: Reason,
}

impl Forward {
    /// The same on a second try. A replica's refusal sends it to the primary; a lost replica, to
    /// another.
    pub(super) fn again(&self, why: Reason, from: Role) -> Self {
        let lost = why == Reason::ReplicaLost;
        let role = if lost && from == Role::Reader { Role::Reader } else { Role::Primary };
        Self {
            want: Want { role, sticky: None, ..self.want },
            why: if from == Role::Reader { why } else { self.why },
            ..*self
        }
    }
}

/// What a statement asks of its connection beyond the session's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The current database does not matter to it.
    pub any_database: bool,
    /// Nobody has used it since its last reset.
    pub clean: bool,
    /// It asks what the session's last statement left there: of no use on any other connection.
    pub own: bool,
    /// It may read LAST_INSERT_ID(), or change it.
    pub insert_id: bool,
    /// It is several statements, and the client said that it would send such.
    pub multi_statements: bool,
    /// How long it needs the connection, as far as its text says: what is not short leaves a reserve
    /// of connections to what is.
    pub stay: Stay,
}

/// What a statement can do to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Proved to be a plain read.
    Read,
    /// Proved to touch no data: session settings, PING, the choice of a database.
    Setting,
    /// Anything else.
    Write,
    /// COMMIT, or something that commits.
    Commit,
}

/// When a statement may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: it needs this very connection.
    Never,
    /// While its last byte was not sent: then it was not executed.
    IfUnsent,
    /// While the client has no byte of the reply: it changes nothing.
    IfNoReplyByte,
}

/// Why a statement went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// A proved read, on a replica that is fresh enough.
    Read,
    /// The comment `forebay: replica` on an unknown read.
    HintReplica,
    /// The comment `forebay: primary`.
    HintPrimary,
    /// It writes.
    Write,
    /// Not proved to be a read.
    Unproved,
    /// The session holds its connection.
    Held,
    /// Mode `primary`: everything goes there.
    ModePrimary,
    /// It reads a view that is not proved to be a plain read.
    View,
    /// It reads a table of an engine whose rows replicas may lack.
    Engine,
    /// A name in it may have been changed, and was not looked up since.
    Unlisted,
    /// Longer than what is lexed.
    Long,
    /// Its client brings new shapes of statements too fast.
    NewShapes,
    /// It asks about the statement before it.
    Diagnostics,
    /// A session setting.
    Setting,
    /// A prepared statement.
    Prepared,
    /// Another command than a query.
    Command,
    /// No replica has seen the last write of what it reads.
    NotFresh,
    /// The primary did not say in time what a replica has to have seen.
    NotFenced,
    /// No replica is up.
    NoReplica,
    /// No replica is configured or known yet.
    NoneConfigured,
    /// A replica refused it: it went to the primary after all.
    Misrouted,
    /// A replica was lost before it answered.
    ReplicaLost,
    /// Nothing of it changes data, and there is no primary to ask: a replica was.
    PrimaryLost,
    /// Answered here.
    Local,
    /// Refused here.
    Refused,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Read,
        Self::HintReplica,
        Self::HintPrimary,
        Self::Write,
        Self::Unproved,
        Self::Held,
        Self::ModePrimary,
        Self::View,
        Self::Engine,
        Self::Unlisted,
        Self::Long,
        Self::NewShapes,
        Self::Diagnostics,
        Self::Setting,
        Self::Prepared,
        Self::Command,
        Self::NotFresh,
        Self::NotFenced,
        Self::NoReplica,
        Self::NoneConfigured,
        Self::Misrouted,
        Self::ReplicaLost,
        Self::PrimaryLost,
        Self::Local,
        Self::Refused,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::HintReplica => "hint_replica",
            Self::HintPrimary => "hint_primary",
            Self::Write => "write",
            Self::Unproved => "unproved",
            Self::Held => "held",
            Self::ModePrimary => "mode_primary",
            Self::View => "view",
            Self::Engine => "engine",
            Self::Unlisted => "unlisted",
            Self::Long => "long",
            Self::NewShapes => "new_shapes",
            Self::Diagnostics => "diagnostics",
            Self::Setting => "setting",
            Self::Prepared => "prepared",
            Self::Command => "command",
            Self::NotFresh => "not_fresh",
            Self::NotFenced => "not_fenced",
            Self::NoReplica => "no_replica",
            Self::NoneConfigured => "none_configured",
            Self::Misrouted => "misrouted",
            Self::ReplicaLost => "replica_lost",
            Self::PrimaryLost => "primary_lost",
            Self::Local => "local",
            Self::Refused => "refused",
        }
    }
}

/// Whether it is known what a read must have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// It is, or what was known last has to do.
    Yes,
    /// The primary was asked in vain: it is read itself.
    No,
    /// Nor is it known to be the primary: nobody is read.
    Refused,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Reads may go to replicas.
    pub split: bool,
    /// What reads must have seen, where no hint says otherwise.
    pub level: Level,
    /// Whether it is known what that is.
    pub fenced: Fenced,
    /// While it cannot be reached, what was known last has to do.
    pub serves_stale: bool,
}

impl Policy {
    /// What holds where nothing else is said: reads are split and see what was acknowledged.
    pub const SPLIT: Self =
        Self { split: true, level: Level::Causal, fenced: Fenced::Yes, serves_stale: true };

    /// What this read must have seen.
    #[must_use]
    pub const fn level_of(self, hint: Hint) -> Level {
        match hint {
            Hint::Eventual => Level::Eventual,
            Hint::Session => Level::Session,
            Hint::Causal => Level::Causal,
            Hint::Strict => Level::Strict,
            Hint::None | Hint::Primary | Hint::Replica => self.level,
        }
    }
}

impl Session {
    /// What to do with a command other than COM_QUERY.
    pub fn plan_command(&mut self, command: &Command<'_>, database_known: bool) -> Plan {
        match command {
            Command::Quit => Plan::Close,
            Command::ResetConnection => Plan::Reset,
            Command::ChangeUser(_) => Plan::ChangeUser,
            Command::Shutdown | Command::BinlogDump | Command::RegisterReplica | Command::Debug => {
                Plan::Refuse(Refusal::NotAllowed)
            }
            Command::ProcessKill(_) => Plan::Kill,
            // MySQL has given these up.
            Command::Refresh if self.mode.flavour == Flavour::MariaDb => {
                Plan::Refuse(Refusal::NotAllowed)
            }
            Command::ProcessInfo if self.mode.flavour == Flavour::MariaDb && !self.cut => {
                Plan::Forward(self.forward_command(command))
            }
            Command::Refresh | Command::ProcessInfo | Command::Other(_) => {
                Plan::Refuse(Refusal::UnknownCommand)
            }
            Command::Ping => {
                self.implicit.note_nothing();
                Plan::Answer(Local::Ok)
            }
            Command::Prepare(_)
            | Command::Execute { .. }
            | Command::LongData { .. }
            | Command::CloseStatement(_)
            | Command::ResetStatement(_)
            | Command::Fetch { .. } => self.plan_prepared(command),
            _ if self.cut => Plan::Refuse(Refusal::TransactionCut),
            Command::InitDb(_) if database_known && !self.holds.is_hard() => {
                Plan::Answer(Local::Ok)
            }
            Command::InitDb(_)
            | Command::Query(_)
            | Command::FieldList(_)
            | Command::Statistics
            | Command::SetOption(_) => Plan::Forward(self.forward_command(command)),
        }
    }

    /// What to do with a statement.
    pub fn plan(&mut self, statement: &Statement, policy: Policy, freshness: &Freshness) -> Plan {
        if self.cut {
            match statement.verb {
                Verb::Rollback => {
                    self.cut = false;
                    return Plan::Answer(Local::Ok);
                }
                Verb::Begin => self.cut = false,
                _ => return Plan::Refuse(Refusal::TransactionCut),
            }
        }
        if self.insert_id_lost && statement.effects.has(Effects::INSERT_ID) {
            // 0 would be believed, and stored.
            return Plan::Refuse(Refusal::StateLost);
        }
        if statement.effects.has(Effects::KILLS) {
            return match statement.statements {
                1 => Plan::Kill,
                _ => Plan::Refuse(Refusal::KillUnsupported),
            };
        }
        let forward = self.forward_statement(statement, policy, freshness);
        if forward.why == Reason::NotFenced && policy.fenced == Fenced::Refused {
            return Plan::Refuse(Refusal::NobodyVouches);
        }
        if forward.kind != Kind::Setting {
            self.own.speak();
        }
        Plan::Forward(forward)
    }

    pub(super) fn forward_statement(
        &self,
        it: &Statement,
        policy: Policy,
        freshness: &Freshness,
    ) -> Forward {
        let (role, why) = self.place(it, policy);
        let kind = kind_of(it, self.holds.has(Hold::Transaction));
        let floor = match policy.level_of(it.hint) {
            _ if role == Role::Primary || why == Reason::Diagnostics => Ordinal(0),
            Level::Eventual => Ordinal(0),
            Level::Session => self.own.wrote(),
            Level::Causal | Level::Strict => self.floor(it, freshness),
        };
        let held = self.holds.is_hard() && role == Role::Primary;
        let diagnostics = it.effects.has(Effects::DIAGNOSTICS);
        let begins = holds_of(it);
        Forward {
            want: match role {
                Role::Primary => Want::primary(),
                Role::Reader => Want::reader(floor, self.sticky),
            },
            held,
            needs: Needs {
                any_database: self.values.database.is_none()
                    && begins.is_empty()
                    && needs_no_database(it),
                clean: !held
                    && (it.effects.has(Effects::USER_VARIABLE)
                        || (diagnostics && self.last.is_none())),
                own: diagnostics && !held,
                // A write may leave the id as it was, or make a new one: it has to be there first.
                insert_id: (diagnostics || kind != Kind::Read) && !only_asks(it),
                multi_statements: self.multi_statements && may_be_several(it),
                stay: stay_of(it, begins),
            },
            expect: Expect::Query,
            retry: match (held || it.is_long, kind) {
                (true, _) => Retry::Never,
                (false, Kind::Read) => Retry::IfNoReplyByte,
                (false, _) => Retry::IfUnsent,
            },
            kind,
            begins,
            // A name that may be a view by now may have left a lock behind.
            soils: it.is_long || it.unfit == Some(Unfit::Unlisted),
            why,
        }
    }

    /// The level of a read that may go to a replica.
    #[must_use]
    pub fn level(&self, it: &Statement, policy: Policy) -> Option<Level> {
        let (role, why) = self.place(it, policy);
        let is_read = role == Role::Reader && why != Reason::Diagnostics;
        is_read.then(|| policy.level_of(it.hint))
    }

    /// Primary or reader. The one place that decides it.
    fn place(&self, it: &Statement, policy: Policy) -> (Role, Reason) {
        let reader_may = it.statements == 1
            && !it.effects.has_any(Effects::WRITES | Effects::LOCKS_ROWS)
            && (it.unfit.is_none() || it.hint == Hint::Replica)
            && (it.proof == Proof::Read
                || (it.proof == Proof::UnknownRead && it.hint == Hint::Replica))
            && !self.is_in_system_schema();
        if self.holds.is_hard() {
            return (Role::Primary, Reason::Held);
        }
        if it.effects.has(Effects::DIAGNOSTICS) {
            let reader = self.implicit.place(it.effects).or(self.last) == Some(Role::Reader)
                && !it.effects.has_any(Effects::INSERT_ID | Effects::WRITES)
                && !it.effects.has(Effects::DATABASE_MATTERS);
            return (if reader { Role::Reader } else { Role::Primary }, Reason::Diagnostics);
        }
        if !policy.split {
            return (Role::Primary, Reason::ModePrimary);
        }
        if reader_may && it.hint != Hint::Primary && policy.fenced != Fenced::Yes {
            return (Role::Primary, Reason::NotFenced);
        }
        match (reader_may, it.hint) {
            (_, Hint::Primary) => (Role::Primary, Reason::HintPrimary),
            (true, Hint::Replica) if it.proof != Proof::Read || it.unfit.is_some() => {
                (Role::Reader, Reason::HintReplica)
            }
            (true, _) => (Role::Reader, Reason::Read),
            (false, _) if it.unfit.is_some() => {
                (Role::Primary, it.unfit.map_or(Reason::Unproved, reason_of))
            }
            (false, _) if it.is_long => (Role::Primary, Reason::Long),
            (false, _) if it.is_unparsed => (Role::Primary, Reason::NewShapes),
            (false, _) if matches!(it.verb, Verb::Set | Verb::Use) => {
                (Role::Primary, Reason::Setting)
            }
            (false, _) if it.effects.has(Effects::WRITES) => (Role::Primary, Reason::Write),
            (false, _) => (Role::Primary, Reason::Unproved),
        }
    }

    /// Unqualified names then mean tables about the server.
    fn is_in_system_schema(&self) -> bool {
        let database = self.values.database.as_deref();
        database.and_then(|name| std::str::from_utf8(name).ok()).is_some_and(is_system_schema)
    }

    pub(super) fn forward_command(&self, command: &Command<'_>) -> Forward {
        let mut begins = Holds::NONE;
        let (expect, kind, why) = match command {
            Command::InitDb(_) => (Expect::Simple, Kind::Setting, Reason::Setting),
            Command::FieldList(_) => (Expect::FieldList, Kind::Read, Reason::Command),
            Command::Statistics => (Expect::Text, Kind::Setting, Reason::Command),
            Command::ProcessInfo => (Expect::Query, Kind::Setting, Reason::Command),
            Command::SetOption(_) => (Expect::Eof, Kind::Setting, Reason::Command),
            Command::Fetch { .. } => (Expect::Fetch, Kind::Read, Reason::Prepared),
            Command::ResetStatement(_) => (Expect::Simple, Kind::Setting, Reason::Prepared),
            Command::LongData { .. } | Command::CloseStatement(_) => {
                (Expect::Nothing, Kind::Setting, Reason::Prepared)
            }
            _ => (Expect::Query, Kind::Commit, Reason::Command),
        };
        match command {
            Command::SetOption(0) => begins.add(Hold::MultiStatements),
            Command::LongData { .. } => begins.add(Hold::Prepared),
            _ => {}
        }
        let held = self.holds.is_hard();
        Forward {
            want: Want::primary(),
            held,
            needs: Needs {
                any_database: !held
                    && matches!(
                        command,
                        Command::InitDb(_) | Command::Statistics | Command::ProcessInfo
                    ),
                ..Needs::default()
            },
            expect,
            retry: if held { Retry::Never } else { Retry::IfUnsent },
            kind,
            begins,
            soils: false,
            why,
        }
    }
}

fn reason_of(unfit: Unfit) -> Reason {
    match unfit {
        Unfit::View => Reason::View,
        Unfit::Engine => Reason::Engine,
        Unfit::Unlisted => Reason::Unlisted,
    }
}

/// Short are those that neither wait for others by their very nature nor keep their connection; the
/// pool will see whether they are.
fn stay_of(it: &Statement, begins: Holds) -> Stay {
    if it.effects.has(Effects::MAY_BLOCK) || begins.is_hard() {
        return Stay::Long;
    }
    Stay::Short(it.digest as u64)
}

/// Nothing in it depends on the current database, nor will its connection be kept: what is said
/// over it next may.
fn needs_no_database(it: &Statement) -> bool {
    let plain_set =
        is_known_setting(it) && it.settings.iter().all(|setting| setting.name != "autocommit");
    let no_tables = it.verb == Verb::Select
        && !it.effects.has_any(Effects::CALLS_UNKNOWN | Effects::DATABASE_MATTERS);
    // A new connection would know nothing of what is asked.
    let asks = only_asks(it) && it.verb == Verb::Show;
    it.statements == 1 && (plain_set || no_tables || asks || it.verb == Verb::Use)
}

/// What a statement can do to data. Whatever may commit in ways that its text does not show
/// counts as a commit: 1213 would promise that nothing happened.
pub(super) fn kind_of(it: &Statement, in_transaction: bool) -> Kind {
    let plain = it.statements == 1;
    let plain_write = matches!(
        it.verb,
        Verb::Insert
            | Verb::Replace
            | Verb::Update
            | Verb::Delete
            | Verb::Load
            | Verb::Select
            | Verb::Do
            | Verb::Show
            | Verb::Describe
            | Verb::Explain
            | Verb::Savepoint
            | Verb::Rollback
            | Verb::Handler
    );
    if plain && it.proof == Proof::Read {
        Kind::Read
    } else if plain
        && ((it.verb == Verb::Begin && !in_transaction)
            || is_known_setting(it)
            || it.verb == Verb::Use)
    {
        Kind::Setting
    } else if plain && plain_write && !it.effects.has(Effects::IMPLICIT_COMMIT) {
        Kind::Write
    } else {
        Kind::Commit
    }
}

/// Behind what was not read to its end, or not read at all, another statement may stand.
fn may_be_several(it: &Statement) -> bool {
    it.statements > 1 || it.is_long || it.effects.has(Effects::DANGER)
}

/// A SET whose every assignment a tracker tells.
pub(super) fn is_known_setting(it: &Statement) -> bool {
    it.verb == Verb::Set
        && it.statements == 1
        && !it.effects.has_any(Effects::USER_VARIABLE | Effects::CALLS_UNKNOWN)
        && !it.settings.is_empty()
        && it.settings.iter().all(|setting| {
            setting.scope == Scope::Session
                && (setting.name == "names"
                    || setting.name == "autocommit"
                    || Values::carries(&setting.name))
        })
}

/// The holds that a statement begins, whatever its answer is.
pub(super) fn holds_of(it: &Statement) -> Holds {
    let mut holds = Holds::NONE;
    let when = |holds: &mut Holds, effect: Effects, hold: Hold| {
        if it.effects.has(effect) {
            holds.add(hold);
        }
    };
    when(&mut holds, Effects::USER_LOCK, Hold::UserLock);
    when(&mut holds, Effects::TEMPORARY_TABLE, Hold::TemporaryTable);
    when(&mut holds, Effects::USER_VARIABLE, Hold::UserVariable);
    when(&mut holds, Effects::TEXT_PREPARE, Hold::TextPrepare);
    when(&mut holds, Effects::HANDLER, Hold::Handler);
    when(&mut holds, Effects::CALLS_UNKNOWN, Hold::UnknownCall);
    match it.verb {
        Verb::LockTables => holds.add(Hold::TableLocks),
        Verb::Begin => holds.add(Hold::Transaction),
        Verb::Xa => holds.add(Hold::UnknownCall),
        Verb::Set if !is_known_setting(it) => {
            let next = it.settings.iter().any(|one| one.scope == Scope::NextTransaction);
            let global =
                !it.settings.is_empty() && it.settings.iter().all(|one| one.scope == Scope::Global);
            if next {
                holds.add(Hold::NextTransaction);
            } else if !global {
                holds.add(Hold::UnknownSetting);
            }
        }
        Verb::Other => holds.add(Hold::UnknownCall),
        _ => {}
    }
    if it.statements > 1 {
        holds.add(Hold::UnknownCall);
    }
    holds
}
