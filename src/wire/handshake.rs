//! The first packets of a connection: greeting, answer, TLS request, change of user, auth steps.
//!
//! Values only: who may come in is `client`'s, how to log in is `backend`'s. Read before anyone
//! is known, so every length is bounded. Called by `client::greet` and `backend::dial`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html

use super::capability::Capabilities;
use super::cursor::{Cursor, put_lenenc_bytes, put_nul_bytes, put_u16, put_u32};
use super::frame::build_packet;
use super::ok::Status;
use super::{Malformed, malformed};
use crate::limits::{CONNECT_ATTRIBUTES_BYTES_MAX, NAME_BYTES_MAX};

/// What a server says first.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The server's version as text.
    pub version: Vec<u8>,
    /// The connection's number, its lower 32 bits.
    pub thread_id: u32,
    /// What tokens are made with.
    pub nonce: [u8; 20],
    /// What the server can do.
    pub capabilities: Capabilities,
    /// What MariaDB can do beyond that; counts only when LONG_PASSWORD is not set.
    pub mariadb_extended: u32,
    /// Low byte of the default collation's number.
    pub charset: u8,
    /// The new session's state.
    pub status: Status,
    /// The plugin that the server would like to be answered with.
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// Reads the payload; an ERR in its place is the caller's matter.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8() != Ok(10) {
            return malformed("not a greeting of protocol 10");
        }
        let version = name(cursor.nul_bytes()?)?;
        let thread_id = cursor.u32()?;
        let first = cursor.bytes(8)?;
        cursor.u8()?;
        let low = cursor.u16()?;
        let charset = cursor.u8()?;
        let status = Status(cursor.u16()?);
        let high = cursor.u16()?;
        let capabilities = Capabilities(u32::from(low) | u32::from(high) << 16);
        let nonce_len = cursor.u8()?;
        cursor.bytes(6)?;
        let extended = cursor.u32()?;
        let mariadb = !capabilities.has(Capabilities::LONG_PASSWORD);
        let mariadb_extended = if mariadb { extended } else { 0 };
        if !capabilities.has(Capabilities::SECURE_CONNECTION) {
            return malformed("a greeting without a nonce of 20 bytes");
        }
        let second = cursor.bytes(usize::from(nonce_len).saturating_sub(8).max(13))?;
        let mut nonce = [0; 20];
        nonce.iter_mut().zip(first.iter().chain(second)).for_each(|(to, from)| *to = *from);
        let plugin = match capabilities.has(Capabilities::PLUGIN_AUTH) {
            true => name(nul_or_rest(&mut cursor))?,
            false => super::auth::NATIVE.as_bytes().to_vec(),
        };
        Ok(Self {
            version,
            thread_id,
            nonce,
            capabilities,
            mariadb_extended,
            charset,
            status,
            plugin,
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _] = &self.nonce;
        let [_, _, _, _, _, _, _, _, second @ ..] = &self.nonce;
        let [c0, c1, c2, c3] = self.capabilities.0.to_le_bytes();
        out.push(10);
        put_nul_bytes(out, &self.version);
        put_u32(out, self.thread_id);
        out.extend_from_slice(first);
        out.push(0);
        out.extend_from_slice(&[c0, c1, self.charset]);
        put_u16(out, self.status.0);
        out.extend_from_slice(&[c2, c3, 21]);
        out.extend_from_slice(&[0; 6]);
        put_u32(out, self.mariadb_extended);
        out.extend_from_slice(second);
        out.push(0);
        put_nul_bytes(out, &self.plugin);
    }
}

/// What a client answers.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_response.html
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// What the client wants of what was offered; it may claim more.
    pub capabilities: Capabilities,
    /// The longest packet it takes.
    pub packet_bytes_max: u32,
    /// Low byte of its collation's number.
    pub charset: u8,
    /// Who it says it is.
    pub user: Vec<u8>,
    /// A token, or nothing.
    pub auth: Vec<u8>,
    /// The schema it wants to start in; an empty name is none.
    pub database: Option<Vec<u8>>,
    /// The plugin that the token is of.
    pub plugin: Option<Vec<u8>>,
    /// What it tells about itself.
    pub attributes: Attributes,
}

