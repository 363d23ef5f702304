//! Servers that a dialler may meet, most of them unwell, a server a line.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::link::network::{Connecting, Memory};
use crate::wire::handshake::{write_more, write_switch};

struct OneWay(Mutex<Option<DuplexStream>>);

impl Memory for OneWay {
    fn connect<'a>(&'a self, _address: &'a str) -> Connecting<'a> {
        let stream = self.0.lock().unwrap().take();
        Box::pin(async { stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) })
    }
}

fn greeting(plugin: &str, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    let greeting = Greeting {
        version: b"5.5.5-10.11.19-MariaDB".to_vec(),
        thread_id: 5,
        nonce: [b'n'; 20],
        capabilities,
        mariadb_extended: 0,
        charset: 45,
        status: Status::AUTOCOMMIT,
        plugin: plugin.into(),
    };
    greeting.encode(&mut payload);
    payload
}

const OLD: Capabilities = WANTED.without(Capabilities::SESSION_TRACK);

/// A server that says these payloads, one after each packet it hears, and writes down the packets.
async fn serve(stream: DuplexStream, payloads: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let (mut stream, mut exchange) = (Stream::from(stream), Exchange::with_client());
    let mut heard = Vec::new();
    for payload in payloads {
        if exchange.send_payload(&mut stream, &payload).await.is_err() {
            break;
        }
        match exchange.read(&mut stream).await {
            Ok(packet) => heard.push(packet.to_vec()),
            Err(_) => break,
        }
    }
    heard
}

