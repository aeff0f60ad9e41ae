//! A listener outlives every error of accepting, shown on a network that fails as told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt, pending, ready};
use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{
    Instant, Listener, Net, Runtime, TcpListener, TcpOptions, TcpStream, Timer, Transport,
    UdpSocket,
};
use p2p_tcp::{Config, Tcp};
use std::pin::Pin;
use std::task::{Context, Poll};

#[test]
fn a_connection_that_ended_early_is_skipped() {
    let early = [
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::Interrupted,
    ];
    let mut listener = listener(early.map(Err).into_iter().chain([Ok(1)]));
    let incoming = block_on(listener.accept()).unwrap();
    assert_eq!(incoming.remote.to_string(), "/ip4/10.0.0.1/tcp/1");
}

#[test]
fn a_lack_of_resources_is_reported_and_accepting_goes_on() {
    let mut listener = listener([Ok(1), Err(ErrorKind::OutOfMemory), Ok(2)].into_iter());
    let accept = |listener: &mut dyn Listener| {
        let accepted = block_on(listener.accept());
        accepted
            .map(|incoming| incoming.remote.to_string())
            .map_err(|error| error.kind())
    };
    assert_eq!(accept(&mut *listener).unwrap(), "/ip4/10.0.0.1/tcp/1");
    assert_eq!(accept(&mut *listener), Err(ErrorKind::OutOfMemory));
    assert_eq!(accept(&mut *listener).unwrap(), "/ip4/10.0.0.1/tcp/2");
    assert!(listener.accept().now_or_never().is_none());
}

#[test]
fn interfaces_that_cannot_be_listed_any_more_are_those_known_before() {
    let listener = listener([].into_iter());
    let known = listener.addrs();
    assert_eq!(known.len(), 1);
    assert_eq!(known, listener.addrs());
}

/// A listener on the unspecified address whose accepts end as in `script`: errors, or
/// connections from a port of 10.0.0.1.
fn listener(script: impl Iterator<Item = Result<u16, ErrorKind>>) -> Box<dyn Listener> {
    let net = Scripted {
        accepts: Arc::new(Mutex::new(script.collect())),
        interfaces: Mutex::new(Some(vec![[10, 0, 0, 2].into()])),
    };
    let tcp = Tcp::new(Arc::new(net), Config::default());
    block_on(tcp.listen("/ip4/0.0.0.0/tcp/0".parse().unwrap())).unwrap()
}

type Script = Arc<Mutex<VecDeque<Result<u16, ErrorKind>>>>;

/// A network that accepts as scripted and lists its interfaces once.
#[derive(Debug)]
struct Scripted {
    accepts: Script,
    interfaces: Mutex<Option<Vec<IpAddr>>>,
}

impl Net for Scripted {
    fn tcp_connect(
        &self,
        _: SocketAddr,
        _: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        unimplemented!("nothing dials")
    }

    fn tcp_listen(&self, _: SocketAddr, _: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        Ok(Box::new(ScriptedListener(Arc::clone(&self.accepts))))
    }

    fn udp_bind(&self, _: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        unimplemented!("nothing binds")
    }

    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        unimplemented!("nothing resolves")
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        let listed = self.interfaces.lock().unwrap().take();
        listed.ok_or_else(|| ErrorKind::Other.into())
    }
}

struct ScriptedListener(Script);

impl TcpListener for ScriptedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        match self.0.lock().unwrap().pop_front() {
            None => pending().boxed(),
            Some(Err(kind)) => ready(Err(kind.into())).boxed(),
            Some(Ok(port)) => {
                let from = SocketAddr::from(([10, 0, 0, 1], port));
                ready(Ok((Box::new(Silent) as Box<dyn TcpStream>, from))).boxed()
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([0, 0, 0, 0], 4001).into())
    }
}

/// A connection on which nothing happens.
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl TcpStream for Silent {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([10, 0, 0, 2], 4001).into())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        unimplemented!("nobody asks")
    }
}

impl Runtime for Scripted {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }

    fn timer(&self, _: Instant) -> Box<dyn Timer> {
        unimplemented!("nothing waits")
    }

    fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {
        unimplemented!("nothing is spawned")
    }

    fn fill_random(&self, _: &mut [u8]) {
        unimplemented!("nothing is random")
    }

    fn net(&self) -> &dyn Net {
        self
    }
}
