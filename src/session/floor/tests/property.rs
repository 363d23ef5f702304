//! Rows that change at random, and reads of them: whoever has the writes that a read waits for
//! finds what the primary finds.

use proptest::prelude::*;

use super::{floor, unwritten};
use crate::freshness::key_set::KeySet;
use crate::freshness::{
    Collation, KeyColumn, KeyColumns, KeyKind, KeyedTable, Rows, TableRows, Touched, Written,
};
use crate::wire::binlog::Value;

/// Of wp_posts: its number, its type, its status, and what is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    id: Option<i64>,
    kind: Option<&'static str>,
    status: Option<&'static str>,
    author: i64,
}

/// Equal in the column's collation are those of one line.
const TEXTS: [&[&str]; 4] = [&["post", "Post", "post  "], &["page", "PAGE"], &["pagé"], &[""]];
const STATUSES: [&str; 3] = ["publish", "draft", "inherit"];

fn columns() -> Vec<KeyColumn> {
    let text = KeyKind::Text(Collation::parse(b"utf8mb4_unicode_520_ci").unwrap());
    let column = |name: &str, index, kind| KeyColumn { name: name.into(), index, kind };
    vec![
        column("id", 0, KeyKind::Integer),
        column("post_type", 2, text),
        column("post_status", 1, text),
    ]
}

impl Row {
    fn of([id, kind, status, author]: [u8; 4]) -> Row {
        let texts: Vec<&'static str> = TEXTS.concat();
        let pick = |texts: &[&'static str], at: u8| texts.get(usize::from(at) % 9).copied();
        Row {
            id: (id % 8 != 7).then_some(i64::from(id % 6)),
            kind: pick(&texts, kind),
            status: pick(&[&STATUSES[..], &STATUSES, &STATUSES[..2]].concat(), status),
            author: (author % 2).into(),
        }
    }

    /// What of it is in an image: a bit each.
    fn add_keys(&self, present: u8, keys: &mut KeySet) {
        let text = |text: Option<&'static str>| {
            text.map_or(Value::Null, |text| Value::Bytes(text.as_bytes()))
        };
        let values =
            [self.id.map_or(Value::Null, Value::Integer), text(self.kind), text(self.status)];
        for (at, (column, value)) in columns().iter().zip(values).enumerate() {
            let is_present = present >> at & 1 == 0;
            keys.insert(column.key_of(if is_present { value } else { Value::Absent }));
        }
    }
}

