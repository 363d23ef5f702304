//! Where log lines go: standard error, as text or as JSON.
//!
//! What is logged is decided where it happens; no password is, at any level, and no literal of a
//! statement above `debug`. Called by `run`, once.

use std::io::IsTerminal as _;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::rules::{Log, LogFormat};

/// Starts logging for the whole process.
///
/// # Errors
/// The level cannot be understood, or logging was started already.
pub(super) fn start(log: &Log) -> Result<(), Box<dyn std::error::Error>> {
    let wanted: Targets = log.level.parse()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(wanted)).try_init()?;
    Ok(())
}
