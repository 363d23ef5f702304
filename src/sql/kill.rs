//! Statements that speak of connections by number: what a KILL names, and who asks for his own.
//!
//! A client knows the number that Forebay gave him, and servers know another. Only plain forms are
//! read: what is not understood here is refused, never sent to a server, where the number would be
//! somebody else's. Called by `client`, for few statements, so it need not be fast.

use super::Mode;
use super::rule::{Lexemes, collect};
use super::token::Kind;

/// A KILL that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Whose session.
    pub victim: Victim,
    /// The session ends; otherwise only the statement that it runs.
    pub ends: bool,
}

/// Whom a KILL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The session of this number.
    Session(u64),
    /// `CONNECTION_ID()`: who says it.
    Oneself,
}

impl Kill {
    /// What a text kills. None: another form of it, or no KILL at all.
    #[must_use]
    pub fn parse(text: &[u8], mode: Mode) -> Option<Self> {
        // In any character set that servers take statements in, such bytes are what they seem.
        if !text.is_ascii() {
            return None;
        }
        let list = collect(text, mode);
        let tokens = Lexemes::new(&list);
        if !tokens.word(0, "KILL") {
            return None;
        }
        let mut at = 1;
        // MariaDB's; how hard is all the same to a statement.
        if tokens.word(at, "HARD") || tokens.word(at, "SOFT") {
            at += 1;
        }
        let ends = !tokens.word(at, "QUERY");
        if !ends || tokens.word(at, "CONNECTION") {
            at += 1;
        }
        let victim = if tokens.kind(at) == Kind::Integer {
            let number = std::str::from_utf8(tokens.text(at)).ok()?.parse().ok()?;
            at += 1;
            Victim::Session(number)
        } else {
            at = end_of_connection_id(tokens, at)?;
            Victim::Oneself
        };
        is_end(tokens, at).then_some(Self { victim, ends })
    }

    /// Whether a text that was not looked into begins as one.
    #[must_use]
    pub fn is_begun(text: &[u8], mode: Mode) -> bool {
        let list = collect(text.get(..BEGINNING_BYTES).unwrap_or(text), mode);
        Lexemes::new(&list).word(0, "KILL")
    }
}

/// So much of a text is looked at for its first word.
const BEGINNING_BYTES: usize = 256;

/// Whether a text asks for the number of its own connection and for nothing else.
#[must_use]
pub fn asks_own_number(text: &[u8], mode: Mode) -> bool {
    if text.len() > BEGINNING_BYTES {
        return false;
    }
    let list = collect(text, mode);
    let tokens = Lexemes::new(&list);
    if !tokens.word(0, "SELECT") {
        return false;
    }
    let Some(mut at) = end_of_connection_id(tokens, 1) else { return false };
    if tokens.word(at, "AS") {
        at += 1;
        if is_end(tokens, at) {
            return false;
        }
    }
    let is_alias = matches!(tokens.kind(at), Kind::Word | Kind::Quoted | Kind::Text);
    is_end(tokens, at + usize::from(is_alias))
}

fn end_of_connection_id(tokens: Lexemes<'_, '_>, at: usize) -> Option<usize> {
    let is_call = tokens.word(at, "CONNECTION_ID")
        && tokens.symbol(at + 1, b'(')
        && tokens.symbol(at + 2, b')');
    is_call.then_some(at + 3)
}

/// Nothing more is said.
fn is_end(tokens: Lexemes<'_, '_>, at: usize) -> bool {
    (at..tokens.len()).all(|at| tokens.symbol(at, b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_names() {
        fn check(text: &str, expected: &str) {
            let told = match Kill::parse(text.as_bytes(), Mode::default()) {
                None => "?".into(),
                Some(Kill { victim, ends }) => {
                    let what = if ends { "session" } else { "statement" };
                    match victim {
                        Victim::Session(number) => format!("{what} {number}"),
                        Victim::Oneself => format!("{what} own"),
                    }
                }
            };
            assert_eq!(told, expected, "{text}");
        }
        check("KILL 5", "session 5");
        check("kill connection 5", "session 5");
        check("Kill Query 5;", "statement 5");
        check("/* x */ KILL /* y */ QUERY 5 -- z", "statement 5");
        check("KILL HARD 5", "session 5");
        check("KILL SOFT QUERY 5", "statement 5");
        check("KILL HARD CONNECTION 5", "session 5");
        check("KILL 18446744073709551615", "session 18446744073709551615");
        check("KILL CONNECTION_ID()", "session own");
        check("KILL QUERY CONNECTION_ID()", "statement own");
        for other in [
            "KILL",
            "KILL QUERY",
            "KILL QUERY ID 5",
            "KILL USER shop",
            "KILL 5 6",
            "KILL -5",
            "KILL 5 + 1",
            "KILL 5.0",
            "KILL 0x5",
            "KILL '5'",
            "KILL @victim",
            "KILL ?",
            "KILL 5; KILL 6",
            "KILL 18446744073709551616",
            "KILL (SELECT 5)",
            "KILL CONNECTION_ID",
            "KILL 5 /*! + 1 */",
            "SELECT 5",
            "",
            "KILL \u{a0}5",
        ] {
            check(other, "?");
        }
    }

    #[test]
    fn its_first_word() {
        fn check(text: &[u8], expected: bool) {
            let gbk = Mode { lexable: false, ..Mode::default() };
            assert_eq!(Kill::is_begun(text, gbk), expected, "{text:?}");
        }
        check(b"KILL 5", true);
        check(b"  /* a */ kill \xbf\x27", true);
        check(b"KILLER 5", false);
        check(b"SELECT 'KILL'", false);
        check(&[b'x'; 1000], false);
    }

    #[test]
    fn who_asks_for_his_number() {
        fn check(text: &str, expected: bool) {
            assert_eq!(asks_own_number(text.as_bytes(), Mode::default()), expected, "{text}");
        }
        check("SELECT CONNECTION_ID()", true);
        check("select connection_id() ;", true);
        check("SELECT CONNECTION_ID() AS id", true);
        check("SELECT CONNECTION_ID() id", true);
        check("SELECT CONNECTION_ID() `the id`", true);
        check("SELECT CONNECTION_ID() AS", false);
        check("SELECT CONNECTION_ID() + 1", false);
        check("SELECT CONNECTION_ID(), 1", false);
        check("SELECT CONNECTION_ID() FROM t", false);
        check("SELECT CONNECTION_ID() id LIMIT 0", false);
        check("SELECT CONNECTION_ID() UNION SELECT 1", false);
        check("SELECT x.CONNECTION_ID()", false);
        check("SELECT CONNECTION_ID", false);
        check("SELECT CONNECTION_ID(); SELECT 1", false);
    }
}
