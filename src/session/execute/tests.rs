//! One-line conversations with prepared statements.

use std::time::Instant;

use super::*;
use crate::session::observe::{Ending, Outcome, Replied, Said, Sent, Verdict};
use crate::sql::{Classifier, LocalCache, Mode};

const SPLIT: Policy = Policy::SPLIT;

/// A session and a server that gives the numbers 101, 102 and so on.
struct Stage {
    session: Session,
    classifier: Classifier,
    shapes: LocalCache,
    freshness: Freshness,
    server_id: u32,
    in_transaction: bool,
}

impl Stage {
    fn new() -> Self {
        let mut session = Session::new(1, Mode::default());
        session.begin_with(|values| values.database = Some((*b"wp").into()));
        let freshness = Freshness::new(Instant::now());
        let (classifier, shapes) = (Classifier::new(7), LocalCache::default());
        let (server_id, in_transaction) = (100, false);
        Self { session, classifier, shapes, freshness, server_id, in_transaction }
    }

    /// `prepare TEXT`, `long TEXT`, or one of `execute`, `cursor`, `fetch`, `last`, `reset`,
    /// `close`, `data` with a number of a statement; anything else is a query. `lost` loses the
    /// primary. What is said in answer: P or R, with `*` where the connection is kept.
    fn say(&mut self, words: &str) -> String {
        let (verb, text) = words.split_once(' ').unwrap_or((words, ""));
        let id = text.parse().unwrap_or(0);
        match verb {
            "prepare" => self.prepare(text, false),
            "long" => self.prepare(text, true),
            "execute" => self.execute(id, false),
            "cursor" => self.execute(id, true),
            "fetch" => self.speak(Spoken::Fetch, &Command::Fetch { id }, id, Status::CURSOR_EXISTS),
            "last" => self.speak(Spoken::Fetch, &Command::Fetch { id }, id, Status::LAST_ROW_SENT),
            "reset" => self.speak(Spoken::Reset, &Command::ResetStatement(id), id, Status(0)),
            "close" => self.speak(Spoken::Close, &Command::CloseStatement(id), id, Status(0)),
            "data" => self.speak(Spoken::LongData, &Command::LongData { id }, id, Status(0)),
            _ => {
                self.in_transaction = words == "BEGIN";
                let facts = self.facts(words);
                let plan = self.session.plan(&facts, SPLIT, &self.freshness);
                self.carry(plan, Said::Statement(&facts, words.as_bytes()), Status(0), |_, _| {})
            }
        }
    }

    fn facts(&mut self, text: &str) -> Arc<Statement> {
        self.classifier.classify(&mut self.shapes, text.as_bytes(), Mode::default())
    }

    fn prepare(&mut self, text: &str, is_long: bool) -> String {
        let mut facts = self.facts(text);
        if is_long {
            facts = Arc::new(Statement { is_long, proof: Proof::No, ..(*facts).clone() });
        }
        let source = match is_long {
            true => Source::Long(Arc::clone(&facts)),
            false => Source::Text(self.session.blueprint(text.as_bytes())),
        };
        self.server_id += 1;
        let plan = self.session.plan_prepare(&facts, SPLIT, &self.freshness);
        self.carry(plan, Said::Prepare(&facts), Status(0), |session, summary| {
            session.after_prepare(source, summary);
        })
    }

    fn execute(&mut self, id: u32, cursor: bool) -> String {
        let facts = match self.session.prepared().find(id, self.session.mode().flavour) {
            None => return "unknown".into(),
            Some((_, Known { source: Source::Long(facts), .. })) => Arc::clone(facts),
            Some((_, Known { source: Source::Text(blueprint), .. })) => {
                let text = String::from_utf8(blueprint.text.to_vec()).unwrap();
                self.facts(&text)
            }
        };
        let ties = Ties { cursor, streams: false };
        let plan = self.session.plan_execute(&facts, ties, SPLIT, &self.freshness);
        let status = if cursor { Status::CURSOR_EXISTS } else { Status(0) };
        let spoken = Spoken::Execute { cursor };
        self.carry(plan, Said::Statement(&facts, b""), status, |session, summary| {
            session.after_statement(spoken, id, 100, summary);
        })
    }

    fn speak(&mut self, spoken: Spoken, command: &Command<'_>, id: u32, status: Status) -> String {
        let plan = self.session.plan_command(command, false);
        self.carry(plan, Said::Command(command), status, |session, summary| {
            session.after_statement(spoken, id, 100, summary);
        })
    }

    fn carry(
        &mut self,
        plan: Plan,
        said: Said<'_>,
        status: Status,
        note: impl FnOnce(&mut Session, &Summary),
    ) -> String {
        let forward = match plan {
            Plan::Forward(forward) => forward,
            Plan::Answer(_) => return "ok".into(),
            Plan::Ignore => return "-".into(),
            Plan::Refuse(refusal) => return refusal.told().0.to_string(),
            other => return format!("{other:?}"),
        };
        let mut status = status.with(Status::AUTOCOMMIT);
        if self.in_transaction {
            status = status.with(Status::IN_TRANS);
        }
        let (end, server_id) = (Some(End::Ok), self.server_id);
        let summary = Summary { end, status, statement_id: server_id, ..Summary::default() };
        note(&mut self.session, &summary);
        let outcome = Outcome {
            role: forward.want.role,
            sent: Sent::Whole,
            replied: Replied::Nothing,
            end: Ending::Answered,
            summary: &summary,
        };
        let (verdict, _) = self.session.observe(&forward, said, &outcome);
        let mark = if forward.want.role == Role::Primary { "P" } else { "R" };
        let kept = verdict == Verdict::Hold && self.session.holds().is_hard();
        format!("{mark}{}", if kept { "*" } else { "" })
    }
}

