//! What walking a reply costs per row packet: translated for a client of old, and as it came.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::limits::SLAB_BYTES;
use forebay::wire::capability::Capabilities;
use forebay::wire::frame::write_packet;
use forebay::wire::reply::{Expect, Scan, Shape, Walker};
use std::hint::black_box;

const CLASSIC: Capabilities = Capabilities(0);
const MODERN: Capabilities = Capabilities::DEPRECATE_EOF.with(Capabilities::SESSION_TRACK);

/// A result of today's dialect.
fn result(columns: u8, rows: usize, row_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = write_packet(&mut out, 1, &[columns]);
    for _ in 0..columns {
        sequence = write_packet(&mut out, sequence, &[3; 40]);
    }
    let row = vec![7; row_bytes];
    for _ in 0..rows {
        sequence = write_packet(&mut out, sequence, &row);
    }
    write_packet(&mut out, sequence, b"\xfe\0\0\x02\0\0\0");
    out
}

fn walk(walker: &mut Walker, shape: Shape, input: &[u8], out: &mut Vec<u8>) {
    walker.reset(Expect::Query, shape);
    for slab in input.chunks(SLAB_BYTES) {
        out.clear();
        match walker.feed(black_box(slab), out) {
            Ok(Scan::Infile { .. }) | Err(_) => unreachable!("a plain result"),
            Ok(Scan::More | Scan::Done { .. }) => {}
        }
        black_box(&out);
    }
}

fn scan(criterion: &mut Criterion) {
    let pairs = [
        ("translated", Shape { backend: MODERN, client: CLASSIC }),
        ("as it came", Shape { backend: MODERN, client: MODERN }),
    ];
    let results = [
        ("one option", 1, 1, 40),
        ("ten posts", 23, 10, 2000),
        ("10k rows of 8 bytes", 2, 10_000, 8),
        ("10k rows of 60 bytes", 5, 10_000, 60),
        ("10k rows of 1000 bytes", 5, 10_000, 1000),
    ];
    for (name, columns, rows, row_bytes) in results {
        let input = result(columns, rows, row_bytes);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(rows as u64));
        for (pair, shape) in pairs {
            let mut walker = Walker::new(Expect::Query, shape);
            let mut out = Vec::with_capacity(2 * SLAB_BYTES);
            group.bench_function(pair, |bencher| {
                bencher.iter(|| walk(&mut walker, shape, &input, &mut out));
            });
        }
        // The floor: the same slabs copied and not looked at.
        let mut out = Vec::with_capacity(2 * SLAB_BYTES);
        group.bench_function("copied blindly", |bencher| {
            bencher.iter(|| {
                for slab in input.chunks(SLAB_BYTES) {
                    out.clear();
                    out.extend_from_slice(black_box(slab));
                    black_box(&out);
                }
            });
        });
    }
}

criterion_group!(benches, scan);
criterion_main!(benches);
