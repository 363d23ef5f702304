//! What the clients say: scripts made of statements that change a session and of questions that
//! show what it has become.
//!
//! `{db}` is the client's schema, `{n}` a small number, `{v}` the number of the visit. A line that
//! begins with `maria:` or `mysql:` is for that kind of server only. Nothing here may depend on the
//! clock, on the connection's number or on other clients: the answers are compared byte for byte.

use super::super::stack::Flavour;
use super::random::Random;

/// What one client does at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Query(String),
    /// COM_INIT_DB.
    Choose(String),
    Ping,
    Reset,
    /// COM_CHANGE_USER: to which of the accounts, to which schema, if any.
    ChangeUser(usize, Option<String>),
    /// COM_SET_OPTION.
    SeveralStatements(bool),
    /// COM_FIELD_LIST of a table.
    Fields(String),
    Prepare(String),
    /// One of the statements that it prepared, in their order, with one number if it takes one.
    Execute(usize, u8),
    Close(usize),
}

impl Step {
    /// Warnings and numbers that the statement before it has left.
    pub(super) fn asks_what_was_left(&self) -> bool {
        const WORDS: [&str; 6] =
            ["WARNINGS", "ERRORS", "warning_count", "error_count", "ROW_COUNT()", "FOUND_ROWS()"];
        matches!(self, Self::Query(text) if WORDS.iter().any(|word| text.contains(word)))
    }
}

/// One connection from its login to its end.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Which of the accounts.
    pub(super) account: usize,
    pub(super) with_database: bool,
    pub(super) charset: u8,
    pub(super) found_rows: bool,
    pub(super) several_statements: bool,
    pub(super) without_eof: bool,
    pub(super) steps: Vec<Step>,
    /// It says good-bye before it closes.
    pub(super) quits: bool,
}

impl Visit {
    /// FOUND_ROWS() behind an UPDATE, of which MySQL's replies do not tell it: right on the
    /// connection of the UPDATE only, as the README says.
    pub(super) fn asks_what_an_update_found(&self, step: usize) -> bool {
        let is_asked = self.text(step).is_some_and(|text| text.contains("FOUND_ROWS()"));
        let mut before = (0..step).rev().filter_map(|at| self.text(at));
        let last = before.find(|text| text.starts_with("SELECT") || text.starts_with("UPDATE"));
        is_asked && last.is_some_and(|text| text.starts_with("UPDATE"))
    }

    /// Warnings behind a statement that names a user variable and no table: MariaDB leaves them as
    /// they were, and the connection was reset for it, as the README says.
    pub(super) fn asks_behind_a_variable(&self, step: usize) -> bool {
        let names_variable = |text: &str| {
            let others = text.replace("@@", "");
            others.contains("@a") || others.contains("@b")
        };
        let names_table =
            |text: &str| ["FROM", "INTO", "UPDATE"].iter().any(|it| text.contains(it));
        let before = (0..step).rev().map(|at| match &self.steps[at] {
            Step::Prepare(text) => text,
            _ => self.text(at).unwrap_or_default(),
        });
        self.steps[step].asks_what_was_left()
            && before.take_while(|text| !names_table(text)).any(names_variable)
    }

    fn text(&self, step: usize) -> Option<&str> {
        match self.steps.get(step)? {
            Step::Query(text) => Some(text),
            Step::Execute(number, _) => {
                let mut prepared = self.steps.iter().filter_map(|step| match step {
                    Step::Prepare(text) => Some(text.as_str()),
                    _ => None,
                });
                prepared.nth(*number)
            }
            _ => None,
        }
    }
}

/// Statements that change a session, and questions that show it.
struct Topic {
    weight: u32,
    changes: &'static [&'static str],
    looks: &'static [&'static str],
}

