//! What a server holds equal is the same key, in every collation that keys are taken from.

use std::collections::BTreeSet;

use forebay::freshness::{Collation, Key};

use super::client::Client;
use super::stack::{Flavour, PRIMARY, Stack, on_both};

on_both!(what_is_equal_is_the_same_key,);

/// No, one and two printable characters.
fn texts() -> Vec<String> {
    let all = || (b' '..=b'~').map(char::from);
    let pairs = all().flat_map(|one| all().map(move |other| format!("{one}{other}")));
    std::iter::once(String::new()).chain(all().map(String::from)).chain(pairs).collect()
}

fn key(hex: &str) -> Key {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
    Key::text(0, Collation::parse(b"binary").unwrap(), &bytes).unwrap()
}

/// How many sets of texts are equal to the server, and the first with more than one key.
fn equal(client: &mut Client, charset: &str, collation: &str) -> (usize, Option<String>) {
    let groups = client.run(&format!(
        "SELECT GROUP_CONCAT(HEX(c) SEPARATOR ',') FROM \
         (SELECT CONVERT(text USING {charset}) COLLATE `{collation}` AS c FROM texts) AS texts \
         GROUP BY c HAVING COUNT(*) > 1"
    ));
    let rows: Vec<String> = groups.rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let odd = |row: &&String| row.split(',').map(key).collect::<BTreeSet<_>>().len() > 1;
    (rows.len(), rows.iter().find(odd).cloned())
}

fn what_is_equal_is_the_same_key(flavour: Flavour) {
    let stack = Stack::shared(flavour);
    let tenant = stack.tenant("collations");
    let mut client = stack.root(PRIMARY);
    client.run(&format!("USE {}", tenant.name));
    client.run("SET NAMES utf8mb4");
    client.run("SET SESSION group_concat_max_len = 100000");
    client.run("CREATE TABLE texts (text VARCHAR(2) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)");
    for some in texts().chunks(2000) {
        let values = some
            .iter()
            .map(|text| format!("('{}')", text.replace('\\', r"\\").replace('\'', "''")));
        client.run(&format!("INSERT INTO texts VALUES {}", values.collect::<Vec<_>>().join(",")));
    }
    let name = match flavour {
        Flavour::MariaDb => "FULL_COLLATION_NAME",
        _ => "COLLATION_NAME",
    };
    let list = client.run(&format!(
        "SELECT CHARACTER_SET_NAME, {name} \
         FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE {name} IS NOT NULL"
    ));
    let mut tested = 0;
    for row in list.rows {
        let (charset, collation) = (row[0].clone().unwrap(), row[1].clone().unwrap());
        if Collation::parse(collation.as_bytes()).is_none() {
            continue;
        }
        let (groups, odd) = equal(&mut client, &charset, &collation);
        assert_eq!(odd, None, "{collation}: hex of texts that are equal and not the same key");
        let folds = collation.ends_with("_ci");
        assert!(!folds || groups > 1000, "{collation}: {groups} sets of equal texts");
        tested += 1;
    }
    let least = if flavour == Flavour::MariaDb { 25 } else { 12 };
    assert!(tested >= least, "{tested} collations");
    // In one that keys are not taken from, i is y.
    let (_, odd) = equal(&mut client, "utf8mb4", "utf8mb4_lithuanian_ci");
    assert!(odd.is_some());
}
