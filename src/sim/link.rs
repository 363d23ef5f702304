//! Pipes in memory that cut what is written into pieces and let it wait between them.
//!
//! The proxy holds one end of each; servers and clients of the simulation hold a [`Line`] at the
//! other. A line that is dropped is a connection that was reset. Knows packets' frames only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::random::Random;
use crate::wire::frame::read_packet;

/// What a pipe holds: as much as a socket's buffers would.
pub(super) const PIPE_BYTES: usize = 64 * 1024;
/// More than any packet of the simulation.
const PACKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How badly a line treats what it carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    /// The longest piece.
    pub(super) piece_bytes_max: u64,
    /// The longest wait between two pieces.
    pub(super) wait_ms_max: u64,
    /// How often there is such a wait, of a thousand.
    pub(super) waits: u64,
}

/// One end of a pipe.
pub(super) struct Line {
    stream: DuplexStream,
    unread: Vec<u8>,
    random: Random,
    temper: Temper,
    /// Shared with whoever counts connections.
    closed: Arc<AtomicBool>,
}

impl Line {
    pub(super) fn new(stream: DuplexStream, random: Random, temper: Temper) -> Self {
        Self { stream, unread: Vec::new(), random, temper, closed: Arc::default() }
    }

    /// The next packet: its number and its payload. None: the other side has closed, or speaks
    /// no packets.
    pub(super) async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let found = read_packet(&self.unread, PACKET_BYTES_MAX).ok()?;
            if let Some(packet) = found {
                let (number, consumed) = (packet.sequence, packet.consumed);
                let payload = packet.payload.into_owned();
                self.unread.drain(..consumed);
                return Some((number, payload));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Takes whatever has come, waiting for at least one byte. Empty: the other side has closed.
    pub(super) async fn bytes(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.fill().await;
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads one piece. False: there will be no more. Cancel-safe.
    async fn fill(&mut self) -> bool {
        let len = self.random.between(1, self.temper.piece_bytes_max);
        let read = (&mut self.stream).take(len).read_buf(&mut self.unread).await;
        let is_open = matches!(read, Ok(len) if len > 0);
        self.closed.store(!is_open, Ordering::Relaxed);
        is_open
    }

    /// Lets time pass, hearing meanwhile whether the other side closes.
    pub(super) async fn pause(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while !self.is_closed() {
            if timeout_at(until, self.fill()).await.is_err() {
                return;
            }
        }
        sleep_until(until).await;
    }

    /// Whether something, or the end, can be read that nobody waits for.
    pub(super) async fn is_talking(&mut self) -> bool {
        !self.unread.is_empty() || timeout(Duration::ZERO, self.fill()).await.is_ok()
    }

    /// The other side has been seen to close.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Becomes true in the moment when the other side is seen to close.
    pub(super) fn closed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.closed)
    }

    /// Writes all of it in pieces. False: the other side has closed.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        // What is long goes in few pieces, or the simulation would do nothing else.
        let pieces_max = 24;
        let least = (bytes.len() / pieces_max).max(1) as u64;
        while !rest.is_empty() {
            let len = self.random.between(least, self.temper.piece_bytes_max.max(least));
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (piece, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            if self.stream.write_all(piece).await.is_err() {
                self.closed.store(true, Ordering::Relaxed);
                return false;
            }
            rest = left;
            if self.random.chance(self.temper.waits) {
                let ms = self.random.between(1, self.temper.wait_ms_max);
                self.pause(ms).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        true
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}
