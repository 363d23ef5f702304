//! Prepared statements as a client speaks of them in the binary protocol.
//!
//! Values are strings and 64-bit integers; that is all that the tests need.

use forebay::wire::cursor::{Cursor, put_lenenc_bytes, put_u16, put_u32, put_u64};
use forebay::wire::err::Err as ErrPacket;
use forebay::wire::ok::{Ok as OkPacket, Status, parse_eof};

use super::client::Client;

const LONG_LONG: u8 = 8;
const LONG_BLOB: u8 = 0xfb;
const VAR_STRING: u8 = 0xfd;

/// What a client knows of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) id: u32,
    pub(crate) params: u16,
    pub(crate) columns: u16,
}

/// A parameter's value.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    /// It was sent in pieces.
    Sent,
}

/// One result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) affected: u64,
    pub(crate) insert_id: u64,
    pub(crate) status: Status,
    types: Vec<u8>,
}

impl Rows {
    /// All cells, with blanks between them.
    pub(crate) fn text(&self) -> String {
        let cells = self.rows.iter().flatten();
        let cells = cells.map(|cell| cell.as_deref().unwrap_or("NULL"));
        cells.collect::<Vec<_>>().join(" ")
    }
}

/// An error's number and text.
pub(crate) type Told<T> = Result<T, (u16, String)>;

fn read(client: &mut Client) -> Told<Vec<u8>> {
    let (_, payload) = client.read().map_err(|error| (0, error.to_string()))?;
    if payload.first() == Some(&0xff) {
        let error = ErrPacket::parse(&payload).expect("an ERR that can be read");
        return Err((error.code, String::from_utf8_lossy(&error.message).into()));
    }
    Ok(payload)
}

/// COM_STMT_PREPARE.
pub(crate) fn prepare(client: &mut Client, sql: &str) -> Told<Statement> {
    client.command(0x16, sql.as_bytes()).unwrap();
    heard_prepare(client)
}

/// The answer to a PREPARE that was sent.
pub(crate) fn heard_prepare(client: &mut Client) -> Told<Statement> {
    let first = read(client)?;
    let mut cursor = Cursor::new(&first[1..]);
    let (id, columns) = (cursor.u32().unwrap(), cursor.u16().unwrap());
    let params = cursor.u16().unwrap();
    for count in [params, columns].into_iter().filter(|count| *count > 0) {
        for _ in 0..=count {
            read(client)?;
        }
    }
    Ok(Statement { id, params, columns })
}

