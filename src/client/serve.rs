//! THE LOOP: one client's conversation, from its first command to its last.
//!
//! Read a command, let `session` plan it, carry it to a server, let `session` observe what came
//! of it, answer. No policy here: this file matches on plans and verdicts. One task per session;
//! it owns its leases (`client::lease`).

use std::io;
use std::sync::Arc;

use crate::backend::catalog::{Account, Underway};
use crate::backend::pool::Lease;
use crate::client::accept::Peer;
use crate::client::enter::fresh_mode;
use crate::client::house::House;
use crate::client::lease::Leases;
use crate::client::novelty::Novelty;
use crate::client::read::Inbound;
use crate::client::registry::Seat;
use crate::client::relay::{Buffers, Message, Moved};
use crate::client::replay::{Draft, INIT_DB, QUERY};
use crate::client::revoke;
use crate::client::slab;
use crate::client::statement::Call;
use crate::client::tally::target_of;
use crate::cluster::Role;
use crate::limits;
use crate::link::Stream;
use crate::metrics::{Lap, Sampler, Stopwatch};
use crate::secret::Credentials;
use crate::session::Session;
use crate::session::answer::Local;
use crate::session::observe::{Ending, Outcome, Replied, Said, Sent, Verdict, is_misroute};
use crate::session::plan::{Forward, Kind, Plan, Reason};
use crate::session::refusal::Refusal;
use crate::session::rehearse::Rehearsal;
use crate::sql::kill::Kill;
use crate::sql::{Classifier, Mode, Statement, Verb};
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::Header;
use crate::wire::reply::{Expect, Shape, Walker};

/// Tries of one statement on servers that are lost under it.
const TRIES_MAX: u32 = 5;

/// One client and everything that is his.
pub struct Conversation {
    pub(super) client: Stream,
    pub(super) capabilities: Capabilities,
    pub(super) session: Session,
    pub(super) house: Arc<House>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) account: u64,
    /// What its statements' names are.
    pub(super) names: Arc<Account>,
    /// Which of the primary's settings its connections begin with.
    epoch: u64,
    /// Bytes that came behind the last command.
    pub(super) unread: Vec<u8>,
    /// The number of the collation that it logged in with.
    pub(super) charset: u16,
    pub(super) leases: Leases,
    pub(super) peer: Arc<Peer>,
    /// What others see of it.
    pub(super) seat: Arc<Seat>,
    pub(super) walker: Walker,
    /// The prepared statement that the command under way speaks of.
    pub(super) call: Option<Box<Call>>,
    sampler: Sampler,
    novelty: Novelty,
    /// The number of the answer's first packet: 1, or more after a command of several chunks.
    pub(super) begins: u8,
    /// A statement that is not proved a read is on its way: an ERR must follow, whatever happens.
    pub(super) in_flight: bool,
    /// The answer to the command on its way is to be remembered.
    pub(super) draft: Option<Box<Draft>>,
    /// Mode `observe`: what it takes to say what splitting would do.
    pub(super) rehearsal: Option<Box<Rehearsal>>,
}

/// How a conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Command,
    End,
}

impl Conversation {
    /// A conversation with a client that has logged in.
    pub(super) fn new(
        client: Stream,
        capabilities: Capabilities,
        session: Session,
        house: Arc<House>,
        credentials: Arc<Credentials>,
        peer: Arc<Peer>,
    ) -> Self {
        let nothing = Shape { backend: Capabilities(0), client: capabilities };
        let account = house.fleet.account_of(&credentials);
        let names = house.fleet.catalogs.of(account, &credentials);
        names.note_use();
        let seat = house.registry.enter(session.id as u32, &credentials);
        Self {
            client,
            capabilities,
            account,
            names,
            epoch: house.fleet.epoch(),
            sampler: Sampler::new(session.id as u32),
            session,
            house,
            credentials,
            unread: Vec::new(),
            charset: 0,
            leases: Leases::default(),
            novelty: Novelty::default(),
            peer,
            seat,
            walker: Walker::new(Expect::Simple, nothing),
            call: None,
            begins: 1,
            in_flight: false,
            draft: None,
            rehearsal: None,
        }
    }

