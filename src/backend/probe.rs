//! Finds the servers behind the configured addresses, and asks each how it is and how far.
//!
//! One task per address looks who answers there, one per server watches it over a connection of
//! its own; what a replica is asked is in `progress`. What is found goes to `fleet`; nothing is
//! decided here. A server that answers nonsense is noted as failed, and asked again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::catalog;
use crate::backend::connection::Connection;
use crate::backend::dialer::{Dialer, OpenError};
use crate::backend::fleet::Fleet;
use crate::backend::follow;
use crate::backend::inspect::known;
use crate::backend::position_question::{Dialect, Notation, State};
use crate::backend::progress::Watched;
use crate::backend::query::{Answers, QueryError, put_query};
use crate::backend::resolve::resolve;
use crate::cluster::health::Event;
use crate::cluster::{Health, Identity, Role, ServerId};
use crate::freshness::Sight;
use crate::limits;
use crate::position::{Ordinal, Position};
use crate::secret::Credentials;
use crate::sql::Flavour;
use crate::wire::capability::Capabilities;

/// How often a server is asked when nothing else makes us ask.
pub(super) const CALM: Duration = Duration::from_millis(500);
/// How often the primary is asked while the position of a write is not known.
const EAGER: Duration = Duration::from_millis(5);
/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How often addresses are looked at anew.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How old the primary's settings for new sessions may be.
const SETTINGS_AGE: Duration = Duration::from_secs(60);
/// Between two looks at them.
const SETTINGS_REST: Duration = Duration::from_secs(1);
/// Connections to one address by which we find out how many servers are behind it.
const LOOKS: usize = 8;

/// Runs until it is dropped.
pub async fn watch(fleet: Arc<Fleet>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(discover(Arc::clone(&fleet)));
    tasks.spawn(follow_settings(Arc::clone(&fleet)));
    tasks.spawn(catalog::keep(Arc::clone(&fleet)));
    tasks.spawn(follow::keep(Arc::clone(&fleet)));
    let mut watched = BTreeSet::new();
    loop {
        for server in &fleet.snapshot().servers {
            fleet.note(server.id, &Event::Tick);
            if watched.insert(server.id) {
                tasks.spawn(watch_server(Arc::clone(&fleet), server.id));
            }
        }
        for pool in fleet.pools().values() {
            pool.expire(Instant::now(), fleet.policy.idle_max);
        }
        pause(&fleet, Duration::from_millis(100)).await;
    }
}

/// Waits, but not past the next thing worth looking at.
async fn pause(fleet: &Fleet, at_most: Duration) {
    let _woken_or_not = timeout(at_most, fleet.stir.notified()).await;
}

/// Looks once a minute, and when something that passed may have changed them, how the primary's
/// new sessions begin: a `SET GLOBAL` there reaches no connection that is open already.
async fn follow_settings(fleet: Arc<Fleet>) {
    loop {
        let _told_or_not = timeout(SETTINGS_AGE, fleet.unsettled.notified()).await;
        if let Some(account) = fleet.watcher()
            && let Err(error) = fleet.refresh_baseline(&account).await
        {
            tracing::debug!(error = %String::from_utf8_lossy(&error.message), "settings not read");
        }
        sleep(SETTINGS_REST).await;
    }
}

/// Looks again and again who answers at the replicas' addresses.
async fn discover(fleet: Arc<Fleet>) {
    // Addresses behind which more than one server was seen, or none yet, are looked at harder.
    let mut settled: BTreeSet<String> = BTreeSet::new();
    loop {
        let Some(account) = fleet.watcher() else {
            pause(&fleet, CALM).await;
            continue;
        };
        for name in &fleet.policy.replicas {
            for address in resolve(&fleet.ways.network, name).await {
                fleet.ways.tls.know(&address, name);
                if settled.contains(&address) && fleet.is_well_at(&address) {
                    continue;
                }
                let looks = if settled.contains(&address) { 1 } else { LOOKS };
                let seen = look(&fleet, &address, &account, looks).await;
                match seen.len() {
                    0 => settled.remove(&address),
                    1 => settled.insert(address),
                    _ => false,
                };
            }
        }
        sleep(LOOK_AGAIN.min(if settled.is_empty() { CALM } else { LOOK_AGAIN })).await;
    }
}

