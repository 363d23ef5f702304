//! Which statements may be answered from memory, and which make that memory void.
//!
//! A replayable statement's answer depends on the account and on the session's own values alone:
//! SET NAMES, SET of plain session variables with literal values, `SELECT @@x` of such, USE. That
//! it was answered before, and how, is `session::local`'s to know. Called by `rule`.

use super::rule::Lexemes;
use super::setting::CARRIED_VARIABLES;
use super::token::Kind;
use super::verb::Found;
use super::{Effects, Scope, Statement, Verb};

/// Carried, but not by a plain value: it changes by parts.
const NOT_PLAIN: &str = "optimizer_switch";

/// A variable that any account may set, whose value is what it was set to and touches no other.
fn is_plain(name: &str) -> bool {
    CARRIED_VARIABLES.contains(&name) && name != NOT_PLAIN
}

/// Whether one statement may be answered from memory.
pub(crate) fn is_replayable(statement: &Statement, tokens: Lexemes<'_, '_>, found: Found) -> bool {
    match found.verb {
        Verb::Set => is_plain_set(statement),
        Verb::Select => found.at == 0 && asks_for_variables(tokens),
        Verb::Use => statement.use_database.is_some() && statement.effects.is_empty(),
        _ => false,
    }
}

fn is_plain_set(statement: &Statement) -> bool {
    let odd = Effects::USER_VARIABLE | Effects::CALLS_UNKNOWN | Effects::DANGER;
    let plain = |name: &str| name == "names" || is_plain(name);
    !statement.effects.has_any(odd)
        && !statement.settings.is_empty()
        && statement
            .settings
            .iter()
            .all(|one| one.literal && one.scope == Scope::Session && plain(&one.name))
}

/// `SELECT @@a, @@SESSION.b` to its last token.
fn asks_for_variables(tokens: Lexemes<'_, '_>) -> bool {
    let mut at = 1;
    loop {
        if !tokens.symbol(at, b'@') || !tokens.touches(at, b'@') {
            return false;
        }
        at += 2;
        if (tokens.word(at, "SESSION") || tokens.word(at, "LOCAL")) && tokens.symbol(at + 1, b'.') {
            at += 2;
        }
        let named =
            |name: &&str| is_plain(name) && tokens.text(at).eq_ignore_ascii_case(name.as_bytes());
        if tokens.kind(at) != Kind::Word || !CARRIED_VARIABLES.iter().any(named) {
            return false;
        }
        at += 1;
        if at == tokens.len() {
            return true;
        }
        if !tokens.symbol(at, b',') {
            return false;
        }
        at += 1;
    }
}

