//! Traps that experiments have found on the way to fresh reads, one a test, before replicas that are
//! seconds late. `tests/rules.md` numbers them; the others are named there too.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::late::Late;
use super::proxy::{Proxy, Setup};
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both, until};

on_both!(
    only_a_plain_key_is_a_key,
    what_a_request_under_way_stores,
    an_error_hides_a_write,
    who_stays_connected,
    a_reader_in_a_transaction_of_its_own,
    a_demoted_primary_is_no_witness,
    a_held_write_ends_with_its_client,
);

/// Two proxies, replicas that are far behind, and a table of options.
struct Field {
    first: Proxy,
    second: Proxy,
    late: Late,
    tenant: Tenant,
    stack: Stack,
}

impl Field {
    fn new(flavour: Flavour, name: &str, lines: &[&str]) -> Self {
        let stack = Stack::alone(flavour);
        let tenant = stack.tenant(&format!("trap_{name}"));
        let late = Late::between(&stack);
        let mut root = stack.root(PRIMARY);
        root.run(&format!("USE {}", tenant.name));
        root.run("CREATE TABLE calm (n INT)");
        for line in lines {
            root.run(line);
        }
        stack.sync();
        let start = || Setup::of(&stack).followed(&stack);
        let (first, second) = (settled(&start(), &tenant), settled(&start(), &tenant));
        Self { first, second, late, tenant, stack }
    }

    /// Another one, which cannot read the log.
    fn without_follower(&self) -> Proxy {
        let setup = Setup::of(&self.stack).monitored().file("[freshness]\nfollower = 'off'");
        settled(&setup, &self.tenant)
    }

    /// Another one, which will be shown the log late.
    fn with_late_log(&self) -> (Proxy, Late) {
        let (late, address) = Late::log_of(&self.stack);
        let mut setup = Setup::of(&self.stack).followed(&self.stack);
        setup.primary = address;
        let proxy = settled(&setup, &self.tenant);
        until("it follows", || proxy.metric("forebay_follower_up", &[]) > 0.0);
        (proxy, late)
    }

    fn late(self) -> Self {
        self.late.set(Duration::from_secs(5));
        self
    }

    fn primary(&self) -> Client {
        Client::connect(self.stack.address(PRIMARY), &self.tenant.login()).unwrap()
    }

    /// Who comes in now, at the other proxy than the first, reads what the primary says.
    #[track_caller]
    fn check(&self, question: &str) {
        let told = self.second.client(&self.tenant).run(question).rows;
        assert_eq!(told, self.primary().run(question).rows, "{question}");
    }
}

/// A proxy that reads from replicas.
fn settled(setup: &Setup, tenant: &Tenant) -> Proxy {
    let proxy = setup.start();
    let mut client = proxy.client(tenant);
    proxy.wait_for_readers(2);
    until("a read on a replica", || {
        client.run("SELECT n FROM calm");
        proxy.metric("forebay_route_total", &["target=\"replica\""]) > 0.0
    });
    proxy
}

/// They let rows in whose key they do not name.
const MORE_THAN_A_KEY: &[&str] = &[
    "option_name = 'a' AND 1 || 1",
    "option_name = 'a' AND 1 XOR 1",
    "1 && option_name = 'a' || 1",
    "option_name = 'a' || option_name = 'b'",
    "option_name = 0",
    "option_name = 5",
    "option_name IN (0, 'zz')",
    "option_name IN ('a', 5)",
    "option_name = 'a' OR 1",
    "option_name = 'a' AND 1 OR 1",
    "option_name = 'a' /*! OR 1 */",
    "NOT option_name = 'a'",
    "option_name = 'a' = 0",
    "option_name != 'a'",
    "option_name = 'a' IS NOT NULL",
    "option_name = '\\b' OR option_name = 'b'",
    "autoload IN ('yes', 'on', 'auto-on', 'auto')",
    "autoload = 'yes'",
    "option_id = 2",
    "option_name = 'a' UNION SELECT option_name, option_value FROM wp_options WHERE option_id > 0",
];

