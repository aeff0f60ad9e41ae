//! Sockets made and configured alike for every runtime, then handed over to be registered.
//!
//! All are non-blocking, and IPv6 sockets carry IPv6 only.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::Path;

use p2p_core::{Group, TcpOptions, UdpOptions};
#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Marks what was never forwarded (RFC 6762, section 11; RFC 5082).
const LINK_LOCAL_TTL: u32 = 255;

/// A socket that is on its way to `to`; [`connected`] tells when it is there.
pub(crate) fn start_connect(to: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = tcp_socket(to, options)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(from) = options.bind {
        socket.bind(&from.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

/// How a connect went.
///
/// # Errors
/// `WouldBlock` while it is under way; otherwise why it failed.
pub(crate) fn connected(stream: SockRef<'_>) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

pub(crate) fn listen(at: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let socket = tcp_socket(at, options)?;
    socket.bind(&at.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A connection to the Unix socket at `path`.
///
/// # Errors
/// `WouldBlock` if too many wait there already; otherwise why it failed.
#[cfg(unix)]
pub(crate) fn unix_connect(path: &Path) -> io::Result<UnixStream> {
    let socket = unix_socket()?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

#[cfg(unix)]
pub(crate) fn unix_listen(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let socket = unix_socket()?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(unix)]
fn unix_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(crate) fn udp(at: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
    let socket = new_socket(at, Type::DGRAM, Protocol::UDP)?;
    if let Some(bytes) = options.buffer {
        // A wish: systems have upper limits.
        let _ = socket.set_recv_buffer_size(bytes);
        let _ = socket.set_send_buffer_size(bytes);
    }
    if let Some(group) = &options.group {
        join(&socket, group)?;
    }
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Makes `socket` a member of `group`, on that interface alone, and lets it share its port.
fn join(socket: &Socket, group: &Group) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    match (group.addr, group.source) {
        (IpAddr::V4(addr), IpAddr::V4(source)) => {
            socket.join_multicast_v4(&addr, &source)?;
            socket.set_multicast_if_v4(&source)?;
            socket.set_multicast_loop_v4(true)?;
            socket.set_multicast_ttl_v4(LINK_LOCAL_TTL)?;
            // Linux would hand over what is for groups of other sockets, too.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_multicast_all_v4(false)?;
        }
        (IpAddr::V6(addr), IpAddr::V6(_)) => {
            socket.join_multicast_v6(&addr, group.interface)?;
            socket.set_multicast_if_v6(group.interface)?;
            socket.set_multicast_loop_v6(true)?;
            socket.set_multicast_hops_v6(LINK_LOCAL_TTL)?;
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_multicast_all_v6(false)?;
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a group and an address of different families",
            ));
        }
    }
    Ok(())
}

/// Turns the outcome of a shutdown into that of a close: closing what the remote already ended
/// is no error.
pub(crate) fn closed(shutdown: io::Result<()>) -> io::Result<()> {
    match shutdown {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

fn tcp_socket(addr: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    let socket = stream_socket(addr, options)?;
    // On Windows the option means something else: it lets strangers take the port over.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    let _ = options;
    Ok(socket)
}

/// Multipath TCP if it is asked for and the kernel has it, else TCP.
fn stream_socket(addr: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
    #[cfg(target_os = "linux")]
    if options.multipath
        && let Ok(socket) = new_socket(addr, Type::STREAM, Protocol::MPTCP)
    {
        return Ok(socket);
    }
    let _ = options;
    new_socket(addr, Type::STREAM, Protocol::TCP)
}

fn new_socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_set_up_as_the_options_say() {
        for on in [true, false] {
            let mut options = TcpOptions::default();
            options.nodelay = on;
            options.multipath = on;
            options.reuse_port = on;
            let listener = listen(([127, 0, 0, 1], 0).into(), &options).unwrap();
            let stream = start_connect(listener.local_addr().unwrap(), &options).unwrap();
            assert_eq!(stream.nodelay().unwrap(), on);
            #[cfg(unix)]
            for socket in [SockRef::from(&listener), SockRef::from(&stream)] {
                assert!(socket.nonblocking().unwrap());
                assert!(socket.reuse_address().unwrap());
                assert_eq!(socket.reuse_port().unwrap(), on);
            }
            #[cfg(target_os = "linux")]
            for socket in [SockRef::from(&listener), SockRef::from(&stream)] {
                let has = std::fs::read_to_string("/proc/sys/net/mptcp/enabled");
                let several = on && has.is_ok_and(|enabled| enabled.trim() == "1");
                let expected = if several {
                    Protocol::MPTCP
                } else {
                    Protocol::TCP
                };
                assert_eq!(socket.protocol().unwrap(), Some(expected));
            }
        }
    }
}
