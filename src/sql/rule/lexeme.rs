//! A statement's tokens as a list that rules can ask about.
//!
//! Only for the slow path, once per shape. A word after a dot never counts as a keyword: there it
//! is a name to every server. Used by `rule`, `verb`, `setting` and `show`.

use crate::sql::Mode;
use crate::sql::token::{Gap, Kind, Lexer};

/// One token with its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexeme<'a> {
    kind: Kind,
    gap: Gap,
    text: &'a [u8],
}

/// A run of tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexemes<'s, 'a>(&'s [Lexeme<'a>]);

/// Cuts a shape into tokens.
pub(crate) fn collect(shape: &[u8], mode: Mode) -> Vec<Lexeme<'_>> {
    let mut lexer = Lexer::new(shape, mode);
    let mut list = Vec::new();
    loop {
        let token = lexer.next();
        if token.kind == Kind::End {
            return list;
        }
        let text = shape.get(token.start..token.end).unwrap_or_default();
        list.push(Lexeme { kind: token.kind, gap: token.gap, text });
    }
}

impl<'s, 'a> Lexemes<'s, 'a> {
    pub(crate) fn new(list: &'s [Lexeme<'a>]) -> Lexemes<'s, 'a> {
        Lexemes(list)
    }

    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// The tokens from `at` on.
    pub(crate) fn from(self, at: usize) -> Lexemes<'s, 'a> {
        Lexemes(self.0.get(at..).unwrap_or_default())
    }

    /// The statements between semicolons, without empty ones.
    pub(crate) fn split_at_semicolons(self) -> Vec<Lexemes<'s, 'a>> {
        self.0
            .split(|lexeme| lexeme.kind == Kind::Symbol(b';'))
            .filter(|part| !part.is_empty())
            .map(Lexemes)
            .collect()
    }

    pub(crate) fn kind(self, at: usize) -> Kind {
        self.0.get(at).map_or(Kind::End, |lexeme| lexeme.kind)
    }

    pub(crate) fn text(self, at: usize) -> &'a [u8] {
        self.0.get(at).map_or(&[], |lexeme| lexeme.text)
    }

    pub(crate) fn gap(self, at: usize) -> Gap {
        self.0.get(at).map_or(Gap::None, |lexeme| lexeme.gap)
    }

    pub(crate) fn symbol(self, at: usize, byte: u8) -> bool {
        self.kind(at) == Kind::Symbol(byte)
    }

    /// Whether a keyword stands here.
    pub(crate) fn word(self, at: usize, expected: &str) -> bool {
        self.kind(at) == Kind::Word
            && self.text(at).eq_ignore_ascii_case(expected.as_bytes())
            && !self.after_dot(at)
    }

    /// Whether these keywords stand here, one after another.
    pub(crate) fn words(self, at: usize, expected: &[&str]) -> bool {
        expected.iter().enumerate().all(|(offset, word)| self.word(at + offset, word))
    }

    /// Whether a keyword stands at `at` or later.
    pub(crate) fn has_word_from(self, at: usize, expected: &str) -> bool {
        (at..self.len()).any(|at| self.word(at, expected))
    }

    /// The keyword here in upper case.
    pub(crate) fn upper(self, at: usize) -> Option<Vec<u8>> {
        (self.kind(at) == Kind::Word && !self.after_dot(at))
            .then(|| self.text(at).to_ascii_uppercase())
    }

    pub(crate) fn after_dot(self, at: usize) -> bool {
        at.checked_sub(1).is_some_and(|before| self.symbol(before, b'.'))
    }

    /// Whether this symbol comes next with nothing between.
    pub(crate) fn touches(self, at: usize, next: u8) -> bool {
        self.symbol(at + 1, next) && self.gap(at + 1) == Gap::None
    }

    /// Whether this symbol stands before with nothing between.
    pub(crate) fn touched_by(self, at: usize, before: u8) -> bool {
        self.gap(at) == Gap::None && at.checked_sub(1).is_some_and(|b| self.symbol(b, before))
    }

    /// Whether a name or a string stands before with nothing between.
    pub(crate) fn follows_a_name(self, at: usize) -> bool {
        let before = at.checked_sub(1).map_or(Kind::End, |before| self.kind(before));
        matches!(before, Kind::Word | Kind::Quoted | Kind::Text)
    }

    /// Whether the word here is the last part of `@@x`, `@@session.x`.
    pub(crate) fn is_system_variable(self, at: usize) -> bool {
        let part = |at: usize| {
            at.checked_sub(2)
                .is_some_and(|before| self.symbol(before, b'@') && self.symbol(before + 1, b'@'))
        };
        part(at) || (self.after_dot(at) && at.checked_sub(2).is_some_and(part))
    }

    /// The identifier here, without its quotes. `None` also for one that is not UTF-8.
    pub(crate) fn name(self, at: usize) -> Option<String> {
        let text = self.text(at);
        match self.kind(at) {
            Kind::Word => String::from_utf8(text.to_vec()).ok(),
            Kind::Quoted => {
                let quote = char::from(*text.first()?);
                let inner = text.get(1..text.len().checked_sub(1)?)?;
                let inner = std::str::from_utf8(inner).ok()?;
                Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
            }
            _ => None,
        }
    }

    /// The text for a parser that knows no lexer modes: identifiers in back-ticks.
    pub(crate) fn render(self) -> Result<String, &'static str> {
        let mut out = String::new();
        for (at, lexeme) in self.0.iter().enumerate() {
            // Two minus signs and a blank would be a comment to the parser.
            let minus = lexeme.kind == Kind::Symbol(b'-');
            if (lexeme.gap != Gap::None || minus) && at > 0 {
                out.push(' ');
            }
            if lexeme.kind == Kind::Quoted {
                let name = self.name(at).ok_or("a name that is not UTF-8")?;
                out.push('`');
                out.push_str(&name.replace('`', "``"));
                out.push('`');
            } else {
                out.push_str(std::str::from_utf8(lexeme.text).map_err(|_| "not UTF-8")?);
            }
        }
        Ok(out)
    }
}
