//! All learning: what came of a statement -> what to do next, and what the session knows now.
//!
//! P4 and P5 are decided in [`after_loss`], one page: what a client is told when a server is lost,
//! by how much was sent, how much was answered, and what the statement was. Not the routing
//! (`plan`).

use crate::cluster::{Role, ServerId};
use crate::session::Session;
use crate::session::hold::{Hold, Holds};
use crate::session::plan::{Forward, Kind, Reason, Retry, is_known_setting};
use crate::session::refusal::Refusal;
use crate::session::variable::{Values, names_collation};
use crate::session::write::{Dirty, Write, has_gtid};
use crate::sql::{Effects, Setting, Statement, Verb};
use crate::wire::command::Command;
use crate::wire::ok::{Status, Tracked};
use crate::wire::reply::{End, Expect, Summary};

/// How much of a command was written to the server's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No byte.
    Nothing,
    /// Some, but not the last: a server does nothing with that.
    Part,
    /// All of it.
    Whole,
}

/// How much of the reply the *client* has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replied {
    /// No byte.
    Nothing,
    /// Some.
    Some,
    /// All of it.
    Whole,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The reply is whole: what it was stands in the summary.
    Answered,
    /// The connection was lost.
    Lost,
    /// The reply broke the protocol.
    Malformed,
    /// The server asked for a local file.
    Infile,
}

/// What came of one exchange with a server.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Which server it was.
    pub role: Role,
    /// How much of the command it got.
    pub sent: Sent,
    /// How much of the reply the client got.
    pub replied: Replied,
    /// How it ended.
    pub end: Ending,
    /// What the reply said.
    pub summary: &'a Summary,
}

/// What is to be done now.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply goes to the client, the connection back to the pool.
    Release,
    /// The reply goes to the client, the connection stays with the session.
    Hold,
    /// The reply goes to the client, the connection is closed.
    Discard,
    /// Nothing goes to the client; the statement is sent again, there.
    Retry(Forward),
    /// The connection is closed and the client is told this.
    Fail(Refusal),
}

/// What was said: the facts of a statement and its text, or a command.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// COM_QUERY, or COM_STMT_EXECUTE of that text.
    Statement(&'a Statement, &'a [u8]),
    /// COM_STMT_PREPARE and what the text is.
    Prepare(&'a Statement),
    /// Anything else.
    Command(&'a Command<'a>),
}

/// What a client is told after its server was lost.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet: the statement is run elsewhere.
    RunAgain,
    /// This error; the transaction, if one was open, is over for good.
    Error(Refusal),
    /// This error, and the same one until the client ends its transaction.
    Cut,
}

/// The table of P4 and P5. `held`: the session had state on that connection.
pub fn after_loss(it: &Forward, in_transaction: bool, sent: Sent, replied: Replied) -> Told {
    match (it.kind, sent, replied) {
        (_, _, Replied::Whole) => Told::Error(Refusal::Bug),
        // The result broke off before the client's eyes.
        (Kind::Read | Kind::Setting, _, Replied::Some) if !in_transaction => {
            Told::Error(Refusal::ResultCut)
        }
        (Kind::Read | Kind::Setting, _, Replied::Some) => Told::Cut,
        (Kind::Write | Kind::Commit, _, Replied::Some) => Told::Error(Refusal::OutcomeUnknown),
        // The server never had the whole of it: nothing happened.
        (_, Sent::Nothing | Sent::Part, Replied::Nothing) => match (in_transaction, it.retry) {
            (true, _) => Told::Cut,
            (false, Retry::Never) => Told::Error(Refusal::StateLost),
            (false, Retry::IfUnsent | Retry::IfNoReplyByte) => Told::RunAgain,
        },
        (Kind::Commit, Sent::Whole, Replied::Nothing) => Told::Error(Refusal::OutcomeUnknown),
        (_, Sent::Whole, Replied::Nothing) if in_transaction => Told::Cut,
        (Kind::Write, Sent::Whole, Replied::Nothing) => Told::Error(Refusal::OutcomeUnknown),
        (Kind::Read | Kind::Setting, Sent::Whole, Replied::Nothing) => match it.retry {
            Retry::Never => Told::Error(Refusal::StateLost),
            Retry::IfUnsent | Retry::IfNoReplyByte => Told::RunAgain,
        },
    }
}

