//! Facts, remembered per shape: a map per thread, then one for the process, then the work itself.
//!
//! A hit allocates nothing but a clone of an `Arc`, and compares a second keyed hash, so that two
//! shapes are never mistaken for one another by chance or by design. Not a policy: what a shape's
//! facts mean is `session`'s to say. Called by `client` for each statement.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::FixedState;

use super::rule::{self, Depth};
use super::shape::{self, Digest};
use super::{Hint, Mode, Proof, Statement};
use crate::limits;

/// Works out what statements do. One per process.
pub struct Classifier {
    keys: shape::Keys,
    shapes: quick_cache::sync::Cache<u128, Entry>,
    distrusted: RwLock<HashSet<u128>>,
    /// Counts `distrust` calls; a thread's cache older than that is emptied.
    epoch: AtomicU64,
}

/// What one thread remembers, and its scratch space.
pub struct LocalCache {
    shapes: HashMap<u128, Entry, FixedState>,
    shape: Vec<u8>,
    epoch: u64,
}

#[derive(Clone)]
struct Entry {
    check: u64,
    statement: Arc<Statement>,
}

impl Classifier {
    /// `seed` keys the hashes, so that no client can craft two shapes that collide.
    #[must_use]
    pub fn new(seed: u64) -> Classifier {
        Classifier {
            keys: shape::Keys::new(seed),
            shapes: quick_cache::sync::Cache::new(limits::DIGEST_CACHE_ENTRIES),
            distrusted: RwLock::new(HashSet::new()),
            epoch: AtomicU64::new(0),
        }
    }

    /// The facts about a statement. Never fails; what is not understood is no proved read.
    pub fn classify(&self, local: &mut LocalCache, text: &[u8], mode: Mode) -> Arc<Statement> {
        match self.look_up(local, text, mode) {
            Ok(statement) => statement,
            Err(miss) => self.work_out(local, miss, mode),
        }
    }

    /// As `classify`, but a shape not seen before is worked out only if `may_work_out` says so.
    /// Else its tokens have to do: no parser, no proof, and nothing is remembered. For a client
    /// that invents shapes.
    pub fn classify_if(
        &self,
        local: &mut LocalCache,
        text: &[u8],
        mode: Mode,
        may_work_out: impl FnOnce() -> bool,
    ) -> Arc<Statement> {
        match self.look_up(local, text, mode) {
            Ok(statement) => statement,
            Err(miss) if may_work_out() => self.work_out(local, miss, mode),
            Err(Miss { digest, hint }) => Arc::new(Statement {
                is_unparsed: true,
                ..unproved(&local.shape, mode, hint, digest, "new shapes too fast")
            }),
        }
    }

    /// Facts from the first bytes of a text that is too long to parse: what the tokens show, and
    /// never a proved read.
    #[must_use]
    pub fn scan_long(text_prefix: &[u8], mode: Mode) -> Statement {
        let mut shape = Vec::new();
        let prefix = text_prefix.get(..limits::COMMAND_ROUTED_BYTES_MAX).unwrap_or(text_prefix);
        let hint = match mode.lexable {
            true => shape::write_shape(prefix, mode, &mut shape),
            false => Hint::None,
        };
        let facts = unproved(&shape, mode, hint, Digest::NONE, "too long");
        Statement { is_replayable: false, ..facts }
    }

    /// The facts about a text that is not expected again: nothing is remembered.
    #[must_use]
    pub fn read_once(text: &[u8], mode: Mode) -> Statement {
        if text.len() > limits::COMMAND_ROUTED_BYTES_MAX || !mode.lexable {
            return Self::scan_long(text, mode);
        }
        let mut shape = Vec::new();
        let hint = shape::write_shape(text, mode, &mut shape);
        rule::facts(&shape, mode, hint, Digest::NONE, Depth::Whole)
    }

    /// A replica refused this shape as a write: it is the primary's for ever.
    pub fn distrust(&self, digest: u128) {
        let mut distrusted = self.distrusted.write().unwrap_or_else(PoisonError::into_inner);
        if distrusted.len() < limits::SHAPES_DISTRUSTED_MAX {
            distrusted.insert(digest);
        }
        drop(distrusted);
        self.shapes.clear();
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn look_up(
        &self,
        local: &mut LocalCache,
        text: &[u8],
        mode: Mode,
    ) -> Result<Arc<Statement>, Miss> {
        if text.len() > limits::COMMAND_ROUTED_BYTES_MAX {
            let scanned = Classifier::scan_long(text, mode);
            return Ok(Arc::new(Statement { is_long: true, ..scanned }));
        }
        if !mode.lexable {
            return Ok(Arc::new(Statement::unknown("character set")));
        }
        let hint = shape::write_shape(text, mode, &mut local.shape);
        let digest = self.keys.digest(&local.shape, mode, hint);
        let epoch = self.epoch.load(Ordering::Acquire);
        if local.epoch != epoch {
            local.shapes.clear();
            local.epoch = epoch;
        }
        if let Some(entry) = local.shapes.get(&digest.key)
            && entry.check == digest.check
        {
            return Ok(Arc::clone(&entry.statement));
        }
        match self.shapes.get(&digest.key) {
            Some(entry) if entry.check == digest.check => {
                let statement = Arc::clone(&entry.statement);
                local.keep(digest, &statement);
                Ok(statement)
            }
            _ => Err(Miss { digest, hint }),
        }
    }

    /// The slow path: tokens, parser, then both caches.
    fn work_out(&self, local: &mut LocalCache, miss: Miss, mode: Mode) -> Arc<Statement> {
        let Miss { digest, hint } = miss;
        let mut facts = rule::facts(&local.shape, mode, hint, digest, Depth::Whole);
        if facts.proof == Proof::Read && self.is_distrusted(digest.key) {
            facts.proof = Proof::No;
            facts.why = "a replica refused it as a write";
        }
        let statement = Arc::new(facts);
        let entry = Entry { check: digest.check, statement: Arc::clone(&statement) };
        self.shapes.insert(digest.key, entry);
        local.keep(digest, &statement);
        statement
    }

    /// A full list distrusts every new shape: that many refusals mean that something else is wrong.
    fn is_distrusted(&self, digest: u128) -> bool {
        let distrusted = self.distrusted.read().unwrap_or_else(PoisonError::into_inner);
        distrusted.len() >= limits::SHAPES_DISTRUSTED_MAX || distrusted.contains(&digest)
    }
}

/// What the tokens of a shape show. Not even a hint makes it a read.
fn unproved(shape: &[u8], mode: Mode, hint: Hint, digest: Digest, why: &'static str) -> Statement {
    let facts = rule::facts(shape, mode, hint, digest, Depth::TokensOnly(why));
    let why = if facts.why.is_empty() { why } else { facts.why };
    Statement { proof: Proof::No, why, ..facts }
}

struct Miss {
    digest: Digest,
    hint: Hint,
}

impl LocalCache {
    /// An empty one.
    #[must_use]
    pub fn new() -> LocalCache {
        LocalCache { shapes: HashMap::default(), shape: Vec::new(), epoch: 0 }
    }

    fn keep(&mut self, digest: Digest, statement: &Arc<Statement>) {
        if self.shapes.len() >= limits::DIGEST_CACHE_THREAD_ENTRIES {
            // The process-wide cache still has them; what is hot comes back at once.
            self.shapes.clear();
        }
        let entry = Entry { check: digest.check, statement: Arc::clone(statement) };
        self.shapes.insert(digest.key, entry);
    }
}

impl Default for LocalCache {
    fn default() -> LocalCache {
        LocalCache::new()
    }
}
