//! Views followed to their tables, and names hidden while they change.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Catalog, Changes, Draft, Found, Name, Names};
use crate::sql::{Flavour, Mode, Unfit};

fn name(text: &str) -> Name {
    let (schema, table) = text.split_once('.').unwrap_or(("wp", text));
    Name::new(schema, table).unwrap()
}

/// `v = SELECT ...` is a view, `t !` a table of another engine, `v ?` a view that may not be
/// seen, `t` a table.
fn catalog(script: &str) -> Catalog {
    let mut draft = Draft::new(Mode { flavour: Flavour::MariaDb, ..Mode::default() });
    let mut tables = HashSet::new();
    for line in script.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((view, body)) = line.split_once(" = ") {
            let view = name(view);
            draft.add_view(view.schema(), view.table(), body);
        } else if let Some(table) = line.strip_suffix(" !") {
            draft.add("wp", table, Unfit::Engine);
        } else if let Some(view) = line.strip_suffix(" ?") {
            draft.add("wp", view, Unfit::View);
        } else {
            tables.insert(name(line));
        }
    }
    let asked: HashSet<Name> = draft.questions().into_iter().cloned().collect();
    tables.retain(|table| asked.contains(table));
    draft.resolve(&tables, 0).expect("few names")
}

fn word(found: Found<'_>) -> String {
    match found {
        Found::Table => "table".into(),
        Found::Unfit(Unfit::View) => "view".into(),
        Found::Unfit(Unfit::Engine) => "engine".into(),
        Found::Unfit(Unfit::Unlisted) => "unlisted".into(),
        Found::View(reads) => {
            let mut names: Vec<&str> = reads.iter().map(Name::table).collect();
            names.sort_unstable();
            names.join("+")
        }
    }
}

#[test]
fn what_a_name_is() {
    let check = |script: &str, asked: &str, expected: &str| {
        let (catalog, changes) = (catalog(script), Changes::default());
        let names = Names { look: changes.look(), catalog: &catalog };
        let (schema, table) = asked.split_once('.').unwrap_or(("wp", asked));
        assert_eq!(word(names.find(Some(schema), table)), expected, "{script} | {asked}");
    };
    check("t", "t", "table");
    check("t; v = SELECT a FROM t", "v", "t");
    check("t; v = SELECT a FROM t", "V", "t");
    check("t; v = SELECT a FROM t", "other.v", "table");
    check("t; v = select `wp`.`t`.`a` AS `a` from `wp`.`t` where (`wp`.`t`.`a` > 1)", "v", "t");
    check(
        "t; v = select `a`.`x` AS `x` from (`wp`.`t` `a` join `wp`.`t` `b` on((`a`.`x` = `b`.`x`)))",
        "v",
        "t",
    );
    check(
        "t; v = select count(0) AS `n`,max(`wp`.`t`.`a`) AS `m` from `wp`.`t` group by `wp`.`t`.`b`",
        "v",
        "t",
    );
    // What a view does beside reading.
    check("v = SELECT GET_LOCK('a', 0)", "v", "view");
    check("v = select get_lock('a',0) AS `l`", "v", "view");
    check("v = select connection_id() AS `c`", "v", "view");
    check("v = select user() AS `u`", "v", "view");
    check("v = select uuid_short() AS `u`", "v", "view");
    check("v = select sleep(1) AS `s`", "v", "view");
    check("v = select @@hostname AS `h`", "v", "view");
    check("t; v = select `f`(`t`.`a`) AS `x` from `wp`.`t`", "v", "view");
    check("t; v = select `wp`.`f`() AS `x` from `wp`.`t`", "v", "view");
    check("t; v = select `t`.`a` AS `a` from `wp`.`t` for update", "v", "view");
    check("v = select 1 AS `one`", "v", "");
    check("v = select `x`.`ID` AS `id` from `information_schema`.`PROCESSLIST` `x`", "v", "view");
    check("v = select `x`.`TABLE_NAME` AS `t` from `information_schema`.`TABLES` `x`", "v", "view");
    check("v = select `x`.`User` AS `u` from `mysql`.`user` `x`", "v", "view");
    // What cannot be read or is not certain.
    check("v ?", "v", "view");
    check("t; v = SELECT a FROM t WHERE b = 'x\\\\'", "v", "view");
    check("v = SELECT a FROM nowhere", "v", "view");
    check("v = not SQL at all", "v", "view");
    check("t; v = SELECT a FROM t WHERE a IN (SELECT a FROM t UNION SELECT 1)", "v", "t");
    // Views over views, and over what is unfit.
    check("t; a = SELECT * FROM t; b = SELECT * FROM a; c = SELECT * FROM b", "c", "a+b+t");
    check("a = SELECT GET_LOCK('a', 0); b = SELECT * FROM a; c = SELECT * FROM b", "c", "view");
    check("m !; v = SELECT a FROM m", "v", "view");
    check("m !", "m", "engine");
    check("a = SELECT * FROM b; b = SELECT * FROM a", "a", "view");
    check("a = SELECT * FROM a", "a", "view");
    check("t; a = SELECT * FROM t; A = SELECT * FROM t", "a", "view");
    check("x.t; v = SELECT a FROM x.t", "v", "t");
    // Names that servers may fold otherwise.
    check("t; v = SELECT a FROM t", "é", "unlisted");
}

