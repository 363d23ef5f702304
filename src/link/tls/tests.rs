//! TLS set-up and its refusals.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn server() -> Arc<ServerConfig> {
    server_config(&Certificate::SelfSigned(vec!["localhost".into()])).unwrap()
}

#[tokio::test]
async fn bytes_read_too_early_belong_to_tls() {
    let (near, far) = duplex(64 * 1024);
    let client = BackendTls::unverified(Mode::Required).unwrap();
    let speaking = tokio::spawn(async move {
        let mut tls = connect(near.into(), &client, "127.0.0.1:3306").await.unwrap();
        tls.write_all(b"hello").await.unwrap();
        tls.flush().await.unwrap();
        tls
    });
    let mut far: Stream = far.into();
    far.readable().await.unwrap();
    let mut early = vec![0; 16];
    let read = far.read(&mut early).await.unwrap();
    let mut tls = accept(far, server(), early.get(..read).unwrap()).await.unwrap();
    let mut heard = [0; 5];
    tls.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    drop(speaking.await.unwrap());
}

#[tokio::test]
async fn clear_text_behind_the_request_for_tls_fails_the_handshake() {
    for early in [&b"\x01\x00\x00\x02\x0e"[..], &[0x85; 300], b"GET / HTTP/1.1\r\n\r\n"] {
        let (near, far) = duplex(4096);
        drop(near);
        assert!(accept(far.into(), server(), early).await.is_err());
    }
}

#[test]
fn a_wrong_file_is_named() {
    let check = |chain: &str, expected: &str| {
        let files = Certificate::Files { chain: chain.into(), key: "/no/key.pem".into() };
        let error = server_config(&files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("/no/chain.pem", "/no/chain.pem");
    check("/dev/null", "/dev/null: no certificate in it");
}

#[test]
fn files_are_read() {
    let folder = std::env::temp_dir().join(format!("forebay-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let read = server_config(&Certificate::Files { chain, key });
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(read.is_ok());
}