/// A1. What stands in a condition beside a key may let other rows in: MySQL's operators bind in
/// another way than they look, and `0` is the name of many options.
fn only_a_plain_key_is_a_key(flavour: Flavour) {
    let table = "CREATE TABLE wp_options (option_id INT PRIMARY KEY AUTO_INCREMENT, \
                 option_name VARCHAR(191) NOT NULL UNIQUE, option_value LONGTEXT NOT NULL, \
                 autoload VARCHAR(20) NOT NULL DEFAULT 'yes')";
    let rows = "INSERT INTO wp_options (option_name, option_value) \
                VALUES ('a', '0'), ('b', '0'), ('5x', '0'), ('d', '0')";
    let field = Field::new(flavour, "keys", &[table, rows]).late();
    let mut writer = field.first.client(&field.tenant);
    let mut n = 0;
    let mut write = |name: &str| {
        n += 1;
        writer.run(&format!(
            "UPDATE wp_options SET option_value = '{name}{n}' WHERE option_name = '{name}'"
        ));
    };
    let columns = "SELECT option_name, option_value FROM wp_options WHERE";
    // Keys count: what is written beside them keeps nobody from a replica.
    let keys_count = |write: &mut dyn FnMut(&str)| {
        until("a read by its key on a replica", || {
            write("b");
            let before = field.second.metric("forebay_route_total", &["target=\"replica\""]);
            field.second.client(&field.tenant).run(&format!("{columns} option_name = 'd'"));
            field.second.metric("forebay_route_total", &["target=\"replica\""]) > before
        });
    };
    keys_count(&mut write);
    // None of the keys that these seem to name is written.
    for condition in MORE_THAN_A_KEY {
        for name in ["b", "5x"] {
            write(name);
            field.check(&format!("{columns} {condition} ORDER BY 1"));
        }
    }
    write("b");
    field.check(
        "SELECT l.option_value FROM wp_options l JOIN wp_options r ON r.option_name = 'a' WHERE l.option_name = 'b'",
    );
    write("b");
    field.check(
        "SELECT option_value, (SELECT MAX(option_value) FROM wp_options) FROM wp_options WHERE option_name = 'a'",
    );
    // These name the key that is written, in other letters.
    for condition in [
        "option_name = 'B'",
        "option_name = 'b '",
        "option_name = _utf8mb4'b'",
        "option_name = 'B' COLLATE utf8mb4_general_ci",
        "option_name LIKE 'b'",
        "'b' = option_name",
        "option_name IN ('a', 'B')",
        "1 && option_name = 'b'",
    ] {
        write("b");
        field.check(&format!("{columns} {condition}"));
    }
    keys_count(&mut write);
}

