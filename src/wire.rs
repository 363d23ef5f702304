//! Packets of the MySQL client/server protocol: bytes to values and back.
//!
//! Knows packets, not meaning: what a statement does is `sql`'s matter, where it goes is
//! `session`'s. Nothing here reads a socket, a clock or entropy. Whatever the bytes are, nothing
//! here panics: what cannot be understood is [`Malformed`].
//! Called by `session` (statuses, errors), `backend` and `client`.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod attributes;
pub mod auth;
pub mod binlog;
pub mod capability;
pub mod command;
pub mod cursor;
pub mod err;
pub mod frame;
pub mod handshake;
pub mod ok;
pub mod prepared;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod probe;
pub mod reply;
pub mod resultset;

/// Bytes that are not what the protocol allows at this place; the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {what}")]
pub struct Malformed {
    /// What was wrong, for the log.
    pub what: &'static str,
}

/// Shorthand that keeps the parsers' lines short.
pub(crate) const fn malformed<T>(what: &'static str) -> Result<T, Malformed> {
    Err(Malformed { what })
}
