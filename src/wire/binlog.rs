//! Events of a binary log, as a primary of MySQL 5.6 to 9 or of MariaDB sends them to a replica.
//!
//! What a reader has to know of them: which transaction, which tables, which values of a few
//! columns, and where it ends. What is not understood says so ([`Body::Unknown`]) and never
//! looks like nothing. Not a replica: no statement is read, no row is put together.
//! Called by `freshness` and `backend::follow`.

pub mod column;
pub mod gtid;
pub mod inflate;
pub mod rows;
pub mod table_map;

pub use gtid::Gtid;
pub use rows::{Rows, Value};
pub use table_map::TableMap;

use super::cursor::Cursor;
use super::{Malformed, malformed};
use crate::limits;

/// One event.
#[derive(Debug)]
pub struct Event<'a> {
    /// What stands in front of each.
    pub header: Header,
    /// What it says.
    pub body: Body<'a>,
}

/// What stands in front of each event.
// page_protocol_replication_binlog_event.html
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When its statement began, in seconds of the server's clock.
    pub at: u32,
    /// Its kind.
    pub kind: u8,
    /// The server that made it.
    pub server: u32,
    /// All of its bytes, this header included.
    pub bytes: u32,
    /// Where it ends in its file.
    pub end: u32,
    /// Bits.
    pub flags: u16,
}

/// What an event says, as far as a reader of the primary has to know.
#[derive(Debug)]
pub enum Body<'a> {
    /// How those that follow are written.
    Format,
    /// The next file, and where to go on in it.
    Rotate {
        /// Its name.
        file: &'a [u8],
        /// The first byte.
        position: u64,
    },
    /// A transaction begins.
    Gtid(Gtid),
    /// A transaction without a number begins.
    Anonymous,
    /// A statement.
    Query(Query),
    /// A table that the rows which follow are of.
    Table(TableMap),
    /// Rows of a table.
    Rows(Rows<'a>),
    /// The transaction is committed.
    Xid,
    /// The transaction is prepared; what becomes of it is said later.
    XaPrepare {
        /// It is committed at once.
        is_commit: bool,
    },
    /// Nothing happened for a while.
    Heartbeat,
    /// A whole transaction but for its number, compressed.
    Payload(Payload<'a>),
    /// Nothing that changes what anybody may read.
    Nothing,
    /// Not understood, or known to change anything: it stands for all that there is.
    Unknown,
}

/// What a statement is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// `BEGIN`, or that of a distributed transaction.
    Begin,
    /// `COMMIT` or `ROLLBACK`: the transaction ends.
    End,
    /// A savepoint, or the way back to one: tables touched before stay touched.
    Savepoint,
    /// Any other: it may have changed anything.
    Other,
}

/// The events of one transaction, still compressed.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    is_compressed: bool,
    inflated_len: u64,
}

/// Reads events in the order of the stream.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// Events end with a checksum. `None`: not said yet.
    checksums: Option<bool>,
}

const HEADER_BYTES: usize = 19;
const CHECKSUM_BYTES: usize = 4;
/// A kind that is not known may be left out, says its writer.
const IGNORABLE: u16 = 0x80;

impl Header {
    /// Reads it; `None` while it is not all there.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let mut cursor = Cursor::new(bytes);
        let mut read = || -> Result<Header, Malformed> {
            Ok(Header {
                at: cursor.u32()?,
                kind: cursor.u8()?,
                server: cursor.u32()?,
                bytes: cursor.u32()?,
                end: cursor.u32()?,
                flags: cursor.u16()?,
            })
        };
        read().ok()
    }
}

impl Decoder {
    /// Nothing read yet.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// For events that have no checksums, without one that says so.
    pub(super) fn bare() -> Decoder {
        Decoder { checksums: Some(false) }
    }

