//! File, environment and flags laid over each other: every value with the place it came from.
//!
//! It knows which keys exist and what kind of value each takes, not what the values mean to each
//! other; that is `check`. Every mistake is noted and the next value is read.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::key::{self, Kind};
use super::rules::Setting;
use super::{Mistake, Sources};
use crate::limits;

/// What was given, by key. A key that is not there was not given.
#[derive(Debug, Default)]
pub(super) struct Raw {
    given: HashMap<&'static str, Given>,
    /// `[[users]]`, in their order.
    pub(super) users: Vec<User>,
}

/// A value and its origin.
#[derive(Debug)]
struct Given {
    kind: ValueKind,
    origin: String,
}

/// One of `[[users]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password_file: String,
}

/// Values that are named one by one: the environment, or flags.
#[derive(Clone, Debug)]
struct Flat(Vec<(&'static str, Value)>);

impl Source for Flat {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }
}

impl Raw {
    /// Reads all sources. Nothing comes back when the file is no TOML at all: whatever else is
    /// said then would be wrong.
    pub(super) fn gather(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let mut builder = config::Config::builder();
        let file = sources.file.as_deref().unwrap_or(Path::new(""));
        if sources.file.is_some() {
            let text = text(file).map_err(|why| mistakes.push(about_file(file, &why))).ok()?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let merged = builder
            .add_source(Flat(environment(sources, mistakes)))
            .add_source(Flat(flags(sources)))
            .build();
        let not_toml = |error| mistakes.push(about_file(file, &not_toml(&error)));
        let merged = merged.map_err(not_toml).ok()?;
        let mut raw = Self::default();
        if let ValueKind::Table(table) = merged.cache.kind {
            raw.walk("", table, &file.display().to_string(), mistakes);
        }
        Some(raw)
    }

    /// Takes a table's known keys and notes the unknown ones.
    fn walk(
        &mut self,
        section: &str,
        table: Map<String, Value>,
        file: &str,
        mistakes: &mut Vec<Mistake>,
    ) {
        let mut table: Vec<_> = table.into_iter().collect();
        table.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (word, value) in table {
            let name = if section.is_empty() { word } else { format!("{section}.{word}") };
            let origin = value.origin().unwrap_or(file).to_owned();
            match (key::find(&name), value.kind) {
                (Some(key), kind) if matches!(key.kind, Kind::Users) => {
                    self.take_users(kind, &origin, mistakes);
                }
                (Some(key), kind) => {
                    self.given.insert(key.name, Given { kind, origin });
                }
                (None, ValueKind::Table(inner)) if section.is_empty() && key::is_section(&name) => {
                    self.walk(&name, inner, file, mistakes);
                }
                (None, _) => mistakes.push(unknown(&name, origin)),
            }
        }
    }

    fn take_users(&mut self, kind: ValueKind, origin: &str, mistakes: &mut Vec<Mistake>) {
        let mut refuse = |key: String, expected: String| {
            mistakes.push(Mistake { key, value: None, origin: Some(origin.into()), expected });
        };
        let ValueKind::Array(users) = kind else {
            return refuse("users".into(), format!("must be {}", Kind::Users.allowed()));
        };
        for (at, user) in users.into_iter().enumerate() {
            match user.try_deserialize::<User>() {
                Ok(user) => self.users.push(user),
                Err(error) => refuse(format!("users[{at}]"), error.to_string()),
            }
        }
    }

    /// The place a key's value came from, if it was given.
    pub(super) fn origin(&self, name: &str) -> Option<String> {
        self.given.get(name).map(|given| given.origin.clone())
    }

    /// Every setting with its value and origin, in the order of the reference.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let setting = |key: &key::Key| {
            let given = self.given.get(key.name);
            let value = match (key.kind, given.map(|given| &given.kind)) {
                (Kind::Users, _) => {
                    self.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ")
                }
                (_, None) => key.default.into(),
                (Kind::Secret, Some(_)) => "(not shown)".into(),
                (_, Some(ValueKind::String(text))) => text.trim().into(),
                (_, Some(other)) => shown(other),
            };
            let origin = match given {
                Some(given) => given.origin.as_str(),
                None if matches!(key.kind, Kind::Users) && !self.users.is_empty() => "[[users]]",
                None => "default",
            };
            Setting { key: key.name, value, origin: origin.into() }
        };
        key::KEYS.iter().map(setting).collect()
    }

    /// Every file that a setting names, but for the socket, which is ours.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let is_read = |key: &&key::Key| matches!(key.kind, Kind::Path) && key.name != "unix";
        let named = key::KEYS.iter().filter(is_read).filter_map(|key| {
            match &self.given.get(key.name)?.kind {
                ValueKind::String(text) => Some(PathBuf::from(text.trim())),
                _ => None,
            }
        });
        named.chain(self.users.iter().map(|user| PathBuf::from(&user.password_file))).collect()
    }

    /// A mistake about a key, with what was given, unless that is a secret.
    pub(super) fn mistake(&self, name: &str, expected: impl Into<String>) -> Mistake {
        let given = self.given.get(name);
        let secret = key::find(name).is_some_and(|key| matches!(key.kind, Kind::Secret));
        let value =
            given.map(|given| if secret { "(not shown)".into() } else { shown(&given.kind) });
        Mistake { key: name.into(), value, origin: self.origin(name), expected: expected.into() }
    }

    /// A whole number within its bounds.
    pub(super) fn whole(&self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<u64> {
        let number = match self.kind(name)? {
            ValueKind::I64(number) => u64::try_from(number).ok(),
            ValueKind::U64(number) => Some(number),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let fits = |number: &u64| match key::find(name).map(|key| key.kind) {
            Some(Kind::Whole { min, max }) => (min..=max).contains(number),
            _ => false,
        };
        self.or_mistake(name, number.filter(fits), mistakes)
    }

    /// A yes or a no.
    pub(super) fn flag(&self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<bool> {
        let flag = match self.kind(name)? {
            ValueKind::Boolean(flag) => Some(flag),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        self.or_mistake(name, flag, mistakes)
    }

    /// One of the key's words.
    pub(super) fn word(&self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
        let listed = |word: &String| match key::find(name).map(|key| key.kind) {
            Some(Kind::Word(words)) => words.contains(&word.as_str()),
            _ => false,
        };
        let word = match self.kind(name)? {
            ValueKind::String(text) => Some(text.trim().to_owned()).filter(listed),
            _ => None,
        };
        self.or_mistake(name, word, mistakes)
    }

    /// Text that is not empty.
    pub(super) fn text(&self, name: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
        let text = match self.kind(name)? {
            ValueKind::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => None,
        };
        self.or_mistake(name, text, mistakes)
    }

    /// A secret, as it was given: no blank is cut off.
    pub(super) fn secret(&self, name: &str) -> Option<String> {
        match self.kind(name)? {
            ValueKind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Texts, from an array or separated by commas; none of them empty.
    pub(super) fn list(&self, name: &str, mistakes: &mut Vec<Mistake>) -> Vec<String> {
        let texts = match self.kind(name) {
            None => return Vec::new(),
            Some(ValueKind::String(text)) if text.trim().is_empty() => return Vec::new(),
            Some(ValueKind::String(text)) => Some(text.split(',').map(str::to_owned).collect()),
            Some(ValueKind::Array(items)) => items
                .into_iter()
                .map(|item| match item.kind {
                    ValueKind::String(text) => Some(text),
                    _ => None,
                })
                .collect::<Option<Vec<String>>>(),
            Some(_) => None,
        };
        let texts: Option<Vec<_>> =
            texts.map(|texts| texts.iter().map(|text| text.trim().to_owned()).collect());
        let texts = texts.filter(|texts| texts.iter().all(|text| !text.is_empty()));
        self.or_mistake(name, texts, mistakes).unwrap_or_default()
    }

    /// What was given, or the default.
    fn kind(&self, name: &str) -> Option<ValueKind> {
        if let Some(given) = self.given.get(name) {
            return Some(given.kind.clone());
        }
        let default = key::find(name)?.default;
        (!default.is_empty()).then(|| ValueKind::String(default.into()))
    }

    fn or_mistake<T>(
        &self,
        name: &str,
        value: Option<T>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        if value.is_none() {
            let allowed = key::find(name).map(|key| key.kind.allowed()).unwrap_or_default();
            mistakes.push(self.mistake(name, format!("must be {allowed}")));
        }
        value
    }
}

fn text(path: &Path) -> Result<String, String> {
    let bytes = read(path, limits::CONFIG_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| "must be UTF-8 text".into())
}

/// A whole file, if it is not larger than a bound; else why not.
pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > bytes_max {
        return Err(format!("must not be larger than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// `FOREBAY__POOL__WAIT_MS_MAX` is `pool.wait_ms_max`.
fn environment(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Vec<(&'static str, Value)> {
    let mut values = Vec::new();
    let mut variables: Vec<_> = sources.environment.iter().collect();
    variables.sort();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let Some(words) = variable.strip_prefix("FOREBAY__") else { continue };
        let name = words.to_lowercase().replace("__", ".");
        let origin = variable.to_owned();
        match (key::find(&name), value.to_str()) {
            (None, _) => mistakes.push(unknown(&name, origin)),
            (Some(_), None) => mistakes.push(Mistake {
                key: name,
                value: None,
                origin: Some(origin),
                expected: "must be UTF-8 text".into(),
            }),
            (Some(key), Some(value)) => {
                values.push((key.name, Value::new(Some(&origin), value)));
            }
        }
    }
    values
}

fn flags(sources: &Sources) -> Vec<(&'static str, Value)> {
    let value = |(flag, key, value): &(&'static str, &'static str, String)| {
        (*key, Value::new(Some(&(*flag).to_owned()), value.clone()))
    };
    sources.flags.iter().map(value).collect()
}

/// The parser's message without the lines it quotes: one of them may hold a password.
fn not_toml(error: &config::ConfigError) -> String {
    let message = error.to_string();
    let is_quoted = |line: &&str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
    };
    let told: Vec<_> = message.lines().filter(|line| !is_quoted(line)).map(str::trim).collect();
    format!("must be TOML: {}", told.join(", "))
}

fn unknown(name: &str, origin: String) -> Mistake {
    let keys = key::siblings(name).join(", ");
    let expected = if key::is_section(name) {
        format!("is a section, [{name}], not a key")
    } else {
        format!("is not a key; there are {keys}")
    };
    Mistake { key: name.into(), value: None, origin: Some(origin), expected }
}

fn about_file(file: &Path, why: &str) -> Mistake {
    Mistake {
        key: file.display().to_string(),
        value: None,
        origin: None,
        expected: why.trim_end().to_owned(),
    }
}

/// A value as its owner typed it, more or less.
fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(&item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(_) => "a table".into(),
        other => other.to_string(),
    }
}
