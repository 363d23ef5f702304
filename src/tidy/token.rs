//! Rust text -> tokens, as far as the rules need it: comments are gone, literals are whole.
//!
//! Not a parser. It knows nested comments, raw strings, and a lifetime from a character.

/// What stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Literal,
    Mark,
}

/// One word, literal or mark. `::` and `->` are one mark each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (kind, len) = next(rest, first);
        let (token, tail) = rest.split_at(len);
        if let Some(kind) = kind {
            found.push(Token { kind, text: token.into(), line });
        }
        line += token.matches('\n').count();
        rest = tail;
    }
    found
}

/// What is in front, and its bytes. `None`: a space or a comment.
fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let word = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    if rest.starts_with("//") {
        (None, rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        (None, comment(rest))
    } else if let Some(len) = string(rest) {
        (Some(Kind::Literal), len)
    } else if first == '\'' {
        character(rest).map_or((None, 1), |len| (Some(Kind::Literal), len))
    } else if first.is_ascii_digit() {
        (Some(Kind::Literal), word)
    } else if word > 0 {
        (Some(Kind::Word), word)
    } else if rest.starts_with("::") || rest.starts_with("->") {
        (Some(Kind::Mark), 2)
    } else {
        ((!first.is_whitespace()).then_some(Kind::Mark), first.len_utf8())
    }
}

fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if tail.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The bytes of a string literal in front, of any kind.
fn string(rest: &str) -> Option<usize> {
    let bare = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let before = rest.len() - bare.len();
    if let Some(raw) = bare.strip_prefix('r') {
        let hashes = raw.find(|letter| letter != '#')?;
        let body = raw.get(hashes..)?.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let len = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(before + 1 + hashes + 1 + len);
    }
    let body = bare.strip_prefix('"')?;
    let mut escaped = false;
    for (at, letter) in body.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(before + 1 + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// The bytes of a character literal in front; `None`: a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next();
        return letters.find(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1);
    }
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(at, _)| at + 1)
}

#[test]
fn tokens_are_what_the_compiler_sees() {
    let check = |text: &str, expected: &str| {
        let words: Vec<String> = tokens(text).into_iter().map(|token| token.text).collect();
        assert_eq!(words.join(" "), expected, "{text}");
    };
    check("use crate::wire; // crate::app", "use crate :: wire ;");
    check("/* a /* b */ crate::app */ x", "x");
    check(r##"a("crate::app") r#"b"c"# d"##, r##"a ( "crate::app" ) r#"b"c"# d"##);
    check(r#"b"x\"y" z"#, r#"b"x\"y" z"#);
    check("fn f<'a>(x: &'a str) -> char { 'x' }", "fn f < a > ( x : & a str ) -> char { 'x' }");
    check(r"'\'' '\\' '\u{41}' 1_000u64", r"'\'' '\\' '\u{41}' 1_000u64");
    assert_eq!(tokens("a\n/*\n*/ b").last().map(|token| token.line), Some(3));
}
