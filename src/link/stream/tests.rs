//! Every kind of stream behaves the same to who waits, peeks, reads and writes.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::link::tls::{self, BackendTls, Certificate, Mode};

async fn tcp() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Stream::from_tcp(near.unwrap()).unwrap(), Stream::from_tcp(far.unwrap().0).unwrap())
}

fn memory() -> (Stream, Stream) {
    let (near, far) = duplex(4096);
    (near.into(), far.into())
}

async fn secured((near, far): (Stream, Stream)) -> (Stream, Stream) {
    let server = tls::server_config(&Certificate::SelfSigned(vec!["forebay".into()])).unwrap();
    let client = BackendTls::unverified(Mode::Required).unwrap();
    let (near, far) =
        tokio::join!(tls::connect(near, &client, "db:3306"), tls::accept(far, server, b""));
    (near.unwrap(), far.unwrap())
}

async fn is_closed(stream: &mut Stream) -> bool {
    tokio::time::timeout(Duration::from_millis(20), stream.closed()).await.is_ok()
}

/// Says something in pieces and looks at what the other side sees.
async fn check((mut near, mut far): (Stream, Stream)) {
    let mut buffer = [0; 8];
    assert!(!near.is_readable_now());
    assert_eq!(near.try_read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

    far.write_all(b"abc").await.unwrap();
    far.flush().await.unwrap();
    near.readable().await.unwrap();
    assert!(near.is_readable_now());
    near.readable().await.unwrap();
    assert_eq!(near.try_read(&mut buffer).unwrap(), 3, "nothing was lost by looking");
    assert_eq!(&buffer[..3], b"abc");
    assert!(!near.is_readable_now());

    let slices = [IoSlice::new(b"de"), IoSlice::new(b"f")];
    assert!(far.is_write_vectored());
    assert_eq!(far.write_vectored(&slices).await.unwrap(), 3);
    far.flush().await.unwrap();
    near.read_exact(&mut buffer[..3]).await.unwrap();
    assert_eq!(&buffer[..3], b"def");

    assert!(!is_closed(&mut near).await, "it says nothing");
    far.write_all(b"g").await.unwrap();
    far.flush().await.unwrap();
    near.readable().await.unwrap();
    assert!(!is_closed(&mut near).await, "it says something");
    near.read_exact(&mut buffer[..1]).await.unwrap();
    assert_eq!(&buffer[..1], b"g");

    far.shutdown().await.unwrap();
    drop(far);
    near.closed().await;
    near.readable().await.unwrap();
    assert!(near.is_readable_now(), "a dead connection is readable");
    assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn every_kind_of_stream_waits_peeks_and_moves_bytes() {
    check(tcp().await).await;
    check(UnixStream::pair().map(|(a, b)| (a.into(), b.into())).unwrap()).await;
    check(memory()).await;
    check(secured(tcp().await).await).await;
    check(secured(memory()).await).await;
}

#[tokio::test]
async fn only_tls_and_unix_sockets_are_private() {
    let unix: Stream = UnixStream::pair().unwrap().0.into();
    let (client, server) = secured(memory()).await;
    assert!(unix.is_private() && client.is_private() && server.is_private());
    assert!(client.is_tls() && server.is_tls() && !unix.is_tls());
    assert!(!tcp().await.0.is_private() && !memory().0.is_private());
}
