//! The number of a transaction, in the four ways in which servers write it.
//!
//! Not a set of them: that is `position`'s, which reads what this prints.

use std::fmt;

use crate::wire::cursor::Cursor;
use crate::wire::{Malformed, malformed};

/// Which transaction it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gtid {
    /// `uuid:number`, or `uuid:tag:number`.
    MySql {
        /// Who numbered it.
        source: [u8; 16],
        /// Empty without a tag.
        tag: String,
        /// Counts per source and tag.
        number: u64,
    },
    /// `domain-server-sequence`.
    MariaDb {
        /// Within it the sequence orders all.
        domain: u32,
        /// Who made it.
        server: u32,
        /// Counts per domain.
        sequence: u64,
        /// It is one event and has no end of its own.
        is_standalone: bool,
        /// It commits what was prepared in an earlier one.
        completes_xa: bool,
    },
}

const STANDALONE: u8 = 1;
const COMPLETED_XA: u8 = 128;
/// The servers' own bound.
const TAG_BYTES_MAX: usize = 32;

impl Gtid {
    /// A GTID_EVENT: flags, the UUID, the number; what follows is for appliers.
    pub(super) fn parse_mysql(body: &[u8]) -> Result<Gtid, Malformed> {
        let mut cursor = Cursor::new(body);
        cursor.u8()?;
        let mut source = [0; 16];
        source.copy_from_slice(cursor.bytes(16)?);
        Ok(Gtid::MySql { source, tag: String::new(), number: cursor.u64()? })
    }

    /// A GTID_TAGGED_LOG_EVENT: numbered fields, in the order of their numbers.
    // PageLibsMysqlSerialization.html
    pub(super) fn parse_tagged(body: &[u8]) -> Result<Gtid, Malformed> {
        let mut cursor = Cursor::new(body);
        for _version_size_last in 0..3 {
            varlen(&mut cursor)?;
        }
        let (mut source, mut number) = ([0; 16], None);
        loop {
            match varlen(&mut cursor)? {
                0 => {
                    varlen(&mut cursor)?;
                }
                1 => {
                    for byte in &mut source {
                        *byte = narrow(varlen(&mut cursor)?)?;
                    }
                }
                // It is a signed one: the lowest bit is its sign.
                2 => number = Some(varlen(&mut cursor)? >> 1),
                3 => {
                    let len = usize::from(narrow::<u8>(varlen(&mut cursor)?)?);
                    let tag = std::str::from_utf8(cursor.bytes(len)?).map_err(|_| NO_TAG)?;
                    let number = number.filter(|_| len <= TAG_BYTES_MAX).ok_or(NO_TAG)?;
                    return Ok(Gtid::MySql { source, tag: tag.to_owned(), number });
                }
                _ => return Err(NO_TAG),
            }
        }
    }

    /// MariaDB's GTID_EVENT; the server's number stands in the header.
    pub(super) fn parse_mariadb(server: u32, body: &[u8]) -> Result<Gtid, Malformed> {
        let mut cursor = Cursor::new(body);
        let (sequence, domain, flags) = (cursor.u64()?, cursor.u32()?, cursor.u8()?);
        Ok(Gtid::MariaDb {
            domain,
            server,
            sequence,
            is_standalone: flags & STANDALONE != 0,
            completes_xa: flags & COMPLETED_XA != 0,
        })
    }
}

const NO_TAG: Malformed = Malformed { what: "a tagged GTID" };

/// A number whose first byte says by its lowest bits how many follow.
fn varlen(cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let Some(first) = cursor.peek() else { return malformed("a number without bytes") };
    let more = first.trailing_ones();
    if more == 8 {
        cursor.u8()?;
        return cursor.u64();
    }
    let len = usize::try_from(more).unwrap_or_default().saturating_add(1);
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(cursor.bytes(len)?).for_each(|(to, from)| *to = *from);
    Ok(u64::from_le_bytes(bytes).checked_shr(more.saturating_add(1)).unwrap_or_default())
}

fn narrow<T: TryFrom<u64>>(number: u64) -> Result<T, Malformed> {
    T::try_from(number).map_err(|_| NO_TAG)
}

/// As the servers print it in a set.
impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::MySql { source, tag, number } => {
                for (at, byte) in source.iter().enumerate() {
                    let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                let colon = if tag.is_empty() { "" } else { ":" };
                write!(f, "{colon}{tag}:{number}")
            }
            Gtid::MariaDb { domain, server, sequence, .. } => {
                write!(f, "{domain}-{server}-{sequence}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_their_own_length() {
        fn check(bytes: &[u8], expected: Option<u64>) {
            let mut cursor = Cursor::new(bytes);
            assert_eq!(varlen(&mut cursor).ok(), expected, "{bytes:02x?}");
            assert_eq!(cursor.remaining(), 0);
        }
        check(&[0], Some(0));
        check(&[0xfe], Some(127));
        check(&[0b01, 0x02], Some(128));
        check(&[0xfd, 0xff], Some(0x3fff));
        check(&[0x7f, 1, 0, 0, 0, 0, 0, 0], Some(1));
        check(&[0xff, 1, 0, 0, 0, 0, 0, 0, 0x80], Some(0x8000_0000_0000_0001));
        check(&[], None);
        assert!(varlen(&mut Cursor::new(&[0xff, 1])).is_err());
    }

    #[test]
    fn print_as_servers_do() {
        let source = [
            0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42,
            0x95, 0x62,
        ];
        let plain = Gtid::MySql { source, tag: String::new(), number: 23 };
        assert_eq!(plain.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:23");
        let tagged = Gtid::MySql { source, tag: "night".into(), number: 1 };
        assert_eq!(tagged.to_string(), "3e11fa47-71ca-11e1-9e33-c80aa9429562:night:1");
        let body = [9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x81];
        let mariadb = Gtid::parse_mariadb(7, &body).unwrap();
        assert_eq!(mariadb.to_string(), "2-7-9");
        let Gtid::MariaDb { is_standalone: true, completes_xa: true, .. } = mariadb else {
            panic!("{mariadb:?}");
        };
    }
}
