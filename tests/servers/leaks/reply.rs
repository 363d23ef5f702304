//! One step of a script over one connection, and the packets that come back, as they are.
//!
//! What is known to differ is made alike: a statement's number is the client's own, and a schema
//! is named as in the script.

use std::io;

use forebay::wire::capability::Capabilities;
use forebay::wire::cursor::Cursor;
use forebay::wire::ok::Status;

use super::super::client::{Client, Failure, Login};
use super::script::{Step, Visit};

/// Packets: number and payload.
pub(super) type Packets = Vec<(u8, Vec<u8>)>;

/// One connection that plays a visit.
pub(super) struct Line<'a> {
    client: Client,
    /// The accounts' names, which are their passwords too.
    accounts: &'a [String],
    visit: &'a Visit,
    /// Numbers of the statements that it prepared; none if that failed, or it was closed.
    prepared: Vec<Option<(u32, u16)>>,
}

fn login<'a>(visit: &Visit, account: &'a str, schema: Option<&'a str>) -> Login<'a> {
    let mut login = Login::new(account, account);
    login.database = schema;
    login.charset = Some(visit.charset);
    login.wants = login.wants.with(Capabilities::PS_MULTI_RESULTS);
    for (is_wanted, capability) in [
        (visit.found_rows, Capabilities::FOUND_ROWS),
        (visit.several_statements, Capabilities::MULTI_STATEMENTS),
        (visit.without_eof, Capabilities::DEPRECATE_EOF),
    ] {
        if is_wanted {
            login.wants = login.wants.with(capability);
        }
    }
    login
}

impl<'a> Line<'a> {
    pub(super) fn begin(
        address: &str,
        accounts: &'a [String],
        visit: &'a Visit,
        schema: &str,
    ) -> Result<Self, Failure> {
        let schema = visit.with_database.then_some(schema);
        let client = Client::connect(address, &login(visit, &accounts[visit.account], schema))?;
        Ok(Self { client, accounts, visit, prepared: Vec::new() })
    }

    pub(super) fn end(self) {
        if self.visit.quits {
            self.client.quit();
        }
    }

