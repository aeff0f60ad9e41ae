//! What a hostile client of WebSocket sends, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::time::Duration;

use futures::future::{Either, join, select};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxIo, Link, TcpOptions, Transport, TransportError};
use p2p_sim::Sim;
use p2p_tcp::Tcp;
use p2p_websocket::{Config, WebSocket};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
/// What a client has to send in vain at most before it is refused, in bytes.
const ENOUGH: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_request_without_end_is_refused() {
    let start = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
    let refused = attack(&[start], &[b'a'; 512]).unwrap_err();
    assert!(matches!(refused, TransportError::Handshake(_)), "{refused}");
}

#[test]
fn headers_without_end_are_refused() {
    let refused = attack(&[b"GET / HTTP/1.1\r\n"], b"X: a\r\n").unwrap_err();
    assert!(matches!(refused, TransportError::Handshake(_)), "{refused}");
}

#[test]
fn a_message_that_claims_more_than_is_allowed_is_refused_by_its_length() {
    let long = [&[0x82, 0xff][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let error = attack(&[UPGRADE, &long], &[]).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_message_in_frames_without_end_is_refused() {
    // The first of many, and then ones that go on: none is the last.
    let first = [0x02, 0x80, 0, 0, 0, 0];
    let more = [&[0x00, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &[7; 0x4000]].concat();
    let error = attack(&[UPGRADE, &first], &more).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_message_of_text_is_refused() {
    let text = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    let error = attack(&[UPGRADE, &text], &[]).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
}

/// Says the parts of `said`, each but the first after an answer, and then `forever` again and
/// again; returns what the upgrade came to, and the error that reading behind it came to.
fn attack(said: &[&[u8]], forever: &[u8]) -> Result<std::io::Error, TransportError> {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let tcp = Tcp::new(far.rt(), p2p_tcp::Config::default());
        let ws = WebSocket::new(tcp, Config::default()).unwrap();
        let at = format!("/ip4/{}/tcp/80/ws", far.ip()).parse().unwrap();
        let mut listener = ws.listen(at).await.unwrap();
        let rt = near.rt();
        let connect = rt.net().tcp_connect(far.socket(80), &TcpOptions::default());
        let (stream, incoming) = join(connect, listener.accept()).await;
        let (mut reader, mut writer) = stream.unwrap().split();
        let talk = async {
            for (n, part) in said.iter().enumerate() {
                if n > 0 {
                    reader.read_exact(&mut [0; 64]).await?;
                }
                writer.write_all(part).await?;
            }
            let mut sent = 0;
            while !forever.is_empty() {
                assert!(sent < ENOUGH, "taken without end");
                writer.write_all(forever).await?;
                writer.flush().await?;
                rt.sleep(Duration::from_millis(1)).await;
                sent += forever.len();
            }
            // Whatever comes back: it does not hang up by itself.
            reader.read_to_end(&mut Vec::new()).await?;
            std::future::pending::<std::io::Result<()>>().await
        };
        let serve = async {
            let Link::Raw(mut io) = incoming.unwrap().link.await? else {
                panic!("a raw link");
            };
            Ok(read_out(&mut io).await)
        };
        let rt = far.rt();
        let serve = rt.timeout(PATIENCE, serve);
        match select(Box::pin(serve), Box::pin(keep_on(talk))).await {
            Either::Left((served, _)) => served.expect("in time"),
            Either::Right(((), _)) => panic!("it was given up"),
        }
    })
}

/// Goes on when nobody listens any more.
async fn keep_on(talk: impl Future<Output = std::io::Result<()>>) {
    let _ = talk.await;
    std::future::pending().await
}

async fn read_out(io: &mut BoxIo) -> std::io::Error {
    let mut buffer = [0; 1024];
    loop {
        match io.read(&mut buffer).await {
            Ok(0) => panic!("a clean end"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
