//! From an accepted socket to a conversation: the login, the first database, the character set.
//!
//! Also COM_CHANGE_USER, which is the same once more on an open connection.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use crate::client::accept::{Arrival, Peer};
use crate::client::announce::Unheard;
use crate::client::greet::{Door, GreetError, Guest, change_user, greet};
use crate::client::house::House;
use crate::client::relay::write_out;
use crate::client::serve::{Conversation, Next};
use crate::cluster::Role;
use crate::link::Stream;
use crate::metrics::Login;
use crate::secret::Credentials;
use crate::session::Session;
use crate::session::refusal::Refusal;
use crate::sql::{Flavour, Mode};
use crate::wire::capability::Capabilities;
use crate::wire::err::Err as ErrPacket;
use crate::wire::handshake::ChangeUser;
use crate::wire::ok::{Status, write_ok};

/// Between two looks whether the primary's version is known.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

/// Serves one client from its greeting to its end.
pub fn enter(arrival: Arrival, house: Arc<House>) -> impl Future<Output = ()> + Send {
    let present = house.metrics.admit();
    let Arrival { stream, peer, permit } = arrival;
    // Boxed: the login's state must not live as long as the session does.
    let entering = Box::pin(log_in(stream, peer, house));
    async move {
        let _leaves_with_it = (present, permit);
        if let Some(conversation) = entering.await {
            conversation.serve().await;
        }
    }
}

/// Boxed, or the task would hold the conversation twice: here and where it is served.
async fn log_in(mut stream: Stream, peer: Peer, house: Arc<House>) -> Option<Box<Conversation>> {
    let (peer, early) = match house.announcers.hear(&mut stream, peer).await {
        Ok(heard) => heard,
        Err(error) => {
            note_unheard(&house, peer, &error);
            return None;
        }
    };
    let Some(door) = wait_for_door(&house, &mut stream).await else {
        let mut out = Vec::new();
        let (code, state, text) = Refusal::NoServer.told();
        ErrPacket::new(code, state, text).write_as_greeting(&mut out);
        let _told_or_gone = write_out(&mut stream, &out).await;
        return None;
    };
    let id = house.next_session();
    let guest = match greet(stream, early, &door, id as u32, &peer).await {
        Ok(guest) => guest,
        Err(error) => {
            note_failure(&house, &peer, &error);
            return None;
        }
    };
    let conversation = Conversation::of_guest(guest, id, house, Arc::new(peer)).await;
    conversation.ok().flatten().map(Box::new)
}

/// A balancer that does not announce is a mistake of its configuration; one that only looks for
/// an open port is none.
fn note_unheard(house: &House, peer: Peer, error: &Unheard) {
    let host = peer.host();
    match error {
        Unheard::Closed | Unheard::Io(_) => tracing::debug!(%host, %error, "nobody was announced"),
        _ => tracing::warn!(%host, %error, "nobody was announced"),
    }
    house.metrics.logins.inc(Login::Broken);
}

fn note_failure(house: &House, peer: &Peer, error: &GreetError) {
    tracing::debug!(host = %peer.host(), %error, "a login failed");
    house.metrics.logins.inc(match error {
        _ if error.is_throttled() => Login::Throttled,
        GreetError::Refused(_) => Login::Denied,
        _ => Login::Broken,
    });
}

/// A newcomer is held while the primary's version is not known: a first connect is never retried.
async fn wait_for_door(house: &House, stream: &mut Stream) -> Option<Arc<Door>> {
    let deadline = Instant::now() + house.wait_max;
    loop {
        if let Some(door) = house.door.load_full() {
            return Some(door);
        }
        if Instant::now() >= deadline || stream.is_closed_now() {
            return None;
        }
        sleep(LOOK_AGAIN).await;
    }
}

