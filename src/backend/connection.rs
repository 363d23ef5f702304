//! One logged-in connection to a server, and what is known about its state.

use crate::backend::statements::Statements;
use crate::link::Stream;
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
}
