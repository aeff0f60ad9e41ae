//! A runtime that counts what was opened through it and is still there.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::io::{AsyncRead, AsyncWrite};

use crate::{
    BoxIo, Datagram, Instant, Interface, Net, Received, Rt, Runtime, TcpListener, TcpOptions,
    TcpStream, Timer, UdpOptions, UdpSocket, UnixListener,
};

/// Wraps a runtime: its sockets and tasks are counted.
#[derive(Debug)]
pub(crate) struct Counting {
    inner: Rt,
    census: Census,
}

/// What is open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    sockets: usize,
    tasks: usize,
    waiting: Vec<Waker>,
}

/// Counts one while it lives.
struct Entry {
    census: Census,
    what: fn(&mut Count) -> &mut usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut count = self.census.lock();
        *(self.what)(&mut count) -= 1;
        let waiting = std::mem::take(&mut count.waiting);
        drop(count);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Census {
    /// Waits until nothing is open any more.
    pub(crate) async fn empty(&self) {
        poll_fn(|cx| {
            let mut count = self.lock();
            if count.sockets == 0 && count.tasks == 0 {
                return Poll::Ready(());
            }
            count.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn enter(&self, what: fn(&mut Count) -> &mut usize) -> Entry {
        *what(&mut self.lock()) += 1;
        Entry {
            census: self.clone(),
            what,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.lock();
        write!(f, "{} sockets and {} tasks", count.sockets, count.tasks)
    }
}

fn sockets(count: &mut Count) -> &mut usize {
    &mut count.sockets
}

fn tasks(count: &mut Count) -> &mut usize {
    &mut count.tasks
}

impl Counting {
    /// `inner`, counted, and its count.
    pub(crate) fn wrap(inner: Rt) -> (Rt, Census) {
        let census = Census::default();
        let counting = Self {
            inner,
            census: census.clone(),
        };
        (Arc::new(counting), census)
    }
}

impl Runtime for Counting {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn unix_time(&self) -> Duration {
        self.inner.unix_time()
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        self.inner.timer(at)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let entry = self.census.enter(tasks);
        let counted = async move {
            task.await;
            drop(entry);
        };
        self.inner.spawn(name, counted.boxed());
    }

    fn fill_random(&self, dest: &mut [u8]) {
        self.inner.fill_random(dest);
    }

    fn net(&self) -> &dyn Net {
        self
    }

    fn is_reproducible(&self) -> bool {
        self.inner.is_reproducible()
    }
}

impl Net for Counting {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        let connect = self.inner.net().tcp_connect(to, options);
        let entry = self.census.enter(sockets);
        async move {
            let stream = Counted(connect.await?, entry);
            Ok(Box::new(stream) as Box<dyn TcpStream>)
        }
        .boxed()
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        let listener = self.inner.net().tcp_listen(at, options)?;
        let entry = self.census.enter(sockets);
        Ok(Box::new(Counted(listener, entry)))
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        let socket = self.inner.net().udp_bind(at)?;
        Ok(Arc::new(Counted(socket, self.census.enter(sockets))))
    }

    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        let socket = self.inner.net().udp_open(at, options)?;
        Ok(Arc::new(Counted(socket, self.census.enter(sockets))))
    }

    fn unix_connect(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxIo>> {
        let connect = self.inner.net().unix_connect(path);
        let entry = self.census.enter(sockets);
        async move { Ok(Box::new(Counted(connect.await?, entry)) as BoxIo) }.boxed()
    }

    fn unix_listen(&self, path: &Path, backlog: u32) -> io::Result<Box<dyn UnixListener>> {
        let listener = self.inner.net().unix_listen(path, backlog)?;
        let entry = self.census.enter(sockets);
        Ok(Box::new(Counted(listener, entry)))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.inner.net().resolve(host)
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        self.inner.net().interface_addrs()
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        self.inner.net().interfaces()
    }
}

/// A socket with its entry in the census.
struct Counted<T>(T, Entry);

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl TcpStream for Counted<Box<dyn TcpStream>> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl TcpListener for Counted<Box<dyn TcpListener>> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        async {
            let (stream, from) = self.0.accept().await?;
            let entry = self.1.census.enter(sockets);
            let stream: Box<dyn TcpStream> = Box::new(Counted(stream, entry));
            Ok((stream, from))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl UnixListener for Counted<Box<dyn UnixListener>> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxIo>> {
        async {
            let io = self.0.accept().await?;
            let entry = self.1.census.enter(sockets);
            Ok(Box::new(Counted(io, entry)) as BoxIo)
        }
        .boxed()
    }
}

impl UdpSocket for Counted<Arc<dyn UdpSocket>> {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        self.0.poll_recv(cx, buffer)
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, datagram)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_segments(&self) -> usize {
        self.0.max_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

impl fmt::Debug for Counted<Arc<dyn UdpSocket>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
