//! The few statements that toy servers understand: text -> words -> what is asked.
//!
//! No SQL: fixed forms, in the letters that the clients and the proxy itself write them in.
//! Whatever else comes is a bug of the simulation and said as one. Called by `mysql`.

use super::store::{Place, Table, schema_named, table_named};

/// One word of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, a keyword or a number, in lower case.
    Name(String),
    /// A text in quotes, without them.
    Text(String),
    /// Anything else.
    Sign(char),
}

/// What a statement asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The token at a place; `true`: FOR UPDATE.
    Read(Target, bool),
    /// The token at a place and a lot of filling.
    ReadLong(Target),
    Write(Target, String),
    /// A new note, in this schema or in the current one.
    Add(Option<&'static str>, String),
    Begin,
    Commit,
    Rollback,
    /// Assignments, in order: name and value.
    Set(Vec<(String, String)>),
    ReadOnly,
    Lock(String),
    Unlock(String),
    /// Expressions, one column each.
    Values(Vec<String>),
    Collations,
    /// How long the server has been up.
    Uptime,
    /// All tables, and the columns of one.
    Tables,
    Columns,
    /// The names of a catalog: views, or unfit tables. There are none.
    Names,
    Use(&'static str),
    /// What the proxy's account has no right to ask, or what toy servers cannot wait for.
    Hidden,
    /// Whose connection it is has gone: here a statement is never long.
    Kill,
}

/// A row that a statement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) schema: Option<&'static str>,
    pub(super) table: Table,
    pub(super) id: u64,
}

impl Target {
    pub(super) fn place(self, current: Option<&'static str>) -> Option<Place> {
        let schema = self.schema.or(current)?;
        Some(Place { schema, table: self.table, id: self.id })
    }
}

/// The client that a statement is marked with: `... /* c7 */`.
pub(super) fn client_of(text: &str) -> Option<u32> {
    let (_, mark) = text.rsplit_once("/* c")?;
    mark.strip_suffix(" */")?.parse().ok()
}

/// What is asked. None: it is not understood.
pub(super) fn parse(text: &str) -> Option<Asked> {
    match text {
        "SHOW GLOBAL STATUS LIKE 'Uptime'" => return Some(Asked::Uptime),
        _ if text.starts_with("SELECT TABLE_SCHEMA,TABLE_NAME FROM") => return Some(Asked::Tables),
        _ if text.contains("FROM information_schema.COLUMNS") => return Some(Asked::Columns),
        _ => {}
    }
    if text.contains("FROM information_schema.VIEWS")
        || text.contains("FROM information_schema.TABLES")
    {
        return Some(Asked::Names);
    }
    if text.starts_with("SHOW ") || text.contains("_WAIT") || text.contains("WAIT_FOR_") {
        return Some(Asked::Hidden);
    }
    let words = words(text);
    let (first, rest) = words.split_first()?;
    match (first.name()?, rest) {
        ("select", rest) => parse_select(rest),
        ("update", [table, set, token, eq, Word::Text(value), rest @ ..])
            if set.is("set") && token.is("token") && *eq == Word::Sign('=') =>
        {
            Some(Asked::Write(target(table, rest)?, value.clone()))
        }
        ("insert", [into, table, open, token, close, values, _, Word::Text(value), _])
            if into.is("into")
                && token.is("token")
                && values.is("values")
                && (open, close) == (&Word::Sign('('), &Word::Sign(')')) =>
        {
            let (schema, table) = table_named(table.name()?)?;
            (table == Table::Notes).then(|| Asked::Add(schema, value.clone()))
        }
        ("begin", []) => Some(Asked::Begin),
        ("start", [word]) if word.is("transaction") => Some(Asked::Begin),
        ("commit", []) => Some(Asked::Commit),
        ("rollback", []) => Some(Asked::Rollback),
        ("use", [name]) => Some(Asked::Use(schema_named(name.name()?)?)),
        ("set", rest) => parse_set(rest),
        ("kill", [_, _]) => Some(Asked::Kill),
        ("do", [_]) => Some(Asked::Kill),
        _ => None,
    }
}

