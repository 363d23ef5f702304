//! What the names in a text are: which are views, and of which tables replicas lack the rows.
//!
//! A negative list, per account: a name that is not in it is a base table whose rows replicate.
//! What is visible depends on grants, and so does the list. Made by `draft` from what the primary
//! told, hidden in part by `change` while DDL goes on; `session` looks names up, `backend` reads.

pub mod change;
pub mod draft;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

pub use change::{Changes, Changing, Look};
pub use draft::Draft;

use crate::limits;
use crate::sql::{Unfit, is_system_schema};

/// What one account's names are, as they were at one time.
#[derive(Debug, Default)]
pub struct Catalog {
    /// It was read at all, and whole.
    known: bool,
    /// The changes that it has seen the end of.
    covers: u64,
    schemas: HashMap<Box<str>, HashMap<Box<str>, Entry>>,
    /// Names that are not ASCII are among them: those are not told apart.
    foreign: bool,
}

/// A name that is no base table that replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// To be read from the primary.
    Unfit(Unfit),
    /// A view that is a plain read of these, views among them and what they read.
    View(Box<[Name]>),
}

/// A table or view with its schema, in lower case: servers may or may not tell cases apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    schema: Box<str>,
    table: Box<str>,
}

/// What a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A base table, as far as anybody knows.
    Table,
    /// A view that is a plain read of these.
    View(&'a [Name]),
    /// To be read from the primary.
    Unfit(Unfit),
}

impl Name {
    /// None: not ASCII. Servers fold more letters than that, so such names are not compared.
    #[must_use]
    pub fn new(schema: &str, table: &str) -> Option<Name> {
        let (schema, table) = (fold(schema)?, fold(table)?);
        Some(Name { schema: schema.into(), table: table.into() })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table or view.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}

impl Catalog {
    /// One that was read: every name that is to be told apart. `covers`: the changes that had
    /// ended before the reading began.
    #[must_use]
    pub fn new(entries: HashMap<Name, Entry>, foreign: bool, covers: u64) -> Catalog {
        let mut catalog = Catalog { known: true, covers, foreign, ..Catalog::default() };
        if entries.len() > limits::CATALOG_NAMES_MAX {
            return Catalog::unread(covers);
        }
        for (name, entry) in entries {
            catalog.schemas.entry(name.schema).or_default().insert(name.table, entry);
        }
        catalog
    }

    /// Nothing is known of any name.
    #[must_use]
    pub fn unread(covers: u64) -> Catalog {
        Catalog { covers, ..Catalog::default() }
    }

    /// Whether it was read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The changes that it has seen the end of.
    #[must_use]
    pub fn covers(&self) -> u64 {
        self.covers
    }

    /// How many names it tells apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.schemas.values().map(HashMap::len).sum()
    }

    /// Every name is a base table that replicates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known && self.schemas.is_empty() && !self.foreign
    }

    fn find(&self, schema: &str, table: &str) -> Option<&Entry> {
        self.schemas.get(schema)?.get(table)
    }
}

/// A catalog and what hides parts of it, for one look. The look is taken first: what has been
/// forgotten by then, every catalog has seen.
#[derive(Debug)]
pub struct Names<'a> {
    /// What was changed.
    pub look: Look<'a>,
    /// What was read.
    pub catalog: &'a Catalog,
}

impl Names<'_> {
    /// Every name is a base table that replicates: nothing has to be looked up.
    #[must_use]
    pub fn are_plain(&self) -> bool {
        self.catalog.is_empty() && self.look.is_clear() && self.is_known()
    }

    /// What a name is. No schema, or one that is no text: nobody knows.
    #[must_use]
    pub fn find(&self, schema: Option<&str>, table: &str) -> Found<'_> {
        if schema.is_some_and(is_system_schema) {
            return Found::Table;
        }
        if !self.is_known() {
            return Found::Unfit(Unfit::Unlisted);
        }
        let (Some(schema), Some(table)) = (schema.and_then(fold), fold(table)) else {
            return Found::Unfit(Unfit::Unlisted);
        };
        if self.look.hides(&schema, &table, self.catalog.covers) {
            return Found::Unfit(Unfit::Unlisted);
        }
        match self.catalog.find(&schema, &table) {
            None => Found::Table,
            Some(Entry::Unfit(why)) => Found::Unfit(*why),
            Some(Entry::View(reads)) if self.hides_any(reads) => Found::Unfit(Unfit::Unlisted),
            Some(Entry::View(reads)) => Found::View(reads),
        }
    }

    fn is_known(&self) -> bool {
        self.catalog.known && self.look.trusts(self.catalog.covers)
    }

    fn hides_any(&self, names: &[Name]) -> bool {
        let hides = |name: &Name| self.look.hides(&name.schema, &name.table, self.catalog.covers);
        names.iter().any(hides)
    }
}

/// In lower case; none if it is not ASCII.
fn fold(name: &str) -> Option<Cow<'_, str>> {
    if !name.is_ascii() {
        return None;
    }
    Some(match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}
