//! The algebra of positions, against what the servers themselves make of the same texts.

use std::time::{SystemTime, UNIX_EPOCH};

use forebay::position::{Flavour as Notation, Position};

use super::stack::{Flavour, PRIMARY, REPLICAS, Stack};

const ROUNDS: usize = 150;

/// Small numbers, so that sets meet; the seed is printed with each failure.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = since.as_nanos() as u64 | 1;
        Self { seed, state: seed }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    /// As a careless hand writes it: out of order, overlapping, in any letter case.
    fn set(&mut self, has_tags: bool) -> String {
        let uuids =
            ["3e11fa47-71ca-11e1-9e33-c80aa9429562", "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee"];
        let tags = ["", ":b", ":a_1", ":B"];
        let mut parts = Vec::new();
        for _ in 0..self.below(4) {
            let uuid = uuids[self.below(2) as usize];
            let tag = if has_tags { tags[self.below(4) as usize] } else { "" };
            let mut part = format!("{uuid}{tag}");
            for _ in 0..=self.below(3) {
                let first = 1 + self.below(12);
                match self.below(2) {
                    0 => part += &format!(":{first}"),
                    _ => part += &format!(":{first}-{}", first + self.below(6)),
                }
            }
            parts.push(part);
        }
        parts.join(",")
    }

    fn list(&mut self) -> String {
        let mut parts = Vec::new();
        for domain in 101..104 {
            if self.below(3) > 0 {
                parts.push(format!("{domain}-{}-{}", 1 + self.below(3), 1 + self.below(5)));
            }
        }
        parts.join(",")
    }
}

fn parse(notation: Notation, text: &str) -> Position {
    Position::parse(notation, text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn sets_are_as_the_server_says(flavour: Flavour, has_tags: bool) {
    let stack = Stack::shared(flavour);
    let mut root = stack.root(PRIMARY);
    let mut random = Random::new();
    for _ in 0..ROUNDS {
        let (a, b) = (random.set(has_tags), random.set(has_tags));
        let (ours, theirs) = (parse(Notation::MySql, &a), parse(Notation::MySql, &b));
        let mut union = ours.clone();
        assert!(union.union(&theirs));
        let answer = root.run(&format!(
            "SELECT GTID_SUBSET('{b}','{a}'), GTID_SUBTRACT('{a}',''), \
             GTID_SUBSET('{a}','{union}') AND GTID_SUBSET('{b}','{union}'), \
             GTID_SUBTRACT(GTID_SUBTRACT('{union}','{a}'),'{b}')"
        ));
        let cell = |at: usize| answer.rows[0][at].clone().unwrap().replace('\n', "");
        let seed = random.seed;
        assert_eq!(ours.contains(&theirs), cell(0) == "1", "{a} contains {b}, seed {seed}");
        assert_eq!(ours.to_string(), cell(1), "{a}, seed {seed}");
        assert_eq!((cell(2).as_str(), cell(3).as_str()), ("1", ""), "{a} and {b}, seed {seed}");
    }
}

#[test]
fn sets_with_tags() {
    sets_are_as_the_server_says(Flavour::MySql97, true);
}

#[test]
fn sets_of_an_old_server() {
    sets_are_as_the_server_says(Flavour::MySql56, false);
}

/// A replica that stands at one list is asked whether it has another.
#[test]
fn lists() {
    let stack = Stack::alone(Flavour::MariaDb);
    let mut root = stack.root(REPLICAS[0]);
    root.run("STOP SLAVE");
    let place = root.cell("SELECT @@GLOBAL.gtid_slave_pos");
    root.run("SET GLOBAL gtid_strict_mode = OFF");
    let mut random = Random::new();
    for _ in 0..ROUNDS {
        let (a, b) = (random.list(), random.list());
        let (ours, theirs) = (parse(Notation::MariaDb, &a), parse(Notation::MariaDb, &b));
        root.run(&format!("SET GLOBAL gtid_slave_pos = '{a}'"));
        let shown = parse(Notation::MariaDb, &root.cell("SELECT @@GLOBAL.gtid_slave_pos"));
        let waited = root.cell(&format!("SELECT MASTER_GTID_WAIT('{b}', 0)"));
        let seed = random.seed;
        assert_eq!(shown, ours, "{a}, seed {seed}");
        assert_eq!(ours.contains(&theirs), waited == "0", "{a} contains {b}, seed {seed}");
    }
    root.run(&format!("SET GLOBAL gtid_slave_pos = '{place}'"));
    root.run("SET GLOBAL gtid_strict_mode = ON");
    root.run("START SLAVE");
}
