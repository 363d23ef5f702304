//! Which rows of a table a read names: `column = literal` or `column IN (literals)`, and no others.
//!
//! Found in the tokens and not in the parser's tree, whose precedence is not the servers'
//! (`a = 'x' AND 1 || 1` reads every row). A conjunct counts only if it is exactly of that form and
//! nothing in the statement binds looser than its AND; what is not understood is no slot, and then
//! the read is one of the whole table. `rule` asks once per shape, `session` for the literals of
//! one text when it has to.

use std::ops::Range;

use super::rule::{Lexemes, collect};
use super::token::Kind;
use super::{Mode, Table};
use crate::limits;

/// A column that a read compares with literals: it finds no rows but those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Which of the statement's `reads`.
    pub table: usize,
    /// The column, in lower case.
    pub column: String,
    /// What the literals are, all of them.
    pub kind: LiteralKind,
    /// Which part of the WHERE it is.
    place: usize,
}

/// How a literal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiteralKind {
    /// A quoted string, without an introducer.
    Text,
    /// Decimal digits, without a sign.
    Integer,
}

/// The slots of a plain query of these tables.
pub(crate) fn slots(tokens: Lexemes<'_, '_>, reads: &[Table]) -> Vec<KeySlot> {
    let Some(clause) = Clause::find(tokens) else { return Vec::new() };
    let equalities = clause.equalities(tokens);
    if equalities.is_empty() {
        return Vec::new();
    }
    let Some(named) = named(tokens, clause.from..clause.parts_start) else { return Vec::new() };
    let index = |one: &Named| reads.iter().position(|table| *table == one.table);
    let each_once = named.len() == reads.len()
        && reads.iter().all(|table| named.iter().any(|one| one.table == *table));
    if !each_once {
        return Vec::new();
    }
    let slot = |equality: Equality| {
        let table = match &equality.qualifier {
            None => Some(&named).filter(|named| named.len() == 1)?.first()?,
            Some(name) => {
                let mut same = named.iter().filter(|one| one.shown.eq_ignore_ascii_case(name));
                same.next().filter(|_| same.next().is_none())?
            }
        };
        Some(KeySlot {
            table: index(table)?,
            column: equality.column.to_ascii_lowercase(),
            kind: equality.kind,
            place: equality.place,
        })
    };
    equalities.into_iter().filter_map(slot).collect()
}

/// The literals that one text compares columns with.
#[derive(Debug, Default)]
pub struct Literals<'t> {
    compared: Vec<Compared<'t>>,
}

/// One comparison: where it stands, of what with what.
#[derive(Debug)]
struct Compared<'t> {
    place: usize,
    column: String,
    kind: LiteralKind,
    literals: Vec<&'t [u8]>,
}

impl<'t> Literals<'t> {
    /// Reads a text.
    #[must_use]
    pub fn read(text: &'t [u8], mode: Mode) -> Literals<'t> {
        Literals { compared: compared(text, mode).unwrap_or_default() }
    }

    /// Those of a slot of the text's shape, without their quotes. `None`: too many, or one that is
    /// not written plainly.
    #[must_use]
    pub fn of(&self, slot: &KeySlot) -> Option<Vec<&'t [u8]>> {
        let literals = self.written(slot)?;
        if literals.len() > limits::KEYS_PER_READ_MAX {
            return None;
        }
        literals.iter().map(|literal| plain(literal, slot.kind)).collect()
    }

    /// The same as they are written. `None`: the text is not of the slot's shape.
    pub(crate) fn written(&self, slot: &KeySlot) -> Option<&[&'t [u8]]> {
        let one = self.compared.iter().find(|one| one.place == slot.place)?;
        let same = one.kind == slot.kind && one.column.eq_ignore_ascii_case(&slot.column);
        same.then_some(&one.literals)
    }
}

fn compared(text: &[u8], mode: Mode) -> Option<Vec<Compared<'_>>> {
    let lexemes = collect(text, mode);
    let parts = Lexemes::new(&lexemes).split_at_semicolons();
    let [tokens] = parts.as_slice() else { return None };
    let equalities = Clause::find(*tokens)?.equalities(*tokens).into_iter();
    let compared = equalities.map(|one| Compared {
        place: one.place,
        column: one.column,
        kind: one.kind,
        literals: one.literals.step_by(2).map(|at| tokens.text(at)).collect(),
    });
    Some(compared.collect())
}

