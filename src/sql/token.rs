//! The lexer: bytes -> tokens, as MySQL's and MariaDB's own lexers cut them, in one pass.
//!
//! Borrows, allocates nothing, never fails: what a server might cut otherwise (a NUL, a byte over
//! 0x7f or a backslash outside quotes, an unclosed quote) is a `Bad` token, and one of those keeps
//! a statement on the primary. Knows no words. Called by `shape` for each statement of a client
//! and by `rule` once per shape.
// https://dev.mysql.com/doc/refman/8.4/en/language-structure.html

use super::Mode;

/// One token, as offsets into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// What stands between the token before and this one.
    pub(crate) gap: Gap,
    pub(crate) gap_start: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keyword or unquoted identifier.
    Word,
    /// Identifier in back-ticks, or in double quotes under ANSI_QUOTES.
    Quoted,
    /// String literal.
    Text,
    Integer,
    Decimal,
    Float,
    /// `0x1f`, `x'1f'`.
    Hex,
    /// `0b1`, `b'1'`.
    Bit,
    /// `N'text'`.
    National,
    Symbol(u8),
    /// `/*!`, `/*!80000`, `/*M!`: code for some servers and a comment for others.
    ExecutableOpen,
    ExecutableClose,
    /// An executable comment known to be harmless whether it is run or not.
    Harmless,
    /// `/*+ ... */`.
    OptimizerHint,
    /// Servers, or versions of them, may differ about this.
    Bad,
    End,
}

/// What stands between two tokens. A built-in function is one only without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    None,
    Blank,
    Comment,
}

/// Cuts one text.
#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    mode: Mode,
    executable: bool,
    /// The token before was a name: a dot that touches it is a separator, not a decimal point.
    after_name: bool,
}

/// Executable comments that may stand in any statement: mysqldump's, harmless run or not.
const HARMLESS: [&[u8]; 2] = [b"/*!40001 SQL_NO_CACHE */", b"/*!40100 WITH CONSISTENT SNAPSHOT */"];

pub(super) const BLANK: u8 = 1;
pub(super) const WORD: u8 = 2;
pub(super) const DIGIT: u8 = 4;
pub(super) const HIGH: u8 = 8;
/// A symbol that is one token whatever stands around it. (A dot and a star are not.)
pub(super) const SIMPLE: u8 = 16;
pub(super) const QUOTE: u8 = 32;
const IN_WORD: u8 = WORD | DIGIT | HIGH;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const CLASS: [u8; 256] = {
    let mut class = [0_u8; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b' ' | 0x09..=0x0d => BLANK,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' => WORD,
            b'0'..=b'9' => DIGIT,
            0x80..=0xff => HIGH,
            b'(' | b')' | b',' | b'=' | b'<' | b'>' | b'!' | b'+' | b'%' | b'|' | b'&' | b'^'
            | b'~' | b'?' => SIMPLE,
            b'\'' | b'"' | b'`' => QUOTE,
            _ => 0,
        };
        byte += 1;
    }
    class
};

