//! A user name and a password, kept so that the password is seen only while it is used.
//!
//! In memory the password lies masked with random bytes that are kept elsewhere, and both are
//! wiped at the end: a core dump searched for a password does not show it. That is hygiene, not
//! security against who owns the process (locked memory would need unsafe code).

use zeroize::Zeroizing;

use super::{CryptoError, is_equal, nonce};

/// Who logs in, and with what.
pub struct Credentials {
    /// The account's name.
    pub user: Vec<u8>,
    masked: Zeroizing<Vec<u8>>,
    mask: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// Seals a password. Its plain copy is wiped.
    pub fn new(user: Vec<u8>, password: Vec<u8>) -> Result<Credentials, CryptoError> {
        let password = Zeroizing::new(password);
        let mut mask = Zeroizing::new(vec![0; password.len()]);
        nonce::fill(&mut mask)?;
        Ok(Credentials { user, masked: Zeroizing::new(xor(&password, &mask)), mask })
    }

    /// Shows the password to a function and wipes it afterwards.
    pub fn expose<T>(&self, see: impl FnOnce(&[u8]) -> T) -> T {
        let password = Zeroizing::new(xor(&self.masked, &self.mask));
        see(&password)
    }

    /// Whether this is the password.
    pub fn is_password(&self, password: &[u8]) -> bool {
        self.expose(|ours| is_equal(ours, password))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = String::from_utf8_lossy(&self.user);
        out.debug_struct("Credentials").field("user", &user).finish_non_exhaustive()
    }
}

fn xor(bytes: &[u8], mask: &[u8]) -> Vec<u8> {
    bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &[u8]) {
        let sealed = Credentials::new(b"u".to_vec(), password.to_vec()).unwrap();
        assert_eq!(sealed.expose(<[u8]>::to_vec), password);
        assert!(sealed.is_password(password));
        assert!(!sealed.is_password(b"another"));
        if password.len() > 8 {
            assert_ne!(*sealed.masked, password, "masked");
        }
        assert_eq!(format!("{sealed:?}"), "Credentials { user: \"u\", .. }");
    }

    #[test]
    fn a_password_comes_back_whole_and_is_never_shown() {
        check(b"");
        check(b"s3cret-and-long");
        check(&[0, 255, 1, 39, 92]);
    }
}