/// A literal's value, if it is what stands between the quotes.
fn plain(literal: &[u8], kind: LiteralKind) -> Option<&[u8]> {
    if kind == LiteralKind::Integer {
        return Some(literal);
    }
    let quote = literal.first()?;
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    (!inner.contains(quote) && !inner.contains(&b'\\')).then_some(inner)
}

/// The WHERE of a statement that is one SELECT.
struct Clause {
    /// Behind its FROM.
    from: usize,
    /// Its parts between the ANDs; of one in parentheses, those inside it.
    parts: Vec<Range<usize>>,
    /// The word WHERE.
    parts_start: usize,
}

/// One part of it.
struct Equality {
    qualifier: Option<String>,
    column: String,
    kind: LiteralKind,
    /// The literals, and the commas between them.
    literals: Range<usize>,
    place: usize,
}

/// Words that make it more than one SELECT, whose comparison is not the column's, or whose value
/// depends on other rows (a full-text score does).
const REFUSED: [&str; 10] =
    ["UNION", "INTERSECT", "EXCEPT", "MINUS", "WITH", "VALUES", "TABLE", "XOR", "COLLATE", "MATCH"];
/// Words outside parentheses behind which an AND is not the WHERE's, or not all of it.
const LOOSE: [&str; 3] = ["OR", "BETWEEN", "CASE"];
/// What follows a WHERE.
const BEHIND: [&str; 4] = ["GROUP", "HAVING", "ORDER", "LIMIT"];

impl Clause {
    fn find(tokens: Lexemes<'_, '_>) -> Option<Clause> {
        if !tokens.word(0, "SELECT") {
            return None;
        }
        let (mut depth, mut from, mut start, mut end) = (0_usize, None, None, None);
        for at in 1..tokens.len() {
            if is_odd(tokens, at) {
                return None;
            }
            match tokens.kind(at) {
                Kind::Symbol(b'(') => depth += 1,
                Kind::Symbol(b')') => depth = depth.checked_sub(1)?,
                Kind::Word if depth == 0 => {
                    let is = |words: &[&str]| words.iter().any(|word| tokens.word(at, word));
                    if is(&LOOSE) {
                        return None;
                    } else if is(&["FROM"]) {
                        from = from.or(Some(at + 1));
                    } else if is(&["WHERE"]) {
                        start = start.or(Some(at));
                    } else if is(&BEHIND) {
                        end = end.or(start.map(|_| at));
                    }
                }
                _ => {}
            }
        }
        let parts_start = start?;
        let mut parts = Vec::new();
        if depth == 0 {
            split(tokens, parts_start + 1..end.unwrap_or(tokens.len()), 0, &mut parts);
        }
        Some(Clause { from: from?, parts, parts_start })
    }

    fn equalities(&self, tokens: Lexemes<'_, '_>) -> Vec<Equality> {
        let parts = self.parts.iter().enumerate();
        parts.filter_map(|(place, part)| equality(tokens, part.clone(), place)).collect()
    }
}

/// The parts of a condition that must all be true, one after the other. One that is no more than
/// parentheses around a condition is what is inside them.
fn split(
    tokens: Lexemes<'_, '_>,
    range: Range<usize>,
    level: usize,
    parts: &mut Vec<Range<usize>>,
) {
    let (mut depth, mut begin, mut ends) = (0_usize, range.start, Vec::new());
    for at in range.clone() {
        let is = |words: &[&str]| words.iter().any(|word| tokens.word(at, word));
        match tokens.kind(at) {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && is(&["AND"]) => ends.push(at),
            // An AND here may not be what it looks like.
            Kind::Word if depth == 0 && (is(&LOOSE) || is(&BEHIND)) => return parts.push(range),
            _ => {}
        }
    }
    for end in ends.into_iter().chain([range.end]) {
        match wrapped(tokens, begin..end) {
            Some(inner) if level < limits::PARSE_DEPTH_MAX => {
                split(tokens, inner, level + 1, parts);
            }
            _ => parts.push(begin..end),
        }
        begin = end + 1;
    }
}

