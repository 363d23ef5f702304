//! What a read must have seen: the last write of the tables that it names, or of their keys.
//!
//! Asked for in two steps. The floor of whole tables is cheap and nearly always reached; only when
//! some reader may be short of it are the literals of the text looked at. Not the choice of a
//! server (`cluster::pick`), nor what is read at all (`plan`, which calls this).

use std::fmt;

use crate::cluster::Role;
use crate::freshness::{
    Freshness, Key, KeyColumn, KeyColumns, KeyKind, Ordinal, Rows, TableRows, Touched, Width, keyed,
};
use crate::session::Session;
use crate::session::plan::{Plan, Policy};
use crate::sql::{KeySlot, LiteralKind, Statement, Table, key_literals};

/// What asks for a floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// The write that a replica must have.
    pub floor: Ordinal,
    /// Whose last write that is.
    pub width: Width,
    /// The table, behind its schema.
    pub table: String,
    /// The rows of it that are read; none: all.
    pub rows: Vec<Key>,
}

impl fmt::Display for Deciding {
    /// Without what is in the rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = || self.table.split_once('.').map_or("", |(schema, _)| schema);
        match self.width {
            Width::Everything => f.write_str("everything"),
            Width::Schema => write!(f, "schema {}", schema()),
            Width::Table => write!(f, "table {}", self.table),
            Width::Rows => write!(f, "rows of {}", self.table),
        }
    }
}

impl Session {
    /// `plan`, of a statement whose text is at hand: a read that names its rows waits for no
    /// others.
    pub fn plan_text(
        &mut self,
        it: &Statement,
        text: &[u8],
        policy: Policy,
        freshness: &Freshness,
    ) -> Plan {
        let mut plan = self.plan(it, policy, freshness);
        if let Plan::Forward(forward) = &mut plan
            && forward.want.role == Role::Reader
        {
            forward.want.floor = self.narrow(forward.want.floor, it, text, freshness);
        }
        plan
    }

    /// No more than the rows ask for that it names.
    pub(super) fn narrow(
        &self,
        floor: Ordinal,
        it: &Statement,
        text: &[u8],
        freshness: &Freshness,
    ) -> Ordinal {
        if it.keys.is_empty() || floor <= freshness.floor_of_none() {
            return floor;
        }
        let by_keys = self.floor_by_keys(it, text, freshness);
        by_keys.map_or(floor, |by_keys| by_keys.min(floor))
    }

    /// What asks for the floor of a read: for people, after the choice. `None`: it reads no table.
    #[must_use]
    pub fn deciding(&self, it: &Statement, text: &[u8], freshness: &Freshness) -> Option<Deciding> {
        let everything = || Deciding {
            floor: freshness.floor(&Touched::Everything),
            width: Width::Everything,
            table: String::new(),
            rows: Vec::new(),
        };
        if !it.tables_known || it.unfit.is_some() {
            return Some(everything());
        }
        let keys = self.keys_read(it, text, freshness);
        let each = it.reads.iter().enumerate().map(|(at, table)| {
            let Some(schema) = self.schema_of(table) else { return everything() };
            let rows = keys.get(at).and_then(Option::as_deref);
            let (floor, width) = freshness.explain(&TableRows {
                schema,
                table: table.name.as_bytes(),
                rows: rows.map_or(Rows::All, Rows::Keys),
            });
            let table = format!("{}.{}", String::from_utf8_lossy(schema), table.name);
            Deciding { floor, width, table, rows: rows.unwrap_or_default().to_vec() }
        });
        each.max_by_key(|one| (one.floor, one.width))
    }

    /// The last write of any table that it reads.
    pub(super) fn floor(&self, it: &Statement, freshness: &Freshness) -> Ordinal {
        freshness.floor_of_all().unwrap_or_else(|| self.floor_of(it, freshness, &[]))
    }

    /// The last write of the rows that it names. `None`: it is no less than that of whole tables.
    fn floor_by_keys(&self, it: &Statement, text: &[u8], freshness: &Freshness) -> Option<Ordinal> {
        let keys = self.keys_read(it, text, freshness);
        let any = keys.iter().any(Option::is_some);
        any.then(|| self.floor_of(it, freshness, &keys))
    }

    /// Of each table that it reads, the rows that it names.
    fn keys_read(
        &self,
        it: &Statement,
        text: &[u8],
        freshness: &Freshness,
    ) -> Vec<Option<Vec<Key>>> {
        let columns = freshness.key_columns();
        let mut keys: Vec<Option<Vec<Key>>> = vec![None; it.reads.len()];
        for slot in &it.keys {
            if let Some(known @ None) = keys.get_mut(slot.table) {
                *known = self.keys_of(it, slot, text, &columns);
            }
        }
        keys
    }

    fn keys_of(
        &self,
        it: &Statement,
        slot: &KeySlot,
        text: &[u8],
        columns: &KeyColumns,
    ) -> Option<Vec<Key>> {
        let table = it.reads.get(slot.table)?;
        let column = columns.find(self.schema_of(table)?, table.name.as_bytes())?;
        let literals = || key_literals(text, self.mode(), slot);
        if slot.column.eq_ignore_ascii_case(&column.column) {
            return literals()?.into_iter().map(|literal| key(literal, slot, column)).collect();
        }
        let autoloaded = column.autoload.is_some()
            && slot.column == keyed::AUTOLOAD
            && slot.kind == LiteralKind::Text
            && literals()?.into_iter().all(keyed::is_autoload);
        autoloaded.then(|| vec![Key::AUTOLOADED])
    }

    /// `keys`: those that it names, table by table; `None`, or missing, is all rows.
    fn floor_of(
        &self,
        it: &Statement,
        freshness: &Freshness,
        keys: &[Option<Vec<Key>>],
    ) -> Ordinal {
        // What a name that is not a base table's reads, nobody knows.
        if !it.tables_known || it.unfit.is_some() {
            return freshness.floor(&Touched::Everything);
        }
        let none = freshness.floor(&Touched::Tables(&[]));
        let floors = it.reads.iter().enumerate().map(|(at, table)| {
            let Some(schema) = self.schema_of(table) else {
                return freshness.floor(&Touched::Everything);
            };
            let rows = keys.get(at).and_then(Option::as_deref).map_or(Rows::All, Rows::Keys);
            let one = TableRows { schema, table: table.name.as_bytes(), rows };
            freshness.floor(&Touched::Tables(&[one]))
        });
        floors.fold(none, Ordinal::max)
    }

    fn schema_of<'a>(&'a self, table: &'a Table) -> Option<&'a [u8]> {
        match &table.schema {
            Some(schema) => Some(schema.as_bytes()),
            None => self.values.database.as_deref(),
        }
    }
}

/// A literal, if the column compares it as what it is written as.
fn key(literal: &[u8], slot: &KeySlot, column: &KeyColumn) -> Option<Key> {
    match (slot.kind, column.kind) {
        (LiteralKind::Text, KeyKind::Text(collation)) => Key::text(collation, literal),
        (LiteralKind::Integer, KeyKind::Integer) => Key::integer_text(literal),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
