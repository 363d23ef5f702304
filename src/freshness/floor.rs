//! The last write of everything, of each schema, each table, each key.
//!
//! Only numbers; what they stand for is in `pending`. A write raises the narrowest name that covers
//! it; a read asks for the most of what may cover it. Bounded: what does not fit is joined to the
//! name above it, which asks for more and never for less. Written under `Freshness`'s lock, read by
//! every read beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::key::Key;
use crate::limits;
use crate::position::Ordinal;

/// Floors by name.
#[derive(Debug)]
pub struct Floors {
    map: RwLock<Map>,
}

/// What a statement touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched<'a> {
    /// Not known, or not only schemas: accounts, settings, routines.
    Everything,
    /// Any table of these schemas, in any letter case. An empty list touches nothing.
    Schemas(&'a [&'a [u8]]),
    /// Base tables, each once or several times. An empty list touches nothing.
    Tables(&'a [TableRows<'a>]),
}

/// Rows of one base table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRows<'a> {
    /// In any letter case.
    pub schema: &'a [u8],
    /// In any letter case.
    pub table: &'a [u8],
    /// Which of its rows.
    pub rows: Rows<'a>,
}

/// Which rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows<'a> {
    /// Any of them.
    All,
    /// Those with these keys and no others. An empty list is no row. A read's are of one column: one
    /// that compares several needs no more than the least of their floors.
    Keys(&'a [Key]),
}

/// How wide the name is whose last write asks for a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// The rows that are read, by their keys.
    Rows,
    /// The table.
    Table,
    /// Its schema.
    Schema,
    /// All that there is.
    Everything,
}

/// How many names are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Schemas.
    pub schemas: usize,
    /// Tables of all schemas.
    pub tables: usize,
    /// Keys of all tables.
    pub keys: usize,
}

#[derive(Debug)]
struct Map {
    /// Also the floor of every name that is not kept.
    everything: Ordinal,
    /// The last write of all.
    latest: Ordinal,
    schemas: BTreeMap<Box<[u8]>, Schema>,
    tables: usize,
    keys: usize,
    /// With so many names it is worth a look which are still above what is above them.
    sweep_at: usize,
}

#[derive(Debug, Default)]
struct Schema {
    /// The last write of nobody knows which tables.
    whole: Ordinal,
    /// The last write of any kind.
    any: Ordinal,
    tables: BTreeMap<Box<[u8]>, Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The last write of nobody knows which rows.
    whole: Ordinal,
    /// The last write of any kind.
    any: Ordinal,
    keys: BTreeMap<Key, Ordinal>,
}

impl Floors {
    /// Everything was last written at `everything`.
    pub fn new(everything: Ordinal) -> Floors {
        Floors {
            map: RwLock::new(Map {
                everything,
                latest: everything,
                schemas: BTreeMap::new(),
                tables: 0,
                keys: 0,
                sweep_at: limits::FLOOR_NAMES_SWEPT_MIN,
            }),
        }
    }

    /// A write: the floors of what it touched are at least `to` from now on.
    pub fn raise(&self, touched: &Touched<'_>, to: Ordinal) {
        let mut map = self.write();
        let raised = match touched {
            Touched::Everything => None,
            Touched::Schemas(names) => names.iter().try_for_each(|name| map.raise_schema(name, to)),
            Touched::Tables(tables) => tables.iter().try_for_each(|rows| map.raise_table(rows, to)),
        };
        if raised.is_none() {
            map.raise_everything(to);
        }
        map.sweep_if_due();
    }

    /// The floor of all that there is, is at least `to` from now on.
    pub fn raise_everything(&self, to: Ordinal) {
        self.write().raise_everything(to);
    }

    /// What a read of these must have seen. `None`: names that cannot be compared, or everything.
    pub fn of(&self, reads: &Touched<'_>) -> Option<Ordinal> {
        let map = self.read();
        let most = |floor: Ordinal, one: Option<Ordinal>| Some(floor.max(one?));
        match reads {
            Touched::Everything => None,
            Touched::Schemas(names) => {
                names.iter().map(|name| map.of_schema(name)).try_fold(map.everything, most)
            }
            Touched::Tables(tables) => {
                tables.iter().map(|rows| map.of_table(rows)).try_fold(map.everything, most)
            }
        }
    }

