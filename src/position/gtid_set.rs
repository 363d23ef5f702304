//! GTID sets of MySQL: per source (server UUID and tag) the numbers of its transactions.
//!
//! Tags came with MySQL 8.3; a set of an older server has none. The notation:
//! <https://dev.mysql.com/doc/refman/9.7/en/replication-gtids-concepts.html>.

use std::collections::BTreeMap;
use std::fmt;

use super::{BadPosition, number};
use crate::limits;
use crate::wire::cursor::put_u64;

/// A set of transactions. Canonical: no empty source; intervals sorted, apart, never adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    sources: BTreeMap<Source, Vec<Interval>>,
}

/// Who numbered the transactions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    uuid: [u8; 16],
    /// Lower case; empty without a tag.
    tag: String,
}

/// `first..=last`, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// The servers' own last transaction number: `GNO_END - 1`.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;
/// The servers' own bound on a tag.
const TAG_BYTES_MAX: usize = 32;

impl GtidSet {
    /// Reads a set as `@@gtid_executed` or a tracker prints it.
    pub fn parse(text: &[u8]) -> Result<GtidSet, BadPosition> {
        if text.len() > limits::POSITION_BYTES_MAX {
            return Err(BadPosition { what: "too long" });
        }
        let mut set = GtidSet::default();
        for part in text.split(|&byte| byte == b',') {
            if !part.trim_ascii().is_empty() {
                set.parse_part(part)?;
            }
        }
        // Collected first, put in order once: inserting one by one would be quadratic.
        set.sources.retain(|_, intervals| {
            normalize(intervals);
            !intervals.is_empty()
        });
        Ok(set)
    }

    /// `uuid[:tag]:interval[:interval]...[:tag:interval...]`
    fn parse_part(&mut self, part: &[u8]) -> Result<(), BadPosition> {
        let mut fields = part.split(|&byte| byte == b':').map(<[u8]>::trim_ascii);
        let uuid = fields.next().and_then(parse_uuid).ok_or(BadPosition { what: "UUID" })?;
        let mut source = Source { uuid, tag: String::new() };
        let mut intervals = Vec::new();
        let mut awaits_interval = true;
        for field in fields {
            if field.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
                let tag = parse_tag(field).ok_or(BadPosition { what: "tag" })?;
                let next = Source { uuid, tag };
                self.extend(std::mem::replace(&mut source, next), &mut intervals);
                awaits_interval = true;
            } else {
                intervals.extend(parse_interval(field)?);
                awaits_interval = false;
            }
        }
        if awaits_interval {
            return Err(BadPosition { what: "no interval after a source" });
        }
        self.extend(source, &mut intervals);
        Ok(())
    }

    fn extend(&mut self, source: Source, intervals: &mut Vec<Interval>) {
        self.sources.entry(source).or_default().append(intervals);
    }

    /// Whether every transaction of `other` is in here.
    pub fn contains(&self, other: &GtidSet) -> bool {
        other.sources.iter().all(|(source, theirs)| {
            self.sources.get(source).is_some_and(|ours| theirs.iter().all(|i| covers(ours, *i)))
        })
    }

    /// Takes in every transaction of `other`.
    pub fn union(&mut self, other: &GtidSet) {
        for (source, theirs) in &other.sources {
            match self.sources.get_mut(source) {
                // One write after another is the common case; a whole set is put in order once.
                Some(ours) if theirs.len() <= 4 => theirs.iter().for_each(|i| insert(ours, *i)),
                Some(ours) => {
                    ours.extend_from_slice(theirs);
                    normalize(ours);
                }
                None => {
                    self.sources.insert(source.clone(), theirs.clone());
                }
            }
        }
    }

    /// See [`super::Position::close_gaps`].
    pub fn close_gaps(&mut self, holder: &GtidSet) -> bool {
        if !holder.contains(self) {
            return false;
        }
        for (source, ours) in &mut self.sources {
            let (Some(end), Some(theirs)) = (ours.last().copied(), holder.sources.get(source))
            else {
                continue;
            };
            *ours = theirs
                .iter()
                .take_while(|i| i.first <= end.last)
                .map(|i| Interval { first: i.first, last: i.last.min(end.last) })
                .collect();
        }
        true
    }

    /// As a server takes it with a request for its log. Older ones know no tags.
    // page_protocol_com_binlog_dump_gtid.html
    pub fn encode(&self) -> Vec<u8> {
        let is_tagged = self.sources.keys().any(|source| !source.tag.is_empty());
        let count = self.sources.len() as u64;
        let mut out = Vec::new();
        // The highest byte says how it is written, and says it twice in the newer way.
        put_u64(&mut out, if is_tagged { 1 << 56 | count << 8 | 1 } else { count });
        for (source, intervals) in &self.sources {
            out.extend_from_slice(&source.uuid);
            if is_tagged {
                // One byte: a tag has no more than 32 letters.
                out.push((source.tag.len() << 1) as u8);
                out.extend_from_slice(source.tag.as_bytes());
            }
            put_u64(&mut out, intervals.len() as u64);
            for interval in intervals {
                put_u64(&mut out, interval.first);
                put_u64(&mut out, interval.last.saturating_add(1));
            }
        }
        out
    }

    /// Whether no transaction is in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Intervals over all sources.
    pub fn intervals(&self) -> usize {
        self.sources.values().map(Vec::len).sum()
    }
}

