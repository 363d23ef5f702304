//! What query attributes cost: nothing, but for clients that have them.
//!
//! A client's connections to servers have them if it has (`backend::dial::SHARED`), so what it says
//! is passed on as it is. Here is the rest: attributes that are longer than what a command is
//! understood from, and a server that cannot take them, which clients are not told about before
//! they log in. Called by `serve` and `run`.

use std::io;
use std::pin::Pin;

use crate::backend::connection::Connection;
use crate::backend::query::COM_QUERY;
use crate::client::relay::Message;
use crate::client::serve::{Conversation, Next};
use crate::limits;
use crate::session::refusal::Refusal;
use crate::wire::attributes;
use crate::wire::capability::Capabilities;

/// Attributes, and as much of a statement as others are understood from.
const READ_BYTES_MAX: usize = limits::ATTRIBUTES_BYTES_MAX + limits::COMMAND_ROUTED_BYTES_MAX;

impl Conversation {
    /// Answers a command that is not understood, or not before more of its attributes is read.
    pub(super) fn answer_unread<'a>(
        &'a mut self,
        message: &'a mut Message<'_>,
    ) -> Pin<Box<dyn Future<Output = io::Result<Next>> + Send + 'a>> {
        Box::pin(async move {
            let is_query = message.bytes.get(limits::PACKET_HEADER_BYTES) == Some(&COM_QUERY);
            if self.capabilities.has(Capabilities::QUERY_ATTRIBUTES) && is_query {
                let known = message.bytes.len();
                let whole = self.gather(message, READ_BYTES_MAX).await?;
                if whole.len() > known {
                    let mut longer = Message { bytes: &whole, rest: message.rest };
                    return self.answer_one(&mut longer).await;
                }
            }
            let is_cut = message.rest.is_some();
            self.drain(message).await?;
            self.refuse(if is_cut { Refusal::TooLarge } else { Refusal::Malformed }).await?;
            Ok(Next::Command)
        })
    }

    /// A statement for a server that cannot take attributes: blanks stand where they stood, so that
    /// no length changes. None: it goes as it came.
    pub(super) fn without_attributes(
        &self,
        server: &Connection,
        message: &Message<'_>,
    ) -> Option<Vec<u8>> {
        let may = |capabilities: Capabilities| capabilities.has(Capabilities::QUERY_ATTRIBUTES);
        if !may(self.capabilities) || may(server.capabilities) {
            return None;
        }
        blanked(message.bytes)
    }
}

/// The command with blanks for attributes; none, if it is no statement as text.
fn blanked(command: &[u8]) -> Option<Vec<u8>> {
    let (head, body) = command.split_at_checked(limits::PACKET_HEADER_BYTES + 1)?;
    if head.last() != Some(&COM_QUERY) {
        return None;
    }
    let (block, text) = attributes::split(body).ok()?;
    let mut blanked = head.to_vec();
    blanked.resize(head.len().saturating_add(block.len()), b' ');
    blanked.extend_from_slice(text);
    Some(blanked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_stand_where_attributes_stood() {
        fn check(command: &[u8], expected: Option<&[u8]>) {
            assert_eq!(blanked(command).as_deref(), expected, "{command:?}");
        }
        check(b"\x0b\0\0\0\x03\0\x01SELECT 1", Some(b"\x0b\0\0\0\x03  SELECT 1"));
        check(b"\x03\0\0\0\x03\0\x01", Some(b"\x03\0\0\0\x03  "));
        let long = b"\xff\xff\xff\0\x03\x01\x01\0\x01\xfe\0\x01n\x01vINSERT";
        check(long, Some(b"\xff\xff\xff\0\x03          INSERT"));
        check(b"\x01\0\0\0\x0e", None);
        check(b"\x09\0\0\0\x16SELECT 1", None);
    }
}
