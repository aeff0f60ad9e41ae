//! What all providers say and refuse about datagrams, in the two ways that a socket passes them.
//!
//! - *Plain*: one at a time, no control messages. By the runtime's own calls.
//! - *Bulk*: by quinn-udp, with what the system offers of segmentation (GSO, GRO), congestion
//!   marks and local addresses. Such a socket hands over several datagrams at once, so it must be
//!   asked for.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use p2p_core::{Datagram, Received, UdpOptions};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// What is told of `len` bytes that came from `from`, plainly.
pub(crate) fn received(len: usize, from: SocketAddr) -> Received {
    Received {
        from,
        to: None,
        len,
        segment: len,
        ecn: 0,
    }
}

/// Refuses what would be sent otherwise than asked for, plainly. `ecn` is a hint and not looked
/// at.
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

/// The bulk passage of a socket.
#[derive(Debug)]
pub(crate) struct Bulk(UdpSocketState);

impl Bulk {
    /// Sets `socket` up, if that is asked for.
    pub(crate) fn new(socket: &UdpSocket, options: &UdpOptions) -> io::Result<Option<Self>> {
        if !options.bulk {
            return Ok(None);
        }
        Ok(Some(Self(UdpSocketState::new(socket.into())?)))
    }

    pub(crate) fn max_segments(&self) -> usize {
        self.0.max_gso_segments()
    }

    pub(crate) fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }

    /// Sends, without waiting.
    pub(crate) fn send(&self, socket: UdpSockRef<'_>, datagram: &Datagram<'_>) -> io::Result<()> {
        let transmit = Transmit {
            destination: datagram.to,
            ecn: EcnCodepoint::from_bits(datagram.ecn),
            contents: datagram.contents,
            segment_size: datagram.segment,
            src_ip: datagram.from,
        };
        match self.0.try_send(socket, &transmit) {
            Err(error) if is_loss(&error) => Ok(()),
            other => other,
        }
    }

    /// Receives, without waiting.
    pub(crate) fn receive(
        &self,
        socket: UdpSockRef<'_>,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let mut meta = RecvMeta::default();
        let mut buffers = [IoSliceMut::new(buffer)];
        self.0
            .recv(socket, &mut buffers, std::slice::from_mut(&mut meta))?;
        Ok(Received {
            from: meta.addr,
            to: meta.dst_ip,
            len: meta.len,
            segment: meta.stride,
            ecn: meta.ecn.map_or(0, |ecn| ecn as u8),
        })
    }
}

/// Whether a send call reports what may as well have happened on the way: an earlier datagram
/// found no socket, or this one does not fit the link, which whoever looks for the largest that
/// does expects.
fn is_loss(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EMSGSIZE) {
        return true;
    }
    is_refusal(error)
}