    /// Serves it to its end.
    pub async fn serve(mut self: Box<Self>) {
        let seat = Arc::clone(&self.seat);
        loop {
            // What was read of a command is lost with the session.
            let Some(Inbound { slab, len, rest }) = self.next_command().await else { break };
            let bytes = slab.get(..len).unwrap_or_default();
            self.begins = 1;
            seat.begin();
            self.draft = None;
            // Boxed: what a command needs while it is served is five times what an idle session is.
            let next = Box::pin(self.answer_one(&mut Message { bytes, rest })).await;
            seat.note_holds(self.session.holds());
            if let Some(tail) = slab.get(len..).filter(|tail| !tail.is_empty()) {
                self.unread.extend_from_slice(tail);
            }
            slab::give_back(slab);
            if matches!(next, Ok(Next::End) | Err(_)) || seat.is_ended() {
                break;
            }
        }
    }

    /// One command and its answer. `Err`: the client is gone.
    pub(super) async fn answer_one(&mut self, message: &mut Message<'_>) -> io::Result<Next> {
        let bytes = message.bytes;
        let payload = bytes.get(limits::PACKET_HEADER_BYTES..).unwrap_or_default();
        if Header::parse(bytes).is_none_or(|header| header.sequence != 0) {
            self.refuse(Refusal::OutOfOrder).await?;
            return Ok(Next::End);
        }
        let Ok(command) = Command::parse(payload, self.capabilities) else {
            return self.answer_unread(message).await;
        };
        match &command {
            Command::Query(text) => {
                let statement = self.understand(text, message.rest.is_some());
                if statement.is_replayable {
                    self.begin_request();
                    if self.replay(QUERY, text, message).await? {
                        return Ok(Next::Command);
                    }
                }
                self.rehearse(&statement, text);
                let policy = self.policy(&statement).await;
                let plan = match statement.verb {
                    _ if self.lacks_file(&statement) => Plan::Refuse(Refusal::LocalInfileOff),
                    Verb::Other if Kill::is_begun(text, self.session.mode()) => Plan::Kill,
                    _ => {
                        let freshness = &self.house.fleet.freshness;
                        self.session.plan_text(&statement, text, policy, freshness)
                    }
                };
                self.carry_out(plan, Said::Statement(&statement, text), message).await
            }
            Command::Prepare(_)
            | Command::Execute { .. }
            | Command::LongData { .. }
            | Command::Fetch { .. }
            | Command::ResetStatement(_)
            | Command::CloseStatement(_) => Box::pin(self.answer_prepared(&command, message)).await,
            Command::ChangeUser(body) => {
                if message.rest.is_some() {
                    self.refuse(Refusal::Malformed).await?;
                    return Ok(Next::End);
                }
                Box::pin(self.change_user(body)).await
            }
            _ => {
                if let Command::InitDb(name) = &command {
                    self.begin_request();
                    if self.replay(INIT_DB, name, message).await? {
                        return Ok(Next::Command);
                    }
                }
                let plan = self.session.plan_command(&command, false);
                self.carry_out(plan, Said::Command(&command), message).await
            }
        }
    }

    pub(super) fn understand(&mut self, text: &[u8], is_cut: bool) -> Arc<Statement> {
        self.follow_settings();
        let mode = self.session.mode();
        if is_cut || text.len() > limits::COMMAND_ROUTED_BYTES_MAX {
            let scanned = Classifier::scan_long(text, mode);
            return Arc::new(Statement { is_long: true, ..scanned });
        }
        let facts = self.facts(text, mode);
        self.names.see(&self.session, facts)
    }

    /// The connections that it gets begin with other settings now, such as how a text is read.
    fn follow_settings(&mut self) {
        let epoch = self.house.fleet.epoch();
        if epoch != self.epoch && !self.session.holds().is_hard() {
            self.epoch = epoch;
            self.session.begin_anew_in(fresh_mode(&self.house));
        }
    }

    /// What a text says of itself.
    pub(super) fn facts(&mut self, text: &[u8], mode: Mode) -> Arc<Statement> {
        let (classifier, novelty) = (&self.house.classifier, &mut self.novelty);
        let may_work_out = || novelty.allows(tokio::time::Instant::now().into_std());
        slab::with_shapes(|shapes| classifier.classify_if(shapes, text, mode, may_work_out))
    }

