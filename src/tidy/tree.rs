//! The files of the repository, as git tracks them; without git, as they lie in the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::token::{Token, tokens};

/// One text file.
pub(super) struct File {
    /// From the top of the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The names of the modules it stands in: `src/wire/ok.rs` is `wire::ok`.
    pub(super) fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let names = inner.strip_suffix(".rs").unwrap_or(inner).split('/');
        names.filter(|name| *name != "lib").collect()
    }

    /// The top module it belongs to, `None` for `lib.rs`.
    pub(super) fn layer(&self) -> Option<&str> {
        self.module().first().copied()
    }

    /// All of it is tests.
    pub(super) fn is_test(&self) -> bool {
        let module = self.module();
        module.contains(&"tests") || module.first().is_some_and(|top| super::OUTSIDE.contains(top))
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        tokens(&self.text)
    }

    /// What is shipped: without the modules of tests that the file may hold.
    pub(super) fn shipped(&self) -> String {
        const MARK: &str = "#[cfg(test)]\nmod ";
        if self.is_test() {
            return String::new();
        }
        let mut parts = self.text.split(MARK);
        let mut shipped = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let opens = part.lines().next().is_some_and(|line| line.ends_with('{'));
            // rustfmt puts the brace that ends it at the start of a line.
            let end = part.find("\n}").filter(|_| opens).map_or(0, |at| at + 2);
            shipped.push_str(part.get(end..).unwrap_or_default());
        }
        shipped
    }
}

pub(super) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The path of every tracked file.
pub(super) fn paths() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(top()).args(["ls-files", "-z"]).output();
    if let Ok(listed) = listed
        && listed.status.success()
        && !listed.stdout.is_empty()
    {
        let listed = String::from_utf8(listed.stdout).unwrap();
        let present = listed.split('\0').filter(|path| top().join(path).is_file());
        return present.map(str::to_owned).collect();
    }
    let mut paths = Vec::new();
    walk(&top(), "", &mut paths);
    paths
}

fn walk(folder: &Path, prefix: &str, paths: &mut Vec<String>) {
    const IGNORED: [&str; 6] =
        [".git", "target", ".cache", "fuzz/target", "fuzz/artifacts", "fuzz/coverage"];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if IGNORED.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{path}/"), paths);
        } else {
            paths.push(path);
        }
    }
}

/// Every tracked file that is text.
pub(super) fn files() -> Vec<File> {
    let read = |path: String| {
        let text = String::from_utf8(fs::read(top().join(&path)).unwrap()).ok()?;
        Some(File { path, text })
    };
    paths().into_iter().filter_map(read).collect()
}

/// Every Rust file.
pub(super) fn rust() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// Every Rust file under `src`.
pub(super) fn sources() -> Vec<File> {
    rust().into_iter().filter(|file| file.path.starts_with("src/")).collect()
}

/// One file that must be there.
pub(super) fn one(path: &str) -> File {
    File::new(path, &fs::read_to_string(top().join(path)).unwrap())
}

#[test]
fn what_is_shipped_ends_where_the_tests_begin() {
    let check = |path: &str, text: &str, expected: &str| {
        assert_eq!(File::new(path, text).shipped(), expected, "{path}");
    };
    check("src/a.rs", "a\n#[cfg(test)]\nmod tests {\n    b }\n}\nc", "a\n\nc");
    check("src/a.rs", "#[cfg(test)]\nmod tests;\na", "tests;\na");
    check("src/a/tests.rs", "a", "");
    check("src/sim/link.rs", "a", "");
}
