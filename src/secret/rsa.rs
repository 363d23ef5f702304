//! The key by which a client sends its password on a connection without TLS.
//!
//! Made at start and never written down. Whoever can change bytes on the way can put his own key
//! in its place, as with any MySQL server: that is what TLS is for. Decrypting runs on the
//! blocking threads, few at once, so that a flood of logins takes no time from statements.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::CryptoError;
use crate::limits::PROOFS_AT_ONCE;

/// Our key pair.
pub struct RsaKey {
    private: Arc<OaepPrivateDecryptingKey>,
    public_pem: String,
    turns: Semaphore,
}

impl RsaKey {
    /// Makes a key of 2048 bits: about 100 ms of work.
    pub fn generate() -> Result<RsaKey, CryptoError> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let public = private.public_key().as_der()?;
        let public_pem = pem("PUBLIC KEY", public.as_ref());
        let private = Arc::new(OaepPrivateDecryptingKey::new(private)?);
        Ok(RsaKey { private, public_pem, turns: Semaphore::new(PROOFS_AT_ONCE) })
    }

    /// The public half, as clients ask for it.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Decrypts what a client encrypted for us.
    pub async fn decrypt(&self, sealed: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let _turn = self.turns.acquire().await.map_err(|_| CryptoError)?;
        let key = Arc::clone(&self.private);
        let opening = spawn_blocking(move || {
            let mut plain = Zeroizing::new(vec![0; key.key_size_bytes()]);
            let len = key.decrypt(&OAEP_SHA1_MGF1SHA1, &sealed, &mut plain, None)?.len();
            plain.truncate(len);
            Ok(plain)
        });
        opening.await.map_err(|_| CryptoError)?
    }
}

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RsaKey").finish_non_exhaustive()
    }
}

/// Encrypts for a server, given its public key as PEM.
pub fn encrypt(public_pem: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem).map_err(|_| CryptoError)?;
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der)?)?;
    let mut sealed = vec![0; key.ciphertext_size()];
    let len = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut sealed, None)?.len();
    sealed.truncate(len);
    Ok(sealed)
}

/// Text armour: base64 in lines of 64 between two labels.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        text.extend(line.chunks(3).flat_map(sextets));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Three bytes as four characters, `=` for what is missing.
fn sextets(bytes: &[u8]) -> [char; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or_default());
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    std::array::from_fn(|at| {
        if at > bytes.len() {
            return '=';
        }
        let index = (bits >> (18 - 6 * at)) & 63;
        ALPHABET.get(index as usize).map_or('=', |letter| char::from(*letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_encrypted_with_the_shown_key_is_decrypted() {
        let key = RsaKey::generate().unwrap();
        let sealed = encrypt(key.public_pem().as_bytes(), b"pass\0").unwrap();
        assert_eq!(sealed.len(), 256);
        assert_eq!(*key.decrypt(sealed.clone()).await.unwrap(), b"pass\0");
        let other = RsaKey::generate().unwrap();
        assert!(other.decrypt(sealed).await.is_err(), "another key");
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        let key = RsaKey::generate().unwrap();
        for bytes in [vec![], vec![0; 3], vec![7; 256], vec![255; 256], vec![1; 4096]] {
            assert!(key.decrypt(bytes).await.is_err());
        }
        for pem in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ] {
            assert!(encrypt(pem.as_bytes(), b"x").is_err());
        }
        let long = vec![b'x'; 300];
        assert!(encrypt(key.public_pem().as_bytes(), &long).is_err(), "longer than the key takes");
    }

    #[test]
    fn base64_is_padded() {
        let check = |bytes: &[u8], text: &str| {
            let made: String = bytes.chunks(3).flat_map(sextets).collect();
            assert_eq!(made, text);
        };
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xff, 0xef, 0xbe], "/+++");
    }
}
