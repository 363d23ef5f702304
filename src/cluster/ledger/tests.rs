//! The order of preference, a scenario a line, and any sequence against the model.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Counts, Decision, Handover, Idle, Key, Ledger, Slot, Stay, Wanted, probe};
use crate::wire::capability::Capabilities;

/// Connections are named in the order of their slots' first use: a, b, c...
struct Play {
    ledger: Ledger,
    names: BTreeMap<char, Slot>,
    last: BTreeMap<u64, Slot>,
    ticket: u64,
    now: Instant,
}

impl Play {
    fn name(&mut self, slot: Slot) -> char {
        if let Some((name, _)) = self.names.iter().find(|(_, known)| **known == slot) {
            return *name;
        }
        let name = char::from(b'a' + u8::try_from(self.names.len()).unwrap());
        self.names.insert(name, slot);
        name
    }

    fn show(&mut self, decision: Decision) -> String {
        match decision {
            Decision::Reuse(slot) => format!("={}", self.name(slot)),
            Decision::Open(slot) => {
                assert!(self.ledger.opened(slot, self.now) || self.names.len() > 20);
                format!("+{}", self.name(slot))
            }
            Decision::CloseThenOpen(slot) => {
                assert!(self.ledger.opened(slot, self.now) || self.names.len() > 20);
                format!("!{}", self.name(slot))
            }
            Decision::Wait => "wait".into(),
            Decision::Refuse => "refuse".into(),
        }
    }

    fn given(&mut self, handover: Option<Handover>) -> String {
        let Some(handover) = handover else { return "-".into() };
        assert_eq!(self.ledger.claim(handover.ticket), Some(handover.decision));
        format!("{}{}", handover.ticket, self.show(handover.decision))
    }
}

/// Words: `1A` session 1 asks for account A (then `*` needs clean, `x` wants state x: `1Ax`),
/// `a1` gives connection a back with session 1's state on it (`a0` nobody's, then `*` clean,
/// `x` in state x), `-a` closes a, `/1` cancels ticket 1, `~1` ends session 1, `t5` expires what
/// was idle 5 ms. Each asking is a ticket, numbered from 1; each word takes 1 ms.
/// Answers: `+a` open, `=a` reuse, `!a` close then open, `wait`, `refuse`; a waiter's
/// turn shows as its ticket and answer, `-` is nobody's turn.
/// `1A!` needs it for long, `1A:7` for a statement of shape 7, `^a` says something long over a;
/// `w50` waits 50 ms and shows whose turn it is then.
fn check(connections_max: u32, words: &str, expected: &str) {
    let mut ledger = Ledger::new(connections_max, 2);
    ledger.shares.reserve = 0;
    play(ledger, connections_max, words, expected);
}

/// The same with the reserve that a pool has.
fn check_reserve(connections_max: u32, words: &str, expected: &str) {
    play(Ledger::new(connections_max, 9), connections_max, words, expected);
}

fn play(ledger: Ledger, connections_max: u32, words: &str, expected: &str) {
    let mut play = Play {
        ledger,
        names: BTreeMap::new(),
        last: BTreeMap::new(),
        ticket: 0,
        now: Instant::now(),
    };
    let seen: Vec<String> = words.split_whitespace().map(|word| play.word(word)).collect();
    assert_eq!(seen.join(" "), expected, "{words}");
    assert!(play.ledger.total() <= connections_max as usize);
}

impl Play {
    fn word(&mut self, word: &str) -> String {
        self.now += Duration::from_millis(1);
        let chars: Vec<char> = word.chars().collect();
        let number: u64 = word[1..].parse().unwrap_or(0);
        let state = chars.last().filter(|c| chars.len() > 2 && c.is_ascii_lowercase());
        let state = state.map_or(0, |c| u64::from(u32::from(*c)));
        let clean = word.contains('*');
        let shape = word.split_once(':').map_or(0, |(_, shape)| shape.parse().unwrap());
        match chars[0] {
            '^' => {
                self.ledger.prolong(self.names[&chars[1]]);
                "ok".into()
            }
            'w' => {
                self.now += Duration::from_millis(number - 1);
                let mut turns = Vec::new();
                while let Some(handover) = self.ledger.review(self.now) {
                    turns.push(self.given(Some(handover)));
                }
                if turns.is_empty() { "-".into() } else { turns.join(",") }
            }
            '-' => {
                let handover = self.ledger.closed(self.names[&chars[1]]);
                self.given(handover)
            }
            '/' => {
                let handover = self.ledger.cancel(number);
                self.given(handover)
            }
            '~' => {
                self.ledger.disown(self.last[&number], number);
                "ok".into()
            }
            't' => {
                let old = self.ledger.expire(self.now, Duration::from_millis(number));
                let names: String = old.iter().map(|slot| self.name(*slot)).collect();
                for slot in old {
                    assert_eq!(self.ledger.closed(slot), None);
                }
                format!("{names}.")
            }
            name if name.is_ascii_lowercase() => {
                let session = u64::from(chars[1].to_digit(10).unwrap());
                let slot = self.names[&name];
                self.last.insert(session, slot);
                let handover =
                    self.ledger.release(slot, Idle { state, clean, session, since: self.now });
                self.given(handover)
            }
            session => {
                let session = u64::from(session.to_digit(10).unwrap());
                self.ticket += 1;
                let wanted = Wanted {
                    key: Key { account: u64::from(u32::from(chars[1])), shared: Capabilities(0) },
                    session,
                    state,
                    needs_clean: clean,
                    last: self.last.get(&session).copied(),
                    stay: if word.contains('!') { Stay::Long } else { Stay::Short(shape) },
                    now: self.now,
                };
                let decision = self.ledger.acquire(&wanted, self.ticket);
                self.show(decision)
            }
        }
    }
}

