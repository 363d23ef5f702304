//! Transactions of logs that real servers wrote, as what they touch.

use super::*;
use crate::freshness::closure::Cascades;
use crate::freshness::{Collation, KeyColumn, KeyKind, KeyedTable};
use crate::wire::binlog::{Decoder, Header};

/// `wp_options` by name, as it was when the logs were recorded.
fn layout() -> Layout {
    let mut layout = Layout { closure: Closure::Told, ..Layout::default() };
    let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
    layout.add("wp_options", "option_name", 1, text, 4);
    layout.add("wide", "id", 0, KeyKind::Integer, 22);
    layout
}

impl Layout {
    fn add(&mut self, table: &str, column: &str, index: u16, kind: KeyKind, width: usize) {
        let autoload = (column == "option_name").then_some(3);
        let columns = vec![KeyColumn { name: column.into(), index, kind }];
        self.columns.insert(b"rec", table.as_bytes(), KeyedTable { columns, autoload });
        self.widths.insert((b"rec".as_slice().into(), table.as_bytes().into()), width);
    }
}

/// The events of a log.
fn log(name: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/binlog");
    let file = std::fs::read(format!("{folder}/{name}")).unwrap();
    let (mut rest, mut events) = (&file[4..], Vec::new());
    while let Some(header) = Header::parse(rest) {
        let (event, after) = rest.split_at(header.bytes as usize);
        events.push(event.to_vec());
        rest = after;
    }
    events
}

/// A line for each transaction. `keep`: which events are read at all.
fn tell(name: &str, layout: &Layout, mut keep: impl FnMut(&Body<'_>) -> bool) -> Vec<String> {
    let (mut decoder, mut transaction, mut told) = (Decoder::new(), Transaction::new(), Vec::new());
    for bytes in log(name) {
        let event = decoder.decode(&bytes).unwrap();
        if !keep(&event.body) {
            continue;
        }
        if let Some(whole) = transaction.take(&event, layout) {
            assert!(whole.gtid.is_some());
            let mark = if whole.changes_tables { "!" } else { "" };
            told.push(format!("{}{mark}", whole.touched(layout, |touched| words(&touched))));
        }
    }
    told
}

fn words(touched: &Touched<'_>) -> String {
    let Touched::Tables(tables) = touched else { return "*".into() };
    let table = |rows: &TableRows<'_>| {
        let table = String::from_utf8_lossy(rows.table).into_owned();
        let Rows::Keys(keys) = rows.rows else { return table };
        let key = |key: &Key| match key {
            Key::Autoloaded => ":auto".to_owned(),
            Key::Any { column } => format!(":any{column}"),
            Key::Integer { value, .. } => format!(":{value}"),
            Key::Text { value, .. } => format!(":{}", String::from_utf8_lossy(value)),
        };
        table + &keys.iter().map(key).collect::<String>()
    };
    tables.iter().map(table).collect::<Vec<_>>().join(" ")
}

const COMMON: [&str; 7] = [
    "wp_options:auto:cron:siteurl",
    "wp_options:auto:cron",
    "wp_options:auto:siteurl",
    "wide:1",
    "wide:2:3",
    "wide:1:3",
    "mem",
];

#[track_caller]
fn check(name: &str, after: &[&str]) {
    let expected = [&COMMON, after].concat();
    assert_eq!(tell(name, &layout(), |_| true), expected, "{name}");
}

#[test]
fn keys_are_taken_from_images() {
    // XA: its rows, and then its commit, which may be anything. MINIMAL images lack the name (A9),
    // a statement names nothing (A10), TRUNCATE and other DDL change tables.
    let minimal = "wp_options:auto:any1";
    let xa = ["wide:1", "*!", minimal, minimal, "*!", "wp_options:auto:long"];
    check(
        "mysql97",
        &[&xa[..], &["*!", "js", "js", "wp_options:auto:zst", "wp_options:auto:tagged", "*!"]]
            .concat(),
    );
    check(
        "mariadb1011",
        &[&xa[..], &["wp_options:auto:zlib"; 3], &["*!", "*!", "packed", "*!"]].concat(),
    );
    check("mysql56", &[&["wide:1"], &xa[2..], &["*!"]].concat());
}

#[test]
fn each_column_has_its_own() {
    let mut layout = Layout { closure: Closure::Told, ..Layout::default() };
    let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
    let column = |name: &str, index, kind| KeyColumn { name: name.into(), index, kind };
    let columns = vec![column("option_name", 1, text), column("option_id", 0, KeyKind::Integer)];
    let options = KeyedTable { columns, autoload: None };
    layout.columns.insert(b"rec", b"wp_options", options);
    layout.widths.insert((b"rec".as_slice().into(), b"wp_options".as_slice().into()), 4);
    let told = tell("mysql97", &layout, |_| true);
    assert_eq!(
        told[..3],
        ["wp_options:1:2:cron:siteurl", "wp_options:2:cron", "wp_options:1:siteurl"]
    );
    // A9: what MINIMAL images lack may be anything, what they have is known.
    assert_eq!(told[9..11], ["wp_options:any0:any1", "wp_options:2:any1"]);
}

