//! From what was given to what it means: `Raw` to `Rules`.
//!
//! Each part notes its own mistakes and goes on, so that all of them are told at once. Called by
//! `config::load` alone.

mod freshness;
mod tls;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;

use super::raw::{self, Raw};
use super::rules::{Account, Auth, Console, Drain, Log, LogFormat, Password, Pool, Rules};
use super::{Mistake, Sources};
use crate::control::Mode;
use crate::limits;
use crate::link::AddressRange;

/// What an address of a Unix socket has room for.
const UNIX_PATH_BYTES_MAX: usize = 107;
/// MySQL's own port, for servers that are named without one.
const PORT: u16 = 3306;

/// Checks everything. `None` goes with at least one mistake.
pub(super) fn check(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Rules> {
    let listen = listener(raw, "listen", mistakes);
    let unix = unix(raw, mistakes);
    let unix_takeover = raw.flag("unix_takeover", mistakes);
    let proxy_protocol_from = networks(raw, "proxy_protocol_from", mistakes);
    let primary = primary(raw, mistakes);
    let replicas = replicas(raw, mistakes);
    let mode = raw.word("mode", mistakes).and_then(|word| Mode::parse(&word));
    let freshness = freshness::freshness(raw, mistakes);
    let local_answers = raw.flag("local_answers", mistakes);
    let local_infile = raw.flag("local_infile", mistakes);
    let threads = raw.whole("threads", mistakes).map(threads);
    let admin_http = admin(raw, "admin.http", "127.0.0.1:9090", mistakes);
    check_loops(raw, listen, admin_http, primary.iter().chain(&replicas), mistakes);
    let console = console(raw, [listen, admin_http], mistakes);
    let monitor = monitor(raw, mistakes);
    let users = users(raw, mistakes);
    let auth = auth(raw, &users, mistakes);
    let tls = tls::offered(raw, mistakes);
    let backend = tls::backend(raw, mistakes);
    let pool = pool(raw, mistakes);
    let drain = drain(raw, mistakes);
    let log = log(raw, mistakes);
    Some(Rules {
        listen: listen?,
        unix,
        unix_takeover: unix_takeover?,
        proxy_protocol_from,
        primary: primary?,
        replicas,
        mode: mode?,
        freshness: freshness?,
        local_answers: local_answers?,
        local_infile: local_infile?,
        threads: threads?,
        admin_http,
        console,
        monitor,
        users,
        auth: auth?,
        tls: tls?,
        backend: backend?,
        pool: pool?,
        drain: drain?,
        log: log?,
        settings: raw.settings(),
        sources: Sources::default(),
        files: raw.files(),
    })
}

fn listener(raw: &Raw, name: &str, mistakes: &mut Vec<Mistake>) -> Option<SocketAddr> {
    let text = raw.text(name, mistakes)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        mistakes.push(raw.mistake(name, "must be an IP address and a port, such as 0.0.0.0:3306"));
    }
    parsed
}

fn unix(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<PathBuf> {
    raw.origin("unix")?;
    let path = PathBuf::from(raw.text("unix", mistakes)?);
    if !path.is_absolute() || path.as_os_str().len() > UNIX_PATH_BYTES_MAX {
        let expected = format!(
            "must be a path from the root, of {UNIX_PATH_BYTES_MAX} bytes at most, such as \
             /run/forebay/mysql.sock"
        );
        mistakes.push(raw.mistake("unix", expected));
    }
    Some(path)
}

fn networks(raw: &Raw, name: &str, mistakes: &mut Vec<Mistake>) -> Vec<AddressRange> {
    let texts = raw.list(name, mistakes);
    if texts.len() > limits::PROXY_NETWORKS_MAX {
        let most = limits::PROXY_NETWORKS_MAX;
        mistakes.push(raw.mistake(name, format!("must not name more than {most} networks")));
    }
    let mut ranges = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(range) => ranges.push(range),
            Err(_) => {
                let expected = "must be a network, such as 10.0.0.0/8 or fd00::/8, without bits \
                                behind its prefix";
                mistakes.push(raw.mistake(name, format!("{text:?} {expected}")));
            }
        }
    }
    ranges
}

fn admin(raw: &Raw, name: &str, example: &str, mistakes: &mut Vec<Mistake>) -> Option<SocketAddr> {
    let text = raw.text(name, mistakes)?;
    if text == "off" {
        return None;
    }
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let expected = format!("must be an IP address and a port, such as {example}, or off");
        mistakes.push(raw.mistake(name, expected));
    }
    parsed
}

