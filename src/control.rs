//! What the process is doing and what it was asked to do next.
//!
//! Named phases in the order they happen, the latches that readiness waits for, the mode that
//! sessions route by, and the queue on which `admin` and signals put their wishes. It decides
//! nothing: `app` takes the wishes and obeys. Every session reads `mode`, so that is one atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::limits;

/// Where the process stands between its start and its end. Phases only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Rules are read and the fleet is looked for; nobody is served yet.
    Starting,
    /// Clients are accepted.
    Serving,
    /// Not ready any more: clients that are here finish, new ones are sent elsewhere.
    Draining,
    /// The last client left or the deadline passed.
    Stopped,
}

impl Phase {
    /// The word that the status page and the logs use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// How statements are routed; changeable while running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes to the primary: the first day, and the switch at three in the morning.
    Primary,
    /// Proved reads go to replicas.
    Split,
    /// Everything goes to the primary, and it is counted what `Split` would do with each read.
    Observe,
}

impl Mode {
    /// Every mode, in the order in which the reference lists them.
    pub const NAMES: &'static [&'static str] = &["primary", "observe", "split"];

    /// The word for it in configuration, flags and requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Split => "split",
            Self::Observe => "observe",
        }
    }

    /// The mode of that name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "primary" => Some(Self::Primary),
            "split" => Some(Self::Split),
            "observe" => Some(Self::Observe),
            _ => None,
        }
    }
}

/// A wish that comes from outside: a signal, or a request to the admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Leave: not ready, let clients finish, stop.
    Drain,
    /// Read the configuration again.
    Reload,
    /// Route differently from now on.
    Mode(Mode),
}

/// A demand on its way to `app`, which must answer it.
#[derive(Debug)]
#[must_use = "whoever asked waits for the answer"]
pub struct Asked {
    /// What is wanted.
    pub demand: Demand,
    reply: oneshot::Sender<Result<String, String>>,
}

impl Asked {
    /// Tells the asker what was done, or why nothing was. The asker may be gone.
    pub fn answer(self, answer: Result<String, String>) {
        // Nobody listens any more: the demand itself was obeyed all the same.
        drop(self.reply.send(answer));
    }
}

/// Why a demand was not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// As many demands wait as may wait, or none was answered in time.
    #[error("too many requests are being worked on; ask again")]
    Busy,
    /// `app` looked at it and declined.
    #[error("{0}")]
    Declined(String),
    /// Nobody takes demands any more.
    #[error("the proxy is stopping")]
    Stopping,
}

/// The shared handle: cheap to clone, held by `app`, `admin` and every session.
#[derive(Clone, Debug)]
pub struct Control {
    mode: Arc<AtomicU8>,
    /// Sessions read it before each wait, and a watch costs a lock.
    drains: Arc<AtomicBool>,
    phase: watch::Sender<Phase>,
    latches: watch::Sender<Vec<&'static str>>,
    demands: mpsc::Sender<Asked>,
}

/// The receiving end of all demands; there is one, and `app` holds it.
#[derive(Debug)]
pub struct Demands(mpsc::Receiver<Asked>);

/// Keeps the process unready while it lives. Dropping it releases it.
#[derive(Debug)]
#[must_use = "a latch that is dropped at once holds nothing"]
pub struct Latch {
    name: &'static str,
    latches: watch::Sender<Vec<&'static str>>,
}

impl Control {
    /// A process that is starting, in this mode.
    #[must_use]
    pub fn new(mode: Mode) -> (Self, Demands) {
        let (demands, queue) = mpsc::channel(limits::DEMANDS_WAITING_MAX);
        let control = Self {
            mode: Arc::new(AtomicU8::new(0)),
            drains: Arc::default(),
            phase: watch::Sender::new(Phase::Starting),
            latches: watch::Sender::new(Vec::new()),
            demands,
        };
        control.set_mode(mode);
        (control, Demands(queue))
    }

    /// Goes on to a later phase; an earlier one is ignored, because nothing comes back to life.
    pub fn enter(&self, phase: Phase) {
        if phase >= Phase::Draining {
            self.drains.store(true, Ordering::Release);
        }
        self.phase.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }

