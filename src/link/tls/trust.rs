//! Which servers are believed: any, those that an authority vouches for, or those with our name.
//!
//! A chain is checked as the handshake goes on, a name right after it and before anything is said:
//! the certificates that MySQL makes for itself name nobody, and one server has several names of
//! which any may be in its certificate. No revocation lists are read. `backend::dial` is given it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::{TlsError, read_certificates};
use crate::limits::{ADDRESSES_PER_NAME_MAX, SERVERS_MAX};

/// How backends are spoken to. Clones share what is believed.
#[derive(Clone)]
pub struct BackendTls {
    /// Whether to ask, and what to believe.
    pub mode: Mode,
    config: Arc<ArcSwap<ClientConfig>>,
    names: Arc<Names>,
    /// Addresses where it went wrong the last time: the operator is told once.
    suspects: Arc<Mutex<HashSet<String>>>,
}

/// Whether a backend connection asks for TLS, and how closely it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Never.
    Disabled,
    /// If the server offers it.
    #[default]
    Preferred,
    /// Or not at all; from anybody.
    Required,
    /// From servers that an authority vouches for.
    VerifyCa,
    /// And only if they go by the name that they are configured under.
    VerifyIdentity,
}

/// Who vouches for servers.
pub struct Authorities {
    roots: RootCertStore,
    given: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads them from a PEM file.
    pub fn read(file: &Path) -> Result<Authorities, TlsError> {
        let given = read_certificates(file)?;
        let mut roots = RootCertStore::empty();
        for certificate in &given {
            let unusable = |source| TlsError::NoAuthority { file: file.to_owned(), source };
            roots.add(certificate.clone()).map_err(unusable)?;
        }
        Ok(Authorities { roots, given })
    }
}

impl BackendTls {
    /// TLS that takes any certificate: it hides what is said from who listens, and no more. Not
    /// for a mode that verifies.
    pub fn unverified(mode: Mode) -> Result<BackendTls, TlsError> {
        if mode.verifies() {
            return Err(TlsError::NobodyVouches);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anyone = Anyone { schemes: schemes(&provider) };
        Ok(BackendTls::with(mode, client_config(provider, Arc::new(anyone))?))
    }

    /// TLS with servers that somebody vouches for.
    pub fn verified(mode: Mode, authorities: Authorities) -> Result<BackendTls, TlsError> {
        Ok(BackendTls::with(mode, believing(authorities)?))
    }

    fn with(mode: Mode, config: Arc<ClientConfig>) -> BackendTls {
        let config = Arc::new(ArcSwap::new(config));
        BackendTls { mode, config, names: Arc::default(), suspects: Arc::default() }
    }

    /// Others vouch from now on, for connections that are opened from now on. Nothing changes
    /// where nobody is asked.
    pub fn trust(&self, authorities: Authorities) -> Result<(), TlsError> {
        if self.mode.verifies() {
            self.config.store(believing(authorities)?);
        }
        Ok(())
    }

    /// The server at this address is configured under that name: both `host:port`.
    pub fn know(&self, address: &str, name: &str) {
        let mut names = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = names.len() >= ADDRESSES_MAX;
        if is_full && !names.contains_key(address) {
            // Not looked up for long, or it will be said again.
            let any = names.keys().next().cloned();
            any.and_then(|any| names.remove(&any));
        }
        let known = names.entry(address.to_owned()).or_default();
        let host = host_of(name);
        if !known.iter().any(|known| known == host) && known.len() < SERVERS_MAX {
            known.push(host.to_owned());
        }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    /// Tells the operator when it begins to go wrong with a server, and when it is over.
    pub(super) fn note(&self, address: &str, error: Option<&io::Error>) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => {
                let has_room = suspects.len() < ADDRESSES_MAX;
                if has_room && suspects.insert(address.to_owned()) {
                    tracing::warn!(%address, %error, "no TLS with a server");
                }
            }
            None if suspects.remove(address) => tracing::info!(%address, "TLS with a server again"),
            None => {}
        }
    }

    /// Whether the certificate is for one of the names that this address is configured under.
    pub(super) fn check_name(
        &self,
        address: &str,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> io::Result<()> {
        if self.mode != Mode::VerifyIdentity {
            return Ok(());
        }
        let certificate = shown.and_then(<[_]>::first).ok_or_else(nobody)?;
        let certificate = ParsedCertificate::try_from(certificate).map_err(words)?;
        let known =
            self.names.0.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        let mut outcome = Err(nobody());
        for host in known.unwrap_or_else(|| vec![host_of(address).to_owned()]) {
            outcome = match ServerName::try_from(host) {
                Ok(name) => verify_server_name(&certificate, &name).map_err(words),
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Mode {
    /// Certificates are looked at.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, Mode::VerifyCa | Mode::VerifyIdentity)
    }
}

impl std::fmt::Debug for BackendTls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("BackendTls").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What the handshake is told: no name is sent, and [`BackendTls::check_name`] looks at it.
pub(super) fn any_name() -> ServerName<'static> {
    ServerName::from(IpAddr::from([0, 0, 0, 0]))
}

/// A failed handshake, so that an operator knows what to do about it.
pub(super) fn in_words(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => words(inner.clone()),
        None => error,
    }
}

/// Addresses that something is remembered about.
const ADDRESSES_MAX: usize = SERVERS_MAX * ADDRESSES_PER_NAME_MAX;

/// The names of the servers at addresses.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<String>>>);

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn nobody() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server showed no certificate")
}

fn words(error: rustls::Error) -> io::Error {
    use CertificateError::{Expired, ExpiredContext, UnknownIssuer};
    let text = match &error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "the server's certificate is signed by none of the authorities that are trusted".into()
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            format!("the server's certificate is out of date: {error}")
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("UnsupportedCertVersion") =>
        {
            "the server's certificate is of X.509 version 1; it has to be made anew as version 3"
                .into()
        }
        error => error.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn believing(authorities: Authorities) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    client_config(provider, Arc::new(Vouched { authorities, algorithms }))
}

fn client_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A pooled connection is opened once; tickets would only be bytes nobody reads.
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn schemes(provider: &CryptoProvider) -> Vec<SignatureScheme> {
    provider.signature_verification_algorithms.supported_schemes()
}

/// Believes what an authority signed. rustls' own verifier cannot leave out the name, so this asks
/// the same functions for the rest.
struct Vouched {
    authorities: Authorities,
    algorithms: WebPkiSupportedAlgorithms,
}

impl std::fmt::Debug for Vouched {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Vouched").field("authorities", &self.authorities.given.len()).finish()
    }
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Authorities { roots, given } = &self.authorities;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            algorithms,
        ) {
            // A server's certificate that signed itself is often marked as an authority too, which
            // webpki refuses as "other". This very one was given: who else should vouch for it?
            // Whether it is out of date is seen before, and is another error.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if given.contains(end_entity) => {}
            outcome => outcome?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
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
