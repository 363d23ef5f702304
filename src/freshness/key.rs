//! The value of one keyed column, so folded that values which a server holds equal are the same key.
//!
//! Only so: values that a server tells apart may well be the same key, as that asks for more and
//! never for less. All keys are therefore folded alike, whatever the collation, and a column that
//! changes its collation keeps its keys. Made from rows by the follower, from texts by `session`.

use crate::limits;

/// One key of a table: a column, by where it stands among the table's, and a value of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// No value: the rows of an options table that are loaded with each page.
    Autoloaded,
    /// Whatever the column holds: written with a value that is not known, it covers all of them.
    Any {
        /// The column.
        column: u16,
    },
    /// A whole number.
    Integer {
        /// The column.
        column: u16,
        /// The number.
        value: i128,
    },
    /// Printable ASCII in lower case, without the blanks at its end.
    Text {
        /// The column.
        column: u16,
        /// The folded text.
        value: Box<[u8]>,
    },
}

/// A collation in which the keys' folding is safe. Only `parse` makes one.
///
/// Printable ASCII is compared byte by byte or letter by letter in these, with or without case,
/// with or without the blanks at the end. In others `i` may be `y` (Lithuanian), `u` be `v`
/// (Roman) or `ch` a letter of its own; control characters are ignored in nearly all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collation(());

/// Character sets of which every printable ASCII character is its own byte.
const CHARSETS: [&[u8]; 5] = [b"utf8mb4_", b"utf8mb3_", b"utf8_", b"latin1_", b"ascii_"];
/// The rest of the name, for the Unicode ones.
const UNICODE: [&[u8]; 13] = [
    b"general_ci",
    b"general_nopad_ci",
    b"unicode_ci",
    b"unicode_nopad_ci",
    b"unicode_520_ci",
    b"unicode_520_nopad_ci",
    b"0900_ai_ci",
    b"0900_bin",
    b"uca1400_ai_ci",
    b"uca1400_nopad_ai_ci",
    b"bin",
    b"nopad_bin",
    b"general_mysql500_ci",
];
/// The rest of the name, for the others.
const OTHER: [&[u8]; 4] = [b"swedish_ci", b"swedish_nopad_ci", b"bin", b"nopad_bin"];

impl Collation {
    /// By its name in the server's list of columns. `None`: keys of it cannot be compared.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Collation> {
        let name = name.to_ascii_lowercase();
        if name == b"binary" {
            return Some(Collation(()));
        }
        let charset = CHARSETS.iter().find(|charset| name.starts_with(charset))?;
        let rest = name.get(charset.len()..)?;
        let known: &[&[u8]] = if charset.starts_with(b"utf8") { &UNICODE } else { &OTHER };
        known.contains(&rest).then_some(Collation(()))
    }
}

impl Key {
    /// The pseudo key of an options table.
    pub const AUTOLOADED: Key = Key::Autoloaded;

    /// A text, in the column's character set or in one that shares its ASCII. `None`: a byte of it
    /// may be folded in ways that are not known here, or it is too long.
    #[must_use]
    pub fn text(column: u16, _: Collation, bytes: &[u8]) -> Option<Key> {
        let blanks = bytes.iter().rev().take_while(|byte| **byte == b' ').count();
        let text = bytes.get(..bytes.len() - blanks)?;
        let plain = text.len() <= limits::KEY_BYTES_MAX
            && text.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        plain.then(|| Key::Text { column, value: text.to_ascii_lowercase().into() })
    }

    /// A whole number.
    #[must_use]
    pub fn integer(column: u16, value: i128) -> Key {
        Key::Integer { column, value }
    }

    /// A whole number in decimal digits, with no more than a minus sign before them.
    #[must_use]
    pub fn integer_text(column: u16, digits: &[u8]) -> Option<Key> {
        let first = digits.first()?;
        if !first.is_ascii_digit() && *first != b'-' {
            return None;
        }
        let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Key::Integer { column, value })
    }

    /// The key that covers all of its column. `None`: it is of no column.
    #[must_use]
    pub fn any(&self) -> Option<Key> {
        match *self {
            Key::Autoloaded => None,
            Key::Any { column } | Key::Integer { column, .. } | Key::Text { column, .. } => {
                Some(Key::Any { column })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_folded() {
        let check = |a: &str, b: &str, same: bool| {
            let key = |text: &str| {
                Key::text(1, Collation::parse(b"utf8mb4_bin").unwrap(), text.as_bytes())
            };
            let equal = matches!((key(a), key(b)), (Some(a), Some(b)) if a == b);
            assert_eq!(equal, same, "{a:?} {b:?}");
        };
        check("siteurl", "siteurl", true);
        check("siteurl", "SiteURL", true);
        check("a", "a  ", true);
        check("", "   ", true);
        check("a", " a", false);
        check("a-b", "a_b", false);
        check("a", "b", false);
        // No keys at all.
        check("a\u{1}b", "a\u{1}b", false);
        check("é", "é", false);
        check("a\n", "a\n", false);
        check(&"a".repeat(255), &"a".repeat(255), true);
        check(&"a".repeat(256), &"a".repeat(256), false);
    }

    #[test]
    fn numbers_have_one_form() {
        let check = |text: &str, expected: Option<i128>| {
            let expected = expected.map(|value| Key::integer(1, value));
            assert_eq!(Key::integer_text(1, text.as_bytes()), expected, "{text:?}");
        };
        check("0", Some(0));
        check("007", Some(7));
        check("-5", Some(-5));
        check("18446744073709551615", Some(18_446_744_073_709_551_615));
        check("+5", None);
        check("", None);
        check("-", None);
        check("5 ", None);
        check("5.0", None);
        check(&"9".repeat(60), None);
    }

    #[test]
    fn collations_are_on_a_list() {
        let check = |names: &str, expected: bool| {
            for name in names.split_whitespace() {
                assert_eq!(Collation::parse(name.as_bytes()).is_some(), expected, "{name}");
            }
        };
        check("latin1_swedish_ci latin1_bin utf8_general_ci utf8mb3_general_ci", true);
        check("utf8mb4_general_ci utf8mb4_unicode_ci utf8mb4_unicode_520_ci", true);
        check("utf8mb4_0900_ai_ci utf8mb4_uca1400_ai_ci utf8mb4_bin binary ascii_bin", true);
        check("utf8mb4_unicode_520_nopad_ci UTF8MB4_UNICODE_CI", true);
        check(
            "utf8mb4_lithuanian_ci utf8mb4_lt_0900_ai_ci utf8mb4_roman_ci latin1_german2_ci",
            false,
        );
        check("utf16_bin ucs2_bin utf32_general_ci gbk_bin swe7_bin big5_bin", false);
        check("utf8mb4_ utf8mb4 bin latin1_unicode_ci", false);
    }
}
