//! One world: a few clients, their schemas twice, a proxy of its own, and the order in which they
//! take turns.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::proxy::{Proxy, Setup};
use super::super::stack::{Flavour, PRIMARY, Stack};
use super::random::Random;
use super::reply::{Line, Packets, renamed, unlike};
use super::script::{Author, Step, Visit};

const CLIENTS: usize = 7;
const VISITS: usize = 3;
const STEPS: usize = 24;
/// Scripts of one world.
pub(super) const SCRIPTS: usize = CLIENTS * VISITS;
/// Connections to each server.
const CONNECTIONS: usize = 4;
const ACCOUNTS: usize = 2;
/// A step that takes longer waits for somebody: another client takes its turn.
const TURN_WAIT: Duration = Duration::from_millis(150);

/// Warnings are kept for a second at most, as the README says; a busy machine is slower than that.
const SILENCE: Duration = Duration::from_millis(700);

/// What one client says, and is told on a private connection.
struct Part {
    /// Its schema on the private connection, and the one through the proxy: names of one length.
    direct: String,
    proxied: String,
    flavour: Flavour,
    /// The same script, in each of the schemas.
    visits: Vec<Visit>,
    answers: Vec<Vec<Packets>>,
}

/// Plays the world of a seed; the story of the first client that could tell.
pub(super) fn play(stack: &Stack, seed: u64, replicas: bool) -> Result<(), String> {
    let kind = match (stack.flavour == Flavour::MariaDb, replicas) {
        (true, false) => "a",
        (true, true) => "b",
        (false, false) => "m",
        (false, true) => "n",
    };
    let accounts: Vec<String> = (0..ACCOUNTS).map(|at| format!("lk{kind}{at}")).collect();
    let mut random = Random::new(seed);
    let mut parts: Vec<Part> = (0..CLIENTS)
        .map(|client| {
            let schema = |copy: &str| format!("lk{kind}{copy}{client}s");
            let author =
                Author { flavour: stack.flavour, schema: &schema("p"), accounts: ACCOUNTS };
            let visits = (0..VISITS).map(|visit| author.visit(&mut random, visit, STEPS)).collect();
            Part {
                direct: schema("d"),
                proxied: schema("p"),
                flavour: stack.flavour,
                visits,
                answers: Vec::new(),
            }
        })
        .collect();
    prepare(stack, &accounts, &parts);
    let setup = if replicas { Setup::of(stack) } else { Setup::of(stack).replicas(&[]) };
    let setup = setup.monitored().file(&format!(
        "[pool]\nmax_connections_per_server = {}\nwait_ms_max = 60000",
        CONNECTIONS + 1
    ));
    let mut proxy = setup.start();
    if replicas {
        proxy.wait_for_readers(2);
    }
    thread::scope(|scope| {
        for part in &mut parts {
            let accounts = &accounts;
            scope.spawn(move || part.answers = ask_directly(stack, accounts, part));
        }
    });
    take_turns(&proxy, &accounts, &parts, &mut random)
        .map_err(|told| format!("LEAK_SEED={seed} replicas={replicas}: {told}"))?;
    proxy.assert_alive();
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0, "LEAK_SEED={seed}");
    Ok(())
}

