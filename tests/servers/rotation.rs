//! Passwords and accounts that change while they are used.

use super::client::{Client, Login};
use super::logins::refusal_of;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};
use super::statement::{execute, prepare};
use forebay::wire::capability::Capabilities;

on_both!(
    what_passes_through_counts_at_once,
    what_does_not_counts_within_the_ttl,
    an_expired_password,
    a_password_that_expires_in_its_own_session,
);

/// Somebody who may change accounts.
fn administrator(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let grant = format!("GRANT CREATE USER, RELOAD, SELECT, UPDATE ON *.* TO {}", tenant.name);
    stack.root(PRIMARY).run(&grant);
    if stack.flavour == Flavour::MySql97 {
        let grant = format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {}", tenant.name);
        stack.root(PRIMARY).run(&grant);
    }
    stack.sync();
    tenant
}

/// The error's number of a login, or 0.
fn try_login(proxy: &Proxy, tenant: &Tenant, password: &str) -> u16 {
    let login = Login::new(&tenant.name, password);
    Client::connect(&proxy.address, &login).err().map_or(0, |failure| failure.code())
}

/// What is done to the account `?`, by whom its password is then refused, and with what.
fn changes(flavour: Flavour) -> Vec<(&'static str, u16)> {
    let locked = match flavour {
        Flavour::MariaDb => 4151,
        _ => 3118,
    };
    vec![
        ("ALTER USER ? IDENTIFIED BY 'another'", 1045),
        ("SET PASSWORD FOR ? = ", 1045),
        ("ALTER USER ? ACCOUNT LOCK", locked),
        ("DROP USER ?", 1045),
        ("RENAME USER ? TO ?_renamed", 1045),
        ("/*!50001 ALTER USER ? IDENTIFIED BY 'another' */", 1045),
    ]
}

fn of_account(change: &str, flavour: Flavour, tenant: &Tenant) -> String {
    let value = match flavour {
        Flavour::MariaDb => "PASSWORD('another')",
        _ => "'another'",
    };
    let value = if change.ends_with("= ") { value } else { "" };
    format!("{}{value}", change.replace('?', &tenant.name))
}

/// The old password has just been proved, and would count for an hour.
fn what_passes_through_counts_at_once(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let administrator = administrator(&stack, "administrator");
    let mut proxy = Setup::of(&stack).file("[auth]\nttl_s = 3600").start();
    for (at, (change, code)) in changes(flavour).into_iter().enumerate() {
        stack.root(PRIMARY).run(&format!("DROP USER IF EXISTS t_rotating{at}_renamed"));
        let tenant = stack.tenant(&format!("rotating{at}"));
        let mut inside = proxy.client(&tenant);
        inside.run("SELECT 1");
        proxy.client(&administrator).run(&of_account(change, flavour, &tenant));
        assert_eq!(try_login(&proxy, &tenant, &tenant.name), code, "{change}");
        let is_new = change.contains("another") || change.ends_with("= ");
        let told = try_login(&proxy, &tenant, "another");
        assert_eq!(told, if is_new { 0 } else { 1045 }, "{change}");
        // Who is in stays in for as long as the pool has a connection of that login.
        if let Err(failure) = inside.query("SELECT 1") {
            assert_eq!(failure.code(), code, "{change}: {failure}");
        }
    }
    // Who was not concerned is proved again, and stays.
    proxy.client(&administrator).run("SELECT 1");
    proxy.assert_alive();
}

fn what_does_not_counts_within_the_ttl(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let mut proxy = Setup::of(&stack).file("[auth]\nttl_s = 1").start();
    for (at, (change, code)) in changes(flavour).into_iter().enumerate() {
        stack.root(PRIMARY).run(&format!("DROP USER IF EXISTS t_unseen{at}_renamed"));
        let tenant = stack.tenant(&format!("unseen{at}"));
        proxy.client(&tenant).run("SELECT 1");
        stack.root(PRIMARY).run(&of_account(change, flavour, &tenant));
        until("the old password is refused", || {
            let told = try_login(&proxy, &tenant, &tenant.name);
            assert!([0, code].contains(&told), "{change}: {told}");
            told == code
        });
    }
    proxy.assert_alive();
}

/// As a driver's prepared statement, by the binary protocol.
#[test]
fn what_was_prepared_counts_too() {
    let stack = Stack::shared(Flavour::MariaDb);
    let administrator = administrator(&stack, "preparing_administrator");
    let tenant = stack.tenant("prepared_rotation");
    let proxy = Setup::of(&stack).file("[auth]\nttl_s = 3600").start();
    proxy.client(&tenant).run("SELECT 1");
    let mut client = proxy.client(&administrator);
    let change = format!("ALTER USER {} IDENTIFIED BY 'another'", tenant.name);
    let Ok(prepared) = prepare(&mut client, &change) else { panic!("{change}") };
    assert_eq!(try_login(&proxy, &tenant, &tenant.name), 0, "prepared is not done");
    assert!(execute(&mut client, &prepared, &[]).is_ok());
    assert_eq!(try_login(&proxy, &tenant, &tenant.name), 1045);
    assert_eq!(try_login(&proxy, &tenant, "another"), 0);
}

