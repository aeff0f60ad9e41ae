//! Our end of the pubsub tests: both ends send a series of messages, the listener once it has the
//! dialer's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, future};
use p2p::pubsub::{
    Config, MessageIdFn, Received, SignaturePolicy, Subscription, Trace, Traced, Version,
};
use p2p::{GossipConfig, Host, Multiaddr, Pubsub};
use serde_json::json;

use super::error::{NodeError, unsupported};
use super::report::event;

const TOPIC: &str = "p2p-interop";
const BURST: u32 = 500;
/// KiB, after the burst.
const SIZES: [usize; 5] = [1, 8, 60, 300, 900];
const PATTERN_MODULUS: usize = 251;
/// Room for a whole series.
const BACKLOG: usize = 2048;
/// What rust-libp2p's floodsub reads as one RPC.
const SMALL_RPC: usize = 2000;
/// Between two looks at a mesh.
const LOOK: Duration = Duration::from_millis(20);

/// The messages of a test, to send and to receive.
pub(super) struct Series {
    /// The first byte of ours and of theirs.
    letters: [u8; 2],
    count: u32,
    topic: Subscription,
    pubsub: Pubsub,
    spoken: Spoken,
}

/// The protocols that were agreed on with peers.
type Spoken = Arc<Mutex<BTreeSet<String>>>;

impl Series {
    /// The series of a pubsub test, already subscribed; `None` for the other tests. Speaks no
    /// gossipsub but `version`, if there is one.
    pub(super) fn of(
        test: &str,
        version: Option<&str>,
        host: &Host,
    ) -> Result<Option<Self>, NodeError> {
        let mut config = GossipConfig::default();
        if let Some(id) = version {
            let named = |it: &Version| it.protocol().as_str() == id;
            let version = Version::ALL.into_iter().find(named);
            let version = version.ok_or_else(|| unsupported("version of gossipsub", id))?;
            config.versions = BTreeSet::from([version]);
        }
        let base = &mut config.base;
        base.subscriber_backlog = BACKLOG;
        base.queue.own_bytes = 4 << 20;
        let mut count = 1 + BURST + u32::try_from(SIZES.len()).unwrap_or(u32::MAX);
        match test {
            "gossip" | "gossip-chain" | "flood" => {}
            "gossip-anonymous" | "flood-anonymous" => anonymous(base),
            "flood-lax" => {
                base.policy = SignaturePolicy::Lax;
                base.queue.rpc_bytes = SMALL_RPC;
                count = 1 + BURST;
            }
            _other => return Ok(None),
        }
        let pubsub = match test.starts_with("flood") {
            true => Pubsub::flood(host, config.base)?,
            false => Pubsub::gossip(host, config)?,
        };
        Ok(Some(Self {
            letters: *b"DL",
            count,
            spoken: watch(&pubsub, host),
            topic: pubsub.subscribe(TOPIC),
            pubsub,
        }))
    }

    /// Tells the runner that all of theirs are there.
    fn report(&self) {
        let spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        event(
            "pubsub",
            json!({ "received": self.count, "protocols": *spoken }),
        );
    }

    /// Sends ours, the first as soon as anybody listens, and reads theirs meanwhile. `far_end`
    /// reads ours too.
    pub(super) async fn dial(&mut self, far_end: Option<FarEnd>) -> Result<(), NodeError> {
        let [ours, theirs] = self.letters;
        let send = send(&self.pubsub, ours, self.count);
        let receive = receive(&mut self.topic, theirs, ours, self.count);
        let far = async {
            match far_end {
                Some(mut end) => end.read(ours).await,
                None => Ok(()),
            }
        };
        future::try_join3(send, receive, far).await?;
        self.report();
        Ok(())
    }

    /// Reads theirs, then sends ours.
    pub(super) async fn listen(&mut self) -> Result<(), NodeError> {
        let [theirs, ours] = self.letters;
        receive(&mut self.topic, theirs, ours, self.count).await?;
        self.report();
        send(&self.pubsub, ours, self.count).await
    }
}

