//! Forebay: a read/write-splitting MySQL proxy for WordPress.
//!
//! # Bird's-eye view
//!
//! A client says something; we understand just enough to choose who should hear it; we carry it
//! over, carry the answer back, and remember just enough for next time.
//!
//! ```text
//!  bytes        text         fleet           what it must     conversation    sockets
//!  wire   --->  sql          cluster         have seen        session  --->   backend / client
//!  what was     what would   who is there,   freshness        what does it    move the bytes,
//!  sent?        it do?       how far?                         mean now?       report back
//!    ^___________________________________________________________________________|
//!                  Outcome: the single fact that travels back up
//! ```
//!
//! Decisions are pure, movement is async. The modules below stand in layer order: each imports
//! only from those before it, and a test ([`tidy`](#invariants)) holds that.
//!
//! # Code map
//!
//! | question | place |
//! |---|---|
//! | why did this statement go to the primary? | [`session::plan`]; at run time `forebay explain` |
//! | how is a plain read proved? | [`sql`] |
//! | what is known of views and engines? | [`cluster::catalog`], [`session::name`] |
//! | what is a client told when a server is lost? | [`session::observe::after_loss`] |
//! | why is a connection not given back? | [`session::hold`], [`cluster::ledger`] |
//! | a visitor sees an old page after a save | [`freshness`] |
//! | what has a read to wait for, and who asks the primary? | [`session::own`], `client::fresh`, `backend::fence` |
//! | which write must a replica have? | [`session::floor`], [`freshness::floor`] |
//! | what did a statement write? | [`session::write`] |
//! | what would splitting have done? | [`session::rehearse`] |
//! | how far is a replica, and is it fit? | `backend::progress`, [`cluster::condition`] |
//! | what did others write? | [`wire::binlog`], [`freshness::transaction`], `backend::follow` |
//! | which replica, and why that one? | [`cluster::pick`](mod@cluster::pick) |
//! | what is sent in front of a statement? | `backend::setup` |
//! | what is answered without a server? | [`session::local`], `backend::replays` |
//! | what becomes of a prepared statement? | [`session::execute`], `client::statement` |
//! | who is here, and who may be killed? | `client::registry`, `client::kill` |
//! | what wakes a session that waits? | its streams, and `link::bell` |
//! | what becomes of query attributes? | [`wire::attributes`], `client::attributes` |
//! | which server's certificate is believed? | `link::tls` |
//! | which rule of the protocol is held by which test? | `tests/rules.md` |
//! | start reading | `client::serve`, then [`session::plan`] |
//! | a config key, a metric, a bound | `config::raw`, `metrics::name`, [`limits`] |
//!
//! # Invariants
//!
//! 1. Nothing above the I/O line reads a clock, a socket, the environment or entropy; it builds
//!    without tokio (`cargo pure`).
//! 2. Rows are never parsed: headers, first bytes, and whole OK, ERR and EOF packets are.
//! 3. [`session::plan`] is the only code that chooses primary or reader. Unknown means primary.
//! 4. A lease goes back only when it is proved clean or is marked to be reset; dropping it closes
//!    the connection.
//! 5. After one byte of a reply reached the client nothing is run again. A write is never sent
//!    twice.
//! 6. A session is one task and owns its leases; the only lock on a query's way that another session
//!    may want is a pool's, and none is held across an await.
//! 7. Every collection, queue and wait is bounded by a constant in [`limits`].
//! 8. No byte from the network panics; a broken belief ends one session and is counted.
//! 9. The fleet is replaced, never edited.
//! 10. A write raises its floor before its client is told.

pub mod limits;

pub mod wire;

pub mod sql;

pub mod position;

pub mod cluster;

pub mod freshness;

pub mod session;

// ------------------------------------ the I/O line ------------------------------------

#[cfg(feature = "io")]
pub mod control;

#[cfg(feature = "io")]
pub mod metrics;

#[cfg(feature = "io")]
pub mod link;

#[cfg(feature = "io")]
pub mod secret;

#[cfg(feature = "io")]
pub mod backend;

#[cfg(feature = "io")]
pub mod client;

#[cfg(feature = "io")]
pub mod config;

#[cfg(feature = "io")]
pub mod admin;

#[cfg(feature = "io")]
pub mod app;

#[cfg(all(feature = "io", any(test, feature = "sim")))]
pub mod sim;

#[cfg(feature = "io")]
pub mod cli;

#[cfg(test)]
mod tidy;
