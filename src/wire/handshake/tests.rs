//! Greetings of servers, answers of clients, there and back, and every cut of them.

use super::*;

const NONCE: [u8; 20] = *b"abcdefghijklmnopqrst";

fn greeting() -> Greeting {
    Greeting {
        version: b"9.7.4".to_vec(),
        thread_id: 0x0102_0304,
        nonce: NONCE,
        capabilities: Capabilities(0xdfff_ffff),
        mariadb_extended: 0,
        charset: 255,
        status: Status::AUTOCOMMIT,
        plugin: b"caching_sha2_password".to_vec(),
    }
}

fn response(capabilities: Capabilities) -> Response {
    let has = |flag| capabilities.has(flag);
    Response {
        capabilities,
        packet_bytes_max: 1 << 24,
        charset: 45,
        user: b"wordpress".to_vec(),
        auth: vec![7; 32],
        database: has(Capabilities::CONNECT_WITH_DB).then(|| b"blog".to_vec()),
        plugin: has(Capabilities::PLUGIN_AUTH).then(|| b"caching_sha2_password".to_vec()),
        attributes: match has(Capabilities::CONNECT_ATTRS) {
            true => vec![(b"_client_name".to_vec(), b"mysqlnd".to_vec())],
            false => vec![],
        },
    }
}

#[test]
fn greetings_go_there_and_back() {
    fn check(greeting: &Greeting) {
        let mut out = Vec::new();
        greeting.encode(&mut out);
        assert_eq!(Greeting::parse(&out).as_ref(), Ok(greeting));
        let nonce_end = out.len() - greeting.plugin.len() - 1;
        for end in 0..nonce_end {
            assert!(Greeting::parse(&out[..end]).is_err(), "cut at {end}");
        }
    }
    check(&greeting());
    check(&Greeting {
        version: b"5.5.5-10.11.19-MariaDB".to_vec(),
        capabilities: Capabilities(0x81ff_f7fe),
        mariadb_extended: 0x1d,
        plugin: b"mysql_native_password".to_vec(),
        ..greeting()
    });
}

#[test]
fn a_greeting_byte_for_byte() {
    let mut out = Vec::new();
    greeting().encode(&mut out);
    let expected = b"\x0a9.7.4\0\x04\x03\x02\x01abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\
        \0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0";
    assert_eq!(out, expected);
}

#[test]
fn strange_greetings() {
    assert!(Greeting::parse(b"").is_err());
    assert!(Greeting::parse(b"\x09old\0").is_err());
    let old = Greeting { capabilities: Capabilities(0x0000_0200), ..greeting() };
    let mut out = Vec::new();
    old.encode(&mut out);
    assert!(Greeting::parse(&out).is_err());
    let mut out = Vec::new();
    Greeting { version: vec![b'9'; 513], ..greeting() }.encode(&mut out);
    assert!(Greeting::parse(&out).is_err());
}

#[test]
fn answers_go_there_and_back() {
    fn check(capabilities: u32) {
        let response = response(Capabilities(capabilities));
        let mut out = Vec::new();
        response.encode(&mut out);
        assert_eq!(Response::parse(&out), Ok(response), "{capabilities:#x}");
        for end in 0..out.len() {
            let _ = Response::parse(&out[..end]);
        }
        for end in 0..70 {
            assert!(Response::parse(&out[..end]).is_err(), "{capabilities:#x} cut at {end}");
        }
    }
    // mysqlnd without and with a schema, the mysql command line, libmariadb, the least of all.
    check(0x001a_a285);
    check(0x001a_a28d);
    check(0x19bf_a285);
    check(0x00bf_a285);
    check(0x0000_8200);
}

