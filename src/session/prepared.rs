//! The statements that a client prepared by the binary protocol, under numbers of our own.
//!
//! A text is prepared on a server connection when it is first needed there, so the loss of a
//! server loses no statement. Not the numbers that servers give (`backend::statements`), and not
//! where an EXECUTE goes (`execute`).

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::limits;
use crate::session::refusal::Refusal;
use crate::session::variable::Values;
use crate::sql::{Flavour, Mode, Statement};

/// MariaDB's number for "the one that was prepared last".
const LAST_PREPARED: u32 = u32::MAX;
/// What a kept piece of long data costs beside its bytes.
const PIECE_BYTES: usize = 64;

/// A text and all that decides what it means: enough to prepare it on any connection.
#[derive(Debug)]
pub struct Blueprint {
    /// The statement.
    pub text: Box<[u8]>,
    /// The database and the variables by which it was read.
    pub values: Values,
    /// How it was lexed.
    pub mode: Mode,
    hash: u64,
}

impl Blueprint {
    /// What a session with these values means by a text.
    #[must_use]
    pub fn new(text: &[u8], values: &Values, mode: Mode) -> Self {
        let values = values.reading();
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(text, values.fingerprint());
        Self { text: text.into(), values, mode, hash }
    }
}

impl PartialEq for Blueprint {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.hash == other.hash && self.text == other.text && self.values == other.values)
    }
}

impl Eq for Blueprint {}

impl Hash for Blueprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Where a statement can be had from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From its text, on any connection.
    Text(Arc<Blueprint>),
    /// Its text was too long to keep: only the connection that prepared it knows it.
    Long(Arc<Statement>),
}

/// Why a statement lives on the held connection, under a number that no other session uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReason {
    /// A cursor is open.
    Cursor,
    /// Long data was sent that is not kept here.
    LongData,
    /// See [`Source::Long`].
    LongText,
}

/// A statement's number on the held connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The server's number.
    pub server_id: u32,
    /// Why it is there.
    pub why: PinReason,
}

/// One statement of the client's.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it can be had from.
    pub source: Source,
    /// How many parameters it has.
    pub params: u16,
    /// Their types, as the client told last; empty before that.
    pub types: Box<[u8]>,
    /// Pieces of long parameters, in order; the next EXECUTE uses them up.
    pub long_data: Vec<(u16, Box<[u8]>)>,
    /// What went wrong with a command that has no reply; the next EXECUTE tells.
    pub spoiled: Option<Refusal>,
    /// It lives on the held connection.
    pub pin: Option<Pin>,
}

impl Known {
    /// One that was just prepared.
    #[must_use]
    pub fn new(source: Source, params: u16) -> Self {
        let (types, long_data) = (Box::default(), Vec::new());
        Self { source, params, types, long_data, spoiled: None, pin: None }
    }

    /// What it costs, the types of its parameters too.
    fn text_bytes(&self) -> usize {
        let text = match &self.source {
            Source::Text(blueprint) => blueprint.text.len(),
            Source::Long(_) => 0,
        };
        text.saturating_add(usize::from(self.params).saturating_mul(2))
    }

    fn long_bytes(&self) -> usize {
        self.long_data.iter().map(|(_, data)| data.len().saturating_add(PIECE_BYTES)).sum()
    }
}

/// All statements of one client. Most clients prepare nothing and stay small.
#[derive(Debug, Default)]
pub struct Prepared {
    all: Option<Box<All>>,
}

#[derive(Debug, Default)]
struct All {
    known: HashMap<u32, Known>,
    /// The last number given.
    number: u32,
    /// What LAST_PREPARED means.
    last: Option<u32>,
    text_bytes: usize,
    long_bytes: usize,
    /// How many live on the held connection.
    pins: usize,
}

