//! What a primary is told so that it sends its log: the words, and the command.
//!
//! As an observer that nobody waits for: it registers as no replica, and acknowledges nothing.

use crate::position::Position;
use crate::sql::Flavour;
use crate::wire::cursor::{put_u16, put_u32, put_u64};

/// `COM_BINLOG_DUMP`.
const DUMP: u8 = 0x12;
/// `COM_BINLOG_DUMP_GTID`.
const DUMP_GTID: u8 = 0x1e;
/// Where a file's first event stands.
const FIRST: u32 = 4;
/// So often the server says that nothing happened.
const HEARTBEAT_NS: u64 = 1_000_000_000;

/// What the session is told first. Both generations of names, as a server knows one of them.
pub(super) fn words(flavour: Flavour, from: &Position) -> String {
    let old = format!(
        "SET @master_heartbeat_period={HEARTBEAT_NS},\
         @master_binlog_checksum=@@GLOBAL.binlog_checksum"
    );
    match flavour {
        Flavour::MySql => format!(
            "{old},@source_heartbeat_period={HEARTBEAT_NS},\
             @source_binlog_checksum=@@GLOBAL.binlog_checksum"
        ),
        Flavour::MariaDb => format!(
            "{old},@mariadb_slave_capability=4,@slave_connect_state='{from}',\
             @slave_gtid_strict_mode=0,@slave_gtid_ignore_duplicates=0"
        ),
    }
}

/// The command and its body: all that is not in `from`, and then whatever comes.
// page_protocol_com_binlog_dump_gtid.html
pub(super) fn command(from: &Position, server_id: u32) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    let Position::MySql(set) = from else {
        // MariaDB takes the position from the session's words.
        put_u32(&mut body, FIRST);
        put_u16(&mut body, 0);
        put_u32(&mut body, server_id);
        return (DUMP, body);
    };
    put_u16(&mut body, 0);
    put_u32(&mut body, server_id);
    put_u32(&mut body, 0);
    put_u64(&mut body, FIRST.into());
    let set = set.encode();
    put_u32(&mut body, u32::try_from(set.len()).unwrap_or(u32::MAX));
    body.extend_from_slice(&set);
    (DUMP_GTID, body)
}
