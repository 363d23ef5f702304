//! Random bytes, and the nonces of a login.
//!
//! Everything here comes from the system's generator by way of the cryptography package; what
//! may be predictable (choice among servers) does not use it.

use aws_lc_rs::rand;

use super::CryptoError;

/// Fills a buffer with unpredictable bytes.
pub fn fill(bytes: &mut [u8]) -> Result<(), CryptoError> {
    Ok(rand::fill(bytes)?)
}

/// A login's nonce. Neither 0 (it ends the field) nor `$` (MySQL reserves it) is in it.
pub fn nonce() -> Result<[u8; 20], CryptoError> {
    let mut nonce = [0; 20];
    while nonce.iter().any(|byte| is_reserved(*byte)) {
        let mut fresh = [0; 32];
        fill(&mut fresh)?;
        let mut good = fresh.into_iter().filter(|byte| !is_reserved(*byte));
        // As the servers do, 7 bits each: a client may take the field for text.
        nonce = std::array::from_fn(|_| good.next().unwrap_or_default());
    }
    Ok(nonce)
}

fn is_reserved(byte: u8) -> bool {
    matches!(byte, 0 | b'$' | 128..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_holds_no_reserved_byte_and_never_comes_twice() {
        let made: Vec<_> = (0..500).map(|_| nonce().unwrap()).collect();
        assert!(made.iter().flatten().all(|byte| !is_reserved(*byte)));
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
    }
}
