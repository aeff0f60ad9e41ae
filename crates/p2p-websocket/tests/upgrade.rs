//! What the HTTP upgrade says and does not say, and what reading costs afterwards.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, join};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_core::{
    BoxIo, Dialed, Link, Listener, Multiaddr, PeerId, TcpOptions, Transport, TransportError,
};
use p2p_sim::{Host, Sim};
use p2p_tcp::Tcp;
use p2p_websocket::{Config, WebSocket};

fn tcp(host: &Host) -> Tcp {
    Tcp::new(host.rt(), p2p_tcp::Config::default())
}

fn over(below: impl Transport) -> WebSocket {
    WebSocket::new(below, Config::default()).unwrap()
}

fn bytes(link: Link) -> BoxIo {
    let Link::Raw(io) = link else {
        panic!("a raw link");
    };
    io
}

/// Reads up to the empty line that ends the headers.
async fn headers(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io.read_exact(&mut byte).await.unwrap();
        read.extend(byte);
    }
    String::from_utf8(read).unwrap().to_ascii_lowercase()
}

/// What somebody hears who listens at `port` when we dial 10.0.0.2 with this behind it.
fn request(port: u16, behind: &str) -> String {
    let sim = Sim::new(1);
    let near = sim.host("near");
    let far = sim.host_at("far", [std::net::Ipv4Addr::new(10, 0, 0, 2)]);
    sim.block_on(async {
        let rt = far.rt();
        let options = TcpOptions::default();
        let mut listener = rt.net().tcp_listen(far.socket(port), &options).unwrap();
        let to = format!("/ip4/10.0.0.2/tcp/{port}{behind}").parse().unwrap();
        let hear = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            headers(&mut stream).await
        };
        // The listener leaves: the dial ends, too.
        join(over(tcp(&near)).dial(to, None), hear).await.1
    })
}

#[test]
fn the_request_names_the_host_that_was_dialed_and_no_usual_port() {
    for (port, behind, host) in [
        (80, "/ws", "10.0.0.2"),
        (81, "/ws", "10.0.0.2:81"),
        (80, "/sni/a.example/ws", "a.example"),
        (4001, "/sni/a.example/ws", "a.example:4001"),
    ] {
        let request = request(port, behind);
        let line = format!("\r\nhost: {host}\r\n");
        assert!(request.contains(&line), "{request}");
    }
}

#[test]
fn nobody_listens_at_the_name_of_a_plain_address() {
    let sim = Sim::new(1);
    let ws = over(tcp(&sim.host("us")));
    let at: Multiaddr = "/ip4/127.0.0.1/tcp/80/sni/a.example/ws".parse().unwrap();
    assert!(ws.supports(&at));
    let refused = sim.block_on(ws.listen(at)).err().unwrap();
    assert!(matches!(refused, TransportError::Unsupported { .. }));
}

#[test]
fn compression_is_neither_offered_nor_accepted_and_what_is_compressed_is_refused() {
    assert!(!request(80, "/ws").contains("extensions"));

    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let at = format!("/ip4/{}/tcp/80/ws", far.ip()).parse().unwrap();
        let mut listener = over(tcp(&far)).listen(at).await.unwrap();
        let serve = async {
            let mut io = bytes(listener.accept().await.unwrap().link.await.unwrap());
            io.read(&mut [0; 16]).await.unwrap_err()
        };
        let ask = async {
            let options = TcpOptions::default();
            let rt = near.rt();
            let stream = rt.net().tcp_connect(far.socket(80), &options).await;
            let mut stream = stream.unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let response = headers(&mut stream).await;
            // The end of a binary message, with the bit that says it is compressed.
            let compressed = [0xc2, 0x82, 0, 0, 0, 0, 1, 2];
            stream.write_all(&compressed).await.unwrap();
            (response, stream)
        };
        let (refused, (response, _stream)) = join(serve, ask).await;
        assert!(response.starts_with("http/1.1 101 "), "{response}");
        assert!(!response.contains("extensions"), "{response}");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
    });
}

/// TCP that notes how much is asked of a dialed connection at once.
#[derive(Clone, Debug)]
struct Watched {
    below: Tcp,
    most: Arc<AtomicUsize>,
}

struct WatchedIo {
    below: BoxIo,
    most: Arc<AtomicUsize>,
}

impl AsyncRead for WatchedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.most.fetch_max(buffer.len(), Ordering::Relaxed);
        Pin::new(&mut self.below).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WatchedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_close(cx)
    }
}

impl Transport for Watched {
    fn supports(&self, addr: &Multiaddr) -> bool {
        self.below.supports(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let watched = self.clone();
        Box::pin(async move {
            let Dialed { link, local } = watched.below.dial(addr, expect).await?;
            let (below, most) = (bytes(link), watched.most);
            let link = Link::Raw(Box::new(WatchedIo { below, most }));
            Ok(Dialed { link, local })
        })
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        self.below.listen(addr)
    }
}

#[test]
fn a_connection_reads_with_a_buffer_of_16_kib_whatever_comes() {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    let most = Arc::new(AtomicUsize::new(0));
    let watched = Watched {
        below: tcp(&near),
        most: most.clone(),
    };
    sim.block_on(async {
        let at = format!("/ip4/{}/tcp/80/ws", far.ip()).parse::<Multiaddr>();
        let at = at.unwrap();
        let mut listener = over(tcp(&far)).listen(at.clone()).await.unwrap();
        let said = vec![7; 300_000];
        let say = async {
            let mut io = bytes(listener.accept().await.unwrap().link.await.unwrap());
            io.write_all(&said).await.unwrap();
            io.close().await.unwrap();
        };
        let hear = async {
            let mut io = bytes(over(watched).dial(at, None).await.unwrap().link);
            let mut heard = Vec::new();
            io.read_to_end(&mut heard).await.unwrap();
            heard
        };
        assert_eq!(join(say, hear).await.1, said);
    });
    assert_eq!(most.load(Ordering::Relaxed), 16 << 10);
}
