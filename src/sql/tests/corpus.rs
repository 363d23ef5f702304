//! The fuzz corpus, replayed, and cut short at every byte.

use crate::sql::probe;

fn corpus() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/classify");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn corpus_keeps_the_properties() {
    let corpus = corpus();
    assert!(corpus.len() > 300, "{} files", corpus.len());
    for bytes in corpus {
        probe::classify(&bytes);
    }
}

#[test]
fn half_a_statement_keeps_the_properties() {
    for mut bytes in corpus() {
        bytes.truncate(200);
        while bytes.len() > 1 {
            bytes.pop();
            probe::classify(&bytes);
        }
    }
}
