//! The sums of two authentication plugins: what a client sends, and how a server checks it.
//!
//! Holds no password and no digest code: whoever calls brings [`Digests`]. Called by `secret`,
//! `backend` (to log in) and `client` (to let in).
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_authentication_methods_native_password_authentication.html
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html

/// The digests that the plugins are made of; the parts are hashed one after another.
pub trait Digests {
    /// SHA-1.
    fn sha1(parts: &[&[u8]]) -> [u8; 20];
    /// SHA-256.
    fn sha256(parts: &[&[u8]]) -> [u8; 32];
}

/// Name of the plugin of old.
pub const NATIVE: &str = "mysql_native_password";
/// Name of the plugin of today.
pub const CACHING_SHA2: &str = "caching_sha2_password";
/// caching_sha2: a client asks for the RSA key.
pub const REQUEST_KEY: u8 = 0x02;
/// caching_sha2: the server knew the token.
pub const FAST_OK: u8 = 0x03;
/// caching_sha2: the server wants the password itself.
pub const FULL: u8 = 0x04;

/// What a client sends for `mysql_native_password`; nothing for an empty password.
pub fn native_token<D: Digests>(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = D::sha1(&[password]);
    xor(&stage1, &D::sha1(&[nonce, &D::sha1(&[&stage1])])).to_vec()
}

/// SHA1(SHA1(password)): what a server keeps.
pub fn native_stage2<D: Digests>(password: &[u8]) -> [u8; 20] {
    D::sha1(&[&D::sha1(&[password])])
}

/// The token was made from the password whose stage two this is.
pub fn native_verifies<D: Digests>(token: &[u8], nonce: &[u8], stage2: &[u8; 20]) -> bool {
    let Ok(token) = <&[u8; 20]>::try_from(token) else { return false };
    let stage1 = xor(token, &D::sha1(&[nonce, stage2]));
    same(&D::sha1(&[&stage1]), stage2)
}

/// What a client sends first for `caching_sha2_password`; nothing for an empty password.
pub fn caching_sha2_token<D: Digests>(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = D::sha256(&[password]);
    // The digest first and the nonce after it: the other way round than the native plugin.
    xor(&stage1, &D::sha256(&[&D::sha256(&[&stage1]), nonce])).to_vec()
}

/// SHA256(SHA256(password)): what a server remembers of a password it has seen.
pub fn caching_sha2_stage2<D: Digests>(password: &[u8]) -> [u8; 32] {
    D::sha256(&[&D::sha256(&[password])])
}

/// The token was made from the password whose stage two this is.
pub fn caching_sha2_verifies<D: Digests>(token: &[u8], nonce: &[u8], stage2: &[u8; 32]) -> bool {
    let Ok(token) = <&[u8; 32]>::try_from(token) else { return false };
    let stage1 = xor(token, &D::sha256(&[stage2, nonce]));
    same(&D::sha256(&[&stage1]), stage2)
}

/// Hides a password, its closing NUL included, behind the nonce before RSA, and uncovers it
/// after. In place, so that whoever owns the bytes can wipe them.
pub fn xor_with_nonce(bytes: &mut [u8], nonce: &[u8]) {
    for (byte, mask) in bytes.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
}

fn xor<const N: usize>(left: &[u8; N], right: &[u8; N]) -> [u8; N] {
    let mut out = *left;
    xor_with_nonce(&mut out, right);
    out
}

