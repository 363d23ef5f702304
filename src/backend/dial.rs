//! The client's side of a login: a fresh connection to a server, ready for its first command.
//!
//! It knows nothing of pools and does not retry. A password crosses in clear only where TLS is
//! up or the socket never leaves the machine; else for the server's own RSA key. The pool, the
//! probes and the proof of learned passwords call it.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::link::tls::{self, BackendTls, Mode};
use crate::link::{Exchange, ExchangeError, Network, Stream};
use crate::secret::{Credentials, CryptoError, Digest, ed25519, rsa};
use crate::wire::Malformed;
use crate::wire::auth::{
    CACHING_SHA2, FAST_OK, FULL, NATIVE, REQUEST_KEY, caching_sha2_token, native_token,
    xor_with_nonce,
};
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as Refusal;
use crate::wire::handshake::{AuthStep, Greeting, Response, write_ssl_request};
use crate::wire::ok::{Ok as Welcome, Status};

/// A connection that is logged in.
#[derive(Debug)]
pub struct Dialed {
    /// What to speak over; nothing was read beyond the login.
    pub stream: Stream,
    /// What the server said about itself.
    pub greeting: Greeting,
    /// What it and we can do.
    pub capabilities: Capabilities,
    /// The session's state.
    pub status: Status,
}

/// As whom, and with what.
#[derive(Debug, Clone)]
pub struct Login {
    /// Name and password.
    pub credentials: Arc<Credentials>,
    /// Of [`SHARED`], what is wanted.
    pub shared: Capabilities,
    /// The server may ask for a file.
    pub local_infile: bool,
    /// The schema to start in.
    pub database: Option<Vec<u8>>,
}

/// Connects and logs in, all of it within the deadline.
pub async fn dial(
    network: &Network,
    address: &str,
    tls: &BackendTls,
    login: &Login,
    deadline: Instant,
) -> Result<Dialed, DialError> {
    let dialing = async {
        let (stream, mut exchange, greeting) = meet(network, address, deadline).await?;
        let capabilities = login.ask_for(&greeting);
        let (mut stream, capabilities) =
            secure(stream, &mut exchange, tls, address, (&greeting, capabilities)).await?;
        let mut auth = Auth { stream: &mut stream, exchange: &mut exchange, login };
        let status = auth.run(&greeting, capabilities).await.inspect_err(|error| {
            if let DialError::Plugin(_) = error {
                let user = String::from_utf8_lossy(&login.credentials.user);
                // Clients are told no more than of a wrong password.
                tracing::warn!(%address, %user, %error, "an account cannot be used");
            }
        })?;
        if !exchange.take_unread().is_empty() {
            return Err(DialError::Malformed(Malformed { what: "bytes after the login" }));
        }
        Ok(Dialed { stream, greeting, capabilities, status })
    };
    timeout_at(deadline, dialing).await.unwrap_or(Err(DialError::TimedOut))
}

/// Asks a server who it is, without an account. It is given a login that cannot succeed, since a
/// server counts connections that end before one, and bars the host when there were too many.
pub async fn greeting_only(
    network: &Network,
    address: &str,
    deadline: Instant,
) -> Result<Greeting, DialError> {
    let asking = async {
        let (mut stream, mut exchange, greeting) = meet(network, address, deadline).await?;
        let nobody = Arc::new(Credentials::new(b"forebay-greeting".to_vec(), Vec::new())?);
        let login = Login {
            credentials: nobody,
            shared: Capabilities(0),
            local_infile: false,
            database: None,
        };
        let capabilities = login.ask_for(&greeting);
        let mut auth = Auth { stream: &mut stream, exchange: &mut exchange, login: &login };
        let _refused = auth.run(&greeting, capabilities).await;
        let _closed = stream.shutdown().await;
        Ok(greeting)
    };
    timeout_at(deadline, asking).await.unwrap_or(Err(DialError::TimedOut))
}

/// Whether the server is MariaDB. Not by its number: MySQL's is a year by now.
pub fn is_mariadb(greeting: &Greeting) -> bool {
    let says_so = greeting.version.windows(7).any(|part| part == b"MariaDB");
    says_so || !greeting.capabilities.has(Capabilities::LONG_PASSWORD)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there, or the connection broke.
    #[error("unreachable: {0}")]
    Unreachable(io::Error),
    /// Somebody answers, but not in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It does not speak as a server does.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The account needs a plugin that we do not have, or not on this connection.
    #[error("no way to log in by {0}")]
    Plugin(String),
    /// TLS is required and the server has none.
    #[error("the server offers no TLS")]
    NoTls,
    /// TLS did not come about.
    #[error("tls: {0}")]
    Tls(io::Error),
    /// The server's key cannot be used, or the password is too long for it.
    #[error("cannot encrypt the password: {0}")]
    Crypto(#[from] CryptoError),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::TimedOut => DialError::TimedOut,
            _ => DialError::Unreachable(error),
        }
    }
}

