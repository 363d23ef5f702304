//! Every bound of the system, const-asserted against each other.
//!
//! Not a configuration: what an operator may change stands in `config` and is checked against
//! these. Called by every layer; imports nothing.

/// Bytes of a packet header.
pub const PACKET_HEADER_BYTES: usize = 4;
/// Largest payload of one chunk; a longer one goes on in the next chunk.
pub const PACKET_CHUNK_BYTES_MAX: usize = 0xff_ffff;
/// Everything a client may send before it is logged in, in one packet.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// A header of the PROXY protocol; one with a client's certificate in it is refused.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;
/// From those who must send it, it is there by then, or they are let go.
pub const PROXY_HEADER_MS_MAX: u64 = 5_000;
/// Networks whose connections begin with one.
pub const PROXY_NETWORKS_MAX: usize = 64;
/// Connection attributes that are read; longer ones are refused.
pub const CONNECT_ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// An OK, ERR or EOF packet is captured whole up to this; a longer one is a protocol error.
pub const TERMINATOR_BYTES_MAX: usize = 1024 * 1024;
/// Longest user name, schema name and plugin name that is accepted.
pub const NAME_BYTES_MAX: usize = 512;
/// Columns, or parameters, of one result; MySQL's own limit is 4096.
pub const COLUMNS_MAX: u64 = 0xffff;
/// Bytes of an ERR's text that are kept beside what the client gets.
pub const ERR_KEPT_BYTES_MAX: usize = 512;
/// A walker that gathered a longer terminator gives its buffer back.
pub const CAPTURE_KEPT_BYTES_MAX: usize = 1024;

/// A command is understood from its first bytes; longer ones are scanned and streamed.
pub const COMMAND_ROUTED_BYTES_MAX: usize = 16 * 1024;
/// Attributes in front of a statement, and names in front of an EXECUTE's values: longer ones are
/// refused.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// A buffer borrowed while bytes move.
pub const SLAB_BYTES: usize = 16 * 1024;
/// Slabs kept for reuse by one thread.
pub const SLABS_KEPT_PER_THREAD: usize = 64;
/// A slab that grew past this is not kept.
pub const SLAB_KEPT_BYTES_MAX: usize = 64 * 1024;
/// A result is read this far before its first byte goes to the client, so that a lost server
/// can be replaced unseen, and so that a slow client frees the server.
pub const READ_AHEAD_BYTES_MAX: usize = 256 * 1024;
/// A client that takes nothing of what is beyond that for so long is cut: it keeps a server busy.
pub const CLIENT_WRITE_MS_MAX: u64 = 60_000;

/// Tables that one statement may name before it counts as unknown.
pub const TABLES_MAX: usize = 64;
/// sqlparser's recursion limit.
pub const PARSE_DEPTH_MAX: usize = 50;
/// A worker's stack. At that depth the parser takes up to 2 MiB of it, and several times that in
/// a build that is not optimised; what is not used costs no memory.
pub const STACK_BYTES: usize = 16 * 1024 * 1024;
/// Shapes that one thread remembers.
pub const DIGEST_CACHE_THREAD_ENTRIES: usize = 4 * 1024;
/// Shapes that the process remembers.
pub const DIGEST_CACHE_ENTRIES: usize = 64 * 1024;
/// New shapes of statements that are worked out for one client in a second; what is above that goes
/// to the primary unparsed. WordPress has a few hundred in all.
pub const SHAPES_PER_CLIENT_PER_SECOND: u32 = 500;
/// Shapes that a replica refused as writes; once full, no new shape is trusted.
pub const SHAPES_DISTRUSTED_MAX: usize = 1024;

