//! A statement's shape: its text with plain literal values, blanks and comments forgotten.
//!
//! The shape is SQL text again, in the same lexer mode, and all facts are worked out from it. So
//! texts of one shape have the same facts by construction, and an identifier, a literal's kind, its
//! adjacency, LIMIT 0, an introducer, a hint, an executable comment and all of SET and SHOW are
//! never forgotten. A leading comment is, once its hint is read: it decides nothing else.
//! Called by `cache` for each statement; allocates only when a buffer grows.

mod skim;
mod stops;

use stops::Stops;

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::quality::FixedState;
use xxhash_rust::xxh3;

use super::token::{DIGIT, Gap, HIGH, Kind, Lexer, Token, WORD, class};
use super::{Hint, Mode};

/// Two keyed hashes of one shape. The second is compared on a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) key: u128,
    pub(crate) check: u64,
}

impl Digest {
    /// Of a text that is never looked up.
    pub(crate) const NONE: Digest = Digest { key: 0, check: 0 };
}

/// What keys the hashes. The two are of different families: who found a pair of texts that one of
/// them takes for the same has found nothing for the other.
pub(crate) struct Keys {
    secret: [u8; SECRET_BYTES],
    seed: u64,
}

/// As many as a long text is hashed with.
const SECRET_BYTES: usize = 192;

impl Keys {
    /// Worked out once: to do it for each text costs more than to hash it.
    pub(crate) fn new(seed: u64) -> Keys {
        let mut secret = [0; SECRET_BYTES];
        for (number, part) in (0_u64..).zip(secret.as_chunks_mut::<8>().0) {
            *part = xxh3::xxh3_64_with_seed(&number.to_le_bytes(), seed).to_le_bytes();
        }
        Keys { secret, seed: xxh3::xxh3_64_with_seed(b"check", seed) }
    }

    /// Hashes a shape with the mode and the hint that it was read under.
    pub(crate) fn digest(&self, shape: &[u8], mode: Mode, hint: Hint) -> Digest {
        let under = u64::from(mode.tag()) << 8 ^ hint as u64;
        let mut check = FixedState::with_seed(self.seed ^ under).build_hasher();
        check.write(shape);
        Digest {
            key: xxh3::xxh3_128_with_secret(shape, &self.secret) ^ u128::from(under) << 64,
            check: check.finish(),
        }
    }
}

/// Writes the shape of `text` to `out` (which is emptied first) and gives its leading hint.
pub(crate) fn write_shape(text: &[u8], mode: Mode, out: &mut Vec<u8>) -> Hint {
    write::<true>(text, mode, out)
}

/// The same without the short cut: what `skim` is held against.
pub(crate) fn write_shape_plainly(text: &[u8], mode: Mode, out: &mut Vec<u8>) -> Hint {
    write::<false>(text, mode, out)
}

fn write<const SKIM: bool>(text: &[u8], mode: Mode, out: &mut Vec<u8>) -> Hint {
    out.clear();
    out.reserve(text.len() + 16);
    let mut writer = Writer::new(text, out);
    let mut lexer = Lexer::new(text, mode);
    let first = lexer.next();
    let hint = match first.gap {
        Gap::Comment => leading_hint(text.get(..first.start).unwrap_or_default()),
        _ => Hint::None,
    };
    writer.written = first.start;
    let mut token = Token { gap: Gap::None, gap_start: first.start, ..first };
    while token.kind != Kind::End {
        writer.token(token);
        if SKIM {
            writer.skim(&mut lexer);
        }
        token = lexer.next();
    }
    writer.settle();
    writer.copy_to(token.gap_start);
    if token.gap == Gap::Comment && out.ends_with(b"--") {
        // Two minus signs before a comment are not a comment, at the end of the text they are.
        out.extend_from_slice(b"/**/");
    }
    hint
}

