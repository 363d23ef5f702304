//! Which server it is that answered, whatever address was dialed.
//!
//! Health, progress and limits belong to a server, not to an address: a name may stand before
//! several servers, and one server may be listed twice. Called by `backend`'s probe.

use std::fmt;

/// A server's own name for itself; without one, the address it was found at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

/// What a server says about itself. `None`: it was not asked, or it refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// `@@server_uuid` of MySQL.
    pub server_uuid: Option<&'a str>,
    /// `@@server_uid` of MariaDB.
    pub server_uid: Option<&'a str>,
    /// `@@hostname`
    pub hostname: Option<&'a str>,
    /// `@@server_id`
    pub server_id: Option<u32>,
    /// `@@port`
    pub port: Option<u16>,
}

impl Identity {
    /// The best name that the facts give.
    ///
    /// Kinds are told apart by a prefix, so that no host name passes for another server's UUID.
    pub fn new(facts: &Facts<'_>, address: &str) -> Identity {
        let said =
            |text: Option<&str>| text.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        if let Some(uuid) = said(facts.server_uuid) {
            return Identity(format!("uuid {}", uuid.to_ascii_lowercase()));
        }
        if let Some(uid) = said(facts.server_uid) {
            return Identity(format!("uid {uid}"));
        }
        if let (Some(host), Some(id), Some(port)) =
            (said(facts.hostname), facts.server_id, facts.port)
        {
            return Identity(format!("host {host} id {id} port {port}"));
        }
        Identity::of_address(address)
    }

    /// The name of a server that was not asked yet, or that does not say.
    pub fn of_address(address: &str) -> Identity {
        Identity(format!("address {address}"))
    }

    /// The UUID, of those that have one.
    pub fn uuid(&self) -> Option<&str> {
        self.0.strip_prefix("uuid ")
    }

    /// Whether this is no more than an address: the server itself has not said who it is.
    pub fn is_address(&self) -> bool {
        self.0.starts_with("address ")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Identity};

    fn check(facts: Facts<'_>, expected: &str) {
        assert_eq!(Identity::new(&facts, "db-1:3306").to_string(), expected);
    }

    #[test]
    fn the_best_name_wins() {
        let none = Facts::default();
        let host = Facts { hostname: Some("db-1"), server_id: Some(7), port: Some(3306), ..none };
        check(none, "address db-1:3306");
        check(host, "host db-1 id 7 port 3306");
        check(Facts { hostname: Some(""), ..host }, "address db-1:3306");
        check(Facts { server_id: None, ..host }, "address db-1:3306");
        check(Facts { server_uid: Some("k3+x="), ..host }, "uid k3+x=");
        check(Facts { server_uid: Some(" "), ..host }, "host db-1 id 7 port 3306");
        check(Facts { server_uuid: Some("AB-C"), server_uid: Some("k3"), ..host }, "uuid ab-c");
        let uuid = Identity::new(&Facts { server_uuid: Some("AB-C"), ..none }, "x");
        assert_eq!((uuid.uuid(), Identity::new(&host, "x").uuid()), (Some("ab-c"), None));
        assert!(Identity::new(&none, "x").is_address() && !Identity::new(&host, "x").is_address());
    }
}