/// Errors by which a server says that it leaves and has not run the statement.
const LEAVING: &[u16] = &[1053, 1927, 4031];

/// Whether a server says by this error that it leaves and has not run the statement.
#[must_use]
pub fn is_leaving(code: u16) -> bool {
    LEAVING.contains(&code)
}
/// Errors by which a server refuses a write.
const REFUSES_WRITES: &[u16] = &[1290, 1792, 1836];
/// Errors that a client's own limits cause: the primary would not do better.
const OWN_LIMITS: &[u16] = &[1028, 1104, 1205, 1317, 1969, 3024];

impl Session {
    /// What to do after an exchange, and the write, if any, that replicas have yet to see. The
    /// write is to be recorded *before* the client gets the reply.
    pub fn observe(
        &mut self,
        it: &Forward,
        said: Said<'_>,
        outcome: &Outcome<'_>,
    ) -> (Verdict, Option<Write>) {
        match outcome.end {
            Ending::Answered => self.observe_answer(it, said, outcome),
            Ending::Infile => {
                let write = self.unknown_write(it);
                // The server waits for a file: there is no way on with it.
                let is_primary = outcome.role == Role::Primary;
                self.cut |= self.holds.has(Hold::Transaction) && is_primary;
                self.connection_gone(outcome.role);
                (Verdict::Fail(Refusal::LocalInfileOff), write)
            }
            Ending::Lost | Ending::Malformed => self.observe_loss(it, said, outcome),
        }
    }

    fn observe_loss(
        &mut self,
        it: &Forward,
        said: Said<'_>,
        outcome: &Outcome<'_>,
    ) -> (Verdict, Option<Write>) {
        let in_transaction = self.holds.has(Hold::Transaction) && outcome.role == Role::Primary;
        let told = after_loss(it, in_transaction, outcome.sent, outcome.replied);
        let mut write = None;
        if matches!(it.kind, Kind::Write | Kind::Commit) && outcome.sent == Sent::Whole {
            write = self.unknown_write(it);
        }
        self.connection_gone(outcome.role);
        let verdict = match told {
            Told::RunAgain if self.has_lost(said) => Verdict::Fail(Refusal::StateLost),
            Told::RunAgain => Verdict::Retry(it.again(Reason::ReplicaLost, outcome.role)),
            Told::Error(_) if outcome.end == Ending::Malformed => {
                Verdict::Fail(Refusal::ServerMalformed)
            }
            Told::Error(refusal) => Verdict::Fail(refusal),
            Told::Cut => {
                self.cut = true;
                Verdict::Fail(Refusal::TransactionCut)
            }
        };
        (verdict, write)
    }

    fn observe_answer(
        &mut self,
        it: &Forward,
        said: Said<'_>,
        outcome: &Outcome<'_>,
    ) -> (Verdict, Option<Write>) {
        let summary = outcome.summary;
        if let Some(End::Err { code, .. }) = &summary.end {
            let first = summary.first_packet_err && outcome.replied == Replied::Nothing;
            if LEAVING.contains(code) {
                return self.observe_leaving(it, said, outcome);
            }
            if first && let Some(again) = self.second_thought(it, *code, outcome.role) {
                return (Verdict::Retry(again), None);
            }
        }
        self.learn(it, said, summary, outcome.role);
        self.note_warnings(said, summary);
        let write = self.write_of(it, said, summary);
        let verdict = match outcome.role {
            Role::Primary => self.keep_primary(it, said, summary),
            Role::Reader => self.keep_reader(said, summary),
        };
        (verdict, write)
    }