/// A latin1 byte would not be text here: such literals are written by their numbers.
const TOPICS: &[Topic] = &[
    Topic {
        weight: 3,
        changes: &[
            "SET SESSION sql_mode = 'ANSI_QUOTES'",
            "SET SESSION sql_mode = ''",
            "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE'",
            "SET sql_mode = CONCAT(@@sql_mode, ',IGNORE_SPACE')",
            "SET sql_mode = 'TRADITIONAL'",
            "SET sql_mode = DEFAULT",
            "SET sql_mode = 'nonsense'",
        ],
        looks: &[
            "SELECT @@SESSION.sql_mode",
            r#"SELECT "text" FROM note WHERE id = 1"#,
            r"SELECT 'a\\b'",
            r"SELECT 'it''s \'', 1",
            "SELECT 'x' || 'y'",
            "SELECT COUNT (*) FROM note",
            "INSERT INTO narrow (d, v) VALUES ('0000-00-00', 'longer than three')",
            "INSERT IGNORE INTO narrow (d, v) VALUES ('2026-02-31', 'abcd')",
        ],
    },
    Topic {
        weight: 3,
        changes: &[
            "SET NAMES latin1",
            "SET NAMES utf8mb4",
            "SET NAMES utf8mb4, collation_connection = utf8mb4_bin",
            "maria:SET NAMES 'utf8'",
            "SET NAMES DEFAULT",
            "SET NAMES gbk",
            "SET NAMES nowhere",
            "SET CHARACTER SET latin1",
            "SET character_set_results = NULL",
            "SET character_set_results = latin1",
            "SET collation_connection = latin1_german2_ci",
            "SET character_set_connection = latin1",
            "SET character_set_client = latin1, @c = 1",
        ],
        looks: &[
            "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, \
             @@collation_connection",
            "SELECT HEX('é'), CHARSET('a'), COLLATION('a')",
            "SELECT 'é', text FROM note ORDER BY id LIMIT 2",
            "SELECT 'a' = 'A', text FROM note WHERE text = 'ÉINS'",
            "SHOW SESSION VARIABLES LIKE 'character_set_re%'",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "SET time_zone = '+0{n}:00'",
            "SET SESSION time_zone = 'SYSTEM'",
            "SET time_zone = 'Nowhere/Else'",
            "SET lc_time_names = 'en_GB'",
            "SET timestamp = 100{n}",
            "SET timestamp = DEFAULT",
        ],
        looks: &[
            "SELECT @@time_zone",
            "SELECT FROM_UNIXTIME(0), n FROM note WHERE id = 1",
            "SELECT DATE_FORMAT('2026-01-05', '%W %M')",
            "SELECT @@timestamp < 2000",
            "SELECT NOW() < '1990-01-01'",
        ],
    },
    Topic {
        weight: 3,
        changes: &[
            "SET group_concat_max_len = {n}",
            "SET SESSION sql_select_limit = {n}",
            "SET sql_select_limit = DEFAULT",
            "SET SESSION max_sort_length = 6{n}",
            "SET div_precision_increment = {n}",
            "SET default_week_format = {n}",
            "SET sql_auto_is_null = 1",
            "SET sql_safe_updates = 1",
            "SET foreign_key_checks = 0, unique_checks = 0",
            "SET sql_notes = 0",
            "SET SESSION sql_big_selects = 0, max_join_size = {n}",
            "SET sql_quote_show_create = 0",
            "SET SESSION wait_timeout = 10{n}, net_read_timeout = 5{n}",
            "SET group_concat_max_len = 'many'",
            "SET GLOBAL max_sort_length = 99",
            "SET @@SESSION.group_concat_max_len = 7{n}, time_zone = '-0{n}:30'",
            "SET max_heap_table_size = 2{n}0000, tmp_table_size = 3{n}0000",
            "SET auto_increment_increment = {n}",
            "SET insert_id = 7{n}",
            "SET rand_seed1 = {n}, rand_seed2 = 5",
            "SET profiling = 0",
        ],
        looks: &[
            "SELECT @@group_concat_max_len, @@sql_select_limit, @@max_sort_length",
            "SELECT @@sql_auto_is_null, @@sql_safe_updates, @@foreign_key_checks, @@sql_notes",
            "SELECT @@wait_timeout, @@net_read_timeout, @@max_heap_table_size",
            "SELECT GROUP_CONCAT(text ORDER BY id) FROM note",
            "SELECT id, n FROM note ORDER BY id",
            "SELECT 1 / 3, n FROM note WHERE id = 2",
            "SELECT WEEK('2026-01-04')",
            "SELECT id FROM note WHERE id IS NULL",
            "UPDATE note SET n = n + 1",
            "SELECT a.id FROM note a, note b, note c ORDER BY a.id, b.id, c.id LIMIT 1",
            "DROP TABLE IF EXISTS nothing_here",
            "SELECT RAND()  < 2",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "SET @a = {n}",
            "SELECT @a := {n}",
            "SELECT n INTO @a FROM note WHERE id = 1",
            "SET @b = (SELECT COUNT(*) FROM note)",
            "SELECT f_set({n})",
            "CALL p_set({n})",
            "INSERT INTO trig (n) VALUES ({n})",
        ],
        looks: &[
            "SELECT @a",
            "SELECT @b, @a, @f, @p",
            "SELECT @trig",
            "SELECT n FROM note WHERE id = @a",
            "SET @a = @a + 1",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "CREATE TEMPORARY TABLE scrap (id INT)",
            "CREATE TEMPORARY TABLE note (id INT, n INT)",
            "CREATE TEMPORARY TABLE scrap AS SELECT id FROM note",
            "DROP TEMPORARY TABLE IF EXISTS scrap",
            "DROP TEMPORARY TABLE IF EXISTS note",
        ],
        looks: &[
            "SELECT COUNT(*) FROM scrap",
            "SELECT COUNT(*) FROM note",
            "INSERT INTO scrap VALUES ({n})",
            "SHOW COLUMNS FROM note",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "SELECT GET_LOCK('{db}_{v}', 0)",
            "DO GET_LOCK('{db}_{v}_b', 0)",
            "SELECT RELEASE_LOCK('{db}_{v}')",
            "SELECT RELEASE_ALL_LOCKS()",
            "LOCK TABLES note WRITE",
            "LOCK TABLES note READ, narrow WRITE",
            "UNLOCK TABLES",
        ],
        looks: &[
            "SELECT IS_FREE_LOCK('{db}_{v}'), IS_USED_LOCK('{db}_{v}_b') IS NULL",
            "SELECT RELEASE_LOCK('{db}_{v}_b')",
            "SELECT COUNT(*) FROM trig",
            "UPDATE note SET n = {n} WHERE id = 1",
        ],
    },
    Topic {
        weight: 4,
        changes: &[
            "BEGIN",
            "START TRANSACTION READ ONLY",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT",
            "COMMIT",
            "ROLLBACK",
            "COMMIT AND CHAIN",
            "SAVEPOINT one",
            "ROLLBACK TO SAVEPOINT one",
            "RELEASE SAVEPOINT one",
            "SET autocommit = 0",
            "SET autocommit = 1",
            "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            "SET TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
            "maria:SET tx_isolation = 'READ-UNCOMMITTED'",
            "mysql:SET @@SESSION.transaction_isolation = 'READ-UNCOMMITTED'",
            "mysql:SET @@transaction_isolation = 'SERIALIZABLE'",
            "SET SESSION TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION READ WRITE",
            "TRUNCATE TABLE trig",
            "XA START '{db}'",
            "XA END '{db}'",
            "XA ROLLBACK '{db}'",
        ],
        looks: &[
            "SELECT @@autocommit",
            "mysql:SELECT @@transaction_isolation, @@transaction_read_only",
            "maria:SELECT @@tx_isolation, @@tx_read_only, @@in_transaction",
            "SELECT COUNT(*), SUM(n) FROM note",
            "INSERT INTO note (n, text) VALUES ({n}, 'drei')",
            "UPDATE note SET n = {n} WHERE id = 2",
            "DELETE FROM note WHERE id > {n}",
            "SELECT n FROM note WHERE id = 1 FOR UPDATE",
        ],
    },
    Topic {
        weight: 4,
        changes: &[
            "INSERT INTO note (n) VALUES ({n})",
            "INSERT INTO note (n) VALUES ({n}), ({n}), (3)",
            "INSERT INTO note (id, n) VALUES (100 + {n}, 1)",
            "REPLACE INTO note (id, n) VALUES ({n}, 4)",
            "INSERT IGNORE INTO note (id, n) VALUES (1, {n})",
            "INSERT INTO note (id, n) VALUES (1, {n}) ON DUPLICATE KEY UPDATE n = 5",
            "INSERT INTO note (id, n) VALUES (1, {n}) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
            "SELECT LAST_INSERT_ID(5{n})",
            "UPDATE note SET n = LAST_INSERT_ID(n + 1) WHERE id = 1",
            "INSERT INTO trig (n) VALUES ({n})",
            "INSERT INTO note (id) VALUES (1)",
        ],
        looks: &[
            "SELECT LAST_INSERT_ID()",
            "SELECT @@last_insert_id, @@identity",
            "INSERT INTO note (n, text) VALUES (LAST_INSERT_ID(), 'id')",
            "UPDATE note SET n = LAST_INSERT_ID() WHERE id = 1",
            "SELECT n FROM note WHERE id = LAST_INSERT_ID()",
            "SELECT MAX(id) FROM note",
        ],
    },
    Topic {
        weight: 4,
        changes: &[
            "SELECT SQL_CALC_FOUND_ROWS id FROM note ORDER BY id LIMIT {n}",
            "SELECT id FROM note ORDER BY id LIMIT {n}",
            "SELECT 1 / 0",
            "SELECT CAST('{n}x' AS SIGNED), id FROM note WHERE id = 1",
            "SELECT nothing FROM note",
            "SELEKT {n}",
            "INSERT INTO nowhere VALUES (1)",
            "UPDATE note SET text = 'far longer than a text here may ever be, by a good deal' WHERE id = {n}",
            "DELETE FROM note WHERE id = {n}",
            "UPDATE note SET n = n WHERE id = 1",
            "SELECT 1 UNION SELECT 2",
            "DO 1",
        ],
        looks: &[
            "SELECT FOUND_ROWS()",
            "SELECT FOUND_ROWS() AS total",
            "SHOW WARNINGS",
            "SHOW WARNINGS LIMIT 1",
            "SHOW COUNT(*) WARNINGS",
            "SHOW ERRORS",
            "SELECT @@warning_count, @@error_count",
            "SELECT ROW_COUNT()",
            "SELECT ROW_COUNT() AS changed",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "PREPARE s FROM 'SELECT n FROM note WHERE id = ?'",
            "PREPARE s FROM 'INSERT INTO note (n) VALUES (?)'",
            "PREPARE t FROM 'SELECT 1'",
            "DEALLOCATE PREPARE s",
            "HANDLER note OPEN",
            "HANDLER note CLOSE",
            "SET @q = {n}",
        ],
        looks: &[
            "EXECUTE s USING @q",
            "EXECUTE t",
            "HANDLER note READ FIRST",
            "HANDLER note READ NEXT",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "USE {db}",
            "USE {db}x",
            "USE nowhere",
            "CREATE TABLE IF NOT EXISTS made (id INT)",
            "DROP TABLE IF EXISTS made",
            "CREATE OR REPLACE VIEW v_made AS SELECT n FROM note",
            "ALTER TABLE narrow COMMENT 'number {n}'",
        ],
        looks: &[
            "SELECT DATABASE()",
            "SELECT n FROM note WHERE id = 1",
            "SHOW TABLES",
            "SELECT COUNT(*) FROM made",
            "SELECT SUM(n) FROM v_note",
            "SELECT COUNT(*) FROM {db}.note, {db}x.note AS b",
        ],
    },
    Topic {
        weight: 2,
        changes: &[
            "SELECT 1; SET @several = {n}; SELECT 2",
            "INSERT INTO note (n) VALUES ({n}); SELECT COUNT(*) FROM note",
            "SET time_zone = '+0{n}:00'; SELECT nothing; SELECT 3",
            "SELECT 1; SELECT SQL_CALC_FOUND_ROWS id FROM note ORDER BY id LIMIT 1",
            "CALL p_rows({n})",
        ],
        looks: &[
            "SELECT @several",
            "/* a comment */ SELECT text FROM note WHERE id = 1",
            "SELECT CURRENT_USER()",
            "/*!50000 SET @hidden = {n} */",
            "SELECT @hidden",
        ],
    },
];

