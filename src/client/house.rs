//! What all sessions share: the fleet, the shapes, the door, the policy that is in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::fleet::Fleet;
use crate::client::announce::Announcers;
use crate::client::greet::Door;
use crate::client::registry::Registry;
use crate::control::{Control, Mode};
use crate::freshness::Levels;
use crate::metrics::Metrics;
use crate::session::plan::{Fenced, Policy};
use crate::sql::Classifier;
use arc_swap::ArcSwapOption;

/// Shared by all sessions of the process.
pub struct House {
    /// The servers.
    pub fleet: Arc<Fleet>,
    /// What texts mean.
    pub classifier: Classifier,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What newcomers are greeted with; none until the primary's version is known.
    pub door: ArcSwapOption<Door>,
    /// Who announces the clients that it passes on.
    pub announcers: Announcers,
    /// What reads must have seen.
    pub levels: Levels,
    /// How long a statement may wait for a connection.
    pub wait_max: Duration,
    /// Phase and mode.
    pub control: Control,
    /// The next session's number.
    pub sessions: AtomicU64,
    /// Who is here.
    pub registry: Registry,
}

impl House {
    /// The policy in force now for this user in this schema.
    #[must_use]
    pub fn policy(&self, user: &[u8], schema: Option<&[u8]>) -> Policy {
        Policy {
            split: self.control.mode() == Mode::Split,
            level: self.levels.of(user, schema),
            fenced: Fenced::Yes,
            serves_stale: self.fleet.policy.serves_stale,
        }
    }

    /// No primary can be reached, and replicas are to be used in its place.
    #[must_use]
    pub fn does_without_primary(&self) -> bool {
        self.control.mode() == Mode::Split && self.fleet.does_without_primary()
    }

    /// A number for a new session, never 0. Clients are told its lower half, which no other
    /// client has.
    #[must_use]
    pub fn next_session(&self) -> u64 {
        loop {
            let number = self.sessions.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let told = number & u64::from(u32::MAX);
            if told != 0 && self.registry.find(told).is_none() {
                return number;
            }
        }
    }
}
