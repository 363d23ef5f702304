//! One logged-in connection to a server, and what is known about its state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crate::backend::statements::Statements;
use crate::link::{Bell, Stream};
use crate::session::variable::Values;
use crate::wire::capability::Capabilities;

/// A connection that is ready for a command.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub stream: Stream,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// The server's own number for it.
    pub thread_id: u32,
    /// Set up as a reader: `SESSION TRANSACTION READ ONLY`, the second lock.
    pub is_reader: bool,
    /// Which baseline it had at its login or last reset.
    pub epoch: u64,
    /// What was set since the login or the last reset.
    pub values: Values,
    /// What is prepared on it.
    pub statements: Statements,
    /// Something may be left on it that no other session may see: reset it first.
    pub residue: bool,
    /// Several statements may stand in one command; a reset does not end that.
    pub multi_statements: bool,
    /// Nobody has used it since its login or reset.
    pub clean: bool,
    /// When it was given back, in milliseconds of the pool's clock.
    pub idle_since: tokio::time::Instant,
    /// Shared with its pool, which says so.
    pub given_up: Arc<GivenUp>,
}

/// Whether the server of a connection was given up since somebody leased it: then no reply will
/// come.
#[derive(Debug, Default)]
pub struct GivenUp {
    is_so: AtomicBool,
    bell: Bell,
}

impl GivenUp {
    /// It was.
    pub fn tell(&self) {
        self.is_so.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Somebody leases it: that is past.
    pub fn forget(&self) {
        if self.is_so.load(Ordering::Relaxed) {
            self.is_so.store(false, Ordering::Release);
        }
    }

    /// Ready once it was.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        self.bell.poll(context, || self.is_so.load(Ordering::Acquire))
    }
}
