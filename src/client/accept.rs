//! The listener: takes connections in, one by one, as many as are allowed.
//!
//! It reads nothing from them and serves none: each goes to a function that starts a session.
//! `app` runs one loop per address and ends it by a watch.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::link::Stream;
use crate::secret::Source;
use crate::wire::err::Err as Refusal;

/// Where clients come in.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener, Arc<SocketFile>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over the network.
    Network(SocketAddr),
    /// On this machine, by a Unix socket.
    Local,
}

/// A connection that came in. The permit is its place among those allowed: drop it at the end.
#[derive(Debug)]
pub struct Arrival {
    /// What to speak over.
    pub stream: Stream,
    /// Who.
    pub peer: Peer,
    /// Its place.
    pub permit: OwnedSemaphorePermit,
}

impl Listener {
    /// Listens on a TCP port. The address may be taken again at once after a restart.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener::Tcp(TcpListener::from_std(socket.into())?))
    }

    /// Listens on a Unix socket that everybody on the machine may open, as MySQL's is. A socket
    /// that an ended process left there is removed; one that still answers is not.
    pub fn bind_unix(path: &Path) -> io::Result<Listener> {
        let (unix, file) = bind_unix(path, path)?;
        Ok(Listener::Unix(unix, Arc::new(file)))
    }

    /// Listens beside such a socket, whoever has it, until [`SocketFile::take_over`] is called.
    pub fn bind_unix_beside(path: &Path) -> io::Result<(Listener, Arc<SocketFile>)> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let (unix, file) = bind_unix(Path::new(&beside), path)?;
        let file = Arc::new(file);
        Ok((Listener::Unix(unix, Arc::clone(&file)), file))
    }

    /// The TCP address it really has: port 0 asks for any.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(tcp) => tcp.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(tcp) => {
                let (stream, address) = tcp.accept().await?;
                Ok((Stream::from_tcp(stream)?, Peer::Network(address)))
            }
            Listener::Unix(unix, _) => Ok((unix.accept().await?.0.into(), Peer::Local)),
        }
    }
}

/// Accepts until the watch says true or its sender is gone. Past the permits a client is told
/// 1040 and let go; running out of files makes the loop wait, not end.
pub async fn accept(
    listener: Listener,
    permits: Arc<Semaphore>,
    mut shutdown: watch::Receiver<bool>,
    mut hand: impl FnMut(Arrival),
) {
    let mut pause = PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            // Cancel-safe: the watch keeps its value, and a connection not yet accepted stays in
            // the backlog.
            _ = shutdown.wait_for(|down| *down) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE_MIN;
                match Arc::clone(&permits).try_acquire_owned() {
                    Ok(permit) => hand(Arrival { stream, peer, permit }),
                    Err(_) => turn_away(&stream),
                }
            }
            // The client was gone before we came to it: the next one may be waiting.
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
            }
        }
    }
}

impl Peer {
    /// Where it comes from, as far as failed logins are counted together.
    pub fn source(&self) -> Source {
        match self {
            Peer::Network(address) => Source::of(address.ip()),
            Peer::Local => Source::Local,
        }
    }

    /// The host as MySQL would name it in an error.
    pub fn host(&self) -> String {
        match self {
            Peer::Network(address) => match address.ip() {
                IpAddr::V6(ip) => ip.to_canonical().to_string(),
                IpAddr::V4(ip) => ip.to_string(),
            },
            Peer::Local => "localhost".to_owned(),
        }
    }
}

/// Removes the socket's file when the listener ends, unless somebody else's is there by then.
#[derive(Debug)]
pub struct SocketFile {
    /// Where it was made.
    made: PathBuf,
    /// Where clients look for it.
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    /// From now on clients come here; whoever listened there keeps those that he has.
    pub fn take_over(&self) -> io::Result<()> {
        std::fs::rename(&self.made, &self.path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        for path in [&self.made, &self.path] {
            if inode(path).is_ok_and(|inode| inode == self.inode) {
                let _gone = std::fs::remove_file(path);
            }
        }
    }
}

fn bind_unix(made: &Path, path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    if is_left_behind(made)? {
        std::fs::remove_file(made)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(made)?)?;
    let (made, path) = (made.to_owned(), path.to_owned());
    let file = SocketFile { inode: inode(&made)?, made, path };
    std::fs::set_permissions(&file.made, Permissions::from_mode(0o777))?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from_std(socket.into())?, file))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether a socket is there that nobody listens on. One whose queue is full is listened on.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Ok(false);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// One small packet on a fresh socket always fits its buffer, so nothing waits here.
