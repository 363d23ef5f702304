//! The statements that a client prepared by the binary protocol, by the server's own numbers.
//!
//! While one lives, the session holds the connection that knows it, so ids need no translation.

use std::collections::HashMap;

use crate::limits;
use crate::session::plan::Kind;

/// Statement ids of the held connection, and what each can do to data.
#[derive(Debug, Default)]
pub struct Prepared {
    #[expect(clippy::box_collection, reason = "most sessions prepare nothing and stay small")]
    kinds: Option<Box<HashMap<u32, Kind>>>,
}

impl Prepared {
    /// Has this session prepared it?
    #[must_use]
    pub fn knows(&self, id: u32) -> bool {
        self.kinds.as_ref().is_some_and(|ids| ids.contains_key(&id))
    }

    /// What it can do to data.
    #[must_use]
    pub fn kind(&self, id: u32) -> Kind {
        let known = self.kinds.as_ref().and_then(|ids| ids.get(&id).copied());
        known.unwrap_or(Kind::Commit)
    }

    /// Whether it was proved to be a plain read.
    #[must_use]
    pub fn is_read(&self, id: u32) -> bool {
        self.kind(id) == Kind::Read
    }

    /// No more can be prepared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= limits::PREPARED_PER_SESSION_MAX
    }

    /// How many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.as_ref().map_or(0, |ids| ids.len())
    }

    /// None lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server gave a number to one.
    pub fn add(&mut self, id: u32, kind: Kind) {
        self.kinds.get_or_insert_default().insert(id, kind);
    }

    /// The client closed one.
    pub fn remove(&mut self, id: u32) {
        if let Some(ids) = &mut self.kinds {
            ids.remove(&id);
        }
    }

    /// The connection that knew them is gone.
    pub fn clear(&mut self) {
        self.kinds = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_live_until_they_are_closed() {
        let mut prepared = Prepared::default();
        assert!(prepared.is_empty() && !prepared.knows(1));
        prepared.add(1, Kind::Read);
        prepared.add(2, Kind::Write);
        assert!(prepared.knows(1) && prepared.is_read(1) && !prepared.is_read(2));
        prepared.remove(1);
        assert!(!prepared.knows(1) && prepared.len() == 1);
        prepared.clear();
        assert!(prepared.is_empty());
    }
}
