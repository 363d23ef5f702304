//! What a read must have seen at this moment, and which replica has: what only the live fleet knows.
//!
//! Asked about the text alone, as `explain` is: a user's own level and a view's own tables are not
//! known here. Called by `app` for `/explain` and `EXPLAIN ROUTE`.

use crate::cluster::Role;
use crate::cluster::Snapshot;
use crate::freshness::{Freshness, Key, Level, Levels, Width};
use crate::session::Session;
use crate::session::floor::Deciding;
use crate::session::plan::{Plan, Policy};
use crate::sql::{Classifier, LocalCache, Mode};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The statement.
    pub sql: &'a str,
    /// The current schema of who would send it.
    pub schema: Option<&'a str>,
    /// How it is read.
    pub mode: Mode,
}

/// Line by line, a name and a value each; none of a statement that no replica is asked for.
#[must_use]
pub fn live(
    classifier: &Classifier,
    question: Question<'_>,
    levels: &Levels,
    freshness: &Freshness,
    fleet: &Snapshot,
) -> Vec<(String, String)> {
    let Question { sql, schema, mode } = question;
    let mut session = Session::new(1, mode);
    session.begin_with(|values| values.database = schema.map(|name| name.as_bytes().into()));
    let statement = classifier.classify(&mut LocalCache::new(), sql.as_bytes(), mode);
    let level = levels.of(b"", schema.map(str::as_bytes));
    let policy = Policy { level, ..Policy::SPLIT };
    let Plan::Forward(forward) = session.plan_text(&statement, sql.as_bytes(), policy, freshness)
    else {
        return Vec::new();
    };
    if forward.want.role != Role::Reader {
        return Vec::new();
    }
    let level = policy.level_of(statement.hint);
    let mut facts = vec![("level".to_owned(), level.name().to_owned())];
    if level >= Level::Causal {
        let deciding = session.deciding(&statement, sql.as_bytes(), freshness);
        let is_schema_known =
            schema.is_some() || statement.reads.iter().all(|it| it.schema.is_some());
        facts.push(("must have".to_owned(), must_have(deciding.as_ref(), is_schema_known)));
    }
    for server in fleet.readers() {
        let applied = server.live.applied();
        let word = match (server.health.serves_reads(), applied >= forward.want.floor) {
            (false, _) => "not in use",
            (true, true) => "fresh enough",
            (true, false) => "not fresh enough",
        };
        let name = format!("at {}", server.address);
        facts.push((name, format!("write {applied}: {word}", applied = applied.0)));
    }
    facts
}

fn must_have(deciding: Option<&Deciding>, is_schema_known: bool) -> String {
    let Some(deciding) = deciding else { return "nothing: it reads no table".into() };
    let mut text = format!("write {}, the last one to {deciding}", deciding.floor.0);
    if deciding.width == Width::Rows {
        let rows: Vec<_> = deciding.rows.iter().map(key).collect();
        text.push_str(&format!(" ({} {})", deciding.column, rows.join(", ")));
    }
    if !is_schema_known {
        text.push_str("; no schema was said, as in /explain?schema=wordpress&sql=...");
    }
    text
}

