//! Facts of any member of a shape are the shape's facts; any bytes keep the probe's properties.

use proptest::prelude::*;

use crate::sql::{Classifier, LocalCache, Mode, probe};

/// Templates with a hole per literal: `{s}` a string, `{n}` a whole number, `{l}` an IN list.
const TEMPLATES: [&str; 10] = [
    "SELECT option_value FROM wp_options WHERE option_name = {s} LIMIT 1",
    "SELECT * FROM t WHERE a IN ({l}) AND b = {s} AND c > {n} LIMIT {p}, {p}",
    "SELECT * FROM t m JOIN u ON m.a = u.a AND u.d IN ({l}) WHERE m.a IN ({l}) AND u.b = {s} AND m.c = {n}",
    "SELECT {s} FROM t WHERE d IN ({l}) AND (a = {s} OR c IN ({l})) AND b = {s} AND e IN ({n}, {n})",
    "SELECT GET_LOCK({s}, {n})",
    "SELECT a FROM t WHERE b LIKE {s} FOR UPDATE",
    "INSERT INTO t (a, b) VALUES ({n}, {s}) ON DUPLICATE KEY UPDATE b = {s}",
    "UPDATE t SET a = {s} WHERE b = {n} AND c IN ({l})",
    "SELECT {s} AS a, {n} + {n} FROM db.t JOIN u ON t.a = u.b WHERE f({s}) = {n}",
    "(SELECT a FROM t WHERE b = {s}) UNION SELECT c FROM u WHERE d IN ({l})",
];

fn string() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"''".to_vec()),
        Just(b"\\'".to_vec()),
        Just(b"\\\\".to_vec()),
        Just(b" FOR UPDATE ".to_vec()),
        Just(b"/*! x */".to_vec()),
        Just(b"-- ".to_vec()),
        Just(b"; DELETE ".to_vec()),
        Just(b"`\"".to_vec()),
        Just(vec![0]),
        Just("\u{e4}".into()),
        Just(vec![0xe9]),
        "[a-z0-9 _%@(),]{0,8}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| {
        let mut text = vec![b'\''];
        text.extend(pieces.concat());
        text.push(b'\'');
        text
    })
}

fn hole(kind: u8) -> BoxedStrategy<Vec<u8>> {
    match kind {
        b's' => string().boxed(),
        b'n' => any::<u32>().prop_map(|n| n.to_string().into_bytes()).boxed(),
        b'p' => (1..1000_u32).prop_map(|n| n.to_string().into_bytes()).boxed(),
        _ => prop::collection::vec(string(), 1..9).prop_map(|list| list.join(&b", "[..])).boxed(),
    }
}

fn fill(template: &'static str) -> BoxedStrategy<Vec<u8>> {
    let mut parts: Vec<BoxedStrategy<Vec<u8>>> = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        parts.push(Just(before.as_bytes().to_vec()).boxed());
        parts.push(hole(after.as_bytes()[0]));
        rest = &after[2..];
    }
    parts.push(Just(rest.as_bytes().to_vec()).boxed());
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn two_members() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (0..TEMPLATES.len()).prop_flat_map(|at| (fill(TEMPLATES[at]), fill(TEMPLATES[at])))
}

/// Bytes that are near to SQL.
fn nearly_sql() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "SELECT ",
        "FROM ",
        "t",
        "WHERE ",
        "a",
        "=",
        "IN ('a', 'b') ",
        "AND ",
        "b = 'x' ",
        "t.b = 5 ",
        "SELECT a FROM t WHERE ",
        "'",
        "\"",
        "`",
        "\\",
        "/*",
        "*/",
        "/*!",
        "/*M!",
        "/*+",
        "--",
        "-- ",
        "#",
        "\n",
        ";",
        "(",
        ")",
        ",",
        "IN (",
        "1",
        "0",
        "1.5",
        "0x",
        "x'",
        "@",
        "@@",
        ":=",
        "INTO ",
        "FOR UPDATE",
        "SET ",
        "SHOW ",
        "LIMIT ",
        "NOW",
        " ",
        "\t",
        "\0",
        "\u{a0}",
        ".",
        "N'",
        "_utf8",
        "INSERT ",
        "EXPLAIN ",
        "WITH ",
        "AS ",
        "UNION ",
        "'a'",
        "'b'",
        "e1",
        "TABLE ",
    ];
    let piece = prop_oneof![
        9 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    (any::<u8>(), prop::collection::vec(piece, 0..30)).prop_map(|(mode, pieces)| {
        let mut text = vec![mode];
        text.extend(pieces.concat());
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn members_share_their_facts((one, other) in two_members()) {
        let mode = Mode::default();
        let cached = Classifier::new(3);
        let mut local = LocalCache::new();
        cached.classify(&mut local, &one, mode);
        let hit = cached.classify_if(&mut local, &other, mode, || panic!("another shape"));
        let fresh = Classifier::new(3).classify(&mut LocalCache::new(), &other, mode);
        prop_assert_eq!(&hit, &fresh);
        probe::slots_are_of_the_text(&other, mode, &hit);
    }

    #[test]
    fn any_bytes_keep_the_properties(bytes in nearly_sql()) {
        probe::classify(&bytes);
    }

    #[test]
    fn random_bytes_keep_the_properties(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        probe::classify(&bytes);
    }
}