impl Conversation {
    /// The last steps of a login. None: the client was turned away.
    async fn of_guest(
        mut guest: Guest,
        id: u64,
        house: Arc<House>,
        peer: Arc<Peer>,
    ) -> io::Result<Option<Self>> {
        let mut out = Vec::new();
        if let Err(refused) = house.fleet.acquaint(&guest.credentials).await {
            guest.write_err(&mut out, &refused);
            write_out(&mut guest.stream, &out).await?;
            return Ok(None);
        }
        let mut session = Session::new(id, fresh_mode(&house));
        if guest.capabilities.has(Capabilities::MULTI_STATEMENTS) {
            session.allow_multi_statements();
        }
        begin_spaces(&mut session, &house, guest.capabilities);
        let charset = u16::from(guest.charset);
        begin_charset(&mut session, &house, charset);
        let account = house.fleet.account_of(&guest.credentials);
        if let Some(name) = guest.database.take().filter(|name| !name.is_empty()) {
            let (user, stream) = (&guest.credentials, &mut guest.stream);
            if let Err(refused) = check_database(&house, user, account, &name, stream).await {
                guest.write_err(&mut out, &refused);
                write_out(&mut guest.stream, &out).await?;
                return Ok(None);
            }
            session.begin_with(|values| values.database = Some(name.into()));
        }
        guest.write_ok(&mut out, Status::AUTOCOMMIT);
        house.metrics.logins.inc(Login::Known);
        let Guest { stream, credentials, capabilities, unread, .. } = guest;
        let mut conversation = Self::new(stream, capabilities, session, house, credentials, peer);
        conversation.unread = unread;
        conversation.charset = charset;
        write_out(&mut conversation.client, &out).await?;
        Ok(Some(conversation))
    }

    /// COM_RESET_CONNECTION: nothing is left of the session but its database; MariaDB leaves the
    /// character set of the login too.
    pub(super) fn reset(&mut self) {
        self.leave();
        self.session.reset();
        self.rehearsal = None;
        if self.session.mode().flavour == Flavour::MariaDb {
            begin_charset(&mut self.session, &self.house, self.charset);
        }
    }

    /// COM_CHANGE_USER: another login, and nothing left of the session.
    pub(super) async fn change_user(&mut self, body: &[u8]) -> io::Result<Next> {
        let Ok(request) = ChangeUser::parse(body, self.capabilities) else {
            self.refuse(Refusal::Malformed).await?;
            return Ok(Next::End);
        };
        let Some(door) = self.house.door.load_full() else {
            self.refuse(Refusal::NoServer).await?;
            return Ok(Next::End);
        };
        self.leave();
        self.rehearsal = None;
        let unread = std::mem::take(&mut self.unread);
        let changing =
            change_user(&mut self.client, &door, &self.peer, &request, self.capabilities, unread);
        let changed = match changing.await {
            Ok(changed) => changed,
            Err(error) => {
                note_failure(&self.house, &self.peer, &error);
                return Ok(Next::End);
            }
        };
        self.unread = changed.unread;
        self.credentials = changed.credentials;
        self.seat.change_user(&self.credentials);
        self.account = self.house.fleet.account_of(&self.credentials);
        self.names = self.house.fleet.catalogs.of(self.account, &self.credentials);
        let mut out = changed.unsent;
        if let Err(refused) = self.house.fleet.acquaint(&self.credentials).await {
            refused.write(&mut out, changed.sequence);
            write_out(&mut self.client, &out).await?;
            return Ok(Next::End);
        }
        let mut session = Session::new(self.session.id, fresh_mode(&self.house));
        // It stays as COM_SET_OPTION has set it.
        if self.session.allows_multi_statements() {
            session.allow_multi_statements();
        }
        begin_spaces(&mut session, &self.house, self.capabilities);
        if let Some(charset) = request.charset {
            begin_charset(&mut session, &self.house, charset);
            self.charset = charset;
        }
        self.session = session;
        if let Some(name) = request.database.filter(|name| !name.is_empty()) {
            let (house, user, client) = (&self.house, &self.credentials, &mut self.client);
            if let Err(refused) = check_database(house, user, self.account, &name, client).await {
                refused.write(&mut out, changed.sequence);
                write_out(&mut self.client, &out).await?;
                return Ok(Next::End);
            }
            self.session.begin_with(|values| values.database = Some(name.into()));
        }
        write_ok(&mut out, changed.sequence, Status::AUTOCOMMIT, self.capabilities);
        write_out(&mut self.client, &out).await?;
        Ok(Next::Command)
    }
}

