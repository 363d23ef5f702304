//! Writing to a client that may not read, and reading the rest of what it has begun to say: it is
//! waited for, but not for ever, and no longer than its session lasts.
//!
//! What a client does at once costs no timer. Called by `client::relay` and by the conversation
//! for whatever it says itself; the next command is waited for elsewhere (`client::read`).

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::client::registry::Seat;
use crate::client::serve::Conversation;
use crate::limits;
use crate::link::Stream;

const WAIT_MAX: Duration = Duration::from_millis(limits::CLIENT_WRITE_MS_MAX);

/// Writes all of it. An error when the client takes nothing for too long, or is killed meanwhile.
pub async fn write_to(client: &mut Stream, mut out: &[u8], seat: &Seat) -> io::Result<()> {
    while !out.is_empty() {
        let wrote = match at_once(client.write(out)).await {
            Some(wrote) => wrote?,
            // Boxed: rare, and it weighs on every session.
            None => Box::pin(wait_for(client.write(out), WAIT_MAX, seat)).await?,
        };
        out = out.get(wrote..).filter(|_| wrote > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    match at_once(client.flush()).await {
        Some(flushed) => flushed,
        None => Box::pin(wait_for(client.flush(), WAIT_MAX, seat)).await,
    }
}

/// What can be done without waiting. It must be safe to begin again: a write that is not ready has
/// taken nothing.
async fn at_once<T>(doing: impl Future<Output = T>) -> Option<T> {
    let mut doing = pin!(doing);
    poll_fn(|context| match doing.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What may take as long as the client likes; an error when it is killed meanwhile.
pub(super) async fn unless_ended<T>(
    doing: impl Future<Output = io::Result<T>>,
    seat: &Seat,
) -> io::Result<T> {
    let mut doing = pin!(doing);
    poll_fn(|context| match doing.as_mut().poll(context) {
        Poll::Pending if seat.poll_ended(context).is_ready() => {
            Poll::Ready(Err(io::ErrorKind::Interrupted.into()))
        }
        polled => polled,
    })
    .await
}

/// What a client does in its own time; an error when that is too long, or it is killed meanwhile.
pub(super) async fn wait_for<T>(
    doing: impl Future<Output = io::Result<T>>,
    wait: Duration,
    seat: &Seat,
) -> io::Result<T> {
    // Cancel-safe: a read or a write that is not ready has taken nothing.
    tokio::select! {
        biased;
        done = doing => done,
        error = until_given_up(wait, seat) => Err(error),
    }
}

/// Asks for the time only when somebody waits.
async fn until_given_up(wait: Duration, seat: &Seat) -> io::Error {
    tokio::select! {
        () = sleep(wait) => io::ErrorKind::TimedOut.into(),
        () = seat.ended() => io::ErrorKind::Interrupted.into(),
    }
}

impl Conversation {
    /// Writes what is for the client.
    pub(super) async fn write_out(&mut self, out: &[u8]) -> io::Result<()> {
        write_to(&mut self.client, out, &self.seat).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::client::registry::Registry;
    use crate::secret::Credentials;

    const PIPE_BYTES: usize = 64;

    fn seat() -> Arc<Seat> {
        let shop = Credentials::new(b"shop".to_vec(), b"secret".to_vec()).unwrap();
        Registry::default().enter(7, &Arc::new(shop))
    }

    /// A client that reads so many bytes, one a pause: what becomes of 200 bytes for it, and when.
    async fn check(
        reads: usize,
        pause: Duration,
        expected: Result<(), io::ErrorKind>,
        after_s: u64,
    ) {
        let (mut theirs, ours) = duplex(PIPE_BYTES);
        let (mut client, seat) = (Stream::from(ours), seat());
        let begun = Instant::now();
        let reading = tokio::spawn(async move {
            for _ in 0..reads {
                sleep(pause).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        });
        let written = write_to(&mut client, &[b'x'; 200], &seat).await;
        assert_eq!(written.map_err(|error| error.kind()), expected, "{reads} reads");
        assert_eq!(begun.elapsed().as_secs(), after_s, "{reads} reads");
        drop(reading.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        check(0, Duration::ZERO, Err(io::ErrorKind::TimedOut), 60).await;
        check(200, Duration::from_secs(1), Ok(()), 136).await;
        check(200, Duration::from_secs(59), Ok(()), 136 * 59).await;
        check(9, Duration::from_secs(59), Err(io::ErrorKind::TimedOut), 9 * 59 + 60).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_killed_is_not_waited_for() {
        let (_theirs, ours) = duplex(PIPE_BYTES);
        let (mut client, seat) = (Stream::from(ours), seat());
        let begun = Instant::now();
        let writing = write_to(&mut client, &[b'x'; 200], &seat);
        let killing = async {
            advance(Duration::from_secs(3)).await;
            seat.interrupt(true);
        };
        let (written, ()) = tokio::join!(writing, killing);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(begun.elapsed().as_secs(), 3);
    }
}
