//! What a statement's names are, and what it does to them: text facts -> facts about this fleet.
//!
//! A text names tables; only a catalog knows which of them are views, and of which replicas lack
//! rows. [`Session::see`] puts that into the statement before anything is planned, so that `plan`,
//! `observe` and `hold` need not know of catalogs. Reads no catalog itself (`backend::catalog`).

use std::sync::Arc;

use crate::cluster::catalog::{Found, Name, Names};
use crate::session::Session;
use crate::session::observe::Said;
use crate::sql::{Effects, Proof, Statement, Table, Unfit, Verb};
use crate::wire::reply::{End, Summary};

/// ER_PARSE_ERROR: nothing of it was run.
const PARSE_ERROR: u16 = 1064;

/// Names that a command may define anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// None: any name.
    pub names: Option<Vec<Name>>,
    /// It is certain enough that the names are hidden while it runs.
    pub at_once: bool,
}

impl Session {
    /// The statement with what its names are. The same one, if they are tables.
    #[must_use]
    pub fn see(&self, it: Arc<Statement>, names: &Names<'_>) -> Arc<Statement> {
        let is_read = it.proof == Proof::Read && matches!(it.verb, Verb::Select | Verb::Explain);
        let feeds_a_write = !it.reads.is_empty()
            && matches!(it.verb, Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete);
        if (!is_read && !feeds_a_write) || names.are_plain() {
            return it;
        }
        let (unfit, beside) = self.worst(&it, names);
        match unfit {
            // No write is known by a view's name, but by those of the tables behind it.
            None if is_read && !beside.is_empty() => {
                let mut seen = Statement::clone(&it);
                seen.reads.extend(beside);
                Arc::new(seen)
            }
            // What a view runs on the primary may take locks there as any function may.
            Some(Unfit::View) if feeds_a_write => {
                let effects = it.effects | Effects::CALLS_UNKNOWN;
                Arc::new(Statement { effects, ..Statement::clone(&it) })
            }
            Some(unfit) if is_read => Arc::new(spoilt(&it, unfit)),
            _ => it,
        }
    }

    /// The worst of its names, and the tables that its views read.
    fn worst(&self, it: &Statement, names: &Names<'_>) -> (Option<Unfit>, Vec<Table>) {
        if it.reads.is_empty() && !it.tables_known {
            return (Some(Unfit::Unlisted), Vec::new());
        }
        let database = self.values.database.as_deref();
        let database = database.and_then(|name| std::str::from_utf8(name).ok());
        let (mut worst, mut beside) = (None, Vec::new());
        for table in &it.reads {
            let schema = table.schema.as_deref().or(database);
            match names.find(schema, &table.name) {
                Found::Table => {}
                Found::Unfit(unfit) => worst = worst.max(Some(unfit)),
                Found::View(reads) => {
                    beside.extend(reads.iter().map(|name| Table {
                        schema: Some(name.schema().into()),
                        name: name.table().into(),
                    }));
                }
            }
        }
        (worst, beside)
    }

    /// What a command may do to names; none for nearly all of them.
    #[must_use]
    pub fn changes(&self, said: Said<'_>) -> Option<Change> {
        let statement = match said {
            Said::Statement(statement, _) => statement,
            Said::Command(_) | Said::Prepare(_) => return None,
        };
        let effects = statement.effects;
        let hides_text = (statement.is_long && self.multi_statements)
            || (statement.statements > 1
                && effects.has_any(Effects::IMPLICIT_COMMIT | Effects::CALLS_UNKNOWN))
            || effects.has(Effects::DANGER | Effects::CALLS_UNKNOWN);
        match statement.verb {
            // Of temporary tables nobody else hears, and they hold their connection.
            Verb::Ddl if !effects.has(Effects::IMPLICIT_COMMIT) && !hides_text => None,
            Verb::Ddl if !hides_text => {
                Some(Change { names: self.targets(statement), at_once: true })
            }
            // Rights decide what can be seen.
            Verb::Ddl | Verb::Account | Verb::Call | Verb::Execute => {
                Some(Change { names: None, at_once: true })
            }
            Verb::Other => Some(Change { names: None, at_once: false }),
            _ if hides_text => Some(Change { names: None, at_once: false }),
            _ => None,
        }
    }

    /// The tables that DDL names. None: not all are known.
    fn targets(&self, it: &Statement) -> Option<Vec<Name>> {
        let database = self.values.database.as_deref();
        let database = database.and_then(|name| std::str::from_utf8(name).ok());
        let named = |table: &Table| Name::new(table.schema.as_deref().or(database)?, &table.name);
        let names: Vec<Name> = it.writes.iter().map(named).collect::<Option<_>>()?;
        (!names.is_empty()).then_some(names)
    }

    /// Whether the answer shows that no name was changed: rows, or an error of grammar.
    #[must_use]
    pub fn changed_nothing(&self, said: Said<'_>, summary: &Summary) -> bool {
        let is_one = match said {
            Said::Statement(it, _) => {
                it.statements == 1 && !(self.multi_statements && it.effects.has(Effects::DANGER))
            }
            _ => true,
        };
        let is_cut = matches!(said, Said::Statement(it, _) if it.is_long && self.multi_statements);
        match &summary.end {
            Some(End::Rows) => is_one && !is_cut,
            Some(End::Err { code, .. }) => {
                *code == PARSE_ERROR && summary.first_packet_err && is_one && !is_cut
            }
            _ => false,
        }
    }
}

/// The same statement, known to be for the primary.
fn spoilt(it: &Statement, unfit: Unfit) -> Statement {
    let mut spoilt = Statement { unfit: Some(unfit), why: unfit.why(), ..it.clone() };
    match unfit {
        Unfit::Engine => {}
        Unfit::Unlisted => spoilt.proof = Proof::UnknownRead,
        // As a function that is not built in: it may take locks that no tracker shows.
        Unfit::View => {
            spoilt.proof = Proof::UnknownRead;
            spoilt.effects |= Effects::CALLS_UNKNOWN;
        }
    }
    spoilt
}

#[cfg(test)]
mod tests;
