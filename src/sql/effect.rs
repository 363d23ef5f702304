//! What a statement does beyond giving rows: a set of bits.
//!
//! Says nothing of what follows from an effect (that is `session::hold` and `session::plan`).
//! Filled by `rule` and `verb`.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of effects.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects(u32);

macro_rules! effects {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Effects {
            $($(#[$doc])* pub const $name: Effects = Effects(1 << $bit);)*
            const NAMES: &'static [(Effects, &'static str)] =
                &[$((Effects::$name, stringify!($name)),)*];
        }
    };
}

effects! {
    /// Changes data or schema, or is a verb that may.
    WRITES = 0;
    /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`.
    LOCKS_ROWS = 1;
    /// Takes a lock by name (`GET_LOCK`).
    USER_LOCK = 2;
    /// Gives one or all locks by name back.
    RELEASES_USER_LOCK = 3;
    /// Creates a temporary table.
    TEMPORARY_TABLE = 4;
    /// Names a user variable, to read it or to set it.
    USER_VARIABLE = 5;
    /// `PREPARE` as text.
    TEXT_PREPARE = 6;
    /// Opens, reads or closes a HANDLER.
    HANDLER = 7;
    /// `LOAD DATA LOCAL`: the server will ask the client for a file.
    LOAD_LOCAL = 8;
    /// Runs code that the text does not show: CALL, EXECUTE, a stored function, an executable comment.
    CALLS_UNKNOWN = 9;
    /// Asks for what an earlier statement left behind: FOUND_ROWS(), warnings, the last id.
    DIAGNOSTICS = 10;
    /// `SQL_CALC_FOUND_ROWS`: leaves a count behind for the next statement.
    CALC_FOUND_ROWS = 11;
    /// May wait long for others, or on purpose.
    MAY_BLOCK = 12;
    /// Ends an open transaction by itself.
    IMPLICIT_COMMIT = 13;
    /// Asks about the server or the connection rather than the data.
    SERVER_FACT = 14;
    /// Something on the danger list: executable comment, `:=`, INTO, an odd byte.
    DANGER = 15;
    /// `COMMIT AND CHAIN`, `ROLLBACK AND CHAIN`: a new transaction follows at once.
    CHAIN = 16;
    /// `COMMIT RELEASE`, `ROLLBACK RELEASE`: the server closes the connection.
    RELEASE = 17;
    /// `START TRANSACTION READ ONLY`.
    READ_ONLY = 18;
    /// Asks for LAST_INSERT_ID() or the variables that stand for it.
    INSERT_ID = 19;
    /// What it means depends on the current database: it names tables, or asks for it.
    DATABASE_MATTERS = 20;
    /// A KILL is among its statements.
    KILLS = 21;
    /// Asks for FOUND_ROWS().
    FOUND_ROWS = 22;
    /// Asks for ROW_COUNT().
    ROW_COUNT = 23;
}

impl Effects {
    /// No effect.
    pub const NONE: Effects = Effects(0);

    /// Whether all of `other` are among these.
    #[must_use]
    pub fn has(self, other: Effects) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is among these.
    #[must_use]
    pub fn has_any(self, other: Effects) -> bool {
        self.0 & other.0 != 0
    }

    /// These without `other`.
    #[must_use]
    pub fn without(self, other: Effects) -> Effects {
        Effects(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Effects {
    type Output = Effects;
    fn bitor(self, other: Effects) -> Effects {
        Effects(self.0 | other.0)
    }
}

impl BitAnd for Effects {
    type Output = Effects;
    fn bitand(self, other: Effects) -> Effects {
        Effects(self.0 & other.0)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Effects) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (effect, name) in Effects::NAMES {
            if self.has(*effect) {
                write!(f, "{}{}", if first { "" } else { " " }, name)?;
                first = false;
            }
        }
        Ok(())
    }
}
