//! Commands that speak of prepared statements: what a server is told in their place.
//!
//! A client's number becomes the server's; a connection that lacks the statement prepares it first,
//! as the client's session read it then (`prepare`); parameters' types and long data that another
//! connection heard are said again (`write`). Where a command goes is `session::execute`'s.

mod prepare;
mod write;

use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;

use crate::backend::pool::Lease;
use crate::backend::setup::Steps;
use crate::client::relay::{Buffers, Message, Moved};
use crate::client::serve::{Conversation, Next};
use crate::limits;
use crate::session::execute::{Fate, Spoken, Ties};
use crate::session::observe::{Ending, Replied, Said, Sent};
use crate::session::plan::{Forward, Plan};
use crate::session::prepared::Source;
use crate::session::refusal::Refusal;
use crate::sql::{Effects, Statement};
use crate::wire::command::Command;
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::Header;
use crate::wire::prepared::{ExecuteHead, Form, LONG_DATA_HEAD_BYTES, asks_cursor, head_bytes_max};
use crate::wire::reply::{End, Shape, Summary};

/// A server does not know a statement.
const UNKNOWN_STATEMENT: u16 = 1243;
/// A server has tried in vain to prepare a statement again whose tables change.
const NEEDS_PREPARING: u16 = 1615;

/// The statement that the command under way speaks of.
#[derive(Debug)]
pub(super) struct Call {
    spoken: Spoken,
    /// The client's number; of a PREPARE, the one that it will be.
    id: u32,
    source: Source,
    params: u16,
    /// The number on the connection that the command is sent over.
    server_id: Option<u32>,
    /// It was prepared anew after the server had forgotten it.
    is_second: bool,
    /// The command as the server is to get it, as far as it was read.
    bytes: Vec<u8>,
}

/// Why a connection cannot be brought to know a statement.
enum Unready {
    /// It is lost.
    Lost,
    /// The session's state was refused.
    Setup(ErrPacket),
    /// The statement was: that is the answer.
    Answer(ErrPacket),
}

impl Call {
    fn new(spoken: Spoken, id: u32, source: Source, params: u16) -> Box<Self> {
        let (server_id, bytes) = (None, Vec::new());
        Box::new(Self { spoken, id, source, params, server_id, is_second: false, bytes })
    }

    /// Bytes for the server in place of the client's own.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The client's number of a statement that is being prepared.
    pub(super) fn prepares(&self) -> Option<u32> {
        (self.spoken == Spoken::Prepare).then_some(self.id)
    }

    fn is_silent(&self) -> bool {
        matches!(self.spoken, Spoken::Close | Spoken::LongData)
    }

    /// The server's statement is to be this session's alone.
    fn is_private(&self) -> bool {
        matches!(self.spoken, Spoken::Execute { cursor: true } | Spoken::LongData)
    }
}

