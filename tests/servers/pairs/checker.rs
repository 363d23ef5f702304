//! Who writes and who reads at once: pairs of them on different connections through different doors,
//! and what was old that should not have been.
//!
//! A read is *stale* if it lacks a write that was acknowledged before the reader came in (by a
//! connection, a reset, wpdb's preamble, or after a pause), or one of its own session. It goes
//! *backwards* if the same connection had already read something newer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::client::{Client, Failure, Login};

/// Who writes what, and where.
#[derive(Clone)]
pub(crate) struct Scene<'a> {
    /// The proxies, two or more.
    pub(crate) doors: Vec<String>,
    /// The primary itself: some of the writes pass no proxy.
    pub(crate) primary: String,
    pub(crate) login: Login<'a>,
    pub(crate) how: How,
    pub(crate) pairs: usize,
    pub(crate) seed: u64,
    /// The pairs go on until there was this much trouble.
    pub(crate) rounds: &'a AtomicUsize,
    pub(crate) rounds_min: usize,
    /// The error of a write that may be tried again: it is told as it is.
    pub(crate) may_refuse: fn(u16) -> bool,
    /// No read may be old, wherever its request began.
    pub(crate) is_strict: bool,
}

/// The form of the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Rows,
    Xa,
    Options,
    /// Of several keyed columns, one of which changes each time.
    Posts,
    /// Nothing but new rows, counted.
    Lines,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) pairs: usize,
    pub(crate) stale: Vec<String>,
    pub(crate) backwards: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// As many at once, each with a row of its own: so each knows what must be read.
pub(crate) const WORKERS: usize = 8;

/// What the tables look like, for the tenant's schema.
pub(crate) fn tables() -> Vec<String> {
    let mut lines = vec![
        "CREATE TABLE pairs (id INT PRIMARY KEY, n BIGINT)".to_owned(),
        "CREATE TABLE lines_in_memory (id INT, n BIGINT) ENGINE=MEMORY".to_owned(),
        "CREATE VIEW seen AS SELECT id, n FROM pairs".to_owned(),
        "CREATE TABLE names (id INT PRIMARY KEY, name VARCHAR(20))".to_owned(),
        "CREATE TABLE wp_options (option_id BIGINT PRIMARY KEY AUTO_INCREMENT, \
         option_name VARCHAR(191) NOT NULL UNIQUE, option_value LONGTEXT NOT NULL, \
         autoload VARCHAR(20) NOT NULL DEFAULT 'yes')"
            .to_owned(),
        "CREATE TABLE wp_posts (ID BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, \
         post_author BIGINT UNSIGNED NOT NULL, post_content LONGTEXT NOT NULL, \
         post_status VARCHAR(20) NOT NULL, post_name VARCHAR(200) NOT NULL, \
         post_type VARCHAR(20) NOT NULL)"
            .to_owned(),
    ];
    for row in 0..WORKERS {
        lines.push(format!("INSERT INTO pairs VALUES ({row}, 0)"));
        lines.push(format!("INSERT INTO names VALUES ({row}, 'row {row}')"));
        lines.push(format!(
            "INSERT INTO wp_options (option_name, option_value) VALUES ('row{row}', '0')"
        ));
        lines.push(format!("INSERT INTO wp_posts VALUES {}", post(row, 0)));
    }
    lines
}

/// A worker's post after so many writes.
fn post(row: usize, n: u64) -> String {
    format!("({}, {row}, '{n}', '{}', 'row-{row}', 'type{row}')", row + 1, status(n))
}

fn status(n: u64) -> &'static str {
    ["publish", "draft", "private"][usize::try_from(n % 3).unwrap()]
}

impl Scene<'_> {
    /// All the pairs, in several threads.
    pub(crate) fn run(&self) -> Findings {
        let left = &AtomicUsize::new(self.pairs);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|row| scope.spawn(move || Worker::new(self, row).run(left)))
                .collect();
            let mut all = Findings::default();
            for worker in workers {
                let found = worker.join().expect("a worker");
                all.pairs += found.pairs;
                all.stale.extend(found.stale);
                all.backwards.extend(found.backwards);
                all.errors.extend(found.errors);
            }
            all
        })
    }
}

/// How a reader comes in.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Fresh,
    Reset,
    Preamble,
    Rested,
    /// The writer reads itself.
    Own,
}

struct Worker<'a> {
    scene: &'a Scene<'a>,
    row: usize,
    random: u64,
    written: u64,
    /// The door of the last write.
    written_at: usize,
    /// One session a door, the last one at the primary itself; they write.
    writers: Vec<Client>,
    /// One session a door; they read.
    readers: Vec<Client>,
    /// It only ever reads: it must not go backwards.
    watcher: Client,
    watched: u64,
    findings: Findings,
}

