//! Which tables have keys: by policy, and by what their columns are now.
//!
//! `KeyedTables` says which columns of which tables are worth a floor for each of their values;
//! `KeyColumns`, what the primary says of those columns. A table that is in the first and not in
//! the second has no keys: each write of it is one of all its rows. A row that changes raises what
//! it held in each of these columns and what it holds then, so that a read which compares any one
//! of them waits for the rows with that value only. Policy comes from `config`, columns from the
//! follower, and `session` looks up what a read by such columns needs.

use std::collections::BTreeMap;

use super::floor::fold;
use super::key::{Collation, Key};
use crate::limits;
use crate::wire::binlog::Value;

/// The tables that are worth it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedTables {
    patterns: Vec<Pattern>,
}

/// The columns of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed<'a> {
    /// The columns, in lower case.
    pub columns: Vec<&'a str>,
    /// The column that says whether a row is loaded with each page.
    pub autoload: Option<&'a str>,
    /// Where it stands in the list of tables: the first are worth the most.
    pub rank: usize,
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
type Tables = BTreeMap<Box<[u8]>, Option<KeyedTable>>;

/// The keyed columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyedTable {
    /// No more than `limits` says, each once.
    pub columns: Vec<KeyColumn>,
    /// Where the column `autoload` stands, in an options table.
    pub autoload: Option<usize>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name, in lower case.
    pub name: String,
    /// Where it stands among the table's columns, from 0.
    pub index: u16,
    /// How its values become keys.
    pub kind: KeyKind,
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

/// What WordPress and WooCommerce look for in their tables, the hottest ones first.
const DEFAULT: [(&str, &[&str]); 18] = [
    ("*options", &[OPTION_NAME]),
    ("*posts", &["id", "post_type", "post_status", "post_name", "post_parent"]),
    ("*postmeta", &["post_id", "meta_key"]),
    ("*usermeta", &["user_id", "meta_key"]),
    ("*woocommerce_sessions", &["session_key"]),
    ("*term_relationships", &["object_id", "term_taxonomy_id"]),
    ("*term_taxonomy", &["term_taxonomy_id", "term_id", "taxonomy"]),
    ("*terms", &["term_id", "slug", "name"]),
    ("*termmeta", &["term_id"]),
    ("*users", &["id", "user_login", "user_email", "user_nicename"]),
    ("*comments", &["comment_id", "comment_post_id", "comment_approved"]),
    ("*commentmeta", &["comment_id"]),
    ("*wc_orders", &["id", "status", "customer_id"]),
    ("*wc_orders_meta", &["order_id"]),
    ("*woocommerce_order_items", &["order_id", "order_item_id"]),
    ("*woocommerce_order_itemmeta", &["order_item_id"]),
    ("*wc_product_meta_lookup", &["product_id"]),
    ("*wc_reserved_stock", &["product_id", "order_id"]),
];

impl KeyedTables {
    /// The default ones and these, which come first.
    pub fn with<S: AsRef<str>>(more: &[S]) -> Result<KeyedTables, BadKeyedTable> {
        let more = more.iter().map(|text| Pattern::parse(text.as_ref()));
        let mut patterns = more.collect::<Result<Vec<_>, _>>()?;
        patterns.extend(KeyedTables::default().patterns);
        Ok(KeyedTables { patterns })
    }

    /// The columns whose values are keys of this table. `None`: it has none.
    #[must_use]
    pub fn of(&self, table: &str) -> Option<Keyed<'_>> {
        let table = table.to_ascii_lowercase();
        let fits = |pattern: &&Pattern| pattern.fits(&table);
        let rank = self.patterns.iter().position(|pattern| pattern.fits(&table))?;
        let mut columns: Vec<&str> = Vec::new();
        for pattern in self.patterns.iter().filter(fits) {
            if columns.len() < limits::KEY_COLUMNS_MAX && !columns.contains(&&*pattern.column) {
                columns.push(&pattern.column);
            }
        }
        let autoload = columns.contains(&OPTION_NAME).then_some(AUTOLOAD);
        Some(Keyed { columns, autoload, rank })
    }
}

