//! A listener outlives every error of accepting, shown on a simulated network that fails as told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use p2p_core::{
    Instant, Listener, Multiaddr, Net, Rt, Runtime, TcpListener, TcpOptions, TcpStream, Timer,
    Transport, UdpSocket,
};
use p2p_sim::{Host, Sim};
use p2p_tcp::{Config, Tcp};

#[test]
fn a_connection_that_ended_early_is_skipped() {
    let early = [
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::Interrupted,
    ];
    let (sim, dialer, far) = world();
    sim.block_on(async {
        let mut listener = listener(&far, early.map(Some)).await;
        let port = connect(&dialer, &*listener).await;
        let incoming = listener.accept().await.unwrap();
        assert_eq!(incoming.remote, from(&dialer, port));
    });
}

#[test]
fn a_lack_of_resources_is_reported_and_accepting_goes_on() {
    let (sim, dialer, far) = world();
    sim.block_on(async {
        let mut listener = listener(&far, [None, Some(ErrorKind::OutOfMemory), None]).await;
        let one = connect(&dialer, &*listener).await;
        let two = connect(&dialer, &*listener).await;
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            let accepted = listener.accept().await;
            outcomes.push(
                accepted
                    .map(|incoming| incoming.remote)
                    .map_err(|error| error.kind()),
            );
        }
        let expected = [
            Ok(from(&dialer, one)),
            Err(ErrorKind::OutOfMemory),
            Ok(from(&dialer, two)),
        ];
        assert_eq!(outcomes, expected);
        assert!(listener.accept().now_or_never().is_none());
    });
}

#[test]
fn interfaces_that_cannot_be_listed_any_more_are_those_known_before() {
    let (sim, _, far) = world();
    sim.block_on(async {
        let listener = listener(&far, []).await;
        let known = listener.addrs();
        assert_eq!(known.len(), far.addrs().len());
        assert_eq!(known, listener.addrs());
    });
}

/// Who dials, and who listens.
fn world() -> (Sim, Host, Host) {
    let sim = Sim::new(1);
    let (dialer, far) = (sim.host("dialer"), sim.host("far"));
    (sim, dialer, far)
}

/// A listener on the unspecified address whose first accepts end as in `script`: errors, or as
/// it happens.
async fn listener(
    host: &Host,
    script: impl IntoIterator<Item = Option<ErrorKind>>,
) -> Box<dyn Listener> {
    let rt = Failing {
        inner: host.rt(),
        script: Arc::new(Mutex::new(script.into_iter().collect())),
        listed: AtomicBool::new(false),
    };
    let tcp = Tcp::new(Arc::new(rt), Config::default());
    let listening = tcp.listen("/ip4/0.0.0.0/tcp/0".parse().unwrap()).await;
    listening.unwrap()
}

/// Connects, and hangs up when it is accepted; the port it came from.
async fn connect(dialer: &Host, listener: &dyn Listener) -> u16 {
    let tcp = Tcp::new(dialer.rt(), Config::default());
    let to: Multiaddr = listener.addrs().into_iter().next_back().unwrap();
    let dialed = tcp.dial(to, None).await.unwrap();
    let local = dialed.local.unwrap().to_string();
    local.rsplit('/').next().unwrap().parse().unwrap()
}

fn from(dialer: &Host, port: u16) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/{port}", dialer.ip());
    addr.parse().unwrap()
}

type Script = Arc<Mutex<VecDeque<Option<ErrorKind>>>>;

/// A simulated host whose accepts fail as scripted, and which lists its interfaces once.
#[derive(Debug)]
struct Failing {
    inner: Rt,
    script: Script,
    listed: AtomicBool,
}

impl Runtime for Failing {
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
        self.inner.spawn(name, task);
    }

    fn fill_random(&self, dest: &mut [u8]) {
        self.inner.fill_random(dest);
    }

    fn net(&self) -> &dyn Net {
        self
    }
}

impl Net for Failing {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        self.inner.net().tcp_connect(to, options)
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        Ok(Box::new(FailingListener {
            inner: self.inner.net().tcp_listen(at, options)?,
            script: Arc::clone(&self.script),
        }))
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.inner.net().udp_bind(at)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.inner.net().resolve(host)
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        if self.listed.swap(true, Ordering::Relaxed) {
            return Err(ErrorKind::Other.into());
        }
        self.inner.net().interface_addrs()
    }
}

struct FailingListener {
    inner: Box<dyn TcpListener>,
    script: Script,
}

impl TcpListener for FailingListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        match self.script.lock().unwrap().pop_front().flatten() {
            Some(kind) => ready(Err(kind.into())).boxed(),
            None => self.inner.accept(),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}
