//! Stands between a client's socket and opensrv: the only commands that pass are those that
//! opensrv gets right, whole, checked, and one at a time.
//!
//! opensrv 0.7.0 reads freed memory when packets come pipelined, says OK to commands that it does
//! not know, hangs up on text that is not UTF-8 and panics on a bad EXECUTE. So it lives behind a
//! pipe in this process, sees QUERY, INIT_DB and PING only, and its replies are walked like any
//! server's. It says nothing about what the answers are. Called by `console`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use opensrv_mysql::AsyncMysqlIntermediary;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, duplex, split};
use tokio::time::timeout;

use super::statement::Answers;
use crate::limits;
use crate::link::{Exchange, ExchangeError, Stream};
use crate::wire::auth::NATIVE;
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::err::Err as Refusal;
use crate::wire::frame::{Header, write_packet};
use crate::wire::handshake::Response;
use crate::wire::reply::{Expect, Scan, Shape, Walker};

/// Answers one client until it leaves. `unread` is what it sent behind its login.
pub(super) async fn converse(
    client: Stream,
    unread: Vec<u8>,
    capabilities: Capabilities,
    answers: Answers,
) -> io::Result<()> {
    let (near, far) = duplex(limits::SLAB_BYTES);
    let (reader, writer) = split(far);
    let commands = Exchange::resume(0, unread);
    let adapter = Adapter { client, commands, capabilities, link: near.into() };
    // Cancel-safe: whichever ends first, the conversation is over.
    tokio::select! {
        ended = adapter.run() => ended,
        ended = AsyncMysqlIntermediary::run_on(answers, OnePacket::new(reader), writer) => ended,
    }
}

struct Adapter {
    client: Stream,
    commands: Exchange,
    capabilities: Capabilities,
    link: Stream,
}

/// What is to be done with a command.
enum Verdict {
    Pass(Expect),
    /// It has no reply.
    Ignore,
    Refuse(Refusal),
    Leave,
}

impl Adapter {
    async fn run(mut self) -> io::Result<()> {
        self.log_in().await?;
        let within = Duration::from_secs(limits::CONSOLE_IDLE_S_MAX);
        while timeout(within, self.answer_one()).await?? {}
        Ok(())
    }

