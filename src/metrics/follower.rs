//! What is counted of the primary's log.

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::name;

/// Counters of the one who follows it.
#[derive(Debug)]
pub struct FollowerCounters {
    /// 1 while it is followed.
    pub up: IntGauge,
    /// Transactions.
    pub transactions: IntCounter,
    /// Bytes.
    pub bytes: IntCounter,
    /// How far it is behind the primary's own word.
    pub delay_seconds: Histogram,
}

impl FollowerCounters {
    pub(super) fn new(registry: &Registry, buckets: &[f64]) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: name::FOLLOWER_UP.gauge(registry)?,
            transactions: name::FOLLOWER_TRANSACTIONS.counter(registry)?,
            bytes: name::FOLLOWER_BYTES.counter(registry)?,
            delay_seconds: name::FOLLOWER_DELAY_SECONDS.histogram(registry, buckets)?,
        })
    }
}
