//! The fleet as values: who is there, how healthy, how far, and which one to choose.
//!
//! A `Snapshot` is immutable and replaced whole; what changes with every reply stands in each
//! server's `Live` atomics. No sockets, no clock: probes and pools live in `backend` and report
//! here. Called by `session` (to pick), `freshness` (progress) and `backend` (health, ledger).

pub mod catalog;
pub mod condition;
pub mod health;
pub mod identity;
pub mod ledger;
pub mod pick;
pub mod server;
pub mod snapshot;

pub use catalog::{Catalog, Changes, Names};
pub use condition::{Condition, Fault, Finding};
pub use health::Health;
pub use identity::Identity;
pub use ledger::Ledger;
pub use pick::{Choice, NoServer, Want, Why, pick};
pub use server::{Live, Outstanding, Role, Server, ServerId};
pub use snapshot::Snapshot;
