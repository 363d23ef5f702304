//! Replication that is late by as much as a test says: a relay between the primary and its replicas.
//!
//! Servers count their own delays in whole seconds and show them; this one is exact, is not shown
//! by any status, and ends at once. What the primary says is late, what replicas say is not.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
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
                let _refused = replica.and_then(|replica| connect(replica, &to, &delay));
            }
        });
        for node in REPLICAS {
            stack.follow(node, port);
        }
        stack.sync();
        Self { delay_us }
    }

    /// From now on, for what was said before too.
    pub(crate) fn set(&self, delay: Duration) {
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

fn connect(replica: TcpStream, to: &str, delay_us: &Arc<AtomicU64>) -> io::Result<()> {
    let primary = TcpStream::connect(to)?;
    for side in [&replica, &primary] {
        side.set_nodelay(true)?;
    }
    let (mut said, mut heard) = (replica.try_clone()?, primary.try_clone()?);
    let (queue, delay_us) = (Arc::new(Queue::default()), delay_us.clone());
    let gathered = queue.clone();
    thread::spawn(move || {
        let _broken = io::copy(&mut said, &mut heard);
        let _gone = heard.shutdown(Shutdown::Both);
    });
    thread::spawn(move || gather(primary, &gathered));
    thread::spawn(move || {
        let _broken = deliver(&replica, &queue, &delay_us);
        let _gone = replica.shutdown(Shutdown::Both);
    });
    Ok(())
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

fn deliver(mut replica: &TcpStream, queue: &Queue, delay_us: &AtomicU64) -> io::Result<()> {
    loop {
        let mut blocks = queue.blocks.lock().unwrap();
        let (since, block) = loop {
            match blocks.pop_front() {
                Some(first) => break first,
                None => blocks = queue.changed.wait(blocks).unwrap(),
            }
        };
        drop(blocks);
        let due = || since + Duration::from_micros(delay_us.load(Ordering::Relaxed));
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
