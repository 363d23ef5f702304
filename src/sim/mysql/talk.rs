//! The conversation of one connection with a toy server: greeting, login, commands, replies.
//!
//! Built on `wire` from the server's side. What goes wrong on purpose goes wrong here: before a
//! statement runs, after it ran, in the middle of its reply.

use std::sync::Arc;

use super::dump::Reader;
use super::session::{Answer, Session, read_only};
use super::{Farm, Server};
use crate::client::greet::OFFERED;
use crate::secret::Digest;
use crate::sim::link::Line;
use crate::sim::php::PASSWORD;
use crate::sim::query;
use crate::sim::random::Random;
use crate::sql::Flavour;
use crate::wire::auth::{
    CACHING_SHA2, FAST_OK, NATIVE, caching_sha2_stage2, caching_sha2_verifies, native_stage2,
    native_verifies,
};
use crate::wire::capability::Capabilities;
use crate::wire::command::Command;
use crate::wire::err::Err as Refused;
use crate::wire::frame::{build_packet, write_packet};
use crate::wire::handshake::{Greeting, Response, write_more};
use crate::wire::ok::{Ok as OkPacket, Status, write_eof, write_ok};
use crate::wire::resultset::write_rows;

/// Any nonce will do: nobody listens.
const NONCE: [u8; 20] = *b"abcdefghijklmnopqrst";

/// Serves one connection until either side ends it, or the server dies.
pub(super) async fn serve(farm: Arc<Farm>, at: usize, mut line: Line, random: Random) {
    let Some(server) = farm.server(at) else { return };
    let deaths = server.deaths();
    let talk = Talk { farm: &farm, server, line: &mut line, random };
    // Cancel-safe: what is dropped here is a server that dies.
    tokio::select! {
        biased;
        () = server.dies_after(deaths) => {}
        _ended = talk.run() => {}
    }
}

struct Talk<'a> {
    farm: &'a Arc<Farm>,
    server: &'a Server,
    line: &'a mut Line,
    random: Random,
}

/// How a statement goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    LostBefore,
    LostAfter,
    LostWithin,
    Leaves,
    RefusesRead,
}

impl Talk<'_> {
    async fn run(mut self) -> Option<()> {
        let (mut session, capabilities) = self.welcome().await?;
        loop {
            if self.line.is_closed() {
                return None;
            }
            let (_, payload) = self.line.packet().await?;
            let ms = self.random.between(0, self.farm.profile.work_ms_max);
            self.line.pause(ms).await;
            self.thaw().await;
            let command = Command::parse(&payload, capabilities).ok()?;
            let fault = self.fault(&command);
            if let Some(fault) = fault {
                let event = format!("server {} {fault:?} at {}", self.server.at, shown(&payload));
                self.farm.oracle.fault(&event);
                if fault != Fault::RefusesRead {
                    session.lost();
                }
            }
            session.is_heard = !self.line.is_closed();
            if fault.is_none() && matches!(command, Command::BinlogDump) {
                let last = session.last_followed(&payload);
                return Reader::new(self.farm, self.server, self.line, self.random)
                    .follow(last)
                    .await;
            }
            let reply = match fault {
                Some(Fault::LostBefore) => return None,
                Some(Fault::Leaves) => {
                    let mut reply = Vec::new();
                    Refused::new(1053, b"08S01", "Server shutdown in progress")
                        .write(&mut reply, 1);
                    self.line.write(&reply).await;
                    return None;
                }
                Some(Fault::RefusesRead) => packets(&mut session, read_only(), capabilities),
                _ => reply_to(&command, &mut session, capabilities)?,
            };
            match fault {
                Some(Fault::LostAfter) => return None,
                Some(Fault::LostWithin) => {
                    let len = self.random.between(1, (reply.len() as u64).saturating_sub(1));
                    let part = reply.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
                    self.line.write(part).await;
                    return None;
                }
                _ => {}
            }
            if !self.line.write(&reply).await {
                return None;
            }
        }
    }

    /// While the server is frozen nothing goes on.
    async fn thaw(&mut self) {
        while self.server.look(|state| state.frozen) {
            self.line.pause(20).await;
        }
    }

    /// Greets, and takes whoever knows the password.
    async fn welcome(&mut self) -> Option<(Session, Capabilities)> {
        self.thaw().await;
        if self.server.look(|state| state.full) {
            let mut out = Vec::new();
            Refused::new(1040, b"08004", "Too many connections").write_as_greeting(&mut out);
            self.line.write(&out).await;
            return None;
        }
        let thread = self.server.change(|state| {
            state.threads += 1;
            state.threads
        });
        let greeting = self.greeting(thread);
        let mut payload = Vec::new();
        greeting.encode(&mut payload);
        let mut out = Vec::new();
        write_packet(&mut out, 0, &payload);
        self.line.write(&out).await;
        let (number, payload) = self.line.packet().await?;
        let response = Response::parse(&payload).ok()?;
        let capabilities = greeting.capabilities.intersect(response.capabilities);
        let mut out = Vec::new();
        let mut next = number.wrapping_add(1);
        if !is_known(&response) {
            Refused::new(1045, b"28000", "Access denied").write(&mut out, next);
            self.line.write(&out).await;
            return None;
        }
        if response.plugin.as_deref() == Some(CACHING_SHA2.as_bytes()) && !response.auth.is_empty()
        {
            next = write_more(&mut out, next, &[FAST_OK]);
        }
        write_ok(&mut out, next, Status::AUTOCOMMIT, capabilities);
        let session = Session::new(Arc::clone(self.farm), self.server.at, thread, response.charset);
        let closed = self.line.closed();
        self.server.change(|state| state.count(closed));
        self.line.write(&out).await;
        Some((session, capabilities))
    }

    fn greeting(&self, thread_id: u32) -> Greeting {
        let is_mariadb = self.farm.profile.flavour == Flavour::MariaDb;
        let capabilities = OFFERED.with(Capabilities::LOCAL_FILES);
        Greeting {
            version: match is_mariadb {
                true => b"5.5.5-10.11.6-MariaDB-toy".to_vec(),
                false => b"8.4.0-toy".to_vec(),
            },
            thread_id,
            nonce: NONCE,
            capabilities: match is_mariadb {
                true => capabilities.without(Capabilities::LONG_PASSWORD),
                false => capabilities,
            },
            mariadb_extended: 0,
            charset: if self.server.is_primary() { 255 } else { 8 },
            status: Status::AUTOCOMMIT,
            plugin: if is_mariadb { NATIVE } else { CACHING_SHA2 }.into(),
        }
    }

    fn fault(&mut self, command: &Command<'_>) -> Option<Fault> {
        if self.farm.is_calm() {
            return None;
        }
        let profile = &self.farm.profile;
        // A long result has a long time to break off in.
        let is_long = matches!(command, Command::Query(text)
            if text.starts_with(b"SELECT token, filling"));
        let within = if is_long { profile.lost_within * 20 } else { profile.lost_within };
        for (often, fault) in [
            (profile.lost_before, Fault::LostBefore),
            (profile.lost_after, Fault::LostAfter),
            (within, Fault::LostWithin),
            (profile.leaves, Fault::Leaves),
        ] {
            if self.random.chance(often) {
                return Some(fault);
            }
        }
        let is_read = matches!(command, Command::Query(text)
            if query::client_of(&String::from_utf8_lossy(text)).is_some());
        let refuses =
            is_read && !self.server.is_primary() && self.random.chance(profile.refuses_read);
        refuses.then_some(Fault::RefusesRead)
    }
}

