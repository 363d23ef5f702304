//! What servers are asked about positions, and what their answers mean.
//!
//! Only texts and values: nothing is sent here, and nothing is decided. Called by `probe` and
//! `progress`, and by whoever takes a fence.

use crate::backend::query::{Record, Rows};
use crate::position::{self, FilePlace, GtidList, GtidSet, Position};
use crate::sql::Flavour;

/// Before this version a server told of a transaction's GTID when it was in the binary log, and of its
/// rows a moment later: of 96,000 answers of a replica of 5.6 in the midst of writes, 1,000 were
/// ahead of what it then read. Of the file and offset that it had applied, none of 51,000 was.
const GTIDS_IN_TIME: u32 = 50_705;

/// How the positions of the primary, and so of its replicas, are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notation {
    /// GTID sets of MySQL, GTID lists of MariaDB.
    #[default]
    Gtids,
    /// File and offset in the primary's binary log.
    File,
}

/// The words that a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The server's family.
    pub flavour: Flavour,
    /// 90704 is 9.7.4.
    pub version: u32,
}

/// What a server says of itself besides its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// It takes no writes: it is no primary, or not any more.
    pub is_read_only: bool,
    /// How it numbers what it writes now.
    pub notation: Notation,
}

/// 9.7.4 is 90704; what is no version is 0. MariaDB's are told with a `5.5.5-` in front.
#[must_use]
pub fn version_number(greeting: &[u8]) -> u32 {
    let text = greeting.strip_prefix(b"5.5.5-").unwrap_or(greeting);
    let mut parts = text.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        digits.parse::<u32>().unwrap_or(0).min(99)
    });
    let mut part = || parts.next().unwrap_or(0);
    part() * 10_000 + part() * 100 + part()
}

impl Dialect {
    /// What it says to have executed cannot be read yet: only its places in a log count.
    #[must_use]
    pub fn tells_gtids_too_soon(self) -> bool {
        self.flavour == Flavour::MySql && self.version < GTIDS_IN_TIME
    }

    /// Asks a primary for all that it has executed.
    #[must_use]
    pub fn ask_primary(self, notation: Notation) -> &'static str {
        match (notation, self.flavour) {
            (Notation::Gtids, Flavour::MySql) => "SELECT @@GLOBAL.gtid_executed",
            (Notation::Gtids, Flavour::MariaDb) => "SELECT @@GLOBAL.gtid_binlog_pos",
            (Notation::File, Flavour::MySql) if self.version >= 80_200 => "SHOW BINARY LOG STATUS",
            (Notation::File, _) => "SHOW MASTER STATUS",
        }
    }

    /// Asks, after that, whether the server is the primary still, and how it numbers its writes.
    #[must_use]
    pub fn ask_state(self) -> &'static str {
        match self.flavour {
            Flavour::MySql if self.version >= 50_600 => {
                "SELECT @@GLOBAL.read_only,@@GLOBAL.gtid_mode"
            }
            _ => "SELECT @@GLOBAL.read_only",
        }
    }

    /// The answer to that. What makes no sense is no primary.
    #[must_use]
    pub fn read_state(self, rows: &Rows) -> State {
        let row = rows.first().map(Vec::as_slice).unwrap_or_default();
        let cell = |at: usize| row.get(at).and_then(Option::as_deref);
        let by_file = match self.flavour {
            Flavour::MySql => {
                self.tells_gtids_too_soon() || cell(1).is_none_or(|mode| mode.starts_with(b"OFF"))
            }
            Flavour::MariaDb => false,
        };
        State {
            is_read_only: !matches!(cell(0), Some(b"0" | b"OFF")),
            notation: if by_file { Notation::File } else { Notation::Gtids },
        }
    }

    /// The primary's answer. `None`: it does not tell, or has nothing to tell.
    #[must_use]
    pub fn read_primary(self, notation: Notation, rows: &Rows) -> Option<Position> {
        match notation {
            Notation::Gtids => self.read_gtids(rows),
            Notation::File => {
                let row = rows.first()?;
                let offset = row.get(1)?.as_deref()?;
                place(row.first()?.as_deref()?, std::str::from_utf8(offset).ok()?)
            }
        }
    }

    /// Asks a replica for all that it has applied.
    #[must_use]
    pub fn ask_replica(self, notation: Notation) -> &'static str {
        match (notation, self.flavour) {
            (Notation::Gtids, Flavour::MySql) => "SELECT @@GLOBAL.gtid_executed",
            (Notation::Gtids, Flavour::MariaDb) => "SELECT @@GLOBAL.gtid_slave_pos",
            (Notation::File, _) => self.ask_replication(),
        }
    }

    /// Its GTIDs; in the other notation see [`applied_place`].
    #[must_use]
    pub fn read_gtids(self, rows: &Rows) -> Option<Position> {
        let text = rows.first()?.first()?.as_deref()?;
        let position = match self.flavour {
            Flavour::MySql => GtidSet::parse(text).map(Position::MySql),
            Flavour::MariaDb => GtidList::parse(text).map(Position::MariaDb),
        };
        position.ok().filter(|position| !position.is_empty())
    }

    /// Asks a replica how its replication is: a row for each source.
    #[must_use]
    pub fn ask_replication(self) -> &'static str {
        match self.flavour {
            Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
            Flavour::MySql if self.version >= 80_022 => "SHOW REPLICA STATUS",
            Flavour::MySql => "SHOW SLAVE STATUS",
        }
    }

    /// Makes a replica answer as soon as it has this, at the latest after half a second (one where
    /// seconds have no parts). `None`: it cannot wait for that.
    #[must_use]
    pub fn wait_for(self, position: &Position) -> Option<String> {
        Some(match position {
            // There is no such function before either.
            Position::MySql(_) if self.tells_gtids_too_soon() => return None,
            Position::MySql(set) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}',0.5)"),
            Position::MariaDb(list) => format!("SELECT MASTER_GTID_WAIT('{list}',0.5)"),
            Position::File(place) => {
                let word = if self.version >= 80_026 { "SOURCE" } else { "MASTER" };
                // No text of a server goes unchecked into one of ours.
                let file = Some(place.file()).filter(|file| !file.contains(['\'', '\\']))?;
                format!("SELECT {word}_POS_WAIT('{file}',{},1)", place.offset())
            }
        })
    }
}

