//! Two nodes, their listeners, and connections between them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture, Either, abortable, join, select, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::stream::{FuturesUnordered, StreamExt};

use super::{Party, Subject};
use crate::conformance::census::{Census, Counting};
use crate::conformance::{Broken, ensure};
use crate::{
    BoxIo, BoxStream, Dialed, ErrorCode, Incoming, Link, Listener, Multiaddr, Muxer, Muxing,
    PeerId, Rt, TransportError,
};

/// How long something must not happen before we believe that it does not.
pub(super) const A_WHILE: Duration = Duration::from_millis(300);

/// What a dialer says first, so that it is told from strangers.
const GREETING: usize = 16;

/// A dialing and a listening node.
pub(super) struct World {
    pub(super) near: Node,
    pub(super) far: Node,
    pub(super) subject: Subject,
}

pub(super) struct Node {
    /// Counts what the transport opens.
    pub(super) census: Census,
    /// Does not count: for the rule itself.
    pub(super) rt: Rt,
    pub(super) party: Party,
}

/// One end of a connection: the link, or one stream of it.
pub(super) struct End {
    pub(super) io: Carrier,
    pub(super) keep: Keep,
}

/// What carries bytes.
pub(super) enum Carrier {
    Link(BoxIo),
    Stream(BoxStream),
}

/// Holds a connection without a stream of it open.
pub(super) enum Keep {
    Nothing,
    Muxed {
        muxer: Arc<dyn Muxer>,
        driver: AbortHandle,
        peer: PeerId,
    },
}

impl Drop for Keep {
    fn drop(&mut self) {
        if let Self::Muxed { driver, .. } = self {
            driver.abort();
        }
    }
}

/// A connection, both ends of it.
pub(super) struct Pair {
    pub(super) near: End,
    pub(super) far: End,
    /// Where the dialer is, as it knows and as the listener sees it.
    pub(super) dialer: (Option<Multiaddr>, Multiaddr),
    /// Where it came in.
    pub(super) local: Multiaddr,
}

/// An incoming connection that said the greeting.
pub(super) struct Arrival {
    pub(super) end: End,
    pub(super) greeting: [u8; GREETING],
    pub(super) remote: Multiaddr,
    pub(super) local: Multiaddr,
}

impl Node {
    fn new(subject: &Subject, rt: &Rt) -> Self {
        let (counting, census) = Counting::wrap(rt.clone());
        Self {
            census,
            rt: rt.clone(),
            party: (subject.make)(counting),
        }
    }

    /// Makes an end of a link: of one that has streams, a new one that we open or accept.
    async fn end(&self, link: Link, opens: bool) -> Result<End, Broken> {
        let established = match link {
            Link::Raw(io) => {
                let (io, keep) = (Carrier::Link(io), Keep::Nothing);
                return Ok(End { io, keep });
            }
            Link::Muxed(established) => established,
        };
        let Muxing { muxer, driver } = established.muxing;
        let (driver, handle) = abortable(driver);
        self.rt
            .spawn("conformance connection", driver.map(drop).boxed());
        let keep = Keep::Muxed {
            muxer: muxer.clone(),
            driver: handle,
            peer: established.peer,
        };
        let stream = match opens {
            true => muxer.open().await?,
            false => muxer.accept().await?,
        };
        let io = Carrier::Stream(stream);
        Ok(End { io, keep })
    }

    /// Dials, and says the greeting.
    pub(super) async fn dial(
        &self,
        to: Multiaddr,
        expect: Option<PeerId>,
        greeting: [u8; GREETING],
    ) -> Result<(End, Option<Multiaddr>), Broken> {
        let Dialed { link, local } = self.party.transport.dial(to, expect).await?;
        let mut end = self.end(link, true).await?;
        end.write_all(&greeting).await?;
        end.flush().await?;
        Ok((end, local))
    }

    /// Completes an incoming connection. `None`: it was a stranger's.
    async fn receive(&self, incoming: Incoming) -> Option<Arrival> {
        let link = incoming.link.await.ok()?;
        let mut end = self.end(link, false).await.ok()?;
        let mut greeting = [0; GREETING];
        end.read_exact(&mut greeting).await.ok()?;
        Some(Arrival {
            end,
            greeting,
            remote: incoming.remote,
            local: incoming.local,
        })
    }
}

