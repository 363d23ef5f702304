//! Answers that need no server, byte for byte what one would say.
//!
//! Only what every server answers alike: an OK with the session's own status flags.

use crate::session::Session;
use crate::wire::capability::Capabilities;
use crate::wire::ok;

/// An answer of our own that is not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// OK, nothing affected.
    Ok,
}

impl Session {
    /// Appends the answer to `out`.
    pub fn answer(&self, local: Local, client: Capabilities, sequence: u8, out: &mut Vec<u8>) {
        match local {
            Local::Ok => {
                ok::write_ok(out, sequence, self.status(), client);
            }
        }
    }
}
