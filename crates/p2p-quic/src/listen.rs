//! Incoming connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, poll_fn};
use p2p_core::{Cause, Exceeded, Incoming, Link, Listener, Multiaddr, TransportError};
use quinn_proto::ServerConfig;

use crate::addr::multiaddr;
use crate::endpoint::{Arrival, Attached};
use crate::error::HandshakeError;
use crate::handshake::establish;
use crate::tls::{Identity, explain};

/// A listening socket.
pub(crate) struct Listening {
    endpoint: Arc<Attached>,
    identity: Identity,
    server: Arc<ServerConfig>,
    /// The interfaces when listening began, for when the system does not tell any more.
    interfaces: Vec<IpAddr>,
}

impl Listening {
    pub(crate) fn new(
        endpoint: Arc<Attached>,
        identity: Identity,
        server: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let interfaces = endpoint.rt.net().interface_addrs()?;
        Ok(Self {
            endpoint,
            identity,
            server,
            interfaces,
        })
    }

    fn incoming(&self, arrival: Arrival, remote: SocketAddr) -> Incoming {
        let at = self.endpoint.at;
        let ip = arrival.local_ip().unwrap_or_else(|| at.ip());
        let ticket = Ticket {
            endpoint: self.endpoint.clone(),
            identity: self.identity.clone(),
            server: self.server.clone(),
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
    identity: Identity,
    server: Arc<ServerConfig>,
    arrival: Option<Arrival>,
}

impl Ticket {
    async fn redeem(mut self) -> Result<Link, TransportError> {
        let Some(arrival) = self.arrival.take() else {
            return Err(failed(HandshakeError::Refused));
        };
        let (server, verdict) = match self.identity.accepting(&self.server) {
            Ok(one) => one,
            Err(error) => return Err(TransportError::Handshake(Cause::new(error.blame(), error))),
        };
        match self.endpoint.accept(arrival, server) {
            Err(error) => Err(failed(error.into())),
            Ok((driver, _permit)) => {
                let established = establish(driver, None).await;
                let established = established.map_err(|error| explain(error, &verdict))?;
                Ok(Link::Muxed(established))
            }
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
    TransportError::Handshake(Cause::new(error.blame(), error))
}
