//! What a statement is, by its first words.
//!
//! Sees through parentheses and WITH, not into expressions. An unknown first word is `Other`, which
//! may do anything. Called by `rule`.

use super::Effects;
use super::rule::Lexemes;

/// What a statement begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the statement of its name")]
pub enum Verb {
    /// Also `TABLE t`, `VALUES ROW(..)`, and any WITH or parenthesis that leads to one of them.
    Select,
    Show,
    Describe,
    Explain,
    Insert,
    Replace,
    Update,
    Delete,
    Load,
    Call,
    Do,
    Handler,
    Ddl,
    Begin,
    Commit,
    Rollback,
    /// SAVEPOINT, ROLLBACK TO, RELEASE SAVEPOINT.
    Savepoint,
    Xa,
    /// LOCK TABLES, and FLUSH TABLES that keeps a lock.
    LockTables,
    UnlockTables,
    Set,
    Use,
    Prepare,
    Execute,
    Deallocate,
    Kill,
    /// FLUSH, ANALYZE, CHECK, OPTIMIZE, RESET, CHANGE and the like.
    Admin,
    /// GRANT, REVOKE, CREATE USER, SET PASSWORD and the like.
    Account,
    /// Not known, or several kinds in one.
    Other,
    /// Nothing but blanks and comments.
    Empty,
}

/// A verb, the effects that come with it, and where its word stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) verb: Verb,
    pub(crate) effects: Effects,
    pub(crate) at: usize,
}

/// Finds the verb of one statement.
pub(crate) fn find(tokens: Lexemes<'_, '_>) -> Found {
    let mut at = 0;
    while tokens.symbol(at, b'(') {
        at += 1;
    }
    if at == tokens.len() {
        return Found { verb: Verb::Empty, effects: Effects::NONE, at };
    }
    if tokens.word(at, "WITH") {
        at = after_with(tokens, at);
    }
    let (verb, effects) = first_word(tokens, at);
    Found { verb, effects, at }
}

/// The first word outside parentheses that can follow a WITH's list.
fn after_with(tokens: Lexemes<'_, '_>, with: usize) -> usize {
    let mut depth = 0_i32;
    for at in with + 1..tokens.len() {
        if tokens.symbol(at, b'(') {
            depth += 1;
        } else if tokens.symbol(at, b')') {
            depth -= 1;
        }
        let verbs = ["SELECT", "UPDATE", "DELETE", "INSERT", "REPLACE", "TABLE", "VALUES"];
        if depth == 0 && verbs.iter().any(|verb| tokens.word(at, verb)) {
            return at;
        }
        // WITH x AS (..) (SELECT ..)
        if depth == 1 && tokens.symbol(at, b'(') && at > 0 && tokens.symbol(at - 1, b')') {
            return at + 1;
        }
    }
    tokens.len()
}