#[test]
fn preference() {
    // Its own last one, even where another's would be in the right state.
    check(2, "1A 2A a1 b0 1A", "+a +b - - =a");
    check(2, "1A 2A a1x b0y 1Ay", "+a +b - - =a");
    // Nobody's in the same state, then nobody's, then a new one, then another's.
    check(3, "1A 2A a0x b0y 3Ay", "+a +b - - =b");
    check(3, "1A 2A a0x b0y 3Az", "+a +b - - =a");
    check(3, "1A a0x 2Az", "+a - =a");
    check(2, "1A a1 2A", "+a - +b");
    check(2, "1A 2A a1 b2 3A", "+a +b - - =a");
    check(2, "1A 2A b2 a1 3A", "+a +b - - =b");
    check(2, "1A 2A a1 b2 ~2 3A", "+a +b - - ok =b");
    // Another account's is closed for it, nobody's before somebody's, longest idle first.
    check(2, "1A 2A a1 b0 3B", "+a +b - - !b");
    check(2, "1A 2A b0 a0 3B", "+a +b - - !b");
    check(1, "1A a1 2B", "+a - !a");
    // Of the evicted connection nothing is left: its old owner does not get it back.
    check(1, "1A a1 2B a2 1A", "+a - !a - !a");
}

#[test]
fn clean_ones() {
    check(2, "1A a0 2A*", "+a - +b");
    check(1, "1A a0 2A*", "+a - !a");
    check(1, "1A a0* 2A*", "+a - =a");
    check(1, "1A a1 1A*", "+a - !a");
    check(2, "1A 2A a0* b0 3A", "+a +b - - =b");
    check(2, "1A 2A b2* a1 3A", "+a +b - - =b");
    check(2, "1A 2A a1* b2 3A*", "+a +b - - =a");
}

#[test]
fn waiting() {
    check(1, "1A 2A a1", "+a wait 2=a");
    check(1, "1A 2B a1", "+a wait 2!a");
    check(1, "1A 2A* a1", "+a wait 2!a");
    check(1, "1A 2A* a1*", "+a wait 2=a");
    check(1, "1A 2A 3A a1 a2 a3", "+a wait wait 2=a 3=a -");
    check(1, "1A 2A 3A 4A", "+a wait wait refuse");
    check(1, "1A 2A -a", "+a wait 2+b");
    check(1, "1A 2A 3A /2 a1", "+a wait wait - 3=a");
    check(1, "1A 2A /2 /2 /9 a1", "+a wait - - - -");
    // In the order of arrival, whatever the account.
    check(1, "1A 2B 3A a1 a2", "+a wait wait 2!a 3!a");
}

#[test]
fn idle_ends() {
    check(2, "1A 2A a0 b0 t2 3A", "+a +b - - a. =b");
    check(2, "1A a0 t0 1A", "+a - a. +b");
    check(1, "1A t0 a1 -a 1A", "+a . - - +b");
}

/// The reserve of five is one, of ten two.
#[test]
fn a_reserve_is_for_short_statements() {
    // Those that wait for others leave one.
    check_reserve(5, "1A! 2A! 3A! 4A! 5A! 6A", "+a +b +c +d wait +e");
    check_reserve(5, "1A! 2A! 3A! 4A! 5A! a0", "+a +b +c +d wait 5=a");
    // It is not for those that overtake: what is short waits for what is.
    check_reserve(5, "1A 2A 3A 4A 5A a0", "+a +b +c +d wait 5=a");
    check_reserve(5, "1A! 2A! 3A! 4A 5A d0", "+a +b +c +d wait 5=d");
    check_reserve(10, "1A! 2A! 3A! 4A! 5A! 6A! 7A! 8A 9A 1A", "+a +b +c +d +e +f +g +h +i wait");
    // Of one there is none; of two it is one.
    check_reserve(1, "1A! 2A a0", "+a wait 2=a");
    check_reserve(2, "1A! 2A! 3A", "+a wait +b");
}

