//! Who gets in, how, and what everybody else is told.

use std::path::PathBuf;
use std::process::Command;

use super::client::{Client, Failure, Login};
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    unknown_and_wrong_look_the_same,
    a_changed_password,
    native_clients_need_a_listed_user,
    nothing_bare_on_plain_tcp,
    root_is_refused,
);

fn refusal(proxy: &Proxy, login: &Login<'_>) -> (u16, String) {
    refusal_of(Client::connect(&proxy.address, login))
}

/// What a client was told that was not let in.
#[track_caller]
pub(crate) fn refusal_of(login: Result<Client, Failure>) -> (u16, String) {
    match login.err() {
        Some(Failure::Refused { code, text, .. }) => (code, text),
        other => panic!("not refused but {other:?}"),
    }
}

fn unknown_and_wrong_look_the_same(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("someone");
    let proxy = Proxy::start(&stack);
    let told = |user, password| {
        let (code, text) = refusal(&proxy, &Login::new(user, password));
        assert_eq!(code, 1045, "{text}");
        text.replace(user, "USER")
    };
    let wrong = told(&tenant.name, "wrong");
    let unknown = told("nobody_at_all", "wrong");
    assert_eq!(wrong, unknown);
    assert_eq!(told("nobody_else", "another"), unknown, "and so for each unknown name");
    proxy.client(&tenant).run("SELECT 1");
    assert_eq!(told(&tenant.name, "wrong"), wrong, "and once the right password is known");
    let (code, _) = refusal(&proxy, &Login::new(&tenant.name, ""));
    assert_eq!(code, 1045, "no password");
}

fn a_changed_password(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("changing");
    let proxy = Setup::of(&stack).file("[auth]\nttl_s = 1").start();
    proxy.client(&tenant).run("SELECT 1");
    let mut root = stack.root(PRIMARY);
    root.run(&format!("ALTER USER {} IDENTIFIED BY 'new'", tenant.name));
    let new = Login::new(&tenant.name, "new").to(&tenant.name);
    let mut client = Client::connect(&proxy.address, &new)
        .unwrap_or_else(|failure| panic!("the new password: {failure}"));
    client.run("SELECT 1");
    until("the old password is refused", || proxy.try_client(&tenant).is_err());
    client.run("SELECT 1");
    Client::connect(&proxy.address, &new).unwrap().run("CREATE TABLE made (id INT)");
}

fn native_clients_need_a_listed_user(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let listed = stack.tenant("listed_user");
    let unlisted = stack.tenant("unlisted_user");
    let file = scratch("password");
    std::fs::write(&file, format!("{}\n", listed.name)).unwrap();
    let users =
        format!("[[users]]\nname = '{}'\npassword_file = '{}'", listed.name, file.display());
    let proxy = Setup::of(&stack).file(&users).start();
    let native = |tenant: &Tenant| {
        let login = Login::new(&tenant.name, &tenant.name).natively();
        Client::connect(&proxy.address, &login)
    };
    native(&listed).unwrap_or_else(|failure| panic!("{failure}")).run("SELECT 1");
    proxy.client(&listed).run("SELECT 1");
    proxy.client(&unlisted).run("SELECT 1");
    let wrong = Login::new(&listed.name, "wrong").natively();
    assert_eq!(refusal(&proxy, &wrong).0, 1045);
}

fn nothing_bare_on_plain_tcp(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("bare");
    let proxy = Proxy::start(&stack);
    let bare = tenant.login().barely();
    let (code, text) = refusal(&proxy, &bare);
    assert_eq!(code, 1045, "{text}");
    assert!(!text.contains(&format!("{0}{0}", tenant.name)));
    // Once it is known, a token is enough, and nobody asks.
    proxy.client(&tenant).run("SELECT 1");
    Client::connect(&proxy.address, &bare).unwrap().run("SELECT 1");
}

fn root_is_refused(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let proxy = Proxy::start(&stack);
    let (code, _) = refusal(&proxy, &Login::new("root", ""));
    assert_eq!(code, 1045);
    let (code, _) = refusal(&proxy, &Login::new("root", "guess"));
    assert_eq!(code, 1045);
}

/// A door for TLS only, with a certificate that its clients can verify.
#[test]
fn tls_is_required_with_given_files() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("tls");
    let (certificate, key) = certificate();
    let file = format!(
        "[tls]\nrequire = true\ncertificate = '{}'\nkey = '{}'",
        certificate.display(),
        key.display()
    );
    let proxy = Setup::of(&stack).file(&file).start();
    assert_eq!(refusal(&proxy, &tenant.login()).0, 3159);
    let (host, port) = proxy.address.split_once(':').unwrap();
    let name = &tenant.name;
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--host", host, "--port", port, "--user", name, "--batch"])
        .arg(format!("--password={name}"))
        .arg(format!("--ssl-ca={}", certificate.display()))
        .args(["--ssl-verify-server-cert", "--skip-column-names", "--execute", "SELECT 'in'"])
        .output()
        .expect("mariadb; install it with: make install");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n", "{output:?}");
}

/// A certificate for this address, made by openssl's command.
pub(crate) fn certificate() -> (PathBuf, PathBuf) {
    let (certificate, key) = (scratch("certificate.pem"), scratch("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .expect("openssl; install it with: apt-get install openssl");
    assert!(made.status.success(), "{made:?}");
    (certificate, key)
}