/// Both copies of each schema, alike.
fn prepare(stack: &Stack, accounts: &[String], parts: &[Part]) {
    let mut root = stack.root(PRIMARY);
    for account in accounts {
        root.run(&format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{account}'"));
    }
    for schema in parts.iter().flat_map(|part| [&part.direct, &part.proxied]) {
        for schema in [schema.clone(), format!("{schema}x")] {
            root.run(&format!("DROP DATABASE IF EXISTS {schema}"));
            root.run(&format!("CREATE DATABASE {schema}"));
            for account in accounts {
                root.run(&format!("GRANT ALL ON {schema}.* TO {account}"));
            }
            root.run(&format!("USE {schema}"));
            root.run(
                "CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, n INT, text VARCHAR(20)) \
                 CHARACTER SET utf8mb4",
            );
            let n = if schema.ends_with('x') { 50 } else { 10 };
            root.run(&format!(
                "INSERT INTO note (n, text) VALUES ({n}, 'Éins'), (20, 'zwei'), (30, NULL)"
            ));
        }
        root.run(&format!("USE {schema}"));
        for statement in TABLES {
            root.run(&statement.replace("{db}", schema));
        }
    }
    stack.sync();
}

/// No trigger takes a lock: the README says what becomes of those.
const TABLES: &[&str] = &[
    "CREATE TABLE narrow (d DATE, v VARCHAR(3))",
    "CREATE TABLE trig (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
    "CREATE TRIGGER t_trig BEFORE INSERT ON trig FOR EACH ROW SET @trig = NEW.n",
    "CREATE VIEW v_note AS SELECT n FROM note",
    "CREATE FUNCTION f_set(x INT) RETURNS INT BEGIN SET @f = x; RETURN x + 1; END",
    "CREATE PROCEDURE p_set(x INT) BEGIN SET @p = x; SET time_zone = '+05:00'; END",
    "CREATE PROCEDURE p_rows(x INT) BEGIN SELECT x; SELECT id FROM note ORDER BY id; END",
];

fn ask_directly(stack: &Stack, accounts: &[String], part: &Part) -> Vec<Vec<Packets>> {
    let mut answers = Vec::new();
    for visit in &part.visits {
        let mut line = Line::begin(stack.address(PRIMARY), accounts, visit, &part.direct)
            .unwrap_or_else(|failure| panic!("directly: {failure}"));
        let mut told = Vec::new();
        for step in &visit.steps {
            let step = step.renamed(&part.proxied, &part.direct);
            let Ok(packets) = line.play(&step) else { break };
            told.push(renamed(packets, &part.direct, &part.proxied));
        }
        answers.push(told);
        line.end();
    }
    answers
}

/// What a client is to do now.
enum Turn {
    Begin(usize),
    Step(usize),
    End,
}

/// The answer, and when it came: it may be looked at much later.
type Done = (Result<Packets, String>, Instant);

/// One client that takes its turns in a thread of its own.
struct Player {
    turns: mpsc::Sender<Turn>,
    done: mpsc::Receiver<Done>,
    visit: usize,
    /// Steps that were begun in this visit; none before its login.
    step: Option<usize>,
    is_waiting: bool,
    is_through: bool,
    /// When it was answered last in this visit.
    answered: Instant,
    /// It was silent for so long in this visit that others may have got the connection that had
    /// its warnings.
    was_silent: bool,
}

impl Player {
    fn new(turns: mpsc::Sender<Turn>, done: mpsc::Receiver<Done>) -> Self {
        let (visit, step, is_waiting, is_through) = (0, None, false, false);
        let (answered, was_silent) = (Instant::now(), false);
        Self { turns, done, visit, step, is_waiting, is_through, answered, was_silent }
    }
}

fn take_turns(
    proxy: &Proxy,
    accounts: &[String],
    parts: &[Part],
    random: &mut Random,
) -> Result<(), String> {
    thread::scope(|scope| {
        let mut players: Vec<Player> = parts
            .iter()
            .map(|part| {
                let (turns, todo) = mpsc::channel();
                let (tell, done) = mpsc::channel();
                scope.spawn(move || act(proxy, accounts, part, todo, tell));
                Player::new(turns, done)
            })
            .collect();
        let mut order = Vec::new();
        while players.iter().any(|it| !it.is_through) {
            let at = random.below(players.len());
            turn(&mut players[at], at, parts, &mut order)?;
        }
        Ok(())
    })
}

/// What one client does, turn by turn.
fn act(
    proxy: &Proxy,
    accounts: &[String],
    part: &Part,
    todo: mpsc::Receiver<Turn>,
    tell: mpsc::Sender<Done>,
) {
    let mut line = None;
    let mut visit = &part.visits[0];
    for turn in todo {
        let answer = match turn {
            Turn::Begin(at) => {
                visit = &part.visits[at];
                Line::begin(&proxy.address, accounts, visit, &part.proxied)
                    .map(|begun| line = Some(begun))
                    .map(|()| Packets::new())
                    .map_err(|failure| format!("login: {failure}"))
            }
            Turn::Step(at) => {
                let line = line.as_mut().expect("a visit has begun");
                line.play(&visit.steps[at]).map_err(|error| error.to_string())
            }
            Turn::End => {
                line.take().expect("a visit has begun").end();
                Ok(Packets::new())
            }
        };
        if tell.send((answer, Instant::now())).is_err() {
            break;
        }
    }
}

/// One turn of a client, or a look whether its last one has come to its end.
fn turn(
    player: &mut Player,
    at: usize,
    parts: &[Part],
    order: &mut Vec<(usize, usize, usize)>,
) -> Result<(), String> {
    if player.is_through {
        return Ok(());
    }
    let part = &parts[at];
    let visit = &part.visits[player.visit];
    // A server may have closed the private connection too.
    let steps = part.answers[player.visit].len().min(visit.steps.len());
    if !player.is_waiting {
        let next = match player.step {
            None => Turn::Begin(player.visit),
            Some(step) if step < steps => Turn::Step(step),
            Some(_) => Turn::End,
        };
        order.push((at, player.visit, player.step.unwrap_or(0)));
        player.was_silent &= player.step.is_some();
        player.was_silent |= player.step.is_some() && player.answered.elapsed() > SILENCE;
        player.turns.send(next).expect("a client lives as long as its turns");
    }
    let (answer, answered) = match player.done.recv_timeout(TURN_WAIT) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            player.is_waiting = true;
            return Ok(());
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => return Err(format!("client {at} panicked")),
    };
    player.is_waiting = false;
    player.answered = answered;
    match player.step {
        None => {
            answer.map_err(|failure| story(parts, order, at, 0, &failure))?;
            player.step = Some(0);
        }
        Some(step) if step < steps => {
            let expected = &part.answers[player.visit][step];
            let told = match answer {
                Ok(packets) if packets == *expected => None,
                Ok(_) if player.was_silent && visit.steps[step].asks_what_was_left() => None,
                Ok(_) if is_a_difference(part.flavour, visit, step) => None,
                Ok(packets) => Some(unlike(expected, &packets)),
                Err(error) => Some(error),
            };
            if let Some(told) = told {
                return Err(story(parts, order, at, step, &told));
            }
            player.step = Some(step + 1);
        }
        Some(_) => {
            player.visit += 1;
            player.step = None;
            player.is_through = player.visit == part.visits.len();
        }
    }
    Ok(())
}

