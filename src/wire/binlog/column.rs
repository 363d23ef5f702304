//! Columns as a table map tells them: how long each value is, so that the next one is found.
//!
//! Values are handed out as bytes or as integers; the other types are only stepped over.
//! Called by `rows`.
// page_protocol_replication_binlog_event.html, TABLE_MAP_EVENT and ROWS_EVENT

use super::rows::Value;
use crate::wire::cursor::Cursor;
use crate::wire::{Malformed, malformed};

/// The type of one column in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    kind: u8,
    /// Up to two bytes about it, in their order.
    about: [u8; 2],
}

mod kind {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONG_LONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEW_DATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    pub(super) const BLOB_COMPRESSED: u8 = 140;
    pub(super) const VARCHAR_COMPRESSED: u8 = 141;
    pub(super) const VECTOR: u8 = 242;
    pub(super) const BOOL: u8 = 244;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEW_DECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

impl Column {
    /// Takes what belongs to this type from the metadata of all columns. `None`: a type that
    /// nobody can step over.
    pub(super) fn parse(kind: u8, about: &mut Cursor<'_>) -> Result<Option<Column>, Malformed> {
        let about = match kind {
            kind::TINY
            | kind::SHORT
            | kind::LONG
            | kind::NULL
            | kind::TIMESTAMP
            | kind::LONG_LONG
            | kind::INT24
            | kind::DATE
            | kind::TIME
            | kind::DATETIME
            | kind::YEAR
            | kind::NEW_DATE
            | kind::BOOL => [0, 0],
            kind::FLOAT
            | kind::DOUBLE
            | kind::TIMESTAMP2
            | kind::DATETIME2
            | kind::TIME2
            | kind::BLOB_COMPRESSED
            | kind::VECTOR
            | kind::JSON
            | kind::BLOB
            | kind::GEOMETRY => [about.u8()?, 0],
            kind::VARCHAR
            | kind::BIT
            | kind::VARCHAR_COMPRESSED
            | kind::NEW_DECIMAL
            | kind::ENUM
            | kind::SET
            | kind::VAR_STRING
            | kind::STRING => [about.u8()?, about.u8()?],
            _ => return Ok(None),
        };
        Ok(Some(Column { kind, about }))
    }

    /// JSON may be written as what changed in it.
    pub(super) fn is_json(self) -> bool {
        self.kind == kind::JSON
    }

    /// Takes one value, which is not NULL.
    pub(super) fn value<'a>(self, row: &mut Cursor<'a>) -> Result<Value<'a>, Malformed> {
        let [first, second] = self.about;
        let fraction = usize::from(first).div_ceil(2);
        let skip = |row: &mut Cursor<'a>, len: usize| row.bytes(len).map(|_| Value::Other);
        match self.kind {
            kind::NULL => Ok(Value::Null),
            kind::TINY => Ok(Value::Integer(i64::from(i8::from_le_bytes([row.u8()?])))),
            kind::SHORT => Ok(Value::Integer(i64::from(row.u16()?.cast_signed()))),
            kind::INT24 => {
                let low = row.u24()?;
                Ok(Value::Integer(i64::from((low << 8).cast_signed() >> 8)))
            }
            kind::LONG => Ok(Value::Integer(i64::from(row.u32()?.cast_signed()))),
            kind::LONG_LONG => Ok(Value::Integer(row.u64()?.cast_signed())),
            kind::VARCHAR | kind::VAR_STRING => {
                text(row, u16::from_le_bytes(self.about)).map(Value::Bytes)
            }
            kind::BLOB => blob(row, first).map(Value::Bytes),
            kind::STRING => self.string(row),
            kind::YEAR | kind::BOOL => skip(row, 1),
            kind::DATE | kind::TIME | kind::NEW_DATE => skip(row, 3),
            kind::TIMESTAMP => skip(row, 4),
            kind::DATETIME => skip(row, 8),
            kind::FLOAT | kind::DOUBLE => skip(row, usize::from(first)),
            kind::TIMESTAMP2 => skip(row, 4_usize.saturating_add(fraction)),
            kind::DATETIME2 => skip(row, 5_usize.saturating_add(fraction)),
            kind::TIME2 => skip(row, 3_usize.saturating_add(fraction)),
            kind::BIT => skip(row, usize::from(second).saturating_add(usize::from(first > 0))),
            kind::NEW_DECIMAL => skip(row, decimal_len(first, second)?),
            kind::ENUM | kind::SET => skip(row, usize::from(second)),
            kind::VARCHAR_COMPRESSED => {
                text(row, u16::from_le_bytes(self.about)).map(|_| Value::Other)
            }
            kind::BLOB_COMPRESSED | kind::VECTOR | kind::JSON | kind::GEOMETRY => {
                blob(row, first).map(|_| Value::Other)
            }
            _ => malformed("a column's type"),
        }
    }

    /// CHAR and BINARY; ENUM and SET hide here too. Lengths over 255 lend two bits of the type.
    fn string<'a>(self, row: &mut Cursor<'a>) -> Result<Value<'a>, Malformed> {
        let [kind, len] = self.about;
        let extra = u16::from(!kind & 0x30) << 4;
        match kind | 0x30 {
            kind::ENUM | kind::SET if extra == 0 => {
                row.bytes(usize::from(len)).map(|_| Value::Other)
            }
            kind::STRING => text(row, extra | u16::from(len)).map(Value::Bytes),
            _ => malformed("a column of characters"),
        }
    }
}