    pub(super) async fn carry_out(
        &mut self,
        plan: Plan,
        said: Said<'_>,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        match plan {
            Plan::Forward(forward) => {
                let mut buffers = slab::borrow_buffers();
                let done = self.exchange(forward, said, message, &mut buffers).await;
                slab::give_back_buffers(buffers);
                done?;
            }
            Plan::Close => return Ok(Next::End),
            Plan::Ignore => self.drain(message).await?,
            Plan::Answer(local) => {
                self.drain(message).await?;
                self.answer(local).await?;
            }
            Plan::Refuse(refusal) => {
                self.drain(message).await?;
                self.refuse(refusal).await?;
            }
            Plan::Reset => {
                self.reset();
                self.answer(Local::Ok).await?;
            }
            Plan::Kill => return Box::pin(self.kill(said, message)).await,
            Plan::ChangeUser => self.refuse(Refusal::Bug).await?,
        }
        Ok(Next::Command)
    }

    pub(super) async fn answer(&mut self, local: Local) -> io::Result<()> {
        self.house.routed(None, Reason::Local);
        let mut out = slab::borrow();
        self.session.answer(local, self.capabilities, self.begins, &mut out);
        let written = self.write_out(&out).await;
        slab::give_back(out);
        written
    }

    pub(super) async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.house.failed(refusal);
        self.tell(&refusal.packet()).await
    }

    /// An error for the client, unless the command has no reply.
    pub(super) async fn tell(&mut self, error: &ErrPacket) -> io::Result<()> {
        if self.spoils(Refusal::StateLost) {
            return Ok(());
        }
        let mut out = Vec::new();
        error.write(&mut out, self.begins);
        self.write_out(&out).await
    }

    /// Carries a command to a server, again while that is safe, and the reply back.
    async fn exchange(
        &mut self,
        mut it: Forward,
        said: Said<'_>,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<()> {
        for _ in 0..TRIES_MAX {
            match self.lease(&mut it, said).await? {
                Ok((lease, role)) => {
                    self.seat.work(lease.server(), lease.thread_id);
                    if self.seat.is_interrupted() {
                        return Box::pin(self.stop_before(lease, role, message)).await;
                    }
                    self.tell_floor(it.why, said);
                    let again = self.attempt(&mut it, (lease, role), said, message, buffers);
                    if !again.await? {
                        return Ok(());
                    }
                }
                Err(LeaseRefused::Ours(refusal)) => {
                    self.drain(message).await?;
                    let is_killed = self.seat.is_interrupted();
                    let refusal = if is_killed { Refusal::Interrupted } else { refusal };
                    return self.refuse(refusal).await;
                }
                Err(LeaseRefused::Servers(refused)) => {
                    self.drain(message).await?;
                    return self.tell(&refused).await;
                }
            }
        }
        self.drain(message).await?;
        self.refuse(Refusal::NoServer).await
    }

    /// One try. True: try once more, as `it` now says.
    async fn attempt(
        &mut self,
        it: &mut Forward,
        (mut lease, role): (Lease, Role),
        said: Said<'_>,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> io::Result<bool> {
        let now = || tokio::time::Instant::now().into_std();
        let mut watch = self.sampler.is_due().then(|| Stopwatch::start(now()));
        let changing = self.house.fleet.catalogs.begin(&self.session, said);
        let mut moved = self.run(it, &mut lease, said, message, buffers).await;
        if self.is_to_be_prepared_anew(said, &moved, &mut lease, message) {
            moved = self.run(it, &mut lease, said, message, buffers).await;
        }
        if self.seat.rest().await && moved.end == Ending::Answered {
            Box::pin(self.take_the_hit(&mut lease)).await;
        }
        self.void_by(said);
        if let Some(changing) = changing {
            self.hear_of(changing, said, &moved);
        }
        self.void_proofs(said, &moved);
        if let Some(watch) = &mut watch {
            watch.lap(Lap::Backend, now());
            self.house.metrics.timings.observe(target_of(Some(role)), watch);
        }
        if let Some(refused) = moved.setup_refused {
            return self.setup_failed(it, (lease, role), refused, message).await;
        }
        if moved.client_lost {
            if it.kind == Kind::Read && moved.replied == Replied::Nothing {
                Box::pin(self.abandon(lease)).await;
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if moved.end == Ending::Answered {
            self.note_call(&mut lease);
        }
        let outcome = Outcome {
            role,
            sent: moved.sent,
            replied: moved.replied,
            end: moved.end,
            summary: self.walker.summary(),
        };
        let answered = moved.end == Ending::Answered;
        if answered && role == Role::Reader && is_misroute(outcome.summary) {
            self.house.misrouted(lease.server());
            if let Said::Statement(statement, _) = said {
                self.house.classifier.distrust(statement.digest);
            }
        }
        let (verdict, write) = self.session.observe(it, said, &outcome);
        let verdict = revoke::unless_expired(verdict, self.walker.summary());
        if let Some(write) = write {
            // Before the client knows: whoever he tells must see it.
            self.note_write(write);
        }
        if !matches!(verdict, Verdict::Retry(_)) {
            self.session.settle(said);
            self.record(role, moved.replied, &buffers.out);
        }
        lease.residue |= it.soils;
        if matches!(verdict, Verdict::Fail(_)) {
            // What is left of a long statement would be read as the next command.
            self.drain(message).await?;
        }
        if moved.replied == Replied::Nothing {
            self.put_own_number(said, &mut buffers.out);
        }
        self.conclude(it, (lease, role), verdict, moved.replied, &buffers.out).await
    }

    /// What became of a command that may change names. While its end was not heard it may go on.
    fn hear_of(&self, changing: Underway, said: Said<'_>, moved: &Moved) {
        let is_sent = moved.sent == Sent::Whole && moved.setup_refused.is_none();
        if moved.end == Ending::Answered {
            changing.end(self.session.changed_nothing(said, self.walker.summary()));
        } else if !is_sent {
            changing.end(true);
        }
    }

    /// The set-up of a lease was refused: the statement's own error, or the primary instead.
    async fn setup_failed(
        &mut self,
        it: &mut Forward,
        (lease, role): (Lease, Role),
        refused: ErrPacket,
        message: &mut Message<'_>,
    ) -> io::Result<bool> {
        if let Some(again) = self.session.after_setup(it, refused.code, role) {
            self.lost(lease, again.why);
            self.house.retried(again.why);
            *it = again;
            return Ok(true);
        }
        drop(lease);
        if role == Role::Reader {
            *it = self.session.to_primary(it);
            self.house.retried(it.why);
            return Ok(true);
        }
        self.drain(message).await?;
        self.tell(&refused).await?;
        Ok(false)
    }

    async fn conclude(
        &mut self,
        it: &mut Forward,
        (mut lease, role): (Lease, Role),
        verdict: Verdict,
        replied: Replied,
        out: &[u8],
    ) -> io::Result<bool> {
        lease.residue |= role == Role::Primary && self.session.holds().leaves_residue();
        match verdict {
            Verdict::Release => self.leases.give_back(lease, role, self.session.id),
            Verdict::Hold => self.leases.keep(lease, role),
            Verdict::Discard => drop(lease),
            Verdict::Retry(again) => {
                self.house.retried(again.why);
                if again.why == Reason::Misrouted {
                    self.leases.give_back(lease, role, self.session.id);
                } else {
                    self.lost(lease, again.why);
                }
                *it = again;
                return Ok(true);
            }
            Verdict::Fail(refusal) => {
                self.lost(lease, it.why);
                self.house.failed(refusal);
                if self.spoils(refusal) {
                    return Ok(false);
                }
                let mut told = Vec::new();
                if replied == Replied::Nothing {
                    refusal.write(&mut told, self.begins);
                } else {
                    told.extend_from_slice(out);
                    refusal.write(&mut told, self.walker.sequence());
                }
                self.write_out(&told).await?;
                return Ok(false);
            }
        }
        if it.expect != Expect::Nothing {
            self.write_out(out).await?;
        }
        Ok(false)
    }
}

/// Why a statement gets no connection, in whose words.
pub(super) enum LeaseRefused {
    Ours(Refusal),
    Servers(ErrPacket),
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.in_flight {
            // A panic or a cancelled task: the client must not see a closed socket (2006), or
            // wpdb would run a write again.
            let mut out = Vec::new();
            Refusal::Bug.write(&mut out, self.begins);
            self.house.failed(Refusal::Bug);
            self.client.try_write_all(&out);
        }
        self.leave();
        self.house.registry.leave(&self.seat);
    }
}
