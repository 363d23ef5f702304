//! The server's side of a login: greeting, TLS, who are you, prove it.
//!
//! It never sends the final OK: a schema may have to be looked at first, and that is the
//! session's to say ([`Guest::write_ok`], [`Guest::write_err`]). It opens no backend connection
//! itself ([`Prove`] does) and has no user list but the book's. The session's task calls it.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html

mod login;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::login::Login;
use super::accept::Peer;
use crate::link::{Exchange, ExchangeError, Stream, tls};
use crate::secret::{Book, Credentials, CryptoError, RsaKey, nonce};
use crate::wire::auth::CACHING_SHA2;
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as Refusal;
use crate::wire::handshake::{ChangeUser, Greeting, Response, is_ssl_request};
use crate::wire::ok::{Status, write_ok};

/// All that a login needs to know; one for all clients of a listener.
pub struct Door {
    /// The version that clients see: WordPress decides by it what it may use.
    pub version: Vec<u8>,
    /// Low byte of the servers' default collation: PHP takes it as its own.
    pub charset: u8,
    /// What is offered, TLS aside.
    pub capabilities: Capabilities,
    /// The certificate, if TLS is offered.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether a client without TLS is refused; one on a Unix socket is not.
    pub require_tls: bool,
    /// The key for passwords on connections without TLS.
    pub rsa: Arc<RsaKey>,
    /// What is known about accounts.
    pub book: Arc<Book>,
    /// Who asks the primary.
    pub prove: Arc<dyn Prove>,
    /// Time for all of a login.
    pub login_timeout: Duration,
    /// Passwords that clients sent readable for anyone: all of them refused.
    pub bare_passwords: AtomicU64,
}

/// Logs in at the primary, or at who stands in for it: the only proof of a password that counts.
pub trait Prove: Send + Sync {
    /// Whether the server takes it; if not, what it said, or why nobody could be asked. One that
    /// `was_right` before is only asked of the primary: it counts until that says no.
    fn prove(&self, credentials: Arc<Credentials>, was_right: bool) -> Proof<'_>;
}

/// A proof on its way.
pub type Proof<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// What a door offers unless an operator or an old server takes something away.
pub const OFFERED: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::FOUND_ROWS)
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::CONNECT_WITH_DB)
    .with(Capabilities::IGNORE_SPACE)
    .with(Capabilities::INTERACTIVE)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::RESERVED)
    .with(Capabilities::MULTI_STATEMENTS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::CONNECT_ATTRS)
    .with(Capabilities::EXPIRED_PASSWORDS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF)
    .with(NEEDED);

/// ER_HOST_IS_BLOCKED: its peer was wrong too often.
const THROTTLED: u16 = 1129;

/// What a login cannot do without; always offered.
const NEEDED: Capabilities = Capabilities::PROTOCOL_41
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::PLUGIN_AUTH_LENENC);

/// A client that proved who it is and waits for its OK.
#[derive(Debug)]
pub struct Guest {
    /// What to speak over from now on.
    pub stream: Stream,
    /// Who it is; the same object for the same account and password.
    pub credentials: Arc<Credentials>,
    /// What it and we can do.
    pub capabilities: Capabilities,
    /// Low byte of its collation's number.
    pub charset: u8,
    /// The schema it wants to start in.
    pub database: Option<Vec<u8>>,
    /// What it tells about itself.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The number that the OK carries.
    pub sequence: u8,
    /// Goes before the OK, in one write with it: the word that its token was known.
    pub unsent: Vec<u8>,
    /// What it sent beyond its login.
    pub unread: Vec<u8>,
}

impl Guest {
    /// Appends what lets the client in.
    pub fn write_ok(&mut self, out: &mut Vec<u8>, status: Status) {
        out.append(&mut self.unsent);
        self.sequence = write_ok(out, self.sequence, status, self.capabilities);
    }

    /// Appends what turns it away after all: its schema does not exist, say.
    pub fn write_err(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        out.append(&mut self.unsent);
        self.sequence = refusal.write(out, self.sequence);
    }
}

