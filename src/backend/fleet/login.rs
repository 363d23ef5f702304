//! What a client's login asks of the servers: is the password right, may it use this schema.
//!
//! The primary is asked. While it is lost, and `on_primary_loss` wants replicas in its place, one of
//! them is that knows all changes of accounts that are known here. Who asks, and how long it may
//! take, is `client`'s.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Fleet, is_lost, lost, told};
use crate::backend::catalog;
use crate::backend::pool::Lease;
use crate::backend::query::{Answers, QueryError, put_command};
use crate::cluster::Role;
use crate::secret::Credentials;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;

const COM_INIT_DB: u8 = 2;
/// Connections that may be lost while a login is looked into.
const LOSSES_MAX: u32 = 4;

impl Fleet {
    /// Proves a login at the primary. The connection that proves it becomes a pooled one. While
    /// there is no primary, one that never was right before is proved at a replica.
    pub async fn prove(
        &self,
        credentials: Arc<Credentials>,
        was_right: bool,
    ) -> Result<(), ErrPacket> {
        let account = self.account_of(&credentials);
        let mut tries = 0;
        loop {
            let mut lease = match was_right {
                true => self.lease_primary(&credentials, account).await?,
                false => self.lease_for_login(&credentials, account).await?,
            };
            if !lease.is_new() {
                // A login of yesterday proves nothing: the password may have changed since.
                let deadline = Instant::now() + self.ways.connect_timeout;
                lease.renew(&credentials, Capabilities(0), deadline).await.map_err(told)?;
            }
            if lease.is_reader {
                self.note_stand_in(&lease, &credentials)?;
            }
            match self.learn_baseline(&mut lease).await {
                Ok(()) => {
                    let known = self.catalogs.of(account, &credentials);
                    catalog::greet(self, lease, &known).await;
                }
                // Without the values a session's own would be guessed: wait for them.
                Err(error) if is_lost(&error) && tries < LOSSES_MAX => {
                    tries += 1;
                    continue;
                }
                Err(error) if is_lost(&error) => return Err(lost(error)),
                Err(error) => tracing::warn!(%error, "cannot read the primary's session values"),
            }
            self.account.store(Some(credentials));
            self.stir.notify_waiters();
            return Ok(());
        }
    }

    async fn learn_baseline(&self, lease: &mut Lease) -> Result<(), QueryError> {
        if self.baseline().is_none() {
            let baseline = self.read_baseline(lease).await?;
            self.ways.baseline.store(Some(Arc::new(baseline)));
            self.replays.void();
        }
        Ok(())
    }

    /// A replica lets somebody in. Without the primary's values for new sessions, no text of
    /// theirs would be understood.
    fn note_stand_in(&self, lease: &Lease, credentials: &Credentials) -> Result<(), ErrPacket> {
        if self.baseline().is_none() {
            let text = "The primary database server cannot be reached, and was not seen before";
            return Err(ErrPacket::new(1105, b"HY000", text));
        }
        self.metrics.reads_unfenced.inc();
        let user = String::from_utf8_lossy(&credentials.user);
        tracing::warn!(%user, server = %lease.server(), "no primary: a replica proved a login");
        Ok(())
    }

    /// An account has logged in without a proof, because it is listed. The first one shows us the
    /// primary's values, without which no text is understood, and lets us look for replicas.
    pub async fn acquaint(&self, credentials: &Arc<Credentials>) -> Result<(), ErrPacket> {
        if self.baseline().is_some() && self.watcher().is_some() {
            return Ok(());
        }
        self.prove(Arc::clone(credentials), false).await
    }

    /// Whether the account may use a schema: what COM_INIT_DB says. Gives who said it.
    pub async fn check_database(
        &self,
        credentials: &Arc<Credentials>,
        account: u64,
        name: &[u8],
    ) -> Result<Role, ErrPacket> {
        let mut tries = 0;
        loop {
            let lease = self.lease_for_login(credentials, account).await?;
            let role = if lease.is_reader { Role::Reader } else { Role::Primary };
            if role == Role::Reader {
                self.metrics.reads_unfenced.inc();
            }
            match try_database(lease, name).await {
                Ok(()) => return Ok(role),
                Err(error) if is_lost(&error) && tries < LOSSES_MAX => tries += 1,
                Err(QueryError::Refused(refused)) => return Err(refused),
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

async fn try_database(mut lease: Lease, name: &[u8]) -> Result<(), QueryError> {
    let mut flight = Vec::new();
    put_command(&mut flight, COM_INIT_DB, name);
    let capabilities = lease.capabilities;
    let said = Answers::to(&mut lease.stream, capabilities, &flight).await?.ok().await;
    match &said {
        Ok(()) => lease.values.database = Some(name.into()),
        Err(error) if is_lost(error) => return said,
        Err(_) => {}
    }
    lease.give_back(0);
    said
}
