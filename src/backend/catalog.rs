//! Reads each account's catalog at the primary, keeps it fresh, and hides what DDL changes.
//!
//! With the account's own login, as what can be seen depends on its rights. Read when an account
//! is proved, after every change that passed through this process, and once a minute. Until then
//! an account's named reads are the primary's. What follows from a catalog is `session`'s.

mod question;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::fleet::Fleet;
use crate::backend::pool::Lease;
use crate::cluster::catalog::Changing;
use crate::cluster::{Catalog, Changes, Names};
use crate::limits;
use crate::secret::Credentials;
use crate::session::Session;
use crate::session::observe::Said;
use crate::sql::Statement;

/// What others changed is seen after this.
const OLD: Duration = Duration::from_secs(60);
/// Between two looks which catalogs are due.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A login waits so long for its catalog; after that it is read beside it.
const LOGIN_WAIT: Duration = Duration::from_millis(500);
/// How long the primary may think.
const READ_WAIT: Duration = Duration::from_secs(20);
/// After a reading it rests so many times as long as that took, but no longer than `REST_MAX`.
const RESTS: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(20);

/// DDL whose end nobody heard may go on for so long.
const GOES_ON: Duration = Duration::from_secs(600);

/// The catalogs of all accounts.
#[derive(Debug, Default)]
pub struct Catalogs {
    changes: Arc<Changes>,
    accounts: Mutex<BTreeMap<u64, Arc<Account>>>,
    /// A catalog is to be read at once.
    due: Arc<Notify>,
    unheard: Arc<Mutex<Vec<(Instant, Changing)>>>,
}

/// A command on its way that may change names. Dropped, its end was not heard.
#[derive(Debug)]
pub struct Underway {
    changing: Option<Changing>,
    due: Arc<Notify>,
    unheard: Arc<Mutex<Vec<(Instant, Changing)>>>,
}

/// What is known of one account's names.
#[derive(Debug)]
pub struct Account {
    number: u64,
    credentials: Arc<Credentials>,
    changes: Arc<Changes>,
    due: Arc<Notify>,
    catalog: ArcSwap<Catalog>,
    /// Somebody asked since it was read.
    used: AtomicBool,
    upkeep: Mutex<Upkeep>,
}

#[derive(Debug)]
struct Upkeep {
    /// When it was read, or should have been.
    at: Instant,
    /// Not to be tried again before.
    rests_until: Instant,
    complained: bool,
}

impl Catalogs {
    /// The catalog of an account; unread if it was never seen.
    #[must_use]
    pub fn of(&self, number: u64, credentials: &Arc<Credentials>) -> Arc<Account> {
        let mut accounts = self.lock();
        if let Some(known) = accounts.get(&number) {
            return Arc::clone(known);
        }
        let now = Instant::now();
        let account = Arc::new(Account {
            number,
            credentials: Arc::clone(credentials),
            changes: Arc::clone(&self.changes),
            due: Arc::clone(&self.due),
            catalog: ArcSwap::from_pointee(Catalog::default()),
            used: AtomicBool::new(false),
            upkeep: Mutex::new(Upkeep { at: now, rests_until: now, complained: false }),
        });
        if accounts.len() < limits::ACCOUNTS_MAX {
            accounts.insert(number, Arc::clone(&account));
        }
        account
    }

    /// A command is about to be sent: what it may do to names is hidden until it has ended and
    /// was looked at.
    #[must_use]
    pub fn begin(&self, session: &Session, said: Said<'_>) -> Option<Underway> {
        let change = session.changes(said)?;
        Some(Underway {
            changing: Some(self.changes.begin(change.names, change.at_once)),
            due: Arc::clone(&self.due),
            unheard: Arc::clone(&self.unheard),
        })
    }

