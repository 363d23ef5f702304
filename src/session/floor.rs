//! What a read must have seen: the last write of the tables that it names, or of their keys.
//!
//! Asked for in two steps. The floor of whole tables is cheap and nearly always reached; only when
//! some reader may be short of it are the literals of the text looked at. Not the choice of a
//! server (`cluster::pick`), nor what is read at all (`plan`, which calls this).

use std::fmt;

use crate::cluster::Role;
use crate::freshness::{
    Freshness, Key, KeyColumn, KeyColumns, KeyKind, KeyedTable, Ordinal, Rows, TableRows, Touched,
    Width, keyed,
};
use crate::session::Session;
use crate::session::plan::{Plan, Policy};
use crate::sql::{KeySlot, LiteralKind, Literals, Statement, Table};

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
    /// The column that tells which rows those are; none: another way does.
    pub column: String,
}

/// Rows of a table that a read does not look beyond: a column of theirs, and its keys.
type Named<'a> = (&'a str, Vec<Key>);

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
            column: String::new(),
        };
        if !it.tables_known || it.unfit.is_some() {
            return Some(everything());
        }
        let columns = freshness.key_columns();
        let keys = self.keys_read(it, text, &columns);
        let each = it.reads.iter().enumerate().map(|(at, read)| {
            let Some(schema) = self.schema_of(read) else { return everything() };
            let of = |rows, keys: &[Key], column: &str| {
                let table = read.name.as_bytes();
                let (floor, width) = freshness.explain(&TableRows { schema, table, rows });
                let table = format!("{}.{}", String::from_utf8_lossy(schema), read.name);
                Deciding { floor, width, table, rows: keys.to_vec(), column: column.to_owned() }
            };
            let named = keys.get(at).into_iter().flatten();
            let by_keys = named.map(|(column, keys)| of(Rows::Keys(keys), keys, column));
            let least = by_keys.min_by_key(|one| (one.floor, one.width));
            least.unwrap_or_else(|| of(Rows::All, &[], ""))
        });
        each.max_by_key(|one| (one.floor, one.width))
    }

    /// The last write of any table that it reads.
    pub(super) fn floor(&self, it: &Statement, freshness: &Freshness) -> Ordinal {
        freshness.floor_of_all().unwrap_or_else(|| self.floor_of(it, freshness, &[]))
    }

    /// The last write of the rows that it names. `None`: it is no less than that of whole tables.
    fn floor_by_keys(&self, it: &Statement, text: &[u8], freshness: &Freshness) -> Option<Ordinal> {
        let columns = freshness.key_columns();
        let keys = self.keys_read(it, text, &columns);
        let any = keys.iter().any(|named| !named.is_empty());
        any.then(|| self.floor_of(it, freshness, &keys))
    }

    /// Of each table that it reads, the rows that it names, by one column or by another: each of
    /// them has all that it finds.
    fn keys_read<'a>(
        &self,
        it: &Statement,
        text: &[u8],
        columns: &'a KeyColumns,
    ) -> Vec<Vec<Named<'a>>> {
        let mut keys = vec![Vec::new(); it.reads.len()];
        let mut literals = None;
        for slot in &it.keys {
            let keyed = it
                .reads
                .get(slot.table)
                .and_then(|table| columns.find(self.schema_of(table)?, table.name.as_bytes()));
            if let (Some(keyed), Some(named)) = (keyed, keys.get_mut(slot.table))
                && is_keyed(slot, keyed)
            {
                let literals = literals.get_or_insert_with(|| Literals::read(text, self.mode()));
                named.extend(literals.of(slot).and_then(|values| named_by(slot, keyed, &values)));
            }
        }
        keys
    }

    /// `keys`: those that it names, table by table; none, or missing, is all rows.
    fn floor_of(&self, it: &Statement, freshness: &Freshness, keys: &[Vec<Named<'_>>]) -> Ordinal {
        // What a name that is not a base table's reads, nobody knows.
        if !it.tables_known || it.unfit.is_some() {
            return freshness.floor(&Touched::Everything);
        }
        let none = freshness.floor(&Touched::Tables(&[]));
        let floors = it.reads.iter().enumerate().map(|(at, table)| {
            let Some(schema) = self.schema_of(table) else {
                return freshness.floor(&Touched::Everything);
            };
            let of = |rows| {
                let one = TableRows { schema, table: table.name.as_bytes(), rows };
                freshness.floor(&Touched::Tables(&[one]))
            };
            let named = keys.get(at).into_iter().flatten();
            let least = named.map(|(_, keys)| of(Rows::Keys(keys))).min();
            least.unwrap_or_else(|| of(Rows::All))
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

/// Whether its column may tell rows apart.
fn is_keyed(slot: &KeySlot, keyed: &KeyedTable) -> bool {
    keyed.column(&slot.column).is_some()
        || (keyed.autoload.is_some() && slot.column == keyed::AUTOLOAD)
}

/// The rows with one of these values. `None`: they may be any.
fn named_by<'a>(slot: &KeySlot, keyed: &'a KeyedTable, values: &[&[u8]]) -> Option<Named<'a>> {
    if let Some(column) = keyed.column(&slot.column) {
        let keys = values.iter().map(|value| key(value, slot, column)).collect::<Option<_>>()?;
        return Some((&column.name, keys));
    }
    let is_autoloaded =
        slot.kind == LiteralKind::Text && values.iter().all(|value| keyed::is_autoload(value));
    is_autoloaded.then(|| (keyed::AUTOLOAD, vec![Key::AUTOLOADED]))
}

/// A literal, if the column compares it as what it is written as.
fn key(literal: &[u8], slot: &KeySlot, column: &KeyColumn) -> Option<Key> {
    match (slot.kind, column.kind) {
        (LiteralKind::Text, KeyKind::Text(collation)) => {
            Key::text(column.index, collation, literal)
        }
        (LiteralKind::Integer, KeyKind::Integer) => Key::integer_text(column.index, literal),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
