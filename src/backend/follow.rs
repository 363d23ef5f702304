//! Reads the primary's log as it is written, so that every write raises the floors of what it
//! touched, by whomever it was made.
//!
//! One connection by the monitor's account, which needs REPLICATION SLAVE. What the log tells of
//! a transaction is `freshness::transaction`'s; here is where it is resumed, when what is known of
//! tables holds, and what is done without it: while nobody follows, fences raise every floor.

mod dump;
mod intake;
mod look;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::select;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backend::connection::Connection;
use crate::backend::dialer::OpenError;
use crate::backend::fence::Fences;
use crate::backend::fleet::Fleet;
use crate::backend::position_question::Notation;
use crate::backend::query::{Answers, QueryError, ask, put_command, put_query};
use crate::cluster::{Identity, Server};
use crate::freshness::closure::Closure;
use crate::freshness::transaction::{Layout, Transaction, Whole};
use crate::freshness::{Touched, Written};
use crate::metrics::FollowerCounters;
use crate::position::{self, Position};
use crate::secret::{Credentials, nonce};
use crate::sql::Flavour;
use crate::wire::Malformed;
use crate::wire::binlog::{Decoder, Gtid};
use crate::wire::capability::Capabilities;
use intake::{Ended, Intake};
pub use look::closure;
use look::{Blind, Look};

/// The server says at least that nothing happened, once a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Between two tries.
const REST: Duration = Duration::from_millis(200);
/// After a refusal: somebody has to grant something first.
const REFUSED_REST: Duration = Duration::from_secs(10);
/// Between two looks at the primary's tables.
const LOOK_REST: Duration = Duration::from_millis(200);
/// After one that has failed.
const BLIND_REST: Duration = Duration::from_secs(5);
/// One look takes no longer.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// The log does not reach back that far, or the server has less than we have seen.
const NOT_IN_LOG: u16 = 1236;
/// The account may not do that.
const NOT_GRANTED: [u16; 3] = [1227, 1045, 1044];

type Looking = Pin<Box<dyn Future<Output = Result<Look, Blind>> + Send>>;

/// One reader of one primary after another.
struct Follower {
    fleet: Arc<Fleet>,
    /// Who is followed, and since when it runs.
    source: Option<Source>,
    /// All that was there at the start, and all that was read since.
    heard: Option<Position>,
    layout: Layout,
    /// How often tables may have changed.
    changes: Arc<AtomicU64>,
    /// As of how many of those the layout is, and whether a user of the tables was there to ask.
    known: Option<(u64, bool)>,
    looking: Option<Looking>,
    look_after: Instant,
    seen: Option<Look>,
    complaints: BTreeSet<&'static str>,
    /// Why it was not followed when that was said last.
    told: Option<String>,
}

/// One run of one server.
#[derive(Clone, Debug)]
struct Source {
    identity: Identity,
    thread_id: u32,
    /// How long it had been up at this time.
    up_s: u64,
    at: Instant,
}

/// Why it is not followed, or not any more.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// Nobody is to be followed yet.
    #[error("nobody to follow")]
    Idle,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("the log has ended: {0}")]
    Ended(#[from] Ended),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
    #[error("nothing was said for too long")]
    Silent,
    #[error("another server is the primary now")]
    Replaced,
}

/// Floors are raised by the stream until it is dropped.
struct Streaming<'a>(&'a Fences, &'a FollowerCounters);

impl<'a> Streaming<'a> {
    fn begin(fences: &'a Fences, counters: &'a FollowerCounters) -> Self {
        fences.note_stream(true);
        counters.up.set(1);
        Self(fences, counters)
    }
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.0.note_stream(false);
        self.1.up.set(0);
    }
}

/// Follows whoever is the primary, until it is dropped.
pub async fn keep(fleet: Arc<Fleet>) {
    if !fleet.policy.follower {
        return;
    }
    let mut follower = Follower {
        source: None,
        heard: None,
        layout: Layout::default(),
        changes: Arc::default(),
        known: None,
        looking: None,
        look_after: Instant::now(),
        seen: None,
        complaints: BTreeSet::new(),
        told: None,
        fleet,
    };
    loop {
        let Err(stop) = follower.follow().await;
        let rest = follower.note_stop(&stop);
        sleep(rest).await;
    }
}

