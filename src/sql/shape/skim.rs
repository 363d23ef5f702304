//! The short cut through a text: what most of most statements is made of, without the lexer.
//!
//! Words, plain symbols, single blanks, quoted names, plain strings, whole numbers and IN lists of
//! them. It stops *before* anything else, and the lexer goes on from there, so it decides nothing
//! that the lexer would decide otherwise: the probe compares the shapes that both ways give.
//! Called by `shape` after each token that the lexer cut.

use super::super::token::{BLANK, DIGIT, HIGH, Kind, Lexer, QUOTE, SIMPLE, WORD, class};
use super::{List, Writer, is_in, is_limit, placeholder};

/// What is known of the last token that ends at `mark` or before. From there on only words, plain
/// symbols and single blanks were passed; what they tell is asked when it matters, which is seldom.
struct Last {
    mark: usize,
    is_name: bool,
    is_in: bool,
}

/// How it goes on after a stop.
enum Next {
    /// There.
    At(usize),
    /// The lexer goes on from there.
    Leave(usize),
}

impl Writer<'_, '_> {
    pub(super) fn skim(&mut self, lexer: &mut Lexer<'_>) {
        let (plain, is_name) = lexer.state();
        let is_in = self.list == List::AfterIn;
        let open = !is_in && self.list != List::Outside;
        if !plain || open || self.statement_start || self.verbatim {
            return;
        }
        let quotes = Quotes::of(lexer);
        let mut last = Last { mark: lexer.position(), is_name, is_in };
        let mut at = last.mark;
        let end = loop {
            at = self.stops.next(at);
            match self.stop(at, &mut last, &quotes) {
                Next::At(next) => at = next,
                Next::Leave(end) => break end,
            }
        };
        self.catch_up(&mut last, end);
        if !matches!(self.list, List::Open | List::Member { .. }) {
            self.list = if last.is_in { List::AfterIn } else { List::Outside };
        }
        lexer.resume(end, last.is_name);
    }

    #[inline]
    fn stop(&mut self, at: usize, last: &mut Last, quotes: &Quotes) -> Next {
        let text = self.text;
        // Blanks in front of what is left to the lexer are the lexer's too.
        let leave = |mark: usize| Next::Leave(at - blanks_before(text, mark, at));
        let Some(byte) = text.get(at).copied() else { return leave(last.mark) };
        let passed = text.get(last.mark..at).unwrap_or_default();
        let kind = class(byte);
        if kind & (QUOTE | DIGIT) != 0 {
            if quotes.names(byte) {
                let Some(end) = quotes.end(text, at) else { return Next::Leave(at) };
                self.after_limit = false;
                self.after_literal = false;
                *last = Last { mark: end, is_name: true, is_in: false };
                return Next::At(end);
            }
            match passed.last() {
                Some(before) if kind == DIGIT && class(*before) & (WORD | DIGIT) != 0 => {
                    return Next::At(at + 1);
                }
                // `.5` is one token, unless a name stands before it.
                Some(b'.') if kind == DIGIT => return Next::Leave(at - 1),
                // N'text', x'1f': the letter belongs to it.
                Some(_) if byte == b'\'' && last_word(passed).len() == 1 => {
                    return Next::Leave(at - 1);
                }
                _ => return self.literal_at(at, last, quotes),
            }
        }
        if kind == BLANK {
            let start = at - blanks_before(text, last.mark, at);
            let after_literal = self.after_literal && start == last.mark;
            return self.blanks(start, after_literal).map_or(Next::Leave(start), Next::At);
        }
        if byte == b'(' {
            let end_of_in = |byte: &u8| matches!(byte, b'n' | b'N') || class(*byte) == BLANK;
            let may_be_in = passed.last().is_none_or(end_of_in);
            if may_be_in {
                self.catch_up(last, at);
                if last.is_in {
                    let end = self.list_at(at + 1, quotes);
                    *last = Last { mark: end, is_name: false, is_in: false };
                    return Next::Leave(end);
                }
            }
            return Next::At(at + 1);
        }
        match kind {
            SIMPLE => Next::At(at + 1),
            // `a$b`, and bytes over 0x7f: the whole word is the lexer's.
            WORD | HIGH => Next::Leave(at - last_word(passed).len()),
            _ => leave(last.mark),
        }
    }

    #[inline]
    fn literal_at(&mut self, at: usize, last: &mut Last, quotes: &Quotes) -> Next {
        self.catch_up(last, at);
        if self.after_literal {
            return Next::Leave(at);
        }
        let Some((kind, end)) = quotes.literal(self.text, at) else { return Next::Leave(at) };
        let zero = self.after_limit && end == at + 1 && self.text.get(at) == Some(&b'0');
        self.write_literal(at, end, placeholder(kind, zero));
        *last = Last { mark: end, is_name: false, is_in: false };
        Next::At(end)
    }

    /// Learns what was passed since the mark.
    #[inline]
    fn catch_up(&mut self, last: &mut Last, at: usize) {
        let blanks = blanks_before(self.text, last.mark, at);
        let passed = self.text.get(last.mark..at - blanks).unwrap_or_default();
        last.mark = at;
        let Some(before) = passed.last() else { return };
        last.is_name = class(*before) & (WORD | DIGIT) != 0;
        last.is_in = matches!(before, b'n' | b'N') && is_in(last_word(passed));
        let may_be_limit = matches!(before, b't' | b'T' | b',');
        self.after_limit = may_be_limit && is_in_limit(passed, self.after_limit);
        self.after_literal = false;
    }

