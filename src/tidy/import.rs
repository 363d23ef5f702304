//! Who may name whom: layers, the I/O line, and the few doors to certain packages.

use super::token::{Kind, Token};
use super::tree::{File, one, sources};
use super::{LAYERS, OUTSIDE, PURE, check, hold};

/// Files beside `session/plan.rs` that may make a `Want`, and why.
const MAKES_WANT: [(&str, &str); 2] = [
    ("src/cluster/pick.rs", "defines it"),
    ("src/backend/fleet.rs", "a client's login is proved at the primary before there is a session"),
];

/// Packages that only some places may name, and the files beside them that name a type.
const DOORS: [(&[&str], &[&str], &[&str]); 2] = [
    (
        &["rustls", "tokio_rustls", "aws_lc_rs", "rcgen"],
        &["src/link", "src/secret"],
        // They carry the listener's TLS configuration from where it is made to where it is used.
        &["src/app/entrance.rs", "src/client/greet.rs"],
    ),
    (&["opensrv_mysql"], &["src/admin/console"], &[]),
];

/// Every module path that the file names, from the top of the crate: `["wire", "ok", ...]`.
fn named(file: &File) -> Vec<(usize, Vec<String>)> {
    let tokens = file.tokens();
    let home: Vec<String> = file.module().into_iter().map(str::to_owned).collect();
    let mut found = Vec::new();
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at));
        match token.text.as_str() {
            "{" if token.kind == Kind::Mark => {
                depth += 1;
                if before(2).is_some_and(|word| word.is("mod")) {
                    inline.push(depth);
                }
            }
            "}" if token.kind == Kind::Mark => {
                inline.pop_if(|opened| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            "crate" | "super" if token.kind == Kind::Word => {
                if before(1).is_some_and(|mark| mark.is("::")) {
                    continue;
                }
                let mut base = home.clone();
                base.extend(inline.iter().map(|_| "(inline)".to_owned()));
                for path in paths_from(&tokens, at, &base) {
                    found.push((token.line, path));
                }
            }
            _ => {}
        }
    }
    found
}

/// The paths that begin with the `crate` or `super` at `at`; a group gives one for each member.
fn paths_from(tokens: &[Token], mut at: usize, home: &[String]) -> Vec<Vec<String>> {
    let mut path = home.to_vec();
    loop {
        match tokens.get(at).map(|token| token.text.as_str()) {
            Some("crate") => path.clear(),
            Some("super") => drop(path.pop()),
            Some("{") => return group(tokens, at, &path),
            Some(word) if tokens.get(at).is_some_and(|token| token.kind == Kind::Word) => {
                path.push(word.to_owned());
            }
            _ => return vec![path],
        }
        if !tokens.get(at + 1).is_some_and(|mark| mark.is("::")) {
            return vec![path];
        }
        at += 2;
    }
}

