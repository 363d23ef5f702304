//! A reader over one payload, and the writers that mirror it.
//!
//! It never reads past its bytes and never copies. Not a framer: see `frame` for headers.
//! Called by every parser of `wire`, and by `binlog` readers.

use super::{Malformed, malformed};

/// Reads a payload from its front to its end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A cursor at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(*taken)
            }
            None => malformed("payload ends early"),
        }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Two bytes, little endian, as all numbers here.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_le_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, Malformed> {
        self.take::<3>().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    /// A number that says its own length.
    // page_protocol_basic_dt_integers.html
    pub fn lenenc(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.u24().map(u64::from),
            0xfe => self.u64(),
            0xfb | 0xff => malformed("NULL or ERR where a number must stand"),
        }
    }

    /// Bytes that are preceded by their length.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match usize::try_from(self.lenenc()?) {
            Ok(len) => self.bytes(len),
            Err(_) => malformed("payload ends early"),
        }
    }

    /// Bytes up to a NUL, which is taken too.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = memchr::memchr(0, self.bytes);
        match end.and_then(|end| self.bytes.split_at_checked(end)) {
            Some((text, rest)) => {
                self.bytes = rest.get(1..).unwrap_or_default();
                Ok(text)
            }
            None => malformed("text without its closing NUL"),
        }
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        match self.bytes.split_at_checked(len) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => malformed("payload ends early"),
        }
    }

    /// All that is left; the cursor is empty afterwards.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }
}

/// Appends two bytes.
pub fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends the lower three bytes.
pub fn put_u24(out: &mut Vec<u8>, number: u32) {
    let [a, b, c, _] = number.to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// Appends four bytes.
pub fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends eight bytes.
pub fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a number in its shortest self-describing form.
pub fn put_lenenc(out: &mut Vec<u8>, number: u64) {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    match number {
        0..=0xfa => out.push(a),
        0xfb..=0xffff => out.extend_from_slice(&[0xfc, a, b]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[0xfd, a, b, c]),
        _ => out.extend_from_slice(&[0xfe, a, b, c, d, e, f, g, h]),
    }
}

/// Appends bytes preceded by their length.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends bytes and a closing NUL; what stands behind a NUL inside them is left out, lest it be
/// read as the next field.
pub fn put_nul_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    out.extend_from_slice(bytes.get(..end).unwrap_or_default());
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_say_their_length_go_there_and_back() {
        fn check(number: u64, bytes: &[u8]) {
            let mut out = Vec::new();
            put_lenenc(&mut out, number);
            assert_eq!(out, bytes, "{number}");
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.lenenc(), Ok(number));
            assert_eq!(cursor.remaining(), 0);
            for end in 0..out.len() {
                assert!(Cursor::new(&out[..end]).lenenc().is_err(), "{number} cut at {end}");
            }
        }
        check(0, &[0]);
        check(250, &[250]);
        check(251, &[0xfc, 251, 0]);
        check(0xffff, &[0xfc, 0xff, 0xff]);
        check(0x1_0000, &[0xfd, 0, 0, 1]);
        check(0xff_ffff, &[0xfd, 0xff, 0xff, 0xff]);
        check(0x100_0000, &[0xfe, 0, 0, 0, 1, 0, 0, 0, 0]);
        check(u64::MAX, &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert!(Cursor::new(&[0xfb]).lenenc().is_err());
        assert!(Cursor::new(&[0xff]).lenenc().is_err());
    }

    #[test]
    fn reads_end_where_the_payload_ends() {
        let mut cursor = Cursor::new(b"abc\0\x02xyz");
        assert_eq!(cursor.nul_bytes(), Ok(&b"abc"[..]));
        assert_eq!(cursor.peek(), Some(2));
        assert_eq!(cursor.lenenc_bytes(), Ok(&b"xy"[..]));
        assert!(cursor.nul_bytes().is_err());
        assert!(cursor.u16().is_err());
        assert!(cursor.bytes(2).is_err());
        assert_eq!(cursor.rest(), b"z");
        assert_eq!((cursor.peek(), cursor.remaining()), (None, 0));
        assert!(
            Cursor::new(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255]).lenenc_bytes().is_err()
        );
    }

    #[test]
    fn fixed_numbers_go_there_and_back() {
        let mut out = Vec::new();
        put_u16(&mut out, 0x0102);
        put_u24(&mut out, 0x03_0405);
        put_u32(&mut out, 0x0607_0809);
        put_u64(&mut out, 10);
        put_nul_bytes(&mut out, b"a\0b");
        put_lenenc_bytes(&mut out, b"xy");
        let mut cursor = Cursor::new(&out);
        assert_eq!(cursor.u16(), Ok(0x0102));
        assert_eq!(cursor.u24(), Ok(0x03_0405));
        assert_eq!(cursor.u32(), Ok(0x0607_0809));
        assert_eq!(cursor.u64(), Ok(10));
        assert_eq!(cursor.rest(), b"a\0\x02xy");
    }
}
