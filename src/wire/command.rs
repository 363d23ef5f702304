//! What a client asks for: the first byte of a command packet, and its fixed fields.
//!
//! Not what its text means (`sql`) and not who answers it (`session`). Called by `session`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html

use super::attributes;
use super::capability::Capabilities;
use super::cursor::Cursor;
use super::prepared::asks_cursor;
use super::reply::Expect;
use super::{Malformed, malformed};

/// One command; texts and bodies are borrowed from its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// The client leaves.
    Quit,
    /// Change the default schema.
    InitDb(&'a [u8]),
    /// A statement as text.
    Query(&'a [u8]),
    /// Column definitions of a table; the body is kept as it is.
    FieldList(&'a [u8]),
    /// FLUSH, by packet.
    Refresh,
    /// Stop the server.
    Shutdown,
    /// One line of statistics.
    Statistics,
    /// SHOW PROCESSLIST, by packet.
    ProcessInfo,
    /// KILL, by packet.
    ProcessKill(u32),
    /// Dump the server's state to its log.
    Debug,
    /// Are you there?
    Ping,
    /// Log in anew; the body is for `handshake::ChangeUser::parse`.
    ChangeUser(&'a [u8]),
    /// A replica wants the binary log, by file or by GTID.
    BinlogDump,
    /// A replica presents itself.
    RegisterReplica,
    /// Prepare a statement.
    Prepare(&'a [u8]),
    /// Execute a prepared one.
    Execute {
        /// Which.
        id: u32,
        /// All that stands after the id: flags, iterations, parameters.
        body: &'a [u8],
    },
    /// A piece of a parameter; there is no reply.
    LongData {
        /// Of which statement.
        id: u32,
    },
    /// Forget a prepared statement; there is no reply.
    CloseStatement(u32),
    /// Drop its long data and its cursor.
    ResetStatement(u32),
    /// Multi statements: 0 on, 1 off.
    SetOption(u16),
    /// Rows from a cursor.
    Fetch {
        /// Of which statement.
        id: u32,
    },
    /// Make the session as new.
    ResetConnection,
    /// Any other code.
    Other(u8),
}

impl<'a> Command<'a> {
    /// The command in a payload, or in the first bytes of a long one.
    ///
    /// `client` is what the client and we agreed on. Attributes stand in front of a statement's
    /// text if they are part of that; so they must be there whole.
    pub fn parse(payload: &'a [u8], client: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let code = match cursor.u8() {
            Ok(code) => code,
            Err(_) => return malformed("a command without its first byte"),
        };
        Ok(match code {
            0x01 => Self::Quit,
            0x02 => Self::InitDb(cursor.rest()),
            0x03 if client.has(Capabilities::QUERY_ATTRIBUTES) => {
                Self::Query(attributes::split(cursor.rest())?.1)
            }
            0x03 => Self::Query(cursor.rest()),
            0x04 => Self::FieldList(cursor.rest()),
            0x07 => Self::Refresh,
            0x08 => Self::Shutdown,
            0x09 => Self::Statistics,
            0x0a => Self::ProcessInfo,
            0x0c => Self::ProcessKill(cursor.u32()?),
            0x0d => Self::Debug,
            0x0e => Self::Ping,
            0x11 => Self::ChangeUser(cursor.rest()),
            0x12 | 0x1e => Self::BinlogDump,
            0x15 => Self::RegisterReplica,
            0x16 => Self::Prepare(cursor.rest()),
            0x17 => Self::Execute { id: cursor.u32()?, body: cursor.rest() },
            0x18 => Self::LongData { id: cursor.u32()? },
            0x19 => Self::CloseStatement(cursor.u32()?),
            0x1a => Self::ResetStatement(cursor.u32()?),
            0x1b => Self::SetOption(cursor.u16()?),
            0x1c => Self::Fetch { id: cursor.u32()? },
            0x1f => Self::ResetConnection,
            other => Self::Other(other),
        })
    }
}

impl Command<'_> {
    /// The kind of reply a server gives to it. A login's steps and a binary log's stream are no
    /// replies that a walker can walk; they count as simple, since an ERR is all they get here.
    pub fn expect(&self) -> Expect {
        match self {
            Self::Quit | Self::LongData { .. } | Self::CloseStatement(_) => Expect::Nothing,
            Self::Execute { body, .. } if body.first().is_some_and(|flags| asks_cursor(*flags)) => {
                Expect::Cursor
            }
            Self::Query(_) | Self::ProcessInfo | Self::Execute { .. } => Expect::Query,
            Self::FieldList(_) => Expect::FieldList,
            Self::Prepare(_) => Expect::Prepare,
            Self::Fetch { .. } => Expect::Fetch,
            Self::Statistics => Expect::Text,
            Self::Shutdown | Self::Debug | Self::SetOption(_) => Expect::Eof,
            _ => Expect::Simple,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        fn check(payload: &[u8], expected: Command<'_>) {
            assert_eq!(Command::parse(payload, Capabilities(0x001a_a285)), Ok(expected));
        }
        check(b"\x01", Command::Quit);
        check(b"\x02blog", Command::InitDb(b"blog"));
        check(b"\x03SELECT 1", Command::Query(b"SELECT 1"));
        check(b"\x03", Command::Query(b""));
        check(b"\x04t\0%", Command::FieldList(b"t\0%"));
        check(b"\x08\0", Command::Shutdown);
        check(b"\x0c\x05\0\0\0", Command::ProcessKill(5));
        check(b"\x0e", Command::Ping);
        check(b"\x11u\0\0", Command::ChangeUser(b"u\0\0"));
        check(b"\x12....", Command::BinlogDump);
        check(b"\x1e....", Command::BinlogDump);
        check(b"\x16SELECT ?", Command::Prepare(b"SELECT ?"));
        check(b"\x17\x07\0\0\0\x01rest", Command::Execute { id: 7, body: b"\x01rest" });
        check(b"\x18\x07\0\0\0\0\0x", Command::LongData { id: 7 });
        check(b"\x19\x07\0\0\0", Command::CloseStatement(7));
        check(b"\x1a\x07\0\0\0", Command::ResetStatement(7));
        check(b"\x1b\x01\0", Command::SetOption(1));
        check(b"\x1c\x07\0\0\0\x02\0\0\0", Command::Fetch { id: 7 });
        check(b"\x1f", Command::ResetConnection);
        check(b"\0", Command::Other(0));
        check(b"\xfa", Command::Other(0xfa));
    }

    #[test]
    fn half_commands_are_refused() {
        for payload in [&b""[..], b"\x0c\x05", b"\x17\x07\0\0", b"\x1b\x01", b"\x1c", b"\x19\0\0\0"]
        {
            assert!(Command::parse(payload, Capabilities(0)).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn attributes_stand_in_front_of_the_text() {
        fn check(payload: &[u8], expected: Option<&[u8]>) {
            let command = Command::parse(payload, Capabilities::QUERY_ATTRIBUTES).ok();
            assert_eq!(command, expected.map(Command::Query), "{payload:?}");
        }
        check(b"\x03\0\x01SELECT 1", Some(b"SELECT 1"));
        check(b"\x03\0\x01", Some(b""));
        check(b"\x03\x01\x01\0\x01\xfe\0\x01n\x08SELECT 1DELETE", Some(b"DELETE"));
        check(b"\x03SELECT 1", None);
        check(b"\x03\x01\x01\0\x01\xfe\0\x01n\x08SELE", None);
        check(b"\x03", None);
        // Other commands have none.
        let prepare = Command::parse(b"\x16SELECT ?", Capabilities::QUERY_ATTRIBUTES);
        assert_eq!(prepare, Ok(Command::Prepare(b"SELECT ?")));
    }

    #[test]
    fn a_count_of_parameters_is_no_cursor() {
        for (flags, expected) in [
            (0, Expect::Query),
            (1, Expect::Cursor),
            (8, Expect::Query),
            (9, Expect::Cursor),
            (4, Expect::Cursor),
        ] {
            let body = [flags, 1, 0, 0, 0];
            assert_eq!(Command::Execute { id: 1, body: &body }.expect(), expected, "{flags}");
        }
    }
}
