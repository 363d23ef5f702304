//! The state that a session carries from one server connection to another, as values.
//!
//! The values come from the server's own trackers, so their order does not matter and nothing is
//! guessed. What no tracker tells is not here: it holds the connection instead (`hold`). Called by
//! `plan` and `observe`, and by `backend` to bring a leased connection to a session's state.

use std::hash::Hasher as _;

use crate::limits;
use crate::sql::CARRIED_VARIABLES as CARRIED;
use crate::wire::ok::Tracked;

/// Variables whose fresh-login values on the primary are imposed on replicas too.
pub const BASELINE: &[&str] = &[
    "character_set_client",
    "character_set_results",
    "character_set_connection",
    "collation_connection",
    "sql_mode",
    "time_zone",
    "group_concat_max_len",
    "sql_select_limit",
    "lc_time_names",
    "default_week_format",
    "div_precision_increment",
    "max_sort_length",
    "sql_auto_is_null",
];
const COLLATION_CONNECTION: usize = 3;
/// Variables that decide what a text means at the moment when it is prepared.
const READING: &[&str] =
    &["character_set_client", "character_set_connection", "collation_connection", "sql_mode"];
/// What a prepared CREATE TABLE makes is decided then, too: such a statement is not shared with
/// sessions that have another.
const ENGINE: &str = "default_storage_engine";
/// The isolation of transactions: `tx_isolation` until MySQL 5.7 and MariaDB 11.0, and still known to
/// newer ones of MariaDB. What is set under one name is set.
const ISOLATION: [&str; 2] = ["transaction_isolation", "tx_isolation"];

/// The database and the variables of a session, or of a server connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The current database; none after a login that named none.
    pub database: Option<Box<[u8]>>,
    /// Sorted by the place of the name in `CARRIED`.
    variables: Vec<(u8, Box<[u8]>)>,
}

/// What one connection lacks of a session's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The connection has something that the session has not: only a reset takes it away.
    pub reset: bool,
    /// The database to change to.
    pub database: Option<Box<[u8]>>,
    /// The session has no database and the connection has: only a fresh connection will do.
    pub fresh: bool,
    /// One SET statement, or nothing.
    pub set: Option<Vec<u8>>,
}

impl Difference {
    /// Nothing needs to be sent in front.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.reset && !self.fresh && self.database.is_none() && self.set.is_none()
    }
}

impl Values {
    /// Whether a variable of this name (lower case) is carried.
    #[must_use]
    pub fn carries(name: &str) -> bool {
        CARRIED.contains(&name)
    }

