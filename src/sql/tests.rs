//! Tables of statements and what they are taken for.
//!
//! A line is a text and its facts: `R` proved read, `U` unknown read, `P` primary; then the verb
//! unless it is SELECT, effects, tables read and `>` tables written (`?` if not all are known).

use super::*;

mod corpus;
mod property;
mod slot;
mod trap;
mod wordpress;

fn facts(text: &[u8], mode: Mode) -> std::sync::Arc<Statement> {
    Classifier::new(1).classify(&mut LocalCache::new(), text, mode)
}

fn name(table: &Table) -> String {
    table.schema.iter().map(|schema| format!("{schema}.")).collect::<String>() + &table.name
}

fn line(statement: &Statement) -> String {
    let mut line = match statement.proof {
        Proof::Read => "R",
        Proof::UnknownRead => "U",
        Proof::No => "P",
    }
    .to_owned();
    if statement.verb != Verb::Select {
        line += &format!(" {:?}", statement.verb);
    }
    // Nearly every statement names a table; what asks for an insert id is in the table anyway.
    let effects = statement.effects.without(
        Effects::DATABASE_MATTERS | Effects::INSERT_ID | Effects::FOUND_ROWS | Effects::ROW_COUNT,
    );
    if !effects.is_empty() {
        line += &format!(" {effects}");
    }
    for table in &statement.reads {
        line += &format!(" {}", name(table));
    }
    for table in &statement.writes {
        line += &format!(" >{}", name(table));
    }
    for setting in &statement.settings {
        let literal = if setting.literal { "" } else { "~" };
        line += &format!(" {literal}{}:{:?}", setting.name, setting.scope);
    }
    if let Some(database) = &statement.use_database {
        line += &format!(" use:{database}");
    }
    let tables = matches!(
        statement.verb,
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::Ddl
    );
    if !statement.tables_known && (tables || statement.proof == Proof::Read) {
        line += " ?";
    }
    if statement.statements != 1 {
        line += &format!(" x{}", statement.statements);
    }
    line
}

#[track_caller]
fn check_in(mode: Mode, text: &str, expected: &str) {
    let statement = facts(text.as_bytes(), mode);
    assert_eq!(line(&statement), expected, "{text} ({})", statement.why);
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_in(Mode::default(), text, expected);
}

/// A line is `text ==> facts`; `\\n` in it is a new line and `\\\\` a backslash.
fn check_table(table: &str) {
    let mut checked = 0;
    for row in table.lines().filter(|row| !row.is_empty()) {
        let (text, expected) = row.split_once(" ==> ").unwrap();
        check(&text.replace("\\n", "\n").replace("\\\\", "\\"), expected);
        checked += 1;
    }
    assert!(checked > 10);
}