#[test]
fn strange_answers() {
    let parsed = |edit: fn(&mut Response)| {
        let mut response = response(Capabilities(0x001a_a28d));
        edit(&mut response);
        let mut out = Vec::new();
        response.encode(&mut out);
        Response::parse(&out)
    };
    assert_eq!(parsed(|it| it.database = Some(vec![])).unwrap().database, None);
    assert_eq!(parsed(|it| it.auth = vec![]).unwrap().auth, b"");
    assert_eq!(parsed(|it| it.plugin = Some(vec![])).unwrap().plugin, Some(vec![]));
    assert_eq!(parsed(|it| it.user = vec![b'u'; 512]).unwrap().user.len(), 512);
    assert!(parsed(|it| it.user = vec![b'u'; 513]).is_err());
    assert!(parsed(|it| it.capabilities = Capabilities(0x0000_8000)).is_err());
    assert!(parsed(|it| it.attributes = vec![(vec![b'n'; 70_000], vec![])]).is_err());

    // 300 bytes of secret need the longer length.
    let long = Capabilities(0x001a_a285).with(Capabilities::PLUGIN_AUTH_LENENC);
    let mut out = Vec::new();
    Response { auth: vec![1; 300], ..response(long) }.encode(&mut out);
    assert_eq!(Response::parse(&out).unwrap().auth.len(), 300);

    // Attributes that say they are longer than the packet.
    let mut out = Vec::new();
    response(Capabilities(0x001a_a285)).encode(&mut out);
    let at = out.len() - (1 + 12 + 1 + 7) - 1;
    out[at] = 250;
    assert!(Response::parse(&out).is_err());
}

#[test]
fn tokens_are_not_printed() {
    let mut response = response(Capabilities(0x001a_a285));
    response.auth = b"hunter2".to_vec();
    assert!(!format!("{response:?}").contains("104, 117"));
    assert!(!format!("{response:?}").contains("hunter2"));
}

#[test]
fn requests_for_tls() {
    let mut out = Vec::new();
    write_ssl_request(&mut out, Capabilities::SSL.with(Capabilities::PROTOCOL_41), 1 << 24, 45);
    assert!(is_ssl_request(&out));
    assert!(!is_ssl_request(&out[..31]));
    out[1] = 0;
    assert!(!is_ssl_request(&out));
    out.push(0);
    assert!(!is_ssl_request(&out));
}

#[test]
fn changes_of_user_go_there_and_back() {
    let capabilities = Capabilities(0x001a_a285);
    let whole = ChangeUser {
        user: b"wordpress".to_vec(),
        auth: vec![7; 32],
        database: Some(b"blog".to_vec()),
        charset: Some(255),
        plugin: Some(b"caching_sha2_password".to_vec()),
        attributes: vec![(b"k".to_vec(), b"v".to_vec())],
    };
    let check = |change: &ChangeUser| {
        let mut out = Vec::new();
        change.encode(&mut out, capabilities);
        assert_eq!(ChangeUser::parse(&out, capabilities).as_ref(), Ok(change));
        for end in 0..out.len() {
            let _ = ChangeUser::parse(&out[..end], capabilities);
        }
        assert!(ChangeUser::parse(&out[..9], capabilities).is_err());
    };
    check(&whole);
    check(&ChangeUser { database: None, auth: vec![], ..whole.clone() });
    check(&ChangeUser { plugin: None, attributes: vec![], ..whole.clone() });
    check(&ChangeUser { charset: None, plugin: None, attributes: vec![], ..whole });
}

#[test]
fn steps() {
    fn check(payload: &[u8], expected: Option<AuthStep<'_>>) {
        assert_eq!(AuthStep::parse(payload).ok(), expected, "{payload:?}");
    }
    check(b"\0\0\0\x02\0\0\0", Some(AuthStep::Ok));
    check(b"\xff\x15\x04#28000no", Some(AuthStep::Err));
    check(b"\x01\x04", Some(AuthStep::More(b"\x04")));
    check(b"\x01", Some(AuthStep::More(b"")));
    check(b"\xfe", Some(AuthStep::Switch { plugin: b"mysql_old_password", nonce: b"" }));
    check(b"\xfeplug\0", Some(AuthStep::Switch { plugin: b"plug", nonce: b"" }));
    check(b"\x02", None);
    check(b"", None);

    let mut out = Vec::new();
    assert_eq!(write_switch(&mut out, 2, b"plug", &NONCE), 3);
    check(&out[4..], Some(AuthStep::Switch { plugin: b"plug", nonce: &NONCE }));
    out.clear();
    assert_eq!(write_more(&mut out, 4, b"\x03"), 5);
    check(&out[4..], Some(AuthStep::More(b"\x03")));
}
