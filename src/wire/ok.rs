//! OK and EOF packets: the status of the session, and what changed in it.
//!
//! Reads one payload and builds one; how an OK of one dialect becomes an EOF of the other is
//! `reply`'s. Called by `reply`, `backend` and whoever answers a client.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html

use super::capability::Capabilities;
use super::cursor::{Cursor, put_lenenc, put_lenenc_bytes, put_u16};
use super::frame::build_packet;
use super::{Malformed, malformed};

/// The end of a statement that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ok<'a> {
    /// Rows changed, or found if the client wants that.
    pub affected: u64,
    /// The first AUTO_INCREMENT value made.
    pub insert_id: u64,
    /// The session's state.
    pub status: Status,
    /// How many warnings there are.
    pub warnings: u16,
    /// A text for people: `Rows matched: 1  Changed: 1  Warnings: 0`.
    pub info: &'a [u8],
    /// What changed in the session.
    pub tracked: Vec<Tracked>,
}

/// The session's state as every terminator tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub u16);

impl Status {
    /// A transaction is open.
    pub const IN_TRANS: Self = Self(0x0001);
    /// Statements commit by themselves.
    pub const AUTOCOMMIT: Self = Self(0x0002);
    /// Another result follows.
    pub const MORE_RESULTS: Self = Self(0x0008);
    /// A cursor is open; rows are to be fetched.
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    /// The cursor gave its last row.
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    /// A backslash is a character like any other.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(0x0200);
    /// The open transaction may only read.
    pub const TRANS_READONLY: Self = Self(0x2000);
    /// Trackers follow, where they were agreed on.
    pub const STATE_CHANGED: Self = Self(0x4000);

    /// What outlives the statement: the rest tells how it ran, and is cleared before the next.
    #[must_use]
    pub const fn lasting(self) -> Self {
        // More results, index use, cursor, a schema dropped, metadata changed, slow, out
        // parameters, state changed.
        Self(self.0 & !(0x0008 | 0x0030 | 0x00c0 | 0x0100 | 0x0400 | 0x0800 | 0x1000 | 0x4000))
    }

    /// Every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// One thing that changed in the session.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// A system variable has this value now.
    Variable {
        /// Its name.
        name: Vec<u8>,
        /// Its value as text.
        value: Vec<u8>,
    },
    /// The default schema.
    Schema(Vec<u8>),
    /// Something changed that may not be told in words.
    StateChanged,
    /// The statement's transaction, or all that was ever executed, as the server was told.
    Gtids(Vec<u8>),
    /// Statements that begin the transaction anew.
    TransactionCharacteristics(Vec<u8>),
    /// Eight letters about the transaction.
    TransactionState(Vec<u8>),
    /// A tracker of a kind, or a shape, that is not known.
    Unknown(u8),
}

impl<'a> Ok<'a> {
    /// Reads an OK, whether it begins with 0x00 or, in place of an EOF, with 0xFE.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if !matches!(cursor.u8(), Ok(0x00 | 0xfe)) {
            return malformed("not an OK packet");
        }
        let (affected, insert_id) = (cursor.lenenc()?, cursor.lenenc()?);
        let (status, warnings) = (Status(cursor.u16()?), cursor.u16()?);
        let (mut info, mut tracked) = (&b""[..], Vec::new());
        if capabilities.has(Capabilities::SESSION_TRACK) {
            // Both fields are left out when there is nothing to tell.
            if cursor.remaining() > 0 {
                info = cursor.lenenc_bytes()?;
            }
            if status.has(Status::STATE_CHANGED) && cursor.remaining() > 0 {
                tracked = read_trackers(cursor.lenenc_bytes()?)?;
            }
        } else {
            info = read_classic_info(cursor.rest());
        }
        Ok(Self { affected, insert_id, status, warnings, info, tracked })
    }

    /// Appends the payload for a receiver that agreed on `capabilities`; without SESSION_TRACK
    /// there is no word of trackers in it.
    pub fn encode(&self, out: &mut Vec<u8>, header_byte: u8, capabilities: Capabilities) {
        let tracks = capabilities.has(Capabilities::SESSION_TRACK)
            && self.tracked.iter().any(|one| !matches!(one, Tracked::Unknown(_)));
        let bare = self.status.without(Status::STATE_CHANGED);
        let status = if tracks { bare.with(Status::STATE_CHANGED) } else { bare };
        out.push(header_byte);
        put_lenenc(out, self.affected);
        put_lenenc(out, self.insert_id);
        put_u16(out, status.0);
        put_u16(out, self.warnings);
        // The manual calls a classic text `string<EOF>`; servers have always sent its length
        // first, and clients read it so.
        if tracks || !self.info.is_empty() {
            put_lenenc_bytes(out, self.info);
        }
        if tracks {
            let mut block = Vec::new();
            self.tracked.iter().for_each(|one| one.encode(&mut block));
            put_lenenc_bytes(out, &block);
        }
    }
}

