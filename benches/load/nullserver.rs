//! A server that costs next to nothing: it lets everybody in and answers every statement at once
//! from prepared bytes. What a proxy costs is then seen without a database's noise. Its log can be
//! followed, and nothing ever happens in it.
//!
//!     nullserver --listen 127.0.0.1:PORT [--read-only] [--number 1] [--version 8.0.40]

mod packet;

use packet::{AS_PHP, DEPRECATE_EOF, SESSION_TRACK, first, put, put_text};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const AUTOCOMMIT: u8 = 2;
/// SERVER_SESSION_STATE_CHANGED, of the status' second byte.
const STATE_CHANGED: u8 = 0x40;
/// SESSION_TRACK_SYSTEM_VARIABLES
const SYSTEM_VARIABLE: u8 = 0;
const OK: [u8; 7] = [0, 0, 0, AUTOCOMMIT, 0, 0, 0];
const EOF: [u8; 5] = [0xfe, 0, 0, AUTOCOMMIT, 0];
/// Kinds of events in the log.
const FORMAT_DESCRIPTION: u8 = 15;
const HEARTBEAT: u8 = 27;

/// A result without a row.
const NO_ROWS: &[(&str, &str)] = &[("name", "")];
/// The only table that is owned up to, for who asks for the names of all and for its columns: its
/// rows are told apart by their names then.
const TABLES: &[(&str, &str)] = &[("TABLE_SCHEMA", "wordpress"), ("TABLE_NAME", "wp_options")];
const COLUMNS: &[(&str, &str)] = &[
    ("COLUMN_NAME", "option_name"),
    ("ORDINAL_POSITION", "2"),
    ("DATA_TYPE", "varchar"),
    ("COLLATION_NAME", "utf8mb4_unicode_520_ci"),
];

/// What this server says of itself when a proxy asks.
struct Identity {
    number: u32,
    read_only: bool,
    version: String,
}

impl Identity {
    fn variable(&self, name: &str) -> String {
        let bare = name.trim().trim_start_matches("@@");
        let bare = bare.split_once('.').map_or(bare, |(_, rest)| rest);
        let bare = bare.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(bare);
        match bare.to_ascii_lowercase().as_str() {
            "read_only" | "super_read_only" | "innodb_read_only" => {
                u8::from(self.read_only).to_string()
            }
            "server_uuid" => format!("00000000-0000-0000-0000-{:012}", self.number),
            "server_id" => self.number.to_string(),
            "hostname" => format!("null{}", self.number),
            "gtid_executed" => "00000000-0000-0000-0000-000000000001:1-100".to_owned(),
            "gtid_mode" => "ON".to_owned(),
            "version" => self.version.clone(),
            "sql_mode" => "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION".to_owned(),
            "session_track_gtids" => "OFF".to_owned(),
            "time_zone" | "system_time_zone" => "SYSTEM".to_owned(),
            // A proxy that cannot tell how text is read may not read it at all.
            "character_set_client" | "character_set_results" | "character_set_connection" => {
                "utf8mb4".to_owned()
            }
            "collation_connection" => "utf8mb4_0900_ai_ci".to_owned(),
            "lc_time_names" => "en_US".to_owned(),
            "max_allowed_packet" => "67108864".to_owned(),
            _ => "1".to_owned(),
        }
    }

    fn greeting(&self) -> Vec<u8> {
        let capabilities = (AS_PHP
            | DEPRECATE_EOF
            | SESSION_TRACK
            | 1 << 1
            | 1 << 3
            | 1 << 18
            | 1 << 20
            | 1 << 21)
            .to_le_bytes();
        let mut body = vec![10];
        body.extend_from_slice(self.version.as_bytes());
        body.extend_from_slice(&[0, 1, 0, 0, 0]);
        body.extend_from_slice(b"12345678\0");
        body.extend_from_slice(&capabilities[..2]);
        body.extend_from_slice(&[255, AUTOCOMMIT, 0]);
        body.extend_from_slice(&capabilities[2..]);
        body.push(21);
        body.extend_from_slice(&[0; 10]);
        body.extend_from_slice(b"901234567890\0mysql_native_password\0");
        let mut out = Vec::new();
        put(&mut out, 0, &body);
        out
    }
}

