//! Where a text has to be looked at: all that is not a letter, a plain symbol or one blank.
//!
//! Works out 64 bytes at once, so that the words between two literals cost next to nothing. Knows
//! bytes and no SQL: what a stop means is `skim`'s to say, which alone calls this.

/// Bytes that are worked out at once.
const BLOCK: usize = 64;
const LANE: usize = 8;
const EACH: u64 = 0x0101_0101_0101_0101;

/// A text's stops, from one block after another.
pub(super) struct Stops<'a> {
    text: &'a [u8],
    base: usize,
    stops: u64,
}

impl<'a> Stops<'a> {
    pub(super) fn of(text: &'a [u8]) -> Stops<'a> {
        // A block that is behind: the first question brings the right one.
        Stops { text, base: usize::MAX - BLOCK, stops: 0 }
    }

    /// The first stop at `at` or later, or the text's end. `at` never goes back before the block.
    #[inline]
    pub(super) fn next(&mut self, at: usize) -> usize {
        let mut at = at;
        loop {
            let within = at.wrapping_sub(self.base);
            if within < BLOCK {
                let left = self.stops >> within;
                if left != 0 {
                    return (at + left.trailing_zeros() as usize).min(self.text.len());
                }
                at = self.base + BLOCK;
            }
            if at >= self.text.len() {
                return self.text.len();
            }
            // The last block ends with the text, so that it is a whole one too.
            self.base = at.min(self.text.len().saturating_sub(BLOCK));
            self.stops = stops_of(self.text, self.base);
        }
    }
}

const IS_QUIET: u32 = 0;
const IS_BLANK: u32 = 1;

/// A bit for each byte of the block that begins at `base`. Bytes behind the text's end are stops.
fn stops_of(text: &[u8], base: usize) -> u64 {
    let rest = text.get(base..).unwrap_or_default();
    let mut kinds = [0_u8; BLOCK];
    match rest.first_chunk::<BLOCK>() {
        Some(block) => classify(block, &mut kinds),
        None => {
            let mut block = [0_u8; BLOCK];
            if let Some(front) = block.get_mut(..rest.len()) {
                front.copy_from_slice(rest);
            }
            classify(&block, &mut kinds);
        }
    }
    let before = base.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or_default();
    let blank = plane(&kinds, IS_BLANK);
    let second_blank = blank << 1 | u64::from(before == b' ');
    !(plane(&kinds, IS_QUIET) | (blank & !second_blank))
}

/// Without a branch or a table, so that the compiler does many bytes at once.
#[inline]
fn classify(block: &[u8; BLOCK], kinds: &mut [u8; BLOCK]) {
    for (kind, byte) in kinds.iter_mut().zip(block) {
        let letter = ((byte | 0x20).wrapping_sub(b'a') < 26) | (*byte == b'_');
        let mark =
            (*byte == b')') | (*byte == b',') | (*byte == b'.') | (byte.wrapping_sub(b'<') < 3);
        *kind = u8::from(letter | mark) << IS_QUIET | u8::from(*byte == b' ') << IS_BLANK;
    }
}

/// One bit of each byte.
#[inline]
fn plane(kinds: &[u8; BLOCK], bit: u32) -> u64 {
    let mut bits = 0;
    for (number, lane) in kinds.as_chunks::<LANE>().0.iter().enumerate() {
        let lane = u64::from_le_bytes(*lane) >> bit & EACH;
        // Moves the eight bits side by side into the top byte.
        bits |= (lane.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (number * LANE);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_stop(text: &[u8], at: usize) -> bool {
        let byte = text[at];
        let quiet = byte.is_ascii_alphabetic() || b"_),.<=>".contains(&byte);
        let single = byte == b' ' && (at == 0 || text[at - 1] != b' ');
        !(quiet || single)
    }

    fn check(text: &[u8], step: usize) {
        let mut stops = Stops::of(text);
        for from in (0..=text.len()).step_by(step) {
            let expected = (from..text.len()).find(|at| is_stop(text, *at)).unwrap_or(text.len());
            assert_eq!(stops.next(from), expected, "{} from {from}", text.escape_ascii());
        }
    }

    #[test]
    fn stops_are_where_they_are_byte_by_byte() {
        check(b"", 1);
        check(b"SELECT a.b, c FROM t  WHERE (a = 'b')", 1);
        for byte in 0..=u8::MAX {
            for len in [1, 63, 64, 65, 130, 200] {
                let mut text = vec![b'a'; len];
                for at in [0, len / 2, len - 1] {
                    text[at] = byte;
                }
                check(&text, 1);
            }
        }
        // Two blanks on both sides of a block's edge, and questions that skip blocks.
        for at in 60..70 {
            let mut text = vec![b'a'; 300];
            text[at..at + 2].fill(b' ');
            check(&text, 1);
            check(&text, 97);
        }
        assert_eq!(Stops::of(&[b' '; 300]).next(0), 1);
        check(&[b' '; 300], 7);
    }
}
