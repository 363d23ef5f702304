//! What splitting would do with a read, and what careless rules would: asked in mode `observe`,
//! where everything goes to the primary.
//!
//! Changes nothing of the session: it may be split from the next statement on. Not the counting
//! (`client::rehearse`), and no choice of a server: that is `cluster::pick`'s, as ever.

use std::time::Instant;

use crate::cluster::Want;
use crate::freshness::{Freshness, Level, Ordinal, Sight};
use crate::limits;
use crate::session::Session;
use crate::session::own::{Due, Own};
use crate::session::plan::{Policy, Reason};
use crate::sql::{Effects, Proof, Statement};

/// A read, as other rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// What splitting would ask for.
    pub want: Want,
    /// What it must have seen so as not to be stale, whatever the operator allows.
    pub floor: Ordinal,
    /// HyperDB would read a replica.
    pub by_hyperdb: bool,
}

/// What one conversation remembers for that. It is made when it is first needed.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// When a fence is due. The session's own stays as it is: nobody waits for these.
    pace: Own,
    /// Tables that it wrote to, in lower case, whatever their schema: HyperDB's `srtm`.
    written: Vec<Box<str>>,
    /// They became too many: all tables are.
    is_full: bool,
}

impl Rehearsal {
    /// A statement that is no read.
    pub fn note(&mut self, it: &Statement) {
        for table in &it.writes {
            if self.is_full || self.has_written(&table.name) {
                continue;
            }
            self.is_full = self.written.len() >= limits::TABLES_OBSERVED_MAX;
            if !self.is_full {
                self.written.push(table.name.to_ascii_lowercase().into());
            }
        }
    }

    /// Whether a request seems to begin: what others wrote before is to be asked for.
    pub fn is_fence_due(&mut self, now: Instant) -> bool {
        let is_due = self.pace.due(Level::Causal, Sight::Stream, None, now) != Due::Nothing;
        if is_due {
            self.pace.note_fence(now);
        }
        is_due
    }

    fn has_written(&self, table: &str) -> bool {
        self.is_full || self.written.iter().any(|known| known.eq_ignore_ascii_case(table))
    }
}

