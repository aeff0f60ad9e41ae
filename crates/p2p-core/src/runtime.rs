//! Where time, tasks, randomness and sockets come from.
//!
//! [`Runtime`] is the only door to the outside world. `p2p-runtime` implements it on async-std,
//! smol and tokio; `p2p-sim` with a virtual clock and a simulated network. No other crate reads a
//! clock, spawns a task, draws a random number or opens a socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use pin_project_lite::pin_project;

use crate::{BoxIo, Instant, Io};

/// A shared handle to a runtime.
pub type Rt = Arc<dyn Runtime>;

/// An executor, a clock, a source of randomness and a network.
pub trait Runtime: Send + Sync + fmt::Debug + 'static {
    /// The monotonic clock. Virtual in a simulation.
    fn now(&self) -> Instant;

    /// Time since the Unix epoch. For records and certificates only: it can jump.
    fn unix_time(&self) -> Duration;

    /// A timer that fires at `at`, or at once if that has passed.
    fn timer(&self, at: Instant) -> Box<dyn Timer>;

    /// Runs `task` to its end. `name` says what it is, for logs and leak reports.
    ///
    /// Tasks are not cancelled from here; whoever needs that wraps the future in
    /// [`futures::future::abortable`].
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Fills `dest` from a cryptographically secure source (in a simulation: from the seed).
    fn fill_random(&self, dest: &mut [u8]);

    /// Sockets and names.
    fn net(&self) -> &dyn Net;

    /// Whether the same seed must give the same run, as in a simulation. Who draws randomness of
    /// its own then keeps at least lengths and order the same. Default: false.
    fn is_reproducible(&self) -> bool {
        false
    }
}

/// A future that completes at an instant that can be moved.
pub trait Timer: Future<Output = ()> + Send + Unpin {
    /// Moves the timer to `at`; it must be polled again to fire there.
    fn reset(&mut self, at: Instant);
}

/// A future was not done in time. It was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not done in time")]
pub struct Elapsed;

impl dyn Runtime {
    /// Waits until `at`.
    ///
    /// Cancel-safe.
    pub async fn sleep_until(&self, at: Instant) {
        self.timer(at).await;
    }

    /// Waits for `duration`.
    ///
    /// Cancel-safe.
    pub async fn sleep(&self, duration: Duration) {
        self.timer(self.now() + duration).await;
    }

    /// Runs `future`, but not beyond `at`. Takes little more room than `future` itself.
    ///
    /// As cancel-safe as `future`.
    ///
    /// # Errors
    /// [`Elapsed`] if `future` was not done at `at`; it is dropped then.
    pub fn timeout_at<F: Future>(
        &self,
        at: Instant,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        self.within(Deadline::At(at), future)
    }

    /// Runs `future`, but not longer than `duration` from when it first has to wait.
    ///
    /// As cancel-safe as `future`.
    ///
    /// # Errors
    /// [`Elapsed`] if `future` took longer; it is dropped then.
    pub fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        self.within(Deadline::After(duration), future)
    }

    fn within<F: Future>(&self, deadline: Deadline, future: F) -> Timeout<'_, F> {
        Timeout {
            rt: self,
            deadline,
            future,
            timer: None,
        }
    }

    /// Random bytes in an array.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill_random(&mut bytes);
        bytes
    }
}

#[derive(Clone, Copy)]
enum Deadline {
    At(Instant),
    After(Duration),
}

pin_project! {
    /// A future with a deadline. Not an `async fn`: that would hold the future two or three times.
    struct Timeout<'a, F> {
        rt: &'a dyn Runtime,
        deadline: Deadline,
        #[pin]
        future: F,
        // Most futures that get a deadline are done at once: only the others get a timer.
        timer: Option<Box<dyn Timer>>,
    }
}

impl<F: Future> Future for Timeout<'_, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let timer = this.timer.get_or_insert_with(|| {
            this.rt.timer(match *this.deadline {
                Deadline::At(at) => at,
                Deadline::After(duration) => this.rt.now() + duration,
            })
        });
        timer.poll_unpin(cx).map(|()| Err(Elapsed))
    }
}

/// The network of a host.
pub trait Net: Send + Sync {
    /// Connects to `to`.
    ///
    /// Dropping the future gives up and closes the socket. The operating system's own deadline
    /// can be minutes: the caller sets a shorter one.
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>>;

    /// Listens on `at`; port 0 picks a free one. An IPv6 socket accepts IPv6 only.
    ///
    /// # Errors
    /// What the operating system says, such as `AddrInUse`.
    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>>;

    /// Binds a datagram socket to `at`; port 0 picks a free one.
    ///
    /// # Errors
    /// What the operating system says, such as `AddrInUse`.
    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>>;

