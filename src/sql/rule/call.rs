//! Every name before a parenthesis, judged.
//!
//! A name is a built-in only if it is unquoted, unqualified, on the list of `function`, and touches
//! its parenthesis (or IGNORE_SPACE is set): `now ()` and back-ticked `now`() call a stored
//! function, where one of that name exists. Called by `rule`.

use super::Lexemes;
use crate::sql::function::{self, Call};
use crate::sql::token::{Gap, Kind};
use crate::sql::verb::{Found, Verb};
use crate::sql::{Effects, Mode};

/// The effects of all calls of a statement.
pub(super) fn effects(tokens: Lexemes<'_, '_>, mode: Mode, found: Found) -> Effects {
    let mut effects = Effects::NONE;
    // A CREATE TABLE's columns and keys look like calls; what it selects comes after.
    let first = match found.verb {
        Verb::Ddl => (0..tokens.len()).find(|at| tokens.word(*at, "SELECT")).unwrap_or(0),
        _ => 0,
    };
    for open in first + 1..tokens.len() {
        let before = open - 1;
        if !tokens.symbol(open, b'(') {
            continue;
        }
        effects |= match tokens.kind(before) {
            Kind::Word | Kind::Quoted | Kind::Bad if !is_column_list(tokens, before, found) => {
                name(tokens, before, mode)
            }
            _ => Effects::NONE,
        };
    }
    effects
}

fn name(tokens: Lexemes<'_, '_>, at: usize, mode: Mode) -> Effects {
    if tokens.kind(at) != Kind::Word || tokens.after_dot(at) {
        return Effects::CALLS_UNKNOWN;
    }
    let adjacent = match tokens.gap(at + 1) {
        Gap::None => true,
        Gap::Blank => mode.ignore_space,
        Gap::Comment => false,
    };
    match function::look_up(tokens.text(at)) {
        Call::Structure | Call::PureReserved => Effects::NONE,
        Call::Pure if adjacent => Effects::NONE,
        Call::Window if adjacent && over_follows(tokens, at + 1) => Effects::NONE,
        // With a blank it may be a stored function, and it may be the built-in.
        Call::Effect(effects) if adjacent => effects,
        Call::Effect(effects) => effects | Effects::CALLS_UNKNOWN,
        _ => Effects::CALLS_UNKNOWN,
    }
}

/// Names before a parenthesis that holds no arguments.
fn is_column_list(tokens: Lexemes<'_, '_>, at: usize, found: Found) -> bool {
    let before = |words: &[&str]| {
        at.checked_sub(1).is_some_and(|before| words.iter().any(|w| tokens.word(before, w)))
    };
    // x AS t (a, b); CAST(x AS DATETIME(6))
    if before(&["AS"]) {
        return true;
    }
    // MATCH (a) AGAINST (..); sum(x) OVER (..)
    let after_parenthesis = at.checked_sub(1).is_some_and(|before| tokens.symbol(before, b')'));
    if after_parenthesis && (tokens.word(at, "AGAINST") || tokens.word(at, "OVER")) {
        return true;
    }
    if (tokens.word(at, "ANY") || tokens.word(at, "SOME")) && tokens.word(at + 2, "SELECT") {
        return true;
    }
    match found.verb {
        Verb::Insert | Verb::Replace => insert_target(tokens, found.at) == Some(at),
        _ => is_cte_head(tokens, at),
    }
}

/// The last part of the name that an INSERT or REPLACE writes to.
fn insert_target(tokens: Lexemes<'_, '_>, verb: usize) -> Option<usize> {
    const MODIFIERS: [&str; 5] = ["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"];
    let mut at = verb + 1;
    while MODIFIERS.iter().any(|word| tokens.word(at, word)) {
        at += 1;
    }
    if tokens.symbol(at + 1, b'.') {
        at += 2;
    }
    matches!(tokens.kind(at), Kind::Word | Kind::Quoted).then_some(at)
}

/// `x (a, b) AS (`: nothing else in the grammar looks like it.
fn is_cte_head(tokens: Lexemes<'_, '_>, at: usize) -> bool {
    let mut column = at + 2;
    loop {
        if !matches!(tokens.kind(column), Kind::Word | Kind::Quoted) {
            return false;
        }
        if tokens.symbol(column + 1, b',') {
            column += 2;
            continue;
        }
        return tokens.symbol(column + 1, b')')
            && tokens.word(column + 2, "AS")
            && tokens.symbol(column + 3, b'(')
            && tokens.has_word_from(0, "WITH");
    }
}

/// Whether OVER stands behind the parenthesis that closes this one.
fn over_follows(tokens: Lexemes<'_, '_>, open: usize) -> bool {
    let mut depth = 0_usize;
    for at in open..tokens.len() {
        if tokens.symbol(at, b'(') {
            depth += 1;
        } else if tokens.symbol(at, b')') {
            depth -= 1;
        }
        if depth == 0 {
            return tokens.word(at + 1, "OVER");
        }
    }
    false
}
