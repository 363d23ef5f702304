//! What the operator wants: a file, the environment and flags become `Rules`, or a list of
//! everything that is wrong with them.
//!
//! `key` names every setting, `raw` merges the three sources, `check` gives them meaning, `rules`
//! is the result. It opens no socket; it reads the files that the settings name, so that a mistake
//! shows before anything is bound. Called by `app` (start, reload) and `cli`.

mod check;
mod key;
mod raw;
pub mod rules;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub use key::reference;
pub use rules::Rules;

/// Where settings come from. Later ones win: file, then environment, then flags.
#[derive(Clone, Default)]
pub struct Sources {
    /// The TOML file, if one is named.
    pub file: Option<PathBuf>,
    /// The environment, as the process got it; only `FOREBAY__...` is looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags of the command line: the flag as it is typed, the key that it sets, its value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// One thing that is wrong, told so that it can be put right without the manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, or the file.
    pub key: String,
    /// What was given; never a password.
    pub value: Option<String>,
    /// Which file, variable or flag gave it.
    pub origin: Option<String>,
    /// What is allowed instead.
    pub expected: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

/// Reads and checks everything.
///
/// # Errors
/// All mistakes at once: names first, then values in the order of the reference.
pub fn load(sources: &Sources) -> Result<Rules, Mistakes> {
    let mut mistakes = Vec::new();
    let raw = raw::Raw::gather(sources, &mut mistakes);
    let rules = raw.and_then(|raw| check::check(&raw, &mut mistakes));
    match rules {
        Some(rules) if mistakes.is_empty() => Ok(Rules { sources: sources.clone(), ..rules }),
        _ => Err(Mistakes(mistakes)),
    }
}

/// Variables may hold passwords.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.expected)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(mistakes) = self;
        let noun = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "{} {noun} in the configuration:", mistakes.len())?;
        mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests;
