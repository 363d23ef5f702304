//! The admin port: what an operator, a scraper and an orchestrator ask over HTTP.
//!
//! `GET /livez` the process answers · `GET /readyz` clients may be sent here · `GET /metrics` for
//! Prometheus · `GET /` the status page · `GET /explain?sql=...` where a statement would go ·
//! `POST /mode` with `primary`, `observe` or `split` · `POST /drain` · `POST /reload`.
//!
//! `console` answers SQL at a port of its own. Both decide nothing: they ask `Facts` and pass
//! demands to `control`. There are no passwords and no statements of clients in what they show.
//! Called by `app`.

#[cfg(feature = "console")]
pub mod console;
mod explain;
mod http;
mod live;
mod observed;
mod page;

use std::sync::Arc;

pub use explain::{explain, facts, verdict};
pub use http::serve;
pub use live::{Question, live};
pub use observed::observed;
pub use page::{Status, Table};

use crate::control::Control;

/// What the admin port shows; `app` knows it all.
pub trait Facts: Send + Sync {
    /// The status page's content, of this moment.
    fn status(&self) -> Status;

    /// What is known about one topic, as a table.
    fn table(&self, topic: Topic<'_>) -> Table;

    /// Where a statement would go and why, as text; `explain` writes it, and `live` what it must
    /// have seen now. `schema`: the current one of who would send it.
    fn explain(&self, sql: &str, schema: Option<&str>) -> String;

    /// The page that Prometheus reads, or why there is none.
    fn metrics(&self) -> Result<String, String>;
}

/// What can be asked for on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// The servers and how they are.
    Backends,
    /// Connections to each server.
    Pools,
    /// Where statements went, and why.
    Routes,
    /// Every setting and where it came from.
    Config,
    /// Where this statement would go, and why.
    Route(&'a str),
}

/// Everything that a request may need.
#[derive(Clone)]
pub struct Desk {
    /// Phase, readiness, and the queue for demands.
    pub control: Control,
    /// What is shown.
    pub facts: Arc<dyn Facts>,
}

#[cfg(test)]
mod tests;
