//! What a conversation counts: where statements went, what was tried again, who was to blame.

use crate::client::house::House;
use crate::cluster::{Role, ServerId};
use crate::metrics::{Blame, Label as _, Retried, Target};
use crate::session::plan::Reason;
use crate::session::refusal::{self, Refusal};

impl House {
    /// A statement went there (none: it was answered here).
    pub(super) fn routed(&self, role: Option<Role>, why: Reason) {
        let target = target_of(role);
        self.metrics.route.inc(target.index(), why as usize);
        if why == Reason::NotFresh {
            self.metrics.stale_reads_prevented.inc();
        }
    }

    /// A replica refused what was taken for a read.
    pub(super) fn misrouted(&self, server: ServerId) {
        if let Some(pool) = self.fleet.pool(server) {
            pool.count_misroute();
        }
    }

    /// A statement is run a second time.
    pub(super) fn retried(&self, why: Reason) {
        self.metrics.retries.inc(match why {
            Reason::Misrouted => Retried::Refused,
            _ => Retried::Lost,
        });
    }

    /// A client is told an error of ours.
    pub(super) fn failed(&self, refusal: Refusal) {
        self.metrics.route.inc(Target::Refused.index(), Reason::Refused as usize);
        self.metrics.errors.inc(match refusal.blame() {
            refusal::Blame::Client => Blame::Client,
            refusal::Blame::Server => Blame::Server,
            refusal::Blame::Proxy => Blame::Proxy,
            refusal::Blame::Config => Blame::Config,
        });
        if refusal == Refusal::Bug {
            self.metrics.bugs.inc();
        }
    }
}

/// The metric's word for a place.
pub(super) fn target_of(role: Option<Role>) -> Target {
    match role {
        Some(Role::Primary) => Target::Primary,
        Some(Role::Reader) => Target::Replica,
        None => Target::Local,
    }
}