/// Takes down what each peer turns out to speak, and logs what whoever waits for a message does not
/// learn: that our stream to a peer ended and was opened anew, and why a message is refused.
fn watch(pubsub: &Pubsub, host: &Host) -> Spoken {
    let (mut traces, spoken) = (pubsub.traces(), Spoken::default());
    let kept = Arc::clone(&spoken);
    let mut opened = BTreeMap::new();
    host.swarm().spawn("note versions", async move {
        while let Some(traced) = traces.next().await {
            let Traced::Event { event, .. } = traced else {
                continue;
            };
            if let Trace::Connected { peer, version } = event {
                let streams = opened.entry(peer).or_insert(0u32);
                *streams += 1;
                if *streams > 1 {
                    eprintln!("opened pubsub stream {streams} to {peer}");
                }
                let mut spoken = kept.lock().unwrap_or_else(PoisonError::into_inner);
                spoken.insert(version.protocol().as_str().to_owned());
            } else if let Trace::Rejected { from, why, .. } = event {
                eprintln!("refused a message from {from}: {why:?}");
            }
        }
    });
    spoken
}

fn anonymous(config: &mut Config) {
    config.policy = SignaturePolicy::StrictNoSign;
    config.message_id = MessageIdFn::Sha256;
}

/// The end of a chain: a node of ours with the other implementation between it and the publisher.
pub(super) struct FarEnd {
    series: Series,
}

/// Connects the end of a chain and waits until messages will reach it.
pub(super) async fn far_end(
    host: &Host,
    middle: &Multiaddr,
    test: &str,
) -> Result<FarEnd, NodeError> {
    let series = Series::of(test, None, host)?;
    let series = series.ok_or_else(|| NodeError::Unexpected("no such test".into()))?;
    host.dial(middle).await?;
    let rt = host.swarm().rt();
    while series.pubsub.mesh(TOPIC).is_empty() {
        rt.sleep(LOOK).await;
    }
    Ok(FarEnd { series })
}

impl FarEnd {
    async fn read(&mut self, letter: u8) -> Result<(), NodeError> {
        let count = self.series.count;
        // The middle's own messages come here as well.
        receive(&mut self.series.topic, letter, b'L', count).await
    }
}

async fn send(pubsub: &Pubsub, letter: u8, count: u32) -> Result<(), NodeError> {
    for index in 0..count {
        pubsub
            .publish_when_ready(TOPIC, payload(letter, index))
            .await?;
    }
    Ok(())
}

/// Reads the whole series of `letter`; messages of `other` are not looked at.
async fn receive(
    topic: &mut Subscription,
    letter: u8,
    other: u8,
    count: u32,
) -> Result<(), NodeError> {
    let mut got = BTreeSet::new();
    let wrong = |what: String| NodeError::Unexpected(what);
    while u32::try_from(got.len()).is_ok_and(|len| len < count) {
        let message = match topic.next().await {
            Some(Received::Message { message, .. }) => message,
            Some(Received::Lagged(lost)) => return Err(wrong(format!("{lost} messages lost"))),
            None => return Err(wrong("the subscription ended".into())),
        };
        let data = message.data();
        if data.first() == Some(&other) {
            continue;
        }
        let index = data.get(1..5).and_then(|it| it.try_into().ok());
        let index = index.map(u32::from_be_bytes);
        let index = index.ok_or_else(|| wrong("a message without an index".into()))?;
        if index >= count || data != payload(letter, index) {
            return Err(wrong(format!("message {index} is wrong")));
        }
        if !got.insert(index) {
            return Err(wrong(format!("message {index} came twice")));
        }
    }
    Ok(())
}

fn payload(letter: u8, index: u32) -> Vec<u8> {
    let len = match index {
        0 => 64,
        1..=BURST => 1024,
        later => {
            let at = usize::try_from(later - BURST - 1).unwrap_or(usize::MAX);
            SIZES.get(at).map_or(5, |kib| kib * 1024)
        }
    };
    let head = [&[letter][..], &index.to_be_bytes()].concat();
    let filler = (head.len()..len).map(|at| u8::try_from(at % PATTERN_MODULUS).unwrap_or(0));
    head.iter().copied().chain(filler).collect()
}
