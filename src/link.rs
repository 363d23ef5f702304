//! Where bytes come from and go to: one stream type over TCP, Unix sockets, TLS and memory.
//!
//! It knows packets only as far as a login needs them ([`exchange`]); what they mean is for
//! `client` (which speaks to PHP) and `backend` (which speaks to MySQL). Both call it; nobody
//! else opens a socket but the admin pages.

pub mod bell;
pub mod exchange;
pub mod network;
pub mod proxy_header;
pub mod range;
pub mod stream;
pub mod tls;

pub use bell::Bell;
pub use exchange::{Exchange, ExchangeError};
pub use network::{Memory, Network};
pub use range::AddressRange;
pub use stream::Stream;
