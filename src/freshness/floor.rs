//! The last write of each schema, and of everything.
//!
//! Only numbers; what they stand for is in `pending`. Written under `Freshness`'s lock, read by
//! every read beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::limits;
use crate::position::Ordinal;

/// Floors by schema name.
#[derive(Debug)]
pub struct Floors {
    table: RwLock<Table>,
}

/// What a statement touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched<'a> {
    /// Not known, or not only schemas: accounts, settings, routines.
    Everything,
    /// These schemas, in any letter case. An empty list touches nothing.
    Schemas(&'a [&'a [u8]]),
}

#[derive(Debug)]
struct Table {
    /// Also the floor of every schema that is not named.
    everything: Ordinal,
    schemas: BTreeMap<Box<[u8]>, Ordinal>,
}

impl Floors {
    /// Everything was last written at `everything`.
    pub fn new(everything: Ordinal) -> Floors {
        Floors { table: RwLock::new(Table { everything, schemas: BTreeMap::new() }) }
    }

    /// A write: the floors of what it touched are at least `to` from now on.
    pub fn raise(&self, touched: &Touched<'_>, to: Ordinal) {
        let mut table = self.write();
        let folded: Option<Vec<_>> = match touched {
            Touched::Everything => None,
            Touched::Schemas(names) => names.iter().map(|name| fold(name)).collect(),
        };
        let Some(names) = folded else { return table.raise_everything(to) };
        for name in names {
            if let Some(floor) = table.schemas.get_mut(name.as_ref()) {
                *floor = to.max(*floor);
            } else if table.schemas.len() < limits::FLOOR_SCHEMAS_MAX {
                table.schemas.insert(name.into_owned().into_boxed_slice(), to);
            } else {
                return table.raise_everything(to);
            }
        }
    }

    /// The floor of all that there is, is at least `to` from now on.
    pub fn raise_everything(&self, to: Ordinal) {
        self.write().raise_everything(to);
    }

    /// What a read of these schemas must have seen. `None`: a name that cannot be compared.
    pub fn of(&self, names: &[&[u8]]) -> Option<Ordinal> {
        let table = self.read();
        names.iter().try_fold(table.everything, |floor, name| {
            let named = table.schemas.get(fold(name)?.as_ref()).copied();
            Some(named.unwrap_or(floor).max(floor))
        })
    }

    /// Forgets the names that were last written at or before `until`, which every reader that is
    /// up has: from now on it is the floor of everything, so that one that comes back behind it
    /// does not qualify.
    pub fn forget_until(&self, until: Ordinal) {
        self.write().raise_everything(until);
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn raise_everything(&mut self, to: Ordinal) {
        self.everything = self.everything.max(to);
        let everything = self.everything;
        self.schemas.retain(|_, floor| *floor > everything);
    }
}

/// Names that differ in letter case may be one schema. Servers fold more letters than ASCII's:
/// other names are not compared at all.
fn fold(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !name.is_ascii() {
        return None;
    }
    Some(match name.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}