    /// A server that says first that it leaves has not run it, but its state is gone.
    fn observe_leaving(
        &mut self,
        it: &Forward,
        said: Said<'_>,
        outcome: &Outcome<'_>,
    ) -> (Verdict, Option<Write>) {
        // After a first result it has run at least some of it.
        let sent = if outcome.summary.first_packet_err { Sent::Part } else { Sent::Whole };
        self.observe_loss(it, said, &Outcome { sent, ..*outcome })
    }

    /// The same statement elsewhere, when the first packet of the reply was this error.
    fn second_thought(&self, it: &Forward, code: u16, role: Role) -> Option<Forward> {
        // While there is no primary, its word is the only one there is; that it takes no writes says
        // nothing of the statement.
        let is_only_word = it.why == Reason::PrimaryLost && !REFUSES_WRITES.contains(&code);
        let counts = is_only_word || OWN_LIMITS.contains(&code);
        if role == Role::Reader && !counts && !it.held {
            // A replica that lacks a table, a column, a function or a right is no reason for the
            // client to see an error that the primary would not give.
            return Some(it.again(Reason::Misrouted, Role::Reader));
        }
        None
    }

    /// The same statement on the primary: the replica could not be brought to the session's state.
    pub fn to_primary(&self, it: &Forward) -> Forward {
        it.again(Reason::Misrouted, Role::Reader)
    }

    /// The server of a connection left while it was brought to the session's state: nothing of
    /// the statement was run. What to send instead; none if the answer was another one.
    pub fn after_setup(&mut self, it: &Forward, code: u16, role: Role) -> Option<Forward> {
        if !LEAVING.contains(&code) {
            return None;
        }
        self.connection_gone(role);
        Some(it.again(Reason::ReplicaLost, role))
    }

    /// Trackers and flags of a whole reply.
    fn learn(&mut self, it: &Forward, said: Said<'_>, summary: &Summary, role: Role) {
        if tells_status(it, summary) {
            let before = self.status;
            self.status = summary.status.lasting();
            if before.has(Status::NO_BACKSLASH_ESCAPES)
                != self.status.has(Status::NO_BACKSLASH_ESCAPES)
            {
                self.values_changed();
            }
        }
        if let Said::Statement(it, _) = said {
            self.note_untold(it);
        }
        // A read sets nothing, whatever its replica tells.
        let may_set = role == Role::Primary || it.kind == Kind::Setting;
        if may_set && !summary.tracked.is_empty() {
            if let Said::Statement(it, text) = said
                && !note_names(it, text, &mut self.values)
            {
                self.holds.add(Hold::UnknownSetting);
            }
            if !self.values.learn(&summary.tracked) {
                self.holds.add(Hold::UnknownSetting);
            }
            self.values_changed();
        }
        if let Said::Statement(it, _) = said
            && role == Role::Primary
            && !tells_settings(it, summary)
        {
            self.holds.add(Hold::UnknownSetting);
        }
        if let (Said::Command(Command::InitDb(name)), Some(End::Ok)) = (said, &summary.end) {
            self.values.database = Some((*name).into());
            self.values_changed();
        }
    }

    /// What the same reply says of the connection that it came over.
    pub fn note_on(&self, said: Said<'_>, summary: &Summary, values: &mut Values) {
        if let Said::Statement(it, text) = said {
            note_names(it, text, values);
        }
        values.learn(&summary.tracked);
        if let (Said::Command(Command::InitDb(name)), Some(End::Ok)) = (said, &summary.end) {
            values.database = Some((*name).into());
        }
    }

