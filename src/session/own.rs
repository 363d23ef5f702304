//! What a conversation has to have seen before its next read of a replica, and whether it is sure
//! of that: its own writes, and a fence, which is what the primary had as of some moment.
//!
//! A request must see all that was acknowledged before it began, by whomever. When it began nobody
//! says: a connection was made, changed its user, sent a preamble, or was quiet for longer than a
//! request is. Asks nobody (`backend::fence` does); `client` waits.

use std::time::{Duration, Instant};

use crate::freshness::{Level, Ordinal, Sight};
use crate::position::Position;

/// A connection that was quiet for so long may serve another request: a WordPress boot is longer.
const QUIET: Duration = Duration::from_millis(10);
/// Connections that are never quiet: so old may what they rely on be.
const AGE_MAX: Duration = Duration::from_secs(1);

/// One conversation's place among everybody's writes.
#[derive(Debug, Default)]
pub struct Own {
    /// The round that will do, asked for before it was needed.
    asked: Option<(u64, Instant)>,
    /// When the fence that it relies on was asked for.
    fenced: Option<Instant>,
    /// Its last read of a replica.
    read: Option<Instant>,
    /// Its last write.
    wrote: Ordinal,
    /// Its writes that the stream has not shown yet.
    awaited: Option<Position>,
    /// Something else than a preamble was said since the fence was asked for.
    spoken: bool,
}

/// What a read has to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The stream of writes has to show these, of its own.
    Written(Position),
    /// A fence: the round that was asked for, or a new one.
    Fence(Option<u64>),
}

impl Own {
    /// A round was asked for, to be there when it is needed.
    pub fn ask(&mut self, round: u64, now: Instant) {
        self.asked = Some((round, now));
        self.spoken = false;
    }

    /// A statement that may be part of a request.
    pub const fn speak(&mut self) {
        self.spoken = true;
    }

    /// What was known of others' writes is not enough any more: an error may hide a write, a lock
    /// was waited for.
    pub const fn void(&mut self) {
        self.asked = None;
        self.fenced = None;
    }

    /// A preamble begins a request. True: it needs a new fence, which is best asked for now.
    pub const fn begin_request(&mut self) -> bool {
        if self.spoken {
            self.void();
        }
        self.asked.is_none() && self.fenced.is_none()
    }

    /// A write was acknowledged. `awaited`: the stream has yet to show it.
    pub fn write(&mut self, ordinal: Ordinal, awaited: Option<Position>) {
        self.wrote = self.wrote.max(ordinal);
        let Some(one) = awaited else { return };
        // Of two kinds: another primary has taken over, and the older is moot.
        if !self.awaited.as_mut().is_some_and(|all| all.union(&one)) {
            self.awaited = Some(one);
        }
    }

    /// Its last write: what level `session` has to see.
    #[must_use]
    pub const fn wrote(&self) -> Ordinal {
        self.wrote
    }

    /// Its writes that the stream may not have shown yet.
    #[must_use]
    pub const fn awaited(&self) -> Option<&Position> {
        self.awaited.as_ref()
    }

    /// What a read of a replica has to wait for that is planned now.
    pub fn due(&mut self, level: Level, sight: Sight, now: Instant) -> Due {
        if self.read.replace(now).is_some_and(|read| is_past(read, QUIET, now)) {
            self.void();
        }
        if level == Level::Eventual || sight == Sight::None {
            return Due::Nothing;
        }
        if let Some(awaited) = self.awaited.take() {
            return Due::Written(awaited);
        }
        match level {
            Level::Eventual | Level::Session => return Due::Nothing,
            // Nothing that was asked for before this read will do.
            _ if level == Level::Strict || sight == Sight::Fences => return Due::Fence(None),
            Level::Causal | Level::Strict => {}
        }
        let young = |at: Instant| !is_past(at, AGE_MAX, now);
        match (self.fenced, self.asked) {
            (Some(at), _) if young(at) => Due::Nothing,
            (_, Some((round, at))) if young(at) => Due::Fence(Some(round)),
            _ => Due::Fence(None),
        }
    }

