//! Messages that are being checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use p2p_core::PeerId;

use crate::ids::{IdMap, Keyed};
use crate::router::Ticket;
use crate::table::PeerIx;
use crate::{Message, MessageId};

/// Messages that are being checked.
pub(super) struct Flights {
    pub(super) by_ticket: BTreeMap<Ticket, Flight>,
    pub(super) by_id: IdMap<Vec<Ticket>>,
    pub(super) bytes: usize,
    next: u64,
}

/// A message that is being checked.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) id: MessageId,
    pub(crate) message: Arc<Message>,
    pub(crate) from: PeerIx,
    /// The same, for when it is gone.
    pub(crate) sender: PeerId,
    /// Who else sent exactly the same bytes.
    pub(crate) also: BTreeSet<PeerIx>,
    /// Its signature is right.
    pub(crate) genuine: bool,
}

impl Flights {
    pub(super) fn new(ids: Keyed) -> Self {
        Self {
            by_ticket: BTreeMap::new(),
            by_id: IdMap::with_hasher(ids),
            bytes: 0,
            next: 0,
        }
    }

    /// Whether these very bytes are being checked; notes who sent them again.
    pub(super) fn join(&mut self, id: &[u8], raw: &[u8], from: PeerIx) -> bool {
        let tickets = self.by_id.get(id).into_iter().flatten();
        let same = |ticket: &&Ticket| {
            let flight = self.by_ticket.get(*ticket);
            flight.is_some_and(|flight| flight.message.raw() == raw)
        };
        let ticket = tickets.into_iter().find(same).copied();
        let flight = ticket.and_then(|ticket| self.by_ticket.get_mut(&ticket));
        match flight {
            Some(flight) if flight.from != from => flight.also.insert(from),
            Some(_) => true,
            None => return false,
        };
        true
    }

    pub(super) fn add(
        &mut self,
        id: &MessageId,
        message: &Arc<Message>,
        from: (PeerIx, PeerId),
    ) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.bytes = self.bytes.saturating_add(message.raw().len());
        self.by_id.entry(id.clone()).or_default().push(ticket);
        let flight = Flight {
            id: id.clone(),
            message: Arc::clone(message),
            from: from.0,
            sender: from.1,
            also: BTreeSet::new(),
            genuine: false,
        };
        self.by_ticket.insert(ticket, flight);
        ticket
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.by_ticket.remove(&ticket)?;
        self.bytes = self.bytes.saturating_sub(flight.message.raw().len());
        if let Some(tickets) = self.by_id.get_mut(&flight.id) {
            tickets.retain(|other| *other != ticket);
            if tickets.is_empty() {
                self.by_id.remove(&flight.id);
            }
        }
        Some(flight)
    }
}
