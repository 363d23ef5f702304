//! Which server a statement goes to: a pure choice over a snapshot.
//!
//! What the statement must have seen is decided before (`session::plan` makes the `Want`); the
//! connection is got after. Health must be up and progress high enough; load decides the rest.

use std::sync::Arc;

use super::{Role, Server, ServerId, Snapshot};
use crate::position::Ordinal;

/// What a statement needs of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// `Primary` for all that is not a proved read.
    pub role: Role,
    /// A reader must have applied this write, and all before it.
    pub floor: Ordinal,
    /// The replica this session last read from: reads do not go backwards inside a request.
    pub sticky: Option<ServerId>,
    /// A replica that just failed this statement, or lacks its table.
    pub avoid: Option<ServerId>,
}

/// The server, and the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where to.
    pub server: ServerId,
    /// Why there.
    pub why: Why,
}

impl Choice {
    /// What the server is asked as.
    #[must_use]
    pub fn role(self) -> Role {
        match self.why {
            Why::Sticky | Why::Balanced => Role::Reader,
            Why::Primary | Why::NoReplicaFresh | Why::NoReplicaUp | Why::NoReplicaConfigured => {
                Role::Primary
            }
        }
    }
}

/// Why this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It had to be the primary.
    Primary,
    /// The session's last replica still qualifies.
    Sticky,
    /// The less busy of two that qualify.
    Balanced,
    /// The primary, as no replica that is up has applied enough.
    NoReplicaFresh,
    /// The primary, as no replica is up.
    NoReplicaUp,
    /// The primary, as there is nobody else.
    NoReplicaConfigured,
}

/// Nobody can serve the statement now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// The fleet has no primary at the moment.
    #[error("no primary is known")]
    NoPrimary,
    /// The primary is down.
    #[error("the primary is down")]
    PrimaryDown,
}

impl Want {
    /// A statement that only the primary may see.
    pub fn primary() -> Want {
        Want { role: Role::Primary, floor: Ordinal(0), sticky: None, avoid: None }
    }

    /// A proved read.
    pub fn reader(floor: Ordinal, sticky: Option<ServerId>) -> Want {
        Want { role: Role::Reader, floor, sticky, avoid: None }
    }

    /// Any replica that is up, whatever it has seen: to be asked about, not to be read from.
    pub fn careless(self) -> Want {
        Want { role: Role::Reader, floor: Ordinal(0), sticky: None, avoid: self.avoid }
    }

    /// A replica in the primary's place, which has applied so much.
    pub fn at_replica(self, floor: Ordinal) -> Want {
        Want { role: Role::Reader, floor, sticky: None, ..self }
    }

    /// The same, anywhere but there.
    pub fn avoiding(self, server: ServerId) -> Want {
        Want { avoid: Some(server), ..self }
    }
}

/// Chooses. `random` decides between equals; any value is valid.
pub fn pick(want: &Want, snapshot: &Snapshot, random: u64) -> Result<Choice, NoServer> {
    if want.role == Role::Primary {
        return primary(snapshot, Why::Primary);
    }
    if let Some(server) = want.sticky.and_then(|id| snapshot.server(id))
        && qualifies(want, server)
    {
        return Ok(Choice { server: server.id, why: Why::Sticky });
    }
    match balanced(want, snapshot, random) {
        Some(server) => Ok(Choice { server: server.id, why: Why::Balanced }),
        None => primary(snapshot, why_none(snapshot)),
    }
}

fn primary(snapshot: &Snapshot, why: Why) -> Result<Choice, NoServer> {
    // An unfit, suspect or unproved primary is still the only one there is.
    let server = snapshot.primary().ok_or(NoServer::NoPrimary)?;
    match server.health.is_down() {
        true => Err(NoServer::PrimaryDown),
        false => Ok(Choice { server: server.id, why }),
    }
}

fn qualifies(want: &Want, server: &Server) -> bool {
    server.role == Role::Reader
        && server.health.serves_reads()
        && want.avoid != Some(server.id)
        && server.live.applied() >= want.floor
}

/// Power of two choices by load, in the best group of those that qualify.
fn balanced<'a>(want: &Want, snapshot: &'a Snapshot, random: u64) -> Option<&'a Server> {
    let fit = || snapshot.servers.iter().map(Arc::as_ref).filter(|s| qualifies(want, s));
    let group = fit().map(|server| server.priority).min()?;
    let group = || fit().filter(move |server| server.priority == group);
    let count = group().count();
    // Progress may rise between two looks, never fall out of reach of `or`: the first one stays.
    let one = draw(random, count);
    let other = draw(random >> 32, count.saturating_sub(1));
    let other = if other >= one { other + 1 } else { other };
    let first = group().nth(one).or_else(|| group().next())?;
    match group().nth(other) {
        Some(second) if load(second) < load(first) => Some(second),
        _ => Some(first),
    }
}

fn load(server: &Server) -> (u32, u32) {
    (server.live.outstanding(), server.live.latency_us())
}

/// A number below `count` from 32 random bits; 0 when `count` is 0.
fn draw(random: u64, count: usize) -> usize {
    let scaled = (random & 0xffff_ffff) * count as u64;
    usize::try_from(scaled >> 32).unwrap_or(0)
}

fn why_none(snapshot: &Snapshot) -> Why {
    if snapshot.readers().next().is_none() {
        Why::NoReplicaConfigured
    } else if snapshot.readers().any(|server| server.health.serves_reads()) {
        Why::NoReplicaFresh
    } else {
        Why::NoReplicaUp
    }
}

#[cfg(test)]
mod tests;