impl Default for KeyedTables {
    fn default() -> KeyedTables {
        let pattern = |table: &str, column: &&str| Pattern::of(table, column);
        let patterns = DEFAULT
            .iter()
            .flat_map(|(table, columns)| columns.iter().filter_map(move |it| pattern(table, it)));
        KeyedTables { patterns: patterns.collect() }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, BadKeyedTable> {
        let parts = text.rsplit_once('.');
        parts
            .and_then(|(table, column)| Pattern::of(table, column))
            .ok_or_else(|| BadKeyedTable(text.to_owned()))
    }

    fn of(table: &str, column: &str) -> Option<Pattern> {
        let (prefix, suffix) = match table.split_once('*') {
            None => (table, None),
            Some((prefix, suffix)) => (prefix, Some(suffix)),
        };
        let star = |text: &str| text.contains('*');
        if table.is_empty() || column.is_empty() || star(column) || suffix.is_some_and(star) {
            return None;
        }
        Some(Pattern {
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
    /// differ in letter case only, nor one of which no column is known.
    pub fn insert(&mut self, schema: &[u8], table: &[u8], mut columns: KeyedTable) {
        // The rows that are written are asked for no more than these.
        columns.columns.truncate(limits::KEY_COLUMNS_MAX);
        let (Some(schema), Some(table)) = (fold(schema), fold(table)) else { return };
        let tables = self.schemas.entry(schema.into_owned().into()).or_default();
        tables
            .entry(table.into_owned().into())
            .and_modify(|one| *one = None)
            .or_insert_with(|| Some(columns).filter(|it| !it.columns.is_empty()));
    }

    /// A table's.
    #[must_use]
    pub fn find(&self, schema: &[u8], table: &[u8]) -> Option<&KeyedTable> {
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

impl KeyedTable {
    /// The column of that name, in any letter case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&KeyColumn> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

impl KeyColumn {
    /// What a row that holds this in the column has for a key. No comparison with a literal finds
    /// NULL, but a row that is looked at has a key in each column all the same.
    #[must_use]
    pub fn key_of(&self, value: Value<'_>) -> Key {
        let key = match (self.kind, value) {
            (KeyKind::Text(collation), Value::Bytes(text)) => {
                Key::text(self.index, collation, text)
            }
            // Whether a number has a sign is not told: none that may look different if it has.
            (KeyKind::Integer, Value::Integer(number @ 0..)) => {
                Some(Key::integer(self.index, number.into()))
            }
            _ => None,
        };
        key.unwrap_or(Key::Any { column: self.index })
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
            let columns = keyed.of(table).map(|keyed| keyed.columns.join(" "));
            assert_eq!(columns.as_deref(), expected, "{more:?} {table}");
        };
        check("", "wp_options", Some("option_name"));
        check("", "wp_7_Options", Some("option_name"));
        check("", "options", Some("option_name"));
        check("", "wp_postmeta", Some("post_id meta_key"));
        check("", "wp_usermeta", Some("user_id meta_key"));
        check("", "wp_woocommerce_sessions", Some("session_key"));
        check("", "wp_posts", Some("id post_type post_status post_name post_parent"));
        check("", "wp_wc_order_stats", None);
        check("", "wp_options_old", None);
        check("wp_files.ID", "wp_files", Some("id"));
        check("wp_files.ID wp_files.Name", "wp_files", Some("id name"));
        check("wp_files.ID", "wp_files2", None);
        check("wp_*meta.meta_id", "wp_postmeta", Some("meta_id post_id meta_key"));
        check("wp_*meta.meta_id *meta.meta_id", "xwp_postmeta", Some("meta_id post_id meta_key"));
        check("wp_*meta.meta_id", "xwp_postmeta", Some("post_id meta_key"));
        check(
            "*posts.post_name",
            "wp_posts",
            Some("post_name id post_type post_status post_parent"),
        );
        // No more than six, those that were asked for first.
        check("t.a t.b t.c t.d t.e t.f t.g", "t", Some("a b c d e f"));
        let most = "id post_type post_status post_name";
        check("*posts.a *posts.b", "wp_posts", Some(&format!("a b {most}")));
        check("a*a.x", "a", None);
        check("a*a.x", "aa", Some("x"));
        for bad in ["wp_posts", "", ".", "a.", ".a", "**a.b", "a.*"] {
            assert_eq!(KeyedTables::with(&[bad]), Err(BadKeyedTable(bad.to_owned())), "{bad}");
        }
        assert_eq!(KeyedTables::default(), KeyedTables::with::<&str>(&[]).unwrap());
        assert_eq!(KeyedTables::default().of("wp_options").unwrap().autoload, Some("autoload"));
        assert_eq!(KeyedTables::default().of("wp_postmeta").unwrap().autoload, None);
        let count: usize = DEFAULT.iter().map(|(_, columns)| columns.len()).sum();
        assert_eq!(KeyedTables::default().patterns.len(), count);
    }

    #[test]
    fn columns() {
        let column = |index| KeyedTable {
            columns: vec![KeyColumn { name: "post_id".into(), index, kind: KeyKind::Integer }],
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
        columns.insert(b"wp", b"none", KeyedTable::default());
        assert_eq!(columns.find(b"wp", b"t"), None);
        assert_eq!(columns.find(b"wp", b"none"), None);
        assert_eq!(columns.len(), 1);
    }

    #[test]
    fn what_a_row_holds() {
        let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
        let check = |kind, value: Value<'_>, expected: &str| {
            let column = KeyColumn { name: "c".into(), index: 3, kind };
            let told = match column.key_of(value) {
                Key::Any { column: 3 } => "any".to_owned(),
                Key::Integer { column: 3, value } => value.to_string(),
                Key::Text { column: 3, value } => String::from_utf8(value.into()).unwrap(),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected, "{value:?}");
        };
        check(text, Value::Bytes(b"Post "), "post");
        check(text, Value::Bytes("é".as_bytes()), "any");
        check(text, Value::Integer(5), "any");
        check(KeyKind::Integer, Value::Integer(5), "5");
        check(KeyKind::Integer, Value::Integer(-5), "any");
        check(KeyKind::Integer, Value::Bytes(b"5"), "any");
        for kind in [text, KeyKind::Integer] {
            for value in [Value::Absent, Value::Null, Value::Other] {
                check(kind, value, "any");
            }
        }
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
