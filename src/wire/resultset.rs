//! Builds small text results of our own.
//!
//! Not for anything a server sent: those bytes are walked by `reply` and never built anew.
//! Called by local answers and by scripted servers.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html

use super::capability::Capabilities;
use super::cursor::{put_lenenc, put_lenenc_bytes, put_u16, put_u32};
use super::frame::{build_packet, read_packet, write_packet};
use super::ok::{Ok, Status, write_eof};

/// utf8mb4_general_ci: known to every server and client.
const CHARSET: u16 = 45;
const TYPE_VAR_STRING: u8 = 0xfd;
/// Display length of a column: 256 characters of four bytes.
const COLUMN_BYTES: u32 = 1024;
/// No fixed number of decimals.
const DECIMALS: u8 = 31;

/// Appends a whole result with text columns, numbered from 1, with the EOFs or the OK that this
/// client expects; `None` is NULL. Returns the sequence number that comes next.
pub fn write_rows<V: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    client: Capabilities,
    status: Status,
    columns: &[&str],
    rows: &[Vec<Option<V>>],
) -> u8 {
    let modern = client.has(Capabilities::DEPRECATE_EOF);
    let mut sequence = build_packet(out, 1, |out| put_lenenc(out, columns.len() as u64));
    for column in columns {
        sequence = build_packet(out, sequence, |out| put_column(out, column));
    }
    if !modern {
        sequence = write_eof(out, sequence, status, 0);
    }
    for row in rows {
        sequence = build_packet(out, sequence, |out| put_row(out, row));
    }
    if !modern {
        return write_eof(out, sequence, status, 0);
    }
    let ok = Ok { affected: 0, insert_id: 0, status, warnings: 0, info: b"", tracked: Vec::new() };
    build_packet(out, sequence, |out| ok.encode(out, 0xfe, client))
}

/// Puts another row into a whole result of one column: `change` makes it of the first row. Any
/// other reply stays as it is.
pub fn replace_only_row(
    out: &mut Vec<u8>,
    client: Capabilities,
    change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) {
    // Count, definition, the definitions' EOF, row.
    let before = if client.has(Capabilities::DEPRECATE_EOF) { 2 } else { 3 };
    let mut start: usize = 0;
    for number in 0..=before {
        let rest = out.get(start..).unwrap_or_default();
        let Ok(Some(packet)) = read_packet(rest, out.len()) else { return };
        if number == 0 && *packet.payload != [1] {
            return;
        }
        let end = start.saturating_add(packet.consumed);
        if number < before {
            start = end;
            continue;
        }
        let is_row = packet.payload.first().is_some_and(|first| *first < 0xfb);
        if is_row && let Some(changed) = change(&packet.payload) {
            let mut row = Vec::new();
            write_packet(&mut row, packet.sequence, &changed);
            out.splice(start..end, row);
        }
        return;
    }
}

/// A text row of a number.
#[must_use]
pub fn text_row(number: u32) -> Vec<u8> {
    let mut row = Vec::new();
    put_lenenc_bytes(&mut row, number.to_string().as_bytes());
    row
}

/// A binary row of a number in place of another, in as many bytes.
// page_protocol_binary_resultset.html
#[must_use]
pub fn binary_row(before: &[u8], number: u32) -> Option<Vec<u8>> {
    let mut row = vec![0, 0];
    row.extend_from_slice(&number.to_le_bytes());
    match before.len() {
        6 => {}
        10 => row.extend_from_slice(&[0; 4]),
        _ => return None,
    }
    before.starts_with(&[0, 0]).then_some(row)
}

// page_protocol_com_query_response_text_resultset_column_definition.html
fn put_column(out: &mut Vec<u8>, name: &str) {
    put_lenenc_bytes(out, b"def");
    for text in ["", "", "", name, ""] {
        put_lenenc_bytes(out, text.as_bytes());
    }
    out.push(12);
    put_u16(out, CHARSET);
    put_u32(out, COLUMN_BYTES);
    out.push(TYPE_VAR_STRING);
    put_u16(out, 0);
    out.push(DECIMALS);
    put_u16(out, 0);
}

