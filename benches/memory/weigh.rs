//! What a proxy's memory grows by while something big goes through it, or while many clients do
//! nothing. Looks at the process from outside; prints one line.
//!
//!     weigh --address HOST:PORT --pid PID-OF-THE-PROXY --what text|binary|row|insert|idle|idle-tls
//!           [--mib 2048] [--mb-per-s 50] [--connections 10000]
//!
//! text, binary: a result of `mib` MiB in rows of 1 KiB, from COM_QUERY or COM_STMT_EXECUTE, to a
//! client that reads that many MB a second. row, insert: one row, one INSERT of `mib` MiB. They want
//! tables `n` (128 rows) and `big` in the schema `wordpress`: `benches/memory/run` makes them.

mod ends;
#[path = "../load/loadgen/login.rs"]
#[expect(dead_code, reason = "loadgen uses the rest of it")]
mod login;
#[path = "../load/packet.rs"]
mod packet;
mod trusting;

use std::error::Error;
use std::time::{Duration, Instant};

use ends::Ends;
use login::Connection;
use packet::{Arguments, resident_kib};

type Failure = Box<dyn Error>;

/// Who logs in where.
pub(crate) struct Order {
    address: String,
    user: String,
    password: String,
    tls: login::Tls,
    pid: u32,
    /// How much.
    mib: u64,
    /// How fast a client reads; 0: as fast as it can.
    mb_per_s: f64,
    connections: u32,
}

const KIB: u64 = 1024;
const CHUNK_BYTES_MAX: usize = 0xff_ffff;
const COM_QUERY: u8 = 3;
const COM_STMT_PREPARE: u8 = 22;
const COM_STMT_EXECUTE: u8 = 23;

/// Between two looks at the process.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The most that a process has had since it was first looked at.
struct Weight {
    pid: u32,
    before: u64,
    most: u64,
    looked: Instant,
}

impl Weight {
    fn of(pid: u32) -> Self {
        let before = resident_kib(pid);
        Self { pid, before, most: before, looked: Instant::now() }
    }

    fn look(&mut self) {
        if self.looked.elapsed() >= LOOK_AGAIN {
            self.most = self.most.max(resident_kib(self.pid));
            self.looked = Instant::now();
        }
    }

    fn grown_kib(mut self) -> u64 {
        self.most = self.most.max(resident_kib(self.pid));
        self.most - self.before
    }
}

/// Rows of 1 KiB each, of which 4 bytes are a packet's header and 3 a string's length.
fn rows(mib: u64) -> String {
    let limit = mib * KIB;
    format!("SELECT REPEAT('x', {}) x FROM n a, n b, n c LIMIT {limit}", KIB - 7)
}

/// Sends `EXECUTE` of what it prepares first.
async fn execute(connection: &mut Connection, text: &str) -> Result<(), Failure> {
    let mut body = vec![COM_STMT_PREPARE];
    body.extend_from_slice(text.as_bytes());
    connection.send(0, &body).await?;
    let (_, prepared) = connection.packet().await?;
    let Some([0, id @ .., columns, 0, 0, 0]) = prepared.get(..9) else {
        return Err(String::from_utf8_lossy(&prepared).into());
    };
    let definitions_and_end = if *columns == 0 { 0 } else { *columns + 1 };
    for _ in 0..definitions_and_end {
        connection.packet().await?;
    }
    let mut body = vec![COM_STMT_EXECUTE];
    body.extend_from_slice(id);
    body.extend_from_slice(&[0, 1, 0, 0, 0]);
    connection.send(0, &body).await
}

/// Reads a reply to its end; how many bytes there were.
async fn read_slowly(
    connection: &mut Connection,
    order: &Order,
    weight: &mut Weight,
) -> Result<u64, Failure> {
    let (mut ends, mut bytes, mut total) = (Ends::default(), Vec::new(), 0);
    let begun = Instant::now();
    loop {
        bytes.clear();
        connection.bytes(&mut bytes).await?;
        total += bytes.len() as u64;
        if ends.feed(&bytes)? {
            return Ok(total);
        }
        weight.look();
        if order.mb_per_s > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a pace")]
            let due = Duration::from_secs_f64(total as f64 / 1e6 / order.mb_per_s);
            if due > begun.elapsed() + Duration::from_millis(1) {
                tokio::time::sleep_until((begun + due).into()).await;
            }
        }
    }
}