/// Dials an address several times; gives who answered.
async fn look(
    fleet: &Fleet,
    address: &str,
    account: &Arc<Credentials>,
    looks: usize,
) -> BTreeSet<Identity> {
    let dialer = Dialer::new(fleet.ways.clone(), address, None, Flavour::MySql);
    let mut seen = BTreeSet::new();
    // Met only when the looking is over: a look and a watcher's line are then never open at once,
    // and the operator's limit of connections holds.
    for _ in 0..looks {
        let deadline = Instant::now() + fleet.ways.connect_timeout;
        match dialer.open_at(address, account, Capabilities(0), true, deadline).await {
            Ok((_, identity)) => {
                if seen.len() < limits::SERVERS_MAX {
                    seen.insert(identity);
                }
            }
            Err(error) => {
                tracing::debug!(%address, %error, "nobody to be found");
                break;
            }
        }
    }
    for identity in &seen {
        fleet.meet(address, identity, dialer.flavour());
    }
    seen
}

/// Watches one server for as long as it belongs to the fleet.
async fn watch_server(fleet: Arc<Fleet>, id: ServerId) {
    let mut line: Option<Connection> = None;
    let mut replica = Watched::default();
    loop {
        let Some(server) = fleet.snapshot().server(id).cloned() else { return };
        let Some(account) = fleet.watcher() else {
            pause(&fleet, CALM).await;
            continue;
        };
        let started = Instant::now();
        if line.is_none() {
            line = connect(&fleet, id, &account).await;
        }
        let mut failed = line.is_none();
        if let Some(connection) = &mut line {
            let asking = async {
                match server.role {
                    Role::Primary => fence(&fleet, id, connection).await,
                    Role::Reader => replica.look(&fleet, id, connection).await,
                }
            };
            let asked = timeout(ANSWER_WAIT, asking).await;
            failed = !matches!(asked, Ok(Ok(())));
            if asked.is_err()
                && let Some(pool) = fleet.pool(id)
            {
                // It hangs: whoever waits for a reply from it waits in vain.
                pool.give_up();
            }
            if let Ok(Err(error)) = &asked {
                tracing::warn!(server = %server.address, %error, "a probe failed");
            }
        }
        if failed {
            line = None;
            replica.hang_up();
            fleet.note(id, &Event::ProbeFailed);
            if server.role == Role::Primary {
                fleet.fences.fail_all();
            }
            // Whatever it had applied: a server that restarts may have less (a crash).
            fleet.renew(id);
            sleep(CALM.saturating_sub(started.elapsed())).await;
        } else if let Some(connection) = &mut line {
            prune(&fleet);
            let rest = async {
                match server.role {
                    Role::Reader => replica.rest(&fleet, id).await,
                    Role::Primary => rest_of_primary(&fleet).await,
                }
            };
            // A replica that is back within one pause, with less than it had, was read stale.
            select! {
                biased;
                () = rest => {}
                () = hung_up(connection) => {}
            }
        }
    }
}

/// The server has left; nothing else is said unasked.
async fn hung_up(connection: &mut Connection) {
    loop {
        let readable = connection.stream.readable().await;
        if readable.is_err() || connection.stream.is_readable_now() {
            return;
        }
    }
}

/// Until somebody asks for a fence, or one is due.
async fn rest_of_primary(fleet: &Fleet) {
    let pause = async {
        match fleet.freshness.awaits_fence().is_some() {
            true => sleep(EAGER).await,
            false => pause(fleet, CALM).await,
        }
    };
    select! {
        biased;
        () = fleet.fences.asked() => {}
        () = pause => {}
    }
}

async fn connect(fleet: &Fleet, id: ServerId, account: &Arc<Credentials>) -> Option<Connection> {
    let snapshot = fleet.snapshot();
    let server = snapshot.server(id)?;
    let pool = fleet.pool(id)?;
    let deadline = Instant::now() + fleet.ways.connect_timeout;
    if server.role == Role::Primary {
        let opened =
            pool.dialer().open_at(&server.address, account, Capabilities(0), false, deadline).await;
        if opened.as_ref().is_err_and(OpenError::is_denied) {
            fleet.forget_account(account);
        }
        let (connection, identity) =
            opened.map_err(|error| complain(&server.address, &error)).ok()?;
        let is_new = server.identity != identity;
        if is_new && !server.identity.is_address() {
            // Another server answers as the primary: what replicas must have seen starts anew.
            fleet.restart();
        }
        fleet.identify(id, &identity);
        // It may have been away, and come back with other settings and rights.
        fleet.replays.void();
        if is_new {
            tracing::info!(address = %server.address, %identity, "primary found");
        }
        return Some(connection);
    }
    let opened = pool.dialer().open(account, Capabilities(0), true, deadline).await;
    opened.map_err(|error| complain(&server.address, &error)).ok()
}

