//! TCP with a word on who is there and streams on top: a transport that keeps the rules for links
//! that are secured and multiplexed, as far as they can tell.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    Blame, Budget, Cause, Dialed, Established, Incoming, Link, Listener, Multiaddr, Multiplex,
    PeerId, Role, Rt, SecurityError, Transport, TransportError,
};
use p2p_tcp::{Config, Tcp};
use p2p_yamux::Yamux;

/// The start of the id of a peer with an Ed25519 key.
const ED25519: [u8; 6] = [0, 36, 8, 1, 18, 32];

#[derive(Clone, Debug)]
pub(crate) struct Named {
    tcp: Arc<Tcp>,
    rt: Rt,
    peer: PeerId,
}

struct NamedListener {
    inner: Box<dyn Listener>,
    node: Named,
}

impl Named {
    pub(crate) fn new(rt: Rt) -> Self {
        let key: [u8; 32] = rt.random();
        let id = [&ED25519[..], &key].concat();
        Self {
            tcp: Arc::new(Tcp::new(Rt::clone(&rt), Config::default())),
            rt,
            peer: PeerId::from_bytes(&id).unwrap(),
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    async fn upgrade(
        self,
        link: Link,
        role: Role,
        expect: Option<PeerId>,
    ) -> Result<Link, TransportError> {
        let Link::Raw(mut io) = link else {
            return Ok(link);
        };
        let mut id = self.peer.to_bytes();
        io.write_all(&id).await.map_err(SecurityError::Io)?;
        io.read_exact(&mut id).await.map_err(SecurityError::Io)?;
        let found = PeerId::from_bytes(&id);
        let found = found.map_err(|error| {
            SecurityError::Protocol(Cause::new(Blame::Remote, error.to_string()))
        })?;
        if let Some(expected) = expect.filter(|expected| *expected != found) {
            return Err(SecurityError::WrongPeer { expected, found }.into());
        }
        let muxing = Yamux::default().start(io, role, &self.rt, &Budget::unlimited());
        Ok(Link::Muxed(Established {
            peer: found,
            public_key: id.split_off(2).into(),
            muxing,
        }))
    }
}

impl Transport for Named {
    fn supports(&self, addr: &Multiaddr) -> bool {
        self.tcp.supports(addr)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let node = self.clone();
        let dial = self.tcp.dial(addr, None);
        async move {
            let Dialed { link, local } = dial.await?;
            let link = node.upgrade(link, Role::Dialer, expect).await?;
            Ok(Dialed { link, local })
        }
        .boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let node = self.clone();
        let listen = self.tcp.listen(addr);
        async move {
            let inner = listen.await?;
            Ok(Box::new(NamedListener { inner, node }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

impl Listener for NamedListener {
    fn addrs(&self) -> Vec<Multiaddr> {
        self.inner.addrs()
    }

    fn accept(&mut self) -> BoxFuture<'_, std::io::Result<Incoming>> {
        async {
            let incoming = self.inner.accept().await?;
            let node = self.node.clone();
            let link = incoming.link;
            let upgrade = async move { node.upgrade(link.await?, Role::Listener, None).await };
            Ok(Incoming {
                link: upgrade.boxed(),
                ..incoming
            })
        }
        .boxed()
    }
}
