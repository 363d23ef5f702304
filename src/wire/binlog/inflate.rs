//! What servers compress in their logs, inflated up to a bound.
//!
//! zstd for MySQL's whole transactions, zlib for MariaDB's rows. Not for the protocol's own
//! compression. A stream that lies about its length gives nothing.

use ruzstd::decoding::FrameDecoder;

use crate::limits;

/// A zstd stream of frames that inflates to `len` bytes; what is longer is nothing.
pub(super) fn zstd(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut inflated = vec![0; len];
    let inflated_len = FrameDecoder::new().decode_all(bytes, &mut inflated).ok()?;
    inflated.truncate(inflated_len);
    Some(inflated)
}

/// What MariaDB wrote in the place of rows: a byte about it, its length, and a zlib stream.
pub(super) fn mariadb(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = bytes.split_first()?;
    // The highest bit is always set, the next three are 0: zlib.
    if head & 0xf0 != 0x80 {
        return None;
    }
    let (len, stream) = rest.split_at_checked(usize::from(head & 0x07))?;
    let fits = (1..=4).contains(&len.len());
    let len = len.iter().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    let len =
        usize::try_from(len).ok().filter(|len| fits && *len <= limits::BINLOG_PAYLOAD_BYTES_MAX)?;
    let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stream, len).ok()?;
    (inflated.len() == len).then_some(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty letters a: `printf aaaa... | zstd --no-check`.
    const FRAME: [u8; 17] = [
        0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x45, 0x00, 0x00, 0x10, 0x61, 0x61, 0x01, 0x00, 0x1e,
        0xc0, 0x02,
    ];

    #[test]
    fn more_than_was_said_is_nothing() {
        assert_eq!(zstd(&FRAME, 20), Some(vec![b'a'; 20]));
        assert_eq!(zstd(&[FRAME, FRAME].concat(), 40), Some(vec![b'a'; 40]));
        assert_eq!(zstd(&FRAME, 19), None);
        assert_eq!(zstd(&FRAME[..12], 20), None);
        let rows = |len: u8| {
            let stream = miniz_oxide::deflate::compress_to_vec_zlib(&[7; 50], 6);
            mariadb(&[&[0x82, 0, len], &*stream].concat())
        };
        assert_eq!(rows(50), Some(vec![7; 50]));
        assert_eq!(rows(49), None);
        assert_eq!(rows(51), None);
        assert_eq!(mariadb(&[0x90, 1]), None);
        assert_eq!(mariadb(&[0x80]), None);
        assert_eq!(mariadb(&[]), None);
    }
}
