//! Transcripts: what a backend sends, what the client must get, however it is cut.

use super::*;
use crate::wire::ok::{Ok as OkPacket, encode_eof};
use Expect::{Cursor, Eof, Fetch, FieldList, Nothing, Prepare, Query, Simple, Text};

const CLASSIC: Capabilities = Capabilities(0);
const MODERN: Capabilities = Capabilities::DEPRECATE_EOF.with(Capabilities::SESSION_TRACK);
const EOF_ONLY: Capabilities = Capabilities::DEPRECATE_EOF;

/// To a client of old from a server of today: the pair that WordPress makes.
const DOWN: Shape = Shape { backend: MODERN, client: CLASSIC };
const OLD: Shape = Shape { backend: CLASSIC, client: CLASSIC };
const NEW: Shape = Shape { backend: MODERN, client: MODERN };
const UNTRACKED: Shape = Shape { backend: MODERN, client: EOF_ONLY };

const AUTO: u16 = 0x0002;
const MORE: u16 = 0x000a;
const CURSOR: u16 = 0x0042;
const LAST_ROW: u16 = 0x0082;

fn ok_with(
    header_byte: u8,
    status: u16,
    capabilities: Capabilities,
    tracked: &[Tracked],
) -> Vec<u8> {
    let ok = OkPacket {
        affected: 1,
        insert_id: 5,
        status: Status(status),
        warnings: 2,
        info: b"info",
        tracked: tracked.to_vec(),
    };
    let mut out = Vec::new();
    ok.encode(&mut out, header_byte, capabilities);
    out
}

/// An OK in the dialect of today, with a tracker.
fn ok(status: u16) -> Vec<u8> {
    ok_with(0, status, MODERN, &[Tracked::Gtids(b"0-1-7".to_vec())])
}

/// The same, as a client of old must see it.
fn plain_ok(status: u16) -> Vec<u8> {
    ok_with(0, status, CLASSIC, &[])
}

/// The end of rows in the dialect of today.
fn end(status: u16) -> Vec<u8> {
    ok_with(0xfe, status, MODERN, &[Tracked::Gtids(b"0-1-8".to_vec())])
}

fn eof(status: u16, warnings: u16) -> Vec<u8> {
    let mut out = Vec::new();
    encode_eof(&mut out, Status(status), warnings);
    out
}

fn err() -> Vec<u8> {
    b"\xff\x28\x04#42000no such thing".to_vec()
}

fn bytes(text: &[u8]) -> Vec<u8> {
    text.to_vec()
}

fn packets(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    payloads.iter().fold(1, |sequence, payload| write_packet(&mut out, sequence, payload));
    out
}

struct Walked {
    out: Vec<u8>,
    scan: Result<Scan, Malformed>,
    summary: Summary,
    sequence: u8,
}

/// Feeds the pieces one after another until the reply is over; `consumed` counts over all.
fn walk(expect: Expect, shape: Shape, pieces: &[&[u8]]) -> Walked {
    let mut walker = Walker::new(expect, shape);
    let mut out = Vec::new();
    let (mut before, mut scan) = (0, Ok(Scan::More));
    for piece in pieces {
        scan = match walker.feed(piece, &mut out) {
            Ok(Scan::Done { consumed }) => Ok(Scan::Done { consumed: before + consumed }),
            Ok(Scan::Infile { consumed }) => Ok(Scan::Infile { consumed: before + consumed }),
            other => other,
        };
        if scan != Ok(Scan::More) {
            break;
        }
        before += piece.len();
    }
    Walked { out, scan, summary: walker.summary().clone(), sequence: walker.sequence() }
}