fn key(key: &Key) -> String {
    match key {
        Key::Autoloaded => "is on".into(),
        Key::Any { .. } => "of any value".into(),
        Key::Integer { value, .. } => value.to_string(),
        Key::Text { value, .. } => String::from_utf8_lossy(value).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cluster::{Health, Server, ServerId};
    use crate::freshness::{
        Collation, KeyColumn, KeyColumns, KeyKind, KeyedTable, Rows, TableRows, Touched, Written,
    };
    use crate::position::{Flavour, Ordinal, Position};

    /// One replica that has the second of four writes after the start: to a table, a key, a schema
    /// and a table of another.
    #[track_caller]
    fn check(schema: Option<&str>, sql: &str, expected: &[&str]) {
        let position =
            |at: u64| Position::parse(Flavour::MariaDb, format!("0-1-{at}").as_bytes()).unwrap();
        let freshness = Freshness::new(Instant::now());
        freshness.start(Some(position(1)), None, Instant::now());
        let base = freshness.last().0;
        let kind = KeyKind::Text(Collation::parse(b"utf8mb4_bin").unwrap());
        let column = KeyColumn { name: "option_name".into(), index: 1, kind };
        let options = KeyedTable { columns: vec![column], autoload: Some(3) };
        let mut columns = KeyColumns::default();
        columns.insert(b"wp", b"wp_options", options);
        freshness.set_key_columns(columns);
        let cron = [Key::text(1, Collation::parse(b"binary").unwrap(), b"cron").unwrap()];
        let table = |schema, table, rows| TableRows { schema, table, rows };
        for (at, touched) in [
            (2, Touched::Tables(&[table(b"wp", b"wp_posts", Rows::All)])),
            (3, Touched::Tables(&[table(b"wp", b"wp_options", Rows::Keys(&cron))])),
            (4, Touched::Schemas(&[b"shop"])),
            (5, Touched::Tables(&[table(b"blog", b"t", Rows::All)])),
        ] {
            freshness.record(Written { touched, position: Some(position(at)), at: Instant::now() });
        }
        let mut reader = Server::new(ServerId(2), "db-2:3306", Role::Reader);
        reader.health = Health::Up;
        reader.live.raise_applied(Ordinal(base + 2));
        let fleet = Snapshot::default().with_server(reader);
        let mode = Mode::default();
        let levels = Levels {
            schemas: vec![("lax".into(), Level::Eventual)],
            ..Levels::of_all(Level::Causal)
        };
        let question = Question { sql, schema, mode };
        let said = live(&Classifier::new(7), question, &levels, &freshness, &fleet);
        let said: Vec<String> =
            said.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        // Numbers count from the start.
        let shift = |text: &str| {
            (0..=4_u64).rev().fold(text.to_owned(), |text, n| {
                text.replace(&format!("#{n}"), &format!("write {}", base + n))
            })
        };
        let expected: Vec<String> = expected.iter().map(|line| shift(line)).collect();
        assert_eq!(said, expected, "{sql}");
    }

    #[test]
    fn the_floor_has_a_name() {
        const FRESH: &str = "at db-2:3306: #2: fresh enough";
        const STALE: &str = "at db-2:3306: #2: not fresh enough";
        let wp = Some("wp");
        let causal = "level: causal";
        check(
            wp,
            "SELECT a FROM wp_posts",
            &[causal, "must have: #1, the last one to table wp.wp_posts", FRESH],
        );
        check(
            wp,
            "SELECT option_value FROM wp_options WHERE option_name = 'cron'",
            &[
                causal,
                "must have: #2, the last one to rows of wp.wp_options (option_name cron)",
                FRESH,
            ],
        );
        check(
            wp,
            "SELECT option_value FROM wp_options WHERE option_name = 'home'",
            &[causal, "must have: #0, the last one to everything", FRESH],
        );
        check(
            wp,
            "SELECT a FROM wp_posts JOIN shop.orders",
            &[causal, "must have: #3, the last one to schema shop", STALE],
        );
        check(
            None,
            "SELECT a FROM blog.t",
            &[causal, "must have: #4, the last one to table blog.t", STALE],
        );
        let untold = "must have: #4, the last one to everything; no schema was said, as in \
                      /explain?schema=wordpress&sql=...";
        check(None, "SELECT a FROM wp_posts", &[causal, untold, STALE]);
        check(Some("lax"), "SELECT a FROM t", &["level: eventual", FRESH]);
        check(wp, "/* forebay: eventual */ SELECT a FROM t", &["level: eventual", FRESH]);
        check(wp, "SELECT 1", &[causal, "must have: nothing: it reads no table", FRESH]);
        check(wp, "DELETE FROM wp_posts", &[]);
    }
}