#[test]
fn what_is_not_known_is_the_whole_table() {
    #[track_caller]
    fn check(layout: &Layout, expected: &str) {
        let told = tell("mysql97", layout, |_| true);
        assert_eq!((&*told[0], &*told[1]), (expected, expected));
    }
    let plain = Layout { closure: Closure::Told, ..Layout::default() };
    check(&plain, "wp_options");
    let mut other = layout();
    // Not as wide as it was when its columns were looked at.
    other.widths.values_mut().for_each(|width| *width += 1);
    check(&other, "wp_options");
    // A number where a text is expected, a column that is not there.
    for (index, kind) in [(1, KeyKind::Integer), (9, KeyKind::Integer)] {
        let mut other = plain.clone();
        other.add("wp_options", "option_nam", index, kind, 4);
        check(&other, &format!("wp_options:any{index}"));
    }
    // Whether a row is loaded with each page is not to be seen.
    let mut other = plain.clone();
    other.add("wp_options", "option_id", 0, KeyKind::Integer, 4);
    let column = KeyedTable {
        autoload: Some(9),
        ..other.columns.find(b"rec", b"wp_options").unwrap().clone()
    };
    other.columns = KeyColumns::default();
    other.columns.insert(b"rec", b"wp_options", column);
    let told = tell("mysql97", &other, |_| true);
    assert_eq!(told[..2], ["wp_options:auto:1:2", "wp_options:auto:2"]);
    let mut other = plain.clone();
    other.add("wp_options", "option_id", 0, KeyKind::Integer, 4);
    let told = tell("mysql97", &other, |_| true);
    assert_eq!(told[..3], ["wp_options:1:2", "wp_options:2", "wp_options:1"]);
    check(&Layout::default(), "*");
}

#[test]
fn writes_reach_their_children() {
    let keys = |text: &'static str| {
        let keys = text.split_whitespace().map(|key| key.split_once('<').unwrap());
        let keys = keys.map(|(child, parent)| (child.as_bytes(), parent.as_bytes(), 1));
        Layout { closure: Closure::Known(Cascades::read(keys)), ..layout() }
    };
    let first = |text| tell("mysql97", &keys(text), |_| true).swap_remove(0);
    assert_eq!(first("rec/other<rec/parent"), "wp_options:auto:cron:siteurl");
    assert_eq!(first("rec/child<rec/wp_options"), "child wp_options:auto:cron:siteurl");
    // Its own child: any of its rows.
    assert_eq!(first("rec/wp_options<rec/wp_options"), "wp_options");
    assert_eq!(first("rec/ch@002d<rec/wp_options"), "*");
}

/// A2, A9, A10: nothing looks like nothing.
#[test]
fn what_is_missing_touches_more() {
    let is_rows = |body: &Body<'_>| matches!(body, Body::Rows(_));
    // Tables that are named and have no rows: MariaDB names cascaded children so.
    let told = tell("mariadb1011", &layout(), |body| !is_rows(body));
    assert_eq!(
        told[..7],
        ["wp_options", "wp_options", "wp_options", "wide", "wide", "wide", "mem"]
    );
    let told = tell("mariadb1011", &layout(), |body| !matches!(body, Body::Table(_)));
    assert_eq!(told[..7], ["*"; 7]);
    // No end that is known: the next beginning is one.
    let is_end = |body: &Body<'_>| matches!(body, Body::Xid | Body::Query(Query::End));
    let told = tell("mysql97", &layout(), |body| !is_end(body));
    assert_eq!(told[..7], ["*!"; 7]);
    // Cut in the middle: the server begins anew with a format, and sends the whole once more.
    let (mut decoder, mut transaction) = (Decoder::new(), Transaction::new());
    let events = log("mysql97");
    let format = events.iter().position(|event| event[4] == 15).unwrap();
    let xid = events.iter().position(|event| event[4] == 16).unwrap();
    for event in events[..xid].iter().chain([&events[format]]) {
        let event = decoder.decode(event).unwrap();
        assert!(transaction.take(&event, &layout()).is_none());
    }
    assert!(transaction.open.is_none() && transaction.maps.is_empty());
}

#[test]
fn a_table_that_a_later_statement_reaches_is_whole() {
    // Statement by statement: the second names `wide` and has no rows of it.
    let (mut decoder, mut transaction) = (Decoder::new(), Transaction::new());
    let events = log("mysql97");
    let mut whole = None;
    let mut skip = false;
    let mut transactions = 0;
    for bytes in &events {
        let event = decoder.decode(bytes).unwrap();
        transactions += usize::from(matches!(event.body, Body::Gtid(_)));
        // The sixth: UPDATE wide; SAVEPOINT; DELETE FROM wide.
        let is_rows = transactions == 6 && matches!(event.body, Body::Rows(_));
        if is_rows && skip {
            continue;
        }
        skip |= is_rows;
        let ended = transaction.take(&event, &layout());
        if transactions == 6 && ended.is_some() {
            whole = ended;
        }
    }
    assert_eq!(whole.unwrap().touched(&layout(), |touched| words(&touched)), "wide");
}

#[test]
fn too_much_is_everything() {
    let name = |n: usize| (b"s".as_slice().into(), format!("t{n}").into_bytes().into());
    let mut whole = Whole::default();
    let keys = |of: std::ops::Range<i128>| {
        let mut keys = KeySet::default();
        of.for_each(|value| keys.insert(Key::integer(1, value)));
        Extent::Keys(keys)
    };
    let kept = |whole: &Whole| match &whole.tables[&name(1)] {
        Extent::Keys(keys) => keys.to_vec(),
        Extent::All => Vec::new(),
    };
    let most = limits::FLOOR_VALUES_PER_WRITE_MAX as i128;
    whole.touch(name(1), keys(0..most));
    assert_eq!(kept(&whole).len(), limits::FLOOR_VALUES_PER_WRITE_MAX);
    whole.touch(name(1), keys(-1..0));
    assert_eq!(kept(&whole), [Key::Any { column: 1 }]);
    whole.touch(name(1), keys(0..1));
    assert_eq!(kept(&whole), [Key::Any { column: 1 }]);
    whole.touch(name(1), Extent::All);
    whole.touch(name(1), keys(0..1));
    assert_eq!(whole.tables[&name(1)], Extent::All);
}
