//! The book of accounts: who may log in with what, as listed or as learned.
//!
//! A learned entry is a password that the primary took; it counts for a while and is then proved
//! anew. The book asks no server itself and reads no clock: `client::greet` does both, and comes
//! here to look up, to wait for its turn, and to write down what came out. All of it is bounded.
//! `app` replaces the listed accounts when their files change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::{Credentials, CryptoError, Digest, Throttle, is_equal, nonce};
use crate::limits::{ACCOUNTS_MAX, PROOFS_AT_ONCE, PROOFS_KEPT_FOR_KNOWN, VERIFIERS_PER_NAME_MAX};
use crate::wire::auth::{Digests, caching_sha2_stage2, native_stage2};

/// What is known about accounts.
pub struct Book {
    /// How often each source was wrong lately.
    pub throttle: Throttle,
    listed: ArcSwap<HashMap<Vec<u8>, Vec<Known>>>,
    learn: bool,
    denied: Vec<Vec<u8>>,
    fresh_for: Duration,
    learned: Mutex<HashMap<Vec<u8>, Vec<Entry>>>,
    refused: Mutex<HashMap<Fingerprint, Instant>>,
    turns: Mutex<HashMap<Fingerprint, Weak<tokio::sync::Mutex<()>>>>,
    proofs: Semaphore,
    proofs_of_known: Semaphore,
    /// How often all proofs were voided.
    voided: AtomicU64,
    key: Zeroizing<[u8; 32]>,
}

/// What the operator decided.
#[derive(Debug)]
pub struct Policy {
    /// Accounts with their passwords: these are compared here and never proved at a server.
    pub listed: Vec<Arc<Credentials>>,
    /// Whether other accounts are learned.
    pub learn: bool,
    /// Names that never log in.
    pub denied: Vec<Vec<u8>>,
    /// How long a proof counts.
    pub fresh_for: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            listed: Vec::new(),
            learn: true,
            denied: vec![b"root".to_vec()],
            fresh_for: Duration::from_secs(60),
        }
    }
}

/// One password of one account, and what tokens are checked against.
#[derive(Debug, Clone)]
pub struct Known {
    /// Name and password.
    pub credentials: Arc<Credentials>,
    /// SHA256(SHA256(password)), for `caching_sha2_password`.
    pub verifier: [u8; 32],
    /// SHA1(SHA1(password)), for `mysql_native_password`.
    pub native: [u8; 20],
}

/// What the book says about a name.
#[derive(Debug)]
pub enum Recall {
    /// Proved a short while ago, or listed.
    Fresh(Arc<Credentials>),
    /// Was right once and has to be proved anew.
    Stale(Arc<Credentials>),
    /// Was right before some account was changed.
    Void(Arc<Credentials>),
    /// Nothing fits.
    Unknown,
}

/// The right to prove one password: nobody else proves the same one meanwhile.
pub struct Turn<'a> {
    /// How often all proofs had been voided when it began.
    voided: u64,
    _same: OwnedMutexGuard<()>,
    _all: SemaphorePermit<'a>,
}

