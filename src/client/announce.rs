//! Who a connection really comes from, when a balancer in front of us says so.
//!
//! Only peers in the networks that the operator listed are asked, and they must say it: a header
//! from anybody else is a bad packet of a login. It opens nothing and greets nobody;
//! `client::enter` asks before the greeting.
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::accept::Peer;
use crate::limits::{PROXY_HEADER_BYTES_MAX, PROXY_HEADER_MS_MAX};
use crate::link::proxy_header::{Announced, parse};
use crate::link::{AddressRange, Stream};
use crate::wire::Malformed;
use crate::wire::err::Err as Refusal;

/// Whose connections begin with a PROXY header.
#[derive(Debug, Default)]
pub struct Announcers(Vec<AddressRange>);

impl Announcers {
    /// Those in these networks.
    #[must_use]
    pub fn new(networks: Vec<AddressRange>) -> Announcers {
        Announcers(networks)
    }

    /// The client behind a connection, and what it said already behind the header. One whose
    /// header is wrong or missing has been told.
    ///
    /// # Errors
    /// No header came, not in time, or not a right one.
    pub async fn hear(&self, stream: &mut Stream, peer: Peer) -> Result<(Peer, Vec<u8>), Unheard> {
        if !self.must_announce(peer) {
            return Ok((peer, Vec::new()));
        }
        let wait = Duration::from_millis(PROXY_HEADER_MS_MAX);
        match timeout(wait, read(stream)).await.unwrap_or(Err(Unheard::TimedOut)) {
            Ok((Announced::Client(address), rest)) => Ok((Peer::Network(address), rest)),
            Ok((Announced::Local, rest)) => Ok((Peer::Local, rest)),
            Ok((Announced::Nobody, rest)) => Ok((peer, rest)),
            Err(error) => {
                refuse(stream).await;
                Err(error)
            }
        }
    }

    fn must_announce(&self, peer: Peer) -> bool {
        match peer {
            Peer::Network(address) => self.0.iter().any(|range| range.contains(address.ip())),
            Peer::Local => false,
        }
    }
}

/// Why it is not known who comes.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It left: a balancer's check that looks for an open port does.
    #[error("closed before its PROXY header")]
    Closed,
    /// Nothing, or not all of it, in time.
    #[error("no PROXY header within {PROXY_HEADER_MS_MAX} ms")]
    TimedOut,
    /// Not a header.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the header, and what came with it.
async fn read(stream: &mut Stream) -> Result<(Announced, Vec<u8>), Unheard> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        if let Some((announced, len)) = parse(&bytes)? {
            bytes.drain(..len.min(bytes.len()));
            return Ok((announced, bytes));
        }
        // The parser is content with so much, or complains.
        let room = PROXY_HEADER_BYTES_MAX.saturating_sub(bytes.len()).max(1);
        if (&mut *stream).take(room as u64).read_buf(&mut bytes).await? == 0 {
            return Err(Unheard::Closed);
        }
    }
}

/// A word to whoever set the balancer up; nobody waits for it to arrive.
async fn refuse(stream: &mut Stream) {
    let mut out = Vec::new();
    let text = "Bad handshake: connections from this address must begin with a PROXY header";
    Refusal::new(1043, b"08S01", text).write_as_greeting(&mut out);
    stream.try_write_all(&out);
    let _closed = stream.shutdown().await;
}

/// An ordinary header fits in so much.
const READ_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;

    const HEADER: &[u8] = b"PROXY TCP4 10.1.2.3 10.9.9.9 12345 3306\r\n";

    fn announcers() -> Announcers {
        Announcers::new(vec!["192.0.2.0/24".parse().unwrap()])
    }

    fn peer(address: &str) -> Peer {
        Peer::Network(address.parse().unwrap())
    }

    /// What is heard of a peer that sends `bytes` in pieces; the rest behind the header.
    async fn check(from: Peer, bytes: &[u8], expected: &str) {
        for piece in [1, 7, 4096] {
            let (near, mut far) = duplex(16 * 1024);
            let mut stream = near.into();
            let saying = async {
                for part in bytes.chunks(piece) {
                    far.write_all(part).await.unwrap();
                }
                far.shutdown().await.unwrap();
            };
            let announcers = announcers();
            let (heard, ()) = tokio::join!(announcers.hear(&mut stream, from), saying);
            let heard = match heard {
                Ok((peer, mut early)) => {
                    stream.read_to_end(&mut early).await.unwrap();
                    format!("{} {}", peer.host(), String::from_utf8_lossy(&early))
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(heard, expected, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_listed_peer_announces_its_client_and_others_do_not() {
        let (balancer, other) = (peer("192.0.2.7:999"), peer("198.51.100.7:999"));
        let with_login = [HEADER, b"login"].concat();
        check(balancer, HEADER, "10.1.2.3 ").await;
        check(balancer, &with_login, "10.1.2.3 login").await;
        check(balancer, b"PROXY UNKNOWN\r\n", "192.0.2.7 ").await;
        check(balancer, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0login", "192.0.2.7 login").await;
        check(balancer, b"\x20\0\0\x01login", "malformed packet: no PROXY header").await;
        check(balancer, b"", "closed before its PROXY header").await;
        check(balancer, &HEADER[..20], "closed before its PROXY header").await;
        check(peer("[::ffff:192.0.2.7]:999"), HEADER, "10.1.2.3 ").await;
        check(
            other,
            &with_login,
            &format!("198.51.100.7 {}", String::from_utf8_lossy(&with_login)),
        )
        .await;
        check(Peer::Local, b"login", "localhost login").await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_must_say_it_and_does_not_is_told_and_let_go() {
        for said in [&b""[..], b"PROXY TCP4 10", b"nonsense"] {
            let (near, mut far) = duplex(16 * 1024);
            let mut stream = near.into();
            far.write_all(said).await.unwrap();
            let begun = Instant::now();
            let heard = announcers().hear(&mut stream, peer("192.0.2.7:999")).await;
            assert!(matches!(heard, Err(Unheard::TimedOut | Unheard::Malformed(_))), "{heard:?}");
            assert!(begun.elapsed() <= Duration::from_millis(PROXY_HEADER_MS_MAX));
            drop(stream);
            let mut told = Vec::new();
            far.read_to_end(&mut told).await.unwrap();
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(told.contains("must begin with a PROXY header"), "{told}");
        }
    }
}