/// Both are right, until the old one is given up.
#[test]
fn two_passwords_at_once() {
    let stack = Stack::shared(Flavour::MySql97);
    let administrator = administrator(&stack, "dual_administrator");
    let proxy = Setup::of(&stack).file("[auth]\nttl_s = 3600").start();
    let tenant = stack.tenant("dual");
    let name = &tenant.name;
    let both = |expected: [u16; 2]| {
        for round in 0..3 {
            let told = [name.as_str(), "new"].map(|password| try_login(&proxy, &tenant, password));
            assert_eq!(told, expected, "round {round}");
        }
    };
    both([0, 1045]);
    let mut change = proxy.client(&administrator);
    change.run(&format!("ALTER USER {name} IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD"));
    // 'new' was wrong a moment ago, which is remembered for a second.
    until("the new one", || try_login(&proxy, &tenant, "new") == 0);
    both([0, 0]);
    let proved = proxy.metric("forebay_logins_total", &["result=\"known\""]);
    assert!(proved >= 6.0, "{proved}");
    change.run(&format!("ALTER USER {name} DISCARD OLD PASSWORD"));
    both([1045, 0]);
}

/// What a direct server says: at the login, or else to the first statement.
fn told_directly(stack: &Stack, login: &Login<'_>) -> u16 {
    match Client::connect(stack.address(PRIMARY), login) {
        Err(failure) => failure.code(),
        Ok(mut client) => client.refused("SELECT 1"),
    }
}

fn an_expired_password(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let mut proxy = Setup::of(&stack).monitored().start();
    let tenant = stack.tenant("expired");
    let name = &tenant.name;
    let mut root = stack.root(PRIMARY);
    root.run(&format!("ALTER USER {name} PASSWORD EXPIRE"));
    stack.sync();
    let login = tenant.login();
    let through = || refusal_of(Client::connect(&proxy.address, &login)).0;
    assert_eq!(through(), told_directly(&stack, &login));
    assert_eq!(through(), told_directly(&stack, &login), "and again");
    // One that could change it does so at the server itself.
    let able = tenant.login().with(Capabilities::EXPIRED_PASSWORDS);
    assert_eq!(told_directly(&stack, &able), 1820);
    let told = refusal_of(Client::connect(&proxy.address, &able)).0;
    assert!([1820, 1862].contains(&told), "{told}");
    let connections =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{name}'");
    until("no connection of it is kept", || root.cell(&connections) == "0");
    root.run(&format!("ALTER USER {name} IDENTIFIED BY 'fresh'"));
    stack.sync();
    let fresh = Login::new(name, "fresh").to(name);
    let mut client = Client::connect(&proxy.address, &fresh).unwrap_or_else(|f| panic!("{f}"));
    client.run("CREATE TABLE made (id INT)");
    proxy.assert_alive();
}

/// MySQL puts the session into its sandbox at once: nobody else may be given that connection.
fn a_password_that_expires_in_its_own_session(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let mut proxy = Setup::of(&stack).monitored().start();
    let tenant = stack.tenant("self_expired");
    let name = &tenant.name;
    stack.root(PRIMARY).run(&format!("GRANT CREATE USER ON *.* TO {name}"));
    stack.sync();
    let mut others: Vec<Client> = (0..3).map(|_| proxy.client(&tenant)).collect();
    others.iter_mut().for_each(|other| drop(other.run("SELECT 1")));
    let mut client = proxy.client(&tenant);
    client.run(&format!("ALTER USER {name} PASSWORD EXPIRE"));
    // Whoever logs in now is refused, and who is in hears no other error than a direct server's.
    let (code, _) = refusal_of(proxy.try_client(&tenant));
    assert!([1820, 1862].contains(&code), "{code}");
    for client in others.iter_mut().chain([&mut client]) {
        for _ in 0..3 {
            if let Err(failure) = client.query("INSERT INTO nothing VALUES (1)") {
                assert!([1146, 1820, 1862].contains(&failure.code()), "{failure}");
            }
        }
    }
    stack.root(PRIMARY).run(&format!("ALTER USER {name} IDENTIFIED BY '{name}'"));
    stack.sync();
    until("all is well again", || {
        proxy.try_client(&tenant).is_ok_and(|mut client| client.query("SELECT 1").is_ok())
    });
    for client in &mut others {
        client.run("SELECT 1");
    }
    proxy.assert_alive();
}
