//! Messages in parts, as the official gossip experiments have them.
//!
//! ```text
//! group 5: part 0 is the numbers 5, 6, .. 132; part 1 is 133, ..; 8 bytes each, 8 parts
//!
//! account of what one has      parts on their way
//! +--------+                   +--------+-------- - - --------+---------+
//! | bitmap |                   | bitmap | 1024 bytes for each | group 8 |
//! +--------+                   +--------+-------- - - --------+---------+
//! ```
//!
//! Contract: libp2p/test-plans `gossipsub-interop` (`addPartialMessage`, `publishPartial`). What
//! completes a message is logged; what is new, and what a peer lacks, is published again.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    future::{self, Either},
};
use p2p::PeerId;
use p2p::pubsub::{Partial, PartialMode, Parts, PartsReceived, PartsSubscription};

const PARTS: usize = 8;
const PART: usize = 1024;
const NUMBER: usize = size_of::<u64>();
/// All parts.
const WHOLE: u8 = u8::MAX;

/// A message of eight parts, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    group: [u8; NUMBER],
    parts: [Option<Bytes>; PARTS],
    /// Which parts go to those who have said nothing yet: a bitmap.
    eager: u8,
}

/// What is no encoding of parts of this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not parts of this message")]
pub(super) struct WrongParts;

impl Message {
    /// Of group `group`, with the parts of a bitmap.
    pub(super) fn new(group: u64, parts: u8, eager: u8) -> Self {
        let mut message = Self::empty(group.to_be_bytes());
        message.eager = eager;
        let numbers = (PART / NUMBER) as u64;
        for ((bit, part), first) in bits()
            .zip(&mut message.parts)
            .zip((group..).step_by(PART / NUMBER))
        {
            if parts & bit != 0 {
                let content = (0..numbers).flat_map(|at| first.wrapping_add(at).to_be_bytes());
                *part = Some(content.collect());
            }
        }
        message
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bitmap() == WHOLE
    }

    fn empty(group: [u8; NUMBER]) -> Self {
        Self {
            group,
            ..Self::default()
        }
    }

    fn bitmap(&self) -> u8 {
        let there = bits().zip(&self.parts).filter(|(_, part)| part.is_some());
        there.fold(0, |all, (bit, _)| all | bit)
    }

