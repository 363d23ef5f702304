//! Watches one replica over a connection of its own: how far it is, and whether it is fit.
//!
//! While a write is on its way the replica itself says when it has it (a wait on the server, not a
//! poll), and is then asked for its whole position: only that is believed. What it says counts
//! once its primary has been seen to have all of it. Called by `probe`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backend::connection::Connection;
use crate::backend::fleet::Fleet;
use crate::backend::inspect::{ask_uptime, inspect, known};
use crate::backend::position_question::{Dialect, Notation, applied_place};
use crate::backend::probe::CALM;
use crate::backend::query::{Answers, QueryError, put_query};
use crate::backend::truth::{Truth, Verdict};
use crate::cluster::health::Event;
use crate::cluster::{Condition, Finding, Server, ServerId};
use crate::position::Position;

/// How often it is asked while something is on its way and it cannot wait for that.
const EAGER: Duration = Duration::from_millis(5);
/// The least time from one wait to the next: what comes in between is seen together.
const ROUND: Duration = Duration::from_millis(4);
/// How often its primary's word is looked for when nothing counts without.
const UNPROVED: Duration = Duration::from_millis(20);
/// So long may its primary lack what it has: a semi-synchronous one sends a write first, and
/// executes it when that was answered.
const DIVERGED_AFTER: Duration = Duration::from_secs(3);
/// Between two looks at one clock and another.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// What is known of one replica, over all connections to it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    line: Line,
    /// When it was started.
    born: Option<Instant>,
    thread_id: u32,
    condition: Condition,
    claims: Claims,
}

/// What holds for one connection only.
#[derive(Debug, Default)]
struct Line {
    inspected: Option<Instant>,
    /// The question that ends when the next write is there.
    wait: Option<String>,
    cannot_wait: bool,
    round: Option<Instant>,
    /// The last wait ended, and nothing more was there.
    in_vain: bool,
}

/// Whether its primary has what it has.
#[derive(Debug, Default)]
struct Claims {
    /// Counts the primaries.
    epoch: u64,
    /// This primary has once been seen to have all of it.
    is_proved: bool,
    /// What it said when, and is not judged yet.
    open: Option<(Position, Instant)>,
    has_diverged: bool,
}

impl Watched {
    /// The connection was lost.
    pub(super) fn hang_up(&mut self) {
        self.line = Line::default();
    }

    /// Asks how far it is and, now and then, how it is. Passes that on.
    pub(super) async fn look(
        &mut self,
        fleet: &Fleet,
        id: ServerId,
        connection: &mut Connection,
    ) -> Result<(), QueryError> {
        let snapshot = fleet.snapshot();
        let (Some(server), Some(pool)) = (snapshot.server(id), fleet.pool(id)) else {
            return Ok(());
        };
        let dialect = pool.dialer().dialect();
        self.line.round = Some(Instant::now());
        let position = self.ask(fleet, connection, dialect).await?;
        self.claims.note(&fleet.truth, position.as_ref(), Instant::now());
        if self.line.inspected.is_none_or(|at| at.elapsed() >= CALM) {
            self.inspect(connection, dialect).await?;
        }
        self.condition.has_diverged = self.claims.has_diverged;
        let findings = self.condition.findings();
        let worst = findings.iter().find(|found| found.fault.is_unfit()).map(Finding::to_string);
        publish(fleet, server, findings);
        match worst {
            Some(why) => fleet.note(id, &Event::ProbeUnfit(why.into())),
            None if !self.claims.counts(&fleet.truth) => fleet.stir.notify_waiters(),
            None => {
                let before = server.live.applied();
                let now = Instant::now().into_std();
                let after = fleet.freshness.advance(&server.live, position.as_ref(), now);
                if after > before {
                    fleet.progressed.notify_waiters();
                }
                self.line.in_vain = self.line.wait.is_some() && after == before;
                fleet.note(id, &Event::ProbeOk);
            }
        }
        Ok(())
    }

