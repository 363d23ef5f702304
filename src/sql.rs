//! Text -> facts: what a statement would do, proved or admitted unknown.
//!
//! A lexer makes the statement's *shape* (its text without plain literal values), facts are worked
//! out once per shape and cached. Nothing here fails: what is not understood is never a proved
//! read, and so goes to the primary. Knows no session, no server, no routing; imports `limits` only.
//! Called by `session` (facts to decide on), `client` (owns one `LocalCache` per thread) and `cli`.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod cache;
mod effect;
mod function;
pub mod kill;
mod parse;
pub mod probe;
mod replayable;
mod rule;
mod setting;
mod shape;
mod show;
mod slot;
mod statement;
mod table;
mod token;
mod verb;

pub use cache::{Classifier, LocalCache};
pub use effect::Effects;
pub use setting::CARRIED_VARIABLES;
pub use slot::{KeySlot, LiteralKind, Literals};
pub use statement::{Hint, Proof, Scope, Setting, Statement, Unfit};
pub use table::{Table, is_system_schema};
pub use verb::Verb;

/// Which server's grammar a statement will meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// MySQL and its kin.
    #[default]
    MySql,
    /// MariaDB.
    MariaDb,
}

/// The session state that decides what a byte of a statement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// A backslash in a string is a plain character.
    pub no_backslash_escapes: bool,
    /// A blank may stand between a built-in function's name and its parenthesis.
    pub ignore_space: bool,
    /// The character set keeps ASCII bytes for ASCII characters. Where it does not, nothing is read.
    pub lexable: bool,
    /// Whose grammar.
    pub flavour: Flavour,
}

impl Default for Mode {
    fn default() -> Mode {
        Mode {
            ansi_quotes: false,
            no_backslash_escapes: false,
            ignore_space: false,
            lexable: true,
            flavour: Flavour::MySql,
        }
    }
}

impl Mode {
    /// Whether a client that sends this character set can be lexed byte by byte.
    ///
    /// An allow-list: in gbk, gb2312, gb18030, big5, sjis, cp932, ujis, eucjpms and euckr a second
    /// byte may be a quote or a backslash (or the server may disagree about where it ends); in swe7
    /// the backslash and the back-tick are letters.
    #[must_use]
    pub fn charset_is_lexable(name: &str) -> bool {
        const LEXABLE: [&str; 30] = [
            "armscii8", "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850",
            "cp852", "cp866", "dec8", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r",
            "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "tis620", "utf8",
            "utf8mb3", "utf8mb4", "iso88591", "usascii",
        ];
        LEXABLE.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// One byte that tells all modes apart, for cache keys.
    pub(crate) fn tag(self) -> u8 {
        u8::from(self.ansi_quotes)
            | u8::from(self.no_backslash_escapes) << 1
            | u8::from(self.ignore_space) << 2
            | u8::from(self.lexable) << 3
            | u8::from(self.flavour == Flavour::MariaDb) << 4
    }
}

#[cfg(test)]
mod tests;
