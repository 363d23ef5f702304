//! The bytes of a dump become events, one at a time. Of a very long one only the beginning is kept.
//!
//! Neither events nor their order are understood here: `wire::binlog` does that, `follow` asks.

use crate::limits;
use crate::wire::Malformed;
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::Header;

/// What was read and not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Bytes as they came; those before `at` were taken.
    pub(super) unread: Vec<u8>,
    at: usize,
    /// The packet that is being put together, as far as it is kept.
    packet: Vec<u8>,
    /// Of the chunk that it goes on in: how many bytes are to come, and whether it is the last.
    chunk: Option<(usize, bool)>,
    is_whole: bool,
}

/// Why a dump has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The server says why.
    #[error("{0}")]
    Refused(ErrPacket),
    /// The server says nothing more.
    #[error("the server has ended it")]
    Closed,
    /// It makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Larger buffers are given back.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// The byte that stands before each event.
const GOOD: u8 = 0;

impl Intake {
    /// The next event; `None` while not all of it was read. It may be cut.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Ended> {
        if std::mem::take(&mut self.is_whole) {
            self.packet.clear();
            self.packet.shrink_to(KEPT_BYTES_MAX);
        }
        while !self.is_whole {
            let rest = self.unread.get(self.at..).unwrap_or_default();
            let Some((left, is_last)) = self.chunk else {
                let Some(header) = Header::parse(rest) else {
                    self.forget_taken();
                    return Ok(None);
                };
                self.at = self.at.saturating_add(limits::PACKET_HEADER_BYTES);
                self.chunk = Some((header.len, !header.continues()));
                continue;
            };
            let taken = rest.get(..left).unwrap_or(rest);
            let room = (limits::BINLOG_EVENT_BYTES_MAX + 1).saturating_sub(self.packet.len());
            self.packet.extend_from_slice(taken.get(..room).unwrap_or(taken));
            let count = taken.len();
            self.at = self.at.saturating_add(count);
            if count < left {
                self.chunk = Some((left - count, is_last));
                self.forget_taken();
                return Ok(None);
            }
            self.chunk = None;
            self.is_whole = is_last;
        }
        match self.packet.split_first() {
            Some((&GOOD, event)) => Ok(Some(event)),
            Some((0xff, _)) => Err(Ended::Refused(ErrPacket::parse(&self.packet)?)),
            Some((0xfe, _)) => Err(Ended::Closed),
            _ => Err(Malformed { what: "neither an event nor its end" }.into()),
        }
    }

    fn forget_taken(&mut self) {
        self.unread.drain(..self.at.min(self.unread.len()));
        self.unread.shrink_to(KEPT_BYTES_MAX);
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::write_packet;

    /// The lengths of the events in these packets, however they are cut.
    fn check(lengths: &[usize], expected: &[usize]) {
        let mut bytes = Vec::new();
        let mut sequence = 1;
        for len in lengths {
            let mut payload = vec![7; len + 1];
            payload[0] = GOOD;
            sequence = write_packet(&mut bytes, sequence, &payload);
        }
        for step in [1 << 20, 65_521, 3] {
            if bytes.len() / step > 100_000 {
                continue;
            }
            let (mut intake, mut seen) = (Intake::default(), Vec::new());
            for piece in bytes.chunks(step) {
                intake.unread.extend_from_slice(piece);
                while let Some(event) = intake.next().unwrap() {
                    assert!(event.iter().all(|byte| *byte == 7));
                    seen.push(event.len());
                }
                assert!(intake.packet.len() <= limits::BINLOG_EVENT_BYTES_MAX + 1);
            }
            assert_eq!(seen, expected, "steps of {step}");
            assert!(intake.unread.is_empty());
        }
    }

    #[test]
    fn events_come_whole_or_cut() {
        const MOST: usize = limits::BINLOG_EVENT_BYTES_MAX;
        check(&[0, 1, 30, 0], &[0, 1, 30, 0]);
        check(&[MOST, MOST + 1, 5], &[MOST, MOST, 5]);
        // In two chunks, and in one that is full and one that is empty.
        check(&[0x100_0000, 5], &[MOST, 5]);
        check(&[0xff_fffe, 5], &[MOST, 5]);
    }

    #[test]
    fn the_end_is_told() {
        fn check(payload: &[u8], expected: &str) {
            let mut intake = Intake::default();
            write_packet(&mut intake.unread, 1, payload);
            assert!(intake.next().unwrap_err().to_string().contains(expected), "{payload:?}");
        }
        check(b"\xfe\0\0\x02\0", "ended");
        check(b"\xff\xd4\x04#HY000no", "1236");
        check(b"", "neither");
        check(b"\x01", "neither");
    }
}
