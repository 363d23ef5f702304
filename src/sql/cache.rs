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
    seed: u64,
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
            seed,
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

    /// As `classify`, but a shape not seen before is not worked out: `None`. For a client that
    /// invents shapes; its statement then gets `scan_long`.
    pub fn classify_known(
        &self,
        local: &mut LocalCache,
        text: &[u8],
        mode: Mode,
    ) -> Option<Arc<Statement>> {
        self.look_up(local, text, mode).ok()
    }

    /// Facts from the first bytes of a text that is too long to parse, or that is not worth it:
    /// what the tokens show, and never a proved read.
    #[must_use]
    pub fn scan_long(text_prefix: &[u8], mode: Mode) -> Statement {
        let mut shape = Vec::new();
        let prefix = text_prefix.get(..limits::COMMAND_ROUTED_BYTES_MAX).unwrap_or(text_prefix);
        let hint = match mode.lexable {
            true => shape::write_shape(prefix, mode, &mut shape),
            false => Hint::None,
        };
        let digest = shape::digest(&shape, mode, hint, 0);
        let depth = Depth::TokensOnly("too long, or new shapes too fast");
        let mut statement = rule::facts(&shape, mode, hint, digest, depth);
        statement.proof = Proof::No;
        statement.is_replayable = false;
        statement
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
        let digest = shape::digest(&local.shape, mode, hint, self.seed);
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