    /// Until there is something to look at again.
    pub(super) async fn rest(&mut self, fleet: &Fleet, id: ServerId) {
        // Listens before it looks: a write that is recorded in between is not slept over.
        let mut stirred = pin!(fleet.stir.notified());
        stirred.as_mut().enable();
        self.line.wait = None;
        let is_unfit = self.condition.findings().iter().any(|found| found.fault.is_unfit());
        if !is_unfit && !self.claims.counts(&fleet.truth) {
            return sleep(UNPROVED).await;
        }
        let snapshot = fleet.snapshot();
        let server = snapshot.server(id).filter(|_| !is_unfit);
        let Some(lacked) = server.and_then(|it| fleet.freshness.first_lacked(&it.live)) else {
            let _stirred_or_not = timeout(CALM, stirred).await;
            return;
        };
        let position = lacked.filter(|_| !self.line.cannot_wait && !self.line.in_vain);
        let dialect = fleet.pool(id).map(|pool| pool.dialer().dialect());
        self.line.wait =
            position.zip(dialect).and_then(|(position, dialect)| dialect.wait_for(&position));
        match self.line.round.filter(|_| self.line.wait.is_some()) {
            Some(began) => sleep_until(began + ROUND).await,
            None => sleep(EAGER).await,
        }
    }

    /// Its position, after it has what is waited for, or has not had it for a while.
    async fn ask(
        &mut self,
        fleet: &Fleet,
        connection: &mut Connection,
        dialect: Dialect,
    ) -> Result<Option<Position>, QueryError> {
        let notation = fleet.truth.notation();
        let (capabilities, mut flight) = (connection.capabilities, Vec::new());
        if let Some(wait) = &self.line.wait {
            put_query(&mut flight, capabilities, wait.as_bytes());
        }
        put_query(&mut flight, capabilities, dialect.ask_replica(notation).as_bytes());
        let mut answers = Answers::to(&mut connection.stream, capabilities, &flight).await?;
        if self.line.wait.is_some() && known(answers.rows().await)?.is_none() {
            self.line.cannot_wait = true;
        }
        Ok(match notation {
            Notation::Gtids => {
                known(answers.rows().await)?.and_then(|rows| dialect.read_gtids(&rows))
            }
            Notation::File => {
                let snapshot = fleet.snapshot();
                let source = snapshot.primary().and_then(|primary| primary.identity.uuid());
                let channels = known(answers.records().await)?;
                channels.zip(source).and_then(|(rows, source)| applied_place(&rows, source))
            }
        })
    }

    async fn inspect(
        &mut self,
        connection: &mut Connection,
        dialect: Dialect,
    ) -> Result<(), QueryError> {
        let had = &self.condition;
        let mut restarted = had.restarted_unflushed;
        if self.line.inspected.is_none() {
            let uptime = ask_uptime(connection).await?.map(Duration::from_secs);
            let born = uptime.and_then(|uptime| Instant::now().checked_sub(uptime));
            let later = self.born.zip(born).is_some_and(|(old, new)| new > old + CLOCK_SLACK);
            let is_new = later || connection.thread_id < self.thread_id;
            restarted |= is_new && had.flush_log == Some(0);
            self.born = born.or(self.born);
            self.thread_id = connection.thread_id;
        }
        let seen = inspect(connection, dialect).await?.condition;
        self.condition = Condition {
            restarted_unflushed: restarted && seen.flush_log == Some(0),
            has_diverged: had.has_diverged,
            ..seen
        };
        self.line.inspected = Some(Instant::now());
        Ok(())
    }
}

