//! A whole proxy in one process: the real code, a made-up fleet, made-up clients, one seed.
//!
//! [`world::run`] builds a fleet of toy servers (`mysql`, speaking through `wire`), the proxy as
//! `app` builds it, and clients that behave as WordPress does (`php`), joined by pipes in memory
//! that cut and delay (`link`). Servers die, refuse, lag and break off; time is paused, every
//! choice comes from the seed, and an `oracle` watches. Not part of the proxy: for tests only.

mod link;
mod mysql;
mod oracle;
mod php;
mod query;
mod random;
mod store;
#[cfg(test)]
mod tests;
pub mod world;