/// Walks it whole, cut once at every place, and byte by byte: always the same.
fn walk_every_way(expect: Expect, shape: Shape, input: &[u8]) -> Walked {
    let whole = walk(expect, shape, &[input]);
    let same = |other: Walked, how: &str| {
        assert_eq!(other.scan, whole.scan, "{expect:?} {how}");
        if whole.scan.is_ok() {
            assert!(other.out == whole.out, "{expect:?} {how}: other bytes");
            assert_eq!(other.summary, whole.summary, "{expect:?} {how}");
            assert_eq!(other.sequence, whole.sequence, "{expect:?} {how}");
        }
    };
    for cut in 0..=input.len() {
        let (left, right) = input.split_at(cut);
        same(walk(expect, shape, &[left, right]), &format!("cut at {cut}"));
    }
    for size in [1, 2, 3, 7] {
        let pieces: Vec<&[u8]> = input.chunks(size).collect();
        same(walk(expect, shape, &pieces), &format!("in pieces of {size}"));
    }
    whole
}

/// A whole reply, with the next one's first byte behind it.
fn check(expect: Expect, shape: Shape, theirs: &[Vec<u8>], ours: &[Vec<u8>]) -> Summary {
    let mut input = packets(theirs);
    let len = input.len();
    input.push(0x07);
    let walked = walk_every_way(expect, shape, &input);
    assert_eq!(walked.scan, Ok(Scan::Done { consumed: len }), "{expect:?} {shape:?}");
    let expected = packets(ours);
    assert!(
        walked.out == expected,
        "{expect:?} {shape:?}\n got {:?}\nwant {expected:?}",
        walked.out
    );
    assert_eq!(walked.sequence, (ours.len() + 1) as u8);
    walked.summary
}

fn check_malformed(expect: Expect, shape: Shape, theirs: &[Vec<u8>]) {
    let walked = walk_every_way(expect, shape, &packets(theirs));
    assert!(walked.scan.is_err(), "{expect:?} {theirs:?} gave {:?}", walked.scan);
}

fn gtids(list: &[&str]) -> Vec<Tracked> {
    list.iter().map(|set| Tracked::Gtids(set.as_bytes().to_vec())).collect()
}

#[test]
fn an_ok() {
    for (shape, theirs, ours) in [
        (DOWN, ok(AUTO), plain_ok(AUTO)),
        (NEW, ok(AUTO), ok(AUTO)),
        (UNTRACKED, ok(AUTO), plain_ok(AUTO)),
        (OLD, plain_ok(AUTO), plain_ok(AUTO)),
    ] {
        for expect in [Simple, Query, Eof] {
            let summary =
                check(expect, shape, std::slice::from_ref(&theirs), std::slice::from_ref(&ours));
            assert_eq!(summary.end, Some(End::Ok));
            assert_eq!((summary.affected, summary.insert_id, summary.warnings), (1, 5, 2));
            assert_eq!((summary.results, summary.rows, summary.first_packet_err), (1, 0, false));
            let tracked = if shape == OLD { gtids(&[]) } else { gtids(&["0-1-7"]) };
            assert_eq!(summary.tracked, tracked);
        }
    }
}

#[test]
fn an_err_is_an_err_everywhere() {
    for expect in [Simple, Query, Prepare, Fetch, FieldList, Eof, Text] {
        for shape in [DOWN, NEW, OLD, UNTRACKED] {
            let summary = check(expect, shape, &[err()], &[err()]);
            let message = b"no such thing".to_vec();
            assert_eq!(summary.end, Some(End::Err { code: 1064, state: *b"42000", message }));
            assert!(summary.first_packet_err);
        }
    }
    let long = [&b"\xff\x28\x04#42000"[..], &[b'x'; 900]].concat();
    let summary = check(Query, DOWN, std::slice::from_ref(&long), std::slice::from_ref(&long));
    let Some(End::Err { message, .. }) = summary.end else { panic!("an ERR") };
    assert_eq!(message.len(), 512);
}