const PREPARED: &[&str] = &[
    "SELECT n, text FROM note WHERE id = ?",
    "SELECT id, n FROM note ORDER BY id",
    "INSERT INTO note (n) VALUES (?)",
    "UPDATE note SET n = ? WHERE id = 1",
    "SELECT @a, ?",
    "SELECT LAST_INSERT_ID()",
    "SELECT GET_LOCK('{db}_{v}', ?)",
    "SELECT @@sql_mode, 'x' || 'y'",
    "SELECT nothing FROM note",
    "SET @a = ?",
    "SELECT SQL_CALC_FOUND_ROWS id FROM note ORDER BY id LIMIT 1",
    "CALL p_rows(?)",
];

/// Makes the scripts of one client.
#[derive(Clone, Copy)]
pub(super) struct Author<'a> {
    pub(super) flavour: Flavour,
    /// The client's schema.
    pub(super) schema: &'a str,
    pub(super) accounts: usize,
}

impl Author<'_> {
    pub(super) fn visit(&self, random: &mut Random, number: usize, steps: usize) -> Visit {
        // A few things at a time: what belongs together has to meet.
        let topics: Vec<&Topic> = (0..4).map(|_| self.topic(random)).collect();
        let mut prepared = 0;
        // FOUND_ROWS() and, on MariaDB, the warnings of before would still be there.
        let settling = || Step::Query(format!("SELECT COUNT(*) FROM {}.narrow", self.schema));
        let mut all = vec![settling()];
        while all.len() < steps {
            let step = self.step(random, number, &topics, &mut prepared);
            let is_reset = matches!(step, Step::Reset | Step::ChangeUser(..));
            all.push(step);
            if is_reset {
                all.push(settling());
            }
        }
        Visit {
            account: random.below(self.accounts),
            with_database: !random.chance(8),
            charset: self.charsets()[random.below(3)],
            found_rows: random.chance(4),
            several_statements: random.chance(3),
            without_eof: random.chance(3),
            steps: all,
            quits: random.chance(2),
        }
    }

    /// Numbers of collations that are their character sets' own: in what is told of a column,
    /// another one would be that.
    fn charsets(&self) -> [u8; 3] {
        match self.flavour {
            Flavour::MariaDb => [45, 8, 33],
            _ => [255, 8, 255],
        }
    }

    fn topic(&self, random: &mut Random) -> &'static Topic {
        let all = TOPICS.iter().map(|topic| topic.weight as usize).sum();
        let mut at = random.below(all);
        for topic in TOPICS {
            match at.checked_sub(topic.weight as usize) {
                Some(rest) => at = rest,
                None => return topic,
            }
        }
        unreachable!("the weights sum up")
    }

    fn step(
        &self,
        random: &mut Random,
        visit: usize,
        topics: &[&Topic],
        prepared: &mut usize,
    ) -> Step {
        match random.below(100) {
            0 => Step::Ping,
            1 | 2 => Step::Choose(self.text(random, visit, ["{db}", "{db}", "{db}x", "nowhere"])),
            3 => Step::Reset,
            4 => Step::ChangeUser(
                random.below(self.accounts),
                (!random.chance(3)).then(|| self.schema.to_owned()),
            ),
            5 | 6 => Step::SeveralStatements(random.chance(2)),
            7 => Step::Fields("note".into()),
            8..=11 => {
                *prepared += 1;
                Step::Prepare(self.text(random, visit, PREPARED.iter().copied()))
            }
            12..=19 if *prepared > 0 => {
                Step::Execute(random.below(*prepared), random.below(10) as u8)
            }
            20..=22 if *prepared > 0 => Step::Close(random.below(*prepared)),
            _ => {
                let topic = topics[random.below(topics.len())];
                let lines = if random.below(100) < 45 { topic.changes } else { topic.looks };
                Step::Query(self.text(random, visit, lines.iter().copied()))
            }
        }
    }

    fn text<'t>(
        &self,
        random: &mut Random,
        visit: usize,
        lines: impl IntoIterator<Item = &'t str>,
    ) -> String {
        let (other, own) = match self.flavour {
            Flavour::MariaDb => ("mysql:", "maria:"),
            _ => ("maria:", "mysql:"),
        };
        let lines: Vec<&str> = lines.into_iter().filter(|it| !it.starts_with(other)).collect();
        let line = lines[random.below(lines.len())];
        let mut text = line.strip_prefix(own).unwrap_or(line).to_owned();
        text = text.replace("{db}", self.schema).replace("{v}", &visit.to_string());
        while text.contains("{n}") {
            text = text.replacen("{n}", &(1 + random.below(6)).to_string(), 1);
        }
        text
    }
}
