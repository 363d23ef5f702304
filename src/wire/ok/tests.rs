//! OK packets there and back, every tracker, every cut.

use super::*;

const TRACK: Capabilities = Capabilities::SESSION_TRACK;
const CLASSIC: Capabilities = Capabilities(0);

fn encoded(ok: &Ok<'_>, header_byte: u8, capabilities: Capabilities) -> Vec<u8> {
    let mut out = Vec::new();
    ok.encode(&mut out, header_byte, capabilities);
    out
}

fn sample(info: &[u8], tracked: Vec<Tracked>) -> Ok<'_> {
    let status = match tracked.is_empty() {
        true => Status::AUTOCOMMIT,
        false => Status::AUTOCOMMIT.with(Status::STATE_CHANGED),
    };
    Ok { affected: 300, insert_id: 70_000, status, warnings: 2, info, tracked }
}

fn all_trackers() -> Vec<Tracked> {
    vec![
        Tracked::Variable { name: b"autocommit".to_vec(), value: b"OFF".to_vec() },
        Tracked::Schema(b"wordpress".to_vec()),
        Tracked::StateChanged,
        Tracked::Gtids(b"3e11fa47-71ca-11e1-9e33-c80aa9429562:23".to_vec()),
        Tracked::TransactionCharacteristics(b"START TRANSACTION;".to_vec()),
        Tracked::TransactionState(b"T_______".to_vec()),
    ]
}

#[test]
fn there_and_back() {
    for info in [&b""[..], b"Rows matched: 1  Changed: 1  Warnings: 0"] {
        for tracked in [vec![], all_trackers()] {
            let ok = sample(info, tracked);
            for header_byte in [0x00, 0xfe] {
                let bytes = encoded(&ok, header_byte, TRACK);
                assert_eq!(Ok::parse(&bytes, TRACK), Ok(ok.clone()));
            }
            let bytes = encoded(&ok, 0, CLASSIC);
            let plain = Ok { status: Status::AUTOCOMMIT, tracked: vec![], ..ok };
            assert_eq!(Ok::parse(&bytes, CLASSIC), Ok(plain));
        }
    }
}

#[test]
fn any_cut_is_refused_or_says_less_but_never_panics() {
    let bytes = encoded(&sample(b"info", all_trackers()), 0, TRACK);
    let whole = Ok::parse(&bytes, TRACK).unwrap();
    for end in 0..bytes.len() {
        if let Ok(ok) = Ok::parse(&bytes[..end], TRACK) {
            assert!(ok.tracked.is_empty() && ok != whole, "cut at {end}");
        }
    }
}

#[test]
fn trackers() {
    fn check(block: &[u8], expected: &[Tracked]) {
        let mut payload = vec![0, 0, 0, 0x02, 0x40, 0, 0, 0];
        put_lenenc_bytes(&mut payload, block);
        let ok = Ok::parse(&payload, TRACK).unwrap();
        assert_eq!(ok.tracked, expected, "{block:?}");
    }
    check(b"", &[]);
    // As servers send it, and with a length that some documents give it.
    check(b"\x02\x011", &[Tracked::StateChanged]);
    check(b"\x02\x02\x011", &[Tracked::StateChanged]);
    // Kinds 6 to 9 are not known and are stepped over.
    check(
        b"\x06\x01x\x07\0\x08\0\x09\0\x01\x03\x02db",
        &[
            Tracked::Unknown(6),
            Tracked::Unknown(7),
            Tracked::Unknown(8),
            Tracked::Unknown(9),
            Tracked::Schema(b"db".to_vec()),
        ],
    );
    // Two variables in one entry.
    check(
        b"\x00\x08\x01a\x011\x01b\x012",
        &[
            Tracked::Variable { name: b"a".to_vec(), value: b"1".to_vec() },
            Tracked::Variable { name: b"b".to_vec(), value: b"2".to_vec() },
        ],
    );
    // Known kinds of a shape that is not: the whole entry is not known.
    check(
        b"\x00\x04\x01a\x011\x00\x05\x01b\x012x",
        &[Tracked::Variable { name: b"a".to_vec(), value: b"1".to_vec() }, Tracked::Unknown(0)],
    );
    check(b"\x03\x03\x01\x01x", &[Tracked::Unknown(3)]);
    check(b"\x01\x02\x05x", &[Tracked::Unknown(1)]);
    check(b"\x05\x03\x01ab", &[Tracked::Unknown(5)]);
}

#[test]
fn a_tracker_longer_than_its_block_is_malformed() {
    assert!(Ok::parse(b"\0\0\0\x02\x40\0\0\0\x03\x01\x09x", TRACK).is_err());
    assert!(Ok::parse(b"\0\0\0\x02\x40\0\0\0\x09\x01\x01x", TRACK).is_err());
}

#[test]
fn classic_info_with_and_without_its_length() {
    fn check(tail: &[u8], expected: &[u8]) {
        let mut payload = b"\0\0\0\x02\0\0\0".to_vec();
        payload.extend_from_slice(tail);
        assert_eq!(Ok::parse(&payload, CLASSIC).unwrap().info, expected);
    }
    check(b"", b"");
    check(b"\x04info", b"info");
    check(b"Rows matched: 1", b"Rows matched: 1");
}

#[test]
fn eof_has_its_warnings_first() {
    let mut out = Vec::new();
    assert_eq!(write_eof(&mut out, 255, Status(0x0122), 3), 0);
    assert_eq!(out, b"\x05\0\0\xff\xfe\x03\0\x22\x01");
    assert_eq!(parse_eof(&out[4..]), Ok((Status(0x0122), 3)));
    assert!(parse_eof(b"\xfe\0\0").is_err());
    let mut out = Vec::new();
    assert_eq!(write_ok(&mut out, 1, Status::AUTOCOMMIT, TRACK), 2);
    assert_eq!(out, b"\x07\0\0\x01\0\0\0\x02\0\0\0");
}