/// The README says that it may be told apart by this.
fn is_a_difference(flavour: Flavour, visit: &Visit, step: usize) -> bool {
    match flavour {
        Flavour::MariaDb => visit.asks_behind_a_variable(step),
        Flavour::MySql97 | Flavour::MySql56 => visit.asks_what_an_update_found(step),
    }
}

/// The script of the client that could tell, with the others' turns in between by their numbers.
fn story(
    parts: &[Part],
    order: &[(usize, usize, usize)],
    client: usize,
    step: usize,
    told: &str,
) -> String {
    let mut out = format!("client {client} ({}) could tell:\n", parts[client].proxied);
    let visit = order.last().map_or(0, |(_, visit, _)| *visit);
    let shape = Visit { steps: Vec::new(), ..parts[client].visits[visit].clone() };
    let _infallible = writeln!(out, "  {shape:?}");
    let from = order.iter().position(|it| (it.0, it.1) == (client, visit)).unwrap_or(0);
    for &(who, its_visit, its_step) in &order[from..] {
        let said = parts[who].visits[its_visit].steps.get(its_step);
        if who == client {
            let _infallible = writeln!(out, "  {its_step:2} {said:?}");
        } else if std::env::var("LEAK_ALL").is_ok() {
            let _infallible = writeln!(out, "        {who}.{its_visit}.{its_step:2} {said:?}");
        } else {
            let _infallible = writeln!(out, "        {who}.{its_visit}.{its_step:2}");
        }
    }
    let _infallible = writeln!(out, "  step {step}: {told}");
    out
}

impl Step {
    /// The same in another schema.
    fn renamed(&self, from: &str, to: &str) -> Self {
        let name = |text: &String| text.replace(from, to);
        match self {
            Self::Query(sql) => Self::Query(name(sql)),
            Self::Prepare(sql) => Self::Prepare(name(sql)),
            Self::Choose(schema) => Self::Choose(name(schema)),
            Self::ChangeUser(account, schema) => {
                Self::ChangeUser(*account, schema.as_ref().map(name))
            }
            other => other.clone(),
        }
    }
}
