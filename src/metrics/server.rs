//! What is counted for each server: logins and misroutes, under the server's name.
//!
//! The fleet changes, so handles are made when a server joins and its numbers are dropped when it
//! is forgotten. Not its health: that is a gauge, set at scrape time.

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::label::{BackendLogin, Label, Labelled};
use super::name;

/// The families that have a `server` label.
#[derive(Debug)]
pub struct Servers {
    logins: IntCounterVec,
    misroutes: IntCounterVec,
}

/// The counters of one server, resolved.
#[derive(Debug)]
pub struct ServerCounters {
    /// How our logins there ended.
    pub logins: Labelled<BackendLogin>,
    /// Statements that it refused as writes.
    pub misroutes: IntCounter,
}

impl Servers {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            logins: name::BACKEND_LOGINS.counters(registry)?,
            misroutes: name::MISROUTE.counters(registry)?,
        })
    }

    /// The counters of the server of that name; the same numbers if it was here before.
    ///
    /// # Errors
    /// The labels do not fit the family, which the tests exclude.
    pub fn join(&self, server: &str) -> Result<ServerCounters, prometheus::Error> {
        let logins = |result: &str| self.logins.get_metric_with_label_values(&[server, result]);
        Ok(ServerCounters {
            logins: Labelled::resolve(logins)?,
            misroutes: self.misroutes.get_metric_with_label_values(&[server])?,
        })
    }

    /// Takes a server that left the fleet off the page.
    pub fn forget(&self, server: &str) {
        for result in BackendLogin::VALUES {
            // It is not there when the server never joined: nothing to forget then.
            drop(self.logins.remove_label_values(&[server, result]));
        }
        drop(self.misroutes.remove_label_values(&[server]));
    }
}
