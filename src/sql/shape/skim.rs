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
        let mut after_in = self.list == List::AfterIn;
        let open = !after_in && self.list != List::Outside;
        if !plain || open || self.statement_start || self.verbatim {
            return;
        }
        let text = self.text;
        let quotes = Quotes::of(lexer);
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
                    // What most often follows a word is worth a branch of its own.
                    match text.get(at..) {
                        Some([b' ', next, ..]) if class(*next) & (WORD | SIMPLE) != 0 => at += 1,
                        Some([b'.', next, ..]) if class(*next) == WORD => {
                            at += 1;
                            self.after_limit = false;
                        }
                        _ => {}
                    }
                }
                BLANK => {
                    let Some(next) = self.blanks(at) else { break };
                    at = next;
                }
                SIMPLE => {
                    after_name = false;
                    if after_in && byte == b'(' {
                        after_in = false;
                        at = self.list_at(at + 1, &quotes);
                        break;
                    }
                    at += 1;
                    after_in = false;
                    self.after_limit &= byte == b',';
                    self.after_literal = false;
                    match text.get(at..) {
                        Some([b' ', next, ..]) if class(*next) & !BLANK != 0 => at += 1,
                        _ => {}
                    }
                }
                _ => {
                    let Some((end, name)) = self.rarer(at, byte, &quotes) else { break };
                    at = end;
                    after_in = false;
                    after_name = name;
                }
            }
        }
        if !matches!(self.list, List::Open | List::Member { .. }) {
            self.list = if after_in { List::AfterIn } else { List::Outside };
        }
        lexer.resume(at, after_name);
    }

    /// A dot before a name, a quoted name or a plain literal: where it ends, and whether it names.
    #[inline]
    fn rarer(&mut self, at: usize, byte: u8, quotes: &Quotes) -> Option<(usize, bool)> {
        let text = self.text;
        if class(byte) & (QUOTE | DIGIT) != 0 && !quotes.names(byte) {
            if self.after_literal {
                return None;
            }
            let (kind, end) = quotes.literal(text, at)?;
            let zero = self.after_limit && end == at + 1 && byte == b'0';
            self.write_literal(at, end, placeholder(kind, zero));
            return Some((end, false));
        }
        let named = quotes.names(byte);
        let end = match named {
            true => quotes.end(text, at)?,
            false if byte == b'.' && class(*text.get(at + 1)?) == WORD => at + 1,
            false => return None,
        };
        self.after_limit = false;
        self.after_literal = false;
        Some((end, named))
    }

    /// Blanks become one. Not before a comment, nor between two literals, nor at the text's end.
    #[inline]
    fn blanks(&mut self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        if let [b' ', next, ..] = rest
            && class(*next) & !BLANK != 0
        {
            return Some(at + 1);
        }
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