impl From<ExchangeError> for DialError {
    fn from(error: ExchangeError) -> DialError {
        match error {
            ExchangeError::Io(error) => DialError::from(error),
            ExchangeError::Malformed(malformed) => DialError::Malformed(malformed),
            ExchangeError::TooLong => {
                DialError::Malformed(Malformed { what: "login packet too long" })
            }
            ExchangeError::Closed | ExchangeError::OutOfOrder => {
                DialError::Unreachable(io::Error::new(io::ErrorKind::UnexpectedEof, error))
            }
        }
    }
}

impl Login {
    /// What to agree on with this server.
    fn ask_for(&self, greeting: &Greeting) -> Capabilities {
        let mut wanted = WANTED.with(self.shared.intersect(SHARED));
        for (is_wanted, capability) in [
            (self.local_infile, Capabilities::LOCAL_FILES),
            (self.database.is_some(), Capabilities::CONNECT_WITH_DB),
        ] {
            wanted = if is_wanted { wanted.with(capability) } else { wanted };
        }
        // MariaDB leaves bit 0 out; to set it says that we speak MySQL's dialect of flags.
        wanted.intersect(greeting.capabilities).with(Capabilities::LONG_PASSWORD)
    }
}

/// What a client and its connections to servers must have both, or both not: affected rows are the
/// rows found; a statement's text stands behind its attributes. So what a client says is passed on
/// as it is, and clients without attributes, PHP's, pay nothing for them.
pub const SHARED: Capabilities = Capabilities::FOUND_ROWS.with(Capabilities::QUERY_ATTRIBUTES);

const WANTED: Capabilities = Capabilities::PROTOCOL_41
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::PLUGIN_AUTH_LENENC)
    .with(Capabilities::CONNECT_ATTRS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF);

/// Connects and reads the greeting.
async fn meet(
    network: &Network,
    address: &str,
    deadline: Instant,
) -> Result<(Stream, Exchange, Greeting), DialError> {
    let mut stream = network.connect(address, deadline).await?;
    let mut exchange = Exchange::with_server();
    let payload = exchange.read(&mut stream).await?;
    if payload.first() == Some(&0xff) {
        return Err(DialError::Refused(Refusal::parse(&payload)?));
    }
    let greeting = Greeting::parse(&payload)?;
    Ok((stream, exchange, greeting))
}

/// Goes over to TLS if that is wanted and possible. A Unix socket needs none.
async fn secure(
    mut stream: Stream,
    exchange: &mut Exchange,
    tls: &BackendTls,
    address: &str,
    (greeting, capabilities): (&Greeting, Capabilities),
) -> Result<(Stream, Capabilities), DialError> {
    let is_offered = greeting.capabilities.has(Capabilities::SSL);
    match tls.mode {
        Mode::Preferred if is_offered && !stream.is_private() => {}
        Mode::Preferred | Mode::Disabled => return Ok((stream, capabilities)),
        Mode::Required | Mode::VerifyCa | Mode::VerifyIdentity if is_offered => {}
        Mode::Required | Mode::VerifyCa | Mode::VerifyIdentity => return Err(DialError::NoTls),
    }
    let capabilities = capabilities.with(Capabilities::SSL);
    let mut request = Vec::new();
    write_ssl_request(&mut request, capabilities, PACKET_BYTES_MAX, greeting.charset);
    exchange.send_payload(&mut stream, &request).await?;
    if !exchange.take_unread().is_empty() {
        return Err(DialError::Malformed(Malformed { what: "bytes in clear before TLS" }));
    }
    let stream = tls::connect(stream, tls, address).await.map_err(DialError::Tls)?;
    Ok((stream, capabilities))
}

/// The part in which we prove who we are.
struct Auth<'a> {
    stream: &'a mut Stream,
    exchange: &'a mut Exchange,
    login: &'a Login,
}

