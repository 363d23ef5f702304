//! A closed-loop MySQL load on one thread: every connection sends its next request the moment the
//! last answer is complete. Looks at the process under load from outside and prints one line of
//! `name=value`.
//!
//!     loadgen --address HOST:PORT --mode query|connect|page|idle --connections 32 --seconds 3
//!             [--pid PID-OF-THE-PROXY] [--user wordpress] [--password wordpress]
//!
//! query: one SELECT after the other. connect: connect, one SELECT, quit. page: connect, what wpdb
//! says first, 20 SELECTs, quit. idle: logged-in connections that do nothing.

#[path = "loadgen/login.rs"]
#[expect(dead_code, reason = "weigh uses the rest of it")]
mod login;
mod packet;

use login::Connection;
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{LocalSet, spawn_local};

/// What is asked of the connections.
#[derive(Clone)]
pub(crate) struct Order {
    mode: String,
    address: String,
    user: String,
    password: String,
    tls: login::Tls,
    connections: u32,
    seconds: f64,
    pid: u32,
}

/// What was seen while counting.
#[derive(Default)]
struct Seen {
    counting: bool,
    requests: u64,
    queries: u64,
    errors: u64,
    last_error: String,
    latencies_us: Vec<u32>,
}

impl Seen {
    fn note(&mut self, answer: Result<u64, Failure>, took: Duration) {
        match answer {
            Ok(queries) if self.counting => {
                self.requests += 1;
                self.queries += queries;
                self.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
            Ok(_) => {}
            Err(error) => {
                self.errors += 1;
                self.last_error = error.to_string();
            }
        }
    }
}

type Shared = Rc<RefCell<Seen>>;
type Failure = Box<dyn Error>;

const PREAMBLE: [&str; 4] = [
    "SET NAMES utf8mb4",
    "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_520_ci'",
    "SELECT @@SESSION.sql_mode",
    "SET SESSION sql_mode='NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
];

async fn select(connection: &mut Connection, number: &mut u32) -> Result<(), Failure> {
    *number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let id = *number >> 18;
    let text =
        format!("SELECT option_value FROM wp_options WHERE option_name = 'option_{id}' LIMIT 1");
    connection.query(&text).await
}

/// One request; the number of queries in it.
async fn request(
    order: &Order,
    kept: &mut Option<Connection>,
    number: &mut u32,
) -> Result<u64, Failure> {
    if order.mode == "query" {
        if kept.is_none() {
            let mut fresh = Connection::open(order).await?;
            fresh.init_db("wordpress").await?;
            *kept = Some(fresh);
        }
        let Some(connection) = kept else { return Ok(0) };
        select(connection, number).await?;
        return Ok(1);
    }
    let mut connection = Connection::open(order).await?;
    let selects = if order.mode == "page" { 20 } else { 1 };
    if order.mode == "page" {
        for text in PREAMBLE {
            connection.query(text).await?;
        }
        connection.init_db("wordpress").await?;
    }
    for _ in 0..selects {
        select(&mut connection, number).await?;
    }
    connection.quit().await?;
    Ok(selects)
}

async fn keep_asking(order: Order, seen: Shared, seed: u32) {
    let (mut kept, mut number) = (None, seed.wrapping_mul(2_654_435_761));
    loop {
        let begun = Instant::now();
        let answer = request(&order, &mut kept, &mut number).await;
        let failed = answer.is_err();
        seen.borrow_mut().note(answer, begun.elapsed());
        if failed {
            kept = None;
            tokio::task::yield_now().await;
        }
    }
}

/// Nanoseconds that the threads of a process ran; the clock's ticks would be too coarse.
fn cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[expect(clippy::print_stdout, reason = "its one line of output")]
#[expect(clippy::cast_precision_loss, reason = "a report")]
async fn measure(order: Order) {
    let seen = Shared::default();
    for seed in 0..order.connections {
        spawn_local(keep_asking(order.clone(), Rc::clone(&seen), seed + 1));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    seen.borrow_mut().counting = true;
    let (begun, cpu) = (Instant::now(), cpu_ns(order.pid));
    tokio::time::sleep(Duration::from_secs_f64(order.seconds)).await;
    let cpu_us = (cpu_ns(order.pid) - cpu) as f64 / 1e3;
    let seconds = begun.elapsed().as_secs_f64();
    let mut seen = seen.borrow_mut();
    seen.counting = false;
    seen.latencies_us.sort_unstable();
    let quantile =
        |q: usize| seen.latencies_us.get(seen.latencies_us.len() * q / 100).copied().unwrap_or(0);
    println!(
        "requests_per_s={:.0} queries_per_s={:.0} cpu_us={:.2} p50_us={} p99_us={} errors={} last_error={:?}",
        seen.requests as f64 / seconds,
        seen.queries as f64 / seconds,
        cpu_us / seen.requests.max(1) as f64,
        quantile(50),
        quantile(99),
        seen.errors,
        seen.last_error
    );
}

#[expect(clippy::print_stdout, reason = "its one line of output")]
#[expect(clippy::cast_precision_loss, reason = "a report")]
async fn idle(order: Order) -> Result<(), Failure> {
    // the first ones fill caches and pools
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(Connection::open(&order).await?);
    }
    let before = packet::resident_kib(order.pid);
    for _ in 0..order.connections {
        open.push(Connection::open(&order).await?);
    }
    tokio::time::sleep(Duration::from_secs_f64(order.seconds)).await;
    let grown = packet::resident_kib(order.pid).saturating_sub(before);
    println!(
        "connections={} kib_each={:.1}",
        open.len(),
        grown as f64 / f64::from(order.connections)
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments = packet::Arguments::read();
    let order = Order {
        mode: arguments.value("mode", "query".to_owned()),
        address: arguments.value("address", String::new()),
        user: arguments.value("user", "wordpress".to_owned()),
        password: arguments.value("password", "wordpress".to_owned()),
        tls: None,
        connections: arguments.value("connections", 32),
        seconds: arguments.value("seconds", 3.0),
        pid: arguments.value("pid", 0),
    };
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        if order.mode == "idle" {
            return idle(order).await;
        }
        measure(order).await;
        Ok(())
    })
}
