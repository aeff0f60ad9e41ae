//! Outgoing connections.

use std::io;
use std::net::SocketAddr;

use p2p_core::{AddrExt, Dialed, Link, Multiaddr, TcpStream, TransportError};

use crate::{Tcp, socket_addr};

impl Tcp {
    pub(crate) async fn dial_addr(&self, addr: Multiaddr) -> Result<Dialed, TransportError> {
        let to = socket_addr(&addr)?;
        match self.connect(to).await {
            Err(source) => Err(TransportError::Connect { addr, source }),
            Ok(stream) => Ok(Dialed {
                local: stream.local_addr().ok().map(Multiaddr::from_tcp_socket),
                link: Link::Raw(stream),
            }),
        }
    }

    async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn TcpStream>> {
        check_destination(to)?;
        if self.config.dial_from_listening_port
            && let Some(from) = self.ports.that_reaches(to)
        {
            match self.connect_from(Some(from), to).await {
                Err(error) if is_taken(&error) => {}
                done => return done,
            }
        }
        self.connect_from(None, to).await
    }

    async fn connect_from(
        &self,
        from: Option<SocketAddr>,
        to: SocketAddr,
    ) -> io::Result<Box<dyn TcpStream>> {
        let mut options = self.options();
        options.bind = from;
        options.reuse_port = from.is_some();
        let stream = self.rt.net().tcp_connect(to, &options).await?;
        // A socket that dials its own address gets through, to itself.
        if stream.local_addr()? == to {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the socket met itself: nobody else answers there",
            ));
        }
        Ok(stream)
    }
}

/// Refuses what the operating system would quietly take for another address.
fn check_destination(to: SocketAddr) -> io::Result<()> {
    let fault = if to.ip().is_unspecified() {
        "an unspecified address is for listening only"
    } else if to.port() == 0 {
        "port 0 is for listening only"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, fault))
}

/// Whether another connection between the same two addresses is in the way.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}
