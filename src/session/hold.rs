//! Why a server connection may not be given back, and what ends each reason.
//!
//! A *hard* hold changes what a read means (a read inside GET_LOCK on a replica loses updates:
//! two increments gave 1), so it sends every statement to the held connection. A *soft* one only
//! keeps state that the client may ask for next. Not the leases themselves: `client` owns those.

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds(u32);

/// One reason to keep a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Hold {
    /// An open transaction; ends when the status flags say so.
    Transaction,
    /// `autocommit` is off, so any statement may open a transaction; ends when it is on again.
    AutocommitOff,
    /// LOCK TABLES; ends with UNLOCK TABLES.
    TableLocks,
    /// GET_LOCK, which no tracker reports; ends with the session or a reset.
    UserLock,
    /// A temporary table; ends with the session or a reset.
    TemporaryTable,
    /// A user variable; ends with the session or a reset.
    UserVariable,
    /// PREPARE in SQL text; ends with the session or a reset.
    TextPrepare,
    /// HANDLER ... OPEN; ends with the session or a reset.
    Handler,
    /// A SET of something that no tracker tells; ends with the session or a reset.
    UnknownSetting,
    /// The server says that state changed and the statement does not explain it (a trigger).
    UnexplainedState,
    /// CALL, EXECUTE or a function that is not built in: it may take locks that no tracker shows.
    UnknownCall,
    /// `SET TRANSACTION`, which counts for the next transaction only; ends with that.
    NextTransaction,
    /// A prepared statement that lives on one connection: it has an open cursor, or long data or a
    /// text beyond what is kept here. Ends with the cursor, the EXECUTE, or the statement.
    Prepared,
    /// COM_SET_OPTION turned multi-statements on; ends when it turns them off.
    MultiStatements,
    /// Soft: an insert id or a row count that the client may ask for.
    InsertId,
    /// Soft: warnings or FOUND_ROWS(); ends with the next statement that does not ask for them.
    Diagnostics,
}

impl Hold {
    /// Every reason, in the order of their metric labels.
    pub const ALL: [Self; 16] = [
        Self::Transaction,
        Self::AutocommitOff,
        Self::TableLocks,
        Self::UserLock,
        Self::TemporaryTable,
        Self::UserVariable,
        Self::TextPrepare,
        Self::Handler,
        Self::UnknownSetting,
        Self::UnexplainedState,
        Self::UnknownCall,
        Self::NextTransaction,
        Self::Prepared,
        Self::MultiStatements,
        Self::InsertId,
        Self::Diagnostics,
    ];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::AutocommitOff => "autocommit_off",
            Self::TableLocks => "table_locks",
            Self::UserLock => "user_lock",
            Self::TemporaryTable => "temporary_table",
            Self::UserVariable => "user_variable",
            Self::TextPrepare => "text_prepare",
            Self::Handler => "handler",
            Self::UnknownSetting => "unknown_setting",
            Self::UnexplainedState => "unexplained_state",
            Self::UnknownCall => "unknown_call",
            Self::NextTransaction => "next_transaction",
            Self::Prepared => "prepared",
            Self::MultiStatements => "multi_statements",
            Self::InsertId => "insert_id",
            Self::Diagnostics => "diagnostics",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

const SOFT: u32 = Hold::InsertId.bit() | Hold::Diagnostics.bit();
/// Reasons that end without leaving anything behind on the connection.
const CLEAN_AT_END: u32 = Hold::Transaction.bit()
    | Hold::AutocommitOff.bit()
    | Hold::NextTransaction.bit()
    | Hold::TableLocks.bit()
    | Hold::Prepared.bit()
    | Hold::Diagnostics.bit();

impl Holds {
    /// No reason at all.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub const fn add(&mut self, hold: Hold) {
        self.0 |= hold.bit();
    }

    /// Takes one away.
    pub const fn end(&mut self, hold: Hold) {
        self.0 &= !hold.bit();
    }

    /// Adds it or takes it away.
    pub const fn set(&mut self, hold: Hold, on: bool) {
        if on {
            self.add(hold);
        } else {
            self.end(hold);
        }
    }

    /// Is it there?
    #[must_use]
    pub const fn has(self, hold: Hold) -> bool {
        self.0 & hold.bit() != 0
    }

    /// Nothing holds.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Something that changes what a read means.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        self.0 & !SOFT != 0
    }

    /// Nothing, or only what the client may ask for next: an insert id, which can be asked for
    /// first, or warnings. The connection can be given away.
    #[must_use]
    pub const fn is_revocable(self) -> bool {
        !self.is_hard()
    }

    /// Whether a connection that was held for these must be reset before another session has it.
    #[must_use]
    pub const fn leaves_residue(self) -> bool {
        self.0 & !CLEAN_AT_END != 0
    }

    /// All of it as one number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What [`Self::bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Each reason that is there.
    pub fn iter(self) -> impl Iterator<Item = Hold> {
        Hold::ALL.into_iter().filter(move |hold| self.has(*hold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hold_has_its_own_bit_and_label() {
        let mut labels = std::collections::HashSet::new();
        for (at, hold) in Hold::ALL.into_iter().enumerate() {
            assert_eq!(hold as usize, at);
            assert!(labels.insert(hold.label()));
        }
    }

    #[test]
    fn soft_holds_leave_reads_free() {
        let mut holds = Holds::NONE;
        holds.add(Hold::InsertId);
        assert!(!holds.is_hard() && holds.is_revocable() && holds.leaves_residue());
        holds.add(Hold::Diagnostics);
        assert!(!holds.is_hard() && holds.is_revocable());
        holds.add(Hold::Transaction);
        assert!(holds.is_hard());
        holds.end(Hold::Transaction);
        assert!(!holds.is_hard());
        assert_eq!(holds.iter().count(), 2);
    }
}
