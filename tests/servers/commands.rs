//! Rare commands and wishes: answered as a server answers them, or as the README says.

use std::process::Command;

use super::client::{Client, Login};
use super::drivers::{mariadb, mysql, output_of};
use super::proxy::Proxy;
use super::stack::{Flavour, PRIMARY, Stack, on_both};

on_both!(compression_is_declined, rare_commands);

/// Clients that would compress speak plainly.
fn compression_is_declined(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("compress");
    let proxy = Proxy::start(&stack);
    let sql = ["--execute", "SELECT REPEAT('forebay', 3), @@version IS NULL", "--compress"];
    for mut command in [
        mysql(&proxy.address, &tenant, &["--ssl-mode=REQUIRED"]),
        mariadb(&proxy.address, &tenant, &["--ssl"]),
    ] {
        let told = output_of(command.args(sql));
        assert!(told.contains("forebayforebayforebay\t0"), "{told}");
    }
    let (host, port) = proxy.address.split_once(':').unwrap();
    let name = &tenant.name;
    let script = format!(
        "$it = mysqli_init(); $it->real_connect('{host}', '{name}', '{name}', '{name}', {port}, \
         null, MYSQLI_CLIENT_COMPRESS); echo $it->query('SELECT 40 + 2')->fetch_row()[0];"
    );
    // PHP's driver would compress whatever it is offered: it is told so, and not left to fail.
    let told = output_of(Command::new("php").args(["-r", &script]));
    assert!(told.contains("connect without MYSQLI_CLIENT_COMPRESS"), "{told}");
    // Others that ask for it against all hope are served.
    let compress = forebay::wire::capability::Capabilities::COMPRESS;
    let mut client =
        Client::connect(&proxy.address, &Login::new(name, name).with(compress)).unwrap();
    assert_eq!(client.cell("SELECT 1"), "1");
}

/// What an account without rights over the server is told, on MariaDB and on MySQL; two numbers:
/// without Forebay and with it. A binary log is nobody's here, and a KILL by packet is everybody's.
const TOLD: [(u8, &str, &str); 19] = [
    (0x00, "1047", "1047"),
    (0x05, "1047", "1047"),
    (0x06, "1047", "1047"),
    (0x07, "1227", "1047"),
    (0x0a, "rows", "1047"),
    (0x0b, "1047", "1047"),
    (0x0c, "1094", "1047 1094"),
    (0x0d, "1227", "1227"),
    (0x0e, "OK", "OK"),
    (0x0f, "1047", "1047"),
    (0x10, "1047", "1047"),
    (0x12, "1227", "1227"),
    (0x13, "1047", "1047"),
    (0x14, "1047", "1047"),
    (0x15, "1045 1227", "1045 1227"),
    (0x1d, "1047", "1047"),
    (0x1e, "1047 1227", "1227"),
    (0x20, "1047", "1227 1047"),
    (0x21, "1047", "1227 1047"),
];

fn rare_commands(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("commands");
    let mut proxy = Proxy::start(&stack);
    let mut direct = Client::connect(stack.address(PRIMARY), &tenant.login()).unwrap();
    let mut through = proxy.client(&tenant);
    for (command, mariadb, mysql) in TOLD {
        let both = if flavour == Flavour::MariaDb { mariadb } else { mysql };
        let (expected, ours) = both.split_once(' ').unwrap_or((both, both));
        assert_eq!(told(&mut direct, command), expected, "{command:#x} without Forebay");
        assert_eq!(told(&mut through, command), ours, "{command:#x}");
    }
    assert_eq!(through.cell("SELECT 'well'"), "well");
    proxy.assert_alive();
}

/// What a client is told to a command: an error's number, or the kind of the answer.
fn told(client: &mut Client, command: u8) -> String {
    client.command(command, b"\xff\xff\xff\xffrest").unwrap();
    let (_, first) = client.read().unwrap();
    match first.first() {
        Some(0xff) => return u16::from_le_bytes([first[1], first[2]]).to_string(),
        Some(0) => return "OK".into(),
        _ => {}
    }
    let mut ends = 0;
    while ends < 2 {
        let (_, packet) = client.read().unwrap();
        ends += u8::from(packet.first() == Some(&0xfe) && packet.len() < 9);
    }
    "rows".into()
}