#[test]
fn modes_decide_what_a_quote_is() {
    let plain = Mode::default();
    let ansi = Mode { ansi_quotes: true, ..plain };
    let no_escapes = Mode { no_backslash_escapes: true, ..plain };
    let ignore_space = Mode { ignore_space: true, ..plain };
    let gbk = Mode { lexable: false, ..plain };
    check_in(plain, r#"SELECT a FROM t WHERE b = "c""#, "R t");
    check_in(ansi, r#"SELECT a FROM "t" WHERE "b" = 'c'"#, "R t");
    check_in(ansi, r#"SELECT "now"()"#, "U CALLS_UNKNOWN");
    check_in(ansi, r#"SELECT a FROM "t""x`y""#, r#"R t"x`y"#);
    check_in(plain, r"SELECT 'a\' FOR UPDATE -- '", "R");
    check_in(no_escapes, r"SELECT 'a\' FOR UPDATE -- '", "P LOCKS_ROWS");
    check_in(no_escapes, r"SELECT 'a\' FROM t", "R t");
    check_in(plain, r"SELECT 'a\' FROM t", "P CALLS_UNKNOWN DANGER");
    check_in(plain, "SELECT COUNT (*) FROM t", "U CALLS_UNKNOWN");
    check_in(ignore_space, "SELECT COUNT (*), NOW () FROM t", "R t");
    check_in(ignore_space, "SELECT NOW/**/() FROM t", "U CALLS_UNKNOWN");
    check_in(gbk, "SELECT a FROM t", "P Other WRITES CALLS_UNKNOWN DANGER");
}

#[test]
fn odd_bytes_stay_on_the_primary() {
    let check = |text: &[u8], proof: Proof| {
        let statement = facts(text, Mode::default());
        assert_eq!(statement.proof, proof, "{} ({})", text.escape_ascii(), statement.why);
    };
    check(b"SELECT '\xe9' FROM t", Proof::Read);
    check(b"SELECT 'a\0b' FROM t", Proof::Read);
    check(b"SELECT a /* \xe9 */ FROM t", Proof::Read);
    check(b"SELECT `\xe9` FROM t", Proof::UnknownRead);
    check(b"SELECT 1\0FROM t", Proof::No);
    check(b"SELECT 1 -- \0\nFROM t", Proof::No);
    check(b"SELECT 1 /* \0 */ FROM t", Proof::No);
    check(b"SELECT * FROM t\xa0FOR\xa0UPDATE", Proof::No);
    check(b"SELECT * FROM t\xc2\xa0WHERE a = 1", Proof::No);
    check(b"SELECT 1\x7f", Proof::No);
}

#[test]
fn hints_are_read_from_leading_comments_only() {
    let check = |text: &str, hint: Hint| {
        assert_eq!(facts(text.as_bytes(), Mode::default()).hint, hint, "{text}");
    };
    check("/* forebay: primary */ SELECT 1", Hint::Primary);
    check("/*forebay:replica*/SELECT f()", Hint::Replica);
    check(" -- x\n/* Forebay: EVENTUAL */ SELECT 1", Hint::Eventual);
    check("/* a */ /* forebay: replica */ /* forebay: primary */ SELECT 1", Hint::Primary);
    check("/* forebay: primary */ /* forebay: replica */ SELECT 1", Hint::Primary);
    check("-- /* forebay: primary */\nSELECT 1", Hint::None);
    check("SELECT 1 /* forebay: primary */", Hint::None);
    check("/* forebay: everything */ SELECT 1", Hint::None);
    check("SELECT '/* forebay: primary */'", Hint::None);
    check("/*! forebay: primary */ SELECT 1", Hint::None);
}

#[test]
fn shapes_forget_only_what_cannot_decide() {
    let digest = |text: &str| facts(text.as_bytes(), Mode::default()).digest;
    let same = |one: &str, other: &str| assert_eq!(digest(one), digest(other), "{one} | {other}");
    let differ = |one: &str, other: &str| assert_ne!(digest(one), digest(other), "{one} | {other}");
    same("SELECT 1  FROM t", "SELECT 2 FROM\n\tt ");
    same("SELECT 'a' FROM t", "SELECT 'it''s' FROM t");
    same("/* x */ SELECT 1", "SELECT 1");
    same("SELECT a IN (1,2,3)", "SELECT a IN (4)");
    same("SELECT a IN ('x' , 'y')", "SELECT a IN ('z')");
    same("SELECT a LIMIT 5, 10", "SELECT a LIMIT 10, 20");
    differ("SELECT a = 1", "SELECT a = '1'");
    differ("SELECT a = 1", "SELECT a = 1.0");
    differ("SELECT a = 1", "SELECT a = 0x1");
    differ("SELECT a = 1", "SELECT a = NULL");
    differ("SELECT a IN (1)", "SELECT a IN (1, 'x')");
    differ("SELECT a IN ('x' 'y', 'z')", "SELECT a IN ('x', 'z')");
    differ("SELECT a IN ('x' 'y', 'z')", "SELECT a IN ('x', 'y' 'z')");
    differ("SELECT 'a' 'b'", "SELECT 'ab'");
    differ("SELECT a LIMIT 0", "SELECT a LIMIT 1");
    differ("SELECT a LIMIT 1", "SELECT a");
    differ("SELECT _latin1'a'", "SELECT _utf8'a'");
    differ("SELECT 'a'", "SELECT N'a'");
    differ("SHOW TABLES LIKE 'a'", "SHOW TABLES LIKE 'b'");
    differ("SET sql_mode = 'a'", "SET sql_mode = 'b'");
    differ("SELECT 1; SET a = 1", "SELECT 1; SET a = 2");
    differ("SELECT /*!50000 1 */ 2", "SELECT /*!50000 3 */ 2");
    differ("SELECT /*+ A() */ 1", "SELECT /*+ B() */ 1");
    differ("SELECT now()", "SELECT now ()");
    differ("SELECT now()", "SELECT now/**/()");
    differ("/* forebay: primary */ SELECT 1", "SELECT 1");
    differ("SELECT `a`", "SELECT a");
    differ("SELECT 1", "SELECT 1; SELECT 1");
}

#[test]
fn a_distrusted_shape_never_is_a_proved_read_again() {
    let classifier = Classifier::new(1);
    let (mut here, mut there) = (LocalCache::new(), LocalCache::new());
    let mut classify = |local: usize, text: &str| {
        let local = if local == 0 { &mut here } else { &mut there };
        classifier.classify(local, text.as_bytes(), Mode::default())
    };
    let first = classify(0, "SELECT a FROM v WHERE b = 1");
    classify(1, "SELECT a FROM v WHERE b = 1");
    assert_eq!(first.proof, Proof::Read);
    classifier.distrust(first.digest);
    for local in [0, 1] {
        assert_eq!(classify(local, "SELECT a FROM v WHERE b = 2").proof, Proof::No);
        assert_eq!(classify(local, "SELECT a FROM u WHERE b = 2").proof, Proof::Read);
    }
}

#[test]
fn long_texts_are_scanned_and_never_proved() {
    let long = format!("SELECT a FROM t WHERE b = '{}' FOR UPDATE", "x".repeat(20_000));
    let statement = facts(long.as_bytes(), Mode::default());
    assert_eq!((statement.verb, statement.proof), (Verb::Select, Proof::No));
    let long = format!("INSERT INTO t VALUES (GET_LOCK('a', 1), '{}')", "x".repeat(20_000));
    let statement = facts(long.as_bytes(), Mode::default());
    assert!(statement.effects.has(Effects::WRITES | Effects::USER_LOCK), "{}", statement.effects);
}
