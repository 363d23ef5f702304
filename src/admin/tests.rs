//! The admin port over a real socket, and the texts it shows.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::control::{Demand, Mode, Phase};
use crate::limits;
use crate::sql::{Classifier, Mode as SqlMode};

struct Fixed;

impl Facts for Fixed {
    fn status(&self) -> Status {
        Status {
            facts: vec![("mode".into(), "split".into()), ("clients".into(), "3".into())],
            tables: vec![Table {
                title: "Servers".into(),
                columns: vec!["server".into(), "health".into()],
                rows: vec![
                    vec!["db-1:3306".into(), "up".into()],
                    vec!["<script>".into(), "down".into()],
                ],
            }],
        }
    }

    fn table(&self, topic: Topic<'_>) -> Table {
        Table { title: format!("{topic:?}"), ..Table::default() }
    }

    fn explain(&self, sql: &str, schema: Option<&str>) -> String {
        let schema = schema.map_or(String::new(), |name| format!("in {name}\n"));
        schema + &explain(&Classifier::new(7), sql, SqlMode::default())
    }

    fn metrics(&self) -> Result<String, String> {
        Ok("forebay_clients 3\n".into())
    }
}

/// A served desk, and an app that obeys every demand but `Reload`.
async fn start() -> (SocketAddr, Control) {
    let (control, mut demands) = Control::new(Mode::Split);
    let obeying = control.clone();
    tokio::spawn(async move {
        while let Some(asked) = demands.next().await {
            match asked.demand {
                Demand::Drain => {
                    obeying.enter(Phase::Draining);
                    asked.answer(Ok("draining".into()));
                }
                Demand::Mode(mode) => {
                    obeying.set_mode(mode);
                    asked.answer(Ok(format!("mode is {}", mode.name())));
                }
                Demand::Reload => asked.answer(Err("1 mistake in the configuration".into())),
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let desk = Desk { control: control.clone(), facts: Arc::new(Fixed) };
    tokio::spawn(serve(listener, desk));
    (address, control)
}

/// Sends bytes, returns what came back until the other side closed.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The answer may come, and the socket close, before a request that is too long is sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let within = Duration::from_secs(30);
    let _ = tokio::time::timeout(within, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// One request, described as `METHOD target[|header: value][|| body]`; the status and, if given,
/// a part of the answer.
async fn check(address: SocketAddr, request: &str, status: u16, part: &str) {
    let (head, body) = request.split_once("||").unwrap_or((request, ""));
    let (line, headers) = head.split_once('|').unwrap_or((head, ""));
    let headers: String =
        headers.split('|').filter(|h| !h.is_empty()).map(|h| format!("{h}\r\n")).collect();
    let bytes = format!(
        "{} HTTP/1.1\r\nHost: forebay\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        line.trim(),
        body.len()
    );
    let answer = exchange(address, bytes.as_bytes()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    assert!(answer.contains(part), "{request}: no {part:?} in {answer}");
}

#[tokio::test]
async fn every_page_answers() {
    let (at, control) = start().await;
    check(at, "GET /livez", 200, "alive").await;
    check(at, "GET /readyz", 503, "not ready: starting").await;
    let latch = control.latch("a primary");
    control.enter(Phase::Serving);
    check(at, "GET /readyz", 503, "not ready: a primary").await;
    drop(latch);
    check(at, "GET /readyz", 200, "ready").await;
    check(at, "HEAD /readyz", 200, "").await;
    check(at, "GET /metrics", 200, "text/plain; version=0.0.4").await;
    check(at, "GET /metrics", 200, "forebay_clients 3").await;
    check(at, "GET /", 200, "mode     split\nclients  3\n\nServers\n  server     health\n").await;
    check(at, "GET /|Accept: text/html,*/*", 200, "<td class=\"good\">up</td>").await;
    check(at, "GET /|Accept: text/html", 200, "<td>&lt;script&gt;</td><td class=\"bad\">").await;
    check(at, "GET /explain?sql=SELECT+ID+FROM+wp_posts", 200, "goes to     replica").await;
    check(at, "GET /explain?schema=wp&sql=SELECT+1", 200, "in wp\nSELECT 1").await;
    check(at, "GET /explain?sql=SELECT+1&schema=%zz", 400, "percent-encoded").await;
    check(at, "GET /explain?sql=SET+NAMES+utf8mb4", 200, "from memory once the primary").await;
    check(at, "GET /explain?x=1&sql=DELETE%20FROM%20t", 200, "goes to     primary").await;
    check(at, "GET /explain?sql=%3Cb%3E|Accept: text/html", 200, "value=\"&lt;b&gt;\"").await;
}

#[tokio::test]
async fn demands_reach_whoever_obeys_them() {
    let (at, control) = start().await;
    control.enter(Phase::Serving);
    check(at, "POST /mode||primary\n", 200, "mode is primary").await;
    assert_eq!(control.mode(), Mode::Primary);
    check(at, "POST /mode||observe", 200, "mode is observe").await;
    assert_eq!(control.mode(), Mode::Observe);
    check(at, "POST /mode||primary", 200, "mode is primary").await;
    check(at, "POST /mode||replica", 400, "primary, observe, split").await;
    check(at, "POST /mode|Origin: http://elsewhere||split", 403, "").await;
    check(at, "POST /mode|Sec-Fetch-Site: cross-site||split", 403, "").await;
    assert_eq!(control.mode(), Mode::Primary);
    check(at, "POST /reload", 409, "1 mistake").await;
    check(at, "GET /drain", 405, "allow: POST").await;
    assert_eq!(control.phase(), Phase::Serving);
    check(at, "POST /drain", 200, "draining").await;
    assert_eq!(control.phase(), Phase::Draining);
    check(at, "GET /readyz", 503, "not ready: draining").await;
}

#[tokio::test]
async fn bad_requests_get_a_4xx_and_the_port_stays_up() {
    let (at, _control) = start().await;
    check(at, "GET /nothing", 404, "/explain?sql=").await;
    check(at, "DELETE /metrics", 405, "allow: GET, HEAD").await;
    check(at, "GET /explain", 400, "ask /explain?sql=").await;
    check(at, "GET /explain?sql=%zz", 400, "percent-encoded").await;
    check(at, "GET /explain?sql=%ff", 400, "percent-encoded").await;
    check(at, "GET /explain?sql=%e", 400, "percent-encoded").await;
    let long = "x".repeat(limits::ADMIN_REQUEST_BYTES_MAX + 1);
    check(at, &format!("POST /mode||{long}"), 413, "").await;
    let target = format!("GET /explain?sql={} HTTP/1.1\r\n", long.repeat(2));
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00\x01".as_slice(), "HTTP/1.1 400"),
        (b"GET / HTTP/9.9\r\n\r\n", "HTTP/1.1 400"),
        (b"\r\n\r\n\0\0\0", "HTTP/1.1 400"),
        (target.as_bytes(), "HTTP/1.1 4"),
    ] {
        let answer = exchange(at, bytes).await;
        assert!(answer.starts_with(status) || answer.is_empty(), "{answer}");
    }
    check(at, "GET /livez", 200, "alive").await;
}

#[tokio::test]
async fn half_a_request_keeps_nobody_waiting() {
    let (at, _control) = start().await;
    let mut half = TcpStream::connect(at).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    check(at, "GET /livez", 200, "alive").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_ends_is_ended() {
    let (at, _control) = start().await;
    // The paused clock leaps to the deadline as soon as everybody waits.
    let body =
        exchange(at, b"POST /mode HTTP/1.1\r\nHost: f\r\nContent-Length: 9\r\n\r\nspl").await;
    assert_eq!(body, "");
}

#[test]
fn a_statement_is_explained() {
    #[track_caller]
    fn check(sql: &str, parts: &[&str]) {
        let text = explain(&Classifier::new(7), sql, SqlMode::default());
        for part in parts {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
    check("SELECT 1 FROM wp_posts", &["goes to     replica", "plain read", "reads       wp_posts"]);
    check("SELECT 1 FROM wp_posts", &["if one of these names is a view"]);
    check(
        "UPDATE s.t SET a = 1",
        &["goes to     primary", "verb        update", "writes      s.t"],
    );
    check(
        "/* forebay: primary */ SELECT 1 FROM t",
        &["goes to     primary", "asks for the primary"],
    );
    check("SELECT GET_LOCK('a', 1)", &["goes to     primary", "effects", "user_lock"]);
    check("SELECT '\u{1b}[2J' FROM t", &["SELECT '\u{fffd}[2J'"]);
    check("SELECT", &["goes to     primary", "not proved to be a plain read"]);
    check("/* forebay: replica */ SELECT", &["goes to     replica", "not proved"]);
    check("/* forebay: replica */ DELETE FROM t", &["goes to     primary"]);
    check("", &["goes to     primary"]);
    check("KILL 7", &["goes to     nowhere", "it stops what another client does"]);
    check("KILL 7; KILL 8", &["goes to     nowhere", "it is refused"]);
}
