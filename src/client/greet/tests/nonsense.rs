//! Clients that are none: half packets, wrong ones, other protocols, silence. An error where there
//! is somebody to tell, and an end.

use super::*;

#[tokio::test]
async fn nonsense_is_answered_and_ends_there() {
    let house = house(Policy::default());
    let old = [0x85, 0x01, 0, 0, 0, b'u', 0];
    let whole = {
        let client = Client {
            stream: duplex(1).0.into(),
            exchange: Exchange::with_server(),
            nonce: [1; 20],
        };
        client.response("u", CACHING_SHA2, vec![7; 32])
    };
    let mut payloads = vec![(Vec::new(), "1043"), (old.to_vec(), "1043"), (vec![255; 70], "1043")];
    for len in [4, 20, 31, 32, 33, 40, whole.len() - 25] {
        payloads.push((whole[..len].to_vec(), "1043"));
    }
    for (payload, code) in payloads {
        let (served, heard) = house
            .speak(async |client| {
                client.greeting().await;
                client.say(&payload).await
            })
            .await;
        assert!(heard.starts_with(code), "{payload:?}: {heard}");
        assert!(served.starts_with("refused"), "{served}");
    }
}

/// What the client hears for raw bytes, header and all, and how the server's side ended.
async fn check_raw(house: &House, bytes: &[u8], expected: (&str, &str)) {
    let (served, heard) = house
        .speak(async |client| {
            client.greeting().await;
            client.stream.write_all(bytes).await.unwrap();
            client.stream.shutdown().await.unwrap();
            client.hear().await
        })
        .await;
    assert!(heard.starts_with(expected.0) && served.contains(expected.1), "{heard} / {served}");
}

#[tokio::test]
async fn half_and_wrong_packets() {
    let house = house(Policy::default());
    let mut smuggled = vec![32, 0, 0, 1];
    write_ssl_request(&mut smuggled, CLASSIC.with(Capabilities::SSL), 1 << 24, 45);
    let request = smuggled.clone();
    smuggled.extend_from_slice(&[60, 0, 0, 2]);
    smuggled.extend_from_slice(&[0x85; 60]);
    check_raw(&house, b"", ("closed", "closed")).await;
    check_raw(&house, b"\x20\0", ("closed", "closed")).await;
    check_raw(&house, b"\x20\0\0\x01abc", ("closed", "closed")).await;
    check_raw(&house, &request, ("closed", "tls")).await;
    check_raw(&house, &smuggled, ("closed", "tls")).await;
    check_raw(&house, b"\xff\xff\xff\x01", ("1153", "refused")).await;
    check_raw(&house, b"\x01\0\x01\x01", ("1153", "refused")).await;
    check_raw(&house, b"\x01\0\0\x07x", ("1156", "refused")).await;
    // Nobody was asked for a PROXY header here.
    check_raw(&house, b"PROXY TCP4 10.1.2.3 10.9.9.9 1 2\r\n", ("1153", "refused")).await;
    check_raw(&house, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", ("1153", "refused")).await;
    check_raw(&house, b"GET / HTTP/1.1\r\nHost: db\r\n\r\n", ("1153", "refused")).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_dropped_in_time() {
    let house = house(Policy::default());
    let (_near, far) = duplex(4096);
    let started = Instant::now();
    let served = house.serve(far.into()).await;
    assert!(matches!(served, Err(GreetError::TimedOut)));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}
