//! A connection that one session has to itself, from its pool and back to it.
//!
//! Dropping it closes the connection; only `give_back` returns it.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::{Place, Pool};
use crate::backend::connection::Connection;
use crate::backend::dialer::OpenError;
use crate::cluster::ledger::Slot;
use crate::cluster::{Live, Outstanding, ServerId};
use crate::link::Stream;
use crate::position::Ordinal;
use crate::secret::Credentials;
use crate::wire::capability::Capabilities;

/// A connection that one session has to itself. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) slot: Slot,
    pub(super) owner: u64,
    pub(super) connection: Option<Box<Connection>>,
    pub(super) is_new: bool,
    pub(super) live: Arc<Live>,
    pub(super) _outstanding: Outstanding,
    /// Its pool knows that it is not leased for a moment.
    pub(super) is_long: bool,
}

impl Lease {
    /// It was logged in for this lease.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The server at its other end.
    #[must_use]
    pub fn server(&self) -> ServerId {
        self.pool.server
    }

    /// Its pool.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Its place there.
    #[must_use]
    pub fn place(&self) -> Place {
        self.slot
    }

    /// The session that used it last; 0: nobody who still lives.
    #[must_use]
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether its server has applied so much, in the incarnation that this lease speaks to.
    #[must_use]
    pub fn has_applied(&self, floor: Ordinal) -> bool {
        self.live.applied() >= floor
    }

    /// Waits until its server is given up: then no reply will come.
    pub fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let given_up = Arc::clone(&self.given_up);
        poll_fn(move |context| given_up.poll(context))
    }

    /// What is said over it now is not short: the pool counts it as that.
    pub fn prolong(&mut self) {
        if !self.is_long {
            self.is_long = true;
            self.pool.lock().ledger.prolong(self.slot);
        }
    }

    /// From now on it is this session's.
    pub fn own(&mut self, session: u64) {
        self.owner = session;
    }

    /// Gives it back, in a state that `put_steps` knows how to leave. `session`: who may come
    /// back for what is left on it; 0 for nobody.
    pub fn give_back(mut self, session: u64) {
        if let Some(connection) = self.connection.take() {
            let state = if connection.residue { 1 } else { connection.values.fingerprint() };
            self.pool.return_idle(self.slot, connection, session, state);
        }
    }

    /// Closes it and logs in anew in its place: the only way back to "no database".
    pub async fn renew(
        &mut self,
        credentials: &Arc<Credentials>,
        shared: Capabilities,
        deadline: Instant,
    ) -> Result<(), OpenError> {
        let is_reader = self.is_reader;
        // The old one first: the server's limit may be this very connection.
        self.stream = Stream::from(tokio::io::duplex(1).0);
        let opened = self.pool.dialer.open(credentials, shared, is_reader, deadline).await?;
        self.owner = 0;
        self.is_new = true;
        self.pool.lock().tell_of(self.slot, &opened);
        **self = opened;
        Ok(())
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[expect(clippy::expect_used, reason = "the connection is taken only by give_back and drop")]
    fn deref(&self) -> &Connection {
        self.connection.as_deref().expect("a lease holds its connection until it ends")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "the connection is taken only by give_back and drop")]
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_deref_mut().expect("a lease holds its connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.pool.closed(self.slot);
        }
    }
}
