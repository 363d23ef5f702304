//! The head of COM_STMT_EXECUTE, read and written anew, and COM_STMT_SEND_LONG_DATA.
//!
//! A client names the types of its parameters once; a server that has not heard them, because
//! another one did, must be told again. Query attributes are more values behind the parameters',
//! each with a name. Values are never looked at. Called by `client`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_send_long_data.html

use std::borrow::Cow;

use super::attributes::{named_types, null_bytes, read_count};
use super::capability::Capabilities;
use super::cursor::{Cursor, put_lenenc, put_u16, put_u32};
use super::frame::write_packet;
use super::{Malformed, malformed};
use crate::limits::ATTRIBUTES_BYTES_MAX;

const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
/// The flag of an EXECUTE that says: the number of values stands there, attributes too.
const PARAMETER_COUNT_AVAILABLE: u8 = 8;
/// The command's byte, the id, the flags, the iteration count.
const FIXED_BYTES: usize = 1 + 4 + 1 + 4;
/// The command's byte, the id, the parameter's number.
pub const LONG_DATA_HEAD_BYTES: usize = 1 + 4 + 2;

/// Whether values have names, and more of them than parameters may follow: query attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Parameters only, by their number.
    Plain,
    /// Both ends agreed on attributes.
    Named,
}

impl Form {
    /// What two ends agreed on.
    #[must_use]
    pub const fn of(capabilities: Capabilities) -> Self {
        match capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
            true => Self::Named,
            false => Self::Plain,
        }
    }
}

/// Whether the flags of an EXECUTE ask for a cursor.
#[must_use]
pub const fn asks_cursor(flags: u8) -> bool {
    flags & !PARAMETER_COUNT_AVAILABLE != 0
}

/// What stands in an EXECUTE in front of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecuteHead<'a> {
    form: Form,
    /// The statement's own parameters; attributes come behind them.
    params: u16,
    /// How many values there are.
    count: u16,
    /// The kind of cursor that is asked for, and whether a count of values is there.
    pub flags: u8,
    /// Always 1.
    pub iterations: u32,
    /// A bit for each value that is NULL.
    nulls: &'a [u8],
    /// Two bytes for each value, and a name if values have them; none: as they were the last time.
    types: Option<Cow<'a, [u8]>>,
}

impl<'a> ExecuteHead<'a> {
    /// Reads the head of what stands after the id, and gives the values, as far as they are there.
    pub fn parse(body: &'a [u8], params: u16, form: Form) -> Result<(Self, &'a [u8]), Malformed> {
        let mut cursor = Cursor::new(body);
        let (flags, iterations) = (cursor.u8()?, cursor.u32()?);
        let is_counted = params > 0 || flags & PARAMETER_COUNT_AVAILABLE != 0;
        let count = match form {
            Form::Named if is_counted => read_count(&mut cursor)?,
            Form::Named | Form::Plain => params,
        };
        if count < params {
            return malformed("fewer values than parameters");
        }
        let (nulls, types) = match count {
            0 => (&[][..], None),
            _ => {
                let nulls = cursor.bytes(null_bytes(count))?;
                let types = match (cursor.u8()?, form) {
                    (0, _) => None,
                    (_, Form::Plain) => Some(cursor.bytes(type_bytes(count))?),
                    (_, Form::Named) => Some(named_types(&mut cursor, count)?),
                };
                (nulls, types.map(Cow::Borrowed))
            }
        };
        if types.is_none() && count > params {
            return malformed("attributes without types");
        }
        Ok((Self { form, params, count, flags, iterations, nulls, types }, cursor.rest()))
    }