    /// Reads one event. Of one that is too long to be kept the first bytes will do: it is then
    /// known by its kind, and by its table.
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Event<'a>, Malformed> {
        let Some(header) = Header::parse(bytes) else {
            return malformed("half a header of an event");
        };
        let len = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        if len < HEADER_BYTES || bytes.len() > len {
            return malformed("an event's length");
        }
        let is_whole = bytes.len() == len;
        let body = match kind::FORMAT == header.kind {
            true => self.format(bytes)?,
            false if is_whole => {
                let body = self.strip(bytes)?;
                body_of(&header, body, true)?
            }
            false => body_of(&header, bytes.get(HEADER_BYTES..).unwrap_or_default(), false)?,
        };
        Ok(Event { header, body })
    }

    /// What stands between the header and the checksum, which has to be right.
    fn strip<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let sum = bytes.len().checked_sub(CHECKSUM_BYTES).and_then(|at| bytes.split_at_checked(at));
        let summed = sum.filter(|(front, _)| front.len() >= HEADER_BYTES);
        let is_right =
            summed.is_some_and(|(front, sum)| sum == crc32fast::hash(front).to_le_bytes());
        match (self.checksums, is_right) {
            (Some(false), _) | (None, false) => Ok(body),
            // The first of all comes before it is said whether they have one.
            (Some(true) | None, true) => {
                let len = body.len().saturating_sub(CHECKSUM_BYTES);
                Ok(body.get(..len).unwrap_or_default())
            }
            (Some(true), false) => malformed("an event's checksum"),
        }
    }

    // page_protocol_replication_binlog_event.html, FORMAT_DESCRIPTION_EVENT
    fn format<'a>(&mut self, bytes: &'a [u8]) -> Result<Body<'a>, Malformed> {
        let mut cursor = Cursor::new(bytes.get(HEADER_BYTES..).unwrap_or_default());
        let version = cursor.u16()?;
        cursor.bytes(50)?;
        cursor.u32()?;
        let header_len = usize::from(cursor.u8()?);
        let Some(lens) = cursor.remaining().checked_sub(CHECKSUM_BYTES.saturating_add(1)) else {
            return malformed("a format without checksums");
        };
        let lens = cursor.bytes(lens)?;
        let expected = |(kind, len): &(u8, u8)| {
            let told = usize::from(*kind).checked_sub(1).and_then(|at| lens.get(at));
            told.is_none_or(|told| [0, *len].contains(told))
        };
        if version != 4
            || header_len != HEADER_BYTES
            || !kind::POST_HEADER_LENS.iter().all(expected)
        {
            return malformed("a format of events that is not known");
        }
        self.checksums = Some(match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return malformed("a kind of checksum that is not known"),
        });
        Ok(Body::Format)
    }
}

fn body_of<'a>(header: &Header, body: &'a [u8], is_whole: bool) -> Result<Body<'a>, Malformed> {
    let mut cursor = Cursor::new(body);
    Ok(match header.kind {
        kind::ROWS_FIRST_V1..=kind::ROWS_LAST_V1
        | kind::ROWS_FIRST..=kind::ROWS_LAST
        | kind::PARTIAL_ROWS
        | kind::MARIADB_ROWS_FIRST_V1..=kind::MARIADB_ROWS_LAST => {
            Body::Rows(Rows::parse(header.kind, body, is_whole)?)
        }
        kind::QUERY_COMPRESSED => Body::Query(Query::Other),
        kind::QUERY if !is_whole => Body::Query(Query::Other),
        kind::INTVAR
        | kind::RAND
        | kind::USER_VAR
        | kind::STOP
        | kind::ROWS_QUERY
        | kind::APPEND_BLOCK
        | kind::BEGIN_LOAD
        | kind::DELETE_FILE
        | kind::IGNORED
        | kind::PREVIOUS_GTIDS
        | kind::TRANSACTION_CONTEXT
        | kind::VIEW_CHANGE
        | kind::ANNOTATE
        | kind::CHECKPOINT
        | kind::GTID_LIST
        | kind::START_ENCRYPTION => Body::Nothing,
        kind::HEARTBEAT | kind::HEARTBEAT_V2 => Body::Heartbeat,
        _ if !is_whole => Body::Unknown,
        kind::QUERY => Body::Query(Query::parse(body)?),
        kind::ROTATE => Body::Rotate { position: cursor.u64()?, file: cursor.rest() },
        kind::TABLE_MAP => Body::Table(TableMap::parse(body)?),
        kind::XID => Body::Xid,
        kind::XA_PREPARE => Body::XaPrepare { is_commit: cursor.u8()? != 0 },
        kind::GTID => Body::Gtid(Gtid::parse_mysql(body)?),
        kind::GTID_TAGGED => Body::Gtid(Gtid::parse_tagged(body)?),
        kind::MARIADB_GTID => Body::Gtid(Gtid::parse_mariadb(header.server, body)?),
        kind::ANONYMOUS => Body::Anonymous,
        kind::PAYLOAD => Body::Payload(Payload::parse(body)?),
        _ if header.flags & IGNORABLE != 0 => Body::Nothing,
        _ => Body::Unknown,
    })
}

impl Query {
    // page_protocol_replication_binlog_event.html, QUERY_EVENT
    fn parse(body: &[u8]) -> Result<Query, Malformed> {
        let mut cursor = Cursor::new(body);
        cursor.bytes(8)?;
        let schema_len = usize::from(cursor.u8()?);
        cursor.u16()?;
        let status_len = usize::from(cursor.u16()?);
        cursor.bytes(status_len)?;
        cursor.bytes(schema_len)?;
        cursor.u8()?;
        Ok(Query::of(cursor.rest()))
    }

