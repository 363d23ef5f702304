//! Moves one command to a server and its reply back, while `wire::reply` watches the headers.
//!
//! One write and one read per direction for an ordinary query. The reply is read ahead up to
//! `READ_AHEAD_BYTES_MAX` before its first byte goes to the client: a server that is lost before
//! that can be replaced unseen, and a slow client does not keep the server. Decides nothing: what
//! came of it goes to `session::observe` as an outcome.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::backend::connection::Connection;
use crate::client::patience::{wait_for, write_to};
use crate::client::read::PARTIAL_PACKET_WAIT;
use crate::client::registry::Seat;
use crate::limits;
use crate::link::Stream;
use crate::session::observe::{Ending, Replied, Sent};
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::{Header, read_packet};
use crate::wire::reply::{Scan, Walker};

/// A read whose client has left may go on so long between two bytes.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// A command as far as it was read.
#[derive(Debug)]
pub struct Message<'a> {
    /// Headers and payload, from the first header on.
    pub bytes: &'a [u8],
    /// The client has yet to send the rest of it.
    pub rest: Option<Rest>,
}

/// What is missing of a command that is longer than what is routed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Payload bytes missing of the current chunk.
    pub chunk: usize,
    /// Whether another chunk follows it.
    pub continues: bool,
}

/// Buffers that one exchange borrows.
#[derive(Debug, Default)]
pub struct Buffers {
    /// What is sent in front of the command.
    pub flight: Vec<u8>,
    /// Bytes from the server.
    pub inbound: Vec<u8>,
    /// Bytes for the client.
    pub out: Vec<u8>,
}

/// What came of an exchange.
#[derive(Debug)]
pub struct Moved {
    /// How much of the command the server got.
    pub sent: Sent,
    /// How much of the reply the client got.
    pub replied: Replied,
    /// How it ended.
    pub end: Ending,
    /// The set-up failed with this; the command was not run, or its reply is to be dropped.
    pub setup_refused: Option<ErrPacket>,
    /// The client is gone.
    pub client_lost: bool,
}

impl Moved {
    /// Nothing was sent yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            sent: Sent::Nothing,
            replied: Replied::Nothing,
            end: Ending::Lost,
            setup_refused: None,
            client_lost: false,
        }
    }
}

/// One command on its way.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The side that asked.
    pub client: &'a mut Stream,
    /// The side that answers.
    pub server: &'a mut Connection,
    /// What is borrowed meanwhile. `out` holds the end of the reply when all is done.
    pub buffers: &'a mut Buffers,
    /// Reset for the form of the reply that is expected.
    pub walker: &'a mut Walker,
    /// OKs that the flight in front will bring.
    pub setup_replies: usize,
    /// The command may be sent together with its set-up: only a proved read may.
    pub pipelined: bool,
    /// The client may be asked for a file.
    pub asks_file: bool,
    /// Nobody wants the reply once the client has gone: it is watched meanwhile.
    pub watches: bool,
    /// There is a reply (COM_STMT_CLOSE has none).
    pub answers: bool,
    /// Tells when the client is killed.
    pub seat: &'a Seat,
    /// The number of the reply's first packet: chunks of the command count too.
    pub begins: &'a mut u8,
}

