//! The steps by which a client proves its password, once we know who it says it is.
//!
//! One machine for a new connection and for COM_CHANGE_USER. An unknown name takes the same way
//! as a wrong password and hears the same words. Passwords stay in wiped buffers and in
//! [`Credentials`]; nothing here prints one. Only `client::greet` calls it.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout_at};
use zeroize::Zeroizing;

use super::{Door, Fault, THROTTLED};
use crate::client::accept::Peer;
use crate::link::{Exchange, Stream};
use crate::secret::throttle::Try;
use crate::secret::{Credentials, Digest, Recall};
use crate::session::refusal::Refusal::NoServer;
use crate::wire::auth::{
    CACHING_SHA2, FAST_OK, FULL, NATIVE, REQUEST_KEY, caching_sha2_verifies, native_verifies,
    xor_with_nonce,
};
use crate::wire::err::Err as Refusal;
use crate::wire::handshake::{write_more, write_switch};

/// Between two tries to have somebody to ask.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// A login under way.
pub(super) struct Login<'a> {
    pub(super) stream: &'a mut Stream,
    pub(super) exchange: &'a mut Exchange,
    pub(super) door: &'a Door,
    pub(super) peer: &'a Peer,
    pub(super) nonce: [u8; 20],
    /// The client can be asked to use another plugin.
    pub(super) switches: bool,
}

/// Who it was, and what has not been said yet.
pub(super) struct Known {
    pub(super) credentials: Arc<Credentials>,
    pub(super) sequence: u8,
    pub(super) unsent: Vec<u8>,
}

