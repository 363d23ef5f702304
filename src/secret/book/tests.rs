//! The book of accounts, a scenario a line.

use super::*;

fn sealed(user: &str, password: &str) -> Arc<Credentials> {
    Arc::new(Credentials::new(user.into(), password.into()).unwrap())
}

fn book() -> Book {
    let listed = vec![sealed("listed", "old"), sealed("listed", "new")];
    Book::new(Policy { listed, ..Policy::default() }).unwrap()
}

/// Proves and learns, nothing coming between.
fn learn(book: &Book, credentials: Arc<Credentials>, now: Instant) -> Arc<Credentials> {
    let turn = book.turn(&credentials, false);
    let turn = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(turn);
    book.learn(credentials, &turn.unwrap(), now)
}

fn recall(book: &Book, user: &str, password: &str, now: Instant) -> &'static str {
    let fits = |known: &Known| known.credentials.is_password(password.as_bytes());
    match book.recall(user.as_bytes(), now, fits) {
        Recall::Fresh(_) => "fresh",
        Recall::Stale(_) => "stale",
        Recall::Void(_) => "void",
        Recall::Unknown => "unknown",
    }
}

/// `script`: `learn u p | forget u | drop u p | 61s | u p=fresh`, each step in turn.
fn check(script: &str) {
    let (book, mut now) = (book(), Instant::now());
    for step in script.split(" | ") {
        match *step.split(' ').collect::<Vec<_>>().as_slice() {
            ["learn", user, password] => drop(learn(&book, sealed(user, password), now)),
            ["void"] => book.void(),
            ["spare", user, password] => {
                let fits = |known: &Known| known.credentials.is_password(password.as_bytes());
                let Recall::Void(known) = book.recall(user.as_bytes(), now, fits) else {
                    panic!("{step} in {script}")
                };
                book.spare(&known);
            }
            ["forget", user] => book.forget(user.as_bytes()),
            ["drop", user, password] => book.forget_password(&sealed(user, password)),
            [seconds] => now += Duration::from_secs(seconds.trim_end_matches('s').parse().unwrap()),
            [user, wanted] => {
                let (password, wanted) = wanted.split_once('=').unwrap();
                assert_eq!(recall(&book, user, password, now), wanted, "{step} in {script}");
            }
            _ => panic!("{step}"),
        }
    }
}

#[test]
fn passwords_are_remembered_for_a_while() {
    check("u p=unknown | learn u p | u p=fresh | u q=unknown | v p=unknown");
    check("learn u p | 59s | u p=fresh | 1s | u p=stale | learn u p | u p=fresh");
    check("learn u p | learn u q | u p=fresh | u q=fresh | drop u p | u p=unknown | u q=fresh");
    check("learn u p | forget u | u p=unknown | forget u");
    check("learn u  | u =fresh | u x=unknown");
    check("learn u p | learn v p | void | u p=void | v p=void | u q=unknown | listed old=fresh");
    check("learn u p | void | learn u p | u p=fresh | 61s | u p=stale");
    check("learn u p | 61s | void | u p=void | learn u q | spare u p | u p=stale | u q=fresh");
    check("learn u p | void | spare u p | void | u p=void | learn u p | u p=fresh");
    check(
        "learn u 1 | 1s | learn u 2 | 1s | learn u 3 | 1s | learn u 4 | 1s | learn u 1 | 1s | learn u 5 | u 1=fresh | u 2=unknown | u 5=fresh",
    );
    check("listed old=fresh | listed new=fresh | listed x=unknown | 999s | listed old=fresh");
}

/// The primary was asked before the account changed: what it said may be of before.
#[tokio::test]
async fn a_proof_that_began_before_is_void_too() {
    let (book, now) = (book(), Instant::now());
    let turn = book.turn(&sealed("u", "p"), false).await.unwrap();
    book.void();
    book.learn(sealed("u", "p"), &turn, now);
    assert_eq!(recall(&book, "u", "p", now), "void");
    drop(turn);
    let turn = book.turn(&sealed("u", "p"), true).await.unwrap();
    book.learn(sealed("u", "p"), &turn, now);
    assert_eq!(recall(&book, "u", "p", now), "fresh");
}

