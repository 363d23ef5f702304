//! The primary's log as whoever follows it is sent it: numbered transactions, tables and rows.
//!
//! Written in the form that real servers write (`wire::binlog`), so that the real follower reads
//! it. It comes late, stalls and breaks off as the seed says; now and then a transaction is logged
//! as a statement, which may have changed anything. Called by `talk`.

use super::{Farm, Server, UUID};
use crate::sim::link::Line;
use crate::sim::random::Random;
use crate::sim::store::{Change, Table};
use crate::sql::Flavour;
use crate::wire::cursor::{Cursor, put_lenenc_bytes, put_u16, put_u32, put_u64};
use crate::wire::frame::write_packet;

/// Who reads it.
pub(super) struct Reader<'a> {
    pub(super) farm: &'a Farm,
    pub(super) server: &'a Server,
    pub(super) line: &'a mut Line,
    pub(super) random: Random,
    /// The number of the next packet.
    sequence: u8,
    /// Events end with a checksum.
    checksums: bool,
}

/// Nothing happened for so long: that is said.
const HEARTBEAT_MS: u64 = 1000;
/// A stream that stalls may be given up, and may not.
const STALL_MS_MAX: u64 = 8000;
/// Of a thousand transactions, so many are logged as statements.
const STATEMENTS: u64 = 20;
/// Of the toy primary.
const SERVER: u32 = 1;

mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const FORMAT: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const WRITE_V1: u8 = 23;
    pub(super) const UPDATE_V1: u8 = 24;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const WRITE: u8 = 30;
    pub(super) const UPDATE: u8 = 31;
    pub(super) const GTID: u8 = 33;
    pub(super) const MARIADB_GTID: u8 = 162;
}