/// One row of text columns, or none where they have no values.
fn rows(columns: &[(&str, &str)], modern: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1;
    let mut packet = |payload: &[u8]| {
        put(&mut out, sequence, payload);
        sequence += 1;
    };
    packet(&[u8::try_from(columns.len()).unwrap_or(1)]);
    for (name, _) in columns {
        let mut body = b"\x03def\x09wordpress\x0awp_options\x0awp_options".to_vec();
        put_text(&mut body, name.as_bytes());
        put_text(&mut body, name.as_bytes());
        body.extend_from_slice(&[12, 255, 0, 0, 4, 0, 0, 253, 0, 0, 0, 0, 0]);
        packet(&body);
    }
    if !modern {
        packet(&EOF);
    }
    let mut row = Vec::new();
    columns.iter().for_each(|(_, value)| put_text(&mut row, value.as_bytes()));
    if columns != NO_ROWS {
        packet(&row);
    }
    if modern {
        packet(&[0xfe, 0, 0, AUTOCOMMIT, 0, 0, 0])
    } else {
        packet(&EOF)
    }
    out
}

/// The answer to a SET, which tells what it set: NAMES and the sql_mode, as WordPress says them.
fn told(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let quotes: &[char] = &['\'', '"', ' '];
    let set = match text.strip_prefix("SET NAMES ") {
        Some(name) => {
            let name = name.split(" COLLATE ").next()?.trim_matches(quotes);
            ["client", "connection", "results"]
                .map(|whose| (format!("character_set_{whose}"), name))
                .to_vec()
        }
        None => {
            let value = text.strip_prefix("SET SESSION sql_mode=")?;
            vec![("sql_mode".to_owned(), value.trim_matches(quotes))]
        }
    };
    let mut changes = Vec::new();
    for (name, value) in set {
        let mut change = Vec::new();
        put_text(&mut change, name.as_bytes());
        put_text(&mut change, value.as_bytes());
        changes.push(SYSTEM_VARIABLE);
        put_text(&mut changes, &change);
    }
    let mut body = vec![0, 0, 0, AUTOCOMMIT, STATE_CHANGED, 0, 0, 0];
    put_text(&mut body, &changes);
    let mut out = Vec::new();
    put(&mut out, 1, &body);
    Some(out)
}

/// What a client agreed on.
#[derive(Clone, Copy)]
struct Agreed {
    /// It deprecates EOF.
    modern: bool,
    /// It wants to be told what changes.
    tracks: bool,
}

/// What is to be done after a command.
enum Next {
    Ask,
    Follow,
    Leave,
}

/// Answers that are the same for everybody, by whether the client deprecates EOF.
struct Prepared {
    ok: Vec<u8>,
    row: [Vec<u8>; 2],
    identity: Identity,
}

impl Prepared {
    fn answer(&self, text: &[u8], agreed: Agreed, out: &mut Vec<u8>) {
        let modern = agreed.modern;
        let word = text.get(..6).unwrap_or_default();
        if agreed.tracks
            && let Some(told) = told(text)
        {
            out.extend_from_slice(&told);
            return;
        }
        if !word.eq_ignore_ascii_case(b"SELECT") {
            let show = word.get(..4).unwrap_or_default().eq_ignore_ascii_case(b"SHOW");
            out.extend_from_slice(if show { &self.row[usize::from(modern)] } else { &self.ok });
        } else if text.windows(18).any(|part| part.eq_ignore_ascii_case(b"information_schema")) {
            // No views, no odd engines, no foreign keys.
            let found = match text.get(6..18) {
                Some(b" TABLE_SCHEM") => TABLES,
                Some(b" COLUMN_NAME") => COLUMNS,
                _ => NO_ROWS,
            };
            out.extend_from_slice(&rows(found, modern));
        } else if text.contains(&b'@') {
            let text = String::from_utf8_lossy(text.get(6..).unwrap_or_default()).into_owned();
            let text = text.split(" FROM ").next().unwrap_or_default();
            let found: Vec<_> =
                text.split(',').map(|name| (name, self.identity.variable(name))).collect();
            let columns: Vec<_> =
                found.iter().map(|(name, value)| (name.trim(), value.as_str())).collect();
            out.extend_from_slice(&rows(&columns, modern));
        } else {
            out.extend_from_slice(&self.row[usize::from(modern)]);
        }
    }

