//! Others on the same network, below the transport.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::multiaddr_parts::Part;
use crate::{AddrExt, Datagram, Multiaddr, Rt, TcpListener, TcpOptions, TcpStream, UdpSocket};
use std::future::poll_fn;

/// The socket below an address.
pub(super) enum Below {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    /// Not the network's.
    Nothing,
}

/// What lies below `addr`.
pub(super) fn below(addr: &Multiaddr) -> Below {
    let part = addr.iter().nth(1);
    match (addr.ip(), part) {
        (Some(ip), Some(Part::Tcp(port))) => Below::Tcp(SocketAddr::new(ip, port)),
        (Some(ip), Some(Part::Udp(port))) => Below::Udp(SocketAddr::new(ip, port)),
        _ => Below::Nothing,
    }
}

/// `addr` on another TCP port.
pub(super) fn on_port(addr: &Multiaddr, other: u16) -> Multiaddr {
    let other = |part| {
        if matches!(part, Part::Tcp(_)) {
            Part::Tcp(other)
        } else {
            part
        }
    };
    addr.iter().map(other).collect()
}

/// A connection of somebody who does not know the transport's protocol.
pub(super) async fn connect(rt: &Rt, to: SocketAddr) -> io::Result<Box<dyn TcpStream>> {
    rt.net().tcp_connect(to, &TcpOptions::default()).await
}

/// A port of somebody who does not know the transport's protocol.
pub(super) fn listen(rt: &Rt, like: SocketAddr) -> io::Result<Box<dyn TcpListener>> {
    let at = SocketAddr::new(like.ip(), 0);
    rt.net().tcp_listen(at, &TcpOptions::default())
}

/// Sends one datagram of `len` bytes that mean nothing.
pub(super) async fn send_datagram(
    rt: &Rt,
    to: SocketAddr,
    len: usize,
) -> io::Result<Arc<dyn UdpSocket>> {
    let from: SocketAddr = match to.is_ipv4() {
        true => ([0; 4], 0).into(),
        false => ([0u16; 8], 0).into(),
    };
    let socket = rt.net().udp_bind(from)?;
    let contents = crate::conformance::pattern(3, len);
    let datagram = Datagram::new(to, &contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await?;
    Ok(socket)
}
