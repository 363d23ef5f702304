//! Where commands go that speak of prepared statements, and what they leave behind.
//!
//! An EXECUTE goes where its text would go; PREPARE goes there too, so that the connection that
//! is likely to be asked next knows the statement. What ties a statement to one connection (a
//! cursor, long data or a text beyond what is kept) ties it to the primary. Not the policy for
//! texts (`plan`), not the bytes (`client::statement`).

use std::sync::Arc;

use crate::cluster::Role;
use crate::freshness::Freshness;
use crate::session::Session;
use crate::session::answer::Local;
use crate::session::hold::{Hold, Holds};
use crate::session::plan::{Forward, Kind, Needs, Plan, Policy, Reason, Retry};
use crate::session::prepared::{Blueprint, Known, Pin, PinReason, Source};
use crate::session::refusal::Refusal;
use crate::sql::{Effects, Proof, Statement, Verb, is_system_schema};
use crate::wire::command::Command;
use crate::wire::ok::Status;
use crate::wire::reply::{End, Expect, Summary};

/// What ties an EXECUTE to a certain way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// It asks for a cursor, which keeps its connection.
    pub cursor: bool,
    /// Its end is still with the client: it can be sent once only.
    pub streams: bool,
}

/// A command that speaks of a statement, after its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// PREPARE; the statement's source.
    Prepare,
    /// EXECUTE, with a cursor or without.
    Execute {
        /// One was asked for.
        cursor: bool,
    },
    /// Rows from its cursor.
    Fetch,
    /// Its cursor and its long data are dropped.
    Reset,
    /// It is closed.
    Close,
    /// Long data that is not kept here.
    LongData,
}

/// What becomes of the server's statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Whoever has the connection may execute it.
    Shared,
    /// It is this session's alone.
    Kept,
    /// Nobody needs it: it has to be closed.
    Closed,
    /// The server has it no more.
    Gone,
}

impl Session {
    /// What this session means by a text.
    #[must_use]
    pub fn blueprint(&self, text: &[u8]) -> Arc<Blueprint> {
        Arc::new(Blueprint::new(text, self.values(), self.mode()))
    }

    /// What to do with COM_STMT_PREPARE.
    pub fn plan_prepare(&self, it: &Statement, policy: Policy, freshness: &Freshness) -> Plan {
        if self.prepared.is_full() {
            return Plan::Refuse(Refusal::TooManyPrepared);
        }
        if self.cut {
            return Plan::Refuse(Refusal::TransactionCut);
        }
        let like = self.forward_statement(it, policy, freshness);
        let mut begins = Holds::NONE;
        // A variable that is to be set is there from then on, and its type is seen.
        let sets = it.verb == Verb::Set || it.effects.has(Effects::DANGER);
        begins.set(Hold::UserVariable, sets && it.effects.has(Effects::USER_VARIABLE));
        Plan::Forward(Forward {
            needs: Needs { insert_id: false, multi_statements: false, ..like.needs },
            expect: Expect::Prepare,
            retry: if like.held || it.is_long { Retry::Never } else { Retry::IfNoReplyByte },
            // Nothing is executed by it.
            kind: Kind::Read,
            begins,
            soils: false,
            why: match like.why {
                Reason::Diagnostics => Reason::Diagnostics,
                _ => Reason::Prepared,
            },
            ..like
        })
    }

    /// What to do with COM_STMT_EXECUTE of a statement with these facts.
    pub fn plan_execute(
        &mut self,
        it: &Statement,
        ties: Ties,
        policy: Policy,
        freshness: &Freshness,
    ) -> Plan {
        let mut plan = self.plan(it, policy, freshness);
        if let Plan::Forward(forward) = &mut plan {
            if (ties.cursor || ties.streams) && forward.want.role == Role::Reader {
                *forward = forward.again(Reason::Prepared, Role::Reader);
            }
            if ties.cursor {
                forward.expect = Expect::Cursor;
            }
            if ties.streams {
                forward.retry = Retry::Never;
            }
        }
        plan
    }

