//! Checks what reads must have seen: the level of everybody, of some users, of some schemas.

use std::time::Duration;

use super::super::raw::Raw;
use super::super::rules::Freshness;
use crate::config::Mistake;
use crate::freshness::{KeyedTables, Level, Levels};

pub(super) fn freshness(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Freshness> {
    let all = raw.word("consistency", mistakes).and_then(|word| Level::named(&word));
    let users = named(raw, "consistency_users", mistakes);
    let schemas = named(raw, "consistency_schemas", mistakes);
    let on_loss = raw.word("on_primary_loss", mistakes);
    let window = raw.whole("freshness.window_ms", mistakes);
    let replica_wait = raw.whole("freshness.replica_wait_ms", mistakes);
    let follower = raw.word("freshness.follower", mistakes);
    let keyed = KeyedTables::with(&raw.list("freshness.keyed_tables", mistakes));
    if let Err(error) = &keyed {
        mistakes.push(raw.mistake("freshness.keyed_tables", error.to_string()));
    }
    Some(Freshness {
        follower: follower? == "auto",
        keyed_tables: keyed.ok()?,
        levels: Levels { all: all?, users, schemas },
        serves_stale: on_loss? == "serve-stale",
        window: Duration::from_millis(window?),
        replica_wait: Duration::from_millis(replica_wait?),
    })
}

/// `name=level`, each name once.
fn named(raw: &Raw, key: &str, mistakes: &mut Vec<Mistake>) -> Vec<(String, Level)> {
    let mut levels: Vec<(String, Level)> = Vec::new();
    for text in raw.list(key, mistakes) {
        let pair = text.rsplit_once('=').map(|(name, level)| (name.trim(), level.trim()));
        let known = pair.and_then(|(name, level)| Some((name, Level::named(level)?)));
        match known {
            Some((name, _)) if levels.iter().any(|(known, _)| known == name) => {
                mistakes.push(raw.mistake(key, format!("names {name:?} twice")));
            }
            Some((name, level)) if !name.is_empty() => levels.push((name.to_owned(), level)),
            _ => {
                let names = Level::NAMES.join(", ");
                let expected = format!("{text:?} must be a name and one of {names}: blog=causal");
                mistakes.push(raw.mistake(key, expected));
            }
        }
    }
    levels
}
