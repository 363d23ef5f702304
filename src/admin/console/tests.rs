//! The console over a real socket, from the login to hostile packets.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::admin::{Status as StatusPage, Table, Topic};
use crate::backend::dial::{Dialed, Login, dial};
use crate::link::{Network, Stream, tls};
use crate::secret::{Book, Policy, RsaKey};
use crate::wire::frame::{Header, write_packet};

struct Fixed;

impl Facts for Fixed {
    fn status(&self) -> StatusPage {
        StatusPage::default()
    }

    fn table(&self, topic: Topic<'_>) -> Table {
        let rows = match topic {
            Topic::Pools => (0..600).map(|n| vec![format!("row {n}")]).collect(),
            Topic::Routes => Vec::new(),
            topic => vec![vec![format!("{topic:?}")]],
        };
        Table::new("", &["topic"], rows)
    }

    fn explain(&self, _: &str, _: Option<&str>) -> String {
        String::new()
    }

    fn metrics(&self) -> Result<String, String> {
        Err("none".into())
    }
}

const PASSWORD: &[u8] = b"look-only";

async fn start() -> SocketAddr {
    let account = Credentials::new(b"admin".to_vec(), PASSWORD.to_vec()).unwrap();
    let policy = Policy { listed: vec![Arc::new(account)], learn: false, ..Policy::default() };
    let door = Door {
        version: VERSION.into(),
        charset: CHARSET,
        capabilities: OFFERED,
        tls: None,
        require_tls: false,
        rsa: Arc::new(RsaKey::generate().unwrap()),
        book: Arc::new(Book::new(policy).unwrap()),
        prove: Arc::new(Nobody),
        login_timeout: Duration::from_secs(10),
        bare_passwords: AtomicU64::new(0),
    };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap();
    tokio::spawn(serve(listener, Arc::new(ArcSwap::from_pointee(door)), Arc::new(Fixed)));
    address
}

async fn log_in(address: SocketAddr, password: &[u8]) -> Result<Dialed, String> {
    let credentials = Arc::new(Credentials::new(b"admin".to_vec(), password.to_vec()).unwrap());
    let login = Login { credentials, shared: Capabilities(0), local_infile: false, database: None };
    let tls = tls::BackendTls::unverified(tls::Mode::Disabled).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    dial(&Network::Real, &address.to_string(), &tls, &login, deadline)
        .await
        .map_err(|error| error.to_string())
}

/// Sends bytes and gathers what comes back until the other side closes, a packet a piece.
async fn packets(stream: &mut Stream, sent: &[u8]) -> Vec<(u8, Vec<u8>)> {
    // The answer may come, and the socket close, before all is sent.
    let _ = stream.write_all(sent).await;
    let mut bytes = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.unwrap();
    let mut found = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(header) = Header::parse(rest) {
        found.push((header.sequence, rest[4..4 + header.len].to_vec()));
        rest = &rest[4 + header.len..];
    }
    found
}

/// The answers to commands that are all sent at once, before a QUIT: `ok`, `rows N`, an error.
async fn check(commands: &[&[u8]], expected: &str) {
    let address = start().await;
    let mut stream = log_in(address, PASSWORD).await.unwrap().stream;
    let mut sent = Vec::new();
    for command in commands.iter().copied().chain([&b"\x01"[..]]) {
        write_packet(&mut sent, 0, command);
    }
    let mut told = Vec::new();
    let (mut number, mut eofs, mut rows) = (1_u8, 0, 0);
    for (sequence, payload) in packets(&mut stream, &sent).await {
        assert_eq!(sequence, number, "after {told:?}");
        number = number.wrapping_add(1);
        let answer = match (payload[0], eofs) {
            (0, 0) => "ok".to_owned(),
            (0xff, _) => u16::from_le_bytes([payload[1], payload[2]]).to_string(),
            (0xfe, 1) => format!("rows {rows}"),
            (first, _) => {
                rows += eofs;
                eofs += usize::from(first == 0xfe);
                continue;
            }
        };
        told.push(answer);
        (number, eofs, rows) = (1, 0, 0);
    }
    assert_eq!(told.join(" | "), expected);
}

