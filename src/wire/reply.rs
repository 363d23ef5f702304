//! THE result walker: watches a reply go by and turns it into the client's dialect.
//!
//! Rows are stepped over by their headers and copied in slabs; only the packets that begin or end
//! something are looked into. Backends speak DEPRECATE_EOF and SESSION_TRACK where they can, and
//! a client that does not gets its EOFs and plain OKs from here. It decides nothing: what the
//! outcome means is `session`'s. Called by `client::relay`, and for setup replies by `backend`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html

use super::capability::Capabilities;
use super::frame::{Header, build_packet, write_packet};
use super::ok::{Status, Tracked};
use super::{Malformed, malformed};
use crate::limits::{CAPTURE_KEPT_BYTES_MAX, PACKET_HEADER_BYTES, TERMINATOR_BYTES_MAX};

mod packet;
mod run;

/// Walks one reply. Feed it bytes as they come, however they are cut; keep it for the next reply.
#[derive(Debug)]
pub struct Walker {
    expect: Expect,
    shape: Shape,
    stage: Stage,
    /// Sequence number that the backend's next chunk must have.
    theirs: u8,
    /// Chunks that went to the client, or will have gone when the caller did its part. The next
    /// one's number is one more.
    sent: u64,
    /// Last status bits that outlive a statement, for an EOF we have to make up.
    known: Status,
    /// The first bytes of a packet that is cut short: header and first byte of payload.
    head: [u8; 5],
    head_len: usize,
    chunk: Chunk,
    /// What was appended of a packet that is not whole yet: bytes, headers too, and chunks.
    open: (usize, u64),
    /// The number by which the client knows the statement that is being prepared.
    statement_id: Option<u32>,
    capture: Vec<u8>,
    summary: Summary,
}

/// What kind of reply the command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// OK or ERR.
    Simple,
    /// OK, ERR, result sets, or a request for a file.
    Query,
    /// The same, or an open cursor: definitions without rows. MariaDB sets a cursor's flag where
    /// nobody asked for one, too: after loops over rows.
    Cursor,
    /// A statement's id and its definitions.
    Prepare,
    /// Rows from a cursor.
    Fetch,
    /// Column definitions without a count.
    FieldList,
    /// One EOF (SET_OPTION, DEBUG).
    Eof,
    /// One bare packet (STATISTICS).
    Text,
    /// No reply at all (CLOSE, LONG_DATA).
    Nothing,
}

/// What was agreed on with each side; only DEPRECATE_EOF and SESSION_TRACK matter here.
///
/// A client is never offered DEPRECATE_EOF before a backend that has it not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// With the backend.
    pub backend: Capabilities,
    /// With the client.
    pub client: Capabilities,
}

/// How far a feeding came.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// All was taken; the reply goes on.
    More,
    /// The reply is over.
    Done {
        /// Bytes of the input that belonged to it.
        consumed: usize,
    },
    /// The server asks for a file (LOAD DATA LOCAL). Nothing of that packet went to the client.
    Infile {
        /// Bytes of the input up to and with that packet.
        consumed: usize,
    },
}

/// What is known of a reply so far; whole when it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How it ended; `None` while it goes on.
    pub end: Option<End>,
    /// Of the last terminator; nothing is known of it while `results` is 0, as after an ERR or a
    /// PREPARE.
    pub status: Status,
    /// Of the last terminator, or of a PREPARE.
    pub warnings: u16,
    /// Of the last OK.
    pub affected: u64,
    /// Of the last OK.
    pub insert_id: u64,
    /// Of every terminator, in order.
    pub tracked: Vec<Tracked>,
    /// Results that came to their end, OKs among them.
    pub results: u32,
    /// Rows of all results together.
    pub rows: u64,
    /// The very first packet was an ERR: nothing had been sent before it.
    pub first_packet_err: bool,
    /// Of a PREPARE.
    pub statement_id: u32,
    /// Parameters of a prepared statement.
    pub params: u16,
    /// Columns of a prepared statement.
    pub columns: u16,
}

