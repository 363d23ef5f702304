//! Builds everything from the rules, runs it, and takes it down again in order.
//!
//! The only place that knows all layers. SIGTERM or SIGINT: not ready, keep accepting for the
//! drain delay, let clients leave, stop at the deadline. SIGHUP: certificates and passwords are
//! read again. Called by `cli` with checked rules.

mod build;
mod entrance;
mod facts;
mod reload;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::admin::{self, Desk};
use crate::backend::probe;
use crate::client::accept::{self, Listener};
use crate::client::enter::enter;
use crate::client::house::House;
use crate::config::Rules;
use crate::control::{Demand, Demands, Phase};
use crate::limits;
use build::Built;
pub(crate) use build::{credentials, ways};
use reload::Reload;

/// Serves clients by the rules until it is told to stop. 0: ended as asked; 1: could not begin.
#[must_use]
pub fn run(rules: Rules) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rules.threads)
        .thread_stack_size(limits::STACK_BYTES)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(serve(rules)),
        Err(error) => Err(format!("cannot start threads: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn serve(rules: Rules) -> Result<(), String> {
    // Two sockets a client; what the system grants is what there is.
    let _granted = rlimit::increase_nofile_limit(u64::MAX);
    let mut listeners = vec![bind(rules.listen)?];
    let mut beside = None;
    if let Some(path) = &rules.unix {
        let cannot = |error| format!("cannot listen on {}: {error}", path.display());
        listeners.push(if rules.unix_takeover {
            let (listener, file) = Listener::bind_unix_beside(path).map_err(cannot)?;
            beside = Some(file);
            listener
        } else {
            Listener::bind_unix(path).map_err(cannot)?
        });
    }
    let admin = match rules.admin_http {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .map_err(|error| format!("cannot listen on {address}: {error}"))?,
        ),
        None => None,
    };
    #[cfg(feature = "console")]
    let sql = rules.console.as_ref().map(|console| bind(console.address)).transpose()?;
    let built = build::build(&rules).await?;
    let Built { house, demands, facts, entrance } = built;
    #[cfg(feature = "console")]
    if let Some((listener, door)) = sql.zip(entrance.console.clone()) {
        tokio::spawn(admin::console::serve(listener, door, facts.clone()));
    }
    let control = house.control.clone();
    let reload = Reload::new(&rules, Arc::clone(&entrance), Arc::clone(&facts));
    if let Some(listener) = admin {
        let desk = Desk { control: control.clone(), facts };
        tokio::spawn(admin::serve(listener, desk));
    }
    let latch = control.latch("the primary's first answer");
    tokio::spawn(async move {
        entrance.open(latch).await;
        if let Some(Err(error)) = beside.map(|file| file.take_over()) {
            tracing::error!(%error, "cannot take over the Unix socket");
        }
        entrance.follow_servers().await;
    });
    tokio::spawn(probe::watch(Arc::clone(&house.fleet)));
    let permits = Arc::new(Semaphore::new(limits::CLIENTS_MAX));
    let (close, closed) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let guests = Arc::clone(&house);
        accepting.spawn(accept::accept(
            listener,
            Arc::clone(&permits),
            closed.clone(),
            move |arrival| drop(tokio::spawn(enter(arrival, Arc::clone(&guests)))),
        ));
    }
    let unix = rules.unix.as_ref().map(|path| tracing::field::display(path.display()));
    tracing::info!(listen = %rules.listen, unix, primary = %rules.primary, "serving");
    control.enter(Phase::Serving);
    obey(&house, demands, reload).await?;
    leave(&rules, &house, &permits, close).await;
    accepting.join_all().await;
    Ok(())
}

fn bind(address: SocketAddr) -> Result<Listener, String> {
    Listener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Does what signals and the admin port ask for, until one asks to leave.
async fn obey(house: &House, mut demands: Demands, mut reload: Reload) -> Result<(), String> {
    let watching = |kind| signal(kind).map_err(|error| format!("cannot watch signals: {error}"));
    let mut terminate = watching(SignalKind::terminate())?;
    let mut interrupt = watching(SignalKind::interrupt())?;
    let mut hangup = watching(SignalKind::hangup())?;
    loop {
        // Cancel-safe: each of them only takes what it then gives back.
        let asked = tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                let _told_in_the_log = reload.reload().await;
                continue;
            }
            () = reload.tick() => {
                reload.follow().await;
                continue;
            }
            asked = demands.next() => asked,
        };
        let Some(asked) = asked else { return Ok(()) };
        match asked.demand {
            Demand::Drain => {
                asked.answer(Ok("draining".into()));
                return Ok(());
            }
            Demand::Mode(mode) => {
                house.control.set_mode(mode);
                tracing::info!(mode = mode.name(), "mode changed");
                asked.answer(Ok(format!("mode is {}", mode.name())));
            }
            Demand::Reload => asked.answer(reload.reload().await),
        }
    }
}

/// Not ready, then no newcomers, then until the last client left or the deadline passed.
async fn leave(rules: &Rules, house: &House, permits: &Semaphore, close: watch::Sender<bool>) {
    tracing::info!("draining");
    let begun = Instant::now();
    let deadline = begun + rules.drain.delay + rules.drain.deadline;
    house.control.enter(Phase::Draining);
    house.registry.wake_all();
    sleep_until(begun + rules.drain.delay).await;
    let _nobody_listens_any_more = close.send(true);
    let everybody = u32::try_from(limits::CLIENTS_MAX).unwrap_or(u32::MAX);
    let left = timeout_at(deadline, permits.acquire_many(everybody)).await;
    if left.is_err() {
        let cut = limits::CLIENTS_MAX.saturating_sub(permits.available_permits());
        house.metrics.drain_cut.inc_by(cut as u64);
        tracing::warn!(clients = cut, "cut at the deadline");
    }
    house.control.enter(Phase::Stopped);
    tracing::info!("stopped");
}
