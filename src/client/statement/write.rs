//! Writes a command for the server's number of a statement, with what that server has not heard yet:
//! types of parameters, long data, statements to close. Called by `statement` alone.

use super::{Call, Unready};
use crate::backend::pool::Lease;
use crate::client::relay::Message;
use crate::client::serve::Conversation;
use crate::limits;
use crate::session::execute::Spoken;
use crate::session::prepared::Source;
use crate::session::refusal::Refusal;
use crate::wire::frame::Header;
use crate::wire::prepared::{ExecuteHead, Form, put_long_data};

impl Conversation {
    /// The command with the server's number in it, and in front of it what has to be said first.
    pub(super) fn write_call(
        &self,
        call: &mut Call,
        lease: &mut Lease,
        message: &Message<'_>,
    ) -> Result<(), Unready> {
        call.bytes.clear();
        lease.statements.put_closes(&mut call.bytes);
        let Some(server_id) = call.server_id else {
            call.bytes.extend_from_slice(message.bytes);
            return Ok(());
        };
        let Some((_, known)) = self.session.prepared().find(call.id, self.session.mode().flavour)
        else {
            return Err(Unready::Answer(Refusal::UnknownStatement.packet()));
        };
        if matches!(call.spoken, Spoken::Execute { .. } | Spoken::LongData) {
            for (param, data) in &known.long_data {
                put_long_data(&mut call.bytes, server_id, *param, data);
            }
        }
        if !matches!(call.spoken, Spoken::Execute { .. }) {
            // Header, the command's byte, the number.
            let (head, rest) = message.bytes.split_at_checked(9).unwrap_or_default();
            call.bytes.extend_from_slice(head.get(..5).unwrap_or_default());
            call.bytes.extend_from_slice(&server_id.to_le_bytes());
            call.bytes.extend_from_slice(rest);
            return Ok(());
        }
        let is_told = match &call.source {
            Source::Text(blueprint) => lease.statements.has_types(blueprint, &known.types),
            Source::Long(_) => false,
        };
        let types = Types { all: &known.types, is_told };
        let forms = [self.capabilities, lease.capabilities].map(Form::of);
        let written = put_execute(&mut call.bytes, message.bytes, server_id, types, forms);
        written.map_err(|refusal| Unready::Answer(refusal.packet()))
    }
}

/// The types of a statement's parameters, two bytes each, and whether its server knows them.
#[derive(Clone, Copy)]
struct Types<'a> {
    all: &'a [u8],
    is_told: bool,
}

/// Appends an EXECUTE as it was read, with the server's number and with the types of its
/// parameters; without its attributes if the server takes none. A packet that is full must keep its
/// length: there the types must have been told before.
fn put_execute(
    out: &mut Vec<u8>,
    message: &[u8],
    server_id: u32,
    types: Types<'_>,
    [from, to]: [Form; 2],
) -> Result<(), Refusal> {
    let header = Header::parse(message).ok_or(Refusal::Malformed)?;
    let payload = message.get(limits::PACKET_HEADER_BYTES..).unwrap_or_default();
    let body = payload.get(5..).unwrap_or_default();
    let params = u16::try_from(types.all.len() / 2).unwrap_or(u16::MAX);
    let parsed = ExecuteHead::parse(body, params, from);
    let (head, values) = parsed.map_err(|_| Refusal::WrongArguments)?;
    let is_known = from == to && (head.is_told() || types.is_told);
    let read = payload.len().saturating_sub(values.len());
    let begins = out.len();
    for head in [Some(head.clone().retold(types.all, to)), is_known.then_some(head)] {
        let Some(head) = head else { break };
        out.truncate(begins);
        out.extend_from_slice(&header.encode());
        head.write(out, server_id);
        let written = out.len().saturating_sub(begins + limits::PACKET_HEADER_BYTES);
        let len = header.len.saturating_sub(read).saturating_add(written);
        let may_change = !header.continues() && len < limits::PACKET_CHUNK_BYTES_MAX;
        if len != header.len && !may_change {
            continue;
        }
        if let Some(place) = out.get_mut(begins..begins + limits::PACKET_HEADER_BYTES) {
            place.copy_from_slice(&Header { len, ..header }.encode());
        }
        out.extend_from_slice(values);
        return Ok(());
    }
    out.truncate(begins);
    Err(if from == to { Refusal::NeedsPreparing } else { Refusal::TooLarge })
}