impl<'a> Worker<'a> {
    fn new(scene: &'a Scene<'a>, row: usize) -> Self {
        let connect = |address: &String| Client::connect(address, &scene.login).expect("a login");
        let doors = scene.doors.iter();
        Self {
            scene,
            row,
            random: scene.seed ^ (row as u64) << 32,
            written: 0,
            written_at: 0,
            writers: doors.clone().chain([&scene.primary]).map(connect).collect(),
            readers: doors.map(connect).collect(),
            watcher: connect(&scene.doors[row % scene.doors.len()]),
            watched: 0,
            findings: Findings::default(),
        }
    }

    fn run(mut self, left: &AtomicUsize) -> Findings {
        let take = |left: usize| left.checked_sub(1);
        let is_left = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        let is_calm = || self.scene.rounds.load(Ordering::Relaxed) < self.scene.rounds_min;
        let begun = Instant::now();
        loop {
            // Replicas that are always behind serve nobody: now and then they come up. Short pauses
            // show what they serve in the moment in which they do.
            let ms = begun.elapsed().as_millis();
            if ms % 1600 < 400 || ms % 20 < 5 {
                self.read();
                self.watch();
            } else if is_left() || is_calm() {
                self.pair();
                self.findings.pairs += 1;
            } else {
                break;
            }
            // There is no use in thousands of them.
            if self.findings.errors.len() > 20 {
                break;
            }
        }
        self.findings
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn pair(&mut self) {
        let door = self.below(self.writers.len());
        if !self.write(door) {
            return;
        }
        // Most readers come at once, some while replicas are just applying.
        if self.below(3) == 0 {
            let pause = Duration::from_micros(self.below(3000) as u64);
            thread::park_timeout(pause);
        }
        self.read();
        self.watch();
    }

    /// False: it could not be written.
    fn write(&mut self, door: usize) -> bool {
        let next = self.written + 1;
        let form = self.below(4);
        for _ in 0..200 {
            let lines = self.lines(form, next);
            let client = &mut self.writers[door];
            let Err(failure) = lines.iter().try_for_each(|line| client.query(line).map(drop))
            else {
                (self.written, self.written_at) = (next, door);
                return true;
            };
            let code = failure.code();
            let _none = self.writers[door].query("ROLLBACK");
            if !(self.scene.may_refuse)(code) {
                self.error("write", &failure);
                self.writers[door] = self.connect(door);
                return false;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        self.findings.errors.push("a write was refused for too long".to_owned());
        false
    }

    fn lines(&mut self, form: usize, n: u64) -> Vec<String> {
        let row = self.row;
        let update = format!("UPDATE pairs SET n = {n} WHERE id = {row}");
        match (self.scene.how, form) {
            (How::Rows, 0) => ["START TRANSACTION", &update, "COMMIT"].map(str::to_owned).into(),
            (How::Rows, 1) => vec![format!("REPLACE INTO pairs VALUES ({row}, {n})")],
            (How::Rows, 2) => vec![format!(
                "INSERT INTO pairs VALUES ({row}, {n}) ON DUPLICATE KEY UPDATE n = VALUES(n)"
            )],
            (How::Rows, _) => vec![update],
            (How::Xa, _) => {
                let id = format!("'{row}-{n}-{}'", self.below(1 << 30));
                ["START", "END", "PREPARE", "COMMIT"]
                    .iter()
                    .flat_map(|verb| {
                        let between = (*verb == "END").then(|| update.clone());
                        between.into_iter().chain([format!("XA {verb} {id}")])
                    })
                    .collect()
            }
            (How::Lines, _) => vec![format!("INSERT INTO lines_in_memory VALUES ({row}, {n})")],
            (How::Posts, form) => post_lines(row, form, n),
            (How::Options, 0) => vec![format!(
                "INSERT INTO wp_options (option_name, option_value) VALUES ('row{row}', '{n}') \
                 ON DUPLICATE KEY UPDATE option_value = VALUES(option_value)"
            )],
            (How::Options, _) => vec![format!(
                "UPDATE wp_options SET option_value = '{n}' WHERE option_name = 'row{row}'"
            )],
        }
    }

    fn question(&mut self, may_be_old: bool) -> String {
        let row = self.row;
        match (self.scene.how, self.below(5)) {
            (How::Posts, form) => {
                post_question(row, if may_be_old { 0 } else { form }, self.written)
            }
            (How::Options, 0) => {
                format!("SELECT option_value FROM wp_options WHERE option_name IN ('row{row}')")
            }
            (How::Options, 1) => format!(
                "SELECT MAX(IF(option_name = 'row{row}', option_value + 0, 0)) FROM wp_options \
                 WHERE autoload IN ('yes', 'on', 'auto-on', 'auto')"
            ),
            (How::Options, _) => {
                format!(
                    "SELECT option_value FROM wp_options WHERE option_name = 'row{row}' LIMIT 1"
                )
            }
            (How::Lines, _) => format!("SELECT COUNT(*) FROM lines_in_memory WHERE id = {row}"),
            (_, 0) => format!("SELECT n FROM seen WHERE id = {row}"),
            (_, 1) => format!(
                "SELECT p.n FROM names JOIN pairs AS p ON p.id = names.id WHERE names.name = 'row {row}'"
            ),
            (_, 2) => format!(
                "(SELECT n FROM pairs WHERE id = {row}) UNION (SELECT MAX(n) FROM pairs WHERE id = {row})"
            ),
            _ => format!("SELECT n FROM pairs WHERE id = {row}"),
        }
    }

    fn read(&mut self) {
        let (written_at, doors) = (self.written_at, self.readers.len());
        let entry =
            [Entry::Fresh, Entry::Reset, Entry::Preamble, Entry::Rested, Entry::Own][self.below(5)];
        // Any door but the one that wrote.
        let door = (written_at + 1 + self.below(doors.saturating_sub(1))) % doors;
        let question = self.question(false);
        let read = match entry {
            Entry::Own if written_at < doors => self.writers[written_at].query(&question),
            Entry::Own | Entry::Fresh => {
                Client::connect(&self.scene.doors[door], &self.scene.login)
                    .and_then(|mut client| client.query(&question))
            }
            Entry::Reset => {
                let reader = &mut self.readers[door];
                reader.simple(31, &[]).and_then(|()| reader.query(&question))
            }
            Entry::Preamble => {
                let reader = &mut self.readers[door];
                reader.query("SET NAMES utf8mb4").and_then(|_| reader.query(&question))
            }
            Entry::Rested => {
                thread::park_timeout(Duration::from_millis(12));
                self.readers[door].query(&question)
            }
        };
        let wanted = self.written;
        match read.map(|answer| answer.cell()) {
            Ok(cell) if cell == wanted.to_string() => {}
            Ok(cell) => self.findings.stale.push(format!(
                "row {}: {cell} for {wanted}, {entry:?} at door {door}, written at {written_at}: {question}",
                self.row
            )),
            Err(failure) => {
                self.error(&format!("{entry:?} read"), &failure);
                self.readers[door] = self.connect(door);
            }
        }
    }

    fn watch(&mut self) {
        let question = self.question(true);
        match self.watcher.query(&question).map(|answer| answer.cell()) {
            Ok(cell) => {
                let value = cell.parse().unwrap_or(0);
                if value < self.watched || value > self.written {
                    let (row, watched) = (self.row, self.watched);
                    self.findings.backwards.push(format!("row {row}: {cell} after {watched}"));
                }
                if self.scene.is_strict && value != self.written {
                    let (row, written) = (self.row, self.written);
                    self.findings
                        .stale
                        .push(format!("row {row}: {cell} for {written}: {question}"));
                }
                self.watched = self.watched.max(value);
            }
            Err(failure) => {
                self.error("watch", &failure);
                self.watcher = self.connect(self.row % self.readers.len());
                self.watched = 0;
            }
        }
    }

    fn connect(&self, door: usize) -> Client {
        let address = self.scene.doors.get(door).unwrap_or(&self.scene.primary);
        Client::connect(address, &self.scene.login).expect("a login")
    }

    fn error(&mut self, what: &str, failure: &Failure) {
        self.findings.errors.push(format!("{what}: {failure}"));
    }
}

fn post_lines(row: usize, form: usize, n: u64) -> Vec<String> {
    let (post, id, status) = (post(row, n), row + 1, status(n));
    match form {
        0 => vec![format!("REPLACE INTO wp_posts VALUES {post}")],
        1 => vec![format!(
            "INSERT INTO wp_posts VALUES {post} ON DUPLICATE KEY UPDATE \
             post_content = VALUES(post_content), post_status = VALUES(post_status)"
        )],
        2 => vec![
            "START TRANSACTION".to_owned(),
            format!("DELETE FROM wp_posts WHERE post_name = 'row-{row}'"),
            format!("INSERT INTO wp_posts VALUES {post}"),
            "COMMIT".to_owned(),
        ],
        _ => vec![format!(
            "UPDATE wp_posts SET post_content = '{n}', post_status = '{status}' WHERE ID = {id}"
        )],
    }
}

/// Answered by how often the row was written; of the first form an older one may be read too.
fn post_question(row: usize, form: usize, n: u64) -> String {
    let r#where = match form {
        0 => format!("ID = {}", row + 1),
        1 => format!("post_name IN ('row-{row}', 'other')"),
        2 => format!("1=1 AND ((post_type = 'type{row}' AND (post_status = '{}')))", status(n)),
        // It has come.
        3 => format!("post_status = '{}' AND post_author = {row}", status(n)),
        // It has gone.
        _ => {
            let before = status(n + 2);
            return format!(
                "SELECT IF(COUNT(*) = 0, {n}, 0) FROM wp_posts \
                 WHERE post_status = '{before}' AND post_author = {row}"
            );
        }
    };
    format!("SELECT post_content FROM wp_posts WHERE {}", r#where)
}