/// Welcomes one connection. If this is an error, the client has been told already. `early` is what
/// it said before it could be greeted: behind a PROXY header some balancers' checks do.
pub async fn greet(
    stream: Stream,
    early: Vec<u8>,
    door: &Door,
    thread_id: u32,
    peer: &Peer,
) -> Result<Guest, GreetError> {
    let greeting = async {
        let nonce = nonce::nonce()?;
        let exchange = Exchange::resume(0, early);
        let (mut stream, mut exchange, response) =
            hear(stream, exchange, door, thread_id, nonce).await?;
        match admit(&mut stream, &mut exchange, door, peer, nonce, response).await {
            Ok(admitted) => Ok(admitted.into_guest(stream, exchange)),
            Err(fault) => Err(fault.tell(&mut stream, &mut exchange).await),
        }
    };
    timeout(door.login_timeout, greeting).await.unwrap_or(Err(GreetError::TimedOut))
}

/// Who a client became by COM_CHANGE_USER, and what it waits for.
#[derive(Debug)]
pub struct Changed {
    /// Who it is now.
    pub credentials: Arc<Credentials>,
    /// The number that the OK carries.
    pub sequence: u8,
    /// Goes before the OK.
    pub unsent: Vec<u8>,
    /// What it sent beyond.
    pub unread: Vec<u8>,
}

/// Logs an open connection in anew. The token in the request may be made of a nonce long gone
/// (PHP's persistent connections do that): the client is always asked again. `unread` is what came
/// behind the command. If this is an error, the client has been told, and is to be closed.
pub async fn change_user(
    stream: &mut Stream,
    door: &Door,
    peer: &Peer,
    request: &ChangeUser,
    capabilities: Capabilities,
    unread: Vec<u8>,
) -> Result<Changed, GreetError> {
    let changing = async {
        let mut exchange = Exchange::resume(1, unread);
        let nonce = nonce::nonce()?;
        let switches = capabilities.has(Capabilities::PLUGIN_AUTH);
        let stream = &mut *stream;
        let mut login = Login { stream, exchange: &mut exchange, door, peer, nonce, switches };
        match login.run_anew(&request.user, request.plugin.as_deref()).await {
            Ok(known) => Ok(Changed {
                credentials: known.credentials,
                sequence: known.sequence,
                unsent: known.unsent,
                unread: exchange.take_unread(),
            }),
            Err(fault) => Err(fault.tell(login.stream, login.exchange).await),
        }
    };
    timeout(door.login_timeout, changing).await.unwrap_or(Err(GreetError::TimedOut))
}

/// Why a connection ended before it was a session.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// It was told so.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It closed in the middle.
    #[error("closed in the middle of the login")]
    Closed,
    /// It took too long.
    #[error("did not log in in time")]
    TimedOut,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// TLS did not come about.
    #[error("tls: {0}")]
    Tls(io::Error),
    /// We failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl GreetError {
    /// Whether it was refused unheard, for what its peer did before.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        matches!(self, GreetError::Refused(refusal) if refusal.code == THROTTLED)
    }
}

/// What went wrong, before the client was told.
enum Fault {
    Refuse(Refusal),
    Fail(GreetError),
}

impl Fault {
    /// Tells the client as far as there is something to tell.
    async fn tell(self, stream: &mut Stream, exchange: &mut Exchange) -> GreetError {
        match self {
            Fault::Fail(error) => error,
            Fault::Refuse(refusal) => {
                // It is refused whether it hears it or not.
                let _told = exchange.send(stream, |out, next| refusal.write(out, next)).await;
                let _closed = stream.shutdown().await;
                GreetError::Refused(refusal)
            }
        }
    }

    fn refuse(code: u16, state: &[u8; 5], text: impl Into<Vec<u8>>) -> Fault {
        Fault::Refuse(Refusal::new(code, state, text))
    }
}

