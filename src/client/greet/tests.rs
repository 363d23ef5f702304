//! Logins against our own dialler and against clients that behave otherwise, a login a line.

mod nonsense;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::backend::dial::{self, DialError};
use crate::link::Network;
use crate::link::network::{Connecting, Memory};
use crate::link::tls::{BackendTls, Certificate, Mode};
use crate::secret::{Digest, Policy};
use crate::wire::auth::{NATIVE, caching_sha2_token, native_token};
use crate::wire::handshake::{AuthStep, write_ssl_request};

/// The primary: accounts and their passwords, and what it says instead if it is unwell.
#[derive(Default)]
struct Primary {
    accounts: Mutex<Vec<(&'static str, &'static str)>>,
    unwell: Mutex<Option<u16>>,
    proofs: AtomicU32,
}

impl Prove for Primary {
    fn prove(&self, credentials: Arc<Credentials>, _: bool) -> Proof<'_> {
        Box::pin(async move {
            self.proofs.fetch_add(1, Ordering::SeqCst);
            // At once: that nobody is there is often known already.
            if let Some(code) = *self.unwell.lock().unwrap() {
                return Err(Refusal::new(code, b"HY000", "unwell"));
            }
            tokio::task::yield_now().await;
            let accounts = self.accounts.lock().unwrap();
            let is_right = accounts.iter().any(|(user, password)| {
                user.as_bytes() == credentials.user && credentials.is_password(password.as_bytes())
            });
            match is_right {
                true => Ok(()),
                false => Err(Refusal::new(1045, b"28000", "Access denied for 'u'@'pod-17'")),
            }
        })
    }
}

struct House {
    door: Door,
    primary: Arc<Primary>,
}

fn house(policy: Policy) -> House {
    let primary = Arc::new(Primary::default());
    primary.accounts.lock().unwrap().extend([("u", "right"), ("empty", ""), ("root", "right")]);
    let certificate = Certificate::SelfSigned(vec!["forebay".to_owned()]);
    let door = Door {
        version: b"9.7.4".to_vec(),
        charset: 255,
        capabilities: OFFERED,
        tls: Some(tls::server_config(&certificate).unwrap()),
        require_tls: false,
        rsa: Arc::new(RsaKey::generate().unwrap()),
        book: Arc::new(Book::new(policy).unwrap()),
        prove: Arc::clone(&primary) as Arc<dyn Prove>,
        login_timeout: Duration::from_secs(10),
        bare_passwords: AtomicU64::new(0),
    };
    House { door, primary }
}

fn listed() -> Policy {
    let shop = Credentials::new(b"shop".to_vec(), b"right".to_vec()).unwrap();
    Policy { listed: vec![Arc::new(shop)], ..Policy::default() }
}

/// A network of one connection.
struct OneWay(Mutex<Option<DuplexStream>>);

impl Memory for OneWay {
    fn connect<'a>(&'a self, _address: &'a str) -> Connecting<'a> {
        let stream = self.0.lock().unwrap().take();
        Box::pin(async { stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) })
    }
}

fn login_as(user: &str, password: &str) -> dial::Login {
    dial::Login {
        credentials: Arc::new(Credentials::new(user.into(), password.into()).unwrap()),
        shared: Capabilities(0),
        local_infile: false,
        database: Some(b"wp".to_vec()),
    }
}

const PEER: Peer = Peer::Local;

impl House {
    /// The server's side: greets, and lets a guest in.
    async fn serve(&self, stream: Stream) -> Result<Guest, GreetError> {
        let mut guest = greet(stream, Vec::new(), &self.door, 7, &PEER).await?;
        let mut out = Vec::new();
        guest.write_ok(&mut out, Status::AUTOCOMMIT);
        guest.stream.write_all(&out).await?;
        guest.stream.flush().await?;
        Ok(guest)
    }

