//! The assignments of a SET.
//!
//! Names and scopes only; the values are read by the session from the server's own trackers. What
//! is not understood gives no setting, and then the session holds. Called by `rule`.

use super::rule::Lexemes;
use super::token::Kind;
use super::{Scope, Setting};

/// Session variables that are carried from one connection to another. Order counts:
/// `character_set_connection` resets the collation, so it stands before `collation_connection`.
/// Not here, so that it keeps its connection: `max_join_size`. It switches `sql_big_selects` too and
/// no server tells that, and whether a join is too big depends on a server's own statistics.
pub const CARRIED_VARIABLES: &[&str] = &[
    "character_set_client",
    "character_set_results",
    "character_set_connection",
    "collation_connection",
    "sql_mode",
    "time_zone",
    "group_concat_max_len",
    "sql_big_selects",
    "sql_select_limit",
    "wait_timeout",
    "interactive_timeout",
    "net_read_timeout",
    "net_write_timeout",
    "lc_time_names",
    "default_week_format",
    "div_precision_increment",
    "max_sort_length",
    "foreign_key_checks",
    "unique_checks",
    "sql_safe_updates",
    "sql_quote_show_create",
    "sql_auto_is_null",
    "sql_notes",
    "sql_warnings",
    "innodb_lock_wait_timeout",
    "lock_wait_timeout",
    "max_execution_time",
    "max_statement_time",
    "sort_buffer_size",
    "join_buffer_size",
    "tmp_table_size",
    "max_heap_table_size",
    "optimizer_switch",
    "default_storage_engine",
    // One thing under two names; which ones a server knows depends on its version.
    "transaction_isolation",
    "tx_isolation",
];

/// Reads what follows the word SET. Empty if any of it is not understood.
pub(crate) fn read(tokens: Lexemes<'_, '_>, at: usize, executable: bool) -> Vec<Setting> {
    let scoped = usize::from(scope(tokens, at).is_some());
    if tokens.word(at + scoped, "TRANSACTION") {
        return transaction(tokens, at + scoped + 1, scope(tokens, at));
    }
    let mut settings = Vec::new();
    let mut at = at;
    loop {
        let end = end_of_item(tokens, at);
        let Some(mut setting) = item(tokens, at, end) else { return Vec::new() };
        setting.literal &= !executable;
        settings.push(setting);
        if end >= tokens.len() {
            return settings;
        }
        at = end + 1;
    }
}

/// The next comma outside parentheses.
fn end_of_item(tokens: Lexemes<'_, '_>, from: usize) -> usize {
    let mut depth = 0_i32;
    for at in from..tokens.len() {
        match tokens.kind(at) {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth -= 1,
            Kind::Symbol(b',') if depth == 0 => return at,
            _ => {}
        }
    }
    tokens.len()
}

fn item(tokens: Lexemes<'_, '_>, at: usize, end: usize) -> Option<Setting> {
    if tokens.symbol(at, b'@') && !tokens.touches(at, b'@') {
        let name = tokens.name(at + 1).or_else(|| text_name(tokens, at + 1))?;
        let literal = is_literal(tokens, assigned(tokens, at + 2)?, end);
        return Some(Setting { name: name.to_ascii_lowercase(), scope: Scope::User, literal });
    }
    let system = tokens.symbol(at, b'@') && tokens.touches(at, b'@');
    let at = if system { at + 2 } else { at };
    let (scope, name_at) = match scope(tokens, at) {
        Some(scope) if system => (Some(scope), at + 2),
        Some(scope) => (Some(scope), at + 1),
        None => (None, at),
    };
    if scope.is_none()
        && !system
        && let Some(setting) = named(tokens, at, end)
    {
        return Some(setting);
    }
    let mut name = tokens.name(name_at)?.to_ascii_lowercase();
    let mut after = name_at + 1;
    if tokens.symbol(after, b'.') {
        // A keycache's or a plugin's: `SET hot.key_buffer_size = 1`.
        name = format!("{name}.{}", tokens.name(after + 1)?.to_ascii_lowercase());
        after += 2;
    }
    let scope = scope.unwrap_or(scope_of(&name, system));
    let literal = is_literal(tokens, assigned(tokens, after)?, end);
    Some(Setting { name: canonical(name), scope, literal })
}