impl Conversation {
    /// Answers a command that speaks of prepared statements.
    pub(super) async fn answer_prepared(
        &mut self,
        command: &Command<'_>,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let next = match command {
            Command::Prepare(text) => self.prepare(text, message).await,
            Command::Execute { id, body } => self.execute(*id, body, message).await,
            Command::LongData { id } => self.take_long_data(*id, command, message).await,
            Command::Fetch { id } => self.speak(Spoken::Fetch, *id, command, message).await,
            Command::ResetStatement(id) => self.speak(Spoken::Reset, *id, command, message).await,
            Command::CloseStatement(id) => {
                let next = self.speak(Spoken::Close, *id, command, message).await;
                self.session.prepared_mut().remove(*id);
                next
            }
            _ => Ok(Next::Command),
        };
        self.call = None;
        next
    }

    async fn prepare(&mut self, text: &[u8], message: &mut Message<'_>) -> io::Result<Next> {
        let is_long = message.rest.is_some();
        let statement = self.understand(text, is_long);
        let source = match is_long {
            true => Source::Long(Arc::clone(&statement)),
            false => Source::Text(self.session.blueprint(text)),
        };
        let policy = self.policy(&statement).await;
        let freshness = &self.house.fleet.freshness;
        let plan = self.session.plan_prepare(&statement, policy, freshness);
        let id = self.session.prepared().next_id();
        self.call = Some(Call::new(Spoken::Prepare, id, source, 0));
        self.carry_out(plan, Said::Prepare(&statement), message).await
    }

    async fn execute(
        &mut self,
        id: u32,
        body: &[u8],
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let flavour = self.session.mode().flavour;
        let Some((id, known)) = self.session.prepared().find(id, flavour) else {
            return self.refuse_all(Refusal::UnknownStatement, message).await;
        };
        let (source, params, spoiled) = (known.source.clone(), known.params, known.spoiled);
        if let Some(refusal) = spoiled {
            self.session.prepared_mut().drop_pieces(id);
            if let Some(known) = self.session.prepared_mut().known_mut(id) {
                known.spoiled = None;
            }
            return self.refuse_all(refusal, message).await;
        }
        let form = Form::of(self.capabilities);
        if message.rest.is_none() || ExecuteHead::parse(body, params, form).is_ok() {
            return self.execute_with(id, source, params, message).await;
        }
        // Thousands of parameters, or attributes: the types are not all read yet.
        let whole = self.gather(message, head_bytes_max(params, form)).await?;
        let mut longer = Message { bytes: &whole, rest: message.rest };
        let next = self.execute_with(id, source, params, &mut longer).await;
        message.rest = longer.rest;
        next
    }

    /// The same when all that stands in front of the values is there.
    async fn execute_with(
        &mut self,
        id: u32,
        source: Source,
        params: u16,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let body = message.bytes.get(limits::PACKET_HEADER_BYTES + 5..).unwrap_or_default();
        let form = Form::of(self.capabilities);
        let Ok((head, _)) = ExecuteHead::parse(body, params, form) else {
            return self.refuse_all(Refusal::WrongArguments, message).await;
        };
        let Some(known) = self.session.prepared_mut().known_mut(id) else {
            return self.refuse_all(Refusal::UnknownStatement, message).await;
        };
        match head.types() {
            Some(types) if *types != *known.types => known.types = types.as_ref().into(),
            None if known.types.is_empty() && params > 0 => {
                return self.refuse_all(Refusal::WrongArguments, message).await;
            }
            _ => {}
        }
        let ties = Ties { cursor: asks_cursor(head.flags), streams: message.rest.is_some() };
        let statement = self.facts_of(&source);
        // What is bound is not looked at: any row may be read.
        self.rehearse(&statement, b"");
        let policy = self.policy(&statement).await;
        let freshness = &self.house.fleet.freshness;
        let plan = self.session.plan_execute(&statement, ties, policy, freshness);
        let text = match &source {
            Source::Text(blueprint) => Some(Arc::clone(blueprint)),
            Source::Long(_) => None,
        };
        let text: &[u8] = text.as_ref().map_or(b"", |blueprint| &blueprint.text);
        let spoken = Spoken::Execute { cursor: ties.cursor };
        self.call = Some(Call::new(spoken, id, source, params));
        let next = self.carry_out(plan, Said::Statement(&statement, text), message).await;
        self.session.prepared_mut().drop_pieces(id);
        next
    }

    /// What is known of a statement now: a replica may have refused its like meanwhile, a table of
    /// it may be a view by now.
    fn facts_of(&mut self, source: &Source) -> Arc<Statement> {
        match source {
            Source::Long(statement) => Arc::clone(statement),
            Source::Text(blueprint) => {
                let facts = self.facts(&blueprint.text, blueprint.mode);
                let facts = self.session.facts_then(blueprint, facts);
                self.names.see(&self.session, facts)
            }
        }
    }

    /// A piece of a long parameter is kept until the EXECUTE, or ties the session to a connection.
    async fn take_long_data(
        &mut self,
        id: u32,
        command: &Command<'_>,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let flavour = self.session.mode().flavour;
        let found = self.session.prepared().find(id, flavour);
        let Some((id, pin)) = found.map(|(id, known)| (id, known.pin)) else {
            self.drain(message).await?;
            return Ok(Next::Command);
        };
        let len = Header::parse(message.bytes).map_or(0, |header| header.len);
        let is_one_chunk = message.rest.is_none_or(|rest| !rest.continues);
        let fits = is_one_chunk && self.session.prepared().has_room(len);
        if pin.is_some() || !fits {
            return self.speak(Spoken::LongData, id, command, message).await;
        }
        let whole = self.gather(message, len).await?;
        let payload = whole.get(limits::PACKET_HEADER_BYTES..).unwrap_or_default();
        if let Some((head, data)) = payload.split_at_checked(LONG_DATA_HEAD_BYTES)
            && let [.., low, high] = *head
        {
            let param = u16::from_le_bytes([low, high]);
            self.session.prepared_mut().keep_piece(id, param, data.into());
        }
        Ok(Next::Command)
    }

    /// Another command about one statement.
    async fn speak(
        &mut self,
        spoken: Spoken,
        id: u32,
        command: &Command<'_>,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let found = self.session.prepared().find(id, self.session.mode().flavour);
        if let Some((id, known)) = found {
            let (source, params) = (known.source.clone(), known.params);
            self.call = Some(Call::new(spoken, id, source, params));
        }
        let plan = self.session.plan_command(command, false);
        self.carry_out(plan, Said::Command(command), message).await
    }

    async fn refuse_all(
        &mut self,
        refusal: Refusal,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let plan = Plan::Refuse(refusal);
        self.carry_out(plan, Said::Command(&Command::Ping), message).await
    }

    /// The command's first so many bytes of payload, header in front, as far as its first chunk
    /// has them.
    pub(super) async fn gather(
        &mut self,
        message: &mut Message<'_>,
        enough: usize,
    ) -> io::Result<Vec<u8>> {
        let mut whole = message.bytes.to_vec();
        let enough = enough.saturating_add(limits::PACKET_HEADER_BYTES);
        while let Some(mut rest) = message.rest {
            let lacking = enough.saturating_sub(whole.len()).min(rest.chunk);
            if lacking == 0 {
                break;
            }
            let read = (&mut self.client).take(lacking as u64).read_buf(&mut whole).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            rest.chunk = rest.chunk.saturating_sub(read);
            message.rest = (rest.chunk > 0 || rest.continues).then_some(rest);
        }
        Ok(whole)
    }

    /// A command without a reply failed: its client must not get one. The next EXECUTE tells.
    pub(super) fn spoils(&mut self, refusal: Refusal) -> bool {
        let Some(call) = self.call.as_ref().filter(|call| call.is_silent()) else { return false };
        if let Some(known) = self.session.prepared_mut().known_mut(call.id) {
            known.spoiled = Some(refusal);
        }
        true
    }

    /// Brings a connection to know the statement, and writes the command as it is to get it.
    /// What it gives instead is the end of the try.
    pub(super) async fn ready(
        &mut self,
        it: &Forward,
        lease: &mut Lease,
        steps: &mut Steps,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> Option<Moved> {
        let mut call = self.call.take()?;
        let ready = self.server_id_of(&call, it, lease, steps, &mut buffers.flight).await;
        let ready = ready.and_then(|server_id| {
            call.server_id = server_id;
            self.write_call(&mut call, lease, message)
        });
        self.call = Some(call);
        match ready {
            Ok(()) => None,
            Err(Unready::Lost) => Some(Moved::nothing()),
            Err(Unready::Setup(refused)) => {
                Some(Moved { setup_refused: Some(refused), ..Moved::nothing() })
            }
            Err(Unready::Answer(error)) => {
                Some(self.answer_by(it, lease, &error, message, buffers).await)
            }
        }
    }

    /// The statement's number on this connection; it is prepared there if need be. None: it is
    /// what is being prepared.
    async fn server_id_of(
        &mut self,
        call: &Call,
        it: &Forward,
        lease: &mut Lease,
        steps: &mut Steps,
        flight: &mut Vec<u8>,
    ) -> Result<Option<u32>, Unready> {
        if call.spoken == Spoken::Prepare {
            return Ok(None);
        }
        let found = self.session.prepared().find(call.id, self.session.mode().flavour);
        if let Some(pin) = found.and_then(|(_, known)| known.pin) {
            return Ok(Some(pin.server_id));
        }
        let known = match &call.source {
            Source::Text(blueprint) if steps.resets.is_none() => lease.statements.find(blueprint),
            _ => None,
        };
        let server_id = match known {
            Some(server_id) => server_id,
            None => self.prepare_on(call, it, lease, steps, flight).await?,
        };
        if let (true, Source::Text(blueprint)) = (call.is_private(), &call.source) {
            lease.statements.take(blueprint);
        }
        Ok(Some(server_id))
    }

    /// The statement cannot be had on this connection: as if the server had said so to the command.
    async fn answer_by(
        &mut self,
        it: &Forward,
        lease: &Lease,
        error: &ErrPacket,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> Moved {
        if self.drain(message).await.is_err() {
            return Moved { client_lost: true, ..Moved::nothing() };
        }
        let shape = Shape { backend: lease.capabilities, client: self.capabilities };
        self.walker.reset(it.expect, shape);
        self.walker.begin_at(self.begins);
        let mut packet = Vec::new();
        error.write(&mut packet, self.begins);
        buffers.out.clear();
        let end = match self.walker.feed(&packet, &mut buffers.out) {
            Ok(_) => Ending::Answered,
            Err(_) => Ending::Malformed,
        };
        Moved { sent: Sent::Whole, end, ..Moved::nothing() }
    }

    /// The server has forgotten the statement and did nothing: it is prepared anew, once.
    pub(super) fn is_to_be_prepared_anew(
        &mut self,
        said: Said<'_>,
        moved: &Moved,
        lease: &mut Lease,
        message: &Message<'_>,
    ) -> bool {
        let Some(call) = self.call.as_deref_mut() else { return false };
        let found = self.session.prepared().find(call.id, self.session.mode().flavour);
        let is_pinned = found.is_none_or(|(_, known)| known.pin.is_some());
        let is_whole = Header::parse(message.bytes).is_some_and(|header| {
            message.bytes.len() == header.len.saturating_add(limits::PACKET_HEADER_BYTES)
        });
        let nothing_done = moved.end == Ending::Answered
            && moved.replied == Replied::Nothing
            && has_forgotten(said, self.walker.summary());
        let (Source::Text(blueprint), Some(server_id)) = (&call.source, call.server_id) else {
            return false;
        };
        if !nothing_done || !is_whole || is_pinned || call.is_second {
            return false;
        }
        lease.statements.take(blueprint);
        lease.statements.doom(server_id);
        call.is_second = true;
        true
    }

    /// What a whole reply means for the statement, here and on the connection.
    pub(super) fn note_call(&mut self, lease: &mut Lease) {
        let Some(call) = &self.call else { return };
        let summary = self.walker.summary();
        let (fate, server_id) = match (call.spoken, call.server_id) {
            (Spoken::Prepare, _) => {
                (self.session.after_prepare(call.source.clone(), summary), summary.statement_id)
            }
            (spoken, Some(server_id)) => {
                (self.session.after_statement(spoken, call.id, server_id, summary), server_id)
            }
            (_, None) => return,
        };
        if call.spoken == Spoken::LongData {
            self.session.prepared_mut().drop_pieces(call.id);
        }
        match (fate, &call.source) {
            (Fate::Shared, Source::Text(blueprint)) => {
                lease.statements.put(blueprint, server_id);
                let executed = matches!(call.spoken, Spoken::Execute { .. })
                    && !matches!(summary.end, Some(End::Err { .. }));
                let known = self.session.prepared().find(call.id, self.session.mode().flavour);
                if let (true, Some((_, known))) = (executed, known) {
                    lease.statements.note_types(blueprint, &known.types);
                }
            }
            (Fate::Closed, _) => lease.statements.doom(server_id),
            (Fate::Shared | Fate::Kept | Fate::Gone, _) => {}
        }
    }
}

/// Whether a server says that it does not know the statement, or not as it is, and did nothing.
fn has_forgotten(said: Said<'_>, summary: &Summary) -> bool {
    let Some(End::Err { code, message, .. }) = &summary.end else { return false };
    match *code {
        // A procedure says it too, of a statement of its own, after it did something: "(name)
        // given to EXECUTE". A server names a function of its own there: mysqld_stmt_execute,
        // mysql_stmt_precheck.
        UNKNOWN_STATEMENT => {
            let end = message.rsplit(|byte| *byte == b')').next().unwrap_or_default();
            memchr::memmem::find(end, b"_stmt_").is_some()
        }
        NEEDS_PREPARING => {
            matches!(said, Said::Statement(it, _) if !it.effects.has(Effects::CALLS_UNKNOWN))
        }
        _ => false,
    }
}
