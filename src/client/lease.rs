//! The connections that one conversation has, and how it comes by them and leaves them.
//!
//! At most two: one to the primary while something holds it, one to a reader for the statement
//! that may ask about the last one. Which server is `cluster`'s choice.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::dial::{DialError, SHARED};
use crate::backend::dialer::OpenError;
use crate::backend::fleet::Request;
use crate::backend::pool::{Lease, LeaseError, Place};
use crate::backend::query::ask;
use crate::client::serve::{Conversation, LeaseRefused};
use crate::cluster::health::Event;
use crate::cluster::ledger::Stay;
use crate::cluster::{Choice, Role, ServerId, Want, Why};
use crate::session::hold::Hold;
use crate::session::observe::Said;
use crate::session::plan::{Forward, Reason};
use crate::session::refusal::Refusal;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;

/// What a server says to a password that is no longer right.
const ACCESS_DENIED: u16 = 1045;
/// Warnings that nobody asked for are kept so long from others who wait for the connection.
const WARNINGS_KEPT: Duration = Duration::from_secs(1);
/// Between two looks whether a lost primary is back.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What one conversation has of connections.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// To the primary, while something holds it.
    primary: Option<Lease>,
    /// To a reader, until the next statement.
    reader: Option<Lease>,
    /// Where the last connections were: they are taken back if still free.
    last: [Option<(ServerId, Place)>; 2],
}

impl Leases {
    /// It stays with the session.
    pub(super) fn keep(&mut self, lease: Lease, role: Role) {
        self.remember(&lease, role);
        match role {
            Role::Primary => self.primary = Some(lease),
            Role::Reader => self.reader = Some(lease),
        }
    }

    /// It goes back; the session will look for it there first.
    pub(super) fn give_back(&mut self, lease: Lease, role: Role, session: u64) {
        self.remember(&lease, role);
        lease.give_back(session);
    }

    fn remember(&mut self, lease: &Lease, role: Role) {
        if let Some(last) = self.last.get_mut(role as usize) {
            *last = Some((lease.server(), lease.place()));
        }
    }

    fn last(&self, role: Role, server: ServerId) -> Option<Place> {
        let (known, place) = self.last.get(role as usize).copied().flatten()?;
        (known == server).then_some(place)
    }
}

impl Conversation {
    pub(super) fn lease_deadline(&self) -> Instant {
        Instant::now() + self.house.wait_max
    }

    /// A connection for it: the held one, or one of the server that `cluster` picks. While no
    /// primary can be reached it waits, and gives up when the client leaves.
    pub(super) async fn lease(
        &mut self,
        it: &mut Forward,
        said: Said<'_>,
    ) -> io::Result<Result<(Lease, Role), LeaseRefused>> {
        if let Some(kept) = self.kept(it) {
            return Ok(Ok(kept));
        }
        if it.held || self.session.has_lost(said) {
            return Ok(Err(LeaseRefused::Ours(Refusal::StateLost)));
        }
        let deadline = self.lease_deadline();
        let (mut failed_readers, mut has_waited) = (0, false);
        loop {
            let Ok(choice) = self.house.fleet.pick(&it.want) else {
                if self.turns_to_replica(it, said) {
                    continue;
                }
                if !self.wait_for_primary(deadline).await? {
                    return Ok(Err(LeaseRefused::Ours(Refusal::NoServer)));
                }
                continue;
            };
            if choice.why == Why::NoReplicaFresh && !has_waited {
                has_waited = true;
                if Box::pin(self.wait_for_replica(&it.want)).await {
                    continue;
                }
            }
            let role = choice.role();
            if role == Role::Primary
                && let Some(kept) = self.leases.primary.take()
            {
                self.count_route(it, choice);
                return Ok(Ok((kept, role)));
            }
            match self.lease_of(choice, deadline, it.needs.stay).await {
                // What is set there would not be told.
                Ok(lease) if it.why == Reason::PrimaryLost && !tells_state(&lease) => {
                    lease.give_back(0);
                    *it = self.session.to_primary(it);
                }
                // It waited for a connection, and the server came back meanwhile with less.
                Ok(lease) if role == Role::Reader && !lease.has_applied(it.want.floor) => {
                    lease.give_back(0);
                }
                Ok(lease) => {
                    self.count_route(it, choice);
                    return Ok(Ok((lease, role)));
                }
                Err(LeaseError::Busy) => return Ok(Err(LeaseRefused::Ours(Refusal::PoolBusy))),
                Err(LeaseError::Open(_)) if role == Role::Reader && failed_readers == 0 => {
                    failed_readers += 1;
                    it.want = it.want.avoiding(choice.server);
                }
                // Readers that refuse an account are healthy: they would be chosen in turns.
                Err(LeaseError::Open(_)) if role == Role::Reader => {
                    *it = self.session.to_primary(it);
                }
                Err(LeaseError::Open(OpenError::Dial(DialError::Refused(refused))))
                    if !is_for_now(refused.code) || Instant::now() >= deadline =>
                {
                    return Ok(Err(self.refused(refused)));
                }
                Err(LeaseError::Open(_)) => {
                    if !self.wait_for_primary(deadline).await? {
                        return Ok(Err(LeaseRefused::Ours(Refusal::NoServer)));
                    }
                }
            }
        }
    }

