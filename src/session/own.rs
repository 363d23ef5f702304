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
/// Where nobody shows others' writes as they come, a request sees those of others that were made
/// while it ran with this delay at the most. A fence for every read made each query cost half as
/// much again.
const SHARED_MAX: Duration = Duration::from_millis(4);

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
    pub fn begin_request(&mut self, now: Instant) -> bool {
        let is_old = self.asked.is_some_and(|(_, at)| is_past(at, QUIET, now));
        if self.spoken || is_old {
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

    /// What a read of a replica has to wait for that is planned now. `shared`: when the last fence
    /// left that is back, whoever asked for it.
    pub fn due(
        &mut self,
        level: Level,
        sight: Sight,
        shared: Option<Instant>,
        now: Instant,
    ) -> Due {
        // Its first read: nobody knows what it waited for since it was made, a request perhaps.
        let since = self.read.replace(now).or(self.asked.map(|(_, at)| at));
        if since.is_some_and(|since| is_past(since, QUIET, now)) {
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
            Level::Strict => return Due::Fence(None),
            Level::Causal => {}
        }
        let age_max = if sight == Sight::Fences { SHARED_MAX } else { AGE_MAX };
        let young = |at: Instant| !is_past(at, age_max, now);
        if let (Some((_, asked)), Some(shared)) = (self.asked, shared)
            && shared > asked
        {
            self.note_fence(asked);
        }
        let fenced = self.fenced.map(|at| match sight {
            Sight::Fences => shared.map_or(at, |shared| shared.max(at)),
            Sight::None | Sight::Stream => at,
        });
        match (fenced, self.asked) {
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
    /// `shared` somebody else's fence is back that left now.
    #[track_caller]
    fn check(level: Level, sight: Sight, words: &str, expected: &str) {
        let (mut own, mut now, mut rounds, mut seen) =
            (Own::default(), Instant::now(), 0_u64, Vec::new());
        let mut shared = None;
        let mut ask = |own: &mut Own, now| {
            rounds += 1;
            own.ask(rounds, now);
        };
        for word in words.split_whitespace() {
            match word {
                "ask" => ask(&mut own, now),
                "names" if own.begin_request(now) => ask(&mut own, now),
                "names" => {}
                "speak" => own.speak(),
                "void" => own.void(),
                "shared" => shared = Some(now),
                "write" => {
                    let position = Position::parse(Flavour::MariaDb, b"0-1-7").unwrap();
                    own.speak();
                    own.write(Ordinal(1), Some(position));
                }
                "read" => {
                    own.speak();
                    seen.push(read(&mut own, (level, sight), shared, now));
                }
                // A plus sign is part of a number.
                ms => now += Duration::from_millis(ms.parse().unwrap()),
            }
        }
        assert_eq!(seen.join(" "), expected, "{words}");
    }

    /// One read: all that it has to wait for, in turn.
    fn read(own: &mut Own, how: (Level, Sight), shared: Option<Instant>, now: Instant) -> String {
        match own.due(how.0, how.1, shared, now) {
            Due::Nothing => "0".into(),
            Due::Written(_) => format!("w{}", read(own, how, shared, now)),
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
        // Connected long before its first request comes.
        check("ask +9 read", "1");
        check("ask +10 read +9 read", "? 0");
        check("ask speak +600 read", "?");
        // Never quiet: a second at most, counted from when it was asked for.
        check("ask +5 read +9 read", "1 0");
        check("ask +1000 read", "?");
        // wpdb's preamble on a connection that was used before.
        check("ask names read names read names names read", "1 2 3");
        check("ask speak names read", "2");
        check("names +9 names read", "1");
        check("names +10 names read", "2");
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
            if own.due(Level::Causal, Sight::Stream, None, now) != Due::Nothing {
                own.note_fence(now);
                fences += 1;
            }
        }
        assert_eq!(fences, 2);
    }

    #[test]
    fn without_a_follower_others_fences_are_shared() {
        let check = |words, expected| check(Level::Causal, Sight::Fences, words, expected);
        check("ask read read +3 read +1 read", "1 0 0 ?");
        check("ask read +1 shared +3 read +1 read", "1 0 ?");
        // The beginning of a request asks for its own, or for one that left later.
        check("shared ask +1 read", "1");
        check("ask +1 shared read", "0");
        check("shared +1 ask read", "1");
        check("shared +1 read", "?");
        check("ask read +1 shared void read", "1 ?");
        check("ask read +1 shared speak names read", "1 2");
        check("ask read +10 shared read", "1 ?");
        check("ask +10 shared read", "?");
    }

    #[test]
    fn levels() {
        check(Level::Strict, Sight::Stream, "ask read read write read", "? ? w?");
        check(Level::Causal, Sight::None, "ask read +20 read", "0 0");
        check(Level::Session, Sight::Stream, "read +20 read write read", "0 0 w0");
        check(Level::Eventual, Sight::Stream, "read write read", "0 0");
    }
}
