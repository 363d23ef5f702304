//! While no primary can be reached: what a replica may do in its place.
//!
//! Reads of tables go on by themselves. Here is what a request says before its first one: session
//! settings, questions for them, the choice of a schema; and what a login asks. None of it changes
//! data, and a replica answers as the primary would have. That the primary is lost, and that the
//! operator wants it so, is for `client` and `backend` to say.

use crate::cluster::{Role, Want};
use crate::freshness::{Freshness, Touched};
use crate::position::Ordinal;
use crate::session::Session;
use crate::session::observe::Said;
use crate::session::plan::{Forward, Kind, Needs, Reason, Retry};
use crate::sql::Verb;
use crate::wire::command::Command;

impl Session {
    /// The same at a replica. None: it waits for the primary.
    #[must_use]
    pub fn without_primary(
        &self,
        it: &Forward,
        said: Said<'_>,
        freshness: &Freshness,
    ) -> Option<Forward> {
        // What a replica could not answer as it should is not asked there again.
        let is_tried = matches!(it.why, Reason::PrimaryLost | Reason::Misrouted);
        if it.want.role == Role::Reader || is_tried || it.held || !it.begins.is_empty() {
            return None;
        }
        let (kind, retry, want) = match said {
            Said::Statement(statement, _) if !statement.is_replayable => return None,
            Said::Statement(statement, _) => match statement.verb {
                Verb::Select => (Kind::Read, Retry::IfNoReplyByte, it.want.at_replica(Ordinal(0))),
                Verb::Use => (Kind::Setting, it.retry, of_login(it.want, freshness)),
                _ => (Kind::Setting, it.retry, it.want.at_replica(Ordinal(0))),
            },
            Said::Command(Command::InitDb(_)) => {
                (Kind::Setting, it.retry, of_login(it.want, freshness))
            }
            Said::Command(_) | Said::Prepare(_) => return None,
        };
        let needs = Needs { insert_id: false, ..it.needs };
        Some(Forward { want, kind, retry, needs, why: Reason::PrimaryLost, ..*it })
    }
}

/// A replica that knows the accounts, their rights and the schemas as far as they are known here.
#[must_use]
pub fn of_login(want: Want, freshness: &Freshness) -> Want {
    want.at_replica(freshness.floor(&Touched::Schemas(&[b"mysql"])))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::freshness::{Rows, TableRows, Written};
    use crate::position::{Flavour, Position};
    use crate::session::hold::Hold;
    use crate::session::plan::{Plan, Policy};
    use crate::sql::{Classifier, Mode};

    /// Others wrote wp.t (1), made an account (2), and wrote wp.t again (3).
    fn written() -> (Freshness, u64) {
        let position = |text: &[u8]| Position::parse(Flavour::MariaDb, text).unwrap();
        let freshness = Freshness::new(Instant::now());
        freshness.start(Some(position(b"0-1-1")), None, Instant::now());
        let base = freshness.last().0;
        let rows = [TableRows { schema: b"wp", table: b"t", rows: Rows::All }];
        let (table, all) = (Touched::Tables(&rows), Touched::Everything);
        for (touched, at) in [(&table, b"0-1-2"), (&all, b"0-1-3"), (&table, b"0-1-4")] {
            let position = Some(position(at));
            freshness.record(Written { touched: *touched, position, at: Instant::now() });
        }
        (freshness, base)
    }

    fn told(forward: Option<Forward>, base: u64) -> String {
        let Some(Forward { want, kind, .. }) = forward else { return "waits".to_owned() };
        format!("{:?} {kind:?} {}", want.role, want.floor.0.saturating_sub(base))
    }

    /// What a replica does with a statement in the primary's place, and how far it must have come.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (freshness, base) = written();
        let mut session = Session::new(1, Mode::default());
        let it = Classifier::read_once(text.as_bytes(), Mode::default());
        let Plan::Forward(forward) = session.plan(&it, Policy::SPLIT, &freshness) else {
            panic!("{text} is no forward");
        };
        let said = Said::Statement(&it, text.as_bytes());
        let seen = session.without_primary(&forward, said, &freshness);
        assert_eq!(told(seen, base), expected, "{text}");
    }

    #[test]
    fn what_a_request_says_before_its_first_read_is_said_to_a_replica() {
        check("SET NAMES utf8mb4", "Reader Setting 0");
        check("SET SESSION sql_mode = 'NO_ZERO_DATE'", "Reader Setting 0");
        check("SELECT @@SESSION.sql_mode", "Reader Read 0");
        check("USE wp", "Reader Setting 2");
        // Reads go to replicas by themselves; whatever may change something waits.
        check("SELECT a FROM t", "waits");
        check("SELECT a FROM t FOR UPDATE", "waits");
        check("UPDATE t SET a = 1", "waits");
        check("BEGIN", "waits");
        check("SET autocommit = 0", "waits");
        check("SET GLOBAL sql_mode = ''", "waits");
        check("SET SESSION TRANSACTION READ WRITE", "waits");
        check("SET SESSION transaction_read_only = 0", "waits");
        check("SET @a = 1", "waits");
        check("SELECT @@read_only", "waits");
        check("SELECT GET_LOCK('a', 1)", "waits");
        check("SET NAMES utf8mb4; DELETE FROM t", "waits");
    }

    #[test]
    fn commands_and_holds() {
        let (freshness, base) = written();
        let mut session = Session::new(1, Mode::default());
        let check = |session: &Session, command: Command<'_>, expected: &str| {
            let forward = session.forward_command(&command);
            let seen = session.without_primary(&forward, Said::Command(&command), &freshness);
            assert_eq!(told(seen, base), expected, "{command:?}");
            // A replica that was asked once is not asked again.
            let again = Forward { why: Reason::PrimaryLost, ..forward };
            assert!(session.without_primary(&again, Said::Command(&command), &freshness).is_none());
        };
        check(&session, Command::InitDb(b"wp"), "Reader Setting 2");
        check(&session, Command::Statistics, "waits");
        check(&session, Command::SetOption(0), "waits");
        session.holds.add(Hold::TableLocks);
        check(&session, Command::InitDb(b"wp"), "waits");
    }
}
