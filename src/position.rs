//! Positions: how far a server has come in the stream of writes, as the servers print it.
//!
//! GTID sets of MySQL, GTID lists of MariaDB, and places in a log file behind one type: parse,
//! contains, union, print. Knows no servers and no clocks. Called by `freshness` (what must a replica have applied) and
//! by whoever reads a position off the wire.

pub mod file_place;
pub mod gtid_list;
pub mod gtid_set;

use std::fmt;

pub use file_place::FilePlace;
pub use gtid_list::GtidList;
pub use gtid_set::GtidSet;

/// A position in the stream of writes.
///
/// The kinds never compare: none contains another unless that one is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// `@@gtid_executed` of MySQL, or the GTID of one write.
    MySql(GtidSet),
    /// `@@gtid_binlog_pos` and its like of MariaDB, or `last_gtid` of one write.
    MariaDb(GtidList),
    /// Without GTIDs: how far the primary's binary log was written, or a replica has applied it.
    File(FilePlace),
}

/// Which of the notations a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// `uuid:1-5:9,uuid:tag:1-3`
    MySql,
    /// `0-1-100,1-2-5`
    MariaDb,
    /// `binlog.000123:4567`
    File,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position: {what}")]
pub struct BadPosition {
    /// What was wrong with it.
    pub what: &'static str,
}

/// The number of a write, counted by this process in the order of acknowledgement.
///
/// Floors and progress are ordinals, so that a read compares one integer: membership of one GTID
/// says nothing about the ones before it when a replica commits out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

impl Position {
    /// Reads a position as a server prints it. White space and empty parts are allowed.
    pub fn parse(flavour: Flavour, text: &[u8]) -> Result<Position, BadPosition> {
        match flavour {
            Flavour::MySql => GtidSet::parse(text).map(Position::MySql),
            Flavour::MariaDb => GtidList::parse(text).map(Position::MariaDb),
            Flavour::File => FilePlace::parse(text).map(Position::File),
        }
    }

    /// The notation of this position.
    pub fn flavour(&self) -> Flavour {
        match self {
            Position::MySql(_) => Flavour::MySql,
            Position::MariaDb(_) => Flavour::MariaDb,
            Position::File(_) => Flavour::File,
        }
    }

    /// Whether everything in `other` is in here too.
    pub fn contains(&self, other: &Position) -> bool {
        match (self, other) {
            (Position::MySql(ours), Position::MySql(theirs)) => ours.contains(theirs),
            (Position::MariaDb(ours), Position::MariaDb(theirs)) => ours.contains(theirs),
            (Position::File(ours), Position::File(theirs)) => ours.contains(theirs),
            _ => other.is_empty(),
        }
    }

    /// Takes in all of `other`. False, and nothing happens, when it is of another kind, or in
    /// another log, and neither is empty.
    #[must_use = "positions of two kinds have no union"]
    pub fn union(&mut self, other: &Position) -> bool {
        match (&mut *self, other) {
            (Position::MySql(ours), Position::MySql(theirs)) => ours.union(theirs),
            (Position::MariaDb(ours), Position::MariaDb(theirs)) => ours.union(theirs),
            (Position::File(ours), Position::File(theirs)) => return ours.union(theirs),
            (_, theirs) if theirs.is_empty() => {}
            (ours, theirs) if ours.is_empty() => *ours = theirs.clone(),
            _ => return false,
        }
        true
    }

    /// Whether it holds no write at all; a server without GTIDs says so as well.
    pub fn is_empty(&self) -> bool {
        match self {
            Position::MySql(set) => set.is_empty(),
            Position::MariaDb(list) => list.is_empty(),
            Position::File(_) => false,
        }
    }

    /// Parts it is made of: what it costs to keep and to compare.
    pub fn parts(&self) -> usize {
        match self {
            Position::MySql(set) => set.intervals(),
            Position::MariaDb(list) => list.domains(),
            Position::File(_) => 1,
        }
    }

    /// Closes the gaps below its own last writes with what `holder`, which contains it, has there.
    ///
    /// The result contains the old value and asks for nothing that a server which came as far
    /// in order would lack. False, and nothing happens, when `holder` does not contain it.
    pub fn close_gaps(&mut self, holder: &Position) -> bool {
        match (self, holder) {
            (Position::MySql(ours), Position::MySql(theirs)) => ours.close_gaps(theirs),
            (ours, theirs) => theirs.contains(ours),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::MySql(set) => set.fmt(f),
            Position::MariaDb(list) => list.fmt(f),
            Position::File(place) => place.fmt(f),
        }
    }
}

/// A decimal number without sign, as servers print them; white space around it is allowed.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