fn parse_select(words: &[Word]) -> Option<Asked> {
    match words {
        [token, from, table, rest @ .., a, b]
            if token.is("token") && from.is("from") && a.is("for") && b.is("update") =>
        {
            Some(Asked::Read(target(table, rest)?, true))
        }
        [token, from, table, rest @ ..] if token.is("token") && from.is("from") => {
            Some(Asked::Read(target(table, rest)?, false))
        }
        [token, comma, filling, from, table, rest @ ..]
            if token.is("token") && *comma == Word::Sign(',') && filling.is("filling") =>
        {
            from.is("from").then_some(())?;
            Some(Asked::ReadLong(target(table, rest)?))
        }
        [lock, _, Word::Text(name), ..] if lock.is("get_lock") => Some(Asked::Lock(name.clone())),
        [lock, _, Word::Text(name), ..] if lock.is("release_lock") => {
            Some(Asked::Unlock(name.clone()))
        }
        [id, _, _, _, _, from, ..] if id.is("id") && from.is("from") => Some(Asked::Collations),
        _ => {
            let columns = words.split(|word| *word == Word::Sign(','));
            let expression = |column: &[Word]| match column {
                [Word::Name(name)] => Some(name.clone()),
                [Word::Name(name), open, close]
                    if (open, close) == (&Word::Sign('('), &Word::Sign(')')) =>
                {
                    Some(format!("{name}()"))
                }
                _ => None,
            };
            columns.map(expression).collect::<Option<_>>().map(Asked::Values)
        }
    }
}

/// `WHERE id = 3` of a table.
fn target(table: &Word, rest: &[Word]) -> Option<Target> {
    let (schema, table) = table_named(table.name()?)?;
    match rest {
        [place, id, eq, number] if place.is("where") && id.is("id") && *eq == Word::Sign('=') => {
            Some(Target { schema, table, id: number.name()?.parse().ok()? })
        }
        _ => None,
    }
}

fn parse_set(words: &[Word]) -> Option<Asked> {
    match words {
        [session, transaction, read, only]
            if session.is("session")
                && transaction.is("transaction")
                && read.is("read")
                && only.is("only") =>
        {
            return Some(Asked::ReadOnly);
        }
        [names, Word::Text(charset)] if names.is("names") => {
            return Some(Asked::Set(vec![("names".into(), charset.clone())]));
        }
        [names, Word::Text(charset), collate, Word::Text(collation)]
            if names.is("names") && collate.is("collate") =>
        {
            let collation = ("collation_connection".into(), collation.clone());
            return Some(Asked::Set(vec![("names".into(), charset.clone()), collation]));
        }
        _ => {}
    }
    let assignments = words.split(|word| *word == Word::Sign(','));
    let assignment = |words: &[Word]| match words {
        [session, rest @ ..] if session.is("session") => assigned(rest),
        all => assigned(all),
    };
    assignments.map(assignment).collect::<Option<_>>().map(Asked::Set)
}

fn assigned(words: &[Word]) -> Option<(String, String)> {
    match words {
        [name, eq, Word::Name(value) | Word::Text(value)] if *eq == Word::Sign('=') => {
            let name = name.name()?;
            Some((name.strip_prefix("@@session.").unwrap_or(name).into(), value.clone()))
        }
        _ => None,
    }
}

impl Word {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Text(_) | Self::Sign(_) => None,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }
}

/// Words without comments.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if let Some(after) = rest.strip_prefix("/*") {
            after.find("*/").map_or(rest.len(), |end| end + 4)
        } else if let Some(after) = rest.strip_prefix('\'') {
            let end = after.find('\'').unwrap_or(after.len());
            words.push(Word::Text(after.get(..end).unwrap_or_default().into()));
            end + 2
        } else if is_of_name(first) {
            let end = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
            words.push(Word::Name(rest.get(..end).unwrap_or_default().to_ascii_lowercase()));
            end
        } else {
            words.push(Word::Sign(first));
            first.len_utf8()
        };
        rest = rest.get(len..).unwrap_or_default().trim_start();
    }
    words
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '@' | '.' | '+' | ':' | '-')
}
