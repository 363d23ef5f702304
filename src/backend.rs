//! The sockets to MySQL.
//!
//! Everything between "that server" and a connection that may be used is here; which server it
//! is to be is `cluster`'s choice.

pub mod dial;
