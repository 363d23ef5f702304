//! Headers, one a line; each cut at every byte, and each byte of each made wrong.

use proptest::prelude::*;

use super::*;

/// What a header says, whole; that it is waited for while it is cut; and what follows it is left.
#[track_caller]
fn check(header: &[u8], expected: &str) {
    let said = match parse(header) {
        Ok(Some((announced, len))) => {
            assert_eq!(len, header.len(), "all of it");
            format!("{announced:?}")
        }
        Ok(None) => "more".to_owned(),
        Err(malformed) => malformed.what.to_owned(),
    };
    assert_eq!(said, expected, "{header:?}");
    let is_whole = parse(header).is_ok_and(|parsed| parsed.is_some());
    for cut in 0..header.len() {
        let parsed = parse(&header[..cut]);
        if is_whole {
            assert_eq!(parsed, Ok(None), "cut at {cut}: {header:?}");
        } else {
            assert!(!matches!(parsed, Ok(Some(_))), "cut at {cut}: {header:?}");
        }
    }
    let followed = [header, b"\x20\0\0\x01"].concat();
    if is_whole {
        assert_eq!(parse(&followed), parse(header), "what follows is not its own");
    }
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &len, body].concat()
}

const V4: [u8; 12] = [10, 1, 2, 3, 10, 9, 9, 9, 0x30, 0x39, 0x0c, 0xea];

