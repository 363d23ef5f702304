//! The hot path: whole packets in a row that need no look inside.
//!
//! Two passes over a slab, both by headers: one to see how far the plain packets reach, one to
//! number the copy anew when the client counts differently. Called by the walker alone.

use crate::limits::{PACKET_CHUNK_BYTES_MAX, PACKET_HEADER_BYTES};

/// Plain packets at the front of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// What they take, headers included.
    pub(super) bytes: usize,
    /// How many they are.
    pub(super) packets: u64,
}

/// How far whole packets reach that are neither empty, nor full chunks, nor begin like a
/// terminator (0xFE, 0xFF), and that are numbered in order.
pub(super) fn measure(slab: &[u8], sequence: u8, packets_max: u64) -> Run {
    let (mut rest, mut sequence, mut packets) = (slab, sequence, 0_u64);
    while packets < packets_max {
        let Some(&[a, b, c, number, first]) = rest.first_chunk::<5>() else { break };
        // One load for the header: this loop is as fast as the way from one length to the next.
        let len = (u32::from_le_bytes([a, b, c, number]) & 0xff_ffff) as usize;
        let plain = (1..PACKET_CHUNK_BYTES_MAX).contains(&len);
        if first >= 0xfe || number != sequence || !plain {
            break;
        }
        let Some(next) = rest.get(len.wrapping_add(PACKET_HEADER_BYTES)..) else { break };
        rest = next;
        sequence = sequence.wrapping_add(1);
        packets = packets.wrapping_add(1);
    }
    Run { bytes: slab.len().saturating_sub(rest.len()), packets }
}

/// Numbers whole packets anew, from `sequence` on.
pub(super) fn renumber(slab: &mut [u8], sequence: u8) {
    let (mut rest, mut sequence) = (slab, sequence);
    while let Some(([a, b, c, number], payload)) = rest.split_first_chunk_mut::<4>() {
        let len = (u32::from_le_bytes([*a, *b, *c, *number]) & 0xff_ffff) as usize;
        *number = sequence;
        sequence = sequence.wrapping_add(1);
        let Some(next) = payload.get_mut(len..) else { break };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::write_packet;

    fn slab(payloads: &[&[u8]], sequence: u8) -> Vec<u8> {
        let mut out = Vec::new();
        payloads.iter().fold(sequence, |number, payload| write_packet(&mut out, number, payload));
        out
    }

    #[test]
    fn runs_end_before_anything_special() {
        fn check(payloads: &[&[u8]], packets_max: u64, expected: u64) {
            let slab = slab(payloads, 254);
            let run = measure(&slab, 254, packets_max);
            assert_eq!(run.packets, expected, "{payloads:?}");
            let bytes: usize = payloads.iter().take(expected as usize).map(|it| it.len() + 4).sum();
            assert_eq!(run.bytes, bytes, "{payloads:?}");
        }
        check(&[], 9, 0);
        check(&[b"a", b"bb", b"\0", b"\xfb"], 9, 4);
        check(&[b"a", b"bb", b"\0", b"\xfb"], 2, 2);
        check(&[b"a", b"\xfe", b"b"], 9, 1);
        check(&[b"a", b"\xff12", b"b"], 9, 1);
        check(&[b"a", b"", b"b"], 9, 1);
        check(&[b"a", &[7; 0xff_ffff]], 9, 1);
        let cut = slab(&[b"aaaa", b"bbbb"], 1);
        assert_eq!(measure(&cut[..15], 1, 9).packets, 1);
        assert_eq!(measure(&cut, 2, 9).packets, 0);
    }

    #[test]
    fn only_numbers_change() {
        let payloads: &[&[u8]] = &[b"a", b"bb", b"c"];
        let mut bytes = slab(payloads, 1);
        renumber(&mut bytes, 254);
        assert_eq!(bytes, slab(payloads, 254));
    }
}