/// Without a word for the scope: `SET @@transaction_isolation = x`, unlike all other `@@`, is for
/// the next transaction. The others are for the session, but MariaDB reports to
/// `session_track_system_variables` only what is set as `x`, `SESSION x` or `@@SESSION.x`; MySQL 9.7
/// reports these too.
fn scope_of(name: &str, system: bool) -> Scope {
    let one_shot =
        ["transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only"];
    match system {
        true if one_shot.contains(&name) => Scope::NextTransaction,
        // The status flags tell.
        true if name != "autocommit" => Scope::Untold,
        _ => Scope::Session,
    }
}

/// One name for what has two.
fn canonical(name: String) -> String {
    match name.as_str() {
        "tx_isolation" => "transaction_isolation".to_owned(),
        "tx_read_only" => "transaction_read_only".to_owned(),
        _ => name,
    }
}

fn scope(tokens: Lexemes<'_, '_>, at: usize) -> Option<Scope> {
    // `SET global = 1` would be a variable of that name; there is none.
    let word = tokens.upper(at)?;
    match word.as_slice() {
        b"SESSION" | b"LOCAL" => Some(Scope::Session),
        b"GLOBAL" | b"PERSIST" | b"PERSIST_ONLY" => Some(Scope::Global),
        _ => None,
    }
}

/// Past `=` or `:=`.
fn assigned(tokens: Lexemes<'_, '_>, at: usize) -> Option<usize> {
    if tokens.symbol(at, b'=') {
        return Some(at + 1);
    }
    (tokens.symbol(at, b':') && tokens.touches(at, b'=')).then_some(at + 2)
}

/// `@'x'`
fn text_name(tokens: Lexemes<'_, '_>, at: usize) -> Option<String> {
    let text = tokens.text(at);
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    (tokens.kind(at) == Kind::Text).then(|| String::from_utf8_lossy(inner).into_owned())
}

/// NAMES, CHARACTER SET, ROLE, RESOURCE GROUP.
fn named(tokens: Lexemes<'_, '_>, at: usize, end: usize) -> Option<Setting> {
    let setting = |name: &str, literal| {
        Some(Setting { name: name.to_owned(), scope: Scope::Session, literal })
    };
    if tokens.symbol(at + 1, b'=') || tokens.symbol(at + 1, b':') {
        return None;
    }
    if tokens.word(at, "NAMES") {
        let plain = is_literal(tokens, at + 1, end)
            || (tokens.word(at + 2, "COLLATE")
                && is_literal(tokens, at + 1, at + 2)
                && is_literal(tokens, at + 3, end));
        return setting("names", plain);
    }
    if tokens.word(at, "CHARSET") {
        return setting("character_set", is_literal(tokens, at + 1, end));
    }
    if tokens.words(at, &["CHARACTER", "SET"]) || tokens.words(at, &["CHAR", "SET"]) {
        return setting("character_set", is_literal(tokens, at + 2, end));
    }
    if tokens.word(at, "ROLE") {
        return setting("role", false);
    }
    if tokens.words(at, &["RESOURCE", "GROUP"]) {
        return setting("resource_group", false);
    }
    None
}

/// SET [SESSION | GLOBAL] TRANSACTION: isolation, access mode, or both with a comma.
fn transaction(tokens: Lexemes<'_, '_>, at: usize, scope: Option<Scope>) -> Vec<Setting> {
    let scope = scope.unwrap_or(Scope::NextTransaction);
    let setting = |name: &str| Setting { name: name.to_owned(), scope, literal: true };
    let mut settings = Vec::new();
    if tokens.has_word_from(at, "ISOLATION") {
        settings.push(setting("transaction_isolation"));
    }
    let access = |at| tokens.words(at, &["READ", "ONLY"]) || tokens.words(at, &["READ", "WRITE"]);
    if (at..tokens.len()).any(access) {
        settings.push(setting("transaction_read_only"));
    }
    settings
}

/// One literal with an optional sign, or one bare word (`utf8mb4`, `ON`, `TRADITIONAL`).
fn is_literal(tokens: Lexemes<'_, '_>, at: usize, end: usize) -> bool {
    let signed = tokens.symbol(at, b'-') || tokens.symbol(at, b'+');
    let at = if signed { at + 1 } else { at };
    if at + 1 != end {
        return false;
    }
    match tokens.kind(at) {
        Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit => true,
        Kind::Text => !signed,
        Kind::Word => {
            let relative = ["DEFAULT", "CURRENT_TIMESTAMP", "CURRENT_USER", "LOCALTIMESTAMP"];
            !signed && !relative.iter().any(|word| tokens.word(at, word))
        }
        _ => false,
    }
}