/// A condition, and what the servers take it for.
#[derive(Clone, Debug)]
enum Condition {
    Id(Vec<i64>),
    Kind(Vec<&'static str>),
    Status(Vec<&'static str>),
    Author(i64),
    Above(i64),
    Between(i64, i64),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

use Condition::{Above, All, Any, Author, Between, Id, Kind, Not, Status};

impl Condition {
    /// `None`: NULL.
    fn holds(&self, row: &Row) -> Option<bool> {
        let number = |one: &Condition| one.holds(row);
        match self {
            Id(list) => row.id.map(|id| list.contains(&id)),
            Kind(list) => row.kind.map(|kind| list.iter().any(|one| is_equal(kind, one))),
            Status(list) => row.status.map(|it| list.iter().any(|one| is_equal(it, one))),
            Author(author) => Some(row.author == *author),
            Above(least) => row.id.map(|id| id > *least),
            Between(low, high) => row.id.map(|id| (*low..=*high).contains(&id)),
            All(list) if list.iter().any(|one| number(one) == Some(false)) => Some(false),
            All(list) => list.iter().map(number).try_fold(true, |all, one| Some(all && one?)),
            Any(list) if list.iter().any(|one| number(one) == Some(true)) => Some(true),
            Any(list) => list.iter().map(number).try_fold(false, |any, one| Some(any || one?)),
            Not(one) => one.holds(row).map(|holds| !holds),
        }
    }

    fn text(&self, is_inner: bool) -> String {
        let list = |column: &str, list: Vec<String>| match list.as_slice() {
            [one] => format!("{column} = {one}"),
            list => format!("wp_posts.{column} IN ({})", list.join(", ")),
        };
        let quoted = |texts: &[&str]| texts.iter().map(|text| format!("'{text}'")).collect();
        let joined = |list: &[Condition], word: &str| {
            let list: Vec<String> = list.iter().map(|one| one.text(true)).collect();
            match is_inner {
                true => format!("( {} )", list.join(word)),
                false => list.join(word),
            }
        };
        match self {
            Id(ids) => list("ID", ids.iter().map(i64::to_string).collect()),
            Kind(texts) => list("post_type", quoted(texts)),
            Status(texts) => list("post_status", quoted(texts)),
            Author(author) => format!("post_author = {author}"),
            Above(least) => format!("id > {least}"),
            Between(low, high) => format!("(id BETWEEN {low} AND {high})"),
            All(list) => joined(list, " AND "),
            Any(list) => joined(list, " OR "),
            Not(one) => format!("NOT ({})", one.text(false)),
        }
    }
}

/// As the collation has it.
fn is_equal(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.trim_end().replace('é', "e").to_ascii_lowercase();
    plain(a) == plain(b)
}

fn conditions() -> impl Strategy<Value = Condition> {
    let texts = prop::sample::select(TEXTS.concat());
    let statuses = prop::sample::select(STATUSES.as_slice());
    let leaf = prop_oneof![
        3 => prop::collection::vec(0_i64..7, 1..3).prop_map(Id),
        3 => prop::collection::vec(texts, 1..3).prop_map(Kind),
        3 => prop::collection::vec(statuses, 1..3).prop_map(Status),
        1 => (0_i64..2).prop_map(Author),
        1 => (0_i64..6).prop_map(Above),
        1 => (0_i64..6, 0_i64..6).prop_map(|(low, high)| Between(low, high)),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            3 => some.clone().prop_map(All),
            1 => some.prop_map(Any),
            1 => inner.prop_map(|one| Not(Box::new(one))),
        ]
    })
}

/// A change of the table: which row, whether it is a new one, changed or gone, what is in it then,
/// and what is not in its images.
type Change = (u8, u8, [u8; 4], [u8; 2]);

/// The keys of what it changes.
fn play(rows: &mut Vec<Row>, (which, how, to, [before, after]): Change) -> KeySet {
    let mut keys = KeySet::default();
    let (to, at) = (Row::of(to), usize::from(which) % rows.len().max(1));
    // Most servers write whole rows.
    let image = |bits: u8| if bits < 192 { 0 } else { bits };
    match rows.get_mut(at) {
        Some(row) if how % 3 == 0 => {
            row.add_keys(image(before), &mut keys);
            to.add_keys(image(after), &mut keys);
            *row = to;
        }
        Some(row) if how % 3 == 1 => {
            row.add_keys(image(before), &mut keys);
            rows.remove(at);
        }
        _ => {
            to.add_keys(image(after), &mut keys);
            rows.push(to);
        }
    }
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nobody_who_qualifies_finds_other_rows(
        first in prop::collection::vec(any::<[u8; 4]>(), 0..8),
        changes in prop::collection::vec(any::<Change>(), 1..12),
        asked in prop::collection::vec(conditions(), 1..6),
    ) {
        let mut columns_known = KeyColumns::default();
        let keyed = KeyedTable { columns: columns(), autoload: None };
        columns_known.insert(b"wp", b"wp_posts", keyed);
        let freshness = unwritten(columns_known);
        let mut rows: Vec<Row> = first.into_iter().map(Row::of).collect();
        // What a server has that has come so far.
        let mut history = vec![(freshness.last(), rows.clone())];
        for change in changes {
            let keys = play(&mut rows, change).to_vec();
            let rows_touched = Rows::Keys(&keys);
            let touched = TableRows { schema: b"wp", table: b"wp_posts", rows: rows_touched };
            let ordinal = freshness.record(Written {
                touched: Touched::Tables(&[touched]),
                position: None,
                at: std::time::Instant::now(),
            });
            history.push((ordinal, rows.clone()));
        }
        for condition in asked {
            let text = format!("SELECT * FROM wp_posts WHERE {}", condition.text(false));
            let floor = floor(&freshness, &text).unwrap();
            let find = |rows: &[Row]| -> Vec<Row> {
                rows.iter().filter(|row| condition.holds(row) == Some(true)).copied().collect()
            };
            for (_, then) in history.iter().filter(|(ordinal, _)| *ordinal >= floor) {
                prop_assert_eq!(find(then), find(&rows), "{}", &text);
            }
        }
    }
}
