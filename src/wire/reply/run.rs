//! The hot path: whole packets in a row that need no look inside.
//!
//! One pass over a slab by its headers: over the original to see how far plain packets reach, or
//! over the copy to number it anew as well. Called by the walker alone.

use crate::limits::{PACKET_CHUNK_BYTES_MAX, PACKET_HEADER_BYTES};

/// So much is copied before it is looked at.
const WINDOW_BYTES: usize = 4 * 1024;

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

/// Appends the same packets to `out`, numbered from `ours` on, in one pass over the copy.
///
/// The copy is made before it is known how far it may reach, and cut off there; so it is made in
/// windows, lest a slab full of tiny results be copied over and over.
pub(super) fn append_renumbered(
    slab: &[u8],
    out: &mut Vec<u8>,
    (theirs, ours): (u8, u8),
    packets_max: u64,
) -> Run {
    let (mut rest, mut packets) = (slab, 0_u64);
    let shift = ours.wrapping_sub(theirs);
    while packets < packets_max {
        let (window, _) = rest.split_at_checked(WINDOW_BYTES).unwrap_or((rest, &[]));
        let start = out.len();
        out.extend_from_slice(window);
        let copy = out.get_mut(start..).unwrap_or_default();
        let [counted, ..] = packets.to_le_bytes();
        let left = packets_max.saturating_sub(packets);
        let run = renumber(copy, theirs.wrapping_add(counted), shift, left);
        out.truncate(start.saturating_add(run.bytes));
        packets = packets.saturating_add(run.packets);
        rest = rest.get(run.bytes..).unwrap_or_default();
        if run.packets == 0 {
            break;
        }
    }
    Run { bytes: slab.len().saturating_sub(rest.len()), packets }
}

/// As `measure`, and adds `shift` to the number of every packet it counts.
fn renumber(copy: &mut [u8], sequence: u8, shift: u8, packets_max: u64) -> Run {
    let all = copy.len();
    let (mut rest, mut sequence, mut packets) = (copy, sequence, 0_u64);
    while packets < packets_max {
        let left = rest.len();
        let Some([a, b, c, number, first]) = rest.first_chunk_mut::<5>() else { break };
        let len = (u32::from_le_bytes([*a, *b, *c, *number]) & 0xff_ffff) as usize;
        let plain = (1..PACKET_CHUNK_BYTES_MAX).contains(&len);
        let size = len.wrapping_add(PACKET_HEADER_BYTES);
        if *first >= 0xfe || *number != sequence || !plain || size > left {
            break;
        }
        *number = number.wrapping_add(shift);
        rest = std::mem::take(&mut rest).get_mut(size..).unwrap_or_default();
        sequence = sequence.wrapping_add(1);
        packets = packets.wrapping_add(1);
    }
    Run { bytes: all.saturating_sub(rest.len()), packets }
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
    fn only_numbers_change_and_windows_leave_no_trace() {
        fn check(payloads: &[Vec<u8>], packets_max: u64) {
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let theirs = slab(&payloads, 250);
            let run = measure(&theirs, 250, packets_max);
            let mut out = b"before".to_vec();
            let copied = append_renumbered(&theirs, &mut out, (250, 7), packets_max);
            assert!(copied.packets <= run.packets && copied.bytes <= run.bytes);
            // Only a packet longer than the window is left to the slow way.
            let fits =
                payloads.iter().take(run.packets as usize).all(|it| it.len() + 4 <= WINDOW_BYTES);
            assert_eq!(copied == run, fits);
            let ours = slab(&payloads[..copied.packets as usize], 7);
            assert_eq!(out, [b"before", ours.as_slice()].concat());
        }
        for len in [1, 2, 5, 100, 1000, WINDOW_BYTES - 4, WINDOW_BYTES - 3, WINDOW_BYTES] {
            for count in [0, 1, 2, 700] {
                let mut payloads = vec![vec![7; len]; count];
                check(&payloads, u64::MAX);
                check(&payloads, count as u64 / 2);
                payloads.push(b"\xfe\0\0\x02\0\0\0".to_vec());
                payloads.push(vec![7; 3]);
                check(&payloads, u64::MAX);
            }
        }
    }
}
