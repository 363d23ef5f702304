//! The admin console: what `SHOW BACKENDS` and the like say, to any MySQL client.
//!
//! A port of its own with one account of its own; nothing here reaches a server. Our front
//! (`client::greet`) listens and logs in, `adapter` hands checked commands one at a time to
//! opensrv-mysql, which never touches a socket, and `statement` knows the answers. Called by `app`.

mod adapter;
mod statement;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, watch};

use self::statement::Answers;
use super::Facts;
use crate::client::accept::{Arrival, Listener, accept};
use crate::client::greet::{self, Door, Proof, Prove, greet};
use crate::limits;
use crate::secret::Credentials;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as Refusal;
use crate::wire::ok::Status;

/// Answers for ever; dropping the future ends no conversation that has begun.
pub async fn serve(listener: Listener, door: Arc<ArcSwap<Door>>, facts: Arc<dyn Facts>) {
    let permits = Arc::new(Semaphore::new(limits::CONSOLES_MAX));
    let (_stays_open, shutdown) = watch::channel(false);
    let mut thread_id = 0_u32;
    accept(listener, permits, shutdown, move |arrival| {
        thread_id = thread_id.wrapping_add(1);
        let (door, answers) = (door.load_full(), Answers::new(Arc::clone(&facts)));
        drop(tokio::spawn(enter(arrival, door, answers, thread_id)));
    })
    .await;
}

/// The version that clients see: one whose dialect every one of them speaks.
pub const VERSION: &str = concat!("8.0.0-forebay-", env!("CARGO_PKG_VERSION"));
/// utf8mb4_general_ci: known to every client.
pub const CHARSET: u8 = 45;
/// What its door offers: opensrv does the rest of it wrong.
pub const OFFERED: Capabilities = greet::OFFERED
    .without(Capabilities::DEPRECATE_EOF)
    .without(Capabilities::SESSION_TRACK)
    .without(Capabilities::MULTI_STATEMENTS)
    .without(Capabilities::MULTI_RESULTS)
    .without(Capabilities::PS_MULTI_RESULTS);

/// There is nobody to ask about a password: the only account is listed.
pub struct Nobody;

impl Prove for Nobody {
    fn prove(&self, _: Arc<Credentials>, _: bool) -> Proof<'_> {
        let refusal = Refusal::new(1045, b"28000", "the console knows its own account only");
        Box::pin(std::future::ready(Err(refusal)))
    }
}

/// One client, from its greeting to its end.
async fn enter(arrival: Arrival, door: Arc<Door>, answers: Answers, thread_id: u32) {
    let Arrival { stream, peer, permit: _place } = arrival;
    let guest = match greet(stream, Vec::new(), &door, thread_id, &peer).await {
        Ok(guest) => guest,
        Err(error) => {
            tracing::info!(host = %peer.host(), %error, "a login at the console failed");
            return;
        }
    };
    if let Err(error) = converse(guest, answers).await {
        tracing::debug!(host = %peer.host(), %error, "a conversation at the console broke off");
    }
}

/// Lets a client in that proved who it is, and answers it.
async fn converse(mut guest: greet::Guest, answers: Answers) -> io::Result<()> {
    let mut out = Vec::new();
    let database = guest.database.take().filter(|name| !name.is_empty());
    match &database {
        None => guest.write_ok(&mut out, Status::AUTOCOMMIT),
        Some(name) => guest.write_err(
            &mut out,
            &Refusal::new(1049, b"42000", statement::no_database(&String::from_utf8_lossy(name))),
        ),
    }
    guest.stream.write_all(&out).await?;
    guest.stream.flush().await?;
    match database {
        None => adapter::converse(guest.stream, guest.unread, guest.capabilities, answers).await,
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
