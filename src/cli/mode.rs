//! `forebay mode primary|observe|split`: asks a running proxy, over its admin port, to route differently.
//!
//! One request written by hand, because a client for it would be larger than the rest of this.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{complain, say};
use crate::control::Mode;
use crate::limits;

/// What to change, and where.
#[derive(Args, Debug)]
pub(super) struct Change {
    /// primary sends everything to the primary, split sends proved reads to replicas, observe sends
    /// everything to the primary and counts what split would have done.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(Mode::NAMES))]
    mode: String,
    /// The admin port of the running proxy.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9090")]
    admin_http: String,
}

/// Asks, and prints the answer.
pub(super) fn change(change: &Change) -> ExitCode {
    match post(&change.admin_http, &change.mode) {
        Ok((200, answer)) => {
            say(&answer);
            ExitCode::SUCCESS
        }
        Ok((status, answer)) => {
            complain(&format!("{} answered {status}: {answer}", change.admin_http));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("{} cannot be asked: {error}", change.admin_http));
            ExitCode::FAILURE
        }
    }
}

fn post(address: &str, mode: &str) -> io::Result<(u16, String)> {
    let within = Duration::from_millis(limits::ADMIN_REQUEST_MS_MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, within) {
            Ok(stream) => {
                stream.set_read_timeout(Some(within))?;
                stream.set_write_timeout(Some(within))?;
                return talk(stream, address, mode);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn talk(mut stream: TcpStream, address: &str, mode: &str) -> io::Result<(u16, String)> {
    let length = mode.len();
    let request = format!(
        "POST /mode HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{mode}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let limit = u64::try_from(limits::ADMIN_REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP"))
}

/// The status and the body of an answer.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_answer_is_read() {
        let check = |answer, expected: Option<(u16, &str)>| {
            let expected = expected.map(|(status, body)| (status, body.to_owned()));
            assert_eq!(super::parse(answer), expected, "{answer:?}");
        };
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\nmode is split\n", Some((200, "mode is split")));
        check("HTTP/1.0 503 X\r\n\r\n", Some((503, "")));
        check("HTTP/1.1 many OK\r\n\r\n", None);
        check("HTTP/1.1 200 OK\r\n", None);
        check("J\0\0\0\n8.0.35", None);
        check("", None);
    }
}