    /// What the client wants then.
    fn command(&self, payload: &[u8], agreed: Agreed, out: &mut Vec<u8>) -> Next {
        match payload.split_first() {
            Some((1, _)) => return Next::Leave,
            // BINLOG_DUMP_GTID
            Some((30, _)) => return Next::Follow,
            Some((3, text)) => self.answer(text, agreed, out),
            // INIT_DB, PING, CHANGE_USER, RESET_CONNECTION
            Some((2 | 14 | 17 | 31, _)) => out.extend_from_slice(&self.ok),
            _ => put(out, 1, b"\xff\x17\x04#08S01not here"),
        }
        Next::Ask
    }
}

/// The log from here on: it begins, and goes on saying that nothing happened.
async fn stream(mut client: TcpStream, number: u32) -> io::Result<()> {
    let mut format = 4_u16.to_le_bytes().to_vec();
    format.extend_from_slice(&[0; 54]);
    format.push(19);
    // No kind of event is promised a length, and none has a checksum.
    format.extend_from_slice(&[0; 45]);
    let (mut out, mut sequence) = (Vec::new(), 1);
    put_event(&mut out, sequence, number, FORMAT_DESCRIPTION, &format);
    loop {
        client.write_all(&out).await?;
        out.clear();
        sequence = u8::wrapping_add(sequence, 1);
        put_event(&mut out, sequence, number, HEARTBEAT, b"null-bin.000001");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn put_event(out: &mut Vec<u8>, sequence: u8, number: u32, kind: u8, body: &[u8]) {
    let mut event = vec![0, 0, 0, 0, 0, kind];
    event.extend_from_slice(&number.to_le_bytes());
    event.extend_from_slice(&u32::try_from(19 + body.len()).unwrap_or(0).to_le_bytes());
    event.extend_from_slice(&[0; 6]);
    event.extend_from_slice(body);
    put(out, sequence, &event);
}

async fn serve(mut client: TcpStream, prepared: Rc<Prepared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.write_all(&prepared.identity.greeting()).await?;
    let (mut input, mut out, mut capabilities) = (Vec::with_capacity(4096), Vec::new(), None);
    loop {
        if client.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut used = 0;
        while let Some((sequence, payload, len)) = first(&input[used..]) {
            used += len;
            match capabilities {
                Some(agreed) => match prepared.command(payload, agreed, &mut out) {
                    Next::Ask => {}
                    Next::Follow => return stream(client, prepared.identity.number).await,
                    Next::Leave => return Ok(()),
                },
                None => {
                    let flags = payload.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                    capabilities = Some(Agreed {
                        modern: flags & DEPRECATE_EOF != 0,
                        tracks: flags & SESSION_TRACK != 0,
                    });
                    put(&mut out, sequence.wrapping_add(1), &OK);
                }
            }
        }
        input.drain(..used);
        if !out.is_empty() {
            client.write_all(&out).await?;
            out.clear();
        }
    }
}

fn main() -> io::Result<()> {
    let arguments = packet::Arguments::read();
    let listen: String = arguments.value("listen", "127.0.0.1:0".to_owned());
    let identity = Identity {
        number: arguments.value("number", 1),
        read_only: arguments.has("read-only"),
        version: arguments.value("version", "8.0.40".to_owned()),
    };
    let value = "a value of a hundred bytes or so ".repeat(3);
    let columns =
        [("option_id", "123"), ("option_name", "option_123"), ("option_value", value.as_str())];
    let mut ok = Vec::new();
    put(&mut ok, 1, &OK);
    let prepared =
        Rc::new(Prepared { ok, row: [rows(&columns, false), rows(&columns, true)], identity });
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(client, Rc::clone(&prepared)));
        }
    })
}