    /// The fence came back that was asked for then.
    pub fn note_fence(&mut self, asked: Instant) {
        self.fenced = Some(self.asked.take().map_or(asked, |(_, at)| at));
    }
}

fn is_past(since: Instant, limit: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Flavour;

    /// Words: `ask` a round is asked for (1, 2, ...), `read`, `write` (awaited in the stream),
    /// `speak`, `names` a preamble (asks when it needs to), `void`, `+5` ms pass. For each read: 0
    /// nothing is due, N the round that was asked for, ? a new one, w its own write.
    #[track_caller]
    fn check(level: Level, sight: Sight, words: &str, expected: &str) {
        let (mut own, mut now, mut rounds, mut seen) =
            (Own::default(), Instant::now(), 0_u64, Vec::new());
        let mut ask = |own: &mut Own, now| {
            rounds += 1;
            own.ask(rounds, now);
        };
        for word in words.split_whitespace() {
            match word {
                "ask" => ask(&mut own, now),
                "names" if own.begin_request() => ask(&mut own, now),
                "names" => {}
                "speak" => own.speak(),
                "void" => own.void(),
                "write" => {
                    let position = Position::parse(Flavour::MariaDb, b"0-1-7").unwrap();
                    own.speak();
                    own.write(Ordinal(1), Some(position));
                }
                "read" => {
                    own.speak();
                    seen.push(read(&mut own, level, sight, now));
                }
                // A plus sign is part of a number.
                ms => now += Duration::from_millis(ms.parse().unwrap()),
            }
        }
        assert_eq!(seen.join(" "), expected, "{words}");
    }

    /// One read: all that it has to wait for, in turn.
    fn read(own: &mut Own, level: Level, sight: Sight, now: Instant) -> String {
        match own.due(level, sight, now) {
            Due::Nothing => "0".into(),
            Due::Written(_) => format!("w{}", read(own, level, sight, now)),
            Due::Fence(round) => {
                own.note_fence(now);
                round.map_or("?".into(), |round| round.to_string())
            }
        }
    }

    #[test]
    fn a_request_is_fenced_once_while_a_follower_shows_the_rest() {
        let check = |words, expected| check(Level::Causal, Sight::Stream, words, expected);
        check("read read", "? 0");
        check("ask read read", "1 0");
        // Quiet: another visitor's request, perhaps.
        check("ask read +9 read +10 read +9 read", "1 0 ? 0");
        // Never quiet: a second at most, counted from when it was asked for.
        check("ask +5 read +9 read", "1 0");
        check("ask +1000 read", "?");
        // wpdb's preamble on a connection that was used before.
        check("ask names read names read names names read", "1 2 3");
        check("ask speak names read", "2");
        check("ask read void read read", "1 ? 0");
        check("ask write read read", "w1 0");
        check("ask read write write read read", "1 w0 0");
    }

    #[test]
    fn a_second_is_the_most() {
        let (mut own, mut now) = (Own::default(), Instant::now());
        let mut fences = 0;
        for _ in 0..120 {
            now += Duration::from_millis(9);
            if own.due(Level::Causal, Sight::Stream, now) != Due::Nothing {
                own.note_fence(now);
                fences += 1;
            }
        }
        assert_eq!(fences, 2);
    }

    #[test]
    fn levels() {
        check(Level::Strict, Sight::Stream, "ask read read write read", "? ? w?");
        check(Level::Causal, Sight::Fences, "ask read read", "? ?");
        check(Level::Causal, Sight::None, "ask read +20 read", "0 0");
        check(Level::Session, Sight::Stream, "read +20 read write read", "0 0 w0");
        check(Level::Eventual, Sight::Stream, "read write read", "0 0");
    }
}
