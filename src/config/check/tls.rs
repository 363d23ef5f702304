//! The part of `check` that is about TLS: what clients are shown, and which servers are believed.
//!
//! Certificates and keys are read here, so that `forebay check` finds what is wrong with them; those
//! that count are read again when they are put in force. Called by `check` alone.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Mistake;
use crate::config::raw::{self, Raw};
use crate::config::rules::{Backend, BackendTls, Certificate, Tls};
use crate::limits;
use crate::link::tls;

/// TLS towards clients.
pub(super) fn offered(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Tls> {
    let require = raw.flag("tls.require", mistakes);
    let self_signed = raw.flag("tls.self_signed", mistakes);
    let given = ["tls.certificate", "tls.key"].map(|key| raw.origin(key).is_some());
    let certificate = match given {
        [true, true] => {
            let certificate = readable(raw, "tls.certificate", mistakes);
            let key = readable(raw, "tls.key", mistakes);
            fitting(raw, certificate?, key?, mistakes)?
        }
        [true, false] => {
            mistakes.push(raw.mistake("tls.key", "must be given with tls.certificate"));
            return None;
        }
        [false, true] => {
            mistakes.push(raw.mistake("tls.certificate", "must be given with tls.key"));
            return None;
        }
        [false, false] if self_signed? => Certificate::SelfSigned,
        [false, false] => Certificate::None,
    };
    if require? && certificate == Certificate::None {
        let expected = "must be false without a certificate: nobody could log in";
        mistakes.push(raw.mistake("tls.require", expected));
    }
    Some(Tls { certificate, require: require? })
}

/// A certificate and the key that belongs to it, both understood.
fn fitting(
    raw: &Raw,
    certificate: PathBuf,
    key: PathBuf,
    mistakes: &mut Vec<Mistake>,
) -> Option<Certificate> {
    let files = tls::Certificate::Files { chain: certificate.clone(), key: key.clone() };
    if let Err(error) = tls::server_config(&files) {
        let expected = format!("must be PEM, and fit tls.key: {error}");
        mistakes.push(raw.mistake("tls.certificate", expected));
        return None;
    }
    Some(Certificate::Files { certificate, key })
}

/// A file of those who vouch for servers, understood.
fn vouching(raw: &Raw, file: PathBuf, mistakes: &mut Vec<Mistake>) -> Option<PathBuf> {
    if let Err(error) = tls::Authorities::read(&file) {
        let expected = format!("must hold certificates in PEM: {error}");
        mistakes.push(raw.mistake("backend.tls_ca", expected));
        return None;
    }
    Some(file)
}

fn readable(raw: &Raw, name: &str, mistakes: &mut Vec<Mistake>) -> Option<PathBuf> {
    let path = PathBuf::from(raw.text(name, mistakes)?);
    match raw::read(&path, limits::CONFIG_BYTES_MAX) {
        Ok(_) => Some(path),
        Err(why) => {
            mistakes.push(raw.mistake(name, why));
            None
        }
    }
}

/// How servers are reached, and which are believed.
pub(super) fn backend(raw: &Raw, mistakes: &mut Vec<Mistake>) -> Option<Backend> {
    let tls = raw.word("backend.tls", mistakes);
    let timeout = raw.whole("backend.connect_timeout_ms", mistakes);
    let tls = match tls?.as_str() {
        "verify-identity" => BackendTls::VerifyIdentity,
        "verify-ca" => BackendTls::VerifyCa,
        "required" => BackendTls::Required,
        "preferred" => BackendTls::Preferred,
        _ => BackendTls::Disabled,
    };
    let verifies = matches!(tls, BackendTls::VerifyCa | BackendTls::VerifyIdentity);
    let tls_ca = match (verifies, raw.origin("backend.tls_ca").is_some()) {
        (true, true) => Some(vouching(raw, readable(raw, "backend.tls_ca", mistakes)?, mistakes)?),
        (false, false) => None,
        (true, false) => {
            mistakes.push(raw.mistake("backend.tls_ca", "must be given to verify servers by it"));
            return None;
        }
        (false, true) => {
            let expected = "must not be given unless backend.tls is verify-ca or verify-identity: \
                            nothing would be verified by it";
            mistakes.push(raw.mistake("backend.tls_ca", expected));
            return None;
        }
    };
    Some(Backend { tls, tls_ca, connect_timeout: Duration::from_millis(timeout?) })
}
