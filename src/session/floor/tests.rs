//! Which writes a read waits for.

mod property;

use std::time::Instant;

use crate::cluster::Role;
use crate::cluster::catalog::{Changes, Draft, Names};
use crate::freshness::{
    Collation, Freshness, Key, KeyColumn, KeyColumns, KeyKind, KeyedTable, Ordinal, Rows,
    TableRows, Touched, Written,
};
use crate::position::{Flavour, Position};
use crate::session::Session;
use crate::session::plan::{Plan, Policy};
use crate::sql::{Classifier, Mode};
use crate::wire::binlog::Value;

fn columns() -> KeyColumns {
    let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
    let table = |columns: &[(&str, u16, KeyKind)], autoload| KeyedTable {
        columns: columns
            .iter()
            .map(|(name, index, kind)| KeyColumn {
                name: (*name).into(),
                index: *index,
                kind: *kind,
            })
            .collect(),
        autoload,
    };
    let (number, mut columns) = (KeyKind::Integer, KeyColumns::default());
    columns.insert(b"wp", b"wp_options", table(&[("option_name", 1, text)], Some(3)));
    let meta = [("post_id", 1, number), ("meta_key", 2, text)];
    columns.insert(b"wp", b"wp_postmeta", table(&meta, None));
    columns.insert(b"wp", b"wp_woocommerce_sessions", table(&[("session_key", 1, text)], None));
    let posts = [("id", 0, number), ("post_type", 20, text), ("post_status", 7, text)];
    columns.insert(b"wp", b"wp_posts", table(&posts, None));
    columns
}

/// `5` or `x` in the first keyed column, `post_type=post` in another, `post_type=` of any value.
fn key(table: &str, word: &str) -> Key {
    if word == "autoloaded" {
        return Key::AUTOLOADED;
    }
    let columns = columns();
    let first = || {
        let table = columns.find(b"wp", table.as_bytes()).unwrap();
        &table.columns[0]
    };
    let (column, value) = match word.split_once('=') {
        Some((name, value)) => {
            (columns.find(b"wp", table.as_bytes()).unwrap().column(name).unwrap(), value)
        }
        None => (first(), word),
    };
    let value = match column.kind {
        _ if value.is_empty() => Value::Absent,
        KeyKind::Integer => Value::Integer(value.parse().unwrap()),
        KeyKind::Text(_) => Value::Bytes(value.as_bytes()),
    };
    column.key_of(value)
}

/// `*` everything, `wp` a schema, `wp.t` a table, `wp.t:x:y` keys of its rows.
fn write(word: &str, freshness: &Freshness) {
    let record =
        |touched| freshness.record(Written { touched, position: None, at: Instant::now() });
    let (names, keys) = word.split_once(':').map_or((word, None), |(n, k)| (n, Some(k)));
    let table = names.split_once('.').map_or("", |(_, table)| table);
    let keys = keys.map(|keys| keys.split(':').map(|word| key(table, word)).collect());
    let keys: Option<Vec<Key>> = keys;
    let rows = keys.as_deref().map_or(Rows::All, Rows::Keys);
    match names.split_once('.') {
        None if names == "*" => record(Touched::Everything),
        None => record(Touched::Schemas(&[names.as_bytes()])),
        Some((schema, table)) => record(Touched::Tables(&[TableRows {
            schema: schema.as_bytes(),
            table: table.as_bytes(),
            rows,
        }])),
    };
}

/// Nobody has written anything yet.
pub(super) fn unwritten(columns: KeyColumns) -> Freshness {
    let freshness = Freshness::new(Instant::now());
    let start = Position::parse(Flavour::MariaDb, b"0-1-1").unwrap();
    freshness.start(Some(start), None, Instant::now());
    freshness.set_key_columns(columns);
    freshness
}

/// The write that a read waits for; views are `v` of wp.t and `far` of far.t. `None`: it is the
/// primary's.
pub(super) fn floor(freshness: &Freshness, text: &str) -> Option<Ordinal> {
    let mut session = Session::new(1, Mode::default());
    session.begin_with(|values| values.database = Some((*b"wp").into()));
    let mut draft = Draft::new(Mode::default());
    draft.add_view("wp", "v", "select `wp`.`t`.`a` AS `a` from `wp`.`t`");
    draft.add_view("wp", "far", "select `far`.`t`.`a` AS `a` from `far`.`t`");
    let seen = draft.questions().into_iter().cloned().collect();
    let catalog = draft.resolve(&seen, 0).unwrap();
    let changes = Changes::default();
    let names = Names { look: changes.look(), catalog: &catalog };
    let statement = Classifier::read_once(text.as_bytes(), Mode::default());
    let statement = session.see(statement.into(), &names);
    let plan = session.plan_text(&statement, text.as_bytes(), Policy::SPLIT, freshness);
    let Plan::Forward(forward) = plan else { panic!("{text} is not forwarded") };
    match forward.want.role {
        Role::Primary => None,
        Role::Reader => Some(forward.want.floor),
    }
}

