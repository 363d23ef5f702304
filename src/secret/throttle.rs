//! Who brought wrong passwords too often: a bucket of tokens for each source, bounded.
//!
//! It reads no clock and refuses nobody itself: `client::greet` asks before a password that nobody
//! knows is tried, and says when one was wrong. A password that is known to be right never asks,
//! so one client with a wrong password does not lock out those that share its address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::{FAILED_LOGIN_MS, FAILED_LOGINS_MAX, LOGIN_SOURCES_MAX};

/// The wrong passwords of every source.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When each bucket will be full again; one that is full is not kept.
    full_at: Mutex<HashMap<Source, Instant>>,
}

/// Where a login comes from, as far as failures are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address. Of IPv6 the first 64 bits: who has one has all of them.
    Address(IpAddr),
    /// This machine, by a Unix socket.
    Local,
    /// All that came when there were too many to count one by one.
    Rest,
}

/// A token in hand: it goes back into its bucket unless the password was wrong.
#[derive(Debug)]
#[must_use = "dropping it gives the token back"]
pub struct Try<'a> {
    from: Option<(&'a Throttle, Source)>,
}

impl Try<'_> {
    /// The login failed: the token is gone.
    pub fn spend(mut self) {
        self.from = None;
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if let Some((throttle, source)) = self.from {
            throttle.give_back(source);
        }
    }
}

impl Source {
    /// Of a peer's address.
    #[must_use]
    pub fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                Source::Address(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into())
            }
            v4 @ IpAddr::V4(_) => Source::Address(v4),
        }
    }
}

impl Throttle {
    /// Whether this source may be wrong once more.
    pub fn may_try(&self, source: Source, now: Instant) -> bool {
        let full_at = lock(&self.full_at);
        let at = full_at.get(&Self::counted(&full_at, source)).copied().unwrap_or(now);
        at.saturating_duration_since(now) + TOKEN <= BUCKET
    }

    /// Takes a token, if there is one.
    pub fn take(&self, source: Source, now: Instant) -> Option<Try<'_>> {
        let mut full_at = lock(&self.full_at);
        if full_at.len() >= LOGIN_SOURCES_MAX {
            full_at.retain(|_, at| *at > now);
        }
        let counted = Self::counted(&full_at, source);
        let at = full_at.entry(counted).or_insert(now);
        let next = (*at).max(now) + TOKEN;
        if next.saturating_duration_since(now) > BUCKET {
            return None;
        }
        *at = next;
        Some(Try { from: Some((self, counted)) })
    }

    fn give_back(&self, source: Source) {
        if let Some(at) = lock(&self.full_at).get_mut(&source)
            && let Some(before) = at.checked_sub(TOKEN)
        {
            *at = before;
        }
    }

    fn counted(full_at: &HashMap<Source, Instant>, source: Source) -> Source {
        let fits = full_at.len() < LOGIN_SOURCES_MAX || full_at.contains_key(&source);
        if fits { source } else { Source::Rest }
    }
}

/// A panic elsewhere leaves the map whole: each change is a single insert.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that a token takes to come back.
const TOKEN: Duration = Duration::from_millis(FAILED_LOGIN_MS);
/// The time that an empty bucket takes to be full.
const BUCKET: Duration = Duration::from_millis(FAILED_LOGIN_MS * FAILED_LOGINS_MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong password; whether it was let try.
    fn is_wrong(throttle: &Throttle, source: Source, now: Instant) -> bool {
        throttle.take(source, now).map(Try::spend).is_some()
    }

    /// `script`: `a=20/30` is "30 tries at once by a, of which 20 may"; `1000ms` passes.
    fn check(script: &str) {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for step in script.split(" | ") {
            if let Some(ms) = step.strip_suffix("ms") {
                now += Duration::from_millis(ms.parse().unwrap());
                continue;
            }
            let (who, counts) = step.split_once('=').unwrap();
            let (expected, tries) = counts.split_once('/').unwrap();
            let source = match who {
                "local" => Source::Local,
                address => Source::of(address.parse().unwrap()),
            };
            let mut taken = 0_u32;
            for _ in 0..tries.parse().unwrap() {
                let may = throttle.may_try(source, now);
                assert_eq!(is_wrong(&throttle, source, now), may, "{step} in {script}");
                taken += u32::from(may);
            }
            assert_eq!(taken.to_string(), expected, "{step} in {script}");
        }
    }

    #[test]
    fn a_source_may_be_wrong_so_often() {
        check("10.0.0.1=20/30 | 10.0.0.1=0/5 | 10.0.0.2=20/30 | local=20/30");
        check("10.0.0.1=20/20 | 199ms | 10.0.0.1=0/5 | 1ms | 10.0.0.1=1/5 | 1000ms | 10.0.0.1=5/9");
        check("10.0.0.1=20/20 | 3000ms | 10.0.0.1=15/99 | 99999ms | 10.0.0.1=20/99");
        check("::ffff:10.0.0.1=20/20 | 10.0.0.1=0/5");
        check("2001:db8::1=10/10 | 2001:db8::2=10/20 | 2001:db8:0:1::1=20/20");
    }

    #[test]
    fn a_right_password_costs_nothing() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            assert!(throttle.take(Source::Local, now).is_some());
        }
        let at_once: Vec<_> = (0..100).map(|_| throttle.take(Source::Local, now)).collect();
        assert_eq!(at_once.iter().flatten().count(), 20, "while they are tried they count");
    }

    #[test]
    fn too_many_sources_share_one_bucket_until_others_are_full_again() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let source = |n: usize| Source::of(Ipv6Addr::from_bits((n as u128) << 64).into());
        for n in 0..LOGIN_SOURCES_MAX {
            assert!(is_wrong(&throttle, source(n), now));
        }
        let mut rest = LOGIN_SOURCES_MAX..LOGIN_SOURCES_MAX * 2;
        assert_eq!(rest.by_ref().filter(|n| is_wrong(&throttle, source(*n), now)).count(), 20);
        assert!(is_wrong(&throttle, source(0), now), "who has a bucket keeps it");
        assert!(lock(&throttle.full_at).len() <= LOGIN_SOURCES_MAX + 1);
        let later = now + BUCKET;
        assert!(is_wrong(&throttle, source(LOGIN_SOURCES_MAX), later));
        assert_eq!(lock(&throttle.full_at).len(), 1);
    }
}
