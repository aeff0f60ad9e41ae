//! The way of a message from the wire to its check.

use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{Instant, PeerId};

use super::Base;
use super::flights::Flight;
use crate::router::{Output, Ticket};
use crate::table::PeerIx;
use crate::trace::{DropCause, Reject};
use crate::wire::MessageView;
use crate::{Message, MessageId, Topic};

/// What became of a received message.
pub(crate) enum Incoming {
    /// Nothing to do.
    Dropped,
    /// It was here before and has been judged.
    Duplicate { id: MessageId, topic: Topic },
    /// It is being checked already.
    Flying,
    /// It must be checked; the output says so.
    New { id: MessageId },
    /// Refused.
    Rejected {
        id: MessageId,
        topic: Topic,
        why: Reject,
    },
}

impl Base {
    /// Takes in one message of an RPC of which `frame` is all of it.
    pub(crate) fn incoming(
        &mut self,
        ix: PeerIx,
        view: &MessageView<'_>,
        frame: &Bytes,
        now: Instant,
    ) -> Incoming {
        self.stats.received += 1;
        let name = view.topic.and_then(|name| std::str::from_utf8(name).ok());
        let Some(topic) = name.and_then(|name| self.topics.get(name)).cloned() else {
            self.drop_in(ix, None, DropCause::NotSubscribed);
            return Incoming::Dropped;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        self.compute_id(view, &topic, &mut scratch);
        let incoming = self.sort(ix, view, frame, topic, &scratch, now);
        self.scratch = scratch;
        incoming
    }

    fn sort(
        &mut self,
        ix: PeerIx,
        view: &MessageView<'_>,
        frame: &Bytes,
        topic: Topic,
        id: &[u8],
        now: Instant,
    ) -> Incoming {
        if let Err(why) = self.admit(ix, view, id) {
            let id = MessageId::new(id.get(..self.config.max_id_len).unwrap_or(id));
            self.reject(ix, &id, why);
            return Incoming::Rejected { id, topic, why };
        }
        if self.seen.sight(id, now) {
            let id = self.seen.shared(id).unwrap_or_else(|| MessageId::new(id));
            self.drop_in(ix, Some(&id), DropCause::Duplicate);
            return Incoming::Duplicate { id, topic };
        }
        if self.flights.join(id, view.raw, ix) {
            self.drop_in(ix, None, DropCause::Duplicate);
            return Incoming::Flying;
        }
        let id = MessageId::new(id);
        match self.take_off(ix, view, frame, topic.clone(), &id) {
            Ok(()) => Incoming::New { id },
            Err(why) => {
                self.reject(ix, &id, why);
                Incoming::Rejected { id, topic, why }
            }
        }
    }

    /// The checks that cost nothing.
    fn admit(&self, ix: PeerIx, view: &MessageView<'_>, id: &[u8]) -> Result<(), Reject> {
        let source = view.from.and_then(|from| PeerId::from_bytes(from).ok());
        if source.is_some_and(|source| self.blocked.contains(&source)) {
            return Err(Reject::BlockedSource);
        }
        if self
            .table
            .get(ix)
            .is_some_and(|peer| self.blocked.contains(&peer.id))
        {
            return Err(Reject::BlockedPeer);
        }
        if view.raw.len() > self.config.max_message_size || id.len() > self.config.max_id_len {
            return Err(Reject::TooLarge);
        }
        let fields = self.config.policy.check_fields(view);
        fields.map_err(Reject::Signature)?;
        if source == Some(self.local) {
            return Err(Reject::SelfOrigin);
        }
        Ok(())
    }

    /// Pays for a message and hands it out to be checked.
    fn take_off(
        &mut self,
        ix: PeerIx,
        view: &MessageView<'_>,
        frame: &Bytes,
        topic: Topic,
        id: &MessageId,
    ) -> Result<(), Reject> {
        let len = view.raw.len();
        let peer = self.table.get_mut(ix).ok_or(Reject::QueueFull)?;
        let own_share = peer.validating.saturating_add(len);
        let variants = self.flights.by_id.get(id).map_or(0, Vec::len);
        if own_share > self.config.validating_bytes_per_peer
            || self.flights.bytes.saturating_add(len) > self.config.validating_bytes
            || variants >= self.config.max_variants
        {
            return Err(Reject::QueueFull);
        }
        let permit = self.budget.reserve(len).map_err(|_| Reject::Budget)?;
        peer.validating = own_share;
        let from = peer.id;
        let message = Message::of_view(view, share(frame, view.raw), topic);
        let message = Arc::new(message.with_permit(permit));
        let ticket = self.flights.add(id, &message, (ix, from));
        self.output(Output::Validate {
            ticket,
            id: id.clone(),
            from,
            message,
        });
        Ok(())
    }

    /// The message that `ticket` names, if it was not known until now that its signature is right.
    pub(crate) fn genuine(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.flights.by_ticket.get_mut(&ticket);
        let flight = flight.filter(|flight| !flight.genuine)?;
        flight.genuine = true;
        Some(flight.clone())
    }

    /// The message that `ticket` names; once.
    pub(crate) fn land(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.flights.remove(ticket)?;
        if let Some(peer) = self.table.get_mut(flight.from) {
            peer.validating = peer.validating.saturating_sub(flight.message.raw().len());
        }
        Some(flight)
    }
}

/// `part` of `frame`: shared, or copied if sharing would keep much more alive than it is worth.
fn share(frame: &Bytes, part: &[u8]) -> Bytes {
    if frame.len() <= part.len().saturating_mul(2).saturating_add(256) {
        frame.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}