    /// Blanks become one. Not before a comment, nor between two literals, nor at the text's end.
    fn blanks(&mut self, at: usize, after_literal: bool) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let blanks = rest.iter().take_while(|byte| class(**byte) == BLANK).count();
        let next = class(*rest.get(blanks)?);
        let literal = next & (QUOTE | DIGIT) != 0 || rest.get(blanks + 1) == Some(&b'\'');
        if next == 0 || (after_literal && literal) {
            return None;
        }
        self.copy_to(at);
        self.out.push(b' ');
        self.written = at + blanks;
        Some(self.written)
    }

    /// Behind the parenthesis of an IN list: as many literals of one kind as follow, folded. Gives
    /// where the last one ends; what comes then is the lexer's, the list being still open.
    fn list_at(&mut self, open: usize, quotes: &Quotes) -> usize {
        let text = self.text;
        self.list = List::Open;
        self.after_limit = false;
        self.after_literal = false;
        let start = open + usize::from(text.get(open) == Some(&b' '));
        let Some((kind, mut end)) = quotes.literal(text, start) else { return open };
        self.write_literal(start, end, placeholder(kind, false));
        let mut folded = false;
        while let Some((next, next_end)) = next_member(text, end, quotes) {
            if next != kind {
                break;
            }
            end = next_end;
            folded = true;
        }
        self.written = end;
        self.list = List::Member { kind, folded };
        end
    }
}

/// The literal behind a comma, and where it ends.
fn next_member(text: &[u8], end: usize, quotes: &Quotes) -> Option<(Kind, usize)> {
    let skip = |at: usize| {
        let blanks = text.get(at..)?.iter().take_while(|byte| class(**byte) == BLANK).count();
        Some(at + blanks)
    };
    let comma = skip(end)?;
    match text.get(comma) {
        Some(b',') => quotes.literal(text, skip(comma + 1)?),
        _ => None,
    }
}

/// What quotes mean in the lexer's mode.
struct Quotes {
    ansi: bool,
    escapes: bool,
}

impl Quotes {
    fn of(lexer: &Lexer<'_>) -> Quotes {
        let mode = lexer.mode();
        Quotes { ansi: mode.ansi_quotes, escapes: !mode.no_backslash_escapes }
    }

    fn names(&self, quote: u8) -> bool {
        quote == b'`' || (quote == b'"' && self.ansi)
    }

    /// A string or a whole number that stands alone, and where it ends.
    #[inline]
    fn literal(&self, text: &[u8], at: usize) -> Option<(Kind, usize)> {
        let first = *text.get(at)?;
        if class(first) == QUOTE && !self.names(first) {
            return Some((Kind::Text, self.end(text, at)?));
        }
        let after_dot = at.checked_sub(1).and_then(|at| text.get(at)) == Some(&b'.');
        if class(first) != DIGIT || after_dot {
            return None;
        }
        let digits = text.get(at..)?.iter().take_while(|byte| class(**byte) == DIGIT).count();
        let end = at + digits;
        let stop = text.get(end).copied().unwrap_or(0);
        let alone = class(stop) & (WORD | HIGH) == 0 && stop != b'.';
        alone.then_some((Kind::Integer, end))
    }

    /// Behind the closing quote.
    #[inline]
    fn end(&self, text: &[u8], at: usize) -> Option<usize> {
        let quote = *text.get(at)?;
        let escapes = self.escapes && !self.names(quote);
        let mut at = at + 1;
        loop {
            let rest = text.get(at..)?;
            // Most strings are short, and then a call costs more than a look at each byte.
            let near = rest.get(..32).unwrap_or(rest);
            at += match near.iter().position(|byte| *byte == quote || *byte == b'\\') {
                Some(offset) => offset,
                None => memchr::memchr2(quote, b'\\', rest)?,
            };
            let backslash = text.get(at) == Some(&b'\\');
            if backslash && !escapes {
                at += 1;
            } else if backslash || text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return Some(at + 1);
            }
        }
    }
}

/// How many blanks end there; not from before `mark`.
#[inline]
fn blanks_before(text: &[u8], mark: usize, at: usize) -> usize {
    let passed = text.get(mark..at).unwrap_or_default();
    passed.iter().rev().take_while(|byte| class(**byte) == BLANK).count()
}

/// The word that the bytes passed end with, or nothing.
#[inline]
fn last_word(passed: &[u8]) -> &[u8] {
    let bytes = passed.iter().rev().take_while(|byte| class(**byte) & (WORD | DIGIT) != 0).count();
    passed.get(passed.len() - bytes..).unwrap_or_default()
}

/// Whether a number behind these tokens is LIMIT's or its OFFSET's. `before`: whether one in front
/// of them would be.
#[inline]
fn is_in_limit(passed: &[u8], before: bool) -> bool {
    let mut passed = passed;
    loop {
        let skip = |byte: &&u8| class(**byte) == BLANK || **byte == b',';
        let skipped = passed.iter().rev().take_while(skip).count();
        passed = passed.get(..passed.len() - skipped).unwrap_or_default();
        if passed.is_empty() {
            return before;
        }
        let word = last_word(passed);
        // An OFFSET is LIMIT's if a number in its place would be.
        match (is_limit(word, false), is_limit(word, true)) {
            (true, _) => return true,
            (false, false) => return false,
            (false, true) => {
                passed = passed.get(..passed.len() - word.len()).unwrap_or_default();
            }
        }
    }
}
