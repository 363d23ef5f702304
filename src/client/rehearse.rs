//! Mode `observe`: counts what would have become of a read, had it been split.
//!
//! Everything goes to the primary, and nothing here waits: floors are taken as they are, and what
//! others wrote is asked for in the background, once a request. What would become of it is
//! `session::rehearse`'s to say.

use tokio::time::Instant;

use crate::client::serve::Conversation;
use crate::cluster::{Role, Want};
use crate::control::Mode;
use crate::freshness::{Ordinal, Sight};
use crate::metrics::{Careless, Observed};
use crate::session::rehearse::Rehearsed;
use crate::sql::Statement;

impl Conversation {
    /// A statement is about to go to the primary.
    pub(super) fn rehearse(&mut self, it: &Statement, text: &[u8]) {
        if self.house.control.mode() != Mode::Observe {
            return;
        }
        let policy = self.house.policy(&self.credentials.user, self.session.database());
        let (fleet, session) = (&self.house.fleet, &self.session);
        let rehearsal = self.rehearsal.get_or_insert_default();
        let Some(seen) = session.rehearse(it, text, policy, &fleet.freshness, rehearsal) else {
            return rehearsal.note(it);
        };
        let now = Instant::now().into_std();
        if fleet.fences.sight() != Sight::None && rehearsal.is_fence_due(now) {
            // It will raise the floors of the reads to come.
            let _nobody_waits = fleet.fences.ask();
        }
        self.count_rehearsed(&seen);
    }

    fn count_rehearsed(&self, seen: &Rehearsed) {
        let (fleet, metrics) = (&self.house.fleet, &self.house.metrics);
        let snapshot = fleet.snapshot();
        let reader = |want: &Want| {
            let choice = fleet.pick(want).ok()?;
            snapshot.server(choice.server).filter(|server| server.role == Role::Reader)
        };
        metrics.observed_reads.inc(match reader(&seen.want) {
            Some(_) => Observed::Replica,
            None => Observed::Primary,
        });
        // Whichever is up.
        let Some(any) = reader(&Want::reader(Ordinal(0), None)) else { return };
        if any.live.applied() >= seen.floor {
            return;
        }
        metrics.observed_stale.inc(Careless::Eventual);
        if seen.by_hyperdb {
            metrics.observed_stale.inc(Careless::HyperDb);
        }
    }
}