    /// The parts of `wanted` that are there; `None` if that is none.
    fn encoded(&self, wanted: u8) -> Option<Bytes> {
        let sent = self.bitmap() & wanted;
        let mut bytes = vec![sent];
        for (bit, part) in bits().zip(&self.parts) {
            if let Some(part) = part
                && wanted & bit != 0
            {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(&self.group);
        (sent != 0).then(|| bytes.into())
    }

    /// Adds what is new; nothing is added if anything is wrong.
    fn take(&mut self, encoded: &Bytes) -> Result<(), WrongParts> {
        let (&bitmap, rest) = encoded.split_first().ok_or(WrongParts)?;
        let (parts, group) = rest.split_last_chunk::<NUMBER>().ok_or(WrongParts)?;
        let announced = usize::try_from(bitmap.count_ones()).map_err(|_| WrongParts)?;
        if *group != self.group || parts.len() != announced * PART {
            return Err(WrongParts);
        }
        let mut arriving = parts.chunks_exact(PART);
        for (bit, part) in bits().zip(&mut self.parts) {
            if bitmap & bit != 0 {
                let content = arriving.next().ok_or(WrongParts)?;
                part.get_or_insert_with(|| Bytes::copy_from_slice(content));
            }
        }
        Ok(())
    }
}

/// Of the first part, of the second, and so on.
fn bits() -> impl Iterator<Item = u8> {
    iter::successors(Some(1u8), |bit| bit.checked_shl(1).filter(|bit| *bit != 0))
}

impl Partial for Message {
    fn group(&self) -> Bytes {
        Bytes::copy_from_slice(&self.group)
    }

    fn metadata(&self) -> Bytes {
        vec![self.bitmap()].into()
    }

    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes> {
        match metadata {
            [has] => self.encoded(!has),
            _ => None,
        }
    }

    fn merge(&self, metadata: &[u8]) -> Bytes {
        let has = metadata.first().copied().unwrap_or_default();
        vec![has | self.bitmap()].into()
    }

    fn eager(&self) -> Option<Bytes> {
        self.encoded(self.eager)
    }
}

/// What the script says of a topic in which messages come in parts.
#[derive(Debug)]
pub(super) enum Order {
    /// We have this much of it, unless we know of it already.
    Add(Box<Message>),
    /// Tell the peers of a group, or these of them if there are any.
    Publish(u64, Vec<PeerId>),
}

/// Ends the task of its topic when it is dropped.
pub(super) type Orders = UnboundedSender<Order>;

/// The messages of one topic.
pub(super) struct Task {
    subscription: PartsSubscription,
    mode: PartialMode,
    orders: UnboundedReceiver<Order>,
    messages: BTreeMap<[u8; NUMBER], Message>,
    /// Whom a group was published to by name, and who answered.
    named: BTreeMap<[u8; NUMBER], BTreeSet<PeerId>>,
}

impl Task {
    pub(super) fn new(subscription: PartsSubscription, mode: PartialMode) -> (Self, Orders) {
        let (sender, orders) = unbounded();
        let task = Self {
            subscription,
            mode,
            orders,
            messages: BTreeMap::new(),
            named: BTreeMap::new(),
        };
        (task, sender)
    }

    /// Calls `completed` with what made a message whole, until nobody gives orders any more.
    pub(super) async fn run(mut self, completed: impl Fn(&Parts)) {
        loop {
            match future::select(self.orders.next(), self.subscription.next()).await {
                Either::Left((Some(Order::Add(message)), _)) => {
                    self.messages.entry(message.group).or_insert(*message);
                }
                Either::Left((Some(Order::Publish(group, to)), _)) => {
                    let group = group.to_be_bytes();
                    self.publish(group, to);
                }
                Either::Right((Some(PartsReceived::Parts(parts)), _)) => {
                    if self.received(&parts) {
                        completed(&parts);
                    }
                }
                Either::Right((Some(PartsReceived::Lagged(lost)), _)) => {
                    eprintln!("{lost} parts were not read in time");
                }
                Either::Left((None, _)) | Either::Right((None, _)) => return,
            }
        }
    }

    /// Says whether they made a message whole.
    fn received(&mut self, parts: &Parts) -> bool {
        let Ok(group) = parts.group.as_ref().try_into() else {
            eprintln!(
                "{} calls a group by {} bytes",
                parts.from,
                parts.group.len()
            );
            return false;
        };
        let message = self
            .messages
            .entry(group)
            .or_insert_with(|| Message::empty(group));
        let before = message.bitmap();
        if let Some(encoded) = &parts.parts
            && let Err(error) = message.take(encoded)
        {
            eprintln!("from {}: {error}", parts.from);
            return false;
        }
        let after = message.bitmap();
        let theirs = parts.metadata.as_ref().and_then(|it| it.first().copied());
        if after != before || theirs.is_some_and(|theirs| theirs != after) {
            // Whoever publishes without being in the topic speaks to those named and who answer.
            let answer = match (self.mode, self.named.get(&group)) {
                (PartialMode::Supports, Some(named)) => {
                    named.iter().copied().chain([parts.from]).collect()
                }
                (PartialMode::Requests, _) | (PartialMode::Supports, None) => Vec::new(),
            };
            self.publish(group, answer);
        }
        after == WHOLE && before != WHOLE
    }

    /// To all if `to` is empty.
    fn publish(&mut self, group: [u8; NUMBER], to: Vec<PeerId>) {
        let Some(message) = self.messages.get(&group) else {
            return;
        };
        let sent = match to.as_slice() {
            [] => self.subscription.publish(message),
            only => self.subscription.publish_to(message, only),
        };
        match sent {
            Ok(sent) => eprintln!("group {group:02x?}: {sent:?}"),
            Err(error) => eprintln!("group {group:02x?}: {error}"),
        }
        if !to.is_empty() {
            self.named.entry(group).or_default().extend(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_run_through_all_parts() {
        let whole = Message::new(5, WHOLE, 0).encoded(WHOLE).unwrap();

        assert_eq!(whole.len(), 1 + PARTS * PART + NUMBER);
        assert_eq!(whole[1..9], 5u64.to_be_bytes());
        let last = whole.len() - 2 * NUMBER;
        assert_eq!(whole[last..last + NUMBER], (5u64 + 1023).to_be_bytes());
        assert_eq!(whole[whole.len() - NUMBER..], 5u64.to_be_bytes());
    }

    #[test]
    fn what_is_not_encoded_whole_changes_nothing() {
        let good = Message::new(5, 0b11, 0).encoded(WHOLE).unwrap();
        let mut message = Message::new(5, 0, 0);

        for cut in 0..good.len() {
            assert_eq!(message.take(&good.slice(..cut)), Err(WrongParts));
        }
        let other = Message::new(6, 0b11, 0).encoded(WHOLE).unwrap();
        assert_eq!(message.take(&other), Err(WrongParts));
        assert_eq!(message.bitmap(), 0);
    }

    #[test]
    fn two_halves_make_a_whole() {
        let mut one = Message::new(9, 0b1010_1010, 0);
        let other = Message::new(9, 0b0101_0101, 0b1);

        one.take(&other.parts_for(&one.metadata()).unwrap())
            .unwrap();

        assert_eq!(one.parts, Message::new(9, WHOLE, 0).parts);
        assert_eq!(other.merge(&[0b1010_1010])[..], [WHOLE]);
        assert_eq!(other.parts_for(&one.metadata()), None);
        assert_eq!(other.eager().unwrap().len(), 1 + PART + NUMBER);
        assert_eq!(one.eager(), None);
        assert_eq!(one.parts_for(b"no bitmap"), None);
    }
}
