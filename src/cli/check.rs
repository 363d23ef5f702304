//! `forebay check`: everything that is wrong with the configuration, or OK and what it means.
//!
//! It looks at settings and the files they name; it connects to nothing.

use std::process::ExitCode;

use super::{refuse, say};
use crate::config::{self, Rules, Sources};

/// Checks the sources.
pub(super) fn check(sources: &Sources) -> ExitCode {
    match config::load(sources) {
        Ok(rules) => {
            say(&summary(&rules));
            ExitCode::SUCCESS
        }
        Err(mistakes) => refuse(&mistakes),
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