#[test]
fn a_circle_of_views_ends() {
    let script: Vec<String> =
        (0..64).map(|n| format!("v{n} = SELECT a FROM v{}", (n + 1) % 64)).collect();
    let (catalog, changes) = (catalog(&script.join(";")), Changes::default());
    let names = Names { look: changes.look(), catalog: &catalog };
    assert_eq!(word(names.find(Some("wp"), "v0")), "view");
}

/// Steps: `+name` a change begins, `-name` it ends, `x` it is cancelled, `read` a catalog is begun
/// to be read and is there, `forget` it is the oldest. `*` stands for all names.
#[test]
fn what_is_hidden() {
    let check = |script: &str, expected: &str| {
        let changes = Arc::new(Changes::default());
        let mut catalog = catalog("t; v = SELECT a FROM t");
        let mut open = Vec::new();
        for step in script.split_whitespace() {
            if let Some(what) = step.strip_prefix('+') {
                let names = (what != "*").then(|| vec![name(what)]);
                open.push((what.to_owned(), changes.begin(names, true)));
            } else if let Some(what) = step.strip_prefix('-') {
                let at = open.iter().position(|(open, _)| open == what).unwrap();
                drop(open.remove(at));
            } else if let Some(what) = step.strip_prefix('x') {
                let at = open.iter().position(|(open, _)| open == what).unwrap();
                open.remove(at).1.cancel();
            } else if step == "read" {
                catalog.covers = changes.ended();
            } else {
                changes.forget(catalog.covers());
            }
        }
        let names = Names { look: changes.look(), catalog: &catalog };
        let found = ["t", "v", "u"].map(|it| word(names.find(Some("wp"), it)));
        assert_eq!(found.join(" "), expected, "{script}");
        if names.look.is_clear() {
            assert!(!script.ends_with('+'), "{script}");
        }
    };
    check("", "table t table");
    check("+u", "table t unlisted");
    check("+u -u", "table t unlisted");
    check("+u -u read", "table t table");
    check("+u read -u", "table t unlisted");
    check("+u read -u read forget", "table t table");
    check("+u -u forget", "table t unlisted");
    check("+u -u read forget +t -t", "unlisted unlisted table");
    check("+u read forget", "table t unlisted");
    check("+u +u -u read", "table t unlisted");
    check("+u +u -u -u read", "table t table");
    check("+u xu", "table t table");
    check("+u +u xu", "table t unlisted");
    check("+t", "unlisted unlisted table");
    check("+v -v", "table unlisted table");
    check("+*", "unlisted unlisted unlisted");
    check("+* -*", "unlisted unlisted unlisted");
    check("+* -* read", "table t table");
    check("+* -* forget", "unlisted unlisted unlisted");
    check("+* read -* forget", "unlisted unlisted unlisted");
    check("+* x*", "table t table");
    check("+u -u read +*", "unlisted unlisted unlisted");
}

#[test]
fn nothing_stands_when_all_is_seen() {
    let changes = Arc::new(Changes::default());
    drop(changes.begin(None, true));
    drop(changes.begin(Some(vec![name("t")]), false));
    changes.begin(Some(vec![name("u")]), true).cancel();
    assert!(!changes.look().is_clear());
    changes.forget(changes.ended());
    assert!(changes.look().is_clear());
}

/// It was begun to be read before a change that all other catalogs have seen since.
#[test]
fn a_catalog_that_comes_late_tells_nothing() {
    let changes = Arc::new(Changes::default());
    let (late, none) = (catalog("t"), catalog(""));
    drop(changes.begin(Some(vec![name("t")]), true));
    changes.forget(changes.ended());
    for catalog in [&late, &none] {
        let names = Names { look: changes.look(), catalog };
        assert_eq!(word(names.find(Some("wp"), "t")), "unlisted");
        assert!(!names.are_plain());
    }
}

#[test]
fn too_many_changes_hide_everything() {
    let changes = Arc::new(Changes::default());
    let catalog = catalog("t");
    for n in 0..=crate::limits::CATALOG_CHANGES_MAX {
        drop(changes.begin(Some(vec![name(&format!("t{n}"))]), true));
    }
    let names = Names { look: changes.look(), catalog: &catalog };
    assert_eq!(word(names.find(Some("wp"), "untouched")), "unlisted");
}

#[test]
fn an_unread_catalog_tells_nothing() {
    let (catalog, changes) = (Catalog::unread(0), Changes::default());
    let names = Names { look: changes.look(), catalog: &catalog };
    assert_eq!(word(names.find(Some("wp"), "t")), "unlisted");
    assert_eq!(word(names.find(Some("information_schema"), "tables")), "table");
    assert!(!names.are_plain());
}