/// The last transaction that the reader of a COM_BINLOG_DUMP_GTID has.
pub(super) fn last_of(payload: &[u8]) -> u64 {
    let mut cursor = Cursor::new(payload);
    let mut read = || {
        // The command, flags, its number, no name of a file, a place, the length of the set.
        cursor.bytes(1 + 2 + 4 + 4 + 8 + 4)?;
        let sources = cursor.u64()?;
        cursor.bytes(16)?;
        let (_intervals, _first, behind) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        Ok::<u64, crate::wire::Malformed>(if sources == 1 { behind.saturating_sub(1) } else { 0 })
    };
    read().unwrap_or(0)
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        farm: &'a Farm,
        server: &'a Server,
        line: &'a mut Line,
        random: Random,
    ) -> Self {
        let checksums = farm.profile.flavour == Flavour::MySql;
        Self { farm, server, line, random, sequence: 1, checksums }
    }

    /// Sends what comes after that transaction, until the line is lost.
    pub(super) async fn follow(mut self, mut last: u64) -> Option<()> {
        self.farm.oracle.note(&format!("the log is followed from {last} on"));
        let format = self.format();
        self.send(&format).await?;
        loop {
            let told = self.farm.committed.notified();
            if self.farm.transaction(last + 1).is_none() {
                // Told, or time passed, or the reader has left: whatever it is, it is said.
                tokio::select! {
                    biased;
                    () = told => {}
                    () = self.line.pause(HEARTBEAT_MS) => {
                        let heartbeat = self.event(kind::HEARTBEAT, b"toy-bin.000001");
                        self.send(&heartbeat).await?;
                    }
                }
                continue;
            }
            let profile = self.farm.profile;
            let stalls = self.random.chance(profile.lost_within);
            let ms_max = if stalls { STALL_MS_MAX } else { profile.stream_ms_max };
            let ms = self.random.between(0, ms_max);
            self.line.pause(ms).await;
            while let Some(changes) = self.farm.transaction(last + 1) {
                last += 1;
                let mut bytes = self.transaction(last, &changes);
                if !self.farm.is_calm() && self.random.chance(profile.lost_within) {
                    self.farm.oracle.fault("the log breaks off");
                    let len = self.random.between(0, bytes.len() as u64);
                    bytes.truncate(usize::try_from(len).unwrap_or(0));
                    self.send(&bytes).await?;
                    return None;
                }
                self.send(&bytes).await?;
                self.farm.oracle.count(|counts| counts.streamed += 1);
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        while self.server.look(|state| state.frozen) {
            self.line.pause(20).await;
        }
        (!self.line.is_closed() && self.line.write(bytes).await).then_some(())
    }

    /// The packets of one transaction.
    fn transaction(&mut self, number: u64, changes: &[Change]) -> Vec<u8> {
        let mut bytes = self.gtid(number);
        if self.random.chance(STATEMENTS) {
            bytes.extend(self.query(b"UPDATE anything"));
        } else {
            for (at, change) in changes.iter().enumerate() {
                let id = number * 1000 + at as u64;
                bytes.extend(self.table(id, change));
                bytes.extend(self.row(id, change));
            }
        }
        let xid = self.event(kind::XID, &number.to_le_bytes());
        bytes.extend(xid);
        bytes
    }

    fn gtid(&mut self, number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        if self.farm.profile.flavour == Flavour::MariaDb {
            put_u64(&mut body, number);
            put_u32(&mut body, 0);
            body.extend([0; 7]);
            return self.event(kind::MARIADB_GTID, &body);
        }
        body.push(0);
        body.extend(uuid());
        put_u64(&mut body, number);
        let mut bytes = self.event(kind::GTID, &body);
        bytes.extend(self.query(b"BEGIN"));
        bytes
    }

    // page_protocol_replication_binlog_event.html
    fn query(&mut self, text: &[u8]) -> Vec<u8> {
        // Thread and time, no schema, no error, no variables, and the end of the schema's name.
        let body = [&[0; 8][..], &[0], &[0; 2], &[0; 2], &[0], text].concat();
        self.event(kind::QUERY, &body)
    }

    fn table(&mut self, id: u64, change: &Change) -> Vec<u8> {
        let mut body = id.to_le_bytes().get(..6).unwrap_or_default().to_vec();
        put_u16(&mut body, 1);
        for name in [change.place.schema, change.place.table.name()] {
            put_lenenc_bytes(&mut body, name.as_bytes());
            body.push(0);
        }
        // INT and VARCHAR(200), which may be NULL.
        body.extend([2, 3, 15, 2, 200, 0, 0b10]);
        self.event(kind::TABLE_MAP, &body)
    }

    fn row(&mut self, id: u64, change: &Change) -> Vec<u8> {
        let is_mysql = self.farm.profile.flavour == Flavour::MySql;
        let is_update = change.place.table == Table::Items;
        let mut body = id.to_le_bytes().get(..6).unwrap_or_default().to_vec();
        put_u16(&mut body, 1);
        if is_mysql {
            put_u16(&mut body, 2);
        }
        body.extend([2, 0b11]);
        let key = u32::try_from(change.place.id).unwrap_or(u32::MAX);
        if is_update {
            // Of both images; before, the token is not told.
            body.extend([0b11, 0b10]);
            put_u32(&mut body, key);
        }
        body.push(0);
        put_u32(&mut body, key);
        body.push(u8::try_from(change.token.len()).unwrap_or(0));
        body.extend(change.token.as_bytes());
        let kind = match (is_mysql, is_update) {
            (true, true) => kind::UPDATE,
            (true, false) => kind::WRITE,
            (false, true) => kind::UPDATE_V1,
            (false, false) => kind::WRITE_V1,
        };
        self.event(kind, &body)
    }

    fn format(&mut self) -> Vec<u8> {
        let mut body = vec![4, 0];
        body.extend([0; 50]);
        body.extend([0; 4]);
        body.extend([19, u8::from(self.checksums)]);
        // It has one itself in any case.
        let checksums = std::mem::replace(&mut self.checksums, true);
        let bytes = self.event(kind::FORMAT, &body);
        self.checksums = checksums;
        bytes
    }

    /// One event in its packet.
    fn event(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let sum_len = if self.checksums { 4 } else { 0 };
        let mut event = vec![0];
        put_u32(&mut event, 0);
        event.push(kind);
        put_u32(&mut event, SERVER);
        put_u32(&mut event, u32::try_from(19 + body.len() + sum_len).unwrap_or(u32::MAX));
        put_u32(&mut event, 0);
        put_u16(&mut event, 0);
        event.extend_from_slice(body);
        if self.checksums {
            let sum = crc32fast::hash(event.get(1..).unwrap_or_default());
            put_u32(&mut event, sum);
        }
        let mut out = Vec::new();
        self.sequence = write_packet(&mut out, self.sequence, &event);
        out
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.farm.oracle.note("the log is not followed");
    }
}

fn uuid() -> impl Iterator<Item = u8> {
    let digits: Vec<u8> =
        UUID.bytes().filter_map(|letter| Some(char::from(letter).to_digit(16)? as u8)).collect();
    let mut digits = digits.into_iter();
    std::iter::from_fn(move || Some(digits.next()? << 4 | digits.next()?))
}