#[test]
fn rows() {
    let (one, two) = (bytes(b"\x03defa"), bytes(b"\x03defb"));
    let rows = [bytes(b"\x01x\xfb"), bytes(b"\xfb\x01y"), bytes(b"\0"), bytes(b"\xfb")];
    let result = |before: &[Vec<u8>], after: Vec<u8>| {
        let mut all = vec![bytes(b"\x02"), one.clone(), two.clone()];
        all.extend(before.iter().cloned());
        all.extend(rows.iter().cloned());
        all.push(after);
        all
    };
    let modern = result(&[], end(AUTO));
    let classic = result(&[eof(AUTO, 0)], eof(AUTO, 2));
    for (shape, theirs, ours) in [
        (DOWN, &modern, &classic),
        (NEW, &modern, &modern),
        (UNTRACKED, &modern, &result(&[], ok_with(0xfe, AUTO, CLASSIC, &[]))),
        (OLD, &classic, &classic),
    ] {
        let summary = check(Query, shape, theirs, ours);
        assert_eq!(summary.end, Some(End::Rows));
        assert_eq!((summary.rows, summary.results, summary.warnings), (4, 1, 2));
        let tracked = if shape == OLD { gtids(&[]) } else { gtids(&["0-1-8"]) };
        assert_eq!(
            (summary.tracked, summary.status),
            (
                tracked,
                match shape {
                    OLD => Status(AUTO),
                    _ => Status(AUTO).with(Status::STATE_CHANGED),
                }
            )
        );
    }
}

#[test]
fn no_rows() {
    let column = bytes(b"\x03def");
    let modern = [bytes(b"\x01"), column.clone(), end(AUTO)];
    let classic = [bytes(b"\x01"), column, eof(AUTO, 0), eof(AUTO, 2)];
    for (shape, theirs, ours) in
        [(DOWN, &modern[..], &classic[..]), (NEW, &modern, &modern), (OLD, &classic, &classic)]
    {
        assert_eq!(check(Query, shape, theirs, ours).rows, 0);
    }
}

#[test]
fn an_open_cursor_has_one_eof_and_no_rows() {
    let column = bytes(b"\x03def");
    let modern = [bytes(b"\x01"), column.clone(), end(CURSOR)];
    let classic = [bytes(b"\x01"), column, eof(CURSOR, 2)];
    for (shape, theirs, ours) in
        [(DOWN, &modern[..], &classic[..]), (NEW, &modern, &modern), (OLD, &classic, &classic)]
    {
        assert_eq!(check(Cursor, shape, theirs, ours).end, Some(End::Rows));
    }
    // The flag alone opens none.
    let more = CURSOR | MORE;
    let column = bytes(b"\x03def");
    for (expect, status) in [(Query, CURSOR), (Query, more), (Cursor, more)] {
        let set = |middle: Option<Vec<u8>>, end: Vec<u8>| {
            let head = [bytes(b"\x01"), column.clone()];
            head.into_iter().chain(middle).chain([end]).collect::<Vec<_>>()
        };
        let mut modern = set(None, end(status));
        let mut classic = set(Some(eof(AUTO, 0)), eof(status, 2));
        if status == more {
            modern.push(ok(AUTO));
            classic.push(plain_ok(AUTO));
        }
        assert_eq!(check(expect, DOWN, &modern, &classic).rows, 0);
    }
    let row = bytes(b"\0\0\x01x");
    for status in [CURSOR, LAST_ROW] {
        let modern = [row.clone(), row.clone(), end(status)];
        let classic = [row.clone(), row.clone(), eof(status, 2)];
        for (shape, theirs, ours) in
            [(DOWN, &modern, &classic), (NEW, &modern, &modern), (OLD, &classic, &classic)]
        {
            let summary = check(Fetch, shape, theirs, ours);
            assert_eq!((summary.rows, summary.status.has(Status(status))), (2, true));
        }
    }
}

