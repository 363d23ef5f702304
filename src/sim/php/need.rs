//! What a visit's reads must see: all that was acknowledged before its request began, by whomever,
//! and its own writes. When that began nobody says: it is taken as late as can be told from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::sim::oracle::Oracle;
use crate::sim::store::Place;

/// A connection that was quiet for so long may serve another request.
const QUIET: Duration = Duration::from_millis(10);

/// One connection's claims.
pub(in crate::sim) struct Needs {
    /// While a request runs, writes of others may be so old and not be seen; none: they may not.
    unseen_max: Option<Duration>,
    began: Instant,
    heard: Instant,
    own: BTreeMap<Place, u64>,
    /// It holds a connection to the primary.
    pub(super) is_held: bool,
}

impl Needs {
    /// Of a connection that is made now.
    pub(in crate::sim) fn new(unseen_max: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { unseen_max, began: now, heard: now, own: BTreeMap::new(), is_held: false }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Something is said.
    pub(super) fn speak(&mut self) {
        if self.heard.elapsed() >= QUIET {
            self.begin();
        }
    }

    /// Something was answered.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Its own write was acknowledged.
    pub(super) fn wrote(&mut self, place: Place, number: u64) {
        let own = self.own.entry(place).or_insert(0);
        *own = number.max(*own);
    }

    /// Which transaction a read that is sent now must have seen.
    pub(super) fn floor(&mut self, oracle: &Oracle, place: Place) -> u64 {
        self.speak();
        let now = Instant::now();
        let until = self.unseen_max.filter(|_| !self.is_held).map(|unseen_max| {
            now.checked_sub(unseen_max).map_or(self.began, |late| late.max(self.began))
        });
        let own = self.own.get(&place).copied().unwrap_or(0);
        oracle.floor(place, until).max(own)
    }
}
