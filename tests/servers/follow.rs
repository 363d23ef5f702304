//! The primary's log is followed: a write made behind the proxy's back keeps reads of what it
//! touched from replicas that are late, and no others.

use std::time::Duration;

use super::balancer::one_later;
use super::client::Client;
use super::late::Late;
use super::proxy::{Proxy, Setup, scratch};
use super::stack::{Flavour, PRIMARY, Stack, Tenant, on_both, until};

on_both!(
    writes_behind_our_back_keep_what_they_touch,
    each_column_tells_rows_apart,
    who_comes_later_shows_the_tables,
    foreign_keys_reach_their_children,
    a_cut_line_leaves_no_gap,
    a_primary_that_is_away_is_told_of_once,
    without_the_grant_all_is_one,
);

/// How late replicas are: no step of a test takes so long.
const LAG: Duration = Duration::from_secs(30);
/// Who may read the log.
const GRANTS: &str = "REPLICATION SLAVE, REPLICATION CLIENT, PROCESS";

struct Field {
    client: Client,
    proxy: Proxy,
    root: Client,
    late: Late,
    tenant: Tenant,
    stack: Stack,
}

/// Reads, each of one thing.
const POSTS: &str = "SELECT n FROM wp_posts WHERE id = 1";
const CALM: &str = "SELECT n FROM calm WHERE id = 1";
const HOME: &str = "SELECT option_value FROM wp_options WHERE option_name = 'home'";
const CRON: &str = "SELECT option_value FROM wp_options WHERE option_name = 'cron'";
const TERMS: &str = "SELECT COUNT(*) FROM wp_term_relationships WHERE object_id = 0";
const CHILD: &str = "SELECT COUNT(*) FROM child";
const GRANDCHILD: &str = "SELECT COUNT(*) FROM grandchild";

fn setup(stack: &Stack) -> Setup {
    let file = scratch("follower-password");
    std::fs::write(&file, "follower\n").unwrap();
    let lines = format!("[monitor]\nuser = 'follower'\npassword_file = '{}'", file.display());
    let setup = Setup::of(stack).file(&lines);
    match stack.flavour {
        // Nobody follows it. As a 5.7 it stands for all whose foreign keys are the engine's, to 9.5.
        Flavour::MySql56 => {
            let nodes = [&setup.primary, &setup.replicas[0], &setup.replicas[1]];
            let [primary, one, two] = nodes.map(|address| one_later(address));
            Setup { primary, replicas: vec![one, two], ..setup }
        }
        Flavour::MariaDb | Flavour::MySql97 => setup,
    }
}