impl World {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            near: Node::new(&subject, &subject.near),
            far: Node::new(&subject, &subject.far),
            subject,
        }
    }

    /// Listens where the subject says.
    pub(super) async fn listen(&self) -> Result<Box<dyn Listener>, TransportError> {
        self.listen_on(self.subject.listen.clone()).await
    }

    pub(super) async fn listen_on(
        &self,
        addr: Multiaddr,
    ) -> Result<Box<dyn Listener>, TransportError> {
        self.far.party.transport.listen(addr).await
    }

    /// Whether the transport secures its links itself.
    pub(super) fn is_secured(&self) -> bool {
        self.far.party.peer.is_some()
    }

    /// Connects to the first address of `listener`, whoever else does.
    pub(super) async fn connect(&self, listener: &mut dyn Listener) -> Result<Pair, Broken> {
        let to = first_addr(listener)?;
        self.connect_to(to, listener).await
    }

    pub(super) async fn connect_to(
        &self,
        to: Multiaddr,
        listener: &mut dyn Listener,
    ) -> Result<Pair, Broken> {
        let greeting = self.near.rt.random();
        let dial = self.near.dial(to, self.far.party.peer, greeting);
        let ((near, local), arrival) = try_join(dial, self.arrival(listener, greeting)).await?;
        Ok(Pair {
            near,
            far: arrival.end,
            dialer: (local, arrival.remote),
            local: arrival.local,
        })
    }

    /// The connection that says `greeting`; all others are accepted and dropped.
    async fn arrival(
        &self,
        listener: &mut dyn Listener,
        greeting: [u8; GREETING],
    ) -> Result<Arrival, Broken> {
        let mut arrived = self.arrivals(listener, &[greeting]).await?;
        arrived.pop().ok_or_else(|| Broken::new("no arrival"))
    }

    /// The connections that say `greetings`; all others are accepted and dropped.
    pub(super) async fn arrivals(
        &self,
        listener: &mut dyn Listener,
        greetings: &[[u8; GREETING]],
    ) -> Result<Vec<Arrival>, Broken> {
        let mut under_way: FuturesUnordered<BoxFuture<'_, Option<Arrival>>> =
            FuturesUnordered::new();
        let mut arrived = Vec::new();
        while arrived.len() < greetings.len() {
            if under_way.is_empty() {
                let incoming = listener.accept().await?;
                under_way.push(self.far.receive(incoming).boxed());
            }
            let event = match select(listener.accept(), under_way.next()).await {
                Either::Left((incoming, _)) => Either::Left(incoming?),
                Either::Right((done, _)) => Either::Right(done.flatten()),
            };
            match event {
                Either::Left(incoming) => under_way.push(self.far.receive(incoming).boxed()),
                Either::Right(done) => {
                    arrived.extend(done.filter(|done| greetings.contains(&done.greeting)));
                }
            }
        }
        Ok(arrived)
    }

    /// Drops both nodes, and waits until their sockets and tasks are gone.
    pub(super) async fn drop_nodes(self) -> Result<(), Broken> {
        let (near, far) = (self.near.census.clone(), self.far.census.clone());
        let rt = self.near.rt.clone();
        drop(self);
        let empty = join(near.empty(), far.empty());
        let gone = rt.timeout(Duration::from_secs(10), empty).await;
        ensure!(
            gone.is_ok(),
            "left after 10 s: {near} of the dialer, {far} of the listener"
        );
        Ok(())
    }
}

/// Where `listener` can be reached.
pub(super) fn first_addr(listener: &dyn Listener) -> Result<Multiaddr, Broken> {
    let addrs = listener.addrs();
    addrs
        .into_iter()
        .next()
        .ok_or_else(|| Broken::new("the listener has no address"))
}

impl End {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.io {
            Carrier::Link(io) => io.write_all(bytes).await,
            Carrier::Stream(stream) => stream.write_all(bytes).await,
        }
    }

    pub(super) async fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.io {
            Carrier::Link(io) => io.flush().await,
            Carrier::Stream(stream) => stream.flush().await,
        }
    }

    async fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        match &mut self.io {
            Carrier::Link(io) => io.read_exact(bytes).await,
            Carrier::Stream(stream) => stream.read_exact(bytes).await,
        }
    }

    /// The bytes, and what must live as long as they are used.
    pub(super) fn into_io(self) -> (BoxIo, Keep) {
        match self.io {
            Carrier::Link(io) => (io, self.keep),
            Carrier::Stream(stream) => (Box::new(stream), self.keep),
        }
    }
}

impl Keep {
    /// Who is at the other end.
    pub(super) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Nothing => None,
            Self::Muxed { peer, .. } => Some(*peer),
        }
    }

    /// Ends the connection in order.
    pub(super) fn close(&self) {
        if let Self::Muxed { muxer, .. } = self {
            muxer.close(ErrorCode::NONE);
        }
    }
}