impl Book {
    /// An empty book.
    pub fn new(policy: Policy) -> Result<Book, CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        nonce::fill(&mut *key)?;
        let book = Book {
            throttle: Throttle::default(),
            listed: ArcSwap::default(),
            learn: policy.learn,
            denied: policy.denied,
            fresh_for: policy.fresh_for,
            learned: Mutex::default(),
            refused: Mutex::default(),
            turns: Mutex::default(),
            proofs: Semaphore::new(PROOFS_AT_ONCE - PROOFS_KEPT_FOR_KNOWN),
            proofs_of_known: Semaphore::new(PROOFS_KEPT_FOR_KNOWN),
            voided: AtomicU64::new(0),
            key,
        };
        book.list(policy.listed);
        Ok(book)
    }

    /// Replaces the listed accounts. One whose password is what it was keeps its object.
    pub fn list(&self, accounts: Vec<Arc<Credentials>>) {
        let before = self.listed.load_full();
        let mut listed: HashMap<Vec<u8>, Vec<Known>> = HashMap::new();
        for credentials in accounts {
            let same = |known: &&Known| {
                credentials.expose(|password| known.credentials.is_password(password))
            };
            let known = before.get(&credentials.user).and_then(|known| known.iter().find(same));
            let known = known.cloned().unwrap_or_else(|| Known::new(Arc::clone(&credentials)));
            listed.entry(credentials.user.clone()).or_default().push(known);
        }
        self.listed.store(Arc::new(listed));
    }

    /// Writes down that the primary took this password, when it was this one's turn. Gives back the
    /// entry's own credentials: they stay the same object as long as the password does.
    pub fn learn(
        &self,
        credentials: Arc<Credentials>,
        turn: &Turn<'_>,
        now: Instant,
    ) -> Arc<Credentials> {
        let known = Known::new(credentials);
        let mut learned = lock(&self.learned);
        // An account may have changed since the primary was asked. Looked at under the lock, so
        // that `void` sees this entry, or we see it.
        let proved_at = (self.voided.load(Ordering::Acquire) == turn.voided).then_some(now);
        if !learned.contains_key(&known.credentials.user) && learned.len() >= ACCOUNTS_MAX {
            evict_oldest(&mut learned);
        }
        let entries = learned.entry(known.credentials.user.clone()).or_default();
        let is_it = |entry: &&mut Entry| is_equal(&entry.known.verifier, &known.verifier);
        if let Some(entry) = entries.iter_mut().find(is_it) {
            entry.proved_at = proved_at;
            entry.is_void = proved_at.is_none();
            return Arc::clone(&entry.known.credentials);
        }
        if entries.len() >= VERIFIERS_PER_NAME_MAX {
            let oldest = entries.iter().enumerate().min_by_key(|(_, entry)| entry.proved_at);
            if let Some(at) = oldest.map(|(at, _)| at) {
                entries.swap_remove(at);
            }
        }
        let credentials = Arc::clone(&known.credentials);
        entries.push(Entry { known, proved_at, is_void: proved_at.is_none() });
        credentials
    }

    /// Some account was changed: no proof counts any more, and each is asked for again.
    pub fn void(&self) {
        let mut learned = lock(&self.learned);
        self.voided.fetch_add(1, Ordering::AcqRel);
        for entry in learned.values_mut().flatten() {
            entry.proved_at = None;
            entry.is_void = true;
        }
    }

    /// There was nobody to ask for as long as a login may wait: who comes next does not wait again.
    pub fn spare(&self, credentials: &Arc<Credentials>) {
        let mut learned = lock(&self.learned);
        let entries = learned.get_mut(&credentials.user).map(Vec::as_mut_slice).unwrap_or_default();
        for entry in entries {
            entry.is_void &= !Arc::ptr_eq(&entry.known.credentials, credentials);
        }
    }

    /// Forgets all that was learned about a name.
    pub fn forget(&self, user: &[u8]) {
        lock(&self.learned).remove(user);
    }

    /// Forgets one password: a server refused it.
    pub fn forget_password(&self, credentials: &Credentials) {
        let verifier = credentials.expose(caching_sha2_stage2::<Digest>);
        let mut learned = lock(&self.learned);
        if let Some(entries) = learned.get_mut(&credentials.user) {
            entries.retain(|entry| !is_equal(&entry.known.verifier, &verifier));
            if entries.is_empty() {
                learned.remove(&credentials.user);
            }
        }
    }

    /// Writes down that a server refused this password: for a second nobody asks again.
    pub fn refuse(&self, credentials: &Credentials, now: Instant) {
        self.forget_password(credentials);
        let mut refused = lock(&self.refused);
        if refused.len() >= ACCOUNTS_MAX {
            refused.retain(|_, at| now.saturating_duration_since(*at) < REFUSED_FOR);
        }
        if refused.len() < ACCOUNTS_MAX {
            refused.insert(self.fingerprint(credentials), now);
        }
    }

    /// Whether a server refused this very password within the last second.
    pub fn was_refused(&self, credentials: &Credentials, now: Instant) -> bool {
        let at = lock(&self.refused).get(&self.fingerprint(credentials)).copied();
        at.is_some_and(|at| now.saturating_duration_since(at) < REFUSED_FOR)
    }

    /// Waits for the turn to prove a password. Logins with the same one wait for each other, so
    /// that the second finds what the first learned: 1,000 connects are one login at the primary.
    /// One that was right before does not stand in line with those that never were.
    pub async fn turn(
        &self,
        credentials: &Credentials,
        was_right: bool,
    ) -> Result<Turn<'_>, CryptoError> {
        let fingerprint = self.fingerprint(credentials);
        let same = {
            let mut turns = lock(&self.turns);
            if turns.len() >= ACCOUNTS_MAX {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            turns.get(&fingerprint).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(fingerprint, Arc::downgrade(&turn));
                turn
            })
        };
        let same = same.lock_owned().await;
        let line = if was_right { &self.proofs_of_known } else { &self.proofs };
        let all = line.acquire().await.map_err(|_| CryptoError)?;
        Ok(Turn { voided: self.voided.load(Ordering::Acquire), _same: same, _all: all })
    }

    /// Looks a name up; `fits` says whether a token or a password fits an entry.
    pub fn recall(&self, user: &[u8], now: Instant, fits: impl Fn(&Known) -> bool) -> Recall {
        if let Some(listed) = self.listed.load().get(user) {
            let known = listed.iter().find(|known| fits(known));
            return known.map_or(Recall::Unknown, |k| Recall::Fresh(Arc::clone(&k.credentials)));
        }
        let learned = lock(&self.learned);
        let entries = learned.get(user).map(Vec::as_slice).unwrap_or_default();
        match entries.iter().find(|entry| fits(&entry.known)) {
            None => Recall::Unknown,
            Some(entry) => {
                let credentials = Arc::clone(&entry.known.credentials);
                let age = entry.proved_at.map(|at| now.saturating_duration_since(at));
                if age.is_some_and(|age| age < self.fresh_for) {
                    Recall::Fresh(credentials)
                } else if entry.is_void {
                    Recall::Void(credentials)
                } else {
                    Recall::Stale(credentials)
                }
            }
        }
    }

    /// Whether an unknown name or password may be tried at the primary.
    pub fn may_learn(&self, user: &[u8]) -> bool {
        self.learn && !self.is_listed(user)
    }

    /// Whether the operator listed this name with a password.
    pub fn is_listed(&self, user: &[u8]) -> bool {
        self.listed.load().contains_key(user)
    }

    /// Whether this name never logs in.
    pub fn is_denied(&self, user: &[u8]) -> bool {
        self.denied.iter().any(|denied| denied == user)
    }

    /// A name and a password as a number that tells nothing about either.
    fn fingerprint(&self, credentials: &Credentials) -> Fingerprint {
        let user_bytes = (credentials.user.len() as u64).to_le_bytes();
        credentials.expose(|password| {
            Digest::sha256(&[&*self.key, &user_bytes, &credentials.user, password])
        })
    }
}

impl Known {
    /// Works out what tokens are checked against.
    pub fn new(credentials: Arc<Credentials>) -> Known {
        let native = credentials.expose(native_stage2::<Digest>);
        Known { verifier: credentials.expose(caching_sha2_stage2::<Digest>), native, credentials }
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let learned = lock(&self.learned).len();
        out.debug_struct("Book").field("learned", &learned).finish_non_exhaustive()
    }
}

struct Entry {
    known: Known,
    /// None: the proof was voided.
    proved_at: Option<Instant>,
    /// It has not been asked for since, nor was that tried in vain.
    is_void: bool,
}

type Fingerprint = [u8; 32];

fn evict_oldest(learned: &mut HashMap<Vec<u8>, Vec<Entry>>) {
    let last_proof = |entries: &Vec<Entry>| entries.iter().map(|entry| entry.proved_at).max();
    let oldest = learned.iter().min_by_key(|(_, entries)| last_proof(entries));
    if let Some(user) = oldest.map(|(user, _)| user.clone()) {
        learned.remove(&user);
    }
}

/// A panic elsewhere leaves these maps whole: each change is a single insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a wrong password is not tried again at a server.
const REFUSED_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