fn complain(address: &str, error: &OpenError) {
    tracing::debug!(%address, %error, "no connection to watch a server over");
}

/// One round: what the primary has, and then whether it is the primary still. A server that was
/// demoted keeps its connections and goes on answering: what it says is no fence.
async fn fence(fleet: &Fleet, id: ServerId, connection: &mut Connection) -> Result<(), QueryError> {
    let Some(pool) = fleet.pool(id) else { return Ok(()) };
    let dialect = pool.dialer().dialect();
    let (round, covers, asked) = (fleet.fences.leave(), fleet.freshness.last(), Instant::now());
    let notation = fleet.truth.notation();
    let mut told = ask_fence(connection, dialect, notation).await?;
    if told.state.notation != notation {
        fleet.truth.set_notation(told.state.notation);
        told = ask_fence(connection, dialect, told.state.notation).await?;
    }
    fleet.note(id, &Event::ProbeOk);
    note_read_only(fleet, told.state.is_read_only);
    if told.state.is_read_only {
        fleet.fences.fail(round);
        return Ok(());
    }
    if told.is_hidden && fleet.truth.hide() {
        tracing::warn!(
            "the primary has no GTIDs, and its account lacks REPLICATION CLIENT to ask for \
             another position: reads of what was written go there for freshness.window_ms"
        );
    }
    if let Some(position) = &told.position {
        fleet.truth.tell(position.clone(), asked);
    }
    settle(fleet, covers, told.position).await;
    fleet.fences.complete(round, asked);
    Ok(())
}

/// To be called before its round fails: who waited for that asks whether this is why.
fn note_read_only(fleet: &Fleet, is_read_only: bool) {
    match fleet.truth.note_read_only(is_read_only) {
        true if is_read_only => tracing::warn!(
            "the primary is read-only: it vouches for no replica, and if another server takes the \
             writes, what is read here is old"
        ),
        true => tracing::info!("the primary takes writes again"),
        false => {}
    }
}

/// What one flight to the primary brought.
struct Told {
    position: Option<Position>,
    is_hidden: bool,
    state: State,
}

async fn ask_fence(
    connection: &mut Connection,
    dialect: Dialect,
    notation: Notation,
) -> Result<Told, QueryError> {
    let (capabilities, mut flight) = (connection.capabilities, Vec::new());
    put_query(&mut flight, capabilities, dialect.ask_primary(notation).as_bytes());
    put_query(&mut flight, capabilities, dialect.ask_state().as_bytes());
    let mut answers = Answers::to(&mut connection.stream, capabilities, &flight).await?;
    let rows = known(answers.rows().await)?;
    let state = dialect.read_state(&answers.rows().await?);
    let is_hidden = rows.is_none() && notation == Notation::File;
    let position = rows.and_then(|rows| dialect.read_primary(notation, &rows));
    Ok(Told { position, is_hidden, state })
}

/// What the primary had executed after `covers` was recorded.
async fn settle(fleet: &Fleet, covers: Ordinal, position: Option<Position>) {
    fleet.fences.note_positions(position.is_some());
    // A primary that has written nothing yet looks like one without GTIDs, until it has.
    let first = !fleet.is_started() || (position.is_some() && fleet.freshness.is_windowed());
    match position {
        Some(position) if first => fleet.start(covers, Some(position)),
        Some(position) => {
            let deadline = Instant::now() + Duration::from_millis(limits::STREAM_WAIT_MS);
            let is_there = || fleet.freshness.covers(&position);
            // A follower will say what it was; without one it can be anything.
            let asked = Instant::now();
            if fleet.fences.streamed(deadline, is_there).await
                && fleet.fences.sight() == Sight::Stream
            {
                let delay = asked.elapsed().as_secs_f64();
                fleet.metrics.follower.delay_seconds.observe(delay);
            }
            fleet.freshness.fence(covers, &position, Instant::now().into_std());
        }
        None if first => fleet.start(covers, None),
        None => {}
    }
}

/// Writes that every reader has need not be kept one by one.
fn prune(fleet: &Fleet) {
    let snapshot = fleet.snapshot();
    let awaited = |health: &Health| !matches!(health, Health::Down | Health::Unfit(_));
    let readers = snapshot.readers().filter(|server| awaited(&server.health));
    if let Some(all) = readers.map(|server| server.live.applied()).min() {
        fleet.freshness.prune(all);
    }
}
