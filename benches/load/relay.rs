//! A blind TCP relay on tokio: what any proxy built on it costs at the least.
//!
//!     relay --listen 127.0.0.1:PORT --to HOST:PORT [--threads 1]

mod packet;

use std::io;
use tokio::net::{TcpListener, TcpStream};

async fn carry(mut client: TcpStream, to: String) -> io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

fn main() -> io::Result<()> {
    let arguments = packet::Arguments::read();
    let to: String = arguments.value("to", "127.0.0.1:3306".to_owned());
    let listen: String = arguments.value("listen", "127.0.0.1:0".to_owned());
    rlimit::increase_nofile_limit(u64::MAX)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.value("threads", 1))
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        // accepted on a worker, as a proxy would, not on the thread that waits here
        tokio::spawn(async move {
            let listener = TcpListener::bind(listen).await?;
            loop {
                let (client, _) = listener.accept().await?;
                tokio::spawn(carry(client, to.clone()));
            }
        })
        .await?
    })
}
