//! Which tables have keys: by policy, and by what their columns are now.
//!
//! `KeyedTables` says which column of which table is worth a floor for each of its values;
//! `KeyColumns`, what the primary says of those columns. A table that is in the first and not in
//! the second has no keys: each write of it is one of all its rows. Policy comes from `config`,
//! columns from the follower, and `session` looks up what a read by that column needs.

use std::collections::BTreeMap;

use super::floor::fold;
use super::key::Collation;

/// The tables that are worth it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedTables {
    patterns: Vec<Pattern>,
}

/// The column of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed<'a> {
    /// The column, in lower case.
    pub column: &'a str,
    /// The column that says whether a row is loaded with each page.
    pub autoload: Option<&'a str>,
}

/// Not of the form `table.column`, with at most one star in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form \"table.column\", with at most one * in the table")]
pub struct BadKeyedTable(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    prefix: String,
    /// None: the prefix is the whole name.
    suffix: Option<String>,
    column: String,
}

/// What the keyed columns of the primary are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyColumns {
    schemas: BTreeMap<Box<[u8]>, Tables>,
}

/// `None`: two tables of which a server may or may not tell the names apart.
type Tables = BTreeMap<Box<[u8]>, Option<KeyColumn>>;

/// The keyed column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name, in lower case.
    pub column: String,
    /// Where it stands among the table's columns, from 0.
    pub index: usize,
    /// How its values become keys.
    pub kind: KeyKind,
    /// Where the column `autoload` stands, in an options table.
    pub autoload: Option<usize>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text(Collation),
    /// Whole numbers.
    Integer,
}

/// The column of an options table that says whether a row is loaded with each page.
pub const AUTOLOAD: &str = "autoload";
/// An options table's own key.
const OPTION_NAME: &str = "option_name";

/// WordPress's hottest tables, and WooCommerce's.
const DEFAULT: [&str; 4] = [
    "*options.option_name",
    "*postmeta.post_id",
    "*usermeta.user_id",
    "*woocommerce_sessions.session_key",
];

impl KeyedTables {
    /// The default ones and these, which come first.
    pub fn with<S: AsRef<str>>(more: &[S]) -> Result<KeyedTables, BadKeyedTable> {
        let more = more.iter().map(AsRef::as_ref).chain(DEFAULT).map(Pattern::parse);
        Ok(KeyedTables { patterns: more.collect::<Result<_, _>>()? })
    }

    /// The column whose values are keys of this table. `None`: it has none.
    #[must_use]
    pub fn of(&self, table: &str) -> Option<Keyed<'_>> {
        let table = table.to_ascii_lowercase();
        let pattern = self.patterns.iter().find(|pattern| pattern.fits(&table))?;
        let autoload = (pattern.column == OPTION_NAME).then_some(AUTOLOAD);
        Some(Keyed { column: &pattern.column, autoload })
    }
}

impl Default for KeyedTables {
    fn default() -> KeyedTables {
        let patterns = DEFAULT.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        KeyedTables { patterns }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, BadKeyedTable> {
        let bad = || BadKeyedTable(text.to_owned());
        let (table, column) = text.rsplit_once('.').ok_or_else(bad)?;
        let (prefix, suffix) = match table.split_once('*') {
            None => (table, None),
            Some((prefix, suffix)) => (prefix, Some(suffix)),
        };
        let star = |text: &str| text.contains('*');
        if table.is_empty() || column.is_empty() || star(column) || suffix.is_some_and(star) {
            return Err(bad());
        }
        Ok(Pattern {
            prefix: prefix.to_ascii_lowercase(),
            suffix: suffix.map(str::to_ascii_lowercase),
            column: column.to_ascii_lowercase(),
        })
    }

    fn fits(&self, table: &str) -> bool {
        match (&self.suffix, table.strip_prefix(&*self.prefix)) {
            (_, None) => false,
            (None, Some(rest)) => rest.is_empty(),
            (Some(suffix), Some(rest)) => rest.ends_with(&**suffix),
        }
    }
}

impl KeyColumns {
    /// Adds a base table's. One whose name is not ASCII has no keys, nor have two whose names
    /// differ in letter case only.
    pub fn insert(&mut self, schema: &[u8], table: &[u8], column: KeyColumn) {
        let (Some(schema), Some(table)) = (fold(schema), fold(table)) else { return };
        let tables = self.schemas.entry(schema.into_owned().into()).or_default();
        tables
            .entry(table.into_owned().into())
            .and_modify(|one| *one = None)
            .or_insert(Some(column));
    }

