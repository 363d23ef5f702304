//! Which statements may change who can log in.
//!
//! It knows no accounts: whatever may concern any voids the proofs of all, and each is asked for
//! again at its next login. That costs a login of ours, so a statement that hides what it does
//! (CALL, EXECUTE) does not count; the proofs' age bounds what is missed. Called by `client`.

use crate::session::Session;
use crate::session::observe::Said;
use crate::sql::{Effects, Verb};

impl Session {
    /// Whether passwords, locks and accounts may be others once it has run.
    #[must_use]
    pub fn may_change_accounts(&self, said: Said<'_>) -> bool {
        let Said::Statement(it, _) = said else { return false };
        let commits = it.effects.has(Effects::IMPLICIT_COMMIT);
        match it.verb {
            // FLUSH PRIVILEGES is one of the second.
            Verb::Account | Verb::Admin => true,
            // What a server runs of `/*! ... */` is not looked into.
            Verb::Ddl | Verb::Other | Verb::Empty if it.effects.has(Effects::DANGER) => true,
            _ if it.statements > 1 => commits,
            _ => it.is_long && self.multi_statements,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Classifier, Mode};

    #[test]
    fn statements_that_change_accounts() {
        let classifier = Classifier::new(1);
        let session = Session::new(1, Mode::default());
        let check = |text: &str, expected: bool| {
            let mut shapes = crate::sql::LocalCache::default();
            let statement = classifier.classify(&mut shapes, text.as_bytes(), Mode::default());
            let said = Said::Statement(&statement, text.as_bytes());
            assert_eq!(session.may_change_accounts(said), expected, "{text}: {statement:?}");
        };
        check("ALTER USER wp IDENTIFIED BY 'x'", true);
        check("alter user 'wp'@'%' account lock", true);
        check("CREATE USER wp IDENTIFIED BY 'x'", true);
        check("DROP USER IF EXISTS wp", true);
        check("RENAME USER wp TO pw", true);
        check("SET PASSWORD FOR wp = 'x'", true);
        check("SET PASSWORD = PASSWORD('x')", true);
        check("GRANT ALL ON wp.* TO wp", true);
        check("REVOKE ALL ON wp.* FROM wp", true);
        check("SET DEFAULT ROLE r TO wp", true);
        check("FLUSH PRIVILEGES", true);
        check("/*!50001 ALTER USER wp IDENTIFIED BY 'x' */", true);
        check("SELECT 1; DROP USER wp", true);
        check("SELECT 1; SELECT 2", false);
        check("SELECT 'ALTER USER wp'", false);
        check("SET NAMES utf8mb4", false);
        check("SET @password = 'x'", false);
        check("UPDATE wp_users SET user_pass = 'x'", false);
        check("CREATE TABLE user (id INT)", false);
        check("CALL p()", false);
        check("COMMIT", false);
    }
}