#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], mode: Mode) -> Lexer<'a> {
        Lexer { text, at: 0, mode, executable: false, after_name: false }
    }

    /// The next token; `Kind::End` for ever once the text is used up.
    #[inline]
    pub(crate) fn next(&mut self) -> Token {
        let gap_start = self.at;
        let gap = match self.byte(0) {
            Some(byte) if class(byte) & IN_WORD != 0 => Gap::None,
            _ => match self.skip_gap() {
                Ok(gap) => gap,
                Err(gap) => return self.bad_rest(gap, gap_start),
            },
        };
        let start = self.at;
        let kind = self.cut();
        self.after_name = matches!(kind, Kind::Word | Kind::Quoted | Kind::Bad);
        Token { kind, gap, gap_start, start, end: self.at }
    }

    /// Where the next token, or the gap before it, begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether this is outside executable comments, and whether a name came last.
    pub(super) fn state(&self) -> (bool, bool) {
        (!self.executable, self.after_name)
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Goes on behind tokens that the caller cut itself.
    pub(super) fn resume(&mut self, at: usize, after_name: bool) {
        self.at = at;
        self.after_name = after_name;
    }

    #[inline]
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// All that is left is one `Bad` token.
    fn bad_rest(&mut self, gap: Gap, gap_start: usize) -> Token {
        let start = self.at;
        self.at = self.text.len();
        Token { kind: Kind::Bad, gap, gap_start, start, end: self.at }
    }

    /// Skips blanks and comments. An error is a comment that does not end, or that servers may end
    /// at another byte; it is left unread.
    #[inline]
    fn skip_gap(&mut self) -> Result<Gap, Gap> {
        let mut gap = Gap::None;
        while let Some(byte) = self.byte(0) {
            if class(byte) & BLANK != 0 {
                self.at += 1;
                if gap == Gap::None {
                    gap = Gap::Blank;
                }
            } else if matches!(byte, b'#' | b'-' | b'/') {
                match self.comment() {
                    None => break,
                    Some(Some(bytes)) => {
                        self.at += bytes;
                        gap = Gap::Comment;
                    }
                    Some(None) => return Err(gap),
                }
            } else {
                break;
            }
        }
        Ok(gap)
    }

    /// A plain comment here: its length, or `Some(None)` if it is not safe to skip.
    fn comment(&self) -> Option<Option<usize>> {
        let rest = self.rest();
        match rest {
            [b'#', ..] => Some(line_comment(rest)),
            // `--1` is minus minus one; a comment needs a blank, a control byte or the end.
            [b'-', b'-'] => Some(Some(2)),
            [b'-', b'-', next, ..] if *next <= b' ' || *next == 0x7f => Some(line_comment(rest)),
            [b'/', b'*', b'!' | b'+', ..] | [b'/', b'*', b'M', b'!', ..] => None,
            [b'/', b'*', body @ ..] => {
                let Some(end) = memchr::memmem::find(body, b"*/") else { return Some(None) };
                let clean = body.get(..end).is_some_and(|body| !body.contains(&0));
                Some(clean.then_some(end + 4))
            }
            _ => None,
        }
    }

    #[inline]
    fn cut(&mut self) -> Kind {
        let Some(byte) = self.byte(0) else { return Kind::End };
        match byte {
            b'0'..=b'9' => self.number(),
            b'x' | b'X' | b'b' | b'B' | b'n' | b'N' if self.byte(1) == Some(b'\'') => {
                self.prefixed(byte)
            }
            b'$' => {
                self.word();
                Kind::Bad
            }
            _ if class(byte) & IN_WORD != 0 => self.word(),
            b'\'' => self.quoted(byte, !self.mode.no_backslash_escapes, Kind::Text),
            b'"' if self.mode.ansi_quotes => self.quoted(byte, false, Kind::Quoted),
            b'"' => self.quoted(byte, !self.mode.no_backslash_escapes, Kind::Text),
            b'`' => self.quoted(byte, false, Kind::Quoted),
            b'.' if !self.after_name && self.byte(1).is_some_and(|next| next.is_ascii_digit()) => {
                self.number()
            }
            b'/' if self.byte(1) == Some(b'*') => self.special_comment(),
            b'*' if self.executable && self.byte(1) == Some(b'/') => {
                self.at += 2;
                self.executable = false;
                Kind::ExecutableClose
            }
            0..=0x1f | 0x7f | b'\\' => {
                self.at += 1;
                Kind::Bad
            }
            _ => {
                self.at += 1;
                Kind::Symbol(byte)
            }
        }
    }

    #[inline]
    fn word(&mut self) -> Kind {
        let mut seen = 0;
        let mut bytes = 0;
        for byte in self.rest() {
            let class = class(*byte);
            if class & IN_WORD == 0 {
                break;
            }
            seen |= class;
            bytes += 1;
        }
        self.at += bytes;
        // In some character sets a byte over 0x7f is a blank (0xa0 in latin1), so a word that
        // holds one may be two words to the server.
        if seen & HIGH != 0 { Kind::Bad } else { Kind::Word }
    }

    /// From the opening quote to its closing twin. A doubled quote is one of the content.
    fn quoted(&mut self, quote: u8, escapes: bool, kind: Kind) -> Kind {
        self.at += 1;
        loop {
            let rest = self.rest();
            let found = if escapes {
                rest.iter().position(|byte| *byte == quote || *byte == b'\\')
            } else {
                rest.iter().position(|byte| *byte == quote)
            };
            let Some(offset) = found else {
                self.at = self.text.len();
                return Kind::Bad;
            };
            self.at += offset;
            let escaped = self.byte(0) == Some(b'\\');
            if (escaped && escapes) || self.byte(1) == Some(quote) {
                self.at = (self.at + 2).min(self.text.len());
            } else {
                self.at += 1;
                return kind;
            }
        }
    }

    /// `x'1f'`, `b'01'`, `N'text'`.
    fn prefixed(&mut self, prefix: u8) -> Kind {
        self.at += 1;
        if matches!(prefix, b'n' | b'N') {
            return self.quoted(b'\'', !self.mode.no_backslash_escapes, Kind::National);
        }
        let start = self.at + 1;
        let cut = self.quoted(b'\'', false, Kind::Hex);
        let body = self.text.get(start..self.at - 1).unwrap_or_default();
        let hex = matches!(prefix, b'x' | b'X');
        let clean = body.iter().all(|byte| match hex {
            true => byte.is_ascii_hexdigit(),
            false => matches!(byte, b'0' | b'1'),
        });
        match (cut, clean, hex) {
            (Kind::Hex, true, true) => Kind::Hex,
            (Kind::Hex, true, false) => Kind::Bit,
            _ => Kind::Bad,
        }
    }

    /// A number, if it stands alone. `1a` is an identifier, `1.e` is two tokens: both are left as
    /// `Bad`, and so is what follows a name's dot.
    fn number(&mut self) -> Kind {
        let after_dot =
            self.at.checked_sub(1).and_then(|at| self.text.get(at)).is_some_and(|b| *b == b'.');
        let rest = self.rest();
        let (kind, bytes) = match rest {
            [b'0', b'x', digits @ ..] => (Kind::Hex, 2 + run(digits, u8::is_ascii_hexdigit)),
            [b'0', b'b', digits @ ..] => (Kind::Bit, 2 + run(digits, |b| matches!(b, b'0' | b'1'))),
            _ => decimal(rest),
        };
        self.at += bytes;
        let bare_prefix = matches!(kind, Kind::Hex | Kind::Bit) && bytes == 2;
        let stuck = self.byte(0).is_some_and(|next| class(next) & IN_WORD != 0 || next == b'.');
        if !(after_dot || bare_prefix || stuck) {
            return kind;
        }
        self.at += run(self.rest(), |b| class(*b) & IN_WORD != 0 || *b == b'.');
        Kind::Bad
    }

    /// `/*!`, `/*M!` and `/*+`; a plain comment never comes here.
    fn special_comment(&mut self) -> Kind {
        let rest = self.rest();
        if let Some(known) = HARMLESS.iter().find(|known| rest.starts_with(known)) {
            self.at += known.len();
            return Kind::Harmless;
        }
        if let [b'/', b'*', b'+', body @ ..] = rest {
            let end = memchr::memmem::find(body, b"*/");
            let Some(body) = end.and_then(|end| body.get(..end)) else {
                self.at = self.text.len();
                return Kind::Bad;
            };
            self.at += body.len() + 5;
            // A quoted name in a hint may hold the comment's end.
            let odd = |byte: &u8| matches!(byte, b'\'' | b'"' | b'`' | b'\\' | 0) || *byte >= 0x80;
            return if body.iter().any(odd) { Kind::Bad } else { Kind::OptimizerHint };
        }
        self.executable = true;
        self.at += if self.byte(2) == Some(b'M') { 4 } else { 3 };
        self.at += run(self.rest(), u8::is_ascii_digit);
        Kind::ExecutableOpen
    }
}

/// How many bytes at the front are of a kind.
fn run(bytes: &[u8], is: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is(byte)).count()
}

/// A line comment's length, unless a NUL in it ends it for some versions.
fn line_comment(rest: &[u8]) -> Option<usize> {
    let bytes = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
    rest.get(..bytes).filter(|line| !line.contains(&0)).map(<[u8]>::len)
}

/// Digits, fraction, exponent.
fn decimal(rest: &[u8]) -> (Kind, usize) {
    let mut bytes = run(rest, u8::is_ascii_digit);
    let mut kind = Kind::Integer;
    if rest.get(bytes) == Some(&b'.') {
        kind = Kind::Decimal;
        bytes += 1 + run(rest.get(bytes + 1..).unwrap_or_default(), u8::is_ascii_digit);
    }
    if let Some([b'e' | b'E', tail @ ..]) = rest.get(bytes..) {
        let sign = usize::from(matches!(tail, [b'+' | b'-', ..]));
        let digits = run(tail.get(sign..).unwrap_or_default(), u8::is_ascii_digit);
        if digits > 0 {
            kind = Kind::Float;
            bytes += 1 + sign + digits;
        }
    }
    (kind, bytes)
}
