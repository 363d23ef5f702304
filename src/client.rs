//! The sockets to PHP: who may come in, and what is said to them.
//!
//! It owns each client's stream for as long as it lasts. Where a statement goes is decided above
//! the I/O line, and the sockets to MySQL are `backend`'s.

pub mod accept;
pub mod announce;
mod attributes;
pub mod enter;
mod fresh;
pub mod greet;
pub mod house;
mod kill;
mod lease;
mod local_file;
mod novelty;
pub mod patience;
pub mod read;
pub mod registry;
mod rehearse;
pub mod relay;
mod replay;
mod revoke;
mod run;
pub mod serve;
pub mod slab;
mod statement;
mod tally;
