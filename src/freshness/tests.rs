//! Floors and progress, a scenario a line; and any order of writes, fences, applies and crashes
//! against the truth.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Collation, Freshness, Key, Ordinal, Rows, TableRows, Touched, Written};
use crate::cluster::Live;
use crate::limits;
use crate::position::{Flavour, Position};

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// `1-5:7` of one server, or a MariaDB list when it has more than one dash in a part.
fn position(text: &str) -> Position {
    match text.matches('-').count() > 1 && !text.contains(':') {
        true => Position::parse(Flavour::MariaDb, text.as_bytes()).unwrap(),
        false => Position::parse(Flavour::MySql, format!("{UUID}:{text}").as_bytes()).unwrap(),
    }
}

/// Words: `start=1-5` a primary with that position (`start` none, `start+9` none, with a window of
/// 9 ms); `a=6` a write to schema a with that position, `a` one without (`*` is everything, `0`
/// no schema, `^a=6` was read from the primary's log, `a.t` table t of it, `a.t:x:y` its rows x and y, `a.t:` none); `fence=1-9` a fence that covers all so far; `1=1-6` replica 1 says it has that, `1`
/// it says nothing; `prune` to what replicas 1 and 2 have; `new1` a new incarnation of replica 1;
/// `+5` ms pass. Questions: `a?` who of replicas 1 and 2 may serve a read of schema a.
fn check(words: &str, expected: &str) {
    let mut now = Instant::now();
    let fresh = Freshness::bounded(4, now);
    let mut replicas = [Live::default(), Live::default()];
    let mut seen = Vec::new();
    for word in words.split_whitespace() {
        let (head, at) = match word.split_once('=') {
            Some((head, at)) => (head, Some(position(at))),
            None => (word, None),
        };
        if let Some(schema) = head.strip_suffix('?') {
            let floor = touching(schema, |touched| fresh.floor(touched));
            let may = |i: &usize| replicas[i - 1].applied() >= floor;
            let fit: String = [1, 2].iter().filter(|i| may(i)).map(usize::to_string).collect();
            seen.push(if fit.is_empty() { "-".to_owned() } else { fit });
        } else if let Some(ms) = head.strip_prefix("start+") {
            fresh.start(at, Some(Duration::from_millis(ms.parse().unwrap())), now);
        } else if head == "start" {
            fresh.start(at, None, now);
        } else if head == "fence" {
            fresh.fence(fresh.last(), &at.unwrap(), now);
        } else if head == "prune" {
            fresh.prune(replicas[0].applied().min(replicas[1].applied()));
        } else if let Some(ms) = head.strip_prefix('+') {
            now += Duration::from_millis(ms.parse().unwrap());
        } else if let Some(number) = head.strip_prefix("new") {
            replicas[number.parse::<usize>().unwrap() - 1] = Live::default();
        } else if let Some(number) = head.parse().ok().filter(|n: &usize| *n > 0) {
            fresh.advance(&replicas[number - 1], at.as_ref(), now);
        } else if let Some(head) = head.strip_prefix('^') {
            touching(head, |touched| {
                fresh.record_streamed(Written { touched: *touched, position: at, at: now })
            });
        } else {
            touching(head, |touched| {
                fresh.record(Written { touched: *touched, position: at, at: now })
            });
        }
    }
    assert_eq!(seen.join(" "), expected, "{words}");
}

