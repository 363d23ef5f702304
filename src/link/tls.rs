//! TLS on both sides: the listener's certificate, and how a backend is spoken to.
//!
//! The provider is named everywhere and never installed for the whole process. Backends are not
//! verified yet (`Required` keeps a listener out, not somebody in between): that needs a
//! certificate authority in the configuration. `client::greet` and `backend::dial` call it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

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

/// Whether a backend connection asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Never.
    Disabled,
    /// If the server offers it.
    #[default]
    Preferred,
    /// Or not at all.
    Required,
}

/// How backends are spoken to.
#[derive(Clone)]
pub struct BackendTls {
    /// Whether to ask.
    pub mode: Mode,
    /// What to say then.
    pub config: Arc<ClientConfig>,
}

impl BackendTls {
    /// TLS that takes any certificate: it hides what is said from who listens, and no more.
    pub fn unverified(mode: Mode) -> Result<BackendTls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anyone = Arc::new(Anyone { schemes: schemes(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth();
        // A pooled connection is opened once; tickets would only be bytes nobody reads.
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(BackendTls { mode, config: Arc::new(config) })
    }
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

/// Turns a plain stream into TLS, we being the client.
pub async fn connect(
    stream: Stream,
    config: Arc<ClientConfig>,
    address: &str,
) -> io::Result<Stream> {
    let connecting = TlsConnector::from(config).connect(server_name(address), stream);
    Ok(Stream::TlsClient(Box::new(connecting.await?)))
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
        source: rustls::pki_types::pem::Error,
    },
    /// A chain without a certificate in it.
    #[error("{}: no certificate in it", .0.display())]
    NoCertificate(PathBuf),
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
    let wrong = |file: &Path| {
        let file = file.to_owned();
        move |source| TlsError::File { file, source }
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong(chain))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(chain.to_owned()));
    }
    Ok((certificates, PrivateKeyDer::from_pem_file(key).map_err(wrong(key))?))
}

fn feed(tls: &mut ServerConnection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        tls.process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

/// The name in the handshake. It decides nothing while backends are not verified.
fn server_name(address: &str) -> ServerName<'static> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::from(IpAddr::from([127, 0, 0, 1])))
}

fn schemes(provider: &CryptoProvider) -> Vec<SignatureScheme> {
    provider.signature_verification_algorithms.supported_schemes()
}

/// Believes any certificate, and with it any signature: MySQL's own, made at install time, are
/// signed by nobody we know, and who stands in between could show one of his own.
#[derive(Debug)]
struct Anyone {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests;
