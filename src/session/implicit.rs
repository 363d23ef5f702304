//! What a statement leaves behind unasked: FOUND_ROWS(), ROW_COUNT(), the list of warnings.
//!
//! Each lives on the connection of the statement that made it, which need not be the one of the
//! last statement: a SET leaves FOUND_ROWS() as it is, on MariaDB the warnings too. Where it cannot
//! be known without asking, the connection is kept; where it can, the number itself is put into the
//! question once the connection is gone. Filled by `observe`, asked by `plan`.

use crate::cluster::{Role, ServerId};
use crate::session::Session;
use crate::session::observe::Said;
use crate::sql::{Effects, Flavour, Statement, Verb};
use crate::wire::command::Command;
use crate::wire::reply::{End, Summary};

/// Where each is, or what it is.
#[derive(Clone, Copy, Debug)]
pub struct Implicit {
    /// FOUND_ROWS() of SQL_CALC_FOUND_ROWS: only that connection knows it.
    counted: Option<Role>,
    /// FOUND_ROWS() as far as replies tell.
    found_rows: Option<u64>,
    /// ROW_COUNT() as far as replies tell.
    row_count: Option<i64>,
    /// There are warnings, or an error.
    warned: Option<Role>,
    /// The connection that was used last is that of the statement which made the first, the second.
    is_found_there: bool,
    is_counted_there: bool,
    /// What was sent last was sent to the connection of what was sent before it, with nothing in
    /// front.
    stayed: bool,
    /// That connection: a session may have used several that nobody else has used since.
    last_on: Option<Place>,
}

/// A server, and its number for a connection.
pub type Place = (ServerId, u32);

impl Default for Implicit {
    fn default() -> Self {
        Self {
            counted: None,
            found_rows: Some(0),
            row_count: None,
            warned: None,
            is_found_there: true,
            is_counted_there: true,
            stayed: true,
            last_on: None,
        }
    }
}

impl Implicit {
    /// The connection in this role must be kept.
    pub(super) fn needs(self, role: Role) -> bool {
        self.counted == Some(role) || self.warned == Some(role)
    }

    /// Where to ask; none: where the last statement ran.
    pub(super) fn place(self, asks: Effects) -> Option<Role> {
        if asks.has(Effects::FOUND_ROWS) {
            self.counted
        } else if asks.has_any(Effects::INSERT_ID | Effects::ROW_COUNT) {
            None
        } else {
            self.warned
        }
    }

    /// Its connection is gone.
    pub(super) fn forget(&mut self, role: Role) {
        for place in [&mut self.counted, &mut self.warned] {
            if *place == Some(role) {
                *place = None;
            }
        }
    }

    /// A statement was answered.
    pub(super) fn note(
        &mut self,
        (it, text): (&Statement, &[u8]),
        summary: &Summary,
        role: Role,
        own: Flavour,
    ) {
        let failed = matches!(summary.end, Some(End::Err { .. }));
        let has_rows = matches!(summary.end, Some(End::Rows));
        let asks = it.effects.has(Effects::DIAGNOSTICS);
        let shown = (asks && it.verb == Verb::Show && !failed).then(|| Shown::of(text));
        self.row_count = match summary.end {
            Some(End::Ok) => i64::try_from(summary.affected).ok(),
            Some(End::Rows | End::Err { .. }) => Some(-1),
            None => None,
        };
        if summary.warnings > 0 || failed {
            self.warned = Some(role);
        } else if self.warned.is_some()
            && !keeps_warnings(it)
            && (own == Flavour::MySql || names_tables(it, text))
        {
            self.warned = None;
        }
        let was_there = std::mem::replace(&mut self.is_found_there, true);
        if it.effects.has(Effects::CALC_FOUND_ROWS) && !failed {
            (self.counted, self.found_rows) = (Some(role), None);
        } else if has_rows && it.verb == Verb::Explain {
            (self.counted, self.found_rows) = (None, None);
        } else if shown == Some(Shown::List) {
            self.is_found_there = was_there && self.stayed;
        } else if shown == Some(Shown::Count) {
            (self.counted, self.found_rows) = (None, Some(1));
        } else if has_rows && shown.is_none() {
            let finds = it.verb == Verb::Select || shows_columns(text);
            let is_plain = finds && it.statements == 1 && summary.results == 1;
            let rows = is_plain.then_some(summary.rows);
            (self.counted, self.found_rows) = (None, rows);
        } else if !failed && changes_found_rows(it, own) {
            (self.counted, self.found_rows) = (None, None);
        } else {
            self.is_found_there = was_there && self.stayed;
            if own == Flavour::MySql && it.verb == Verb::Update {
                // It had begun to.
                self.found_rows = None;
            }
        }
    }