    /// The floor of these rows, and the widest name that asks for so much. `None`: names that
    /// cannot be compared.
    pub fn explain(&self, rows: &TableRows<'_>) -> Option<(Ordinal, Width)> {
        self.read().explain(rows)
    }

    /// What every read must have seen, whatever it reads.
    pub fn everything(&self) -> Ordinal {
        self.read().everything
    }

    /// Forgets the names that were last written at or before `until`, which every reader that is
    /// up has: from now on it is the floor of everything, so that one that comes back behind it
    /// does not qualify.
    pub fn forget_until(&self, until: Ordinal) {
        self.write().raise_everything(until);
    }

    /// How many names are kept.
    pub fn sizes(&self) -> Sizes {
        let map = self.read();
        Sizes { schemas: map.schemas.len(), tables: map.tables, keys: map.keys }
    }

    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` from any of these: only everything covers it.
impl Map {
    fn raise_everything(&mut self, to: Ordinal) {
        self.everything = self.everything.max(to);
        self.latest = self.latest.max(to);
        if self.everything >= self.latest {
            self.schemas.clear();
            (self.tables, self.keys) = (0, 0);
        }
        self.sweep_if_due();
    }

    fn raise_schema(&mut self, name: &[u8], to: Ordinal) -> Option<()> {
        self.latest = self.latest.max(to);
        let name = fold(name)?;
        let schema = schema(&mut self.schemas, &name)?;
        let (tables, keys) = schema.raise_whole(to);
        self.tables -= tables;
        self.keys -= keys;
        Some(())
    }

    fn raise_table(&mut self, rows: &TableRows<'_>, to: Ordinal) -> Option<()> {
        self.latest = self.latest.max(to);
        let (name, table) = (fold(rows.schema)?, fold(rows.table)?);
        if self.keys >= limits::FLOOR_KEYS_MAX {
            self.make_room();
        }
        let schema = schema(&mut self.schemas, &name)?;
        schema.any = schema.any.max(to);
        let table = match schema.tables.get_mut(table.as_ref()) {
            Some(table) => table,
            None if self.tables >= limits::FLOOR_TABLES_MAX => {
                return self.raise_schema(rows.schema, to);
            }
            None => {
                self.tables += 1;
                schema.tables.entry(table.into_owned().into_boxed_slice()).or_default()
            }
        };
        let before = table.keys.len();
        table.raise(rows.rows, to);
        self.keys = (self.keys + table.keys.len()).saturating_sub(before);
        Some(())
    }

    fn of_schema(&self, name: &[u8]) -> Option<Ordinal> {
        let schema = self.schemas.get(fold(name)?.as_ref());
        Some(schema.map_or(self.everything, |schema| schema.any))
    }

    fn of_table(&self, rows: &TableRows<'_>) -> Option<Ordinal> {
        let (name, table) = (fold(rows.schema)?, fold(rows.table)?);
        let Some(schema) = self.schemas.get(name.as_ref()) else { return Some(self.everything) };
        let table = schema.tables.get(table.as_ref());
        Some(table.map_or(schema.whole, |table| table.of(rows.rows).max(schema.whole)))
    }

    fn explain(&self, rows: &TableRows<'_>) -> Option<(Ordinal, Width)> {
        let floor = self.of_table(rows)?.max(self.everything);
        let schema = self.schemas.get(fold(rows.schema)?.as_ref());
        let table = schema.and_then(|schema| schema.tables.get(fold(rows.table)?.as_ref()));
        let is_of_table =
            matches!(rows.rows, Rows::All) || table.is_some_and(|it| it.whole >= floor);
        let width = match schema {
            _ if self.everything >= floor => Width::Everything,
            Some(schema) if schema.whole >= floor => Width::Schema,
            _ if is_of_table => Width::Table,
            _ => Width::Rows,
        };
        Some((floor, width))
    }

    fn sweep_if_due(&mut self) {
        if self.schemas.len() + self.tables + self.keys >= self.sweep_at {
            self.sweep();
        }
    }

    /// Forgets the names that ask for no more than what is above them.
    fn sweep(&mut self) {
        let everything = self.everything;
        self.schemas.retain(|_, schema| schema.any > everything);
        for schema in self.schemas.values_mut() {
            let above = everything.max(schema.whole);
            schema.tables.retain(|_, table| table.any > above);
            for table in schema.tables.values_mut() {
                let above = above.max(table.whole);
                table.keys.retain(|_, floor| *floor > above);
            }
        }
        self.count();
        let left = self.schemas.len() + self.tables + self.keys;
        self.sweep_at = (2 * left).max(limits::FLOOR_NAMES_SWEPT_MIN);
    }

    /// Joins the older half of the keys to their tables, if none can just be forgotten.
    fn make_room(&mut self) {
        self.sweep();
        if self.keys < limits::FLOOR_KEYS_MAX {
            return;
        }
        let tables = self.schemas.values().flat_map(|schema| schema.tables.values());
        let floors = tables.flat_map(|table| table.keys.values().copied());
        let Some(middle) = middle(floors.collect()) else { return };
        for table in self.schemas.values_mut().flat_map(|schema| schema.tables.values_mut()) {
            table.join_until(middle);
        }
        self.count();
    }

    fn count(&mut self) {
        self.tables = self.schemas.values().map(|schema| schema.tables.len()).sum();
        let tables = self.schemas.values().flat_map(|schema| schema.tables.values());
        self.keys = tables.map(|table| table.keys.len()).sum();
    }
}

fn schema<'a>(schemas: &'a mut BTreeMap<Box<[u8]>, Schema>, name: &[u8]) -> Option<&'a mut Schema> {
    if !schemas.contains_key(name) {
        if schemas.len() >= limits::FLOOR_SCHEMAS_MAX {
            return None;
        }
        schemas.insert(name.into(), Schema::default());
    }
    schemas.get_mut(name)
}

impl Schema {
    /// Gives how many tables and keys it needs no more.
    fn raise_whole(&mut self, to: Ordinal) -> (usize, usize) {
        self.any = self.any.max(to);
        self.whole = self.whole.max(to);
        let whole = self.whole;
        let (mut tables, mut keys) = (0, 0);
        self.tables.retain(|_, table| {
            let keep = table.any > whole;
            if !keep {
                tables += 1;
                keys += table.keys.len();
            }
            keep
        });
        (tables, keys)
    }
}

impl Table {
    fn raise(&mut self, rows: Rows<'_>, to: Ordinal) {
        match rows {
            Rows::Keys(keys) if keys.len() <= limits::FLOOR_KEYS_PER_WRITE_MAX => {
                for key in keys {
                    self.raise_key(key, to);
                }
                if !keys.is_empty() {
                    self.any = self.any.max(to);
                }
            }
            _ => {
                self.any = self.any.max(to);
                self.whole = self.whole.max(to);
                self.join_until(to);
            }
        }
    }

    fn raise_key(&mut self, key: &Key, to: Ordinal) {
        if let Some(floor) = self.keys.get_mut(key) {
            *floor = to.max(*floor);
            return;
        }
        if self.keys.len() >= limits::FLOOR_KEYS_PER_TABLE_MAX
            && let Some(middle) = middle(self.keys.values().copied().collect())
        {
            self.join_until(middle);
        }
        self.keys.insert(key.clone(), to);
    }

    /// Forgets the keys that were last written at or before `until`.
    fn join_until(&mut self, until: Ordinal) {
        let whole = &mut self.whole;
        self.keys.retain(|_, floor| {
            let keep = *floor > until;
            if !keep {
                *whole = (*whole).max(*floor);
            }
            keep
        });
    }

    /// The last write of unknown values in the key's column.
    fn of_any(&self, key: &Key) -> Option<Ordinal> {
        self.keys.get(&key.any()?).copied()
    }

    fn of(&self, rows: Rows<'_>) -> Ordinal {
        match rows {
            Rows::All => self.any,
            Rows::Keys(keys) => {
                let of = |key: &Key| self.keys.get(key).copied().max(self.of_any(key));
                keys.iter().filter_map(of).fold(self.whole, Ordinal::max)
            }
        }
    }
}

/// The one that half of them do not exceed.
fn middle(mut floors: Vec<Ordinal>) -> Option<Ordinal> {
    let half = floors.len().checked_sub(1)? / 2;
    Some(*floors.select_nth_unstable(half).1)
}

/// Names that differ in letter case may be one schema. Servers fold more letters than ASCII's:
/// other names are not compared at all.
pub(super) fn fold(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !name.is_ascii() {
        return None;
    }
    Some(match name.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}