    /// The types of the parameters, two bytes each; none: as they were the last time.
    #[must_use]
    pub fn types(&self) -> Option<Cow<'_, [u8]>> {
        let types = self.types.as_deref()?;
        Some(match self.form {
            Form::Plain => Cow::Borrowed(types),
            Form::Named => Cow::Owned(without_names(types, self.params)),
        })
    }

    /// The same for a server with which another form was agreed on, which does not get the
    /// attributes then; and with these types, if it has none.
    #[must_use]
    pub fn retold(self, types: &'a [u8], form: Form) -> Self {
        if self.form == form && self.is_told() {
            return self;
        }
        let plain = match (self.types, self.form) {
            (Some(types), Form::Plain) => types,
            (Some(types), Form::Named) => Cow::Owned(without_names(&types, self.params)),
            (None, _) => Cow::Borrowed(types),
        };
        let types = match form {
            Form::Plain => plain,
            Form::Named => Cow::Owned(with_no_names(&plain)),
        };
        Self {
            form,
            count: self.params,
            flags: self.flags & !PARAMETER_COUNT_AVAILABLE,
            nulls: self.nulls.get(..null_bytes(self.params)).unwrap_or_default(),
            types: (self.params > 0).then_some(types),
            ..self
        }
    }

    /// Whether it tells the types of its parameters, or has none.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.types.is_some() || self.params == 0
    }

    /// Appends the payload up to the values, for a server that knows the statement as `id`.
    pub fn write(&self, out: &mut Vec<u8>, id: u32) {
        out.push(COM_STMT_EXECUTE);
        put_u32(out, id);
        out.push(self.flags);
        put_u32(out, self.iterations);
        let is_counted = self.count > 0 || self.flags & PARAMETER_COUNT_AVAILABLE != 0;
        if self.form == Form::Named && is_counted {
            put_lenenc(out, self.count.into());
        }
        if self.count == 0 {
            return;
        }
        out.extend_from_slice(self.nulls);
        out.push(u8::from(self.types.is_some()));
        out.extend_from_slice(self.types.as_deref().unwrap_or_default());
    }
}

/// Bytes of a payload that are enough to read its head, unless it names more than is let through.
#[must_use]
pub fn head_bytes_max(params: u16, form: Form) -> usize {
    let names = match form {
        Form::Plain => 0,
        Form::Named => usize::from(params).saturating_add(ATTRIBUTES_BYTES_MAX),
    };
    let types = match params {
        0 => 0,
        _ => null_bytes(params).saturating_add(type_bytes(params)).saturating_add(1),
    };
    FIXED_BYTES.saturating_add(types).saturating_add(names)
}

fn without_names(types: &[u8], params: u16) -> Vec<u8> {
    let (mut cursor, mut plain) = (Cursor::new(types), Vec::with_capacity(type_bytes(params)));
    for _ in 0..params {
        let Ok(kind) = cursor.u16() else { break };
        put_u16(&mut plain, kind);
        let _name = cursor.lenenc_bytes();
    }
    plain
}

fn with_no_names(types: &[u8]) -> Vec<u8> {
    types.chunks(2).flat_map(|kind| kind.iter().chain(&[0])).copied().collect()
}

