//! What was found at the servers -> what the operator is told: the grade of freshness, what is
//! wrong, and what would make it better.
//!
//! No sockets: `doctor` asks. Grades follow what a running proxy can do with the same account.

use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::{Condition, Role};
use crate::sql::Flavour;

/// What one server answered.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) address: String,
    pub(super) role: Role,
    /// Why it could not be asked; then nothing else is known.
    pub(super) failure: Option<String>,
    pub(super) flavour: Flavour,
    pub(super) version: String,
    pub(super) identity: String,
    /// Host name and port, by its own account.
    pub(super) place: String,
    /// As whom it knows us: `monitor@%`.
    pub(super) account: String,
    /// The lines of SHOW GRANTS.
    pub(super) grants: Vec<String>,
    /// Its settings, by their names.
    pub(super) settings: BTreeMap<String, String>,
    /// It told how far its log is written; `None`: it may not be asked.
    pub(super) log: Option<Log>,
    /// Columns of WordPress's keyed tables can be seen.
    pub(super) sees_columns: bool,
    /// Its log names all that a write changes, or what foreign keys add to that can be seen.
    pub(super) knows_foreign_keys: bool,
    /// What its GTIDs tell cannot be read yet.
    pub(super) tells_gtids_too_soon: bool,
    pub(super) condition: Condition,
}

/// What a primary says of its binary log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) is_written: bool,
    /// `Binlog_Do_DB` and `Binlog_Ignore_DB`.
    pub(super) filters: Vec<String>,
}

/// How narrow a write is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Window,
    Whole,
    PerTable,
    PerKey,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    notes: Vec<Note>,
    grade: Option<Grade>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    weight: Weight,
    address: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Fine,
    /// It works, and would work better.
    Better,
    /// Reads, writes or both suffer from it.
    Wrong,
}

impl Report {
    pub(super) fn of(servers: &[Facts]) -> Report {
        let mut report = Report::default();
        let primary = servers.iter().find(|it| it.role == Role::Primary && it.failure.is_none());
        for server in servers {
            report.look_at(server);
        }
        if let Some(primary) = primary {
            report.grade(primary);
        }
        report.compare(servers);
        report
    }

    pub(super) fn is_fine(&self) -> bool {
        self.notes.iter().all(|note| note.weight != Weight::Wrong)
    }

    fn note(&mut self, weight: Weight, server: &Facts, text: impl Into<String>) {
        let note = Note { weight, address: server.address.clone(), text: text.into() };
        self.notes.push(note);
    }

    fn look_at(&mut self, server: &Facts) {
        if let Some(failure) = &server.failure {
            return self.note(Weight::Wrong, server, failure.as_str());
        }
        let family = match server.flavour {
            Flavour::MySql => "MySQL",
            Flavour::MariaDb => "MariaDB",
        };
        let text = format!("{family} {}, asked as {}", server.version, server.account);
        self.note(Weight::Fine, server, text);
        match server.role {
            Role::Primary => self.look_at_primary(server),
            Role::Reader => self.look_at_replica(server),
        }
    }

    fn look_at_primary(&mut self, server: &Facts) {
        if server.is_on("read_only") || server.is_on("super_read_only") {
            self.note(Weight::Wrong, server, "read_only = ON: this is no primary");
        }
        if !server.is_on("log_bin") {
            self.note(Weight::Wrong, server, "log_bin = OFF: nothing can replicate from it");
        }
        let filters = server.log.iter().flat_map(|log| &log.filters);
        for filter in filters {
            let text = format!("{filter}: writes that it does not log never reach a replica");
            self.note(Weight::Wrong, server, text);
        }
    }

    fn look_at_replica(&mut self, server: &Facts) {
        use crate::cluster::Fault;
        for found in server.condition.findings() {
            match found.fault {
                Fault::Hidden => {
                    let text = format!(
                        "its filters and its state are hidden: {}",
                        server.grant(server.state_privilege())
                    );
                    self.note(Weight::Better, server, text);
                }
                _ => self.note(Weight::Wrong, server, found.detail),
            }
        }
        if !server.is_on("read_only") && !server.is_on("super_read_only") {
            let text = "read_only = OFF: a mistaken write would make it diverge; SET GLOBAL \
                        read_only = ON";
            self.note(Weight::Wrong, server, text);
        }
        for name in ["replica_preserve_commit_order", "slave_preserve_commit_order"] {
            if server.setting(name) == Some("OFF") && server.has_workers() {
                let text = format!(
                    "{name} = OFF with several workers: it commits in another order than the \
                     primary, and counts as late until the gaps are closed"
                );
                self.note(Weight::Better, server, text);
            }
        }
    }

    /// What a running proxy makes of the primary.
    fn grade(&mut self, primary: &Facts) {
        let by_gtid = primary.has_gtids() && !primary.tells_gtids_too_soon;
        if primary.tells_gtids_too_soon {
            let text = "MySQL before 5.7 tells a GTID before its rows can be read: positions are \
                        places in its log, which is not followed";
            self.note(Weight::Better, primary, text);
        } else if !by_gtid {
            let text = "gtid_mode = OFF: positions are places in its log, which is not followed; \
                        gtid_mode = ON survives a switchover";
            self.note(Weight::Better, primary, text);
        }
        let may_see = by_gtid || primary.log.is_some();
        if !may_see {
            let text =
                format!("its position is hidden: {}", primary.grant(primary.log_privilege()));
            self.note(Weight::Better, primary, text);
        }
        let is_told = !primary.tells_gtids_too_soon && self.note_log(primary) && by_gtid;
        let is_logged = primary.is_on("log_bin");
        let is_full = primary.setting("binlog_row_image").is_none_or(|image| image == "FULL");
        self.grade = Some(match () {
            () if !may_see || !is_logged => Grade::Window,
            () if !is_told => Grade::Whole,
            () if !is_full || !primary.sees_columns => Grade::PerTable,
            () => Grade::PerKey,
        });
    }

