//! Incoming connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, poll_fn};
use p2p_core::{Exceeded, Incoming, Link, Listener, Multiaddr, TransportError};

use crate::addr::multiaddr;
use crate::endpoint::{Arrival, Attached};
use crate::error::HandshakeError;
use crate::handshake::establish;

/// A listening socket.
pub(crate) struct Listening {
    endpoint: Arc<Attached>,
    /// The interfaces when listening began, for when the system does not tell any more.
    interfaces: Vec<IpAddr>,
}

impl Listening {
    pub(crate) fn new(endpoint: Arc<Attached>) -> io::Result<Self> {
        let interfaces = endpoint.rt.net().interface_addrs()?;
        Ok(Self {
            endpoint,
            interfaces,
        })
    }

    fn incoming(&self, arrival: Arrival, remote: SocketAddr) -> Incoming {
        let at = self.endpoint.at;
        let ip = arrival.local_ip().unwrap_or_else(|| at.ip());
        let ticket = Ticket {
            endpoint: self.endpoint.clone(),
            arrival: Some(arrival),
        };
        Incoming {
            remote: multiaddr(remote),
            local: multiaddr(SocketAddr::new(ip, at.port())),
            link: ticket.redeem().boxed(),
        }
    }
}

impl Listener for Listening {
    fn addrs(&self) -> Vec<Multiaddr> {
        let at = self.endpoint.at;
        if !at.ip().is_unspecified() {
            return vec![multiaddr(at)];
        }
        let interfaces = self.endpoint.rt.net().interface_addrs();
        let interfaces = interfaces.as_ref().unwrap_or(&self.interfaces);
        interfaces
            .iter()
            .filter(|ip| ip.is_ipv4() == at.is_ipv4())
            .map(|ip| multiaddr(SocketAddr::new(*ip, at.port())))
            .collect()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            loop {
                let arrival = poll_fn(|cx| self.endpoint.poll_arrival(cx.waker())).await;
                if let Some(remote) = arrival.remote() {
                    return Ok(self.incoming(arrival, remote));
                }
            }
        }
        .boxed()
    }

    fn refusals(&mut self) -> Option<(Exceeded, u64)> {
        self.endpoint.refusals()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.endpoint.stop_listening();
    }
}

/// The right to a handshake. Dropping it forgets the dialer.
struct Ticket {
    endpoint: Arc<Attached>,
    arrival: Option<Arrival>,
}

impl Ticket {
    async fn redeem(mut self) -> Result<Link, TransportError> {
        let Some(arrival) = self.arrival.take() else {
            return Err(failed(HandshakeError::Refused));
        };
        match self.endpoint.accept(arrival) {
            Err(error) => Err(failed(error.into())),
            Ok((driver, _permit)) => Ok(Link::Muxed(establish(driver, None).await?)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(arrival) = &mut self.arrival {
            self.endpoint.ignore(arrival);
        }
    }
}

pub(crate) fn failed(error: HandshakeError) -> TransportError {
    TransportError::Handshake(Box::new(error))
}
