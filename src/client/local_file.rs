//! LOAD DATA LOCAL: a server asks for a file, and the client sends it, packet by packet.
//!
//! Only the client's own file, and only once for a statement that was seen to be a LOAD DATA LOCAL:
//! a server that asks at any other time is left (`session::observe`). Called by `client::relay`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_local_infile_request.html

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::client::patience::write_to;
use crate::client::read::PARTIAL_PACKET_WAIT;
use crate::client::relay::{Broken, Exchange};
use crate::client::serve::Conversation;
use crate::limits;
use crate::sql::{Effects, Statement, Verb};
use crate::wire::capability::Capabilities;
use crate::wire::frame::{Header, write_packet};

/// The first byte of a request for a file.
const REQUEST: u8 = 0xfb;

impl Conversation {
    /// Whether a server would ask for a file that it may not have. It would wait for it, and its
    /// connection would be lost with all that is on it.
    pub(super) fn lacks_file(&self, it: &Statement) -> bool {
        it.effects.has(Effects::LOAD_LOCAL)
            && self.house.fleet.ways.local_infile
            && !may_be_asked_for(it, self.capabilities)
    }
}

/// Whether a server may ask this client for a file, to run this statement.
pub(super) fn may_be_asked_for(it: &Statement, client: Capabilities) -> bool {
    client.has(Capabilities::LOCAL_FILES)
        && it.verb == Verb::Load
        && it.effects.has(Effects::LOAD_LOCAL)
        && it.statements == 1
}

impl Exchange<'_> {
    /// Hands the client the request, which is all that came so far, and the server the file.
    pub(super) async fn carry_file(&mut self) -> Result<(), Broken> {
        self.asks_file = false;
        let mut block = std::mem::take(&mut self.buffers.inbound);
        block.clear();
        // The walker gathered the request: it may have come in pieces.
        let request = [&[REQUEST], self.walker.infile_name()].concat();
        write_packet(&mut block, self.walker.sequence(), &request);
        write_to(self.client, &block, self.seat).await.map_err(|_| Broken::Client)?;
        block.clear();
        let mut server_lost = false;
        let mut packets: u64 = 0;
        let mut continues = false;
        loop {
            let header = self.read_header(&mut block).await.map_err(|_| Broken::Client)?;
            packets = packets.wrapping_add(1);
            // Wherever it breaks off, an ERR of ours follows the client's last packet.
            *self.begins = header.sequence.wrapping_add(1);
            let mut left = header.len;
            loop {
                if !server_lost {
                    server_lost = self.server.stream.write_all(&block).await.is_err();
                }
                block.clear();
                if left == 0 {
                    break;
                }
                left -= self.read_some(left, &mut block).await.map_err(|_| Broken::Client)?;
            }
            // An empty packet ends the file, unless it ends a packet of several chunks.
            if header.len == 0 && !continues {
                break;
            }
            continues = header.continues();
        }
        // A server that is lost may have said why: then that is read next.
        let _flushed = self.server.stream.flush().await;
        self.buffers.inbound = block;
        self.walker.resume_after_infile(packets);
        Ok(())
    }

    async fn read_header(&mut self, block: &mut Vec<u8>) -> io::Result<Header> {
        let mut bytes = [0; limits::PACKET_HEADER_BYTES];
        timeout(PARTIAL_PACKET_WAIT, self.client.read_exact(&mut bytes)).await??;
        block.extend_from_slice(&bytes);
        Header::parse(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Some bytes of a packet, at most so many.
    async fn read_some(&mut self, left: usize, block: &mut Vec<u8>) -> io::Result<usize> {
        let len = left.min(limits::SLAB_BYTES);
        block.reserve(len);
        let mut rest = (&mut *self.client).take(len as u64);
        match timeout(PARTIAL_PACKET_WAIT, rest.read_buf(block)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}