fn first_word(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    use Effects as E;
    let Some(word) = tokens.upper(at) else { return (Verb::Other, E::WRITES | E::CALLS_UNKNOWN) };
    match word.as_slice() {
        b"SELECT" | b"TABLE" | b"VALUES" => (Verb::Select, E::NONE),
        b"SHOW" => (Verb::Show, E::NONE),
        b"DESCRIBE" | b"DESC" | b"EXPLAIN" => describe_or_explain(tokens, at),
        b"INSERT" => (Verb::Insert, E::WRITES),
        b"REPLACE" => (Verb::Replace, E::WRITES),
        b"UPDATE" => (Verb::Update, E::WRITES),
        b"DELETE" => (Verb::Delete, E::WRITES),
        b"LOAD" => load(tokens, at),
        b"CALL" => (Verb::Call, E::WRITES | E::CALLS_UNKNOWN),
        b"DO" => (Verb::Do, E::NONE),
        b"HANDLER" => (Verb::Handler, E::HANDLER),
        b"BEGIN" | b"START" => begin(tokens, at),
        b"COMMIT" => (Verb::Commit, end_of_transaction(tokens, at)),
        b"ROLLBACK" if tokens.has_word_from(at, "TO") => (Verb::Savepoint, E::NONE),
        b"ROLLBACK" => (Verb::Rollback, end_of_transaction(tokens, at)),
        b"SAVEPOINT" => (Verb::Savepoint, E::NONE),
        b"RELEASE" if tokens.word(at + 1, "SAVEPOINT") => (Verb::Savepoint, E::NONE),
        b"XA" => (Verb::Xa, E::WRITES),
        b"LOCK" if tokens.word(at + 1, "TABLES") || tokens.word(at + 1, "TABLE") => {
            (Verb::LockTables, E::MAY_BLOCK | E::IMPLICIT_COMMIT)
        }
        b"UNLOCK" if tokens.word(at + 1, "TABLES") || tokens.word(at + 1, "TABLE") => {
            (Verb::UnlockTables, E::IMPLICIT_COMMIT)
        }
        b"SET" => set(tokens, at),
        b"USE" => (Verb::Use, E::NONE),
        b"PREPARE" => (Verb::Prepare, E::TEXT_PREPARE),
        b"EXECUTE" => (Verb::Execute, E::WRITES | E::CALLS_UNKNOWN | E::TEXT_PREPARE),
        b"DEALLOCATE" => (Verb::Deallocate, E::TEXT_PREPARE),
        b"KILL" => (Verb::Kill, E::KILLS),
        b"GRANT" | b"REVOKE" => (Verb::Account, E::WRITES | E::IMPLICIT_COMMIT),
        b"CREATE" | b"ALTER" | b"DROP" | b"RENAME" | b"TRUNCATE" => ddl(tokens, at),
        b"GET" => (Verb::Other, E::DIAGNOSTICS),
        _ => admin(tokens, at, &word),
    }
}

fn describe_or_explain(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    let next = at + 1;
    const EXPLAINS: [&str; 14] = [
        "SELECT",
        "TABLE",
        "VALUES",
        "WITH",
        "INSERT",
        "REPLACE",
        "UPDATE",
        "DELETE",
        "ANALYZE",
        "FORMAT",
        "EXTENDED",
        "PARTITIONS",
        "FOR",
        "INTO",
    ];
    let explains = tokens.symbol(next, b'(') || EXPLAINS.iter().any(|word| tokens.word(next, word));
    // `DESC format` and `DESC extended` are tables of that name.
    let table = tokens.len() == next + 1;
    if !explains || table {
        return (Verb::Describe, Effects::NONE);
    }
    if tokens.word(next, "FOR") || tokens.has_word_from(next, "CONNECTION") {
        return (Verb::Explain, Effects::SERVER_FACT);
    }
    let runs = tokens.word(next, "ANALYZE");
    let writes = (next..next + 5).any(|at| {
        ["INSERT", "REPLACE", "UPDATE", "DELETE"].iter().any(|word| tokens.word(at, word))
            && !tokens.symbol(at + 1, b'(')
    });
    match (writes, runs) {
        (true, true) => (Verb::Explain, Effects::WRITES | Effects::CALLS_UNKNOWN),
        // It runs nothing, but only the primary is sure to answer it.
        (true, false) => (Verb::Explain, Effects::DANGER),
        (false, _) => (Verb::Explain, Effects::NONE),
    }
}

fn load(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    if tokens.word(at + 1, "INDEX") {
        return (Verb::Admin, Effects::IMPLICIT_COMMIT);
    }
    let local = (at + 1..at + 5).any(|at| tokens.word(at, "LOCAL"));
    (Verb::Load, if local { Effects::WRITES | Effects::LOAD_LOCAL } else { Effects::WRITES })
}

fn begin(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    let begin = tokens.word(at, "BEGIN") && (tokens.len() == at + 1 || tokens.word(at + 1, "WORK"));
    if !begin && !tokens.word(at + 1, "TRANSACTION") {
        let unknown = Effects::WRITES | Effects::CALLS_UNKNOWN;
        return (if tokens.word(at, "START") { Verb::Admin } else { Verb::Other }, unknown);
    }
    let read_only = (at..tokens.len()).any(|at| tokens.words(at, &["READ", "ONLY"]));
    let effects = if read_only { Effects::READ_ONLY } else { Effects::NONE };
    (Verb::Begin, effects | Effects::IMPLICIT_COMMIT)
}

