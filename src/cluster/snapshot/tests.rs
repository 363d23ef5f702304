//! Changes of the fleet, a scenario a line.

use super::Snapshot;
use crate::cluster::identity::Facts;
use crate::cluster::{Identity, Role, Server, ServerId};
use crate::position::Ordinal;

fn uuid(text: &str) -> Identity {
    Identity::new(&Facts { server_uuid: Some(text), ..Facts::default() }, "")
}

/// Steps: `P1@a` adds a primary of number 1 at address a, `R2@b` a reader (`R2@b=x`
/// one that said it is x), `2=x` says that server 2 is x, `-2` takes it away, `^2` makes it the primary, `!2` renews it,
/// `>2@c` moves it.
fn play(steps: &str) -> Snapshot {
    let mut fleet = Snapshot::default();
    for step in steps.split_whitespace() {
        let number = |text: &str| ServerId(text.parse().unwrap());
        let (head, rest) = step.split_at(1);
        fleet = match (head, rest.split_once('@'), step.split_once('=')) {
            ("P" | "R", Some((id, address)), _) => {
                let role = if head == "P" { Role::Primary } else { Role::Reader };
                let (address, name) = address.split_once('=').unwrap_or((address, ""));
                let mut server = Server::new(number(id), address, role);
                if !name.is_empty() {
                    server.identity = uuid(name);
                }
                fleet.with_server(server)
            }
            (">", Some((id, address)), _) => fleet.with_address(number(id), address),
            ("-", ..) => fleet.without(number(rest)),
            ("^", ..) => fleet.with_primary(number(rest)),
            ("!", ..) => fleet.with_incarnation(number(rest)),
            (_, _, Some((id, name))) => fleet.with_identity(number(id), uuid(name)),
            _ => unreachable!("{step}"),
        };
    }
    fleet
}

fn check(steps: &str, expected: &str) {
    let fleet = play(steps);
    let shown: Vec<String> = fleet
        .servers
        .iter()
        .map(|server| {
            let role = if server.role == Role::Primary { 'P' } else { 'R' };
            let mut addresses = server.aliases.clone();
            addresses.insert(0, server.address.clone());
            format!("{role}{}@{}", server.id.0, addresses.join("+"))
        })
        .collect();
    assert_eq!(shown.join(" "), expected, "{steps}");
    let primaries = fleet.servers.iter().filter(|s| s.role == Role::Primary).map(|s| s.id);
    assert_eq!(primaries.collect::<Vec<_>>(), Vec::from_iter(fleet.primary), "{steps}");
}

#[test]
fn members() {
    check("", "");
    check("P1@a R2@b R3@c", "P1@a R2@b R3@c");
    check("R3@c P1@a R2@b", "P1@a R2@b R3@c");
    check("P1@a R2@b=x R3@c=x >2@d", "P1@a R2@d");
    check("P1@a R2@b=x R3@c=y >2@c", "P1@a R2@c R3@c");
    check("P1@a >7@c", "P1@a");
    check("P1@a R2@b -2", "P1@a");
    check("P1@a R2@b ^2", "R1@a P2@b");
    check("P1@a R2@b ^9", "P1@a R2@b");
    check("P1@a P2@b", "R1@a P2@b");
    check("P1@a -1 R2@b", "R2@b");
}

#[test]
fn one_server_listed_twice_is_one() {
    check("P1@a R2@a", "P1@a");
    check("R1@a P2@a", "P2@a");
    check("P1@a R2@b 1=x 2=x", "P1@a+b");
    check("R1@b P2@a 1=x 2=x", "P2@a+b");
    check("R1@a R2@b R3@c 3=x 1=x", "R1@a+c R2@b");
    check("P1@a R2@b 1=x 2=x R3@b", "P1@a+b");
    check("P1@a R2@b 1=x 2=y", "P1@a R2@b");
    // An address that stands before several servers: each of them said who it is.
    check("R1@vip=x R2@vip=y R3@vip=x", "R1@vip R2@vip");
    check("P1@a=x R2@vip=x R3@vip=y R4@vip", "P1@a+vip R3@vip");
    check("P1@a R2@b R3@c 1=x 2=x 3=x", "P1@a+b+c");
}

#[test]
fn an_incarnation_ends() {
    let check = |step: &str, expected: u64| {
        let fleet = play("P1@a R2@b R3@c 2=x 3=z");
        let old = fleet.server(ServerId(2)).unwrap().live.clone();
        old.raise_applied(Ordinal(5));
        let next = match step {
            "same" => fleet.with_identity(ServerId(2), uuid("x")),
            "other" => fleet.with_identity(ServerId(2), uuid("y")),
            "renew" => fleet.with_incarnation(ServerId(2)),
            "gone" => fleet.without(ServerId(2)),
            _ => fleet.with_identity(ServerId(3), uuid("x")),
        };
        let new = next.server(ServerId(2)).map_or(Ordinal(0), |server| server.live.applied());
        assert_eq!(new, Ordinal(expected), "{step}");
        // Who still looks at the old snapshot must not believe more than who has the new one.
        assert_eq!(old.applied(), new, "{step}");
    };
    check("same", 5);
    check("other", 0);
    check("renew", 0);
    check("gone", 0);
    check("merged", 5);
}

#[test]
fn numbers_and_members_are_bounded_and_never_used_again() {
    let mut fleet = play("P1@a R7@b -7");
    assert_eq!(fleet.next_id(), ServerId(8));
    for _ in 0..2 * crate::limits::SERVERS_MAX {
        let id = fleet.next_id();
        fleet = fleet.with_server(Server::new(id, &format!("r{id}"), Role::Reader));
    }
    assert_eq!(fleet.servers.len(), crate::limits::SERVERS_MAX);
    assert!(fleet.servers.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn lookups() {
    let fleet = play("P1@a R2@b 1=x 2=x R3@c");
    assert_eq!(fleet.find_address("b"), Some(ServerId(1)));
    assert_eq!(fleet.find_address("z"), None);
    assert_eq!(fleet.find_identity(&uuid("x")), Some(ServerId(1)));
    assert_eq!(fleet.readers().count(), 1);
    assert_eq!(fleet.epoch, 5);
    assert_eq!(fleet.with_version(b"8.0.36").version, b"8.0.36");
    assert_eq!(fleet.without_primary().primary, None);
}