    /// The servers write these words in one way each; in any other they are a statement.
    fn of(text: &[u8]) -> Query {
        let begins = |words: &[&[u8]]| words.iter().any(|word| text.starts_with(word));
        match text {
            b"BEGIN" => Query::Begin,
            b"COMMIT" | b"ROLLBACK" => Query::End,
            _ if begins(&[b"XA START "]) => Query::Begin,
            _ if begins(&[b"SAVEPOINT `", b"ROLLBACK TO `", b"XA END "]) => Query::Savepoint,
            _ => Query::Other,
        }
    }
}

impl<'a> Payload<'a> {
    // page_protocol_replication_binlog_event.html, TRANSACTION_PAYLOAD_EVENT
    fn parse(body: &'a [u8]) -> Result<Payload<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let (mut len, mut inflated_len, mut is_compressed) = (0, 0, None);
        loop {
            let field = cursor.lenenc()?;
            if field == 0 {
                break;
            }
            let mut value = Cursor::new(cursor.lenenc_bytes()?);
            match field {
                1 => len = value.lenenc()?,
                2 => {
                    is_compressed = Some(match value.lenenc()? {
                        0 => true,
                        255 => false,
                        _ => return malformed("a compression that is not known"),
                    });
                }
                3 => inflated_len = value.lenenc()?,
                _ => {}
            }
        }
        let Some(is_compressed) = is_compressed else { return malformed("no compression named") };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(Payload { bytes: cursor.bytes(len)?, is_compressed, inflated_len })
    }

    /// Its events, one after another. `None`: they are too many to be looked at, or damaged.
    pub fn inflate(&self) -> Option<Vec<u8>> {
        if !self.is_compressed {
            return Some(self.bytes.to_vec());
        }
        let len = usize::try_from(self.inflated_len).ok()?;
        let fits = len <= limits::BINLOG_PAYLOAD_BYTES_MAX;
        let inflated = fits.then(|| inflate::zstd(self.bytes, len)).flatten()?;
        (inflated.len() == len).then_some(inflated)
    }
}

/// The events in an inflated payload. They have no checksums.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = Result<Event<'_>, Malformed>> {
    let mut decoder = Decoder::bare();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let len = Header::parse(bytes).and_then(|header| usize::try_from(header.bytes).ok());
        let Some((event, rest)) = len.and_then(|len| bytes.split_at_checked(len)) else {
            bytes = &[];
            return Some(malformed("half an event"));
        };
        bytes = if event.is_empty() { &[] } else { rest };
        Some(decoder.decode(event))
    })
}

/// Kinds of events. MariaDB's own begin at 160.
mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const INTVAR: u8 = 5;
    pub(super) const APPEND_BLOCK: u8 = 9;
    pub(super) const DELETE_FILE: u8 = 11;
    pub(super) const RAND: u8 = 13;
    pub(super) const USER_VAR: u8 = 14;
    pub(super) const FORMAT: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const BEGIN_LOAD: u8 = 17;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const ROWS_FIRST_V1: u8 = 23;
    pub(super) const ROWS_LAST_V1: u8 = 25;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const IGNORED: u8 = 28;
    pub(super) const ROWS_QUERY: u8 = 29;
    pub(super) const ROWS_FIRST: u8 = 30;
    pub(super) const ROWS_LAST: u8 = 32;
    pub(super) const GTID: u8 = 33;
    pub(super) const ANONYMOUS: u8 = 34;
    pub(super) const PREVIOUS_GTIDS: u8 = 35;
    pub(super) const TRANSACTION_CONTEXT: u8 = 36;
    pub(super) const VIEW_CHANGE: u8 = 37;
    pub(super) const XA_PREPARE: u8 = 38;
    pub(super) const PARTIAL_ROWS: u8 = 39;
    pub(super) const PAYLOAD: u8 = 40;
    pub(super) const HEARTBEAT_V2: u8 = 41;
    pub(super) const GTID_TAGGED: u8 = 42;
    pub(super) const ANNOTATE: u8 = 160;
    pub(super) const CHECKPOINT: u8 = 161;
    pub(super) const MARIADB_GTID: u8 = 162;
    pub(super) const GTID_LIST: u8 = 163;
    pub(super) const START_ENCRYPTION: u8 = 164;
    pub(super) const QUERY_COMPRESSED: u8 = 165;
    pub(super) const MARIADB_ROWS_FIRST_V1: u8 = 166;
    pub(super) const MARIADB_ROWS_LAST: u8 = 171;

    /// What these bring in front of their bodies; a server that says otherwise is not understood.
    pub(super) const POST_HEADER_LENS: [(u8, u8); 10] = [
        (QUERY, 13),
        (ROTATE, 8),
        (TABLE_MAP, 8),
        (ROWS_FIRST_V1, 8),
        (24, 8),
        (ROWS_LAST_V1, 8),
        (ROWS_FIRST, 10),
        (31, 10),
        (ROWS_LAST, 10),
        (MARIADB_GTID, 19),
    ];
}

#[cfg(test)]
mod tests;