/// Takes as long for equal bytes as for others.
fn same<const N: usize>(left: &[u8; N], right: &[u8; N]) -> bool {
    let difference = left.iter().zip(right).fold(0, |all, (l, r)| all | (l ^ r));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests recorded with another implementation, so that the order of the parts is checked
    /// without a digest in this layer.
    struct Recorded;

    const SHA1: [(&str, &str); 3] = [
        ("736563726574", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"),
        ("e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", "14e65567abdb5135d0cfd9a70b3032c179a49ee7"),
        (
            "0102030405060708090a0b0c0d0e0f101112131414e65567abdb5135d0cfd9a70b3032c179a49ee7",
            "56c249be20fff916e25e7d1f215cabade79289db",
        ),
    ];
    const SHA256: [(&str, &str); 3] = [
        ("736563726574", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"),
        (
            "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            "3881219d087dd9c634373fd33dfa33a2cb6bfc6c520b64b8bb60ef2ceb534ae7",
        ),
        (
            "3881219d087dd9c634373fd33dfa33a2cb6bfc6c520b64b8bb60ef2ceb534ae7\
             0102030405060708090a0b0c0d0e0f1011121314",
            "5fd6b373264b0393f1183d18c406188b6a513cda32d0952382739319c7176592",
        ),
    ];

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn recall<const N: usize>(known: &[(&str, &str)], parts: &[&[u8]]) -> [u8; N] {
        let input = parts.concat();
        let found = known.iter().find(|(from, _)| unhex(from) == input);
        found.map_or([0xee; N], |(_, to)| unhex(to).try_into().unwrap())
    }

    impl Digests for Recorded {
        fn sha1(parts: &[&[u8]]) -> [u8; 20] {
            recall(&SHA1, parts)
        }
        fn sha256(parts: &[&[u8]]) -> [u8; 32] {
            recall(&SHA256, parts)
        }
    }

    const NONCE: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

    #[test]
    fn tokens_are_those_of_the_servers() {
        let token = native_token::<Recorded>(b"secret", &NONCE);
        assert_eq!(token, unhex("b32bb3a583e1340c0a1108d58b1be49781ad8c2f"));
        let stage2 = native_stage2::<Recorded>(b"secret");
        assert!(native_verifies::<Recorded>(&token, &NONCE, &stage2));

        let token = caching_sha2_token::<Recorded>(b"secret", &NONCE);
        assert_eq!(
            token,
            unhex("746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9")
        );
        let stage2 = caching_sha2_stage2::<Recorded>(b"secret");
        assert!(caching_sha2_verifies::<Recorded>(&token, &NONCE, &stage2));
    }

    #[test]
    fn anything_else_is_refused() {
        let native = native_token::<Recorded>(b"secret", &NONCE);
        let sha2 = caching_sha2_token::<Recorded>(b"secret", &NONCE);
        let stage2 =
            (native_stage2::<Recorded>(b"secret"), caching_sha2_stage2::<Recorded>(b"secret"));
        for at in 0..20 {
            let mut wrong = native.clone();
            wrong[at] ^= 1;
            assert!(!native_verifies::<Recorded>(&wrong, &NONCE, &stage2.0));
        }
        assert!(!native_verifies::<Recorded>(&native[..19], &NONCE, &stage2.0));
        assert!(!native_verifies::<Recorded>(b"", &NONCE, &stage2.0));
        assert!(!native_verifies::<Recorded>(&native, &[9; 20], &stage2.0));
        assert!(!caching_sha2_verifies::<Recorded>(&sha2, &[9; 20], &stage2.1));
        assert!(!caching_sha2_verifies::<Recorded>(&native, &NONCE, &stage2.1));
    }

    #[test]
    fn an_empty_password_is_an_empty_token() {
        assert!(native_token::<Recorded>(b"", &NONCE).is_empty());
        assert!(caching_sha2_token::<Recorded>(b"", &NONCE).is_empty());
    }

    #[test]
    fn the_nonce_covers_and_uncovers() {
        let mut bytes = b"a password longer than the nonce is\0".to_vec();
        xor_with_nonce(&mut bytes, &NONCE);
        assert_eq!(bytes[0], b'a' ^ 1);
        assert_eq!(bytes[20], b'a' ^ 1);
        xor_with_nonce(&mut bytes, &NONCE);
        assert_eq!(bytes, b"a password longer than the nonce is\0");
        xor_with_nonce(&mut bytes, &[]);
        assert_eq!(bytes[0], b'a');
    }
}
