//! Names that stand before a parenthesis: which are pure built-ins, which have an effect, which are
//! no calls at all.
//!
//! An allow-list: only functions that are native in every MySQL since 5.6 and every MariaDB since
//! 10.0 are here, since a name that one server lacks may be a stored function there, with any
//! effect. So JSON functions (5.7, 10.2) are not. Called by `rule` and `parse`.

use super::Effects;

/// What a word before a parenthesis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A built-in whose answer depends on its arguments, the session's variables and the clock.
    Pure,
    /// The same, and its name is reserved: a blank before the parenthesis changes nothing.
    PureReserved,
    /// A reserved word of the grammar: what follows is no argument list.
    Structure,
    /// Pure, but only if an OVER follows.
    Window,
    /// A built-in with these effects.
    Effect(Effects),
    /// Anything else; it may be a stored function.
    Unknown,
}

/// Finds a name, in any letter case.
pub(crate) fn look_up(name: &[u8]) -> Call {
    let mut upper = [0_u8; 40];
    let Some(upper) = upper.get_mut(..name.len()) else { return Call::Unknown };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let listed = |list: &[&str]| list.binary_search_by(|known| known.as_bytes().cmp(upper)).is_ok();
    if listed(PURE) {
        return Call::Pure;
    }
    if listed(STRUCTURE) {
        return Call::Structure;
    }
    if listed(PURE_RESERVED) {
        return Call::PureReserved;
    }
    if listed(WINDOW) {
        return Call::Window;
    }
    match effect(upper) {
        Some(effects) => Call::Effect(effects),
        None => Call::Unknown,
    }
}

/// Built-ins that are per connection, per server, that wait or that write.
fn effect(upper: &[u8]) -> Option<Effects> {
    Some(match upper {
        b"GET_LOCK" => Effects::USER_LOCK | Effects::MAY_BLOCK,
        b"RELEASE_LOCK" | b"RELEASE_ALL_LOCKS" => Effects::RELEASES_USER_LOCK,
        b"LAST_INSERT_ID" | b"LASTVAL" => Effects::DIAGNOSTICS | Effects::INSERT_ID,
        b"FOUND_ROWS" => Effects::DIAGNOSTICS | Effects::FOUND_ROWS,
        b"ROW_COUNT" => Effects::DIAGNOSTICS | Effects::ROW_COUNT,
        b"SLEEP" | b"BENCHMARK" => Effects::MAY_BLOCK,
        b"MASTER_POS_WAIT"
        | b"SOURCE_POS_WAIT"
        | b"MASTER_GTID_WAIT"
        | b"WAIT_FOR_EXECUTED_GTID_SET"
        | b"WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS" => Effects::MAY_BLOCK | Effects::SERVER_FACT,
        b"NEXTVAL" | b"SETVAL" => Effects::WRITES,
        b"CONNECTION_ID" | b"CURRENT_USER" | b"CURRENT_ROLE" | b"SESSION_USER" | b"SYSTEM_USER"
        | b"USER" | b"VERSION" | b"UUID_SHORT" | b"LOAD_FILE" | b"IS_FREE_LOCK"
        | b"IS_USED_LOCK" | b"ROLES_GRAPHML" | b"ICU_VERSION" => Effects::SERVER_FACT,
        _ => return None,
    })
}

