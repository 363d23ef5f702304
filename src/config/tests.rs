//! Settings in, rules or mistakes out.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::config::rules::{BackendTls, Certificate, LogFormat};
use crate::control::Mode;
use crate::freshness::Level;

/// Loads settings: a file's text, variables, flags.
fn load_from(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Rules, Mistakes> {
    let path = scratch(file);
    let sources = Sources {
        file: Some(path.to_path_buf()),
        environment: environment.iter().map(|(k, v)| (k.into(), v.into())).collect(),
        flags: flags.iter().map(|(flag, key, value)| (*flag, *key, (*value).into())).collect(),
    };
    load(&sources)
}

/// A file that is gone when it is dropped.
struct Scratch(PathBuf);

impl std::ops::Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn scratch(content: &str) -> Scratch {
    for n in 0.. {
        let path = std::env::temp_dir().join(format!("forebay-{}-{n}", std::process::id()));
        let Ok(mut file) = std::fs::File::create_new(&path) else { continue };
        file.write_all(content.as_bytes()).unwrap();
        return Scratch(path);
    }
    unreachable!("a free name was found")
}

/// One setting in a file that is else right; `expected` is the whole mistake, or "ok".
fn check(setting: &str, expected: &str) {
    let file = format!("primary = \"db\"\n{setting}\n");
    let said = match load_from(&file, &[], &[]) {
        Ok(_) => "ok".to_owned(),
        Err(Mistakes(mistakes)) => {
            let plain = |mistake: &Mistake| Mistake { origin: None, ..mistake.clone() }.to_string();
            mistakes.iter().map(plain).collect::<Vec<_>>().join(" | ")
        }
    };
    assert_eq!(said, expected, "for {setting}");
}

#[test]
fn three_lines_are_enough_and_the_rest_has_defaults() {
    let rules =
        load_from("primary = \"mysql-0.mysql\"\nreplicas = \"mysql-read\"", &[], &[]).unwrap();
    assert_eq!(rules.listen.to_string(), "127.0.0.1:3306");
    assert_eq!(rules.primary, "mysql-0.mysql:3306");
    assert_eq!(rules.replicas, ["mysql-read:3306"]);
    assert_eq!((rules.mode, rules.freshness.levels.all), (Mode::Split, Level::Causal));
    assert!(rules.threads >= 1);
    assert!(rules.unix.is_none() && rules.proxy_protocol_from.is_empty());
    assert_eq!(rules.admin_http.unwrap().to_string(), "127.0.0.1:9090");
    assert!(rules.monitor.is_none() && rules.users.is_empty());
    assert_eq!(rules.auth.deny, ["root"]);
    assert!(rules.auth.learn && !rules.tls.require);
    assert_eq!(rules.tls.certificate, Certificate::SelfSigned);
    assert_eq!(rules.backend.tls, BackendTls::Disabled);
    assert_eq!(rules.pool.max_connections_per_server, 100);
    assert_eq!((rules.drain.delay.as_secs(), rules.drain.deadline.as_secs()), (5, 60));
    assert_eq!((rules.log.format, rules.log.level.as_str()), (LogFormat::Text, "info"));
}

#[test]
fn every_default_in_the_list_is_allowed_itself() {
    for key in key::KEYS.iter().filter(|key| !key.default.is_empty()) {
        let setting = format!("{} = \"{}\"", key.name, key.default);
        check(&setting, "ok");
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "primary = 'file'\nmode = 'primary'\n[pool]\nwait_ms_max = 1\nidle_s_max = 7";
    let environment = [
        ("FOREBAY__PRIMARY", "environment"),
        ("FOREBAY__POOL__WAIT_MS_MAX", "2"),
        ("FOREBAY__REPLICAS", "a, b:3307 ,a"),
        ("FOREBAY__AUTH__DENY", ""),
        ("FOREBAY__TLS__REQUIRE", "true"),
        // Kubernetes sets such variables for a service that is called forebay.
        ("FOREBAY_PORT", "tcp://10.0.0.1:3306"),
        ("HOME", "/"),
    ];
    let flags = [("--primary", "primary", "flag"), ("--threads", "threads", "3")];
    let rules = load_from(file, &environment, &flags).unwrap();
    assert_eq!(rules.primary, "flag:3306");
    assert_eq!(rules.mode, Mode::Primary);
    assert_eq!((rules.pool.wait_max.as_millis(), rules.pool.idle_max.as_secs()), (2, 7));
    assert_eq!(rules.replicas, ["a:3306", "b:3307"]);
    assert_eq!(rules.auth.deny, [""; 0]);
    assert_eq!(rules.threads, 3);
    assert!(rules.tls.require);
}

#[test]
fn every_mistake_is_told_in_one_go() {
    let file = "listne = '0.0.0.0:3306'\nconsistency = 'strong'\n[pool]\nwait_ms_max = 'soon'\nmax = 3\n[[users]]\nname = 'shop'";
    let environment = [("FOREBAY__DRAIN__DEADLINE_S", "0"), ("FOREBAY__LOG__COLOUR", "red")];
    let flags = [("--mode", "mode", "replica")];
    let Mistakes(mistakes) = load_from(file, &environment, &flags).unwrap_err();
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "log.colour",
            "listne",
            "pool.max",
            "users[0]",
            "primary",
            "mode",
            "consistency",
            "pool.wait_ms_max",
            "drain.deadline_s"
        ]
    );
    let said = Mistakes(mistakes).to_string();
    for part in [
        "9 mistakes in the configuration:",
        "log.colour (FOREBAY__LOG__COLOUR): is not a key; there are log.format, log.level",
        "mode = \"replica\" (--mode): must be one of primary, observe, split",
        "drain.deadline_s = \"0\" (FOREBAY__DRAIN__DEADLINE_S): must be a whole number from 1 to 86400",
        "must be a whole number from 1 to 600000",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

#[test]
fn doors_are_told_what_they_may_be() {
    const PATH: &str =
        "must be a path from the root, of 107 bytes at most, such as /run/forebay/mysql.sock";
    check("unix = '/run/forebay/mysql.sock'", "ok");
    check("unix_takeover = true", "ok");
    check("unix = 'mysql.sock'", &format!("unix = \"mysql.sock\": {PATH}"));
    let long = format!("/{}", "x".repeat(107));
    check(&format!("unix = '{long}'"), &format!("unix = {long:?}: {PATH}"));
    check("unix = ''", "unix = \"\": must be the name of a file");
    const NETWORK: &str =
        "must be a network, such as 10.0.0.0/8 or fd00::/8, without bits behind its prefix";
    check("proxy_protocol_from = ['10.0.0.0/8', 'fd00::/8', '::1']", "ok");
    check("proxy_protocol_from = '10.0.0.0/8, 127.0.0.1'", "ok");
    check(
        "proxy_protocol_from = ['10.0.0.0/8', '10.0.0.1/8']",
        &format!(
            "proxy_protocol_from = [\"10.0.0.0/8\", \"10.0.0.1/8\"]: \"10.0.0.1/8\" {NETWORK}"
        ),
    );
    let many = vec!["'::1'"; 65].join(", ");
    let shown = vec!["\"::1\""; 65].join(", ");
    check(
        &format!("proxy_protocol_from = [{many}]"),
        &format!("proxy_protocol_from = [{shown}]: must not name more than 64 networks"),
    );
}

#[test]
fn a_certificate_and_its_key_have_to_fit() {
    let made = || rcgen::generate_simple_self_signed(["forebay".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let check = |certificate: &str, key: &str, expected: &str| {
        let (certificate, key) = (scratch(certificate), scratch(key));
        let files = [certificate.display(), key.display()];
        let file =
            format!("primary = 'db'\n[tls]\ncertificate = '{}'\nkey = '{}'", files[0], files[1]);
        let said = load_from(&file, &[], &[]).map_or_else(|said| said.to_string(), |_| "ok".into());
        assert!(said.contains(expected), "{said}");
    };
    check(&one.cert.pem(), &one.signing_key.serialize_pem(), "ok");
    check(&one.cert.pem(), &other.signing_key.serialize_pem(), "fit tls.key: keys may not be");
    check("", &one.signing_key.serialize_pem(), "no certificate in it");
    check(&one.cert.pem(), "", "must be PEM, and fit tls.key");
    check(&one.cert.pem(), &one.cert.pem(), "must be PEM, and fit tls.key");
}

#[test]
fn servers_are_verified_by_somebody() {
    check("backend.tls = 'required'", "ok");
    let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
    let file = scratch(&made.cert.pem());
    for mode in ["verify-ca", "verify-identity"] {
        let setting =
            |file: &Path| format!("backend.tls = '{mode}'\nbackend.tls_ca = '{}'", file.display());
        check(&setting(&file.0), "ok");
        check(
            &setting(Path::new("/dev/null")),
            "backend.tls_ca = \"/dev/null\": must hold certificates in PEM: /dev/null: no \
             certificate in it",
        );
    }
    check("backend.tls = 'verify-ca'", "backend.tls_ca: must be given to verify servers by it");
    check(
        "backend.tls = 'required'\nbackend.tls_ca = '/dev/null'",
        "backend.tls_ca = \"/dev/null\": must not be given unless backend.tls is verify-ca or \
         verify-identity: nothing would be verified by it",
    );
}

#[test]
fn a_setting_that_makes_no_sense_is_named_with_what_does() {
    const ADDRESS: &str = "must be an IP address and a port, such as 0.0.0.0:3306";
    const SERVER: &str = "must be host or host:port, such as mysql-0.mysql:3306 or [::1]:3306";
    check("listen = 'localhost:3306'", &format!("listen = \"localhost:3306\": {ADDRESS}"));
    check("listen = '[::]:3306'", "ok");
    check("listen = 3306", &format!("listen = 3306: must be {}", &ADDRESS[8..]));
    check("replicas = ['a', 'b:1']", "ok");
    check("replicas = ['::1', '[::1]', '[::1]:3307', '10.0.0.1']", "ok");
    check("replicas = 'a b'", &format!("replicas = \"a b\": \"a b\" {SERVER}"));
    check("replicas = 'a:0'", &format!("replicas = \"a:0\": \"a:0\" {SERVER}"));
    check("replicas = 'a:65536'", &format!("replicas = \"a:65536\": \"a:65536\" {SERVER}"));
    check("replicas = '10.0.0'", &format!("replicas = \"10.0.0\": \"10.0.0\" {SERVER}"));
    check("replicas = 'a,'", "replicas = \"a,\": must be a list, host or host:port each");
    check("replicas = ['a', 3]", "replicas = [\"a\", 3]: must be a list, host or host:port each");
    check("threads = -1", "threads = -1: must be a whole number from 0 to 1024");
    check("threads = 1.5", "threads = 1.5: must be a whole number from 0 to 1024");
    check("tls = true", "tls: is a section, [tls], not a key");
    check("tls.require = 'yes'", "tls.require = \"yes\": must be true or false");
    check(
        "tls.require = true\ntls.self_signed = false",
        "tls.require = true: must be false without a certificate: nobody could log in",
    );
    check("tls.key = 'k'", "tls.certificate: must be given with tls.key");
    check(
        "tls.certificate = '/nowhere/c'\ntls.key = '/nowhere/k'",
        "tls.certificate = \"/nowhere/c\": cannot be read: No such file or directory (os error 2) | tls.key = \"/nowhere/k\": cannot be read: No such file or directory (os error 2)",
    );
    check(
        "auth.learn = false",
        "auth.learn = false: must be true when there are no [[users]]: nobody could log in",
    );
    check("admin.http = 'off'", "ok");
    check(
        "admin.http = '127.0.0.1:3306'",
        "admin.http = \"127.0.0.1:3306\": must not be the same as listen",
    );
    check(
        "replicas = '127.0.0.1'",
        "listen = \"127.0.0.1:3306\": must not be a server's address too (127.0.0.1:3306): the proxy would connect to itself",
    );
    check(
        "log.level = 'verbose'",
        "log.level = \"verbose\": must be error, warn, info, debug, trace or off, or a list such as warn,forebay=debug",
    );
    check("log.level = 'warn,forebay=debug'", "ok");
    check(
        "log.level = 'forebay=loud'",
        "log.level = \"forebay=loud\": must be error, warn, info, debug, trace or off, or a list such as warn,forebay=debug",
    );
    check("monitor.user = 'm'", "monitor.password_file: must be given with monitor.user");
    check(
        "monitor.password = 'm'",
        "monitor.password = (not shown): must not stand in a file that people read and share: use monitor.password_file or FOREBAY__MONITOR__PASSWORD | monitor.user: must be given with its password",
    );
    check("users = 3", "users: must be tables with name and password_file");
}

#[test]
fn a_file_that_cannot_be_read_is_one_mistake() {
    let no_file = Sources { file: Some("/nowhere/f.toml".into()), ..Sources::default() };
    let said = load(&no_file).unwrap_err().to_string();
    assert!(said.contains("/nowhere/f.toml: cannot be read: No such file"), "{said}");
    for text in ["primary = \n", "threads = 99999999999999999999", "a = 1\na = 2", "[users", "\0"] {
        let flags = [("--primary", "primary", "db")];
        let Mistakes(mistakes) = load_from(text, &[], &flags).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].expected.starts_with("must be TOML"), "{mistakes:?}");
    }
    let strange = load_from("'a.b' = 3\n'c d' = 4\n'' = 5\n'e[0]' = 6\n", &[], &[]).unwrap_err();
    assert_eq!(strange.0.len(), 5, "{strange}");
    let said = load_from(&"#".repeat(limits_plus_one()), &[], &[]).unwrap_err().to_string();
    assert!(said.contains("must not be larger than"), "{said}");
}

fn limits_plus_one() -> usize {
    crate::limits::CONFIG_BYTES_MAX + 1
}

#[test]
fn passwords_come_from_files_or_the_environment_and_are_never_shown() {
    let (shop, empty) = (scratch("s3cret-shop\r\n"), scratch("\n"));
    let users = |path: &Path| {
        format!("primary = 'db'\n[[users]]\nname = 'shop'\npassword_file = '{}'\n", path.display())
    };
    let environment =
        [("FOREBAY__MONITOR__USER", "watch"), ("FOREBAY__MONITOR__PASSWORD", " s3cret-watch ")];
    let rules = load_from(&users(&shop), &environment, &[]).unwrap();
    rules.users[0].password.expose(|bytes| assert_eq!(bytes, b"s3cret-shop"));
    rules.monitor.as_ref().unwrap().password.expose(|bytes| assert_eq!(bytes, b" s3cret-watch "));
    assert!(!format!("{rules:?}").contains("s3cret"));
    assert_eq!(rules.files, [shop.to_path_buf()], "what is watched");

    for file in [
        "[monitor]\npassword = 's3cret",
        "[monitor]\npassword = s3cret",
        "primary = 'db'\n[[users]]\nname = 'a'\npassword = 's3cret'",
        "primary = 'db'\npassword = 's3cret'",
        "primary = 'db'\n[monitor]\nuser = 'a'\npassword = ['s3cret']",
    ] {
        let said = load_from(file, &[], &[]).unwrap_err().to_string();
        assert!(!said.contains("s3cret"), "{said}");
    }

    let file = format!("{}[auth]\ndeny = ['shop']\n", users(&empty));
    let wrong = [("FOREBAY__MONITOR__PASSWORD", "s3cret-watch")];
    let said = load_from(&file, &wrong, &[]).unwrap_err().to_string();
    assert!(said.contains("must hold a password of 1 to"), "{said}");
    assert!(said.contains("monitor.user: must be given with its password"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let said =
        load_from(&format!("{}[auth]\ndeny = 'shop'\n", users(&shop)), &[], &[]).unwrap_err();
    assert!(said.to_string().contains("must not name \"shop\""), "{said}");
}

#[cfg(feature = "console")]
#[test]
fn the_console_is_for_its_own_account_and_shows_settings_without_secrets() {
    let file = "primary = 'db'\nreplicas = ['a', 'b']\n[[users]]\nname = 'shop'\npassword_file = 'FILE'\n[admin]\nsql = '0.0.0.0:6032'";
    let shop = scratch("s3cret-shop");
    let file = file.replace("FILE", &shop.display().to_string());
    let environment = [("FOREBAY__ADMIN__PASSWORD", "s3cret-admin")];
    let rules = load_from(&file, &environment, &[("--mode", "mode", "primary")]).unwrap();
    let console = rules.console.as_ref().unwrap();
    assert_eq!((console.address.port(), console.account.name.as_str()), (6032, "admin"));
    console.account.password.expose(|bytes| assert_eq!(bytes, b"s3cret-admin"));
    assert!(!format!("{:?}", rules.settings).contains("s3cret"));
    let shown = |key: &str| {
        let setting = rules.settings.iter().find(|setting| setting.key == key).unwrap();
        format!("{} <- {}", setting.value, setting.origin)
    };
    assert_eq!(rules.settings.len(), key::KEYS.len());
    assert_eq!(shown("replicas"), format!("[\"a\", \"b\"] <- {}", shown_file(&rules)));
    assert_eq!(shown("mode"), "primary <- --mode");
    assert_eq!(shown("log.level"), "info <- default");
    assert_eq!(shown("users"), "shop <- [[users]]");
    assert_eq!(shown("admin.password"), "(not shown) <- FOREBAY__ADMIN__PASSWORD");

    check("admin.sql = '127.0.0.1:6032'", "ok");
    check(
        "admin.sql = '0.0.0.0:6032'",
        "admin.sql = \"0.0.0.0:6032\": must be a loopback address, or be given with admin.password_file: it would let everybody look",
    );
    check(
        "admin.sql = '127.0.0.1:9090'",
        "admin.sql = \"127.0.0.1:9090\": must not be the same as listen or admin.http",
    );
    check(
        "admin.sql = 'on'\nadmin.user = ''",
        "admin.sql = \"on\": must be an IP address and a port, such as 127.0.0.1:6032, or off | admin.user = \"\": must be a user name",
    );
    let open = load_from("primary = 'db'\nadmin.sql = '[::1]:0'", &[], &[]).unwrap();
    open.console.unwrap().account.password.expose(|bytes| assert_eq!(bytes, b""));
}

/// The file that these rules came from, as they name it.
#[cfg(feature = "console")]
fn shown_file(rules: &Rules) -> &str {
    &rules.settings.iter().find(|setting| setting.key == "primary").unwrap().origin
}

#[test]
fn the_readme_lists_every_key() {
    let readme = include_str!("../../README.md");
    let listed = readme
        .split_once("<!-- config -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- /config -->"))
        .map(|(table, _)| table.trim());
    let expected = reference();
    assert_eq!(listed, Some(expected.trim()), "README.md must hold:\n{expected}");
}
