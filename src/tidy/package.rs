//! What may come in from outside: one provider of TLS, and a core that pulls no runtime.

use std::process::Command;

use super::tree::{File, one, top};
use super::{check, hold};

/// What the core builds with. Everything else waits behind the feature `io`.
const CORE: [&str; 10] = [
    "sqlparser",
    "bytes",
    "memchr",
    "quick_cache",
    "foldhash",
    "xxhash-rust",
    "thiserror",
    "crc32fast",
    "miniz_oxide",
    "ruzstd",
];

/// Packages of a lock file: name, version, and the names it may depend on.
fn packages(lock: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let parse = |block| -> Option<(&str, &str, Vec<&str>)> {
        let block: &str = block;
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches(['"', ' ', '=']))
        };
        let needs = block.lines().filter_map(|line| line.strip_prefix(" \""));
        let needs = needs.filter_map(|line| line.split([' ', '"']).next());
        Some((value("name = ")?, value("version = ")?, needs.collect()))
    };
    lock.split("[[package]]").filter_map(parse).collect()
}

/// rustls over aws-lc-rs is the one TLS, and aws-lc-rs the one RSA.
fn has_one_tls(lock: &File) -> Vec<String> {
    const BANNED: [&str; 4] = ["rsa", "openssl", "openssl-sys", "native-tls"];
    let packages = packages(&lock.text);
    let mut found = Vec::new();
    for (name, version, needs) in &packages {
        if BANNED.contains(name) {
            found.push(format!("holds {name} {version}"));
        }
        // An optional dependency that no feature turns on is locked all the same;
        // `ring_is_not_built` looks at what is built.
        if needs.contains(&"ring") && *name != "rustls-webpki" {
            found.push(format!("{name} depends on ring"));
        }
    }
    for twin in ["rustls", "tokio-rustls"] {
        let versions: Vec<_> = packages.iter().filter(|(name, ..)| *name == twin).collect();
        if versions.len() > 1 {
            found.push(format!("holds {} versions of {twin}", versions.len()));
        }
    }
    found
}

/// Dependencies of the core are listed; the others are optional.
fn keeps_the_core_small(manifest: &File) -> Vec<String> {
    let section = manifest.text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let mut found = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let name = line.split([' ', '=', '.']).next().unwrap_or_default();
        if !line.contains("optional = true") && !CORE.contains(&name) {
            found.push(format!("{name} would come into the core: make it optional"));
        }
        if name == "opensrv-mysql" && !line.contains("default-features = false") {
            found.push("opensrv-mysql would bring its own TLS".into());
        }
    }
    found
}

/// A line of `cargo tree --prefix none` that is the package `ring`.
fn is_ring(line: &str) -> bool {
    line.split(' ').next() == Some("ring")
}

#[test]
fn there_is_one_tls() {
    hold([&one("Cargo.lock")], has_one_tls);
    let bad = |name: &str, needs: &str, expected: &str| {
        let text = format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1\"\ndependencies = [\n \"{needs}\",\n]\n\
             [[package]]\nname = \"rustls\"\nversion = \"0.23.1\"\n"
        );
        check(has_one_tls, "Cargo.lock", &text, expected);
    };
    bad("a", "b", "");
    bad("rsa", "b", "holds rsa");
    bad("openssl-sys", "b", "holds openssl-sys");
    bad("a", "ring", "a depends on ring");
    bad("a", "ring 0.17.1", "a depends on ring");
    bad("rustls-webpki", "ring", "");
    bad("rustls", "b", "2 versions of rustls");
}

#[test]
fn the_core_stays_small() {
    hold([&one("Cargo.toml")], keeps_the_core_small);
    let bad = |line: &str, expected: &str| {
        let text =
            format!("[package]\n\n[dependencies]\n{line}\n\n[dev-dependencies]\nx = \"1\"\n");
        check(keeps_the_core_small, "Cargo.toml", &text, expected);
    };
    bad("bytes = \"1\"", "");
    bad("tokio = \"1\"", "tokio would come into the core");
    bad("tokio = { version = \"1\", optional = true }", "");
    bad("opensrv-mysql = { version = \"0.7\", optional = true }", "its own TLS");
}

/// What is built for this machine, with every feature, holds no ring. Without cargo there is
/// nothing to ask.
#[test]
fn ring_is_not_built() {
    assert!(is_ring("ring v0.17.14"));
    assert!(!is_ring("ringbuf v1.0.0"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.current_dir(top()).args(["tree", "--offline", "--locked", "--all-features"]);
    tree.args(["--edges", "all", "--prefix", "none"]);
    let Ok(tree) = tree.output() else { return };
    let complaint = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree: {complaint}");
    let listed = String::from_utf8_lossy(&tree.stdout);
    assert!(listed.lines().any(|line| line.starts_with("aws-lc-rs ")), "{listed}");
    let rings: Vec<&str> = listed.lines().filter(|line| is_ring(line)).collect();
    assert!(rings.is_empty(), "ring is built in: {rings:?}");
}

/// The README gives a reason for every package.
fn names_packages_in(readme: &str) -> impl Fn(&File) -> Vec<String> {
    let table: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    move |manifest| {
        let mut found = Vec::new();
        let mut inside = false;
        for line in manifest.text.lines() {
            if line.starts_with('[') {
                inside = line == "[dependencies]" || line == "[dev-dependencies]";
            }
            let Some((name, _)) = line.split_once(" = ").filter(|_| inside) else { continue };
            let cell = format!("`{name}`");
            if !table.iter().any(|row| row.split('|').nth(1).unwrap_or_default().contains(&cell)) {
                found.push(format!("{name} has no line in the README's table of packages"));
            }
        }
        found
    }
}

#[test]
fn every_package_has_its_reason() {
    hold([&one("Cargo.toml")], names_packages_in(&one("README.md").text));
    let bad = |readme: &str, expected: &str| {
        let manifest = "[dependencies]\nbytes = \"1\"\n\n[features]\nio = []\n";
        check(names_packages_in(readme), "Cargo.toml", manifest, expected);
    };
    bad("| `tokio`, `bytes` | buffers |", "");
    bad("| `tokio` | `bytes` |", "bytes has no line");
}
