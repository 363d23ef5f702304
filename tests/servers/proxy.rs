//! The program under test: started with a configuration of the test's own, ended with the test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::client::{Client, Failure};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, until, until_within};

const PROGRAM: &str = env!("CARGO_BIN_EXE_forebay");

/// How it is to be started.
pub(crate) struct Setup {
    pub(crate) primary: String,
    pub(crate) replicas: Vec<String>,
    /// The configuration file, but for the addresses.
    pub(crate) file: String,
    pub(crate) arguments: Vec<String>,
}

impl Setup {
    /// With nothing but the addresses.
    pub(crate) fn of(stack: &Stack) -> Self {
        Self {
            primary: stack.address(PRIMARY).into(),
            replicas: REPLICAS.map(|node| stack.address(node).to_owned()).into(),
            file: String::new(),
            arguments: Vec::new(),
        }
    }

    pub(crate) fn file(mut self, text: &str) -> Self {
        self.file.push_str(text);
        self.file.push('\n');
        self
    }

    pub(crate) fn arguments(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    pub(crate) fn replicas(mut self, addresses: &[&str]) -> Self {
        self.replicas = addresses.iter().map(|&address| address.to_owned()).collect();
        self
    }

    /// It listens on a Unix socket too.
    pub(crate) fn unix(self) -> Self {
        let path = socket_path();
        self.arguments(&["--unix", path.to_str().unwrap()])
    }

    /// The watchers get an account of their own, so that what an account has of connections is
    /// the pool's.
    pub(crate) fn monitored(self) -> Self {
        let file = scratch("monitor-password");
        std::fs::write(&file, "monitor\n").unwrap();
        self.file(&format!("[monitor]\nuser = 'monitor'\npassword_file = '{}'", file.display()))
    }

    /// The watchers' account may read the primary's log too, so that writes of others are seen as
    /// they come.
    pub(crate) fn followed(self, stack: &Stack) -> Self {
        let grants = "REPLICATION SLAVE, REPLICATION CLIENT, PROCESS ON *.* TO watcher";
        let mut root = stack.root(PRIMARY);
        if stack.flavour == Flavour::MySql56 {
            root.run(&format!("GRANT {grants} IDENTIFIED BY 'watcher'"));
        } else {
            root.run("CREATE USER IF NOT EXISTS watcher IDENTIFIED BY 'watcher'");
            root.run(&format!("GRANT {grants}"));
        }
        stack.sync();
        let file = scratch("watcher-password");
        std::fs::write(&file, "watcher\n").unwrap();
        self.file(&format!("[monitor]\nuser = 'watcher'\npassword_file = '{}'", file.display()))
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&self) -> Proxy {
        for _ in 0..3 {
            if let Some(proxy) = self.try_start() {
                return proxy;
            }
        }
        panic!("the program does not start")
    }

    /// None: somebody took the port meanwhile.
    fn try_start(&self) -> Option<Proxy> {
        let (address, admin) = (free_address(), free_address());
        let config = scratch("forebay.toml");
        std::fs::write(&config, &self.file).unwrap();
        let log = scratch("log");
        let child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(&config)
            .args(["--listen", &address, "--admin-http", &admin, "--primary", &self.primary])
            .args(["--replicas", &self.replicas.join(",")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the program");
        let unix = self.arguments.iter().skip_while(|word| *word != "--unix").nth(1);
        let unix = unix.map(PathBuf::from);
        let mut proxy = Proxy { child, address, unix, admin, config, log };
        let mut ended = None;
        until("ready", || {
            ended = proxy.child.try_wait().unwrap();
            ended.is_some() || proxy.get("/readyz").is_some_and(|(status, _)| status == 200)
        });
        match ended {
            None => Some(proxy),
            // Somebody took the port meanwhile, or both got the same one.
            Some(_) if proxy.log().contains("cannot listen") => None,
            Some(_) if proxy.log().contains("must not be the same as listen") => None,
            Some(status) => panic!("{status}: {}", proxy.log()),
        }
    }
}

/// A running program.
pub(crate) struct Proxy {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) unix: Option<PathBuf>,
    pub(crate) admin: String,
    config: PathBuf,
    log: PathBuf,
}

impl Proxy {
    /// With nothing but the addresses.
    pub(crate) fn start(stack: &Stack) -> Self {
        Setup::of(stack).start()
    }

    /// Where it is, as WordPress is told it: the socket if there is one.
    /// The file that it was configured by.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    pub(crate) fn host(&self) -> String {
        match &self.unix {
            Some(path) => format!("localhost:{}", path.display()),
            None => self.address.clone(),
        }
    }

    /// A client of it.
    #[track_caller]
    pub(crate) fn client(&self, tenant: &Tenant) -> Client {
        self.try_client(tenant).unwrap_or_else(|failure| panic!("login: {failure}"))
    }

    pub(crate) fn try_client(&self, tenant: &Tenant) -> Result<Client, Failure> {
        Client::connect(&self.address, &tenant.login())
    }

    /// Waits until replicas can be read from: they are looked for once an account is known.
    pub(crate) fn wait_for_readers(&self, count: usize) {
        let wanted = ["role=\"reader\""];
        until("replicas found", || self.metric("forebay_server_up", &wanted) == count as f64);
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Asks its admin port; none while nobody listens.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        http(
            &self.admin,
            &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"),
        )
    }

    /// The sum of all values of a metric whose labels have all of these.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.get("/metrics").expect("metrics");
        assert_eq!(status, 200);
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, given) = series.split_once('{').unwrap_or((series, ""));
            let fits = found == name && labels.iter().all(|label| given.contains(label));
            fits.then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn wait_for_end(&mut self, wait: Duration) -> ExitStatus {
        let mut ended = None;
        until_within(wait, "the program ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the program ended: {ended:?}\n{}", self.log());
        assert_eq!(self.metric("forebay_bug_total", &[]), 0.0, "{}", self.log());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            for line in tail.iter().rev() {
                eprintln!("forebay: {line}");
            }
        }
        let _ended = self.child.kill();
        let _waited = self.child.wait();
        if let Some(path) = &self.unix {
            let _gone = std::fs::remove_file(path);
        }
    }
}

/// Runs the program with other arguments to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program")
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A name for a file that no other test uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let number = AtomicU32::fetch_add(&SCRATCHES, 1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{}-{number}-{name}", std::process::id()))
}

/// A name for a socket: it has to be short.
pub(crate) fn socket_path() -> PathBuf {
    let number = AtomicU32::fetch_add(&SCRATCHES, 1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("forebay-{}-{number}.sock", std::process::id()))
}

static SCRATCHES: AtomicU32 = AtomicU32::new(0);

/// One request; none while nobody listens.
pub(crate) fn http(address: &str, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
