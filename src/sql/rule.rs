//! Shape -> facts: the danger scan over tokens, and the place where lexer and parser must agree.
//!
//! A read is proved only if (1) the verb is a query's, (2) no token here is on a danger list and
//! every call is a known pure built-in, and (3) sqlparser, or for the few statements that it does
//! not know an exact token pattern, says the same. Either alone proves nothing.
//! Called by `cache`, once per shape.

mod call;
mod lexeme;

pub(crate) use lexeme::{Lexemes, collect};

use super::shape::Digest;
use super::token::Kind;
use super::verb::{self, Found, Verb};
use super::{Effects, Hint, Mode, Proof, Statement, Table, parse, replayable, setting, show, slot};
use crate::limits;

/// How deep the scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Tokens, then the parser.
    Whole,
    /// Tokens only: nothing is proved.
    TokensOnly(&'static str),
}

/// All facts of a shape.
pub(crate) fn facts(
    shape: &[u8],
    mode: Mode,
    hint: Hint,
    digest: Digest,
    depth: Depth,
) -> Statement {
    if !mode.lexable {
        return Statement { hint, digest: digest.key, ..Statement::unknown("character set") };
    }
    let lexemes = collect(shape, mode);
    let parts = split(Lexemes::new(&lexemes));
    let mut whole = match parts.first() {
        None => Statement {
            verb: Verb::Empty,
            effects: Effects::NONE,
            ..Statement::unknown("empty statement")
        },
        Some(first) => statement(*first, mode, depth),
    };
    for part in parts.get(1..).unwrap_or_default() {
        merge(&mut whole, statement(*part, mode, Depth::TokensOnly("several statements")));
    }
    whole.statements = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    whole.hint = hint;
    whole.is_replayable &= hint == Hint::None;
    whole.digest = digest.key;
    if whole.reads.len() + whole.writes.len() > limits::TABLES_MAX {
        whole.reads.clear();
        whole.writes.clear();
        whole.tables_known = false;
        whole.keys.clear();
    }
    whole
}

/// Cuts at each `;`. The body of a stored program stays whole: its inner statements run later.
fn split<'s, 'a>(tokens: Lexemes<'s, 'a>) -> Vec<Lexemes<'s, 'a>> {
    let parts = tokens.split_at_semicolons();
    let program = parts.first().is_some_and(|first| {
        let bodied = ["BEGIN", "LOOP", "IF", "WHILE", "CASE"];
        verb::find(*first).verb == Verb::Ddl
            && defines_code(*first)
            && bodied.iter().any(|word| first.has_word_from(0, word))
    });
    if program && parts.len() > 1 { vec![tokens] } else { parts }
}

/// Whether DDL defines what is run by others later, so that its text has no effect of its own.
fn defines_code(tokens: Lexemes<'_, '_>) -> bool {
    let code = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE", "VIEW"];
    let head = (0..tokens.len()).take_while(|at| {
        !tokens.symbol(*at, b'(') && !tokens.symbol(*at, b';') && !tokens.word(*at, "SELECT")
    });
    head.into_iter().any(|at| code.iter().any(|word| tokens.word(at, word)))
}

fn merge(whole: &mut Statement, part: Statement) {
    whole.effects |= part.effects;
    whole.is_replayable = false;
    whole.is_voiding |= part.is_voiding;
    whole.proof = Proof::No;
    whole.keys.clear();
    whole.why = "several statements";
    whole.reads.extend(part.reads);
    whole.writes.extend(part.writes);
    whole.tables_known &= part.tables_known;
    whole.settings.extend(part.settings);
    whole.use_database = part.use_database.or(whole.use_database.take());
}

