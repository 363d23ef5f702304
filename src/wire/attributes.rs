//! Query attributes: named values that a client sends along with a statement.
//!
//! In COM_QUERY they stand in front of the text, and who does not read them as the server does takes
//! a value for the text. So what not all versions read alike is refused. In COM_STMT_EXECUTE they are
//! more parameters: `prepared`. What they say is never looked at. Called by `command` and `client`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html

use super::cursor::Cursor;
use super::{Malformed, malformed};

/// What a COM_QUERY begins with that has none: no parameters, in one set.
pub const NONE: [u8; 2] = [0, 1];
/// The bit of a type that says "unsigned".
const UNSIGNED: u16 = 0x8000;

/// Splits what stands behind the byte of COM_QUERY: its attributes, its text.
pub fn split(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut cursor = Cursor::new(body);
    let count = read_count(&mut cursor)?;
    if cursor.lenenc()? != 1 {
        return malformed("attributes in more than one set");
    }
    if count > 0 {
        skip(&mut cursor, count)?;
    }
    let len = body.len().saturating_sub(cursor.remaining());
    Ok(body.split_at_checked(len).unwrap_or_default())
}

/// How many values there are; servers take no more than fit in two bytes.
pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<u16, Malformed> {
    match u16::try_from(cursor.lenenc()?) {
        Ok(count) => Ok(count),
        Err(_) => malformed("more attributes than a server takes"),
    }
}

/// Bytes that say which of so many values are NULL.
pub(super) fn null_bytes(count: u16) -> usize {
    usize::from(count).div_ceil(8)
}

/// Takes so many types, each with a name.
pub(super) fn named_types<'a>(cursor: &mut Cursor<'a>, count: u16) -> Result<&'a [u8], Malformed> {
    let mut after = *cursor;
    for _ in 0..count {
        after.u16()?;
        after.lenenc_bytes()?;
    }
    cursor.bytes(cursor.remaining().saturating_sub(after.remaining()))
}

fn skip(cursor: &mut Cursor<'_>, count: u16) -> Result<(), Malformed> {
    let nulls = cursor.bytes(null_bytes(count))?;
    if cursor.u8()? == 0 {
        return malformed("attributes without types");
    }
    let mut types = Cursor::new(named_types(cursor, count)?);
    for at in 0..usize::from(count) {
        let (kind, _name) = (types.u16()?, types.lenenc_bytes()?);
        let is_null = nulls.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if !is_null {
            skip_value(cursor, kind & !UNSIGNED)?;
        }
    }
    Ok(())
}

/// One value, by the number of its type.
// page_protocol_binary_resultset.html, field_types.h
fn skip_value(cursor: &mut Cursor<'_>, kind: u16) -> Result<(), Malformed> {
    let len = match kind {
        // TINY, SHORT, LONG and FLOAT, DOUBLE and LONGLONG.
        1 => 1,
        2 => 2,
        3 | 4 => 4,
        5 | 8 => 8,
        // Decimals, dates and times, texts, blobs, JSON, geometries, vectors.
        0 | 7 | 10..=12 | 15 | 242 | 245..=255 => return cursor.lenenc_bytes().map(drop),
        // YEAR and INT24 have a length in front for servers, and none for what writes them.
        _ => return malformed("an attribute of a type that is none"),
    };
    cursor.bytes(len).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes as a client writes them: types, names, and values without those that are NULL.
    fn block(all: &[(u16, &str, Option<&[u8]>)]) -> Vec<u8> {
        let mut block = vec![all.len() as u8, 1];
        let mut nulls = vec![0; all.len().div_ceil(8)];
        for (at, _) in all.iter().enumerate().filter(|(_, (.., value))| value.is_none()) {
            nulls[at / 8] |= 1 << (at % 8);
        }
        block.extend(nulls);
        block.push(1);
        for (kind, name, _) in all {
            block.extend(kind.to_le_bytes());
            block.push(name.len() as u8);
            block.extend(name.as_bytes());
        }
        block.extend(all.iter().flat_map(|(.., value)| value.unwrap_or_default()));
        block
    }

    #[test]
    fn the_text_is_behind_the_attributes() {
        fn check(block: &[u8]) {
            for text in [&b"SELECT 1"[..], b"", b"\0\x01SELECT 2"] {
                let body = [block, text].concat();
                assert_eq!(split(&body), Ok((block, text)), "{block:?}");
            }
            // What is cut in front of the text is never taken for something else.
            for end in 0..block.len() {
                assert!(split(&block[..end]).is_err(), "{block:?} cut at {end}");
            }
        }
        check(&NONE);
        check(&block(&[(254, "n", Some(b"\x01v"))]));
        check(&block(&[(254, "", Some(b"\0"))]));
        check(&block(&[(1, "a", Some(b"x")), (0x8002, "b", Some(b"xy")), (3, "c", Some(b"1234"))]));
        check(&block(&[(4, "f", Some(b"1234")), (5, "d", Some(b"12345678"))]));
        check(&block(&[(0x8008, "big", Some(b"SELECT 9")), (7, "t", Some(b"\x041234"))]));
        check(&block(&[(11, "never", Some(b"\0")), (10, "date", Some(b"\x041234"))]));
        check(&block(&[(253, "long", Some(&[&b"\xfc\x2c\x01"[..], &[b'v'; 300]].concat()))]));
        check(&block(&[(6, "null", None), (254, "v", Some(b"\x01v")), (9, "null too", None)]));
        check(&block(&[(3, "n", None); 8]));
        check(&block(&[(3, "n", None); 9]));
        let mut many = [(3, "n", Some(&b"1234"[..])); 17];
        many[8].2 = None;
        many[16].2 = None;
        check(&block(&many));
    }

    #[test]
    fn what_servers_may_read_differently_is_refused() {
        fn check(body: &[u8]) {
            assert!(split(body).is_err(), "{body:?}");
        }
        check(b"");
        check(b"\0\0SELECT 1");
        check(b"\0\x02SELECT 1");
        check(b"\xfb\x01SELECT 1");
        check(b"\xff\x01SELECT 1, and more, and more");
        check(b"\xfd\0\0\x01\x01SELECT 1");
        // Types that were told before, of which there are none.
        check(b"\x01\x01\x01\0SELECT 1");
        for kind in [6_u16, 9, 13, 14, 16, 17, 244, 0x0103, 0x7fff] {
            check(&[&block(&[(kind, "n", Some(b"\x01v"))])[..], b"SELECT 1 and more"].concat());
        }
        // Servers cut a value that is too long: the text would be empty.
        check(&[&block(&[(254, "n", Some(b"\x20v"))])[..], b"SELECT 1"].concat());
        check(&[&block(&[(254, "n", Some(b"\xfb"))])[..], &[b' '; 300]].concat());
        // Of eight bytes of a length they read four.
        let low = b"\xfe\x01\0\0\0\x01\0\0\0v";
        check(&[&block(&[(254, "n", Some(low))])[..], b"SELECT 1"].concat());
    }
}