    /// What to do with the other commands that speak of prepared statements.
    pub(super) fn plan_prepared(&mut self, command: &Command<'_>) -> Plan {
        let (Command::Fetch { id }
        | Command::ResetStatement(id)
        | Command::CloseStatement(id)
        | Command::LongData { id }) = *command
        else {
            return Plan::Refuse(Refusal::Bug);
        };
        let known = self.prepared.find(id, self.mode.flavour).map(|(id, known)| (id, known.pin));
        match (command, known) {
            (Command::CloseStatement(_) | Command::LongData { .. }, None) => Plan::Ignore,
            (Command::Fetch { .. }, _) if self.cut => Plan::Refuse(Refusal::TransactionCut),
            (_, None) => Plan::Refuse(Refusal::UnknownStatement),
            (Command::LongData { .. }, _) if self.cut => Plan::Ignore,
            (Command::LongData { .. }, _) | (_, Some((_, Some(_)))) => {
                Plan::Forward(self.forward_command(command))
            }
            (Command::Fetch { .. }, _) => Plan::Refuse(Refusal::NoCursor),
            (Command::CloseStatement(_), Some((id, None))) => {
                self.prepared.remove(id);
                Plan::Ignore
            }
            (_, Some((id, None))) => {
                self.prepared.drop_pieces(id);
                if let Some(known) = self.prepared.known_mut(id) {
                    known.spoiled = None;
                }
                Plan::Answer(Local::Ok)
            }
        }
    }

    /// The facts of a statement that was prepared under other values. Its tables are those of the
    /// database that was current then.
    #[must_use]
    pub fn facts_then(&self, blueprint: &Blueprint, it: Arc<Statement>) -> Arc<Statement> {
        let then = blueprint.values.database.as_deref();
        if then.is_none() || then == self.values.database.as_deref() {
            return it;
        }
        let mut it = Statement::clone(&it);
        let Some(then) = then.and_then(|name| std::str::from_utf8(name).ok()) else {
            return Arc::new(Statement { tables_known: false, proof: Proof::No, ..it });
        };
        if is_system_schema(then) {
            it.proof = Proof::No;
        }
        for table in it.reads.iter_mut().chain(&mut it.writes) {
            table.schema.get_or_insert_with(|| then.into());
        }
        Arc::new(it)
    }

    /// The client's number for a statement that was just prepared, and what becomes of the
    /// server's.
    pub fn after_prepare(&mut self, source: Source, summary: &Summary) -> Fate {
        if summary.end != Some(End::Ok) {
            self.prepared.none_was_added();
            return Fate::Gone;
        }
        let id = self.prepared.next_id();
        let is_long = matches!(source, Source::Long(_));
        self.prepared.add(Known::new(source, summary.params));
        if !is_long {
            return Fate::Shared;
        }
        let pin = Pin { server_id: summary.statement_id, why: PinReason::LongText };
        self.prepared.pin(id, Some(pin));
        Fate::Kept
    }

    /// What becomes of the server's statement after another command's reply.
    pub fn after_statement(
        &mut self,
        spoken: Spoken,
        id: u32,
        server_id: u32,
        summary: &Summary,
    ) -> Fate {
        let failed = matches!(summary.end, Some(End::Err { .. }));
        let known = self.prepared.find(id, self.mode.flavour);
        let is_long = known.is_some_and(|(_, known)| matches!(known.source, Source::Long(_)));
        let is_private = known.is_some_and(|(_, known)| known.pin.is_some())
            || matches!(spoken, Spoken::Execute { cursor: true });
        let has_more =
            summary.status.has(Status::CURSOR_EXISTS) && !summary.status.has(Status::LAST_ROW_SENT);
        let pin = |why| Some(Pin { server_id, why });
        match spoken {
            Spoken::Close => {
                self.prepared.remove(id);
                Fate::Gone
            }
            _ if is_long => Fate::Kept,
            Spoken::LongData => {
                self.prepared.pin(id, pin(PinReason::LongData));
                Fate::Kept
            }
            Spoken::Execute { cursor: true } if !failed && has_more => {
                self.prepared.pin(id, pin(PinReason::Cursor));
                Fate::Kept
            }
            Spoken::Fetch if !failed && !summary.status.has(Status::LAST_ROW_SENT) => Fate::Kept,
            Spoken::Prepare | Spoken::Execute { .. } | Spoken::Fetch | Spoken::Reset => {
                self.prepared.pin(id, None);
                // After an error it is not known whether a cursor is still open.
                if failed && is_private { Fate::Closed } else { Fate::Shared }
            }
        }
    }
}

#[cfg(test)]
mod tests;