fn put_row<V: AsRef<[u8]>>(out: &mut Vec<u8>, row: &[Option<V>]) {
    for value in row {
        match value {
            Some(value) => put_lenenc_bytes(out, value.as_ref()),
            None => out.push(0xfb),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{End, Expect, Scan, Shape, Walker};

    #[test]
    fn every_client_can_walk_it() {
        fn check(client: Capabilities, bytes_more: usize) {
            let mut out = Vec::new();
            let rows = [vec![Some("1"), None], vec![Some(""), Some("two")]];
            let next = write_rows(&mut out, client, Status::AUTOCOMMIT, &["a", "bb"], &rows);
            let mut walker = Walker::new(Expect::Query, Shape { backend: client, client });
            let mut copy = Vec::new();
            assert_eq!(walker.feed(&out, &mut copy), Ok(Scan::Done { consumed: out.len() }));
            assert_eq!(copy, out);
            assert_eq!(walker.sequence(), next);
            assert_eq!(walker.summary().end, Some(End::Rows));
            assert_eq!((walker.summary().rows, walker.summary().status), (2, Status::AUTOCOMMIT));
            assert_eq!(out.len(), 5 + 27 + 28 + 7 + 9 + bytes_more);
        }
        check(Capabilities(0), 18);
        check(Capabilities::DEPRECATE_EOF, 11);
        check(Capabilities::DEPRECATE_EOF.with(Capabilities::SESSION_TRACK), 11);
    }

    #[test]
    fn a_cell_in_place_of_another() {
        for client in [Capabilities(0), Capabilities::DEPRECATE_EOF] {
            let write = |columns: &[&str], rows: &[Vec<Option<&str>>]| {
                let mut out = Vec::new();
                write_rows(&mut out, client, Status::AUTOCOMMIT, columns, rows);
                out
            };
            let check = |before: &[u8], after: &[u8]| {
                let mut out = before.to_vec();
                replace_only_row(&mut out, client, |_| Some(text_row(12345)));
                assert_eq!(out, after);
            };
            let number = |number| write(&["id"], &[vec![Some(number)]]);
            check(&number("7"), &number("12345"));
            check(&number("4294967295"), &number("12345"));
            for other in [
                write(&["id", "b"], &[vec![Some("7"), Some("8")]]),
                write(&["id"], &[]),
                b"\x07\0\0\x01\0\0\0\x02\0\0\0".to_vec(),
                b"\x03\0\0\x01\xff\x10\x04".to_vec(),
                number("7")[..30].to_vec(),
                Vec::new(),
            ] {
                check(&other, &other);
            }
        }
    }

    #[test]
    fn a_binary_number_in_place_of_another() {
        fn check(before: &[u8], after: Option<&[u8]>) {
            assert_eq!(binary_row(before, 0x0102_0304).as_deref(), after, "{before:?}");
        }
        check(b"\0\0\x09\0\0\0\0\0\0\0", Some(b"\0\0\x04\x03\x02\x01\0\0\0\0"));
        check(b"\0\0\x09\0\0\0", Some(b"\0\0\x04\x03\x02\x01"));
        check(b"\0\x04", None);
        check(b"\0\x04\0\0\0\0", None);
        check(b"", None);
    }

    #[test]
    fn one_cell_byte_for_byte() {
        let mut out = Vec::new();
        let row = [vec![Some("x")]];
        write_rows(&mut out, Capabilities(0), Status::AUTOCOMMIT, &["n"], &row);
        let expected = b"\x01\0\0\x01\x01\
            \x17\0\0\x02\x03def\0\0\0\x01n\0\x0c\x2d\0\0\x04\0\0\xfd\0\0\x1f\0\0\
            \x05\0\0\x03\xfe\0\0\x02\0\
            \x02\0\0\x04\x01x\
            \x05\0\0\x05\xfe\0\0\x02\0";
        assert_eq!(out, expected);
    }
}
