//! The provider on tokio.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::tokio::io::{self as tokio_io, Interest, ReadBuf};
use ::tokio::net;
use ::tokio::runtime::{Builder, Handle};
use ::tokio::time::Sleep;
#[cfg(unix)]
use futures::future;
use futures::future::{FutureExt, TryFutureExt};
use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{
    BoxFuture, Datagram, Instant, Interface, Net, Received, Rt, Runtime, TcpListener, TcpOptions,
    TcpStream, Timer, UdpOptions, UdpSocket,
};
#[cfg(unix)]
use p2p_core::{BoxIo, UnixListener};
use socket2::SockRef;

use crate::datagram::Bulk;
use crate::timer::{Alarm, LazyTimer};
use crate::{clock, datagram, entropy, names, socket};

/// A tokio runtime with its I/O and time drivers on.
///
/// Its sockets and timers work on any thread, as long as that runtime lives. Tokio's paused test
/// clock is not followed: simulate with `p2p-sim`.
pub struct Tokio {
    handle: Handle,
}

impl Tokio {
    /// A handle to the tokio runtime that runs the caller.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn current() -> Rt {
        Self::new(Handle::current())
    }

    /// A handle to the tokio runtime behind `handle`.
    #[expect(clippy::new_ret_no_self, reason = "`Rt` is what everybody takes")]
    pub fn new(handle: Handle) -> Rt {
        Arc::new(Self { handle })
    }

    /// Runs `future` on a new tokio runtime with a thread for each core; what it spawned ends
    /// with it.
    ///
    /// # Panics
    /// If the operating system has no room for the runtime's threads and event queue, and within
    /// another tokio runtime.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        Builder::new_multi_thread()
            .enable_io()
            .enable_time()
            .build()
            .expect("the operating system has room for a runtime")
            .block_on(future)
    }
}

impl fmt::Debug for Tokio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokio")
    }
}

impl Runtime for Tokio {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn unix_time(&self) -> Duration {
        clock::unix_time()
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        let _inside = self.handle.enter();
        Box::new(LazyTimer::new(at, |at| {
            Box::pin(::tokio::time::sleep_until(at.into()))
        }))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        tracing::trace!(task = name, "spawn");
        drop(self.handle.spawn(task));
    }

    fn fill_random(&self, dest: &mut [u8]) {
        entropy::fill(dest);
    }

    fn net(&self) -> &dyn Net {
        self
    }
}

impl Alarm for Pin<Box<Sleep>> {
    fn set(&mut self, at: std::time::Instant) {
        self.as_mut().reset(at.into());
    }
}

impl Net for Tokio {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        let (handle, options) = (self.handle.clone(), options.clone());
        async move {
            let started = socket::start_connect(to, &options)?;
            let stream = {
                let _inside = handle.enter();
                net::TcpStream::from_std(started)?
            };
            let connected = || socket::connected(SockRef::from(&stream));
            stream.async_io(Interest::WRITABLE, connected).await?;
            Ok(Box::new(Stream(stream)) as Box<dyn TcpStream>)
        }
        .boxed()
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        let _inside = self.handle.enter();
        Ok(Box::new(Listener {
            handle: self.handle.clone(),
            inner: net::TcpListener::from_std(socket::listen(at, options)?)?,
            nodelay: options.nodelay,
        }))
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.udp_open(at, &UdpOptions::default())
    }

    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        let _inside = self.handle.enter();
        let socket = socket::udp(at, options)?;
        Ok(Arc::new(Udp {
            bulk: Bulk::new(&socket, options)?,
            io: net::UdpSocket::from_std(socket)?,
        }))
    }

    #[cfg(unix)]
    fn unix_connect(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxIo>> {
        let _inside = self.handle.enter();
        let connected = socket::unix_connect(path).and_then(net::UnixStream::from_std);
        future::ready(connected.map(|io| Box::new(Stream(io)) as BoxIo)).boxed()
    }

    #[cfg(unix)]
    fn unix_listen(&self, path: &Path, backlog: u32) -> io::Result<Box<dyn UnixListener>> {
        let _inside = self.handle.enter();
        Ok(Box::new(LocalListener {
            handle: self.handle.clone(),
            inner: net::UnixListener::from_std(socket::unix_listen(path, backlog)?)?,
        }))
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

struct Stream<S>(S);

impl<S: tokio_io::AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: tokio_io::AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map(socket::closed)
    }
}

