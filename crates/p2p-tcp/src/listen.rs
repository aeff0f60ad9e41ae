//! Listening sockets, and what is known of them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt, ready};
use p2p_core::{
    AddrExt, Incoming, Link, Listener, Multiaddr, Rt, TcpListener, TcpStream, TransportError,
};

use crate::{Tcp, socket_addr};

impl Tcp {
    pub(crate) fn listen_on(&self, addr: Multiaddr) -> Result<Box<dyn Listener>, TransportError> {
        let at = socket_addr(&addr)?;
        match self.bind(at) {
            Err(source) => Err(TransportError::Listen { addr, source }),
            Ok(listener) => Ok(Box::new(listener)),
        }
    }

    fn bind(&self, at: SocketAddr) -> io::Result<Listening> {
        let mut options = self.options();
        options.reuse_port = self.config.dial_from_listening_port;
        let socket = self.rt.net().tcp_listen(at, &options)?;
        let at = socket.local_addr()?;
        Ok(Listening {
            rt: self.rt.clone(),
            interfaces: self.rt.net().interface_addrs()?,
            socket,
            at,
            _port: self.ports.add(at),
        })
    }
}

struct Listening {
    rt: Rt,
    socket: Box<dyn TcpListener>,
    at: SocketAddr,
    /// The interfaces when listening began, for when the system does not tell any more.
    interfaces: Vec<IpAddr>,
    _port: ListeningPort,
}

impl Listener for Listening {
    fn addrs(&self) -> Vec<Multiaddr> {
        if !self.at.ip().is_unspecified() {
            return vec![Multiaddr::from_tcp_socket(self.at)];
        }
        let interfaces = self.rt.net().interface_addrs();
        let interfaces = interfaces.as_ref().unwrap_or(&self.interfaces);
        interfaces
            .iter()
            .filter(|ip| ip.is_ipv4() == self.at.is_ipv4())
            .map(|ip| Multiaddr::from_tcp_socket(SocketAddr::new(*ip, self.at.port())))
            .collect()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            loop {
                match self.socket.accept().await {
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => return Err(error),
                    Ok((stream, from)) => return incoming(stream, from),
                }
            }
        }
        .boxed()
    }
}

fn incoming(stream: Box<dyn TcpStream>, from: SocketAddr) -> io::Result<Incoming> {
    Ok(Incoming {
        remote: Multiaddr::from_tcp_socket(from),
        local: Multiaddr::from_tcp_socket(stream.local_addr()?),
        link: ready(Ok(Link::Raw(stream))).boxed(),
    })
}

/// Whether a connection ended before it was accepted: nothing to wait for, the next may be fine.
/// Other errors are about resources, and trying again at once would only spin.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Where the clones of a [`Tcp`] listen.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListeningPorts(Arc<Mutex<BTreeSet<SocketAddr>>>);

impl ListeningPorts {
    /// An address of ours from which a connection to `to` can start.
    pub(crate) fn that_reaches(&self, to: SocketAddr) -> Option<SocketAddr> {
        let reaches = |at: &SocketAddr| {
            at.is_ipv4() == to.is_ipv4()
                && (at.ip().is_unspecified() || at.ip().is_loopback() == to.ip().is_loopback())
        };
        self.lock().iter().copied().find(reaches)
    }

    fn add(&self, at: SocketAddr) -> ListeningPort {
        self.lock().insert(at);
        ListeningPort {
            ports: self.clone(),
            at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry of [`ListeningPorts`], removed when the listener is dropped.
struct ListeningPort {
    ports: ListeningPorts,
    at: SocketAddr,
}

impl Drop for ListeningPort {
    fn drop(&mut self) {
        self.ports.lock().remove(&self.at);
    }
}