/// Servers of one fleet.
pub const SERVERS_MAX: usize = 64;
/// Probes that fail in a row before a server counts as down.
pub const PROBES_FAILED_MAX: u32 = 3;
/// After a failed connect a server gets no reads for this long, or until a probe succeeds.
pub const SUSPECT_BACK_OFF_MS: u64 = 1_000;
/// Addresses that one name may resolve to.
pub const ADDRESSES_PER_NAME_MAX: usize = 32;
/// Clients connected at once.
pub const CLIENTS_MAX: usize = 100_000;
/// Connections beside the pools that tell a server to stop a statement, over all servers.
pub const KILLS_AT_ONCE: usize = 4;
/// Sessions that may wait for one server's connections.
pub const POOL_WAITERS_MAX: usize = 10_000;
/// A statement that has its connection for longer is not short, and leaves the rest to those that
/// are.
pub const SHORT_STATEMENT_MS_MAX: u64 = 100;
/// While sessions wait for a connection it is looked so often which ones are not short any more.
pub const POOL_REVIEWED_MS: u64 = 20;
/// Variables that a session may carry from one connection to another; past that it holds.
pub const SESSION_VARIABLES_MAX: usize = 64;
/// Bytes of one carried variable's value.
pub const SESSION_VALUE_BYTES_MAX: usize = 4 * 1024;
/// Answers that are remembered.
pub const REPLAYS_MAX: usize = 4 * 1024;
/// Bytes of one of them: the command, the answer, and the session's values before and after.
pub const REPLAY_BYTES_MAX: usize = 8 * 1024;
/// Commands of one session that were answered from memory and not run since; past that they run.
pub const UNPLAYED_MAX: usize = 16;
/// Statements that one session may have prepared.
pub const PREPARED_PER_SESSION_MAX: usize = 16 * 1024;
/// Bytes of their texts.
pub const PREPARED_TEXT_BYTES_PER_SESSION_MAX: usize = 4 * 1024 * 1024;
/// Statements that are kept prepared on one server connection. A server allows 151 connections and
/// 16,382 statements in all, unless it is told otherwise.
pub const PREPARED_PER_CONNECTION_MAX: usize = 100;
/// Bytes of long parameters that a session keeps until they are needed; past that it keeps its
/// connection instead.
pub const LONG_DATA_BYTES_PER_SESSION_MAX: usize = 1024 * 1024;
/// Schemas whose last write is remembered by name; past that a write is one of everything.
pub const FLOOR_SCHEMAS_MAX: usize = 4 * 1024;
/// Tables of them; past that a write is one of its schema.
pub const FLOOR_TABLES_MAX: usize = 16 * 1024;
/// Keys of one table; past that the older half counts as the table.
pub const FLOOR_KEYS_PER_TABLE_MAX: usize = 16 * 1024;
/// Keys of all tables.
pub const FLOOR_KEYS_MAX: usize = 64 * 1024;
/// Tables that one connection is remembered to have written, in mode `observe`.
pub const TABLES_OBSERVED_MAX: usize = 64;
/// Columns of one table that keys are taken from; the others of a longer list are not.
pub const KEY_COLUMNS_MAX: usize = 6;
/// Values of one column in one write; with more it is a write of any value of it.
pub const FLOOR_VALUES_PER_WRITE_MAX: usize = 1024;
/// Keys of one table in one write; with more it is a write of the table.
pub const FLOOR_KEYS_PER_WRITE_MAX: usize = KEY_COLUMNS_MAX * FLOOR_VALUES_PER_WRITE_MAX + 1;
/// With fewer names than this it is not worth a look which are of use still.
pub const FLOOR_NAMES_SWEPT_MIN: usize = 1024;
/// Bytes of a key; the rows of a longer one are any of the table.
pub const KEY_BYTES_MAX: usize = 255;
/// Keys that one read may name; with more it is a read of the table.
pub const KEYS_PER_READ_MAX: usize = 64;
/// Writes whose arrival at the replicas is awaited one by one.
pub const WRITES_PENDING_MAX: usize = 16 * 1024;
/// A fence that is not back by then sends its reads to the primary.
pub const FENCE_WAIT_MS: u64 = 1_000;
/// While it is open whether the primary is down, a read waits so long for it to answer.
pub const PRIMARY_DOUBT_MS: u64 = 5_000;
/// So long may the follower be behind a fence, or a client's own write, before all that it has not
/// shown counts as a write to everything.
pub const STREAM_WAIT_MS: u64 = 50;
/// An event of the primary's log that is looked into; of a longer one only its table is known.
pub const BINLOG_EVENT_BYTES_MAX: usize = 1024 * 1024;
/// A compressed transaction, or rows, inflated; larger ones are known by what is outside of them.
pub const BINLOG_PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Tables with keys; of more than that, the last of `keyed`'s list are known as wholes.
pub const KEYED_TABLES_MAX: usize = 4 * 1024;
/// Tables that one transaction in that log may name; with more it touches everything.
pub const TRANSACTION_TABLES_MAX: usize = 1024;
/// Bytes of a position (a GTID set or list) that are read.
pub const POSITION_BYTES_MAX: usize = 1024 * 1024;
/// Letters of a setting that are shown when something is wrong with it.
pub const FINDING_LETTERS_MAX: usize = 200;
/// Bytes of a binary log file's name.
pub const LOG_FILE_NAME_BYTES_MAX: usize = 512;
/// Parts of the position that all applied writes are merged into; past that its gaps are closed.
pub const POSITION_PARTS_KEPT_MAX: usize = 64;
/// Views, and tables of engines that are read from the primary, that one account may see; with
/// more, all its reads are the primary's.
pub const CATALOG_NAMES_MAX: usize = 10_000;
/// Names that DDL changed and that no account has looked at since; past that, every name counts.
pub const CATALOG_CHANGES_MAX: usize = 4 * 1024;
/// Views over views that are followed.
pub const VIEW_DEPTH_MAX: usize = 16;
/// Accounts whose passwords were learned.
pub const ACCOUNTS_MAX: usize = 4 * 1024;
/// Passwords that are valid for one name at once.
pub const VERIFIERS_PER_NAME_MAX: usize = 4;
/// Logins that are proved at a server at once.
pub const PROOFS_AT_ONCE: usize = 4;
/// Of those, how many are kept for passwords that were right before: strangers cannot delay them.
pub const PROOFS_KEPT_FOR_KNOWN: usize = 1;
/// Wrong passwords in a row that one source may try at once.
pub const FAILED_LOGINS_MAX: u32 = 20;
/// After that, one in so long.
pub const FAILED_LOGIN_MS: u64 = 200;
/// Sources whose failed logins are counted one by one; past that they count together.
pub const LOGIN_SOURCES_MAX: usize = 4 * 1024;
/// Bytes of an admin request that are read.
pub const ADMIN_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// An admin request is read, answered and sent within this.
pub const ADMIN_REQUEST_MS_MAX: u64 = 10_000;
/// Admin requests that are worked on at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 128;
/// Clients of the admin console at once.
pub const CONSOLES_MAX: usize = 16;
/// A console client that says nothing, or does not take its answer, is left after this.
pub const CONSOLE_IDLE_S_MAX: u64 = 8 * 60 * 60;
/// Demands that wait for the program to obey them.
pub const DEMANDS_WAITING_MAX: usize = 16;
/// A demand that was not obeyed by then is answered "busy".
pub const DEMAND_WAIT_MS_MAX: u64 = 5_000;
/// A configuration file that is read.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Files of certificates and passwords are looked at so often.
pub const FILES_LOOKED_AT_MS: u64 = 5_000;
/// A password, in a file or in the environment.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// One statement in so many is timed.
pub const TIMED_ONE_IN: u32 = 16;

const _: () = {
    assert!(COMMAND_ROUTED_BYTES_MAX <= SLAB_BYTES);
    assert!(SLAB_BYTES <= SLAB_KEPT_BYTES_MAX);
    assert!(SLAB_KEPT_BYTES_MAX <= READ_AHEAD_BYTES_MAX);
    assert!(DIGEST_CACHE_THREAD_ENTRIES <= DIGEST_CACHE_ENTRIES);
    assert!(VIEW_DEPTH_MAX < TABLES_MAX);
    assert!(FLOOR_KEYS_PER_WRITE_MAX * 2 <= FLOOR_KEYS_PER_TABLE_MAX);
    assert!(FLOOR_KEYS_PER_TABLE_MAX <= FLOOR_KEYS_MAX);
    assert!(PROOFS_AT_ONCE <= ACCOUNTS_MAX);
    assert!(PREPARED_PER_CONNECTION_MAX * 151 < 16_382);
    assert!(PROOFS_KEPT_FOR_KNOWN < PROOFS_AT_ONCE);
    assert!(POOL_REVIEWED_MS < SHORT_STATEMENT_MS_MAX);
    assert!(DEMAND_WAIT_MS_MAX < ADMIN_REQUEST_MS_MAX);
};
