//! Which writes a read waits for.

use std::time::Instant;

use crate::cluster::Role;
use crate::cluster::catalog::{Changes, Draft, Names};
use crate::freshness::{
    Collation, Freshness, Key, KeyColumn, KeyColumns, KeyKind, Rows, TableRows, Touched, Written,
};
use crate::position::{Flavour, Position};
use crate::session::Session;
use crate::session::plan::{Plan, Policy};
use crate::sql::{Classifier, Mode};

fn columns() -> KeyColumns {
    let column = |column: &str, index, kind, autoload| KeyColumn {
        column: column.to_owned(),
        index,
        kind,
        autoload,
    };
    let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
    let mut columns = KeyColumns::default();
    columns.insert(b"wp", b"wp_options", column("option_name", 1, text, Some(3)));
    columns.insert(b"wp", b"wp_postmeta", column("post_id", 1, KeyKind::Integer, None));
    columns.insert(b"wp", b"wp_woocommerce_sessions", column("session_key", 1, text, None));
    columns
}

fn key(word: &str) -> Key {
    match word {
        "autoloaded" => Key::AUTOLOADED,
        _ => Key::integer_text(word.as_bytes()).unwrap_or_else(|| {
            Key::text(Collation::parse(b"binary").unwrap(), word.as_bytes()).unwrap()
        }),
    }
}

/// `*` everything, `wp` a schema, `wp.t` a table, `wp.t:x:y` its rows x and y.
fn write(word: &str, freshness: &Freshness) {
    let record =
        |touched| freshness.record(Written { touched, position: None, at: Instant::now() });
    let (names, keys) = word.split_once(':').map_or((word, None), |(n, k)| (n, Some(k)));
    let keys: Option<Vec<Key>> = keys.map(|keys| keys.split(':').map(key).collect());
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

/// Views `v` of wp.t and `far` of far.t; then the number of the last of these writes that a read
/// waits for. A primary's read is `P`.
fn waits(writes: &str, text: &str, columns: KeyColumns) -> String {
    let mut session = Session::new(1, Mode::default());
    session.begin_with(|values| values.database = Some((*b"wp").into()));
    let freshness = Freshness::new(Instant::now());
    let start = Position::parse(Flavour::MariaDb, b"0-1-1").unwrap();
    freshness.start(Some(start), None, Instant::now());
    freshness.set_key_columns(columns);
    let base = freshness.last();
    writes.split_whitespace().for_each(|word| write(word, &freshness));
    let mut draft = Draft::new(Mode::default());
    draft.add_view("wp", "v", "select `wp`.`t`.`a` AS `a` from `wp`.`t`");
    draft.add_view("wp", "far", "select `far`.`t`.`a` AS `a` from `far`.`t`");
    let seen = draft.questions().into_iter().cloned().collect();
    let catalog = draft.resolve(&seen, 0).unwrap();
    let changes = Changes::default();
    let names = Names { look: changes.look(), catalog: &catalog };
    let statement = Classifier::read_once(text.as_bytes(), Mode::default());
    let statement = session.see(statement.into(), &names);
    let plan = session.plan_text(&statement, text.as_bytes(), Policy::SPLIT, &freshness);
    let Plan::Forward(forward) = plan else { panic!("{text} is not forwarded") };
    match forward.want.role {
        Role::Primary => "P".to_owned(),
        Role::Reader => forward.want.floor.0.saturating_sub(base.0).to_string(),
    }
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

#[test]
fn without_columns_there_are_no_keys() {
    let text = "SELECT option_value FROM wp_options WHERE option_name = 'x'";
    assert_eq!(waits("wp.wp_options:y", text, columns()), "0");
    assert_eq!(waits("wp.wp_options:y", text, KeyColumns::default()), "1");
}