async fn pass(order: &Order, what: &str) -> Result<(u64, u64), Failure> {
    let mut connection = Connection::open(order).await?;
    connection.init_db("wordpress").await?;
    let row = |bytes: u64| format!("SELECT REPEAT('x', {bytes}) x FROM n LIMIT 1");
    // The first of everything: pools, caches, buffers of the ordinary size.
    for text in [rows(2), row(KIB), "DELETE FROM big".to_owned()] {
        let mut unweighed = Weight::of(0);
        execute(&mut connection, &text).await?;
        read_slowly(&mut connection, order, &mut unweighed).await?;
        connection.send(0, &[&[COM_QUERY], text.as_bytes()].concat()).await?;
        read_slowly(&mut connection, order, &mut unweighed).await?;
    }
    // What is sent is made before anything is weighed: it is this process's.
    let mut command = match what {
        "row" => [&[COM_QUERY], row(order.mib * KIB * KIB).as_bytes()].concat(),
        "insert" => {
            let mut text = b"\x03INSERT INTO big VALUES ('".to_vec();
            text.resize(usize::try_from(order.mib * KIB * KIB)?.saturating_sub(2), b'x');
            text.extend_from_slice(b"')");
            text
        }
        _ => [&[COM_QUERY], rows(order.mib).as_bytes()].concat(),
    };
    let len = command.len() as u64;
    command = in_chunks(&command);
    let mut weight = Weight::of(order.pid);
    if what == "binary" {
        execute(&mut connection, &rows(order.mib)).await?;
    } else {
        for piece in command.chunks(1 << 20) {
            connection.send_bytes(piece).await?;
            weight.look();
        }
    }
    let read = read_slowly(&mut connection, order, &mut weight).await?;
    Ok((if what == "insert" { len } else { read }, weight.grown_kib()))
}

/// A command of any length as packets.
fn in_chunks(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    let mut sequence = 0u8;
    let mut left = payload;
    loop {
        let (chunk, rest) = left.split_at(left.len().min(CHUNK_BYTES_MAX));
        packet::put(&mut out, sequence, chunk);
        sequence = sequence.wrapping_add(1);
        left = rest;
        if chunk.len() < CHUNK_BYTES_MAX {
            return out;
        }
    }
}

/// Logged-in clients that say nothing; the KiB of each.
async fn idle(order: &Order) -> Result<f64, Failure> {
    // the first ones fill caches and pools
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(Connection::open(order).await?);
    }
    let weight = Weight::of(order.pid);
    for _ in 0..order.connections {
        open.push(Connection::open(order).await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    Ok(weight.grown_kib() as f64 / f64::from(order.connections))
}

#[expect(clippy::print_stdout, reason = "its one line of output")]
async fn weigh(order: Order, what: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    if what.starts_with("idle") {
        println!("connections={} kib_each={:.2}", order.connections, idle(&order).await?);
        return Ok(());
    }
    let (bytes, grown_kib) = pass(&order, what).await?;
    println!("bytes={bytes} grown_kib={grown_kib} seconds={:.1}", begun.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::read();
    let what = arguments.value("what", "text".to_owned());
    let order = Order {
        address: arguments.value("address", String::new()),
        user: arguments.value("user", "wordpress".to_owned()),
        password: arguments.value("password", "wordpress".to_owned()),
        tls: what.ends_with("tls").then(trusting::config).transpose()?,
        pid: arguments.value("pid", 0),
        mib: arguments.value("mib", 2048),
        mb_per_s: arguments.value("mb-per-s", 0.0),
        connections: arguments.value("connections", 10_000),
    };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(weigh(order, &what))
}
