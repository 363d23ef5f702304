//! SHA-1 and SHA-256, lent to the pure packet code.
//!
//! `wire::auth` knows how tokens are put together and needs digests for it; this is where they
//! come from. SHA-1 is what the protocol demands, not what anyone would choose.

use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::wire::auth::Digests;

/// The digests of the cryptography package.
#[derive(Debug, Clone, Copy, Default)]
pub struct Digest;

impl Digests for Digest {
    fn sha1(parts: &[&[u8]]) -> [u8; 20] {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, parts)
    }

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        digest(&SHA256, parts)
    }
}

fn digest<const N: usize>(algorithm: &'static Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; N];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for parts in [&[&b"abc"[..]][..], &[b"a", b"bc"], &[b"", b"abc", b""]] {
            assert_eq!(hex(&Digest::sha1(parts)), sha1);
            assert_eq!(hex(&Digest::sha256(parts)), sha256);
        }
    }
}