impl Field {
    fn new(flavour: Flavour, name: &str, grants: &str) -> Self {
        let stack = Stack::alone(flavour);
        let tenant = stack.tenant(&format!("follow_{name}"));
        let mut root = stack.root(PRIMARY);
        match flavour {
            // It has no IF EXISTS for accounts, and a GRANT of nothing makes one.
            Flavour::MySql56 => {
                root.run("GRANT USAGE ON *.* TO follower");
                root.run("DROP USER follower");
            }
            _ => drop(root.run("DROP USER IF EXISTS follower")),
        }
        root.run("CREATE USER follower IDENTIFIED BY 'follower'");
        root.run(&format!("GRANT {grants} ON *.* TO follower"));
        for line in [
            &*format!("USE {}", tenant.name),
            "CREATE TABLE wp_options (option_id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
             option_name VARCHAR(191) NOT NULL UNIQUE, option_value LONGTEXT NOT NULL, \
             autoload VARCHAR(20) NOT NULL DEFAULT 'no') ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            "INSERT INTO wp_options (option_name, option_value) VALUES ('home', '0'), ('cron', '0')",
            "CREATE TABLE wp_posts (id INT PRIMARY KEY, n INT) ENGINE=InnoDB",
            "INSERT INTO wp_posts VALUES (1, 0)",
            "CREATE TABLE calm (id INT PRIMARY KEY, n INT) ENGINE=InnoDB",
            "INSERT INTO calm VALUES (1, 0)",
            "CREATE TABLE wp_term_relationships (object_id BIGINT NOT NULL DEFAULT 0, \
             term_taxonomy_id BIGINT NOT NULL DEFAULT 0) ENGINE=InnoDB",
            "CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB",
            "CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES parent (id) \
             ON DELETE CASCADE) ENGINE=InnoDB",
            "CREATE TABLE grandchild (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES child (id) \
             ON DELETE CASCADE) ENGINE=InnoDB",
            "INSERT INTO parent VALUES (1), (2), (3)",
            "INSERT INTO child VALUES (1), (2), (3)",
            "INSERT INTO grandchild VALUES (1), (2), (3)",
        ] {
            root.run(line);
        }
        let late = Late::between(&stack);
        let proxy = setup(&stack).start();
        let client = proxy.client(&tenant);
        proxy.wait_for_readers(2);
        Field { client, proxy, root, late, tenant, stack }
    }

    /// The same with replicas that are late, once tables are known.
    fn late(mut self) -> Self {
        until("followed", || self.proxy.metric("forebay_follower_up", &[]) == 1.0);
        self.await_keys();
        self
    }

    /// Writes one option after another until that leaves the others alone.
    fn await_keys(&mut self) {
        let mut n = 0;
        until("keys are known", || {
            self.calm_down();
            self.late.set(LAG);
            n += 1;
            let text = "UPDATE wp_options SET option_value = 'k{n}' WHERE option_name = 'cron'";
            self.root.run(&text.replace("{n}", &n.to_string()));
            self.client = self.proxy.client(&self.tenant);
            self.goes(CRON) == 'P' && self.goes(HOME) == 'R'
        });
        self.calm_down();
    }

    /// Where a read goes: to the primary, or to a replica.
    fn goes(&mut self, text: &str) -> char {
        let count = || self.proxy.metric("forebay_route_total", &["target=\"replica\""]);
        let before = count();
        self.client.run(text);
        if count() > before { 'R' } else { 'P' }
    }

    /// Replicas have it all.
    fn calm_down(&mut self) {
        self.late.set(Duration::ZERO);
        self.stack.sync();
        until("all is read from replicas", || self.goes("SELECT * FROM wp_options") == 'R');
        until("all is read from replicas", || self.goes(POSTS) == 'R' && self.goes(CALM) == 'R');
    }

    /// After these, by root at the primary: where each read goes.
    #[track_caller]
    fn check(&mut self, writes: &[&str], reads: &[(&str, char)]) {
        self.late.set(LAG);
        for text in writes {
            self.root.run(text);
        }
        // What was acknowledged before a connection was made is seen over it.
        self.client = self.proxy.client(&self.tenant);
        let seen: Vec<(&str, char)> =
            reads.iter().map(|(text, _)| (*text, self.goes(text))).collect();
        assert_eq!(seen, reads, "{writes:?}");
        for (text, _) in reads.iter().filter(|(_, to)| *to == 'P') {
            assert_eq!(self.client.cell(text), self.root.cell(text), "{writes:?}");
        }
        self.calm_down();
    }
}

fn writes_behind_our_back_keep_what_they_touch(flavour: Flavour) {
    let mut field = Field::new(flavour, "touch", GRANTS).late();
    let posts = "UPDATE wp_posts SET n = n + 1 WHERE id = 1";
    let home =
        "UPDATE wp_options SET option_value = CONCAT(option_value, 'h') WHERE option_name = 'home'";
    let only_home = [(HOME, 'P'), (CRON, 'R'), (POSTS, 'R'), (CALM, 'R')];
    let only_options = [(HOME, 'P'), (CRON, 'P'), (POSTS, 'R'), (CALM, 'R')];
    let everything = [(HOME, 'P'), (CRON, 'P'), (POSTS, 'P'), (CALM, 'P')];
    field.check(&[posts], &[(POSTS, 'P'), (CALM, 'R'), (HOME, 'R')]);
    field.check(&[home], &only_home);
    field.check(
        &["BEGIN", posts, home, "COMMIT"],
        &[(POSTS, 'P'), (HOME, 'P'), (CRON, 'R'), (CALM, 'R')],
    );
    field.check(
        &["BEGIN", posts, "SAVEPOINT s", home, "ROLLBACK TO s", "COMMIT"],
        &[(POSTS, 'P'), (CALM, 'R')],
    );
    // A2: rows are told of at XA PREPARE and appear at XA COMMIT, which names no table.
    field.check(&["XA START 'x'", posts, "XA END 'x'", "XA PREPARE 'x'"], &[(CALM, 'R')]);
    field.check(&["XA COMMIT 'x'"], &everything);
    // A9: an image without the key.
    let full = "SET SESSION binlog_row_image = FULL";
    let minimal = "SET SESSION binlog_row_image = MINIMAL";
    field.check(&[minimal, home, full], &only_options);
    // All defaults: an image without any column.
    let defaults = "INSERT INTO wp_term_relationships () VALUES ()";
    field.check(&[minimal, defaults, full], &[(TERMS, 'P'), (HOME, 'R'), (CALM, 'R')]);
    // A10: a statement, and one whose current schema is another.
    let row = "SET SESSION binlog_format = ROW";
    field.check(&["SET SESSION binlog_format = STATEMENT", posts, row], &everything);
    let back = format!("USE {}", field.tenant.name);
    let truncate = format!("TRUNCATE {}.wp_posts", field.tenant.name);
    field.check(
        &["CREATE DATABASE IF NOT EXISTS t_elsewhere", "USE t_elsewhere", &truncate, &back],
        &everything,
    );
    field.await_keys();
    match flavour {
        Flavour::MariaDb => {
            let (on, off) =
                ("SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress = OFF");
            let long =
                "UPDATE wp_options SET option_value = REPEAT('x', 1000) WHERE option_name = 'home'";
            field.check(&[on, long, off], &only_home);
        }
        _ => {
            let on = "SET SESSION binlog_transaction_compression = ON";
            let off = "SET SESSION binlog_transaction_compression = OFF";
            field.check(&[on, home, off], &only_home);
            field.check(
                &["SET gtid_next = 'AUTOMATIC:night'", home, "SET gtid_next = 'AUTOMATIC'"],
                &only_home,
            );
        }
    }
    // A row that is longer than what is looked at.
    let big =
        "UPDATE wp_options SET option_value = REPEAT('x', 10000000) WHERE option_name = 'home'";
    // It takes so long to come that a fence may be ahead of it.
    field.check(&[big], &[(HOME, 'P')]);
    field.check(
        &["UPDATE wp_options SET option_value = '' WHERE option_name = 'home'"],
        &[(HOME, 'P')],
    );
    // The column that keys are taken from moves: what it held is no key any more.
    let alter = "ALTER TABLE wp_options ADD COLUMN first VARCHAR(20) NOT NULL DEFAULT 'cron' FIRST";
    field.check(&[alter, home], &everything);
    field.await_keys();
    field.check(&[home], &only_home);
    assert!(field.proxy.metric("forebay_follower_transactions_total", &[]) > 10.0);
    field.proxy.assert_alive();
}