fn type_bytes(count: u16) -> usize {
    usize::from(count).saturating_mul(2)
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
            let (head, values) = ExecuteHead::parse(&body, params, Form::Plain).unwrap();
            assert_eq!((head.types().as_deref(), values), (types, &b"values"[..]));
            assert_eq!(head.is_told(), types.is_some() || params == 0);
            let mut out = Vec::new();
            let head = if told.is_empty() { head } else { head.retold(told, Form::Plain) };
            head.write(&mut out, 0x0102_0304);
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
            assert!(ExecuteHead::parse(&whole[..end], 1, Form::Plain).is_err(), "cut at {end}");
        }
        assert_eq!(ExecuteHead::parse(&whole, 1, Form::Plain).unwrap().0.flags, 1);
        assert!(whole.len() + 5 <= head_bytes_max(1, Form::Plain));
        let whole = b"\x08\x01\0\0\0\x02\0\x01\x03\0\0\xfe\0\x01n";
        for end in 0..whole.len() {
            assert!(ExecuteHead::parse(&whole[..end], 1, Form::Named).is_err(), "cut at {end}");
        }
        // Fewer values than parameters, too many, or more of them without types.
        for body in [&b"\0\x01\0\0\0\0"[..], b"\0\x01\0\0\0\xfd\0\0\x01", b"\0\x01\0\0\0\x02\0\0"] {
            let body = [body, &[0; 99]].concat();
            assert!(ExecuteHead::parse(&body, 1, Form::Named).is_err(), "{body:?}");
        }
    }

    /// What a client sends that agreed on attributes, and what it becomes for a server.
    #[test]
    fn values_with_names() {
        #[track_caller]
        fn check(params: u16, sent: &[u8], told: &[u8], form: Form, expected: &[u8]) {
            let sent = [sent, b"values"].concat();
            let (head, values) = ExecuteHead::parse(&sent, params, Named).unwrap();
            assert_eq!(values, b"values");
            let mut out = Vec::new();
            head.retold(told, form).write(&mut out, 7);
            assert_eq!(out, [b"\x17\x07\0\0\0", expected].concat());
        }
        use Form::{Named, Plain};
        const INT: &[u8] = b"\x03\0";
        // None, without the count and with it; neither is another server's matter.
        check(0, b"\0\x01\0\0\0", b"", Named, b"\0\x01\0\0\0");
        check(0, b"\x08\x01\0\0\0\0", b"", Named, b"\x08\x01\0\0\0\0");
        check(0, b"\x08\x01\0\0\0\0", b"", Plain, b"\0\x01\0\0\0");
        // An attribute alone.
        let alone = b"\x08\x01\0\0\0\x01\0\x01\xfe\0\x01n";
        check(0, alone, b"", Named, alone);
        check(0, alone, b"", Plain, b"\0\x01\0\0\0");
        // A parameter, its type told and not told.
        let told = b"\x09\x01\0\0\0\x01\0\x01\x03\0\0";
        check(1, told, INT, Named, told);
        check(1, told, INT, Plain, b"\x01\x01\0\0\0\0\x01\x03\0");
        let again = b"\0\x01\0\0\0\x01\x01\0";
        check(1, again, INT, Named, b"\0\x01\0\0\0\x01\x01\x01\x03\0\0");
        check(1, again, INT, Plain, b"\0\x01\0\0\0\x01\x01\x03\0");
        // Both; bits of attributes that are NULL go with them.
        let both =
            b"\x08\x01\0\0\0\x09\0\x01\x01\x03\0\0\xfe\0\x01a\xfe\0\x01b\xfe\0\x01c\xfe\0\x01d\
                     \xfe\0\x01e\xfe\0\x01f\xfe\0\x01g\x06\0\x02hh";
        check(1, both, INT, Named, both);
        check(1, both, INT, Plain, b"\0\x01\0\0\0\0\x01\x03\0");
        let (head, _) = ExecuteHead::parse(both, 1, Named).unwrap();
        assert_eq!(head.types().as_deref(), Some(INT));
        // A server that has attributes, and a client that has not.
        let (head, _) = ExecuteHead::parse(b"\0\x01\0\0\0\0\0", 1, Plain).unwrap();
        let mut out = Vec::new();
        head.retold(INT, Named).write(&mut out, 7);
        assert_eq!(out[5..], *b"\0\x01\0\0\0\x01\0\x01\x03\0\0");
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
            let (head, rest) = ExecuteHead::parse(&original, params, Form::Plain).unwrap();
            assert_eq!((head.types().as_deref(), rest), (told, &values[..]));
            let again = (params > 0).then_some(&types[..]);
            for form in [Form::Plain, Form::Named] {
                let mut out = Vec::new();
                head.clone().retold(&types, form).write(&mut out, 7);
                assert!(out.len() <= head_bytes_max(params, form));
                out.extend_from_slice(rest);
                let (read, rest) = ExecuteHead::parse(&out[5..], params, form).unwrap();
                assert_eq!((read.nulls, read.types().as_deref()), (&nulls[..], again));
                assert_eq!(rest, values);
                // And back.
                let mut back = Vec::new();
                read.retold(&types, Form::Plain).write(&mut back, 7);
                assert_eq!(back[5..], body(0, &nulls, again, b""));
            }
            // Noise, cut anywhere.
            let noise = bytes(usize::from(params));
            let _parsed = ExecuteHead::parse(&noise, params, Form::Plain);
            let _parsed = ExecuteHead::parse(&noise, params, Form::Named);
        }
    }

    #[test]
    fn long_data_is_one_packet() {
        let mut out = Vec::new();
        put_long_data(&mut out, 3, 1, b"xy");
        assert_eq!(out, b"\x09\0\0\0\x18\x03\0\0\0\x01\0xy");
    }
}