    fn refused(&self, refused: ErrPacket) -> LeaseRefused {
        if refused.code == ACCESS_DENIED
            && let Some(door) = &*self.house.door.load()
        {
            // The password was changed: it has to be proved anew.
            door.book.forget(&self.credentials.user);
        }
        LeaseRefused::Servers(refused)
    }

    /// The connection that the session keeps, if that is the one for it.
    fn kept(&mut self, it: &Forward) -> Option<(Lease, Role)> {
        let (mut kept, role) = self.take_kept(it)?;
        if it.needs.stay == Stay::Long {
            kept.prolong();
        }
        Some((kept, role))
    }

    fn take_kept(&mut self, it: &Forward) -> Option<(Lease, Role)> {
        if let Some(kept) = self.leases.reader.take() {
            let serves = it.want.role == Role::Reader
                && (it.why == Reason::Diagnostics || kept.has_applied(it.want.floor));
            if serves {
                self.house.routed(Some(Role::Reader), it.why);
                return Some((kept, Role::Reader));
            }
            if self.session.keeps_reader() && it.want.role == Role::Primary {
                self.leases.reader = Some(kept);
            } else {
                self.session.give_up_reader();
                kept.give_back(self.session.id);
            }
        }
        if it.want.role == Role::Primary
            && let Some(mut kept) = self.leases.primary.take()
        {
            if !self.session.holds().is_hard() && kept.stream.is_readable_now() {
                // It died while it was kept for no more than an insert id.
                self.session.give_up_softly();
                return None;
            }
            self.house.routed(Some(Role::Primary), it.why);
            return Some((kept, Role::Primary));
        }
        None
    }

    fn count_route(&mut self, it: &mut Forward, choice: Choice) {
        let role = choice.role();
        match (it.want.role, role) {
            (Role::Reader, Role::Primary) => {
                it.why = match choice.why {
                    Why::NoReplicaFresh => Reason::NotFresh,
                    Why::NoReplicaUp => Reason::NoReplica,
                    _ => Reason::NoneConfigured,
                };
            }
            (_, Role::Reader) => self.session.served_by(choice.server),
            (Role::Primary, Role::Primary) => {}
        }
        self.house.routed(Some(role), it.why);
    }

    async fn lease_of(
        &self,
        choice: Choice,
        deadline: Instant,
        stay: Stay,
    ) -> Result<Lease, LeaseError> {
        let role = choice.role();
        let request = Request {
            server: choice.server,
            role,
            credentials: &self.credentials,
            account: self.account,
            shared: self.capabilities.intersect(SHARED),
            session: self.session.id,
            state: self.session.fingerprint(),
            last: self.leases.last(role, choice.server),
            deadline,
            stay,
        };
        if let Some(lease) = self.house.fleet.lease_idle(&request) {
            return Ok(lease);
        }
        // Boxed: nearly every statement finds one idle.
        Box::pin(async {
            tokio::select! {
                biased;
                leased = self.house.fleet.lease(&request) => leased,
                // Somebody killed it: whoever asked looks for that.
                () = self.seat.interrupted() => Err(LeaseError::Busy),
            }
        })
        .await
    }