#[test]
fn several_results_count_on_and_every_terminator_is_read() {
    let column = bytes(b"\x03def");
    let row = bytes(b"\x01x");
    let set = |eof1: Option<Vec<u8>>, end: Vec<u8>| {
        let head = [bytes(b"\x01"), column.clone()];
        head.into_iter().chain(eof1).chain([row.clone(), end]).collect::<Vec<_>>()
    };
    let modern = [set(None, end(MORE)), set(None, end(MORE)), vec![ok(AUTO)]].concat();
    let classic = [
        set(Some(eof(AUTO, 0)), eof(MORE, 2)),
        set(Some(eof(AUTO, 0)), eof(MORE, 2)),
        vec![plain_ok(AUTO)],
    ]
    .concat();
    for (shape, theirs, ours) in
        [(DOWN, &modern, &classic), (NEW, &modern, &modern), (OLD, &classic, &classic)]
    {
        let summary = check(Query, shape, theirs, ours);
        assert_eq!((summary.results, summary.rows, summary.end), (3, 2, Some(End::Ok)));
        if shape != OLD {
            assert_eq!(summary.tracked, gtids(&["0-1-8", "0-1-8", "0-1-7"]));
        }
    }
    // Several statements stop at the first error.
    let summary = check(Query, DOWN, &[ok(MORE), err()], &[plain_ok(MORE), err()]);
    assert!(!summary.first_packet_err && matches!(summary.end, Some(End::Err { code: 1064, .. })));
    assert_eq!(summary.results, 1);
}

#[test]
fn an_err_within_a_result_ends_all_of_it() {
    let head = [bytes(b"\x01"), bytes(b"\x03def")];
    let row = bytes(b"\x01x");
    let theirs = |more: &[Vec<u8>]| [&head[..], more].concat();
    check(
        Query,
        DOWN,
        &theirs(&[row.clone(), err()]),
        &theirs(&[eof(AUTO, 0), row.clone(), err()]),
    );
    check(Query, DOWN, &theirs(&[err()]), &theirs(&[eof(AUTO, 0), err()]));
    check(Query, NEW, &theirs(&[row.clone(), err()]), &theirs(&[row.clone(), err()]));
    check(Query, OLD, &theirs(&[err()]), &theirs(&[err()]));
    check(Query, OLD, &theirs(&[eof(AUTO, 0), err()]), &theirs(&[eof(AUTO, 0), err()]));
    let summary = check(
        Query,
        DOWN,
        &[bytes(b"\x02"), head[1].clone(), err()],
        &[bytes(b"\x02"), head[1].clone(), err()],
    );
    assert!(!summary.first_packet_err);
}

#[test]
fn prepared_statements() {
    let definition = bytes(b"\x03def");
    // With three warnings, which the EOFs behind it do not take back.
    let head = |columns: u8, params: u8| vec![0, 9, 0, 0, 0, columns, 0, params, 0, 0, 3, 0];
    let reply = |columns: usize, params: usize, with_eof: bool| {
        let mut all = vec![head(columns as u8, params as u8)];
        for count in [params, columns] {
            all.extend(std::iter::repeat_n(definition.clone(), count));
            all.extend((with_eof && count > 0).then(|| eof(AUTO, 0)));
        }
        all
    };
    for (columns, params) in [(0, 0), (0, 2), (3, 0), (3, 2), (1, 1)] {
        let modern = reply(columns, params, false);
        let classic = reply(columns, params, true);
        for (shape, theirs, ours) in
            [(DOWN, &modern, &classic), (NEW, &modern, &modern), (OLD, &classic, &classic)]
        {
            let summary = check(Prepare, shape, theirs, ours);
            assert_eq!((summary.statement_id, summary.end), (9, Some(End::Ok)));
            assert_eq!((summary.columns as usize, summary.params as usize), (columns, params));
            assert_eq!((summary.rows, summary.results, summary.warnings), (0, 0, 3));
        }
    }
}

