//! A small blocking client: what drivers will not send can be sent, and every byte be looked at.
//!
//! It speaks the classic protocol with text results and logs in natively or by
//! caching_sha2_password. What it reads is understood by `forebay::wire`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use forebay::secret::{Digest, rsa};
use forebay::wire::auth::{CACHING_SHA2, NATIVE, caching_sha2_token, native_token, xor_with_nonce};
use forebay::wire::capability::Capabilities;
use forebay::wire::cursor::{Cursor, put_lenenc_bytes, put_u16};
use forebay::wire::err::Err as ErrPacket;
use forebay::wire::frame::{read_packet, write_packet};
use forebay::wire::handshake::{AuthStep, ChangeUser, Greeting, Response};
use forebay::wire::ok::{Ok as OkPacket, Status, parse_eof};

/// No test waits longer for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(40);
const PACKET_BYTES_MAX: usize = 1 << 30;

/// What a client logs in with.
#[derive(Clone, Debug)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) database: Option<&'a str>,
    /// The only plugin that it knows.
    pub(crate) plugin: &'a str,
    pub(crate) wants: Capabilities,
    /// The number of a collation; none: the server's own.
    pub(crate) charset: Option<u8>,
    /// Asked for the password, it sends it bare, whatever it speaks over.
    pub(crate) bare: bool,
}

impl<'a> Login<'a> {
    pub(crate) fn new(user: &'a str, password: &'a str) -> Self {
        let wants = Capabilities::PROTOCOL_41
            .with(Capabilities::SECURE_CONNECTION)
            .with(Capabilities::PLUGIN_AUTH)
            .with(Capabilities::TRANSACTIONS)
            .with(Capabilities::MULTI_RESULTS)
            .with(Capabilities::LONG_PASSWORD);
        Self {
            user,
            password,
            database: None,
            plugin: CACHING_SHA2,
            wants,
            charset: None,
            bare: false,
        }
    }

    pub(crate) fn to(mut self, database: &'a str) -> Self {
        self.database = Some(database);
        self
    }

    pub(crate) fn natively(mut self) -> Self {
        self.plugin = NATIVE;
        self
    }

    pub(crate) fn barely(mut self) -> Self {
        self.bare = true;
        self
    }

    pub(crate) fn with(mut self, wants: Capabilities) -> Self {
        self.wants = self.wants.with(wants);
        self
    }

    fn token(&self, plugin: &[u8], nonce: &[u8]) -> Vec<u8> {
        let password = self.password.as_bytes();
        match plugin == NATIVE.as_bytes() {
            _ if password.is_empty() => Vec::new(),
            true => native_token::<Digest>(password, nonce),
            false => caching_sha2_token::<Digest>(password, nonce),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused { code: u16, state: String, text: String },
    Lost(io::Error),
}

impl Failure {
    /// The error's number; 0 when the connection was lost.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Lost(_) => 0,
        }
    }

