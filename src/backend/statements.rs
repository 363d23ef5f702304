//! What is prepared on one server connection: texts and the numbers that the server gave them.
//!
//! Shared by all sessions that use the connection, one number for each text, and bounded: what was
//! not used for longest is closed. Not the clients' numbers (`session::prepared`). A reset of the
//! connection ends all of them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits;
use crate::session::prepared::Blueprint;
use crate::wire::frame::write_packet;

const COM_STMT_CLOSE: u8 = 0x19;

/// The statements of one connection. Most connections have none and stay small.
#[derive(Debug, Default)]
pub struct Statements {
    all: Option<Box<All>>,
}

#[derive(Debug, Default)]
struct All {
    known: HashMap<Arc<Blueprint>, Entry>,
    /// Counts uses.
    clock: u64,
    /// To be closed in front of the next command.
    doomed: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    server_id: u32,
    used: u64,
    /// The types of its parameters that the server was told last.
    types: Box<[u8]>,
}

impl Statements {
    /// The server's number for a text.
    pub fn find(&mut self, blueprint: &Blueprint) -> Option<u32> {
        let all = self.all.as_mut()?;
        all.clock = all.clock.saturating_add(1);
        let entry = all.known.get_mut(blueprint)?;
        entry.used = all.clock;
        Some(entry.server_id)
    }

    /// Takes one out: its number belongs to one session from now on.
    pub fn take(&mut self, blueprint: &Blueprint) {
        if let Some(all) = &mut self.all {
            all.known.remove(blueprint);
        }
    }

    /// The server gave a number to a text. What it replaces or drives out has to be closed.
    pub fn put(&mut self, blueprint: &Arc<Blueprint>, server_id: u32) {
        let all = self.all.get_or_insert_default();
        if all.known.get(blueprint).is_some_and(|entry| entry.server_id == server_id) {
            return;
        }
        all.clock = all.clock.saturating_add(1);
        let entry = Entry { server_id, used: all.clock, types: Box::default() };
        if let Some(replaced) = all.known.insert(Arc::clone(blueprint), entry) {
            all.doomed.push(replaced.server_id);
        }
        if all.known.len() > limits::PREPARED_PER_CONNECTION_MAX {
            let oldest = all.known.iter().min_by_key(|(_, entry)| entry.used);
            let oldest = oldest.map(|(blueprint, _)| Arc::clone(blueprint));
            if let Some(gone) = oldest.and_then(|oldest| all.known.remove(&oldest)) {
                all.doomed.push(gone.server_id);
            }
        }
    }

    /// The server was told these types.
    pub fn note_types(&mut self, blueprint: &Blueprint, types: &[u8]) {
        let entry = self.all.as_mut().and_then(|all| all.known.get_mut(blueprint));
        if let Some(entry) = entry.filter(|entry| *entry.types != *types) {
            entry.types = types.into();
        }
    }

    /// Whether the server was told these types last.
    #[must_use]
    pub fn has_types(&self, blueprint: &Blueprint, types: &[u8]) -> bool {
        let entry = self.all.as_ref().and_then(|all| all.known.get(blueprint));
        entry.is_some_and(|entry| *entry.types == *types)
    }

    /// Nobody needs this number any more.
    pub fn doom(&mut self, server_id: u32) {
        self.all.get_or_insert_default().doomed.push(server_id);
    }

    /// Appends COM_STMT_CLOSE for what is not needed; there is no reply to it.
    pub fn put_closes(&mut self, flight: &mut Vec<u8>) {
        let Some(all) = &mut self.all else { return };
        for server_id in all.doomed.drain(..) {
            let [a, b, c, d] = server_id.to_le_bytes();
            write_packet(flight, 0, &[COM_STMT_CLOSE, a, b, c, d]);
        }
    }

    /// The connection was reset: the server has forgotten all.
    pub fn clear(&mut self) {
        self.all = None;
    }

    /// How many texts it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.as_ref().map_or(0, |all| all.known.len())
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::variable::Values;
    use crate::sql::Mode;

    fn blueprint(number: usize) -> Arc<Blueprint> {
        let text = format!("SELECT {number} + ?");
        Arc::new(Blueprint::new(text.as_bytes(), &Values::default(), Mode::default()))
    }

    fn closes(statements: &mut Statements) -> Vec<u32> {
        let mut flight = Vec::new();
        statements.put_closes(&mut flight);
        let ids = flight.chunks(9).map(|packet| {
            assert_eq!(packet[..5], [5, 0, 0, 0, COM_STMT_CLOSE]);
            u32::from_le_bytes(packet[5..].try_into().unwrap())
        });
        ids.collect()
    }

    #[test]
    fn what_was_not_used_for_longest_is_closed() {
        let mut statements = Statements::default();
        assert!(statements.is_empty() && statements.find(&blueprint(0)).is_none());
        for number in 0..limits::PREPARED_PER_CONNECTION_MAX {
            statements.put(&blueprint(number), number as u32 + 1);
        }
        assert_eq!(statements.find(&blueprint(0)), Some(1));
        assert!(closes(&mut statements).is_empty());
        statements.put(&blueprint(7000), 7000);
        assert_eq!(closes(&mut statements), [2]);
        assert!(closes(&mut statements).is_empty());
        assert_eq!(statements.find(&blueprint(1)), None);
        assert_eq!(statements.find(&blueprint(0)), Some(1));
        assert_eq!(statements.len(), limits::PREPARED_PER_CONNECTION_MAX);
    }

    #[test]
    fn one_number_for_each_text() {
        let mut statements = Statements::default();
        statements.put(&blueprint(1), 5);
        statements.put(&blueprint(1), 5);
        assert!(closes(&mut statements).is_empty());
        statements.put(&blueprint(1), 6);
        assert_eq!((statements.find(&blueprint(1)), closes(&mut statements)), (Some(6), vec![5]));
        // What a session has for itself is neither found nor driven out.
        statements.take(&blueprint(1));
        assert_eq!((statements.find(&blueprint(1)), closes(&mut statements)), (None, vec![]));
        statements.doom(6);
        assert_eq!(closes(&mut statements), [6]);
        statements.put(&blueprint(1), 7);
        statements.clear();
        assert!(statements.is_empty());
    }

    #[test]
    fn types_are_known_until_the_number_changes() {
        let mut statements = Statements::default();
        let has =
            |statements: &Statements, types: &[u8]| statements.has_types(&blueprint(1), types);
        statements.note_types(&blueprint(1), b"\x03\0");
        assert!(!has(&statements, b"\x03\0"));
        statements.put(&blueprint(1), 5);
        statements.note_types(&blueprint(1), b"\x03\0");
        assert!(has(&statements, b"\x03\0") && !has(&statements, b"\x08\0"));
        statements.put(&blueprint(1), 6);
        assert!(!has(&statements, b"\x03\0"));
    }
}
