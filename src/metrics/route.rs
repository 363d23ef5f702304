//! Where statements went and why: a grid of counters over target and reason.
//!
//! The reasons are not known here: `session::plan` names them and `app` hands the list in. A cell
//! appears on the page when it is first counted, because most pairs never happen.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::name;

/// Counters by target and reason, both given as an index into the list they were made with.
#[derive(Debug)]
pub struct RouteCounters {
    family: IntCounterVec,
    targets: Vec<&'static str>,
    reasons: Vec<&'static str>,
    cells: Vec<OnceLock<IntCounter>>,
}

impl RouteCounters {
    /// A grid over these words.
    ///
    /// # Errors
    /// The registry already holds it.
    pub fn new(
        registry: &Registry,
        targets: &[&'static str],
        reasons: &[&'static str],
    ) -> Result<Self, prometheus::Error> {
        let cells = targets.len().saturating_mul(reasons.len());
        Ok(Self {
            family: name::ROUTE.counters(registry)?,
            targets: targets.to_vec(),
            reasons: reasons.to_vec(),
            cells: (0..cells).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Counts one statement. An index outside the lists counts nothing.
    pub fn inc(&self, target: usize, reason: usize) {
        let (Some(to), Some(why)) = (self.targets.get(target), self.reasons.get(reason)) else {
            return;
        };
        let Some(cell) = self.cells.get(target * self.reasons.len() + reason) else { return };
        cell.get_or_init(|| self.family.with_label_values(&[*to, *why])).inc();
    }

    /// Every cell that was ever counted: target, reason, how often.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let words =
            self.targets.iter().flat_map(|to| self.reasons.iter().map(move |why| (to, why)));
        words
            .zip(&self.cells)
            .filter_map(|((to, why), cell)| Some((*to, *why, cell.get()?.get())))
            .collect()
    }
}
