//! Finds the end of a reply in bytes as they come, without keeping them: of a classic result, or of
//! a lone OK. Used by weigh only.

const CHUNK_BYTES_MAX: usize = 0xff_ffff;

/// How far a reply has come.
#[derive(Default)]
pub(crate) struct Ends {
    /// Header and first byte of the packet that comes next, as far as they are there.
    head: Vec<u8>,
    /// Bytes missing of the packet under way.
    left: usize,
    /// That packet goes on in the next one, which has no type of its own.
    continues: bool,
    packets: u64,
    eofs: u32,
}

impl Ends {
    /// True when the reply is over. An error of the server's is an error.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, String> {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let (_, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= bytes.len() - rest.len();
                bytes = rest;
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            let [a, b, c, _, rest @ ..] = self.head.as_slice() else { continue };
            let len = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
            let kind = rest.first().copied();
            if len > 0 && kind.is_none() {
                continue;
            }
            let is_begin = !std::mem::replace(&mut self.continues, len == CHUNK_BYTES_MAX);
            self.head.clear();
            self.left = len.saturating_sub(1);
            self.packets += 1;
            match kind {
                Some(0xff) if is_begin => {
                    return Err(String::from_utf8_lossy(bytes).into_owned());
                }
                Some(0) if is_begin && self.packets == 1 => return Ok(true),
                Some(0xfe) if is_begin && len < 9 => self.eofs += 1,
                _ => {}
            }
            if self.eofs == 2 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