#[test]
fn the_small_replies() {
    let definition = bytes(b"\x03def\xfb");
    for (shape, theirs, ours) in [
        (DOWN, end(AUTO), eof(AUTO, 2)),
        (NEW, end(AUTO), end(AUTO)),
        (OLD, eof(AUTO, 2), eof(AUTO, 2)),
    ] {
        check(Eof, shape, std::slice::from_ref(&theirs), std::slice::from_ref(&ours));
        let list = [definition.clone(), definition.clone(), theirs];
        let summary =
            check(FieldList, shape, &list, &[definition.clone(), definition.clone(), ours]);
        assert_eq!((summary.rows, summary.end), (0, Some(End::Rows)));
    }
    for text in [&b"Uptime: 1"[..], b"", b"\0\0", b"\xfe", b"\xfb"] {
        let summary = check(Text, DOWN, &[bytes(text)], &[bytes(text)]);
        assert_eq!(summary.end, Some(End::Ok));
    }
    let nothing = walk(Nothing, DOWN, &[b"\x01\0\0"]);
    assert_eq!(nothing.scan, Ok(Scan::Done { consumed: 0 }));
    assert_eq!((nothing.out.len(), nothing.summary.end), (0, Some(End::Ok)));
    let nothing = walk(Nothing, DOWN, &[b""]);
    assert_eq!(nothing.scan, Ok(Scan::Done { consumed: 0 }));
}

#[test]
fn progress_is_passed_over_in_silence() {
    let progress = bytes(b"\xff\xff\xff\x01\x01\x02\x00\x00\x00\x05stage");
    check(Query, DOWN, &[progress.clone(), progress.clone(), ok(AUTO)], &[plain_ok(AUTO)]);
    let head = [bytes(b"\x01"), bytes(b"\x03def")];
    let row = bytes(b"\x01x");
    check(
        Query,
        NEW,
        &[&head[..], &[row.clone(), progress, row.clone(), end(AUTO)]].concat(),
        &[&head[..], &[row.clone(), row, end(AUTO)]].concat(),
    );
}

#[test]
fn numbers_wrap() {
    for rows in [250, 251, 252, 253, 254, 255, 256, 257, 600] {
        let head = [bytes(b"\x01"), bytes(b"\x03def")];
        let rows = vec![bytes(b"\x01x"); rows];
        let theirs = packets(&[&head[..], &rows, &[end(AUTO)]].concat());
        let ours = packets(&[&head[..], &[eof(AUTO, 0)], &rows, &[eof(AUTO, 2)]].concat());
        for pieces in [1, 5, 1000, usize::MAX] {
            let pieces: Vec<&[u8]> = theirs.chunks(pieces).collect();
            let walked = walk(Query, DOWN, &pieces);
            assert_eq!((walked.out == ours, walked.summary.rows), (true, rows.len() as u64));
        }
    }
    // The 256th packet is not the first one.
    let rows = vec![bytes(b"\0x"); 256];
    let walked = walk(Fetch, DOWN, &[&packets(&[&rows[..], &[err()]].concat())]);
    assert!(!walked.summary.first_packet_err);
}

#[test]
fn long_rows() {
    const FULL: usize = 0xff_ffff;
    // Lengths around one and two chunks, made of bytes that look like packet types.
    for len in [FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 3] {
        for filler in [0xfe, 0xff, 0x00, 0xfb] {
            let mut long = vec![filler; len];
            long[0] = if len < FULL { 0xfd } else { 0xfe };
            let head = [bytes(b"\x01"), bytes(b"\x03def")];
            let rows = [bytes(b"\x01x"), long, bytes(b"\x01y")];
            let modern = packets(&[&head[..], &rows, &[end(AUTO)]].concat());
            let classic = packets(&[&head[..], &[eof(AUTO, 0)], &rows, &[eof(AUTO, 2)]].concat());
            for (shape, theirs, ours) in [(DOWN, &modern, &classic), (OLD, &classic, &classic)] {
                for size in [usize::MAX, 16 * 1024, 1 << 20] {
                    let pieces: Vec<&[u8]> = theirs.chunks(size).collect();
                    let walked = walk(Query, shape, &pieces);
                    assert_eq!(walked.scan, Ok(Scan::Done { consumed: theirs.len() }));
                    assert!(walked.out == *ours, "{len} {filler:#x} {size}");
                    assert_eq!(walked.summary.rows, 3);
                }
            }
        }
    }
}

