//! Certificates and passwords read again, while clients are served.
//!
//! On SIGHUP, on `POST /reload`, and when one of their files changed: Kubernetes renews what it
//! mounts without a word. All of it is read and checked first, so that one bad file changes
//! nothing. Other settings are not taken over: a restart does that. Called by `app`'s loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::entrance::{Entrance, Renewed};
use super::facts::Shown;
use crate::config::rules::{Setting, Tls};
use crate::config::{self, Rules, Sources};
use crate::limits::FILES_LOOKED_AT_MS;

/// What is read again, and where it goes.
pub(super) struct Reload {
    entrance: Arc<Entrance>,
    /// Who shows what is in force.
    shown: Arc<Shown>,
    sources: Sources,
    in_force: Tls,
    settings: Vec<Setting>,
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    clock: Interval,
}

/// By what a file is told from what it was; none: it cannot be looked at.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Reload {
    pub(super) fn new(rules: &Rules, entrance: Arc<Entrance>, shown: Arc<Shown>) -> Self {
        let mut clock = interval(Duration::from_millis(FILES_LOOKED_AT_MS));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            entrance,
            shown,
            sources: rules.sources.clone(),
            in_force: rules.tls.clone(),
            settings: rules.settings.clone(),
            seen: look(&rules.files),
            files: rules.files.clone(),
            clock,
        }
    }

    /// Waits until it is time to look at the files again. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        self.clock.tick().await;
    }

    /// Reads everything again if one of the files is no longer what it was.
    pub(super) async fn follow(&mut self) {
        let files = self.files.clone();
        let Ok(seen) = spawn_blocking(move || look(&files)).await else { return };
        if seen != self.seen {
            tracing::info!("a certificate or a password changed");
            // Told in the log; tried again when the next file changes.
            let _told = self.reload().await;
        }
    }

    /// Reads everything again. The answer says what was done, or why nothing was.
    pub(super) async fn reload(&mut self) -> Result<String, String> {
        let (sources, before) = (self.sources.clone(), self.in_force.clone());
        let files = self.files.clone();
        let reading = spawn_blocking(move || {
            // Before they are read: what changes meanwhile is seen the next time.
            let seen = look(&files);
            let read = config::load(&sources).map_err(|mistakes| mistakes.to_string());
            let read = read.and_then(|rules| Ok((Renewed::read(&rules, &before)?, rules)));
            (seen, read)
        });
        let (seen, read) = reading.await.map_err(|error| error.to_string())?;
        self.seen = seen;
        match read {
            Ok((renewed, rules)) => Ok(self.take_over(renewed, rules)),
            Err(why) => {
                tracing::error!(%why, "nothing was reloaded");
                Err(why)
            }
        }
    }

    fn take_over(&mut self, renewed: Renewed, rules: Rules) -> String {
        self.entrance.refit(renewed);
        if rules.files != self.files {
            self.seen = look(&rules.files);
        }
        self.in_force = rules.tls;
        self.files = rules.files;
        let waiting = changed(&self.settings, &rules.settings);
        self.settings = in_force(&self.settings, &rules.settings);
        self.shown.show(self.settings.clone());
        let mut told = "certificates and passwords were read again".to_owned();
        if !waiting.is_empty() {
            told.push_str(&format!("; a restart will change {}", waiting.join(", ")));
        }
        tracing::info!("{told}");
        told
    }
}

/// Whether a reload takes a setting over.
fn is_taken_over(key: &str) -> bool {
    ["tls.", "monitor.", "users", "admin.user", "admin.password", "backend.tls_ca"]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

/// The settings that only a restart takes over.
fn changed(before: &[Setting], after: &[Setting]) -> Vec<&'static str> {
    let differs = |(old, new): &(&Setting, &Setting)| old.value != new.value;
    let pairs = before.iter().zip(after).filter(differs);
    pairs.map(|(_, new)| new.key).filter(|key| !is_taken_over(key)).collect()
}

/// What counts after a reload.
fn in_force(before: &[Setting], after: &[Setting]) -> Vec<Setting> {
    let pairs = before.iter().zip(after);
    pairs.map(|(old, new)| if is_taken_over(new.key) { new } else { old }).cloned().collect()
}

fn look(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

/// Links are followed: Kubernetes swaps one to change several files at once.
fn stamp(file: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let check = |key: &'static str, expected: &[&str]| {
            let setting =
                |key, value: &str| Setting { key, value: value.into(), origin: "somewhere".into() };
            let before = [setting("listen", "a"), setting(key, "a")];
            let after = [setting("listen", "a"), setting(key, "b")];
            assert_eq!(changed(&before, &after), expected, "{key}");
            let value = if expected.is_empty() { "b" } else { "a" };
            let counts = in_force(&before, &after);
            let counts: Vec<_> = counts.iter().map(|it| (it.key, it.value.as_str())).collect();
            assert_eq!(counts, [("listen", "a"), (key, value)]);
        };
        check("mode", &["mode"]);
        check("admin.sql", &["admin.sql"]);
        check("auth.deny", &["auth.deny"]);
        check("backend.tls", &["backend.tls"]);
        for key in ["tls.certificate", "tls.require", "users", "monitor.user", "admin.password"] {
            check(key, &[]);
        }
        check("backend.tls_ca", &[]);
    }

    #[test]
    fn a_file_that_is_replaced_looks_different() {
        let folder = std::env::temp_dir().join(format!("forebay-reload-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name);
        std::fs::write(file("one"), "same length").unwrap();
        std::fs::write(file("two"), "length same").unwrap();
        std::os::unix::fs::symlink(file("one"), file("current")).unwrap();
        let files = [file("current"), file("missing")];
        let before = look(&files);
        assert_eq!(before, look(&files));
        assert!(before[0].is_some() && before[1].is_none());
        std::os::unix::fs::symlink(file("two"), file("next")).unwrap();
        std::fs::rename(file("next"), file("current")).unwrap();
        assert_ne!(before, look(&files), "a link that points elsewhere");
        let before = look(&files);
        std::fs::write(file("missing"), "").unwrap();
        assert_ne!(before, look(&files));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
