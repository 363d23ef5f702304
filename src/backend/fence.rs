//! Fences: what the primary has as of now, one question for all who wait when it leaves.
//!
//! Rounds have numbers. Who asks gets the number of the next one that leaves, and waits until it
//! is back; its cost depends on the way to the primary, not on how many ask (as a Raft leader
//! answers ReadIndex). Asking the server is `probe`'s, over the line by which it watches the
//! primary; what an answer means is `freshness`'s.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::freshness::Sight;

/// While reads come, the next fence leaves so long after the last: they need not wait for one then.
const AHEAD: Duration = Duration::from_millis(2);

/// All rounds of one fleet.
#[derive(Debug)]
pub struct Fences {
    /// How many have left.
    left: AtomicU64,
    /// The last that came back.
    good: AtomicU64,
    /// When that one left, in microseconds after `born`; 0: none has.
    good_left_us: AtomicU64,
    born: Instant,
    /// Somebody has asked so that nobody will have to wait.
    ahead: AtomicBool,
    /// The last that never will.
    failed: AtomicU64,
    /// Told of both. Not a `watch` channel: that wakes in an order of its own, and equal seeds of
    /// the simulation would not be equal worlds.
    ended: Notify,
    asked: Notify,
    positions: AtomicBool,
    streams: AtomicBool,
    streamed: Notify,
}

/// A round that somebody may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round(pub u64);

/// Why a round gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfenced {
    /// It did not come back in time.
    Late,
    /// The primary did not answer, or is the primary no more.
    Failed,
}

impl Default for Fences {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(0),
            good: AtomicU64::new(0),
            good_left_us: AtomicU64::new(0),
            born: Instant::now(),
            ahead: AtomicBool::new(false),
            failed: AtomicU64::new(0),
            ended: Notify::new(),
            asked: Notify::new(),
            positions: AtomicBool::new(false),
            streams: AtomicBool::new(false),
            streamed: Notify::new(),
        }
    }
}

impl Fences {
    /// Asks for one. It leaves after this.
    pub fn ask(&self) -> Round {
        let next = self.left.load(Ordering::SeqCst).wrapping_add(1);
        self.asked.notify_one();
        Round(next)
    }

    /// When the last one left that is back, and whether the next ought to leave soon.
    #[must_use]
    pub fn shared(&self, now: Instant) -> Option<std::time::Instant> {
        let us = self.good_left_us.load(Ordering::Acquire);
        let left = self.born.checked_add(Duration::from_micros(us)).filter(|_| us > 0)?;
        if now.saturating_duration_since(left) >= AHEAD && !self.ahead.swap(true, Ordering::AcqRel)
        {
            self.asked.notify_one();
        }
        Some(left.into_std())
    }

    /// Waits for one that was asked for.
    pub async fn wait(&self, round: Round, deadline: Instant) -> Result<(), Unfenced> {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.good.load(Ordering::Acquire) >= round.0 {
                return Ok(());
            }
            if self.failed.load(Ordering::Acquire) >= round.0 {
                return Err(Unfenced::Failed);
            }
            if timeout_at(deadline, ended).await.is_err() {
                return Err(Unfenced::Late);
            }
        }
    }

    /// How much of others' writes can be seen now.
    #[must_use]
    pub fn sight(&self) -> Sight {
        if self.streams.load(Ordering::Acquire) {
            Sight::Stream
        } else if self.positions.load(Ordering::Acquire) {
            Sight::Fences
        } else {
            Sight::None
        }
    }

    /// Whether the primary tells positions.
    pub(super) fn note_positions(&self, tells: bool) {
        self.positions.store(tells, Ordering::Release);
    }

    /// A follower shows every write as it comes, or does so no more.
    pub fn note_stream(&self, follows: bool) {
        self.streams.store(follows, Ordering::Release);
        self.streamed.notify_waiters();
    }

    /// The follower has recorded more.
    pub fn note_streamed(&self) {
        self.streamed.notify_waiters();
    }

    /// Waits until it is true of what the follower has recorded. False: not in time, or nobody
    /// follows.
    pub async fn streamed(&self, deadline: Instant, is_there: impl Fn() -> bool) -> bool {
        loop {
            let mut more = pin!(self.streamed.notified());
            more.as_mut().enable();
            if is_there() {
                return true;
            }
            let follows = self.streams.load(Ordering::Acquire);
            if !follows || timeout_at(deadline, more).await.is_err() {
                return false;
            }
        }
    }

    /// Returns when somebody has asked.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// The next round leaves. To be called before its question is sent.
    pub(super) fn leave(&self) -> Round {
        self.ahead.store(false, Ordering::Release);
        Round(self.left.fetch_add(1, Ordering::SeqCst).wrapping_add(1))
    }

    /// It is back, and the floors show what it said.
    pub(super) fn complete(&self, round: Round, left: Instant) {
        let us = left.saturating_duration_since(self.born).as_micros();
        self.good_left_us.store(u64::try_from(us).unwrap_or(u64::MAX), Ordering::Release);
        self.good.fetch_max(round.0, Ordering::AcqRel);
        self.ended.notify_waiters();
    }

    /// It will not come back, nor will those before it.
    pub(super) fn fail(&self, round: Round) {
        self.failed.fetch_max(round.0, Ordering::AcqRel);
        self.ended.notify_waiters();
    }

    /// The primary cannot be asked at all: nor will what has not left yet.
    pub(super) fn fail_all(&self) {
        let round = self.leave();
        self.fail(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words: `ask` (1, 2, ...), `leave` (1, 2, ...), `good1`, `fail1`, `all` fails; then how each
    /// that asked fares.
    async fn check(words: &str, expected: &str) {
        let fences = Fences::default();
        let (mut asked, mut left) = (Vec::new(), vec![Round(0)]);
        for word in words.split_whitespace() {
            let number = |prefix| word.strip_prefix(prefix)?.parse::<usize>().ok();
            match word {
                "ask" => asked.push(fences.ask()),
                "leave" => left.push(fences.leave()),
                "all" => fences.fail_all(),
                _ if number("good").is_some() => {
                    fences.complete(left[number("good").unwrap()], Instant::now())
                }
                _ => fences.fail(left[number("fail").unwrap()]),
            }
        }
        let mut seen = Vec::new();
        for round in asked {
            let deadline = Instant::now() + Duration::from_millis(1);
            seen.push(match fences.wait(round, deadline).await {
                Ok(()) => "good",
                Err(Unfenced::Late) => "late",
                Err(Unfenced::Failed) => "failed",
            });
        }
        assert_eq!(seen.join(" "), expected, "{words}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_serves_those_who_asked_before_it_left() {
        check("ask leave good1", "good").await;
        check("ask ask leave good1", "good good").await;
        check("ask leave ask good1", "good late").await;
        check("ask leave ask good1 leave good2", "good good").await;
        check("ask leave ask leave good2", "good good").await;
        check("ask leave ask fail1", "failed late").await;
        check("ask leave ask all", "failed failed").await;
        check("ask all ask leave good1", "good good").await;
        check("ask", "late").await;
    }
}
