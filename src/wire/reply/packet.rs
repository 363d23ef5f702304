//! What the walker does with the few packets that it looks into.
//!
//! Not the walking: see the parent. Called by the walker alone, with one whole payload.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html

use super::{End, Expect, Stage, Then, Walker};
use crate::limits::{COLUMNS_MAX, ERR_KEPT_BYTES_MAX};
use crate::wire::capability::Capabilities;
use crate::wire::cursor::{Cursor, put_u32};
use crate::wire::err::Err;
use crate::wire::ok::{self, Ok, Status};
use crate::wire::{Malformed, malformed};

/// MariaDB tells its progress with ERR packets of this number; the reply goes on after them.
const PROGRESS: u16 = 0xffff;

impl Walker {
    /// A packet was gathered whole.
    pub(super) fn take_captured(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let payload = std::mem::take(&mut self.capture);
        let taken = self.take_packet(&payload, out);
        self.capture = payload;
        taken
    }

    fn take_packet(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if payload.first() == Some(&0xff) {
            return self.take_err(payload, out);
        }
        match self.stage {
            Stage::First => self.take_first(payload, out),
            Stage::DefinitionsEof { then } => self.take_definitions_eof(payload, then, out),
            Stage::Peek | Stage::Rows => self.take_terminator(payload, End::Rows, out),
            Stage::Definitions { .. } | Stage::Infile | Stage::Done => {
                malformed("a packet where none can be")
            }
        }
    }

    fn take_first(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        match (self.expect, payload.first()) {
            (Expect::Simple | Expect::Query | Expect::Cursor | Expect::Eof, Some(0x00)) => {
                self.take_ok(payload, out)
            }
            (Expect::Eof, Some(0xfe)) => self.take_terminator(payload, End::Ok, out),
            (Expect::Query | Expect::Cursor, Some(0xfb)) => {
                self.stage = Stage::Infile;
                Ok(())
            }
            (Expect::Query | Expect::Cursor, Some(_)) => self.take_column_count(payload, out),
            (Expect::Prepare, Some(0x00)) => self.take_prepared(payload, out),
            _ => malformed("a reply of another kind than the command's"),
        }
    }

    fn take_column_count(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(payload);
        let count = cursor.lenenc()?;
        if count == 0 || count > COLUMNS_MAX || cursor.remaining() > 0 {
            return malformed("not a column count");
        }
        self.send(payload, out);
        self.stage = Stage::Definitions { left: count, then: Then::Rows };
        Ok(())
    }

    fn take_prepared(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.u8()?;
        self.summary.statement_id = cursor.u32()?;
        self.summary.columns = cursor.u16()?;
        self.summary.params = cursor.u16()?;
        cursor.u8()?;
        self.summary.warnings = if cursor.remaining() > 0 { cursor.u16()? } else { 0 };
        // The OK's byte and the server's number.
        match (self.statement_id, payload.split_at_checked(5)) {
            (Some(id), Some((_, rest))) => self.build(out, |out| {
                out.push(0);
                put_u32(out, id);
                out.extend_from_slice(rest);
            }),
            _ => self.send(payload, out),
        }
        let columns = match u64::from(self.summary.columns) {
            0 => Then::End,
            count => Then::Columns { count },
        };
        match u64::from(self.summary.params) {
            0 => self.go_on(columns),
            left => self.stage = Stage::Definitions { left, then: columns },
        }
        Ok(())
    }

    fn take_ok(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let ok = Ok::parse(payload, self.shape.backend)?;
        self.send_ok(&ok, payload, 0x00, out);
        (self.summary.affected, self.summary.insert_id) = (ok.affected, ok.insert_id);
        self.learn(ok);
        self.close_result(End::Ok);
        Ok(())
    }

    /// The end of rows, of a FIELD_LIST, or a lone EOF.
    fn take_terminator(
        &mut self,
        payload: &[u8],
        end: End,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if !self.shape.backend.has(Capabilities::DEPRECATE_EOF) {
            let (status, warnings) = ok::parse_eof(payload)?;
            self.send(payload, out);
            self.note(status, warnings);
            self.close_result(end);
            return Ok(());
        }
        let ok = Ok::parse(payload, self.shape.backend)?;
        if self.translates() {
            if self.stage == Stage::Peek && !self.is_open_cursor(ok.status) {
                self.make_up_eof(out);
            }
            let status = ok.status.without(Status::STATE_CHANGED);
            self.send_eof(status, ok.warnings, out);
        } else {
            self.send_ok(&ok, payload, 0xfe, out);
        }
        self.learn(ok);
        self.close_result(end);
        Ok(())
    }

    /// Whether what has these flags behind its definitions has no rows, and no end of them.
    fn is_open_cursor(&self, status: Status) -> bool {
        self.expect == Expect::Cursor
            && status.has(Status::CURSOR_EXISTS)
            && !status.has(Status::MORE_RESULTS)
    }

    fn take_definitions_eof(
        &mut self,
        payload: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let (status, warnings) = ok::parse_eof(payload)?;
        self.send(payload, out);
        // A cursor was opened: its rows are fetched by another command.
        if then == Then::Rows && self.is_open_cursor(status) {
            self.note(status, warnings);
            self.close_result(End::Rows);
        } else {
            self.go_on(then);
        }
        Ok(())
    }

    fn take_err(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Err { code, state, mut message } = Err::parse(payload)?;
        if code == PROGRESS {
            return Ok(());
        }
        if self.stage == Stage::Peek {
            self.make_up_eof(out);
        }
        self.summary.first_packet_err = self.sent == 0;
        self.send(payload, out);
        message.truncate(ERR_KEPT_BYTES_MAX);
        self.finish(End::Err { code, state, message });
        Ok(())
    }

    fn close_result(&mut self, end: End) {
        self.summary.results = self.summary.results.saturating_add(1);
        let several = matches!(self.expect, Expect::Query | Expect::Cursor);
        if several && self.summary.status.has(Status::MORE_RESULTS) {
            self.stage = Stage::First;
        } else {
            self.finish(end);
        }
    }

    fn learn(&mut self, ok: Ok<'_>) {
        self.note(ok.status, ok.warnings);
        if !ok.tracked.is_empty() {
            self.summary.tracked.extend(ok.tracked);
        }
    }

    fn note(&mut self, status: Status, warnings: u16) {
        (self.summary.status, self.summary.warnings) = (status, warnings);
        self.known = status.lasting();
    }

    /// As it came where both sides track alike, else built anew.
    fn send_ok(&mut self, ok: &Ok<'_>, payload: &[u8], header_byte: u8, out: &mut Vec<u8>) {
        let tracks = |side: Capabilities| side.has(Capabilities::SESSION_TRACK);
        if tracks(self.shape.backend) == tracks(self.shape.client) {
            return self.send(payload, out);
        }
        let client = self.shape.client;
        self.build(out, |out| ok.encode(out, header_byte, client));
    }

    pub(super) fn make_up_eof(&mut self, out: &mut Vec<u8>) {
        self.send_eof(self.known, 0, out);
    }

    fn send_eof(&mut self, status: Status, warnings: u16, out: &mut Vec<u8>) {
        self.build(out, |out| ok::encode_eof(out, status, warnings));
    }
}