#[tokio::test]
async fn pipelined_commands_are_answered_one_by_one() {
    let query: &[u8] = b"\x03SHOW BACKENDS";
    check(&[query; 6], "rows 1 | rows 1 | rows 1 | rows 1 | rows 1 | rows 1").await;
    check(
        &[b"\x0e", b"\x03SHOW ROUTES", b"\x03SHOW POOLS", b"\x03HELP", b"\x03SELECT 1"],
        "ok | rows 0 | rows 600 | rows 6 | rows 1",
    )
    .await;
    let mut long = b"\x03EXPLAIN ROUTE SELECT '".to_vec();
    long.resize(65_535, b'x');
    long.push(b'\'');
    check(&[&long, query, &long, b"\x0e"], "rows 1 | rows 1 | rows 1 | ok").await;
}

#[tokio::test]
async fn what_it_does_not_answer_is_refused_and_the_client_stays() {
    check(&[b"\x03DROP TABLE t", b"\x03", b"\x0e"], "1064 | 1064 | ok").await;
    check(&[b"\x02blog", b"\x03USE blog", b"\x03use ", b"\x0e"], "1049 | 1049 | 1049 | ok").await;
    check(&[b"\x03SELECT '\xff'", b"\x02\xff", b"\x0e"], "1300 | 1300 | ok").await;
    check(&[b"", b"\x17\x07", b"\x1b", b"\x0e"], "1835 | 1835 | 1835 | ok").await;
    // A bad EXECUTE would be a panic, CHANGE_USER would be let in.
    check(&[b"\x16SELECT ?", b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01", b"\x0e"], "1047 | 1047 | ok")
        .await;
    check(&[b"\x11root\0\0\0", b"\x1f", b"\x09", b"\x0e"], "1047 | 1047 | 1047 | ok").await;
    check(&[b"\x19\x01\0\0\0", b"\x18\x01\0\0\0\0\0x", b"\x0e"], "ok").await;
    let all: Vec<[u8; 5]> = (0..=255).map(|code| [code, 0, 0, 0, 0]).collect();
    let others: Vec<&[u8]> = all
        .iter()
        .filter(|bytes| ![1, 2, 3, 0x0e, 0x18, 0x19].contains(&bytes[0]))
        .map(|bytes| &bytes[..])
        .collect();
    let refused = vec!["1047"; others.len()].join(" | ");
    check(&others, &refused).await;
}

#[tokio::test]
async fn a_packet_that_is_too_long_or_out_of_order_ends_the_conversation() {
    async fn check(sent: &[u8], code: u16) {
        let mut stream = log_in(start().await, PASSWORD).await.unwrap().stream;
        let told = packets(&mut stream, sent).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1[0]), (1, 0xff));
        assert_eq!(u16::from_le_bytes([told[0].1[1], told[0].1[2]]), code);
    }
    check(&[0x01, 0, 1, 0], 1153).await;
    check(&[0xff, 0xff, 0xff, 0], 1153).await;
    check(&[1, 0, 0, 7, 0x0e], 1156).await;
    check(&[1, 0, 0, 255, 0x0e], 1156).await;
}

#[tokio::test]
async fn only_its_account_is_let_in_and_only_so_many_at_once() {
    let address = start().await;
    let denied = log_in(address, b"guess").await.err().unwrap();
    assert!(denied.contains("1045"), "{denied}");
    let denied = log_in(address, b"").await.err().unwrap();
    assert!(denied.contains("1045"), "{denied}");
    let mut inside = Vec::new();
    for _ in 0..limits::CONSOLES_MAX {
        inside.push(free_place(address).await);
    }
    let full = log_in(address, PASSWORD).await.err().unwrap();
    assert!(full.contains("1040"), "{full}");
    // A half packet holds its place, and is no more than that.
    inside[0].stream.write_all(b"\x09\0\0\0\x03SHOW").await.unwrap();
    drop(inside);
    let mut stream = free_place(address).await.stream;
    assert_eq!(packets(&mut stream, b"\x01\0\0\0\x01").await, []);
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"\x09\0\0\x01").await.unwrap();
    drop(half);
    free_place(address).await;
}

/// Logs in as soon as those that left have given their places back.
async fn free_place(address: SocketAddr) -> Dialed {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match log_in(address, PASSWORD).await {
            Ok(dialed) => return dialed,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}