impl TcpStream for Stream<net::TcpStream> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

struct Listener {
    handle: Handle,
    inner: net::TcpListener,
    nodelay: bool,
}

impl Listener {
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Stream<net::TcpStream>, SocketAddr)>> {
        // What is accepted registers itself with the runtime that is entered.
        let _inside = self.handle.enter();
        let (stream, from) = ready!(self.inner.poll_accept(cx))?;
        stream.set_nodelay(self.nodelay)?;
        Poll::Ready(Ok((Stream(stream), from)))
    }
}

impl TcpListener for Listener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        poll_fn(|cx| self.poll_accept(cx))
            .map_ok(|(stream, from)| (Box::new(stream) as Box<dyn TcpStream>, from))
            .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[cfg(unix)]
struct LocalListener {
    handle: Handle,
    inner: net::UnixListener,
}

#[cfg(unix)]
impl LocalListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<BoxIo>> {
        let _inside = self.handle.enter();
        let (stream, _) = ready!(self.inner.poll_accept(cx))?;
        Poll::Ready(Ok(Box::new(Stream(stream))))
    }
}

#[cfg(unix)]
impl UnixListener for LocalListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxIo>> {
        poll_fn(|cx| self.poll_accept(cx)).boxed()
    }
}

#[derive(Debug)]
struct Udp {
    io: net::UdpSocket,
    bulk: Option<Bulk>,
}

impl Udp {
    fn poll_recv_plain(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        let mut read = ReadBuf::new(buffer);
        let from = ready!(self.io.poll_recv_from(cx, &mut read))?;
        Poll::Ready(Ok(datagram::received(read.filled().len(), from)))
    }

    fn poll_recv_bulk(
        &self,
        bulk: &Bulk,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let receive = || bulk.receive((&self.io).into(), buffer);
            match self.io.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl UdpSocket for Udp {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        loop {
            let received = match &self.bulk {
                None => self.poll_recv_plain(cx, buffer),
                Some(bulk) => self.poll_recv_bulk(bulk, cx, buffer),
            };
            match ready!(received) {
                Err(error) if datagram::is_refusal(&error) => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>> {
        let Some(bulk) = &self.bulk else {
            datagram::check(datagram)?;
            let sent = self.io.poll_send_to(cx, datagram.contents, datagram.to);
            return sent.map_ok(drop);
        };
        loop {
            ready!(self.io.poll_send_ready(cx))?;
            let send = || bulk.send((&self.io).into(), datagram);
            match self.io.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_segments(&self) -> usize {
        self.bulk.as_ref().map_or(1, Bulk::max_segments)
    }

    fn may_fragment(&self) -> bool {
        self.bulk.as_ref().is_none_or(Bulk::may_fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor;
    use futures::future::join;

    #[test]
    fn accepted_streams_have_the_listeners_nodelay() {
        Tokio::block_on(async {
            for nodelay in [true, false] {
                let mut options = TcpOptions::default();
                options.nodelay = nodelay;
                let handle = Handle::current();
                let inner = socket::listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
                let inner = net::TcpListener::from_std(inner).unwrap();
                let to = inner.local_addr().unwrap();
                let dial = Tokio::current().net().tcp_connect(to, &options);
                let listener = Listener {
                    handle,
                    inner,
                    nodelay,
                };
                let accept = poll_fn(|cx| listener.poll_accept(cx));
                let (_dialed, accepted) = join(dial, accept).await;
                assert_eq!(accepted.unwrap().0.0.nodelay().unwrap(), nodelay);
            }
        });
    }

    #[test]
    fn sockets_and_timers_work_on_threads_outside_of_tokio() {
        let inside = Builder::new_multi_thread().enable_all().build().unwrap();
        let rt = Tokio::new(inside.handle().clone());
        executor::block_on(async {
            let options = TcpOptions::default();
            let at = ([127, 0, 0, 1], 0).into();
            let mut listener = rt.net().tcp_listen(at, &options).unwrap();
            let to = listener.local_addr().unwrap();
            let dial = rt.net().tcp_connect(to, &options);
            let (dialed, accepted) = join(dial, listener.accept()).await;
            assert_eq!(
                dialed.unwrap().local_addr().unwrap(),
                accepted.unwrap().0.peer_addr().unwrap()
            );
            rt.net().udp_bind(at).unwrap();
            rt.sleep(Duration::from_millis(1)).await;
        });
    }
}
