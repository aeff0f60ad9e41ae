//! Sockets and timers of async-std and smol: both stand on the reactor of async-io.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{self, IpAddr, Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::unix::net as unix;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures::future::{self, BoxFuture, FutureExt, TryFutureExt};
use futures::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use p2p_core::{BoxIo, UnixListener};
use p2p_core::{
    Datagram, Instant, Interface, Net, Received, TcpListener, TcpOptions, TcpStream, Timer,
    UdpOptions, UdpSocket,
};
use socket2::SockRef;

use crate::datagram::Bulk;
use crate::readiness::Direction;
use crate::timer::{Alarm, LazyTimer};
use crate::{datagram, names, socket};

pub(crate) fn timer(at: Instant) -> Box<dyn Timer> {
    Box::new(LazyTimer::new(at, async_io::Timer::at))
}

impl Alarm for async_io::Timer {
    fn set(&mut self, at: std::time::Instant) {
        self.set_at(at);
    }
}

/// The network through async-io.
#[derive(Debug)]
pub(crate) struct Sockets;

impl Net for Sockets {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        let options = options.clone();
        async move {
            let io = Async::new_nonblocking(socket::start_connect(to, &options)?)?;
            io.write_with(|stream| socket::connected(SockRef::from(stream)))
                .await?;
            Ok(Box::new(Stream::new(io)) as Box<dyn TcpStream>)
        }
        .boxed()
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        let io = Async::new_nonblocking(socket::listen(at, options)?)?;
        let nodelay = options.nodelay;
        Ok(Box::new(Listener { io, nodelay }))
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.udp_open(at, &UdpOptions::default())
    }

    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        let socket = socket::udp(at, options)?;
        Ok(Arc::new(Udp {
            bulk: Bulk::new(&socket, options)?,
            io: Async::new_nonblocking(socket)?,
            reading: Direction::new(),
            writing: Direction::new(),
        }))
    }

    #[cfg(unix)]
    fn unix_connect(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxIo>> {
        let connected = socket::unix_connect(path).and_then(Async::new_nonblocking);
        future::ready(connected.map(|io| Box::new(Stream::new(io)) as BoxIo)).boxed()
    }

    #[cfg(unix)]
    fn unix_listen(&self, path: &Path, backlog: u32) -> io::Result<Box<dyn UnixListener>> {
        let io = Async::new_nonblocking(socket::unix_listen(path, backlog)?)?;
        Ok(Box::new(LocalListener(io)))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        names::resolve(host)
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        names::interface_addrs()
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        names::interfaces()
    }
}

struct Stream<S> {
    io: Async<S>,
    reading: Direction,
    writing: Direction,
}

impl<S> Stream<S> {
    fn new(io: Async<S>) -> Self {
        Self {
            io,
            reading: Direction::new(),
            writing: Direction::new(),
        }
    }
}

/// A socket whose directions end one by one.
trait EndWriting {
    fn end_writing(&self) -> io::Result<()>;
}

impl EndWriting for net::TcpStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl EndWriting for unix::UnixStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl<S> AsyncRead for Stream<S>
where
    for<'a> &'a S: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let io = &self.io;
        let read = || io.get_ref().read(buffer);
        self.reading.poll(cx, |cx| io.poll_readable(cx), read)
    }
}

impl<S: EndWriting> AsyncWrite for Stream<S>
where
    for<'a> &'a S: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let io = &self.io;
        let write = || io.get_ref().write(bytes);
        self.writing.poll(cx, |cx| io.poll_writable(cx), write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let io = &self.io;
        let write = || io.get_ref().write_vectored(buffers);
        self.writing.poll(cx, |cx| io.poll_writable(cx), write)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::closed(self.io.get_ref().end_writing()))
    }
}

impl TcpStream for Stream<net::TcpStream> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }
}

struct Listener {
    io: Async<net::TcpListener>,
    nodelay: bool,
}

impl Listener {
    async fn accept_stream(&self) -> io::Result<(Stream<net::TcpStream>, SocketAddr)> {
        let (stream, from) = self.io.read_with(net::TcpListener::accept).await?;
        stream.set_nodelay(self.nodelay)?;
        Ok((Stream::new(Async::new(stream)?), from))
    }
}

impl TcpListener for Listener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        let accepted = self.accept_stream();
        accepted
            .map_ok(|(stream, from)| (Box::new(stream) as Box<dyn TcpStream>, from))
            .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }
}

#[cfg(unix)]
struct LocalListener(Async<unix::UnixListener>);

#[cfg(unix)]
impl LocalListener {
    async fn accept_stream(&self) -> io::Result<BoxIo> {
        let (stream, _) = self.0.read_with(unix::UnixListener::accept).await?;
        Ok(Box::new(Stream::new(Async::new(stream)?)))
    }
}

#[cfg(unix)]
impl UnixListener for LocalListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxIo>> {
        self.accept_stream().boxed()
    }
}

struct Udp {
    io: Async<net::UdpSocket>,
    bulk: Option<Bulk>,
    reading: Direction,
    writing: Direction,
}

impl UdpSocket for Udp {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        loop {
            let socket = self.io.get_ref();
            let received = self.reading.poll(
                cx,
                |cx| self.io.poll_readable(cx),
                || match &self.bulk {
                    Some(bulk) => bulk.receive(socket.into(), buffer),
                    None => {
                        let (len, from) = socket.recv_from(buffer)?;
                        Ok(datagram::received(len, from))
                    }
                },
            );
            match ready!(received) {
                Err(error) if datagram::is_refusal(&error) => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>> {
        let socket = self.io.get_ref();
        self.writing.poll(
            cx,
            |cx| self.io.poll_writable(cx),
            || match &self.bulk {
                Some(bulk) => bulk.send(socket.into(), datagram),
                None => {
                    datagram::check(datagram)?;
                    socket.send_to(datagram.contents, datagram.to).map(drop)
                }
            },
        )
    }

    fn max_segments(&self) -> usize {
        self.bulk.as_ref().map_or(1, Bulk::max_segments)
    }

    fn may_fragment(&self) -> bool {
        self.bulk.as_ref().is_none_or(Bulk::may_fragment)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp")
            .field("io", self.io.get_ref())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join;

    #[test]
    fn accepted_streams_have_the_listeners_nodelay() {
        for nodelay in [true, false] {
            let mut options = TcpOptions::default();
            options.nodelay = nodelay;
            let io = socket::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
            let to = io.local_addr().unwrap();
            let io = Async::new_nonblocking(io).unwrap();
            let listener = Listener { io, nodelay };
            let dial = Sockets.tcp_connect(to, &options);
            let (_dialed, accepted) = async_io::block_on(join(dial, listener.accept_stream()));
            let (stream, _) = accepted.unwrap();
            assert_eq!(stream.io.get_ref().nodelay().unwrap(), nodelay);
        }
    }
}
