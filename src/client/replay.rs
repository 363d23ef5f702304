//! Answers a client from memory, and runs for real what it was so answered when that matters.
//!
//! What may be remembered and what follows from it is `session::local`'s; the memory itself is
//! `backend::replays`. A session that holds a connection is never answered here.

use std::io;

use crate::backend::pool::Lease;
use crate::backend::query::{Answers, COM_QUERY, QueryError, put_command, put_query};
use crate::backend::replays::Asked;
use crate::backend::setup::{Wanted, note_steps, put_steps};
use crate::client::lease::insert_id_of;
use crate::client::relay::Message;
use crate::client::serve::Conversation;
use crate::cluster::Role;
use crate::session::hold::Hold;
use crate::session::local::Recording;
use crate::session::observe::{Replied, Said};
use crate::session::plan::{Forward, Needs, Reason};
use crate::sql::Scope;

/// COM_INIT_DB.
pub(super) const INIT_DB: u8 = 2;
/// COM_QUERY.
pub(super) const QUERY: u8 = COM_QUERY;

/// A command whose answer will be remembered.
#[derive(Debug)]
pub(super) struct Draft {
    hash: u64,
    asked: Asked,
    recording: Recording,
}

impl Conversation {
    /// Answers a command as it was answered before. False: it has to be run; its answer will be
    /// remembered.
    pub(super) async fn replay(
        &mut self,
        command: u8,
        text: &[u8],
        message: &Message<'_>,
    ) -> io::Result<bool> {
        if message.rest.is_some() {
            return Ok(false);
        }
        let replays = &self.house.fleet.replays;
        let Some(key) = self.session.key(self.account, self.capabilities, command, text) else {
            return Ok(false);
        };
        let Some(recording) = replays.find(&key) else {
            self.draft = replays
                .ask()
                .map(|asked| Box::new(Draft { hash: key.hash(), asked, recording: key.draft() }));
            return Ok(false);
        };
        self.session.replay(&recording);
        self.house.routed(None, Reason::Local);
        self.write_out(recording.reply()).await?;
        Ok(true)
    }

    /// Remembers the answer to the command that could not be answered from memory.
    pub(super) fn record(&mut self, role: Role, replied: Replied, reply: &[u8]) {
        let Some(draft) = self.draft.take() else { return };
        if role != Role::Primary || replied != Replied::Nothing {
            return;
        }
        let Draft { hash, asked, recording } = *draft;
        if let Some(recording) = self.session.record(recording, self.walker.summary(), reply) {
            self.house.fleet.replays.keep(hash, asked, recording);
        }
    }

    /// After a statement was sent: what it may have made untrue is forgotten, whatever came of it.
    pub(super) fn void_by(&self, said: Said<'_>) {
        let Said::Statement(it, _) = said else { return };
        if it.is_voiding {
            self.house.fleet.void();
        }
        if it.settings.iter().any(|one| one.scope == Scope::Global) {
            self.house.fleet.ways.begin_anew();
        }
    }

    /// Runs on this connection what was answered from memory: the client asks what it left behind.
    /// What is to be sent then needs nothing more in front. `Err`: the connection is lost.
    pub(super) async fn pay(
        &mut self,
        it: &Forward,
        lease: &mut Lease,
        said: Said<'_>,
    ) -> Result<Forward, ()> {
        let owed = self.session.owes(said).to_vec();
        let Some(first) = owed.first() else { return Ok(*it) };
        let mut flight = Vec::new();
        let needs =
            Needs { any_database: true, multi_statements: lease.multi_statements, ..it.needs };
        let wanted = Wanted { values: first.before(), needs, ..self.wanted(it, lease) };
        let recipe = lease.pool().recipe(lease.is_reader);
        let baseline = self.house.fleet.baseline();
        // A held connection is in the session's state, and a reset would take what it is held for.
        let put = |flight: &mut Vec<u8>, insert_id: Option<u64>, lease: &Lease| {
            let wanted = Wanted { insert_id, ..wanted };
            put_steps(flight, lease, &wanted, &recipe, baseline.as_deref())
        };
        let mut steps = (!it.held).then(|| put(&mut flight, wanted.insert_id, lease));
        let has_id = !lease.is_reader && self.session.holds().has(Hold::InsertId);
        if has_id && steps.is_some_and(|steps| steps.resets.is_some()) {
            // It is the session's own connection, and the reset would take the id.
            let id = insert_id_of(lease).await.ok_or(())?;
            flight.clear();
            steps = Some(put(&mut flight, Some(id), lease));
        }
        for recording in &owed {
            let (command, text) = recording.command();
            match command {
                QUERY => put_query(&mut flight, lease.capabilities, text),
                _ => put_command(&mut flight, command, text),
            }
        }
        let replies = steps.map_or(0, |steps| steps.replies);
        match hear(lease, &flight, replies, owed.len()).await {
            Ok(()) => {}
            Err(QueryError::Refused(error)) => {
                tracing::debug!(code = error.code, "what was said before is refused now");
                lease.residue = true;
                return Ok(*it);
            }
            Err(_) => return Err(()),
        }
        if let Some(steps) = steps {
            note_steps(lease, &wanted, steps);
        }
        if let Some(last) = owed.last() {
            let database = lease.values.database.take();
            lease.values.clone_from(last.after());
            if lease.values.database.is_none() {
                lease.values.database = database;
            }
        }
        lease.own(self.session.id);
        lease.clean = false;
        let role = if lease.is_reader { Role::Reader } else { Role::Primary };
        self.session.pay(said, role);
        Ok(Forward { needs: Needs { clean: false, insert_id: false, ..it.needs }, ..*it })
    }
}

/// Sends a flight; hears so many OKs and so many answers of any kind.
async fn hear(
    lease: &mut Lease,
    flight: &[u8],
    replies: usize,
    answers: usize,
) -> Result<(), QueryError> {
    let capabilities = lease.capabilities;
    let mut heard = Answers::to(&mut lease.stream, capabilities, flight).await?;
    let mut refused = None;
    for at in 0..replies.saturating_add(answers) {
        let one = if at < replies { heard.ok().await } else { heard.rows().await.map(drop) };
        match one {
            // The rest is answered all the same, and has to be heard.
            Err(QueryError::Refused(error)) => refused = Some(error),
            other => other?,
        }
    }
    match refused {
        Some(error) => Err(QueryError::Refused(error)),
        None => Ok(()),
    }
}