#[test]
fn what_runs_long_leaves_the_reserve_to_others() {
    // Nobody knew that they would be long: from then on they do not count.
    check_reserve(5, "1A 2A 3A 4A 5A w50 w60", "+a +b +c +d wait - 5+e");
    check_reserve(5, "1A 2A 3A 4A w100 5A 6A", "+a +b +c +d - +e wait");
    // One of their shape has been told apart by then, and stands behind.
    check_reserve(5, "1A:7 2A:7 3A:7 4A:7 5A:7 6A:8 w110", "+a +b +c +d wait wait 6+e");
    check_reserve(5, "1A:7 2A:7 3A:7 4A:7 w100 5A:7 6A:8", "+a +b +c +d - wait +e");
    check_reserve(5, "1A:7 2A:7 3A:7 4A:7 w100 5A:7 6A:8 e0 a0", "+a +b +c +d - wait +e - 5=a");
    // Statements without a shape are not told apart.
    check_reserve(5, "1A 2A 3A 4A w100 5A", "+a +b +c +d - +e");
    // While the reserve is not all in use, connections may be idle while long ones wait.
    check_reserve(5, "1A! 2A! 3A! 4A! 5A e0 6A! 7A", "+a +b +c +d +e - wait =e");
    // By its own word, over a connection that was leased for something short.
    check_reserve(5, "1A 2A 3A 4A 5A ^a w1", "+a +b +c +d wait ok -");
    check_reserve(5, "1A 2A 3A 4A 5A ^a ^b ^c w1 ^d w1", "+a +b +c +d wait ok ok ok - ok 5+e");
    // The first of all when there is room for all, whatever it is.
    check_reserve(5, "1A! 2A! 3A! 4A 5A! 6A d0 a0", "+a +b +c +d wait wait 5=d 6=a");
}

fn asking(key: Key) -> Wanted {
    let (stay, now) = (Stay::default(), Instant::now());
    Wanted { key, session: 1, state: 0, needs_clean: false, last: None, stay, now }
}

#[test]
fn a_grant_that_comes_too_late_goes_to_the_next() {
    let now = Instant::now();
    let key = Key { account: 1, shared: Capabilities(0) };
    let wanted = asking(key);
    let other = Wanted { key: Key { account: 2, shared: Capabilities(0) }, session: 2, ..wanted };
    let mut ledger = Ledger::new(1, 9);
    let Decision::Open(slot) = ledger.acquire(&wanted, 1) else { panic!() };
    assert!(ledger.opened(slot, now) && !ledger.opened(slot, now));
    assert_eq!(ledger.acquire(&other, 2), Decision::Wait);
    assert_eq!(ledger.acquire(&wanted, 3), Decision::Wait);
    assert_eq!(ledger.acquire(&other, 3), Decision::Refuse, "one ticket, one place in the queue");
    let idle = Idle { state: 5, clean: false, session: 1, since: now };
    let grant = Handover { ticket: 2, decision: Decision::CloseThenOpen(slot) };
    assert_eq!(ledger.release(slot, idle), Some(grant));
    assert_eq!(ledger.closed(slot), None, "it is promised");
    // The one it was closed for gave up before it was: it still lives.
    let grant = Handover { ticket: 3, decision: Decision::Reuse(slot) };
    assert_eq!(ledger.cancel(2), Some(grant));
    assert_eq!(ledger.claim(2), None);
    assert_eq!(ledger.cancel(3), None);
    assert_eq!(ledger.counts(), Counts { idle: 1, ..Counts::default() });
    assert_eq!(ledger.owner(slot), 1);
    assert_eq!(ledger.claim(3), None);
}

#[test]
fn key_includes_what_was_agreed_on() {
    let key = Key { account: 1, shared: Capabilities(0) };
    let wanted = asking(key);
    let mut ledger = Ledger::new(2, 9);
    let Decision::Open(slot) = ledger.acquire(&wanted, 1) else { panic!() };
    assert!(ledger.opened(slot, Instant::now()));
    let idle = Idle { state: 0, clean: true, session: 0, since: Instant::now() };
    assert_eq!(ledger.release(slot, idle), None);
    let wanted = Wanted { key: Key { shared: Capabilities::FOUND_ROWS, ..key }, ..wanted };
    assert!(matches!(ledger.acquire(&wanted, 2), Decision::Open(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_is_lost_and_nobody_is_overtaken(ops in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(probe(&ops, Instant::now()), Ok(()));
    }
}
