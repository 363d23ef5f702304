//! One TCP address before several servers, in turn; servers that forget, servers that say
//! too much, and servers that speak nonsense.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use forebay::wire::capability::Capabilities;
use forebay::wire::frame::write_packet;
use forebay::wire::handshake::Greeting;

/// Listens, and carries each connection to the next server. Gives its address.
pub(crate) fn balance(servers: &[&str]) -> String {
    let servers: Vec<String> = servers.iter().map(|&server| server.to_owned()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for (client, server) in listener.incoming().zip(servers.iter().cycle()) {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { continue };
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || carry(from, to));
            thread::spawn(move || carry(server, client));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _broken_or_done = io::copy(&mut from, &mut to);
    let _gone = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

/// Listens before one server, which has every second time forgotten the prepared statement that
/// it is to execute. Speaks no TLS. Gives its address.
pub(crate) fn forget(server: &str) -> String {
    before(server, |client, server| {
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || carry_commands(from, to));
        thread::spawn(move || carry(server, client));
    })
}

/// Listens before a MySQL 5.6, which seems to be a 5.7 from there. Gives its address.
pub(crate) fn one_later(server: &str) -> String {
    before(server, |client, mut server| {
        let mut greeting = [0; 8];
        if server.read_exact(&mut greeting).is_err() {
            return;
        }
        // Behind the header and the protocol's version.
        assert_eq!(greeting.get(5..), Some(&b"5.6"[..]));
        greeting[7] = b'7';
        let mut to = client.try_clone().unwrap();
        let _gone_or_told = to.write_all(&greeting);
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || carry(from, to));
        thread::spawn(move || carry(server, client));
    })
}

/// Listens before one server. Gives its address.
fn before(server: &str, mut serve: impl FnMut(TcpStream, TcpStream) + Send + 'static) -> String {
    let server = server.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { continue };
            serve(client, server);
        }
    });
    address
}

/// Closes a statement in front of every second COM_STMT_EXECUTE.
fn carry_commands(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut executed = 0;
    loop {
        let mut header = [0; 4];
        let read = from.read_exact(&mut header);
        if read.is_err() {
            let _gone = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return read;
        }
        let [a, b, c, sequence] = header;
        let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
        from.read_exact(&mut payload)?;
        let mut packet = Vec::new();
        if sequence == 0 && payload.first() == Some(&0x17) {
            executed += 1;
            if executed % 2 == 0 {
                packet.extend_from_slice(&[5, 0, 0, 0, 0x19]);
                packet.extend_from_slice(&payload[1..5]);
            }
        }
        packet.extend_from_slice(&header);
        packet.extend_from_slice(&payload);
        to.write_all(&packet)?;
    }
}

/// Listens before one server, which says one OK more than it was asked for behind the answer to
/// whatever holds `mark`. Speaks no TLS. Gives its address.
pub(crate) fn chatter(server: &str, mark: &'static [u8]) -> String {
    before(server, move |client, server| carry_chatting(client, server, mark))
}

fn carry_chatting(client: TcpStream, server: TcpStream, mark: &'static [u8]) {
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let is_marked = Arc::new(AtomicBool::new(false));
    let marks = Arc::clone(&is_marked);
    thread::spawn(move || {
        carry_blocks(from, to, |block| {
            let found = block.windows(mark.len()).any(|part| part == mark);
            marks.fetch_or(found, Ordering::SeqCst);
        })
    });
    thread::spawn(move || {
        carry_blocks(server, client, |block| {
            if is_marked.swap(false, Ordering::SeqCst) {
                block.extend_from_slice(&[7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
            }
        })
    });
}

/// Answers here are short: each comes in one block.
fn carry_blocks(
    mut from: TcpStream,
    mut to: TcpStream,
    mut look: impl FnMut(&mut Vec<u8>),
) -> io::Result<()> {
    let mut block = [0; 16 * 1024];
    loop {
        let read = from.read(&mut block).unwrap_or(0);
        if read == 0 {
            let _gone = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return Ok(());
        }
        let mut block = block[..read].to_vec();
        look(&mut block);
        to.write_all(&block)?;
    }
}

/// Listens before one server. Gives its address, and what has the server do without query
/// attributes: then it greets so, and connections of before are cut.
pub(crate) fn downgrade(server: &str) -> (String, impl FnOnce() + use<>) {
    let state = Arc::new(Mutex::new((false, Vec::new())));
    let shared = Arc::clone(&state);
    let address = before(server, move |mut client, mut server| {
        let mut state = shared.lock().unwrap();
        if state.0 && greet_without(&mut server, &mut client).is_err() {
            return;
        }
        state.1.push(server.try_clone().unwrap());
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || carry(from, to));
        thread::spawn(move || carry(server, client));
    });
    let change = move || {
        let mut state = state.lock().unwrap();
        state.0 = true;
        for server in state.1.drain(..) {
            let _gone = server.shutdown(Shutdown::Both);
        }
    };
    (address, change)
}

fn greet_without(server: &mut TcpStream, client: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; 4];
    server.read_exact(&mut header)?;
    let mut payload = vec![0; usize::from(header[0])];
    server.read_exact(&mut payload)?;
    let mut greeting = Greeting::parse(&payload).expect("a greeting");
    greeting.capabilities = greeting.capabilities.without(Capabilities::QUERY_ATTRIBUTES);
    let mut packet = Vec::new();
    greeting.encode(&mut packet);
    let mut out = Vec::new();
    write_packet(&mut out, 0, &packet);
    client.write_all(&out)
}

/// Listens, and answers everybody with these bytes, whatever he says. Gives its address.
pub(crate) fn babble(first: Vec<u8>, then: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (first, then) = (first.clone(), then.clone());
            thread::spawn(move || -> io::Result<()> {
                client.write_all(&first)?;
                let mut block = [0; 4096];
                while client.read(&mut block)? > 0 {
                    client.write_all(&then)?;
                }
                Ok(())
            });
        }
    });
    address
}
