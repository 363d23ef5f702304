//! Many worlds, each from its own seed. `SIM_SEED=n` runs one, `SIM_SEEDS=n` so many, `SIM_PAIRS=n` as
//! many as it takes to check so many reads of what somebody has written, on all processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::world::{Counts, Kit, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_promise_holds_in_every_world() {
    if let Some(seed) = number("SIM_SEED") {
        match run(seed) {
            Ok(report) => println!("{report:?}"),
            Err(failure) => panic!("{}\nseed {seed}: {}", failure.events.join("\n"), failure.why),
        }
        return;
    }
    let kit = Kit::new().unwrap();
    let seeds = number("SIM_SEEDS").unwrap_or(if cfg!(debug_assertions) { 40 } else { 300 });
    let pairs = number("SIM_PAIRS");
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Counts::default()));
    let is_enough = |seed: u64| match pairs {
        Some(pairs) => sum.lock().unwrap().pairs >= pairs,
        None => seed >= seeds,
    };
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if is_enough(seed) {
                return;
            }
            let report = kit.run(seed).unwrap_or_else(|failure| panic!("{failure}"));
            let mut sum = sum.lock().unwrap();
            *sum = add(*sum, report.counts);
        }
    };
    let begun = Instant::now();
    let threads = pairs.map_or(1, |_| thread::available_parallelism().map_or(1, usize::from));
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (seeds, sum) = (next.into_inner() - threads as u64, sum.into_inner().unwrap());
    println!("{seeds} worlds in {:?}: {sum:?}", begun.elapsed());
}

#[test]
fn equal_seeds_are_equal_worlds() {
    for seed in [3, 1004, 2005] {
        let (first, second) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!(first, second);
    }
}

fn add(a: Counts, b: Counts) -> Counts {
    Counts {
        visits: a.visits + b.visits,
        commands: a.commands + b.commands,
        replica_reads: a.replica_reads + b.replica_reads,
        primary_reads: a.primary_reads + b.primary_reads,
        writes: a.writes + b.writes,
        unknown: a.unknown + b.unknown,
        errors: a.errors + b.errors,
        faults: a.faults + b.faults,
        pairs: a.pairs + b.pairs,
        streamed: a.streamed + b.streamed,
    }
}