/// A5. WordPress keeps what it has read in an object cache for good, under a key that changes with
/// each write. A request that was under way then reads the new key, and with it what to store: rows
/// that its replica lacks, if it needs only what was there when it began.
fn what_a_request_under_way_stores(flavour: Flavour) {
    let lines =
        ["CREATE TABLE posts (id INT PRIMARY KEY, n INT)", "INSERT INTO posts VALUES (1, 0)"];
    let field = Field::new(flavour, "cache", &lines);
    let alone = field.without_follower();
    // A log that is followed from after the write on would never show it.
    until("followed", || field.second.metric("forebay_follower_up", &[]) == 1.0);
    let question = "SELECT n FROM posts WHERE id = 1";
    let mut writer = field.first.client(&field.tenant);
    let mut cache: HashMap<u32, String> = HashMap::new();
    for last_changed in 1..=8 {
        for proxy in [&field.second, &alone] {
            field.late.set(Duration::ZERO);
            field.stack.sync();
            let mut under_way = proxy.client(&field.tenant);
            // A replica has all that it needs.
            let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
            until("it has begun on a replica", || {
                under_way.run(question);
                proxy.metric("forebay_route_total", &["target=\"replica\""]) > before
            });
            field.late.set(Duration::from_secs(5));
            let read = proxy.metric("forebay_follower_transactions_total", &[]);
            writer.run("UPDATE posts SET n = n + 1 WHERE id = 1");
            let written = Instant::now();
            let expected = field.primary().cell(question);
            if last_changed % 4 == 0 {
                let told = under_way.cell(&format!("/* forebay: strict */ {question}"));
                assert_eq!(told, expected, "who asks for it, at once");
                continue;
            }
            // As soon as the log shows it; without a follower, others' fences do within 4 ms. It
            // goes on asking: a pause would be taken for the end of a request.
            let is_shown = || match proxy.metric("forebay_follower_up", &[]) > 0.0 {
                true => proxy.metric("forebay_follower_transactions_total", &[]) > read,
                false => written.elapsed() > Duration::from_millis(5),
            };
            let mut is_due = false;
            until("the write can be seen", || {
                let seen = under_way.cell(question);
                if is_due {
                    cache.insert(last_changed, seen);
                }
                let was_due = is_due;
                is_due |= is_shown();
                was_due
            });
            assert_eq!(cache[&last_changed], expected, "what every later visitor will be shown");
            let comes_then = proxy.client(&field.tenant).cell(question);
            assert_eq!(comes_then, expected, "who finds nothing in the cache");
        }
    }
}

/// A7. An error that comes behind rows that stay, and one behind a commit.
fn an_error_hides_a_write(flavour: Flavour) {
    let lines = [
        "CREATE TABLE half (id INT PRIMARY KEY) ENGINE=MyISAM",
        "INSERT INTO half VALUES (1)",
        "CREATE TABLE told (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
        "CREATE PROCEDURE tell(IN n INT) BEGIN INSERT INTO told (n) VALUES (n); SELECT 1; \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END",
    ];
    let field = Field::new(flavour, "error", &lines);
    let (alone, (behind, late_log)) = (field.without_follower(), field.with_late_log());
    late_log.set(Duration::from_secs(3));
    let (mut halves, mut told) = (1, 0);
    for proxy in [&field.first, &alone, &behind].repeat(3) {
        let mut writer = proxy.client(&field.tenant);
        // Replicas have all that it needs so far, and will be late for what comes.
        field.late.set(Duration::ZERO);
        field.stack.sync();
        let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
        until("a read on a replica", || {
            writer.run("SELECT COUNT(*) FROM half");
            proxy.metric("forebay_route_total", &["target=\"replica\""]) > before
        });
        field.late.set(Duration::from_secs(5));
        writer.run("SELECT COUNT(*) FROM half");
        let (one, two) = (10 + halves, 1000 + halves);
        assert_eq!(writer.refused(&format!("INSERT INTO half VALUES ({one}), ({two}), (1)")), 1062);
        halves += 2;
        assert_eq!(writer.cell("SELECT COUNT(*) FROM half"), halves.to_string(), "who wrote");
        field.check("SELECT COUNT(*) FROM half");
        assert!(writer.query_all(&format!("CALL tell({halves})")).is_err());
        told += 1;
        assert_eq!(writer.cell("SELECT COUNT(*) FROM told"), told.to_string(), "who wrote");
        field.check("SELECT COUNT(*) FROM told");
    }
}

/// A13. A connection that is never idle and never says that a request begins: what others wrote
/// is there after a second at the latest; what they wrote before a lock was given, at once. So it
/// is with the log, without it, and where the log comes late.
fn who_stays_connected(flavour: Flavour) {
    let lines =
        ["CREATE TABLE counter (id INT PRIMARY KEY, n INT)", "INSERT INTO counter VALUES (1, 0)"];
    let field = Field::new(flavour, "stays", &lines);
    let (alone, (behind, late_log)) = (field.without_follower(), field.with_late_log());
    late_log.set(Duration::from_secs(3));
    for (at, proxy) in [&field.second, &alone, &behind].into_iter().enumerate() {
        never_idle(&field, proxy, at as u32 * 100);
    }
}