    /// A statement was prepared, not run.
    pub(super) fn note_prepared(
        &mut self,
        it: &Statement,
        summary: &Summary,
        role: Role,
        own: Flavour,
    ) {
        let failed = matches!(summary.end, Some(End::Err { .. }));
        if failed {
            self.row_count = Some(-1);
        }
        if summary.warnings > 0 || failed {
            self.warned = Some(role);
        } else if !keeps_warnings(it)
            && (own == Flavour::MySql || (names_tables(it, b"") && it.verb != Verb::Call))
        {
            // What a procedure will do is not looked at before it is run.
            self.warned = None;
        }
    }

    /// COM_FIELD_LIST was answered. MySQL adds a warning that the command is deprecated to those of
    /// the statement before it, and counts it nowhere in the answer.
    pub(super) fn note_field_list(&mut self, own: Flavour) {
        self.row_count = Some(-1);
        if own == Flavour::MySql {
            self.warned = Some(Role::Primary);
        }
    }

    /// Something was answered without a statement: INIT_DB, or a PING, of which no server hears.
    pub(super) fn note_nothing(&mut self) {
        self.row_count = Some(0);
        self.is_counted_there = false;
    }

    /// A command that is no statement failed at the primary.
    pub(super) fn note_failed(&mut self) {
        (self.row_count, self.warned) = (Some(-1), Some(Role::Primary));
        self.is_counted_there = false;
    }

    /// A setting or a question for settings was answered from memory. It runs before anybody asks
    /// what it left, but perhaps where something else had run.
    pub(super) fn note_replayed(&mut self, has_row: bool) {
        self.note_nothing();
        self.is_found_there = false;
        if has_row {
            (self.row_count, self.found_rows) = (Some(-1), Some(1));
        }
    }

    /// The question with the number in it, for a connection that does not know it. None: it is
    /// not known, or not asked so plainly.
    fn restated(self, text: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(text).ok()?.trim_end_matches([' ', ';']);
        let asked = text.get(..7).filter(|word| word.eq_ignore_ascii_case("SELECT "))?;
        let item = text.get(asked.len()..)?.trim();
        let (call, alias) = match item.find(' ') {
            Some(at) => item.split_at_checked(at)?,
            None => (item, ""),
        };
        let alias = alias.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let name = match alias.split_once(' ') {
            Some((word, name)) if word.eq_ignore_ascii_case("AS") => name.trim(),
            None if alias.is_empty() => call,
            _ => return None,
        };
        if !alias.is_empty() && (name.is_empty() || !name.bytes().all(plain)) {
            return None;
        }
        let number = match call.to_ascii_uppercase().as_str() {
            "ROW_COUNT()" => self.row_count?.to_string(),
            "FOUND_ROWS()" => self.found_rows?.to_string(),
            _ => return None,
        };
        // Of the type that the function itself has.
        Some(format!("SELECT IF(1,{number},{call}) AS `{name}`").into_bytes())
    }
}

impl Session {
    /// It was sent there. `undisturbed`: nobody else has used that since this session did, and
    /// nothing was sent in front.
    pub fn note_sent(&mut self, said: Said<'_>, on: Place, undisturbed: bool) {
        let it = &mut self.implicit;
        let stayed = it.last_on.replace(on) == Some(on) && undisturbed;
        it.stayed = stayed;
        let counts = match said {
            Said::Statement(..) => true,
            Said::Prepare(_) => false,
            Said::Command(command) => !matches!(command, Command::InitDb(_) | Command::Statistics),
        };
        it.is_counted_there = counts || (stayed && it.is_counted_there);
        // Of a statement its answer tells.
        it.is_found_there &= stayed || matches!(said, Said::Statement(..));
    }

    /// The connection that this session used last does not know what this asks.
    #[must_use]
    pub fn counted_elsewhere(&self, asks: Effects) -> bool {
        if asks.has(Effects::FOUND_ROWS) {
            !self.implicit.is_found_there
        } else {
            !self.implicit.is_counted_there
        }
    }

    /// A question about the statement before, as it is to be asked of a connection that knows
    /// nothing of that.
    #[must_use]
    pub fn restated(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.implicit.restated(text)
    }

    /// Whether its connection to a reader is still to be asked something.
    #[must_use]
    pub const fn keeps_reader(&self) -> bool {
        self.reader_kept
    }

    /// It had to be given up.
    pub fn give_up_reader(&mut self) {
        self.reader_kept = false;
        self.implicit.forget(Role::Reader);
    }
}

/// It does no more than ask what the statement before left, and not for LAST_INSERT_ID(): a SET of
/// that in front of it would take the answer away.
pub(super) fn only_asks(it: &Statement) -> bool {
    let more = Effects::INSERT_ID | Effects::WRITES | Effects::CALLS_UNKNOWN | Effects::DANGER;
    it.effects.has(Effects::DIAGNOSTICS)
        && matches!(it.verb, Verb::Select | Verb::Show)
        && it.statements == 1
        && !it.is_long
        && !it.effects.has_any(more)
}