/// The number of the last of these writes that a read waits for. A primary's read is `P`.
fn waits(writes: &str, text: &str, columns: KeyColumns) -> String {
    let freshness = unwritten(columns);
    let base = freshness.last();
    writes.split_whitespace().for_each(|word| write(word, &freshness));
    let floor = floor(&freshness, text);
    floor.map_or("P".to_owned(), |floor| floor.0.saturating_sub(base.0).to_string())
}

fn check(writes: &str, text: &str, expected: &str) {
    assert_eq!(waits(writes, text, columns()), expected, "{writes} | {text}");
}

#[test]
fn tables() {
    check("wp.t wp.u far.t", "SELECT a FROM t", "1");
    check("wp.t wp.u far.t", "SELECT a FROM u", "2");
    check("wp.t wp.u far.t", "SELECT a FROM far.t", "3");
    check("wp.t wp.u far.t", "SELECT 1 FROM t JOIN u", "2");
    check("wp.t wp.u far.t", "SELECT a FROM w", "0");
    check("wp.t wp.u far.t", "SELECT a FROM T", "1");
    check("wp.t wp.u far.t", "SELECT 1", "0");
    check("wp.t wp far.t", "SELECT a FROM t", "2");
    check("wp.t * far.t", "SELECT a FROM t", "2");
    check("wp.t wp.u far.t", "SELECT a FROM `é`", "P");
    check("wp.t wp.u far.t", "SELECT a FROM t WHERE b IN (SELECT b FROM u)", "2");
    check("wp.t wp.u far.t", "SHOW COLUMNS FROM t", "1");
    check("wp.t wp.u far.t", "SHOW TABLES", "3");
    check("wp.t wp.u far.t", "SELECT a FROM information_schema.tables", "3");
    check("wp.t wp.u far.t", "SELECT a FROM u FOR UPDATE", "P");
    check("wp.t wp.u far.t", "/* forebay: eventual */ SELECT a FROM t", "0");
    // Views are what they read.
    check("wp.t wp.u far.t", "SELECT a FROM v", "1");
    check("wp.t wp.u far.t", "SELECT a FROM far", "3");
    check("wp.u wp.v wp.w", "SELECT a FROM v", "2");
}

#[test]
fn keys() {
    let options = "wp.wp_options:siteurl wp.wp_options:cron:autoloaded wp.wp_options:home";
    let check = |writes: &str, text: &str, expected: &str| check(writes, text, expected);
    let name = |name: &str| {
        format!("SELECT option_value FROM wp_options WHERE option_name = '{name}' LIMIT 1")
    };
    check(options, &name("siteurl"), "1");
    check(options, &name("SiteURL "), "1");
    check(options, &name("cron"), "2");
    check(options, &name("home"), "3");
    check(options, &name("other"), "0");
    check(options, &name("othér"), "3");
    check(options, &name(r"it\'s"), "3");
    check(options, "SELECT * FROM wp_options WHERE option_name IN ('siteurl', 'cron')", "2");
    check(options, "SELECT * FROM wp_options WHERE option_name IN ('x', 'siteurl')", "1");
    check(options, "SELECT * FROM wp_options WHERE option_name LIKE 'x'", "3");
    check(options, "SELECT * FROM wp_options WHERE option_name = 0", "3");
    check(options, "SELECT * FROM wp_options WHERE option_name = 'x' OR 1", "3");
    check(options, "SELECT * FROM wp_options WHERE option_id = 5", "3");
    check(
        options,
        "SELECT * FROM wp_options WHERE autoload IN ( 'yes', 'on', 'auto-on', 'auto' )",
        "2",
    );
    check(options, "SELECT * FROM wp_options WHERE autoload = 'yes'", "2");
    check(options, "SELECT * FROM wp_options WHERE autoload IN ('yes', 'no')", "3");
    check(options, "SELECT * FROM wp_options WHERE autoload = 1", "3");
    check(options, "SELECT * FROM far.wp_options WHERE option_name = 'x'", "0");
    check("far.wp_options:x", "SELECT * FROM far.wp_options WHERE option_name = 'y'", "1");
    check("wp.wp_options:x wp.wp_options", &name("y"), "2");
    check("wp.wp_options:x wp", &name("y"), "2");
    check("wp.wp_options:x * wp.wp_options:z", &name("y"), "2");
    let meta = "wp.wp_postmeta:5 wp.wp_postmeta:6 wp.t";
    check(meta, "SELECT * FROM wp_postmeta WHERE post_id IN (4,5)", "1");
    check(meta, "SELECT * FROM wp_postmeta WHERE post_id = 007", "0");
    check(meta, "SELECT * FROM wp_postmeta WHERE post_id = '5'", "2");
    check(meta, "SELECT 1 FROM wp_postmeta m JOIN t ON m.post_id = t.a WHERE m.post_id = 5", "3");
    check(meta, "SELECT 1 FROM wp_postmeta m JOIN u ON m.post_id = u.a WHERE m.post_id = 5", "1");
    check(meta, "SELECT 1 FROM wp_postmeta m JOIN wp_postmeta n WHERE m.post_id = 5", "2");
    check(
        "wp.wp_postmeta:5 wp.wp_options:x wp.wp_options:y",
        "SELECT 1 FROM wp_postmeta m, wp_options o WHERE m.post_id = 6 AND o.option_name = 'x'",
        "2",
    );
}

