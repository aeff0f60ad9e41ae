//! A transport whose every link is within a private network.

use std::io;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use p2p_core::{
    Dialed, Exceeded, Incoming, Link, Listener, Multiaddr, PeerId, Rt, Transport, TransportError,
};

use crate::{PreSharedKey, Protected};

/// Makes the links of another transport those of a private network. Cheap to clone.
///
/// Only links of bytes can be protected: a transport whose links are secured and multiplexed by
/// itself ([`needs_upgrade`](Transport::needs_upgrade) says no), as QUIC's are, supports no address
/// here.
#[derive(Clone, Debug)]
pub struct Private {
    below: Arc<dyn Transport>,
    key: PreSharedKey,
    rt: Rt,
    greeting: &'static [u8],
}

impl Private {
    /// Protects what `below` dials and accepts.
    pub fn new(below: impl Transport, key: PreSharedKey, rt: Rt) -> Self {
        Self {
            below: Arc::new(below),
            key,
            rt,
            greeting: b"",
        }
    }

    /// With what every remote begins, so that another key is told from other faults: as
    /// [`Protected::expect_greeting`]. Default: nothing, no byte is looked at.
    pub fn expect_greeting(mut self, greeting: &'static [u8]) -> Self {
        self.greeting = greeting;
        self
    }

    fn protect(&self, link: Link, addr: &Multiaddr) -> Result<Link, TransportError> {
        match link {
            Link::Raw(io) => {
                let protected = Protected::new(io, &self.key, self.rt.random());
                Ok(Link::Raw(Box::new(
                    protected.expect_greeting(self.greeting),
                )))
            }
            // From a transport that says of itself that it yields bytes.
            Link::Muxed(_) => Err(TransportError::Unsupported { addr: addr.clone() }),
        }
    }
}

impl Transport for Private {
    fn supports(&self, addr: &Multiaddr) -> bool {
        self.below.needs_upgrade() && self.below.supports(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let private = self.clone();
        async move {
            if !private.supports(&addr) {
                return Err(TransportError::Unsupported { addr });
            }
            let dialed = private.below.dial(addr.clone(), expect).await?;
            let Dialed { link, local } = dialed;
            let link = private.protect(link, &addr)?;
            Ok(Dialed { link, local })
        }
        .boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let private = self.clone();
        async move {
            if !private.supports(&addr) {
                return Err(TransportError::Unsupported { addr });
            }
            let below = private.below.listen(addr).await?;
            Ok(Box::new(Listening { private, below }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

struct Listening {
    private: Private,
    below: Box<dyn Listener>,
}

impl Listener for Listening {
    fn addrs(&self) -> Vec<Multiaddr> {
        self.below.addrs()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            let incoming = self.below.accept().await?;
            let (private, link) = (self.private.clone(), incoming.link);
            let local = incoming.local.clone();
            Ok(Incoming {
                link: async move { private.protect(link.await?, &local) }.boxed(),
                ..incoming
            })
        }
        .boxed()
    }

    fn refusals(&mut self) -> Option<(Exceeded, u64)> {
        self.below.refusals()
    }
}
