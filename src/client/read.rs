//! Waits for a client's next command and reads as much of it as is routed on.
//!
//! An idle session holds no buffer: it waits for readiness and borrows a slab then. While it
//! waits it gives up a connection that others need and that holds nothing but an insert id, and
//! it leaves when the process drains.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::client::patience::{unless_ended, wait_for};
use crate::client::relay::{Message, Rest};
use crate::client::serve::Conversation;
use crate::client::slab;
use crate::limits;
use crate::wire::frame::Header;

/// A client that has begun a packet must go on with it.
pub(super) const PARTIAL_PACKET_WAIT: Duration = Duration::from_secs(30);
/// A session that is idle so long while the process drains is between two requests. A request of
/// PHP ends by itself in 20 to 500 ms; closed before that, every program but wpdb sees error 2006.
const DRAIN_IDLE: Duration = Duration::from_secs(5);

/// A command as it was read.
pub(super) struct Inbound {
    /// Begins with the command's first header; may hold bytes behind the command.
    pub slab: Vec<u8>,
    /// Bytes of it in the slab, headers too.
    pub len: usize,
    /// What is still with the client.
    pub rest: Option<Rest>,
}

enum Woken {
    Readable,
    Wanted,
    Drain,
}

impl Conversation {
    /// The next command; none when the client is gone or the process drains.
    pub(super) async fn next_command(&mut self) -> Option<Inbound> {
        if self.unread.is_empty() {
            self.wait().await?;
        }
        let mut slab = slab::borrow();
        slab.append(&mut self.unread);
        let header = match self.fill(&mut slab, limits::PACKET_HEADER_BYTES).await {
            Ok(()) => Header::parse(&slab)?,
            Err(_) => return None,
        };
        let whole = header.len + limits::PACKET_HEADER_BYTES;
        let enough = whole.min(limits::COMMAND_ROUTED_BYTES_MAX + limits::PACKET_HEADER_BYTES);
        self.fill(&mut slab, enough).await.ok()?;
        let len = whole.min(slab.len());
        let rest = Rest { chunk: whole - len, continues: header.continues() };
        let is_whole = rest.chunk == 0 && !rest.continues;
        Some(Inbound { slab, len, rest: (!is_whole).then_some(rest) })
    }

    async fn fill(&mut self, slab: &mut Vec<u8>, enough: usize) -> io::Result<()> {
        while slab.len() < enough {
            if slab.capacity() == slab.len() {
                slab.reserve(limits::SLAB_BYTES);
            }
            let is_first = slab.is_empty();
            let reading = self.client.read_buf(slab);
            let read = match is_first {
                true => unless_ended(reading, &self.seat).await?,
                // Boxed: nearly every command comes in one piece.
                false => Box::pin(wait_for(reading, PARTIAL_PACKET_WAIT, &self.seat)).await?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    async fn wait(&mut self) -> Option<()> {
        loop {
            let seat = Arc::clone(&self.seat);
            match self.woken().await? {
                Woken::Readable => return Some(()),
                Woken::Wanted => {
                    let giving = async {
                        self.give_up_primary().await;
                        Ok(())
                    };
                    Box::pin(unless_ended(giving, &seat)).await.ok()?;
                }
                Woken::Drain => return Box::pin(self.wait_to_leave()).await,
            }
        }
    }

    async fn woken(&mut self) -> Option<Woken> {
        let mut wanted = self.primary_wanted();
        let (client, seat, control) = (&mut self.client, &self.seat, &self.house.control);
        // By hand: a session comes here after each statement.
        poll_fn(|context| {
            if let Poll::Ready(readable) = client.poll_readable(context) {
                return Poll::Ready(readable.ok().map(|()| Woken::Readable));
            }
            if seat.poll_ended(context).is_ready() {
                return Poll::Ready(None);
            }
            if control.is_draining() {
                return Poll::Ready(Some(Woken::Drain));
            }
            match &mut wanted {
                Some(wanted) => wanted.as_mut().poll(context).map(|()| Some(Woken::Wanted)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Draining: an idle session ends when it has been quiet for long enough.
    async fn wait_to_leave(&mut self) -> Option<()> {
        let holds = self.session.holds().is_hard();
        let (client, seat) = (&mut self.client, &self.seat);
        match timeout(DRAIN_IDLE, unless_ended(client.readable(), seat)).await {
            Ok(readable) => readable.ok(),
            Err(_) if holds => unless_ended(client.readable(), seat).await.ok(),
            Err(_) => None,
        }
    }

    /// Reads and drops what the client has yet to send of a command that will not be run.
    pub(super) async fn drain(&mut self, message: &mut Message<'_>) -> io::Result<()> {
        let Some(mut rest) = message.rest.take() else { return Ok(()) };
        let mut slab = slab::borrow();
        loop {
            while rest.chunk > 0 {
                slab.clear();
                let len = rest.chunk.min(limits::SLAB_BYTES);
                let read = (&mut self.client).take(len as u64).read_buf(&mut slab).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                rest.chunk -= read;
            }
            if !rest.continues {
                slab::give_back(slab);
                return Ok(());
            }
            let mut header = [0; limits::PACKET_HEADER_BYTES];
            self.client.read_exact(&mut header).await?;
            let header = Header::parse(&header).ok_or(io::ErrorKind::InvalidData)?;
            self.begins = header.sequence.wrapping_add(1);
            rest = Rest { chunk: header.len, continues: header.continues() };
        }
    }
}