async fn run(mode: Mode, payloads: Vec<Vec<u8>>) -> (String, Vec<Vec<u8>>) {
    let (near, far) = duplex(64 * 1024);
    let network = Network::Memory(Arc::new(OneWay(Mutex::new(Some(near)))));
    let tls = BackendTls::unverified(mode).unwrap();
    let credentials = Arc::new(Credentials::new(b"u".to_vec(), b"secret".to_vec()).unwrap());
    let login = Login {
        credentials,
        shared: Capabilities::FOUND_ROWS,
        local_infile: false,
        database: None,
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    let dialing = async {
        let dialed = dial(&network, "db:3306", &tls, &login, deadline).await;
        dialed.map_or_else(|error| error.to_string(), |dialed| format!("{:?}", dialed.status))
    };
    tokio::join!(dialing, serve(far, payloads))
}

/// Mode, what the server says, and what comes of it.
async fn check(mode: Mode, payloads: &[&[u8]], expected: &str) {
    let payloads = payloads.iter().map(|payload| payload.to_vec()).collect();
    let (outcome, heard) = run(mode, payloads).await;
    assert!(outcome.contains(expected), "{outcome}, not {expected}");
    let spoken = heard.concat();
    assert!(!spoken.windows(6).any(|part| part == b"secret"), "the password went out in clear");
}

fn payload(write: impl FnOnce(&mut Vec<u8>, u8) -> u8) -> Vec<u8> {
    let mut packet = Vec::new();
    write(&mut packet, 0);
    packet.split_off(4)
}

#[tokio::test(start_paused = true)]
async fn servers_of_all_kinds() {
    let native = greeting(NATIVE, OLD);
    let sha2 = greeting(CACHING_SHA2, OLD);
    let strange = greeting("auth_gssapi", OLD);
    let clear = greeting("mysql_clear_password", OLD);
    let ok: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
    let switch = |plugin: &str| payload(|o, n| write_switch(o, n, plugin.as_bytes(), &[b'm'; 20]));
    let more = |data: &[u8]| payload(|o, n| write_more(o, n, data));
    let off = Mode::Disabled;
    check(off, &[&native, ok], "Status(2)").await;
    check(off, &[&strange, ok], "Status(2)").await;
    check(off, &[&clear, ok], "Status(2)").await;
    check(off, &[&sha2, &more(&[3]), ok], "no answer in time").await;
    check(off, &[&native, &switch(CACHING_SHA2), ok], "Status(2)").await;
    check(off, &[&sha2, &switch(NATIVE), ok], "Status(2)").await;
    check(off, &[&native, &switch("client_ed25519"), ok], "Status(2)").await;
    check(off, &[&sha2, &switch("parsec")], "no way to log in by parsec").await;
    check(off, &[&sha2, &switch("mysql_clear_password")], "no way to log in by mysql_clear").await;
    check(off, &[&sha2, &switch("sha256_password"), &more(b"no key")], "cannot encrypt").await;
    check(off, &[&greeting("sha256_password", OLD), ok], "Status(2)").await;
    check(off, &[&native, &more(&[4])], "no way to log in by mysql_native_password").await;
    check(off, &[&sha2, &more(&[9])], "no way to log in by caching_sha2_password").await;
    check(off, &[&sha2, &more(&[4]), &more(b"no key")], "cannot encrypt").await;
    check(off, &[&sha2, &more(&[4]), ok], "no key where one").await;
    check(off, &[&sha2, b"\xff\x15\x04#28000Access denied"], "refused: 1045 (28000)").await;
    check(off, &[b"\xff\x10\x04Too many connections"], "refused: 1040 (HY000): Too many").await;
    check(off, &[&[10, 0]], "malformed").await;
    check(off, &[b""], "malformed").await;
    check(off, &[&native, b"\xfe"], "mysql_old_password").await;
    check(off, &[&native, b"\x07"], "malformed").await;
    check(Mode::Preferred, &[&native, ok], "Status(2)").await;
    check(Mode::Required, &[&native, ok], "the server offers no TLS").await;
    let endless: Vec<_> = (0..20).map(|_| switch(NATIVE)).collect();
    let mut said: Vec<&[u8]> = vec![&native];
    said.extend(endless.iter().map(Vec::as_slice));
    check(off, &said, "a login without an end").await;
}

#[tokio::test]
async fn what_is_asked_for() {
    let response = |heard: Vec<Vec<u8>>| Response::parse(heard.first().unwrap()).unwrap();
    let ok = vec![0, 0, 0, 2, 0, 0, 0];
    let everything = Capabilities(u32::MAX).without(Capabilities::SSL);
    let said = vec![greeting(NATIVE, everything), ok.clone()];
    let asked = response(run(Mode::Disabled, said).await.1);
    let wanted = WANTED.with(Capabilities::LONG_PASSWORD).with(Capabilities::FOUND_ROWS);
    assert_eq!(asked.capabilities, wanted);
    assert_eq!((asked.charset, asked.user), (45, b"u".to_vec()));
    // MariaDB leaves bit 0 out, an old server the trackers.
    let asked = response(run(Mode::Disabled, vec![greeting(NATIVE, OLD), ok]).await.1);
    assert_eq!(asked.capabilities, OLD.with(Capabilities::LONG_PASSWORD));
}

#[tokio::test]
async fn nobody_there_and_nobody_answering() {
    let network = Network::Real;
    let tls = BackendTls::unverified(Mode::Disabled).unwrap();
    let soon = || Instant::now() + Duration::from_millis(50);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let credentials = Arc::new(Credentials::new(b"u".to_vec(), b"secret".to_vec()).unwrap());
    let login = Login { credentials, shared: Capabilities(0), local_infile: false, database: None };
    let dialed = dial(&network, &silent, &tls, &login, soon()).await;
    assert!(matches!(dialed, Err(DialError::TimedOut)));
    assert!(matches!(greeting_only(&network, &silent, soon()).await, Err(DialError::TimedOut)));
    drop(listener);
    let later = Instant::now() + Duration::from_secs(5);
    for nowhere in [silent.as_str(), "/no/such/socket", "no port"] {
        let dialed = dial(&network, nowhere, &tls, &login, later).await;
        assert!(matches!(dialed, Err(DialError::Unreachable(_))), "{nowhere}: {dialed:?}");
    }
}

#[test]
fn mariadb_is_known_by_its_name_or_its_flags() {
    let check = |version: &str, capabilities: Capabilities, expected: bool| {
        let mut greeting = Greeting::parse(&greeting(NATIVE, capabilities)).unwrap();
        greeting.version = version.into();
        assert_eq!(is_mariadb(&greeting), expected, "{version}");
    };
    let mysql = WANTED.with(Capabilities::LONG_PASSWORD);
    check("26.7.0", mysql, false);
    check("9.7.4-2", mysql, false);
    check("8.0.36-28.1", mysql, false);
    check("5.7.mysql_aurora.2.11", mysql, false);
    check("5.5.5-10.11.19-MariaDB-0+deb12u1", mysql, true);
    check("11.8.3-MariaDB", WANTED, true);
    check("10.6.0", WANTED, true);
}

/// Servers count those who go without a word, and then block our host.
#[tokio::test]
async fn a_probe_says_something_before_it_goes() {
    let (near, far) = duplex(64 * 1024);
    let network = Network::Memory(Arc::new(OneWay(Mutex::new(Some(near)))));
    let deadline = Instant::now() + Duration::from_secs(5);
    let said = vec![greeting(NATIVE, OLD), b"\xff\x15\x04#28000Access denied".to_vec()];
    let (greeted, heard) =
        tokio::join!(greeting_only(&network, "db:3306", deadline), serve(far, said));
    assert_eq!(greeted.unwrap().plugin, NATIVE.as_bytes());
    assert!(Response::parse(heard.first().unwrap()).is_ok());
}