fn turn_away(stream: &Stream) {
    let mut out = Vec::new();
    Refusal::new(1040, b"08004", "Too many connections").write_as_greeting(&mut out);
    let _written = match stream {
        Stream::Tcp(tcp) => tcp.try_write(&out),
        Stream::Unix(unix) => unix.try_write(&out),
        Stream::TlsServer(_) | Stream::TlsClient(_) | Stream::Memory(_) => Ok(0),
    };
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
        || matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput)
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// The first wait when files ran out.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpStream, UnixStream};
    use tokio::sync::mpsc;

    use super::*;

    struct Running {
        arrivals: mpsc::UnboundedReceiver<Arrival>,
        down: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    fn run(listener: Listener, clients_max: usize) -> Running {
        let (down, shutdown) = watch::channel(false);
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(clients_max));
        let task = tokio::spawn(accept(listener, permits, shutdown, move |arrival| {
            arrived.send(arrival).unwrap();
        }));
        Running { arrivals, down, task }
    }

    #[tokio::test]
    async fn as_many_come_in_as_are_allowed_and_others_are_told() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().unwrap();
        let mut running = run(listener, 1);
        let _first = TcpStream::connect(address).await.unwrap();
        let arrival = running.arrivals.recv().await.unwrap();
        assert_eq!(arrival.peer.host(), "127.0.0.1");
        let mut told = Vec::new();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, b"\x17\0\0\0\xff\x10\x04Too many connections");
        drop(arrival);
        let _third = TcpStream::connect(address).await.unwrap();
        running.arrivals.recv().await.unwrap();
        running.down.send(true).unwrap();
        running.task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "no longer listening");
    }

    #[tokio::test]
    async fn a_unix_socket_is_taken_over_only_if_nobody_answers() {
        let path = std::env::temp_dir().join(format!("forebay-accept-{}", std::process::id()));
        let left = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(Listener::bind_unix(&path).is_err(), "somebody answers there");
        drop(left);
        let mut running = run(Listener::bind_unix(&path).unwrap(), 5);
        let _client = UnixStream::connect(&path).await.unwrap();
        let arrival = running.arrivals.recv().await.unwrap();
        assert_eq!((arrival.peer, arrival.peer.host()), (Peer::Local, "localhost".to_owned()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777, "for everybody");
        drop(running.down);
        running.task.await.unwrap();
        assert!(!path.exists());
        let old = Listener::bind_unix(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let new = Listener::bind_unix(&path).unwrap();
        drop(old);
        assert!(path.exists(), "it is the new one's");
        drop(new);
        assert!(!path.exists());
        std::fs::write(&path, "a file, not a socket").unwrap();
        assert!(Listener::bind_unix(&path).is_err());
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_unix_socket_is_handed_over() {
        let path = std::env::temp_dir().join(format!("forebay-handed-{}", std::process::id()));
        let mut old = run(Listener::bind_unix(&path).unwrap(), 5);
        let (listener, file) = Listener::bind_unix_beside(&path).unwrap();
        let mut new = run(listener, 5);
        let _before = UnixStream::connect(&path).await.unwrap();
        assert!(old.arrivals.recv().await.is_some(), "not before it is told to");
        file.take_over().unwrap();
        let _after = UnixStream::connect(&path).await.unwrap();
        assert!(new.arrivals.recv().await.is_some());
        drop(old.down);
        old.task.await.unwrap();
        assert!(path.exists(), "the old one's end takes nothing along");
        drop((new.down, file));
        new.task.await.unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_mapped_address_is_named_as_what_it_is() {
        let check = |address: &str, host: &str| {
            assert_eq!(Peer::Network(address.parse().unwrap()).host(), host);
        };
        check("10.1.2.3:5", "10.1.2.3");
        check("[::ffff:10.1.2.3]:5", "10.1.2.3");
        check("[2001:db8::1]:5", "2001:db8::1");
    }
}