fn v6() -> Vec<u8> {
    let (from, to) = ("2001:db8::1".parse::<Ipv6Addr>(), "2001:db8::2".parse::<Ipv6Addr>());
    [&from.unwrap().octets()[..], &to.unwrap().octets(), &[0x30, 0x39, 0x0c, 0xea]].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A header with a checksum, `fields` in front of it and behind it.
fn summed(before: &[u8], behind: &[u8]) -> Vec<u8> {
    let body = [&V4[..], before, &field(CHECKSUM, &[0; 4]), behind].concat();
    let mut header = binary(PROXY, TCP4, &body);
    let sum = crc32c(header.iter().copied()).to_be_bytes();
    let at = HEAD_BYTES + V4.len() + before.len() + 3;
    header[at..at + 4].copy_from_slice(&sum);
    header
}

#[test]
fn lines() {
    const WRONG: &str = "the line of a PROXY header";
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 12345 3306\r\n", "Client(10.1.2.3:12345)");
    check(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "Client(255.255.255.255:65535)",
    );
    check(b"PROXY TCP6 2001:db8::1 ::1 1 3306\r\n", "Client([2001:db8::1]:1)");
    check(b"PROXY UNKNOWN\r\n", "Nobody");
    check(b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "Nobody");
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 12345 3306\n", WRONG);
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 12345\r\n", WRONG);
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 12345 3306 \r\n", WRONG);
    check(b"PROXY TCP4  10.1.2.3 10.9.9.9 12345 3306\r\n", WRONG);
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 65536 3306\r\n", WRONG);
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 +1 3306\r\n", WRONG);
    check(b"PROXY TCP4 10.1.2.3 10.9.9.9 1 \r\n", WRONG);
    check(b"PROXY TCP4 10.1.2.256 10.9.9.9 1 2\r\n", WRONG);
    check(b"PROXY TCP4 2001:db8::1 ::1 1 3306\r\n", WRONG);
    check(b"PROXY TCP6 10.1.2.3 10.9.9.9 1 2\r\n", WRONG);
    check(b"PROXY UDP4 10.1.2.3 10.9.9.9 1 2\r\n", WRONG);
    check(b"PROXY \r\n", WRONG);
    check(b"PROXY \xff\r\n", WRONG);
    let longest = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    check(&longest, "Nobody");
    check(&[&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat(), WRONG);
    check(b"PROXY TCP4 10.1.2.3", "more");
}

#[test]
fn binaries() {
    const FAMILY: &str = "the address family of a PROXY header";
    const COMMAND: &str = "version or command of a PROXY header";
    const SHORT: &str = "the addresses of a PROXY header";
    const FIELD: &str = "a field of a PROXY header";
    check(&binary(PROXY, TCP4, &V4), "Client(10.1.2.3:12345)");
    check(&binary(PROXY, TCP6, &v6()), "Client([2001:db8::1]:12345)");
    check(&binary(PROXY, UNIX, &[b'/'; 216]), "Local");
    check(&binary(PROXY, UNSPECIFIED, b""), "Nobody");
    check(&binary(LOCAL, UNSPECIFIED, b""), "Nobody");
    check(&binary(LOCAL, TCP4, &V4), "Nobody");
    check(&binary(LOCAL, 0x77, b"whatever"), "Nobody");
    check(&binary(0x22, TCP4, &V4), COMMAND);
    check(&binary(0x11, TCP4, &V4), COMMAND);
    // Datagrams do not come over a stream.
    check(&binary(PROXY, 0x12, &V4), FAMILY);
    check(&binary(PROXY, 0x41, &V4), FAMILY);
    check(&binary(PROXY, TCP4, &V4[..11]), SHORT);
    check(&binary(PROXY, TCP6, &v6()[..35]), SHORT);
    check(&binary(PROXY, UNIX, &[0; 215]), SHORT);
    check(
        &binary(PROXY, TCP4, &[&V4[..], &field(4, b"nothing")].concat()),
        "Client(10.1.2.3:12345)",
    );
    check(&binary(PROXY, TCP4, &[&V4[..], &field(4, b"")].concat()), "Client(10.1.2.3:12345)");
    check(&binary(PROXY, TCP4, &[&V4[..], &field(4, b"cut")[..5]].concat()), FIELD);
    check(&binary(PROXY, TCP4, &[&V4[..], b"\x04\0"].concat()), FIELD);
    check(&binary(PROXY, TCP4, &[&V4[..], b"\x04\xff\xff"].concat()), FIELD);
    check(&summed(b"", b""), "Client(10.1.2.3:12345)");
    check(&summed(&field(4, b"in front"), &field(1, b"mysql")), "Client(10.1.2.3:12345)");
    check(&binary(PROXY, TCP4, &[&V4[..], &field(CHECKSUM, b"abc")].concat()), FIELD);
    let largest = PROXY_HEADER_BYTES_MAX - HEAD_BYTES;
    check(&binary(LOCAL, UNSPECIFIED, &vec![0; largest]), "Nobody");
    let longer = binary(LOCAL, UNSPECIFIED, &vec![0; largest + 1]);
    check(&longer, "a PROXY header that is too long");
    check(&longer[..HEAD_BYTES], "a PROXY header that is too long");
    check(&[&SIGNATURE[..], &[PROXY]].concat(), "more");
}

#[test]
fn a_checksum_covers_every_byte() {
    let header = summed(&field(4, b"in front"), &field(1, b"mysql"));
    // But for the byte that says "this is the checksum": then there is none.
    let kind = HEAD_BYTES + V4.len() + field(4, b"in front").len();
    for at in (0..header.len()).filter(|at| *at != kind) {
        let mut wrong = header.clone();
        wrong[at] ^= 0x40;
        assert!(!matches!(parse(&wrong), Ok(Some((Announced::Client(_), _)))), "byte {at}");
    }
    // The check value of the polynomial's own definition.
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn anything_else_is_refused_on_its_first_wrong_byte() {
    const NONE: &str = "no PROXY header";
    check(b"GET / HTTP/1.1\r\n", NONE);
    check(b"\x20\0\0\x01", NONE);
    check(b"proxy ", NONE);
    check(b"PROXY\t", NONE);
    check(b"\r\n\r\n\0\r\nQUIX", NONE);
    check(b"\x16", NONE);
    assert_eq!(parse(b""), Ok(None));
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(any::<u8>(), 0..64);
    let body = (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300));
    prop_oneof![
        noise.clone(),
        body.prop_map(|(command, family, body)| binary(command, family, &body)),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|body| binary(
            PROXY,
            TCP4,
            &[&V4[..], &body].concat()
        )),
        "PROXY (TCP4|TCP6|UNKNOWN|x) ?[0-9a-f.: ]{0,100}\r?\n?.{0,4}".prop_map(String::into_bytes),
    ]
}

proptest! {
    /// However bytes arrive, the first answer that is not "more" is the answer to all of them.
    #[test]
    fn an_answer_never_changes_with_what_comes_behind(bytes in anything()) {
        let whole = parse(&bytes);
        if let Ok(Some((_, len))) = whole {
            prop_assert!(len <= bytes.len() && len <= PROXY_HEADER_BYTES_MAX);
        }
        for cut in 0..bytes.len() {
            let part = parse(&bytes[..cut]);
            if part != Ok(None) {
                prop_assert_eq!(part, whole);
                break;
            }
        }
    }
}
