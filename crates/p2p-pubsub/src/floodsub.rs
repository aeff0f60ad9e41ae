//! Floodsub: every message to everybody in its topic.
//!
//! Never back to who sent it, never to who wrote it. No control messages, no scores.
//!
//! Spec: libp2p/specs `pubsub/README.md`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{Budget, Instant, PeerId, Protocol};

use crate::base::{Base, Flight};
use crate::config::Config;
use crate::router::{
    Output, PublishError, Published, Remote, Router, Stats, Ticket, Verdict, Version,
};
use crate::table::PeerIx;
use crate::trace::{DropCause, Reject, Trace};
use crate::wire::{Part, WireError};
use crate::{Message, Topic};

/// The floodsub router.
pub struct Floodsub {
    base: Base,
}

impl Floodsub {
    /// A router for the peer `local`. `budget` pays for messages, `seed` decides what is left to
    /// chance.
    pub fn new(local: PeerId, config: Config, budget: Budget, seed: u64) -> Self {
        Self {
            base: Base::new(local, config, budget, seed),
        }
    }

    /// Entries of all maps, to see that nothing is left behind.
    pub fn entries(&self) -> usize {
        self.base.entries()
    }

    fn forward(&mut self, flight: &Flight) {
        let author = flight.message.source();
        let topic = flight.message.topic();
        let peers: Vec<PeerIx> = self.base.table.in_topic(topic).collect();
        for ix in peers {
            let is_author = self.base.table.id(ix) == author;
            if ix != flight.from && !flight.also.contains(&ix) && !is_author {
                self.base.forward(ix, &flight.id, &flight.message);
            }
        }
    }
}

impl Router for Floodsub {
    fn protocols(&self) -> Vec<Protocol> {
        vec![Version::Floodsub.protocol()]
    }

    fn handle_peer_connected(&mut self, remote: Remote, now: Instant) {
        self.handle_peer_disconnected(&remote.peer, now);
        self.base.connect(remote, None);
    }

    fn handle_peer_disconnected(&mut self, peer: &PeerId, _now: Instant) {
        if let Some(ix) = self.base.disconnect(peer) {
            self.base.table.forget(ix);
        }
    }

    fn handle_stream_opened(&mut self, peer: &PeerId) {
        self.base.start_anew(peer);
    }

    fn handle_rpc(&mut self, peer: &PeerId, rpc: Bytes, now: Instant) -> Result<(), WireError> {
        let Some((ix, parts)) = self.base.open(peer, &rpc)? else {
            return Ok(());
        };
        self.base.subscriptions(ix, &parts);
        self.base.greeted(ix);
        for part in parts.parts() {
            if let Part::Publish(view) = part {
                self.base.incoming(ix, &view, &rpc, now);
            }
        }
        Ok(())
    }

    fn handle_verdict(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) {
        let Some(flight) = self.base.land(ticket) else {
            return;
        };
        let (ix, id) = (flight.from, &flight.id);
        if self.base.seen.contains(id.as_bytes(), now) {
            self.base.drop_in(ix, Some(id), DropCause::Duplicate);
            return;
        }
        let why = match verdict {
            Verdict::Accept => {
                if deliver(&mut self.base, &flight, now) {
                    self.forward(&flight);
                }
                return;
            }
            Verdict::BadSignature(error) => Reject::Signature(error),
            Verdict::Ignore => Reject::Ignored,
            Verdict::Reject => Reject::Invalid,
            Verdict::Throttled => Reject::Throttled,
        };
        if matches!(why, Reject::Ignored | Reject::Invalid) {
            self.base.seen.insert(id, now);
        }
        self.base.reject(ix, id, why);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.base.seen.expire(now);
    }

    fn subscribe(&mut self, topic: &Topic, _now: Instant) -> bool {
        self.base.announce(topic, true)
    }

    fn unsubscribe(&mut self, topic: &Topic, _now: Instant) -> bool {
        self.base.announce(topic, false)
    }

    fn publish(&mut self, message: &Arc<Message>, now: Instant) -> Result<Published, PublishError> {
        let id = self.base.check_own(message, now)?;
        let mut targets = std::mem::take(&mut self.base.targets);
        targets.extend(self.base.table.in_topic(message.topic()));
        let sent = self.base.send_own(&targets, &id, message);
        targets.clear();
        self.base.targets = targets;
        let (sent, full) = sent?;
        self.base.seen.insert(&id, now);
        Ok(Published { id, sent, full })
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.base.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn take_frame(&mut self, peer: &PeerId, buffer: &mut Vec<u8>) -> bool {
        self.base.take_frame(peer, buffer, |_| None)
    }

    fn stats(&self) -> &Stats {
        &self.base.stats
    }

    fn connected(&self) -> usize {
        self.base.table.connected()
    }

    fn topic_peers(&self, topic: &Topic) -> Vec<PeerId> {
        self.base.topic_peers(topic)
    }

    fn mesh_peers(&self, topic: &Topic) -> Vec<PeerId> {
        self.base.topic_peers(topic)
    }

    fn score_of_peer(&self, _peer: &PeerId) -> f64 {
        0.0
    }

    fn set_application_score(&mut self, _peer: &PeerId, _score: f64) {}

    fn block(&mut self, peer: PeerId, blocked: bool) {
        self.base.block(peer, blocked);
    }

    fn set_trace(&mut self, on: bool) {
        self.base.config.trace = on;
    }
}

impl fmt::Debug for Floodsub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floodsub")
            .field("local", &self.base.local)
            .field("topics", &self.base.topics)
            .finish_non_exhaustive()
    }
}

/// Gives an accepted message to our subscribers; false if the last one left during its check.
pub(crate) fn deliver(base: &mut Base, flight: &Flight, now: Instant) -> bool {
    if !base.topics.contains(flight.message.topic()) {
        base.drop_in(flight.from, Some(&flight.id), DropCause::NotSubscribed);
        return false;
    }
    base.seen.insert(&flight.id, now);
    base.stats.delivered += 1;
    let id = flight.id.clone();
    let topic = flight.message.topic().clone();
    base.trace(flight.from, |from| Trace::Delivered { id, topic, from });
    base.output(Output::Deliver {
        id: flight.id.clone(),
        from: flight.sender,
        message: Arc::clone(&flight.message),
    });
    true
}
