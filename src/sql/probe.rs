//! What must hold for any bytes: the body of the fuzz target, replayed over its corpus by a test.
//!
//! Called by `fuzz/fuzz_targets/classify.rs` and by this crate's own tests; never by the proxy.

use super::rule::{self, Depth};
use super::shape;
use super::{
    Classifier, Effects, Flavour, LiteralKind, Literals, LocalCache, Mode, Proof, Statement,
};

/// Classifies any bytes in any mode; panics where a property does not hold.
///
/// The first byte chooses the mode, the rest is the statement.
pub fn classify(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let mode = mode_of(*first);
    let classifier = Classifier::new(7);
    let mut local = LocalCache::new();
    let fresh = classifier.classify(&mut local, text, mode);
    let hit = classifier.classify(&mut local, text, mode);
    assert_eq!(fresh, hit, "a hit is not what was worked out");
    proved_means_harmless(&fresh);
    slots_are_of_the_text(text, mode, &fresh);
    shape_is_a_fixed_point(text, mode, &fresh);
    proved_means_harmless(&Classifier::scan_long(text, mode));
    assert_ne!(Classifier::scan_long(text, mode).proof, Proof::Read);
    unparsed_tells_all_but_the_proof(text, mode, &fresh);
}

/// A session that is told no more than this holds, sets and ends transactions just the same.
fn unparsed_tells_all_but_the_proof(text: &[u8], mode: Mode, parsed: &Statement) {
    let refuse = || false;
    let mut unparsed =
        (*Classifier::new(7).classify_if(&mut LocalCache::new(), text, mode, refuse)).clone();
    proved_means_harmless(&unparsed);
    assert_eq!(unparsed.proof, Proof::No);
    assert!(unparsed.reads.is_empty() && unparsed.writes.is_empty() && !unparsed.tables_known);
    if parsed.proof == Proof::UnknownRead {
        // The parser saw that a table is one about the server.
        unparsed.effects |= parsed.effects & Effects::SERVER_FACT;
    }
    let Statement { proof, reads, writes, tables_known, keys, why, is_unparsed, .. } =
        parsed.clone();
    let expected =
        Statement { proof, reads, writes, tables_known, keys, why, is_unparsed, ..unparsed };
    assert_eq!(*parsed, expected, "the tokens do not tell it all");
}

fn mode_of(byte: u8) -> Mode {
    Mode {
        ansi_quotes: byte & 1 != 0,
        no_backslash_escapes: byte & 2 != 0,
        ignore_space: byte & 4 != 0,
        lexable: byte & 24 != 24,
        flavour: if byte & 32 == 0 { Flavour::MySql } else { Flavour::MariaDb },
    }
}

fn proved_means_harmless(statement: &Statement) {
    if statement.proof == Proof::Read {
        let harmless = Effects::CALC_FOUND_ROWS | Effects::DATABASE_MATTERS;
        let left = statement.effects.without(harmless);
        assert!(left.is_empty(), "proved, with {left}");
        assert_eq!(statement.statements, 1);
        assert!(statement.why.is_empty() && statement.writes.is_empty());
    } else {
        assert!(!statement.why.is_empty(), "not proved, and no reason");
        assert!(statement.keys.is_empty());
    }
}

/// What the shape says of its literals, each text of it keeps.
pub(super) fn slots_are_of_the_text(text: &[u8], mode: Mode, statement: &Statement) {
    for key in &statement.keys {
        assert!(key.table < statement.reads.len() && statement.tables_known);
        let written = Literals::read(text, mode);
        let literals = written.written(key).unwrap_or_default();
        let as_written = |literal: &&[u8]| match key.kind {
            LiteralKind::Text => literal.starts_with(b"'") || literal.starts_with(b"\""),
            LiteralKind::Integer => literal.iter().all(u8::is_ascii_digit),
        };
        assert!(!literals.is_empty() && literals.iter().all(as_written), "{literals:?}");
        let values = written.of(key);
        assert!(values.is_none_or(|values| values.len() == literals.len()));
    }
}

/// The shape of a shape is itself, and has the same facts.
fn shape_is_a_fixed_point(text: &[u8], mode: Mode, statement: &Statement) {
    if !mode.lexable || text.len() > crate::limits::COMMAND_ROUTED_BYTES_MAX {
        return;
    }
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    shape::write_shape_plainly(text, mode, &mut twice);
    let hint = shape::write_shape(text, mode, &mut once);
    assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());
    shape::write_shape(&once, mode, &mut twice);
    assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());
    let digest = shape::Keys::new(7).digest(&once, mode, hint);
    assert_eq!(*statement, rule::facts(&twice, mode, hint, digest, Depth::Whole));
}