/// A read needs the writes of one of the values that it asks for, whichever had the fewest.
#[test]
fn several_columns() {
    let writes = "wp.wp_posts:id=5:post_type=post:post_status=publish \
                  wp.wp_posts:id=9:post_type=revision:post_status=inherit \
                  wp.wp_posts:id=5:post_type=post:post_status=draft:post_status=publish";
    let check = |after: &str, conditions: &str, expected: &str| {
        let text = format!("SELECT a FROM wp_posts WHERE {conditions}");
        check(&format!("{writes} {after}"), &text, expected);
    };
    check("", "id = 5", "3");
    check("", "id = 9", "2");
    check("", "id = 7", "0");
    check("", "id IN (7, 9)", "2");
    check("", "ID IN (9, 5)", "3");
    check("", "post_type = 'page'", "0");
    check("", "post_type = 'post'", "3");
    check("", "post_type = 'revision'", "2");
    check("", "post_status = 'trash'", "0");
    check("", "post_type = 'post' AND post_status = 'inherit'", "2");
    check("", "post_status = 'inherit' AND post_type = 'post'", "2");
    check("", "post_type = 'post' AND post_status = 'trash'", "0");
    check("", "id = 5 AND post_type = 'page'", "0");
    check("", "1=1 AND ((post_type = 'post' AND (post_status = 'pending'))) LIMIT 0, 10", "0");
    check("", "(post_type = 'page' OR post_status = 'pending')", "3");
    check("", "post_type = 'post' AND (post_status = 'pending' OR post_status = 'x')", "3");
    check("", "post_type = 'pagé' AND post_status = 'inherit'", "2");
    check("", "post_type = 'pagé' AND id = 5", "3");
    check("", "post_type = 5 AND id = '7'", "3");
    check("", "post_title = 'x'", "3");
    check("", "post_title = 'x' AND id = 7", "0");
    check("", "post_author = 1 AND post_title = 'x'", "3");
    // Written with values that are not known: each column by itself.
    let after = "wp.wp_posts:id=6:post_type=:post_status=trash";
    check(after, "post_type = 'page'", "4");
    check(after, "id = 7", "0");
    check(after, "id = 5", "3");
    check(after, "post_type = 'page' AND id = 7", "0");
    check(after, "post_type = 'page' AND id = 6", "4");
    check(after, "post_type = 'page' AND post_status = 'inherit'", "2");
    check("wp.wp_posts wp.wp_posts:id=6", "post_type = 'page' AND id = 7", "4");
    check("wp * wp.wp_posts:id=6", "post_type = 'page' AND id = 7", "5");
}

/// Each table has a floor of its own, and the read that of them all.
#[test]
fn several_columns_of_several_tables() {
    let writes = "wp.wp_posts:id=5:post_type=post wp.wp_postmeta:post_id=5:meta_key=a \
                  wp.wp_posts:id=6:post_type=page wp.wp_postmeta:post_id=6:meta_key=b";
    let check = |conditions: &str, expected: &str| {
        let from = "wp_posts p INNER JOIN wp_postmeta m ON p.ID = m.post_id";
        check(writes, &format!("SELECT p.ID FROM {from} WHERE {conditions}"), expected);
    };
    check("1 = 1", "4");
    check("p.id = 5", "4");
    check("m.post_id = 5", "3");
    check("p.id = 5 AND m.meta_key = 'a'", "2");
    check("p.id = 7 AND m.meta_key = 'c'", "0");
    check("p.post_type = 'post' AND m.meta_key = 'c' AND m.post_id = 6", "1");
    check("p.post_type = 'post' AND p.id = 7 AND m.meta_key = 'a' AND m.post_id = 6", "2");
    check("( m.meta_key = 'c' ) AND p.post_type IN ('post', 'page')", "3");
    check("p.id = 5 AND meta_key = 'c'", "4");
}

#[test]
fn without_columns_there_are_no_keys() {
    let text = "SELECT option_value FROM wp_options WHERE option_name = 'x'";
    assert_eq!(waits("wp.wp_options:y", text, columns()), "0");
    assert_eq!(waits("wp.wp_options:y", text, KeyColumns::default()), "1");
}