/// How a reply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With an OK, or with whatever stands for it.
    Ok,
    /// With the end of rows.
    Rows,
    /// With an ERR, which went to the client like everything else.
    Err {
        /// Its number.
        code: u16,
        /// Its SQLSTATE.
        state: [u8; 5],
        /// The beginning of its text.
        message: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The packet that says what the result is.
    First,
    /// Definitions of columns or parameters.
    Definitions { left: u64, then: Then },
    /// The EOF after them, from a backend that sends it.
    DefinitionsEof { then: Then },
    /// Translating: whether an EOF must be made up here is told by the packet that comes next,
    /// since an open cursor has only one.
    Peek,
    /// Rows, or the definitions of a FIELD_LIST, to their terminator.
    Rows,
    /// A file was asked for; the caller has to say how many packets its answer took.
    Infile,
    /// Over.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Rows,
    Columns { count: u64 },
    End,
}

/// The chunk that is going by.
#[derive(Debug, Clone, Copy, Default)]
struct Chunk {
    /// Payload bytes of it that are still to come.
    left: usize,
    /// It is gathered rather than passed on.
    captured: bool,
    /// We are between a chunk's header and its end.
    open: bool,
    /// It is full, so the packet goes on in the next one.
    continues: bool,
    /// The next header belongs to the same packet.
    continued: bool,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Capture,
}

impl Walker {
    /// A walker at the beginning of a reply.
    pub fn new(expect: Expect, shape: Shape) -> Self {
        let mut walker = Self {
            expect,
            shape,
            stage: Stage::First,
            theirs: 1,
            sent: 0,
            known: Status::AUTOCOMMIT,
            head: [0; 5],
            head_len: 0,
            chunk: Chunk::default(),
            open: (0, 0),
            statement_id: None,
            capture: Vec::new(),
            summary: Summary::default(),
        };
        walker.reset(expect, shape);
        walker
    }

    /// Begins the next reply and keeps the buffers.
    pub fn reset(&mut self, expect: Expect, shape: Shape) {
        let mut tracked = std::mem::take(&mut self.summary.tracked);
        tracked.clear();
        self.summary = Summary { tracked, ..Summary::default() };
        self.capture.clear();
        self.capture.shrink_to(CAPTURE_KEPT_BYTES_MAX);
        (self.expect, self.shape) = (expect, shape);
        (self.theirs, self.sent, self.statement_id) = (1, 0, None);
        (self.head_len, self.chunk, self.open) = (0, Chunk::default(), (0, 0));
        self.stage = match expect {
            Expect::Fetch | Expect::FieldList => Stage::Rows,
            Expect::Nothing => Stage::Done,
            _ => Stage::First,
        };
        if self.stage == Stage::Done {
            self.summary.end = Some(End::Ok);
        }
    }