    /// The mode that holds from the next statement on.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Makes readiness wait until the latch is dropped.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.latches.send_modify(|names| names.push(name));
        Latch { name, latches: self.latches.clone() }
    }

    /// Hands a demand to `app` and waits for its answer, not longer than a limit.
    pub async fn ask(&self, demand: Demand) -> Result<String, Unheard> {
        let (reply, answer) = oneshot::channel();
        self.demands.try_send(Asked { demand, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unheard::Busy,
            mpsc::error::TrySendError::Closed(_) => Unheard::Stopping,
        })?;
        let wait = Duration::from_millis(limits::DEMAND_WAIT_MS_MAX);
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(answer)) => answer.map_err(Unheard::Declined),
            Ok(Err(_)) => Err(Unheard::Stopping),
            Err(_) => Err(Unheard::Busy),
        }
    }

    /// How to route now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            mode if mode == Mode::Split as u8 => Mode::Split,
            mode if mode == Mode::Observe as u8 => Mode::Observe,
            _ => Mode::Primary,
        }
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// To see the phases pass.
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether clients are to leave.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drains.load(Ordering::Acquire)
    }

    /// Waits until this phase, or a later one, was entered.
    pub async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        // It cannot fail: `self` holds the sender.
        drop(phases.wait_for(|current| *current >= phase).await);
    }

    /// New clients may be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving && self.latches.borrow().is_empty()
    }

    /// What readiness waits for: the phase if it is not `Serving`, and every latch.
    #[must_use]
    pub fn waits_for(&self) -> Vec<&'static str> {
        let phase = self.phase();
        let mut waits = Vec::new();
        if phase != Phase::Serving {
            waits.push(phase.name());
        }
        waits.extend(self.latches.borrow().iter());
        waits
    }
}

impl Demands {
    /// The next demand; `None` when every `Control` is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Asked> {
        self.0.recv().await
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.latches.send_modify(|names| {
            if let Some(at) = names.iter().position(|name| *name == self.name) {
                names.remove(at);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let (control, _demands) = Control::new(Mode::Split);
        for (enter, expected) in [
            (Phase::Serving, Phase::Serving),
            (Phase::Starting, Phase::Serving),
            (Phase::Draining, Phase::Draining),
            (Phase::Serving, Phase::Draining),
            (Phase::Stopped, Phase::Stopped),
            (Phase::Draining, Phase::Stopped),
        ] {
            control.enter(enter);
            assert_eq!(control.phase(), expected, "after entering {enter:?}");
        }
    }

    #[test]
    fn readiness_waits_for_the_phase_and_for_every_latch() {
        let (control, _demands) = Control::new(Mode::Split);
        let primary = control.latch("a primary");
        let listener = control.latch("a listener");
        assert_eq!(control.waits_for(), ["starting", "a primary", "a listener"]);
        control.enter(Phase::Serving);
        drop(primary);
        assert_eq!(control.waits_for(), ["a listener"]);
        assert!(!control.is_ready());
        drop(listener);
        assert!(control.is_ready());
        control.enter(Phase::Draining);
        assert!(!control.is_ready());
        assert_eq!(control.waits_for(), ["draining"]);
    }

    #[test]
    fn the_mode_is_what_was_last_set() {
        let (control, _demands) = Control::new(Mode::Primary);
        assert_eq!(control.mode(), Mode::Primary);
        control.clone().set_mode(Mode::Split);
        assert_eq!(control.mode(), Mode::Split);
        for name in Mode::NAMES {
            let mode = Mode::parse(name).unwrap();
            control.set_mode(mode);
            assert_eq!((mode.name(), control.mode()), (*name, mode));
        }
        assert_eq!(Mode::parse("replica"), None);
    }

    #[tokio::test]
    async fn a_demand_is_answered_by_whoever_holds_the_queue() {
        let (control, mut demands) = Control::new(Mode::Split);
        let asker = control.clone();
        let asking = tokio::spawn(async move { asker.ask(Demand::Mode(Mode::Primary)).await });
        let asked = demands.next().await.unwrap();
        assert_eq!(asked.demand, Demand::Mode(Mode::Primary));
        asked.answer(Ok("mode is primary".into()));
        assert_eq!(asking.await.unwrap(), Ok("mode is primary".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_demand_that_nobody_takes_ends_with_a_reason() {
        let (control, demands) = Control::new(Mode::Split);
        assert_eq!(control.ask(Demand::Drain).await, Err(Unheard::Busy), "no answer in time");
        for _ in 1..limits::DEMANDS_WAITING_MAX {
            let (reply, _) = oneshot::channel();
            control.demands.try_send(Asked { demand: Demand::Reload, reply }).unwrap();
        }
        assert_eq!(control.ask(Demand::Drain).await, Err(Unheard::Busy), "the queue is full");
        drop(demands);
        assert_eq!(control.ask(Demand::Drain).await, Err(Unheard::Stopping));
    }

    #[tokio::test]
    async fn a_phase_can_be_waited_for() {
        let (control, _demands) = Control::new(Mode::Split);
        let waiter = control.clone();
        let waiting = tokio::spawn(async move { waiter.reached(Phase::Serving).await });
        control.enter(Phase::Draining);
        waiting.await.unwrap();
    }
}
