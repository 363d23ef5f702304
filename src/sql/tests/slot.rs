//! Which rows a read names: the columns that it compares with literals, and what the literals are.

use super::*;

/// `table.column` and its literals, for each slot; `!` for literals that are not written plainly.
fn read(text: &str, mode: Mode) -> String {
    let statement = facts(text.as_bytes(), mode);
    let one = |slot: &KeySlot| {
        let table = statement.reads.get(slot.table).map(name).unwrap();
        let mark = if slot.kind == LiteralKind::Text { "'" } else { "" };
        let literals = Literals::read(text.as_bytes(), mode).of(slot);
        let list = literals.map_or("!".to_owned(), |literals| {
            let texts = literals.iter().map(|literal| String::from_utf8_lossy(literal));
            texts.collect::<Vec<_>>().join(",")
        });
        format!("{table}.{}={mark}{list}", slot.column)
    };
    statement.keys.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn check(text: &str, expected: &str) {
    assert_eq!(read(text, Mode::default()), expected, "{text}");
}

#[test]
fn what_wordpress_reads_by_key() {
    check(
        "SELECT option_value FROM wp_options WHERE option_name = 'x' LIMIT 1",
        "wp_options.option_name='x",
    );
    check(
        "SELECT option_name, option_value FROM wp_options WHERE option_name IN ('_transient_a','_transient_timeout_a')",
        "wp_options.option_name='_transient_a,_transient_timeout_a",
    );
    check(
        "SELECT option_name, option_value FROM wp_options WHERE autoload IN ( 'yes', 'on', 'auto-on', 'auto' )",
        "wp_options.autoload='yes,on,auto-on,auto",
    );
    check(
        "SELECT option_name, option_value FROM wp_options WHERE autoload = 'yes'",
        "wp_options.autoload='yes",
    );
    check(
        "SELECT post_id, meta_key, meta_value FROM wp_postmeta WHERE post_id IN (1,22,3) ORDER BY meta_id ASC",
        "wp_postmeta.post_id=1,22,3",
    );
    check(
        "SELECT umeta_id FROM wp_usermeta WHERE meta_key = 'session_tokens' AND user_id = 1",
        "wp_usermeta.meta_key='session_tokens wp_usermeta.user_id=1",
    );
    check(
        "SELECT session_value FROM wp_woocommerce_sessions WHERE session_key = 't_1a'",
        "wp_woocommerce_sessions.session_key='t_1a",
    );
    check("/* forebay: replica */ SELECT a FROM t WHERE b = 'x';", "t.b='x");
    check("select `o`.A from `s`.`t` as `o` where `O`.`B`=\"x\" and c > 5 group by A", "s.t.b='x");
}

/// Not a column that is exactly one of these literals, in every row that is read.
const NOT_ROWS: &[&str] = &[
    "b <= 'x'",
    "b >= 'x'",
    "b <> 'x'",
    "b != 'x'",
    "b <=> 'x'",
    "b LIKE 'x'",
    "b NOT IN ('x')",
    "NOT b = 'x'",
    "NOT (b = 'x')",
    "'x' = b",
    "b = c",
    "b = 'x' = 1",
    "1 = b = 'x'",
    "b = 'x' IS FALSE",
    "b IN ('x') = 0",
    "b IN ('x', 5)",
    "b IN (5, 'x')",
    "b IN ('x', c)",
    "b IN (('x'))",
    "(b, c) IN (('x', 5))",
    "(b = 'x') = 1",
    "(b = 'x') IS FALSE",
    "(b = 'x') AND (1) OR (c = 5)",
    "(b = 'x' OR c = 5)",
    "(c = 5 AND b = 'x' OR d)",
    "(c BETWEEN 1 AND b = 'x')",
    "(CASE WHEN c AND b = 'x' AND d THEN 1 END)",
    "NOT (b = 'x' AND c = 5)",
    "NOT ((b = 'x'))",
    "d IN (1) = (b = 'x' AND c = 5)",
    "1 + (b = 'x' AND c = 5)",
    "(b = 'x' AND c = 5) + 1",
    "(c) = (b = 'x')",
    "IF(b = 'x' AND c = 5, 0, 1)",
    "(SELECT b = 'x' AND c = 5)",
    "(b = 'x', c = 5)",
    "b = ('x')",
    "b = 'x' 'y'",
    "b IN ('x' 'y', 'z')",
    "b = -5",
    "b = +5",
    "b = 5.0",
    "b = 5e0",
    "b = 0x5",
    "b = x'55'",
    "b = b'1'",
    "b = N'x'",
    "b = _utf8'x'",
    "b = _utf8mb4 'x'",
    "b = 'x' COLLATE utf8mb4_bin",
    "b COLLATE utf8mb4_bin = 'x'",
    "BINARY b = 'x'",
    "b = BINARY 'x'",
    "b = TRUE",
    "b = NULL",
    "b = ?",
    "b = 'x' + 0",
    "b = 'x' DIV 1",
    "b = 'x' || 1",
    "b = 'x' OR 1",
    "b = 'x' XOR 1",
    "b = 'x' AND 1 OR 1",
    "1 AND b = 'x' OR c = 5",
    "b = 'x' AND 1 || 1",
    "b = 'x' AND 1 XOR 1",
    "1 && b = 'x'",
    "b = 'x' && 1",
    "! b = 'x' AND b = 'y'",
    "c BETWEEN 1 AND b = 'x'",
    "b = 'x' AND c BETWEEN 1 AND 5",
    "c BETWEEN 1 AND 5 AND b = 'x'",
    "CASE WHEN c AND b = 'x' AND d THEN 1 END",
    "b = 'x' AND CASE c WHEN 1 THEN 2 END",
    "b = 'x' AND c IN (SELECT d FROM u)",
    "b = 'x' AND EXISTS (SELECT 1)",
    "b = 'x' AND MATCH (c) AGAINST ('y')",
    "b = 'x' AND d = 'y' COLLATE utf8mb4_bin",
    "b = DATE '2000-01-01'",
    "b = 'x' UNION SELECT a FROM t",
    "s.t.b = 'x'",
    "u.b = 'x'",
    "b.c.d = 'x'",
];

#[test]
fn only_a_whole_part_of_the_where_names_rows() {
    let check = |r#where: &str, expected: &str| {
        check(&format!("SELECT a FROM t WHERE {}", r#where), expected);
    };
    check("b = 'x' AND c = 5 AND d LIKE 'y%'", "t.b='x t.c=5");
    check("b = 'x' AND (c = 5 OR d = 6)", "t.b='x");
    check("b = 'x' AND c != 5 AND NOT d = 4 AND NOT (e = 5)", "t.b='x");
    check("b = 'x' AND c IS NOT NULL HAVING a > 5", "t.b='x");
    check("b IN ('x')", "t.b='x");
    check("(b = 'x')", "t.b='x");
    check("(b = 'x' AND c = 5)", "t.b='x t.c=5");
    check("1=1 AND ((b = 'x' AND (c = 5))) AND d IN (6)", "t.b='x t.c=5 t.d=6");
    check("(((d OR e) AND b = 'x')) AND (c = 5 OR e)", "t.b='x");
    check("(b = 'x' OR e) AND ((c = 5))", "t.c=5");
    check("(c BETWEEN 1 AND 5) AND (b = 'x' AND d > (1))", "t.b='x");
    check("((b) = 'x') AND (c = 5)", "t.c=5");
    check("( b IN ('x', 'y') ) AND ( 0 = 1 )", "t.b='x,y");
    check("b = ''", "t.b='");
    for none in NOT_ROWS {
        check(none, "");
    }
    // Not a proved read at all.
    check("b = 'x' FOR UPDATE", "");
    check("b = 'x' /*! OR 1 */", "");
    check("b = 'x' AND @c", "");
}

#[test]
fn the_column_is_one_table_s() {
    let from = |from: &str, expected: &str| {
        check(&format!("SELECT 1 FROM {from}"), expected);
    };
    from("t WHERE t.b = 'x'", "t.b='x");
    from("s.t WHERE t.b = 'x'", "s.t.b='x");
    from("t m WHERE m.b = 'x'", "t.b='x");
    from("t AS m WHERE m.b = 'x'", "t.b='x");
    from("t AS m WHERE t.b = 'x'", "");
    from("t, u WHERE t.b = 'x' AND u.c = 5", "t.b='x u.c=5");
    from("t, u WHERE b = 'x'", "");
    from("t JOIN u ON t.a = u.a WHERE u.b = 'x' AND b = 'y'", "u.b='x");
    from("t LEFT JOIN u m ON t.a = m.a AND m.b = 'x' WHERE t.c = 5", "t.c=5");
    from("t m INNER JOIN u AS n USING (a, c) WHERE n.b = 'x'", "u.b='x");
    from("t u JOIN u t WHERE t.b = 'x'", "u.b='x");
    from("t STRAIGHT_JOIN u WHERE u.b = 'x'", "u.b='x");
    from("t USE INDEX (b, c) JOIN u WHERE t.b = 'x'", "t.b='x");
    for none in [
        "t, t m WHERE t.b = 'x'",
        "t a, t b WHERE a.b = 'x'",
        "s.t, r.t WHERE t.b = 'x'",
        "(t) WHERE t.b = 'x'",
        "(t JOIN u ON 1) WHERE t.b = 'x'",
        "t JOIN (u JOIN v) WHERE t.b = 'x'",
        "(SELECT 1 AS b) t WHERE t.b = 'x'",
        "t PARTITION (p0) m WHERE m.b = 'x'",
        "t FORCE INDEX (b) WHERE b = 'x'",
        "t",
        "t ORDER BY b = 'x' AND b = 'y'",
    ] {
        from(none, "");
    }
    check("(SELECT a FROM t WHERE b = 'x')", "");
    check("WITH t AS (SELECT 1 AS b) SELECT b FROM t WHERE b = 'x'", "");
    check("EXPLAIN SELECT a FROM t WHERE b = 'x'", "");
    check("UPDATE t SET a = 1 WHERE b = 'x'", "");
    check("SELECT 1; SELECT a FROM t WHERE b = 'x'", "");
    check("SELECT a FROM information_schema.tables WHERE b = 'x'", "");
}

#[test]
fn literals_that_are_not_plain_are_not_read() {
    check(r"SELECT a FROM t WHERE b = 'x\'y'", "t.b='!");
    check(r"SELECT a FROM t WHERE b = 'x\\'", "t.b='!");
    check("SELECT a FROM t WHERE b IN ('x', 'it''s')", "t.b='!");
    check("SELECT a FROM t WHERE b = \"it's\"", "t.b='it's");
    let list = |count: usize| vec!["5"; count].join(",");
    let most = crate::limits::KEYS_PER_READ_MAX;
    check(&format!("SELECT a FROM t WHERE b IN ({})", list(most)), &format!("t.b={}", list(most)));
    check(&format!("SELECT a FROM t WHERE b IN ({})", list(most + 1)), "t.b=!");
    let ansi = Mode { ansi_quotes: true, ..Mode::default() };
    assert_eq!(read("SELECT a FROM t WHERE \"b\" = 'x' AND c = \"x\"", ansi), "t.b='x");
    let raw = Mode { no_backslash_escapes: true, ..Mode::default() };
    assert_eq!(read(r"SELECT a FROM t WHERE b = 'x\' AND c = 5", raw), "t.b='! t.c=5");
}

#[test]
fn the_kind_of_a_literal_is_part_of_the_shape() {
    let digest = |text: &str| facts(text.as_bytes(), Mode::default()).digest;
    let text = digest("SELECT a FROM t WHERE b = 'x'");
    assert_eq!(text, digest("SELECT a FROM t WHERE b = 'y'"));
    for other in ["0", "0.0", "0e0", "x'00'", "N'x'", "'x' 'y'", "-1", "_utf8'x'"] {
        assert_ne!(text, digest(&format!("SELECT a FROM t WHERE b = {other}")), "{other}");
    }
    let list = digest("SELECT a FROM t WHERE b IN ('x')");
    assert_eq!(list, digest("SELECT a FROM t WHERE b IN ('x', 'y')"));
    assert_ne!(list, digest("SELECT a FROM t WHERE b IN ('x', 0)"));
}
