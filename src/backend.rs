//! The sockets to MySQL.
//!
//! Everything between "that server" and a connection that may be used is here; which server it
//! is to be is `cluster`'s choice.

pub mod catalog;
pub mod catch_up;
pub mod connection;
pub mod dial;
pub mod dialer;
pub mod fence;
pub mod fleet;
pub mod follow;
pub mod inspect;
pub mod pool;
pub mod position_question;
pub mod probe;
pub mod progress;
pub mod query;
pub mod replays;
pub mod resolve;
pub mod setup;
pub mod statements;
pub mod truth;