impl Response {
    /// Reads the payload.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let capabilities = Capabilities(cursor.u32()?);
        if !capabilities.has(Capabilities::PROTOCOL_41.with(Capabilities::SECURE_CONNECTION)) {
            return malformed("a client of before 4.1");
        }
        let packet_bytes_max = cursor.u32()?;
        let charset = cursor.u8()?;
        cursor.bytes(23)?;
        let user = name(cursor.nul_bytes()?)?;
        let auth = match capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            true => cursor.lenenc_bytes()?,
            false => short_bytes(&mut cursor)?,
        };
        let database = match capabilities.has(Capabilities::CONNECT_WITH_DB) {
            true => Some(name(nul_or_rest(&mut cursor))?).filter(|name| !name.is_empty()),
            false => None,
        };
        let plugin = match capabilities.has(Capabilities::PLUGIN_AUTH) {
            true => Some(name(nul_or_rest(&mut cursor))?),
            false => None,
        };
        let attributes = match capabilities.has(Capabilities::CONNECT_ATTRS) {
            true => read_attributes(&mut cursor)?,
            false => Vec::new(),
        };
        let auth = auth.to_vec();
        Ok(Self {
            capabilities,
            packet_bytes_max,
            charset,
            user,
            auth,
            database,
            plugin,
            attributes,
        })
    }

    /// Appends the payload. The fields that are written are those that `capabilities` names.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_ssl_request(out, self.capabilities, self.packet_bytes_max, self.charset);
        put_nul_bytes(out, &self.user);
        match self.capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            true => put_lenenc_bytes(out, &self.auth),
            false => put_short_bytes(out, &self.auth),
        }
        if self.capabilities.has(Capabilities::CONNECT_WITH_DB) {
            put_nul_bytes(out, self.database.as_deref().unwrap_or_default());
        }
        if self.capabilities.has(Capabilities::PLUGIN_AUTH) {
            put_nul_bytes(out, self.plugin.as_deref().unwrap_or_default());
        }
        if self.capabilities.has(Capabilities::CONNECT_ATTRS) {
            put_attributes(out, &self.attributes);
        }
    }
}

/// The token may be a password: it is not printed.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("capabilities", &self.capabilities)
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("plugin", &self.plugin.as_deref().map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}

/// Names and values, in the order they came.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The client wants TLS before it says who it is.
pub fn is_ssl_request(payload: &[u8]) -> bool {
    let flags = Cursor::new(payload).u32().map(Capabilities);
    payload.len() == 32 && flags.is_ok_and(|flags| flags.has(Capabilities::SSL))
}

/// Appends the payload that asks for TLS: the first 32 bytes of an answer.
pub fn write_ssl_request(
    out: &mut Vec<u8>,
    capabilities: Capabilities,
    packet_bytes_max: u32,
    charset: u8,
) {
    put_u32(out, capabilities.0);
    put_u32(out, packet_bytes_max);
    out.push(charset);
    out.extend_from_slice(&[0; 23]);
}

/// The body of COM_CHANGE_USER.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_change_user.html
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// Who it wants to be.
    pub user: Vec<u8>,
    /// A token, most likely for a nonce that is no longer valid.
    pub auth: Vec<u8>,
    /// The schema it wants; an empty name is none.
    pub database: Option<Vec<u8>>,
    /// Its collation's number.
    pub charset: Option<u16>,
    /// The plugin that the token is of.
    pub plugin: Option<Vec<u8>>,
    /// What it tells about itself.
    pub attributes: Attributes,
}

impl ChangeUser {
    /// Reads the body, which is what follows the command's first byte.
    pub fn parse(body: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let user = name(cursor.nul_bytes()?)?;
        let auth = short_bytes(&mut cursor)?.to_vec();
        let database = Some(name(nul_or_rest(&mut cursor))?).filter(|name| !name.is_empty());
        let mut change =
            Self { user, auth, database, charset: None, plugin: None, attributes: Vec::new() };
        // Old clients end here.
        if cursor.remaining() == 0 {
            return Ok(change);
        }
        change.charset = Some(cursor.u16()?);
        if capabilities.has(Capabilities::PLUGIN_AUTH) && cursor.remaining() > 0 {
            change.plugin = Some(name(nul_or_rest(&mut cursor))?);
        }
        if capabilities.has(Capabilities::CONNECT_ATTRS) {
            change.attributes = read_attributes(&mut cursor)?;
        }
        Ok(change)
    }