/// The facts of one statement.
fn statement(tokens: Lexemes<'_, '_>, mode: Mode, depth: Depth) -> Statement {
    let found = verb::find(tokens);
    let mut effects = found.effects | danger(tokens, found.verb);
    if found.verb == Verb::Ddl && defines_code(tokens) && !effects.has(Effects::DANGER) {
        effects = found.effects;
        if (0..tokens.len()).any(|at| tokens.symbol(at, b';')) {
            // Where its body ends and another statement begins is not known.
            effects |= Effects::CALLS_UNKNOWN;
        }
    } else if scans_calls(tokens, found.verb) {
        effects |= call::effects(tokens, mode, found);
        effects |= sequence(tokens);
    }
    let mut statement = Statement {
        verb: found.verb,
        effects,
        proof: Proof::No,
        tables_known: false,
        ..Statement::unknown("")
    };
    match found.verb {
        Verb::Set => {
            let executable = effects.has(Effects::DANGER);
            statement.settings = setting::read(tokens, found.at + 1, executable);
            if statement.settings.is_empty() {
                statement.effects |= Effects::CALLS_UNKNOWN;
            }
        }
        Verb::Use => statement.use_database = tokens.name(found.at + 1),
        _ => {}
    }
    statement.is_replayable = replayable::is_replayable(&statement, tokens, found);
    statement.is_voiding = replayable::is_voiding(&statement, tokens, found);
    prove(&mut statement, tokens, found, depth);
    statement
}

/// DDL and account statements hold names before parentheses that are no calls.
fn scans_calls(tokens: Lexemes<'_, '_>, verb: Verb) -> bool {
    match verb {
        Verb::Ddl => tokens.has_word_from(0, "SELECT"),
        Verb::Account | Verb::Admin | Verb::Empty => false,
        _ => true,
    }
}

/// What single tokens tell, wherever they stand.
fn danger(tokens: Lexemes<'_, '_>, verb: Verb) -> Effects {
    let mut effects = Effects::NONE;
    for at in 0..tokens.len() {
        effects |= match tokens.kind(at) {
            // Servers may cut it otherwise than we do, so anything may hide behind it.
            Kind::Bad | Kind::ExecutableOpen | Kind::ExecutableClose => {
                Effects::DANGER | Effects::CALLS_UNKNOWN
            }
            Kind::OptimizerHint => optimizer_hint(tokens.text(at)),
            Kind::Symbol(byte) => symbol(tokens, at, byte, verb),
            Kind::Word => word(tokens, at),
            _ => Effects::NONE,
        };
    }
    effects
}

/// A hint may set a variable or choose a resource group.
fn optimizer_hint(text: &[u8]) -> Effects {
    let upper = text.to_ascii_uppercase();
    let odd = [&b"SET_VAR"[..], b"RESOURCE_GROUP"];
    match odd.iter().any(|word| memchr::memmem::find(&upper, word).is_some()) {
        true => Effects::DANGER,
        false => Effects::NONE,
    }
}

fn symbol(tokens: Lexemes<'_, '_>, at: usize, byte: u8, verb: Verb) -> Effects {
    match byte {
        b'@' if tokens.touches(at, b'@') || tokens.touched_by(at, b'@') => match verb {
            // `SET @@x`: the setting itself says more.
            Verb::Set => Effects::NONE,
            _ => Effects::SERVER_FACT,
        },
        // 'user'@'host'
        b'@' if matches!(verb, Verb::Ddl | Verb::Account) && tokens.follows_a_name(at) => {
            Effects::NONE
        }
        b'@' => Effects::USER_VARIABLE,
        b':' if verb == Verb::Set && tokens.touches(at, b'=') => Effects::NONE,
        b':' | b'{' | b'}' | b'[' | b']' => Effects::DANGER,
        b'(' | b')' | b',' | b'.' | b';' | b'=' | b'<' | b'>' | b'!' | b'+' | b'-' | b'*'
        | b'/' | b'%' | b'|' | b'&' | b'^' | b'~' | b'?' => Effects::NONE,
        _ => Effects::DANGER,
    }
}

