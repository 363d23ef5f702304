//! ERR packets: an error number, five characters of state, and a text.
//!
//! Which error is to be said when is decided elsewhere. Called by everything that answers.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html

use super::cursor::{Cursor, put_u16};
use super::frame::build_packet;
use super::{Malformed, malformed};

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({}): {}", String::from_utf8_lossy(state), String::from_utf8_lossy(message))]
pub struct Err {
    /// The server's number of it.
    pub code: u16,
    /// SQLSTATE.
    pub state: [u8; 5],
    /// The text, in whatever character set the connection had.
    pub message: Vec<u8>,
}

/// ER_MUST_CHANGE_PASSWORD: the password expired, and nothing may be done but change it.
pub const MUST_CHANGE_PASSWORD: u16 = 1820;

impl Err {
    /// An error of our own.
    pub fn new(code: u16, state: &[u8; 5], message: impl Into<Vec<u8>>) -> Self {
        Self { code, state: *state, message: message.into() }
    }

    /// Reads the payload. Before a login a server may leave the state out: it is `HY000` then.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8() != Ok(0xff) {
            return malformed("not an ERR packet");
        }
        let code = cursor.u16()?;
        let rest = cursor.rest();
        let (state, message) = match rest.split_first_chunk::<6>() {
            Some(([b'#', state @ ..], message)) => (*state, message),
            _ => (*b"HY000", rest),
        };
        Ok(Self { code, state, message: message.to_vec() })
    }

    /// Appends the payload alone.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(0xff);
        put_u16(out, self.code);
        out.push(b'#');
        out.extend_from_slice(&self.state);
        out.extend_from_slice(&self.message);
    }

    /// Appends the packet and returns the sequence number that comes next.
    pub fn write(&self, out: &mut Vec<u8>, sequence: u8) -> u8 {
        build_packet(out, sequence, |out| self.encode(out))
    }

    /// Appends the packet as it must be in place of a greeting: without the state, since nothing
    /// has been agreed on yet.
    pub fn write_as_greeting(&self, out: &mut Vec<u8>) {
        build_packet(out, 0, |out| {
            out.push(0xff);
            put_u16(out, self.code);
            out.extend_from_slice(&self.message);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let err = Err::new(1045, b"28000", "Access denied");
        let mut out = Vec::new();
        assert_eq!(err.write(&mut out, 2), 3);
        assert_eq!(out, b"\x16\0\0\x02\xff\x15\x04#28000Access denied");
        assert_eq!(Err::parse(&out[4..]), Ok(err.clone()));
        assert_eq!(err.to_string(), "1045 (28000): Access denied");
        let mut out = Vec::new();
        err.write_as_greeting(&mut out);
        assert_eq!(Err::parse(&out[4..]).unwrap().state, *b"HY000");
    }

    #[test]
    fn shapes() {
        fn check(payload: &[u8], expected: Option<(u16, &[u8; 5], &str)>) {
            let expected = expected.map(|(code, state, text)| Err::new(code, state, text));
            assert_eq!(Err::parse(payload).ok(), expected, "{payload:?}");
        }
        check(b"\xff\x10\x04Too many connections", Some((1040, b"HY000", "Too many connections")));
        check(b"\xff\x10\x04", Some((1040, b"HY000", "")));
        check(b"\xff\x10\x04#0800", Some((1040, b"HY000", "#0800")));
        check(b"\xff\x10\x04#08004", Some((1040, b"08004", "")));
        check(b"\xff\x10", None);
        check(b"\0\0\0", None);
        check(b"", None);
    }
}