    /// Names for `session_track_system_variables`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CARRIED.iter().copied()
    }

    /// The value of a variable, when it was set.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let place = CARRIED.iter().position(|carried| *carried == name)?;
        let at = self.find(place).ok()?;
        self.variables.get(at).map(|(_, value)| &**value)
    }

    /// Sets a variable. False when it cannot be carried: unknown, or past a bound.
    pub fn set_variable(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(place) = CARRIED.iter().position(|carried| carried.as_bytes() == name) else {
            return false;
        };
        if value.len() > limits::SESSION_VALUE_BYTES_MAX {
            return false;
        }
        if ISOLATION.iter().any(|isolation| isolation.as_bytes() == name) {
            self.forget(|known| known.as_bytes() != name && ISOLATION.contains(&known));
        }
        match self.find(place) {
            Ok(at) => {
                if let Some(entry) = self.variables.get_mut(at) {
                    entry.1 = value.into();
                }
            }
            Err(_) if self.variables.len() >= limits::SESSION_VARIABLES_MAX => return false,
            Err(at) => self.variables.insert(at, (place as u8, value.into())),
        }
        true
    }

    /// Forgets the collation: it is then the default one of `character_set_connection`.
    pub fn forget_collation(&mut self) {
        self.forget(|name| name == "collation_connection");
    }

    fn forget(&mut self, is_it: impl Fn(&'static str) -> bool) {
        self.variables.retain(|(place, _)| {
            !CARRIED.get(usize::from(*place)).is_some_and(|&name| is_it(name))
        });
    }

    /// Bytes that the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let database = self.database.as_ref().map_or(0, |name| name.len());
        self.variables.iter().fold(database, |sum, (_, value)| sum.saturating_add(value.len()))
    }

    /// Only what decides what a text means when it is prepared.
    #[must_use]
    pub fn reading(&self) -> Self {
        let decides = |name: &&str| READING.contains(name) || **name == *ENGINE;
        let is_one = |place: u8| CARRIED.get(usize::from(place)).is_some_and(decides);
        let variables =
            self.variables.iter().filter(|(place, _)| is_one(*place)).cloned().collect();
        Self { database: self.database.clone(), variables }
    }

    /// Whether a text that is prepared under these values means what it means under those.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        self.database == other.database
            && READING.iter().all(|name| self.variable(name) == other.variable(name))
    }

    /// The SET after which texts are read as under these values, whatever was set before. None:
    /// what they are after a login is not known.
    pub fn set_reading<'a>(
        &'a self,
        fresh: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> Option<Vec<u8>> {
        let mut pairs = Vec::with_capacity(READING.len());
        for &name in READING {
            let is_implied = name == "collation_connection"
                && self.variable("character_set_connection").is_some();
            match self.variable(name) {
                Some(value) => pairs.push((name, value)),
                None if is_implied => {}
                None => pairs.push((name, fresh(name)?)),
            }
        }
        // Under what the texts are read meanwhile is not known here.
        assignments(pairs.into_iter(), true)
    }

    /// Takes over what the server's trackers told. False when something cannot be carried.
    pub fn learn(&mut self, tracked: &[Tracked]) -> bool {
        let mut known = true;
        for tracker in tracked {
            match tracker {
                Tracked::Schema(name) if name.is_empty() => self.database = None,
                Tracked::Schema(name) => self.database = Some(name.as_slice().into()),
                Tracked::Variable { name, value } => {
                    if name != b"last_gtid" && name != b"autocommit" {
                        known &= self.set_variable(name, value);
                    }
                }
                Tracked::StateChanged
                | Tracked::Gtids(_)
                | Tracked::TransactionCharacteristics(_)
                | Tracked::TransactionState(_)
                | Tracked::Unknown(_) => {}
            }
        }
        known
    }

    /// A number that differs, in all likelihood, when the state differs. Never 0.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        if let Some(database) = &self.database {
            hasher.write(database);
        }
        for (place, value) in &self.variables {
            hasher.write(&[0xff, *place]);
            hasher.write(value);
        }
        hasher.finish() | 1
    }

    /// What it takes to bring a connection in state `have` to this one. `any_database`: the
    /// statement does not depend on the database, so a session without one can use any.
    #[must_use]
    pub fn difference(&self, have: &Self, any_database: bool) -> Difference {
        let mut difference = Difference::default();
        if self.database != have.database {
            match &self.database {
                Some(name) => difference.database = Some(name.clone()),
                None => difference.fresh = !any_database,
            }
        }
        if self.variables == have.variables {
            return difference;
        }
        difference.reset = have
            .variables
            .iter()
            .any(|(place, _)| !self.variables.iter().any(|(wanted, _)| wanted == place));
        let from: &[(u8, Box<[u8]>)] = if difference.reset { &[] } else { &have.variables };
        let mut changed = self.variables.iter().filter(|entry| !from.contains(entry)).peekable();
        // Setting character_set_connection again would lose a collation that is already right.
        let all =
            changed.peek().is_some_and(|(place, _)| usize::from(*place) <= COLLATION_CONNECTION);
        let wanted = self.variables.iter().filter(|entry| all || !from.contains(entry));
        let pairs = wanted.map(|(place, value)| {
            (CARRIED.get(usize::from(*place)).copied().unwrap_or_default(), &**value)
        });
        difference.set = assignments(pairs, !difference.reset && have.has_wide_literals());
        difference
    }

    /// What stands in quotes is made characters of two or four bytes, and names nothing any more.
    fn has_wide_literals(&self) -> bool {
        let names = ["character_set_connection", "collation_connection"];
        let wide = |value: &[u8]| {
            [&b"ucs2"[..], b"utf16", b"utf32"].iter().any(|it| value.starts_with(it))
        };
        names.iter().any(|name| self.variable(name).is_some_and(wide))
    }

    fn find(&self, place: usize) -> Result<usize, usize> {
        self.variables.binary_search_by_key(&place, |(at, _)| usize::from(*at))
    }
}

