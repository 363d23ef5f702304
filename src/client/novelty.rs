//! How many new shapes of statements a client may still bring.
//!
//! To work one out costs as much as many queries, and it pushes others out of the cache. Says
//! nothing of what becomes of a statement above the limit (`sql`, `session::plan`), and reads no
//! clock. Called by `client::serve`, and only when a shape is new.

use std::time::{Duration, Instant};

use crate::limits;

const SECOND: Duration = Duration::from_secs(1);

/// One client's second, and what was brought in it.
#[derive(Debug, Default)]
pub(super) struct Novelty {
    /// None: nothing new yet.
    began: Option<Instant>,
    brought: u32,
}

impl Novelty {
    /// Whether one more may be worked out; if so it counts.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= SECOND) {
            self.began = Some(now);
            self.brought = 0;
        }
        if self.brought >= limits::SHAPES_PER_CLIENT_PER_SECOND {
            return false;
        }
        self.brought += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line: at so many milliseconds, so many are asked for and so many are allowed.
    #[test]
    fn a_second_has_its_share() {
        let check = |rounds: &[(u64, u32, u32)]| {
            let (mut novelty, start) = (Novelty::default(), Instant::now());
            for (at_ms, asked, expected) in rounds {
                let now = start + Duration::from_millis(*at_ms);
                let allowed = (0..*asked).filter(|_| novelty.allows(now)).count();
                assert_eq!(allowed, *expected as usize, "{rounds:?} at {at_ms}");
            }
        };
        let max = limits::SHAPES_PER_CLIENT_PER_SECOND;
        check(&[(0, max, max), (0, 1, 0)]);
        check(&[(0, max + 9, max), (999, 1, 0), (1_000, max + 1, max)]);
        check(&[(0, 1, 1), (900, max, max - 1), (1_000, max, max)]);
        check(&[(0, max, max), (3_600_000, max + 1, max), (3_600_500, 1, 0)]);
        // A clock that goes back gives nothing away, and takes nothing.
        check(&[(5_000, max - 1, max - 1), (4_000, 9, 1), (6_000, 1, 1)]);
    }
}
