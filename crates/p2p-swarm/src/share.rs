//! What each peer may make us hold, over all its connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use p2p_core::{Budget, Exceeded, PeerId, Permit, Protocol};

use crate::limits::Limits;
use crate::tasks::lock;

/// Is told what was refused to a peer.
pub(crate) type OnRefusal = Arc<dyn Fn(PeerId, &Exceeded) + Send + Sync>;

/// The budgets of the peers that have a connection or are about to.
pub(crate) struct Shares {
    memory: Budget,
    streams: Budget,
    limits: Limits,
    on_refusal: OnRefusal,
    peers: Mutex<BTreeMap<PeerId, (PeerShare, usize)>>,
}

#[derive(Clone)]
struct PeerShare {
    memory: Budget,
    streams: Budget,
    /// Streams being served, over all connections.
    serving: Arc<Mutex<Counts>>,
}

/// A connection's part of its peer's share. The peer's budget lives as long as one of them.
pub(crate) struct Share {
    shares: Arc<Shares>,
    peer: PeerId,
    /// What the connection may make us hold.
    pub(crate) budget: Budget,
    /// The streams that the remote may have open on it.
    pub(crate) streams: Arc<StreamShare>,
}

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct StreamShare {
    all: Budget,
    /// Taken after `serving` where both are.
    of_peer: Arc<Mutex<Counts>>,
    max_per_peer: usize,
    /// Streams being served on this connection.
    serving: Mutex<Counts>,
}

/// Streams by protocol, only of protocols that have some: a few, so a list is the smallest.
#[derive(Debug, Default)]
struct Counts(Vec<(Protocol, usize)>);

/// The place of a stream that is being served.
#[derive(Debug)]
pub(crate) struct Serving {
    streams: Arc<StreamShare>,
    protocol: Protocol,
}

impl Shares {
    pub(crate) fn new(
        memory: Budget,
        streams: Budget,
        limits: &Limits,
        on_refusal: OnRefusal,
    ) -> Self {
        Self {
            memory,
            streams,
            limits: limits.clone(),
            on_refusal,
            peers: Mutex::default(),
        }
    }

    /// A share for one more connection with `peer`.
    pub(crate) fn share(self: &Arc<Self>, peer: PeerId) -> Share {
        let limits = &self.limits;
        let mut peers = lock(&self.peers);
        let (of_peer, users) = peers.entry(peer).or_insert_with(|| {
            let (memory, streams) = (limits.peer_memory, limits.max_streams_per_peer);
            let on_refusal = Arc::clone(&self.on_refusal);
            let tell = move |exceeded: &Exceeded| on_refusal(peer, exceeded);
            let share = PeerShare {
                memory: self
                    .memory
                    .watched_child("memory of a peer", "peer_memory", memory, tell),
                streams: self
                    .streams
                    .child("streams of a peer", "max_streams_per_peer", streams),
                serving: Arc::default(),
            };
            (share, 0)
        });
        *users += 1;
        let (memory, streams) = (limits.connection_memory, limits.max_streams_per_connection);
        let setting = "max_streams_per_connection";
        Share {
            shares: Arc::clone(self),
            peer,
            budget: of_peer
                .memory
                .child("memory of a connection", "connection_memory", memory),
            streams: Arc::new(StreamShare {
                all: of_peer
                    .streams
                    .child("streams of a connection", setting, streams),
                of_peer: Arc::clone(&of_peer.serving),
                max_per_peer: limits.max_streams_per_protocol_and_peer,
                serving: Mutex::default(),
            }),
        }
    }

    /// Peers that have a share.
    pub(crate) fn peers(&self) -> usize {
        lock(&self.peers).len()
    }
}

impl StreamShare {
    /// Room for one more incoming stream, whatever it will be for.
    pub(crate) fn accept(&self) -> Result<Permit, Exceeded> {
        self.all.reserve(1)
    }

    /// Incoming streams, whatever they are for.
    pub(crate) fn accepted(&self) -> usize {
        self.all.used()
    }

    /// Room for one more incoming stream of `protocol`, of which this connection may have `max`;
    /// `setting` is where that number comes from.
    pub(crate) fn serve(
        self: &Arc<Self>,
        protocol: &Protocol,
        max: usize,
        setting: &'static str,
    ) -> Result<Serving, Exceeded> {
        let mut serving = lock(&self.serving);
        let mut of_peer = lock(&self.of_peer);
        serving.check(protocol, "streams of one protocol", setting, max)?;
        let name = "streams of one protocol and one peer";
        let of_peers = "max_streams_per_protocol_and_peer";
        of_peer.check(protocol, name, of_peers, self.max_per_peer)?;
        serving.add(protocol);
        of_peer.add(protocol);
        Ok(Serving {
            streams: Arc::clone(self),
            protocol: protocol.clone(),
        })
    }

