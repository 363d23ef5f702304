//! Writes that look like reads to whoever does not know how the server reads: none is sent to a
//! replica, whatever the replica would have said to it.

use forebay::wire::capability::Capabilities;

use super::client::{Client, Login};
use super::general_log::statements;
use super::proxy::Setup;
use super::stack::{Flavour, PRIMARY, REPLICAS, Stack, Tenant, on_both};

on_both!(no_write_is_smuggled_to_a_replica);

/// Which servers do what the text hides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Both,
    Only(Flavour),
    Neither,
}
use Does::{Both, Neither, Only};
use Flavour::{MariaDb, MySql97};

/// Texts that mean something else to who missed what was set: what is set, in several ways, and a
/// text that calls `noted`.
const MODES: &[(&[&str], &[u8])] = &[
    (
        &[
            "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
            "SET @@SESSION.sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')",
            "SET sql_mode = (SELECT 'NO_BACKSLASH_ESCAPES')",
            "/*!40101 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */",
        ],
        br#"SELECT 'a\', noted("TAG") -- '"#,
    ),
    (
        &["SET sql_mode = 'ANSI_QUOTES'", "SET sql_mode = 'ANSI'", "SET SESSION sql_mode = 4"],
        br#"SELECT 1 AS "a\", noted('TAG') -- ""#,
    ),
    (
        &[
            "SET NAMES gbk",
            "SET CHARACTER SET gbk",
            "SET character_set_client = gbk",
            "SET @@character_set_client = 'gbk'",
            "SET NAMES 'gbk' COLLATE 'gbk_bin'",
            "SET NAMES big5",
            "/*!40101 SET NAMES gbk */",
        ],
        b"SELECT '\xa1\\', noted(\"TAG\") -- '",
    ),
];

/// Under the server's own settings.
const TEXTS: &[(Does, &str)] = &[
    (Both, "/*!99999 SELECT 1 */ INSERT INTO mark VALUES ('TAG')"),
    (Both, "/*!40000 INSERT INTO mark VALUES ('TAG') */"),
    (Only(MariaDb), "/*M! INSERT INTO mark VALUES ('TAG') */"),
    (Both, "SELECT 1 /*!40000 , noted('TAG') */"),
    (Only(MariaDb), "SELECT 1 /*M!100100 , noted('TAG') */"),
    (Only(MySql97), "SELECT 1 /*!80000 , noted('TAG') */"),
    (Only(MySql97), "SELECT 1 /*!080000 , noted('TAG') */"),
    (Both, "SELECT 1 /*! /* in */ , noted('TAG') */"),
    (Both, "SELECT 1 /* out */ , noted('TAG') /* again */"),
    (Both, "SELECT 1 --noted('TAG')"),
    (Both, "SELECT 1 --/* in */-noted('TAG')"),
    (Both, "SELECT 1, noted ('TAG')"),
    (Both, "SELECT `noted`('TAG')"),
    (Both, "SELECT `now`(), 'TAG'"),
    (Both, "SELECT now (), 'TAG'"),
    (Both, "SELECT 1 FROM note WHERE id = 1 OR noted('TAG') LIMIT 9"),
    (Both, "SELECT (SELECT (SELECT noted('TAG')))"),
    (Both, "SELECT 1 UNION ALL (SELECT noted('TAG'))"),
    (Both, "SELECT 1 FROM note ORDER BY noted('TAG')"),
    (Both, "SELECT COUNT(*) FROM note GROUP BY id HAVING noted('TAG')"),
    (
        Only(MySql97),
        "WITH c AS (SELECT 1 AS a) UPDATE mark, c SET text = 'TAG' WHERE text = 'kept'",
    ),
    (Both, "WITH c AS (SELECT noted('TAG') AS a) SELECT a FROM c"),
    (Both, "SELECT 1; INSERT INTO mark VALUES ('TAG')"),
    (Both, "SELECT 1;SELECT noted('TAG')"),
    (Both, "DO noted('TAG')"),
    (Both, "SELECT * FROM writing WHERE 'TAG' <> ''"),
    (Neither, "SELECT 'TAG' FROM note FOR UPDATE"),
    (Neither, "(SELECT 'TAG' FROM note FOR UPDATE)"),
    (Neither, "SELECT 'TAG' FROM note LOCK IN SHARE MODE"),
    (Neither, "SELECT 'TAG' FROM note INTO @tag"),
    (Neither, "SELECT /*+ SET_VAR(sql_mode='NO_BACKSLASH_ESCAPES') */ 'TAG'"),
    (Neither, "SELECT 'TAG', GET_LOCK('TAG', 0)"),
    (Neither, "SELECT 'TAG' /* unclosed"),
    (Neither, "EXPLAIN ANALYZE DELETE FROM note WHERE text = 'TAG'"),
    (Neither, "ANALYZE DELETE FROM note WHERE text = 'TAG'"),
    (Neither, "SELECT NEXT VALUE FOR TAG"),
    (Neither, "SELECT nextval(TAG)"),
];

