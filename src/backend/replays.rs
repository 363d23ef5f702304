//! What servers said before, for as long as they would say it again.
//!
//! Shared by all sessions. Bounded in number and in age; void as a whole whenever rights, schemas
//! or a server's own settings may have changed, or another primary answers. What an answer depends
//! on is `session::local`'s to say; `client::replay` asks and keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::session::local::{Key, Recording};
use crate::session::variable::Values;

/// The memory of all sessions.
#[derive(Debug)]
pub struct Replays {
    /// None: nothing is remembered.
    fresh_for: Option<Duration>,
    epoch: AtomicU64,
    kept: quick_cache::sync::Cache<u64, Entry>,
}

/// When something was asked: an answer is as old as its question.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    epoch: u64,
    at: Instant,
}

#[derive(Clone, Debug)]
struct Entry {
    asked: Asked,
    recording: Arc<Recording>,
}

impl Replays {
    /// Nothing yet. `fresh_for`: how long an answer may be given again; none: never.
    #[must_use]
    pub fn new(fresh_for: Option<Duration>) -> Self {
        Self {
            fresh_for,
            epoch: AtomicU64::new(0),
            kept: quick_cache::sync::Cache::new(limits::REPLAYS_MAX),
        }
    }

    /// To be said before a question is sent. None: its answer will not be kept.
    #[must_use]
    pub fn ask(&self) -> Option<Asked> {
        self.fresh_for?;
        Some(Asked { epoch: self.epoch.load(Ordering::Acquire), at: Instant::now() })
    }

    /// What was answered to it before.
    #[must_use]
    pub fn find(&self, key: &Key<'_>) -> Option<Arc<Recording>> {
        let fresh_for = self.fresh_for?;
        let Entry { asked, recording } = self.kept.get(&key.hash())?;
        let is_fresh = asked.epoch == self.epoch.load(Ordering::Acquire)
            && asked.at.elapsed() < fresh_for
            && recording.fits(key);
        is_fresh.then_some(recording)
    }

    /// Remembers an answer under the hash of its key.
    pub fn keep(&self, hash: u64, asked: Asked, recording: Recording) {
        self.kept.insert(hash, Entry { asked, recording: Arc::new(recording) });
    }

    /// Whether the account was let into the schema before.
    #[must_use]
    pub fn knows_schema(&self, account: u64, schema: &[u8]) -> bool {
        self.find(&Key::of_login(account, &Values::default(), schema)).is_some()
    }

    /// The account was let into the schema.
    pub fn keep_schema(&self, asked: Option<Asked>, account: u64, schema: &[u8]) {
        let nothing = Values::default();
        let key = Key::of_login(account, &nothing, schema);
        let draft = key.draft();
        if let Some(asked) = asked.filter(|_| draft.is_small()) {
            self.keep(key.hash(), asked, draft);
        }
    }

    /// Whatever was answered so far may be answered otherwise now. To be called before anybody is
    /// told that something changed.
    pub fn void(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn schemas_are_known_for_a_while() {
        let replays = Replays::new(Some(Duration::from_secs(60)));
        let asked = replays.ask();
        assert!(!replays.knows_schema(1, b"wp"));
        replays.keep_schema(asked, 1, b"wp");
        assert!(replays.knows_schema(1, b"wp"));
        assert!(!replays.knows_schema(2, b"wp"), "another account");
        assert!(!replays.knows_schema(1, b"wq"), "another schema");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(replays.knows_schema(1, b"wp"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!replays.knows_schema(1, b"wp"), "too old");
        replays.keep_schema(asked, 1, b"wp");
        assert!(!replays.knows_schema(1, b"wp"), "as old as its question");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_makes_all_void_also_what_was_asked_before_it() {
        let replays = Replays::new(Some(Duration::from_secs(60)));
        let asked = replays.ask();
        replays.keep_schema(asked, 1, b"wp");
        replays.void();
        assert!(!replays.knows_schema(1, b"wp"));
        replays.keep_schema(asked, 1, b"wp");
        assert!(!replays.knows_schema(1, b"wp"), "the answer may be from before the change");
        replays.keep_schema(replays.ask(), 1, b"wp");
        assert!(replays.knows_schema(1, b"wp"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_turned_off() {
        let replays = Replays::new(None);
        assert!(replays.ask().is_none());
        replays.keep_schema(replays.ask(), 1, b"wp");
        assert!(!replays.knows_schema(1, b"wp"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded() {
        let replays = Replays::new(Some(Duration::from_secs(60)));
        for account in 0..3 * limits::REPLAYS_MAX as u64 {
            replays.keep_schema(replays.ask(), account, b"wp");
        }
        assert!(replays.kept.len() <= limits::REPLAYS_MAX);
        replays.keep_schema(replays.ask(), 1, &vec![b'x'; limits::REPLAY_BYTES_MAX + 1]);
        assert!(!replays.knows_schema(1, &vec![b'x'; limits::REPLAY_BYTES_MAX + 1]), "too long");
    }
}