#[test]
fn names_are_listed_denied_or_learned() {
    let closed = Book::new(Policy { learn: false, ..Policy::default() }).unwrap();
    let check = |book: &Book, user: &[u8], expected: (bool, bool, bool)| {
        assert_eq!((book.is_listed(user), book.is_denied(user), book.may_learn(user)), expected);
    };
    check(&book(), b"listed", (true, false, false));
    check(&book(), b"root", (false, true, true));
    check(&book(), b"u", (false, false, true));
    check(&closed, b"u", (false, false, false));
}

#[test]
fn the_same_password_keeps_the_same_object() {
    let (book, now) = (book(), Instant::now());
    let first = learn(&book, sealed("u", "p"), now);
    assert!(Arc::ptr_eq(&first, &learn(&book, sealed("u", "p"), now)));
    assert!(!Arc::ptr_eq(&first, &learn(&book, sealed("u", "q"), now)));
}

#[test]
fn a_refusal_counts_for_a_second_and_for_that_password_only() {
    let (book, now) = (book(), Instant::now());
    learn(&book, sealed("u", "p"), now);
    book.refuse(&sealed("u", "p"), now);
    assert_eq!(recall(&book, "u", "p", now), "unknown", "forgotten too");
    assert!(book.was_refused(&sealed("u", "p"), now));
    assert!(!book.was_refused(&sealed("u", "q"), now));
    assert!(!book.was_refused(&sealed("up", ""), now));
    assert!(!book.was_refused(&sealed("u", "p"), now + Duration::from_secs(1)));
}

#[test]
fn the_book_stays_bounded_and_drops_the_oldest() {
    let (book, start) = (book(), Instant::now());
    for index in 0..=ACCOUNTS_MAX {
        let now = start + Duration::from_millis(index as u64);
        learn(&book, sealed(&format!("u{index}"), "p"), now);
        book.refuse(&sealed("w", &format!("{index}")), now);
    }
    let end = start + Duration::from_millis(ACCOUNTS_MAX as u64);
    assert_eq!(lock(&book.learned).len(), ACCOUNTS_MAX);
    assert!(lock(&book.refused).len() <= ACCOUNTS_MAX);
    assert_eq!(recall(&book, "u0", "p", end), "unknown");
    assert_eq!(recall(&book, "u1", "p", end), "fresh");
}

#[tokio::test]
async fn the_same_password_waits_its_turn_and_others_do_not() {
    let book = book();
    let (right, wrong) = (sealed("u", "p"), sealed("u", "q"));
    let first = book.turn(&right, false).await.unwrap();
    let mut second = Box::pin(book.turn(&right, false));
    let mut other = Box::pin(book.turn(&wrong, false));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert!(other.as_mut().poll(&mut context).is_ready());
    drop(first);
    assert!(second.as_mut().poll(&mut context).is_ready());
}

#[tokio::test]
async fn strangers_do_not_delay_who_was_right_before() {
    let (book, known) = (book(), sealed("u", "p"));
    let strangers: Vec<_> = (0..100).map(|n| sealed("u", &format!("guess {n}"))).collect();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut turns: Vec<_> =
        strangers.iter().map(|stranger| Box::pin(book.turn(stranger, false))).collect();
    let mut held = Vec::new();
    for turn in &mut turns {
        if let std::task::Poll::Ready(turn) = turn.as_mut().poll(&mut context) {
            held.push(turn.unwrap());
        }
    }
    assert_eq!(held.len(), PROOFS_AT_ONCE - PROOFS_KEPT_FOR_KNOWN);
    assert!(Box::pin(book.turn(&known, true)).as_mut().poll(&mut context).is_ready());
}

#[test]
fn the_list_may_be_replaced() {
    let (book, now) = (book(), Instant::now());
    let recalled = |user: &[u8], password: &[u8]| match book
        .recall(user, now, |known| known.credentials.is_password(password))
    {
        Recall::Fresh(credentials) => Some(credentials),
        Recall::Stale(_) | Recall::Void(_) | Recall::Unknown => None,
    };
    let kept = recalled(b"listed", b"new").unwrap();
    book.list(vec![sealed("listed", "new"), sealed("listed", "newer"), sealed("other", "x")]);
    assert!(Arc::ptr_eq(&kept, &recalled(b"listed", b"new").unwrap()), "the same object");
    assert!(recalled(b"listed", b"newer").is_some() && recalled(b"other", b"x").is_some());
    assert!(recalled(b"listed", b"old").is_none());
    book.list(Vec::new());
    assert!(!book.is_listed(b"listed") && book.may_learn(b"listed"));
}