/// What the leading comments ask for. `primary` wins over all else.
fn leading_hint(comments: &[u8]) -> Hint {
    let mut hint = Hint::None;
    let mut rest = comments;
    while let Some(start) = memchr::memchr3(b'/', b'#', b'-', rest) {
        rest = rest.get(start..).unwrap_or_default();
        let (open, close): (usize, &[u8]) =
            if rest.first() == Some(&b'/') { (2, b"*/") } else { (1, b"\n") };
        let body = rest.get(open..).unwrap_or_default();
        let end = memchr::memmem::find(body, close).unwrap_or(body.len());
        if open == 2 {
            let asked = hint_of(body.get(..end).unwrap_or_default());
            if hint != Hint::Primary && asked != Hint::None {
                hint = asked;
            }
        }
        rest = body.get(end + close.len()..).unwrap_or_default();
    }
    hint
}

fn hint_of(comment: &[u8]) -> Hint {
    let words = comment.trim_ascii();
    let Some((name, asked)) = words.split_at_checked(8) else { return Hint::None };
    if !name.eq_ignore_ascii_case(b"forebay:") {
        return Hint::None;
    }
    match asked.trim_ascii().to_ascii_lowercase().as_slice() {
        b"primary" => Hint::Primary,
        b"replica" => Hint::Replica,
        b"eventual" => Hint::Eventual,
        b"session" => Hint::Session,
        b"causal" => Hint::Causal,
        b"strict" => Hint::Strict,
        _ => Hint::None,
    }
}

/// Where the writer is in an IN list, whose members fold into one per kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Outside,
    /// The word IN was the last token.
    AfterIn,
    /// The parenthesis or a comma that was written; a literal may follow.
    Open,
    /// A literal was written, or folded into the one before.
    Member {
        kind: Kind,
        folded: bool,
    },
    /// A comma was held back after that literal.
    Comma {
        kind: Kind,
        folded: bool,
        token: Token,
    },
}

/// Copies the text to the shape in as few pieces as it can.
struct Writer<'a, 'o> {
    text: &'a [u8],
    out: &'o mut Vec<u8>,
    /// Text up to here is in the shape, or was left out.
    written: usize,
    list: List,
    /// Literals stay: SET, SHOW, and whatever holds an executable comment.
    verbatim: bool,
    statement_start: bool,
    after_limit: bool,
    after_literal: bool,
    stops: Stops<'a>,
}

impl<'a, 'o> Writer<'a, 'o> {
    fn new(text: &'a [u8], out: &'o mut Vec<u8>) -> Writer<'a, 'o> {
        Writer {
            text,
            out,
            written: 0,
            list: List::Outside,
            verbatim: false,
            statement_start: true,
            after_limit: false,
            after_literal: false,
            stops: Stops::of(text),
        }
    }

    #[inline]
    fn token(&mut self, token: Token) {
        match token.kind {
            Kind::Word => self.word(token),
            Kind::Symbol(byte) => self.symbol(token, byte),
            Kind::Text
            | Kind::Integer
            | Kind::Decimal
            | Kind::Float
            | Kind::Hex
            | Kind::Bit
            | Kind::National => self.literal(token),
            Kind::ExecutableOpen => {
                self.verbatim = true;
                self.other(token);
            }
            _ => self.other(token),
        }
    }

    fn word(&mut self, token: Token) {
        self.settle();
        self.gap(token);
        let word = self.text.get(token.start..token.end).unwrap_or_default();
        self.list = if is_in(word) { List::AfterIn } else { List::Outside };
        if self.statement_start {
            let is = |expected: &[u8]| word.eq_ignore_ascii_case(expected);
            self.verbatim |= is(b"SET") || is(b"SHOW");
            self.statement_start = false;
        }
        self.after_limit = is_limit(word, self.after_limit);
        self.after_literal = false;
    }

    fn symbol(&mut self, token: Token, byte: u8) {
        if let (b',', List::Member { kind, folded }) = (byte, self.list) {
            self.list = List::Comma { kind, folded, token };
            return;
        }
        let opens = self.list == List::AfterIn;
        self.settle();
        self.gap(token);
        self.list = if opens && byte == b'(' { List::Open } else { List::Outside };
        self.statement_start = byte == b';' || (self.statement_start && byte == b'(');
        self.after_limit &= byte == b',';
        self.after_literal = false;
    }

