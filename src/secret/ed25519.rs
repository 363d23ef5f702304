//! MariaDB's `client_ed25519`: a signature under a key that is made of the password.
//!
//! It is Ed25519 with the password, however long, where the standard has a seed of 32 bytes; that
//! is why the cryptography package's own keys cannot be used. Curve and scalars are
//! `curve25519-dalek`'s, the digest is the cryptography package's. `backend::dial` calls it.
// https://mariadb.com/kb/en/authentication-plugin-ed25519/
// https://www.rfc-editor.org/rfc/rfc8032#section-5.1.6

use aws_lc_rs::digest::{Context, SHA512};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use zeroize::Zeroizing;

/// What the server makes up for a login.
pub const NONCE_BYTES: usize = 32;

/// Signs a server's nonce with a password.
pub fn sign(password: &[u8], nonce: &[u8; NONCE_BYTES]) -> [u8; 64] {
    let expanded = sha512(&[password]);
    let (low, prefix) = halves(&expanded);
    let secret = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*low)));
    let public = EdwardsPoint::mul_base(&secret).compress();
    // Without a generator: the same nonce gives the same signature, and no two share a blind.
    let blind = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&sha512(&[&*prefix, nonce])));
    let blinded = EdwardsPoint::mul_base(&blind).compress();
    let challenge = sha512(&[blinded.as_bytes(), public.as_bytes(), nonce]);
    let answer = Scalar::from_bytes_mod_order_wide(&challenge) * *secret + *blind;
    let mut signature = [0; 64];
    let bytes = blinded.as_bytes().iter().chain(answer.as_bytes());
    signature.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    signature
}

type Half = Zeroizing<[u8; 32]>;

fn halves(whole: &[u8; 64]) -> (Half, Half) {
    let half = |skip| {
        let mut half = Zeroizing::new([0; 32]);
        half.iter_mut().zip(whole.iter().skip(skip)).for_each(|(to, from)| *to = *from);
        half
    };
    (half(0), half(32))
}

fn sha512(parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    let mut out = Zeroizing::new([0; 64]);
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    use super::*;

    fn public_key(password: &[u8]) -> [u8; 32] {
        let (low, _) = halves(&sha512(&[password]));
        EdwardsPoint::mul_base_clamped(*low).compress().to_bytes()
    }

    /// With 32 bytes it is the standard, and another implementation has to say the same.
    #[test]
    fn a_password_as_long_as_a_seed_is_one() {
        for byte in 0..50_u8 {
            let (seed, nonce) = ([byte; 32], [byte.wrapping_mul(7); NONCE_BYTES]);
            let standard = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
            assert_eq!(public_key(&seed), standard.public_key().as_ref());
            assert_eq!(sign(&seed, &nonce)[..], *standard.sign(&nonce).as_ref());
        }
    }

    #[test]
    fn others_can_verify_what_any_password_signed() {
        let long = [b'x'; 1000];
        for password in [&b"secret"[..], b"", b"p\xc3\xa4ss", &long, &[0xff; 33]] {
            let nonce = [5; NONCE_BYTES];
            let key = UnparsedPublicKey::new(&ED25519, public_key(password));
            let mut signature = sign(password, &nonce);
            assert!(key.verify(&nonce, &signature).is_ok());
            assert!(key.verify(&[6; NONCE_BYTES], &signature).is_err(), "another nonce");
            signature[40] ^= 1;
            assert!(key.verify(&nonce, &signature).is_err());
        }
    }

    /// As MariaDB's PASSWORD('secret') stores it.
    #[test]
    fn the_public_key_is_what_mariadb_stores() {
        let stored = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut bits = stored.bytes().flat_map(|letter| {
            let value = alphabet.iter().position(|at| *at == letter).unwrap();
            (0..6).rev().map(move |bit| value >> bit & 1)
        });
        let decoded: [u8; 32] =
            std::array::from_fn(|_| (0..8).fold(0, |all, _| all << 1 | bits.next().unwrap() as u8));
        assert_eq!(public_key(b"secret"), decoded);
    }
}
