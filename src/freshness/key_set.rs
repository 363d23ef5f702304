//! The keys of the rows of one table that were written: values, column by column.
//!
//! Bounded: of a column with too many of them, or with one that is not understood, any may have been
//! written. Filled by `transaction` from images of rows.

use std::collections::{BTreeMap, BTreeSet};

use super::key::Key;
use crate::limits;

/// Keys of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    /// By the key that covers them; none of them: that one.
    columns: BTreeMap<Option<Key>, BTreeSet<Key>>,
}

impl KeySet {
    /// Adds one.
    pub fn insert(&mut self, key: Key) {
        let any = key.any();
        let is_any = any.as_ref() == Some(&key);
        match self.columns.get_mut(&any) {
            Some(keys) if is_any => keys.clear(),
            Some(keys) if any.is_some() && keys.is_empty() => {}
            Some(keys) => {
                keys.insert(key);
                if keys.len() > limits::FLOOR_VALUES_PER_WRITE_MAX {
                    keys.clear();
                }
            }
            None => {
                let keys = if is_any { BTreeSet::new() } else { BTreeSet::from([key]) };
                self.columns.insert(any, keys);
            }
        }
    }

    /// Adds all of another.
    pub fn append(&mut self, more: KeySet) {
        more.into_keys().for_each(|key| self.insert(key));
    }

    /// All of them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Key> {
        self.clone().into_keys().collect()
    }

    fn into_keys(self) -> impl Iterator<Item = Key> {
        self.columns.into_iter().flat_map(|(any, keys)| {
            let any = any.filter(|_| keys.is_empty());
            keys.into_iter().chain(any)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1=5` a value of a column, `1` any of it, `auto` the autoloaded rows.
    fn key(word: &str) -> Key {
        let number = |text: &str| text.parse::<u16>().unwrap();
        match word.split_once('=') {
            _ if word == "auto" => Key::AUTOLOADED,
            None => Key::Any { column: number(word) },
            Some((column, value)) => Key::integer(number(column), number(value).into()),
        }
    }

    fn word(key: Key) -> String {
        match key {
            Key::Autoloaded => "auto".into(),
            Key::Any { column } => column.to_string(),
            Key::Integer { column, value } => format!("{column}={value}"),
            Key::Text { .. } => unreachable!(),
        }
    }

    fn set(words: &str) -> KeySet {
        let mut set = KeySet::default();
        words.split_whitespace().map(key).for_each(|key| set.insert(key));
        set
    }

    fn words(set: &KeySet) -> String {
        set.to_vec().into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn any_of_a_column_covers_its_values() {
        let check = |a: &str, expected: &str| {
            assert_eq!(words(&set(a)), expected, "{a}");
            // Said in two parts, in any order.
            for (at, _) in a.match_indices(' ') {
                let (head, tail) = a.split_at(at);
                for (first, second) in [(head, tail), (tail, head)] {
                    let mut both = set(first);
                    both.append(set(second));
                    assert_eq!(words(&both), expected, "{first} and {second}");
                }
            }
        };
        check("", "");
        check("1=5", "1=5");
        check("1=5 1=6 1=5 2=5", "1=5 1=6 2=5");
        check("1=5 auto auto 0=1", "auto 0=1 1=5");
        check("1", "1");
        check("1=5 1 1=6 2=7 auto", "auto 1 2=7");
        check("auto 1", "auto 1");
    }

    #[test]
    fn too_many_of_a_column_are_any_of_it() {
        let many = |column: u16, count: usize| {
            let words: Vec<String> = (0..count).map(|value| format!("{column}={value}")).collect();
            words.join(" ")
        };
        let most = limits::FLOOR_VALUES_PER_WRITE_MAX;
        assert_eq!(set(&many(1, most)).to_vec().len(), most);
        let over = format!("2=3 auto {} 1=1", many(1, most + 1));
        assert_eq!(words(&set(&over)), "auto 1 2=3");
    }
}
