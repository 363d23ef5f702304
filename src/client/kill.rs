//! KILL: by the numbers that clients were told, at the server where the victim's statement runs.
//!
//! The statement is hit by a connection of the same account beside the pools (they may be full of
//! what is to be killed), while the victim's seat is pinned: see `client::registry`. A session ends
//! by itself once it is told to. Also what is done about a read whose client has gone.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::backend::dial::DialError;
use crate::backend::dialer::OpenError;
use crate::backend::pool::Lease;
use crate::backend::query::{Answers, QueryError, ask, put_query};
use crate::client::house::House;
use crate::client::relay::Message;
use crate::client::serve::{Conversation, Next};
use crate::cluster::{Role, ServerId};
use crate::secret::Credentials;
use crate::session::answer::Local;
use crate::session::observe::Said;
use crate::session::refusal::Refusal;
use crate::sql::kill::{Kill, Victim, asks_own_number};
use crate::sql::{Effects, Verb};
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::err::Err as ErrPacket;
use crate::wire::reply::End;
use crate::wire::resultset::{binary_row, replace_only_row, text_row};

/// The server knows no such thread: it is done already.
const NO_SUCH_THREAD: u16 = 1094;
const NOT_OWNER: u16 = 1095;
/// It was hit.
const INTERRUPTED: u16 = 1317;

impl Conversation {
    /// Answers a KILL, or COM_PROCESS_KILL.
    pub(super) async fn kill(
        &mut self,
        said: Said<'_>,
        message: &mut Message<'_>,
    ) -> io::Result<Next> {
        let is_whole = message.rest.is_none();
        self.drain(message).await?;
        let asked = match said {
            Said::Statement(_, text) if is_whole => Kill::parse(text, self.session.mode()),
            Said::Command(Command::ProcessKill(number)) => {
                Some(Kill { victim: Victim::Session(u64::from(*number)), ends: true })
            }
            _ => None,
        };
        let Some(Kill { victim, ends }) = asked else {
            self.refuse(Refusal::KillUnsupported).await?;
            return Ok(Next::Command);
        };
        let own = u64::from(self.seat.number);
        let number = match victim {
            Victim::Session(number) => number,
            Victim::Oneself => own,
        };
        if number == own {
            self.refuse(Refusal::Interrupted).await?;
            return Ok(if ends { Next::End } else { Next::Command });
        }
        match kill(&self.house, &self.credentials, number, ends).await {
            Ok(()) => self.answer(Local::Ok).await?,
            Err(refused) => self.tell(&refused).await?,
        }
        Ok(Next::Command)
    }

    /// Somebody killed a statement that has its connection and was not sent yet.
    pub(super) async fn stop_before(
        &mut self,
        mut lease: Lease,
        role: Role,
        message: &mut Message<'_>,
    ) -> io::Result<()> {
        if self.seat.rest().await {
            self.take_the_hit(&mut lease).await;
        }
        let is_kept = role == Role::Primary && !self.session.holds().is_empty();
        if is_kept {
            self.leases.keep(lease, role);
        } else {
            self.leases.give_back(lease, role, self.session.id);
        }
        self.drain(message).await?;
        self.refuse(Refusal::Interrupted).await
    }

    /// The client has left in the middle of a read: nobody wants the rest of it. The connection is
    /// closed, and its server told to stop, which it would not notice by that.
    pub(super) async fn abandon(&self, lease: Lease) {
        let place = (lease.server(), lease.thread_id);
        let told = tell_server(&self.house, &self.credentials, place, true).await;
        if let Err(refused) = told {
            let why = String::from_utf8_lossy(&refused.message).into_owned();
            tracing::debug!(why, "an abandoned read goes on");
        }
        drop(lease);
    }

    /// What somebody who killed may have left on a connection that answered by then: the next
    /// statement there would be hit. It is met by one of ours.
    pub(super) async fn take_the_hit(&self, lease: &mut Lease) {
        let end = &self.walker.summary().end;
        if matches!(end, Some(End::Err { code: INTERRUPTED, .. })) {
            return;
        }
        let capabilities = lease.capabilities;
        let _hit_or_not = ask(&mut lease.stream, capabilities, "DO 0").await;
    }

    /// A client that asks for his number is told the one that he knows: in the server's own result.
    pub(super) fn put_own_number(&self, said: Said<'_>, out: &mut Vec<u8>) {
        let Said::Statement(it, text) = said else { return };
        let may = it.verb == Verb::Select && it.effects.has(Effects::SERVER_FACT);
        if may && asks_own_number(text, self.session.mode()) {
            let number = self.seat.number;
            let is_binary = self.call.is_some();
            replace_only_row(out, self.capabilities, |before| match is_binary {
                true => binary_row(before, number),
                false => Some(text_row(number)),
            });
        }
    }
}

/// Kills a session, or its statement. The victim has to be of the same name.
async fn kill(
    house: &House,
    killer: &Arc<Credentials>,
    number: u64,
    ends: bool,
) -> Result<(), ErrPacket> {
    let Some(seat) = house.registry.find(number) else {
        let text = format!("Unknown thread id: {number}");
        return Err(ErrPacket::new(NO_SUCH_THREAD, b"HY000", text));
    };
    let credentials = seat.credentials();
    if credentials.user != killer.user {
        let text = format!("You are not owner of thread {number}");
        return Err(ErrPacket::new(NOT_OWNER, b"HY000", text));
    }
    seat.interrupt(ends);
    let Some(pin) = seat.pin() else { return Ok(()) };
    tell_server(house, &credentials, pin.place(), false).await
}

/// Tells a server to stop what a thread does, or to close it.
async fn tell_server(
    house: &House,
    credentials: &Arc<Credentials>,
    (server, thread): (ServerId, u32),
    closes: bool,
) -> Result<(), ErrPacket> {
    let Some(pool) = house.fleet.pool(server) else { return Ok(()) };
    let deadline = Instant::now() + house.fleet.ways.connect_timeout;
    let telling = async {
        let _turn = house.registry.errands.acquire().await;
        let dialer = pool.dialer();
        let mut connection = dialer.open(credentials, Capabilities(0), false, deadline).await?;
        let what = if closes { "CONNECTION" } else { "QUERY" };
        let mut flight = Vec::new();
        let capabilities = connection.capabilities;
        put_query(&mut flight, capabilities, format!("KILL {what} {thread}").as_bytes());
        Answers::to(&mut connection.stream, capabilities, &flight).await?.ok().await?;
        Ok(())
    };
    match timeout_at(deadline, telling).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(OpenError::Setup(QueryError::Refused(refused)))) if is_done(&refused) => Ok(()),
        Ok(Err(
            OpenError::Setup(QueryError::Refused(refused))
            | OpenError::Dial(DialError::Refused(refused)),
        )) => Err(refused),
        Ok(Err(_)) | Err(_) => Err(Refusal::NoServer.packet()),
    }
}

fn is_done(refused: &ErrPacket) -> bool {
    refused.code == NO_SUCH_THREAD
}