fn prepare(stack: &Stack, name: &str) -> Tenant {
    let tenant = stack.tenant(name);
    let mut root = stack.root(PRIMARY);
    for sql in [
        &*format!("USE {}", tenant.name),
        "CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(99))",
        "INSERT INTO note (text) VALUES ('first'), ('second')",
        "CREATE TABLE mark (text VARCHAR(99))",
        "INSERT INTO mark VALUES ('kept')",
        "CREATE FUNCTION noted(t TEXT) RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO mark (text) VALUES (t); RETURN 1; END",
        // One that bears the name of a built-in.
        "CREATE FUNCTION `now`() RETURNS INT MODIFIES SQL DATA \
         BEGIN INSERT INTO mark (text) VALUES ('now'); RETURN 1; END",
        "CREATE VIEW writing AS SELECT noted('view') AS a",
    ] {
        root.run(sql);
    }
    stack.sync();
    tenant
}

/// Every trick with a mark of its own: what is said before, the text, who does it.
fn tricks(flavour: Flavour) -> Vec<(String, String, Vec<u8>, bool)> {
    let mut all = Vec::new();
    let mut add = |before: &str, text: &[u8], does: bool| {
        let tag = format!("tag{}", all.len());
        let hex = text.escape_ascii().to_string();
        let at = text.windows(3).position(|part| part == b"TAG").expect(&hex);
        let text = [&text[..at], tag.as_bytes(), &text[at + 3..]].concat();
        all.push((tag, before.to_owned(), text, does));
    };
    for (ways, text) in MODES {
        ways.iter().for_each(|way| add(way, text, true));
    }
    for (does, text) in TEXTS {
        add("", text.as_bytes(), *does == Both || *does == Only(flavour));
    }
    all
}

fn no_write_is_smuggled_to_a_replica(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = prepare(&stack, "smuggled");
    // No write is to keep reads from the replicas: that would be luck.
    let proxy = Setup::of(&stack).arguments(&["--consistency", "eventual"]).start();
    let login = tenant.login().with(Capabilities::MULTI_STATEMENTS);
    let connect = |login: &Login<'_>| {
        Client::connect(&proxy.address, login).unwrap_or_else(|failure| panic!("{failure}"))
    };
    connect(&login).quit();
    proxy.wait_for_readers(2);
    let mut root = stack.root(PRIMARY);
    let table = format!("{}.mark", tenant.name);
    let mut done = |tag: &str| {
        let question =
            format!("SELECT COUNT(*) FROM {table} WHERE text IN ('{tag}', 'now', 'view')");
        let count = root.cell(&question) != "0";
        root.run(&format!("DELETE FROM {table} WHERE text IN ('now', 'view')"));
        count
    };
    let (tricks, mut odd) = (tricks(flavour), Vec::new());
    for (tag, before, text, does) in &tricks {
        let mut client = connect(&login);
        if !before.is_empty() {
            client.run(before);
        }
        client.command(3, text).unwrap();
        let answered = client.answers();
        let text = text.escape_ascii();
        if done(tag) != *does {
            odd.push(format!("is it a trick at all? {before}; {text}: {answered:?}"));
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
    stack.sync();
    for node in REPLICAS {
        assert!(!stack.has_diverged(node), "{node} has written something of its own");
        for sql in statements(&stack, node, &tenant.name) {
            let smuggled = tricks.iter().find(|(tag, ..)| sql.contains(&format!("{tag}'")));
            let quoted = tricks.iter().find(|(tag, ..)| sql.contains(&format!("{tag}\"")));
            assert!(smuggled.or(quoted).is_none(), "{node} was asked: {sql}");
        }
    }
    assert_eq!(proxy.metric("forebay_misroute_total", &[]), 0.0, "the servers had to say no");
}
