//! The style of this repository as tests: `cargo tidy`.
//!
//! It reads the source tree and fails on what review would otherwise have to catch: an import that
//! points up, a clock above the I/O line, a second crypto provider, a file without its opening
//! words. Each rule is a function over text and is seen to fail on bad text. Called by nobody.

mod import;
mod package;
mod rule;
mod secret;
mod style;
mod token;
mod tree;

/// The layers from the ground up. A module imports from its own layer and from those before it.
const LAYERS: [&str; 18] = [
    "limits",
    "wire",
    "sql",
    "position",
    "cluster",
    "freshness",
    "session",
    "control",
    "metrics",
    "link",
    "secret",
    "backend",
    "client",
    "config",
    "admin",
    "app",
    "cli",
    "main",
];

/// The first so many layers are pure: no clock, no socket, no environment, no entropy.
const PURE: usize = 7;

/// Modules that exist for tests alone, stand in no layer and may import every one.
const OUTSIDE: [&str; 2] = ["sim", "tidy"];

/// Runs a rule over files and fails with everything that it found.
fn hold<'a>(
    files: impl IntoIterator<Item = &'a tree::File>,
    rule: impl Fn(&tree::File) -> Vec<String>,
) {
    let mut seen = 0;
    let mut found = Vec::new();
    for file in files {
        seen += 1;
        found.extend(rule(file).into_iter().map(|what| format!("{}: {what}", file.path)));
    }
    assert!(seen > 0, "no file was looked at");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The rule says `expected` about a file of this text: a word of the complaint, or nothing.
fn check(rule: impl Fn(&tree::File) -> Vec<String>, path: &str, text: &str, expected: &str) {
    let found = rule(&tree::File::new(path, text)).join("; ");
    let right = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
    assert!(right, "{path}: {text:?}\n found {found:?}\n  want {expected:?}");
}