impl Login<'_> {
    /// Goes on from the plugin and the token that the client began with.
    pub(super) async fn run(
        &mut self,
        user: &[u8],
        plugin: Option<&[u8]>,
        token: Zeroizing<Vec<u8>>,
    ) -> Result<Known, Fault> {
        if self.door.book.is_denied(user) {
            return Err(self.denied(user, !is_empty(&token)));
        }
        match self.choose(user, plugin)? {
            // A client whose favourite is not the greeting's may begin with nothing at all.
            Step::Native if is_empty(&token) && self.switches => self.switch(user, NATIVE).await,
            Step::Native => self.finish_native(user, &token),
            Step::CachingSha2 => self.finish_caching_sha2(user, token).await,
            Step::SwitchTo(plugin) => self.switch(user, plugin).await,
        }
    }

    /// Asks for a token of this nonce, whatever the client began with.
    pub(super) async fn run_anew(
        &mut self,
        user: &[u8],
        plugin: Option<&[u8]>,
    ) -> Result<Known, Fault> {
        if self.door.book.is_denied(user) {
            return Err(self.denied(user, true));
        }
        match self.choose(user, plugin)? {
            Step::Native if !self.switches => Err(cannot_switch()),
            Step::Native => self.switch(user, NATIVE).await,
            Step::CachingSha2 => self.switch(user, CACHING_SHA2).await,
            Step::SwitchTo(plugin) => self.switch(user, plugin).await,
        }
    }

    /// Which plugin this account and this client can agree on.
    fn choose(&self, user: &[u8], plugin: Option<&[u8]>) -> Result<Step, Fault> {
        // A client that names no plugin is older than their names: native.
        let is_native = plugin.is_none_or(|name| name == NATIVE.as_bytes());
        let is_listed = self.door.book.is_listed(user);
        if is_native && is_listed {
            return Ok(Step::Native);
        }
        if plugin == Some(CACHING_SHA2.as_bytes()) {
            return Ok(Step::CachingSha2);
        }
        if self.switches { Ok(Step::SwitchTo(CACHING_SHA2)) } else { Err(cannot_switch()) }
    }

    async fn switch(&mut self, user: &[u8], plugin: &'static str) -> Result<Known, Fault> {
        let nonce = self.nonce;
        let ask = |out: &mut Vec<u8>, next| write_switch(out, next, plugin.as_bytes(), &nonce);
        self.exchange.send(self.stream, ask).await?;
        let token = self.exchange.read(self.stream).await?;
        if plugin == NATIVE {
            self.finish_native(user, &token)
        } else {
            self.finish_caching_sha2(user, token).await
        }
    }

    /// A native token shows that the client knows the password but not what it is: only for
    /// accounts whose password we have.
    fn finish_native(&self, user: &[u8], token: &[u8]) -> Result<Known, Fault> {
        let fits = |known: &crate::secret::Known| match is_empty(token) {
            true => known.credentials.is_password(b""),
            false => native_verifies::<Digest>(token, &self.nonce, &known.native),
        };
        match self.door.book.recall(user, now(), fits) {
            Recall::Fresh(credentials) => Ok(self.known(credentials)),
            Recall::Stale(_) | Recall::Void(_) | Recall::Unknown => {
                self.token()?.spend();
                Err(self.denied(user, !is_empty(token)))
            }
        }
    }

    async fn finish_caching_sha2(
        &mut self,
        user: &[u8],
        token: Zeroizing<Vec<u8>>,
    ) -> Result<Known, Fault> {
        if is_empty(&token) {
            return self.finish_password(user, Zeroizing::default()).await;
        }
        let nonce = self.nonce;
        let fits = |known: &crate::secret::Known| {
            caching_sha2_verifies::<Digest>(&token, &nonce, &known.verifier)
        };
        let credentials = match self.door.book.recall(user, now(), fits) {
            Recall::Fresh(credentials) => credentials,
            Recall::Stale(credentials) => self.prove(credentials, Trust::Old).await?,
            Recall::Void(credentials) => self.prove(credentials, Trust::Void).await?,
            Recall::Unknown => {
                // Opening a sealed password is work too.
                if !self.door.book.throttle.may_try(self.peer.source(), now()) {
                    return Err(self.throttled());
                }
                let password = self.ask_password(user).await?;
                return self.finish_password(user, password).await;
            }
        };
        let mut known = self.known(credentials);
        known.sequence = write_more(&mut known.unsent, known.sequence, &[FAST_OK]);
        Ok(known)
    }

    async fn finish_password(
        &mut self,
        user: &[u8],
        mut password: Zeroizing<Vec<u8>>,
    ) -> Result<Known, Fault> {
        let credentials = Credentials::new(user.to_vec(), std::mem::take(&mut *password))?;
        let credentials = Arc::new(credentials);
        let credentials = match self.recall(&credentials) {
            Recall::Fresh(credentials) => credentials,
            Recall::Stale(credentials) => self.prove(credentials, Trust::Old).await?,
            Recall::Void(credentials) => self.prove(credentials, Trust::Void).await?,
            Recall::Unknown if self.door.book.may_learn(user) => {
                self.prove(credentials, Trust::None).await?
            }
            Recall::Unknown => {
                self.token()?.spend();
                return Err(self.denied_with(&credentials));
            }
        };
        Ok(self.known(credentials))
    }

    /// Has the client send its password: in clear where nobody listens, else for our key.
    async fn ask_password(&mut self, user: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.exchange.send(self.stream, |out, next| write_more(out, next, &[FULL])).await?;
        let mut answer = self.exchange.read(self.stream).await?;
        if answer.as_slice() == [REQUEST_KEY] {
            return self.ask_sealed_password(user).await;
        }
        if !self.stream.is_private() {
            return Err(self.bare_password(user));
        }
        if answer.pop() == Some(0) { Ok(answer) } else { Err(self.denied(user, true)) }
    }

    async fn ask_sealed_password(&mut self, user: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let key = Arc::clone(&self.door.rsa);
        let pem = key.public_pem().as_bytes();
        self.exchange.send(self.stream, |out, next| write_more(out, next, pem)).await?;
        let sealed = self.exchange.read(self.stream).await?;
        let Ok(mut password) = key.decrypt(sealed.to_vec()).await else {
            return Err(self.denied(user, true));
        };
        xor_with_nonce(&mut password, &self.nonce);
        if password.pop() == Some(0) { Ok(password) } else { Err(self.denied(user, true)) }
    }

    /// Asks the primary. One that was right before stays so while there is nobody to ask; another
    /// waits for somebody as long as a login may take: wpdb does not try a first connect again. So
    /// does one whose account may have been changed: a primary that is busy is not away.
    async fn prove(
        &self,
        credentials: Arc<Credentials>,
        trust: Trust,
    ) -> Result<Arc<Credentials>, Fault> {
        // Some of the time is left to tell the client, who else would see nothing but a close.
        let until = tokio::time::Instant::now() + self.door.login_timeout.mul_f64(0.8);
        let (code, state, text) = NoServer.told();
        let mut nobody = Refusal::new(code, state, text);
        let is_time_left = || tokio::time::Instant::now() < until;
        // A primary that hangs does not even say no; of one that is known to be away it is said at
        // once, and what is ready is given out however late it is.
        while is_time_left()
            && let Ok(asked) = timeout_at(until, self.ask_primary(&credentials, trust)).await
        {
            match asked? {
                Ok(known) => return Ok(known),
                Err(_nobody) if trust == Trust::Old => return Ok(credentials),
                Err(because) => nobody = because,
            }
            sleep(ASK_AGAIN).await;
        }
        match trust {
            Trust::None => return Err(Fault::Refuse(nobody)),
            Trust::Void => self.door.book.spare(&credentials),
            Trust::Old => {}
        }
        Ok(credentials)
    }

    /// Once for all logins that bring the same password at the same time. The inner error: there
    /// is nobody to ask. One that was right before is never throttled.
    async fn ask_primary(
        &self,
        credentials: &Arc<Credentials>,
        trust: Trust,
    ) -> Result<Result<Arc<Credentials>, Refusal>, Fault> {
        let book = &self.door.book;
        let was_right = trust != Trust::None;
        if book.was_refused(credentials, now()) {
            return Err(self.denied_with(credentials));
        }
        let turn = book.turn(credentials, was_right).await?;
        // Who held the turn before us may have learned the answer.
        if let Recall::Fresh(known) = self.recall(credentials) {
            return Ok(Ok(known));
        }
        if book.was_refused(credentials, now()) {
            return Err(self.denied_with(credentials));
        }
        let token = if was_right { None } else { Some(self.token()?) };
        let Err(refusal) = self.door.prove.prove(Arc::clone(credentials), was_right).await else {
            return Ok(Ok(book.learn(Arc::clone(credentials), &turn, now())));
        };
        if meaning(&refusal) != Meaning::NobodyToAsk {
            token.into_iter().for_each(Try::spend);
        }
        match meaning(&refusal) {
            Meaning::WrongPassword => {
                book.refuse(credentials, now());
                Err(self.denied_with(credentials))
            }
            Meaning::Refused => {
                book.forget_password(credentials);
                Err(Fault::Refuse(refusal))
            }
            Meaning::NobodyToAsk => Ok(Err(refusal)),
        }
    }

    fn recall(&self, credentials: &Credentials) -> Recall {
        let same = |known: &crate::secret::Known| {
            credentials.expose(|password| known.credentials.is_password(password))
        };
        self.door.book.recall(&credentials.user, now(), same)
    }

    fn known(&self, credentials: Arc<Credentials>) -> Known {
        Known { credentials, sequence: self.exchange.sequence(), unsent: Vec::new() }
    }

    /// The right to be wrong once more.
    fn token(&self) -> Result<Try<'_>, Fault> {
        let token = self.door.book.throttle.take(self.peer.source(), now());
        token.ok_or_else(|| self.throttled())
    }

    /// This says nothing of the name or the password: neither was looked at.
    fn throttled(&self) -> Fault {
        let text =
            format!("Host '{}' is blocked for a moment: too many failed logins", self.peer.host());
        Fault::refuse(THROTTLED, b"HY000", text)
    }

    fn denied_with(&self, credentials: &Credentials) -> Fault {
        self.denied(&credentials.user, credentials.expose(|password| !password.is_empty()))
    }

    fn denied(&self, user: &[u8], with_password: bool) -> Fault {
        Fault::Refuse(self.denial(user, with_password))
    }

    /// The same words for an unknown name and a wrong password.
    fn denial(&self, user: &[u8], with_password: bool) -> Refusal {
        let mut text = b"Access denied for user '".to_vec();
        text.extend_from_slice(user);
        let using = if with_password { "YES" } else { "NO" };
        let host = self.peer.host();
        text.extend_from_slice(format!("'@'{host}' (using password: {using})").as_bytes());
        Refusal::new(1045, b"28000", text)
    }

    /// The client showed its password to everyone on the way. Known or not, it is not used: the
    /// operator is told once, the client each time.
    fn bare_password(&self, user: &[u8]) -> Fault {
        if self.door.bare_passwords.fetch_add(1, Ordering::Relaxed) == 0 {
            let (user, host) = (String::from_utf8_lossy(user), self.peer.host());
            tracing::warn!(
                %user, %host,
                "a client sent its password in clear without TLS: refused; change that password"
            );
        }
        let mut refusal = self.denial(user, true);
        refusal.message.extend_from_slice(b"; this client needs TLS here");
        Fault::Refuse(refusal)
    }
}