/// The body of an EXECUTE.
pub(crate) fn body(id: u32, flags: u8, values: &[Value<'_>], types: bool) -> Vec<u8> {
    let mut body = Vec::new();
    put_u32(&mut body, id);
    body.push(flags);
    put_u32(&mut body, 1);
    if values.is_empty() {
        return body;
    }
    let mut nulls = vec![0_u8; values.len().div_ceil(8)];
    for (at, _) in values.iter().enumerate().filter(|(_, value)| matches!(value, Value::Null)) {
        nulls[at / 8] |= 1 << (at % 8);
    }
    body.extend_from_slice(&nulls);
    body.push(u8::from(types));
    for value in values.iter().filter(|_| types) {
        let kind = match value {
            Value::Number(_) => LONG_LONG,
            Value::Sent => LONG_BLOB,
            Value::Null | Value::Text(_) => VAR_STRING,
        };
        body.extend_from_slice(&[kind, 0]);
    }
    for value in values {
        match value {
            Value::Number(number) => put_u64(&mut body, *number as u64),
            Value::Text(text) => put_lenenc_bytes(&mut body, text.as_bytes()),
            Value::Null | Value::Sent => {}
        }
    }
    body
}

/// COM_STMT_EXECUTE, with the types told.
pub(crate) fn execute(client: &mut Client, it: &Statement, values: &[Value<'_>]) -> Told<Rows> {
    client.command(0x17, &body(it.id, 0, values, true)).unwrap();
    heard(client)
}

/// COM_STMT_EXECUTE, with the types left as they were told before.
pub(crate) fn execute_again(
    client: &mut Client,
    it: &Statement,
    values: &[Value<'_>],
) -> Told<Rows> {
    client.command(0x17, &body(it.id, 0, values, false)).unwrap();
    heard(client)
}

/// Opens a cursor: a result without rows.
pub(crate) fn open(client: &mut Client, it: &Statement, values: &[Value<'_>]) -> Told<Rows> {
    client.command(0x17, &body(it.id, 1, values, true)).unwrap();
    let mut rows = Rows::default();
    read_columns(client, &mut rows)?;
    Ok(rows)
}

/// Rows of a cursor.
pub(crate) fn fetch(client: &mut Client, it: &Statement, like: &Rows, count: u32) -> Told<Rows> {
    let mut body = Vec::new();
    put_u32(&mut body, it.id);
    put_u32(&mut body, count);
    client.command(0x1c, &body).unwrap();
    let rows = Rows { types: like.types.clone(), ..Rows::default() };
    read_rows(client, rows)
}

/// COM_STMT_SEND_LONG_DATA.
pub(crate) fn send_long(client: &mut Client, it: &Statement, param: u16, data: &[u8]) {
    let mut body = Vec::new();
    put_u32(&mut body, it.id);
    put_u16(&mut body, param);
    body.extend_from_slice(data);
    client.command(0x18, &body).unwrap();
}

/// COM_STMT_CLOSE.
pub(crate) fn close(client: &mut Client, it: &Statement) {
    client.command(0x19, &it.id.to_le_bytes()).unwrap();
}

/// COM_STMT_RESET.
pub(crate) fn reset(client: &mut Client, it: &Statement) -> Told<()> {
    client.command(0x1a, &it.id.to_le_bytes()).unwrap();
    read(client).map(drop)
}

/// The first result of an EXECUTE that was sent.
pub(crate) fn heard(client: &mut Client) -> Told<Rows> {
    let mut rows = Rows::default();
    if read_columns(client, &mut rows)? { read_rows(client, rows) } else { Ok(rows) }
}

/// False: an OK instead of a result.
fn read_columns(client: &mut Client, rows: &mut Rows) -> Told<bool> {
    let first = read(client)?;
    if first.first() == Some(&0) {
        let ok = OkPacket::parse(&first, client.capabilities).expect("an OK");
        (rows.affected, rows.insert_id, rows.status) = (ok.affected, ok.insert_id, ok.status);
        return Ok(false);
    }
    for _ in 0..Cursor::new(&first).lenenc().expect("a count of columns") {
        let definition = read(client)?;
        let mut cursor = Cursor::new(&definition);
        for _ in 0..6 {
            cursor.lenenc_bytes().expect("a definition of a column");
        }
        // One byte of length, two of character set, four of width.
        rows.types.push(cursor.bytes(8).expect("a type")[7]);
    }
    let eof = read(client)?;
    rows.status = parse_eof(&eof).expect("an EOF").0;
    Ok(true)
}

fn read_rows(client: &mut Client, mut rows: Rows) -> Told<Rows> {
    loop {
        let row = read(client)?;
        if row.first() == Some(&0xfe) && row.len() < 9 {
            rows.status = parse_eof(&row).expect("an EOF").0;
            return Ok(rows);
        }
        let nulls = (rows.types.len() + 9) / 8;
        let mut cursor = Cursor::new(&row[1 + nulls..]);
        let cell = |(at, kind): (usize, &u8)| {
            let is_null = row[1 + (at + 2) / 8] >> ((at + 2) % 8) & 1 == 1;
            (!is_null).then(|| match *kind {
                3 => (cursor.u32().unwrap() as i32).to_string(),
                LONG_LONG => (cursor.u64().unwrap() as i64).to_string(),
                _ => String::from_utf8_lossy(cursor.lenenc_bytes().unwrap()).into(),
            })
        };
        let cells = rows.types.iter().enumerate().map(cell).collect();
        rows.rows.push(cells);
    }
}