impl Prepared {
    /// The statement of this number, and the number itself where the client named the last one.
    #[must_use]
    pub fn find(&self, id: u32, flavour: Flavour) -> Option<(u32, &Known)> {
        let all = self.all.as_ref()?;
        let id = match id {
            LAST_PREPARED if flavour == Flavour::MariaDb => all.last?,
            id => id,
        };
        Some((id, all.known.get(&id)?))
    }

    /// The same, to be changed. The long data is not: see [`Self::keep_piece`].
    pub fn known_mut(&mut self, id: u32) -> Option<&mut Known> {
        self.all.as_mut()?.known.get_mut(&id)
    }

    /// No more can be prepared.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.all.as_ref().is_some_and(|all| {
            all.known.len() >= limits::PREPARED_PER_SESSION_MAX
                || all.text_bytes >= limits::PREPARED_TEXT_BYTES_PER_SESSION_MAX
        })
    }

    /// How many live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.as_ref().map_or(0, |all| all.known.len())
    }

    /// None lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the next one.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        let Some(all) = &self.all else { return 1 };
        let mut id = all.number;
        loop {
            id = id.wrapping_add(1);
            if id != 0 && id != LAST_PREPARED && !all.known.contains_key(&id) {
                return id;
            }
        }
    }

    /// One was prepared; the client knows it by [`Self::next_id`].
    pub fn add(&mut self, known: Known) {
        let id = self.next_id();
        let all = self.all.get_or_insert_default();
        (all.number, all.last) = (id, Some(id));
        all.text_bytes = all.text_bytes.saturating_add(known.text_bytes());
        all.known.insert(id, known);
    }

    /// One could not be prepared: "the last one" is none.
    pub fn none_was_added(&mut self) {
        if let Some(all) = &mut self.all {
            all.last = None;
        }
    }

    /// The client closed one.
    pub fn remove(&mut self, id: u32) {
        let Some(all) = &mut self.all else { return };
        if let Some(known) = all.known.remove(&id) {
            all.pins = all.pins.saturating_sub(usize::from(known.pin.is_some()));
            all.text_bytes = all.text_bytes.saturating_sub(known.text_bytes());
            all.long_bytes = all.long_bytes.saturating_sub(known.long_bytes());
        }
    }

    /// So much more long data can be kept.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let kept = self.all.as_ref().map_or(0, |all| all.long_bytes);
        kept.saturating_add(bytes).saturating_add(PIECE_BYTES)
            <= limits::LONG_DATA_BYTES_PER_SESSION_MAX
    }

    /// A piece of a long parameter.
    pub fn keep_piece(&mut self, id: u32, param: u16, data: Box<[u8]>) {
        let Some(all) = &mut self.all else { return };
        if let Some(known) = all.known.get_mut(&id) {
            let bytes = data.len().saturating_add(PIECE_BYTES);
            all.long_bytes = all.long_bytes.saturating_add(bytes);
            known.long_data.push((param, data));
        }
    }

    /// The pieces were used, or are not wanted any more.
    pub fn drop_pieces(&mut self, id: u32) {
        let Some(all) = &mut self.all else { return };
        if let Some(known) = all.known.get_mut(&id) {
            all.long_bytes = all.long_bytes.saturating_sub(known.long_bytes());
            known.long_data = Vec::new();
        }
    }

    /// One lives on the held connection from now on, or does so no more.
    pub fn pin(&mut self, id: u32, pin: Option<Pin>) {
        let Some(all) = &mut self.all else { return };
        if let Some(known) = all.known.get_mut(&id) {
            all.pins = all.pins.saturating_sub(usize::from(known.pin.is_some()));
            all.pins = all.pins.saturating_add(usize::from(pin.is_some()));
            known.pin = pin;
        }
    }

    /// Some live on the held connection.
    #[must_use]
    pub fn has_pins(&self) -> bool {
        self.all.as_ref().is_some_and(|all| all.pins > 0)
    }

    /// The held connection is gone, with its cursors and with what only it knew.
    pub fn lose_pins(&mut self) {
        let Some(all) = self.all.as_mut().filter(|all| all.pins > 0) else { return };
        all.pins = 0;
        all.known.retain(|_, known| !matches!(known.source, Source::Long(_)));
        for known in all.known.values_mut() {
            if known.pin.take().is_some_and(|pin| pin.why == PinReason::LongData) {
                known.spoiled = Some(Refusal::StateLost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blueprint(text: &str, database: &str) -> Arc<Blueprint> {
        let mut values = Values::default();
        values.database = Some(database.as_bytes().into());
        Arc::new(Blueprint::new(text.as_bytes(), &values, Mode::default()))
    }

    fn known() -> Known {
        Known::new(Source::Text(blueprint("SELECT ?", "wp")), 1)
    }

    #[test]
    fn a_text_is_the_same_only_where_it_means_the_same() {
        assert_eq!(blueprint("SELECT ?", "wp"), blueprint("SELECT ?", "wp"));
        assert_ne!(blueprint("SELECT ?", "wp"), blueprint("SELECT ?", "other"));
        assert_ne!(blueprint("SELECT ?", "wp"), blueprint("SELECT 1", "wp"));
    }

    #[test]
    fn numbers_are_never_used_twice() {
        let mut prepared = Prepared::default();
        let finds = |prepared: &Prepared, id, flavour| prepared.find(id, flavour).map(|it| it.0);
        assert!(prepared.is_empty() && prepared.next_id() == 1);
        for id in 1..=3 {
            prepared.add(known());
            assert_eq!(finds(&prepared, LAST_PREPARED, Flavour::MariaDb), Some(id));
        }
        assert_eq!(finds(&prepared, LAST_PREPARED, Flavour::MySql), None);
        prepared.none_was_added();
        assert_eq!(finds(&prepared, LAST_PREPARED, Flavour::MariaDb), None);
        prepared.remove(3);
        prepared.remove(3);
        assert_eq!((prepared.len(), prepared.next_id()), (2, 4));
        assert_eq!(finds(&prepared, 3, Flavour::MySql), None);
        assert_eq!(finds(&prepared, 2, Flavour::MySql), Some(2));
    }

    #[test]
    fn texts_and_pieces_are_bounded() {
        let mut prepared = Prepared::default();
        let text = "x".repeat(limits::PREPARED_TEXT_BYTES_PER_SESSION_MAX);
        prepared.add(Known::new(Source::Text(blueprint(&text, "wp")), 1));
        assert!(prepared.is_full());
        prepared.remove(1);
        assert!(!prepared.is_full());
        prepared.add(known());
        let half = limits::LONG_DATA_BYTES_PER_SESSION_MAX / 2;
        prepared.keep_piece(2, 0, vec![0; half].into());
        assert!(!prepared.has_room(half) && prepared.has_room(half - 2 * PIECE_BYTES));
        prepared.drop_pieces(2);
        assert!(prepared.has_room(half));
        prepared.keep_piece(2, 0, vec![0; half].into());
        prepared.remove(2);
        assert!(prepared.has_room(half));
    }

    #[test]
    fn what_a_lost_connection_takes_along() {
        let mut prepared = Prepared::default();
        let pin = |why| Some(Pin { server_id: 9, why });
        prepared.add(known());
        prepared.add(known());
        let statement = Arc::new(Statement::unknown("long"));
        prepared.add(Known::new(Source::Long(statement), 1));
        assert!(!prepared.has_pins());
        prepared.pin(1, pin(PinReason::Cursor));
        prepared.pin(2, pin(PinReason::LongData));
        prepared.pin(3, pin(PinReason::LongText));
        assert!(prepared.has_pins());
        prepared.lose_pins();
        assert!(!prepared.has_pins());
        let spoiled = |id| prepared.find(id, Flavour::MySql).map(|(_, known)| known.spoiled);
        assert_eq!(spoiled(1), Some(None));
        assert_eq!(spoiled(2), Some(Some(Refusal::StateLost)));
        assert_eq!(spoiled(3), None);
    }
}
