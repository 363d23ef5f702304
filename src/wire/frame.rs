//! Headers and chunks: how a payload of any length travels.
//!
//! A reply is not read with this (`reply` walks it without joining its chunks); commands, logins
//! and small setup replies are. Called by `backend`, `client` and everything that builds packets.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html

use super::{Malformed, malformed};
use crate::limits::{PACKET_CHUNK_BYTES_MAX, PACKET_HEADER_BYTES};
use std::borrow::Cow;

/// The four bytes before each chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow, at most [`PACKET_CHUNK_BYTES_MAX`].
    pub len: usize,
    /// Number of the chunk within its command, wrapping.
    pub sequence: u8,
}

impl Header {
    /// The header at the front; `None` while fewer than four bytes are there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence] = *bytes.first_chunk()?;
        Some(Self { len: u32::from_le_bytes([a, b, c, 0]) as usize, sequence })
    }

    /// The header's bytes; a length beyond three bytes is cut, so it must not happen.
    pub fn encode(self) -> [u8; 4] {
        debug_assert!(self.len <= PACKET_CHUNK_BYTES_MAX);
        let [a, b, c, ..] = self.len.to_le_bytes();
        [a, b, c, self.sequence]
    }

    /// The payload goes on in another chunk after this one.
    pub fn continues(self) -> bool {
        self.len == PACKET_CHUNK_BYTES_MAX
    }
}

/// Appends a payload as one or more chunks and returns the sequence number that comes next.
pub fn write_packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) -> u8 {
    let (mut sequence, mut rest) = (sequence, payload);
    loop {
        let len = rest.len().min(PACKET_CHUNK_BYTES_MAX);
        let header = Header { len, sequence };
        let (chunk, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(chunk);
        sequence = sequence.wrapping_add(1);
        rest = left;
        // A payload of exactly one full chunk is closed by an empty one.
        if !header.continues() {
            return sequence;
        }
    }
}

/// Appends a packet whose payload `build` appends, with no copy unless it is longer than a chunk;
/// returns the sequence number that comes next.
pub fn build_packet(out: &mut Vec<u8>, sequence: u8, build: impl FnOnce(&mut Vec<u8>)) -> u8 {
    let start = out.len();
    out.extend_from_slice(&[0; PACKET_HEADER_BYTES]);
    let payload_start = out.len();
    build(out);
    let len = out.len().saturating_sub(payload_start);
    if len >= PACKET_CHUNK_BYTES_MAX {
        let payload = out.split_off(payload_start);
        out.truncate(start);
        return write_packet(out, sequence, &payload);
    }
    let header = Header { len, sequence }.encode();
    out.iter_mut().skip(start).zip(header).for_each(|(to, from)| *to = from);
    sequence.wrapping_add(1)
}

/// One whole payload, its chunks joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sequence number of the last chunk.
    pub sequence: u8,
    /// The payload; borrowed unless it came in several chunks.
    pub payload: Cow<'a, [u8]>,
    /// Bytes it took from the front, headers included.
    pub consumed: usize,
}

/// The whole packet at the front, or `None` while it is not complete.
///
/// One that says it is longer than `payload_max` is refused by its header alone, before anyone
/// gathers its bytes.
pub fn read_packet(bytes: &[u8], payload_max: usize) -> Result<Option<Packet<'_>>, Malformed> {
    let (mut consumed, mut total, mut chunks) = (0_usize, 0_usize, 0_usize);
    let mut last: Option<Header> = None;
    loop {
        let rest = bytes.get(consumed..).unwrap_or_default();
        let Some(header) = Header::parse(rest) else { return Ok(None) };
        if last.is_some_and(|last| last.sequence.wrapping_add(1) != header.sequence) {
            return malformed("chunks out of order");
        }
        total = total.saturating_add(header.len);
        if total > payload_max {
            return malformed("packet longer than allowed");
        }
        let size = header.len.saturating_add(PACKET_HEADER_BYTES);
        if rest.len() < size {
            return Ok(None);
        }
        consumed = consumed.saturating_add(size);
        chunks = chunks.saturating_add(1);
        last = Some(header);
        if !header.continues() {
            let whole = bytes.get(..consumed).unwrap_or_default();
            let payload = join(whole, chunks, total);
            return Ok(Some(Packet { sequence: header.sequence, payload, consumed }));
        }
    }
}

fn join(whole: &[u8], chunks: usize, total: usize) -> Cow<'_, [u8]> {
    if chunks == 1 {
        return Cow::Borrowed(whole.get(PACKET_HEADER_BYTES..).unwrap_or_default());
    }
    let stride = PACKET_CHUNK_BYTES_MAX.saturating_add(PACKET_HEADER_BYTES);
    let mut joined = Vec::with_capacity(total);
    for chunk in whole.chunks(stride) {
        joined.extend_from_slice(chunk.get(PACKET_HEADER_BYTES..).unwrap_or_default());
    }
    Cow::Owned(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_goes_there_and_back() {
        fn check(len: usize, chunks: u8) {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut out = Vec::new();
            let next = write_packet(&mut out, 250, &payload);
            assert_eq!(next, 250_u8.wrapping_add(chunks), "{len}");
            let mut built = Vec::new();
            assert_eq!(build_packet(&mut built, 250, |out| out.extend_from_slice(&payload)), next);
            assert!(built == out, "{len}");
            out.push(99);
            let packet = read_packet(&out, len).unwrap().unwrap();
            assert_eq!(packet.sequence, next.wrapping_sub(1));
            assert_eq!(packet.consumed, out.len() - 1);
            assert!(packet.payload == payload, "{len}");
            for end in [0, 3, 4, out.len() - 2].into_iter().filter(|end| *end < out.len() - 1) {
                assert_eq!(read_packet(&out[..end], len), Ok(None), "{len} cut at {end}");
            }
            if len > 0 {
                assert!(read_packet(&out, len - 1).is_err(), "{len} is over the limit");
            }
        }
        check(0, 1);
        check(1, 1);
        check(0xff_fffe, 1);
        check(0xff_ffff, 2);
        check(0x100_0000, 2);
        check(0xff_ffff * 2, 3);
    }

    #[test]
    fn a_long_packet_is_refused_by_its_header() {
        assert_eq!(
            read_packet(&[0xff, 0xff, 0xff, 0], 65_536),
            malformed("packet longer than allowed")
        );
    }

    #[test]
    fn chunks_keep_their_order() {
        let mut out = Vec::new();
        write_packet(&mut out, 0, &vec![7; 0xff_ffff]);
        let at = out.len() - 1;
        out[at] = 9;
        assert_eq!(read_packet(&out, usize::MAX), malformed("chunks out of order"));
    }
}
