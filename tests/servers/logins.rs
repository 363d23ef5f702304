//! Who gets in, by what, and for how long.

use super::client::{Client, Login};
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, PRIMARY, Stack, on_both, until};

on_both!(strangers_and_wrong_passwords_look_alike, a_changed_password_counts);

const ACCESS_DENIED: u16 = 1045;

fn refusal(proxy: &Proxy, login: &Login<'_>) -> String {
    match Client::connect(&proxy.address, login) {
        Ok(_) => panic!("{login:?} got in"),
        Err(failure) => {
            assert_eq!(failure.code(), ACCESS_DENIED, "{failure}");
            failure.to_string().replace(login.user, "USER")
        }
    }
}

fn strangers_and_wrong_passwords_look_alike(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("known");
    let proxy = Proxy::start(&stack);
    let wrong = refusal(&proxy, &Login::new(&tenant.name, "wrong"));
    assert_eq!(refusal(&proxy, &Login::new("nobody_at_all", "wrong")), wrong);
    assert_eq!(refusal(&proxy, &Login::new("root", "")).replace("NO", "YES"), wrong);
    proxy.client(&tenant).run("SELECT 1");
    assert_eq!(refusal(&proxy, &Login::new(&tenant.name, "wrong")), wrong);
}

fn a_changed_password_counts(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("changing");
    let proxy = Setup::of(&stack).file("[auth]\nttl_s = 1").start();
    proxy.client(&tenant).run("SELECT 1");
    let user = &tenant.name;
    stack.root(PRIMARY).run(&format!("ALTER USER '{user}'@'%' IDENTIFIED BY 'new'"));
    let log_in = |password: &str| {
        let login = Login::new(user, password).to(user);
        Client::connect(&proxy.address, &login).map(|mut client| client.cell("SELECT 1"))
    };
    assert_eq!(log_in("new").unwrap(), "1");
    until("the old one is refused", || log_in(user).is_err_and(|it| it.code() == ACCESS_DENIED));
    assert_eq!(log_in("new").unwrap(), "1");
}

#[test]
fn a_bare_password_is_refused_on_plain_tcp() {
    let stack = Stack::shared(Flavour::MySql97);
    let tenant = stack.tenant("bare");
    let proxy = Proxy::start(&stack);
    refusal(&proxy, &tenant.login().barely());
    // The key is asked for first: the same password, sealed.
    proxy.client(&tenant).run("SELECT 1");
}

#[test]
fn listed_users_may_be_native() {
    let stack = Stack::shared(Flavour::MariaDb);
    let tenant = stack.tenant("listed");
    let file = scratch("listed-password");
    std::fs::write(&file, &tenant.name).unwrap();
    let proxy = Setup::of(&stack)
        .file(&format!(
            "[[users]]\nname = '{}'\npassword_file = '{}'\n[auth]\nlearn = false",
            tenant.name,
            file.display()
        ))
        .start();
    let mut client = Client::connect(&proxy.address, &tenant.login().natively()).unwrap();
    assert_eq!(client.cell("SELECT 1"), "1");
    proxy.client(&tenant).run("SELECT 1");
    refusal(&proxy, &Login::new(&tenant.name, "wrong").natively());
    refusal(&proxy, &Login::new("unlisted", "unlisted"));
}
