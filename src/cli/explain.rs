//! `forebay explain "<sql>"`: where a statement would go and why, without any server.

use std::process::ExitCode;

use clap::Args;

use super::say;
use crate::admin;
use crate::sql::{Classifier, Flavour, Mode};

/// A statement and the session state that decides how it reads.
#[derive(Args, Debug)]
pub(super) struct Question {
    /// The statement.
    sql: String,
    /// As under sql_mode NO_BACKSLASH_ESCAPES.
    #[arg(long)]
    no_backslash_escapes: bool,
    /// As under sql_mode ANSI_QUOTES.
    #[arg(long)]
    ansi_quotes: bool,
    /// As under sql_mode IGNORE_SPACE.
    #[arg(long)]
    ignore_space: bool,
    /// As for MariaDB; else as for MySQL.
    #[arg(long)]
    mariadb: bool,
}

/// Explains it.
pub(super) fn explain(question: &Question) -> ExitCode {
    let mode = Mode {
        ansi_quotes: question.ansi_quotes,
        no_backslash_escapes: question.no_backslash_escapes,
        ignore_space: question.ignore_space,
        flavour: if question.mariadb { Flavour::MariaDb } else { Flavour::MySql },
        ..Mode::default()
    };
    // One statement, given by whoever runs this: there is no cache to defend with a secret seed.
    say(&admin::explain(&Classifier::new(0), &question.sql, mode));
    ExitCode::SUCCESS
}