    /// Takes the next bytes of the reply and appends the client's to `out`.
    ///
    /// What is appended in all does not depend on how the reply was cut. After an error the
    /// reply's rest has no meaning, and `out` may end within a packet.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Scan, Malformed> {
        let mut rest = input;
        loop {
            let consumed = input.len().saturating_sub(rest.len());
            match self.stage {
                Stage::Done => return Ok(Scan::Done { consumed }),
                Stage::Infile => return Ok(Scan::Infile { consumed }),
                _ if rest.is_empty() => return Ok(Scan::More),
                _ => {}
            }
            if self.chunk.open {
                rest = self.feed_chunk(rest, out)?;
                continue;
            }
            rest = self.feed_run(rest, out);
            rest = self.feed_head(rest, out)?;
        }
    }

    /// What is known so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The client's next sequence number, for an ERR of our own in the middle of a reply.
    pub fn sequence(&self) -> u8 {
        low_byte(self.sent).wrapping_add(1)
    }

    /// Bytes appended of a packet that is not whole yet. Sent to the client without their rest,
    /// they would swallow an ERR that has to follow.
    pub fn open_bytes(&self) -> usize {
        self.open.0
    }

    /// The reply breaks off here, and `out` is what the client has yet to get of it: leaves
    /// whole packets, so that an ERR may follow. A packet that the client has part of is filled up.
    pub fn break_off(&mut self, out: &mut Vec<u8>) {
        let (bytes, chunks) = std::mem::take(&mut self.open);
        let chunk = std::mem::take(&mut self.chunk);
        if bytes <= out.len() {
            out.truncate(out.len().saturating_sub(bytes));
            self.sent = self.sent.wrapping_sub(chunks);
            return;
        }
        out.resize(out.len().saturating_add(chunk.left), 0);
        if chunk.continues || chunk.continued {
            out.extend_from_slice(&Header { len: 0, sequence: self.sequence() }.encode());
            self.sent = self.sent.wrapping_add(1);
        }
    }

    /// The command came in several chunks: the reply's first packet has this number instead of 1.
    pub fn begin_at(&mut self, sequence: u8) {
        self.theirs = sequence;
        self.sent = u64::from(sequence.wrapping_sub(1));
    }

    /// The client is told this number for a statement, whatever number its server gave it.
    pub fn present_statement_as(&mut self, id: u32) {
        self.statement_id = Some(id);
    }

    /// The session's status before this reply, where another backend told it.
    pub fn assume_status(&mut self, status: Status) {
        self.known = status;
    }

    /// The name of the file that the server asked for.
    pub fn infile_name(&self) -> &[u8] {
        match self.stage {
            Stage::Infile => self.capture.get(1..).unwrap_or_default(),
            _ => b"",
        }
    }

    /// Goes on after a request for a file: the client saw the request and sent so many packets,
    /// the last of them empty.
    pub fn resume_after_infile(&mut self, packets: u64) {
        if self.stage == Stage::Infile {
            self.theirs = self.theirs.wrapping_add(low_byte(packets));
            self.sent = self.sent.wrapping_add(packets).wrapping_add(1);
            self.stage = Stage::First;
        }
    }

    fn translates(&self) -> bool {
        self.shape.backend.has(Capabilities::DEPRECATE_EOF)
            && !self.shape.client.has(Capabilities::DEPRECATE_EOF)
    }

    /// Takes as many plain packets at once as lie whole at the front.
    fn feed_run<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if self.head_len > 0 || self.chunk.continued {
            return rest;
        }
        let packets_max = match self.stage {
            Stage::Rows => u64::MAX,
            Stage::Definitions { left, .. } => left,
            _ => return rest,
        };
        let run = if self.sequence() == self.theirs {
            let run = run::measure(rest, self.theirs, packets_max);
            out.extend_from_slice(rest.get(..run.bytes).unwrap_or_default());
            run
        } else {
            run::append_renumbered(rest, out, (self.theirs, self.sequence()), packets_max)
        };
        if run.packets == 0 {
            return rest;
        }
        self.theirs = self.theirs.wrapping_add(low_byte(run.packets));
        self.sent = self.sent.wrapping_add(run.packets);
        self.pass_packets(run.packets, out);
        rest.get(run.bytes..).unwrap_or_default()
    }

    /// Gathers a header, and the first byte of the payload where it decides something.
    fn feed_head<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
        let mut rest = input;
        if matches!(self.stage, Stage::Done | Stage::Infile) {
            return Ok(rest);
        }
        loop {
            let header = Header::parse(self.head.get(..self.head_len).unwrap_or_default());
            let wanted = match header {
                None => PACKET_HEADER_BYTES,
                Some(header) if header.len == 0 || self.chunk.continued => PACKET_HEADER_BYTES,
                Some(_) => self.head.len(),
            };
            if let Some(header) = header.filter(|_| self.head_len >= wanted) {
                self.open_chunk(header, out)?;
                return Ok(rest);
            }
            let Some((byte, tail)) = rest.split_first() else { return Ok(rest) };
            if let Some(place) = self.head.get_mut(self.head_len) {
                *place = *byte;
            }
            self.head_len = self.head_len.saturating_add(1);
            rest = tail;
        }
    }

    /// A header is known: decides what becomes of its chunk.
    fn open_chunk(&mut self, header: Header, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let first = match self.head {
            [.., first] if self.head_len == self.head.len() => Some(first),
            _ => None,
        };
        self.head_len = 0;
        let continued = self.chunk.continued;
        // A server that ends the connection may say so with a number of its own.
        if header.sequence != self.theirs && (continued || first != Some(0xff)) {
            return malformed("reply out of order");
        }
        self.theirs = header.sequence.wrapping_add(1);
        let fate = if continued { Fate::Pass } else { self.decide(header, first)? };
        self.chunk = Chunk {
            left: header.len,
            captured: fate == Fate::Capture,
            open: true,
            continues: header.continues(),
            continued: false,
        };
        if fate == Fate::Capture {
            self.capture.clear();
        } else {
            if self.stage == Stage::Peek {
                self.make_up_eof(out);
                self.stage = Stage::Rows;
            }
            out.extend_from_slice(&Header { sequence: self.sequence(), ..header }.encode());
            self.sent = self.sent.wrapping_add(1);
            self.open =
                (self.open.0.saturating_add(PACKET_HEADER_BYTES), self.open.1.wrapping_add(1));
        }
        let first_bytes = first.as_slice();
        let rest = self.feed_chunk(first_bytes, out)?;
        debug_assert!(rest.is_empty());
        Ok(())
    }

    /// Moves the open chunk's bytes on, and closes it after its last one.
    fn feed_chunk<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Malformed> {
        let len = input.len().min(self.chunk.left);
        let (bytes, rest) = input.split_at_checked(len).unwrap_or((input, &[]));
        self.chunk.left = self.chunk.left.saturating_sub(len);
        if self.chunk.captured {
            self.capture.extend_from_slice(bytes);
        } else {
            out.extend_from_slice(bytes);
            self.open.0 = self.open.0.saturating_add(len);
        }
        if self.chunk.left > 0 {
            return Ok(rest);
        }
        let closed = std::mem::take(&mut self.chunk);
        if closed.continues {
            self.chunk.continued = true;
        } else if closed.captured {
            self.take_captured(out)?;
        } else {
            self.open = (0, 0);
            self.pass_packets(1, out);
        }
        Ok(rest)
    }

    /// Whether a packet is looked into, told by its stage, length and first byte alone.
    fn decide(&self, header: Header, first: Option<u8>) -> Result<Fate, Malformed> {
        let fate = match (self.stage, first) {
            (Stage::First, Some(0xff)) => Fate::Capture,
            (Stage::First, _) if self.expect == Expect::Text => Fate::Pass,
            (Stage::First | Stage::DefinitionsEof { .. }, _) => Fate::Capture,
            (_, None) => return malformed("an empty packet within a result"),
            (_, Some(0xff)) => Fate::Capture,
            (Stage::Rows | Stage::Peek, Some(0xfe)) if self.terminates(header) => Fate::Capture,
            _ => Fate::Pass,
        };
        // So long a packet is no terminator, whatever its first byte is.
        if fate == Fate::Capture && header.len > TERMINATOR_BYTES_MAX {
            return malformed("a terminator longer than allowed");
        }
        Ok(fate)
    }

    /// A packet of this length that begins with 0xFE is no row: a row's value that needs eight
    /// bytes of length fills its first chunk.
    fn terminates(&self, header: Header) -> bool {
        match self.shape.backend.has(Capabilities::DEPRECATE_EOF) {
            true => !header.continues(),
            false => header.len < 9,
        }
    }

    /// So many packets of definitions or rows went by.
    fn pass_packets(&mut self, packets: u64, out: &mut Vec<u8>) {
        match self.stage {
            Stage::Definitions { left, then } => match left.saturating_sub(packets) {
                0 => self.close_definitions(then, out),
                left => self.stage = Stage::Definitions { left, then },
            },
            Stage::Rows if self.expect != Expect::FieldList => {
                self.summary.rows = self.summary.rows.saturating_add(packets);
            }
            Stage::First => self.finish(End::Ok),
            _ => {}
        }
    }

    /// The last definition went by: an EOF comes, or must be made up, or neither.
    fn close_definitions(&mut self, then: Then, out: &mut Vec<u8>) {
        if !self.shape.backend.has(Capabilities::DEPRECATE_EOF) {
            self.stage = Stage::DefinitionsEof { then };
            return;
        }
        if self.translates() && then == Then::Rows {
            self.stage = Stage::Peek;
            return;
        }
        if self.translates() {
            self.make_up_eof(out);
        }
        self.go_on(then);
    }

    fn go_on(&mut self, then: Then) {
        match then {
            Then::Rows => self.stage = Stage::Rows,
            Then::Columns { count } => {
                self.stage = Stage::Definitions { left: count, then: Then::End };
            }
            Then::End => self.finish(End::Ok),
        }
    }

    fn finish(&mut self, end: End) {
        self.summary.end = Some(end);
        self.stage = Stage::Done;
    }

    /// Appends one short packet with the client's number.
    fn send(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        write_packet(out, self.sequence(), payload);
        self.sent = self.sent.wrapping_add(1);
    }

    /// The same, built in place.
    fn build(&mut self, out: &mut Vec<u8>, build: impl FnOnce(&mut Vec<u8>)) {
        build_packet(out, self.sequence(), build);
        self.sent = self.sent.wrapping_add(1);
    }
}

fn low_byte(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

#[cfg(test)]
mod tests;
