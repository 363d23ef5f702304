//! Whether a server may be chosen: a state machine over what probes and sessions report.
//!
//! Lag is not health: a server that is behind is healthy and does not qualify for the read.
//! Called by `backend`'s probe and by whoever fails to connect; `pick` reads the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits;

/// How a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not proved fit yet: nobody is sent there, nobody was hurt by it.
    Unknown {
        /// Probes that failed in a row.
        probes_failed: u32,
    },
    /// Fit.
    Up,
    /// Something just failed there: no reads before `until`.
    Suspect {
        /// End of the back-off.
        until: Instant,
        /// Probes that failed in a row.
        probes_failed: u32,
    },
    /// Several probes failed in a row; only a good probe changes that.
    Down,
    /// It answers but must not serve reads; the reason is for the operator.
    Unfit(Arc<str>),
}

/// What was seen of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A probe was answered, and nothing speaks against the server.
    ProbeOk,
    /// A probe was answered with a reason not to read there.
    ProbeUnfit(Arc<str>),
    /// A probe was not answered.
    ProbeFailed,
    /// A session could not connect.
    ConnectFailed,
    /// A connection in use was lost.
    ConnectionLost,
    /// Time passed.
    Tick,
}

impl Health {
    /// Whether reads may be sent there.
    pub fn serves_reads(&self) -> bool {
        matches!(self, Health::Up)
    }

    /// Whether it is worth dialing at all: the only primary is tried while it is merely suspect.
    pub fn is_down(&self) -> bool {
        matches!(self, Health::Down)
    }
}

/// The health after `event`, given the health before it.
pub fn observe(before: &Health, event: &Event, now: Instant) -> Health {
    match event {
        Event::ProbeOk => Health::Up,
        Event::ProbeUnfit(why) => Health::Unfit(Arc::clone(why)),
        Event::ProbeFailed => probe_failed(before, now),
        Event::ConnectFailed | Event::ConnectionLost => connect_failed(before, now),
        Event::Tick => tick(before, now),
    }
}

fn probe_failed(before: &Health, now: Instant) -> Health {
    let failed = match before {
        Health::Down => return Health::Down,
        Health::Unknown { probes_failed } | Health::Suspect { probes_failed, .. } => {
            probes_failed.saturating_add(1)
        }
        Health::Up | Health::Unfit(_) => 1,
    };
    match before {
        _ if failed >= limits::PROBES_FAILED_MAX => Health::Down,
        Health::Unknown { .. } => Health::Unknown { probes_failed: failed },
        _ => Health::Suspect { until: back_off(now), probes_failed: failed },
    }
}

fn connect_failed(before: &Health, now: Instant) -> Health {
    match before {
        Health::Up => Health::Suspect { until: back_off(now), probes_failed: 0 },
        Health::Suspect { probes_failed, .. } => {
            Health::Suspect { until: back_off(now), probes_failed: *probes_failed }
        }
        // A back-off would end in Up, and these were not Up.
        Health::Unknown { .. } | Health::Down | Health::Unfit(_) => before.clone(),
    }
}

fn tick(before: &Health, now: Instant) -> Health {
    match before {
        Health::Suspect { until, probes_failed: 0 } if now >= *until => Health::Up,
        _ => before.clone(),
    }
}

fn back_off(now: Instant) -> Instant {
    let pause = Duration::from_millis(limits::SUSPECT_BACK_OFF_MS);
    now.checked_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Event, Health, observe};

    /// Each word is an event: ok, unfit, fail (a probe), conn, lost, and a number of milliseconds
    /// that pass before the next tick. Expected: the state after each word.
    fn check(events: &str, expected: &str) {
        let mut now = Instant::now();
        let mut health = Health::Unknown { probes_failed: 0 };
        let mut seen = Vec::new();
        for word in events.split_whitespace() {
            let event = match word {
                "ok" => Event::ProbeOk,
                "unfit" => Event::ProbeUnfit("filter".into()),
                "fail" => Event::ProbeFailed,
                "conn" => Event::ConnectFailed,
                "lost" => Event::ConnectionLost,
                ms => {
                    now += Duration::from_millis(ms.parse().unwrap());
                    Event::Tick
                }
            };
            health = observe(&health, &event, now);
            seen.push(match &health {
                Health::Unknown { .. } => "?",
                Health::Up => "up",
                Health::Suspect { .. } => "suspect",
                Health::Down => "down",
                Health::Unfit(_) => "unfit",
            });
        }
        assert_eq!(seen.join(" "), expected, "{events}");
    }

    #[test]
    fn transitions() {
        check("ok", "up");
        check("fail fail fail", "? ? down");
        check("conn 2000 ok", "? ? up");
        check("ok conn 999 1", "up suspect suspect up");
        check("ok lost 999 1", "up suspect suspect up");
        check("ok conn ok", "up suspect up");
        check("ok conn 900 conn 900 100", "up suspect suspect suspect suspect up");
        check("ok fail fail fail", "up suspect suspect down");
        check("ok fail 5000 ok", "up suspect suspect up");
        check("ok fail ok fail fail", "up suspect up suspect suspect");
        check("ok conn fail fail fail", "up suspect suspect suspect down");
        check("ok fail conn 5000", "up suspect suspect suspect");
        check("ok fail fail fail 60000 conn ok", "up suspect suspect down down down up");
        check("unfit conn 5000 ok", "unfit unfit unfit up");
        check("unfit fail 5000 fail fail", "unfit suspect suspect suspect down");
        check("ok unfit ok", "up unfit up");
    }
}
