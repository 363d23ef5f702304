//! What the primary last said of its position: the measure for what replicas claim to have.
//!
//! A replica that has executed what its primary has not is another server's replica, or was
//! written to, or has outlived a primary that forgot: its position proves nothing. The primary is
//! to be asked *after* the replica, as it goes on all the time. Written by `probe`'s watcher of the
//! primary, read by `progress`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use crate::backend::position_question::Notation;
use crate::position::Position;

/// The primary's last word.
#[derive(Debug, Default)]
pub struct Truth {
    told: ArcSwapOption<Told>,
    by_file: AtomicBool,
    epoch: AtomicU64,
    is_hidden: AtomicBool,
    is_read_only: AtomicBool,
}

/// One answer of the primary.
#[derive(Clone, Debug)]
pub struct Told {
    /// All that it had executed.
    pub position: Position,
    /// When it was asked: whatever others said before, it had then, or never.
    pub asked: Instant,
}

/// Whether the primary has all that a replica says to have executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has.
    Inside,
    /// It has not, though it was asked later.
    Outside,
    /// It has not been asked since.
    Open,
}

impl Truth {
    /// The primary was asked then, and answered this.
    pub fn tell(&self, position: Position, asked: Instant) {
        self.told.store(Some(Arc::new(Told { position, asked })));
        self.is_hidden.store(false, Ordering::Release);
    }

    /// How its positions are written.
    pub fn set_notation(&self, notation: Notation) {
        self.by_file.store(notation == Notation::File, Ordering::Release);
    }

    /// How its positions are written.
    #[must_use]
    pub fn notation(&self) -> Notation {
        if self.by_file.load(Ordering::Acquire) { Notation::File } else { Notation::Gtids }
    }

    /// The account may not ask the primary for its position. True: that is news.
    pub fn hide(&self) -> bool {
        !self.is_hidden.swap(true, Ordering::AcqRel)
    }

    /// Whether the primary takes writes, as it says itself. True: that is news.
    pub fn note_read_only(&self, is_read_only: bool) -> bool {
        self.is_read_only.swap(is_read_only, Ordering::AcqRel) != is_read_only
    }

    /// It said last that it takes no writes: there may be another primary, which is not known here.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Acquire)
    }

    /// Another primary: nothing is known of it.
    pub fn forget(&self) {
        self.told.store(None);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts the primaries that there were.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether the primary tells positions at all.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.told.load().is_some()
    }

    /// Judges what a replica answered at that time.
    #[must_use]
    pub fn judge(&self, claimed: &Position, answered: Instant) -> Verdict {
        match &*self.told.load() {
            Some(told) if told.position.contains(claimed) => Verdict::Inside,
            Some(told) if told.asked > answered => Verdict::Outside,
            _ => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Truth, Verdict};
    use crate::position::{Flavour, Position};

    #[test]
    fn only_a_later_word_convicts() {
        let at = |text: &str| Position::parse(Flavour::MariaDb, text.as_bytes()).unwrap();
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let truth = Truth::default();
        assert_eq!(truth.judge(&at("0-1-7"), start), Verdict::Open);
        truth.tell(at("0-1-5"), start);
        assert_eq!(truth.judge(&at("0-1-5"), later), Verdict::Inside);
        // The primary went on meanwhile.
        assert_eq!(truth.judge(&at("0-1-7"), later), Verdict::Open);
        truth.tell(at("0-1-6"), later + Duration::from_millis(1));
        assert_eq!(truth.judge(&at("0-1-7"), later), Verdict::Outside);
        assert_eq!(truth.judge(&at("0-1-6,5-1-1"), later), Verdict::Outside);
        truth.forget();
        assert_eq!(truth.judge(&at("0-1-7"), later), Verdict::Open);
        assert_eq!(truth.epoch(), 1);
    }
}
