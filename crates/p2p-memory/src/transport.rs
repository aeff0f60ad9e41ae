//! `/memory/<number>`: dial and listen within a [`Hub`].

use std::io;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, ready};
use p2p_core::multiaddr_parts::Part;
use p2p_core::{Dialed, Incoming, Link, Listener, Multiaddr, PeerId, Transport, TransportError};

use crate::hub::{Arrival, Registration};
use crate::{Config, Hub, pipe};

/// The transport `/memory/<number>`, with or without a `/p2p/<id>` behind it.
#[derive(Clone, Debug)]
pub struct Memory {
    hub: Hub,
    config: Config,
}

impl Memory {
    /// Dials and listens within `hub`.
    pub fn new(hub: Hub, config: Config) -> Self {
        Self { hub, config }
    }

    fn connect(&self, addr: &Multiaddr) -> Result<Dialed, TransportError> {
        let number = number_in(addr)?;
        let (ours, theirs) = pipe(self.config.capacity.get());
        let from = match number {
            0 => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "0 asks a listener to pick a number; it cannot be dialed",
            )),
            number => self.hub.connect(number, theirs),
        };
        match from {
            Err(source) => Err(TransportError::Connect {
                addr: addr.clone(),
                source,
            }),
            Ok(from) => Ok(Dialed {
                link: Link::Raw(Box::new(ours)),
                local: Some(addr_of(from)),
            }),
        }
    }

    fn bind(&self, addr: &Multiaddr) -> Result<Box<dyn Listener>, TransportError> {
        let number = number_in(addr)?;
        match self.hub.listen(number, self.config.backlog) {
            Err(source) => Err(TransportError::Listen {
                addr: addr.clone(),
                source,
            }),
            Ok(registration) => Ok(Box::new(MemoryListener(registration))),
        }
    }
}

impl Transport for Memory {
    fn supports(&self, addr: &Multiaddr) -> bool {
        number_in(addr).is_ok()
    }

    /// Done at once: the connection waits in the listener's backlog.
    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let memory = self.clone();
        async move { memory.connect(&addr) }.boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let memory = self.clone();
        async move { memory.bind(&addr) }.boxed()
    }
}

struct MemoryListener(Registration);

impl MemoryListener {
    fn incoming(&self, Arrival { from, pipe }: Arrival) -> Incoming {
        Incoming {
            remote: addr_of(from),
            local: addr_of(self.0.number),
            link: ready(Ok(Link::Raw(Box::new(pipe)))).boxed(),
        }
    }
}

impl Listener for MemoryListener {
    fn addrs(&self) -> Vec<Multiaddr> {
        vec![addr_of(self.0.number)]
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            match self.0.arrivals.next().await {
                Some(arrival) => Ok(self.incoming(arrival)),
                // The hub keeps the sender as long as this listener lives.
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        }
        .boxed()
    }
}

fn number_in(addr: &Multiaddr) -> Result<u64, TransportError> {
    let mut parts = addr.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Part::Memory(number)), None | Some(Part::P2p(_)), None) => Ok(number),
        _ => Err(TransportError::Unsupported { addr: addr.clone() }),
    }
}

fn addr_of(number: u64) -> Multiaddr {
    Multiaddr::from(Part::Memory(number))
}
