//! How an address becomes a stream: the real network, or one in memory for the simulator.
//!
//! It resolves and connects, within a deadline; it does not choose among servers and retries
//! nothing. `backend::dial` calls it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::stream::Stream;

/// What lies between us and the servers.
#[derive(Clone)]
pub enum Network {
    /// Sockets of this machine.
    Real,
    /// A made-up one.
    Memory(Arc<dyn Memory>),
}

/// A network that a test makes up.
pub trait Memory: Send + Sync {
    /// Connects to the server of that address, or says why not.
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a>;
}

/// A connection in memory on its way.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<DuplexStream>> + Send + 'a>>;

impl Network {
    /// Connects to `host:port`, or to a Unix socket if the address is a path. Past the deadline
    /// the error's kind is `TimedOut`.
    pub async fn connect(&self, address: &str, deadline: Instant) -> io::Result<Stream> {
        let connecting = async {
            match self {
                Network::Real if address.starts_with('/') => {
                    UnixStream::connect(address).await.map(Stream::from)
                }
                Network::Real => Stream::from_tcp(TcpStream::connect(address).await?),
                Network::Memory(memory) => memory.connect(address).await.map(Stream::from),
            }
        };
        timeout_at(deadline, connecting).await.unwrap_or_else(|late| Err(late.into()))
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Network::Real => "Real",
            Network::Memory(_) => "Memory",
        })
    }
}