/// Up to where in its source's log a replica has applied everything, where that source is the
/// server with this UUID: places in another server's log mean something else.
#[must_use]
pub fn applied_place(replication: &[Record], source_uuid: &str) -> Option<Position> {
    let ours = replication.iter().find(|channel| {
        let uuid = channel.get(&["Source_UUID", "Master_UUID"]);
        uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(source_uuid))
    })?;
    let file = ours.get(&["Relay_Source_Log_File", "Relay_Master_Log_File"])?;
    let offset = ours.get(&["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"])?;
    place(file.as_bytes(), offset)
}

fn place(file: &[u8], offset: &str) -> Option<Position> {
    FilePlace::new(file, offset.parse().ok()?).ok().map(Position::File)
}

/// The notation of positions that a session hears of with its writes.
impl From<Flavour> for position::Flavour {
    fn from(flavour: Flavour) -> Self {
        match flavour {
            Flavour::MySql => position::Flavour::MySql,
            Flavour::MariaDb => position::Flavour::MariaDb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialect, Notation, State, applied_place, version_number};
    use crate::backend::query::Record;
    use crate::position::{self, Position};
    use crate::sql::Flavour;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn versions() {
        let check = |text: &str, expected| assert_eq!(version_number(text.as_bytes()), expected);
        check("9.7.4", 90_704);
        check("8.0.36-0ubuntu0.22.04.1", 80_036);
        check("5.6.51-log", 50_651);
        check("5.5.5-10.11.14-MariaDB-0+deb12u2", 101_114);
        check("11.8.2-MariaDB", 110_802);
        check("", 0);
        check("toy", 0);
        check("8", 80_000);
        check("99999999999.1.1", 101);
    }

    /// `cells`: the first row of the answer; `-` is NULL.
    fn check_primary(flavour: Flavour, notation: Notation, cells: &str, expected: &str) {
        let cell = |text: &str| (text != "-").then(|| text.replace('X', UUID).into_bytes());
        let rows = vec![cells.split(' ').map(cell).collect()];
        let position = Dialect { flavour, version: 90_704 }.read_primary(notation, &rows);
        let printed = position.map_or("none".into(), |position| position.to_string());
        assert_eq!(printed.replace(UUID, "X"), expected, "{cells}");
    }

    #[test]
    fn answers_of_a_primary() {
        let mysql = |cells, expected| {
            check_primary(Flavour::MySql, Notation::Gtids, cells, expected);
        };
        mysql("X:1-5", "X:1-5");
        mysql("", "none");
        mysql("-", "none");
        let mariadb = |cells, expected| {
            check_primary(Flavour::MariaDb, Notation::Gtids, cells, expected);
        };
        mariadb("0-1-7", "0-1-7");
        mariadb("", "none");
        let file = |cells, expected| check_primary(Flavour::MySql, Notation::File, cells, expected);
        file("binlog.000007 1234  ", "binlog.000007:1234");
        file("binlog.000007 -", "none");
        file("binlog 1234", "none");
    }

    #[test]
    fn states_of_a_primary() {
        let check_version = |flavour, version, cells: &str, expected| {
            let rows = vec![cells.split(' ').map(|cell| Some(cell.into())).collect()];
            let State { is_read_only, notation } = Dialect { flavour, version }.read_state(&rows);
            assert_eq!((is_read_only, notation), expected, "{cells}");
        };
        let check = |flavour, cells, expected| check_version(flavour, 90_704, cells, expected);
        check(Flavour::MySql, "0 ON", (false, Notation::Gtids));
        check(Flavour::MySql, "1 ON_PERMISSIVE", (true, Notation::Gtids));
        // There may be a set of the time when it had them; nothing is added to it any more.
        check(Flavour::MySql, "0 OFF", (false, Notation::File));
        check(Flavour::MySql, "0 OFF_PERMISSIVE", (false, Notation::File));
        check(Flavour::MySql, "0", (false, Notation::File));
        check_version(Flavour::MySql, 50_651, "0 ON", (false, Notation::File));
        check_version(Flavour::MySql, 50_709, "0 ON", (false, Notation::Gtids));
        check(Flavour::MariaDb, "0", (false, Notation::Gtids));
        check(Flavour::MariaDb, "OFF", (false, Notation::Gtids));
        check(Flavour::MariaDb, "NO_LOCK_NO_ADMIN", (true, Notation::Gtids));
        check(Flavour::MariaDb, "", (true, Notation::Gtids));
    }

    #[test]
    fn places_count_only_in_the_log_of_the_primary() {
        let channel = |words: &str| {
            let pairs = words.split(' ').filter_map(|word| word.split_once('='));
            Record::of(pairs.map(|(name, value)| (name, Some(value))))
        };
        let check = |channels: &[&str], expected: &str| {
            let channels: Vec<_> = channels.iter().copied().map(channel).collect();
            let place = applied_place(&channels, "ab-c");
            assert_eq!(place.map_or("none".into(), |place| place.to_string()), expected);
        };
        let old = "Master_UUID=ab-c Relay_Master_Log_File=b.000002 Exec_Master_Log_Pos=77";
        let new = "Source_UUID=AB-C Relay_Source_Log_File=b.000003 Exec_Source_Log_Pos=78";
        let other = "Source_UUID=other Relay_Source_Log_File=b.000009 Exec_Source_Log_Pos=78";
        check(&[old], "b.000002:77");
        check(&[other, new], "b.000003:78");
        check(&[other], "none");
        check(&["Source_UUID=ab-c Relay_Source_Log_File= Exec_Source_Log_Pos=0"], "none");
        check(&[], "none");
    }

    #[test]
    fn waits() {
        let check = |flavour, version, kind, text: &str, expected: &str| {
            let position = Position::parse(kind, text.replace('X', UUID).as_bytes()).unwrap();
            let wait = Dialect { flavour, version }.wait_for(&position).unwrap_or("none".into());
            assert_eq!(wait.replace(UUID, "X"), expected);
        };
        let gtids = position::Flavour::MySql;
        let waits = "SELECT WAIT_FOR_EXECUTED_GTID_SET('X:1-3:5',0.5)";
        check(Flavour::MySql, 90_704, gtids, "X:1-3:5", waits);
        check(Flavour::MySql, 50_651, gtids, "X:1-3:5", "none");
        let lists = position::Flavour::MariaDb;
        check(Flavour::MariaDb, 101_114, lists, "0-1-7", "SELECT MASTER_GTID_WAIT('0-1-7',0.5)");
        let files = position::Flavour::File;
        check(Flavour::MySql, 90_704, files, "b.01:7", "SELECT SOURCE_POS_WAIT('b.01',7,1)");
        check(Flavour::MySql, 50_651, files, "b.01:7", "SELECT MASTER_POS_WAIT('b.01',7,1)");
        check(Flavour::MySql, 90_704, files, "b'.01:7", "none");
    }
}
