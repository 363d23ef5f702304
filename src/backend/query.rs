//! What Forebay itself asks a server: small statements, small answers.
//!
//! Never on a client's data path (`client::relay` does that). Called by `setup` and `probe`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits;
use crate::link::Stream;
use crate::wire::capability::Capabilities;
use crate::wire::cursor::Cursor;
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::{read_packet, write_packet};
use crate::wire::ok::Ok as OkPacket;
use crate::wire::{Malformed, attributes};

/// A statement as text.
pub const COM_QUERY: u8 = 3;
/// The most that an answer to one of our own questions may be.
const ANSWER_BYTES_MAX: usize = 4 * limits::TERMINATOR_BYTES_MAX;
/// Room for what is read at once: an ordinary answer is shorter.
const READ_BYTES: usize = 1024;

/// Rows of text; NULL is `None`.
pub type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// A row whose columns are found by name: what `SHOW ... STATUS` says differs with every version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    cells: Vec<(String, Option<String>)>,
}

impl Record {
    /// Of names and values.
    pub fn of<'a>(cells: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let cells = cells.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        Self { cells: cells.collect() }
    }

    /// The first of these columns that is there and not NULL.
    #[must_use]
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        let known = |name: &&str| {
            let cell = self.cells.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            cell.and_then(|(_, value)| value.as_deref())
        };
        names.iter().find_map(known)
    }

    /// The columns whose names begin so, with what is in them.
    pub fn beginning(&self, start: &str) -> impl Iterator<Item = (&str, &str)> {
        let named = self.cells.iter().filter(move |(name, _)| name.starts_with(start));
        named.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The socket failed.
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
    /// The server says no.
    #[error("server error {}: {}", .0.code, String::from_utf8_lossy(&.0.message))]
    Refused(ErrPacket),
    /// The answer makes no sense.
    #[error("malformed answer: {0}")]
    Malformed(#[from] Malformed),
}

/// Reads the answers to several commands that were sent in one flight.
#[derive(Debug)]
pub struct Answers<'a> {
    stream: &'a mut Stream,
    capabilities: Capabilities,
    unread: Vec<u8>,
}

impl<'a> Answers<'a> {
    /// Sends the whole flight.
    pub async fn to(
        stream: &'a mut Stream,
        capabilities: Capabilities,
        flight: &[u8],
    ) -> Result<Self, QueryError> {
        stream.write_all(flight).await?;
        stream.flush().await?;
        Ok(Self { stream, capabilities, unread: Vec::new() })
    }

    /// An OK, or what the server says against it.
    pub async fn ok(&mut self) -> Result<(), QueryError> {
        let payload = self.packet().await?;
        match payload.first() {
            Some(0) => Ok(()),
            Some(0xff) => Err(QueryError::Refused(ErrPacket::parse(&payload)?)),
            _ => Err(Malformed { what: "neither OK nor ERR" }.into()),
        }
    }

    /// What a step of a set-up is answered by: an OK, or the EOF of COM_SET_OPTION.
    pub async fn done(&mut self) -> Result<(), QueryError> {
        let payload = self.packet().await?;
        match payload.first() {
            Some(0 | 0xfe) => Ok(()),
            Some(0xff) => Err(QueryError::Refused(ErrPacket::parse(&payload)?)),
            _ => Err(Malformed { what: "neither OK nor ERR" }.into()),
        }
    }

    /// The answer to COM_STMT_PREPARE: the statement's number and how many parameters it has.
    pub async fn prepared(&mut self) -> Result<(u32, u16), QueryError> {
        let first = self.packet().await?;
        if first.first() == Some(&0xff) {
            return Err(QueryError::Refused(ErrPacket::parse(&first)?));
        }
        let mut cursor = Cursor::new(&first);
        if cursor.u8()? != 0 {
            return Err(Malformed { what: "neither a statement nor ERR" }.into());
        }
        let (id, columns, params) = (cursor.u32()?, cursor.u16()?, cursor.u16()?);
        let closed = !self.capabilities.has(Capabilities::DEPRECATE_EOF);
        for count in [params, columns].into_iter().filter(|count| *count > 0) {
            for _ in 0..u32::from(count).saturating_add(u32::from(closed)) {
                self.packet().await?;
            }
        }
        Ok((id, params))
    }

    /// One result set.
    pub async fn rows(&mut self) -> Result<Rows, QueryError> {
        Ok(self.table().await?.1)
    }