impl From<ExchangeError> for Fault {
    fn from(error: ExchangeError) -> Fault {
        match error {
            ExchangeError::Closed => Fault::Fail(GreetError::Closed),
            ExchangeError::Io(error) => Fault::from(error),
            ExchangeError::TooLong => {
                Fault::refuse(1153, b"08S01", "Got a packet bigger than 'max_allowed_packet' bytes")
            }
            ExchangeError::OutOfOrder => Fault::refuse(1156, b"08S01", "Got packets out of order"),
            ExchangeError::Malformed(_) => Fault::refuse(1043, b"08S01", "Bad handshake"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Fail(GreetError::Io(error))
    }
}

impl From<CryptoError> for Fault {
    fn from(error: CryptoError) -> Fault {
        Fault::Fail(GreetError::Crypto(error))
    }
}

/// Greets, goes over to TLS if the client asks for it, and hears who it says it is.
async fn hear(
    mut stream: Stream,
    mut exchange: Exchange,
    door: &Door,
    thread_id: u32,
    nonce: [u8; 20],
) -> Result<(Stream, Exchange, Response), GreetError> {
    let first = say_hello(&mut stream, &mut exchange, door, thread_id, nonce).await;
    let first = match first {
        Ok(first) => first,
        Err(fault) => return Err(fault.tell(&mut stream, &mut exchange).await),
    };
    let config = door.tls.as_ref().filter(|_| is_ssl_request(&first));
    let (mut stream, heard) = match config {
        None => (stream, Ok(first)),
        Some(config) => {
            // What came behind the request is TLS's, and never a packet in clear.
            let early = Zeroizing::new(exchange.take_unread());
            let config = Arc::clone(config);
            let mut tls = tls::accept(stream, config, &early).await.map_err(GreetError::Tls)?;
            let heard = exchange.read(&mut tls).await;
            (tls, heard.map_err(Fault::from))
        }
    };
    match heard.and_then(|payload| understand(&payload, door, &stream)) {
        Ok(response) => Ok((stream, exchange, response)),
        Err(fault) => Err(fault.tell(&mut stream, &mut exchange).await),
    }
}

/// Sends the greeting and reads the first packet.
async fn say_hello(
    stream: &mut Stream,
    exchange: &mut Exchange,
    door: &Door,
    thread_id: u32,
    nonce: [u8; 20],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let greeting = Greeting {
        version: door.version.clone(),
        thread_id,
        nonce,
        capabilities: door.offer(),
        mariadb_extended: 0,
        charset: door.charset,
        status: Status::AUTOCOMMIT,
        plugin: CACHING_SHA2.into(),
    };
    let mut payload = Vec::new();
    greeting.encode(&mut payload);
    exchange.send_payload(stream, &payload).await?;
    Ok(exchange.read(stream).await?)
}

/// Reads the client's answer; a door for TLS only looks at no other, but a Unix socket is as
/// private.
fn understand(payload: &[u8], door: &Door, stream: &Stream) -> Result<Response, Fault> {
    if door.require_tls && !stream.is_private() {
        let text = "Connections using insecure transport are prohibited while \
                    --require_secure_transport=ON.";
        return Err(Fault::refuse(3159, b"HY000", text));
    }
    let response = Response::parse(payload).map_err(ExchangeError::from)?;
    if response.capabilities.has(Capabilities::COMPRESS) && is_mysqlnd(&response) {
        let text = "Compression is not offered, and PHP compresses all the same: connect without \
                    MYSQLI_CLIENT_COMPRESS";
        return Err(Fault::refuse(1157, b"08S01", text));
    }
    Ok(response)
}

/// PHP's driver does not look at what is offered; other clients that name compression do.
fn is_mysqlnd(response: &Response) -> bool {
    let name = response.attributes.iter().find(|(key, _)| key == b"_client_name");
    name.is_some_and(|(_, value)| value == b"mysqlnd")
}

/// A client that was let in, all but the stream.
struct Admitted {
    known: login::Known,
    response: Response,
    capabilities: Capabilities,
}

impl Admitted {
    fn into_guest(self, stream: Stream, mut exchange: Exchange) -> Guest {
        Guest {
            stream,
            credentials: self.known.credentials,
            capabilities: self.capabilities,
            charset: self.response.charset,
            database: self.response.database,
            attributes: self.response.attributes,
            sequence: self.known.sequence,
            unsent: self.known.unsent,
            unread: exchange.take_unread(),
        }
    }
}

async fn admit(
    stream: &mut Stream,
    exchange: &mut Exchange,
    door: &Door,
    peer: &Peer,
    nonce: [u8; 20],
    mut response: Response,
) -> Result<Admitted, Fault> {
    let capabilities = door.offer().intersect(response.capabilities);
    let switches = capabilities.has(Capabilities::PLUGIN_AUTH);
    let token = Zeroizing::new(std::mem::take(&mut response.auth));
    let mut login = Login { stream, exchange, door, peer, nonce, switches };
    let known = login.run(&response.user, response.plugin.as_deref(), token).await?;
    Ok(Admitted { known, response, capabilities })
}

impl Door {
    fn offer(&self) -> Capabilities {
        let offered = self.capabilities.with(NEEDED).without(Capabilities::SSL);
        if self.tls.is_some() { offered.with(Capabilities::SSL) } else { offered }
    }
}

#[cfg(test)]
mod tests;
