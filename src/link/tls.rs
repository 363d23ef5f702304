//! TLS on both sides: the listener's certificate, and the handshakes.
//!
//! The provider is named everywhere and never installed for the whole process. Which servers are
//! believed is [`trust`]'s. `client::greet` and `backend::dial` call it.

pub mod trust;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use self::trust::{Authorities, BackendTls, Mode};
use super::stream::Stream;

/// Where the listener's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made at start for these names; clients that verify will not take it.
    SelfSigned(Vec<String>),
    /// A chain and its key, in PEM files.
    Files {
        /// The certificate first, then those that signed it.
        chain: PathBuf,
        /// PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
}

/// What a listener shows to clients that ask for TLS.
pub fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match certificate {
        Certificate::SelfSigned(names) => self_signed(names)?,
        Certificate::Files { chain, key } => read_files(chain, key)?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // PHP opens a fresh session each time: tickets would cost it a write and us memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Turns a plain stream into TLS, we being the server. `already_read` are bytes that came behind
/// the request for TLS: they are TLS's, whatever they are, so a command smuggled in there in
/// clear fails the handshake.
pub async fn accept(
    stream: Stream,
    config: Arc<ServerConfig>,
    already_read: &[u8],
) -> io::Result<Stream> {
    let mut fed = Ok(());
    let accepting =
        TlsAcceptor::from(config).accept_with(stream, |tls| fed = feed(tls, already_read));
    fed?;
    Ok(Stream::TlsServer(Box::new(accepting.await?)))
}

/// Turns a plain stream into TLS, we being the client. Nothing was said over it when this fails.
pub async fn connect(stream: Stream, tls: &BackendTls, address: &str) -> io::Result<Stream> {
    let connecting = TlsConnector::from(tls.config()).connect(trust::any_name(), stream);
    let outcome = connecting.await.map_err(trust::in_words).and_then(|stream| {
        tls.check_name(address, stream.get_ref().1.peer_certificates())?;
        Ok(Stream::TlsClient(Box::new(stream)))
    });
    tls.note(address, outcome.as_ref().err());
    outcome
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("{}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A chain without a certificate in it.
    #[error("{}: no certificate in it", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate that cannot vouch for others.
    #[error("{}: {source}", file.display())]
    NoAuthority {
        /// Where it stands.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// Servers are to be verified, and nobody is there to vouch for them.
    #[error("no authority to verify servers by")]
    NobodyVouches,
    /// Key and certificate do not fit, or neither is understood.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    /// A certificate of our own cannot be made.
    #[error("cannot make a certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_signed(names: &[String]) -> Result<Identity, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

fn read_files(chain: &Path, key: &Path) -> Result<Identity, TlsError> {
    let wrong = |source| TlsError::File { file: key.to_owned(), source };
    Ok((read_certificates(chain)?, PrivateKeyDer::from_pem_file(key).map_err(wrong)?))
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { file: file.to_owned(), source };
    let mut pem = std::fs::read(file).map_err(|error| wrong(pem::Error::Io(error)))?;
    // MySQL ends the ones it makes with a NUL. Several of them in one file would else look like
    // one, since each must begin on a line of its own.
    pem.retain(|byte| *byte != 0);
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(wrong)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(file.to_owned()));
    }
    Ok(certificates)
}

fn feed(tls: &mut ServerConnection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