/// The console; `others` is what else listens.
fn console(
    raw: &Raw,
    others: [Option<SocketAddr>; 2],
    mistakes: &mut Vec<Mistake>,
) -> Option<Console> {
    let address = admin(raw, "admin.sql", "127.0.0.1:6032", mistakes);
    let name = raw.text("admin.user", mistakes).map(user_name)?;
    let name = name.map_err(|why| mistakes.push(raw.mistake("admin.user", why))).ok();
    let has_password =
        ["admin.password_file", "admin.password"].iter().any(|key| raw.origin(key).is_some());
    let password = password(raw, ["admin.password_file", "admin.password"], mistakes);
    let address = address?;
    if !cfg!(feature = "console") {
        mistakes.push(raw.mistake("admin.sql", "must be off: this build has no console"));
    }
    if address.port() != 0 && others.contains(&Some(address)) {
        let expected = "must not be the same as listen or admin.http";
        mistakes.push(raw.mistake("admin.sql", expected));
    }
    if !has_password && !address.ip().is_loopback() {
        let expected = "must be a loopback address, or be given with admin.password_file: it \
                        would let everybody look";
        mistakes.push(raw.mistake("admin.sql", expected));
    }
    let password = if has_password { password? } else { Password::new(Vec::new()) };
    Some(Console { address, account: Account { name: name?, password } })
}

fn primary(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<String> {
    if raw.origin("primary").is_none() {
        let expected = "must be given: the host or host:port that takes writes (--primary, \
                        FOREBAY__PRIMARY, or primary in the file)";
        mistakes.push(raw.mistake("primary", expected));
        return None;
    }
    let text = raw.text("primary", mistakes)?;
    server(&text).map_err(|why| mistakes.push(raw.mistake("primary", why))).ok()
}

fn replicas(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let mut addresses = Vec::new();
    for text in raw.list("replicas", mistakes) {
        match server(&text) {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(why) => mistakes.push(raw.mistake("replicas", format!("{text:?} {why}"))),
        }
    }
    if addresses.len() >= limits::SERVERS_MAX {
        let most = limits::SERVERS_MAX - 1;
        mistakes.push(raw.mistake("replicas", format!("must not name more than {most} servers")));
    }
    addresses
}

/// `host` or `host:port` made `host:port`; an IPv6 address stands in brackets.
fn server(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be host or host:port, such as mysql-0.mysql:3306 or [::1]:3306";
    if text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0) {
        return Ok(text.to_owned());
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT).to_string());
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| WRONG)?),
        None => (text, PORT),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if port == 0 || numeric || host.len() > 253 || !host.bytes().all(plain) {
        return Err(WRONG);
    }
    Ok(format!("{host}:{port}"))
}

/// A server that is our own listener would make every login go round for ever.
fn check_loops<'a>(
    raw: &Raw,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    servers: impl Iterator<Item = &'a String>,
    mistakes: &mut Vec<Mistake>,
) {
    let Some(listen) = listen.filter(|listen| listen.port() != 0) else { return };
    if admin.is_some_and(|admin| admin == listen) {
        mistakes.push(raw.mistake("admin.http", "must not be the same as listen"));
    }
    let ours = |server: &&String| match server.parse::<SocketAddr>() {
        Ok(address) if address.port() == listen.port() => {
            address.ip() == listen.ip()
                || (listen.ip().is_unspecified() && address.ip().is_loopback())
        }
        Ok(_) => false,
        Err(_) => {
            let local = listen.ip().is_loopback() || listen.ip().is_unspecified();
            local && **server == format!("localhost:{}", listen.port())
        }
    };
    for server in servers.filter(ours) {
        let expected = format!(
            "must not be a server's address too ({server}): the proxy would \
                                connect to itself"
        );
        let mut mistake = raw.mistake("listen", expected);
        mistake.value = mistake.value.or_else(|| Some(format!("{:?}", listen.to_string())));
        mistakes.push(mistake);
    }
}

fn threads(given: u64) -> usize {
    match usize::try_from(given) {
        // It honours the processor quota of the control group.
        Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
        Ok(threads) => threads,
    }
}

