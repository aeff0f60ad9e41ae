//! What the tests of this crate share.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Datagram, Elapsed, Received, TcpListener, TcpOptions, TcpStream, UdpSocket};
use p2p_sim::{Host, Sim};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SEC: Duration = Duration::from_secs(1);
pub(crate) const PORT: u16 = 7;

pub(crate) type Stream = Box<dyn TcpStream>;

pub(crate) fn options() -> TcpOptions {
    TcpOptions::default()
}

pub(crate) async fn connect(from: &Host, to: &Host) -> io::Result<Stream> {
    dial(from, to.socket(PORT)).await
}

pub(crate) async fn dial(from: &Host, to: SocketAddr) -> io::Result<Stream> {
    from.rt().net().tcp_connect(to, &options()).await
}

pub(crate) fn listen(host: &Host) -> Box<dyn TcpListener> {
    let at = SocketAddr::from(([0, 0, 0, 0], PORT));
    host.rt().net().tcp_listen(at, &options()).unwrap()
}

/// Both ends of a connection.
pub(crate) async fn pair(from: &Host, to: &Host) -> (Stream, Stream) {
    let mut listener = listen(to);
    let dialed = connect(from, to).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (dialed, accepted)
}

/// Echoes everything on [`PORT`] for as long as the host lives.
pub(crate) fn serve_echo(host: &Host) {
    let (mut listener, rt) = (listen(host), host.rt());
    host.spawn("accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let echo = async move {
                let (reader, mut writer) = stream.split();
                let _ = futures::io::copy(reader, &mut writer).await;
                let _ = writer.close().await;
            };
            rt.spawn("echo", Box::pin(echo));
        }
    });
}

pub(crate) async fn echo(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    let mut echo = vec![0; bytes.len()];
    stream.read_exact(&mut echo).await?;
    assert_eq!(echo, bytes);
    Ok(())
}

pub(crate) async fn sleep(host: &Host, duration: Duration) {
    host.rt().sleep(duration).await;
}

/// What `future` gives if it is done in time.
pub(crate) async fn within<T>(
    host: &Host,
    duration: Duration,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    host.rt().timeout(duration, future).await
}

/// How long `future` takes in virtual time.
pub(crate) fn time<T>(sim: &Sim, future: impl Future<Output = T>) -> (T, Duration) {
    let start = sim.now();
    let result = sim.block_on(future);
    (result, sim.now() - start)
}

pub(crate) fn bind(host: &Host, port: u16) -> Arc<dyn UdpSocket> {
    let at = SocketAddr::from(([0, 0, 0, 0], port));
    host.rt().net().udp_bind(at).unwrap()
}

pub(crate) async fn send(
    socket: &Arc<dyn UdpSocket>,
    to: SocketAddr,
    contents: &[u8],
) -> io::Result<()> {
    let datagram = Datagram::new(to, contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await
}

pub(crate) async fn receive(socket: &Arc<dyn UdpSocket>) -> io::Result<(Vec<u8>, Received)> {
    let mut buffer = vec![0; 2000];
    let received = poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await?;
    buffer.truncate(received.len);
    Ok((buffer, received))
}

/// What arrives within `duration`.
pub(crate) async fn receive_for(
    host: &Host,
    socket: &Arc<dyn UdpSocket>,
    duration: Duration,
) -> Vec<Vec<u8>> {
    let until = host.rt().now() + duration;
    let mut all = Vec::new();
    while let Ok(received) = host.rt().timeout_at(until, receive(socket)).await {
        all.push(received.unwrap().0);
    }
    all
}