impl Follower {
    async fn follow(&mut self) -> Result<std::convert::Infallible, Stop> {
        let fleet = Arc::clone(&self.fleet);
        let (Some(account), Some(primary)) =
            (fleet.policy.monitor.load_full(), look::primary(&fleet))
        else {
            return Err(Stop::Idle);
        };
        let Some(pool) = fleet.pool(primary.id) else { return Err(Stop::Idle) };
        let follows = fleet.is_started() && fleet.truth.notation() == Notation::Gtids;
        if !follows {
            return Err(Stop::Idle);
        }
        let deadline = Instant::now() + fleet.ways.connect_timeout;
        let dialing =
            pool.dialer().open_at(&primary.address, &account, Capabilities(0), false, deadline);
        let (mut connection, identity) = dialing.await?;
        if identity != primary.identity {
            return Err(Stop::Replaced);
        }
        self.meet(&mut connection, identity).await?;
        let flavour = pool.dialer().flavour();
        let from = self.resume(&mut connection, flavour).await?;
        let mut decoder = Decoder::new();
        let mut intake = begin(&mut connection, flavour, &from).await?;
        let streaming = Streaming::begin(&fleet.fences, &fleet.metrics.follower);
        tracing::info!(address = %primary.address, "the primary's log is followed");
        self.told = None;
        let mut transaction = Transaction::new();
        loop {
            self.take_all(&mut intake, &mut decoder, &mut transaction)?;
            self.keep_look(&primary, &account);
            self.check_primary(&primary)?;
            let count = self.read(&mut connection, &mut intake).await?;
            streaming.1.bytes.inc_by(count);
        }
    }

    /// Whether it is the same run of the same server: one that has crashed may have lost writes
    /// that we have seen, and number others alike.
    async fn meet(
        &mut self,
        connection: &mut Connection,
        identity: Identity,
    ) -> Result<(), QueryError> {
        let text = "SHOW GLOBAL STATUS LIKE 'Uptime'";
        let rows = ask(&mut connection.stream, connection.capabilities, text).await?;
        let cell = rows.first().and_then(|row| row.get(1)?.as_deref());
        let up_s = cell.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
        let thread_id = connection.thread_id;
        let source = Source { identity, thread_id, up_s, at: Instant::now() };
        let is_same = self.source.as_ref().is_some_and(|before| before.is_still(&source));
        if !is_same {
            if self.source.as_ref().is_some_and(|before| before.identity == source.identity) {
                tracing::info!("the primary was started anew");
                self.fleet.restart();
            }
            self.start_over();
        }
        self.source = Some(source);
        Ok(())
    }

    fn start_over(&mut self) {
        self.heard = None;
        self.forget_layout(Closure::Unknown);
    }

    /// Where to go on. At first, all that is there counts as seen: it raises every floor.
    async fn resume(
        &mut self,
        connection: &mut Connection,
        flavour: Flavour,
    ) -> Result<Position, Stop> {
        if let Some(heard) = &self.heard {
            return Ok(heard.clone());
        }
        let Some(pool) = look::primary(&self.fleet).and_then(|it| self.fleet.pool(it.id)) else {
            return Err(Stop::Idle);
        };
        let dialect = pool.dialer().dialect();
        let covers = self.fleet.freshness.last();
        let text = dialect.ask_primary(Notation::Gtids);
        let rows = ask(&mut connection.stream, connection.capabilities, text).await?;
        let position = dialect.read_primary(Notation::Gtids, &rows).ok_or(Stop::Idle)?;
        debug_assert_eq!(dialect.flavour, flavour);
        self.fleet.freshness.fence(covers, &position, Instant::now().into_std());
        self.fleet.stir.notify_waiters();
        self.heard = Some(position.clone());
        Ok(position)
    }

    /// Waits for more of the log, or for a look at the tables.
    async fn read(
        &mut self,
        connection: &mut Connection,
        intake: &mut Intake,
    ) -> Result<u64, Stop> {
        let reading = timeout(SILENCE_MAX, connection.stream.read_buf(&mut intake.unread));
        let Some(looking) = &mut self.looking else {
            return counted(reading.await);
        };
        select! {
            biased;
            read = reading => counted(read),
            look = looking => {
                self.looking = None;
                self.note_look(look);
                Ok(0)
            }
        }
    }

