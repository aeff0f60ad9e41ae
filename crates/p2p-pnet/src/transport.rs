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
/// Only links of bytes can be protected: those that come with streams of their own, as QUIC's do,
/// are refused.
#[derive(Clone, Debug)]
pub struct Private {
    below: Arc<dyn Transport>,
    key: PreSharedKey,
    rt: Rt,
}

impl Private {
    /// Protects what `below` dials and accepts.
    pub fn new(below: impl Transport, key: PreSharedKey, rt: Rt) -> Self {
        Self {
            below: Arc::new(below),
            key,
            rt,
        }
    }

    fn protect(&self, link: Link) -> Result<Link, TransportError> {
        match link {
            Link::Raw(io) => {
                let protected = Protected::new(io, &self.key, self.rt.random());
                Ok(Link::Raw(Box::new(protected)))
            }
            Link::Muxed(_) => {
                let what = "this transport cannot be used in a private network";
                Err(TransportError::Handshake(what.into()))
            }
        }
    }
}

impl Transport for Private {
    fn supports(&self, addr: &Multiaddr) -> bool {
        self.below.supports(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let (private, dial) = (self.clone(), self.below.dial(addr, expect));
        async move {
            let Dialed { link, local } = dial.await?;
            let link = private.protect(link)?;
            Ok(Dialed { link, local })
        }
        .boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let (private, listen) = (self.clone(), self.below.listen(addr));
        async move {
            let below = listen.await?;
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
            Ok(Incoming {
                link: async move { private.protect(link.await?) }.boxed(),
                ..incoming
            })
        }
        .boxed()
    }

    fn refusals(&mut self) -> Option<(Exceeded, u64)> {
        self.below.refusals()
    }
}