#[test]
fn a_short_row_of_0xfe_before_a_classic_terminator() {
    // Classic: only fewer than nine bytes make an EOF.
    let row = bytes(b"\xfe12345678");
    let head = [bytes(b"\x01"), bytes(b"\x03def"), eof(AUTO, 0)];
    let all = [&head[..], &[row, eof(AUTO, 2)]].concat();
    assert_eq!(check(Query, OLD, &all, &all).rows, 1);
}

#[test]
fn a_request_for_a_file() {
    let input = packets(&[bytes(b"\xfb/etc/passwd")]);
    let walked = walk_every_way(Query, DOWN, &input);
    assert_eq!(walked.scan, Ok(Scan::Infile { consumed: input.len() }));
    assert!(walked.out.is_empty());
    assert_eq!(walked.sequence, 1);

    let mut walker = Walker::new(Query, DOWN);
    let mut out = Vec::new();
    let _ = walker.feed(&input, &mut out).unwrap();
    assert_eq!(walker.infile_name(), b"/etc/passwd");
    // The client got packet 1 and sent two, 2 and 3, the second one empty.
    walker.resume_after_infile(2);
    let mut answer = Vec::new();
    write_packet(&mut answer, 4, &ok(AUTO));
    assert_eq!(walker.feed(&answer, &mut out), Ok(Scan::Done { consumed: answer.len() }));
    let mut expected = Vec::new();
    write_packet(&mut expected, 4, &plain_ok(AUTO));
    assert_eq!(out, expected);
    // As the answer to anything else it is no request.
    for expect in [Simple, Prepare, Eof] {
        check_malformed(expect, DOWN, &[bytes(b"\xfb/etc/passwd")]);
    }
}

#[test]
fn what_no_server_may_say() {
    check_malformed(Simple, DOWN, &[bytes(b"\x01")]);
    check_malformed(Simple, DOWN, &[bytes(b"\xfe\0\0\x02\0")]);
    check_malformed(Query, DOWN, &[bytes(b"")]);
    check_malformed(Query, DOWN, &[bytes(b"\x00\x00")]);
    check_malformed(Query, DOWN, &[bytes(b"\x01\x01")]);
    check_malformed(Query, DOWN, &[bytes(b"\xfe\xff\xff\xff\xff\0\0\0\0")]);
    check_malformed(Query, DOWN, &[bytes(b"\xff\x01")]);
    check_malformed(Query, DOWN, &[bytes(b"\x01"), bytes(b"")]);
    check_malformed(Query, DOWN, &[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"")]);
    check_malformed(Query, DOWN, &[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"\xfe")]);
    check_malformed(Query, OLD, &[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"\x01x")]);
    check_malformed(Prepare, DOWN, &[bytes(b"\0\x01\0\0")]);
    check_malformed(Prepare, DOWN, &[bytes(b"\x01")]);
    check_malformed(Eof, DOWN, &[bytes(b"\x01")]);

    let mut wrong = packets(&[ok(AUTO)]);
    wrong[3] = 2;
    assert!(walk_every_way(Query, DOWN, &wrong).scan.is_err());
    // An ERR may have a number of its own; the client's is still the right one.
    let mut killed = packets(&[err()]);
    killed[3] = 0;
    let walked = walk_every_way(Query, DOWN, &killed);
    assert_eq!(walked.scan, Ok(Scan::Done { consumed: killed.len() }));
    assert_eq!(walked.out, packets(&[err()]));
    // A terminator beyond all bounds is refused by its header alone.
    let mut walker = Walker::new(Query, DOWN);
    assert!(walker.feed(b"\x01\0\x20\x01\0", &mut Vec::new()).is_err());
}

