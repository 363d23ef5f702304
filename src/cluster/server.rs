//! One server of the fleet, and what changes on it with every reply.
//!
//! Not its connections: those are the ledger's (accounts) and `backend`'s (sockets).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{Finding, Health, Identity};
use crate::position::Ordinal;

/// A server as one snapshot sees it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its number, stable over snapshots.
    pub id: ServerId,
    /// Who it says it is.
    pub identity: Identity,
    /// Where to dial it, `host:port`.
    pub address: String,
    /// More addresses that turned out to be the same server.
    pub aliases: Vec<String>,
    /// What it is for.
    pub role: Role,
    /// Whether it may be chosen.
    pub health: Health,
    /// What was found when it was last inspected.
    pub findings: Arc<[Finding]>,
    /// Readers of the lowest number are chosen first.
    pub priority: u32,
    /// Progress and load of this incarnation.
    pub live: Arc<Live>,
}

/// The number of a server; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes, and reads when nobody else can.
    Primary,
    /// Takes reads.
    Reader,
}

/// Progress and load of one incarnation of a server.
///
/// A restart, a lost connection or a new identity replaces it: a crashed replica comes back with
/// less than it had, so what was known of the old incarnation says nothing about the new one.
#[derive(Debug, Default)]
pub struct Live {
    applied: AtomicU64,
    outstanding: AtomicU32,
    latency_us: AtomicU32,
    delay_us: AtomicU32,
    retired: AtomicBool,
}

/// One query under way; counts until it is dropped.
#[derive(Debug)]
pub struct Outstanding(Arc<Live>);

impl Server {
    /// A server that nobody has asked anything yet.
    pub fn new(id: ServerId, address: &str, role: Role) -> Server {
        Server {
            id,
            identity: Identity::of_address(address),
            address: address.to_owned(),
            aliases: Vec::new(),
            role,
            health: Health::Unknown { probes_failed: 0 },
            findings: Arc::default(),
            priority: 0,
            live: Arc::new(Live::default()),
        }
    }

    /// Every address it was found at; the first is the one to dial.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.address.as_str()).chain(self.aliases.iter().map(String::as_str))
    }

    /// Whether it was found at this address.
    pub fn answers_at(&self, address: &str) -> bool {
        self.addresses().any(|known| known == address)
    }
}

impl Live {
    /// The last write that this server is known to have applied, with all before it.
    pub fn applied(&self) -> Ordinal {
        match self.retired.load(Ordering::Acquire) {
            true => Ordinal(0),
            false => Ordinal(self.applied.load(Ordering::Acquire)),
        }
    }

    /// It has applied this write and all before it. Progress never falls.
    pub fn raise_applied(&self, to: Ordinal) {
        self.applied.fetch_max(to.0, Ordering::AcqRel);
    }

    /// The incarnation is over: whoever still holds it reads "nothing applied".
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether the incarnation is over.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Queries under way.
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Counts one query under way until the answer is dropped.
    pub fn begin(self: &Arc<Live>) -> Outstanding {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Outstanding(Arc::clone(self))
    }

    /// Moving average of what queries took here; 0 before the first.
    pub fn latency_us(&self) -> u32 {
        self.latency_us.load(Ordering::Relaxed)
    }

    /// Moving average of how long writes took to come here; 0 before the first.
    pub fn delay_us(&self) -> u32 {
        self.delay_us.load(Ordering::Relaxed)
    }

    /// A write was seen to have come here, so long after it was recorded.
    pub fn observe_delay(&self, us: u32) {
        let old = self.delay_us.load(Ordering::Relaxed);
        self.delay_us.store(old - old / 4 + us / 4, Ordering::Relaxed);
    }

    /// Takes one query's time into the average, with weight 1/8.
    pub fn observe_latency(&self, us: u32) {
        // Two replies at once may lose one of the two: an average bears that, a lock costs more.
        let old = self.latency_us.load(Ordering::Relaxed);
        let new = if old == 0 { us } else { old - old / 8 + us / 8 };
        self.latency_us.store(new, Ordering::Relaxed);
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Live;
    use crate::position::Ordinal;

    #[test]
    fn progress_never_falls_and_ends_with_the_incarnation() {
        let live = Live::default();
        live.raise_applied(Ordinal(7));
        live.raise_applied(Ordinal(3));
        assert_eq!(live.applied(), Ordinal(7));
        live.retire();
        live.raise_applied(Ordinal(9));
        assert_eq!(live.applied(), Ordinal(0));
    }

    #[test]
    fn load_counts_until_dropped() {
        let live = Arc::new(Live::default());
        let (one, two) = (live.begin(), live.begin());
        assert_eq!(live.outstanding(), 2);
        drop(one);
        assert_eq!(live.outstanding(), 1);
        drop(two);
        assert_eq!(live.outstanding(), 0);
    }

    #[test]
    fn latency_follows() {
        let live = Live::default();
        live.observe_latency(800);
        assert_eq!(live.latency_us(), 800);
        live.observe_latency(u32::MAX);
        live.observe_latency(u32::MAX);
        for _ in 0..200 {
            live.observe_latency(80);
        }
        assert!(live.latency_us() < 160, "{}", live.latency_us());
    }
}
