//! Mode `observe` in words: what splitting would have done, and what careless rules would.
//!
//! Called by `app` for the status page; the numbers are counted by `client`.

use crate::metrics::{Careless, Metrics, Observed};

/// A name and a value each; nothing before the first read was observed.
#[must_use]
pub fn observed(metrics: &Metrics) -> Vec<(String, String)> {
    let (replica, primary) = (Observed::Replica, Observed::Primary);
    let replica = metrics.observed_reads.count(replica);
    let all = replica.saturating_add(metrics.observed_reads.count(primary));
    if all == 0 {
        return Vec::new();
    }
    let stale = |rule| share(metrics.observed_stale.count(rule), all);
    vec![
        (
            "reads observed".into(),
            format!(
                "{all}; replicas would have served {} of them, none stale",
                share(replica, all)
            ),
        ),
        ("any replica".into(), format!("would have answered {} stale", stale(Careless::Eventual))),
        (
            "HyperDB's rule".into(),
            format!("would have answered {} stale", stale(Careless::HyperDb)),
        ),
    ]
}

/// `12 (10.0 %)`
fn share(part: u64, all: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(all.max(1));
    format!("{part} ({}.{} %)", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{observed, share};
    use crate::metrics::{Careless, Metrics, Observed};

    #[test]
    fn shares() {
        let check = |part, all, expected| assert_eq!(share(part, all), expected);
        check(0, 0, "0 (0.0 %)");
        check(1, 3, "1 (33.3 %)");
        check(999, 1000, "999 (99.9 %)");
        check(9999, 10_000, "9999 (99.9 %)");
        check(u64::MAX, u64::MAX, "18446744073709551615 (100.0 %)");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let metrics = Metrics::new(&[]).unwrap();
        assert_eq!(observed(&metrics), []);
        metrics.observed_reads.inc(Observed::Primary);
        metrics.observed_stale.inc(Careless::Eventual);
        let said: Vec<String> =
            observed(&metrics).iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            said,
            [
                "reads observed: 1; replicas would have served 0 (0.0 %) of them, none stale",
                "any replica: would have answered 1 (100.0 %) stale",
                "HyperDB's rule: would have answered 0 (0.0 %) stale",
            ]
        );
    }
}