impl Auth<'_> {
    async fn run(
        &mut self,
        greeting: &Greeting,
        capabilities: Capabilities,
    ) -> Result<Status, DialError> {
        // A server whose favourite we lack switches to what the account really has. No greeting
        // makes us begin with the password itself.
        let favourite = Plugin::named(&greeting.plugin).filter(|plugin| plugin.has_token());
        let mut plugin = favourite.unwrap_or(Plugin::Native);
        let mut nonce = greeting.nonce.to_vec();
        self.introduce(greeting, capabilities, plugin).await?;
        for _step in 0..STEPS_MAX {
            let payload = self.exchange.read(self.stream).await?;
            match AuthStep::parse(&payload)? {
                AuthStep::Ok => return Ok(Welcome::parse(&payload, capabilities)?.status),
                AuthStep::Err => return Err(DialError::Refused(Refusal::parse(&payload)?)),
                AuthStep::Switch { plugin: name, nonce: fresh } => {
                    plugin = self.switch_to(name)?;
                    nonce = fresh.to_vec();
                    self.answer_switch(plugin, &nonce).await?;
                }
                AuthStep::More([FAST_OK]) if plugin == Plugin::CachingSha2 => {}
                AuthStep::More([FULL]) if plugin == Plugin::CachingSha2 => {
                    self.send_password(&nonce).await?;
                }
                AuthStep::More(_) => return Err(DialError::Plugin(plugin.name().to_owned())),
            }
        }
        Err(DialError::Malformed(Malformed { what: "a login without an end" }))
    }

    async fn introduce(
        &mut self,
        greeting: &Greeting,
        capabilities: Capabilities,
        plugin: Plugin,
    ) -> Result<(), DialError> {
        let response = Response {
            capabilities,
            packet_bytes_max: PACKET_BYTES_MAX,
            charset: greeting.charset,
            user: self.login.credentials.user.clone(),
            auth: self.token(plugin, &greeting.nonce).to_vec(),
            database: self.login.database.clone(),
            plugin: Some(plugin.name().into()),
            attributes: vec![(b"program_name".to_vec(), b"forebay".to_vec())],
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        Ok(self.exchange.send_payload(self.stream, &payload).await?)
    }

    fn switch_to(&self, name: &[u8]) -> Result<Plugin, DialError> {
        let unknown = || DialError::Plugin(String::from_utf8_lossy(name).into_owned());
        match Plugin::named(name).ok_or_else(unknown)? {
            // A server in between could ask for it to learn the password.
            Plugin::Clear if !self.stream.is_tls() => Err(unknown()),
            plugin => Ok(plugin),
        }
    }

    fn token(&self, plugin: Plugin, nonce: &[u8]) -> Zeroizing<Vec<u8>> {
        self.login.credentials.expose(|password| {
            Zeroizing::new(match plugin {
                Plugin::Native => native_token::<Digest>(password, nonce),
                Plugin::CachingSha2 => caching_sha2_token::<Digest>(password, nonce),
                Plugin::Ed25519 => ed25519_token(password, nonce),
                Plugin::Clear | Plugin::Sha256 => [password, &[0]].concat(),
            })
        })
    }

    /// The server does not know the password yet: it wants to see it.
    async fn send_password(&mut self, nonce: &[u8]) -> Result<(), DialError> {
        if self.stream.is_private() {
            let password = self.token(Plugin::Clear, nonce);
            return Ok(self.exchange.send_payload(self.stream, &password).await?);
        }
        self.send_sealed_password(nonce, REQUEST_KEY).await
    }

    /// Answers a request for another plugin.
    async fn answer_switch(&mut self, plugin: Plugin, nonce: &[u8]) -> Result<(), DialError> {
        let is_empty = self.login.credentials.is_password(b"");
        if plugin == Plugin::Sha256 && !self.stream.is_tls() && !is_empty {
            return self.send_sealed_password(nonce, REQUEST_KEY_SHA256).await;
        }
        let token = self.token(plugin, nonce);
        Ok(self.exchange.send_payload(self.stream, &token).await?)
    }

    async fn send_sealed_password(&mut self, nonce: &[u8], request: u8) -> Result<(), DialError> {
        let mut password = self.token(Plugin::Clear, nonce);
        self.exchange.send_payload(self.stream, &[request]).await?;
        let payload = self.exchange.read(self.stream).await?;
        match AuthStep::parse(&payload)? {
            AuthStep::More(pem) => {
                xor_with_nonce(&mut password, nonce);
                let sealed = rsa::encrypt(pem, &password)?;
                Ok(self.exchange.send_payload(self.stream, &sealed).await?)
            }
            AuthStep::Err => Err(DialError::Refused(Refusal::parse(&payload)?)),
            AuthStep::Ok | AuthStep::Switch { .. } => {
                Err(DialError::Malformed(Malformed { what: "no key where one was asked for" }))
            }
        }
    }
}

/// Its nonce is binary: a last byte of 0 was taken for the end of a text.
fn ed25519_token(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut whole = [0; ed25519::NONCE_BYTES];
    whole.iter_mut().zip(nonce).for_each(|(to, from)| *to = *from);
    ed25519::sign(password, &whole).to_vec()
}

/// The ways to prove a password that we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    Native,
    CachingSha2,
    /// MariaDB's own.
    Ed25519,
    /// Of MySQL 5.6 to 9: an account may have it, and 9 pretends that unknown names do.
    Sha256,
    Clear,
}

impl Plugin {
    fn named(name: &[u8]) -> Option<Plugin> {
        use Plugin::{CachingSha2, Clear, Ed25519, Native, Sha256};
        let all = [Native, CachingSha2, Ed25519, Sha256, Clear];
        all.into_iter().find(|plugin| plugin.name().as_bytes() == name)
    }

    /// It begins with something that is not the password.
    fn has_token(self) -> bool {
        matches!(self, Plugin::Native | Plugin::CachingSha2)
    }

    fn name(self) -> &'static str {
        match self {
            Plugin::Native => NATIVE,
            Plugin::CachingSha2 => CACHING_SHA2,
            Plugin::Ed25519 => "client_ed25519",
            Plugin::Sha256 => "sha256_password",
            Plugin::Clear => "mysql_clear_password",
        }
    }
}

/// sha256_password's own way to ask for the RSA key.
const REQUEST_KEY_SHA256: u8 = 0x01;
/// A login is over after so many packets of the server.
const STEPS_MAX: u32 = 8;
/// What clients say; servers go by their own limit.
const PACKET_BYTES_MAX: u32 = 1 << 30;

#[cfg(test)]
mod tests;