    fn give_up_unheard(&self) {
        let now = Instant::now();
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        unheard.retain(|(until, _)| *until > now);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Underway {
    /// It has ended: the catalogs that it changed, if it did, are read anew.
    pub fn end(mut self, changed_nothing: bool) {
        match self.changing.take() {
            Some(changing) if changed_nothing => changing.cancel(),
            changing => {
                drop(changing);
                self.due.notify_one();
            }
        }
    }
}

impl Drop for Underway {
    /// The server may be at it still, without anybody who listens. Its names stay hidden for a
    /// while; if it names none, all names cannot.
    fn drop(&mut self) {
        let Some(changing) = self.changing.take() else { return };
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        if changing.is_named() && unheard.len() < limits::CATALOG_CHANGES_MAX {
            unheard.push((Instant::now() + GOES_ON, changing));
        }
        drop(unheard);
        self.due.notify_one();
    }
}

impl Account {
    /// A statement with what its names are to this account.
    #[must_use]
    pub fn see(&self, session: &Session, statement: Arc<Statement>) -> Arc<Statement> {
        self.note_use();
        let look = self.changes.look();
        let catalog = self.catalog.load();
        session.see(statement, &Names { look, catalog: &catalog })
    }

    /// Somebody uses it: it is kept fresh.
    pub fn note_use(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
            if !self.catalog.load().is_known() {
                self.due.notify_one();
            }
        }
    }

    fn keep(&self, catalog: Catalog) {
        self.catalog.store(Arc::new(catalog));
        let now = Instant::now();
        *self.lock() = Upkeep { at: now, rests_until: now, complained: false };
    }

    /// It could not be read. `unread`: nor will it be soon, for the answer makes no sense.
    fn fail(&self, error: &question::Failure) {
        let unread = error.is_final();
        let now = Instant::now();
        let mut upkeep = self.lock();
        upkeep.rests_until = now + if unread { OLD } else { LOOK_AGAIN };
        let is_news = unread && !std::mem::replace(&mut upkeep.complained, unread);
        drop(upkeep);
        if unread {
            let covers = self.catalog.load().covers();
            self.catalog.store(Arc::new(Catalog::unread(covers)));
        }
        let user = String::from_utf8_lossy(&self.credentials.user).into_owned();
        if is_news {
            tracing::warn!(%user, %error, "cannot tell views from tables: reads go to the primary");
        } else {
            tracing::debug!(%user, %error, "a catalog was not read");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Upkeep> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_old(&self) -> bool {
        Instant::now() >= self.lock().at + OLD
    }

    fn is_due(&self, changed: u64) -> bool {
        let catalog = self.catalog.load();
        let old = !catalog.is_known() || catalog.covers() < changed || self.is_old();
        old && Instant::now() >= self.lock().rests_until
    }
}

/// Reads the catalog of an account over the connection that proved it, and gives that back. A
/// server that takes long is not waited for.
pub async fn greet(fleet: &Fleet, mut lease: Lease, account: &Account) {
    if account.catalog.load().is_known() {
        return lease.give_back(0);
    }
    let covers = fleet.catalogs.changes.ended();
    let reading = question::read(&mut lease, &account.credentials, covers);
    match timeout(LOGIN_WAIT, reading).await {
        Ok(Ok(catalog)) => {
            account.keep(catalog);
            lease.give_back(0);
        }
        Ok(Err(error)) => account.fail(&error),
        Err(_) => fleet.catalogs.due.notify_one(),
    }
}

/// Keeps all catalogs fresh until it is dropped.
pub async fn keep(fleet: Arc<Fleet>) {
    loop {
        let started = Instant::now();
        refresh(&fleet).await;
        sleep(started.elapsed().saturating_mul(RESTS).min(REST_MAX)).await;
        let _due_or_not = timeout(LOOK_AGAIN, fleet.catalogs.due.notified()).await;
    }
}

async fn refresh(fleet: &Fleet) {
    let catalogs = &fleet.catalogs;
    catalogs.give_up_unheard();
    let changed = catalogs.changes.ended();
    let accounts: Vec<Arc<Account>> = catalogs.lock().values().cloned().collect();
    for account in accounts.iter().filter(|account| account.is_due(changed)) {
        if account.used.swap(false, Ordering::Relaxed) {
            read_anew(fleet, account).await;
        } else if account.is_old() && !fleet.does_without_primary() {
            // Nobody asked since: it is read when somebody does.
            account.catalog.store(Arc::new(Catalog::default()));
        }
    }
    drop(accounts);
    let mut known = catalogs.lock();
    known.retain(|_, account| {
        let is_idle = Arc::strong_count(account) == 1 && !account.used.load(Ordering::Relaxed);
        account.catalog.load().is_known() || !is_idle
    });
    let read = known.values().map(|account| account.catalog.load_full());
    let covered = read.filter(|catalog| catalog.is_known()).map(|catalog| catalog.covers()).min();
    catalogs.changes.forget(covered.unwrap_or(changed));
}

async fn read_anew(fleet: &Fleet, account: &Account) {
    let covers = fleet.catalogs.changes.ended();
    let reading = async {
        // One that is known stays so while the primary is lost; a replica's is better than none.
        let mut lease = match account.catalog.load().is_known() {
            true => fleet.lease_primary(&account.credentials, account.number).await?,
            false => fleet.lease_for_login(&account.credentials, account.number).await?,
        };
        let catalog = question::read(&mut lease, &account.credentials, covers).await?;
        lease.give_back(0);
        Ok(catalog)
    };
    match timeout(READ_WAIT, reading).await {
        Ok(Ok(catalog)) => {
            tracing::debug!(names = catalog.len(), "a catalog was read");
            account.keep(catalog);
        }
        Ok(Err(error)) => account.fail(&error),
        Err(_) => account.fail(&question::Failure::TimedOut),
    }
}