fn end_of_transaction(tokens: Lexemes<'_, '_>, at: usize) -> Effects {
    let mut effects = Effects::NONE;
    for at in at + 1..tokens.len() {
        let no = tokens.word(at - 1, "NO");
        if tokens.word(at, "CHAIN") && !no {
            effects |= Effects::CHAIN;
        }
        if tokens.word(at, "RELEASE") && !no {
            effects |= Effects::RELEASE;
        }
    }
    effects
}

fn set(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    let account = Effects::WRITES | Effects::IMPLICIT_COMMIT;
    if tokens.word(at + 1, "PASSWORD") || tokens.words(at + 1, &["DEFAULT", "ROLE"]) {
        return (Verb::Account, account);
    }
    if tokens.word(at + 1, "STATEMENT") && !tokens.symbol(at + 2, b'=') {
        // MariaDB's SET STATEMENT x = 1 FOR any statement.
        return (Verb::Other, Effects::WRITES | Effects::CALLS_UNKNOWN);
    }
    (Verb::Set, Effects::NONE)
}

fn ddl(tokens: Lexemes<'_, '_>, at: usize) -> (Verb, Effects) {
    let account = ["USER", "ROLE"];
    let mut object = at + 1;
    while tokens.word(object, "OR") || tokens.word(object, "REPLACE") {
        object += 1;
    }
    if account.iter().any(|word| tokens.word(object, word)) {
        return (Verb::Account, Effects::WRITES | Effects::IMPLICIT_COMMIT);
    }
    if tokens.word(at, "DROP") && tokens.word(object, "PREPARE") {
        return (Verb::Deallocate, Effects::TEXT_PREPARE);
    }
    let effects = Effects::WRITES | Effects::MAY_BLOCK;
    if tokens.word(object, "TEMPORARY") {
        return match tokens.word(at, "CREATE") {
            true => (Verb::Ddl, effects | Effects::TEMPORARY_TABLE),
            false => (Verb::Ddl, effects),
        };
    }
    (Verb::Ddl, effects | Effects::IMPLICIT_COMMIT)
}

fn admin(tokens: Lexemes<'_, '_>, at: usize, word: &[u8]) -> (Verb, Effects) {
    let changes = Effects::WRITES | Effects::IMPLICIT_COMMIT;
    let unknown = Effects::WRITES | Effects::CALLS_UNKNOWN;
    match word {
        b"FLUSH" => {
            let keeps = tokens.has_word_from(at, "READ") || tokens.has_word_from(at, "EXPORT");
            let verb = if keeps { Verb::LockTables } else { Verb::Admin };
            (verb, changes | Effects::MAY_BLOCK)
        }
        b"ANALYZE" => {
            let tables =
                (at + 1..at + 3).any(|at| tokens.word(at, "TABLE") || tokens.word(at, "TABLES"));
            // MariaDB's ANALYZE <statement> runs the statement.
            (Verb::Admin, if tables { changes } else { unknown })
        }
        b"CHECK" | b"CHECKSUM" | b"OPTIMIZE" | b"REPAIR" | b"CACHE" => {
            (Verb::Admin, changes | Effects::MAY_BLOCK)
        }
        b"RESET" | b"PURGE" | b"CHANGE" | b"STOP" | b"INSTALL" | b"UNINSTALL" | b"SHUTDOWN"
        | b"RESTART" | b"BINLOG" | b"CLONE" | b"IMPORT" | b"HELP" => (Verb::Admin, changes),
        // LOCK INSTANCE, BACKUP STAGE and BACKUP LOCK stay with the connection, and no tracker tells.
        b"LOCK" | b"UNLOCK" | b"BACKUP" => (Verb::Admin, unknown),
        _ => (Verb::Other, unknown),
    }
}
