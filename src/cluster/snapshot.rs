//! The fleet at one moment, immutable: every change makes a new one.
//!
//! Who may change it, and when, is `backend`'s and `app`'s matter. Read by `pick` without a lock.

use std::sync::Arc;

use super::{Finding, Health, Identity, Live, Role, Server, ServerId};
use crate::limits;

/// Members, roles and health of the fleet.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts the changes.
    pub epoch: u64,
    /// In the order of their ids; one entry per server, however often it is listed.
    pub servers: Vec<Arc<Server>>,
    /// Who takes the writes.
    pub primary: Option<ServerId>,
    /// The version that clients are told: the lowest of all. Empty before the first greeting.
    pub version: Vec<u8>,
    /// Of servers that left, too.
    highest_id: u32,
}

impl Snapshot {
    /// A server by its number.
    pub fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        let at = self.servers.binary_search_by_key(&id, |server| server.id).ok()?;
        self.servers.get(at)
    }

    /// The server that takes the writes.
    pub fn primary(&self) -> Option<&Arc<Server>> {
        self.server(self.primary?)
    }

    /// Servers that are not the primary.
    pub fn readers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().filter(|server| server.role == Role::Reader)
    }

    /// The server that answers at an address.
    pub fn find_address(&self, address: &str) -> Option<ServerId> {
        self.servers.iter().find(|server| server.answers_at(address)).map(|server| server.id)
    }

    /// The server that calls itself so.
    pub fn find_identity(&self, identity: &Identity) -> Option<ServerId> {
        self.servers.iter().find(|server| server.identity == *identity).map(|server| server.id)
    }

    /// An id that no server has or had.
    pub fn next_id(&self) -> ServerId {
        ServerId(self.highest_id.saturating_add(1))
    }

    /// With one server more, or in the place of the one of that id. One that is known under its
    /// identity or address is that server, listed twice. Past the limit nothing is added.
    pub fn with_server(&self, server: Server) -> Snapshot {
        self.change(|next| {
            next.highest_id = next.highest_id.max(server.id.0);
            if server.role == Role::Primary {
                next.demote();
            }
            match next.servers.binary_search_by_key(&server.id, |known| known.id) {
                Ok(at) => next.put(at, server),
                Err(_) if next.servers.len() >= limits::SERVERS_MAX => {}
                Err(at) => next.servers.insert(at, Arc::new(server)),
            }
            next.join_same();
        })
    }

    /// Without that server.
    pub fn without(&self, id: ServerId) -> Snapshot {
        self.change(|next| {
            if let Some(gone) = next.server(id) {
                gone.live.retire();
            }
            next.servers.retain(|server| server.id != id);
        })
    }

    /// With that server's health.
    pub fn with_health(&self, id: ServerId, health: Health) -> Snapshot {
        self.change_server(id, |server| server.health = health)
    }

    /// With what was found there.
    pub fn with_findings(&self, id: ServerId, findings: Arc<[Finding]>) -> Snapshot {
        self.change_server(id, |server| server.findings = findings)
    }

    /// With who that server says it is. Another server than before starts a new incarnation; one
    /// that is in the fleet already becomes one entry with it (the primary's, or the older one's).
    pub fn with_identity(&self, id: ServerId, identity: Identity) -> Snapshot {
        self.change_server(id, |server| {
            if server.identity != identity && !server.identity.is_address() {
                renew(server);
            }
            server.identity = identity;
        })
    }

    /// With that server at another address, where it was seen; the ones before may be another's now.
    pub fn with_address(&self, id: ServerId, address: &str) -> Snapshot {
        self.change_server(id, |server| {
            address.clone_into(&mut server.address);
            server.aliases.clear();
        })
    }

    /// With a new incarnation of that server: nothing is known of its progress.
    pub fn with_incarnation(&self, id: ServerId) -> Snapshot {
        self.change_server(id, renew)
    }

    /// With another primary; the one before becomes a reader. A number that nobody has changes nothing.
    pub fn with_primary(&self, id: ServerId) -> Snapshot {
        self.change(|next| {
            if next.server(id).is_some() {
                next.demote();
                next.edit(id, |server| server.role = Role::Primary);
            }
        })
    }

    /// Without a primary; the one before becomes a reader.
    pub fn without_primary(&self) -> Snapshot {
        self.change(Snapshot::demote)
    }

    /// With the version that clients are told.
    pub fn with_version(&self, version: &[u8]) -> Snapshot {
        self.change(|next| next.version = version.to_vec())
    }

    fn change(&self, edit: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let mut next = self.clone();
        next.epoch = next.epoch.saturating_add(1);
        edit(&mut next);
        let primary = next.servers.iter().find(|server| server.role == Role::Primary);
        next.primary = primary.map(|server| server.id);
        next
    }

    fn change_server(&self, id: ServerId, edit: impl FnOnce(&mut Server)) -> Snapshot {
        self.change(|next| {
            next.edit(id, edit);
            next.join_same();
        })
    }

    fn edit(&mut self, id: ServerId, edit: impl FnOnce(&mut Server)) {
        let place = self.servers.iter_mut().find(|server| server.id == id);
        if let Some(place) = place {
            edit(Arc::make_mut(place));
        }
    }

    fn put(&mut self, at: usize, server: Server) {
        if let Some(place) = self.servers.get_mut(at) {
            *place = Arc::new(server);
        }
    }

    fn demote(&mut self) {
        for server in &mut self.servers {
            if server.role == Role::Primary {
                Arc::make_mut(server).role = Role::Reader;
            }
        }
    }

    /// Makes one entry of entries that are one server.
    fn join_same(&mut self) {
        let mut kept: Vec<Arc<Server>> = Vec::with_capacity(self.servers.len());
        for server in self.servers.drain(..) {
            match kept.iter_mut().find(|known| is_same(known, &server)) {
                None => kept.push(server),
                // Whose sessions and pool matter more stays: the primary's, else the older one's.
                Some(known) if server.role == Role::Primary => {
                    let old = std::mem::replace(known, server);
                    absorb(known, &old);
                }
                Some(known) => absorb(known, &server),
            }
        }
        kept.sort_by_key(|server| server.id);
        self.servers = kept;
    }
}

fn is_same(one: &Server, other: &Server) -> bool {
    // Two servers that both said who they are may share an address: it stands before both.
    let unasked = one.identity.is_address() || other.identity.is_address();
    let meets = one.addresses().any(|address| other.answers_at(address));
    one.identity == other.identity || (unasked && meets)
}

fn absorb(kept: &mut Arc<Server>, gone: &Server) {
    let kept = Arc::make_mut(kept);
    gone.live.retire();
    kept.priority = kept.priority.min(gone.priority);
    for address in gone.addresses() {
        if !kept.answers_at(address) {
            kept.aliases.push(address.to_owned());
        }
    }
}

fn renew(server: &mut Server) {
    server.live.retire();
    server.live = Arc::new(Live::default());
}

#[cfg(test)]
mod tests;
