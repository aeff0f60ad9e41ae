//! What becomes of the score of a peer that behaves in a certain way.

use std::time::Duration;

use p2p_core::Instant;

use super::Scores;
use crate::ids::Keyed;
use crate::score_params::ScoreParams;
use crate::table::PeerIx;
use crate::trace::Reject;
use crate::{MessageId, Topic};

/// How a peer in our mesh behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Delivers every message, one in eight first.
    Honest,
    /// Delivers nothing.
    Silent,
    /// Delivers every message, long after everybody else.
    Late,
    /// Delivers as an honest peer does, and one invalid message in ten.
    Invalid,
    /// Delivers as an honest peer does, and misbehaves once a second (P7).
    Flooding,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Honest,
        Self::Silent,
        Self::Late,
        Self::Invalid,
        Self::Flooding,
    ];
}

impl ScoreParams {
    /// The score, once a second for `seconds`, of a peer that stays in our mesh of `topic` and
    /// behaves like this, while `rate` messages a second come in the topic.
    ///
    /// It is not pruned, whatever its score: what the parameters do is to be seen.
    pub fn forecast(
        &self,
        topic: &Topic,
        behaviour: Behaviour,
        rate: f64,
        seconds: u32,
    ) -> Vec<f64> {
        let (peer, other) = (PeerIx(1), PeerIx(2));
        let mut now = Instant::ZERO;
        let mut scores = Scores::new(
            self.clone(),
            Duration::from_secs(120),
            100_000,
            Keyed::new(0, 0),
        );
        for ix in [peer, other] {
            scores.add_peer(ix);
            scores.graft(ix, topic, now);
        }
        let (mut owed, mut number) = (0.0, 0u64);
        let mut next_refresh = now + self.decay_interval;
        let mut path = Vec::new();
        for _ in 0..seconds {
            owed += rate;
            while owed >= 1.0 {
                owed -= 1.0;
                number += 1;
                one(&mut scores, topic, behaviour, number, now);
            }
            if behaviour == Behaviour::Flooding {
                scores.add_penalty(peer, 1);
            }
            now += Duration::from_secs(1);
            if now >= next_refresh {
                scores.refresh(now);
                next_refresh = now + self.decay_interval;
            }
            path.push(scores.score(peer));
        }
        path
    }
}

/// One message of the topic, as `behaviour` would have it.
fn one(scores: &mut Scores, topic: &Topic, behaviour: Behaviour, number: u64, now: Instant) {
    let (peer, other) = (PeerIx(1), PeerIx(2));
    let id = MessageId::new(&number.to_be_bytes());
    scores.validating(&id, now);
    match behaviour {
        Behaviour::Invalid if number.is_multiple_of(10) => {
            scores.rejected(peer, &id, topic, Reject::Invalid, now);
        }
        Behaviour::Silent => scores.delivered(other, &id, topic, now),
        Behaviour::Late => {
            scores.delivered(other, &id, topic, now);
            scores.duplicate(peer, &id, topic, now + Duration::from_secs(5));
        }
        Behaviour::Honest | Behaviour::Invalid | Behaviour::Flooding => {
            let first = number.is_multiple_of(8);
            let (winner, loser) = if first { (peer, other) } else { (other, peer) };
            scores.delivered(winner, &id, topic, now);
            scores.duplicate(loser, &id, topic, now);
        }
    }
}