const PURE: &[&str] = &[
    "ABS",
    "ACOS",
    "ADDDATE",
    "ADDTIME",
    "AES_DECRYPT",
    "AES_ENCRYPT",
    "ASCII",
    "ASIN",
    "ATAN",
    "ATAN2",
    "AVG",
    "BIN",
    "BIT_AND",
    "BIT_COUNT",
    "BIT_LENGTH",
    "BIT_OR",
    "BIT_XOR",
    "CAST",
    "CEIL",
    "CEILING",
    "CHARACTER_LENGTH",
    "CHARSET",
    "CHAR_LENGTH",
    "COALESCE",
    "COERCIBILITY",
    "COLLATION",
    "COMPRESS",
    "CONCAT",
    "CONCAT_WS",
    "CONV",
    "CONVERT_TZ",
    "COS",
    "COT",
    "COUNT",
    "CRC32",
    "CURDATE",
    "CURTIME",
    "DATE",
    "DATEDIFF",
    "DATE_ADD",
    "DATE_FORMAT",
    "DATE_SUB",
    "DAY",
    "DAYNAME",
    "DAYOFMONTH",
    "DAYOFWEEK",
    "DAYOFYEAR",
    "DEGREES",
    "ELT",
    "EXP",
    "EXPORT_SET",
    "EXTRACT",
    "EXTRACTVALUE",
    "FIELD",
    "FIND_IN_SET",
    "FLOOR",
    "FORMAT",
    "FROM_BASE64",
    "FROM_DAYS",
    "FROM_UNIXTIME",
    "GREATEST",
    "GROUP_CONCAT",
    "HEX",
    "HOUR",
    "IFNULL",
    "INET6_ATON",
    "INET6_NTOA",
    "INET_ATON",
    "INET_NTOA",
    "INSTR",
    "ISNULL",
    "IS_IPV4",
    "IS_IPV6",
    "LAST_DAY",
    "LCASE",
    "LEAST",
    "LENGTH",
    "LN",
    "LOCATE",
    "LOG",
    "LOG10",
    "LOG2",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MAKEDATE",
    "MAKETIME",
    "MAKE_SET",
    "MAX",
    "MD5",
    "MICROSECOND",
    "MID",
    "MIN",
    "MINUTE",
    "MONTH",
    "MONTHNAME",
    "NOW",
    "NULLIF",
    "OCT",
    "OCTET_LENGTH",
    "ORD",
    "PERIOD_ADD",
    "PERIOD_DIFF",
    "PI",
    "POSITION",
    "POW",
    "POWER",
    "QUARTER",
    "QUOTE",
    "RADIANS",
    "RAND",
    "REVERSE",
    "ROUND",
    "ROW",
    "RPAD",
    "RTRIM",
    "SECOND",
    "SEC_TO_TIME",
    "SHA",
    "SHA1",
    "SHA2",
    "SIGN",
    "SIN",
    "SOUNDEX",
    "SPACE",
    "SQRT",
    "STD",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRCMP",
    "STR_TO_DATE",
    "SUBDATE",
    "SUBSTR",
    "SUBSTRING",
    "SUBSTRING_INDEX",
    "SUBTIME",
    "SUM",
    "SYSDATE",
    "TAN",
    "TIME",
    "TIMEDIFF",
    "TIMESTAMP",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TIME_FORMAT",
    "TIME_TO_SEC",
    "TO_BASE64",
    "TO_DAYS",
    "TO_SECONDS",
    "TRIM",
    "TRUNCATE",
    "UCASE",
    "UNCOMPRESS",
    "UNCOMPRESSED_LENGTH",
    "UNHEX",
    "UNIX_TIMESTAMP",
    "UPDATEXML",
    "UPPER",
    "UUID",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
    "WEEK",
    "WEEKDAY",
    "WEEKOFYEAR",
    "WEIGHT_STRING",
    "YEAR",
    "YEARWEEK",
];

/// Reserved in every version, so no stored function can be called by them.
const PURE_RESERVED: &[&str] = &[
    "CHAR",
    "CONVERT",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "DATABASE",
    "DEFAULT",
    "IF",
    "INSERT",
    "INTERVAL",
    "LEFT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "MOD",
    "REPEAT",
    "REPLACE",
    "RIGHT",
    "SCHEMA",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "VALUES",
];

/// Reserved in every version.
const STRUCTURE: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "BETWEEN",
    "BINARY",
    "BOTH",
    "BY",
    "CASE",
    "DECIMAL",
    "DISTINCT",
    "DISTINCTROW",
    "DIV",
    "ELSE",
    "EXISTS",
    "FORCE",
    "FROM",
    "HAVING",
    "IGNORE",
    "IN",
    "INDEX",
    "IS",
    "JOIN",
    "KEY",
    "LEADING",
    "LIKE",
    "LIMIT",
    "MATCH",
    "NOT",
    "ON",
    "OR",
    "PARTITION",
    "REGEXP",
    "RLIKE",
    "SELECT",
    "SET",
    "STRAIGHT_JOIN",
    "THEN",
    "TRAILING",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "XOR",
];

/// A stored function takes no OVER.
const WINDOW: &[&str] = &[
    "CUME_DIST",
    "DENSE_RANK",
    "FIRST_VALUE",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "NTH_VALUE",
    "NTILE",
    "PERCENT_RANK",
    "RANK",
    "ROW_NUMBER",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [PURE, PURE_RESERVED, STRUCTURE, WINDOW] {
            assert!(list.is_sorted());
        }
    }
}
