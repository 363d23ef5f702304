//! A place in a primary's binary log: file and offset, for servers without GTIDs.
//!
//! The places of one log are in order: later files have higher numbers, and within a file the
//! offset grows. Places of logs with different base names have no order. Knows no servers: that
//! two places belong to the same server's log is the caller's to see to.

use std::cmp::Ordering;
use std::fmt;

use super::{BadPosition, number};
use crate::limits;

/// Where the next event will stand, so that everything before it is included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The name up to the last dot.
    base: Box<str>,
    /// The digits after it. They grow from six to seven and more, so text would not compare.
    number: u64,
    /// As long as they were printed.
    digits: usize,
    offset: u64,
}

impl FilePlace {
    /// The place in a file as the servers name them, such as `binlog.000123`.
    pub fn new(file: &[u8], offset: u64) -> Result<FilePlace, BadPosition> {
        let bad = BadPosition { what: "log file" };
        if file.len() > limits::LOG_FILE_NAME_BYTES_MAX {
            return Err(bad);
        }
        let file = std::str::from_utf8(file).map_err(|_| bad)?;
        let (base, digits) = file.rsplit_once('.').ok_or(bad)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = number(digits.as_bytes()).filter(|_| all_digits).ok_or(bad)?;
        match base.is_empty() {
            true => Err(bad),
            false => Ok(FilePlace { base: base.into(), number, digits: digits.len(), offset }),
        }
    }

    /// Reads `binlog.000123:4567`.
    pub fn parse(text: &[u8]) -> Result<FilePlace, BadPosition> {
        let text = text.trim_ascii();
        let colon = text.iter().rposition(|&byte| byte == b':');
        let (file, offset) = colon.and_then(|at| text.split_at_checked(at)).unwrap_or_default();
        let offset = offset.strip_prefix(b":").and_then(number);
        FilePlace::new(file, offset.ok_or(BadPosition { what: "offset" })?)
    }

    /// Whether it has come at least as far as `other`, in the same log.
    pub fn contains(&self, other: &FilePlace) -> bool {
        self.order(other).is_some_and(Ordering::is_ge)
    }

    /// Goes as far as `other`. False, and nothing happens, when that is in another log.
    #[must_use = "places in two logs have no union"]
    pub fn union(&mut self, other: &FilePlace) -> bool {
        match self.order(other) {
            None => return false,
            Some(Ordering::Less) => self.clone_from(other),
            Some(_) => {}
        }
        true
    }

    /// The file's name.
    pub fn file(&self) -> String {
        format!("{}.{:0digits$}", self.base, self.number, digits = self.digits)
    }

    /// The offset in it.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn order(&self, other: &FilePlace) -> Option<Ordering> {
        let ours = (self.number, self.offset);
        (self.base == other.base).then(|| ours.cmp(&(other.number, other.offset)))
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.offset)
    }
}