/// `SET a=1,b='x'`, or nothing when there is nothing to set. `is_raw`: no literal depends on the
/// character set of the connection.
pub fn assignments<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a [u8])>,
    is_raw: bool,
) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for (name, value) in pairs {
        text.extend_from_slice(if text.is_empty() { b"SET " } else { b"," });
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        if value.is_empty() && name == "character_set_results" {
            text.extend_from_slice(b"NULL");
        } else {
            put_value(&mut text, value, is_raw);
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A value as SQL: numbers bare (a quoted number is error 1232), nothing as NULL, else quoted so
/// that it reads the same with and without NO_BACKSLASH_ESCAPES.
fn put_value(text: &mut Vec<u8>, value: &[u8], is_raw: bool) {
    let numeric = !value.is_empty()
        && value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && value.iter().filter(|byte| **byte == b'.').count() <= 1;
    if numeric {
        text.extend_from_slice(value);
    } else if is_raw || value.iter().any(|byte| matches!(byte, b'\\' | b'\'' | 0)) {
        text.extend_from_slice(b"X'");
        for byte in value {
            let digit = |nibble: u8| b"0123456789ABCDEF".get(usize::from(nibble)).copied();
            text.extend(digit(byte >> 4));
            text.extend(digit(byte & 15));
        }
        text.push(b'\'');
    } else {
        text.push(b'\'');
        text.extend_from_slice(value);
        text.push(b'\'');
    }
}

/// The collation that `SET NAMES x COLLATE y` names: no tracker tells it. `Ok(None)`: it names
/// none; `Err`: the text was not understood.
pub(super) fn names_collation(text: &[u8]) -> Result<Option<&[u8]>, ()> {
    let lower = text.to_ascii_lowercase();
    let Some(at) = memchr::memmem::find(&lower, b"collate") else { return Ok(None) };
    let rest = text.get(at.saturating_add(7)..).unwrap_or_default();
    let is_junk = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b';');
    let from = rest.iter().position(|byte| !is_junk(byte)).ok_or(())?;
    let rest = rest.get(from..).unwrap_or_default();
    let len = rest.iter().position(is_junk).unwrap_or(rest.len());
    let (name, tail) = rest.split_at_checked(len).ok_or(())?;
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if plain && !name.is_empty() && tail.iter().all(is_junk) { Ok(Some(name)) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Values {
        let mut values = Values::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => {
                    assert!(values.set_variable(name.as_bytes(), value.as_bytes()));
                }
                None => values.database = Some(word.as_bytes().into()),
            }
        }
        values
    }

    #[test]
    fn a_difference_is_what_is_lacking() {
        let check = |want: &str, have: &str, expected: &str| {
            let difference = values(want).difference(&values(have), false);
            let mut got = String::new();
            if difference.fresh {
                got.push_str("fresh ");
            }
            if difference.reset {
                got.push_str("reset ");
            }
            if let Some(name) = &difference.database {
                got.push_str(&format!("use {} ", String::from_utf8_lossy(name)));
            }
            if let Some(set) = &difference.set {
                got.push_str(&String::from_utf8_lossy(set));
            }
            assert_eq!(got.trim(), expected, "{want} <- {have}");
        };
        check("", "", "");
        check("wp", "wp", "");
        check("wp", "", "use wp");
        check("", "wp", "fresh");
        check("wp", "other", "use wp");
        check("sql_mode=A", "", "SET sql_mode='A'");
        check("sql_mode=A", "sql_mode=A", "");
        check("sql_mode=A", "sql_mode=B", "SET sql_mode='A'");
        check("", "sql_mode=A", "reset");
        check("tx_isolation=A", "", "SET tx_isolation='A'");
        check("transaction_isolation=A tx_isolation=B", "", "SET tx_isolation='B'");
        check("tx_isolation=B transaction_isolation=A", "", "SET transaction_isolation='A'");
        check("time_zone=+00:00", "sql_mode=A", "reset SET time_zone='+00:00'");
        check("group_concat_max_len=7", "", "SET group_concat_max_len=7");
        check("max_statement_time=0.5", "", "SET max_statement_time=0.5");
        check("sql_mode=", "", "SET sql_mode=''");
        let wide = "character_set_connection=ucs2";
        check(&format!("{wide} sql_mode=AZ"), wide, "SET sql_mode=X'415A'");
        check(
            &format!("{wide} sql_mode=AZ"),
            "",
            &format!("SET {wide},sql_mode='AZ'").replace("ucs2", "'ucs2'"),
        );
        check("sql_mode=AZ", wide, "reset SET sql_mode='AZ'");
        check(
            "character_set_connection=a sql_mode=A",
            "collation_connection=utf16_bin character_set_connection=b",
            "reset SET character_set_connection='a',sql_mode='A'",
        );
        check(
            "character_set_connection=utf8mb4 collation_connection=utf8mb4_bin",
            "collation_connection=utf8mb4_bin",
            "SET character_set_connection='utf8mb4',collation_connection='utf8mb4_bin'",
        );
    }

    #[test]
    fn texts_are_read_as_they_were() {
        let check = |text: &str, expected: &str| {
            let all = values(text);
            let fresh = |name| (name != "unknown").then_some(&b"f"[..]);
            let set = all.set_reading(fresh).unwrap();
            assert_eq!(String::from_utf8_lossy(&set), expected, "{text}");
            assert_eq!(all.set_reading(|_| None).is_none(), expected.contains("'66'"), "{text}");
            assert!(all.reads_like(&all.reading()));
        };
        let fresh = "SET character_set_client=X'66',character_set_connection=X'66',\
                     collation_connection=X'66',sql_mode=X'66'";
        check("", fresh);
        check("wp time_zone=+00:00", fresh);
        check(
            "character_set_client=a character_set_connection=b sql_mode=c",
            "SET character_set_client=X'61',character_set_connection=X'62',sql_mode=X'63'",
        );
        assert!(values("wp time_zone=+00:00").reads_like(&values("wp")));
        assert!(!values("wp").reads_like(&values("other")));
        assert!(!values("sql_mode=A").reads_like(&values("")));
        assert_eq!(values("wp sql_mode=A time_zone=B").reading(), values("wp sql_mode=A"));
        let engine = "default_storage_engine=MEMORY";
        assert_eq!(values(engine).reading(), values(engine));
    }

    #[test]
    fn values_cannot_break_out_of_their_quotes() {
        let mut text = Vec::new();
        put_value(&mut text, b"a'b\\", false);
        assert_eq!(text, b"X'6127625C'");
    }

    #[test]
    fn trackers_are_learned_and_strangers_are_told() {
        let mut values = Values::default();
        let variable =
            |name: &str, value: &str| Tracked::Variable { name: name.into(), value: value.into() };
        assert!(values.learn(&[variable("sql_mode", "X"), Tracked::Schema(b"wp".to_vec())]));
        assert_eq!(values.variable("sql_mode"), Some(&b"X"[..]));
        assert_eq!(values.database.as_deref(), Some(&b"wp"[..]));
        assert!(!values.learn(&[variable("nonsense", "1")]));
        assert!(values.learn(&[Tracked::Schema(Vec::new())]));
        assert_eq!(values.database, None);
    }

    #[test]
    fn collations_are_read_from_set_names() {
        let check = |text: &str, expected: Result<Option<&str>, ()>| {
            assert_eq!(names_collation(text.as_bytes()), expected.map(|it| it.map(str::as_bytes)));
        };
        check("SET NAMES utf8mb4", Ok(None));
        check("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'", Ok(Some("utf8mb4_bin")));
        check("set names utf8mb4 collate utf8mb4_bin ;", Ok(Some("utf8mb4_bin")));
        check("SET NAMES utf8mb4 COLLATE utf8mb4_bin, @x=1", Err(()));
        check("SET NAMES utf8mb4 COLLATE", Err(()));
    }
}