/// The first names of a group's members are enough: layers are top modules.
fn group(tokens: &[Token], open: usize, base: &[String]) -> Vec<Vec<String>> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    let mut starts = false;
    for token in tokens.get(open..).unwrap_or_default() {
        match token.text.as_str() {
            "{" => (depth, starts) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => starts = depth == 1,
            word if starts => {
                let mut path = base.to_vec();
                path.push(word.to_owned());
                found.push(path);
                starts = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn place(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == layer)
}

/// Imports point to the left, and `sql` imports `limits` only.
fn points_left(file: &File) -> Vec<String> {
    let Some(own) = file.layer() else { return Vec::new() };
    if OUTSIDE.contains(&own) {
        return Vec::new();
    }
    let Some(mine) = place(own) else {
        return vec![format!("{own} stands in no layer: add it to LAYERS")];
    };
    let mut found = Vec::new();
    for (line, path) in named(file) {
        let Some(target) = path.first().map(String::as_str) else { continue };
        let upward = place(target).is_none_or(|theirs| theirs > mine);
        if upward && (place(target).is_some() || OUTSIDE.contains(&target)) {
            found
                .push(format!("line {line}: {own} may not import {target}, which stands above it"));
        }
        if own == "sql" && !["sql", "limits"].contains(&target) {
            found.push(format!("line {line}: sql imports limits only, not {target}"));
        }
    }
    found
}

/// Words in a row, `::` between them, anywhere in the tokens.
fn lines_with(tokens: &[Token], row: &[&str]) -> Vec<usize> {
    let matches = |window: &&[Token]| window.iter().zip(row).all(|(token, word)| token.is(word));
    let lines = |window: &[Token]| window.first().map_or(0, |token| token.line);
    tokens.windows(row.len()).filter(matches).map(lines).collect()
}

/// Nothing above the I/O line reads a clock, a socket, a file, the environment or entropy.
fn is_pure(file: &File) -> Vec<String> {
    const BANNED: [&[&str]; 11] = [
        &["Instant", "::", "now"],
        &["SystemTime"],
        &["std", "::", "env"],
        &["std", "::", "fs"],
        &["std", "::", "io"],
        &["std", "::", "net"],
        &["std", "::", "process"],
        &["std", "::", "thread"],
        &["tokio"],
        &["getrandom"],
        &["RandomState"],
    ];
    if file.layer().and_then(place).is_none_or(|place| place >= PURE) {
        return Vec::new();
    }
    let tokens = super::token::tokens(&file.shipped());
    let found = BANNED.iter().flat_map(|row| {
        let lines = lines_with(&tokens, row);
        lines
            .into_iter()
            .map(move |line| format!("line {line}: {} above the I/O line", row.concat()))
    });
    found.collect()
}

/// Only `session/plan.rs` decides what a statement needs of a server.
fn makes_no_want(file: &File) -> Vec<String> {
    let allowed = MAKES_WANT.iter().any(|(path, _)| *path == file.path);
    if allowed || file.path == "src/session/plan.rs" {
        return Vec::new();
    }
    let tokens = super::token::tokens(&file.shipped());
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(at + 1);
        let is_type =
            before.is_some_and(|it| ["->", "struct", "impl", "for"].iter().any(|word| it.is(word)));
        if token.is("Want") && !is_type && after.is_some_and(|it| it.is("::") || it.is("{")) {
            found.push(format!("line {}: only session::plan makes a Want", token.line));
        }
    }
    found
}

/// The TLS provider and opensrv are named behind their doors only.
fn keeps_doors(file: &File) -> Vec<String> {
    if file.is_test() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let mut found = Vec::new();
    for (packages, folders, files) in DOORS {
        let inside = folders.iter().any(|folder| {
            let rest = file.path.strip_prefix(folder);
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
        if inside || files.contains(&file.path.as_str()) {
            continue;
        }
        for package in packages {
            for line in lines_with(&tokens, &[package, "::"]) {
                found.push(format!(
                    "line {line}: {package} is named in {} only",
                    folders.join(", ")
                ));
            }
        }
    }
    found
}

/// Modules below the I/O line need its feature, those above it need none.
fn draws_the_line(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = "";
    for line in file.text.lines() {
        let name = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name {
            let needs_io = place(name).is_some_and(|place| place >= PURE);
            if place(name).is_none() && !OUTSIDE.contains(&name) {
                found.push(format!("{name} stands in no layer"));
            } else if needs_io != before.contains("feature = \"io\"") && !OUTSIDE.contains(&name) {
                found.push(format!("{name} stands on the wrong side of the I/O line"));
            }
        }
        before = line;
    }
    found
}

#[test]
fn imports_point_left() {
    hold(&sources(), points_left);
    check(points_left, "src/wire/ok.rs", "use crate::limits;", "");
    check(points_left, "src/wire/ok.rs", "use crate::sql::Mode;", "may not import sql");
    check(points_left, "src/wire/ok.rs", "fn f() { crate::app::run() }", "may not import app");
    check(points_left, "src/wire/ok.rs", "use crate::{limits, client::serve};", "import client");
    check(points_left, "src/wire/ok.rs", "use crate::{limits::{A, admin}, wire};", "");
    check(points_left, "src/wire.rs", "use super::cli;", "may not import cli");
    check(points_left, "src/wire/ok.rs", "use super::cli;", "");
    check(points_left, "src/wire/ok.rs", "use super::super::cli;", "may not import cli");
    check(points_left, "src/wire.rs", "mod tests { use super::cli; }", "");
    check(points_left, "src/wire.rs", "mod tests { use super::super::cli; }", "import cli");
    check(points_left, "src/wire.rs", "mod tests { } use super::cli;", "may not import cli");
    check(points_left, "src/wire.rs", "pub(crate) fn f() { pub(super) }", "");
    check(points_left, "src/wire.rs", "// crate::cli\nconst A: &str = \"crate::cli\";", "");
    check(points_left, "src/client/serve.rs", "use crate::sim::world;", "may not import sim");
    check(points_left, "src/sim/world.rs", "use crate::app::build;", "");
    check(points_left, "src/gossip.rs", "", "stands in no layer");
    check(points_left, "src/sql/rule.rs", "use crate::wire::ok::Ok;", "sql imports limits only");
}

#[test]
fn the_core_is_pure() {
    hold(&sources(), is_pure);
    let text = "fn f() { std::time::Instant::now() }";
    check(is_pure, "src/session/plan.rs", text, "Instant::now above");
    check(is_pure, "src/backend/pool.rs", text, "");
    check(is_pure, "src/session/plan.rs", "use tokio::net;", "tokio above");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}\n");
    check(is_pure, "src/sql.rs", &tests, "");
    check(is_pure, "src/sql.rs", &format!("{tests}{text}"), "Instant::now above");
    hold([&one("src/lib.rs")], draws_the_line);
    check(draws_the_line, "src/lib.rs", "pub mod wire;", "");
    check(draws_the_line, "src/lib.rs", "pub mod client;", "wrong side");
    check(draws_the_line, "src/lib.rs", "#[cfg(feature = \"io\")]\npub mod wire;", "wrong side");
    check(draws_the_line, "src/lib.rs", "pub mod gossip;", "no layer");
}

#[test]
fn only_the_plan_makes_a_want() {
    hold(&sources(), makes_no_want);
    for (path, why) in MAKES_WANT {
        let text = one(path).text;
        assert!(text.contains("Want"), "{path} ({why}) needs its exception no more");
    }
    check(makes_no_want, "src/client/lease.rs", "f(Want::primary())", "only session::plan");
    check(makes_no_want, "src/client/lease.rs", "let want = Want { role };", "only session::plan");
    check(makes_no_want, "src/client/lease.rs", "fn f(want: &Want) -> Want { want }", "");
    check(makes_no_want, "src/session/plan.rs", "Want::primary()", "");
    check(makes_no_want, "src/session/tests.rs", "Want::primary()", "");
}

#[test]
fn packages_stand_behind_their_doors() {
    hold(&sources(), keeps_doors);
    check(keeps_doors, "src/backend/pool.rs", "use rustls::ClientConfig;", "rustls is named");
    check(keeps_doors, "src/backend/pool.rs", "use aws_lc_rs::rsa;", "aws_lc_rs is named");
    check(keeps_doors, "src/link/tls.rs", "use rustls::ClientConfig;", "");
    check(keeps_doors, "src/linkage.rs", "use rustls::ClientConfig;", "rustls is named");
    check(keeps_doors, "src/admin/http.rs", "use opensrv_mysql::X;", "opensrv_mysql is named");
    check(keeps_doors, "src/admin/console/shim.rs", "use opensrv_mysql::X;", "");
}
