//! Properties that any bytes must keep, as functions of those bytes.
//!
//! Not part of the proxy: compiled for tests and for fuzzing only. Called by the targets in
//! `fuzz/`, and by the test below, which walks their corpus.
#![expect(clippy::panic, reason = "a broken property is told by a panic")]

use super::binlog::{self, Body, Decoder, TableMap};
use super::capability::Capabilities;
use super::command::Command;
use super::err::Err;
use super::frame::{read_packet, write_packet};
use super::handshake::{AuthStep, ChangeUser, Greeting, Response, is_ssl_request};
use super::ok::Ok as OkPacket;
use super::prepared::{ExecuteHead, Form, head_bytes_max};
use super::reply::{Expect, Scan, Shape, Summary, Walker};
use super::{Malformed, cursor::Cursor};

/// Limit on a payload, so that a header alone can be refused.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A packet that is read is written the same, and commands are read from it without a panic.
pub fn frame(data: &[u8]) {
    let Ok(Some(packet)) = read_packet(data, PAYLOAD_BYTES_MAX) else { return };
    assert!(packet.payload.len() <= PAYLOAD_BYTES_MAX);
    let mut out = Vec::new();
    write_packet(&mut out, packet.sequence, &packet.payload);
    assert_eq!(data.get(..packet.consumed), Some(out.as_slice()));
    for client in [Capabilities(0), Capabilities(u32::MAX)] {
        let command = Command::parse(&packet.payload, client);
        let _ = command.map(|command| command.expect());
        match command {
            Ok(Command::Execute { id, body }) => execute(id, body, Form::of(client)),
            Ok(Command::Query(text)) => query(&packet.payload, text, client),
            _ => {}
        }
    }
}

/// The text is the end of the packet, behind attributes that are there whole: cut anywhere before
/// that, they are not read as something else.
fn query(payload: &[u8], text: &[u8], client: Capabilities) {
    assert!(payload.ends_with(text));
    let attributes = payload.len().saturating_sub(text.len()).saturating_sub(1);
    assert_eq!(attributes > 0, client.has(Capabilities::QUERY_ATTRIBUTES));
    let cut = attributes / 2;
    if attributes > 0 {
        let cut = payload.get(..cut.saturating_add(1)).unwrap_or_default();
        assert!(Command::parse(cut, client).is_err());
    }
}

/// The head of an EXECUTE is written as it was read, and what follows it is untouched. For a server
/// without attributes it is what that reads the same, and what comes of it stays so.
fn execute(id: u32, body: &[u8], form: Form) {
    // The last byte says with how many parameters it is read.
    let params = body.last().copied().map_or(0, u16::from);
    let Ok((head, values)) = ExecuteHead::parse(body, params, form) else { return };
    let rewritten = |head: &ExecuteHead<'_>, form| {
        let mut out = Vec::new();
        head.write(&mut out, id);
        assert!(form == Form::Named || out.len() <= head_bytes_max(params, form));
        out.extend_from_slice(values);
        let Ok(Command::Execute { id: read, body }) = Command::parse(&out, Capabilities(0)) else {
            panic!("an EXECUTE became something else: {out:?}");
        };
        assert_eq!(read, id);
        let read = ExecuteHead::parse(body, params, form);
        assert_eq!(read, Ok((head.clone(), values)));
    };
    rewritten(&head, form);
    let types = head.types().map_or(vec![3; usize::from(params) * 2], |types| types.into_owned());
    let plain = head.retold(&types, Form::Plain);
    assert!(plain.is_told());
    rewritten(&plain, Form::Plain);
    rewritten(&plain.retold(&types, Form::Named), Form::Named);
}

/// However a reply is cut, the walker does the same; and what it gives to the client is a reply
/// that the client's own walker understands, with the same outcome.
///
/// The first three bytes choose the command, the two dialects, and the cut.
pub fn reply(data: &[u8]) {
    let Some((&[expect, dialects, cut], input)) = data.split_first_chunk::<3>() else { return };
    let (expect, shape) = (choose_expect(expect), choose_shape(dialects));
    let whole = walk(expect, shape, &[input]);
    let (left, right) = input.split_at(usize::from(cut).min(input.len()));
    assert_eq!(walk(expect, shape, &[left, right]), whole);
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(walk(expect, shape, &single), whole);

    let Ok((out, Scan::Done { consumed }, summary)) = whole else { return };
    assert!(consumed <= input.len());
    // Progress packets make the translation shorter than the reply, a made-up EOF makes it longer.
    let again = Shape { backend: shape.client, client: shape.client };
    let Ok((copy, Scan::Done { consumed }, theirs)) = walk(expect, again, &[&out]) else {
        panic!("the client does not understand {out:?}");
    };
    assert_eq!((consumed, &copy), (out.len(), &out));
    assert_eq!((theirs.end, theirs.rows), (summary.end, summary.rows));
    assert_eq!((theirs.results, theirs.warnings), (summary.results, summary.warnings));
}

/// What is read of a login is read the same after it was written.
pub fn handshake(data: &[u8]) {
    let mut out = Vec::new();
    if let Ok(greeting) = Greeting::parse(data) {
        greeting.encode(&mut out);
        assert_eq!(Greeting::parse(&out), Ok(greeting));
    }
    if let Ok(response) = Response::parse(data) {
        out.clear();
        response.encode(&mut out);
        assert!(Response::parse(&out) == Ok(response));
    }
    for capabilities in [Capabilities(0), Capabilities(u32::MAX)] {
        if let Ok(change) = ChangeUser::parse(data, capabilities) {
            out.clear();
            change.encode(&mut out, capabilities);
            assert!(ChangeUser::parse(&out, capabilities) == Ok(change));
        }
        let _ = OkPacket::parse(data, capabilities);
    }
    if let Ok(err) = Err::parse(data) {
        out.clear();
        err.encode(&mut out);
        assert_eq!(Err::parse(&out), Ok(err));
    }
    let _ = (is_ssl_request(data), AuthStep::parse(data), Cursor::new(data).lenenc_bytes());
}

