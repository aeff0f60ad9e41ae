//! What each peer may make us hold, over all its connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use p2p_core::{Budget, PeerId};

use crate::config::Config;
use crate::tasks::lock;

/// The budgets of the peers that have a connection or are about to.
pub(crate) struct Shares {
    host: Budget,
    peer_limit: usize,
    connection_limit: usize,
    peers: Mutex<BTreeMap<PeerId, (Budget, usize)>>,
}

/// A connection's part of its peer's share. The peer's budget lives as long as one of them.
pub(crate) struct Share {
    shares: Arc<Shares>,
    peer: PeerId,
    /// What the connection may make us hold.
    pub(crate) budget: Budget,
}

impl Shares {
    pub(crate) fn new(host: Budget, config: &Config) -> Self {
        Self {
            host,
            peer_limit: config.peer_memory,
            connection_limit: config.connection_memory,
            peers: Mutex::default(),
        }
    }

    /// A share for one more connection with `peer`.
    pub(crate) fn share(self: &Arc<Self>, peer: PeerId) -> Share {
        let mut peers = lock(&self.peers);
        let (budget, users) = peers.entry(peer).or_insert_with(|| {
            let limit = self.peer_limit;
            let budget = self.host.child("memory of a peer", "peer_memory", limit);
            (budget, 0)
        });
        *users += 1;
        Share {
            shares: Arc::clone(self),
            peer,
            budget: budget.child(
                "memory of a connection",
                "connection_memory",
                self.connection_limit,
            ),
        }
    }

    /// Peers that have a share.
    pub(crate) fn peers(&self) -> usize {
        lock(&self.peers).len()
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

    #[test]
    fn the_connections_of_a_peer_share_one_limit_that_goes_with_the_last() {
        let config = Config {
            peer_memory: 100,
            connection_memory: 80,
            ..Config::default()
        };
        let host = Budget::new("memory of the host", "memory_budget", 1000);
        let shares = Arc::new(Shares::new(host, &config));
        let peer = PeerId::from_bytes(&[0, 1, 1]).unwrap();

        let (one, two) = (shares.share(peer), shares.share(peer));
        let held = one.budget.reserve(80).unwrap();
        let refused = two.budget.reserve(30).unwrap_err();
        assert_eq!(refused.setting, "peer_memory");
        drop((held, one, two));
        assert_eq!(shares.peers(), 0);
    }
}