    fn take_all(
        &mut self,
        intake: &mut Intake,
        decoder: &mut Decoder,
        transaction: &mut Transaction,
    ) -> Result<(), Stop> {
        let mut has_news = false;
        while let Some(bytes) = intake.next()? {
            let event = decoder.decode(bytes)?;
            if let Some(whole) = transaction.take(&event, &self.layout) {
                self.record(whole);
                has_news = true;
            }
        }
        if has_news {
            self.fleet.fences.note_streamed();
            self.fleet.stir.notify_waiters();
        }
        Ok(())
    }

    /// One transaction: before it is known to be seen, its floors are raised.
    fn record(&mut self, whole: Whole) {
        let freshness = &self.fleet.freshness;
        if whole.changes_tables {
            freshness.forget_key_columns();
        }
        let (changes, position) = (whole.changes_tables, whole.gtid.as_ref().and_then(position_of));
        let at = Instant::now().into_std();
        whole.touched(&self.layout, |touched| {
            let touched = if position.is_some() { touched } else { Touched::Everything };
            freshness.record_streamed(Written { touched, position: position.clone(), at })
        });
        if let (Some(heard), Some(position)) = (&mut self.heard, &position) {
            let _same_kind = heard.union(position);
        }
        if changes {
            // What the server itself tells, it goes on telling.
            let closure = match self.layout.closure {
                Closure::Told => Closure::Told,
                Closure::Unknown | Closure::Known(_) => Closure::Unknown,
            };
            self.forget_layout(closure);
        }
        self.fleet.metrics.follower.transactions.inc();
    }

    fn forget_layout(&mut self, closure: Closure) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.fleet.freshness.forget_key_columns();
        self.layout = Layout { closure, ..Layout::default() };
    }

    /// Uses what was seen of the tables once the stream has come to where it was seen; looks again
    /// when that was too early.
    fn keep_look(&mut self, primary: &Arc<Server>, account: &Arc<Credentials>) {
        let changes = self.changes.load(Ordering::Relaxed);
        let heard = self.heard.as_ref();
        let is_due = |look: &mut Look| heard.is_some_and(|heard| heard.contains(&look.position));
        if let Some(look) = self.seen.take_if(is_due)
            && look.changes == changes
        {
            let keyed = look.layout.columns.len();
            tracing::debug!(keyed, closure = ?look.layout.closure, "the primary's tables were read");
            self.fleet.freshness.set_key_columns(look.layout.columns.clone());
            self.layout = look.layout;
            self.known = Some((changes, look.is_by_user));
        }
        let has_user = self.fleet.learned().is_some();
        let is_known = self.known.is_some_and(|(at, by)| at == changes && (by || !has_user));
        if self.looking.is_some() || self.seen.is_some() || is_known {
            return;
        }
        let fleet = Arc::clone(&self.fleet);
        let (primary, account) = (Arc::clone(primary), Arc::clone(account));
        let (changes, after) = (Arc::clone(&self.changes), self.look_after);
        self.looking = Some(Box::pin(async move {
            sleep_until(after).await;
            let looking = look::look(fleet, primary, account, changes.load(Ordering::Relaxed));
            timeout(LOOK_MAX, looking).await.unwrap_or(Err(Blind::NoPosition))
        }));
    }

    fn note_look(&mut self, look: Result<Look, Blind>) {
        self.look_after = Instant::now() + if look.is_ok() { LOOK_REST } else { BLIND_REST };
        match look {
            Ok(look) => {
                if look.is_refused {
                    self.complain(
                        "foreign keys",
                        "the monitor's account lacks PROCESS: what foreign keys change is not \
                         known, so every write counts as one to all tables",
                        &"",
                    );
                }
                self.seen = Some(look);
            }
            Err(error) => self.complain("tables", "the primary's tables were not read", &error),
        }
    }

    fn check_primary(&self, followed: &Server) -> Result<(), Stop> {
        let primary = look::primary(&self.fleet);
        let is_same = primary.is_some_and(|it| it.identity == followed.identity);
        let is_wanted = self.fleet.is_started() && self.fleet.policy.monitor.load().is_some();
        if is_same && is_wanted { Ok(()) } else { Err(Stop::Replaced) }
    }

    /// How long to rest then.
    fn note_stop(&mut self, stop: &Stop) -> Duration {
        let refused = match stop {
            Stop::Idle => return REST,
            Stop::Ended(Ended::Refused(refused)) | Stop::Query(QueryError::Refused(refused)) => {
                refused.code
            }
            Stop::Open(error) if error.is_of_account() => NOT_GRANTED[0],
            _ => 0,
        };
        if NOT_GRANTED.contains(&refused) {
            let words = "the primary's log cannot be followed: the monitor's account needs \
                         REPLICATION SLAVE; until then every write counts as one to all tables";
            self.complain("grant", words, stop);
            return REFUSED_REST;
        }
        if refused == NOT_IN_LOG {
            self.complain("gone", "the log does not reach back so far; reading it anew", stop);
            self.start_over();
            return REST;
        }
        match stop {
            Stop::Malformed(_) | Stop::Ended(Ended::Malformed(_)) => {
                self.complain("malformed", "the primary's log is not understood", stop);
                REFUSED_REST
            }
            _ => {
                // It tries again at once, for as long as the primary is away.
                let why = Some(stop.to_string());
                if why == self.told {
                    tracing::debug!(error = %stop, "the primary's log is still not followed");
                } else {
                    tracing::info!(error = %stop, "the primary's log is not followed");
                    self.told = why;
                }
                REST
            }
        }
    }

    /// Once for each reason.
    fn complain(&mut self, reason: &'static str, words: &str, error: &dyn std::fmt::Display) {
        if self.complaints.insert(reason) {
            tracing::warn!(%error, "{words}");
        } else {
            tracing::debug!(%error, "{words}");
        }
    }
}

