//! One connection of a client: its login, and commands with exactly one answer each.
//!
//! An answer is walked by `wire::reply` as the client's own library would: wrong numbers, bytes
//! nobody asked for, a closed connection or silence are failures, whatever else is going on.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memmem;
use tokio::io::DuplexStream;
use tokio::time::timeout;

use super::need::Needs;
use super::{ANSWER_WAIT, PASSWORD};
use crate::secret::Digest;
use crate::sim::link::{Line, Temper};
use crate::sim::mysql::{COLLATIONS, defaults, set_names};
use crate::sim::oracle::{Believed, Oracle};
use crate::sim::random::Random;
use crate::sim::store::SCHEMAS;
use crate::wire::auth::{CACHING_SHA2, NATIVE, caching_sha2_token, native_token};
use crate::wire::capability::Capabilities;
use crate::wire::cursor::Cursor;
use crate::wire::err::Err as Refused;
use crate::wire::frame::{build_packet, read_packet};
use crate::wire::handshake::{AuthStep, Greeting, Response};
use crate::wire::reply::{End, Expect, Scan, Shape, Summary, Walker};

/// What mysqlnd asks for.
const PHP: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::PLUGIN_AUTH_LENENC)
    .with(Capabilities::CONNECT_ATTRS);

/// The connection is of no use any more; the oracle knows if that is wrong.
pub(super) struct Over;

/// A client between its login and its end.
pub(super) struct Visit {
    pub(super) number: u32,
    pub(super) oracle: Arc<Oracle>,
    pub(super) random: Random,
    /// What one server's own connection would be like.
    pub(super) believed: Believed,
    /// Its variables after a reset: MariaDB leaves the character set of the login.
    pub(super) reset: BTreeMap<&'static str, String>,
    /// LAST_INSERT_ID(), if it is sure.
    pub(super) insert_id: Option<u64>,
    /// Writes so far: they number the tokens.
    pub(super) tokens: u32,
    /// What it must see.
    pub(super) needs: Needs,
    line: Line,
    capabilities: Capabilities,
}

/// An answer.
pub(super) struct Reply {
    pub(super) summary: Summary,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

/// What an answer means to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is done.
    Done,
    /// Nobody knows whether it is done.
    Unknown,
    /// It is not done.
    NotDone,
    /// It is not done, nor is the transaction that it was in.
    Cut,
}

impl Visit {
    /// Logs in. None: it was told why not.
    pub(super) async fn begin(
        pipe: DuplexStream,
        number: u32,
        oracle: &Arc<Oracle>,
        mut random: Random,
        temper: Temper,
        needs: Needs,
    ) -> Option<Self> {
        let mut capabilities = PHP;
        for capability in [Capabilities::DEPRECATE_EOF, Capabilities::CONNECT_WITH_DB] {
            if random.chance(300) {
                capabilities = capabilities.with(capability);
            }
        }
        let mut visit = Self {
            number,
            oracle: Arc::clone(oracle),
            line: Line::new(pipe, random.fork(), temper),
            random,
            believed: Believed { variables: defaults(true), ..Believed::default() },
            reset: defaults(true),
            insert_id: Some(0),
            tokens: 0,
            needs,
            capabilities,
        };
        match timeout(ANSWER_WAIT, visit.log_in()).await {
            Ok(Ok(true)) => {
                visit.oracle.count(|counts| counts.visits += 1);
                visit.oracle.note(&format!("c{number} is in"));
                visit.believe();
                Some(visit)
            }
            Ok(Ok(false)) => None,
            Ok(Err(what)) => {
                oracle.fail(&format!("c{number} could not log in: {what}"));
                None
            }
            Err(_) => {
                oracle.fail(&format!("c{number}: the login never ended"));
                None
            }
        }
    }

