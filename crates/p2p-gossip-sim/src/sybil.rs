//! An attacker's node: no router, only as much behaviour as the attack needs.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use p2p_pubsub::wire::{Control, Part, Rpc, RpcOut, WireLimits};
use p2p_pubsub::{Message, Topic};

/// What a Sybil does with messages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Conduct {
    /// Forwards all to its mesh, as an honest node does.
    Honest,
    /// Forwards this part of them.
    Degrade(f64),
    /// Forwards all but those of this publisher.
    Censor(usize),
    /// Forwards nothing.
    Drop,
}

#[derive(Debug)]
pub(crate) struct Sybil {
    pub(crate) conduct: Conduct,
    /// Grafts whom it knows, again and again.
    pub(crate) grafts: bool,
    /// Honest nodes that have it in their mesh, as far as it knows.
    pub(crate) mesh: BTreeSet<usize>,
    seen: BTreeSet<u64>,
    order: VecDeque<u64>,
}

/// What a Sybil wants to say.
pub(crate) enum Say {
    /// Now.
    Now(usize, Bytes),
    /// It was pruned: again after the backoff.
    GraftLater(usize),
}

impl Sybil {
    pub(crate) fn new(conduct: Conduct, grafts: bool) -> Self {
        Self {
            conduct,
            grafts,
            mesh: BTreeSet::new(),
            seen: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes an RPC from the honest node `from`; `chance` gives numbers from 0 to 1.
    pub(crate) fn receive(
        &mut self,
        from: usize,
        rpc: &Bytes,
        mut chance: impl FnMut() -> f64,
    ) -> Vec<Say> {
        let Ok(rpc) = Rpc::parse(rpc, &WireLimits::default()) else {
            return Vec::new();
        };
        let mut said = Vec::new();
        for part in rpc.parts() {
            match part {
                Part::Graft(_) => {
                    self.mesh.insert(from);
                }
                Part::Prune(_) => {
                    self.mesh.remove(&from);
                    if self.grafts {
                        said.push(Say::GraftLater(from));
                    }
                }
                Part::Publish(view) => {
                    let number = number_of(view.seqno);
                    let author = author_of(view.from);
                    if self.is_new(number) && self.forwards(author, &mut chance) {
                        let raw = Bytes::copy_from_slice(view.raw);
                        let Ok(Some(message)) = Message::decode(raw) else {
                            continue;
                        };
                        let frame = encode(Vec::new(), vec![Arc::new(message)]);
                        let others = self.mesh.iter().filter(|to| **to != from);
                        said.extend(others.map(|to| Say::Now(*to, frame.clone())));
                    }
                }
                Part::Subscription(_)
                | Part::IHave(_)
                | Part::IWant(_)
                | Part::IDontWant(_)
                | Part::Extensions(_)
                | Part::Partial(_)
                | Part::Test => {}
            }
        }
        said
    }

    fn is_new(&mut self, number: u64) -> bool {
        if !self.seen.insert(number) {
            return false;
        }
        self.order.push_back(number);
        if self.order.len() > MEMORY
            && let Some(old) = self.order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    fn forwards(&self, author: u64, chance: &mut impl FnMut() -> f64) -> bool {
        match self.conduct {
            Conduct::Honest => true,
            Conduct::Degrade(part) => chance() < part,
            Conduct::Censor(target) => author != target as u64,
            Conduct::Drop => false,
        }
    }
}

/// An RPC of these parts, without its length.
pub(crate) fn encode(control: Vec<Control>, messages: Vec<Arc<Message>>) -> Bytes {
    let mut bytes = Vec::new();
    RpcOut { control, messages }.encode(&mut bytes);
    bytes.into()
}

/// The first word of every node: it is in the topic.
pub(crate) fn hello(topic: &Topic) -> Bytes {
    encode(vec![Control::Subscription(true, topic.clone())], Vec::new())
}

pub(crate) fn graft(topic: &Topic) -> Bytes {
    encode(vec![Control::Graft(topic.clone())], Vec::new())
}

/// The number of a message: its sequence number.
pub(crate) fn number_of(seqno: Option<&[u8]>) -> u64 {
    let bytes = seqno.and_then(|seqno| seqno.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// The number of a node, from its peer id: see `World`.
pub(crate) fn author_of(from: Option<&[u8]>) -> u64 {
    let bytes = from.and_then(|from| from.get(2..10)?.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// Messages that a Sybil remembers.
const MEMORY: usize = 4096;
