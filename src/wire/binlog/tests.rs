//! Logs that real servers wrote, told event by event.

use super::rows::Unreadable;
use super::*;

/// What the statements of the recording are about: the columns by which they can be told.
fn wanted(table: &[u8]) -> [usize; 2] {
    match table {
        b"wp_options" => [1, 3],
        b"wide" => [21, 1],
        b"js" => [2, 0],
        b"packed" => [3, 0],
        _ => [0, 99],
    }
}

fn cell(value: Value<'_>) -> String {
    match value {
        Value::Absent => "-".into(),
        Value::Null => "NULL".into(),
        Value::Bytes(text) => String::from_utf8_lossy(text).into(),
        Value::Integer(number) => number.to_string(),
        Value::Other => "?".into(),
    }
}

/// A line for each transaction.
#[derive(Default)]
struct Story {
    text: String,
    maps: Vec<TableMap>,
}

impl Story {
    fn say(&mut self, words: &str) {
        let space = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { " " };
        self.text.extend([space, words]);
    }

    fn tell(&mut self, event: &Event<'_>) {
        match &event.body {
            Body::Gtid(gtid) => {
                let gtid = gtid.to_string();
                let tag = gtid.split(':').rev().nth(1).filter(|tag| tag.len() < 36);
                self.text.push('\n');
                tag.into_iter().for_each(|tag| self.say(tag));
            }
            Body::Table(map) => {
                self.say(&String::from_utf8_lossy(&map.table));
                self.maps.retain(|known| known.id != map.id);
                self.maps.push(map.clone());
            }
            Body::Rows(rows) => self.rows(rows),
            Body::Payload(payload) => {
                self.say("payload:");
                let inflated = payload.inflate().expect("it inflates");
                events(&inflated).for_each(|event| self.tell(&event.unwrap()));
            }
            Body::Query(query) => self.say(&format!("{query:?}")),
            Body::Nothing | Body::Format | Body::Heartbeat => {}
            Body::Rotate { .. } => self.say("Rotate"),
            other => self.say(&format!("{other:?}").replace(" { ", "(").replace(" }", ")")),
        }
    }

    fn rows(&mut self, rows: &Rows<'_>) {
        let map = self.maps.iter().find(|map| map.id == rows.table).expect("its map").clone();
        let mut said = Vec::new();
        let read = rows.read(&map, wanted(&map.table), |[one, two]| {
            said.push(format!("({}|{})", cell(one), cell(two)));
        });
        said.iter().for_each(|said| self.say(said));
        if read.is_err() {
            self.say("unreadable");
        }
    }
}