fn monitor(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Account> {
    const KEYS: [&str; 2] = ["monitor.password_file", "monitor.password"];
    let has_password = KEYS.iter().any(|key| raw.origin(key).is_some());
    let password = password(raw, KEYS, mistakes);
    match (raw.origin("monitor.user").is_some(), has_password) {
        (false, false) => return None,
        (false, true) => {
            mistakes.push(raw.mistake("monitor.user", "must be given with its password"));
            return None;
        }
        (true, false) => {
            let expected = "must be given with monitor.user";
            mistakes.push(raw.mistake("monitor.password_file", expected));
            return None;
        }
        (true, true) => {}
    }
    let name = user_name(raw.text("monitor.user", mistakes)?)
        .map_err(|why| mistakes.push(raw.mistake("monitor.user", why)))
        .ok()?;
    Some(Account { name, password: password? })
}

/// An account's password, from the file or from the environment; `None` also if there is neither.
fn password(raw: &Raw, [file, direct]: [&str; 2], mistakes: &mut Vec<Mistake>) -> Option<Password> {
    if raw.origin(direct).is_some_and(|origin| !origin.starts_with("FOREBAY__")) {
        let variable = format!("FOREBAY__{}", direct.replace('.', "__").to_uppercase());
        let expected = format!(
            "must not stand in a file that people read and share: use {file} or {variable}"
        );
        mistakes.push(raw.mistake(direct, expected));
        return None;
    }
    let read = match (raw.origin(file).is_some(), raw.origin(direct).is_some()) {
        (false, false) => return None,
        (true, true) => {
            let expected = format!("must not be given together with {direct}");
            mistakes.push(raw.mistake(file, expected));
            return None;
        }
        (true, false) => (file, password_file(&raw.text(file, mistakes)?)),
        (false, true) => (direct, password_bytes(raw.secret(direct)?.into_bytes())),
    };
    let (key, password) = read;
    password.map_err(|why| mistakes.push(raw.mistake(key, why))).ok()
}

fn users(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Vec<Account> {
    let mut accounts: Vec<Account> = Vec::new();
    let mut times: HashMap<&str, usize> = HashMap::new();
    for (at, user) in raw.users.iter().enumerate() {
        let mut refuse = |field: &str, value: &str, expected: String| {
            let (key, value) = (format!("users[{at}].{field}"), Some(format!("{value:?}")));
            mistakes.push(Mistake { key, value, origin: None, expected });
        };
        let seen = times.entry(&user.name).or_default();
        *seen += 1;
        if *seen == limits::VERIFIERS_PER_NAME_MAX + 1 {
            let most = limits::VERIFIERS_PER_NAME_MAX;
            refuse("name", &user.name, format!("must not have more than {most} passwords"));
        }
        let name = user_name(user.name.clone()).map_err(|why| refuse("name", &user.name, why)).ok();
        let password = password_file(&user.password_file)
            .map_err(|why| refuse("password_file", &user.password_file, why))
            .ok();
        accounts.extend(name.zip(password).map(|(name, password)| Account { name, password }));
    }
    if raw.users.len() > limits::ACCOUNTS_MAX {
        let expected = format!("must not be more than {}", limits::ACCOUNTS_MAX);
        mistakes.push(raw.mistake("users", expected));
    }
    accounts
}

fn user_name(name: String) -> Result<String, String> {
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || name.contains('\0') {
        return Err(format!("must be 1 to {} bytes, without NUL", limits::NAME_BYTES_MAX));
    }
    Ok(name)
}

/// The file's content without the line end that editors and `echo` leave.
fn password_file(path: &str) -> Result<Password, String> {
    // Room for a line end of two bytes behind the longest password.
    let mut bytes = raw::read(Path::new(path), limits::PASSWORD_BYTES_MAX + 2)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    password_bytes(bytes)
}

fn password_bytes(bytes: Vec<u8>) -> Result<Password, String> {
    let password = Password::new(bytes);
    let fits = password.expose(|bytes| {
        (1..=limits::PASSWORD_BYTES_MAX).contains(&bytes.len()) && !bytes.contains(&0)
    });
    if !fits {
        let most = limits::PASSWORD_BYTES_MAX;
        return Err(format!("must hold a password of 1 to {most} bytes, without NUL"));
    }
    Ok(password)
}

fn auth(raw: &Raw, users: &[Account], mistakes: &mut Vec<Mistake>) -> Option<Auth> {
    let deny = raw.list("auth.deny", mistakes);
    let learn = raw.flag("auth.learn", mistakes);
    let ttl = raw.whole("auth.ttl_s", mistakes).map(Duration::from_secs);
    if learn == Some(false) && raw.users.is_empty() {
        let expected = "must be true when there are no [[users]]: nobody could log in";
        mistakes.push(raw.mistake("auth.learn", expected));
    }
    for user in users.iter().filter(|user| deny.contains(&user.name)) {
        let expected = format!("must not name {:?}, who is one of [[users]]", user.name);
        mistakes.push(raw.mistake("auth.deny", expected));
    }
    Some(Auth { deny, learn: learn?, ttl: ttl? })
}

fn pool(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Pool> {
    let most = raw.whole("pool.max_connections_per_server", mistakes);
    let wait = raw.whole("pool.wait_ms_max", mistakes);
    let idle = raw.whole("pool.idle_s_max", mistakes);
    Some(Pool {
        max_connections_per_server: u32::try_from(most?).ok()?,
        wait_max: Duration::from_millis(wait?),
        idle_max: Duration::from_secs(idle?),
    })
}

fn drain(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Drain> {
    let delay = raw.whole("drain.delay_s", mistakes);
    let deadline = raw.whole("drain.deadline_s", mistakes);
    Some(Drain { delay: Duration::from_secs(delay?), deadline: Duration::from_secs(deadline?) })
}

fn log(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Log> {
    let format = raw.word("log.format", mistakes).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    });
    let level = raw.text("log.level", mistakes)?;
    // A misspelt level would else be taken for the name of a target, and everything logged.
    let is_level = |part: &str| {
        part.rsplit('=').next().is_some_and(|level| level.parse::<LevelFilter>().is_ok())
    };
    let is_known =
        level.split(',').all(|part| is_level(part.trim()) && !part.trim().starts_with('='));
    if !is_known {
        let expected = "must be error, warn, info, debug, trace or off, or a list such as \
                        warn,forebay=debug";
        mistakes.push(raw.mistake("log.level", expected));
        return None;
    }
    Some(Log { format: format?, level })
}
