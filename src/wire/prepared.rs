//! The head of COM_STMT_EXECUTE, read and written anew, and COM_STMT_SEND_LONG_DATA.
//!
//! A client names the types of its parameters once; a server that has not heard them, because
//! another one did, must be told again. Values are never looked at. Called by `client`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_send_long_data.html

use super::Malformed;
use super::cursor::{Cursor, put_u16, put_u32};
use super::frame::write_packet;

const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
/// The command's byte, the id, the flags, the iteration count.
const FIXED_BYTES: usize = 1 + 4 + 1 + 4;
/// The command's byte, the id, the parameter's number.
pub const LONG_DATA_HEAD_BYTES: usize = 1 + 4 + 2;

/// What stands in an EXECUTE in front of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecuteHead<'a> {
    /// The kind of cursor that is asked for; 0 for none.
    pub flags: u8,
    /// Always 1.
    pub iterations: u32,
    /// A bit for each parameter that is NULL.
    pub nulls: &'a [u8],
    /// Two bytes for each parameter; none: as they were the last time.
    pub types: Option<&'a [u8]>,
}

impl<'a> ExecuteHead<'a> {
    /// Reads the head of what stands after the id, and gives the values, as far as they are there.
    pub fn parse(body: &'a [u8], params: u16) -> Result<(Self, &'a [u8]), Malformed> {
        let mut cursor = Cursor::new(body);
        let (flags, iterations) = (cursor.u8()?, cursor.u32()?);
        if params == 0 {
            return Ok((Self { flags, iterations, nulls: &[], types: None }, cursor.rest()));
        }
        let nulls = cursor.bytes(null_bytes(params))?;
        let types = match cursor.u8()? {
            0 => None,
            _ => Some(cursor.bytes(type_bytes(params))?),
        };
        Ok((Self { flags, iterations, nulls, types }, cursor.rest()))
    }

    /// Appends the payload up to the values, for a server that knows the statement as `id`.
    pub fn write(&self, out: &mut Vec<u8>, id: u32) {
        out.push(COM_STMT_EXECUTE);
        put_u32(out, id);
        out.push(self.flags);
        put_u32(out, self.iterations);
        if self.nulls.is_empty() {
            return;
        }
        out.extend_from_slice(self.nulls);
        out.push(u8::from(self.types.is_some()));
        out.extend_from_slice(self.types.unwrap_or_default());
    }
}

/// Bytes of a payload that are enough to read its head.
#[must_use]
pub fn head_bytes_max(params: u16) -> usize {
    match params {
        0 => FIXED_BYTES,
        _ => FIXED_BYTES
            .saturating_add(null_bytes(params))
            .saturating_add(type_bytes(params))
            .saturating_add(1),
    }
}

fn null_bytes(params: u16) -> usize {
    usize::from(params).div_ceil(8)
}

fn type_bytes(params: u16) -> usize {
    usize::from(params).saturating_mul(2)
}

/// Appends a piece of a long parameter, header and all.
pub fn put_long_data(out: &mut Vec<u8>, id: u32, param: u16, data: &[u8]) {
    let mut payload = Vec::with_capacity(data.len().saturating_add(LONG_DATA_HEAD_BYTES));
    payload.push(COM_STMT_SEND_LONG_DATA);
    put_u32(&mut payload, id);
    put_u16(&mut payload, param);
    payload.extend_from_slice(data);
    write_packet(out, 0, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An EXECUTE as a client writes it, after the id.
    fn body(flags: u8, nulls: &[u8], types: Option<&[u8]>, values: &[u8]) -> Vec<u8> {
        let mut body = vec![flags, 1, 0, 0, 0];
        if !nulls.is_empty() {
            body.extend_from_slice(nulls);
            body.push(u8::from(types.is_some()));
            body.extend_from_slice(types.unwrap_or_default());
        }
        body.extend_from_slice(values);
        body
    }

    #[test]
    fn heads_are_read_and_written_anew() {
        fn check(params: u16, nulls: &[u8], types: Option<&[u8]>, told: &[u8], expected: &[u8]) {
            let body = body(0, nulls, types, b"values");
            let (head, values) = ExecuteHead::parse(&body, params).unwrap();
            assert_eq!((head.types, values), (types, &b"values"[..]));
            let mut out = Vec::new();
            let types = head.types.or((!told.is_empty()).then_some(told));
            ExecuteHead { types, ..head }.write(&mut out, 0x0102_0304);
            assert_eq!(out, [&b"\x17\x04\x03\x02\x01\0\x01\0\0\0"[..], expected].concat());
        }
        check(0, b"", None, b"", b"");
        check(1, b"\0", Some(b"\x03\0"), b"", b"\0\x01\x03\0");
        check(1, b"\0", None, b"\x03\0", b"\0\x01\x03\0");
        check(1, b"\x01", None, b"", b"\x01\0");
        check(9, b"\0\x01", None, &[8; 18], &[&b"\0\x01\x01"[..], &[8; 18]].concat());
    }

    #[test]
    fn half_heads_are_refused() {
        let whole = body(1, b"\0", Some(b"\x03\0"), b"");
        for end in 0..whole.len() {
            assert!(ExecuteHead::parse(&whole[..end], 1).is_err(), "cut at {end}");
        }
        assert_eq!(ExecuteHead::parse(&whole, 1).unwrap().0.flags, 1);
        assert!(whole.len() + 5 <= head_bytes_max(1));
    }

    /// Whatever was written is read back, whatever the bytes are nothing panics, and the second
    /// telling of the types changes nothing but that they are told.
    #[test]
    fn what_is_written_is_read_back() {
        let mut state = 11_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2000 {
            let params = (next() % 41) as u16;
            let mut bytes = |len: usize| (0..len).map(|_| next() as u8).collect::<Vec<u8>>();
            let (nulls, types) = (bytes(null_bytes(params)), bytes(type_bytes(params)));
            let values = bytes(9);
            let told = (params.is_multiple_of(3) && params > 0).then_some(&types[..]);
            let original = body(0, &nulls, told, &values);
            let (head, rest) = ExecuteHead::parse(&original, params).unwrap();
            assert_eq!((head.nulls, head.types, rest), (&nulls[..], told, &values[..]));
            let mut out = Vec::new();
            let again = (params > 0).then_some(&types[..]);
            ExecuteHead { types: again, ..head }.write(&mut out, 7);
            assert!(out.len() <= head_bytes_max(params));
            out.extend_from_slice(rest);
            let (read, rest) = ExecuteHead::parse(&out[5..], params).unwrap();
            assert_eq!((read.nulls, read.types, rest), (&nulls[..], again, &values[..]));
            // Noise, cut anywhere.
            let noise = bytes(usize::from(params));
            let _parsed = ExecuteHead::parse(&noise, params);
        }
    }

    #[test]
    fn long_data_is_one_packet() {
        let mut out = Vec::new();
        put_long_data(&mut out, 3, 1, b"xy");
        assert_eq!(out, b"\x09\0\0\0\x18\x03\0\0\0\x01\0xy");
    }
}