/// What a bare word tells. (A word after a dot is a name, whatever it spells.)
fn word(tokens: Lexemes<'_, '_>, at: usize) -> Effects {
    let system_variable = tokens.is_system_variable(at);
    let Some(word) =
        tokens.upper(at).or_else(|| system_variable.then(|| tokens.text(at).to_ascii_uppercase()))
    else {
        return Effects::NONE;
    };
    match word.as_slice() {
        b"FOR" if tokens.word(at + 1, "UPDATE") || tokens.word(at + 1, "SHARE") => {
            Effects::LOCKS_ROWS
        }
        b"LOCK" if tokens.words(at + 1, &["IN", "SHARE"]) => Effects::LOCKS_ROWS,
        b"VALUE" if tokens.word(at + 1, "FOR") => Effects::WRITES,
        b"SQL_CALC_FOUND_ROWS" => Effects::CALC_FOUND_ROWS,
        b"CURRENT_USER" | b"CURRENT_ROLE" | b"SESSION_USER" | b"SYSTEM_USER" => {
            Effects::SERVER_FACT
        }
        b"WARNING_COUNT" | b"ERROR_COUNT" if system_variable => Effects::DIAGNOSTICS,
        b"IDENTITY" | b"LAST_INSERT_ID" if system_variable => {
            Effects::DIAGNOSTICS | Effects::INSERT_ID
        }
        b"FROM" | b"JOIN" | b"TABLE" | b"DATABASE" | b"SCHEMA" => Effects::DATABASE_MATTERS,
        _ => Effects::NONE,
    }
}

/// MariaDB's ORACLE mode: `s.nextval` draws from a sequence, without a parenthesis.
fn sequence(tokens: Lexemes<'_, '_>) -> Effects {
    let draws = |at: usize| {
        let word = tokens.text(at).to_ascii_uppercase();
        tokens.after_dot(at) && matches!(word.as_slice(), b"NEXTVAL" | b"CURRVAL")
    };
    match (0..tokens.len()).any(draws) {
        true => Effects::CALLS_UNKNOWN,
        false => Effects::NONE,
    }
}

/// Effects that keep even a hinted query on the primary.
const NEVER: [(Effects, &str); 10] = [
    (Effects::WRITES, "writes"),
    (Effects::LOCKS_ROWS, "locks rows"),
    (Effects::USER_LOCK, "takes a lock by name"),
    (Effects::RELEASES_USER_LOCK, "gives back a lock by name"),
    (Effects::USER_VARIABLE, "names a user variable"),
    (Effects::DIAGNOSTICS, "asks for what the last statement left"),
    (Effects::TEXT_PREPARE, "prepared statement"),
    (Effects::HANDLER, "handler"),
    (Effects::TEMPORARY_TABLE, "temporary table"),
    (Effects::DANGER, "INTO, an executable comment, or a byte that servers may read otherwise"),
];

/// Effects that leave a query unproved.
const UNPROVED: [(Effects, &str); 3] = [
    (Effects::CALLS_UNKNOWN, "calls a function that is not a pure built-in"),
    (Effects::SERVER_FACT, "asks about the server or the connection"),
    (Effects::MAY_BLOCK, "may block"),
];

