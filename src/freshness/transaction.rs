//! One transaction of the primary's log as it is read: what it touches, and where it ends.
//!
//! Tables are touched when they are named, rows narrow that down to keys where their columns are
//! known. Any statement that is logged as such touches everything: its schema is not the one that
//! it changes, its triggers are named nowhere. Called by `backend::follow`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::closure::{Closure, Name};
use super::floor::{Rows, TableRows, Touched};
use super::key::Key;
use super::key_set::KeySet;
use super::keyed::{KeyColumns, may_autoload};
use crate::limits;
use crate::wire::binlog::{self, Body, Event, Gtid, Query, TableMap, Value};

/// What is known of the primary's tables, as of the last change of any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which columns keys are taken from.
    pub columns: KeyColumns,
    /// How many columns those tables have.
    pub widths: BTreeMap<Name, usize>,
    /// What writes reach beyond the tables that are named.
    pub closure: Closure,
}

/// Reads events in the order of the stream.
#[derive(Debug, Default)]
pub struct Transaction {
    open: Option<Whole>,
    /// Its end is an event of its own, and not that of its only statement.
    is_group: bool,
    maps: HashMap<u64, TableMap>,
    /// Named, but without rows so far in this statement.
    bare: BTreeSet<u64>,
}

/// A transaction that has ended.
#[derive(Debug, Default)]
pub struct Whole {
    /// Its number, if it has one.
    pub gtid: Option<Gtid>,
    /// Tables may not be what they were before it.
    pub changes_tables: bool,
    everything: bool,
    tables: BTreeMap<Name, Extent>,
}

/// Which rows of a table.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    All,
    Keys(KeySet),
}

impl Transaction {
    /// Nothing read yet; also after the stream was cut: what had not ended comes again.
    pub fn new() -> Transaction {
        Transaction::default()
    }

    /// Takes the next event. Gives the transaction that has ended with it.
    pub fn take(&mut self, event: &Event<'_>, layout: &Layout) -> Option<Whole> {
        match &event.body {
            Body::Gtid(gtid) => return self.begin(Some(gtid)),
            Body::Anonymous => return self.begin(None),
            // What was open when the file ended was never committed.
            Body::Format => *self = Transaction::new(),
            Body::Rotate { .. } | Body::Heartbeat | Body::Nothing => {}
            Body::Query(Query::Begin) => self.is_group = true,
            Body::Query(Query::Savepoint) => {}
            Body::Query(Query::End) | Body::Xid | Body::XaPrepare { .. } => return self.end(),
            Body::Query(Query::Other) => {
                self.touch_everything(true);
                if !self.is_group {
                    return self.end();
                }
            }
            Body::Unknown => self.touch_everything(true),
            Body::Table(map) => self.name(map),
            Body::Rows(rows) => self.narrow(rows, layout),
            Body::Payload(payload) => return self.unpack(payload, layout),
        }
        None
    }

    fn begin(&mut self, gtid: Option<&Gtid>) -> Option<Whole> {
        let before = self.open.is_some().then(|| {
            // It had no end that is known.
            self.touch_everything(true);
            self.end()
        });
        let (is_group, everything) = match gtid {
            Some(Gtid::MariaDb { is_standalone, completes_xa, .. }) => {
                (!is_standalone, *completes_xa)
            }
            _ => (false, false),
        };
        self.is_group = is_group;
        self.open = Some(Whole { gtid: gtid.cloned(), everything, ..Whole::default() });
        before.flatten()
    }

    fn end(&mut self) -> Option<Whole> {
        self.end_statement();
        self.maps.clear();
        self.is_group = false;
        // Without a beginning it is one without a number.
        Some(self.open.take().unwrap_or_default())
    }

    fn whole(&mut self) -> &mut Whole {
        self.open.get_or_insert_default()
    }

    fn touch_everything(&mut self, changes_tables: bool) {
        let whole = self.whole();
        whole.everything = true;
        whole.changes_tables |= changes_tables;
        whole.tables.clear();
    }

    fn name(&mut self, map: &TableMap) {
        if self.maps.len() >= limits::TRANSACTION_TABLES_MAX && !self.maps.contains_key(&map.id) {
            self.touch_everything(false);
            return;
        }
        self.bare.insert(map.id);
        self.maps.insert(map.id, map.clone());
    }

    /// Tables that were named and had no rows may have been changed all the same: by a foreign
    /// key, or by rows that are not looked at.
    fn end_statement(&mut self) {
        for id in std::mem::take(&mut self.bare) {
            if let Some(map) = self.maps.get(&id) {
                let name = name_of(map);
                self.whole().touch(name, Extent::All);
            }
        }
    }

