//! GTID lists of MariaDB: per replication domain the last transaction, `domain-server-sequence`.
//!
//! Within a domain the sequence orders everything, so a list contains another when it has come at
//! least as far in each of the other's domains: <https://mariadb.com/kb/en/gtid/>.

use std::collections::BTreeMap;
use std::fmt;

use super::{BadPosition, number};
use crate::limits;

/// The last transaction of each domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidList {
    domains: BTreeMap<u32, Last>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    server: u32,
    sequence: u64,
}

impl GtidList {
    /// Reads a list as `@@gtid_binlog_pos`, `@@gtid_slave_pos`, `@@gtid_binlog_state` or
    /// `last_gtid` prints it; of several entries of one domain the furthest counts.
    pub fn parse(text: &[u8]) -> Result<GtidList, BadPosition> {
        if text.len() > limits::POSITION_BYTES_MAX {
            return Err(BadPosition { what: "too long" });
        }
        let mut list = GtidList::default();
        for part in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if !part.is_empty() {
                let (domain, last) = parse_part(part).ok_or(BadPosition { what: "GTID" })?;
                list.insert(domain, last);
            }
        }
        Ok(list)
    }

    fn insert(&mut self, domain: u32, last: Last) {
        let known = self.domains.entry(domain).or_insert(last);
        if last.sequence > known.sequence {
            *known = last;
        }
    }

    /// Whether it has come at least as far as `other` in each of that one's domains.
    pub fn contains(&self, other: &GtidList) -> bool {
        other.domains.iter().all(|(domain, theirs)| {
            self.domains.get(domain).is_some_and(|ours| ours.sequence >= theirs.sequence)
        })
    }

    /// Goes as far as `other` in each of that one's domains.
    pub fn union(&mut self, other: &GtidList) {
        for (&domain, &last) in &other.domains {
            self.insert(domain, last);
        }
    }

    /// Whether no transaction is in it.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Domains in it.
    pub fn domains(&self) -> usize {
        self.domains.len()
    }
}

fn parse_part(part: &[u8]) -> Option<(u32, Last)> {
    let mut fields = part.split(|&byte| byte == b'-').map(number);
    let domain = u32::try_from(fields.next()??).ok()?;
    let server = u32::try_from(fields.next()??).ok()?;
    let sequence = fields.next()??;
    fields.next().is_none().then_some((domain, Last { server, sequence }))
}

impl fmt::Display for GtidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (domain, last)) in self.domains.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{}-{}", last.server, last.sequence)?;
        }
        Ok(())
    }
}
