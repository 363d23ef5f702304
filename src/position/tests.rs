//! Notations as the servers print them, and the algebra against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Flavour, GtidList, GtidSet, Position};

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

/// `X` and `Y` stand for two UUIDs; "bad" is what must not parse.
fn check(flavour: Flavour, text: &str, expected: &str) {
    let text = text.replace('X', A).replace('Y', B);
    let expected = expected.replace('X', A).replace('Y', B);
    let printed = match Position::parse(flavour, text.as_bytes()) {
        Ok(position) => position.to_string(),
        Err(_) => "bad".to_owned(),
    };
    assert_eq!(printed, expected, "{text:?}");
}

#[test]
fn mysql_notation() {
    let check = |text, expected| check(Flavour::MySql, text, expected);
    check("", "");
    check(" \n", "");
    check("X:1", "X:1");
    check("X:1-5", "X:1-5");
    check("X:1-5:7:9-10", "X:1-5:7:9-10");
    check("X:9-10:1-5:6", "X:1-6:9-10");
    check("X:3:1:2:2", "X:1-3");
    check("X:1-5,\nY:7", "X:1-5,Y:7");
    check("Y:7,X:1-5,Y:8,", "X:1-5,Y:7-8");
    check(",,X:1,,", "X:1");
    check(" X : 1 - 5 : 7 ", "X:1-5:7");
    check("3E11FA47-71CA-11E1-9E33-C80AA9429562:1", "X:1");
    check("3e11fa4771ca11e19e33c80aa9429562:1", "X:1");
    check("{3e11fa47-71ca-11e1-9e33-c80aa9429562}:1", "X:1");
    check("X:tag:1-5", "X:tag:1-5");
    check("X:1-3:tag:1-5:7:other:2", "X:1-3:other:2:tag:1-5:7");
    check("X:TAG:1,X:tag:2", "X:tag:1-2");
    check("X:_t9:4", "X:_t9:4");
    check("X:tag:1,Y:1", "X:tag:1,Y:1");
    check("X:5-3", "");
    check("X:1-9223372036854775806", "X:1-9223372036854775806");
    check("X:9223372036854775806:1", "X:1:9223372036854775806");
    check("X", "bad");
    check("X:", "bad");
    check("X:tag", "bad");
    check("X:1:tag", "bad");
    check("X:0", "bad");
    check("X:0-4", "bad");
    check("X:-4", "bad");
    check("X:1-", "bad");
    check("X:1-2-3", "bad");
    check("X:1x", "bad");
    check("X:9223372036854775807", "bad");
    check("X:99999999999999999999999", "bad");
    check("X:a23456789012345678901234567890123:1", "bad");
    check("X:t-g:1", "bad");
    check("3e11fa47x71ca-11e1-9e33-c80aa9429562:1", "bad");
    check("3e11fa47-71ca-11e1-9e33-c80aa942956:1", "bad");
    check("0-1-100", "bad");
    check("OFF", "bad");
}

#[test]
fn mariadb_notation() {
    let check = |text, expected| check(Flavour::MariaDb, text, expected);
    check("", "");
    check("0-1-100", "0-1-100");
    check("0-1-100,1-2-5", "0-1-100,1-2-5");
    check("1-2-5,\n0-1-100 ", "0-1-100,1-2-5");
    check("0-1-100,0-2-99", "0-1-100");
    check("0-1-100,0-2-101", "0-2-101");
    check("0-25301-18446744073709551615", "0-25301-18446744073709551615");
    check("0-1", "bad");
    check("0-1-2-3", "bad");
    check("0--1-2", "bad");
    check("4294967296-1-2", "bad");
    check("0-4294967296-2", "bad");
    check("0-1-18446744073709551616", "bad");
    check("X:1", "bad");
}

#[test]
fn file_notation() {
    let check = |text, expected| check(Flavour::File, text, expected);
    check("binlog.000123:4567", "binlog.000123:4567");
    check(" mysql-bin.000001:4 ", "mysql-bin.000001:4");
    check("db.example.org-bin.1000000:0", "db.example.org-bin.1000000:0");
    check("binlog.000000001:4", "binlog.000000001:4");
    check("a:b.000001:4", "a:b.000001:4");
    check("", "bad");
    check("binlog.000123", "bad");
    check("binlog.000123:", "bad");
    check("binlog.000123:x", "bad");
    check("binlog:4", "bad");
    check(".000123:4", "bad");
    check("binlog.:4", "bad");
    check("binlog.00x:4", "bad");
    check("binlog. 12:4", "bad");
    check("binlog.000123:18446744073709551616", "bad");
    check("binlog.99999999999999999999:4", "bad");
}

