//! Packets, arguments and the little else that the load programs share.
//!
//! Written apart from the library on purpose: what is measured with it must not also be what
//! measures. Used by nullserver, loadgen, relay and weigh.

#![allow(dead_code, reason = "each program uses a part of this file")]

use std::collections::HashMap;
use std::str::FromStr;

/// CLIENT_LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION |
/// MULTI_RESULTS | PLUGIN_AUTH: what PHP's mysqlnd asks for, as far as it matters.
pub(crate) const AS_PHP: u32 = 1 | 1 << 2 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 17 | 1 << 19;
/// CLIENT_SSL
pub(crate) const SSL: u32 = 1 << 11;
/// CLIENT_DEPRECATE_EOF
pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
/// CLIENT_SESSION_TRACK
pub(crate) const SESSION_TRACK: u32 = 1 << 23;

/// Appends one packet; none here is near 16 MiB.
pub(crate) fn put(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(0).to_le_bytes()[..3]);
    out.push(sequence);
    out.extend_from_slice(payload);
}

/// The packet at the front: its sequence number, its payload and the bytes both take.
pub(crate) fn first(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [a, b, c, sequence, rest @ ..] = bytes else { return None };
    let len = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
    rest.get(..len).map(|payload| (*sequence, payload, len + 4))
}

/// A string with its length before it, shorter than 64 KiB.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(len) if len < 251 => out.push(len),
        _ => {
            out.push(0xfc);
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Memory of a process; 0 when there is none.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// `--name value` and `--flag`.
pub(crate) struct Arguments(HashMap<String, String>);

impl Arguments {
    /// Those of this process.
    pub(crate) fn read() -> Self {
        let mut found = HashMap::new();
        let mut words = std::env::args().skip(1).peekable();
        while let Some(word) = words.next() {
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            found.insert(word.trim_start_matches('-').to_owned(), value);
        }
        Self(found)
    }

    /// The value of `name`, or `default`.
    pub(crate) fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        self.0.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// Whether `name` was given at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