fn check(script: &str, expected: &str) {
    let mut stage = Stage::new();
    let got: Vec<String> = script.split('|').map(|words| stage.say(words.trim())).collect();
    assert_eq!(got.join(" "), expected, "{script}");
}

#[test]
fn statements_go_where_their_texts_go() {
    check("prepare SELECT a FROM t WHERE b = ? | execute 1 | execute 1 | close 1", "R R R -");
    check("prepare INSERT INTO t VALUES (?) | execute 1 | SELECT 1", "P P R");
    check("BEGIN | prepare SELECT a FROM t | execute 1 | COMMIT | execute 1", "P* P* P* P R");
    check("prepare SELECT GET_LOCK(?, 0) | SELECT 1 | execute 1 | SELECT 1", "P R P* P*");
    check("prepare SET @a = ? | SELECT @a", "P* P*");
    check("prepare SELECT @a | SELECT 1 | execute 1 | SELECT 1", "P R P* P*");
    check("/* forebay: primary */ SELECT 1 | prepare /* forebay: primary */ SELECT ?", "P P");
    check("prepare SELECT 1 | close 1 | execute 1 | close 1 | reset 1", "R - unknown - 1243");
    check("prepare SELECT 1 | prepare SELECT 2 | close 1 | execute 2", "R R - R");
    check("prepare SELECT 1 | reset 1 | execute 1 | fetch 1", "R ok R 1421");
}

#[test]
fn what_lives_on_one_connection_keeps_it() {
    let cursor = "prepare SELECT a FROM t | cursor 1 | SELECT 1 | ";
    check(&format!("{cursor}fetch 1 | last 1 | SELECT 1"), "R P* P* P* P R");
    check(&format!("{cursor}reset 1 | SELECT 1 | fetch 1"), "R P* P* P R 1421");
    check(&format!("{cursor}close 1 | SELECT 1 | execute 1"), "R P* P* P R unknown");
    check(&format!("{cursor}execute 1 | SELECT 1"), "R P* P* P R");
    let data = "prepare INSERT INTO t VALUES (?) | data 1 | SELECT 1 | ";
    check(&format!("{data}execute 1 | SELECT 1"), "P P* P* P R");
    check(&format!("{data}reset 1 | SELECT 1"), "P P* P* P R");
    let long = "long SELECT a FROM t | SELECT 1 | execute 1 | ";
    check(&format!("{long}reset 1 | execute 1 | close 1 | SELECT 1"), "P* P* P* P* P* P R");
    check("data 7 | prepare SELECT ? | data 1 | data 7", "- R P* -");
}

#[test]
fn a_text_of_another_database_reads_other_tables() {
    let mut stage = Stage::new();
    let facts = stage.facts("SELECT a FROM t");
    let blueprint = stage.session.blueprint(b"SELECT a FROM t");
    assert!(Arc::ptr_eq(&facts, &stage.session.facts_then(&blueprint, Arc::clone(&facts))));
    stage.session.begin_with(|values| values.database = Some((*b"other").into()));
    let then = stage.session.facts_then(&blueprint, Arc::clone(&facts));
    let schemas = |it: &Statement| it.reads.iter().map(|it| it.schema.clone()).collect::<Vec<_>>();
    assert_eq!((schemas(&facts), schemas(&then)), (vec![None], vec![Some("wp".into())]));
    assert!(then.tables_known && then.proof == Proof::Read);
    stage.session.begin_with(|values| values.database = Some((*b"mysql").into()));
    let blueprint = stage.session.blueprint(b"SELECT a FROM t");
    stage.session.begin_with(|values| values.database = Some((*b"wp").into()));
    assert_eq!(stage.session.facts_then(&blueprint, facts).proof, Proof::No);
}

#[test]
fn errors_leave_no_statement_and_no_cursor() {
    let mut session = Session::new(1, Mode::default());
    let failed = Summary {
        end: Some(End::Err { code: 1064, state: *b"42000", message: Vec::new() }),
        ..Summary::default()
    };
    let source = Source::Text(session.blueprint(b"SELEC"));
    assert_eq!(session.after_prepare(source.clone(), &failed), Fate::Gone);
    assert!(session.prepared().is_empty());
    let done = Summary { end: Some(End::Ok), ..Summary::default() };
    assert_eq!(session.after_prepare(source, &done), Fate::Shared);
    let mut check = |cursor, summary: &Summary, expected| {
        let fate = session.after_statement(Spoken::Execute { cursor }, 1, 5, summary);
        assert_eq!(fate, expected, "{cursor} {summary:?}");
    };
    check(false, &failed, Fate::Shared);
    check(true, &failed, Fate::Closed);
    check(true, &done, Fate::Shared);
    let last = Status::CURSOR_EXISTS.with(Status::LAST_ROW_SENT);
    check(true, &Summary { status: last, ..done.clone() }, Fate::Shared);
    check(true, &Summary { status: Status::CURSOR_EXISTS, ..done }, Fate::Kept);
    assert!(session.prepared().has_pins());
    assert_eq!(session.after_statement(Spoken::Fetch, 1, 5, &failed), Fate::Closed);
    assert!(!session.prepared().has_pins());
}