/// It asks for warnings or errors. What asks for a number only (LAST_INSERT_ID() and the like) is a
/// statement like others.
fn keeps_warnings(it: &Statement) -> bool {
    let numbers = Effects::INSERT_ID | Effects::ROW_COUNT | Effects::FOUND_ROWS;
    it.effects.has(Effects::DIAGNOSTICS) && (it.verb == Verb::Show || !it.effects.has_any(numbers))
}

/// On MariaDB only what names a table clears the warnings of the statement before it. Where its
/// tables are not known a word has to do, and without one the connection is not given away.
fn names_tables(it: &Statement, text: &[u8]) -> bool {
    if it.verb == Verb::Prepare {
        // Its FROM is followed by a text.
        return false;
    }
    if it.tables_known {
        return !(it.reads.is_empty() && it.writes.is_empty());
    }
    let is_one = |word: &[u8]| {
        ["FROM", "INTO", "UPDATE", "TABLE"]
            .iter()
            .any(|it| word.eq_ignore_ascii_case(it.as_bytes()))
    };
    text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').any(is_one)
}

/// What a SHOW about the statement before it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Warnings or errors: as many rows as there are, and FOUND_ROWS() stays.
    List,
    /// One row, as a SELECT does.
    Count,
    Unknown,
}

impl Shown {
    fn of(text: &[u8]) -> Self {
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let is_show = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"SHOW"));
        let what = words.next().unwrap_or_default();
        let is = |word: &[u8]| what.eq_ignore_ascii_case(word);
        match () {
            () if !is_show => Self::Unknown,
            () if is(b"WARNINGS") || is(b"ERRORS") => Self::List,
            () if is(b"COUNT(*)") => Self::Count,
            () => Self::Unknown,
        }
    }
}

/// SHOW COLUMNS finds what it shows; of other SHOWs some do and some do not.
fn shows_columns(text: &[u8]) -> bool {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let is = |word: Option<&[u8]>, like: &str| {
        word.is_some_and(|word| word.eq_ignore_ascii_case(like.as_bytes()))
    };
    let is_show = is(words.next(), "SHOW");
    let mut word = words.next();
    if is(word, "FULL") {
        word = words.next();
    }
    is_show && (is(word, "COLUMNS") || is(word, "FIELDS"))
}

