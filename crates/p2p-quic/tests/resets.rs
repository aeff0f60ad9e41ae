//! A system that reports, as an error of receiving, that a datagram of ours found nobody.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{MS, World, echo};
use futures::future::BoxFuture;
use p2p_core::{
    Datagram, Instant, Net, Received, Rt, Runtime, TcpListener, TcpOptions, TcpStream, Timer,
    UdpOptions, UdpSocket,
};
use p2p_quic::{Config, Quic};

/// A machine whose sockets report such an error before each datagram that comes.
#[derive(Debug)]
struct Disturbed {
    rt: Rt,
    reported: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Socket {
    below: Arc<dyn UdpSocket>,
    /// Odd: the error was reported last.
    reported: Arc<AtomicUsize>,
}

impl UdpSocket for Socket {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        if self.reported.load(Ordering::Relaxed).is_multiple_of(2) {
            self.reported.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let received = self.below.poll_recv(cx, buffer);
        if received.is_ready() {
            self.reported.fetch_add(1, Ordering::Relaxed);
        }
        received
    }

    fn poll_send(&self, cx: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>> {
        self.below.poll_send(cx, datagram)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.below.local_addr()
    }
}

impl Net for Disturbed {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        self.rt.net().tcp_connect(to, options)
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        self.rt.net().tcp_listen(at, options)
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.udp_open(at, &UdpOptions::default())
    }

    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        Ok(Arc::new(Socket {
            below: self.rt.net().udp_open(at, options)?,
            reported: self.reported.clone(),
        }))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.rt.net().resolve(host)
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        self.rt.net().interface_addrs()
    }
}

impl Runtime for Disturbed {
    fn now(&self) -> Instant {
        self.rt.now()
    }

    fn unix_time(&self) -> Duration {
        self.rt.unix_time()
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        self.rt.timer(at)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.rt.spawn(name, task);
    }

    fn fill_random(&self, dest: &mut [u8]) {
        self.rt.fill_random(dest);
    }

    fn net(&self) -> &dyn Net {
        self
    }

    fn is_reproducible(&self) -> bool {
        self.rt.is_reproducible()
    }
}

#[test]
fn a_datagram_of_ours_that_finds_nobody_makes_no_other_connection_wait() {
    let (sim, mut world) = World::new(1, p2p_sim::Link::new(10 * MS), Config::default());
    let reported = Arc::new(AtomicUsize::new(0));
    let rt = Arc::new(Disturbed {
        rt: world.far.rt(),
        reported: reported.clone(),
    });
    world.server = Quic::new(rt, &world.identity, Config::default()).unwrap();
    let took = sim.block_on(async {
        world.serve_echo().await;
        let start = world.near.rt().now();
        let near = world.dial().await.unwrap();
        echo(&*near, 1000).await;
        world.near.rt().now() - start
    });
    assert!(took < 50 * MS, "{took:?}");
    assert!(reported.load(Ordering::Relaxed) > 4, "errors came");
}
