//! A topic that everybody is in: who published what, and who got it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use p2p::pubsub::{Config, Message, Received, Stats, Subscription, Usage};
use p2p::{GossipConfig, PeerId, Pubsub};

use crate::dice::Dice;
use crate::ledger::Way;
use crate::node::App;

const TOPIC: &str = "club";
/// A message that came twice within this time was remembered badly: longer than any run.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// What was published by anybody, by its number.
#[derive(Default)]
pub(crate) struct Club {
    published: Mutex<BTreeMap<u64, (PeerId, usize)>>,
}

/// One host in the club.
#[derive(Clone)]
pub(crate) struct Member {
    club: Arc<Club>,
    pubsub: Pubsub,
    got: Arc<Mutex<Got>>,
}

/// What a subscription gave.
#[derive(Default)]
struct Got {
    numbers: BTreeSet<u64>,
    lost: u64,
}

impl Club {
    /// Notes a message before it is published; returns its number and its bytes.
    fn write(&self, author: PeerId, len: usize) -> (u64, Vec<u8>) {
        let mut published = self.published.lock().expect("no panic under the lock");
        let number = published.len() as u64;
        published.insert(number, (author, len));
        let body = Way {
            number,
            forth: true,
        };
        let bytes = [&number.to_be_bytes()[..], &body.bytes(0, len)].concat();
        (number, bytes)
    }

    /// The number of a message that came, which is what its author published.
    fn check(&self, message: &Message) -> u64 {
        let data = message.data();
        let (number, body) = data.split_first_chunk().expect("a number");
        let number = u64::from_be_bytes(*number);
        let published = self.published.lock().expect("no panic under the lock");
        let known = published.get(&number).copied();
        drop(published);
        let author = message.source().expect("messages are signed");
        assert_eq!(known, Some((author, body.len())), "message {number}");
        let way = Way {
            number,
            forth: true,
        };
        way.check(0, body);
        number
    }
}

impl Member {
    /// Joins the club on the host of `app`.
    pub(crate) fn join(app: &App, club: &Arc<Club>, floods: bool) -> Self {
        let dice = Dice(app.host.swarm().rt().clone());
        let set = |config: &mut Config| {
            config.seen_ttl = REMEMBERED;
            // Some do not read as fast as messages come.
            config.subscriber_backlog = dice.pick(&[2, 256]);
        };
        let pubsub = if floods {
            let mut config = Config::default();
            set(&mut config);
            Pubsub::flood(&app.host, config)
        } else {
            let mut config = GossipConfig::default();
            set(&mut config.base);
            Pubsub::gossip(&app.host, config)
        };
        let member = Self {
            club: Arc::clone(club),
            pubsub: pubsub.expect("the settings are sound"),
            got: Arc::default(),
        };
        let subscription = member.pubsub.subscribe(TOPIC);
        app.spawn("reads", member.clone().read(subscription, dice).boxed());
        member
    }

    fn got(&self) -> MutexGuard<'_, Got> {
        self.got.lock().expect("no panic under the lock")
    }

    async fn read(self, mut subscription: Subscription, dice: Dice) {
        while let Some(received) = subscription.next().await {
            match received {
                Received::Lagged(lost) => self.got().lost += lost,
                Received::Message { message, .. } => {
                    let number = self.club.check(&message);
                    assert!(self.got().numbers.insert(number), "{number} came twice");
                }
            }
            if dice.percent(5) {
                dice.0.sleep(dice.time(Duration::from_secs(2))).await;
            }
        }
    }

    /// Publishes something; returns its number if somebody may get it.
    pub(crate) async fn publish(&self, author: PeerId, len: usize) -> Option<u64> {
        let (number, bytes) = self.club.write(author, len);
        // Nobody may be there.
        let published = self.pubsub.publish(TOPIC, bytes).await;
        published.is_ok().then_some(number)
    }

    /// Every message that came was delivered or dropped for a reason: exactly, once it is
    /// `quiet`. Until then some are being checked, or wait for their reader.
    pub(crate) fn check(&self, quiet: bool) {
        let stats = self.pubsub.stats();
        let ended = ended(&stats);
        let out = stats.sent + stats.dropped_out.values().sum::<u64>();
        let got = self.got();
        let read = got.numbers.len() as u64 + got.lost;
        drop(got);
        if quiet {
            assert_eq!(stats.received, ended, "{stats:?}");
            assert!(stats.queued <= out, "{stats:?}");
            assert_eq!(stats.delivered, read, "{stats:?}");
        }
        assert!(ended <= stats.received, "{stats:?}");
        assert!(stats.sent <= stats.queued, "{stats:?}");
        assert!(read <= stats.delivered, "{stats:?}");
    }

    /// Nothing is held of others, and every message that came has ended somehow.
    pub(crate) fn check_gone(&self) {
        assert_eq!(self.pubsub.usage(), Usage::default());
        let (peers, mesh) = (self.pubsub.peers(TOPIC), self.pubsub.mesh(TOPIC));
        assert!(peers.is_empty() && mesh.is_empty(), "{peers:?} {mesh:?}");
        let stats = self.pubsub.stats();
        assert_eq!(stats.received, ended(&stats), "{stats:?}");
    }

    /// Whether this message came, or messages were lost for not being read in time.
    pub(crate) fn has(&self, number: u64) -> bool {
        let got = self.got();
        got.lost > 0 || got.numbers.contains(&number)
    }
}

/// Messages that were received and are not being checked any more.
fn ended(stats: &Stats) -> u64 {
    let rejected = stats.rejected.values().sum::<u64>();
    stats.delivered + rejected + stats.dropped_in.values().sum::<u64>()
}
