//! `forebay run`: rules, then logs, then the program.
//!
//! Nothing is bound and no thread is started before the configuration is right.

use std::process::ExitCode;

use super::{complain, log, refuse};
use crate::config::{self, Rules, Sources};

/// Runs the program by the rules that the sources give.
pub(super) fn run(sources: &Sources, program: impl FnOnce(Rules) -> ExitCode) -> ExitCode {
    let rules = match config::load(sources) {
        Ok(rules) => rules,
        Err(mistakes) => return refuse(&mistakes),
    };
    if let Err(error) = log::start(&rules.log) {
        complain(&format!("the log cannot be written: {error}"));
        return ExitCode::FAILURE;
    }
    program(rules)
}
