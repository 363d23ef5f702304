//! What our own code costs per query, without sockets: a statement there and 272 bytes back.
//!
//! Both sides are pipes in memory. `pipes alone` moves the same bytes and looks at none; the
//! difference is ours. One task, one thread.
#![expect(clippy::expect_used, reason = "a pipe in memory does not break")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use forebay::backend::connection::Connection;
use forebay::backend::statements::Statements;
use forebay::client::registry::{Registry, Seat};
use forebay::client::relay::{Buffers, Exchange, Message, Moved};
use forebay::limits::SLAB_BYTES;
use forebay::link::Stream;
use forebay::secret::Credentials;
use forebay::session::observe::Ending;
use forebay::session::variable::Values;
use forebay::wire::capability::Capabilities;
use forebay::wire::frame::write_packet;
use forebay::wire::reply::{Expect, Shape, Walker};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

const CLASSIC: Capabilities = Capabilities(0);
const MODERN: Capabilities = Capabilities::DEPRECATE_EOF.with(Capabilities::SESSION_TRACK);
const STATEMENT: &[u8] =
    b"\x03SELECT option_value FROM wp_options WHERE option_name = 'siteurl' LIMIT 1";
const REPLY_BYTES: usize = 272;

/// One column, one row, today's dialect.
fn reply() -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = write_packet(&mut out, 1, &[1]);
    sequence = write_packet(&mut out, sequence, &[3; 64]);
    let terminator = b"\xfe\0\0\x02\0\0\0";
    let around = out.len() + 4 + 4 + terminator.len();
    sequence = write_packet(&mut out, sequence, &vec![7; REPLY_BYTES - around]);
    write_packet(&mut out, sequence, terminator);
    assert_eq!(out.len(), REPLY_BYTES);
    out
}

/// Both ends of both pipes, and what lies between them.
struct Scene {
    php: DuplexStream,
    client: Stream,
    server: Connection,
    mysql: DuplexStream,
    buffers: Buffers,
    heard: Vec<u8>,
    seat: Arc<Seat>,
}

impl Scene {
    fn new() -> Self {
        let (php, client) = duplex(SLAB_BYTES);
        let (server, mysql) = duplex(SLAB_BYTES);
        let server = Connection {
            stream: Stream::from(server),
            capabilities: MODERN,
            thread_id: 1,
            is_reader: true,
            epoch: 0,
            values: Values::default(),
            statements: Statements::default(),
            residue: false,
            clean: false,
            multi_statements: false,
            idle_since: tokio::time::Instant::now(),
            given_up: Arc::default(),
        };
        let slab = || Vec::with_capacity(SLAB_BYTES);
        let buffers = Buffers { inbound: slab(), out: slab(), ..Buffers::default() };
        let nobody = Credentials::new(b"shop".to_vec(), b"secret".to_vec()).expect("credentials");
        let seat = Registry::default().enter(1, &Arc::new(nobody));
        Self { php, client: Stream::from(client), server, mysql, buffers, heard: slab(), seat }
    }

    /// Whatever was carried arrives.
    async fn hear(&mut self) {
        for end in [&mut self.mysql, &mut self.php] {
            self.heard.clear();
            end.read_buf(&mut self.heard).await.expect("a pipe");
            black_box(&self.heard);
        }
    }

    async fn relay(&mut self, walker: &mut Walker, shape: Shape, statement: &[u8], reply: &[u8]) {
        self.mysql.write_all(reply).await.expect("a pipe");
        walker.reset(Expect::Query, shape);
        let mut moved = Moved::nothing();
        Exchange {
            client: &mut self.client,
            server: &mut self.server,
            buffers: &mut self.buffers,
            walker,
            setup_replies: 0,
            pipelined: true,
            asks_file: false,
            watches: false,
            answers: true,
            seat: &self.seat,
            begins: &mut 1,
        }
        .run(&mut Message { bytes: statement, rest: None }, &mut moved)
        .await;
        assert_eq!(moved.end, Ending::Answered);
        // The end of a reply goes out once the verdict is known.
        self.client.write_all(&self.buffers.out).await.expect("a pipe");
        self.hear().await;
    }

    async fn pipes_alone(&mut self, statement: &[u8], reply: &[u8]) {
        self.mysql.write_all(reply).await.expect("a pipe");
        self.server.stream.write_all(statement).await.expect("a pipe");
        self.buffers.inbound.clear();
        self.server.stream.read_buf(&mut self.buffers.inbound).await.expect("a pipe");
        self.client.write_all(&self.buffers.inbound).await.expect("a pipe");
        self.hear().await;
    }
}

/// The runtime is entered once for many rounds.
fn rounds(bencher: &mut Bencher<'_>, runtime: &Runtime, mut round: impl AsyncFnMut(&mut Scene)) {
    bencher.iter_custom(|count| {
        runtime.block_on(async {
            let mut scene = Scene::new();
            let began = Instant::now();
            for _ in 0..count {
                round(&mut scene).await;
            }
            began.elapsed().max(Duration::from_nanos(1))
        })
    });
}

fn relay(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut statement = Vec::new();
    write_packet(&mut statement, 0, STATEMENT);
    let reply = reply();
    let mut group = criterion.benchmark_group("relay");
    let pairs = [
        ("translated", Shape { backend: MODERN, client: CLASSIC }),
        ("as it came", Shape { backend: MODERN, client: MODERN }),
    ];
    for (name, shape) in pairs {
        let mut walker = Walker::new(Expect::Query, shape);
        group.bench_function(name, |bencher| {
            rounds(bencher, &runtime, async |scene| {
                scene.relay(&mut walker, shape, &statement, &reply).await;
            });
        });
    }
    group.bench_function("pipes alone", |bencher| {
        rounds(bencher, &runtime, async |scene| scene.pipes_alone(&statement, &reply).await);
    });
    group.finish();
}

criterion_group!(benches, relay);
criterion_main!(benches);
