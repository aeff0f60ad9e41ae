//! An attacker's node: no router, only as much behaviour as the attack needs.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::uvarint;
use p2p_pubsub::wire::{Control, Part, Rpc, RpcOut, WireLimits};
use p2p_pubsub::{Message, MessageId, Topic};

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
    /// Forwards nothing, and offers all of it.
    Promise,
}

#[derive(Debug)]
pub(crate) struct Sybil {
    pub(crate) conduct: Conduct,
    /// Grafts whom it knows, again and again.
    pub(crate) grafts: bool,
    /// Honest nodes that have it in their mesh, as far as it knows.
    pub(crate) mesh: BTreeSet<usize>,
    /// What it has heard of since it last offered something.
    heard: Vec<MessageId>,
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
            heard: Vec::new(),
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
                    let new = self.is_new(number);
                    if new && self.conduct == Conduct::Promise {
                        let from = view.from.unwrap_or_default();
                        let seqno = view.seqno.unwrap_or_default();
                        self.heard.push(MessageId::new(&[from, seqno].concat()));
                    }
                    if new && self.forwards(author, &mut chance) {
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

    /// Whether it would do anything about this RPC. Most is sent to Sybils in vain, and need not
    /// be simulated any further.
    pub(crate) fn minds(&self, rpc: &[u8]) -> bool {
        let publishes = || fields(rpc).any(|(number, _)| number == PUBLISH);
        self.conduct != Conduct::Drop && publishes() || steers(rpc)
    }

    /// An offer of what it has heard of since the last one.
    pub(crate) fn offer(&mut self, topic: &Topic) -> Option<Bytes> {
        let ids = std::mem::take(&mut self.heard);
        (!ids.is_empty()).then(|| {
            let ihave = Control::IHave(topic.clone(), ids.into());
            encode(vec![ihave], Vec::new())
        })
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
            Conduct::Drop | Conduct::Promise => false,
        }
    }
}

/// An RPC of these parts, without its length.
pub(crate) fn encode(control: Vec<Control>, messages: Vec<Arc<Message>>) -> Bytes {
    let mut bytes = Vec::new();
    RpcOut { control, messages }.encode(&mut bytes);
    bytes.into()
}

/// Whether there is a GRAFT or PRUNE in an RPC.
fn steers(rpc: &[u8]) -> bool {
    let control = fields(rpc).filter(|(number, _)| *number == CONTROL);
    let mut items = control.flat_map(|(_, body)| fields(body));
    items.any(|(number, _)| number == GRAFT || number == PRUNE)
}

/// The fields of a message that have a length, up to the first thing that is not one.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (key, used) = uvarint::decode(rest).ok()?;
        let (len, more) = uvarint::decode(rest.get(used..)?).ok()?;
        let body = rest.get(used + more..)?;
        let (body, after) = body.split_at_checked(usize::try_from(len).ok()?)?;
        rest = after;
        (key & 7 == 2).then_some((key >> 3, body))
    })
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

/// Field numbers of an RPC and its control part.
const PUBLISH: u64 = 2;
const CONTROL: u64 = 3;
const GRAFT: u64 = 3;
const PRUNE: u64 = 4;

/// Messages that a Sybil remembers.
const MEMORY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use p2p_pubsub::wire::OfferedIds;

    #[test]
    fn a_sybil_that_drops_everything_minds_only_who_wants_it_in_a_mesh() {
        let topic = Topic::new("t");
        let sybil = Sybil::new(Conduct::Drop, true);
        let prune = Control::Prune {
            topic: topic.clone(),
            peers: Vec::new(),
            backoff: Some(60),
        };
        let hello = Control::Subscription(true, topic.clone());
        let ihave = Control::IHave(topic.clone(), OfferedIds::default());

        assert!(sybil.minds(&graft(&topic)));
        assert!(sybil.minds(&encode(
            vec![ihave.clone(), hello.clone(), prune],
            Vec::new()
        )));
        assert!(!sybil.minds(&encode(vec![ihave, hello], Vec::new())));
        assert!(!sybil.minds(&[0xff; 40]));
        let message = Message::encode(topic, &p2p_pubsub::Draft::default());
        let message = encode(Vec::new(), vec![Arc::new(message)]);
        assert!(!sybil.minds(&message));
        assert!(Sybil::new(Conduct::Honest, true).minds(&message));
    }
}
