//! Answers from memory: what a server said to the very same words in the very same state.
//!
//! Nothing is guessed. A [`Recording`] is the bytes of a real answer and the state that the
//! server's own trackers told after it; its key is all that the answer can depend on. What was
//! answered so counts as *unplayed*: should the client ask what its last statement left behind
//! (warnings, FOUND_ROWS()), it is run for real first, in its order, on the connection that is
//! asked. The memory itself, its age and its bounds are `backend::replays`'.

use std::sync::Arc;

use crate::cluster::Role;
use crate::limits;
use crate::session::Session;
use crate::session::hold::Hold;
use crate::session::observe::Said;
use crate::session::variable::Values;
use crate::sql::Effects;
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::ok::Status;
use crate::wire::reply::{End, Summary};

/// What was answered from memory since the last statement that ran, oldest first.
pub(super) type Unplayed = Vec<Arc<Recording>>;

/// MySQL's COM_INIT_DB leaves the warnings of the statement before it and tells their number.
const INIT_DB: u8 = 2;

/// All that an answer can depend on, while the server and its accounts stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    account: u64,
    client: Capabilities,
    status: Status,
    /// Left by the statement before; 0 where that does not matter.
    warnings: u16,
    values: &'a Values,
    fingerprint: u64,
    /// COM_QUERY or COM_INIT_DB.
    command: u8,
    text: &'a [u8],
}

impl<'a> Key<'a> {
    /// A login that names a schema: not an answer, but the right to use it.
    #[must_use]
    pub fn of_login(account: u64, nothing: &'a Values, schema: &'a [u8]) -> Self {
        Self {
            account,
            client: Capabilities(0),
            status: Status(0),
            warnings: 0,
            values: nothing,
            fingerprint: 0,
            command: 0,
            text: schema,
        }
    }

    /// Differs, in all likelihood, when the keys do; [`Recording::fits`] is sure.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let seed = self.fingerprint
            ^ self.account.rotate_left(17)
            ^ u64::from(self.client.0).rotate_left(40)
            ^ u64::from(self.status.0) << 8
            ^ u64::from(self.warnings) << 24
            ^ u64::from(self.command);
        xxhash_rust::xxh3::xxh3_64_with_seed(self.text, seed)
    }

    /// The same to keep, until the answer is there.
    #[must_use]
    pub fn draft(&self) -> Recording {
        Recording {
            account: self.account,
            client: self.client,
            command: self.command,
            text: self.text.into(),
            status_before: self.status,
            warnings_before: self.warnings,
            before: self.values.clone(),
            reply: Box::default(),
            status: self.status,
            warnings: self.warnings,
            after: self.values.clone(),
            after_fingerprint: self.fingerprint,
        }
    }
}

/// One answer, and all that it depended on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    account: u64,
    client: Capabilities,
    command: u8,
    text: Box<[u8]>,
    status_before: Status,
    warnings_before: u16,
    before: Values,
    reply: Box<[u8]>,
    status: Status,
    warnings: u16,
    after: Values,
    after_fingerprint: u64,
}

impl Recording {
    /// Whether it answers this.
    #[must_use]
    pub fn fits(&self, key: &Key<'_>) -> bool {
        self.account == key.account
            && self.client == key.client
            && self.command == key.command
            && *self.text == *key.text
            && self.status_before == key.status
            && self.warnings_before == key.warnings
            && self.before == *key.values
    }

    /// The bytes that the client gets.
    #[must_use]
    pub fn reply(&self) -> &[u8] {
        &self.reply
    }

    /// The command's code and body.
    #[must_use]
    pub fn command(&self) -> (u8, &[u8]) {
        (self.command, &self.text)
    }

    /// The session's values when it was said.
    #[must_use]
    pub fn before(&self) -> &Values {
        &self.before
    }

    /// The session's values from then on.
    #[must_use]
    pub fn after(&self) -> &Values {
        &self.after
    }

    /// Whether a row was answered, and not only OK. One statement that asks for settings gives one.
    fn has_row(&self) -> bool {
        self.reply.get(limits::PACKET_HEADER_BYTES).is_some_and(|first| *first != 0)
    }

    /// Whether it is small enough to keep.
    #[must_use]
    pub fn is_small(&self) -> bool {
        let parts = [self.text.len(), self.reply.len(), self.before.bytes(), self.after.bytes()];
        parts.iter().fold(0_usize, |sum, part| sum.saturating_add(*part))
            <= limits::REPLAY_BYTES_MAX
    }
}