/// Any one column that a read compares tells which writes it waits for.
fn each_column_tells_rows_apart(flavour: Flavour) {
    let mut field = Field::new(flavour, "columns", GRANTS);
    field.root.run(
        "CREATE TABLE site_posts (ID BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, post_title TEXT, \
         post_status VARCHAR(20) NOT NULL DEFAULT 'publish', post_name VARCHAR(200) NOT NULL, \
         post_parent BIGINT UNSIGNED NOT NULL DEFAULT 0, post_type VARCHAR(20) NOT NULL) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci",
    );
    field.root.run(
        "INSERT INTO site_posts (ID, post_name, post_type) VALUES (1, 'one', 'post'), \
         (2, 'two', 'post'), (3, 'three', 'page'), (4, 'four', 'wp_template')",
    );
    field.stack.sync();
    let mut field = field.late();
    let read =
        |text: &str| format!("SELECT COUNT(*), MAX(post_title) FROM site_posts WHERE {text}");
    let all = read("1 = 1");
    let [one, two] = ["ID = 1", "ID = 2"].map(read);
    let [post, page] = ["post_type = 'post'", "((post_type = 'page' AND (1=1)))"].map(read);
    let template = read("post_name IN ('four') AND post_type = 'wp_template'");
    let draft = read("post_type = 'post' AND post_status = 'draft'");
    let child = read("post_parent = 1 AND post_type = 'revision'");
    let mut check = |write: &str, expected: &str| {
        let reads = [&all, &one, &two, &post, &page, &template, &draft, &child];
        let reads: Vec<(&str, char)> =
            reads.into_iter().map(String::as_str).zip(expected.chars()).collect();
        field.check(&[write], &reads);
    };
    check("UPDATE site_posts SET post_title = 'x' WHERE ID = 1", "PPRPRRRR");
    check(
        "INSERT INTO site_posts (ID, post_status, post_name, post_parent, post_type) \
           VALUES (5, 'inherit', '1-revision-v1', 1, 'revision')",
        "PRRRRRRP",
    );
    check("UPDATE site_posts SET post_status = 'draft' WHERE ID = 2", "PRPPRRPR");
    check("UPDATE site_posts SET post_status = 'publish' WHERE ID = 2", "PRPPRRPR");
    check("UPDATE site_posts SET post_type = 'PAGE' WHERE ID = 1", "PPRPPRRR");
    check("UPDATE site_posts SET post_name = 'vier' WHERE ID = 4", "PRRRRPRR");
    check("UPDATE site_posts SET post_name = 'four' WHERE ID = 4", "PRRRRPRR");
    check("DELETE FROM site_posts WHERE ID = 5", "PRRRRRRP");
    // Neither its parent nor its type can be compared.
    check(
        "INSERT INTO site_posts (ID, post_name, post_parent, post_type) \
           VALUES (6, 'six', 18446744073709551615, 'pagé')",
        "PRRPPRRP",
    );
    field.proxy.assert_alive();
}

