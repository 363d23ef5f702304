//! Tmp
use super::*;
#[test]
fn dump() {
    let mut out = String::new();
    for text in std::fs::read_to_string("/tmp/dump.txt").unwrap().lines() {
        let text = text.replace("\\n", "\n").replace("\\\\", "\\");
        let s = facts(text.as_bytes(), Mode::default());
        out += &format!("{text:?}\t{}\t{}\n", line(&s), s.why);
    }
    std::fs::write("/tmp/dump.out", out).unwrap();
}
