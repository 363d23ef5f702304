//! Has a server prepare a text, on a connection that lacks it.
//!
//! In one flight: the session's state, the values under which the client's own PREPARE was read, the
//! PREPARE, and the values of now. Called by `statement` alone.

use std::io;

use super::{Call, Unready};
use crate::backend::pool::Lease;
use crate::backend::query::{Answers, QueryError, put_command};
use crate::backend::setup::{Steps, note_steps, put_turn};
use crate::client::serve::Conversation;
use crate::link::Stream;
use crate::session::plan::Forward;
use crate::session::prepared::Source;
use crate::session::refusal::Refusal;
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;

const COM_STMT_PREPARE: u8 = 0x16;

/// What a server answered to a flight with a PREPARE in it.
struct Heard {
    /// A step was refused; then nothing else was heard.
    setup: Option<ErrPacket>,
    /// The values of then were refused.
    turn: Option<ErrPacket>,
    prepared: Result<(u32, u16), ErrPacket>,
}

impl Conversation {
    /// Brings the connection to the session's state and prepares a text there.
    pub(super) async fn prepare_on(
        &mut self,
        call: &Call,
        it: &Forward,
        lease: &mut Lease,
        steps: &mut Steps,
        flight: &mut Vec<u8>,
    ) -> Result<u32, Unready> {
        let Source::Text(blueprint) = &call.source else {
            return Err(Unready::Answer(Refusal::UnknownStatement.packet()));
        };
        if lease.stream.is_readable_now() {
            return Err(Unready::Lost);
        }
        lease.statements.put_closes(flight);
        let baseline = self.house.fleet.baseline();
        let (now, then) = (self.session.values(), &blueprint.values);
        let is_turned = !now.reads_like(then);
        let (mut turns, capabilities) = ((0, 0), lease.capabilities);
        let turn = |to, from, flight: &mut Vec<u8>| {
            let turned = put_turn(flight, capabilities, to, from, baseline.as_deref());
            turned.ok_or_else(|| Unready::Answer(Refusal::NeedsPreparing.packet()))
        };
        // A text without a database names none, so it means the same in any.
        let mut there = then.clone();
        there.database = there.database.or_else(|| now.database.clone());
        if is_turned {
            turns.0 = turn(&there, now, flight)?;
        }
        put_command(flight, COM_STMT_PREPARE, &blueprint.text);
        if is_turned {
            turns.1 = turn(now, &there, flight)?;
        }
        let counts = [steps.replies, turns.0, turns.1];
        let heard = hear(lease, flight, counts).await.map_err(|_| Unready::Lost)?;
        flight.clear();
        if let Some(refused) = heard.setup {
            return Err(Unready::Setup(refused));
        }
        let wanted = self.wanted(it, lease);
        note_steps(lease, &wanted, *steps);
        *steps = Steps::default();
        let (server_id, found) = heard.prepared.map_err(Unready::Answer)?;
        if let Some(refused) = heard.turn {
            lease.statements.doom(server_id);
            return Err(Unready::Answer(refused));
        }
        if found != call.params {
            lease.statements.doom(server_id);
            return Err(Unready::Answer(Refusal::NeedsPreparing.packet()));
        }
        lease.statements.put(blueprint, server_id);
        Ok(server_id)
    }
}

/// Sends a flight of steps, a turn, a PREPARE and a turn back, and hears the answers.
async fn hear(lease: &mut Lease, flight: &[u8], counts: [usize; 3]) -> Result<Heard, QueryError> {
    let given_up = lease.is_reader.then(|| lease.given_up());
    let capabilities = lease.capabilities;
    let hearing = hear_all(&mut lease.stream, capabilities, flight, counts);
    let Some(given_up) = given_up else { return hearing.await };
    // Whichever is dropped, the connection is not used again.
    tokio::select! {
        biased;
        heard = hearing => heard,
        () = given_up => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn hear_all(
    stream: &mut Stream,
    capabilities: Capabilities,
    flight: &[u8],
    [steps, there, back]: [usize; 3],
) -> Result<Heard, QueryError> {
    let refusal_of = |answer: Result<(), QueryError>| match answer {
        Ok(()) => Ok(None),
        Err(QueryError::Refused(refused)) => Ok(Some(refused)),
        Err(error) => Err(error),
    };
    let mut answers = Answers::to(stream, capabilities, flight).await?;
    for _ in 0..steps {
        if let Some(refused) = refusal_of(answers.done().await)? {
            let prepared = Ok((0, 0));
            return Ok(Heard { setup: Some(refused), turn: None, prepared });
        }
    }
    let mut turn = None;
    for _ in 0..there {
        turn = turn.or(refusal_of(answers.done().await)?);
    }
    let prepared = match answers.prepared().await {
        Ok(prepared) => Ok(prepared),
        Err(QueryError::Refused(refused)) => Err(refused),
        Err(error) => return Err(error),
    };
    for _ in 0..back {
        // What is not turned back is in nobody's state.
        answers.done().await?;
    }
    if !answers.is_exhausted() {
        return Err(Malformed { what: "an answer to nothing" }.into());
    }
    Ok(Heard { setup: None, turn, prepared })
}