/// The log's reader may not see them itself, and looked before anybody had logged in who may.
fn who_comes_later_shows_the_tables(flavour: Flavour) {
    let mut field = Field::new(flavour, "later", GRANTS);
    let lines = "[log]\nlevel = 'info,forebay::backend::follow=debug'";
    field.proxy = setup(&field.stack).file(lines).start();
    until("a look", || field.proxy.log().contains("the primary's tables were read keyed=0"));
    field.client = field.proxy.client(&field.tenant);
    field.proxy.wait_for_readers(2);
    field.late().proxy.assert_alive();
}

fn foreign_keys_reach_their_children(flavour: Flavour) {
    let mut field = Field::new(flavour, "cascade", GRANTS).late();
    field.check(
        &["DELETE FROM parent WHERE id = 1"],
        &[(CHILD, 'P'), (GRANDCHILD, 'P'), (CALM, 'R'), (HOME, 'R')],
    );
}

fn a_cut_line_leaves_no_gap(flavour: Flavour) {
    let mut field = Field::new(flavour, "cut", GRANTS).late();
    field.late.set(LAG);
    let mut writer = field.stack.root(PRIMARY);
    writer.run(&format!("USE {}", field.tenant.name));
    let find = "SELECT COALESCE(MAX(id), 0) FROM information_schema.processlist WHERE user = 'follower' \
                AND command LIKE 'Binlog Dump%'";
    for n in 1..=30 {
        if n % 10 == 0 {
            until("it is cut", || {
                let id = field.root.cell(find);
                id != "0" && field.root.query(&format!("KILL {id}")).is_ok()
            });
        }
        writer.run(&format!("UPDATE wp_posts SET n = {n} WHERE id = 1"));
        assert_eq!(field.proxy.client(&field.tenant).cell(POSTS), n.to_string());
    }
    until("followed", || field.proxy.metric("forebay_follower_up", &[]) == 1.0);
    field.calm_down();
    field.await_keys();
    let home = "UPDATE wp_options SET option_value = 'cut' WHERE option_name = 'home'";
    field.check(&[home], &[(HOME, 'P'), (CRON, 'R'), (POSTS, 'R')]);
}

fn a_primary_that_is_away_is_told_of_once(flavour: Flavour) {
    let stack = Stack::alone(flavour);
    for text in [
        "DROP USER IF EXISTS follower",
        "CREATE USER follower IDENTIFIED BY 'follower'",
        "GRANT REPLICATION SLAVE ON *.* TO follower",
    ] {
        stack.root(PRIMARY).run(text);
    }
    let proxy = setup(&stack).file("[log]\nlevel = 'debug'").start();
    until("followed", || proxy.metric("forebay_follower_up", &[]) == 1.0);
    stack.script(&["kill", PRIMARY]);
    until("it has tried often", || proxy.log().matches("is still not followed").count() > 10);
    // The end of the stream, that nobody is there, and what may be said in between.
    let told = proxy.log().matches("is not followed").count();
    assert!((1..=3).contains(&told), "{told}: {}", proxy.log());
}

fn without_the_grant_all_is_one(flavour: Flavour) {
    let mut field = Field::new(flavour, "grant", "REPLICATION CLIENT");
    field.calm_down();
    field.check(
        &["UPDATE wp_posts SET n = n + 1 WHERE id = 1"],
        &[(POSTS, 'P'), (CALM, 'P'), (HOME, 'P')],
    );
    assert_eq!(field.proxy.metric("forebay_follower_up", &[]), 0.0);
    let log = field.proxy.log();
    assert_eq!(log.matches("needs REPLICATION SLAVE").count(), 1, "{log}");
}

mod foreign_keys_of_the_engine {
    use super::{CALM, CHILD, Field, Flavour, GRANDCHILD, GRANTS, HOME, POSTS};

    /// Its log tells of the parent alone.
    #[test]
    fn mysql56() {
        super::foreign_keys_reach_their_children(Flavour::MySql56);
    }

    /// They are not to be seen without the right to: all is one.
    #[test]
    fn without_process() {
        let grants = GRANTS.replace(", PROCESS", "");
        let mut field = Field::new(Flavour::MySql56, "blind", &grants);
        super::until("followed", || field.proxy.metric("forebay_follower_up", &[]) == 1.0);
        field.calm_down();
        field.check(&["DELETE FROM parent WHERE id = 1"], &[(CHILD, 'P'), (GRANDCHILD, 'P')]);
        field.check(&["UPDATE wp_posts SET n = 1"], &[(POSTS, 'P'), (CALM, 'P'), (HOME, 'P')]);
        assert!(field.proxy.log().contains("lacks PROCESS"));
    }
}
