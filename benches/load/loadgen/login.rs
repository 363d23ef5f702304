//! A client's connection: logs in as PHP does, asks, reads an answer to its end.
//!
//! Knows mysql_native_password and caching_sha2_password, over plain TCP with the server's public
//! key, or over TLS with whoever answers. Used by loadgen and weigh.

use std::sync::Arc;

use crate::packet::{AS_PHP, SSL, first, put};
use crate::{Failure, Order};
use aws_lc_rs::digest::{Context, Digest, SHA1_FOR_LEGACY_USE_ONLY as SHA1, SHA256};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What TLS is begun with; none: plain TCP.
pub(crate) type Tls = Option<Arc<rustls::ClientConfig>>;

trait Wire: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// One logged-in connection.
pub(crate) struct Connection {
    stream: Box<dyn Wire>,
    is_tls: bool,
    input: Vec<u8>,
    used: usize,
}

impl Connection {
    /// Connects and logs in; no database is chosen.
    pub(crate) async fn open(order: &Order) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(&order.address).await?;
        stream.set_nodelay(true)?;
        let (mut input, mut used) = (Vec::with_capacity(512), 0);
        let (mut sequence, greeting) = packet(&mut stream, &mut input, &mut used).await?;
        let (plugin, nonce) = read_greeting(&greeting).ok_or("no greeting")?;
        let is_tls = order.tls.is_some();
        let mut body = (AS_PHP | if is_tls { SSL } else { 0 }).to_le_bytes().to_vec();
        body.extend_from_slice(&[0, 0, 0, 0xc0, 255]);
        body.extend_from_slice(&[0; 23]);
        let stream: Box<dyn Wire> = match &order.tls {
            None => Box::new(stream),
            Some(config) => {
                sequence = sequence.wrapping_add(1);
                let mut out = Vec::new();
                put(&mut out, sequence, &body);
                stream.write_all(&out).await?;
                let name = ServerName::try_from("forebay")?;
                Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
            }
        };
        let mut this = Self { stream, is_tls, input, used };
        let token = token(&plugin, order.password.as_bytes(), &nonce);
        body.extend_from_slice(order.user.as_bytes());
        body.extend_from_slice(&[0, u8::try_from(token.len())?]);
        body.extend_from_slice(&token);
        body.extend_from_slice(&plugin);
        body.push(0);
        this.send(sequence.wrapping_add(1), &body).await?;
        this.prove(order.password.as_bytes(), nonce).await?;
        Ok(this)
    }

    async fn prove(&mut self, password: &[u8], mut nonce: Vec<u8>) -> Result<(), Failure> {
        loop {
            let (sequence, packet) = self.packet().await?;
            let next = sequence.wrapping_add(1);
            match packet.split_first() {
                Some((0, _)) => return Ok(()),
                Some((1, [3])) => {}
                Some((1, [4])) if self.is_tls => {
                    self.send(next, &[password, b"\0"].concat()).await?
                }
                Some((1, [4])) => self.send(next, &[2]).await?,
                Some((1, pem)) => self.send(next, &seal(password, &nonce, pem)?).await?,
                Some((0xfe, rest)) => {
                    let mut parts = rest.splitn(2, |byte| *byte == 0);
                    let plugin = parts.next().unwrap_or_default();
                    nonce =
                        parts.next().and_then(|rest| rest.get(..20)).ok_or("no nonce")?.to_vec();
                    self.send(next, &token(plugin, password, &nonce)).await?;
                }
                _ => return Err(String::from_utf8_lossy(&packet).into()),
            }
        }
    }

    /// Sends a statement and reads its answer.
    pub(crate) async fn query(&mut self, text: &str) -> Result<(), Failure> {
        self.command(3, text).await
    }

    /// COM_INIT_DB.
    pub(crate) async fn init_db(&mut self, name: &str) -> Result<(), Failure> {
        self.command(2, name).await
    }

    /// COM_QUIT, and waits for nothing.
    pub(crate) async fn quit(mut self) -> Result<(), Failure> {
        self.send(0, &[1]).await
    }

    async fn command(&mut self, code: u8, text: &str) -> Result<(), Failure> {
        let mut body = vec![code];
        body.extend_from_slice(text.as_bytes());
        self.send(0, &body).await?;
        let (_, head) = self.packet().await?;
        match head.first() {
            Some(0) => return Ok(()),
            None | Some(0xff) => return Err(String::from_utf8_lossy(&head).into()),
            Some(_) => {}
        }
        let mut ends = 0;
        while ends < 2 {
            let (_, packet) = self.packet().await?;
            match packet.first() {
                Some(0xfe) if packet.len() < 9 => ends += 1,
                Some(0xff) => return Err(String::from_utf8_lossy(&packet).into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, sequence: u8, payload: &[u8]) -> Result<(), Failure> {
        let mut out = Vec::with_capacity(payload.len() + 4);
        put(&mut out, sequence, payload);
        self.send_bytes(&out).await
    }

    /// Sends bytes that are packets already.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads the next packet.
    pub(crate) async fn packet(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        packet(&mut self.stream, &mut self.input, &mut self.used).await
    }

    /// Reads what is there, beginning with what was read beyond the last packet.
    pub(crate) async fn bytes(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.extend(self.input.drain(..).skip(std::mem::take(&mut self.used)));
        if out.is_empty() && self.stream.read_buf(out).await? == 0 {
            return Err("connection closed".into());
        }
        Ok(())
    }
}

async fn packet<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut Vec<u8>,
    used: &mut usize,
) -> Result<(u8, Vec<u8>), Failure> {
    loop {
        if let Some((sequence, payload, len)) = first(&input[*used..]) {
            let found = (sequence, payload.to_vec());
            *used += len;
            return Ok(found);
        }
        input.drain(..std::mem::take(used));
        if stream.read_buf(input).await? == 0 {
            return Err("connection closed".into());
        }
    }
}

/// The plugin and the 20 bytes to answer.
fn read_greeting(packet: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let version = packet.iter().position(|byte| *byte == 0)?;
    let rest = packet.get(version + 5..)?;
    let mut nonce = rest.get(..8)?.to_vec();
    nonce.extend_from_slice(rest.get(27..39)?);
    let plugin = rest.get(40..)?.split(|byte| *byte == 0).next()?.to_vec();
    Some((plugin, nonce))
}

fn token(plugin: &[u8], password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let modern = plugin == b"caching_sha2_password";
    let hash = |parts: [&[u8]; 2]| -> Digest {
        let mut context = Context::new(if modern { &SHA256 } else { &SHA1 });
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    };
    let once = hash([password, b""]);
    let twice = hash([once.as_ref(), b""]);
    let mixed = if modern { hash([twice.as_ref(), nonce]) } else { hash([nonce, twice.as_ref()]) };
    once.as_ref().iter().zip(mixed.as_ref()).map(|(a, b)| a ^ b).collect()
}

/// The password for a server that has to see it, under its public key.
fn seal(password: &[u8], nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, Failure> {
    let text = String::from_utf8_lossy(pem);
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let key = PublicEncryptingKey::from_der(&decode(base64.trim_end_matches('\0')))?;
    let mixed: Vec<u8> =
        password.iter().chain(&[0]).zip(nonce.iter().cycle()).map(|(a, b)| a ^ b).collect();
    let key = OaepPublicEncryptingKey::new(key)?;
    let mut sealed = vec![0; key.ciphertext_size()];
    let len = key.encrypt(&OAEP_SHA1_MGF1SHA1, &mixed, &mut sealed, None)?.len();
    sealed.truncate(len);
    Ok(sealed)
}

fn decode(base64: &str) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0u32);
    for byte in base64.bytes().take_while(|byte| *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.extend(u8::try_from(bits >> count & 0xff));
        }
    }
    out
}
