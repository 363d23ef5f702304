//! Which tables a write to one may change beyond itself: the children of cascading foreign keys.
//!
//! Most servers carry those out inside the engine and log the parent's rows alone. Read from the
//! engine's own list, as all others hide what an account may not see. Called by `transaction`.

use std::collections::{BTreeMap, BTreeSet};

use super::floor::fold;

/// A schema and a table, in lower case.
pub type Name = (Box<[u8]>, Box<[u8]>);

/// What writes reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Closure {
    /// Not known: any write may reach any table.
    #[default]
    Unknown,
    /// The stream itself names all tables that a write reaches.
    Told,
    /// By these foreign keys.
    Known(Cascades),
}

/// Foreign keys that act on their children, as pairs of parent and child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cascades {
    /// Every table that a write to one may reach, over any number of steps.
    /// `None`: a name that cannot be compared, so any.
    reached: BTreeMap<Name, Option<BTreeSet<Name>>>,
    /// There are parents whose names cannot be compared.
    odd_parents: bool,
}

/// ON DELETE CASCADE, ON DELETE SET NULL, ON UPDATE CASCADE, ON UPDATE SET NULL.
const ACTS: u32 = 1 | 2 | 4 | 8;

impl Cascades {
    /// From the engine's list: the child, the parent, and what it does, as the engine writes them.
    pub fn read<'a>(keys: impl Iterator<Item = (&'a [u8], &'a [u8], u32)>) -> Cascades {
        let mut cascades = Cascades::default();
        for (child, parent, _) in keys.filter(|(_, _, acts)| acts & ACTS != 0) {
            let Some(parent) = name(parent) else {
                cascades.odd_parents = true;
                continue;
            };
            let reached = cascades.reached.entry(parent).or_insert_with(|| Some(BTreeSet::new()));
            match (name(child), reached) {
                (Some(child), Some(reached)) => drop(reached.insert(child)),
                (None, reached) => *reached = None,
                (_, None) => {}
            }
        }
        while cascades.spread() {}
        cascades
    }

    /// One step more. False: there was none.
    fn spread(&mut self) -> bool {
        let before = self.reached.clone();
        for reached in self.reached.values_mut() {
            let Some(near) = reached else { continue };
            let far: Vec<_> = near.iter().filter_map(|name| before.get(name)).collect();
            if far.iter().any(|far| far.is_none()) {
                *reached = None;
            } else {
                near.extend(far.into_iter().flatten().flatten().cloned());
            }
        }
        self.reached != before
    }

    /// The tables that a write to this one may reach beside it. `None`: any.
    pub fn of(&self, schema: &[u8], table: &[u8]) -> Option<impl Iterator<Item = &Name>> {
        let known = match comparable(schema, table) {
            Some(name) => self.reached.get(&name),
            None if self.odd_parents => return None,
            None => None,
        };
        match known {
            Some(None) => None,
            Some(Some(reached)) => Some(Some(reached).into_iter().flatten()),
            None => Some(None.into_iter().flatten()),
        }
    }
}

/// `schema/table` as the engine writes it. `None`: with letters that it writes in a way of its own.
fn name(text: &[u8]) -> Option<Name> {
    let mut parts = text.splitn(2, |byte| *byte == b'/');
    comparable(parts.next()?, parts.next()?)
}

/// Servers may or may not tell names apart that differ in letter case; to hold them for one asks
/// for more.
fn comparable(schema: &[u8], table: &[u8]) -> Option<Name> {
    let part = |name: &[u8]| -> Option<Box<[u8]>> {
        let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        plain.then(|| fold(name).map(|name| name.into_owned().into()))?
    };
    Some((part(schema)?, part(table)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as `child<parent` with what they do; then what a write to each table reaches.
    #[track_caller]
    fn check(keys: &str, table: &str, expected: &str) {
        let keys = keys.split_whitespace().map(|key| {
            let (child, rest) = key.split_once('<').unwrap();
            let (parent, acts) = rest.split_once(':').unwrap_or((rest, "1"));
            (child.as_bytes(), parent.as_bytes(), acts.parse().unwrap())
        });
        let cascades = Cascades::read(keys);
        let (schema, table) = table.split_once('/').unwrap();
        let told = match cascades.of(schema.as_bytes(), table.as_bytes()) {
            None => "any".into(),
            Some(names) => {
                let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
                let names =
                    names.map(|(schema, table)| format!("{}/{}", text(schema), text(table)));
                names.collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn writes_reach_their_children() {
        check("", "a/t", "");
        check("a/child<a/t", "a/t", "a/child");
        check("a/child<a/t", "A/T", "a/child");
        check("a/child<a/t", "a/child", "");
        check("b/child<a/t", "a/t", "b/child");
        check("a/x<a/t a/y<a/x a/z<a/y", "a/t", "a/x a/y a/z");
        check("a/t<a/t", "a/t", "a/t");
        check("a/x<a/t a/t<a/x", "a/x", "a/t a/x");
        // NO ACTION and RESTRICT change nothing; the other three do.
        check("a/x<a/t:48 a/y<a/t:0", "a/t", "");
        check("a/x<a/t:2 a/y<a/t:4 a/z<a/t:24", "a/t", "a/x a/y a/z");
        // Names that the engine writes in its own way.
        check("a/ch@002did<a/t", "a/t", "any");
        check("a/ch@002did<a/t", "a/other", "");
        check("a/x<a/t a/ch@002did<a/x", "a/t", "any");
        check("a/x<a/t@002d", "a/t-", "any");
        check("a/x<a/t@002d", "a/u-", "any");
        check("a/x<a/t", "a/u-", "");
    }
}
