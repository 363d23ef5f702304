//! How a file begins, how long it is, what things are called, and what is never written.

use super::check;
use super::hold;
use super::token::{Kind, tokens};
use super::tree::{File, files, paths, rust, sources};

/// What may stand at the top of the repository.
const TOP: [&str; 17] = [
    "Cargo.toml",
    "src",
    "benches",
    "deploy",
    "fuzz",
    "README.md",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests",
    ".ci",
    ".cargo",
    ".github",
    ".config",
    ".gitignore",
];
const TOP_TOO: [&str; 1] = [".rustfmt.toml"];
/// What must.
const TOP_NEEDED: [&str; 12] = [
    "Cargo.toml",
    "src",
    "benches",
    "deploy",
    "fuzz",
    "README.md",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests",
];
const OPENING_LINES_MAX: usize = 15;
const LINES_MAX: usize = 600;

/// A file says what it is before it says anything else.
fn opens_with_words(file: &File) -> Vec<String> {
    let lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
    if lines == 0 {
        return vec!["does not open with `//!`: what is it, what is it not, who calls it?".into()];
    }
    let long = lines > OPENING_LINES_MAX && file.path != "src/lib.rs";
    long.then(|| format!("{lines} opening lines, {OPENING_LINES_MAX} at most"))
        .into_iter()
        .collect()
}

fn is_short(file: &File) -> Vec<String> {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with("//")
    };
    let lines = file.shipped().lines().filter(is_code).count();
    (lines > LINES_MAX)
        .then(|| format!("{lines} lines of code, {LINES_MAX} at most"))
        .into_iter()
        .collect()
}

/// `Manager` and its like say nothing; `get_` says nothing either.
fn names_well(file: &File) -> Vec<String> {
    const BANNED: [&str; 6] = ["Manager", "Helper", "Util", "Utils", "Context", "Handler"];
    const MODULES: [&str; 6] = ["manager", "helper", "helpers", "util", "utils", "misc"];
    let tokens = file.tokens();
    let mut found = Vec::new();
    for pair in tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        let is_type = ["struct", "enum", "trait", "type", "union"].iter().any(|it| keyword.is(it));
        let bad = (is_type && words(&name.text).iter().any(|word| BANNED.contains(&word.as_str())))
            || (keyword.is("mod") && MODULES.contains(&name.text.as_str()))
            || (keyword.is("fn") && name.text.starts_with("get_"));
        if bad && name.kind == Kind::Word {
            found.push(format!("line {}: {} is no name", name.line, name.text));
        }
    }
    found
}

/// `PoolManager` -> `Pool`, `Manager`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.into()),
        }
    }
    words
}

/// What is never written, tests or not.
fn writes_nothing_banned(file: &File) -> Vec<String> {
    const ROWS: [&[&str]; 6] = [
        &["todo", "!"],
        &["unimplemented", "!"],
        &["dbg", "!"],
        &["thread", "::", "sleep"],
        &["#", "[", "ignore"],
        &["extern", "crate"],
    ];
    const GLOBALS: [&str; 7] =
        ["Mutex", "RwLock", "OnceLock", "OnceCell", "LazyLock", "ArcSwap", "ArcSwapOption"];
    let tokens = file.tokens();
    let mut found = Vec::new();
    for row in ROWS {
        let matches = |window: &&[super::token::Token]| {
            window.iter().zip(row).all(|(token, word)| token.is(word))
        };
        for window in tokens.windows(row.len()).filter(matches) {
            let line = window.first().map_or(0, |token| token.line);
            found.push(format!("line {line}: {} is not written here", row.concat()));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        if !token.is("static") {
            continue;
        }
        // `&'static Mutex` has a lifetime, which is no word after a mark of its own.
        let declared = tokens.get(at + 2).is_some_and(|mark| mark.is(":"))
            || tokens.get(at + 1).is_some_and(|word| word.is("mut"));
        let until = |token: &&super::token::Token| !token.is("=") && !token.is(";");
        let of = tokens.get(at..).unwrap_or_default().iter().take_while(until);
        if declared && of.clone().any(|token| GLOBALS.iter().any(|it| token.is(it))) {
            found.push(format!("line {}: a global; let its owner hand it over", token.line));
        }
    }
    found
}

/// The name of a metric stands in `metrics` and nowhere else.
fn names_no_metric(file: &File) -> Vec<String> {
    if file.is_test() || file.path.starts_with("src/metrics") {
        return Vec::new();
    }
    let is_name = |text: &str| {
        let name = text.trim_start_matches('"').split(['"', '{', ' ']).next().unwrap_or_default();
        text.starts_with('"') && name.starts_with("forebay_")
    };
    let tokens = tokens(&file.shipped());
    let found = tokens.iter().filter(|token| token.kind == Kind::Literal && is_name(&token.text));
    found.map(|token| format!("line {}: {} belongs to metrics", token.line, token.text)).collect()
}

/// Nothing knows the machine that it was written on, nor a registry or mirror by name.
fn names_no_machine(file: &File) -> Vec<String> {
    // Written so that this very file does not hold them.
    let hosts = [
        concat!("crates", ".io"),
        concat!("deb.", "debian.org"),
        concat!("registry.", "npmjs"),
        concat!("pypi", ".org"),
        concat!("proxy.", "golang"),
    ];
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        // In a lock file it is cargo's own name for its default, whatever mirror serves it.
        let is_lock = file.path.ends_with("Cargo.lock");
        for host in hosts.iter().filter(|host| line.contains(**host) && !is_lock) {
            found.push(format!("line {}: names {host}", at + 1));
        }
        for folder in folders {
            // In `$root/x` it is somewhere inside something; at a path's start it is one machine.
            let at_its_start = line.match_indices(folder).any(|(at, _)| {
                let before = line.get(..at).and_then(|before| before.chars().next_back());
                !before.is_some_and(|it| it.is_alphanumeric() || "}_-.)".contains(it))
            });
            if at_its_start {
                found.push(format!("line {}: names {folder}, a path of one machine", at + 1));
            }
        }
    }
    found
}