/// What is between two parentheses that are all the rest of it.
fn wrapped(tokens: Lexemes<'_, '_>, range: Range<usize>) -> Option<Range<usize>> {
    let inner = range.start + 1..range.end.checked_sub(1)?;
    if !tokens.symbol(range.start, b'(') || !tokens.symbol(inner.end, b')') {
        return None;
    }
    let mut depth = 0_usize;
    for at in inner.clone() {
        match tokens.kind(at) {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0).then_some(inner)
}

/// Whether a token may make any comparison mean something else.
fn is_odd(tokens: Lexemes<'_, '_>, at: usize) -> bool {
    match tokens.kind(at) {
        Kind::Word => {
            let introducer = tokens.text(at).first() == Some(&b'_')
                && matches!(tokens.kind(at + 1), Kind::Text | Kind::Hex | Kind::Bit);
            introducer
                || tokens.word(at, "SELECT")
                || REFUSED.iter().any(|word| tokens.word(at, word))
        }
        Kind::Symbol(byte @ (b'|' | b'&')) => tokens.symbol(at + 1, byte),
        Kind::Symbol(b'!') => !tokens.touches(at, b'='),
        Kind::Quoted | Kind::Text | Kind::Integer | Kind::Decimal | Kind::Float => false,
        Kind::Symbol(byte) => matches!(byte, b':' | b';' | b'@' | b'{' | b'}'),
        Kind::Harmless | Kind::OptimizerHint => false,
        _ => true,
    }
}

/// `[qualifier.]column = literal` or `[qualifier.]column IN (literal, ...)`, of one kind.
fn equality(tokens: Lexemes<'_, '_>, part: Range<usize>, place: usize) -> Option<Equality> {
    let first = tokens.name(part.start)?;
    let (qualifier, column, at) = match tokens.symbol(part.start + 1, b'.') {
        true => (Some(first), tokens.name(part.start + 2)?, part.start + 3),
        false => (None, first, part.start + 1),
    };
    let literals = if tokens.symbol(at, b'=') {
        at + 1..part.end
    } else if tokens.word(at, "IN") && tokens.symbol(at + 1, b'(') {
        at + 2..part.end.checked_sub(1).filter(|last| tokens.symbol(*last, b')'))?
    } else {
        return None;
    };
    let is_list = tokens.symbol(at + 1, b'(');
    let kind = match tokens.kind(literals.start) {
        Kind::Text => LiteralKind::Text,
        Kind::Integer => LiteralKind::Integer,
        _ => return None,
    };
    let first = tokens.kind(literals.start);
    let listed = |(offset, at): (usize, usize)| match offset % 2 {
        0 => tokens.kind(at) == first,
        _ => tokens.symbol(at, b','),
    };
    let whole = literals.len() % 2 == 1
        && (is_list || literals.len() == 1)
        && literals.clone().enumerate().all(listed);
    whole.then_some(Equality { qualifier, column, kind, literals, place })
}

/// A table in the FROM, and the name that a column of it is qualified by.
struct Named {
    table: Table,
    shown: String,
}

/// Words that may stand behind a table's name and are no alias.
const NO_ALIAS: [&str; 11] = [
    "ON",
    "USING",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "CROSS",
    "NATURAL",
    "STRAIGHT_JOIN",
    "USE",
    "IGNORE",
];

/// All tables of a FROM. `None`: not only tables, or not told apart from their aliases.
fn named(tokens: Lexemes<'_, '_>, from: Range<usize>) -> Option<Vec<Named>> {
    let mut list = Vec::new();
    let mut depth = 0_usize;
    for at in from.clone() {
        match tokens.kind(at) {
            Kind::Symbol(b'(') => depth += 1,
            Kind::Symbol(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        let begins = at == from.start
            || at.checked_sub(1).is_some_and(|before| {
                tokens.symbol(before, b',')
                    || tokens.word(before, "JOIN")
                    || tokens.word(before, "STRAIGHT_JOIN")
            });
        if begins && (depth == 0 || tokens.symbol(at, b'(')) {
            list.push(one_named(tokens, at)?);
        }
    }
    Some(list)
}

fn one_named(tokens: Lexemes<'_, '_>, at: usize) -> Option<Named> {
    let first = tokens.name(at)?;
    let (table, at) = match tokens.symbol(at + 1, b'.') {
        true => (Table { schema: Some(first), name: tokens.name(at + 2)? }, at + 3),
        false => (Table { schema: None, name: first }, at + 1),
    };
    let at = if tokens.word(at, "AS") { at + 1 } else { at };
    let shown = match tokens.kind(at) {
        Kind::Quoted => tokens.name(at)?,
        Kind::Word if ["PARTITION", "FOR", "FORCE"].iter().any(|w| tokens.word(at, w)) => {
            return None;
        }
        Kind::Word if tokens.word(at, "WHERE") => table.name.clone(),
        Kind::Word if NO_ALIAS.iter().any(|word| tokens.word(at, word)) => table.name.clone(),
        Kind::Word => tokens.name(at)?,
        Kind::Symbol(b',') => table.name.clone(),
        _ => return None,
    };
    Some(Named { table, shown })
}