fn recorded(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/binlog");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

/// The events of a file, each with its bytes.
fn each(file: &[u8], mut then: impl FnMut(&[u8])) {
    let mut rest = file.strip_prefix(b"\xfebin").unwrap();
    while let Some(header) = Header::parse(rest) {
        let (event, after) = rest.split_at(header.bytes as usize);
        then(event);
        rest = after;
    }
    assert!(rest.is_empty());
}

fn story(name: &str) -> String {
    let mut story = Story::default();
    let mut decoder = Decoder::new();
    each(&recorded(name), |event| story.tell(&decoder.decode(event).unwrap()));
    story.text
}

/// All that the statements of the recording do on any server.
const COMMON: &str = "
wp_options (siteurl|yes) (cron|yes) Xid
wp_options (cron|yes) (cron|yes) Xid
wp_options (siteurl|yes) Xid
wide (key1|-1) Xid
wide (key2|NULL) (NULL|NULL) Xid
wide (key1|-1) (key4|-1) Savepoint wide (NULL|NULL) Xid
mem (1|-) End
";
/// With MINIMAL images, as a statement, and with a long value.
const IMAGES: &str = "
wp_options (-|-) (-|-) Xid
wp_options (-|-) Xid
Other Xid
wp_options (long|yes) Xid
";
/// The last: TRUNCATE.
const LAST: &str = "Other Rotate";

#[track_caller]
fn check(name: &str, between: &str, after: &str) {
    let parts = [COMMON, between, IMAGES, after, LAST];
    let expected: Vec<&str> = parts.iter().flat_map(|part| part.trim().lines()).collect();
    // Only MySQL says BEGIN; MariaDB's GTID does for it.
    let told = story(name).replace("Begin ", "");
    let told: Vec<&str> = told.trim().lines().collect();
    assert_eq!(told, expected, "{name}");
}

#[test]
fn logs_of_real_servers_are_understood() {
    let xa = "wide (key4|-1) (xa|-1) Savepoint XaPrepare(is_commit: false)\nOther";
    let json = "Other\njs (key|1) Xid\njs (key|1) (key|1) Xid";
    let payload = "payload: wp_options (zst|yes) Xid";
    let tagged = "night wp_options (tagged|yes) Xid";
    check("mysql97", xa, &[json, payload, tagged].join("\n"));
    check("mysql56", "wide (key4|-1) (xa|-1) End", "");
    let packed = "wp_options (zlib|yes) Xid\nwp_options (zlib|yes) (zlib|yes) Xid\n\
                  wp_options (zlib|yes) Xid\nOther\nOther\npacked (key|1) Xid";
    check("mariadb1011", xa, packed);
}

#[test]
fn statements_are_known_by_their_words() {
    fn check(text: &str, expected: Query) {
        let mut body = [0; 13].to_vec();
        body[8] = 2;
        body[11] = 3;
        body.extend(b"sssdb\0");
        body.extend(text.as_bytes());
        assert_eq!(Query::parse(&body), Ok(expected), "{text}");
    }
    check("BEGIN", Query::Begin);
    check("XA START X'61',X'',1", Query::Begin);
    check("COMMIT", Query::End);
    check("ROLLBACK", Query::End);
    check("SAVEPOINT `a`", Query::Savepoint);
    check("ROLLBACK TO `a`", Query::Savepoint);
    check("XA END X'61',X'',1", Query::Savepoint);
    check("XA COMMIT X'61',X'',1", Query::Other);
    check("COMMIT /* or not */", Query::Other);
    check("begin", Query::Other);
    check("TRUNCATE t", Query::Other);
    check("", Query::Other);
    assert!(Query::parse(&[0; 12]).is_err());
}

/// An event of a kind, without a checksum.
fn event(kind: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[4] = kind;
    bytes[9..13].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
    bytes[17..19].copy_from_slice(&flags.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn what_is_not_understood_says_so() {
    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let mut decoder = Decoder::bare();
        let told = match decoder.decode(bytes) {
            Ok(event) => format!("{:?}", event.body),
            Err(malformed) => malformed.what.to_owned(),
        };
        assert!(told.starts_with(expected), "{told}, not {expected}");
    }
    check(&event(99, 0, &[]), "Unknown");
    check(&event(99, IGNORABLE, &[]), "Nothing");
    // INCIDENT, EXECUTE_LOAD_QUERY, and rows as they were written before 5.1.18
    check(&event(26, 0, &[0; 3]), "Unknown");
    check(&event(18, 0, &[0; 40]), "Unknown");
    check(&event(20, 0, &[0; 9]), "Unknown");
    check(&event(27, 0, b"binlog.000001"), "Heartbeat");
    check(&event(19, 0, &[0; 9]), "payload ends early");
    check(&event(2, 0, &[]), "payload ends early");
    check(&[0; 18], "half a header");
    check(&event(16, 0, &[0; 8])[..20], "Unknown");
    check(&[&*event(16, 0, &[0; 8]), &[0]].concat(), "an event's length");
    let format = |body: &mut dyn FnMut(&mut Vec<u8>)| {
        let mut bytes = vec![0; 57 + 40 + 5];
        (bytes[0], bytes[56]) = (4, 19);
        bytes[57 + 1] = 13;
        body(&mut bytes);
        event(15, 0, &bytes)
    };
    check(&format(&mut |_| {}), "Format");
    check(&format(&mut |bytes| bytes[0] = 3), "a format of events");
    check(&format(&mut |bytes| bytes[57 + 1] = 14), "a format of events");
    check(&format(&mut |bytes| bytes[57 + 40] = 2), "a kind of checksum");
}

#[test]
fn rows_are_read_to_their_end_or_not_at_all() {
    const TWO_INTEGERS: &[u8] = b"\x07\0\0\0\0\0\x01\0\x01s\0\x01t\0\x02\x03\x03\0\0";
    /// `images`: which columns there are, a byte for each image, and then the rows.
    #[track_caller]
    fn check(kind: u8, images: &[u8], expected: &str) {
        let mut story = Story::default();
        let body = [b"\x07\0\0\0\0\0\x01\0\x02\0\x02", images].concat();
        for bytes in [event(19, 0, TWO_INTEGERS), event(kind, 0, &body)] {
            story.tell(&Decoder::bare().decode(&bytes).unwrap());
        }
        assert_eq!(story.text, format!("t {expected}"));
    }
    let (write, update) = (30, 31);
    check(write, b"\x03\0\x05\0\0\0\x06\0\0\0", "(5|-)");
    check(write, b"\x02\0\x05\0\0\0", "(-|-)");
    check(write, b"\x01\x01\x01", "(NULL|-) (NULL|-)");
    check(write, b"\x03\0\x05\0\0\0\x06\0\0", "unreadable");
    check(write, b"\x03", "unreadable");
    // Of rows without columns nobody can tell how many there are: all defaults, in a MINIMAL image.
    check(write, b"\0", "(-|-) unreadable");
    check(write, b"\0\0\0\0", "(-|-) unreadable");
    check(update, b"\0\0\0", "(-|-) (-|-) unreadable");
    check(update, b"\x01\0\0\x05\0\0\0", "(5|-) (-|-)");
}

#[test]
fn long_events_are_known_by_their_table() {
    let mut decoder = Decoder::new();
    let mut maps: Vec<TableMap> = Vec::new();
    let mut count = 0;
    each(&recorded("mysql97"), |bytes| {
        let Event { header, body } = decoder.decode(bytes).unwrap();
        let cut = decoder.clone().decode(&bytes[..bytes.len() - 1]);
        match (body, cut.map(|event| event.body)) {
            (Body::Table(map), _) => maps.push(map),
            (Body::Rows(rows), Ok(Body::Rows(cut))) => {
                let map = maps.iter().rev().find(|map| map.id == rows.table).unwrap();
                assert_eq!((cut.table, cut.read(map, [0], |_| {})), (rows.table, Err(Unreadable)));
                count += 1;
            }
            (Body::Query(Query::Other), Ok(Body::Query(Query::Other))) => count += 1,
            (Body::Rows(_) | Body::Query(Query::Other), other) => panic!("{header:?} {other:?}"),
            _ => {}
        }
    });
    assert!(count > 10, "{count}");
}

#[test]
fn damaged_events_are_seen() {
    let mut decoder = Decoder::new();
    each(&recorded("mysql56"), |bytes| {
        decoder.decode(bytes).unwrap();
        let mut damaged = bytes.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        if bytes[4] != kind::FORMAT {
            assert!(decoder.decode(&damaged).is_err());
        }
    });
}
