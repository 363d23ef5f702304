//! The one stream type: plain TCP, a Unix socket, either side of TLS, or a pipe in memory.
//!
//! A plain stream holds no buffer of its own and an idle one costs a socket; the states of TLS
//! are boxed so that it stays small. It does not know packets. `client` and `backend` own one
//! per connection; the simulator makes the ones in memory.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

/// A two-way stream of bytes, with the ways to wait for it that a proxy needs.
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS where we are the server, over any of the plain kinds.
    TlsServer(Box<server::TlsStream<Stream>>),
    /// TLS where we are the client, over any of the plain kinds.
    TlsClient(Box<client::TlsStream<Stream>>),
    /// A pipe in this process.
    Memory(Pipe),
}

impl Stream {
    /// Takes a TCP connection over: no delay, and keepalive so that a vanished peer is noticed.
    pub fn from_tcp(tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
        Ok(Stream::Tcp(tcp))
    }

    /// Waits until a read would find bytes, the end, or an error. Holds no buffer meanwhile: with
    /// TLS what is already decrypted counts, and records that carry no data do not.
    pub async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Whether [`Stream::readable`] would return at once. A plain stream makes no system call
    /// while the reactor saw nothing: this is how an idle pooled connection is found dead.
    pub fn is_readable_now(&mut self) -> bool {
        let seen = match self {
            Stream::Tcp(tcp) => tcp.try_io(Interest::READABLE, || peek(SockRef::from(&*tcp))),
            Stream::Unix(unix) => unix.try_io(Interest::READABLE, || peek(SockRef::from(&*unix))),
            other => {
                return other.poll_readable(&mut Context::from_waker(Waker::noop())).is_ready();
            }
        };
        !matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the other side is known to have closed, without waiting and without reading.
    pub fn is_closed_now(&mut self) -> bool {
        let seen = match self {
            Stream::Tcp(tcp) => tcp.try_io(Interest::READABLE, || peek(SockRef::from(&*tcp))),
            Stream::Unix(unix) => unix.try_io(Interest::READABLE, || peek(SockRef::from(&*unix))),
            // What is decrypted is not to be read here: it is taken for open.
            _ => return false,
        };
        match seen {
            Ok(len) => len == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Waits until the other side has closed; for ever if it says something instead.
    pub async fn closed(&mut self) {
        if !poll_fn(|context| self.poll_closed(context)).await {
            std::future::pending::<()>().await;
        }
    }

    /// Ready once the other side has closed (true) or said something.
    pub fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            let readable = ready!(self.poll_readable(context));
            let seen = match self {
                _ if readable.is_err() => Ok(0),
                Stream::Tcp(tcp) => tcp.try_io(Interest::READABLE, || peek(SockRef::from(&*tcp))),
                Stream::Unix(unix) => {
                    unix.try_io(Interest::READABLE, || peek(SockRef::from(&*unix)))
                }
                Stream::TlsServer(tls) => {
                    ready!(Pin::new(tls).poll_fill_buf(context)).map(<[u8]>::len)
                }
                Stream::TlsClient(tls) => {
                    ready!(Pin::new(tls).poll_fill_buf(context)).map(<[u8]>::len)
                }
                Stream::Memory(pipe) => Ok(usize::from(pipe.peeked.is_some())),
            };
            match seen {
                // The reactor was wrong, and knows by now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                seen => return Poll::Ready(!seen.is_ok_and(|len| len > 0)),
            }
        }
    }

    /// Writes as much as goes without waiting: a last word from a task that is being ended.
    pub fn try_write_all(&mut self, bytes: &[u8]) {
        let _as_much_as_goes = match self {
            Stream::Tcp(tcp) => tcp.try_write(bytes),
            Stream::Unix(unix) => unix.try_write(bytes),
            other => {
                let mut context = Context::from_waker(Waker::noop());
                match Pin::new(other).poll_write(&mut context, bytes) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Ok(0),
                }
            }
        };
    }

    /// Reads what is there without waiting; `WouldBlock` if there is nothing, 0 at the end.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(tcp) => tcp.try_read(buffer),
            Stream::Unix(unix) => unix.try_read(buffer),
            other => {
                let mut read = ReadBuf::new(buffer);
                let mut context = Context::from_waker(Waker::noop());
                match Pin::new(other).poll_read(&mut context, &mut read) {
                    Poll::Ready(done) => done.map(|()| read.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Whether a password may cross it in clear: TLS, or a socket that never leaves the machine.
    pub fn is_private(&self) -> bool {
        match self {
            Stream::TlsServer(_) | Stream::TlsClient(_) | Stream::Unix(_) => true,
            Stream::Tcp(_) | Stream::Memory(_) => false,
        }
    }

    /// Whether TLS is up.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::TlsServer(_) | Stream::TlsClient(_))
    }

    /// Ready once a read would find something.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(tcp) => tcp.poll_read_ready(context),
            Stream::Unix(unix) => unix.poll_read_ready(context),
            Stream::TlsServer(tls) => Pin::new(tls).poll_fill_buf(context).map_ok(drop),
            Stream::TlsClient(tls) => Pin::new(tls).poll_fill_buf(context).map_ok(drop),
            Stream::Memory(pipe) => pipe.poll_peek(context),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Stream {
        Stream::Unix(unix)
    }
}

impl From<DuplexStream> for Stream {
    fn from(duplex: DuplexStream) -> Stream {
        Stream::Memory(Pipe { duplex, peeked: None })
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Stream::Tcp(_) => "Tcp",
            Stream::Unix(_) => "Unix",
            Stream::TlsServer(_) => "TlsServer",
            Stream::TlsClient(_) => "TlsClient",
            Stream::Memory(_) => "Memory",
        })
    }
}

/// Does the same to whichever kind of stream it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $action:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => $action,
            Stream::Unix($inner) => $action,
            Stream::TlsServer($inner) => $action,
            Stream::TlsClient($inner) => $action,
            Stream::Memory($inner) => $action,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_shutdown(context))
    }
}

/// One end of a pipe in memory. A duplex stream cannot be asked whether it is readable, so one
/// byte may have been taken out of it already.
pub struct Pipe {
    duplex: DuplexStream,
    peeked: Option<u8>,
}

impl Pipe {
    fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peeked.is_some() {
            return Poll::Ready(Ok(()));
        }
        let mut byte = [0; 1];
        let mut read = ReadBuf::new(&mut byte);
        let polled = Pin::new(&mut self.duplex).poll_read(context, &mut read);
        self.peeked = read.filled().first().copied();
        polled
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(byte) = pipe.peeked.take() else {
            return Pin::new(&mut pipe.duplex).poll_read(context, buffer);
        };
        buffer.put_slice(&[byte]);
        // What follows may wait (or fail, and will again): the byte in hand is an answer.
        let _more = Pin::new(&mut pipe.duplex).poll_read(context, buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().duplex).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().duplex).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.duplex.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().duplex).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().duplex).poll_shutdown(context)
    }
}

/// Looks at the next byte and leaves it there.
fn peek(socket: SockRef<'_>) -> io::Result<usize> {
    socket.peek(&mut [MaybeUninit::uninit()])
}

/// A peer that said nothing for so long is asked whether it lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions before the connection counts as lost.
const KEEPALIVE_PROBES: u32 = 3;

/// An idle session holds one of these and little else.
const _: () = assert!(size_of::<Stream>() <= 64);

#[cfg(test)]
mod tests;
