//! Command lines and the exit codes they end with.

use std::process::ExitCode;

use super::*;

/// The exit code of a command line, and the primary that the program was run with, if it was.
fn run(line: &str, environment: &[(&str, &str)]) -> (ExitCode, Option<Rules>) {
    let mut ran = None;
    let code = main(
        std::iter::once("forebay").chain(line.split(' ').filter(|w| !w.is_empty())).map(Into::into),
        environment.iter().map(|(key, value)| (key.into(), value.into())),
        |rules| {
            ran = Some(rules);
            ExitCode::from(42)
        },
    );
    (code, ran)
}

#[test]
fn exit_codes_say_what_was_wrong() {
    #[track_caller]
    fn check(line: &str, code: u8) {
        // `ExitCode` cannot be compared, but it can be printed.
        let (found, ran) = run(line, &[]);
        assert_eq!(format!("{found:?}"), format!("{:?}", ExitCode::from(code)), "{line}");
        assert!(ran.is_none(), "{line} ran the program");
    }
    check("", 2);
    check("--help", 0);
    check("--version", 0);
    check("walk", 2);
    check("run --colour red", 2);
    check("run", 78);
    check("run --primary db --mode replica", 78);
    check("run --primary db --config /nowhere/forebay.toml", 78);
    check("check --primary db --replicas a,b --threads 2", 0);
    check("check --primary db --threads many", 78);
    check("check --primary db --connect", 1);
    check("check --primary db --user me --password-file f", 2);
    check("check --primary db --connect --user me", 2);
    check("check --primary 127.0.0.1:1 --connect --user me --password-file /nowhere/file", 78);
    check("explain SELECT", 0);
    check("explain --ansi-quotes --no-backslash-escapes --mariadb SELECT", 0);
    check("explain", 2);
    check("mode replica", 2);
    // Port 1 of this machine: nobody listens there.
    check("mode primary --admin-http 127.0.0.1:1", 1);
    check("mode primary --admin-http nonsense", 1);
}

#[test]
fn every_flag_is_a_setting() {
    let line = "run --listen 127.0.0.1:4000 --unix /run/forebay.sock --primary db --replicas a,b:3307 \
                --admin-http off --threads 3 --consistency eventual --mode primary";
    let (code, rules) = run(line, &[("FOREBAY__THREADS", "9"), ("FOREBAY__LOG__LEVEL", "off")]);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(42)));
    let rules = rules.unwrap();
    assert_eq!(rules.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(rules.unix.as_deref(), Some(std::path::Path::new("/run/forebay.sock")));
    assert_eq!((rules.primary.as_str(), rules.threads), ("db:3306", 3));
    assert_eq!(rules.replicas, ["a:3306", "b:3307"]);
    assert!(rules.admin_http.is_none());
    assert_eq!(rules.mode.name(), "primary");
}

#[tokio::test]
async fn a_running_proxy_is_told_to_change_its_mode() {
    use crate::admin::{Desk, Facts, Status, Table, Topic, serve};
    use crate::control::{Control, Mode};

    struct Nothing;
    impl Facts for Nothing {
        fn status(&self) -> Status {
            Status::default()
        }
        fn table(&self, _: Topic<'_>) -> Table {
            Table::default()
        }
        fn explain(&self, _: &str, _: Option<&str>) -> String {
            String::new()
        }
        fn metrics(&self) -> Result<String, String> {
            Err("none".into())
        }
    }

    let (control, mut demands) = Control::new(Mode::Split);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let line = format!("mode primary --admin-http {}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, Desk { control, facts: std::sync::Arc::new(Nothing) }));
    for (answer, code) in [(Ok("mode is primary".to_owned()), 0), (Err("not now".into()), 1)] {
        let line = line.clone();
        let asking = tokio::task::spawn_blocking(move || format!("{:?}", run(&line, &[]).0));
        let asked = demands.next().await.unwrap();
        assert_eq!(asked.demand, crate::control::Demand::Mode(Mode::Primary));
        asked.answer(answer);
        assert_eq!(asking.await.unwrap(), format!("{:?}", ExitCode::from(code)));
    }
}