/// A log is read to its end without a panic, as it is and without its checksums; an event that is
/// cut says no more than the whole one.
pub fn binlog(data: &[u8]) {
    let mut rest = data.strip_prefix(b"\xfebin").unwrap_or(data);
    let (mut decoder, mut bare, mut maps) = (Decoder::new(), Decoder::bare(), Vec::new());
    while let Some(header) = binlog::Header::parse(rest) {
        let len = usize::try_from(header.bytes).unwrap_or(usize::MAX);
        let (event, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        if let Ok(event) = decoder.decode(event) {
            look(&event, &mut maps);
        }
        if let Some(stripped) = without_checksum(event) {
            if let Ok(event) = bare.decode(&stripped) {
                look(&event, &mut maps);
            }
            let _cut = bare.decode(event.get(..event.len() / 2).unwrap_or_default());
        }
        rest = if event.is_empty() { &[] } else { after };
    }
}

fn look(event: &binlog::Event<'_>, maps: &mut Vec<TableMap>) {
    match &event.body {
        Body::Table(map) => maps.push(map.clone()),
        Body::Rows(rows) => {
            for map in maps.iter() {
                let _unreadable = rows.read(map, [0, 1], |_| {});
            }
        }
        Body::Gtid(gtid) => assert!(!gtid.to_string().is_empty()),
        Body::Payload(payload) => {
            let inflated = payload.inflate().unwrap_or_default();
            binlog::events(&inflated).flatten().for_each(|event| match event.body {
                Body::Payload(_) => {}
                _ => look(&event, maps),
            });
        }
        _ => {}
    }
}

/// The same event as a server without checksums writes it.
fn without_checksum(event: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = event.get(..event.len().checked_sub(4)?)?.to_vec();
    let len = u32::try_from(bytes.len()).ok()?.to_le_bytes();
    bytes.get_mut(9..13)?.copy_from_slice(&len);
    Some(bytes)
}

type Walked = Result<(Vec<u8>, Scan, Summary), Malformed>;

fn walk(expect: Expect, shape: Shape, pieces: &[&[u8]]) -> Walked {
    let mut walker = Walker::new(expect, shape);
    let (mut out, mut before) = (Vec::new(), 0_usize);
    let mut scan = walker.feed(&[], &mut out)?;
    for piece in pieces {
        if scan != Scan::More {
            break;
        }
        scan = match walker.feed(piece, &mut out)? {
            Scan::Done { consumed } => Scan::Done { consumed: before.saturating_add(consumed) },
            Scan::Infile { consumed } => Scan::Infile { consumed: before.saturating_add(consumed) },
            Scan::More => Scan::More,
        };
        before = before.saturating_add(piece.len());
    }
    Ok((out, scan, walker.summary().clone()))
}

fn choose_expect(byte: u8) -> Expect {
    match byte % 9 {
        0 => Expect::Query,
        1 => Expect::Simple,
        2 => Expect::Prepare,
        3 => Expect::Fetch,
        4 => Expect::FieldList,
        5 => Expect::Eof,
        6 => Expect::Text,
        7 => Expect::Cursor,
        _ => Expect::Nothing,
    }
}

/// The pairs that exist: a client is never offered more than its backend has.
fn choose_shape(byte: u8) -> Shape {
    const EOF: Capabilities = Capabilities::DEPRECATE_EOF;
    const ALL: Capabilities = EOF.with(Capabilities::SESSION_TRACK);
    let (backend, client) = match byte % 4 {
        0 => (ALL, Capabilities(0)),
        1 => (ALL, ALL),
        2 => (ALL, EOF),
        _ => (Capabilities(0), Capabilities(0)),
    };
    Shape { backend, client }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn replay(target: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
            property(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_corpus_keeps_its_properties() {
        replay("frame", frame);
        replay("reply", reply);
        replay("handshake", handshake);
        replay("binlog", binlog);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_keep_them(data: Vec<u8>) {
            frame(&data);
            reply(&data);
            handshake(&data);
            binlog(&data);
        }

        /// Packets in order, so that more than the first header is reached.
        #[test]
        fn any_packets_keep_them(
            choice: [u8; 3],
            payloads in proptest::collection::vec(any_payload(), 0..12),
        ) {
            let mut data = choice.to_vec();
            payloads.iter().fold(1, |number, payload| write_packet(&mut data, number, payload));
            reply(&data);
        }
    }

    fn any_payload() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        const PIECES: [&[u8]; 14] = [
            b"\x01",
            b"\x02",
            b"\x03def",
            b"\x01x",
            b"\xfb",
            b"\0\0\0\x02\0\0\0",
            b"\0\0\0\x0a\0\0\0",
            b"\xfe\0\0\x02\0\0\0",
            b"\xfe\0\0\x0a\0\0\0",
            b"\xfe\0\0\x42\0\0\0",
            b"\xfe\0\0\x02\0",
            b"\xff\x28\x04#42000no",
            b"\0\x09\0\0\0\x01\0\x01\0\0\0\0",
            b"\xff\xff\xff\x01\x01\x02\0\0\0\x01s",
        ];
        prop_oneof![
            9 => (0..PIECES.len()).prop_map(|at| PIECES[at].to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..12),
        ]
    }
}