    fn refused(payload: &[u8]) -> Self {
        let packet = ErrPacket::parse(payload).expect("an ERR that can be read");
        Self::Refused {
            code: packet.code,
            state: String::from_utf8_lossy(&packet.state).into(),
            text: String::from_utf8_lossy(&packet.message).into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, state, text } => write!(out, "{code} ({state}): {text}"),
            Self::Lost(error) => write!(out, "lost: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) affected: u64,
    pub(crate) insert_id: u64,
    pub(crate) status: Status,
    pub(crate) warnings: u16,
}

impl Answer {
    /// The first cell.
    pub(crate) fn cell(&self) -> String {
        let cell = self.rows.first().and_then(|row| row.first());
        cell.cloned().flatten().unwrap_or_else(|| "NULL".into())
    }
}

trait Wire: Read + Write + Send {
    fn close(&self);
}

impl Wire for TcpStream {
    fn close(&self) {
        let _gone = self.shutdown(Shutdown::Both);
    }
}

impl Wire for UnixStream {
    fn close(&self) {
        let _gone = self.shutdown(Shutdown::Both);
    }
}

/// An open connection.
pub(crate) struct Client {
    stream: Box<dyn Wire>,
    is_local: bool,
    unread: Vec<u8>,
    pub(crate) greeting: Greeting,
    pub(crate) capabilities: Capabilities,
    /// Names and values that go with every statement as text, if that was agreed on.
    pub(crate) attributes: Vec<(String, String)>,
}

impl Client {
    /// Connects over TCP and logs in.
    pub(crate) fn connect(address: &str, login: &Login<'_>) -> Result<Self, Failure> {
        let mut client = Self::greeted(address)?;
        client.log_in(login)?;
        Ok(client)
    }

    /// Connects to a Unix socket and logs in.
    pub(crate) fn connect_unix(socket: &Path, login: &Login<'_>) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        let mut client = Self::hear(Box::new(stream), true)?;
        client.log_in(login)?;
        Ok(client)
    }

    /// Connects to a server's Unix socket as its root.
    pub(crate) fn root(socket: &Path) -> Self {
        Self::connect_unix(socket, &Login::new("root", ""))
            .unwrap_or_else(|failure| panic!("root: {}: {failure}", socket.display()))
    }

    /// Connects over TCP and hears the greeting, no more.
    pub(crate) fn greeted(address: &str) -> Result<Self, Failure> {
        Self::greeted_over(TcpStream::connect(address)?)
    }

    /// Hears the greeting over a connection that somebody made.
    pub(crate) fn greeted_over(stream: TcpStream) -> Result<Self, Failure> {
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        stream.set_nodelay(true)?;
        Self::hear(Box::new(stream), false)
    }

    fn hear(stream: Box<dyn Wire>, is_local: bool) -> Result<Self, Failure> {
        let empty = Greeting {
            version: Vec::new(),
            thread_id: 0,
            nonce: [0; 20],
            capabilities: Capabilities(0),
            mariadb_extended: 0,
            charset: 0,
            status: Status(0),
            plugin: Vec::new(),
        };
        let unread = Vec::new();
        let capabilities = Capabilities(0);
        let attributes = Vec::new();
        let mut client =
            Self { stream, is_local, unread, greeting: empty, capabilities, attributes };
        let (_, payload) = client.read()?;
        if payload.first() == Some(&0xff) {
            return Err(Failure::refused(&payload));
        }
        client.greeting = Greeting::parse(&payload).expect("a greeting");
        Ok(client)
    }

    /// Logs in, and hears the final OK.
    pub(crate) fn log_in(&mut self, login: &Login<'_>) -> Result<Answer, Failure> {
        let mut capabilities = login.wants;
        if login.database.is_some() {
            capabilities = capabilities.with(Capabilities::CONNECT_WITH_DB);
        }
        let response = Response {
            capabilities,
            packet_bytes_max: PACKET_BYTES_MAX as u32,
            // As PHP does: the server's own.
            charset: login.charset.unwrap_or(self.greeting.charset),
            user: login.user.into(),
            auth: login.token(login.plugin.as_bytes(), &self.greeting.nonce),
            database: login.database.map(Into::into),
            plugin: Some(login.plugin.into()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.capabilities = capabilities.intersect(self.greeting.capabilities);
        self.send(1, &payload)?;
        let nonce = self.greeting.nonce;
        self.prove(login, nonce.to_vec())
    }

    /// COM_CHANGE_USER.
    pub(crate) fn change_user(&mut self, login: &Login<'_>) -> Result<Answer, Failure> {
        let nonce = self.greeting.nonce;
        let change = ChangeUser {
            user: login.user.into(),
            auth: login.token(login.plugin.as_bytes(), &nonce),
            database: login.database.map(Into::into),
            charset: Some(u16::from(login.charset.unwrap_or(self.greeting.charset))),
            plugin: Some(login.plugin.into()),
            attributes: Vec::new(),
        };
        let mut payload = vec![17];
        change.encode(&mut payload, self.capabilities);
        self.send(0, &payload)?;
        self.prove(login, nonce.to_vec())
    }

    fn prove(&mut self, login: &Login<'_>, mut nonce: Vec<u8>) -> Result<Answer, Failure> {
        loop {
            let (sequence, payload) = self.read()?;
            let next = sequence.wrapping_add(1);
            match AuthStep::parse(&payload).expect("a step of a login") {
                AuthStep::Ok => return Ok(self.ok(&payload)),
                AuthStep::Err => return Err(Failure::refused(&payload)),
                AuthStep::Switch { plugin, nonce: fresh } => {
                    nonce = fresh.to_vec();
                    self.send(next, &login.token(plugin, &nonce))?;
                }
                AuthStep::More([3]) => {}
                AuthStep::More([4]) if self.is_local || login.bare => {
                    self.send(next, format!("{}\0", login.password).as_bytes())?;
                }
                AuthStep::More([4]) => self.send(next, &[2])?,
                AuthStep::More(key) => {
                    let mut password = format!("{}\0", login.password).into_bytes();
                    xor_with_nonce(&mut password, &nonce);
                    self.send(next, &rsa::encrypt(key, &password).expect("the server's key"))?;
                }
            }
        }
    }

    fn ok(&self, payload: &[u8]) -> Answer {
        let ok = OkPacket::parse(payload, self.capabilities).expect("an OK that can be read");
        Answer {
            affected: ok.affected,
            insert_id: ok.insert_id,
            status: ok.status,
            warnings: ok.warnings,
            ..Answer::default()
        }
    }

    /// Runs a statement; its first result.
    pub(crate) fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        let mut answers = self.query_all(sql)?;
        Ok(answers.swap_remove(0))
    }

    /// Runs a statement that must succeed; its first result.
    #[track_caller]
    pub(crate) fn run(&mut self, sql: &str) -> Answer {
        self.query(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"))
    }

    /// Runs a statement that must succeed; the first cell of its result.
    #[track_caller]
    pub(crate) fn cell(&mut self, sql: &str) -> String {
        self.run(sql).cell()
    }

    /// Runs a statement that must fail; the error's number.
    #[track_caller]
    pub(crate) fn refused(&mut self, sql: &str) -> u16 {
        match self.query(sql) {
            Err(failure @ Failure::Refused { .. }) => failure.code(),
            other => panic!("{sql}: not refused but {other:?}"),
        }
    }

    /// Runs a statement; all its results.
    pub(crate) fn query_all(&mut self, sql: &str) -> Result<Vec<Answer>, Failure> {
        self.command(3, sql.as_bytes())?;
        self.answers()
    }

    /// Reads all results of a COM_QUERY that was sent.
    pub(crate) fn answers(&mut self) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        loop {
            let answer = self.answer()?;
            let is_last = !answer.status.has(Status::MORE_RESULTS);
            answers.push(answer);
            if is_last {
                return Ok(answers);
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let (_, payload) = self.read()?;
        match payload.first() {
            Some(0x00) => return Ok(self.ok(&payload)),
            Some(0xff) => return Err(Failure::refused(&payload)),
            _ => {}
        }
        let columns = Cursor::new(&payload).lenenc().expect("a count of columns");
        let mut answer = Answer::default();
        for _ in 0..columns {
            let (_, definition) = self.read()?;
            answer.columns.push(name_of(&definition));
        }
        self.read()?;
        loop {
            let (_, row) = self.read()?;
            match row.first() {
                Some(0xff) => return Err(Failure::refused(&row)),
                Some(0xfe) if row.len() < 9 => {
                    let (status, warnings) = parse_eof(&row).expect("an EOF");
                    return Ok(Answer { status, warnings, ..answer });
                }
                _ => answer.rows.push(cells_of(&row, columns)),
            }
        }
    }

    /// COM_FIELD_LIST: how many fields a table has.
    pub(crate) fn fields(&mut self, table: &str) -> Result<usize, Failure> {
        self.command(4, format!("{table}\0").as_bytes())?;
        for count in 0.. {
            let (_, payload) = self.read()?;
            match payload.first() {
                Some(0xff) => return Err(Failure::refused(&payload)),
                Some(0xfe) => return Ok(count),
                _ => {}
            }
        }
        unreachable!("it ends")
    }

    /// Runs a command that is answered by OK, EOF or ERR.
    pub(crate) fn simple(&mut self, command: u8, body: &[u8]) -> Result<(), Failure> {
        self.command(command, body)?;
        let (_, payload) = self.read()?;
        match payload.first() {
            Some(0xff) => Err(Failure::refused(&payload)),
            _ => Ok(()),
        }
    }

    /// Sends a command.
    pub(crate) fn command(&mut self, command: u8, body: &[u8]) -> io::Result<()> {
        let mut payload = vec![command];
        if command == 3 && self.capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
            self.put_attributes(&mut payload);
        }
        payload.extend_from_slice(body);
        self.send(0, &payload)
    }

    fn put_attributes(&self, payload: &mut Vec<u8>) {
        const STRING: u16 = 254;
        payload.extend_from_slice(&[self.attributes.len() as u8, 1]);
        if self.attributes.is_empty() {
            return;
        }
        payload.resize(payload.len() + self.attributes.len().div_ceil(8), 0);
        payload.push(1);
        for (name, _) in &self.attributes {
            put_u16(payload, STRING);
            put_lenenc_bytes(payload, name.as_bytes());
        }
        for (_, value) in &self.attributes {
            put_lenenc_bytes(payload, value.as_bytes());
        }
    }

    /// Sends a packet.
    pub(crate) fn send(&mut self, sequence: u8, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        write_packet(&mut out, sequence, payload);
        self.send_bytes(&out)
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads a packet: the sequence of its last chunk, and its payload.
    pub(crate) fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut block = vec![0; 64 * 1024];
        loop {
            let packet = read_packet(&self.unread, PACKET_BYTES_MAX)
                .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed.what))?;
            if let Some(packet) = packet {
                let read = (packet.sequence, packet.payload.into_owned());
                self.unread.drain(..packet.consumed);
                return Ok(read);
            }
            let len = self.stream.read(&mut block)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&block[..len]);
        }
    }

    /// COM_QUIT, and waits until the other side has closed too: then all that it held is free.
    pub(crate) fn quit(mut self) {
        self.command(1, &[]).unwrap();
        let end = self.read().expect_err("the other side closes");
        let ends = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(ends.contains(&end.kind()), "{end}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stream.close();
    }
}

/// The alias of a column.
fn name_of(definition: &[u8]) -> String {
    let mut cursor = Cursor::new(definition);
    for _ in 0..4 {
        cursor.lenenc_bytes().expect("a definition of a column");
    }
    String::from_utf8_lossy(cursor.lenenc_bytes().expect("a column's name")).into()
}

fn cells_of(row: &[u8], columns: u64) -> Vec<Option<String>> {
    let mut cursor = Cursor::new(row);
    let mut cells = Vec::new();
    for _ in 0..columns {
        if cursor.peek() == Some(0xfb) {
            cursor.u8().expect("NULL");
            cells.push(None);
        } else {
            let cell = cursor.lenenc_bytes().expect("a cell");
            cells.push(Some(String::from_utf8_lossy(cell).into()));
        }
    }
    cells
}
