//! What the toy servers keep: tokens at places, written by numbered transactions.
//!
//! The primary's log is the only history; a replica has applied some of it. A token names one
//! statement of one client, so that every row tells who wrote it and when.

use std::collections::{BTreeMap, BTreeSet};

/// The schemas that there are.
pub(super) const SCHEMAS: [&str; 2] = ["alpha", "beta"];
/// Rows of `items` in each schema; they are there from the start, without a token.
pub(super) const ITEMS: u64 = 4;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) schema: &'static str,
    pub(super) table: Table,
    pub(super) id: u64,
}

/// The tables of each schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// Rows that are written over.
    Items,
    /// Rows that are added, with AUTO_INCREMENT.
    Notes,
}

/// A token that goes to a place.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) token: String,
}

/// What one server has of the history.
#[derive(Debug, Default)]
pub(super) struct Store {
    rows: BTreeMap<Place, (u64, String)>,
    /// All transactions up to this one.
    prefix: u64,
    /// Those that were applied before their turn.
    early: BTreeSet<u64>,
}

impl Store {
    pub(super) fn read(&self, place: Place) -> Option<&str> {
        self.rows.get(&place).map(|(_, token)| token.as_str())
    }

    pub(super) fn apply(&mut self, number: u64, changes: &[Change]) {
        if self.has(number) {
            return;
        }
        for change in changes {
            let row = self.rows.entry(change.place).or_insert((0, String::new()));
            if row.0 <= number {
                *row = (number, change.token.clone());
            }
        }
        self.early.insert(number);
        while self.early.remove(&(self.prefix + 1)) {
            self.prefix += 1;
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        number <= self.prefix || self.early.contains(&number)
    }

    pub(super) fn prefix(&self) -> u64 {
        self.prefix
    }

    /// `1-5:7` of what was applied; nothing if nothing was.
    pub(super) fn intervals(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.prefix > 0 {
            parts.push(format!("1-{}", self.prefix));
        }
        parts.extend(self.early.iter().map(u64::to_string));
        (!parts.is_empty()).then(|| parts.join(":"))
    }
}

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Notes => "notes",
        }
    }
}

/// `items`, or `beta.notes`: the schema, if it is named, and the table.
pub(super) fn table_named(word: &str) -> Option<(Option<&'static str>, Table)> {
    let (schema, table) = match word.split_once('.') {
        Some((schema, table)) => (Some(schema_named(schema)?), table),
        None => (None, word),
    };
    let table = [Table::Items, Table::Notes].into_iter().find(|known| known.name() == table)?;
    Some((schema, table))
}

pub(super) fn schema_named(name: &str) -> Option<&'static str> {
    SCHEMAS.into_iter().find(|known| *known == name)
}