impl Session {
    /// The key of a command that may be answered from memory; none while it may not.
    #[must_use]
    pub fn key<'a>(
        &'a self,
        account: u64,
        client: Capabilities,
        command: u8,
        text: &'a [u8],
    ) -> Option<Key<'a>> {
        let may = !self.cut && !self.holds.is_hard() && self.unplayed.len() < limits::UNPLAYED_MAX;
        let warnings = if command == INIT_DB { self.warnings? } else { 0 };
        may.then_some(Key {
            account,
            client,
            status: self.status,
            warnings,
            values: &self.values,
            fingerprint: self.fingerprint,
            command,
            text,
        })
    }

    /// The client gets this recording's bytes: the session is what it was after them.
    pub fn replay(&mut self, recording: &Arc<Recording>) {
        self.status = recording.status;
        self.implicit.note_replayed(recording.has_row());
        self.warnings = Some(recording.warnings);
        if recording.after_fingerprint != self.fingerprint || recording.after != self.values {
            self.values.clone_from(&recording.after);
            self.values_changed();
        } else if recording.status_before != recording.status {
            self.values_changed();
        }
        // Said twice in a row it leaves what it left the first time.
        if !self.unplayed.last().is_some_and(|last| Arc::ptr_eq(last, recording)) {
            self.unplayed.push(Arc::clone(recording));
        }
    }

    /// Makes a draft a recording, once the primary has answered and [`Session::observe`] has
    /// learned from it. None: the answer is of no use another time.
    #[must_use]
    pub fn record(
        &self,
        mut draft: Recording,
        summary: &Summary,
        reply: &[u8],
    ) -> Option<Recording> {
        let plain = matches!(summary.end, Some(End::Ok | End::Rows))
            && summary.results == 1
            && summary.affected == 0
            && summary.insert_id == 0;
        // On a connection that had others' warnings it told those.
        let own = draft.command != INIT_DB || summary.warnings == draft.warnings_before;
        if !plain || !own || self.holds.is_hard() || self.cut {
            return None;
        }
        draft.reply = reply.into();
        draft.status = self.status;
        draft.warnings = summary.warnings;
        draft.after.clone_from(&self.values);
        draft.after_fingerprint = self.fingerprint;
        Some(draft).filter(Recording::is_small)
    }

    /// What was answered from memory and never run, when this needs it to have run.
    #[must_use]
    pub fn owes(&self, said: Said<'_>) -> &[Arc<Recording>] {
        if self.unplayed.is_empty() {
            return &[];
        }
        let needs = match said {
            Said::Statement(it, _) => it.is_replayable || it.effects.has(Effects::DIAGNOSTICS),
            Said::Prepare(it) => it.effects.has(Effects::DIAGNOSTICS),
            Said::Command(command) => matches!(command, Command::InitDb(_)),
        };
        if needs { &self.unplayed } else { &[] }
    }

    /// What was owed has run there: what it left may be asked for again.
    pub fn pay(&mut self, said: Said<'_>, role: Role) {
        let asks = matches!(said, Said::Statement(it, _) if it.effects.has(Effects::DIAGNOSTICS));
        let warned = self.unplayed.iter().any(|recording| recording.warnings > 0);
        if (asks || warned) && role == Role::Primary {
            self.holds.add(Hold::Diagnostics);
        }
        self.last = Some(role);
    }

    /// How many warnings there are now, as far as the answer tells.
    pub(super) fn note_warnings(&mut self, said: Said<'_>, summary: &Summary) {
        self.warnings = match said {
            Said::Command(Command::InitDb(_)) => self.warnings,
            Said::Statement(it, _) if !it.effects.has(Effects::DIAGNOSTICS) => {
                let well = matches!(summary.end, Some(End::Ok | End::Rows));
                well.then_some(summary.warnings)
            }
            _ => None,
        };
    }

    /// A statement has run since: nobody can ask any more what those before it left.
    pub fn settle(&mut self, said: Said<'_>) {
        let ran = match said {
            Said::Statement(..) => true,
            Said::Prepare(_) => false,
            Said::Command(command) => matches!(command, Command::InitDb(_)),
        };
        if ran {
            self.unplayed.clear();
        }
    }
}

#[cfg(test)]
mod tests;