impl Exchange<'_> {
    /// Runs it to its end, or to where it broke. A replica that is given up meanwhile counts as
    /// lost.
    pub async fn run(&mut self, message: &mut Message<'_>, moved: &mut Moved) {
        self.buffers.inbound.clear();
        self.buffers.out.clear();
        match self.steps(message, moved).await {
            Ok(()) => {}
            Err(Broken::Client) => moved.client_lost = true,
            // An error of ours is to follow what the client has.
            Err(Broken::Server) if moved.replied == Replied::Some => {
                self.walker.break_off(&mut self.buffers.out);
            }
            Err(Broken::Server) => {}
        }
    }

    async fn steps(&mut self, message: &mut Message<'_>, moved: &mut Moved) -> Result<(), Broken> {
        if self.setup_replies > 0 && !self.pipelined {
            self.write_flight().await?;
            if self.read_setup(moved).await? {
                return Ok(());
            }
            self.send(message, moved).await?;
        } else if self.setup_replies > 0 {
            self.buffers.flight.extend_from_slice(message.bytes);
            moved.sent = Sent::Part;
            self.write_flight().await?;
            moved.sent = Sent::Whole;
            if self.read_setup(moved).await? {
                return Ok(());
            }
        } else {
            self.send(message, moved).await?;
        }
        if !self.answers {
            moved.end = Ending::Answered;
            return Ok(());
        }
        self.read_reply(moved).await
    }

    async fn write_flight(&mut self) -> Result<(), Broken> {
        self.server.stream.write_all(&self.buffers.flight).await.map_err(|_| Broken::Server)?;
        self.server.stream.flush().await.map_err(|_| Broken::Server)
    }

    /// Sends the command, the part that is still with the client too.
    async fn send(&mut self, message: &mut Message<'_>, moved: &mut Moved) -> Result<(), Broken> {
        moved.sent = Sent::Part;
        let whole = message.rest.is_none();
        let mut failed = self.server.stream.write_all(message.bytes).await.is_err();
        if let Some(rest) = message.rest {
            failed |= Box::pin(self.send_rest(rest, failed)).await?;
            message.rest = None;
        }
        self.walker.begin_at(*self.begins);
        failed |= self.server.stream.flush().await.is_err();
        if failed && !whole {
            // The server may have said why before it closed: ER_NET_PACKET_TOO_LARGE.
            return Ok(());
        }
        if failed {
            return Err(Broken::Server);
        }
        moved.sent = Sent::Whole;
        Ok(())
    }

    /// Sends what is still with the client. True: it could not be sent, but was read to its end.
    async fn send_rest(&mut self, mut rest: Rest, mut failed: bool) -> Result<bool, Broken> {
        while let Some(bytes) = self.next_piece(&mut rest).await? {
            if !failed {
                failed = self.server.stream.write_all(&bytes).await.is_err();
            }
        }
        Ok(failed)
    }

    /// The next bytes of a long command, read from the client; none when it is whole.
    async fn next_piece(&mut self, rest: &mut Rest) -> Result<Option<Vec<u8>>, Broken> {
        let mut piece = std::mem::take(&mut self.buffers.inbound);
        piece.clear();
        if rest.chunk == 0 {
            if !rest.continues {
                self.buffers.inbound = piece;
                return Ok(None);
            }
            let mut header = [0; limits::PACKET_HEADER_BYTES];
            let reading = self.client.read_exact(&mut header);
            let read = wait_for(reading, PARTIAL_PACKET_WAIT, self.seat).await;
            read.map_err(|_| Broken::Client)?;
            let parsed = Header::parse(&header).ok_or(Broken::Client)?;
            *self.begins = parsed.sequence.wrapping_add(1);
            *rest = Rest { chunk: parsed.len, continues: parsed.continues() };
            piece.extend_from_slice(&header);
        } else {
            let len = rest.chunk.min(limits::SLAB_KEPT_BYTES_MAX);
            piece.reserve(len);
            let mut client = (&mut *self.client).take(len as u64);
            // It keeps a connection from others meanwhile.
            let reading = client.read_buf(&mut piece);
            match wait_for(reading, PARTIAL_PACKET_WAIT, self.seat).await {
                Ok(0) | Err(_) => return Err(Broken::Client),
                Ok(len) => rest.chunk = rest.chunk.saturating_sub(len),
            }
        }
        Ok(Some(piece))
    }

    /// Reads the OKs of the set-up. True when one was an ERR.
    async fn read_setup(&mut self, moved: &mut Moved) -> Result<bool, Broken> {
        let mut left = self.setup_replies;
        let mut consumed = 0;
        while left > 0 {
            let unread = self.buffers.inbound.get(consumed..).unwrap_or_default();
            let packet = read_packet(unread, limits::TERMINATOR_BYTES_MAX)
                .map_err(|_| broken_protocol(moved))?;
            let Some(packet) = packet else {
                self.fill().await?;
                continue;
            };
            match packet.payload.first() {
                // COM_SET_OPTION is answered by an EOF.
                Some(0 | 0xfe) => {}
                Some(0xff) => {
                    moved.setup_refused = ErrPacket::parse(&packet.payload).ok();
                    return Ok(true);
                }
                _ => return Err(broken_protocol(moved)),
            }
            consumed += packet.consumed;
            left -= 1;
        }
        self.buffers.inbound.drain(..consumed);
        Ok(false)
    }

    /// Reads the reply to its end, handing the client what does not fit.
    async fn read_reply(&mut self, moved: &mut Moved) -> Result<(), Broken> {
        loop {
            if !self.buffers.inbound.is_empty() {
                let scan = self
                    .walker
                    .feed(&self.buffers.inbound, &mut self.buffers.out)
                    .map_err(|_| broken_protocol(moved))?;
                match scan {
                    Scan::More => self.buffers.inbound.clear(),
                    Scan::Done { consumed } if consumed == self.buffers.inbound.len() => {
                        moved.end = Ending::Answered;
                        return Ok(());
                    }
                    // A server that says more than it was asked for is out of step.
                    Scan::Done { .. } => return Err(broken_protocol(moved)),
                    Scan::Infile { consumed }
                        if self.asks_file && consumed == self.buffers.inbound.len() =>
                    {
                        Box::pin(self.carry_file()).await?;
                    }
                    Scan::Infile { .. } => {
                        moved.end = Ending::Infile;
                        return Ok(());
                    }
                }
            }
            if self.buffers.out.len() > limits::READ_AHEAD_BYTES_MAX {
                moved.replied = Replied::Some;
                Box::pin(self.write_ahead()).await.map_err(|_| Broken::Client)?;
            }
            self.fill().await?;
        }
    }

    /// Hands the client what was read ahead: whole packets, unless one alone is longer than that.
    async fn write_ahead(&mut self) -> io::Result<()> {
        let out = &mut self.buffers.out;
        let whole = out.len().saturating_sub(self.walker.open_bytes());
        let len = if whole > 0 { whole } else { out.len() };
        write_to(self.client, out.get(..len).unwrap_or_default(), self.seat).await?;
        out.drain(..len);
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        let Self { client, server, buffers, watches, .. } = self;
        let (inbound, mut watches) = (&mut buffers.inbound, *watches);
        if inbound.capacity() == inbound.len() {
            inbound.reserve(limits::SLAB_BYTES);
        }
        // A replica that hangs is given up by its probes, and the read is run elsewhere. What the
        // primary was told to do it may still do: there only the connection tells that it is lost.
        let given_up = server.is_reader.then_some(&*server.given_up);
        let mut reading = pin!(server.stream.read_buf(inbound));
        // By hand: every reply is waited for here. None: the client has left.
        let read = poll_fn(|context| {
            if let Poll::Ready(read) = reading.as_mut().poll(context) {
                return Poll::Ready(Some(some(read)));
            }
            if given_up.is_some_and(|given_up| given_up.poll(context).is_ready()) {
                return Poll::Ready(Some(Err(Broken::Server)));
            }
            match watches.then(|| client.poll_closed(context)) {
                Some(Poll::Ready(true)) => return Poll::Ready(None),
                // It has said something: it is there.
                Some(Poll::Ready(false)) => watches = false,
                Some(Poll::Pending) | None => {}
            }
            Poll::Pending
        })
        .await;
        match read {
            Some(read) => read,
            // What ends in a moment costs less than its end by force.
            None => Box::pin(timeout(LAST_MOMENT, reading)).await.map_or(Err(Broken::Client), some),
        }
    }
}

fn some(read: io::Result<usize>) -> Result<(), Broken> {
    match read {
        Ok(0) | Err(_) => Err(Broken::Server),
        Ok(_) => Ok(()),
    }
}

/// Which side broke.
pub(super) enum Broken {
    Server,
    Client,
}

fn broken_protocol(moved: &mut Moved) -> Broken {
    moved.end = Ending::Malformed;
    Broken::Server
}

/// Writes to a client that has no session yet.
pub async fn write_out(client: &mut Stream, out: &[u8]) -> io::Result<()> {
    client.write_all(out).await?;
    client.flush().await
}