/// The top level holds what it may hold, and what it must.
fn top_level(paths: &[String]) -> Vec<String> {
    let tops: Vec<&str> = paths.iter().filter_map(|path| path.split('/').next()).collect();
    let strangers = tops.iter().filter(|top| !TOP.contains(top) && !TOP_TOO.contains(top));
    let mut found: Vec<String> =
        strangers.map(|top| format!("{top} does not belong to the top level")).collect();
    found.dedup();
    let missing = TOP_NEEDED.iter().filter(|top| !tops.contains(top));
    found.extend(missing.map(|top| format!("{top} is missing")));
    found
}

fn is_no_mod_file(file: &File) -> Vec<String> {
    let bad = file.path.ends_with("/mod.rs");
    bad.then(|| "foo.rs beside foo/, not foo/mod.rs".to_owned()).into_iter().collect()
}

#[test]
fn files_open_with_words_and_end_in_time() {
    hold(&rust(), opens_with_words);
    check(opens_with_words, "src/a.rs", "use std::io;", "does not open");
    check(opens_with_words, "src/a.rs", &"//! x\n".repeat(16), "16 opening lines");
    check(opens_with_words, "src/a.rs", "//! What it is.\n", "");
    hold(&rust(), is_short);
    check(is_short, "src/a.rs", &"a;\n".repeat(601), "601 lines of code");
    check(is_short, "src/a.rs", &"// a\n\na;\n".repeat(600), "");
    hold(&rust(), is_no_mod_file);
    check(is_no_mod_file, "src/wire/mod.rs", "", "foo.rs");
}

#[test]
fn names_say_something() {
    hold(&rust(), names_well);
    check(names_well, "src/a.rs", "struct PoolManager;", "PoolManager is no name");
    check(names_well, "src/a.rs", "trait Handler {}", "Handler is no name");
    check(names_well, "src/a.rs", "mod util;", "util is no name");
    check(names_well, "src/a.rs", "fn get_name() {}", "get_name is no name");
    check(names_well, "src/a.rs", "use std::task::Context; struct Contextual;", "");
}

#[test]
fn some_things_are_never_written() {
    hold(&rust(), writes_nothing_banned);
    let bad = |text: &str, expected: &str| {
        check(writes_nothing_banned, "src/a.rs", text, expected);
    };
    bad("fn f() { todo!() }", "todo! is not");
    bad("fn f() { dbg!(1) }", "dbg! is not");
    bad("std::thread::sleep(x)", "thread::sleep is not");
    bad("#[ignore] fn f() {}", "#[ignore is not");
    bad("static POOL: LazyLock<Pool> = LazyLock::new(f);", "a global");
    bad("static A: std::sync::Mutex<u8> = x;", "a global");
    bad("static A: [u8; 2] = x; fn f() -> &'static Mutex<u8> { x }", "");
    bad("fn f() { sleep(x) } // todo!()", "");
}

#[test]
fn metrics_are_named_once() {
    hold(&sources(), names_no_metric);
    check(names_no_metric, "src/client/serve.rs", "f(\"forebay_clients\")", "belongs to metrics");
    check(names_no_metric, "src/metrics/name.rs", "f(\"forebay_clients\")", "");
    check(names_no_metric, "src/client/tests.rs", "f(\"forebay_clients\")", "");
}

#[test]
fn nothing_names_a_machine() {
    hold(&files(), names_no_machine);
    let bad = |text: String, expected: &str| check(names_no_machine, "README.md", &text, expected);
    bad(format!("cd {}{}", "/wo", "rk/main"), "a path of one machine");
    bad(format!("cd /ro{}", "ot/x"), "a path of one machine");
    bad("$root/ro".to_owned() + "ot/x", "");
    bad(concat!("crates", ".io/x").into(), "names crates");
    bad("https://example.org/work".into(), "");
}

#[test]
fn the_top_level_is_the_card() {
    let found = top_level(&paths());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let bad = |extra: &str, expected: &str| {
        let mut paths: Vec<String> = TOP_NEEDED.iter().map(|top| format!("{top}/x")).collect();
        paths.push(extra.into());
        assert_eq!(top_level(&paths).join("; "), expected, "{extra}");
    };
    bad("src/b.rs", "");
    bad("notes.txt", "notes.txt does not belong to the top level");
    bad("scripts/x", "scripts does not belong to the top level");
    assert!(top_level(&["Cargo.toml".into()]).contains(&"src is missing".to_owned()));
}
