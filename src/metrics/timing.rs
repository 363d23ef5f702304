//! How long the parts of a statement took, for one statement in sixteen.
//!
//! The time comes in as an argument. A statement that is not timed costs one decrement: no clock
//! is read for it.

use std::time::{Duration, Instant};

use prometheus::{Histogram, Registry};

use super::label::{Label, Target};
use super::name;
use crate::limits;

/// The phases of a statement, in the order in which they pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lap {
    /// Waiting for a connection to be free.
    Queue,
    /// Opening a connection, or bringing it to the session's state.
    Connect,
    /// From the last byte of the statement to the first byte of the reply.
    Backend,
    /// Carrying the reply to the client.
    Relay,
}

impl Lap {
    const ALL: [Self; 4] = [Self::Queue, Self::Connect, Self::Backend, Self::Relay];

    fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Backend => "backend",
            Self::Relay => "relay",
        }
    }
}

/// Measures one statement.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    last: Instant,
    laps: [Option<Duration>; 4],
}

/// Says which statements of a session are timed.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    left: u32,
}

/// A histogram for each target and phase.
#[derive(Debug)]
pub struct Timings {
    histograms: Vec<[Histogram; 4]>,
}

/// Bounds in seconds: a cached row on the same machine up to a report that runs for a minute.
const BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

impl Stopwatch {
    /// Starts.
    #[must_use]
    pub fn start(now: Instant) -> Self {
        Self { last: now, laps: [None; 4] }
    }

    /// The phase that ends now; what happened twice adds up.
    pub fn lap(&mut self, phase: Lap, now: Instant) {
        let took = now.saturating_duration_since(self.last);
        self.last = now;
        if let Some(lap) = self.laps.get_mut(phase as usize) {
            *lap = Some(lap.unwrap_or_default().saturating_add(took));
        }
    }
}

impl Sampler {
    /// Sessions are short, so each must begin at a random statement or only first ones count.
    #[must_use]
    pub fn new(random: u32) -> Self {
        Self { left: random % limits::TIMED_ONE_IN }
    }

    /// The next statement is to be timed.
    pub fn is_due(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                false
            }
            None => {
                self.left = limits::TIMED_ONE_IN - 1;
                true
            }
        }
    }
}

impl Timings {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = name::QUERY_SECONDS.histograms(registry, BUCKETS)?;
        // Nothing is sent anywhere for the refused ones, so they have no row.
        let histograms = [Target::Primary, Target::Replica, Target::Local]
            .iter()
            .map(|target| {
                Lap::ALL.map(|lap| family.with_label_values(&[target.word(), lap.word()]))
            })
            .collect();
        Ok(Self { histograms })
    }

    /// Adds the phases that the statement went through.
    pub fn observe(&self, target: Target, watch: &Stopwatch) {
        let Some(row) = self.histograms.get(target.index()) else { return };
        for (histogram, lap) in row.iter().zip(watch.laps) {
            if let Some(took) = lap {
                histogram.observe(took.as_secs_f64());
            }
        }
    }
}