    /// There is no primary to choose. True: a replica can do it as well, and `it` now says so.
    fn turns_to_replica(&self, it: &mut Forward, said: Said<'_>) -> bool {
        if self.call.is_some() || !self.house.does_without_primary() {
            return false;
        }
        let elsewhere = self.session.without_primary(it, said, &self.house.fleet.freshness);
        let Some(elsewhere) = elsewhere else { return false };
        self.house.metrics.reads_unfenced.inc();
        *it = elsewhere;
        true
    }

    /// Waits a moment for the primary. False: the time is up. An error: the client has left, and
    /// what it wanted written must not be written after all.
    async fn wait_for_primary(&mut self, deadline: Instant) -> io::Result<bool> {
        if self.client.is_closed_now() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if Instant::now() >= self.house.fleet.primary_awaited(deadline)
            || self.seat.is_interrupted()
        {
            return Ok(false);
        }
        sleep(LOOK_AGAIN).await;
        Ok(true)
    }

    /// No replica has what the read needs; one may have it in a moment. False: it goes to the
    /// primary.
    async fn wait_for_replica(&self, want: &Want) -> bool {
        let begun = Instant::now();
        let is_there = self.house.fleet.await_replica(want).await;
        let metrics = &self.house.metrics;
        metrics.replica_wait_seconds.observe(begun.elapsed().as_secs_f64());
        if is_there {
            metrics.stale_reads_prevented.inc();
        }
        is_there
    }

    /// The server of a lease was lost under it.
    pub(super) fn lost(&self, lease: Lease, why: Reason) {
        if why != Reason::Misrouted {
            self.house.fleet.note(lease.server(), &Event::ConnectionLost);
        }
        drop(lease);
    }

    /// Waits until another session waits for the connection that this one keeps for no more than
    /// an insert id, or for warnings that it has not asked for in a second: PHP asks at once, and a
    /// pool of one connection stood still. Or for nothing any more: a read of a replica may end the
    /// last reason. None while it keeps none such.
    pub(super) fn primary_wanted(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let holds = self.session.holds();
        let lease = self.leases.primary.as_ref().filter(|_| holds.is_revocable());
        let pool = Arc::clone(lease?.pool());
        // Boxed: most idle sessions keep nothing.
        Some(Box::pin(async move {
            if holds.has(Hold::Diagnostics) {
                sleep(WARNINGS_KEPT).await;
            }
            pool.wanted().await;
        }))
    }

    /// Asks the kept connection for LAST_INSERT_ID() and gives it to whoever waits.
    pub(super) async fn give_up_primary(&mut self) {
        let Some(mut lease) = self.leases.primary.take() else { return };
        if !self.session.holds().has(Hold::InsertId) {
            self.session.give_up_warnings();
            lease.residue = true;
            return lease.give_back(0);
        }
        let answer = insert_id_of(&mut lease).await;
        self.session.give_up(answer);
        if answer.is_some() {
            lease.residue = true;
            lease.give_back(0);
        } else {
            drop(lease);
        }
    }

    /// Gives everything back, or closes what holds state.
    pub(super) fn leave(&mut self) {
        let is_clean = !self.session.holds().is_hard();
        if let Some(mut kept) = self.leases.primary.take().filter(|_| is_clean) {
            // Not every statement of MariaDB clears the warnings: the next session must not see them.
            kept.residue |= self.session.holds().has(Hold::Diagnostics);
            kept.give_back(0);
        }
        if let Some(kept) = self.leases.reader.take() {
            kept.give_back(0);
        }
        for (server, place) in self.leases.last.iter_mut().filter_map(Option::take) {
            self.house.fleet.disown(server, place, self.session.id);
        }
    }
}

/// LAST_INSERT_ID() as a connection has it; none if it gives no answer.
pub(super) async fn insert_id_of(lease: &mut Lease) -> Option<u64> {
    let capabilities = lease.capabilities;
    let rows = ask(&mut lease.stream, capabilities, "SELECT LAST_INSERT_ID()").await.ok()?;
    let cell = rows.into_iter().next()?.into_iter().next()??;
    std::str::from_utf8(&cell).ok()?.parse().ok()
}

/// Whether its server tells what a statement sets.
pub(super) fn tells_state(lease: &Lease) -> bool {
    lease.capabilities.has(Capabilities::SESSION_TRACK)
}

/// Refusals of a login that a moment later may be none: too many connections, of all or of this
/// account, or a server that shuts down.
fn is_for_now(code: u16) -> bool {
    matches!(code, 1040 | 1053 | 1203 | 1226)
}