    /// One result set whose columns are named.
    pub async fn records(&mut self) -> Result<Vec<Record>, QueryError> {
        let (definitions, rows) = self.table().await?;
        let names = definitions.iter().map(|packet| column_name(packet));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let record = |row: Vec<Option<Vec<u8>>>| {
            let cells = names.iter().cloned().zip(row.into_iter().map(|cell| cell.map(text)));
            Record { cells: cells.collect() }
        };
        Ok(rows.into_iter().map(record).collect())
    }

    /// The definitions of a result set's columns, and its rows.
    async fn table(&mut self) -> Result<(Vec<Vec<u8>>, Rows), QueryError> {
        let first = self.packet().await?;
        match first.first() {
            Some(0) => return Ok((Vec::new(), Rows::new())),
            Some(0xff) => return Err(QueryError::Refused(ErrPacket::parse(&first)?)),
            _ => {}
        }
        let columns = Cursor::new(&first).lenenc()?;
        if columns > 4096 {
            return Err(Malformed { what: "too many columns" }.into());
        }
        let mut definitions = Vec::new();
        for _ in 0..columns {
            definitions.push(self.packet().await?);
        }
        if !self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            self.packet().await?;
        }
        let mut rows = Rows::new();
        let mut bytes: usize = 0;
        loop {
            let packet = self.packet().await?;
            bytes = bytes.saturating_add(packet.len());
            if bytes > ANSWER_BYTES_MAX {
                return Err(Malformed { what: "answer too long" }.into());
            }
            match packet.first() {
                Some(0xff) => return Err(QueryError::Refused(ErrPacket::parse(&packet)?)),
                Some(0xfe) if self.is_end(&packet) => return Ok((definitions, rows)),
                _ => rows.push(row(&packet, columns)?),
            }
        }
    }

    /// Nothing was said that was not asked for.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.unread.is_empty()
    }

    fn is_end(&self, packet: &[u8]) -> bool {
        if self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            OkPacket::parse(packet, self.capabilities).is_ok()
        } else {
            packet.len() < 9
        }
    }

    async fn packet(&mut self) -> Result<Vec<u8>, QueryError> {
        loop {
            if let Some(packet) = read_packet(&self.unread, ANSWER_BYTES_MAX)? {
                let (payload, consumed) = (packet.payload.into_owned(), packet.consumed);
                self.unread.drain(..consumed);
                return Ok(payload);
            }
            // A whole answer at once: a vector left to itself grows by 64 bytes first.
            self.unread.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// Appends a command packet to a flight.
pub fn put_command(flight: &mut Vec<u8>, code: u8, body: &[u8]) {
    let mut payload = Vec::with_capacity(body.len().saturating_add(1));
    payload.push(code);
    payload.extend_from_slice(body);
    write_packet(flight, 0, &payload);
}

/// Appends COM_QUERY to a flight, without attributes, for a server with which this was agreed on.
pub fn put_query(flight: &mut Vec<u8>, capabilities: Capabilities, text: &[u8]) {
    if !capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
        return put_command(flight, COM_QUERY, text);
    }
    put_command(flight, COM_QUERY, &[&attributes::NONE, text].concat());
}

/// Asks one question.
pub async fn ask(
    stream: &mut Stream,
    capabilities: Capabilities,
    text: &str,
) -> Result<Rows, QueryError> {
    let mut flight = Vec::new();
    put_query(&mut flight, capabilities, text.as_bytes());
    Answers::to(stream, capabilities, &flight).await?.rows().await
}

/// Asks for rows whose columns are named.
pub async fn ask_records(
    stream: &mut Stream,
    capabilities: Capabilities,
    text: &str,
) -> Result<Vec<Record>, QueryError> {
    let mut flight = Vec::new();
    put_query(&mut flight, capabilities, text.as_bytes());
    Answers::to(stream, capabilities, &flight).await?.records().await
}

/// After catalog, schema, table and the table's own name.
fn column_name(definition: &[u8]) -> Result<String, Malformed> {
    let mut cursor = Cursor::new(definition);
    for _ in 0..4 {
        cursor.lenenc_bytes()?;
    }
    Ok(String::from_utf8_lossy(cursor.lenenc_bytes()?).into_owned())
}

fn row(packet: &[u8], columns: u64) -> Result<Vec<Option<Vec<u8>>>, Malformed> {
    let mut cursor = Cursor::new(packet);
    let mut row = Vec::new();
    for _ in 0..columns {
        if cursor.peek() == Some(0xfb) {
            cursor.u8()?;
            row.push(None);
        } else {
            row.push(Some(cursor.lenenc_bytes()?.to_vec()));
        }
    }
    Ok(row)
}
