//! Wakes the one task that waits for something beside its streams: it was killed, its server was
//! given up, the process drains.
//!
//! Not a queue, and no news in itself: whoever rings has changed something first, and whoever is
//! woken looks at that. Listening again and again costs a lock that nobody else wants, where a
//! `Notify` costs two and a place in its list: sessions do it for each statement.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a session hears while it waits. One task listens at a time; the last to do so is woken.
#[derive(Debug, Default)]
pub struct Bell(Mutex<Option<Waker>>);

impl Bell {
    /// The task is woken by the next ring. To be called before it looks at what it waits for.
    pub fn listen(&self, context: &Context<'_>) {
        let mut listener = self.lock();
        if !listener.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *listener = Some(context.waker().clone());
        }
    }

    /// Wakes who listens. To be called after that was changed which it waits for.
    pub fn ring(&self) {
        let listener = self.lock().take();
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Ready when it is so; else the task is woken to look again.
    pub fn poll(&self, context: &Context<'_>, is_so: impl FnOnce() -> bool) -> Poll<()> {
        self.listen(context);
        if is_so() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until it is so.
    pub async fn until(&self, is_so: impl Fn() -> bool) {
        poll_fn(|context| self.poll(context, &is_so)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Words: `a` and `b` listen, `!` rings; how often each was woken.
    #[track_caller]
    fn check(words: &str, expected: (u32, u32)) {
        let (bell, a, b) = (Bell::default(), Arc::<Woken>::default(), Arc::<Woken>::default());
        for word in words.split_whitespace() {
            match word {
                "a" => bell.listen(&Context::from_waker(&Arc::clone(&a).into())),
                "b" => bell.listen(&Context::from_waker(&Arc::clone(&b).into())),
                _ => bell.ring(),
            }
        }
        let seen = (a.0.load(Ordering::Relaxed), b.0.load(Ordering::Relaxed));
        assert_eq!(seen, expected, "{words}");
    }

    #[test]
    fn who_listened_last_is_woken_once() {
        check("!", (0, 0));
        check("a !", (1, 0));
        check("a ! !", (1, 0));
        check("a a a !", (1, 0));
        check("a ! a !", (2, 0));
        check("a b !", (0, 1));
        check("a b a !", (1, 0));
    }
}