    async fn log_in(&mut self) -> Result<bool, String> {
        let (_, payload) = self.line.packet().await.ok_or("no greeting")?;
        if payload.first() == Some(&0xff) {
            return self.turned_away(&payload);
        }
        let greeting = Greeting::parse(&payload).map_err(|error| error.to_string())?;
        let response = self.response(&greeting);
        let mut out = Vec::new();
        build_packet(&mut out, 1, |out| response.encode(out));
        self.line.write(&out).await;
        let mut next = 2;
        loop {
            let (number, payload) = self.line.packet().await.ok_or("closed in the middle")?;
            if number != next {
                return Err(format!("packet {number} where {next} was due"));
            }
            next += 1;
            match AuthStep::parse(&payload).map_err(|error| error.to_string())? {
                AuthStep::Ok => return Ok(true),
                AuthStep::Err => return self.turned_away(&payload),
                AuthStep::More(_) => {}
                AuthStep::Switch { plugin, nonce } => {
                    let token = token(plugin, nonce, &response.user);
                    let mut out = Vec::new();
                    build_packet(&mut out, next, |out| out.extend_from_slice(&token));
                    self.line.write(&out).await;
                    next += 1;
                }
            }
        }
    }

    fn response(&mut self, greeting: &Greeting) -> Response {
        let user: &[u8] = if self.random.chance(300) { b"shop" } else { b"php" };
        let plugin = if self.random.chance(500) { NATIVE } else { CACHING_SHA2 };
        let charset = self.random.pick(&[greeting.charset, 45, 8]).unwrap_or(greeting.charset);
        if let Some((_, name, collation)) = COLLATIONS.into_iter().find(|it| it.0 == charset) {
            set_names(&mut self.believed.variables, name);
            self.believed.variables.insert("collation_connection", collation.to_owned());
        }
        if memmem::find(&greeting.version, b"MariaDB").is_some() {
            self.reset.clone_from(&self.believed.variables);
        }
        let names = self.capabilities.has(Capabilities::CONNECT_WITH_DB);
        let database = self.random.pick(&SCHEMAS).filter(|_| names);
        self.believed.database = database;
        Response {
            capabilities: self.capabilities,
            packet_bytes_max: 1 << 24,
            charset,
            user: user.to_vec(),
            auth: token(plugin.as_bytes(), &greeting.nonce, user),
            database: database.map(|name| name.as_bytes().to_vec()),
            plugin: Some(plugin.into()),
            attributes: vec![(b"_client_name".to_vec(), b"mysqlnd".to_vec())],
        }
    }

    /// A login may be refused while servers are away, and only in words that say so.
    fn turned_away(&self, payload: &[u8]) -> Result<bool, String> {
        let refused = Refused::parse(payload).map_err(|error| error.to_string())?;
        self.oracle.note(&format!("c{} is not let in: {refused}", self.number));
        self.oracle.count(|counts| counts.errors += 1);
        match refused.code {
            1105 | 1040 | 1203 => Ok(false),
            _ => Err(refused.to_string()),
        }
    }

    pub(super) fn believe(&self) {
        self.oracle.believe(self.number, self.believed.clone());
    }

    /// COM_QUERY, marked with the client's number.
    pub(super) async fn query(&mut self, text: &str) -> Result<Reply, Over> {
        let text = format!("{text} /* c{} */", self.number);
        self.command(3, text.as_bytes(), Expect::Query).await
    }

