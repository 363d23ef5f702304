//! Replication that is late by as much as a test says: a relay between the primary and its replicas.
//!
//! Servers count their own delays in whole seconds and show them; this one is exact, is not shown
//! by any status, and ends at once. What the primary says is late, what replicas say is not.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::stack::{PRIMARY, REPLICAS, Stack};

/// The relay of one stack. The stack must be held alone: it heals what is left of this.
pub(crate) struct Late {
    delay_us: Arc<AtomicU64>,
}

/// Blocks that were said and not heard yet; none is the end.
#[derive(Default)]
struct Queue {
    blocks: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    changed: Condvar,
}

impl Late {
    /// Both replicas follow through it, without a delay at first.
    pub(crate) fn between(stack: &Stack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let delay_us = Arc::new(AtomicU64::new(0));
        let (to, delay) = (stack.address(PRIMARY).to_owned(), delay_us.clone());
        thread::spawn(move || {
            for replica in listener.incoming() {
                let is_late = Arc::new(AtomicBool::new(true));
                let _refused = replica.and_then(|replica| connect(replica, &to, &delay, &is_late));
            }
        });
        for node in REPLICAS {
            stack.follow(node, port);
        }
        stack.sync();
        Self { delay_us }
    }

    /// Where the primary can be reached so that only its log comes late: who reads that, and does not
    /// replicate, is told everything else at once.
    pub(crate) fn log_of(stack: &Stack) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let delay_us = Arc::new(AtomicU64::new(0));
        let (to, delay) = (stack.address(PRIMARY).to_owned(), delay_us.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let is_late = Arc::new(AtomicBool::new(false));
                let _refused = client.and_then(|client| connect(client, &to, &delay, &is_late));
            }
        });
        (Self { delay_us }, address)
    }

    /// From now on, for what was said before too.
    pub(crate) fn set(&self, delay: Duration) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

/// COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID, as the first packet of a command.
fn asks_for_the_log(said: &[u8]) -> bool {
    matches!(said, [_, _, _, 0, 0x12 | 0x1e, ..])
}

fn connect(
    replica: TcpStream,
    to: &str,
    delay_us: &Arc<AtomicU64>,
    is_late: &Arc<AtomicBool>,
) -> io::Result<()> {
    let primary = TcpStream::connect(to)?;
    for side in [&replica, &primary] {
        side.set_nodelay(true)?;
    }
    let (mut said, mut heard) = (replica.try_clone()?, primary.try_clone()?);
    let (queue, delay_us) = (Arc::new(Queue::default()), delay_us.clone());
    let (is_late, becomes_late) = (is_late.clone(), is_late.clone());
    let gathered = queue.clone();
    thread::spawn(move || {
        let _broken = ask(&mut said, &mut heard, &becomes_late);
        let _gone = heard.shutdown(Shutdown::Both);
    });
    thread::spawn(move || gather(primary, &gathered));
    thread::spawn(move || {
        let _broken = deliver(&replica, &queue, || match is_late.load(Ordering::Relaxed) {
            true => Duration::from_micros(delay_us.load(Ordering::Relaxed)),
            false => Duration::ZERO,
        });
        let _gone = replica.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn ask(said: &mut TcpStream, heard: &mut TcpStream, is_late: &AtomicBool) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = said.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        is_late.fetch_or(asks_for_the_log(&buffer[..len]), Ordering::Relaxed);
        heard.write_all(&buffer[..len])?;
    }
}

fn gather(mut primary: TcpStream, queue: &Queue) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = primary.read(&mut buffer).unwrap_or(0);
        let block = buffer[..len].to_vec();
        queue.blocks.lock().unwrap().push_back((Instant::now(), block));
        queue.changed.notify_one();
        if len == 0 {
            return;
        }
    }
}

fn deliver(mut replica: &TcpStream, queue: &Queue, delay: impl Fn() -> Duration) -> io::Result<()> {
    loop {
        let mut blocks = queue.blocks.lock().unwrap();
        let (since, block) = loop {
            match blocks.pop_front() {
                Some(first) => break first,
                None => blocks = queue.changed.wait(blocks).unwrap(),
            }
        };
        drop(blocks);
        let due = || since + delay();
        while let Some(left) = due().checked_duration_since(Instant::now()) {
            // A shorter delay counts at once.
            thread::park_timeout(left.min(Duration::from_millis(5)));
        }
        if block.is_empty() {
            return Ok(());
        }
        replica.write_all(&block)?;
    }
}
