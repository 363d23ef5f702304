//! What statements take away: proofs of passwords, and connections whose account may do nothing.
//!
//! Hooks of `client::serve`; which statements these are is `session::account`'s to say.

use crate::client::relay::Moved;
use crate::client::serve::Conversation;
use crate::session::observe::{Said, Sent, Verdict};
use crate::wire::err::MUST_CHANGE_PASSWORD;
use crate::wire::reply::{End, Summary};

impl Conversation {
    /// Passwords, locks, accounts may be others now: before the client knows it, logins do. Also
    /// when nobody heard what became of the statement.
    pub(super) fn void_proofs(&self, said: Said<'_>, moved: &Moved) {
        if self.session.may_change_accounts(said)
            && moved.sent != Sent::Nothing
            && let Some(door) = &*self.house.door.load()
        {
            door.book.void();
        }
    }
}

/// An account whose password expired under us may do nothing on this connection but change it: it
/// is no connection for anybody else.
pub(super) fn unless_expired(verdict: Verdict, summary: &Summary) -> Verdict {
    match (&verdict, &summary.end) {
        (Verdict::Release, Some(End::Err { code: MUST_CHANGE_PASSWORD, .. })) => Verdict::Discard,
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_in_the_sandbox_is_for_nobody() {
        let check = |verdict: Verdict, code: u16, expected: Verdict| {
            let end = Some(End::Err { code, state: *b"HY000", message: Vec::new() });
            let summary = Summary { end, ..Summary::default() };
            assert_eq!(unless_expired(verdict, &summary), expected, "{code}");
        };
        check(Verdict::Release, MUST_CHANGE_PASSWORD, Verdict::Discard);
        check(Verdict::Hold, MUST_CHANGE_PASSWORD, Verdict::Hold);
        check(Verdict::Release, 1146, Verdict::Release);
        assert_eq!(unless_expired(Verdict::Release, &Summary::default()), Verdict::Release);
    }
}