#[test]
fn places_of_one_log_are_in_order() {
    let place = |text: &str| Position::parse(Flavour::File, text.as_bytes()).unwrap();
    let check = |ours, theirs, contains: bool, union: &str| {
        let mut joined = place(ours);
        assert_eq!(joined.contains(&place(theirs)), contains, "{ours} contains {theirs}");
        let joins = joined.union(&place(theirs));
        assert_eq!(
            if joins { joined.to_string() } else { "none".into() },
            union,
            "{ours} {theirs}"
        );
    };
    check("b.000001:4", "b.000001:4", true, "b.000001:4");
    check("b.000001:4", "b.000001:5", false, "b.000001:5");
    check("b.000002:4", "b.000001:999", true, "b.000002:4");
    check("b.000001:999", "b.000002:4", false, "b.000002:4");
    // Text would say otherwise.
    check("b.1000000:4", "b.999999:8", true, "b.1000000:4");
    check("b.999999:8", "b.1000000:4", false, "b.1000000:4");
    check("b.000001:9", "c.000001:4", false, "none");
}

#[test]
fn contains() {
    let check = |flavour, ours: &str, theirs: &str, expected: bool| {
        let parse = |text: &str| {
            Position::parse(flavour, text.replace('X', A).replace('Y', B).as_bytes()).unwrap()
        };
        assert_eq!(parse(ours).contains(&parse(theirs)), expected, "{ours} contains {theirs}");
    };
    let mysql = |ours, theirs, expected| check(Flavour::MySql, ours, theirs, expected);
    mysql("X:1-10", "X:3", true);
    mysql("X:1-10", "", true);
    mysql("", "X:1", false);
    mysql("X:1-10", "X:3-11", false);
    mysql("X:1-10:12", "X:11", false);
    // A replica that commits out of order: it has the later one and lacks the earlier.
    mysql("X:1-62071:62073", "X:62073", true);
    mysql("X:1-62071:62073", "X:62072-62073", false);
    mysql("X:1-10", "Y:1", false);
    mysql("X:1-10", "X:tag:1", false);
    mysql("X:tag:1-10", "X:1", false);
    mysql("X:1-10,Y:4", "X:10,Y:4", true);
    let mariadb = |ours, theirs, expected| check(Flavour::MariaDb, ours, theirs, expected);
    mariadb("0-1-100", "0-1-100", true);
    mariadb("0-1-100", "0-2-99", true);
    mariadb("0-1-100", "0-1-101", false);
    mariadb("0-1-100", "1-1-1", false);
    mariadb("0-1-100,1-1-1", "1-1-1", true);
}

#[test]
fn the_two_kinds_do_not_mix() {
    let mysql = Position::parse(Flavour::MySql, format!("{A}:1").as_bytes()).unwrap();
    let mariadb = Position::parse(Flavour::MariaDb, b"0-1-1").unwrap();
    assert!(!mysql.contains(&mariadb) && !mariadb.contains(&mysql));
    assert!(!mysql.clone().union(&mariadb));
    let mut empty = Position::MySql(GtidSet::default());
    assert!(empty.union(&mariadb));
    assert_eq!(empty, mariadb);
}

#[test]
fn gaps_close_with_what_the_holder_has() {
    let check = |ours: &str, holder: &str, expected: &str| {
        let parse = |text: &str| GtidSet::parse(text.replace('X', A).as_bytes()).unwrap();
        let mut set = parse(ours);
        let done = set.close_gaps(&parse(holder));
        let printed = if done { set.to_string().replace(A, "X") } else { "no".to_owned() };
        assert_eq!(printed, expected, "{ours} in {holder}");
    };
    check("X:1-5:7:9", "X:1-20", "X:1-9");
    check("X:1-5:7:9", "X:1-7:9-20", "X:1-7:9");
    check("X:1-5:7:9", &format!("X:1-20,{B}:1-3"), "X:1-9");
    check("X:1-5:7:9", "X:1-8", "no");
}

