//! Many worlds, each from its own seed. `SIM_SEED=n` runs one, `SIM_SEEDS=n` so many.

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
    let mut sum = Counts::default();
    for seed in 0..seeds {
        let report = kit.run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        sum = add(sum, report.counts);
    }
    println!("{seeds} worlds: {sum:?}");
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