    /// One command, one answer.
    pub(super) async fn command(
        &mut self,
        code: u8,
        body: &[u8],
        expect: Expect,
    ) -> Result<Reply, Over> {
        if self.line.is_talking().await {
            return self.failed("bytes that nobody asked for, or the end");
        }
        self.believe();
        self.needs.speak();
        self.send(code, body).await;
        let answer = match timeout(ANSWER_WAIT, self.answer(expect)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(what)) => return self.failed(&what),
            Err(_) => return self.failed("no answer"),
        };
        self.needs.hear();
        self.oracle.count(|counts| counts.commands += 1);
        let first = answer.rows.first().and_then(|row| row.first());
        let end = match &answer.summary.end {
            Some(End::Err { code, message, .. }) => {
                format!("{code} {}", String::from_utf8_lossy(message))
            }
            other => format!("{other:?} {first:?}"),
        };
        self.oracle.note(&format!("c{} hears {end}", self.number));
        Ok(answer)
    }

    /// Sends without waiting for an answer.
    pub(super) async fn send(&mut self, code: u8, body: &[u8]) {
        let shown: String = String::from_utf8_lossy(body).chars().take(100).collect();
        self.oracle.note(&format!("c{} says {code} {shown}", self.number));
        let mut out = Vec::new();
        build_packet(&mut out, 0, |out| {
            out.push(code);
            out.extend_from_slice(body);
        });
        self.line.write(&out).await;
    }

    fn failed(&self, what: &str) -> Result<Reply, Over> {
        self.oracle.fail(&format!("c{}: {what}", self.number));
        Err(Over)
    }

    async fn answer(&mut self, expect: Expect) -> Result<Reply, String> {
        let shape = Shape { backend: self.capabilities, client: self.capabilities };
        let mut walker = Walker::new(expect, shape);
        let (mut raw, mut whole) = (Vec::new(), Vec::new());
        loop {
            let bytes = self.line.bytes().await;
            raw.extend_from_slice(&bytes);
            if bytes.is_empty() {
                return Err("the connection was closed instead of an answer".into());
            }
            match walker.feed(&bytes, &mut whole).map_err(|error| error.to_string())? {
                Scan::More => {}
                Scan::Done { consumed } if consumed == bytes.len() => break,
                Scan::Done { .. } => return Err("more than one answer".into()),
                Scan::Infile { .. } => return Err("a file was asked for".into()),
            }
        }
        check_numbers(&raw)?;
        let summary = walker.summary().clone();
        let is_rows = summary.end == Some(End::Rows);
        let rows =
            if is_rows { self.rows(&whole).ok_or("rows make no sense")? } else { Vec::new() };
        Ok(Reply { summary, rows })
    }

    /// The rows of a result that is known to be whole.
    fn rows(&self, mut bytes: &[u8]) -> Option<Vec<Vec<Option<String>>>> {
        let mut payloads = Vec::new();
        while let Ok(Some(packet)) = read_packet(bytes, bytes.len()) {
            bytes = bytes.get(packet.consumed..)?;
            payloads.push(packet.payload);
        }
        let columns = usize::try_from(Cursor::new(payloads.first()?).lenenc().ok()?).ok()?;
        let eofs = usize::from(!self.capabilities.has(Capabilities::DEPRECATE_EOF));
        let rows = payloads.get(1 + columns + eofs..payloads.len().checked_sub(1)?)?;
        rows.iter().map(|payload| row(payload, columns)).collect()
    }

    /// What the client makes of an answer; what only its connection held may be gone after an
    /// error. Errors that it must never see are failures.
    pub(super) fn meaning(&mut self, reply: &Reply) -> Meaning {
        let Some(End::Err { code, message, .. }) = &reply.summary.end else {
            return Meaning::Done;
        };
        let text = String::from_utf8_lossy(message).to_lowercase();
        self.oracle.count(|counts| counts.errors += 1);
        self.insert_id = None;
        self.believed.in_transaction = false;
        self.oracle.unlocked(self.number);
        match code {
            1105 if text.contains("outcome unknown") => Meaning::Unknown,
            1213 => Meaning::Cut,
            1105 | 1203 => Meaning::NotDone,
            _ => {
                self.oracle.fail(&format!("c{} was told {code} {text}", self.number));
                Meaning::NotDone
            }
        }
    }

    /// Hangs up without a word.
    pub(super) fn end(self) {
        self.oracle.unlocked(self.number);
        self.oracle.note(&format!("c{} is gone", self.number));
    }
}

/// Packets are numbered from 1 without a gap. A walker forgives an ERR its number.
fn check_numbers(mut raw: &[u8]) -> Result<(), String> {
    let mut due = 1_u8;
    while let Ok(Some(packet)) = read_packet(raw, raw.len()) {
        if packet.sequence != due {
            return Err(format!("packet {} where {due} was due", packet.sequence));
        }
        due = due.wrapping_add(1);
        raw = raw.get(packet.consumed..).unwrap_or_default();
    }
    Ok(())
}

fn token(plugin: &[u8], nonce: &[u8], user: &[u8]) -> Vec<u8> {
    let password = if user == b"shop" { PASSWORD } else { b"" };
    match plugin == NATIVE.as_bytes() {
        true => native_token::<Digest>(password, nonce),
        false => caching_sha2_token::<Digest>(password, nonce),
    }
}

fn row(payload: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut cursor = Cursor::new(payload);
    let mut row = Vec::new();
    for _ in 0..columns {
        if cursor.peek() == Some(0xfb) {
            cursor.u8().ok()?;
            row.push(None);
        } else {
            row.push(Some(String::from_utf8_lossy(cursor.lenenc_bytes().ok()?).into_owned()));
        }
    }
    Some(row)
}