/// What is known of a password that has to be proved.
#[derive(Clone, Copy, PartialEq)]
enum Trust {
    /// Nothing.
    None,
    /// It was right, and accounts were changed since.
    Void,
    /// It was right a while ago.
    Old,
}

/// How to go on.
enum Step {
    Native,
    CachingSha2,
    SwitchTo(&'static str),
}

/// What the primary's answer says about the password.
#[derive(PartialEq)]
enum Meaning {
    WrongPassword,
    Refused,
    NobodyToAsk,
}

fn meaning(refusal: &Refusal) -> Meaning {
    match refusal.code {
        // Access denied, with and without a password.
        1045 | 1698 => Meaning::WrongPassword,
        // No right to the schema, expired, to be changed, locked (MySQL, MariaDB), no such
        // plugin, host not allowed.
        1044 | 1862 | 1820 | 3118 | 4151 | 1251 | 1524 | 1130 => Meaning::Refused,
        _ => Meaning::NobodyToAsk,
    }
}

fn cannot_switch() -> Fault {
    let text = "Client does not support authentication protocol requested by server; consider \
                upgrading MySQL client";
    Fault::refuse(1251, b"08004", text)
}

/// Clients send an empty password as nothing, or as a lone NUL.
fn is_empty(token: &[u8]) -> bool {
    matches!(token, [] | [0])
}

/// Tokio's clock, so that tests may move it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