/// A text with its length before it, as servers send it, or without, as the manual has it.
fn read_classic_info(rest: &[u8]) -> &[u8] {
    let mut cursor = Cursor::new(rest);
    match cursor.lenenc_bytes() {
        Ok(info) if cursor.remaining() == 0 => info,
        _ => rest,
    }
}

fn read_trackers(block: &[u8]) -> Result<Vec<Tracked>, Malformed> {
    let mut cursor = Cursor::new(block);
    let mut tracked = Vec::new();
    while cursor.remaining() > 0 {
        let kind = cursor.u8()?;
        let data = cursor.lenenc_bytes()?;
        let before = tracked.len();
        if read_tracker(kind, data, &mut tracked).is_err() {
            tracked.truncate(before);
            tracked.push(Tracked::Unknown(kind));
        }
    }
    Ok(tracked)
}

/// One entry; MariaDB may tell several variables in one.
fn read_tracker(kind: u8, data: &[u8], tracked: &mut Vec<Tracked>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(data);
    loop {
        tracked.push(match kind {
            0 => Tracked::Variable {
                name: cursor.lenenc_bytes()?.to_vec(),
                value: cursor.lenenc_bytes()?.to_vec(),
            },
            1 => Tracked::Schema(cursor.lenenc_bytes()?.to_vec()),
            // A bare digit, without a length of its own.
            2 => {
                cursor.u8()?;
                cursor.rest();
                Tracked::StateChanged
            }
            3 => {
                if cursor.u8()? != 0 {
                    return malformed("GTIDs in an encoding that is not known");
                }
                Tracked::Gtids(cursor.lenenc_bytes()?.to_vec())
            }
            4 => Tracked::TransactionCharacteristics(cursor.lenenc_bytes()?.to_vec()),
            5 => Tracked::TransactionState(cursor.lenenc_bytes()?.to_vec()),
            _ => return malformed("a tracker that is not known"),
        });
        if cursor.remaining() == 0 {
            return Ok(());
        }
        if kind != 0 {
            return malformed("bytes behind a tracker");
        }
    }
}

impl Tracked {
    /// Appends the entry; one that is not known leaves nothing.
    fn encode(&self, block: &mut Vec<u8>) {
        let mut data = Vec::new();
        let kind = match self {
            Self::Variable { name, value } => {
                put_lenenc_bytes(&mut data, name);
                put_lenenc_bytes(&mut data, value);
                0
            }
            Self::Schema(name) => {
                put_lenenc_bytes(&mut data, name);
                1
            }
            Self::StateChanged => {
                data.push(b'1');
                2
            }
            Self::Gtids(set) => {
                data.push(0);
                put_lenenc_bytes(&mut data, set);
                3
            }
            Self::TransactionCharacteristics(text) => {
                put_lenenc_bytes(&mut data, text);
                4
            }
            Self::TransactionState(letters) => {
                put_lenenc_bytes(&mut data, letters);
                5
            }
            Self::Unknown(_) => return,
        };
        block.push(kind);
        put_lenenc_bytes(block, &data);
    }
}

/// Appends the payload of an EOF.
pub fn encode_eof(out: &mut Vec<u8>, status: Status, warnings: u16) {
    out.push(0xfe);
    put_u16(out, warnings);
    put_u16(out, status.0);
}

/// Appends an EOF packet and returns the sequence number that comes next.
pub fn write_eof(out: &mut Vec<u8>, sequence: u8, status: Status, warnings: u16) -> u8 {
    build_packet(out, sequence, |out| encode_eof(out, status, warnings))
}

/// Appends an OK packet with nothing to tell but the status; returns the sequence number that
/// comes next.
pub fn write_ok(out: &mut Vec<u8>, sequence: u8, status: Status, capabilities: Capabilities) -> u8 {
    let ok = Ok { affected: 0, insert_id: 0, status, warnings: 0, info: b"", tracked: Vec::new() };
    build_packet(out, sequence, |out| ok.encode(out, 0x00, capabilities))
}

/// An EOF payload: warnings and status.
pub fn parse_eof(payload: &[u8]) -> Result<(Status, u16), Malformed> {
    match *payload {
        [0xfe, w0, w1, s0, s1] => {
            Ok((Status(u16::from_le_bytes([s0, s1])), u16::from_le_bytes([w0, w1])))
        }
        _ => malformed("not an EOF packet"),
    }
}

#[cfg(test)]
mod tests;