/// Empty for the learned account, the word for the listed one.
fn is_known(response: &Response) -> bool {
    let password: &[u8] = match response.user.as_slice() {
        b"php" => b"",
        b"shop" => PASSWORD,
        _ => return false,
    };
    if password.is_empty() || response.auth.is_empty() {
        return password.is_empty() && response.auth.is_empty();
    }
    let stage2 = native_stage2::<Digest>(password);
    native_verifies::<Digest>(&response.auth, &NONCE, &stage2)
        || caching_sha2_verifies::<Digest>(
            &response.auth,
            &NONCE,
            &caching_sha2_stage2::<Digest>(password),
        )
}

/// None: the connection ends.
fn reply_to(
    command: &Command<'_>,
    session: &mut Session,
    capabilities: Capabilities,
) -> Option<Vec<u8>> {
    let answer = match command {
        Command::Quit => return None,
        Command::Query(text) => session.run(&String::from_utf8_lossy(text)),
        Command::InitDb(name) => session.use_database(&String::from_utf8_lossy(name)),
        Command::ResetConnection => {
            session.reset();
            Answer::Done { affected: 0, insert_id: 0 }
        }
        Command::Ping => Answer::Done { affected: 0, insert_id: 0 },
        Command::SetOption(_) => {
            let mut out = Vec::new();
            write_eof(&mut out, 1, session.status(), 0);
            return Some(out);
        }
        _ => Answer::Refused(Refused::new(1047, b"08S01", "Unknown command")),
    };
    Some(packets(session, answer, capabilities))
}

fn packets(session: &mut Session, answer: Answer, capabilities: Capabilities) -> Vec<u8> {
    let mut out = Vec::new();
    let tracked = std::mem::take(&mut session.told);
    match answer {
        Answer::Done { affected, insert_id } => {
            let status = session.status();
            let ok = OkPacket { affected, insert_id, status, warnings: 0, info: b"", tracked };
            build_packet(&mut out, 1, |out| ok.encode(out, 0, capabilities));
        }
        Answer::Rows(columns, rows) => {
            write_rows(&mut out, capabilities, session.status(), &columns, &rows);
        }
        Answer::Refused(refused) => {
            refused.write(&mut out, 1);
        }
    }
    out
}

/// The beginning of a command, for people.
fn shown(payload: &[u8]) -> String {
    if let Some(0x12 | 0x1e) = payload.first() {
        // A follower's number is not the seed's.
        return "the log".into();
    }
    let text = String::from_utf8_lossy(payload.get(1..).unwrap_or_default());
    let short: String = text.chars().take(80).collect();
    format!("{} {short:?}", payload.first().copied().unwrap_or_default())
}
