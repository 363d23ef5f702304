//! Clients as WordPress is one: connect, preamble, reads and writes, quit; some just vanish.
//!
//! Each says what it will do before it does it and checks every answer against what one MySQL
//! server would have said. What it was told goes to the oracle; how packets travel is `visit`'s.

mod need;
mod page;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::time::sleep;

use super::link::Temper;
use super::oracle::Oracle;
use super::random::Random;

/// Of the listed account.
pub(super) const PASSWORD: &[u8] = b"open sesame";
/// Every command is answered within this; nothing in a run may take longer than a few waits.
const ANSWER_WAIT: Duration = Duration::from_secs(90);

/// One client: one PHP worker, which connects anew for each page.
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) oracle: Arc<Oracle>,
    pub(super) random: Random,
    pub(super) temper: Temper,
    /// How much later than its request's beginning others' writes may be, and not be seen.
    pub(super) unseen_max: Option<Duration>,
    /// Pages that it asks for.
    pub(super) visits: u64,
    /// It waits so long between two of them.
    pub(super) pause_ms_max: u64,
}

impl Client {
    /// Asks for its pages, one after the other, until all are done or something failed.
    pub(super) async fn run(mut self, connect: impl Fn() -> DuplexStream) {
        for visit in 0..self.visits {
            sleep(Duration::from_millis(self.random.between(0, self.pause_ms_max))).await;
            if self.oracle.failure().is_some() {
                return;
            }
            let number = self.number * 100 + visit as u32;
            let random = self.random.fork();
            let needs = need::Needs::new(self.unseen_max);
            let begun =
                visit::Visit::begin(connect(), number, &self.oracle, random, self.temper, needs);
            if let Some(mut visit) = begun.await {
                let _finished_or_lost = visit.page().await;
                visit.end();
            }
        }
    }
}