    /// Opens the link as a client would, with what both its ends get right.
    async fn log_in(&mut self) -> io::Result<()> {
        let mut login = Exchange::with_server();
        login.read(&mut self.link).await.map_err(io::Error::other)?;
        let response = Response {
            capabilities: LINK,
            packet_bytes_max: u32::MAX,
            charset: super::CHARSET,
            user: b"console".to_vec(),
            auth: Vec::new(),
            database: None,
            plugin: Some(NATIVE.into()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        login.send_payload(&mut self.link, &payload).await?;
        let answer = login.read(&mut self.link).await.map_err(io::Error::other)?;
        if answer.first() == Some(&0) { Ok(()) } else { Err(invalid("opensrv let nobody in")) }
    }

    /// Reads a command and answers it; false: the client is to be left.
    async fn answer_one(&mut self) -> io::Result<bool> {
        let command = match self.commands.read(&mut self.client).await {
            Ok(command) => command,
            Err(ExchangeError::Closed) => return Ok(false),
            Err(ExchangeError::Io(error)) => return Err(error),
            Err(ExchangeError::TooLong) => {
                // The rest of it is still to come, and nothing behind it can be found.
                let text = "Got a packet bigger than 'max_allowed_packet' bytes";
                return self.refuse(&Refusal::new(1153, b"08S01", text)).await.map(|()| false);
            }
            Err(ExchangeError::OutOfOrder | ExchangeError::Malformed(_)) => {
                let text = "Got packets out of order";
                return self.refuse(&Refusal::new(1156, b"08S01", text)).await.map(|()| false);
            }
        };
        match judge(&command, self.capabilities) {
            Verdict::Leave => return Ok(false),
            Verdict::Ignore => {}
            Verdict::Refuse(refusal) => self.refuse(&refusal).await?,
            Verdict::Pass(expect) => self.pass(&command, expect).await?,
        }
        self.commands = Exchange::resume(0, self.commands.take_unread());
        Ok(true)
    }

    async fn refuse(&mut self, refusal: &Refusal) -> io::Result<()> {
        let mut out = Vec::new();
        refusal.write(&mut out, 1);
        self.client.write_all(&out).await?;
        self.client.flush().await
    }

    /// Has opensrv answer, and carries all of its reply over before anything else is read.
    async fn pass(&mut self, command: &[u8], expect: Expect) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(limits::SLAB_BYTES);
        write_packet(&mut bytes, 0, command);
        self.link.write_all(&bytes).await?;
        let mut walker = Walker::new(expect, Shape { backend: LINK, client: LINK });
        let mut out = Vec::new();
        loop {
            bytes.clear();
            out.clear();
            if self.link.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let scan = walker.feed(&bytes, &mut out).map_err(io::Error::other)?;
            self.client.write_all(&out).await?;
            match scan {
                Scan::More => {}
                Scan::Done { consumed } if consumed == bytes.len() => {
                    return self.client.flush().await;
                }
                Scan::Done { .. } | Scan::Infile { .. } => {
                    return Err(invalid("opensrv said more than it was asked"));
                }
            }
        }
    }
}

/// Which commands opensrv may see.
fn judge(payload: &[u8], client: Capabilities) -> Verdict {
    let Ok(command) = Command::parse(payload, client) else {
        return Verdict::Refuse(Refusal::new(1835, b"HY000", "Malformed communication packet"));
    };
    match command {
        Command::Quit => Verdict::Leave,
        Command::Query(text) | Command::InitDb(text) if std::str::from_utf8(text).is_err() => {
            Verdict::Refuse(Refusal::new(1300, b"HY000", "The text is not valid UTF-8"))
        }
        Command::Query(_) => Verdict::Pass(Expect::Query),
        Command::InitDb(_) | Command::Ping => Verdict::Pass(Expect::Simple),
        Command::LongData { .. } | Command::CloseStatement(_) => Verdict::Ignore,
        _ => {
            let text = "Unknown command: the console answers statements sent as text only";
            Verdict::Refuse(Refusal::new(1047, b"08S01", text))
        }
    }
}

/// What the link's two ends agree on: no result is ended in the new way and nothing is tracked, so
/// that each reply is also right for the client behind it.
const LINK: Capabilities = Capabilities::PROTOCOL_41
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::PLUGIN_AUTH_LENENC);

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A reader that gives out the bytes of one packet at most in one read: what would lie behind it
/// in opensrv's buffer is what opensrv would free while it is in use.
struct OnePacket<R> {
    inner: R,
    header: [u8; limits::PACKET_HEADER_BYTES],
    /// Bytes of the header that are there.
    known: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl<R> OnePacket<R> {
    fn new(inner: R) -> Self {
        Self { inner, header: [0; limits::PACKET_HEADER_BYTES], known: 0, left: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for OnePacket<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() < limits::PACKET_HEADER_BYTES {
            return Poll::Ready(Err(invalid("a buffer that holds no header")));
        }
        while this.left == 0 && this.known < this.header.len() {
            let mut header = ReadBuf::new(&mut this.header);
            header.set_filled(this.known);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut header))?;
            if header.filled().len() == this.known {
                return Poll::Ready(Ok(()));
            }
            this.known = header.filled().len();
        }
        let begins = this.known == this.header.len();
        if begins {
            out.put_slice(&this.header);
            this.left = Header::parse(&this.header).map_or(0, |header| header.len);
            this.known = 0;
        }
        let room = out.remaining().min(this.left);
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut payload = ReadBuf::new(out.initialize_unfilled_to(room));
        let read = Pin::new(&mut this.inner).poll_read(context, &mut payload);
        let len = payload.filled().len();
        out.advance(len);
        this.left = this.left.saturating_sub(len);
        match read {
            // The header is given out already.
            Poll::Pending if begins => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets that come in pieces, all of them sent before the first is read.
    async fn check(sent: &[u8], piece: usize) {
        let (mut near, far) = duplex(piece);
        let bytes = sent.to_vec();
        let writing = tokio::spawn(async move { near.write_all(&bytes).await });
        let mut reader = OnePacket::new(far);
        let (mut seen, mut left) = (Vec::new(), 0);
        let mut read = Vec::with_capacity(4096);
        while reader.read_buf(&mut read).await.unwrap() > 0 {
            if left == 0 {
                left = 4 + Header::parse(&read).unwrap().len;
            }
            assert!(read.len() <= left, "in pieces of {piece}");
            left -= read.len();
            seen.append(&mut read);
            read.reserve(4096);
        }
        writing.await.unwrap().unwrap();
        assert!(seen == sent, "in pieces of {piece}");
    }

    #[tokio::test]
    async fn a_read_never_reaches_into_the_next_packet() {
        let mut sent = Vec::new();
        for payload in [&b"\x03one"[..], b"", b"\x0e", &[3; 5000], b"\x03five", b"\x01"] {
            write_packet(&mut sent, 0, payload);
        }
        for piece in [1, 3, 4, 5, sent.len()] {
            check(&sent, piece).await;
        }
    }
}
