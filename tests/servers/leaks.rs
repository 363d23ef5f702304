//! No leak, ever: clients that share a few connections get, byte for byte, what each would get on
//! a private connection to the same server.
//!
//! Random scripts (`script`) on many clients over few connections, one step at a time in a random
//! order; the same script on a private connection to the primary, in another copy of the schema,
//! says what each answer has to be. A failure prints its seed: `LEAK_SEED=n` plays that one again,
//! `LEAK_SCRIPTS=n` plays so many scripts.

mod random;
mod reply;
mod script;
mod world;

use std::time::{Duration, Instant};

use super::stack::{Flavour, Stack, on_both};

on_both!(nobody_can_tell, nobody_can_tell_with_replicas);

/// Without `LEAK_SCRIPTS`, no more worlds are begun after this.
const WHILE_LASTS: Duration = Duration::from_secs(8);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn nobody_can_tell(flavour: Flavour) {
    play(flavour, false);
}

fn nobody_can_tell_with_replicas(flavour: Flavour) {
    play(flavour, true);
}

fn play(flavour: Flavour, replicas: bool) {
    let stack = Stack::shared(flavour);
    if let Some(seed) = number("LEAK_SEED") {
        world::play(&stack, seed, replicas).unwrap_or_else(|told| panic!("{told}"));
        return;
    }
    let scripts = number("LEAK_SCRIPTS");
    let failures_max = number("LEAK_FAILURES").unwrap_or(1);
    let first = number("LEAK_SEED_FIRST").unwrap_or(1);
    let began = Instant::now();
    let (mut played, mut failed) = (0, 0);
    while scripts.map_or(began.elapsed() < WHILE_LASTS, |scripts| played < scripts) {
        if let Err(told) = world::play(&stack, first + played / world::SCRIPTS as u64, replicas) {
            eprintln!("{told}");
            failed += 1;
        }
        assert!(failed < failures_max, "{failed} worlds in which somebody could tell");
        played += world::SCRIPTS as u64;
    }
    assert_eq!(failed, 0, "worlds in which somebody could tell");
    eprintln!("{flavour:?}, replicas {replicas}: {played} scripts");
}