    /// Appends the body for a server that agreed on `capabilities`.
    pub fn encode(&self, out: &mut Vec<u8>, capabilities: Capabilities) {
        put_nul_bytes(out, &self.user);
        put_short_bytes(out, &self.auth);
        put_nul_bytes(out, self.database.as_deref().unwrap_or_default());
        let Some(charset) = self.charset else { return };
        put_u16(out, charset);
        let Some(plugin) = self.plugin.as_deref() else { return };
        if capabilities.has(Capabilities::PLUGIN_AUTH) {
            put_nul_bytes(out, plugin);
        }
        if capabilities.has(Capabilities::CONNECT_ATTRS) {
            put_attributes(out, &self.attributes);
        }
    }
}

/// The token may be a password: it is not printed.
impl std::fmt::Debug for ChangeUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeUser")
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("charset", &self.charset)
            .finish_non_exhaustive()
    }
}

/// What a server says while a login goes on.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_switch_request.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStep<'a> {
    /// Welcome.
    Ok,
    /// No.
    Err,
    /// Use this plugin, with this nonce.
    Switch {
        /// Its name.
        plugin: &'a [u8],
        /// The nonce without its closing NUL.
        nonce: &'a [u8],
    },
    /// The plugin has more to say.
    More(&'a [u8]),
}

impl<'a> AuthStep<'a> {
    /// Reads the payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        match cursor.u8() {
            Ok(0x00) => Ok(Self::Ok),
            Ok(0x01) => Ok(Self::More(cursor.rest())),
            // The request of before 4.1 names nothing, and means one plugin.
            Ok(0xfe) if cursor.remaining() == 0 => {
                Ok(Self::Switch { plugin: b"mysql_old_password", nonce: b"" })
            }
            Ok(0xfe) => {
                let plugin = cursor.nul_bytes()?;
                let rest = cursor.rest();
                Ok(Self::Switch { plugin, nonce: rest.strip_suffix(&[0]).unwrap_or(rest) })
            }
            Ok(0xff) => Ok(Self::Err),
            Ok(_) | Err(_) => malformed("not a step of a login"),
        }
    }
}

/// Appends the packet that asks for another plugin; returns the sequence number that comes next.
pub fn write_switch(out: &mut Vec<u8>, sequence: u8, plugin: &[u8], nonce: &[u8; 20]) -> u8 {
    build_packet(out, sequence, |out| {
        out.push(0xfe);
        put_nul_bytes(out, plugin);
        out.extend_from_slice(nonce);
        out.push(0);
    })
}

/// Appends a packet with what a plugin has to say; returns the sequence number that comes next.
pub fn write_more(out: &mut Vec<u8>, sequence: u8, data: &[u8]) -> u8 {
    build_packet(out, sequence, |out| {
        out.push(0x01);
        out.extend_from_slice(data);
    })
}

fn name(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    if bytes.len() > NAME_BYTES_MAX {
        return malformed("a name longer than any name");
    }
    Ok(bytes.to_vec())
}

/// The last text of a packet may lack its NUL.
fn nul_or_rest<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    match cursor.nul_bytes() {
        Ok(text) => text,
        Err(_) => cursor.rest(),
    }
}

fn short_bytes<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let len = cursor.u8()?;
    cursor.bytes(usize::from(len))
}

fn put_short_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.push(len);
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
}

fn read_attributes(cursor: &mut Cursor<'_>) -> Result<Attributes, Malformed> {
    if cursor.remaining() == 0 {
        return Ok(Vec::new());
    }
    let block = cursor.lenenc_bytes()?;
    if block.len() > CONNECT_ATTRIBUTES_BYTES_MAX {
        return malformed("connection attributes longer than allowed");
    }
    let mut block = Cursor::new(block);
    let mut attributes = Vec::new();
    while block.remaining() > 0 {
        attributes.push((block.lenenc_bytes()?.to_vec(), block.lenenc_bytes()?.to_vec()));
    }
    Ok(attributes)
}

fn put_attributes(out: &mut Vec<u8>, attributes: &[(Vec<u8>, Vec<u8>)]) {
    let mut block = Vec::new();
    for (name, value) in attributes {
        put_lenenc_bytes(&mut block, name);
        put_lenenc_bytes(&mut block, value);
    }
    put_lenenc_bytes(out, &block);
}

#[cfg(test)]
mod tests;