/// What counts rows without giving any; so does an INSERT of what it reads.
fn changes_found_rows(it: &Statement, own: Flavour) -> bool {
    match it.verb {
        Verb::Update | Verb::Do => own == Flavour::MySql,
        Verb::Set | Verb::Use | Verb::Begin | Verb::Commit | Verb::Rollback | Verb::Savepoint => {
            false
        }
        Verb::Insert | Verb::Delete => !it.tables_known || !it.reads.is_empty(),
        Verb::Ddl | Verb::LockTables | Verb::UnlockTables => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Classifier, LocalCache, Mode};

    #[test]
    fn what_counts_rows_without_giving_any() {
        let classifier = Classifier::new(1);
        let check = |text: &str, expected: bool| {
            let mode = Mode { lexable: true, flavour: Flavour::MariaDb, ..Mode::default() };
            let it = classifier.classify(&mut LocalCache::default(), text.as_bytes(), mode);
            assert_eq!(changes_found_rows(&it, Flavour::MariaDb), expected, "{text}");
        };
        check("INSERT INTO t VALUES (1)", false);
        check("INSERT INTO t SELECT a FROM t", true);
        check("INSERT INTO t SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT * FROM t)", true);
        check("DELETE FROM t WHERE a IN (SELECT b FROM u)", true);
        check("DELETE FROM t WHERE a = 1", false);
        check("UPDATE t SET a = 1", false);
    }

    #[test]
    fn columns_are_found() {
        for (text, expected) in [
            ("SHOW COLUMNS FROM t", true),
            ("show  full\nfields from t", true),
            ("SHOW FULL TABLES", false),
            ("SHOW CREATE TABLE columns", false),
            ("SHOW", false),
        ] {
            assert_eq!(shows_columns(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_only_asks_is_told() {
        let check = |text: &str, expected: bool| {
            let it = Classifier::new(1).classify(
                &mut LocalCache::default(),
                text.as_bytes(),
                Mode::default(),
            );
            assert_eq!(only_asks(&it), expected, "{text}");
        };
        check("SHOW WARNINGS", true);
        check("SHOW COUNT(*) WARNINGS", true);
        check("SELECT ROW_COUNT()", true);
        check("SELECT @@warning_count", true);
        check("SELECT LAST_INSERT_ID()", false);
        check("SELECT ROW_COUNT(), LAST_INSERT_ID()", false);
        check("SELECT f(ROW_COUNT())", false);
        check("INSERT INTO t VALUES (ROW_COUNT())", false);
        check("SHOW WARNINGS; INSERT INTO t VALUES (1)", false);
        check("SELECT ROW_COUNT() /*!50000 , f() */", false);
        check("SELECT 1", false);
    }

    /// A statement, and a session that was warned before it.
    fn warned_before(own: Flavour, text: &str) -> (Statement, Implicit) {
        let mode = Mode { lexable: true, flavour: own, ..Mode::default() };
        let known = Implicit { warned: Some(Role::Primary), ..Implicit::default() };
        (Classifier::read_once(text.as_bytes(), mode), known)
    }

    #[test]
    fn a_prepare_clears_the_warnings_if_its_tables_are_looked_at() {
        let check = |own: Flavour, text: &str, expected: bool| {
            let (it, mut known) = warned_before(own, text);
            let summary = Summary { end: Some(End::Ok), ..Summary::default() };
            known.note_prepared(&it, &summary, Role::Reader, own);
            assert_eq!(known.needs(Role::Primary), expected, "{own:?} {text}");
        };
        for (text, on_mariadb) in [
            ("SELECT a FROM t", false),
            ("INSERT INTO t VALUES (?)", false),
            ("SELECT ?", true),
            ("SET @a = ?", true),
            ("CALL p(?)", true),
        ] {
            check(Flavour::MariaDb, text, on_mariadb);
            check(Flavour::MySql, text, false);
        }
        check(Flavour::MySql, "SELECT @@warning_count", true);
    }

    #[test]
    fn what_is_shown_of_warnings() {
        let check =
            |text: &str, expected| assert_eq!(Shown::of(text.as_bytes()), expected, "{text}");
        check("SHOW WARNINGS", Shown::List);
        check("show errors LIMIT 1", Shown::List);
        check("SHOW COUNT(*) WARNINGS", Shown::Count);
        check("SHOW/**/WARNINGS", Shown::Unknown);
        check("SHOW WARNINGS;", Shown::Unknown);
        check("/* a */ SHOW WARNINGS", Shown::Unknown);
        check("", Shown::Unknown);
    }

    #[test]
    fn warnings_stay_where_they_may_be() {
        let check = |own: Flavour, text: &str, expected: bool| {
            let (it, mut known) = warned_before(own, text);
            let summary = Summary { end: Some(End::Rows), ..Summary::default() };
            known.note((&it, text.as_bytes()), &summary, Role::Primary, own);
            assert_eq!(known.needs(Role::Primary), expected, "{own:?} {text}");
        };
        for (text, on_mariadb) in [
            ("SELECT a FROM t", false),
            ("UPDATE t SET a = 1", false),
            ("SELECT 1", true),
            ("SELECT @@sql_mode", true),
            ("SET @a = 1", true),
            ("PREPARE p FROM 'SELECT 1'", true),
            ("SELECT a FROM t WHERE id = LAST_INSERT_ID()", false),
            ("SELECT ROW_COUNT()", true),
            // Perhaps.
            ("CALL p()", true),
        ] {
            check(Flavour::MariaDb, text, on_mariadb);
            check(Flavour::MySql, text, false);
        }
        check(Flavour::MySql, "SHOW WARNINGS", true);
        check(Flavour::MySql, "SELECT @@warning_count", true);
    }

    #[test]
    fn field_list_leaves_a_warning_of_its_own_and_no_row() {
        let check = |own, expected| {
            let mut known = Implicit { row_count: Some(2), ..Implicit::default() };
            known.note_field_list(own);
            assert_eq!((known.needs(Role::Primary), known.row_count), expected);
        };
        check(Flavour::MySql, (true, Some(-1)));
        check(Flavour::MariaDb, (false, Some(-1)));
    }

    #[test]
    fn numbers_are_put_into_plain_questions_only() {
        let known = Implicit { found_rows: Some(7), row_count: Some(-1), ..Implicit::default() };
        let check = |text: &str, expected: Option<&str>| {
            let got = known.restated(text.as_bytes());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{text}");
        };
        check("SELECT FOUND_ROWS()", Some("SELECT IF(1,7,FOUND_ROWS()) AS `FOUND_ROWS()`"));
        check("select row_count() ;", Some("SELECT IF(1,-1,row_count()) AS `row_count()`"));
        check("SELECT FOUND_ROWS() AS total", Some("SELECT IF(1,7,FOUND_ROWS()) AS `total`"));
        check("SELECT FOUND_ROWS() + 1", None);
        check("SELECT FOUND_ROWS(), ROW_COUNT()", None);
        check("SELECT FOUND_ROWS() AS `a`b`", None);
        check("SELECT 1", None);
        check("", None);
        let lost = Implicit { found_rows: None, ..known };
        assert_eq!(lost.restated(b"SELECT FOUND_ROWS()"), None);
    }
}