    fn keep_primary(&mut self, it: &Forward, said: Said<'_>, summary: &Summary) -> Verdict {
        let mut holds = self.holds;
        let failed = matches!(summary.end, Some(End::Err { .. }));
        for hold in it.begins.iter() {
            holds.add(hold);
        }
        if tells_status(it, summary) {
            self.holds_of_status(&mut holds, it, said, summary);
        }
        match said {
            Said::Statement(statement, text) => {
                self.last = Some(Role::Primary);
                let own = self.mode.flavour;
                self.implicit.note((statement, text), summary, Role::Primary, own);
                holds_after(statement, summary, failed, &mut holds);
            }
            Said::Prepare(statement) => {
                self.last = Some(Role::Primary);
                self.implicit.note_prepared(statement, summary, Role::Primary, self.mode.flavour);
            }
            Said::Command(Command::SetOption(option)) if !failed => {
                self.multi_statements = *option == 0;
                holds.set(Hold::MultiStatements, *option == 0);
            }
            Said::Command(_) if failed => self.implicit.note_failed(),
            Said::Command(Command::InitDb(_)) => self.implicit.note_nothing(),
            Said::Command(Command::FieldList(_)) => {
                self.implicit.note_field_list(self.mode.flavour);
            }
            Said::Command(_) => {}
        }
        if self.holds.is_hard() || holds.is_hard() {
            // Others may have written while it waited for a lock, or had its own transaction.
            self.own.void();
        }
        holds.set(Hold::Prepared, self.prepared.has_pins());
        holds.set(Hold::Diagnostics, self.implicit.needs(Role::Primary));
        self.reader_kept = self.implicit.needs(Role::Reader);
        self.holds = holds;
        if summary.insert_id != 0 {
            self.insert_id_lost = false;
        }
        if it.needs.insert_id && self.insert_id.is_some() && !holds.is_empty() {
            // It is on the connection that is kept, or there is a newer one.
            holds.add(Hold::InsertId);
            self.holds = holds;
            self.insert_id = None;
        }
        if holds.is_empty() { Verdict::Release } else { Verdict::Hold }
    }

    fn holds_of_status(&self, holds: &mut Holds, it: &Forward, said: Said<'_>, summary: &Summary) {
        let in_transaction = summary.status.has(Status::IN_TRANS);
        // What touches no table, or none with transactions, leaves what was set for the next one.
        let was_one = self.holds.has(Hold::Transaction) || has_gtid(summary) || ends_one(said);
        if !in_transaction && was_one && !it.begins.has(Hold::NextTransaction) {
            holds.end(Hold::NextTransaction);
        }
        holds.set(Hold::Transaction, in_transaction);
        holds.set(Hold::AutocommitOff, !summary.status.has(Status::AUTOCOMMIT));
    }

    fn keep_reader(&mut self, said: Said<'_>, summary: &Summary) -> Verdict {
        self.last = Some(Role::Reader);
        self.reader_kept = false;
        if summary.status.has(Status::IN_TRANS) {
            return Verdict::Discard;
        }
        let (Said::Statement(it, _) | Said::Prepare(it)) = said else { return Verdict::Release };
        match said {
            Said::Prepare(_) => {
                self.implicit.note_prepared(it, summary, Role::Reader, self.mode.flavour);
            }
            Said::Statement(_, text) => {
                self.implicit.note((it, text), summary, Role::Reader, self.mode.flavour);
            }
            Said::Command(_) => {}
        }
        self.holds.set(Hold::Diagnostics, self.implicit.needs(Role::Primary));
        self.reader_kept = self.implicit.needs(Role::Reader);
        if self.reader_kept { Verdict::Hold } else { Verdict::Release }
    }

    fn connection_gone(&mut self, role: Role) {
        self.implicit.forget(role);
        match role {
            Role::Primary => {
                self.insert_id_lost |= self.holds.has(Hold::InsertId);
                self.holds = Holds::NONE;
                self.prepared.lose_pins();
                self.dirty = Dirty::default();
                if self.last == Some(Role::Primary) {
                    self.last = None;
                }
            }
            Role::Reader => {
                self.reader_kept = false;
                self.sticky = None;
                if self.last == Some(Role::Reader) {
                    self.last = None;
                }
            }
        }
    }

    /// A read was served there; the next one stays while it can.
    pub fn served_by(&mut self, server: ServerId) {
        self.sticky = Some(server);
    }
}