fn touching<T>(schema: &str, then: impl FnOnce(&Touched<'_>) -> T) -> T {
    match schema {
        "*" => then(&Touched::Everything),
        "0" => then(&Touched::Schemas(&[])),
        table if table.contains('.') => {
            let (schema, table) = table.split_once('.').unwrap();
            let (table, keys) = table.split_once(':').map_or((table, None), |(t, k)| (t, Some(k)));
            let keys =
                keys.map(|keys| keys.split(':').filter(|k| !k.is_empty()).map(key).collect());
            let keys: Option<Vec<Key>> = keys;
            let rows = keys.as_deref().map_or(Rows::All, Rows::Keys);
            let (schema, table) = (schema.as_bytes(), table.as_bytes());
            then(&Touched::Tables(&[TableRows { schema, table, rows }]))
        }
        both if both.contains('+') => {
            let names: Vec<&[u8]> = both.split('+').map(str::as_bytes).collect();
            then(&Touched::Schemas(&names))
        }
        one => then(&Touched::Schemas(&[one.as_bytes()])),
    }
}

#[test]
fn at_the_start_replicas_prove_themselves() {
    check("a?", "-");
    check("1=1-5 a?", "-");
    check("start=1-5 a?", "-");
    check("start=1-5 1=1-4 2=1-5 a? *? 0?", "2 2 2");
    check("start=1-5 1 a?", "-");
    check("start 1=1-5 a? fence=1-5 a? 1=1-5 a?", "- - 1");
    check("start=1-5 1=1-5 start=1-9 a? 1=1-9 a?", "- 1");
}

#[test]
fn a_write_sends_its_schema_to_the_primary_till_it_is_applied() {
    let check = |words: &str, expected| check(&format!("start=1-5 1=1-5 2=1-5 {words}"), expected);
    check("a? *?", "12 12");
    check("a=6 a? b? *? a+b? 0?", "- 12 - - 12");
    check("a=6 1=1-6 a? 2=1-6 a?", "1 12");
    check("a=6 1=1-5 a?", "-");
    check("a=6 b=7 1=1-6 a? b?", "1 -");
    check("*=6 a? b? 1=1-6 a?", "- - 1");
    check("a+b=6 a? b? c?", "- - 12");
    // Other letter case, and letters whose case only the server knows.
    check("Shop=6 shop? SHOP? a?", "- - 12");
    check("é=6 É? a?", "- -");
    check("a=6 É? b?", "- 12");
    // It has the later write and lacks the earlier one.
    check("a=6 a=7 1=1-5:7 a? 1=1-7 a?", "- 1");
    check("a=6 b=7 1=1-5:7 b? 2=1-6 a? b?", "- 2 -");
    check("a=6 1=1-6 new1 a? b? 1=1-5 a? b?", "- 2 - 12");
    check("a=6 1=1-6 new1 1=1-6 a?", "1");
}

fn key(text: &str) -> Key {
    Key::text(1, Collation::parse(b"binary").unwrap(), text.as_bytes()).unwrap()
}

#[test]
fn a_write_of_a_table_or_a_key_is_awaited_by_who_reads_it() {
    let check = |words: &str, expected| check(&format!("start=1-5 1=1-5 2=1-5 {words}"), expected);
    check("a.t=6 a.t? a.u? b.t? a? b? *?", "- 12 12 - 12 -");
    check("a.t=6 a.t:x? a.u:x? a.t:?", "- 12 -");
    check("a.t:x=6 a.t:x? a.t:y? a.t? a? *? a.u? a.t:? a.t:x:y?", "- 12 - - - 12 12 -");
    check("a.t:x:y=6 a.t:x? a.t:y? a.t:z?", "- - 12");
    check("a.t:=6 a.t:x? a.t? b?", "12 12 12");
    check("a=6 a.t:x? a.t? b.t:x?", "- - 12");
    check("*=6 a.t:x? a.t?", "- -");
    check("A.T:x=6 a.t:X? a.t:x? a.T:y?", "- - 12");
    check("a.é=6 a.t:x? b?", "- -");
    check("a.t=6 a.É? a.u?", "- 12");
    // Each by itself, as replicas come up to it.
    check("a.t:x=6 a.t:y=7 1=1-6 a.t:x? a.t:y? a.t? a.t:z?", "1 - - 12");
    check("a.t:x=6 a.t=7 1=1-6 a.t:x? 1=1-7 a.t:x?", "- 1");
    check("a.t:x=6 a=7 1=1-6 a.t:x? a.u:x? 1=1-7 a.t:x?", "- - 1");
    check("a.t:x=6 fence=1-6 1=1-6 2=1-6 prune a.t:x? a.t? a?", "12 12 12");
    check("a.t:x=6 1=1-6 2=1-6 prune a.t:y=7 a.t:x? a.t:y? new1 1=1-5 a.t:x?", "12 - 2");
}

#[test]
fn a_write_without_a_position_waits_for_a_fence() {
    let check = |words: &str, expected| check(&format!("start=1-5 1=1-5 2=1-5 {words}"), expected);
    check("a 1=1-99 a? b?", "- 12");
    check("a fence=1-6 1=1-6 2=1-5 a?", "1");
    check("a b=7 1=1-7 b? fence=1-7 1=1-7 b?", "- 1");
    check("a fence=1-6 a 1=1-9 a?", "-");
    check("a +99999 1=1-99 a?", "-");
    // A write that its own primary lacks was lost: nobody waits for it.
    check("a=6 fence=1-5:8 1=1-5:8 a?", "1");
}

#[test]
fn what_stands_in_the_log_may_not_have_been_executed_yet() {
    let ready = "start=1-5 1=1-5 2=1-5";
    check(&format!("{ready} ^a=6 fence=1-5 1=1-5 2=1-6 a?"), "2");
    check(&format!("{ready} ^a=6 fence=1-5 fence=1-6 1=1-5 2=1-6 a?"), "2");
    // Nor when it is kept no more on its own: the bound is four.
    check(&format!("{ready} ^a=6 ^0=7 ^0=8 ^0=9 ^0=10 fence=1-5 new1 1=1-5 2=1-10 a?"), "2");
    // What was acknowledged and is not there is lost.
    check(&format!("{ready} a=6 fence=1-5 1=1-5 2=1-5 a?"), "12");
}

#[test]
fn what_others_wrote_is_seen_by_a_fence() {
    let check = |words: &str, expected| check(&format!("start=1-5 1=1-5 2=1-5 {words}"), expected);
    check("fence=1-5 a? *?", "12 12");
    check("fence=1-6 a? b? 1=1-6 a? b?", "- - 1 1");
    // Its own write and nobody else's: other schemas are not touched.
    check("a=6 fence=1-6 a? b? 1=1-6 a?", "- 12 1");
    check("a=6 fence=1-7 b? 1=1-6 b? 1=1-7 b?", "- - 1");
    // The fence saw it first.
    check("fence=1-6 a=6 a? b? 1=1-6 a? b?", "- - 1 1");
    // An old fence comes late.
    check("a=6 b=7 fence=1-6 c? fence=1-7 c? fence=1-8 c?", "12 12 -");
    // An error may have hidden a write: what comes to light may be it, or anybody's.
    check("a fence=1-6 b? 1=1-6 a? b?", "- 1 1");
}

#[test]
fn without_gtids_a_window_runs() {
    check("start+9 1 a? +8 1 a? +1 1 a?", "- - 1");
    check("start+9 +9 1 2 a a? b? +8 1 a? +1 1 a? 2 a?", "- 12 - 1 12");
    check("start+9 +9 1 a +5 a +5 1 a? +4 1 a?", "- 1");
    // Where there are positions the window proves nothing.
    check("start+9=1-5 +99 1=1-4 a? 1=1-5 a?", "- 1");
}

#[test]
fn what_is_forgotten_is_asked_for_as_a_whole() {
    let check = |words: &str, expected| check(&format!("start=1-5 1=1-5 2=1-5 {words}"), expected);
    check("a=6 1=1-6 2=1-6 prune a? b?", "12 12");
    check("a=6 1=1-6 2=1-6 prune new1 1=1-5 a? b? 1=1-6 b?", "2 2 12");
    check("a=6 1=1-6 2=1-6 prune a=7 a? b?", "- 12");
    // Four are kept; the two oldest became one with the start.
    check("a=6 b=7 c=8 c=9 c=10 c=11 1=1-6 a? 1=1-7 a? b? c?", "- 1 1 -");
    check("a=6 b=7 c=8 c=9 c=10 c=11 1=1-6 prune d? a? 1=1-11 prune d?", "12 - 12");
    check("a b=7 c=8 c=9 c=10 c=11 1=1-99 c? fence=1-11 1=1-11 c?", "- 1");
}

#[test]
fn mariadb() {
    check("start=0-1-5 1=0-1-5 a=0-1-6 a? b? 1=0-1-6 a?", "- 1 1");
    check("start=0-1-5 1=0-1-5 a=1-1-1 1=0-1-9 a? 1=0-1-9,1-1-1 a?", "- 1");
    // Another family took over.
    check("start=0-1-5 1=0-1-5 a? start=1-5 1=0-1-5 a? 1=1-5 a?", "1 - 1");
}

#[test]
fn names_are_bounded() {
    let now = Instant::now();
    let fresh = Freshness::new(now);
    fresh.start(Some(position("1-5")), None, now);
    let mut first = Ordinal(0);
    for number in 0..=limits::FLOOR_SCHEMAS_MAX {
        let name = format!("s{number}");
        let touched = Touched::Schemas(&[name.as_bytes()]);
        let ordinal = fresh.record(Written { touched, position: None, at: now });
        if number == 0 {
            first = ordinal;
        }
    }
    let other = fresh.floor(&Touched::Schemas(&[b"never written"]));
    assert!(other > first, "{other:?}");
    assert_eq!(other, fresh.last());
}

/// Writes of `count` names, then what is kept and the floor of the first name.
fn floors_of(count: usize, name: impl Fn(usize) -> String) -> (Freshness, Vec<Ordinal>) {
    let now = Instant::now();
    let fresh = Freshness::new(now);
    fresh.start(Some(position("1-5")), None, now);
    let record = |number| {
        touching(&name(number), |touched| {
            fresh.record(Written { touched: *touched, position: None, at: now })
        })
    };
    let ordinals = (0..count).map(record).collect();
    (fresh, ordinals)
}

#[test]
fn tables_are_bounded() {
    let (fresh, ordinals) = floors_of(limits::FLOOR_TABLES_MAX, |n| format!("a.t{n}"));
    assert_eq!(fresh.floor_sizes().tables, limits::FLOOR_TABLES_MAX);
    assert_eq!(touching("a.t0:x", |reads| fresh.floor(reads)), ordinals[0]);
    let one_more = touching("a.more", |touched| {
        fresh.record(Written { touched: *touched, position: None, at: Instant::now() })
    });
    assert_eq!(touching("a.t0:x", |reads| fresh.floor(reads)), one_more);
    assert_eq!(touching("b.t0", |reads| fresh.floor(reads)), fresh.floor_of_none());
    assert_eq!(fresh.floor_sizes().tables, 0);
}

#[test]
fn keys_are_bounded() {
    let check = |count: usize, name: &dyn Fn(usize) -> String, kept: std::ops::Range<usize>| {
        let (fresh, ordinals) = floors_of(count, name);
        let floor = |name: &str| touching(name, |reads| fresh.floor(reads));
        let keys = fresh.floor_sizes().keys;
        assert!(kept.contains(&keys), "{keys}");
        let steps = (0..count).step_by(97).chain([count - 1]);
        for number in steps {
            assert!(floor(&name(number)) >= ordinals[number], "{number}");
        }
        assert_eq!(floor(&name(count - 1)), ordinals[count - 1]);
        assert!(floor("a.t0:never") < ordinals[count - 1], "an evicted key asks for its own write");
    };
    let most = limits::FLOOR_KEYS_PER_TABLE_MAX;
    check(most, &|n| format!("a.t0:{n}"), most..most + 1);
    check(most + 1, &|n| format!("a.t0:{n}"), most / 2..most);
    let most = limits::FLOOR_KEYS_MAX;
    check(most + 1, &|n| format!("a.t{}:{n}", n % 100), most / 2..most);
    let many = limits::FLOOR_KEYS_PER_WRITE_MAX + 1;
    let one = (0..many).map(|n| n.to_string()).collect::<Vec<_>>().join(":");
    let (fresh, ordinals) = floors_of(1, |_| format!("a.t:{one}"));
    assert_eq!(fresh.floor_sizes().keys, 0);
    assert_eq!(touching("a.t:other", |reads| fresh.floor(reads)), ordinals[0]);
}

#[test]
fn names_that_every_reader_is_past_are_forgotten() {
    let now = Instant::now();
    let count = 3 * limits::FLOOR_NAMES_SWEPT_MIN;
    let (fresh, ordinals) = floors_of(count, |n| format!("a.t:{n}"));
    assert_eq!(fresh.floor_sizes(), super::Sizes { schemas: 1, tables: 1, keys: count });
    let live = Live::default();
    fresh.fence(fresh.last(), &position("1-5"), now);
    fresh.advance(&live, Some(&position("1-5")), now);
    fresh.prune(ordinals[count - 10]);
    for n in 0..count {
        touching(&format!("a.t:more{n}"), |touched| {
            fresh.record(Written { touched: *touched, position: None, at: now })
        });
    }
    let kept = fresh.floor_sizes().keys;
    assert!((count..count + 10).contains(&kept), "{kept}");
    fresh.fence(fresh.last(), &position("1-5"), now);
    fresh.advance(&live, Some(&position("1-5")), now);
    fresh.prune(live.applied());
    assert_eq!(fresh.floor_sizes(), super::Sizes::default());
    assert_eq!(fresh.floor_of_none(), fresh.last());
}

#[test]
fn a_base_full_of_gaps_is_closed() {
    let now = Instant::now();
    let fresh = Freshness::new(now);
    fresh.start(Some(position("1-5")), None, now);
    let live = Live::default();
    for own in (10..1000).step_by(3) {
        let position = Some(position(&own.to_string()));
        fresh.record(Written { touched: Touched::Everything, position, at: now });
    }
    let all = position("1-1200");
    assert_eq!(fresh.advance(&live, Some(&all), now), fresh.last());
    fresh.prune(live.applied());
    fresh.advance(&live, Some(&all), now);
    let pending = fresh.lock();
    assert_eq!(pending.len(), 0);
    let base = pending.base_position().unwrap().to_string();
    assert_eq!(base, format!("{UUID}:1-997"));
}

/// The truth beside what the proxy knows.
struct World {
    fresh: Freshness,
    primary: BTreeSet<u64>,
    replicas: Vec<(Live, BTreeSet<u64>)>,
    writes: Vec<Write>,
    /// Fences on their way back.
    fences: Vec<(Ordinal, BTreeSet<u64>)>,
    /// What fences that came back have shown: also what others wrote.
    fenced: BTreeSet<u64>,
    now: Instant,
}

#[derive(Debug, PartialEq)]
struct Write {
    ordinal: Ordinal,
    place: Place,
    number: u64,
}

/// What is written or read: schema, table, key, each `None` for any.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place(Option<u8>, Option<u8>, Option<u8>);

impl Place {
    /// Four schemas, of two tables each with three keys; and any of them.
    fn of(draw: u8) -> Place {
        let schema = draw % 4;
        let table = Some(draw / 4 % 3).filter(|table| *table > 0);
        let key = table.and(Some(draw / 12 % 4).filter(|key| *key > 0));
        match schema {
            3 => Place(None, None, None),
            _ => Place(Some(schema), table, key),
        }
    }

    fn meets(self, other: Place) -> bool {
        let meet = |a: Option<u8>, b: Option<u8>| a.is_none() || b.is_none() || a == b;
        meet(self.0, other.0) && meet(self.1, other.1) && meet(self.2, other.2)
    }

    fn touched<T>(self, then: impl FnOnce(&Touched<'_>) -> T) -> T {
        const NAMES: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        let name = |number: u8| NAMES[usize::from(number)];
        let keys = self.2.map(|key| [Key::integer(1, key.into())]);
        match self {
            Place(None, ..) => then(&Touched::Everything),
            Place(Some(a), None, _) => then(&Touched::Schemas(&[name(a)])),
            Place(Some(a), Some(b), _) => {
                let rows = keys.as_ref().map_or(Rows::All, |keys| Rows::Keys(keys));
                then(&Touched::Tables(&[TableRows { schema: name(a), table: name(b), rows }]))
            }
        }
    }
}

impl Write {
    fn is_in(&self, applied: &BTreeSet<u64>) -> bool {
        applied.contains(&self.number)
    }
}

fn text(numbers: &BTreeSet<u64>) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(":")
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let fresh = Freshness::bounded(3, now);
        fresh.start(Some(position("1")), None, now);
        let replicas = (0..3).map(|_| (Live::default(), BTreeSet::from([1]))).collect();
        World {
            fresh,
            primary: BTreeSet::from([1]),
            replicas,
            writes: Vec::new(),
            fences: Vec::new(),
            fenced: BTreeSet::new(),
            now,
        }
    }

    fn play(&mut self, kind: u8, one: u8, two: u8) {
        let which = usize::from(one) % self.replicas.len();
        match kind % 10 {
            0 | 1 => self.write(one, two),
            2 => {
                self.commit();
            }
            3 => {
                let (_, applied) = &mut self.replicas[which];
                let missing: Vec<u64> = self.primary.difference(applied).copied().collect();
                applied.extend(missing.get(usize::from(two) % missing.len().max(1)));
            }
            4 => self.replicas[which].1 = self.primary.clone(),
            5 | 6 => self.advance(which),
            7 => match (two % 2, self.fences.is_empty()) {
                (0, _) | (_, true) => {
                    self.fences.push((self.fresh.last(), self.primary.clone()));
                }
                _ => {
                    let at = usize::from(one) % self.fences.len();
                    let (covers, set) = self.fences.remove(at);
                    self.fence(covers, &set);
                }
            },
            8 => {
                // Not every replica need be up then.
                let up = self.replicas.iter().skip(usize::from(two % 3));
                self.fresh.prune(up.map(|(live, _)| live.applied()).min().unwrap());
            }
            _ => {
                let (live, applied) = &mut self.replicas[which];
                *live = Live::default();
                applied.retain(|number| *number <= u64::from(two));
            }
        }
    }

    fn fence(&mut self, covers: Ordinal, set: &BTreeSet<u64>) {
        self.fresh.fence(covers, &position(&text(set)), self.now);
        self.fenced.extend(set);
    }

    fn commit(&mut self) -> u64 {
        let number = self.primary.last().map_or(1, |last| last + 1);
        self.primary.insert(number);
        number
    }

    fn write(&mut self, one: u8, two: u8) {
        let number = self.commit();
        let place = Place::of(two);
        let position = (!one.is_multiple_of(3)).then(|| position(&number.to_string()));
        let at = self.now;
        let ordinal =
            place.touched(|touched| self.fresh.record(Written { touched: *touched, position, at }));
        self.writes.push(Write { ordinal, place, number });
    }

    fn advance(&mut self, which: usize) {
        let (live, applied) = &self.replicas[which];
        if !applied.is_empty() {
            self.fresh.advance(live, Some(&position(&text(applied))), self.now);
        }
    }

    /// Whoever qualifies has every write that the read must see.
    fn check(&self) {
        for (live, applied) in &self.replicas {
            for place in (0..48).map(Place::of) {
                let floor = place.touched(|reads| self.fresh.floor(reads));
                assert!(floor >= self.fresh.floor_of_none());
                if live.applied() >= floor {
                    let touched = |write: &&Write| write.place.meets(place);
                    let missing = self.writes.iter().filter(touched).find(|w| !w.is_in(applied));
                    assert_eq!(missing, None, "{place:?}");
                    assert!(applied.contains(&1), "{place:?}: what there was at the start");
                    let ours = |number: &u64| self.writes.iter().any(|w| w.number == *number);
                    let mut others = self.fenced.iter().filter(|number| !ours(number));
                    let missing = others.find(|number| !applied.contains(number));
                    assert_eq!(missing, None, "{place:?}: what somebody else wrote");
                }
            }
            let claimed = self.writes.iter().filter(|write| write.ordinal <= live.applied());
            assert_eq!(claimed.clone().find(|write| !write.is_in(applied)), None);
        }
    }

    /// In the end all are fresh again.
    fn end(&mut self) {
        self.fence(self.fresh.last(), &self.primary.clone());
        assert_eq!(self.fresh.awaits_fence(), None);
        for which in 0..self.replicas.len() {
            self.replicas[which].1 = self.primary.clone();
            self.advance(which);
            assert_eq!(self.replicas[which].0.applied(), self.fresh.last());
        }
        self.fresh.prune(self.fresh.last());
        assert_eq!(self.fresh.pending(), 0);
        assert_eq!(self.fresh.floor(&Touched::Schemas(&[b"a"])), self.fresh.last());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn nobody_qualifies_who_lacks_a_write(ops in prop::collection::vec(any::<[u8; 3]>(), 0..80)) {
        let mut world = World::new();
        for [kind, one, two] in ops {
            world.play(kind, one, two);
            world.check();
        }
        world.end();
    }
}
