//! What must not be read by others: passwords, keys, nonces, and what was learned about accounts.
//!
//! Nobody else holds a password, and none is ever shown or logged. It opens no socket: `client`
//! asks it who a guest is, `backend` borrows a password for the length of a login. Only this
//! module and `link` know the cryptography package.

pub mod book;
pub mod credentials;
pub mod digest;
pub mod ed25519;
pub mod nonce;
pub mod rsa;
pub mod throttle;

pub use book::{Book, Known, Policy, Recall};
pub use credentials::Credentials;
pub use digest::Digest;
pub use rsa::RsaKey;
pub use throttle::{Source, Throttle};

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Whether two secrets are the same, in a time that does not tell how far they agree.
pub fn is_equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// The system gives no randomness, or the cryptography package refuses its own output: nothing
/// that a caller could repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cryptography failed")]
pub struct CryptoError;

impl From<aws_lc_rs::error::Unspecified> for CryptoError {
    fn from(_: aws_lc_rs::error::Unspecified) -> CryptoError {
        CryptoError
    }
}

impl From<aws_lc_rs::error::KeyRejected> for CryptoError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> CryptoError {
        CryptoError
    }
}