    /// Plays one step; what came back.
    pub(super) fn play(&mut self, step: &Step) -> io::Result<Packets> {
        match step {
            Step::Query(sql) => {
                self.client.command(3, sql.as_bytes())?;
                self.results()
            }
            Step::Choose(schema) => {
                Ok(self.simple(2, schema.as_bytes())?.into_iter().map(unwarned).collect())
            }
            // How many warnings there are, only MySQL tells here.
            Step::Ping => Ok(self.simple(14, &[])?.into_iter().map(unwarned).collect()),
            Step::Reset => {
                self.prepared.iter_mut().for_each(|it| *it = None);
                self.simple(31, &[])
            }
            Step::SeveralStatements(on) => {
                let packets = self.simple(27, &[u8::from(!*on), 0])?;
                Ok(packets.into_iter().map(unwarned).collect())
            }
            Step::ChangeUser(account, schema) => {
                self.prepared.iter_mut().for_each(|it| *it = None);
                let login = login(self.visit, &self.accounts[*account], schema.as_deref());
                match self.client.change_user(&login) {
                    Ok(answer) => Ok(vec![(0, answer.status.0.to_le_bytes().to_vec())]),
                    Err(Failure::Refused { code, .. }) => Ok(vec![(1, code.to_le_bytes().into())]),
                    Err(Failure::Lost(error)) => Err(error),
                }
            }
            Step::Fields(table) => {
                self.client.command(4, format!("{table}\0").as_bytes())?;
                self.rows(Vec::new())
            }
            Step::Prepare(sql) => self.prepare(sql),
            Step::Execute(at, number) => self.execute(*at, *number),
            Step::Close(at) => {
                if let Some((id, _)) = self.prepared[*at].take() {
                    self.client.command(25, &id.to_le_bytes())?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn simple(&mut self, command: u8, body: &[u8]) -> io::Result<Packets> {
        self.client.command(command, body)?;
        Ok(vec![self.client.read()?])
    }

    fn prepare(&mut self, sql: &str) -> io::Result<Packets> {
        self.client.command(22, sql.as_bytes())?;
        let mut first = self.client.read()?;
        let mut packets = Vec::new();
        let numbers = |at: usize| u16::from_le_bytes([first.1[at], first.1[at + 1]]);
        if first.1[0] == 0 {
            let (columns, params) = (numbers(5), numbers(7));
            let id = u32::from_le_bytes([first.1[1], first.1[2], first.1[3], first.1[4]]);
            first.1[1..5].fill(0);
            packets.push(first);
            for count in [params, columns].into_iter().filter(|count| *count > 0) {
                for _ in 0..count {
                    packets.push(self.client.read()?);
                }
                if !self.is_modern() {
                    packets.push(middle(self.client.read()?));
                }
            }
            self.prepared.push(Some((id, params)));
        } else {
            packets.push(first);
            self.prepared.push(None);
        }
        Ok(packets)
    }

    fn execute(&mut self, at: usize, number: u8) -> io::Result<Packets> {
        let Some((id, params)) = self.prepared[at] else { return Ok(Vec::new()) };
        let mut body = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        if params > 0 {
            // Nothing is NULL; types follow: a number of one byte.
            body.extend([0, 1, 1, 0, number]);
        }
        self.client.command(23, &body)?;
        self.results()
    }

    fn is_modern(&self) -> bool {
        self.client.capabilities.has(Capabilities::DEPRECATE_EOF)
    }

    /// All results of a statement.
    fn results(&mut self) -> io::Result<Packets> {
        let mut packets = Vec::new();
        loop {
            let first = self.client.read()?;
            let kind = first.1[0];
            packets.push(first);
            let status = match kind {
                0xff => return Ok(packets),
                0x00 => status_of(&packets[packets.len() - 1].1),
                _ => {
                    let mut cursor = Cursor::new(&packets[packets.len() - 1].1);
                    let columns = cursor.lenenc().expect("a count of columns");
                    for _ in 0..columns {
                        packets.push(self.client.read()?);
                    }
                    if !self.is_modern() {
                        packets.push(middle(self.client.read()?));
                    }
                    packets = self.rows(packets)?;
                    let last = &packets[packets.len() - 1].1;
                    match (last[0], self.is_modern()) {
                        (0xff, _) => return Ok(packets),
                        (_, true) => status_of(last),
                        (_, false) => Status(u16::from_le_bytes([last[3], last[4]])),
                    }
                }
            };
            if !status.has(Status::MORE_RESULTS) {
                return Ok(packets);
            }
        }
    }

    /// Packets up to an EOF, an OK in its place, or an ERR.
    fn rows(&mut self, mut packets: Packets) -> io::Result<Packets> {
        let end_bytes_max = if self.is_modern() { 0xff_ffff } else { 8 };
        loop {
            let (number, payload) = self.client.read()?;
            let is_end =
                payload[0] == 0xff || (payload[0] == 0xfe && payload.len() <= end_bytes_max);
            packets.push(if is_end { end((number, payload)) } else { (number, payload) });
            if is_end {
                return Ok(packets);
            }
        }
    }
}

/// An EOF in front of rows: through the proxy it tells what was known before the statement ran.
fn middle((number, mut payload): (u8, Vec<u8>)) -> (u8, Vec<u8>) {
    if payload[0] == 0xfe && payload.len() == 5 {
        let status = Status(u16::from_le_bytes([payload[3], payload[4]])).lasting();
        payload[1..3].fill(0);
        // Whether a transaction is open, and of which kind, is known when the statement has run.
        let status = status.0 & !Status::IN_TRANS.0 & !Status::TRANS_READONLY.0;
        payload[3..5].copy_from_slice(&status.to_le_bytes());
    }
    (number, payload)
}

/// An OK or an EOF without its number of warnings: of commands that clear none, MySQL tells how
/// many the statement before has left, and that may have been another's.
fn unwarned((number, mut payload): (u8, Vec<u8>)) -> (u8, Vec<u8>) {
    match (payload[0], payload.len()) {
        (0x00 | 0xfe, 7) => payload[5..].fill(0),
        (0xfe, 5) => payload[1..3].fill(0),
        _ => {}
    }
    (number, payload)
}

/// An EOF behind rows: MariaDB says there, even to clients that cannot be told what, that
/// something has changed.
fn end((number, mut payload): (u8, Vec<u8>)) -> (u8, Vec<u8>) {
    if payload[0] == 0xfe && payload.len() == 5 {
        payload[4] &= !0x40;
    }
    (number, payload)
}

/// Of an OK packet, whatever its first byte is.
fn status_of(payload: &[u8]) -> Status {
    let mut cursor = Cursor::new(&payload[1..]);
    cursor.lenenc().expect("affected rows");
    cursor.lenenc().expect("an id");
    Status(cursor.u16().expect("status flags"))
}

/// The packets with one name for another of the same length.
pub(super) fn renamed(packets: Packets, from: &str, to: &str) -> Packets {
    assert_eq!(from.len(), to.len());
    let rename = |payload: Vec<u8>| {
        let mut payload = payload;
        while let Some(at) = payload.windows(from.len()).position(|it| it == from.as_bytes()) {
            payload[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        payload
    };
    packets.into_iter().map(|(number, payload)| (number, rename(payload))).collect()
}

/// Where two answers differ, for people.
pub(super) fn unlike(expected: &Packets, got: &Packets) -> String {
    let mut out = String::new();
    for at in 0..expected.len().max(got.len()) {
        match (expected.get(at), got.get(at)) {
            (Some(one), Some(other)) if one == other => out.push_str(&line("same", one)),
            (one, other) => {
                out.push_str(&one.map_or_else(String::new, |it| line("expected", it)));
                out.push_str(&other.map_or_else(String::new, |it| line("but got", it)));
            }
        }
    }
    out
}

fn line(word: &str, (number, payload): &(u8, Vec<u8>)) -> String {
    let mut out = format!("\n    {word:>8} {number:3} ");
    for &byte in payload {
        match byte {
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("<{byte:02x}>")),
        }
    }
    out
}