    fn other(&mut self, token: Token) {
        self.settle();
        self.gap(token);
        self.after_limit = false;
        self.after_literal = false;
    }

    fn literal(&mut self, token: Token) {
        if let List::Comma { kind, token: comma, .. } = self.list {
            if kind == token.kind && !self.verbatim {
                self.copy_to(comma.gap_start);
                self.written = token.end;
                self.list = List::Member { kind, folded: true };
                return;
            }
            self.list = List::Open;
            self.gap(comma);
            self.after_literal = false;
        }
        let folded = matches!(self.list, List::Member { folded: true, .. });
        self.list = match self.list {
            List::Open => List::Member { kind: token.kind, folded: false },
            _ => List::Outside,
        };
        if self.verbatim {
            return self.gap(token);
        }
        if self.after_literal {
            // Literals side by side are one string to the server; keep them two to the lexer, and
            // tell a list that was folded before them from one that was not.
            let odd = folded || token.gap == Gap::Comment;
            self.out.extend_from_slice(if odd { b"/**/ " } else { b" " });
            self.written = token.start;
        } else {
            self.gap(token);
        }
        let zero = self.after_limit && self.text.get(token.start..token.end) == Some(b"0");
        self.write_literal(token.start, token.end, placeholder(token.kind, zero));
    }

    #[inline]
    fn write_literal(&mut self, start: usize, end: usize, placeholder: &[u8]) {
        self.copy_to(start);
        let touches = |byte: &u8| class(*byte) & (WORD | DIGIT | HIGH) != 0;
        if self.text.get(start) == Some(&b'"') && self.out.last().is_some_and(touches) {
            // The shape's strings have single quotes: n"x" is a name and a string, n'x' is one.
            self.out.push(b' ');
        }
        self.out.extend_from_slice(placeholder);
        self.written = end;
        self.after_literal = true;
    }

    /// A comma that was held back and is part of the shape after all.
    #[inline]
    fn settle(&mut self) {
        if let List::Comma { token, .. } = self.list {
            self.list = List::Outside;
            self.gap(token);
        }
        self.list = List::Outside;
    }

    /// Brings the gap before a token to its one form.
    #[inline]
    fn gap(&mut self, token: Token) {
        let one_blank =
            token.start - token.gap_start == 1 && self.text.get(token.gap_start) == Some(&b' ');
        if token.gap == Gap::None || (token.gap == Gap::Blank && one_blank) {
            return;
        }
        self.copy_to(token.gap_start);
        let one_form = if token.gap == Gap::Blank { &b" "[..] } else { self.comment() };
        self.out.extend_from_slice(one_form);
        self.written = token.start;
    }

    /// The one form of a comment. A blank in front of it would turn the two minus signs of
    /// `--/* */(SELECT ...)` into a comment of their own, and so hide all that follows; without
    /// one, a star in executable code would close that code.
    fn comment(&self) -> &'static [u8] {
        if self.out.last() == Some(&b'*') { b" /**/ " } else { b"/**/ " }
    }

    fn copy_to(&mut self, end: usize) {
        if let Some(piece) = self.text.get(self.written..end) {
            self.out.extend_from_slice(piece);
            self.written = end;
        }
    }
}

#[inline]
fn is_in(word: &[u8]) -> bool {
    word.len() == 2 && word.eq_ignore_ascii_case(b"IN")
}

/// LIMIT, or OFFSET in a LIMIT: a number follows whose being zero matters.
#[inline]
fn is_limit(word: &[u8], after_limit: bool) -> bool {
    match word.len() {
        5 => word.eq_ignore_ascii_case(b"LIMIT"),
        6 => after_limit && word.eq_ignore_ascii_case(b"OFFSET"),
        _ => false,
    }
}

/// What stands for a literal of a kind.
fn placeholder(kind: Kind, zero: bool) -> &'static [u8] {
    match kind {
        Kind::Integer if zero => b"0",
        Kind::Integer => b"1",
        Kind::Decimal => b"1.5",
        Kind::Float => b"1e1",
        Kind::Hex => b"x'00'",
        Kind::Bit => b"b'0'",
        Kind::National => b"N'?'",
        _ => b"'?'",
    }
}
