//! The short cut through a text: what most of most statements is made of, without the lexer.
//!
//! Words, plain symbols, single blanks, quoted names, plain strings, whole numbers and IN lists of
//! them. It stops *before* anything else, and the lexer goes on from there, so it decides nothing
//! that the lexer would decide otherwise: the probe compares the shapes that both ways give.
//! Called by `shape` after each token that the lexer cut.

use super::super::token::{BLANK, DIGIT, HIGH, Kind, Lexer, QUOTE, SIMPLE, WORD, class};
use super::{List, Writer, is_in, is_limit, placeholder};

impl Writer<'_, '_> {
    pub(super) fn skim(&mut self, lexer: &mut Lexer<'_>) {
        let (plain, mut after_name) = lexer.state();
        let mut after_in = match self.list {
            List::Outside => false,
            List::AfterIn => true,
            _ => return,
        };
        if !plain || self.statement_start || self.verbatim {
            return;
        }
        let text = self.text;
        let quotes = Quotes::of(lexer);
        let class_at = |at: usize| text.get(at).map_or(0, |byte| class(*byte));
        let mut at = lexer.position();
        while let Some(byte) = text.get(at).copied() {
            match class(byte) {
                WORD => {
                    let Some(word) = word_at(text, at) else { break };
                    at += word.len();
                    after_in = is_in(word);
                    self.after_limit = is_limit(word, self.after_limit);
                    self.after_literal = false;
                    after_name = true;
                    if text.get(at) == Some(&b' ') && class_at(at + 1) == WORD {
                        at += 1;
                    }
                }
                BLANK if byte == b' ' && class_at(at + 1) & !BLANK != 0 => at += 1,
                BLANK => {
                    let Some(next) = self.blanks(at) else { break };
                    at = next;
                }
                SIMPLE if after_in && byte == b'(' => {
                    after_in = false;
                    at = self.list_at(at + 1, &quotes);
                    after_name = false;
                    break;
                }
                SIMPLE => {
                    at += 1;
                    after_in = false;
                    self.after_limit &= byte == b',';
                    self.after_literal = false;
                    after_name = false;
                }
                0 if byte == b'.' && class_at(at + 1) == WORD => {
                    at += 1;
                    after_in = false;
                    self.after_limit = false;
                    self.after_literal = false;
                    after_name = false;
                }
                QUOTE if quotes.names(byte) => {
                    let Some(end) = quotes.end(text, at) else { break };
                    at = end;
                    after_in = false;
                    self.after_limit = false;
                    self.after_literal = false;
                    after_name = true;
                }
                QUOTE | DIGIT if !self.after_literal => {
                    let Some((kind, end)) = quotes.literal(text, at) else { break };
                    self.copy_to(at);
                    let zero = self.after_limit && end == at + 1 && byte == b'0';
                    self.out.extend_from_slice(placeholder(kind, zero));
                    self.written = end;
                    at = end;
                    after_in = false;
                    self.after_literal = true;
                    after_name = false;
                }
                _ => break,
            }
        }
        if matches!(self.list, List::Outside | List::AfterIn) {
            self.list = if after_in { List::AfterIn } else { List::Outside };
        }
        lexer.resume(at, after_name);
    }

    /// Blanks become one. Not before a comment, nor between two literals, nor at the text's end.
    #[cold]
    fn blanks(&mut self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let blanks = rest.iter().take_while(|byte| class(**byte) == BLANK).count();
        let next = class(*rest.get(blanks)?);
        let literal = next & (QUOTE | DIGIT) != 0 || rest.get(blanks + 1) == Some(&b'\'');
        if next == 0 || (self.after_literal && literal) {
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
        self.copy_to(start);
        self.out.extend_from_slice(placeholder(kind, false));
        self.after_literal = true;
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
            at += rest.iter().position(|byte| *byte == quote || *byte == b'\\')?;
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

/// The word here, unless the lexer has to look at it: `N'text'`, `$x`, a byte over 0x7f.
#[inline]
fn word_at(text: &[u8], at: usize) -> Option<&[u8]> {
    let rest = text.get(at..)?;
    let bytes = rest.iter().take_while(|byte| class(**byte) & (WORD | DIGIT) != 0).count();
    let word = rest.get(..bytes)?;
    let stop = rest.get(bytes).copied().unwrap_or(0);
    let odd = class(stop) == HIGH || word.first() == Some(&b'$') || (stop == b'\'' && bytes == 1);
    (!odd).then_some(word)
}
