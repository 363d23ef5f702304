//! One TCP address before several servers, in turn; and servers that speak nonsense.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

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
                while io::Read::read(&mut client, &mut block)? > 0 {
                    client.write_all(&then)?;
                }
                Ok(())
            });
        }
    });
    address
}