/// Whether it may change what an account may do, which schemas there are, or how servers are set:
/// then what was answered before says nothing of what would be answered now.
pub(crate) fn is_voiding(statement: &Statement, tokens: Lexemes<'_, '_>, found: Found) -> bool {
    let any = |at: usize, words: &[&str]| words.iter().any(|word| tokens.word(at, word));
    match found.verb {
        Verb::Account | Verb::Call | Verb::Execute => true,
        // GET DIAGNOSTICS is the only one of these that is understood.
        Verb::Other => !statement.effects.has(Effects::DIAGNOSTICS),
        Verb::Admin => any(
            found.at,
            &["FLUSH", "INSTALL", "UNINSTALL", "RESET", "RESTART", "SHUTDOWN", "CLONE"],
        ),
        Verb::Ddl => {
            let object = if tokens.words(found.at + 1, &["OR", "REPLACE"]) { 3 } else { 1 };
            any(found.at + object, &["DATABASE", "SCHEMA"])
        }
        Verb::Set => {
            statement.settings.is_empty()
                || statement.settings.iter().any(|one| one.scope == Scope::Global)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{Classifier, LocalCache, Mode};

    fn check(text: &str, replayable: bool, voiding: bool) {
        let facts =
            Classifier::new(1).classify(&mut LocalCache::new(), text.as_bytes(), Mode::default());
        assert_eq!((facts.is_replayable, facts.is_voiding), (replayable, voiding), "{text}");
    }

    #[test]
    fn plain_settings_may_be_answered_from_memory() {
        for text in [
            "SET NAMES utf8mb4",
            "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_520_ci'",
            "set names utf8;",
            "SET SESSION sql_mode='NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'",
            "SET sql_mode = ''",
            "SET @@SESSION.sql_mode = 'ANSI'",
            "SET @@LOCAL.time_zone := '+00:00'",
            "SET LOCAL time_zone = SYSTEM",
            "SET SESSION group_concat_max_len = 1000000, foreign_key_checks = 0",
            "SET SESSION SQL_BIG_SELECTS=1",
            "SET character_set_results = NULL",
            "SET SESSION transaction_isolation = 'READ-COMMITTED'",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SELECT @@tx_isolation",
            "SELECT @@SESSION.sql_mode",
            "SELECT @@sql_mode",
            "select @@session.sql_mode, @@LOCAL.time_zone , @@collation_connection",
            "USE wordpress",
            "use `wordpress`;",
        ] {
            check(text, true, false);
        }
    }

    #[test]
    fn what_depends_on_more_may_not() {
        for text in [
            "SET sql_mode = CONCAT(@@sql_mode, ',ANSI')",
            "SET sql_mode = DEFAULT",
            "SET @@sql_mode = ''",
            "SET NAMES DEFAULT",
            "SET NAMES utf8mb4, @x = 1",
            "SET sql_mode = @@GLOBAL.sql_mode",
            "SET sql_mode = (SELECT 'ANSI')",
            "SET sql_mode = @x",
            "SET autocommit = 0",
            "SET @x = 1",
            "SET timestamp = 1",
            "SET sql_log_bin = 0",
            "SET last_insert_id = 5",
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET @@transaction_isolation = 'READ-COMMITTED'",
            "SET SESSION TRANSACTION READ ONLY",
            "SET SESSION TRANSACTION READ WRITE, ISOLATION LEVEL READ COMMITTED",
            "SET max_join_size = 5",
            "SET optimizer_switch = 'index_merge=off'",
            "/* forebay: primary */ SET NAMES utf8mb4",
            "SET NAMES utf8mb4; SET sql_mode = ''",
            "SELECT @@GLOBAL.sql_mode",
            "SELECT @@sql_mode, 1",
            "SELECT @@sql_mode AS m",
            "SELECT @@sql_mode FROM wp_posts",
            "SELECT @@sql_mode LIMIT 0",
            "SELECT @@sql_mode /*!50000 , SLEEP(5) */",
            "SELECT @@timestamp",
            "SELECT @@warning_count",
            "SELECT @@identity",
            "SELECT @@hostname",
            "SELECT @sql_mode",
            "(SELECT @@sql_mode)",
            "SELECT 1",
            "SHOW VARIABLES LIKE 'sql_mode'",
            "DO 1",
            "BEGIN",
            "",
        ] {
            check(text, false, false);
        }
    }

    #[test]
    fn what_may_change_the_answers_makes_them_void() {
        for text in [
            "GRANT ALL ON wp.* TO wp",
            "REVOKE ALL ON wp.* FROM wp",
            "CREATE USER x",
            "ALTER USER x IDENTIFIED BY 'y'",
            "DROP USER x",
            "SET PASSWORD = 'x'",
            "DROP DATABASE wp",
            "CREATE SCHEMA IF NOT EXISTS wp",
            "CREATE OR REPLACE DATABASE wp",
            "ALTER DATABASE wp CHARACTER SET latin1",
            "FLUSH PRIVILEGES",
            "SET GLOBAL sql_mode = ''",
            "SET PERSIST sql_mode = ''",
            "SET @@GLOBAL.time_zone = '+00:00'",
            "INSTALL PLUGIN x SONAME 'x.so'",
            "CALL reset_rights()",
            "EXECUTE s",
            "SELECT 1; DROP DATABASE wp",
            "/*!50000 DROP DATABASE wp */",
        ] {
            check(text, false, true);
        }
        for text in [
            "CREATE TABLE t (id INT)",
            "CREATE TEMPORARY TABLE t (id INT)",
            "ALTER TABLE wp_posts ADD COLUMN x INT",
            "DROP TABLE `database`",
            "INSERT INTO wp_options VALUES (1, 'GRANT', 'x')",
            "ANALYZE TABLE wp_posts",
            "GET DIAGNOSTICS @n = NUMBER",
            "LOCK TABLES wp_posts READ",
        ] {
            check(text, false, false);
        }
    }
}