/// Whether the account may use the schema. While the primary is away it waits, as statements do:
/// a first connect is never tried again.
async fn check_database(
    house: &House,
    credentials: &Arc<Credentials>,
    account: u64,
    name: &[u8],
    client: &mut Stream,
) -> Result<(), ErrPacket> {
    let replays = &house.fleet.replays;
    if replays.knows_schema(account, name) {
        return Ok(());
    }
    let asked = replays.ask();
    let deadline = Instant::now() + house.wait_max;
    let (away, ..) = Refusal::NoServer.told();
    loop {
        match house.fleet.check_database(credentials, account, name).await {
            Err(refused)
                if refused.code == away
                    && Instant::now() < house.fleet.primary_awaited(deadline)
                    && !client.is_closed_now() =>
            {
                sleep(LOOK_AGAIN).await;
            }
            Ok(asked_of) => {
                if asked_of == Role::Primary {
                    replays.keep_schema(asked, account, name);
                }
                return Ok(());
            }
            Err(refused) => return Err(refused),
        }
    }
}

/// How the servers read the text of a client that has set nothing.
pub(super) fn fresh_mode(house: &House) -> Mode {
    let primary = house.fleet.snapshot().primary;
    let pool = primary.and_then(|id| house.fleet.pool(id));
    let flavour = pool.map_or(Flavour::MySql, |pool| pool.dialer().flavour());
    match house.fleet.baseline() {
        Some(baseline) => baseline.mode(flavour),
        // Nothing is known of the servers: nothing is lexed, everything goes to the primary.
        None => Mode { lexable: false, flavour, ..Mode::default() },
    }
}

/// A client that says so may put blanks before parentheses.
fn begin_spaces(session: &mut Session, house: &House, client: Capabilities) {
    let baseline = house.fleet.baseline();
    let sql_mode = baseline.as_ref().and_then(|baseline| baseline.value("sql_mode"));
    if let (true, Some(sql_mode)) = (client.has(Capabilities::IGNORE_SPACE), sql_mode) {
        let sql_mode = with_ignore_space(sql_mode);
        session.begin_with(|values| {
            values.set_variable(b"sql_mode", &sql_mode);
        });
    }
}

/// The mode that servers add for such a client, where they would show it.
fn with_ignore_space(sql_mode: &[u8]) -> Vec<u8> {
    const BEFORE: [&[u8]; 3] = [b"REAL_AS_FLOAT", b"PIPES_AS_CONCAT", b"ANSI_QUOTES"];
    const ADDED: &[u8] = b"IGNORE_SPACE";
    let words = || sql_mode.split(|byte| *byte == b',').filter(|word| !word.is_empty());
    let before = words().filter(|word| BEFORE.contains(word));
    let after = words().filter(|word| !BEFORE.contains(word) && *word != ADDED);
    let all: Vec<&[u8]> = before.chain([ADDED]).chain(after).collect();
    all.join(&b","[..])
}

/// The collation that a client named at its login acts as SET NAMES does.
fn begin_charset(session: &mut Session, house: &House, id: u16) {
    let Some(baseline) = house.fleet.baseline() else { return };
    let Some((charset, collation)) = baseline.collations.get(&id) else { return };
    if baseline.value("collation_connection") == Some(collation) {
        return;
    }
    session.begin_with(|values| {
        for name in ["character_set_client", "character_set_results", "character_set_connection"] {
            values.set_variable(name.as_bytes(), charset);
        }
        values.set_variable(b"collation_connection", collation);
    });
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Arrival, House, enter, with_ignore_space};

    #[test]
    fn a_mode_stands_where_servers_show_it() {
        let check = |mode: &str, expected: &str| {
            let got = with_ignore_space(mode.as_bytes());
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{mode}");
        };
        check("", "IGNORE_SPACE");
        check("STRICT_TRANS_TABLES", "IGNORE_SPACE,STRICT_TRANS_TABLES");
        check("ANSI_QUOTES", "ANSI_QUOTES,IGNORE_SPACE");
        check("PIPES_AS_CONCAT,ANSI_QUOTES,X", "PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,X");
        check("REAL_AS_FLOAT,IGNORE_SPACE,X", "REAL_AS_FLOAT,IGNORE_SPACE,X");
    }

    /// An idle client costs little more than this future: one that grows is a leak of design. A
    /// login's state is boxed for that reason.
    #[test]
    fn an_idle_session_is_small() {
        fn size_of_task<F>(_: &dyn Fn(Arrival, Arc<House>) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_task(&enter);
        assert!(bytes <= 1024, "{bytes} bytes a session");
    }
}
