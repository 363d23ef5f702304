//! What Forebay itself asks a server: small statements, small answers.
//!
//! Never on a client's data path (`client::relay` does that). Called by `setup` and `probe`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::limits;
use crate::link::Stream;
use crate::wire::Malformed;
use crate::wire::capability::Capabilities;
use crate::wire::cursor::Cursor;
use crate::wire::err::Err as ErrPacket;
use crate::wire::frame::{read_packet, write_packet};
use crate::wire::ok::Ok as OkPacket;

/// The most that an answer to one of our own questions may be.
const ANSWER_BYTES_MAX: usize = 4 * limits::TERMINATOR_BYTES_MAX;

/// Rows of text; NULL is `None`.
pub type Rows = Vec<Vec<Option<Vec<u8>>>>;

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
        let first = self.packet().await?;
        match first.first() {
            Some(0) => return Ok(Rows::new()),
            Some(0xff) => return Err(QueryError::Refused(ErrPacket::parse(&first)?)),
            _ => {}
        }
        let columns = Cursor::new(&first).lenenc()?;
        if columns > 4096 {
            return Err(Malformed { what: "too many columns" }.into());
        }
        for _ in 0..columns {
            self.packet().await?;
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
                Some(0xfe) if self.is_end(&packet) => return Ok(rows),
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

/// Appends COM_QUERY to a flight.
pub fn put_query(flight: &mut Vec<u8>, text: &[u8]) {
    put_command(flight, 3, text);
}

/// Asks one question.
pub async fn ask(
    stream: &mut Stream,
    capabilities: Capabilities,
    text: &str,
) -> Result<Rows, QueryError> {
    let mut flight = Vec::new();
    put_query(&mut flight, text.as_bytes());
    Answers::to(stream, capabilities, &flight).await?.rows().await
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
