//! `tests/rules.md` keeps its word: the tests that it names exist, and so do the README's words.
//!
//! It does not know whether a test holds its rule; who writes the line does. Called by nobody.

use super::check;
use super::hold;
use super::tree::{File, one, rust};

const LIST: &str = "tests/rules.md";

/// One line of a table: its number, and what holds it.
struct Rule<'a> {
    number: &'a str,
    held_by: &'a str,
}

/// Every line of every table, but for the heads.
fn rules(text: &str) -> impl Iterator<Item = Rule<'_>> {
    let is_row = |line: &&str| !line.starts_with("|--") && !line.starts_with("| | rule");
    let rows = text.lines().filter(|line| line.starts_with('|')).filter(is_row);
    rows.filter_map(|row| {
        let row = row.strip_prefix("| ")?.trim_end_matches(['|', ' ']);
        let (number, rest) = row.split_once(" | ")?;
        let held_by = rest.rsplit_once(" | ").map_or("", |(_, held_by)| held_by);
        Some(Rule { number, held_by })
    })
}

/// What stands between two marks, each time.
fn quoted(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// `sql::tests::name` may be in `src/sql/tests.rs` or in `src/sql.rs`, `servers::pool::name` is in
/// `tests/servers/pool.rs`.
fn places(test: &str) -> (Vec<String>, &str) {
    let (module, name) = test.rsplit_once("::").unwrap_or(("", test));
    let folder = if module.starts_with("servers::") { "tests" } else { "src" };
    let modules = [Some(module), module.strip_suffix("::tests")];
    let file = |module: &str| format!("{folder}/{}.rs", module.replace("::", "/"));
    (modules.into_iter().flatten().map(file).collect(), name)
}

/// A function with the mark of a test, or one that `on_both!` makes two of.
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let starts = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.starts_with(&head)
    };
    let mut pairs = lines.windows(2);
    let marked = pairs.any(|two| {
        matches!(two, [mark, line] if starts(line) && mark.starts_with("#[") && mark.contains("test"))
    });
    let listed = text.split("on_both!(").skip(1).filter_map(|rest| rest.split(')').next());
    let mut listed = listed.flat_map(|list| list.split(',')).map(str::trim);
    marked || (listed.any(|one| one == name) && lines.iter().any(|line| starts(line)))
}

/// As one line, however it is wrapped.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rule about rules, given all Rust files and the README.
fn is_held(list: &File, files: &[File], readme: &str) -> Vec<String> {
    let readme = unwrapped(readme);
    let mut found = Vec::new();
    let mut numbers: Vec<&str> = Vec::new();
    for Rule { number, held_by } in rules(&list.text) {
        if numbers.contains(&number) {
            found.push(format!("{number} is there twice"));
        }
        numbers.push(number);
        // The README's words may hold marks of their own.
        let named = held_by.split_once("README:").map_or(held_by, |(named, _)| named);
        let tests: Vec<&str> = quoted(named, '`').collect();
        for test in &tests {
            let (paths, name) = places(test);
            let mut there = files.iter().filter(|file| paths.contains(&file.path));
            if !there.any(|file| has_test(&file.text, name)) {
                found.push(format!("{number}: there is no test `{test}`"));
            }
        }
        let words = held_by.split_once("README:").map(|(_, words)| words);
        let told: Vec<&str> = words.into_iter().flat_map(|words| quoted(words, '"')).collect();
        for words in told.iter().filter(|words| !readme.contains(**words)) {
            found.push(format!("{number}: the README does not say \"{words}\""));
        }
        if tests.is_empty() && told.is_empty() {
            found.push(format!("{number}: neither a test nor words of the README"));
        }
    }
    found
}

#[test]
fn rules_are_held_by_tests_that_exist() {
    let (files, readme) = (rust(), one("README.md"));
    let list = one(LIST);
    assert!(rules(&list.text).count() > 100, "rows are not read");
    hold([&list], |list| is_held(list, &files, &readme.text));
}

#[test]
fn missing_tests_are_seen() {
    let files = [
        File::new("src/wire/frame.rs", "#[test]\n    fn whole() {}\n    fn helper() {}"),
        File::new("src/a/tests.rs", "#[tokio::test(start_paused = true)]\nasync fn waits() {}"),
        File::new("tests/servers/pool.rs", "on_both!(one, two,\n three);\nfn two(f: F) {}\n"),
    ];
    let rule = |held_by: &str, expected: &str| {
        let text = format!("| | rule | held by |\n|---|---|---|\n| F1 | words | {held_by} |\n");
        check(|list| is_held(list, &files, "not\n  served: KILL"), LIST, &text, expected);
    };
    rule("`wire::frame::tests::whole`", "");
    rule("`wire::frame::tests::whole`, `a::tests::waits`, `servers::pool::two`", "");
    rule("README: \"served: KILL\"", "");
    rule("`servers::pool::two`; README: \"not served\"", "");
    rule("`wire::frame::tests::half`", "F1: there is no test `wire::frame::tests::half`");
    rule("`wire::frame::tests::helper`", "no test");
    rule("`servers::pool::three`", "no test");
    rule("`servers::other::two`", "no test");
    rule("`whole`", "no test");
    rule("README: \"nowhere\"", "does not say");
    rule("README: somewhere", "neither");
    rule("", "neither");
    rule("`servers::pool::two` |\n| F1 | words | `servers::pool::two`", "twice");
}
