//! Two that start at the same time where a killed process left its socket.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::{UnixListener as Socket, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use p2p_core::{
    BoxIo, Instant, Net, Rt, Runtime, TcpListener, TcpOptions, TcpStream, Timer, Transport,
    TransportError, UdpSocket, UnixListener,
};
use p2p_runtime::{AsyncStd, block_on};
use p2p_unix::{Config, Unix, addr};

#[test]
fn who_was_faster_keeps_its_socket() {
    let directory = std::env::temp_dir().join(format!("p2p-starters-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("node.sock");
    drop(Socket::bind(&path).unwrap());
    let other = Arc::new(Mutex::new(None));
    let rt: Rt = Arc::new(Overtaken {
        inner: AsyncStd::new(),
        other: Arc::clone(&other),
    });
    let slower = Unix::new(rt, Config::default());
    let error = block_on(slower.listen(addr(&path).unwrap())).map(drop);
    let Err(TransportError::Listen { source, .. }) = error else {
        panic!("took a socket that is in use");
    };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    let other = other.lock().unwrap().take().unwrap();
    UnixStream::connect(&path).unwrap();
    other.accept().unwrap();
    let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    fs::remove_dir_all(directory).unwrap();
}

/// Somebody else is faster: as soon as it was seen that nobody listens, it has taken the left-over
/// socket away, and listens there.
#[derive(Debug)]
struct Overtaken {
    inner: Rt,
    other: Arc<Mutex<Option<Socket>>>,
}

impl Runtime for Overtaken {
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

impl Net for Overtaken {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        self.inner.net().tcp_connect(to, options)
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        self.inner.net().tcp_listen(at, options)
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.inner.net().udp_bind(at)
    }

    fn unix_connect(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxIo>> {
        let (connect, other) = (self.inner.net().unix_connect(path), Arc::clone(&self.other));
        let path = path.to_owned();
        async move {
            let seen = connect.await;
            let mut other = other.lock().unwrap();
            if seen.is_err() && other.is_none() {
                fs::remove_file(&path).unwrap();
                *other = Some(Socket::bind(&path).unwrap());
            }
            seen
        }
        .boxed()
    }

    fn unix_listen(&self, path: &Path, backlog: u32) -> io::Result<Box<dyn UnixListener>> {
        self.inner.net().unix_listen(path, backlog)
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.inner.net().resolve(host)
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        self.inner.net().interface_addrs()
    }
}
