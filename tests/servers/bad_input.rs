//! What no client should send: a clear error each, bounded memory, and the process stays up.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::client::Client;
use super::proxy::Proxy;
use super::stack::{Flavour, Stack, Tenant};

/// What a thousand refused visitors may leave in memory.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

fn prepare(name: &str) -> (Stack, Tenant, Proxy) {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant(name);
    let proxy = Proxy::start(&stack);
    proxy.client(&tenant).run("SELECT 1");
    (stack, tenant, proxy)
}

#[test]
fn commands_that_nobody_knows() {
    let (_stack, tenant, mut proxy) = prepare("unknown");
    let mut client = proxy.client(&tenant);
    let unknown = (0x20..=0xff).chain([0x00, 0x05, 0x07, 0x08, 0x0b, 0x0d, 0x0f, 0x10]);
    for command in unknown.chain([0x12, 0x13, 0x14, 0x15, 0x1d, 0x1e]) {
        let failure = client.simple(command, b"\x01\x00\x00\x00rest").unwrap_err();
        assert!([1047, 1227].contains(&failure.code()), "{command:#x}: {failure}");
        assert_eq!(client.cell("SELECT 1"), "1", "after {command:#x}");
    }
    proxy.assert_alive();
}

#[test]
fn commands_cut_short() {
    let (_stack, tenant, mut proxy) = prepare("short");
    for command in [0x0c, 0x17, 0x19, 0x1a, 0x1b, 0x1c] {
        let mut client = proxy.client(&tenant);
        client.command(command, b"\x01").unwrap();
        // 0x19 (close) and 0x18 (long data) have no answer; the others have an error.
        if command != 0x19 {
            let (_, payload) = client.read().unwrap();
            assert_eq!(payload.first(), Some(&0xff), "{command:#x}");
        }
        proxy.client(&tenant).run("SELECT 1");
    }
    let mut client = proxy.client(&tenant);
    client.send(7, b"\x03SELECT 1").unwrap();
    let (_, payload) = client.read().unwrap();
    assert_eq!(payload.get(..3), Some(&[0xff, 0x84, 0x04][..]), "1156: out of order");
    let mut client = proxy.client(&tenant);
    client.send_bytes(&[0, 0, 0, 0]).unwrap();
    let answered = client.read();
    assert!(answered.is_err() || answered.is_ok_and(|(_, payload)| payload[0] == 0xff));
    proxy.assert_alive();
}

#[test]
fn logins_that_are_none() {
    let (_stack, tenant, mut proxy) = prepare("garbage");
    let before = proxy.memory_kib();
    let greeted: &[&[u8]] = &[
        b"",
        b"\xff\xff\xff\x01",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x01\x00\x00\x01\x00",
        b"\x20\x00\x00\x01\x05\xa2\x3a\x00\x00\x00\x00\x01\x21",
        b"\x04\x00\x00\x01\xff\xff\xff\xff",
        b"\x00\x00\x00\x01",
    ];
    for round in 0..1000 {
        let mut stream = TcpStream::connect(&proxy.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut block = [0; 256];
        assert!(stream.read(&mut block).unwrap() > 20, "a greeting");
        let _refused = stream.write_all(greeted[round % greeted.len()]);
    }
    // An endless login is refused on its header, not gathered.
    let mut stream = TcpStream::connect(&proxy.address).unwrap();
    let mut chunk = vec![0; 1 << 20];
    chunk[..4].copy_from_slice(b"\xff\xff\xff\x01");
    let endless = (0..64).all(|_| stream.write_all(&chunk).is_ok());
    assert!(!endless, "64 MiB of a login were taken");
    proxy.client(&tenant).run("SELECT 1");
    let growth = proxy.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more");
    proxy.assert_alive();
}

#[test]
fn visitors_who_never_finish_block_nobody() {
    let (_stack, tenant, mut proxy) = prepare("slow");
    let mut half: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(&proxy.address).unwrap()).collect();
    for stream in &mut half {
        stream.write_all(b"\x20\x00").unwrap();
    }
    let mut slow: Vec<Client> = (0..50).map(|_| proxy.client(&tenant)).collect();
    for client in &mut slow {
        client.send_bytes(b"\x09\x00\x00\x00\x03SEL").unwrap();
    }
    for _ in 0..50 {
        assert_eq!(proxy.client(&tenant).cell("SELECT 1"), "1");
    }
    for client in &mut slow {
        client.send_bytes(b"ECT 1").unwrap();
        assert_eq!(client.answers().unwrap()[0].rows[0][0].as_deref(), Some("1"));
    }
    proxy.assert_alive();
}
