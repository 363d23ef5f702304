//! Requests to answers over HTTP/1, one request a connection.
//!
//! Size, time and number of requests are bounded; what is not understood gets a 4xx. A page that a
//! browser shows cannot make it send demands here: those from foreign pages are refused. Not
//! authenticated: who reaches the port may drain, so it listens on loopback unless told otherwise.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Desk, page};
use crate::control::{Demand, Mode, Unheard};
use crate::limits;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// After `accept` failed for want of something, until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Answer = Response<Full<Bytes>>;

/// Answers for ever; dropping the future ends every request with it.
pub async fn serve(listener: TcpListener, desk: Desk) -> Infallible {
    let mut requests = JoinSet::new();
    loop {
        while requests.try_join_next().is_some() {}
        if requests.len() >= limits::ADMIN_CONNECTIONS_MAX {
            // Each ends by its deadline.
            requests.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                requests.spawn(converse(stream, desk.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, desk: Desk) {
    let within = Duration::from_millis(limits::ADMIN_REQUEST_MS_MAX);
    let answer = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(request, &desk).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(limits::ADMIN_REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(within, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin request broke off"),
        Err(_) => tracing::debug!("an admin request took too long"),
    }
}

async fn answer(request: Request<Incoming>, desk: &Desk) -> Answer {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), is_read) {
        ("/livez", true) => plain(StatusCode::OK, "alive\n"),
        ("/readyz", true) => ready(desk),
        ("/metrics", true) => metrics(desk),
        ("/", true) => status(&request, desk),
        ("/explain", true) => explain(&request, desk),
        ("/livez" | "/readyz" | "/metrics" | "/" | "/explain", false) => not_allowed("GET, HEAD"),
        ("/mode" | "/drain" | "/reload", _) if request.method() != Method::POST => {
            not_allowed("POST")
        }
        ("/mode" | "/drain" | "/reload", _) if is_foreign(request.headers()) => {
            plain(StatusCode::FORBIDDEN, "a page from elsewhere may not ask for this\n")
        }
        ("/mode", _) => mode(request, desk).await,
        ("/drain", _) => demand(desk, Demand::Drain).await,
        ("/reload", _) => demand(desk, Demand::Reload).await,
        _ => plain(
            StatusCode::NOT_FOUND,
            "there are / /livez /readyz /metrics /explain?sql=... and, by POST, /mode /drain /reload\n",
        ),
    }
}

fn ready(desk: &Desk) -> Answer {
    if desk.control.is_ready() {
        return plain(StatusCode::OK, "ready\n");
    }
    let waits = desk.control.waits_for().join(", ");
    plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {waits}\n"))
}

fn metrics(desk: &Desk) -> Answer {
    match desk.facts.metrics() {
        Ok(page) => typed(StatusCode::OK, METRICS, page),
        Err(why) => {
            tracing::error!(why, "the metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n")
        }
    }
}

fn status(request: &Request<Incoming>, desk: &Desk) -> Answer {
    let status = desk.facts.status();
    match wants_html(request.headers()) {
        true => typed(StatusCode::OK, HTML, page::status_html(&status)),
        false => typed(StatusCode::OK, TEXT, page::status_text(&status)),
    }
}

fn explain(request: &Request<Incoming>, desk: &Desk) -> Answer {
    let sql = match parameter(request.uri().query().unwrap_or(""), "sql") {
        Some(Some(sql)) if !sql.trim().is_empty() => sql,
        Some(None) => {
            return plain(StatusCode::BAD_REQUEST, "sql must be percent-encoded UTF-8\n");
        }
        _ => return plain(StatusCode::BAD_REQUEST, "ask /explain?sql=SELECT+1\n"),
    };
    let schema = match parameter(request.uri().query().unwrap_or(""), "schema") {
        Some(None) => {
            return plain(StatusCode::BAD_REQUEST, "schema must be percent-encoded UTF-8\n");
        }
        Some(Some(schema)) => Some(schema).filter(|name| !name.is_empty()),
        None => None,
    };
    let text = desk.facts.explain(&sql, schema.as_deref());
    match wants_html(request.headers()) {
        true => typed(StatusCode::OK, HTML, page::explain_html(&sql, &text)),
        false => typed(StatusCode::OK, TEXT, text),
    }
}

async fn mode(request: Request<Incoming>, desk: &Desk) -> Answer {
    let body = Limited::new(request.into_body(), limits::ADMIN_REQUEST_BYTES_MAX);
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "send one word\n");
        }
        Err(_) => return plain(StatusCode::BAD_REQUEST, "the request broke off\n"),
    };
    let word = std::str::from_utf8(&bytes).unwrap_or("").trim();
    match Mode::parse(word) {
        Some(mode) => demand(desk, Demand::Mode(mode)).await,
        None => {
            let modes = Mode::NAMES.join(", ");
            plain(StatusCode::BAD_REQUEST, &format!("send one of {modes} as the body\n"))
        }
    }
}

async fn demand(desk: &Desk, demand: Demand) -> Answer {
    tracing::info!(?demand, "asked over the admin port");
    match desk.control.ask(demand).await {
        Ok(done) => plain(StatusCode::OK, &format!("{done}\n")),
        Err(why @ Unheard::Declined(_)) => plain(StatusCode::CONFLICT, &format!("{why}\n")),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
    }
}

/// Sent by a browser on behalf of a page that is not ours. Ours has no button that demands.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The value of one parameter: not there, there but not decodable, or the text.
fn parameter(query: &str, name: &str) -> Option<Option<String>> {
    let value = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) if key == name => Some(value),
        _ => None,
    })?;
    Some(decoded(value))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("use {methods}\n"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn plain(status: StatusCode, text: &str) -> Answer {
    typed(status, TEXT, text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
             frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
