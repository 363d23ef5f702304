//! `forebay check`: everything that is wrong with the configuration, or OK and what it means.
//!
//! It looks at settings and the files they name, and only with `--connect` at the servers.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::{Settings, complain, doctor, refuse, say};
use crate::config::{self, Rules};

/// What is to be checked.
#[derive(Args, Debug)]
pub(super) struct Question {
    #[command(flatten)]
    settings: Settings,
    /// Log in to the servers and say what can be promised there.
    #[arg(long)]
    connect: bool,
    /// The account to log in with; else that of [monitor].
    #[arg(long, value_name = "NAME", requires = "connect", requires = "password_file")]
    user: Option<String>,
    /// A file that holds its password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<String>,
}

/// Checks the settings, and the servers if that was asked for.
pub(super) fn check(
    question: Question,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let mut sources = question.settings.sources(environment);
    let account = [
        ("--user", "monitor.user", question.user),
        ("--password-file", "monitor.password_file", question.password_file),
    ];
    let given = account.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
    sources.flags.extend(given);
    let rules = match config::load(&sources) {
        Ok(rules) => rules,
        Err(mistakes) => return refuse(&mistakes),
    };
    say(&summary(&rules));
    if !question.connect {
        return ExitCode::SUCCESS;
    }
    match doctor::examine(&rules) {
        Ok((report, is_fine)) => {
            say(&report);
            if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn summary(rules: &Rules) -> String {
    let replicas = match rules.replicas.as_slice() {
        [] => "none: every statement goes to the primary".into(),
        replicas => replicas.join(", "),
    };
    let consistency = rules.freshness.levels.all.name();
    let admin = rules.admin_http.map_or("off".into(), |address| address.to_string());
    format!(
        "OK\n  listen       {}\n  primary      {}\n  replicas     {replicas}\n  mode         {}\n  \
         consistency  {consistency}\n  admin        {admin}\n  threads      {}",
        rules.listen,
        rules.primary,
        rules.mode.name(),
        rules.threads,
    )
}