    async fn dial(&self, mode: Mode, user: &str, password: &str) -> Result<Guest, DialError> {
        let (near, far) = duplex(64 * 1024);
        let network = Network::Memory(Arc::new(OneWay(Mutex::new(Some(near)))));
        let tls = BackendTls::unverified(mode).unwrap();
        let (login, deadline) =
            (login_as(user, password), Instant::now() + Duration::from_secs(20));
        let (dialed, served) = tokio::join!(
            dial::dial(&network, "db:3306", &tls, &login, deadline),
            self.serve(far.into())
        );
        let dialed = dialed?;
        let guest = served.unwrap();
        assert_eq!(dialed.status, Status::AUTOCOMMIT);
        assert_eq!(dialed.stream.is_tls(), mode != Mode::Disabled);
        assert_eq!(guest.database.as_deref(), Some(&b"wp"[..]));
        assert_eq!(guest.capabilities.without(Capabilities::SSL), {
            dialed.capabilities.without(Capabilities::SSL)
        });
        assert_eq!(guest.attributes, [(b"program_name".to_vec(), b"forebay".to_vec())]);
        Ok(guest)
    }

    /// One login: `mode user password`, what came out, and how often the primary was asked.
    async fn check(&self, login: &str, expected: &str) {
        let mut words = login.split(' ');
        let mode = match words.next() {
            Some("tls") => Mode::Preferred,
            _ => Mode::Disabled,
        };
        let (user, password) = (words.next().unwrap(), words.next().unwrap_or_default());
        let before = self.primary.proofs.load(Ordering::SeqCst);
        let outcome = match self.dial(mode, user, password).await {
            Ok(guest) => {
                assert_eq!(guest.credentials.user, user.as_bytes());
                assert!(guest.credentials.is_password(password.as_bytes()));
                "ok".to_owned()
            }
            Err(DialError::Refused(refusal)) => String::from_utf8(refusal.message).unwrap(),
            Err(error) => error.to_string(),
        };
        let proofs = self.primary.proofs.load(Ordering::SeqCst) - before;
        let proofs = if proofs > 9 { "many".to_owned() } else { proofs.to_string() };
        assert_eq!(format!("{outcome}, {proofs}"), expected, "{login}");
    }

    /// Plays a client that says `packets` one by one, whatever it hears, and returns the last
    /// thing it hears.
    async fn speak(&self, script: impl AsyncFnOnce(&mut Client) -> Heard) -> (String, Heard) {
        let (near, far) = duplex(64 * 1024);
        let mut client =
            Client { stream: near.into(), exchange: Exchange::with_server(), nonce: [0; 20] };
        let play = async {
            let heard = script(&mut client).await;
            drop(client);
            heard
        };
        let (served, heard) = tokio::join!(self.serve(far.into()), play);
        (served.map_or_else(|error| error.to_string(), |guest| format!("{guest:?}")), heard)
    }
}

type Heard = String;

/// A client that may do anything.
struct Client {
    stream: Stream,
    exchange: Exchange,
    nonce: [u8; 20],
}

const CLASSIC: Capabilities = NEEDED.with(Capabilities::LONG_PASSWORD);

impl Client {
    async fn greeting(&mut self) {
        let payload = self.exchange.read(&mut self.stream).await.unwrap();
        self.nonce = Greeting::parse(&payload).unwrap().nonce;
    }

    async fn say(&mut self, payload: &[u8]) -> Heard {
        if self.exchange.send_payload(&mut self.stream, payload).await.is_err() {
            return "gone".to_owned();
        }
        self.hear().await
    }

