//! The statements that a client prepared by the binary protocol, by the server's own numbers.
//!
//! While one lives, the session holds the connection that knows it, so ids need no translation.

use std::collections::HashMap;

use crate::limits;

/// Statement ids of the held connection, and whether each is a proved read.
#[derive(Debug, Default)]
pub struct Prepared {
    reads_only: Option<Box<HashMap<u32, bool>>>,
}

impl Prepared {
    /// Has this session prepared it?
    #[must_use]
    pub fn knows(&self, id: u32) -> bool {
        self.reads_only.as_ref().is_some_and(|ids| ids.contains_key(&id))
    }

    /// Whether it was proved to be a plain read.
    #[must_use]
    pub fn is_read(&self, id: u32) -> bool {
        self.reads_only.as_ref().is_some_and(|ids| ids.get(&id).copied().unwrap_or(false))
    }

    /// No more can be prepared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= limits::PREPARED_PER_SESSION_MAX
    }

    /// How many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reads_only.as_ref().map_or(0, |ids| ids.len())
    }

    /// None lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The server gave a number to one.
    pub fn add(&mut self, id: u32, is_read: bool) {
        self.reads_only.get_or_insert_default().insert(id, is_read);
    }

    /// The client closed one.
    pub fn remove(&mut self, id: u32) {
        if let Some(ids) = &mut self.reads_only {
            ids.remove(&id);
        }
    }

    /// The connection that knew them is gone.
    pub fn clear(&mut self) {
        self.reads_only = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_live_until_they_are_closed() {
        let mut prepared = Prepared::default();
        assert!(prepared.is_empty() && !prepared.knows(1));
        prepared.add(1, true);
        prepared.add(2, false);
        assert!(prepared.knows(1) && prepared.is_read(1) && !prepared.is_read(2));
        prepared.remove(1);
        assert!(!prepared.knows(1) && prepared.len() == 1);
        prepared.clear();
        assert!(prepared.is_empty());
    }
}