fn never_idle(field: &Field, proxy: &Proxy, from: u32) {
    let question = "SELECT n FROM counter WHERE id = 1";
    let mut primary = field.primary();
    // Replicas have what is there, and what comes now they have later than anybody waits.
    let mut write = |n: u32| {
        field.late.set(Duration::ZERO);
        field.stack.sync();
        let mut reader = proxy.client(&field.tenant);
        let before = proxy.metric("forebay_route_total", &["target=\"replica\""]);
        until("a read on a replica", || {
            reader.run(question);
            proxy.metric("forebay_route_total", &["target=\"replica\""]) > before
        });
        field.late.set(Duration::from_secs(5));
        for _ in 0..10 {
            reader.run(question);
        }
        primary.run(&format!("UPDATE counter SET n = {n} WHERE id = 1"));
        (reader, Instant::now())
    };
    for n in 1..3 {
        let (mut reader, written) = write(from + n);
        // Well under the time that replicas and the log need, well over the second.
        let deadline = written + Duration::from_millis(2500);
        while reader.cell(question) != (from + n).to_string() {
            assert!(Instant::now() < deadline, "still old after {:?}", written.elapsed());
            // It asks again at once: a pause would be taken for the end of a request.
        }
    }
    for (n, begin, end) in [
        (11, "SELECT GET_LOCK('trap', 0)", "SELECT RELEASE_LOCK('trap')"),
        (12, "START TRANSACTION", "COMMIT"),
        (13, "LOCK TABLES counter READ", "UNLOCK TABLES"),
    ] {
        let (mut reader, _) = write(from + n);
        reader.run(begin);
        assert_eq!(reader.cell(question), (from + n).to_string(), "{begin}");
        reader.run(end);
        assert_eq!(reader.cell(question), (from + n).to_string(), "{end}");
    }
    for (n, preamble) in [(21, "SET NAMES utf8mb4"), (22, "a reset"), (23, "a rest")] {
        let (mut reader, _) = write(from + n);
        match preamble {
            "a reset" => reader.simple(31, &[]).unwrap(),
            "a rest" => thread::park_timeout(Duration::from_millis(12)),
            _ => drop(reader.run(preamble)),
        }
        assert_eq!(reader.cell(question), (from + n).to_string(), "{preamble}");
    }
}

/// A15. Where `autocommit` is off by default, a read opens a transaction, and its view of the rows
/// stands still for all who get that connection.
fn a_reader_in_a_transaction_of_its_own(flavour: Flavour) {
    let lines =
        ["CREATE TABLE counter (id INT PRIMARY KEY, n INT)", "INSERT INTO counter VALUES (1, 0)"];
    let field = Field::new(flavour, "autocommit", &lines);
    for node in REPLICAS {
        field.stack.root(node).run("SET GLOBAL autocommit = 0");
    }
    let proxy = Setup::of(&field.stack).followed(&field.stack).start();
    let mut client = proxy.client(&field.tenant);
    let before = || proxy.metric("forebay_route_total", &["target=\"replica\""]);
    until("a read on a replica", || {
        client.run("SELECT n FROM counter WHERE id = 1");
        before() > 0.0
    });
    for n in 1..10 {
        field.primary().run(&format!("UPDATE counter SET n = {n} WHERE id = 1"));
        field.stack.sync();
        let mut reader = proxy.client(&field.tenant);
        let told = reader.cell("SELECT n FROM counter WHERE id = 1");
        assert_eq!(told, n.to_string());
    }
    for node in REPLICAS {
        field.stack.root(node).run("SET GLOBAL autocommit = 1");
    }
}

