//! The closed list of errors that Forebay itself gives to a client.
//!
//! Each answers three questions: what the client is told, who is to blame, and whether saying the
//! statement again is safe. Error 2006 is not among them: wpdb runs *any* statement again on 2006
//! and would double a write. Errors of servers are passed on as they are and are not listed here.

use crate::wire::err::Err;

/// Whose doing an error is, as the metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client sent what it must not.
    Client,
    /// A server failed.
    Server,
    /// Forebay has a bug.
    Proxy,
    /// The set-up does not allow it.
    Config,
}

impl Blame {
    /// The metric labels, in order.
    pub const LABELS: [&'static str; 4] = ["client", "server", "proxy", "config"];
}

/// An error of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A write was sent and its answer never came.
    OutcomeUnknown,
    /// The server of an open transaction is gone, and the transaction with it.
    TransactionCut,
    /// The connection that kept the session's state is gone.
    StateLost,
    /// A result broke off after its first bytes had gone out.
    ResultCut,
    /// No server can take the statement.
    NoServer,
    /// There is no primary that takes writes, and what was known last is not to do for it.
    NobodyVouches,
    /// Every connection was busy for too long.
    PoolBusy,
    /// The command is not understood, or not served.
    UnknownCommand,
    /// COM_SHUTDOWN, COM_BINLOG_DUMP and the like.
    NotAllowed,
    /// A KILL that names its victim otherwise than by our number, which no server knows.
    KillUnsupported,
    /// Somebody killed it before a server had it.
    Interrupted,
    /// A statement id that this session never got.
    UnknownStatement,
    /// Larger than what is let through.
    TooLarge,
    /// The packet makes no sense.
    Malformed,
    /// The packet does not begin a command.
    OutOfOrder,
    /// LOAD DATA LOCAL INFILE is off.
    LocalInfileOff,
    /// The server's answer makes no sense.
    ServerMalformed,
    /// Too many statements prepared by one session.
    TooManyPrepared,
    /// EXECUTE with parameters that make no sense, or whose types nobody told.
    WrongArguments,
    /// FETCH without a cursor.
    NoCursor,
    /// The statement is not what it was when the client prepared it.
    NeedsPreparing,
    /// A belief of ours was broken.
    Bug,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 22] = [
        Self::OutcomeUnknown,
        Self::TransactionCut,
        Self::StateLost,
        Self::ResultCut,
        Self::NoServer,
        Self::NobodyVouches,
        Self::PoolBusy,
        Self::UnknownCommand,
        Self::NotAllowed,
        Self::KillUnsupported,
        Self::Interrupted,
        Self::UnknownStatement,
        Self::TooLarge,
        Self::Malformed,
        Self::OutOfOrder,
        Self::LocalInfileOff,
        Self::ServerMalformed,
        Self::TooManyPrepared,
        Self::WrongArguments,
        Self::NoCursor,
        Self::NeedsPreparing,
        Self::Bug,
    ];

    /// What the client is told: code, SQLSTATE, text.
    #[must_use]
    pub const fn told(self) -> (u16, &'static [u8; 5], &'static str) {
        match self {
            Self::OutcomeUnknown => {
                (1105, b"HY000", "Outcome unknown: the server was lost while it ran this statement")
            }
            Self::TransactionCut => (
                1213,
                b"40001",
                "The server was lost and the transaction was rolled back; try restarting it",
            ),
            Self::StateLost => {
                (1105, b"HY000", "The server that kept this session's state was lost")
            }
            Self::ResultCut => (1105, b"HY000", "The server was lost in the middle of this result"),
            Self::NoServer => (1105, b"HY000", "No database server can be reached"),
            Self::NobodyVouches => {
                (1290, b"HY000", "No primary takes writes now, so nobody knows what is up to date")
            }
            Self::PoolBusy => {
                (1203, b"42000", "All connections to the database are busy; try again")
            }
            Self::UnknownCommand => (1047, b"08S01", "Unknown command"),
            Self::NotAllowed => {
                (1227, b"42000", "Access denied; this command is not served through the proxy")
            }
            Self::KillUnsupported => (
                1235,
                b"42000",
                "The proxy serves KILL [CONNECTION | QUERY] <number> and no other KILL",
            ),
            Self::Interrupted => (1317, b"70100", "Query execution was interrupted"),
            Self::UnknownStatement => (1243, b"HY000", "Unknown prepared statement handler"),
            Self::TooLarge => {
                (1153, b"08S01", "Got a packet bigger than 'max_allowed_packet' bytes")
            }
            Self::Malformed => (1835, b"HY000", "Malformed communication packet"),
            Self::OutOfOrder => (1156, b"08S01", "Got packets out of order"),
            Self::LocalInfileOff => {
                (3948, b"42000", "Loading local data is disabled; this must be enabled")
            }
            Self::ServerMalformed => {
                (1105, b"HY000", "The server's answer could not be understood; outcome unknown")
            }
            Self::TooManyPrepared => {
                (1461, b"42000", "Can't create more prepared statements in this session")
            }
            Self::WrongArguments => (1210, b"HY000", "Incorrect arguments to mysqld_stmt_execute"),
            Self::NoCursor => (1421, b"HY000", "The statement has no open cursor"),
            Self::NeedsPreparing => (1615, b"HY000", "Prepared statement needs to be re-prepared"),
            Self::Bug => (1105, b"HY000", "Internal error of the proxy; outcome unknown"),
        }
    }

    /// Who is to blame.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::OutcomeUnknown
            | Self::TransactionCut
            | Self::StateLost
            | Self::ResultCut
            | Self::NoServer
            | Self::NobodyVouches
            | Self::ServerMalformed
            | Self::NeedsPreparing => Blame::Server,
            Self::PoolBusy | Self::LocalInfileOff | Self::NotAllowed | Self::KillUnsupported => {
                Blame::Config
            }
            Self::UnknownCommand
            | Self::UnknownStatement
            | Self::TooLarge
            | Self::Malformed
            | Self::OutOfOrder
            | Self::Interrupted
            | Self::TooManyPrepared
            | Self::WrongArguments
            | Self::NoCursor => Blame::Client,
            Self::Bug => Blame::Proxy,
        }
    }

    /// Whether nothing happened, so that the client may say it again.
    #[must_use]
    pub const fn is_safe_to_repeat(self) -> bool {
        !matches!(self, Self::OutcomeUnknown | Self::ServerMalformed | Self::Bug)
    }

    /// The ERR packet.
    #[must_use]
    pub fn packet(self) -> Err {
        let (code, state, message) = self.told();
        Err { code, state: *state, message: message.as_bytes().to_vec() }
    }

    /// Appends the ERR packet; gives the next sequence number.
    pub fn write(self, out: &mut Vec<u8>, sequence: u8) -> u8 {
        self.packet().write(out, sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_makes_wpdb_run_a_write_again() {
        for refusal in Refusal::ALL {
            let (code, _, text) = refusal.told();
            assert!(![2006, 2013, 4031].contains(&code), "{refusal:?}");
            assert!(!text.is_empty());
            if !refusal.is_safe_to_repeat() {
                assert_eq!(code, 1105, "{refusal:?}");
                assert!(text.contains("outcome unknown") || text.contains("Outcome unknown"));
            }
        }
    }

    #[test]
    fn each_is_written_as_an_error_packet() {
        for refusal in Refusal::ALL {
            let mut out = Vec::new();
            assert_eq!(refusal.write(&mut out, 3), 4);
            assert_eq!(out.get(3..5), Some(&[3, 0xff][..]));
        }
    }
}