/// Bytes behind their length, which takes two bytes where more than 255 are possible.
fn text<'a>(row: &mut Cursor<'a>, len_max: u16) -> Result<&'a [u8], Malformed> {
    let len = if len_max > 255 { usize::from(row.u16()?) } else { usize::from(row.u8()?) };
    row.bytes(len)
}

fn blob<'a>(row: &mut Cursor<'a>, len_bytes: u8) -> Result<&'a [u8], Malformed> {
    let len = match len_bytes {
        1 => u32::from(row.u8()?),
        2 => u32::from(row.u16()?),
        3 => row.u24()?,
        4 => row.u32()?,
        _ => return malformed("a long column's length"),
    };
    row.bytes(usize::try_from(len).unwrap_or(usize::MAX))
}

/// Nine digits take four bytes; those that are left over, on either side, up to four.
fn decimal_len(precision: u8, scale: u8) -> Result<usize, Malformed> {
    let Some(whole) = precision.checked_sub(scale) else { return malformed("a decimal's digits") };
    let side = |digits: u8| {
        let nines = usize::from(digits).wrapping_div(9).saturating_mul(4);
        nines.saturating_add(usize::from(digits).wrapping_rem(9).div_ceil(2))
    };
    Ok(side(whole).saturating_add(side(scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_as_long_as_its_type_says() {
        #[track_caller]
        fn check(kind: u8, about: &[u8], row: &[u8], expected: Option<Value<'_>>) {
            let mut about = Cursor::new(about);
            let column = Column::parse(kind, &mut about).unwrap().unwrap();
            assert_eq!(about.remaining(), 0);
            let padded = [row, b"next"].concat();
            let mut cursor = Cursor::new(&padded);
            let value = column.value(&mut cursor).ok();
            assert_eq!(value, expected, "type {kind}");
            if value.is_some() {
                assert_eq!(cursor.rest(), b"next", "type {kind}");
            }
            for end in 0..row.len() {
                assert!(column.value(&mut Cursor::new(&row[..end])).is_err(), "{kind} at {end}");
            }
        }
        let other = Some(Value::Other);
        check(1, &[], &[0xff], Some(Value::Integer(-1)));
        check(2, &[], &[0, 0x80], Some(Value::Integer(-32768)));
        check(9, &[], &[0xfe, 0xff, 0xff], Some(Value::Integer(-2)));
        check(9, &[], &[1, 0, 1], Some(Value::Integer(0x1_0001)));
        check(3, &[], &[5, 0, 0, 0], Some(Value::Integer(5)));
        check(8, &[], &[5, 0, 0, 0, 0, 0, 0, 0x80], Some(Value::Integer(i64::MIN + 5)));
        check(15, &[255, 0], b"\x02ab", Some(Value::Bytes(b"ab")));
        check(15, &[0, 1], b"\x02\0ab", Some(Value::Bytes(b"ab")));
        check(253, &[20, 0], b"\0", Some(Value::Bytes(b"")));
        check(252, &[1], b"\x01a", Some(Value::Bytes(b"a")));
        check(252, &[3], b"\x01\0\0a", Some(Value::Bytes(b"a")));
        check(252, &[5], b"", None);
        check(254, &[254, 20], b"\x01a", Some(Value::Bytes(b"a")));
        // CHAR(100) of utf8mb4: 400 bytes
        check(254, &[0xee, 0x90], b"\x01\0a", Some(Value::Bytes(b"a")));
        check(254, &[247, 1], &[3], other);
        check(254, &[248, 8], &[0; 8], other);
        check(247, &[0, 2], &[0; 2], other);
        check(4, &[4], &[0; 4], other);
        check(5, &[8], &[0; 8], other);
        check(13, &[], &[0], other);
        check(10, &[], &[0; 3], other);
        check(12, &[], &[0; 8], other);
        check(7, &[], &[0; 4], other);
        check(17, &[6], &[0; 7], other);
        check(18, &[3], &[0; 7], other);
        check(19, &[0], &[0; 3], other);
        check(16, &[1, 1], &[0; 2], other);
        check(16, &[0, 2], &[0; 2], other);
        check(246, &[10, 2], &[0; 5], other);
        check(246, &[65, 30], &[0; 30], other);
        check(246, &[2, 3], &[], None);
        check(245, &[4], b"\x01\0\0\0j", other);
        check(242, &[4], b"\x01\0\0\0v", other);
        check(255, &[4], b"\x01\0\0\0g", other);
        check(140, &[2], b"\x01\0c", other);
        check(141, &[100, 0], b"\x01c", other);
        check(6, &[], &[], Some(Value::Null));
        let none = Column::parse(20, &mut Cursor::new(&[0, 0])).unwrap();
        assert_eq!(none, None);
    }
}