impl Session {
    /// What would become of a statement. `None`: it is no proved read.
    #[must_use]
    pub fn rehearse(
        &self,
        it: &Statement,
        text: &[u8],
        policy: Policy,
        freshness: &Freshness,
        rehearsal: &Rehearsal,
    ) -> Option<Rehearsed> {
        if it.proof != Proof::Read || it.effects.has(Effects::DIAGNOSTICS) {
            return None;
        }
        let split = Policy { split: true, ..policy };
        let mut forward = self.forward_statement(it, split, freshness);
        let by_hyperdb = !it.reads.iter().any(|table| rehearsal.has_written(&table.name));
        let is_shown = self.own.awaited().is_none_or(|own| freshness.covers(own));
        let floor = match is_shown || by_hyperdb {
            true => self.narrow(self.floor(it, freshness), it, text, freshness),
            // Its own write, which the stream is about to show: no replica can have it yet.
            false => Ordinal(u64::MAX),
        };
        if forward.why == Reason::Read && policy.level_of(it.hint) >= Level::Causal {
            forward.want.floor = floor;
        }
        Some(Rehearsed { want: forward.want, floor, by_hyperdb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;
    use crate::freshness::{Rows, TableRows, Touched, Written};
    use crate::position::{Flavour, Position};
    use crate::sql::{Classifier, Mode};

    fn read_once(text: &str) -> Statement {
        Classifier::read_once(text.as_bytes(), Mode::default())
    }

    fn position(text: &[u8]) -> Position {
        Position::parse(Flavour::MariaDb, text).unwrap()
    }

    /// `before`: what the connection said. Then the read: where splitting sends it (`P`, or `R` and
    /// the number of the write that it waits for), that of the last write of what it reads, and an
    /// `h` if HyperDB reads a replica. Others have written wp.t (1) and wp.u (2); the connection's
    /// own write to wp.own is not shown by the stream.
    #[track_caller]
    fn check(level: Level, before: &[&str], text: &str, expected: &str) {
        let mut session = Session::new(1, Mode::default());
        session.begin_with(|values| values.database = Some((*b"wp").into()));
        let freshness = Freshness::new(Instant::now());
        freshness.start(Some(position(b"0-1-1")), None, Instant::now());
        let base = freshness.last().0;
        for (table, at) in [(b"t", b"0-1-2"), (b"u", b"0-1-3")] {
            let rows = [TableRows { schema: b"wp", table, rows: Rows::All }];
            let touched = Touched::Tables(&rows);
            let position = Some(position(at));
            freshness.record(Written { touched, position, at: Instant::now() });
        }
        session.own.write(Ordinal(0), Some(position(b"0-1-9")));
        let mut rehearsal = Rehearsal::default();
        before.iter().for_each(|text| rehearsal.note(&read_once(text)));
        let policy = Policy { split: false, level, ..Policy::SPLIT };
        let it = read_once(text);
        let seen = session.rehearse(&it, text.as_bytes(), policy, &freshness, &rehearsal);
        let number = |floor: Ordinal| match floor.0 {
            u64::MAX => "never".to_owned(),
            floor => floor.saturating_sub(base).to_string(),
        };
        let seen = seen.map_or("none".to_owned(), |seen| {
            let to = match seen.want.role {
                Role::Primary => "P".to_owned(),
                Role::Reader => format!("R{}", number(seen.want.floor)),
            };
            format!("{to} {}{}", number(seen.floor), if seen.by_hyperdb { " h" } else { "" })
        });
        assert_eq!(seen, expected, "{before:?} {text}");
    }

    #[test]
    fn reads_are_seen_as_other_rules_see_them() {
        let check = |before: &[&str], text, expected| check(Level::Causal, before, text, expected);
        check(&[], "SELECT a FROM t", "R1 1 h");
        check(&[], "SELECT a FROM u", "R2 2 h");
        check(&[], "SELECT t.a FROM t JOIN u ON t.a = u.a", "R2 2 h");
        check(&[], "SELECT a FROM other", "R0 0 h");
        check(&[], "UPDATE t SET a = 1", "none");
        check(&[], "SELECT FOUND_ROWS()", "none");
        check(&[], "SELECT a FROM t FOR UPDATE", "none");
        // Another request's write keeps nobody from a replica, says HyperDB; its own does.
        check(&["UPDATE own SET a = 1"], "SELECT a FROM t", "R1 1 h");
        check(&["UPDATE own SET a = 1"], "SELECT a FROM OWN", "Rnever never");
        check(&["UPDATE own SET a = 1"], "SELECT own.a FROM t JOIN own", "Rnever never");
        check(&["SELECT a FROM own"], "SELECT a FROM own", "R0 0 h");
        // Splitting obeys the comment, and what is stale is stale all the same.
        check(&[], "/* forebay: eventual */ SELECT a FROM t", "R0 1 h");
        check(&[], "/* forebay: primary */ SELECT a FROM t", "P 1 h");
    }

    #[test]
    fn what_is_allowed_to_be_stale_is_counted_as_stale() {
        check(Level::Eventual, &[], "SELECT a FROM t", "R0 1 h");
        check(Level::Strict, &[], "SELECT a FROM t", "R1 1 h");
    }

    #[test]
    fn written_tables_are_bounded() {
        let mut rehearsal = Rehearsal::default();
        for n in 0..limits::TABLES_OBSERVED_MAX {
            rehearsal.note(&read_once(&format!("DELETE FROM t{n}")));
            rehearsal.note(&read_once(&format!("DELETE FROM T{n}")));
        }
        assert!(rehearsal.has_written("t0") && !rehearsal.has_written("other"));
        rehearsal.note(&read_once("DELETE FROM one_more"));
        assert!(rehearsal.has_written("other"));
        assert_eq!(rehearsal.written.len(), limits::TABLES_OBSERVED_MAX);
    }

    #[test]
    fn fences_are_asked_for_once_a_request() {
        let (mut rehearsal, begun) = (Rehearsal::default(), Instant::now());
        let mut due = |ms| rehearsal.is_fence_due(begun + std::time::Duration::from_millis(ms));
        let seen = [0, 1, 5, 20, 21].map(&mut due);
        assert_eq!(seen, [true, false, false, true, false]);
    }
}