impl Claims {
    /// It has answered that it has this (`None`: nothing that it tells).
    fn note(&mut self, truth: &Truth, position: Option<&Position>, answered: Instant) {
        if self.epoch != truth.epoch() {
            *self = Self { epoch: truth.epoch(), ..Self::default() };
        }
        let verdict = |position: &Position, at| truth.judge(position, at);
        if position.is_none_or(|position| verdict(position, answered) == Verdict::Inside) {
            self.acquit();
            self.open = None;
            return;
        }
        let newest = || position.map(|position| (position.clone(), answered));
        match self.open.as_ref().map(|(claim, at)| (verdict(claim, *at), *at)) {
            None => self.open = newest(),
            Some((Verdict::Inside, _)) => {
                self.acquit();
                self.open = newest();
            }
            Some((Verdict::Outside, since)) => {
                self.has_diverged |= answered.duration_since(since) >= DIVERGED_AFTER;
            }
            Some((Verdict::Open, _)) => {}
        }
    }

    fn acquit(&mut self) {
        (self.is_proved, self.has_diverged) = (true, false);
    }

    /// What it says to have counts: there is nothing to compare it with, or it was compared.
    fn counts(&self, truth: &Truth) -> bool {
        !truth.is_known() || (self.is_proved && self.epoch == truth.epoch())
    }
}

/// Tells whoever looks, and the log when it is news.
fn publish(fleet: &Fleet, server: &Server, findings: Vec<Finding>) {
    if *server.findings == *findings {
        return;
    }
    for found in findings.iter().filter(|found| !server.findings.contains(found)) {
        let unfit = found.fault.is_unfit();
        tracing::warn!(server = %server.address, %found, unfit, "replica");
    }
    for gone in server.findings.iter().filter(|gone| !findings.contains(gone)) {
        tracing::info!(server = %server.address, %gone, "replica: no more");
    }
    fleet.find(server.id, Arc::from(findings));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Claims;
    use crate::backend::truth::Truth;
    use crate::position::{Flavour, Position};

    /// `p=5` the primary is asked and says so, `r=7` the replica; `r` it tells nothing; `+9` ms
    /// pass; `new` another primary. `?` shows whether it counts, and `diverged`.
    fn check(words: &str, expected: &str) {
        let at = |number| Position::parse(Flavour::MariaDb, format!("0-1-{number}").as_bytes());
        let (mut now, truth, mut claims) = (Instant::now(), Truth::default(), Claims::default());
        let mut seen = Vec::new();
        for word in words.split_whitespace() {
            // Nothing happens at the same time.
            now += Duration::from_micros(1);
            match word.split_once('=') {
                Some(("p", number)) => truth.tell(at(number).unwrap(), now),
                Some((_, number)) => claims.note(&truth, at(number).ok().as_ref(), now),
                None if word == "r" => claims.note(&truth, None, now),
                None if word == "new" => truth.forget(),
                None if word == "?" => {
                    seen.push(match (claims.counts(&truth), claims.has_diverged) {
                        (true, false) => "counts",
                        (false, false) => "open",
                        (_, true) => "diverged",
                    })
                }
                None => now += Duration::from_millis(word.parse().unwrap()),
            }
        }
        assert_eq!(seen.join(" "), expected, "{words}");
    }

    #[test]
    fn a_replica_counts_when_its_primary_has_what_it_has() {
        check("?", "counts");
        check("p=5 ?", "open");
        check("p=5 r=5 ?", "counts");
        check("p=5 r=7 ? p=7 r=8 ?", "open counts");
        check("p=5 r=7 ? p=6 r=8 ? +2999 r=8 ? +1 r=8 ?", "open open open diverged");
        // It had seen a write before its primary had executed it.
        check("p=5 r=5 r=7 p=6 r=8 ? +1000 p=8 r=8 ?", "counts counts");
        check("p=5 r=7 p=6 +3000 r=8 ? p=9 r=9 ?", "diverged counts");
        check("p=5 r=7 p=6 +3000 r ?", "counts");
        check("p=5 r=5 new ? p=4 ? r=5 ? p=5 r=5 ?", "counts open open counts");
    }
}
