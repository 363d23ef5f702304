//! Before a read of a replica is planned: waits until it is known what it has to have seen.
//!
//! Whether anything is due is `session::own`'s to say; nothing is for nearly every read. Every
//! wait has an end, after which the primary is read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::serve::Conversation;
use crate::freshness::{Level, Sight};
use crate::limits;
use crate::session::observe::Said;
use crate::session::own::Due;
use crate::session::plan::{Fenced, Policy, Reason};
use crate::session::write::Write;
use crate::sql::Statement;

/// Between two looks whether the primary answers again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Conversation {
    /// The policy to plan a statement with.
    pub(super) async fn policy(&mut self, it: &Statement) -> Policy {
        let policy = self.house.policy(&self.credentials.user, self.session.database());
        let Some(level) = self.session.level(it, policy) else { return policy };
        let sight = self.house.fleet.fences.sight();
        if level == Level::Eventual || sight == Sight::None {
            return policy;
        }
        let now = Instant::now();
        let shared = match sight {
            Sight::Fences => self.house.fleet.fences.shared(now),
            Sight::None | Sight::Stream => None,
        };
        match self.session.own.due(level, sight, shared, now.into_std()) {
            Due::Nothing => policy,
            due => Box::pin(self.catch_up(due, level, policy)).await,
        }
    }

    async fn catch_up(&mut self, mut due: Due, level: Level, policy: Policy) -> Policy {
        let begun = Instant::now();
        loop {
            match due {
                Due::Nothing => return policy,
                Due::Written(position) => {
                    self.house.fleet.await_stream(&position).await;
                    self.session.own.write(self.house.fleet.freshness.last(), None);
                }
                Due::Fence(round) => {
                    let is_fenced = self.fence(round, begun).await || self.fence_anew(begun).await;
                    let took = begun.elapsed().as_secs_f64();
                    self.house.metrics.fence_seconds.observe(took);
                    return if is_fenced { policy } else { self.unfenced(policy) };
                }
            }
            let sight = self.house.fleet.fences.sight();
            due = self.session.own.due(level, sight, None, begun.into_std());
        }
    }

    /// No primary vouches for what a read must have seen: if there is none, what was known last has
    /// to do, or nothing does.
    fn unfenced(&self, policy: Policy) -> Policy {
        let fleet = &self.house.fleet;
        let (is_lost, is_demoted) = (fleet.has_lost_primary(), fleet.truth.is_read_only());
        if policy.serves_stale && (is_lost || is_demoted) {
            self.house.metrics.reads_unfenced.inc();
        }
        let fenced = match (is_lost, policy.serves_stale) {
            (true, true) => policy.fenced,
            // One that cannot be reached is waited for; one that was demoted has all that its
            // replicas have.
            (false, false) if is_demoted => Fenced::Refused,
            _ => Fenced::No,
        };
        Policy { fenced, ..policy }
    }

    /// Once more, while it is open whether the primary is lost: until it answers, is known to be
    /// down, or answers and vouches for nobody.
    async fn fence_anew(&mut self, begun: Instant) -> bool {
        let deadline = begun + Duration::from_millis(limits::PRIMARY_DOUBT_MS);
        while self.house.fleet.doubts_primary() && Instant::now() < deadline {
            if self.client.is_closed_now() || self.seat.is_interrupted() {
                return false;
            }
            sleep(LOOK_AGAIN).await;
            if self.fence(None, Instant::now()).await {
                return true;
            }
        }
        false
    }

    async fn fence(&mut self, round: Option<u64>, asked: Instant) -> bool {
        let fences = &self.house.fleet.fences;
        let round = round.map_or_else(|| fences.ask(), crate::backend::fence::Round);
        let deadline = asked + Duration::from_millis(limits::FENCE_WAIT_MS);
        let is_back = fences.wait(round, deadline).await.is_ok();
        if is_back {
            self.session.own.note_fence(asked.into_std());
        }
        is_back
    }

    /// For the log: what kept a read from the replicas.
    pub(super) fn tell_floor(&self, why: Reason, said: Said<'_>) {
        let Said::Statement(it, text) = said else { return };
        if why != Reason::NotFresh || !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        // What is bound is not looked at.
        let text = if self.call.is_some() { b"" } else { text };
        if let Some(deciding) = self.session.deciding(it, text, &self.house.fleet.freshness) {
            tracing::debug!(
                session = self.session.id,
                by = %deciding,
                write = deciding.floor.0,
                "no replica has what a read must have seen"
            );
        }
    }

    /// A write was done: reads will wait for it. To be called before its client is told.
    pub(super) fn note_write(&mut self, write: Write) {
        if write.position.is_none() {
            // It may stand anywhere, if it was written at all.
            self.session.own.void();
        }
        let (ordinal, awaited) = self.house.fleet.record(write);
        self.session.own.write(ordinal, awaited);
    }

    /// A request begins, perhaps: what the primary has as of now will be asked for, and its first
    /// statements are answered meanwhile.
    pub(super) fn begin_request(&mut self) {
        let fences = &self.house.fleet.fences;
        if fences.sight() == Sight::None {
            return;
        }
        let now = Instant::now().into_std();
        if self.session.own.begin_request(now) {
            self.session.own.ask(fences.ask().0, now);
        }
    }
}
