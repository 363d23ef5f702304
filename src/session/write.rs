//! What replicas have yet to see: which schemas a statement wrote, and where in the primary's history.
//!
//! A write inside a transaction counts from its COMMIT on. What cannot be told counts as a write to
//! everything; what became of a write nobody knows counts as done. Called by `observe`; recorded by
//! `backend::fleet`, before the client hears of it.

use crate::position::{self, Position};
use crate::session::Session;
use crate::session::hold::Hold;
use crate::session::observe::Said;
use crate::session::plan::{Forward, Kind};
use crate::sql::{Effects, Flavour, Statement, Verb};
use crate::wire::ok::{Status, Tracked};
use crate::wire::reply::{End, Summary};

/// A write whose arrival at the replicas has to be awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The schemas written; `None`: unknown, everything.
    pub schemas: Option<Vec<Box<[u8]>>>,
    /// Where in the primary's history it is; `None`: not told.
    pub position: Option<Position>,
}

/// Schemas that were written and not yet recorded.
#[derive(Debug, Default)]
pub struct Dirty {
    schemas: Vec<Box<[u8]>>,
    everything: bool,
}

impl Dirty {
    fn is_empty(&self) -> bool {
        self.schemas.is_empty() && !self.everything
    }

    fn add(&mut self, schema: &[u8]) {
        if !self.schemas.iter().any(|known| &**known == schema) {
            self.schemas.push(schema.into());
        }
    }

    /// The same without a position; what was noted stays noted.
    fn copy(&self) -> Write {
        Write { schemas: (!self.everything).then(|| self.schemas.clone()), position: None }
    }

    fn take(&mut self, position: Option<Position>) -> Write {
        let it = std::mem::take(self);
        Write { schemas: (!it.everything).then_some(it.schemas), position }
    }
}

impl Session {
    /// The write that replicas have yet to see.
    pub(super) fn write_of(
        &mut self,
        it: &Forward,
        said: Said<'_>,
        summary: &Summary,
    ) -> Option<Write> {
        if matches!(it.kind, Kind::Read | Kind::Setting) && !has_gtid(summary) {
            return None;
        }
        let failed = matches!(summary.end, Some(End::Err { .. }));
        self.soil(it, said);
        let open = self.holds.has(Hold::Transaction) || self.status.has(Status::IN_TRANS);
        if let Some(position) = gtid_of(summary, self.mode.flavour) {
            // A commit of what was not seen to be written: it can be anything.
            self.dirty.everything |= self.dirty.is_empty();
            return Some(self.dirty.take(Some(position)));
        }
        if open && failed {
            // The transaction may go on and commit what it wrote before; what the failed statement
            // wrote into a table without transactions is there already.
            return Some(self.dirty.copy());
        }
        if open && (it.kind != Kind::Commit || self.status.has(Status::IN_TRANS)) {
            // Nobody sees it before COMMIT.
            return None;
        }
        let nothing = match said {
            Said::Statement(statement, _) => is_nothing(statement, summary, failed),
            Said::Prepare(_) | Said::Command(_) => true,
        };
        if nothing || self.dirty.is_empty() {
            self.dirty = Dirty::default();
            return None;
        }
        Some(self.dirty.take(None))
    }

    /// Notes which schemas a statement may have written.
    fn soil(&mut self, it: &Forward, said: Said<'_>) {
        let statement = match said {
            Said::Statement(statement, _) => statement,
            Said::Command(_) => {
                self.dirty.everything = true;
                return;
            }
            Said::Prepare(_) => return,
        };
        if matches!(statement.verb, Verb::Commit | Verb::Begin | Verb::Rollback | Verb::Savepoint) {
            return;
        }
        let plain = matches!(
            statement.verb,
            Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::Ddl
        );
        let known = plain && statement.tables_known && !statement.writes.is_empty();
        if !known || statement.statements > 1 || it.begins.has(Hold::UnknownCall) {
            self.dirty.everything = true;
            return;
        }
        // A trigger may write beside the table that is named, most likely in its own schema.
        for table in &statement.writes {
            match (&table.schema, &self.values.database) {
                (Some(schema), _) => self.dirty.add(schema.as_bytes()),
                (None, Some(database)) => self.dirty.add(database),
                (None, None) => self.dirty.everything = true,
            }
        }
    }

    /// A write whose outcome nobody knows counts as done.
    pub(super) fn unknown_write(&mut self, it: &Forward) -> Option<Write> {
        if matches!(it.kind, Kind::Read | Kind::Setting) {
            return None;
        }
        self.dirty.everything = true;
        Some(self.dirty.take(None))
    }
}

/// Whether an answer without a GTID can only mean that nothing was written.
fn is_nothing(it: &Statement, summary: &Summary, failed: bool) -> bool {
    if failed {
        return matches!(it.verb, Verb::Select | Verb::Show | Verb::Describe | Verb::Explain)
            && !it.effects.has(Effects::CALLS_UNKNOWN);
    }
    match it.verb {
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete => {
            summary.affected == 0 && summary.rows == 0
        }
        Verb::Begin
        | Verb::Rollback
        | Verb::Savepoint
        | Verb::Set
        | Verb::Use
        | Verb::Show
        | Verb::Describe
        | Verb::Explain
        | Verb::LockTables
        | Verb::UnlockTables
        | Verb::Handler
        | Verb::Deallocate
        | Verb::Prepare
        | Verb::Empty => !it.effects.has(Effects::CALLS_UNKNOWN),
        Verb::Select | Verb::Do => !it.effects.has(Effects::CALLS_UNKNOWN),
        Verb::Commit
        | Verb::Load
        | Verb::Call
        | Verb::Ddl
        | Verb::Xa
        | Verb::Execute
        | Verb::Kill
        | Verb::Admin
        | Verb::Account
        | Verb::Other => false,
    }
}

pub(super) fn has_gtid(summary: &Summary) -> bool {
    summary.tracked.iter().any(|it| gtid_text(it).is_some())
}

fn gtid_text(it: &Tracked) -> Option<&[u8]> {
    match it {
        Tracked::Gtids(text) if !text.is_empty() => Some(text),
        Tracked::Variable { name, value } if name == b"last_gtid" && !value.is_empty() => {
            Some(value)
        }
        _ => None,
    }
}

/// The GTIDs of every terminator of a reply. `None` also when they make no sense: the write then
/// counts as one without a position.
fn gtid_of(summary: &Summary, flavour: Flavour) -> Option<Position> {
    let mut all: Option<Position> = None;
    for text in summary.tracked.iter().filter_map(gtid_text) {
        let one = match flavour {
            Flavour::MySql => Position::parse(position::Flavour::MySql, text),
            Flavour::MariaDb => Position::parse(position::Flavour::MariaDb, text),
        }
        .ok()?;
        if let Some(all) = &mut all {
            if !all.union(&one) {
                return None;
            }
        } else {
            all = Some(one);
        }
    }
    all
}
