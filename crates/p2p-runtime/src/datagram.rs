//! What all providers say and refuse about datagrams: one at a time, no control messages.

use std::io;
use std::net::SocketAddr;

use p2p_core::{Datagram, Received};

/// What is told of `len` bytes that came from `from`.
pub(crate) fn received(len: usize, from: SocketAddr) -> Received {
    Received {
        from,
        to: None,
        len,
        segment: len,
        ecn: 0,
    }
}

/// Refuses what would be sent otherwise than asked for. `ecn` is a hint and not looked at.
pub(crate) fn check(datagram: &Datagram<'_>) -> io::Result<()> {
    if datagram.from.is_some() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "cannot choose the address to send from: bind the socket to it",
        ));
    }
    let len = datagram.contents.len();
    if datagram.segment.is_some_and(|segment| segment < len) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "several datagrams in one call, where `max_segments` is 1",
        ));
    }
    Ok(())
}

/// Whether a receive call only reports that something sent earlier found no socket: that is
/// loss. Each is reported once, by Windows as a reset.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}
