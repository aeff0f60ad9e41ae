//! The names of our connections on the wire, by which a socket knows its own again.
//!
//! ```text
//!   4 bytes, random | 4 bytes, what our key makes of them
//! ```
//!
//! Who says hello under a name that only we can have given is late: the connection is over and
//! forgotten. quinn-proto takes one in four of these datagrams for a new connection, whichever
//! four bits of them look right; the others it drops.
//!
//! All random bytes come from the runtime, so that a simulation repeats them.
//!
//! Spec: RFC 9000, sections 5.1 and 10.3.2.

use std::time::Duration;

use aws_lc_rs::hmac::{self, Key};
use p2p_core::Rt;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

const RANDOM: usize = 4;
const LENGTH: usize = 8;
/// What the first datagram of a dialer is sent to: the longest name there is.
const FIRST: usize = 20;

/// Makes connection ids, and knows those that it made with the same key.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionIds {
    key: Key,
    rt: Rt,
}

impl ConnectionIds {
    pub(crate) fn new(key: Key, rt: Rt) -> Self {
        Self { key, rt }
    }

    /// Whether only we can have made it.
    pub(crate) fn is_ours(&self, id: &[u8]) -> bool {
        id.split_first_chunk()
            .is_some_and(|(random, _)| *id == self.sealed(*random))
    }

    fn sealed(&self, random: [u8; RANDOM]) -> [u8; LENGTH] {
        let mut id = [0; LENGTH];
        let proof = hmac::sign(&self.key, &random);
        for (byte, value) in id.iter_mut().zip(random.iter().chain(proof.as_ref())) {
            *byte = *value;
        }
        id
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.sealed(self.rt.random()))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.is_ours(id).then_some(()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A name for a listener that has not given one yet.
pub(crate) fn first(rt: &Rt) -> ConnectionId {
    ConnectionId::new(&rt.random::<FIRST>())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::HMAC_SHA256;
    use p2p_sim::Sim;

    use super::*;

    #[test]
    fn ids_are_known_to_their_key_only_and_none_is_like_another() {
        let sim = Sim::new(1);
        let ids = |key| ConnectionIds::new(Key::new(HMAC_SHA256, key), sim.host("one").rt());
        let mut ours = ids(b"one key");
        let others = ConnectionIds::new(Key::new(HMAC_SHA256, b"another"), ours.rt.clone());
        let (one, two) = (ours.generate_cid(), ours.generate_cid());
        assert_ne!(one, two);
        for id in [one, two] {
            assert!(ours.is_ours(&id) && ours.validate(&id).is_ok());
            assert!(!others.is_ours(&id) && others.validate(&id).is_err());
            assert!(!ours.is_ours(&id[..7]) && !ours.is_ours(&[&id[..], &[0]].concat()));
        }
        assert!(!ours.is_ours(&[]) && !ours.is_ours(&first(&ours.rt)));
    }
}