/// Sorts, and joins what overlaps or touches.
fn normalize(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable_by_key(|i| i.first);
    intervals.dedup_by(|next, kept| {
        let joins = next.first <= kept.last.saturating_add(1);
        if joins {
            kept.last = kept.last.max(next.last);
        }
        joins
    });
}

fn insert(ours: &mut Vec<Interval>, new: Interval) {
    // [from, to): the intervals that overlap or touch the new one.
    let from = ours.partition_point(|i| i.last.saturating_add(1) < new.first);
    let to = ours.partition_point(|i| i.first <= new.last.saturating_add(1));
    let mut joined = new;
    if let Some(low) = ours.get(from).filter(|_| from < to) {
        joined.first = joined.first.min(low.first);
    }
    if let Some(high) = to.checked_sub(1).and_then(|at| ours.get(at)).filter(|_| from < to) {
        joined.last = joined.last.max(high.last);
    }
    ours.splice(from..to.max(from), [joined]);
}

fn covers(ours: &[Interval], theirs: Interval) -> bool {
    let after = ours.partition_point(|i| i.first <= theirs.first);
    after.checked_sub(1).and_then(|at| ours.get(at)).is_some_and(|i| i.last >= theirs.last)
}

/// 32 hexadecimal digits, with or without the four dashes, in braces or not.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let bare = text.strip_prefix(b"{").and_then(|t| t.strip_suffix(b"}")).unwrap_or(text);
    let dashed = match bare.len() {
        36 => true,
        32 => false,
        _ => return None,
    };
    let mut uuid = [0u8; 16];
    let mut digits = 0usize;
    for (at, &byte) in bare.iter().enumerate() {
        if dashed && matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = u8::try_from(char::from(byte).to_digit(16)?).ok()?;
        let place = uuid.get_mut(digits / 2)?;
        *place = (*place << 4) | digit;
        digits += 1;
    }
    Some(uuid)
}

fn parse_tag(text: &[u8]) -> Option<String> {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if text.len() > TAG_BYTES_MAX || !text.iter().all(valid) {
        return None;
    }
    String::from_utf8(text.to_ascii_lowercase()).ok()
}

/// `n` or `n-m`; the servers take `5-3` as nothing, and so is it here.
fn parse_interval(text: &[u8]) -> Result<Option<Interval>, BadPosition> {
    let bad = BadPosition { what: "interval" };
    let mut ends = text.splitn(2, |&byte| byte == b'-');
    let first = ends.next().and_then(number).ok_or(bad)?;
    let last = match ends.next() {
        Some(end) => number(end).ok_or(bad)?,
        None => first,
    };
    if first == 0 || first > NUMBER_MAX || last > NUMBER_MAX {
        return Err(BadPosition { what: "transaction number out of range" });
    }
    Ok((first <= last).then_some(Interval { first, last }))
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before: Option<&[u8; 16]> = None;
        for (source, intervals) in &self.sources {
            if before != Some(&source.uuid) {
                if before.is_some() {
                    f.write_str(",")?;
                }
                write_uuid(f, &source.uuid)?;
                before = Some(&source.uuid);
            }
            if !source.tag.is_empty() {
                write!(f, ":{}", source.tag)?;
            }
            for Interval { first, last } in intervals {
                match first == last {
                    true => write!(f, ":{first}")?,
                    false => write!(f, ":{first}-{last}")?,
                }
            }
        }
        Ok(())
    }
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}
