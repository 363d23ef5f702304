//! The header by which a balancer tells whose connection it passes on: PROXY protocol, 1 and 2.
//!
//! Bytes to values, no more: it reads no socket and trusts nobody. `client::announce` calls it for
//! peers that the operator listed.
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::PROXY_HEADER_BYTES_MAX;
use crate::wire::Malformed;

/// Whom a header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// A client on the network.
    Client(SocketAddr),
    /// A client on the sender's own machine, by a Unix socket.
    Local,
    /// Nobody: the sender speaks for itself, or does not know.
    Nobody,
}

/// A whole header at the front, and its length; or none while more is to come.
///
/// # Errors
/// As soon as the bytes cannot become a header any more.
pub fn parse(bytes: &[u8]) -> Result<Option<(Announced, usize)>, Malformed> {
    if begins(bytes, &SIGNATURE) {
        return if bytes.len() < HEAD_BYTES { Ok(None) } else { parse_binary(bytes) };
    }
    if begins(bytes, TEXT) {
        return if bytes.len() < TEXT.len() { Ok(None) } else { parse_text(bytes) };
    }
    Err(Malformed { what: "no PROXY header" })
}

/// Whether as much as there is agrees with how a header begins.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(one, other)| one == other)
}

/// Version 1: one line of text.
fn parse_text(bytes: &[u8]) -> Result<Option<(Announced, usize)>, Malformed> {
    const WRONG: Malformed = Malformed { what: "the line of a PROXY header" };
    let Some(end) = bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(WRONG) };
    };
    let line = bytes.get(TEXT.len()..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(WRONG)?;
    let line = str::from_utf8(line).map_err(|_| WRONG)?;
    let announced = match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["UNKNOWN", ..] => Announced::Nobody,
        ["TCP4", from, to, from_port, to_port] => {
            let _to = client::<Ipv4Addr>(to, to_port).ok_or(WRONG)?;
            client::<Ipv4Addr>(from, from_port).ok_or(WRONG)?
        }
        ["TCP6", from, to, from_port, to_port] => {
            let _to = client::<Ipv6Addr>(to, to_port).ok_or(WRONG)?;
            client::<Ipv6Addr>(from, from_port).ok_or(WRONG)?
        }
        _ => return Err(WRONG),
    };
    Ok(Some((announced, end + 1)))
}

fn client<Ip: std::str::FromStr + Into<IpAddr>>(ip: &str, port: &str) -> Option<Announced> {
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_plain)?;
    Some(Announced::Client(SocketAddr::new(ip.parse::<Ip>().ok()?.into(), port)))
}

/// Version 2: sixteen bytes, an address, and fields that may follow it.
fn parse_binary(bytes: &[u8]) -> Result<Option<(Announced, usize)>, Malformed> {
    const WRONG: Malformed = Malformed { what: "version or command of a PROXY header" };
    let Some([command, family, high, low]) =
        bytes.get(SIGNATURE.len()..).and_then(<[u8]>::first_chunk::<4>).copied()
    else {
        return Ok(None);
    };
    let len = HEAD_BYTES.saturating_add(usize::from(u16::from_be_bytes([high, low])));
    if len > PROXY_HEADER_BYTES_MAX {
        return Err(Malformed { what: "a PROXY header that is too long" });
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(WRONG);
    }
    let Some(header) = bytes.get(..len) else { return Ok(None) };
    if command == LOCAL {
        // The sender's own health check: nothing of the rest is to be looked at.
        return Ok(Some((Announced::Nobody, len)));
    }
    let body = header.get(HEAD_BYTES..).unwrap_or_default();
    let (announced, fields) = address(family, body)?;
    check_fields(header, fields)?;
    Ok(Some((announced, len)))
}

/// The client's address, and what stands behind both addresses.
fn address(family: u8, body: &[u8]) -> Result<(Announced, &[u8]), Malformed> {
    const SHORT: Malformed = Malformed { what: "the addresses of a PROXY header" };
    match family {
        // From, to, from's port, to's port; all in network order.
        TCP4 => {
            let (addresses, fields) = body.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            let from = SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port);
            Ok((Announced::Client(from), fields))
        }
        TCP6 => {
            let (from, rest) = body.split_first_chunk::<16>().ok_or(SHORT)?;
            let (_to, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let ([high, low, _, _], fields) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let port = u16::from_be_bytes([*high, *low]);
            let from = SocketAddr::new(Ipv6Addr::from(*from).into(), port);
            Ok((Announced::Client(from), fields))
        }
        UNIX => {
            let (_paths, fields) = body.split_first_chunk::<216>().ok_or(SHORT)?;
            Ok((Announced::Local, fields))
        }
        UNSPECIFIED => Ok((Announced::Nobody, body)),
        _ => Err(Malformed { what: "the address family of a PROXY header" }),
    }
}

/// Walks the fields behind the addresses; a checksum among them has to be right.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), Malformed> {
    const SHORT: Malformed = Malformed { what: "a field of a PROXY header" };
    while !fields.is_empty() {
        let ([kind, high, low], rest) = fields.split_first_chunk::<3>().ok_or(SHORT)?;
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(len).ok_or(SHORT)?;
        if *kind == CHECKSUM {
            let told = <[u8; 4]>::try_from(value).map_err(|_| SHORT)?;
            let behind = value.len().saturating_add(rest.len());
            let at = header.len().saturating_sub(behind);
            let counted = header.iter().enumerate().map(|(index, byte)| {
                // It is made over the header with zeroes in its own place.
                if (at..at.saturating_add(4)).contains(&index) { 0 } else { *byte }
            });
            if crc32c(counted) != u32::from_be_bytes(told) {
                return Err(Malformed { what: "the checksum of a PROXY header" });
            }
        }
        fields = rest;
    }
    Ok(())
}

/// CRC-32C, bit by bit: a header is short, and there is one in a connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

const TEXT: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family, length.
const HEAD_BYTES: usize = 16;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// PP2_TYPE_CRC32C.
const CHECKSUM: u8 = 0x03;

#[cfg(test)]
mod tests;