    /// What its log lacks for whoever follows it. True: it tells which tables a write has changed.
    fn note_log(&mut self, primary: &Facts) -> bool {
        let follows = primary.has_privilege("REPLICATION SLAVE");
        if !follows {
            let text =
                format!("its log cannot be followed: {}", primary.grant("REPLICATION SLAVE"));
            self.note(Weight::Better, primary, text);
        }
        if !primary.knows_foreign_keys {
            let text = format!(
                "what its foreign keys change is not in its log: {}",
                primary.grant("PROCESS")
            );
            self.note(Weight::Better, primary, text);
        }
        let format = primary.setting("binlog_format").unwrap_or("ROW");
        if format != "ROW" {
            let text = format!(
                "binlog_format = {format}: a statement in the log may have changed anything; SET GLOBAL binlog_format = ROW"
            );
            self.note(Weight::Better, primary, text);
        }
        let image = primary.setting("binlog_row_image").unwrap_or("FULL");
        if image != "FULL" {
            let text = format!(
                "binlog_row_image = {image}: keys may be missing in the log; SET GLOBAL binlog_row_image = FULL"
            );
            self.note(Weight::Better, primary, text);
        }
        if !primary.sees_columns {
            let text = "no column of *options or *postmeta can be seen: GRANT SELECT ON \
                        the schemas of WordPress, or install it first";
            self.note(Weight::Better, primary, text);
        }
        follows && format == "ROW" && primary.knows_foreign_keys
    }

    /// What is wrong with them together.
    fn compare(&mut self, servers: &[Facts]) {
        let reached: Vec<&Facts> = servers.iter().filter(|it| it.failure.is_none()).collect();
        for (at, server) in reached.iter().enumerate() {
            let before = reached.get(..at).unwrap_or_default();
            let Some(twin) = before.iter().find(|it| it.identity == server.identity) else {
                continue;
            };
            if twin.place == server.place {
                let text = format!("is the server at {} once more", twin.address);
                self.note(Weight::Fine, server, text);
            } else {
                let text = format!(
                    "has the server_uuid of {}: remove auto.cnf from its data folder and restart it",
                    twin.address
                );
                self.note(Weight::Wrong, server, text);
            }
        }
        let names = |it: &&Facts| it.setting("lower_case_table_names").map(str::to_owned);
        let first = reached.first().and_then(names);
        for server in reached.iter().skip(1).filter(|it| names(it) != first) {
            self.note(Weight::Wrong, server, "lower_case_table_names is not that of the primary");
        }
    }
}

impl Facts {
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        self.setting(name).is_some_and(|value| !matches!(value, "OFF" | "0"))
    }

    fn has_gtids(&self) -> bool {
        match self.flavour {
            Flavour::MariaDb => true,
            Flavour::MySql => self.setting("gtid_mode").is_some_and(|mode| mode.starts_with("ON")),
        }
    }

    fn has_workers(&self) -> bool {
        ["replica_parallel_workers", "slave_parallel_workers"].iter().any(|name| {
            self.setting(name).and_then(|count| count.parse::<u32>().ok()).is_some_and(|n| n > 1)
        })
    }

    /// Of the lines of SHOW GRANTS, those for everything: `GRANT a, b ON *.* TO ...`.
    fn has_privilege(&self, name: &str) -> bool {
        self.grants.iter().any(|line| {
            let given = line.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON *.* TO "));
            given.is_some_and(|(list, _)| {
                list.split(',')
                    .any(|one| matches!(one.trim(), "ALL PRIVILEGES" | "ALL") || one.trim() == name)
            })
        })
    }

    fn state_privilege(&self) -> &'static str {
        match self.flavour {
            Flavour::MySql => "REPLICATION CLIENT",
            Flavour::MariaDb => "SLAVE MONITOR",
        }
    }

    fn log_privilege(&self) -> &'static str {
        match self.flavour {
            Flavour::MySql => "REPLICATION CLIENT",
            Flavour::MariaDb => "BINLOG MONITOR",
        }
    }

    /// The statement that gives a privilege to the account that asked.
    fn grant(&self, privilege: &str) -> String {
        let (user, host) = self.account.rsplit_once('@').unwrap_or((&self.account, "%"));
        format!("GRANT {privilege} ON *.* TO '{user}'@'{host}'")
    }
}

impl Grade {
    fn words(self) -> &'static str {
        match self {
            Grade::Window => {
                "window: for a while after a write, reads of its schema go to the primary"
            }
            Grade::Whole => "whole: after any write, reads wait for it or go to the primary",
            Grade::PerTable => "per table: a write concerns reads of the same table",
            Grade::PerKey => "per key: a write concerns reads of the same option, post or user",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut address = "";
        for note in &self.notes {
            if note.address != address {
                address = &note.address;
                writeln!(f, "{address}")?;
            }
            let word = match note.weight {
                Weight::Fine => "ok    ",
                Weight::Better => "better",
                Weight::Wrong => "WRONG ",
            };
            writeln!(f, "  {word}  {}", note.text)?;
        }
        match self.grade {
            Some(grade) => write!(f, "freshness  {}", grade.words()),
            None => f.write_str("freshness  unknown: the primary could not be asked"),
        }
    }
}

#[cfg(test)]
mod tests;