impl Source {
    /// Numbers of connections grow, and so does the time that it has been up, by whole seconds.
    fn is_still(&self, now: &Source) -> bool {
        let expected = self.up_s.saturating_add(now.at.duration_since(self.at).as_secs());
        let is_up = now.up_s.saturating_add(1) >= expected;
        self.identity == now.identity && now.thread_id > self.thread_id && is_up
    }
}

/// Has the server begin; what it answers comes with the log.
async fn begin(
    connection: &mut Connection,
    flavour: Flavour,
    from: &Position,
) -> Result<Intake, Stop> {
    let mut flight = Vec::new();
    let capabilities = connection.capabilities;
    put_query(&mut flight, capabilities, dump::words(flavour, from).as_bytes());
    Answers::to(&mut connection.stream, capabilities, &flight).await?.ok().await?;
    let mut id = [0; 4];
    // Replicas count from below, and two with the same number push each other out.
    nonce::fill(&mut id).map_err(|_| Stop::Idle)?;
    let (code, body) = dump::command(from, u32::from_le_bytes(id) | 0x8000_0000);
    flight.clear();
    put_command(&mut flight, code, &body);
    connection.stream.write_all(&flight).await?;
    connection.stream.flush().await?;
    let mut intake = Intake::default();
    // A refusal comes before anything else.
    let first = timeout(SILENCE_MAX, connection.stream.read_buf(&mut intake.unread));
    counted(first.await)?;
    Ok(intake)
}

fn counted(read: Result<std::io::Result<usize>, Elapsed>) -> Result<u64, Stop> {
    match read {
        Err(_) => Err(Stop::Silent),
        Ok(Ok(0)) => Err(Stop::Ended(Ended::Closed)),
        Ok(count) => Ok(u64::try_from(count?).unwrap_or(u64::MAX)),
    }
}

fn position_of(gtid: &Gtid) -> Option<Position> {
    let flavour = match gtid {
        Gtid::MySql { .. } => position::Flavour::MySql,
        Gtid::MariaDb { .. } => position::Flavour::MariaDb,
    };
    Position::parse(flavour, gtid.to_string().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_run_of_a_server_is_seen() {
        let at = Instant::now();
        let source = |identity: &str, thread_id, up_s, after| Source {
            identity: Identity::of_address(identity),
            thread_id,
            up_s,
            at: at + Duration::from_secs(after),
        };
        let before = source("a", 10, 100, 0);
        let check = |now: Source, expected| assert_eq!(before.is_still(&now), expected, "{now:?}");
        check(source("a", 11, 100, 0), true);
        check(source("a", 11, 105, 5), true);
        check(source("a", 11, 104, 5), true);
        check(source("a", 11, 103, 5), false);
        check(source("a", 11, 2, 5), false);
        check(source("a", 10, 105, 5), false);
        check(source("b", 11, 105, 5), false);
    }
}