    /// A table's.
    #[must_use]
    pub fn find(&self, schema: &[u8], table: &[u8]) -> Option<&KeyColumn> {
        if self.schemas.is_empty() {
            return None;
        }
        self.schemas.get(fold(schema)?.as_ref())?.get(fold(table)?.as_ref())?.as_ref()
    }

    /// How many tables have keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.schemas.values().flat_map(BTreeMap::values).flatten().count()
    }

    /// Whether no table has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether `autoload` of a row may be a value that has it loaded with each page. What is not known
/// to mean no, may mean yes.
#[must_use]
pub fn may_autoload(value: &[u8]) -> bool {
    !["no", "off", "auto-off"].iter().any(|no| value.eq_ignore_ascii_case(no.as_bytes()))
}

/// Whether a read of the rows with this `autoload` finds no others than those that
/// [`may_autoload`] tells.
#[must_use]
pub fn is_autoload(value: &[u8]) -> bool {
    ["yes", "on", "auto-on", "auto"].iter().any(|yes| value.eq_ignore_ascii_case(yes.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |more: &str, table: &str, expected: Option<&str>| {
            let more: Vec<&str> = more.split_whitespace().collect();
            let keyed = KeyedTables::with(&more).unwrap();
            assert_eq!(keyed.of(table).map(|keyed| keyed.column), expected, "{more:?} {table}");
        };
        check("", "wp_options", Some("option_name"));
        check("", "wp_7_Options", Some("option_name"));
        check("", "options", Some("option_name"));
        check("", "wp_postmeta", Some("post_id"));
        check("", "wp_usermeta", Some("user_id"));
        check("", "wp_woocommerce_sessions", Some("session_key"));
        check("", "wp_posts", None);
        check("", "wp_options_old", None);
        check("wp_posts.ID", "wp_posts", Some("id"));
        check("wp_posts.ID", "wp_posts2", None);
        check("wp_*meta.meta_id", "wp_postmeta", Some("meta_id"));
        check("wp_*meta.meta_id", "xwp_postmeta", Some("post_id"));
        check("a*a.x", "a", None);
        check("a*a.x", "aa", Some("x"));
        for bad in ["wp_posts", "", ".", "a.", ".a", "**a.b", "a.*"] {
            assert_eq!(KeyedTables::with(&[bad]), Err(BadKeyedTable(bad.to_owned())), "{bad}");
        }
        assert_eq!(KeyedTables::default(), KeyedTables::with::<&str>(&[]).unwrap());
        assert_eq!(KeyedTables::default().of("wp_options").unwrap().autoload, Some("autoload"));
        assert_eq!(KeyedTables::default().of("wp_postmeta").unwrap().autoload, None);
    }

    #[test]
    fn columns() {
        let column = |index| KeyColumn {
            column: "post_id".to_owned(),
            index,
            kind: KeyKind::Integer,
            autoload: None,
        };
        let mut columns = KeyColumns::default();
        assert_eq!(columns.find(b"wp", b"wp_postmeta"), None);
        columns.insert(b"WP", b"wp_postmeta", column(1));
        columns.insert("wp".as_bytes(), "é".as_bytes(), column(2));
        columns.insert(b"wp", b"t", column(3));
        assert_eq!(columns.find(b"wp", b"WP_postmeta"), Some(&column(1)));
        assert_eq!(columns.find(b"wp", "é".as_bytes()), None);
        assert_eq!(columns.find(b"other", b"wp_postmeta"), None);
        assert_eq!(columns.len(), 2);
        columns.insert(b"wp", b"T", column(3));
        assert_eq!(columns.find(b"wp", b"t"), None);
        assert_eq!(columns.len(), 1);
    }

    #[test]
    fn what_is_read_as_loaded_is_written_as_loaded() {
        for value in ["yes", "on", "auto-on", "auto", "YES"] {
            assert!(is_autoload(value.as_bytes()) && may_autoload(value.as_bytes()), "{value}");
        }
        for value in ["no", "off", "auto-off", "No"] {
            assert!(!is_autoload(value.as_bytes()) && !may_autoload(value.as_bytes()), "{value}");
        }
        for value in ["", "yes ", "nonsense", "no "] {
            assert!(!is_autoload(value.as_bytes()) && may_autoload(value.as_bytes()), "{value:?}");
        }
    }
}