/// A6. It goes on answering over connections that were open before, and what it says is no fence:
/// replicas that have all of it may lack what another primary has taken.
fn a_demoted_primary_is_no_witness(flavour: Flavour) {
    let lines =
        ["CREATE TABLE counter (id INT PRIMARY KEY, n INT)", "INSERT INTO counter VALUES (1, 0)"];
    let field = Field::new(flavour, "demoted", &lines);
    let refusing = Setup::of(&field.stack).file("on_primary_loss = 'refuse'");
    let refusing = refusing.followed(&field.stack).start();
    let counted = || field.first.metric("forebay_reads_unfenced_total", &[]);
    let question = "SELECT n FROM counter WHERE id = 1";
    refusing.wait_for_readers(2);
    assert_eq!(refusing.client(&field.tenant).cell(question), "0");
    let on_replicas = || field.first.metric("forebay_route_total", &["target=\"replica\""]);
    let read = || {
        assert_eq!(field.first.client(&field.tenant).cell(question), "0");
    };
    let mut primary = field.stack.root(PRIMARY);
    primary.run("SET GLOBAL read_only = 1");
    let (before, before_counted) = (on_replicas(), counted());
    (0..20).for_each(|_| read());
    let after = on_replicas();
    assert_eq!((before_counted, counted()), (0.0, 20.0), "counted");
    for proxy in [&field.first, &refusing] {
        let mut client = proxy.client(&field.tenant);
        assert_eq!(client.refused("UPDATE counter SET n = 1 WHERE id = 1"), 1290);
        assert_eq!(client.cell(&format!("/* forebay: eventual */ {question}")), "0");
        let told = || proxy.log().matches("the primary is read-only").count();
        until("it is told", || told() > 0);
        assert_eq!(told(), 1, "{}", proxy.log());
    }
    for _ in 0..5 {
        assert_eq!(refusing.client(&field.tenant).refused(question), 1290);
    }
    primary.run("SET GLOBAL read_only = 0");
    until("reads are not refused any more", || {
        refusing.client(&field.tenant).query(question).is_ok()
    });
    assert_eq!(after - before, 0.0, "by the word of a demoted primary");
    until("replicas are read again", || {
        read();
        on_replicas() > after
    });
}

/// A16. A write waits for the primary; who gave it up tries again, and it must not be done twice.
fn a_held_write_ends_with_its_client(flavour: Flavour) {
    let field = Field::new(flavour, "held", &["CREATE TABLE orders (buyer VARCHAR(20))"]);
    let count = |buyer: &str| {
        let sql = format!("SELECT COUNT(*) FROM orders WHERE buyer = '{buyer}'");
        field.primary().cell(&sql)
    };
    let connect = || field.first.client(&field.tenant);
    let (mut stays, leave): (Client, Vec<Client>) =
        (connect(), (0..10).map(|_| connect()).collect());
    field.stack.script(&["kill", PRIMARY]);
    for mut client in leave {
        client.command(3, b"INSERT INTO orders VALUES ('left')").unwrap();
        // Time to be read and held. Where it was not, this proves less, but nothing wrong.
        thread::park_timeout(Duration::from_millis(50));
    }
    thread::scope(|scope| {
        let written = scope.spawn(|| stays.query("INSERT INTO orders VALUES ('stayed')"));
        field.stack.script(&["start", PRIMARY]);
        // One that was on its way when the server died may be told that nobody knows.
        let told = written.join().unwrap();
        let expected = u8::from(told.is_ok()).to_string();
        assert_eq!(count("stayed"), expected, "{told:?}");
        assert!(told.is_ok() || told.is_err_and(|failure| failure.code() == 1105));
    });
    assert_eq!(count("left"), "0");
    // Nothing comes later either.
    connect().run("INSERT INTO orders VALUES ('last')");
    assert_eq!(count("left"), "0");
}