#[test]
fn errs_of_our_own_fit_between_packets() {
    let theirs = packets(&[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"\x01x"), bytes(b"\x01y")]);
    let mut walker = Walker::new(Query, DOWN);
    let mut out = Vec::new();
    for (at, byte) in theirs.iter().enumerate() {
        let _ = walker.feed(&[*byte], &mut out).unwrap();
        let mut rest = &out[..];
        let (mut next, mut between) = (1, true);
        while between && !rest.is_empty() {
            let packet = crate::wire::frame::read_packet(rest, usize::MAX).unwrap();
            between = packet.is_some();
            if let Some(packet) = packet {
                next = packet.sequence + 1;
                rest = &rest[packet.consumed..];
            }
        }
        assert_eq!(walker.open_bytes() == 0, between, "after byte {at}");
        assert!(between || walker.open_bytes() == rest.len(), "after byte {at}");
        if between {
            assert_eq!(walker.sequence(), next, "after byte {at}");
        }
    }
}

#[test]
fn one_walker_serves_many_replies() {
    let mut walker = Walker::new(Query, DOWN);
    let mut out = Vec::new();
    let in_transaction = packets(&[ok(0x0001)]);
    let _ = walker.feed(&in_transaction, &mut out).unwrap();
    assert!(!walker.summary().tracked.is_empty());
    walker.reset(Query, DOWN);
    assert_eq!(walker.summary(), &Summary::default());
    out.clear();
    let theirs = packets(&[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"\x01x"), end(AUTO)]);
    assert_eq!(walker.feed(&theirs, &mut out), Ok(Scan::Done { consumed: theirs.len() }));
    // The EOF that is made up tells the status that was known: a transaction, no autocommit.
    let ours = [bytes(b"\x01"), bytes(b"\x03def"), eof(0x0001, 0), bytes(b"\x01x"), eof(AUTO, 2)];
    assert_eq!(out, packets(&ours));
    // Cut off in the middle, reset, and as new.
    walker.reset(Query, DOWN);
    let _ = walker.feed(&theirs[..theirs.len() - 3], &mut out).unwrap();
    walker.reset(Nothing, DOWN);
    assert_eq!(walker.feed(b"x", &mut out), Ok(Scan::Done { consumed: 0 }));
    walker.reset(Simple, OLD);
    out.clear();
    let simple = packets(&[plain_ok(AUTO)]);
    assert_eq!(walker.feed(&simple, &mut out), Ok(Scan::Done { consumed: simple.len() }));
    assert_eq!(out, simple);
}

/// Wherever a reply breaks off, and whatever of it the client has: an ERR can follow.
#[test]
fn a_reply_that_breaks_off_ends_with_a_whole_packet() {
    let long = vec![7; 0xff_ffff + 3];
    let theirs = packets(&[bytes(b"\x01"), bytes(b"\x03def"), bytes(b"\x01x"), long]);
    let cuts: Vec<usize> =
        (1..24).chain([0x00ff_fff0, theirs.len() - 5, theirs.len() - 1]).collect();
    for cut in cuts {
        for kept in 0..=1 {
            let mut walker = Walker::new(Query, DOWN);
            let mut out = Vec::new();
            let _ = walker.feed(&theirs[..cut], &mut out).unwrap();
            // All of it has gone to the client, or all whole packets have.
            let gone = out.len() - walker.open_bytes() * kept;
            let mut told: Vec<u8> = out.drain(..gone).collect();
            walker.break_off(&mut out);
            told.extend_from_slice(&out);
            write_packet(&mut told, walker.sequence(), &err());
            let (mut rest, mut last, mut next) = (&told[..], Vec::new(), 1_u8);
            while let Some(packet) = crate::wire::frame::read_packet(rest, usize::MAX).unwrap() {
                assert!(packet.consumed > 0xff_ffff || packet.sequence == next, "cut at {cut}");
                next = packet.sequence + 1;
                last = packet.payload.to_vec();
                rest = &rest[packet.consumed..];
            }
            assert_eq!((rest.len(), last), (0, err()), "cut at {cut}, {kept}");
        }
    }
}
