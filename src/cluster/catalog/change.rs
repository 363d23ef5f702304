//! Names that DDL changes or has just changed: hidden from every catalog that may not have seen it.
//!
//! A change is begun before the server is told and ends when it has answered; a catalog that was
//! begun to be read before that end does not count for the names. One lock, looked at only while
//! there is a change that some catalog has not seen. `backend` begins and forgets changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Name;
use crate::limits;

/// What was changed, as far as a catalog may not have seen it.
#[derive(Debug, Default)]
pub struct Changes {
    /// Changes that ended.
    ended: AtomicU64,
    /// Marks up to this one are not kept: a catalog that covers less tells nothing.
    forgotten: AtomicU64,
    /// Marks that stand; 0: nothing is hidden.
    standing: AtomicUsize,
    marks: RwLock<Marks>,
}

/// A change under way. Dropping it ends it: what it did is not known.
#[derive(Debug)]
pub struct Changing {
    changes: Arc<Changes>,
    /// None: any name.
    names: Option<Vec<Name>>,
    /// It hides the names from its beginning on.
    is_marked: bool,
}

/// The marks as they are now. Holds a lock: not to be kept.
#[derive(Debug)]
pub struct Look<'a> {
    marks: Option<RwLockReadGuard<'a, Marks>>,
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Marks {
    /// For every name.
    everything: Mark,
    names: HashMap<Box<str>, HashMap<Box<str>, Mark>>,
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Changes of it that have not ended.
    open: u32,
    /// The number of the last one that did.
    ended: u64,
}

impl Mark {
    fn hides(self, covers: u64) -> bool {
        self.open > 0 || self.ended > covers
    }
}

impl Changes {
    /// The changes that have ended: what a catalog that is begun to be read now will cover.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// What is hidden now.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        let standing = self.standing.load(Ordering::Acquire) > 0;
        let marks = standing.then(|| self.marks.read().unwrap_or_else(PoisonError::into_inner));
        // After the marks: what was forgotten before they were looked at is known.
        Look { marks, forgotten: self.forgotten.load(Ordering::Acquire) }
    }

    /// A change of these names, or of any. `at_once`: they are hidden from now on, else from its
    /// end on.
    #[must_use]
    pub fn begin(self: &Arc<Self>, names: Option<Vec<Name>>, at_once: bool) -> Changing {
        let mut marks = self.write();
        let added = names.as_ref().map_or(0, Vec::len);
        let fits = marks.count.saturating_add(added) <= limits::CATALOG_CHANGES_MAX;
        let names = names.filter(|_| fits);
        if at_once {
            marks.each(names.as_deref(), |mark| mark.open = mark.open.saturating_add(1));
        }
        self.settle(&marks);
        drop(marks);
        Changing { changes: Arc::clone(self), names, is_marked: at_once }
    }

    /// Every catalog covers so much; one that does not is not believed any more.
    pub fn forget(&self, covered: u64) {
        let mut marks = self.write();
        // Before the marks go.
        self.forgotten.fetch_max(covered, Ordering::AcqRel);
        for tables in marks.names.values_mut() {
            tables.retain(|_, mark| mark.hides(covered));
        }
        marks.names.retain(|_, tables| !tables.is_empty());
        marks.count = marks.names.values().map(HashMap::len).sum();
        if !marks.everything.hides(covered) {
            marks.everything.ended = 0;
        }
        self.settle(&marks);
    }

    fn end(&self, names: Option<&[Name]>, was_marked: bool, changed: bool) {
        let mut marks = self.write();
        let number = self.ended() + u64::from(changed);
        marks.each(names, |mark| {
            mark.open = mark.open.saturating_sub(u32::from(was_marked));
            if changed {
                mark.ended = number;
            }
        });
        self.settle(&marks);
        self.ended.store(number, Ordering::Release);
    }

    fn settle(&self, marks: &Marks) {
        let all = usize::from(marks.everything.hides(0));
        self.standing.store(marks.count.saturating_add(all), Ordering::Release);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn each(&mut self, names: Option<&[Name]>, mut change: impl FnMut(&mut Mark)) {
        let Some(names) = names else { return change(&mut self.everything) };
        for name in names {
            let tables = self.names.entry(name.schema.clone()).or_default();
            change(tables.entry(name.table.clone()).or_default());
        }
        self.count = self.names.values().map(HashMap::len).sum();
    }
}

impl Look<'_> {
    /// Nothing is hidden.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.marks.is_none()
    }

    /// Whether a catalog that covers so much still tells anything.
    pub(super) fn trusts(&self, covers: u64) -> bool {
        covers >= self.forgotten
    }

    /// Whether a name was changed since a catalog that covers so much. In lower case.
    pub(super) fn hides(&self, schema: &str, table: &str, covers: u64) -> bool {
        let Some(marks) = &self.marks else { return false };
        let mark = marks.names.get(schema).and_then(|tables| tables.get(table));
        marks.everything.hides(covers) || mark.is_some_and(|mark| mark.hides(covers))
    }
}

impl Changing {
    /// It is known which names it changes.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.names.is_some()
    }

    /// It changed nothing after all.
    pub fn cancel(mut self) {
        let names = self.names.take();
        if self.is_marked {
            self.changes.end(names.as_deref(), true, false);
        }
        // What is left to drop would end it: it is a change of no name now.
        self.names = Some(Vec::new());
        self.is_marked = false;
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        if self.names.as_ref().is_none_or(|names| !names.is_empty()) {
            self.changes.end(self.names.as_deref(), self.is_marked, true);
        }
    }
}
