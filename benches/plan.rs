//! What deciding costs: a proved read, a read that the session has not seen a write of, a write;
//! and before that, telling views from tables.
//!
//! Claim: next to nothing beside classifying; no allocation.

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use forebay::cluster::catalog::{Catalog, Changes, Draft, Names};
use forebay::freshness::{Freshness, Touched, Written};
use forebay::session::Session;
use forebay::session::plan::{Plan, Policy};
use forebay::sql::{Classifier, LocalCache, Mode, Statement};

const POLICY: Policy = Policy::SPLIT;
const READ: &str = "SELECT option_value FROM wp_options WHERE option_name = 'siteurl' LIMIT 1";
const WRITE: &str = "UPDATE wp_options SET option_value = '1' WHERE option_name = 'cron'";

fn classified(text: &str) -> Arc<Statement> {
    Classifier::new(1).classify(&mut LocalCache::new(), text.as_bytes(), Mode::default())
}

fn session() -> Session {
    let mut session = Session::new(1, Mode::default());
    session.begin_with(|values| values.database = Some(b"wordpress".as_slice().into()));
    session
}

fn plan(criterion: &mut Criterion) {
    let now = Instant::now();
    let calm = Freshness::new(now);
    // Somebody has written: the schema has to be looked up.
    let busy = Freshness::new(now);
    let schemas: &[&[u8]] = &[b"wordpress"];
    let touched = Touched::Schemas(schemas);
    busy.record(Written { touched, position: None, at: now });
    let scenes =
        [("read", READ, &calm), ("read after a write", READ, &busy), ("write", WRITE, &calm)];
    let mut group = criterion.benchmark_group("plan");
    for (name, text, freshness) in scenes {
        let statement = classified(text);
        let mut session = session();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let plan = session.plan(black_box(&statement), POLICY, freshness);
                assert!(matches!(plan, Plan::Forward(_)));
                plan
            });
        });
    }
    group.finish();
}

/// What telling views from tables adds: nothing where there are none, a look into a map where
/// there are some.
fn names(criterion: &mut Criterion) {
    let some: String = "abcdefghijklmnopqrstuvwxyz".into();
    let mut draft = Draft::new(Mode::default());
    for letter in some.chars() {
        draft.add_view("wordpress", &format!("view_{letter}"), "select 1 AS `one`");
    }
    let with_views = draft.resolve(&HashSet::new(), 0).unwrap_or_default();
    assert!(!with_views.is_empty());
    let without = Catalog::new(HashMap::new(), false, 0);
    let changes = Changes::default();
    let mut group = criterion.benchmark_group("names");
    for (name, catalog) in [("no views", &without), ("26 views", &with_views)] {
        let statement = classified(READ);
        let session = session();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let names = Names { look: changes.look(), catalog };
                session.see(black_box(&statement).clone(), &names)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, plan, names);
criterion_main!(benches);