#[test]
fn a_long_set_out_of_order_is_read_at_once() {
    let mut text = A.to_owned();
    for number in (1..60_000u32).rev() {
        text.push_str(&format!(":{}", number * 2));
    }
    assert_eq!(GtidSet::parse(text.as_bytes()).unwrap().intervals(), 59_999);
    let longer = vec![b' '; crate::limits::POSITION_BYTES_MAX + 1];
    assert!(GtidSet::parse(&longer).is_err() && GtidList::parse(&longer).is_err());
}

type Model = BTreeSet<(u8, u8, u64)>;

/// Numbers of two servers, without and with a tag.
fn model() -> impl Strategy<Value = Model> {
    prop::collection::btree_set((0u8..2, 0u8..2, 1u64..24), 0..40)
}

fn set_of(model: &Model) -> GtidSet {
    let mut text = String::new();
    for (server, tag, number) in model {
        let uuid = if *server == 0 { A } else { B };
        let tag = if *tag == 0 { "" } else { ":tag" };
        text.push_str(&format!("{uuid}{tag}:{number},"));
    }
    GtidSet::parse(text.as_bytes()).unwrap()
}

fn list_of(model: &BTreeMap<u32, u64>) -> GtidList {
    let text: Vec<String> = model.iter().map(|(d, s)| format!("{d}-7-{s}")).collect();
    GtidList::parse(text.join(",").as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn sets_behave_like_sets(ours in model(), theirs in model()) {
        let (a, b) = (set_of(&ours), set_of(&theirs));
        prop_assert_eq!(a.contains(&b), theirs.is_subset(&ours));
        prop_assert_eq!(a == b, ours == theirs);
        prop_assert_eq!(a.is_empty(), ours.is_empty());
        let mut both = a.clone();
        both.union(&b);
        prop_assert_eq!(&both, &set_of(&ours.union(&theirs).copied().collect()));
        prop_assert!(both.contains(&a) && both.contains(&b));
        // One at a time takes the other way through `union`.
        let mut single = a.clone();
        for gtid in &theirs {
            single.union(&set_of(&BTreeSet::from([*gtid])));
        }
        prop_assert_eq!(&single, &both);
        prop_assert_eq!(&GtidSet::parse(both.to_string().as_bytes()).unwrap(), &both);
        let mut closed = a.clone();
        prop_assert!(closed.close_gaps(&both));
        prop_assert!(closed.contains(&a) && both.contains(&closed));
    }

    #[test]
    fn lists_behave_like_high_water_marks(
        ours in prop::collection::btree_map(0u32..4, 1u64..9, 0..4),
        theirs in prop::collection::btree_map(0u32..4, 1u64..9, 0..4),
    ) {
        let (a, b) = (list_of(&ours), list_of(&theirs));
        let within = theirs.iter().all(|(d, s)| ours.get(d).is_some_and(|o| o >= s));
        prop_assert_eq!(a.contains(&b), within);
        let mut both = a.clone();
        both.union(&b);
        prop_assert!(both.contains(&a) && both.contains(&b));
        let mut model = ours.clone();
        for (domain, sequence) in theirs {
            let known = model.entry(domain).or_insert(0);
            *known = sequence.max(*known);
        }
        prop_assert_eq!(&both, &list_of(&model));
        prop_assert_eq!(&GtidList::parse(both.to_string().as_bytes()).unwrap(), &both);
    }

    #[test]
    fn any_bytes_parse_or_not(text in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = GtidSet::parse(&text);
        let _ = GtidList::parse(&text);
    }

    #[test]
    fn nearly_right_texts_parse_or_not(text in "[0-9a-f:,\\- {}t]{0,60}") {
        let with_uuid = format!("{A}:{text}");
        for text in [text.as_str(), with_uuid.as_str()] {
            if let Ok(set) = GtidSet::parse(text.as_bytes()) {
                prop_assert_eq!(GtidSet::parse(set.to_string().as_bytes()).unwrap(), set);
            }
            if let Ok(list) = GtidList::parse(text.as_bytes()) {
                prop_assert_eq!(GtidList::parse(list.to_string().as_bytes()).unwrap(), list);
            }
        }
    }
}