    /// Binds a datagram socket to `at`, set up as `options` say where the system can. Default:
    /// the same as [`Net::udp_bind`], without groups.
    ///
    /// # Errors
    /// What the operating system says, such as `AddrInUse`; `Unsupported` if it cannot join a
    /// group.
    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        match options.group {
            Some(_) => Err(io::ErrorKind::Unsupported.into()),
            None => self.udp_bind(at),
        }
    }

    /// Connects to the Unix socket at `path`. Default: `Unsupported`.
    ///
    /// Never waits for room: if the listener has too many waiting connections, the error is
    /// `WouldBlock`.
    fn unix_connect(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxIo>> {
        let _ = path;
        ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }

    /// Makes a Unix socket at `path` and listens on it; `backlog` connections wait at most.
    /// Default: `Unsupported`.
    ///
    /// # Errors
    /// What the operating system says: `AddrInUse` if there is anything at `path`.
    fn unix_listen(&self, path: &Path, backlog: u32) -> io::Result<Box<dyn UnixListener>> {
        let _ = (path, backlog);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The addresses of a host name, by the system's resolver.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

    /// The addresses of this host's own interfaces, loopback included, in a stable order.
    ///
    /// # Errors
    /// What the operating system says.
    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>>;

    /// The interfaces that reach others, in a stable order. Default: one without a name, with all
    /// addresses that are not loopback.
    ///
    /// # Errors
    /// What the operating system says.
    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let mut addrs = self.interface_addrs()?;
        addrs.retain(|addr| !addr.is_loopback());
        Ok(vec![Interface {
            name: String::new(),
            index: 0,
            addrs,
        }])
    }
}

/// How a TCP socket is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Send small segments at once (`TCP_NODELAY`). Default: true.
    pub nodelay: bool,
    /// Connections that the kernel completes before we accept them. Default: 1024.
    pub backlog: u32,
    /// Let several sockets share a port (`SO_REUSEPORT`), which dialing from a listening port
    /// needs. Default: false.
    pub reuse_port: bool,
    /// Use several network paths at once where both ends and the system can (Multipath TCP,
    /// RFC 8684, on Linux); plain TCP otherwise. Default: false.
    pub multipath: bool,
    /// Local address to connect from. Default: none, the system chooses.
    pub bind: Option<SocketAddr>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            backlog: 1024,
            reuse_port: false,
            multipath: false,
            bind: None,
        }
    }
}

/// A connected TCP socket. Dropping it closes it.
pub trait TcpStream: Io {
    /// Our end.
    ///
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The remote's end.
    ///
    /// # Errors
    /// What the operating system says.
    fn peer_addr(&self) -> io::Result<SocketAddr>;
}

/// A listening TCP socket. Dropping it closes it.
pub trait TcpListener: Send {
    /// The next connection, set up with the listener's options.
    ///
    /// Cancel-safe: no connection is lost by dropping the future.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>>;

    /// Where it listens; never port 0.
    ///
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A listening Unix socket. Dropping it closes it; its file stays.
pub trait UnixListener: Send {
    /// The next connection.
    ///
    /// Cancel-safe: no connection is lost by dropping the future.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxIo>>;
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// What the system calls it.
    pub name: String,
    /// Its number; 0 if it has none.
    pub index: u32,
    /// Its addresses, those of the link included.
    pub addrs: Vec<IpAddr>,
}

/// A multicast group on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The address of the group.
    pub addr: IpAddr,
    /// The interface to listen and to send on.
    pub interface: u32,
    /// An address of that interface, of the same family.
    pub source: IpAddr,
}

/// How a datagram socket is set up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Hand datagrams over in bulk, and with what their IP header says: several of one sender in
    /// one call in both directions ([`Received::segment`], [`UdpSocket::max_segments`]), the
    /// address they were sent to, congestion marks; nothing is fragmented. Default: false.
    ///
    /// The buffer of each [`UdpSocket::poll_recv`] must then hold 64 KiB: what does not fit is
    /// lost.
    pub bulk: bool,
    /// Bytes that the system should hold for us in each direction; it may allow less.
    /// Default: `None`, what the system thinks right.
    pub buffer: Option<usize>,
    /// A group to join. The port is then shared with others who ask for one; what is sent to the
    /// group stays on the link, and comes back to members on this host. Default: none.
    pub group: Option<Group>,
}

/// Datagrams to send in one call.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// Which of our addresses to send from. `None`: the system chooses.
    pub from: Option<IpAddr>,
    /// One datagram, or several of `segment` bytes each (the last may be shorter).
    pub contents: &'a [u8],
    /// Size of each datagram in `contents`. `None`: `contents` is one.
    pub segment: Option<usize>,
    /// Explicit congestion notification, the two bits of the IP header.
    pub ecn: u8,
}

impl<'a> Datagram<'a> {
    /// One datagram, of which the system chooses where it comes from.
    pub fn new(to: SocketAddr, contents: &'a [u8]) -> Self {
        Self {
            to,
            from: None,
            contents,
            segment: None,
            ecn: 0,
        }
    }
}

/// What arrived in one receive call.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// From whom.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to, where the system tells.
    pub to: Option<IpAddr>,
    /// Bytes written to the buffer.
    pub len: usize,
    /// Size of each datagram in the buffer (the last may be shorter); `len` if it is one.
    pub segment: usize,
    /// Explicit congestion notification, the two bits of the IP header.
    pub ecn: u8,
}

/// A datagram socket. Dropping the last handle closes it.
pub trait UdpSocket: Send + Sync + fmt::Debug {
    /// Receives into `buffer`.
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>>;

    /// Sends, or waits until it can. Loss on the way is not an error.
    fn poll_send(&self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>>;

    /// Where it is bound; never port 0.
    ///
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// How many datagrams one [`Datagram`] may hold. Default: 1.
    fn max_segments(&self) -> usize {
        1
    }

    /// Whether datagrams that are too long for a link may be cut on the way, so that their size
    /// says nothing about what the path carries. Default: true.
    fn may_fragment(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_does_not_double_what_a_future_takes() {
        assert!(size_of::<Timeout<'static, [u8; 4096]>>() < 4096 + 64);
    }
}
