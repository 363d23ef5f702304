//! Choices, a scenario a line.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{NoServer, Want, Why, pick};
use crate::cluster::{Health, Role, Server, ServerId, Snapshot};
use crate::position::Ordinal;

/// A server is `id`, then letters and numbers: `P` primary, `d` down, `s` suspect, `u` unfit,
/// `?` unknown (else up); `:n` applied, `*n` outstanding, `~n` latency, `/n` priority.
fn fleet(text: &str) -> Snapshot {
    let mut fleet = Snapshot::default();
    for word in text.split_whitespace() {
        let field = |mark: char| {
            let (_, rest) = word.split_once(mark)?;
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse::<u32>().ok()
        };
        let role = if word.contains('P') { Role::Primary } else { Role::Reader };
        let mut server = Server::new(ServerId(word[..1].parse().unwrap()), word, role);
        server.priority = field('/').unwrap_or(0);
        server.health = match word.chars().find(|c| "dsu?".contains(*c)) {
            Some('d') => Health::Down,
            Some('s') => Health::Suspect { until: Instant::now(), probes_failed: 0 },
            Some('u') => Health::Unfit("filter".into()),
            Some(_) => Health::Unknown { probes_failed: 0 },
            None => Health::Up,
        };
        server.live.raise_applied(Ordinal(field(':').unwrap_or(0).into()));
        for _ in 0..field('*').unwrap_or(0) {
            std::mem::forget(server.live.begin());
        }
        server.live.observe_latency(field('~').unwrap_or(0));
        fleet = fleet.with_server(server);
    }
    fleet
}

/// All that may be answered over many random numbers, as `id why`. `want`: `P`, or `R`, then
/// `:floor`, `@sticky`, `-avoid`.
fn check(want: &str, servers: &str, expected: &str) {
    let fleet = fleet(servers);
    let mut wanted =
        if want.starts_with('P') { Want::primary() } else { Want::reader(Ordinal(0), None) };
    for part in want.split_whitespace().skip(1) {
        let number: u32 = part[1..].parse().unwrap();
        match &part[..1] {
            ":" => wanted.floor = Ordinal(number.into()),
            "@" => wanted.sticky = Some(ServerId(number)),
            _ => wanted = wanted.avoiding(ServerId(number)),
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let seen: BTreeSet<String> = (0..400)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match pick(&wanted, &fleet, random.swap_bytes() ^ random) {
                Ok(choice) => format!("{} {}", choice.server.0, name(choice.why)),
                Err(NoServer::NoPrimary) => "none".to_owned(),
                Err(NoServer::PrimaryDown) => "down".to_owned(),
            }
        })
        .collect();
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(seen.join(", "), expected, "{want} of {servers}");
}

fn name(why: Why) -> &'static str {
    match why {
        Why::Primary => "primary",
        Why::Sticky => "sticky",
        Why::Balanced => "balanced",
        Why::NoReplicaFresh => "unfresh",
        Why::NoReplicaUp => "unup",
        Why::NoReplicaConfigured => "alone",
    }
}

#[test]
fn the_primary() {
    check("P", "1P 2 3", "1 primary");
    check("P", "2 3", "none");
    check("P", "", "none");
    check("P", "1Pd 2 3", "down");
    check("P", "1Ps 2", "1 primary");
    check("P", "1P? 2", "1 primary");
    check("P", "1Pu 2", "1 primary");
    check("P :9", "1P 2:9", "1 primary");
}

#[test]
fn readers() {
    check("R", "1P 2 3", "2 balanced, 3 balanced");
    check("R", "1P 2 3 4", "2 balanced, 3 balanced, 4 balanced");
    check("R", "1P 2", "2 balanced");
    check("R", "2 3", "2 balanced, 3 balanced");
    check("R", "1Pd 2", "2 balanced");
    check("R", "1P 2d 3", "3 balanced");
    check("R", "1P 2s 3", "3 balanced");
    check("R", "1P 2? 3", "3 balanced");
    check("R", "1P 2u 3", "3 balanced");
    check("R -2", "1P 2 3", "3 balanced");
    check("R -2", "1P 2", "1 unfresh");
    check("R", "1P", "1 alone");
    check("R", "1P 2d 3s 4u 5?", "1 unup");
    check("R", "1Pd 2d", "down");
    check("R", "2d", "none");
}

#[test]
fn freshness() {
    check("R :5", "1P 2:5 3:4", "2 balanced");
    check("R :5", "1P 2:6 3:5", "2 balanced, 3 balanced");
    check("R :5", "1P 2:4 3:4", "1 unfresh");
    check("R :5", "1P 2:4 3d:9", "1 unfresh");
    check("R :5", "1P", "1 alone");
    check("R :5", "1Pd 2:4", "down");
    check("R :5", "2:4", "none");
}

#[test]
fn stickiness() {
    check("R @2", "1P 2 3", "2 sticky");
    check("R @2", "1P 2*9 3", "2 sticky");
    check("R @2", "1P 2/1 3", "2 sticky");
    check("R @2 :5", "1P 2:4 3:5", "3 balanced");
    check("R @2", "1P 2s 3", "3 balanced");
    check("R @2 -2", "1P 2 3", "3 balanced");
    check("R @9", "1P 2", "2 balanced");
    // Having read from the primary once is no reason to go on there.
    check("R @1", "1P 2", "2 balanced");
}

#[test]
fn balance() {
    check("R", "1P 2*3 3*2", "3 balanced");
    check("R", "1P 2~300 3~200", "3 balanced");
    check("R", "1P 2*1~300 3*2~200", "2 balanced");
    // The busiest of three never wins, the two others do.
    check("R", "1P 2*1 3*1 4*9", "2 balanced, 3 balanced");
    check("R", "1P 2*1 3*2 4*9", "2 balanced, 3 balanced");
    check("R", "1P*0 2*50 3*50", "2 balanced, 3 balanced");
}

#[test]
fn priority_groups() {
    check("R", "1P 2 3/1", "2 balanced");
    check("R", "1P 2*50 3/1", "2 balanced");
    check("R", "1P 2d 3/1 4/1 5/2", "3 balanced, 4 balanced");
    check("R :5", "1P 2:4 3:5/1", "3 balanced");
}
