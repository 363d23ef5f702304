//! Rows of information_schema -> a catalog: views are followed to the tables that they read.
//!
//! A view is fit only if its body is proved a plain read, as any statement is, and every name in
//! it is a fit view or a table that was seen to be a fit one: the account of a view's definer may
//! see what this account does not. Asks nothing itself (`backend::catalog` does).

use std::collections::{HashMap, HashSet};

use super::{Catalog, Entry, Name};
use crate::limits;
use crate::sql::{Classifier, Hint, Mode, Proof, Statement, Table, Unfit, Verb, is_system_schema};

/// A catalog whose views have not been followed yet.
#[derive(Debug)]
pub struct Draft {
    mode: Mode,
    names: HashMap<Name, Node>,
    foreign: bool,
    overflowed: bool,
}

#[derive(Debug)]
enum Node {
    Unfit(Unfit),
    /// What the view's own text names.
    View(Vec<Name>),
    Done(Entry),
    /// It is being followed: to come here again is a circle.
    Followed,
}

impl Draft {
    /// An empty one, for servers that read text like this.
    #[must_use]
    pub fn new(mode: Mode) -> Draft {
        // Definitions are kept in the server's own form, whatever the sessions' modes are.
        let mode = Mode { flavour: mode.flavour, ..Mode::default() };
        Draft { mode, names: HashMap::new(), foreign: false, overflowed: false }
    }

    /// A name that is no base table, or one of an engine that is not on the list.
    pub fn add(&mut self, schema: &str, table: &str, unfit: Unfit) {
        self.insert(schema, table, Node::Unfit(unfit));
    }

    /// A view and its definition; an empty one is one that may not be seen.
    pub fn add_view(&mut self, schema: &str, table: &str, body: &str) {
        let node = match reads_of(schema, body, self.mode) {
            Some(reads) => Node::View(reads),
            None => Node::Unfit(Unfit::View),
        };
        self.insert(schema, table, node);
    }

    fn insert(&mut self, schema: &str, table: &str, node: Node) {
        let Some(name) = Name::new(schema, table) else {
            self.foreign = true;
            return;
        };
        if self.names.len() >= limits::CATALOG_NAMES_MAX {
            self.overflowed = true;
            return;
        }
        // Two that differ in letter case: neither is told from the other.
        let twice = self.names.contains_key(&name);
        self.names.insert(name, if twice { Node::Unfit(Unfit::View) } else { node });
    }

    /// Names that views read and that have yet to be seen as fit base tables.
    #[must_use]
    pub fn questions(&self) -> Vec<&Name> {
        let views = self.names.values().filter_map(|node| match node {
            Node::View(reads) => Some(reads),
            _ => None,
        });
        let open = views.flatten().filter(|name| !self.names.contains_key(*name));
        let mut open: Vec<&Name> = open.collect::<HashSet<_>>().into_iter().collect();
        open.truncate(limits::CATALOG_NAMES_MAX);
        open
    }

    /// Follows the views. `seen`: the answers, names of fit base tables. None: more names than
    /// are kept.
    #[must_use]
    pub fn resolve(mut self, seen: &HashSet<Name>, covers: u64) -> Option<Catalog> {
        if self.overflowed {
            return None;
        }
        let names: Vec<Name> = self.names.keys().cloned().collect();
        for name in &names {
            self.follow(name, seen, 0);
        }
        let entries = self.names.into_iter().map(|(name, node)| match node {
            Node::Done(entry) => (name, entry),
            Node::Unfit(why) => (name, Entry::Unfit(why)),
            Node::View(_) | Node::Followed => (name, Entry::Unfit(Unfit::View)),
        });
        Some(Catalog::new(entries.collect(), self.foreign, covers))
    }

    /// All that a name reads, itself included. None: it is not fit.
    fn follow(&mut self, name: &Name, seen: &HashSet<Name>, depth: usize) -> Option<Vec<Name>> {
        let Some(node) = self.names.get_mut(name) else {
            return seen.contains(name).then(|| vec![name.clone()]);
        };
        let direct = match node {
            Node::View(reads) if depth < limits::VIEW_DEPTH_MAX => std::mem::take(reads),
            Node::Done(Entry::View(reads)) => {
                return Some(reads.iter().chain([name]).cloned().collect());
            }
            _ => return None,
        };
        *node = Node::Followed;
        let mut reads: Vec<Name> = Vec::new();
        let mut fits = true;
        for one in &direct {
            let Some(more) = self.follow(one, seen, depth + 1) else {
                fits = false;
                break;
            };
            for one in more {
                if !reads.contains(&one) {
                    reads.push(one);
                }
            }
        }
        fits &= reads.len() <= limits::TABLES_MAX;
        let entry = match fits {
            true => Entry::View(reads.clone().into()),
            false => Entry::Unfit(Unfit::View),
        };
        self.names.insert(name.clone(), Node::Done(entry));
        reads.push(name.clone());
        fits.then_some(reads)
    }
}

/// What a view's text names, if the text is proved a plain read of data.
fn reads_of(schema: &str, body: &str, mode: Mode) -> Option<Vec<Name>> {
    // What a backslash means depends on the mode in which the view was made.
    if body.is_empty() || body.contains('\\') {
        return None;
    }
    let it = Classifier::read_once(body.as_bytes(), mode);
    if !is_plain(&it) {
        return None;
    }
    let named = |table: &Table| {
        let schema = table.schema.as_deref().unwrap_or(schema);
        (!is_system_schema(schema)).then(|| Name::new(schema, &table.name)).flatten()
    };
    it.reads.iter().map(named).collect()
}

fn is_plain(it: &Statement) -> bool {
    it.verb == Verb::Select
        && it.proof == Proof::Read
        && it.tables_known
        && it.statements == 1
        && it.hint == Hint::None
}
