//! Waits until the floors show a session's own writes, or a replica has what a read needs.
//!
//! Each wait has an end, and what comes after it is the primary or a coarser floor, never an old
//! row. Called by `client`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::backend::fleet::Fleet;
use crate::cluster::{Server, Want};
use crate::freshness::{Touched, Written};
use crate::limits;
use crate::position::Position;

impl Fleet {
    /// Waits until the follower has shown these writes. If it does not, they count as writes to
    /// everything.
    pub async fn await_stream(&self, position: &Position) {
        let deadline = Instant::now() + Duration::from_millis(limits::STREAM_WAIT_MS);
        let is_there = || self.freshness.covers(position);
        if !self.fences.streamed(deadline, is_there).await {
            let at = Instant::now().into_std();
            let (touched, position) = (Touched::Everything, Some(position.clone()));
            self.freshness.record(Written { touched, position, at });
            self.stir.notify_waiters();
        }
    }

    /// Waits for a replica that will have what the read needs in a moment, if there is one. True:
    /// it has.
    pub async fn await_replica(&self, want: &Want) -> bool {
        let wait = self.policy.replica_wait;
        let deadline = Instant::now() + wait;
        loop {
            let mut more = pin!(self.progressed.notified());
            more.as_mut().enable();
            let snapshot = self.snapshot();
            let up = || {
                let up = |server: &&Arc<Server>| server.health.serves_reads();
                snapshot.readers().filter(up).filter(|server| want.avoid != Some(server.id))
            };
            if up().any(|server| server.live.applied() >= want.floor) {
                return true;
            }
            let is_hopeful = up().any(|server| self.is_due_within(server, wait));
            if !is_hopeful || timeout_at(deadline, more).await.is_err() {
                return false;
            }
        }
    }

    /// It is usually that fast, and is not late now.
    fn is_due_within(&self, server: &Server, wait: Duration) -> bool {
        let usual = Duration::from_micros(server.live.delay_us().into());
        let overdue = self.freshness.overdue(&server.live, Instant::now().into_std());
        usual < wait && overdue.is_none_or(|overdue| overdue < wait)
    }
}