    /// Streams being served, by protocol.
    pub(crate) fn serving(&self) -> BTreeMap<Protocol, usize> {
        lock(&self.serving).0.iter().cloned().collect()
    }
}

impl Serving {
    /// What the stream is served for.
    pub(crate) fn protocol(&self) -> &Protocol {
        &self.protocol
    }
}

impl Counts {
    /// Whether one more would be too many.
    fn check(
        &self,
        protocol: &Protocol,
        name: &'static str,
        setting: &'static str,
        limit: usize,
    ) -> Result<(), Exceeded> {
        let count = self.0.iter().find(|(known, _)| known == protocol);
        let used = count.map_or(0, |(_, count)| *count);
        Exceeded::check_one_more(name, setting, limit, used)
    }

    fn add(&mut self, protocol: &Protocol) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == protocol) {
            *count += 1;
            return;
        }
        self.0.reserve_exact(1);
        self.0.push((protocol.clone(), 1));
    }

    fn remove(&mut self, protocol: &Protocol) {
        let at = self.0.iter().position(|(known, _)| known == protocol);
        let Some((at, (_, count))) = at.and_then(|at| Some((at, self.0.get_mut(at)?))) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            // Its room stays: a connection that asks again and again must not allocate each time.
            self.0.swap_remove(at);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        lock(&self.streams.serving).remove(&self.protocol);
        lock(&self.streams.of_peer).remove(&self.protocol);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut peers = lock(&self.shares.peers);
        if let Some((_, users)) = peers.get_mut(&self.peer) {
            *users -= 1;
            if *users == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limits: &Limits) -> Arc<Shares> {
        let memory = Budget::new("memory of the host", "memory_budget", 1000);
        let streams = Budget::new("streams", "max_streams", limits.max_streams);
        Arc::new(Shares::new(memory, streams, limits, Arc::new(|_, _| ())))
    }

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    #[test]
    fn the_connections_of_a_peer_share_one_limit_that_goes_with_the_last() {
        let shares = shares(&Limits {
            peer_memory: 100,
            connection_memory: 80,
            ..Limits::default()
        });
        let (one, two) = (shares.share(peer(1)), shares.share(peer(1)));
        let held = one.budget.reserve(80).unwrap();
        let refused = two.budget.reserve(30).unwrap_err();
        assert_eq!(refused.setting, "peer_memory");
        drop((held, one, two));
        assert_eq!(shares.peers(), 0);
    }

    #[test]
    fn each_level_of_streams_refuses_in_its_own_name() {
        let shares = shares(&Limits {
            max_streams: 4,
            max_streams_per_peer: 3,
            max_streams_per_connection: 2,
            max_streams_per_protocol_and_peer: 2,
            ..Limits::default()
        });
        let (one, two) = (shares.share(peer(1)), shares.share(peer(1)));
        let other = shares.share(peer(2));
        fn setting<T: std::fmt::Debug>(refused: Result<T, Exceeded>) -> &'static str {
            refused.unwrap_err().setting
        }

        let mut held = vec![one.streams.accept().unwrap(), one.streams.accept().unwrap()];
        assert_eq!(setting(one.streams.accept()), "max_streams_per_connection");
        held.push(two.streams.accept().unwrap());
        assert_eq!(setting(two.streams.accept()), "max_streams_per_peer");
        held.push(other.streams.accept().unwrap());
        assert_eq!(setting(other.streams.accept()), "max_streams");

        let echo = Protocol::from_static("/echo");
        let serve = |share: &Share| share.streams.serve(&echo, 1, "max_streams_per_protocol");
        let mut served = vec![serve(&one).unwrap()];
        assert_eq!(setting(serve(&one)), "max_streams_per_protocol");
        assert_eq!(one.streams.serving(), BTreeMap::from([(echo.clone(), 1)]));
        served.push(serve(&two).unwrap());
        let three = shares.share(peer(1));
        assert_eq!(setting(serve(&three)), "max_streams_per_protocol_and_peer");
        served.push(serve(&other).unwrap());
    }
}
