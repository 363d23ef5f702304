//! The command line: flags to settings, and one file for each command.
//!
//! Exit codes: 0 done · 1 it failed · 2 the command line is wrong · 78 the configuration is wrong
//! (`EX_CONFIG`: a supervisor should not try again). Called by `main`, which hands in the program
//! to run, so that nothing here knows how it is built.

mod check;
mod doctor;
mod explain;
mod log;
mod mode;
mod run;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Mistakes, Rules, Sources};

/// The configuration is wrong: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// A read/write-splitting MySQL proxy for WordPress.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, about, after_help = EXITS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong command line, 78 wrong configuration.
Every setting can also be given as FOREBAY__SECTION__KEY; flags win, then the environment, then \
the file.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients until SIGTERM.
    Run(Settings),
    /// Say what is wrong with the configuration, or OK; with --connect, ask the servers too: 0 if
    /// all is well, 1 if something is wrong there.
    Check(check::Question),
    /// Say where a statement would go, and why.
    Explain(explain::Question),
    /// Change how a running proxy routes.
    Mode(mode::Change),
}

/// Settings that have a flag. They stay text: `config` judges them all together.
#[derive(Args, Debug)]
struct Settings {
    /// TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where MySQL clients connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// A Unix socket where they connect too.
    #[arg(long, value_name = "PATH")]
    unix: Option<String>,
    /// The server that takes writes.
    #[arg(long, value_name = "HOST:PORT")]
    primary: Option<String>,
    /// Servers that take reads, separated by commas.
    #[arg(long, value_name = "HOST:PORT,...")]
    replicas: Option<String>,
    /// Status page, metrics and probes; or off.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_http: Option<String>,
    /// Worker threads; 0 means as many as there are processors.
    #[arg(long, value_name = "N")]
    threads: Option<String>,
    /// What a read must have seen: eventual, session, causal or strict.
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<String>,
    /// primary or split.
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
}

/// Does what the arguments say. `program` serves clients by the given rules until it is told to
/// stop, and says how that ended.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    program: impl FnOnce(Rules) -> ExitCode,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are such errors too; there is nobody left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match arguments.command {
        Command::Run(settings) => run::run(&settings.sources(environment), program),
        Command::Check(question) => check::check(question, environment),
        Command::Explain(question) => explain::explain(&question),
        Command::Mode(change) => mode::change(&change),
    }
}

impl Settings {
    fn sources(self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Sources {
        let flags = [
            ("--listen", "listen", self.listen),
            ("--unix", "unix", self.unix),
            ("--primary", "primary", self.primary),
            ("--replicas", "replicas", self.replicas),
            ("--admin-http", "admin.http", self.admin_http),
            ("--threads", "threads", self.threads),
            ("--consistency", "consistency", self.consistency),
            ("--mode", "mode", self.mode),
        ];
        let given = |(flag, key, value): (_, _, Option<String>)| Some((flag, key, value?));
        Sources {
            file: self.config,
            environment: environment.into_iter().collect(),
            flags: flags.into_iter().filter_map(given).collect(),
        }
    }
}

/// Writes to standard output; a reader that left is no mistake of ours.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// Writes to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "forebay: {}", text.trim_end());
}

fn refuse(mistakes: &Mistakes) -> ExitCode {
    complain(&mistakes.to_string());
    ExitCode::from(EXIT_CONFIG)
}

#[cfg(test)]
mod tests;