    fn narrow(&mut self, rows: &binlog::Rows<'_>, layout: &Layout) {
        let Some(map) = self.maps.get(&rows.table) else {
            return self.touch_everything(false);
        };
        let name = name_of(map);
        let extent = layout.keys(map, rows).map_or(Extent::All, Extent::Keys);
        self.bare.remove(&rows.table);
        self.whole().touch(name, extent);
        if rows.ends_statement {
            self.end_statement();
        }
    }

    fn unpack(&mut self, payload: &binlog::Payload<'_>, layout: &Layout) -> Option<Whole> {
        let Some(inflated) = payload.inflate() else {
            // Only statements of transactions are packed; such change no tables.
            self.touch_everything(false);
            return self.end();
        };
        for event in binlog::events(&inflated) {
            match event {
                // Not packed twice.
                Ok(Event { body: Body::Payload(_), .. }) | Err(_) => self.touch_everything(true),
                Ok(event) => {
                    let ended = self.take(&event, layout);
                    if ended.is_some() {
                        return ended;
                    }
                }
            }
        }
        self.touch_everything(true);
        self.end()
    }
}

impl Whole {
    fn touch(&mut self, name: Name, extent: Extent) {
        if self.everything {
            return;
        }
        let known = self.tables.entry(name).or_insert_with(|| Extent::Keys(KeySet::default()));
        match (&mut *known, extent) {
            (Extent::Keys(known), Extent::Keys(more)) => known.append(more),
            (known, Extent::All) => *known = Extent::All,
            (Extent::All, _) => {}
        }
    }

    /// Shows what it touches, and what that reaches.
    pub fn touched<T>(mut self, layout: &Layout, then: impl FnOnce(Touched<'_>) -> T) -> T {
        if !self.everything && !self.tables.is_empty() {
            self.everything = !self.reach(&layout.closure);
        }
        if self.everything {
            return then(Touched::Everything);
        }
        let tables: Vec<(&Name, Option<Vec<Key>>)> = self
            .tables
            .iter()
            .map(|(name, extent)| {
                let keys = match extent {
                    Extent::All => None,
                    Extent::Keys(keys) => Some(keys.to_vec()),
                };
                (name, keys)
            })
            .collect();
        let tables: Vec<TableRows<'_>> = tables
            .iter()
            .map(|((schema, table), keys)| TableRows {
                schema,
                table,
                rows: keys.as_deref().map_or(Rows::All, Rows::Keys),
            })
            .collect();
        then(Touched::Tables(&tables))
    }

    /// False: it may reach anything.
    fn reach(&mut self, closure: &Closure) -> bool {
        let cascades = match closure {
            Closure::Unknown => return false,
            Closure::Told => return true,
            Closure::Known(cascades) => cascades,
        };
        let mut reached = BTreeSet::new();
        for (schema, table) in self.tables.keys() {
            let Some(names) = cascades.of(schema, table) else { return false };
            reached.extend(names.cloned());
        }
        for name in reached {
            self.touch(name, Extent::All);
        }
        true
    }
}

impl Layout {
    /// The keys of these rows, before and after. `None`: they may be any rows of their table.
    fn keys(&self, map: &TableMap, rows: &binlog::Rows<'_>) -> Option<KeySet> {
        let table = self.columns.find(&map.schema, &map.table)?;
        if self.widths.get(&name_of(map)) != Some(&map.width) {
            return None;
        }
        // The columns, and at the end the one that says what is loaded with each page.
        let mut wanted = [usize::MAX; limits::KEY_COLUMNS_MAX + 1];
        let indexes = table.columns.iter().map(|column| usize::from(column.index));
        wanted.iter_mut().zip(indexes).for_each(|(wanted, index)| *wanted = index);
        wanted[limits::KEY_COLUMNS_MAX] = table.autoload.unwrap_or(usize::MAX);
        let mut keys = KeySet::default();
        let read = rows.read(map, wanted, |[values @ .., autoload]| {
            for (column, value) in table.columns.iter().zip(values) {
                keys.insert(column.key_of(value));
            }
            match autoload {
                _ if table.autoload.is_none() => {}
                Value::Bytes(text) if !may_autoload(text) => {}
                _ => keys.insert(Key::AUTOLOADED),
            }
        });
        read.is_ok().then_some(keys)
    }
}

fn name_of(map: &TableMap) -> Name {
    (map.schema.clone(), map.table.clone())
}

#[cfg(test)]
mod tests;