    async fn hear(&mut self) -> Heard {
        let payload = match self.exchange.read(&mut self.stream).await {
            Ok(payload) => payload,
            Err(ExchangeError::Closed) => return "closed".to_owned(),
            Err(error) => return error.to_string(),
        };
        match AuthStep::parse(&payload) {
            Ok(AuthStep::Ok) => "ok".to_owned(),
            Ok(AuthStep::Err) => Refusal::parse(&payload).unwrap().to_string(),
            Ok(AuthStep::Switch { plugin, nonce }) => {
                self.nonce = nonce.try_into().unwrap();
                format!("switch {}", String::from_utf8_lossy(plugin))
            }
            Ok(AuthStep::More(data)) => format!("more {data:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn response(&self, user: &str, plugin: &str, auth: Vec<u8>) -> Vec<u8> {
        let response = Response {
            capabilities: CLASSIC,
            packet_bytes_max: 1 << 24,
            charset: 45,
            user: user.into(),
            auth,
            database: None,
            plugin: Some(plugin.into()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        payload
    }

    fn sha2(&self, password: &str) -> Vec<u8> {
        caching_sha2_token::<Digest>(password.as_bytes(), &self.nonce)
    }

    fn native(&self, password: &str) -> Vec<u8> {
        native_token::<Digest>(password.as_bytes(), &self.nonce)
    }
}

const DENIED: &str = "Access denied for user 'u'@'localhost' (using password: YES)";

#[tokio::test]
async fn an_account_is_learned_once_and_known_then() {
    for mode in ["plain", "tls"] {
        let house = house(Policy::default());
        house.check(&format!("{mode} u wrong"), &format!("{DENIED}, 1")).await;
        house.check(&format!("{mode} u wrong"), &format!("{DENIED}, 0")).await;
        house.check(&format!("{mode} u right"), "ok, 1").await;
        house.check(&format!("{mode} u right"), "ok, 0").await;
        house.check("plain u right", "ok, 0").await;
        house.check("tls u right", "ok, 0").await;
        house.check(&format!("{mode} u other"), &format!("{DENIED}, 1")).await;
        house.check(&format!("{mode} u right"), "ok, 0").await;
        let nobody = DENIED.replace("'u'", "'nobody'");
        house.check(&format!("{mode} nobody wrong"), &format!("{nobody}, 1")).await;
    }
}

#[tokio::test]
async fn an_empty_password_is_proved_too() {
    let house = house(Policy::default());
    let denied = DENIED.replace("YES", "NO");
    house.check("plain empty", "ok, 1").await;
    house.check("plain empty", "ok, 0").await;
    house.check("plain u", &format!("{denied}, 1")).await;
    house.check("tls u", &format!("{denied}, 0")).await;
}

#[tokio::test]
async fn denied_and_listed_names() {
    let house = house(listed());
    let denied = |user: &str| format!("{}, 0", DENIED.replace("'u'", &format!("'{user}'")));
    house.check("plain root right", &denied("root")).await;
    house.check("tls root wrong", &denied("root")).await;
    house.check("plain shop right", "ok, 0").await;
    house.check("tls shop right", "ok, 0").await;
    house.check("plain shop wrong", &denied("shop")).await;
    house.check("tls shop wrong", &denied("shop")).await;
    let listed_only = self::house(Policy { learn: false, ..listed() });
    listed_only.check("tls u right", &denied("u")).await;
    listed_only.check("tls shop right", "ok, 0").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_says_is_passed_on_or_waited_out() {
    let unwell = |house: &House, code| *house.primary.unwell.lock().unwrap() = code;
    let house = house(Policy { fresh_for: Duration::ZERO, ..Policy::default() });
    unwell(&house, Some(3118));
    house.check("plain u right", "unwell, 1").await;
    unwell(&house, Some(2003));
    house.check("plain u right", "unwell, many").await;
    unwell(&house, None);
    house.check("plain u right", "ok, 1").await;
    house.check("plain u right", "ok, 1").await;
    unwell(&house, Some(2003));
    house.check("plain u right", "ok, 1").await;
    house.check("plain u wrong", "unwell, many").await;
    unwell(&house, Some(1045));
    house.check("plain u right", &format!("{DENIED}, 1")).await;
    unwell(&house, Some(2003));
    house.check("plain u right", &format!("{DENIED}, 0")).await;
    // Somebody to ask comes while it waits.
    let well_again = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        unwell(&house, None);
    };
    tokio::join!(house.check("plain empty", "ok, many"), well_again);
}

/// A primary that is busy for a moment would let in whom it has just been told to refuse.
#[tokio::test(start_paused = true)]
async fn who_may_have_been_changed_is_not_let_in_for_want_of_an_answer() {
    let unwell = |house: &House, code| *house.primary.unwell.lock().unwrap() = code;
    let house = house(Policy::default());
    house.check("tls u right", "ok, 1").await;
    house.primary.accounts.lock().unwrap().clear();
    house.door.book.void();
    unwell(&house, Some(1040));
    let answers = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        unwell(&house, None);
    };
    let denied = format!("{DENIED}, many");
    tokio::join!(house.check("tls u right", &denied), answers);
    house.primary.accounts.lock().unwrap().push(("u", "right"));
    tokio::time::advance(Duration::from_secs(1)).await;
    house.check("tls u right", "ok, 1").await;
    // Nobody to ask for so long: it is waited for once, and not by everybody.
    house.door.book.void();
    unwell(&house, Some(2003));
    house.check("tls u right", "ok, many").await;
    house.check("tls u right", "ok, 1").await;
    unwell(&house, None);
    house.check("tls u right", "ok, 1").await;
    house.check("tls u right", "ok, 0").await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_grows_old() {
    let house = house(Policy::default());
    house.check("tls u right", "ok, 1").await;
    tokio::time::advance(Duration::from_secs(59)).await;
    house.check("tls u right", "ok, 0").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    house.check("tls u right", "ok, 1").await;
    house.check("tls u right", "ok, 0").await;
    house.primary.accounts.lock().unwrap().clear();
    house.check("tls u right", "ok, 0").await;
    tokio::time::advance(Duration::from_secs(60)).await;
    house.check("tls u right", &format!("{DENIED}, 1")).await;
    house.primary.accounts.lock().unwrap().push(("u", "right"));
    house.check("tls u right", &format!("{DENIED}, 0")).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    house.check("tls u right", "ok, 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_wrong_too_often_waits_and_right_passwords_do_not() {
    const BLOCKED: &str = "Host 'localhost' is blocked for a moment: too many failed logins";
    let house = house(listed());
    house.check("tls u right", "ok, 1").await;
    // Nobody to ask, or a right password: nothing is counted.
    *house.primary.unwell.lock().unwrap() = Some(2003);
    house.check("tls u unasked", "unwell, many").await;
    *house.primary.unwell.lock().unwrap() = None;
    for guess in 0..18 {
        house.check(&format!("tls u guess{guess}"), &format!("{DENIED}, 1")).await;
    }
    // The same one again costs the primary nothing, and its source nothing more.
    house.check("tls u guess17", &format!("{DENIED}, 0")).await;
    house.check("tls shop wrong", &format!("{}, 0", DENIED.replace("'u'", "'shop'"))).await;
    house.check("tls nobody x", &format!("{}, 1", DENIED.replace("'u'", "'nobody'"))).await;
    for login in ["tls u other", "plain u other", "tls nobody else", "tls shop wrong", "tls u"] {
        house.check(login, &format!("{BLOCKED}, 0")).await;
    }
    house.check("tls u right", "ok, 0").await;
    house.check("plain shop right", "ok, 0").await;
    tokio::time::advance(Duration::from_millis(200)).await;
    house.check("tls u other", &format!("{DENIED}, 1")).await;
    house.check("tls u another", &format!("{BLOCKED}, 0")).await;
    // What was right is proved anew all the same.
    tokio::time::advance(Duration::from_secs(60)).await;
    for guess in 0..20 {
        house.check(&format!("tls u more{guess}"), &format!("{DENIED}, 1")).await;
    }
    house.check("tls u right", "ok, 1").await;
    house.check("tls u more", &format!("{BLOCKED}, 0")).await;
}

#[tokio::test]
async fn many_cold_logins_are_one_login_at_the_primary() {
    let house = Arc::new(house(Policy::default()));
    let logins: Vec<_> = (0..100)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { house.dial(Mode::Disabled, "u", "right").await.unwrap() })
        })
        .collect();
    let mut guests = Vec::new();
    for login in logins {
        guests.push(login.await.unwrap());
    }
    assert_eq!(house.primary.proofs.load(Ordering::SeqCst), 1);
    let first = Arc::clone(&guests.first().unwrap().credentials);
    assert!(guests.iter().all(|guest| Arc::ptr_eq(&first, &guest.credentials)));
}

#[tokio::test]
async fn clients_that_ask_for_native_are_served_if_listed_and_switched_if_not() {
    let house = house(listed());
    for (plugin, password, first, then) in [
        (NATIVE, "right", "ok", ""),
        (NATIVE, "wrong", "1045 (28000): ", ""),
        ("dialog", "right", "switch caching_sha2_password", "more [4]"),
        ("", "right", "switch caching_sha2_password", "more [4]"),
    ] {
        let user = if plugin == NATIVE { "shop" } else { "u" };
        let (_, heard) = house
            .speak(async |client| {
                client.greeting().await;
                let nonce = client.nonce;
                let token = client.native(password);
                let heard = client.say(&client.response(user, plugin, token)).await;
                if then.is_empty() {
                    return heard;
                }
                assert!(heard.starts_with(first), "{heard}");
                assert_eq!(nonce, client.nonce, "the same nonce");
                client.say(&client.sha2(password)).await
            })
            .await;
        assert!(heard.starts_with(if then.is_empty() { first } else { then }), "{plugin}: {heard}");
    }
    let (_, heard) = house
        .speak(async |client| {
            client.greeting().await;
            client.say(&client.response("u", NATIVE, client.native("right"))).await
        })
        .await;
    assert_eq!(heard, "switch caching_sha2_password", "not listed: the password is needed");
    for (password, expected) in [("right", "ok"), ("wrong", "1045 (28000): "), ("", "1045")] {
        let (_, heard) = house
            .speak(async |client| {
                client.greeting().await;
                let heard = client.say(&client.response("shop", NATIVE, Vec::new())).await;
                assert_eq!(heard, "switch mysql_native_password", "it began with nothing");
                client.say(&client.native(password)).await
            })
            .await;
        assert!(heard.starts_with(expected), "{heard}");
    }
}

#[tokio::test]
async fn a_bare_password_without_tls_is_refused_even_if_it_is_right() {
    let house = house(Policy::default());
    for expected in [1, 2] {
        let (served, heard) = house
            .speak(async |client| {
                client.greeting().await;
                let response = client.response("u", CACHING_SHA2, client.sha2("right"));
                assert_eq!(client.say(&response).await, "more [4]");
                client.say(b"right\0").await
            })
            .await;
        assert!(heard.contains(DENIED) && heard.contains("TLS"), "{heard}");
        assert!(!served.contains("right"), "{served}");
        assert_eq!(house.door.bare_passwords.load(Ordering::Relaxed), expected);
    }
    assert_eq!(house.primary.proofs.load(Ordering::SeqCst), 0, "nor is it tried");
}

#[tokio::test]
async fn a_wrongly_sealed_password_is_a_wrong_password() {
    let house = house(Policy::default());
    for sealed in [&b""[..], b"x", &[7; 256], &[7; 5000]] {
        let (_, heard) = house
            .speak(async |client| {
                client.greeting().await;
                let response = client.response("u", CACHING_SHA2, client.sha2("right"));
                assert_eq!(client.say(&response).await, "more [4]");
                assert!(client.say(&[2]).await.starts_with("more [45, 45, 45"), "the key");
                client.say(sealed).await
            })
            .await;
        assert!(heard.ends_with(DENIED), "{heard}");
    }
}

#[tokio::test]
async fn a_door_for_tls_only_reads_no_name() {
    let mut house = house(Policy::default());
    house.door.require_tls = true;
    house.check("tls u right", "ok, 1").await;
    house
        .check(
            "plain u right",
            "Connections using insecure transport are prohibited while \
             --require_secure_transport=ON., 0",
        )
        .await;
    let (served, _) = house
        .speak(async |client| {
            client.greeting().await;
            client.say(b"not even a packet").await
        })
        .await;
    assert!(served.contains("3159"), "{served}");
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    drop(near);
    let served = house.serve(far.into()).await;
    assert!(!matches!(served, Err(GreetError::Refused(_))), "a Unix socket is private: {served:?}");
}

#[tokio::test]
async fn what_follows_the_login_is_handed_on() {
    let house = house(listed());
    let (near, far) = duplex(64 * 1024);
    let mut client =
        Client { stream: near.into(), exchange: Exchange::with_server(), nonce: [0; 20] };
    let speaking = async {
        client.greeting().await;
        let payload = client.response("shop", CACHING_SHA2, client.sha2("right"));
        let mut bytes = Vec::new();
        crate::wire::frame::write_packet(&mut bytes, 1, &payload);
        bytes.extend_from_slice(b"\x01\0\0\0\x0e");
        client.stream.write_all(&bytes).await.unwrap();
    };
    let (served, ()) = tokio::join!(greet(far.into(), Vec::new(), &house.door, 7, &PEER), speaking);
    let mut guest = served.unwrap();
    assert_eq!(guest.unread, b"\x01\0\0\0\x0e");
    let mut out = Vec::new();
    let refusal = Refusal::new(1049, b"42000", "Unknown database 'x'");
    guest.write_err(&mut out, &refusal);
    guest.stream.write_all(&out).await.unwrap();
    assert_eq!(client.hear().await, "more [3]");
    assert_eq!(client.hear().await, refusal.to_string());
}

/// Hears the request for another token, answers it, and tells all that was heard.
async fn answer_switch(client: &mut Client, plugin: &str, password: &str) -> Heard {
    let asked = client.hear().await;
    if !asked.starts_with("switch") {
        return asked;
    }
    assert_ne!(client.nonce, [1; 20], "a fresh nonce");
    let is_native = plugin == NATIVE;
    let token = if is_native { client.native(password) } else { client.sha2(password) };
    let answer = client.say(&token).await;
    match answer == "more [3]" {
        true => format!("{asked}, {answer}, {}", client.hear().await),
        false => format!("{asked}, {answer}"),
    }
}

#[tokio::test]
async fn change_user_always_asks_anew() {
    let house = house(listed());
    // The account, the plugin named, the password behind the second token, what comes of it.
    for (user, plugin, password, expected) in [
        ("shop", CACHING_SHA2, "right", "switch caching_sha2_password, more [3], ok"),
        ("shop", NATIVE, "right", "switch mysql_native_password, ok"),
        ("shop", NATIVE, "wrong", "switch mysql_native_password, 1045"),
        ("u", CACHING_SHA2, "right", "switch caching_sha2_password, more [4]"),
        ("empty", CACHING_SHA2, "", "switch caching_sha2_password, ok"),
        ("root", CACHING_SHA2, "right", "1045"),
    ] {
        let (near, far) = duplex(64 * 1024);
        let mut client =
            Client { stream: near.into(), exchange: Exchange::with_server(), nonce: [1; 20] };
        let serving = async {
            let request = ChangeUser {
                user: user.into(),
                auth: vec![9; 32],
                database: None,
                charset: Some(45),
                plugin: Some(plugin.into()),
                attributes: Vec::new(),
            };
            let mut stream = Stream::from(far);
            let changed = change_user(&mut stream, &house.door, &PEER, &request, CLASSIC, vec![]);
            let Ok(mut changed) = changed.await else { return };
            write_ok(&mut changed.unsent, changed.sequence, Status::AUTOCOMMIT, CLASSIC);
            stream.write_all(&changed.unsent).await.unwrap();
        };
        let speaking = async {
            let heard = answer_switch(&mut client, plugin, password).await;
            drop(client);
            heard
        };
        let ((), heard) = tokio::join!(serving, speaking);
        assert!(heard.starts_with(expected), "{user} {plugin}: {heard}");
    }
}

#[tokio::test]
async fn nothing_prints_a_password() {
    let house = house(Policy::default());
    let guest = house.dial(Mode::Disabled, "u", "right").await.unwrap();
    let printed = format!("{guest:?} {:?} {:?}", house.door.book, house.door.rsa);
    assert!(!printed.contains("right"), "{printed}");
    let mut rest = [0; 1];
    let mut stream = guest.stream;
    assert_eq!(stream.read(&mut rest).await.unwrap(), 0, "the dialler is gone");
}