impl Session {
    /// Another connection would answer this, and not what is asked for: 0 would be believed.
    #[must_use]
    pub fn has_lost(&self, said: Said<'_>) -> bool {
        self.insert_id_lost && asks_insert_id(said)
    }
}

fn asks_insert_id(said: Said<'_>) -> bool {
    matches!(said, Said::Statement(it, _) if it.effects.has(Effects::INSERT_ID))
}

/// Whether the reply carried status flags: PREPARE's and STATISTICS' do not.
fn tells_status(it: &Forward, summary: &Summary) -> bool {
    let flagged = !matches!(it.expect, Expect::Prepare | Expect::Text | Expect::Nothing);
    flagged && matches!(summary.end, Some(End::Ok | End::Rows))
}

/// Whether the reply to a SET told what it set. MySQL 5.6 tells nothing, others may not know a name.
fn tells_settings(it: &Statement, summary: &Summary) -> bool {
    let told = |names: &[&str]| {
        summary.tracked.iter().any(|tracked| {
            matches!(tracked, Tracked::Variable { name, .. }
                if names.iter().any(|known| known.as_bytes() == name))
        })
    };
    let is_told = |setting: &Setting| match setting.name.as_str() {
        // The status flags tell.
        "autocommit" => true,
        "names" => told(&["character_set_client"]),
        "transaction_isolation" => told(&["transaction_isolation", "tx_isolation"]),
        name => told(&[name]),
    };
    !matches!(summary.end, Some(End::Ok))
        || !is_known_setting(it)
        || it.settings.iter().all(is_told)
}

/// A refusal by a replica to run what looked like a read.
#[must_use]
pub fn is_misroute(summary: &Summary) -> bool {
    matches!(&summary.end, Some(End::Err { code, .. }) if REFUSES_WRITES.contains(code))
}

/// Whether a transaction is over once this has run, even if there was none.
fn ends_one(said: Said<'_>) -> bool {
    matches!(said, Said::Statement(it, _)
        if it.statements == 1 && matches!(it.verb, Verb::Commit | Verb::Rollback))
}

/// No tracker tells the collation of SET NAMES. False: nor does the text.
fn note_names(it: &Statement, text: &[u8], values: &mut Values) -> bool {
    let touches = |name: &str| it.settings.iter().any(|one| one.name == name);
    if it.verb != Verb::Set {
        return true;
    }
    if touches("names") {
        match names_collation(text) {
            Ok(None) => values.forget_collation(),
            Ok(Some(name)) => {
                return values.set_variable(b"collation_connection", &name.to_ascii_lowercase());
            }
            Err(()) => return false,
        }
    } else if touches("character_set_connection") {
        values.forget_collation();
    }
    true
}

/// Holds that depend on what came of a statement.
fn holds_after(it: &Statement, summary: &Summary, failed: bool, holds: &mut Holds) {
    match it.verb {
        Verb::UnlockTables if !failed => holds.end(Hold::TableLocks),
        Verb::Begin if failed => holds.end(Hold::Transaction),
        _ => {}
    }
    // What cannot be read of a change is a change.
    let tells = |it: &Tracked| matches!(it, Tracked::StateChanged | Tracked::Unknown(0..=2));
    let changed = summary.tracked.iter().any(tells);
    if changed && !explains_change(it) {
        holds.add(Hold::UnexplainedState);
    }
    let writes =
        matches!(it.verb, Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::Load);
    // LAST_INSERT_ID(5) is a question that changes what it asks for.
    if writes || summary.insert_id != 0 || it.effects.has(Effects::INSERT_ID) {
        holds.add(Hold::InsertId);
    }
}

fn explains_change(it: &Statement) -> bool {
    is_known_setting(it)
        || matches!(it.verb, Verb::Use | Verb::Set | Verb::Prepare | Verb::Deallocate)
        || it.effects.has_any(
            Effects::TEMPORARY_TABLE
                | Effects::USER_VARIABLE
                | Effects::TEXT_PREPARE
                | Effects::CALLS_UNKNOWN,
        )
}
