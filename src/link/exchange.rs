//! The packets of a login: one at a time, small, in step, each refused on its header.
//!
//! Not for statements and results, which stream. What was read beyond the last packet is handed
//! back, never dropped: it may be TLS's, or the next command. All buffers here may have held a
//! password and are wiped. `client::greet` and `backend::dial` speak through it; so does the
//! console, whose commands are as small.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::stream::Stream;
use crate::limits::{HANDSHAKE_BYTES_MAX, PACKET_HEADER_BYTES};
use crate::wire::Malformed;
use crate::wire::frame::{Header, write_packet};

/// The state of a login's packets on one stream.
#[derive(Debug)]
pub struct Exchange {
    unread: Zeroizing<Vec<u8>>,
    sequence: u8,
    peer_counts: bool,
}

impl Exchange {
    /// With a client: a packet out of its order is refused.
    pub fn with_client() -> Exchange {
        Exchange { unread: Zeroizing::default(), sequence: 0, peer_counts: false }
    }

    /// With a server: it says which number comes next, since errors may come out of order.
    pub fn with_server() -> Exchange {
        Exchange { peer_counts: true, ..Exchange::with_client() }
    }

    /// Goes on in the middle of a conversation: with the next number to use, and with what was
    /// read too far.
    pub fn resume(sequence: u8, unread: Vec<u8>) -> Exchange {
        Exchange { unread: Zeroizing::new(unread), sequence, peer_counts: false }
    }

    /// Reads one packet's payload.
    pub async fn read(&mut self, stream: &mut Stream) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        loop {
            if let Some(payload) = self.take()? {
                return Ok(payload);
            }
            self.make_room();
            if stream.read_buf(&mut *self.unread).await? == 0 {
                return Err(ExchangeError::Closed);
            }
        }
    }

    /// Sends what a function writes; it is given the number to begin with and returns the next.
    pub async fn send(
        &mut self,
        stream: &mut Stream,
        write: impl FnOnce(&mut Vec<u8>, u8) -> u8,
    ) -> io::Result<()> {
        let mut out = Zeroizing::new(Vec::with_capacity(READ_BYTES));
        self.sequence = write(&mut out, self.sequence);
        stream.write_all(&out).await?;
        stream.flush().await
    }

    /// Sends a payload as one packet.
    pub async fn send_payload(&mut self, stream: &mut Stream, payload: &[u8]) -> io::Result<()> {
        self.send(stream, |out, sequence| write_packet(out, sequence, payload)).await
    }

    /// What was read beyond the last packet, which is then no longer here.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.unread)
    }

    /// The number that the next packet carries.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// The payload at the front, if all of it is there.
    fn take(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ExchangeError> {
        let Some(header) = Header::parse(&self.unread) else { return Ok(None) };
        if header.len > HANDSHAKE_BYTES_MAX {
            return Err(ExchangeError::TooLong);
        }
        if !self.peer_counts && header.sequence != self.sequence {
            return Err(ExchangeError::OutOfOrder);
        }
        let end = PACKET_HEADER_BYTES.saturating_add(header.len);
        let Some(payload) = self.unread.get(PACKET_HEADER_BYTES..end) else { return Ok(None) };
        let payload = Zeroizing::new(payload.to_vec());
        self.unread.drain(..end);
        self.sequence = header.sequence.wrapping_add(1);
        Ok(Some(payload))
    }

    /// Grows by hand, so that no copy that was outgrown is left behind unwiped.
    fn make_room(&mut self) {
        let spare = self.unread.capacity().saturating_sub(self.unread.len());
        if spare < READ_BYTES / 2 {
            let capacity = self.unread.capacity().saturating_mul(2).max(READ_BYTES);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.unread);
            self.unread = larger;
        }
    }
}

/// Why a login's packets stopped making sense.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The other side is gone.
    #[error("closed in the middle of a login")]
    Closed,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A header announced more than a login ever needs.
    #[error("a login packet of more than {HANDSHAKE_BYTES_MAX} bytes")]
    TooLong,
    /// A packet carried another number than the next.
    #[error("packets out of order")]
    OutOfOrder,
    /// The packet cannot be understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A whole login packet of an ordinary client fits in so much.
const READ_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::duplex;
    use tokio::time::timeout;

    use super::*;

    /// What the first reads give: payload sizes, then how it ended.
    async fn check(bytes: &[u8], expected: &str) {
        for chunk in [1, 3, 4096] {
            let (near, mut far) = duplex(256 * 1024);
            for part in bytes.chunks(chunk) {
                far.write_all(part).await.unwrap();
            }
            drop(far);
            let (mut stream, mut exchange) = (near.into(), Exchange::with_client());
            let mut seen = String::new();
            let end = loop {
                match exchange.read(&mut stream).await {
                    Ok(payload) => seen += &format!("{} ", payload.len()),
                    Err(error) => break error,
                }
            };
            let left = exchange.take_unread().len();
            assert_eq!(format!("{seen}{end} {left}"), expected, "in pieces of {chunk}");
        }
    }

    #[tokio::test]
    async fn packets_come_one_by_one_and_nonsense_is_refused_on_its_header() {
        let closed = "closed in the middle of a login";
        check(b"", &format!("{closed} 0")).await;
        check(b"\x02\0\0\0ab\x01\0\0\x01c", &format!("2 1 {closed} 0")).await;
        check(b"\0\0\0\0\0\0\0\x01", &format!("0 0 {closed} 0")).await;
        check(b"\x02\0\0\0a", &format!("{closed} 5")).await;
        check(b"\x02\0\0", &format!("{closed} 3")).await;
        check(b"\x01\0\0\x01a", "packets out of order 5").await;
        let mut long = vec![0x01, 0, 1, 0];
        long.resize(4 + 0x1_0001, 7);
        let (near, mut far) = duplex(4096);
        far.write_all(&long[..4]).await.unwrap();
        let (mut stream, mut exchange) = (near.into(), Exchange::with_client());
        let read = timeout(Duration::from_secs(5), exchange.read(&mut stream)).await;
        assert!(matches!(read, Ok(Err(ExchangeError::TooLong))), "without a byte of it");
        let mut largest = vec![0, 0, 1, 0];
        largest.resize(4 + HANDSHAKE_BYTES_MAX, 7);
        check(&largest, &format!("65536 {closed} 0")).await;
    }
}