/// Fills in the proof, the tables and, where there is no proof, why.
fn prove(statement: &mut Statement, tokens: Lexemes<'_, '_>, found: Found, depth: Depth) {
    let query = match found.verb {
        Verb::Select | Verb::Show | Verb::Describe | Verb::Explain => true,
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::Ddl => {
            statement.why = "writes";
            return write_tables(statement, tokens, depth);
        }
        _ => false,
    };
    if !query {
        statement.why = "not a query";
        return;
    }
    statement.effects |= not_in_queries(tokens);
    if found.verb == Verb::Show {
        statement.effects |= show::effects(tokens);
    }
    let first = |list: &[(Effects, &'static str)]| {
        list.iter().find(|(effect, _)| statement.effects.has(*effect)).map(|(_, why)| *why)
    };
    if let Some(why) = first(&NEVER) {
        statement.why = why;
        return;
    }
    statement.proof = Proof::UnknownRead;
    if let Some(why) = first(&UNPROVED) {
        statement.why = why;
        return;
    }
    if let Depth::TokensOnly(why) = depth {
        statement.why = why;
        return;
    }
    match second_opinion(tokens, found) {
        Err(why) => statement.why = why,
        Ok(Opinion { tables, .. }) if !tables.iter().all(Table::replicates) => {
            statement.effects |= Effects::SERVER_FACT;
            statement.why = "a table about the server";
        }
        Ok(opinion) => {
            let local =
                |table: &Table| table.schema.as_deref().is_none_or(|s| !super::is_system_schema(s));
            statement.tables_known = opinion.known && opinion.tables.iter().all(local);
            if statement.tables_known {
                statement.keys = slot::slots(tokens, &opinion.tables);
            }
            statement.reads = opinion.tables;
            statement.proof = Proof::Read;
        }
    }
}

/// What the second reader found.
struct Opinion {
    tables: Vec<Table>,
    known: bool,
}

/// The parser's say, or for what it does not know an exact pattern of tokens.
fn second_opinion(tokens: Lexemes<'_, '_>, found: Found) -> Result<Opinion, &'static str> {
    match found.verb {
        Verb::Show => show::show(tokens).map(|(tables, known)| Opinion { tables, known }),
        Verb::Describe => {
            show::describe(tokens).map(|table| Opinion { tables: vec![table], known: true })
        }
        Verb::Explain => {
            let query = show::explained(tokens).ok_or("explains what is not a plain query")?;
            let inner = tokens.from(query);
            let verb = verb::find(inner);
            if verb.verb != Verb::Select {
                return Err("explains what is not a plain query");
            }
            second_opinion(inner, verb)
        }
        _ => match show::table(tokens) {
            Some(table) => Ok(Opinion { tables: vec![table], known: true }),
            None => parse::query(&tokens.render()?).map(|tables| Opinion { tables, known: true }),
        },
    }
}

/// Words that no plain query holds: INTO and its kin, or what only the parser could explain.
fn not_in_queries(tokens: Lexemes<'_, '_>) -> Effects {
    const REFUSED: [&str; 9] = [
        "INTO",
        "OUTFILE",
        "DUMPFILE",
        "PROCEDURE",
        "LOCK",
        "UPDATE",
        "DELETE",
        "CALL",
        "RETURNING",
    ];
    let refused = |at: usize| {
        let lock = tokens.word(at, "LOCK") && tokens.words(at + 1, &["IN", "SHARE"]);
        let for_update = at.checked_sub(1).is_some_and(|before| tokens.word(before, "FOR"));
        let call = tokens.symbol(at + 1, b'(');
        (REFUSED.iter().any(|word| tokens.word(at, word)) && !lock && !for_update)
            || (tokens.word(at, "FOR") && !plain_for(tokens, at))
            || (["INSERT", "REPLACE"].iter().any(|word| tokens.word(at, word)) && !call)
    };
    match (0..tokens.len()).any(refused) {
        true => Effects::DANGER,
        false => Effects::NONE,
    }
}

/// FOR in an index hint or in SUBSTRING(x FROM 1 FOR 2).
fn plain_for(tokens: Lexemes<'_, '_>, at: usize) -> bool {
    let clauses = ["JOIN", "ORDER", "GROUP", "UPDATE", "SHARE"];
    clauses.iter().any(|word| tokens.word(at + 1, word))
        || matches!(tokens.kind(at + 1), Kind::Integer)
}

/// The tables of a write: by tokens where one target stands at a fixed place, else by the parser.
fn write_tables(statement: &mut Statement, tokens: Lexemes<'_, '_>, depth: Depth) {
    if statement.effects.has(Effects::DANGER) || depth != Depth::Whole {
        return;
    }
    if statement.verb == Verb::Ddl {
        if let Some(targets) = show::ddl_targets(tokens) {
            statement.writes = targets;
            statement.tables_known = !tokens.has_word_from(0, "SELECT");
        }
        return;
    }
    let parsed = tokens.render().and_then(|sql| parse::write(&sql));
    if let Ok(tables) = parsed {
        statement.reads = tables.reads;
        statement.writes = tables.writes;
        statement.tables_known = true;
    }
}
