//! What is known of a peer.

use bytes::Bytes;
use p2p_core::{Multiaddr, PeerId, Protocol};
use p2p_keys::{PeerRecord, RecordLimits};

use crate::config::Limits;
use crate::error::IdentifyError;
use crate::proto::{Told, addrs_of};

/// What a peer says about itself. Only its id and its key are proven.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IdentifyInfo {
    /// Who it is.
    pub peer: PeerId,
    /// Its public key as the key protobuf of the peer-id spec.
    pub public_key: Bytes,
    /// Which software it is; empty if it does not say.
    pub agent_version: String,
    /// The family of networks that it belongs to; empty if it does not say.
    pub protocol_version: String,
    /// Where it can be reached, without `/p2p`. From its signed record if it has one.
    pub listen_addrs: Vec<Multiaddr>,
    /// The protocols that it answers, in order.
    pub protocols: Vec<Protocol>,
    /// Where it sees us, on the connection on which it said so last. One peer's word: a peer
    /// behind the same router, or a liar, sees something else than everybody else.
    pub observed_addr: Option<Multiaddr>,
    /// Its newest valid peer record, to be passed on.
    pub signed_record: Option<SignedRecord>,
}

/// A peer record that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedRecord {
    /// Which record is newer.
    pub seq: u64,
    /// The signed envelope, as it came.
    pub envelope: Bytes,
}

impl IdentifyInfo {
    /// A peer of which only the key is known.
    pub(crate) fn new(peer: PeerId, public_key: Bytes) -> Self {
        Self {
            peer,
            public_key,
            agent_version: String::new(),
            protocol_version: String::new(),
            listen_addrs: Vec::new(),
            protocols: Vec::new(),
            observed_addr: None,
            signed_record: None,
        }
    }

    /// Takes over what the peer said; what it did not mention stays.
    ///
    /// # Errors
    /// [`IdentifyError::WrongKey`] if it claims a key that is not its own; nothing has changed.
    pub(crate) fn update(&mut self, told: Told, limits: &Limits) -> Result<(), IdentifyError> {
        // The bytes decide: parsing a key that is not the connection's could only cost time.
        if told.public_key.is_some_and(|key| key != self.public_key) {
            return Err(IdentifyError::WrongKey);
        }
        let record = told.signed_peer_record;
        if let Some(record) = record {
            self.certify(&record, limits);
        }
        // Nothing unsigned takes the place of what a record says.
        if self.signed_record.is_none() && !told.listen_addrs.is_empty() {
            self.listen_addrs = addrs_of(self.peer, told.listen_addrs);
        }
        if !told.protocols.is_empty() {
            self.protocols = told.protocols.into_iter().collect();
        }
        self.agent_version = told
            .agent_version
            .unwrap_or_else(|| std::mem::take(&mut self.agent_version));
        self.protocol_version = told
            .protocol_version
            .unwrap_or_else(|| std::mem::take(&mut self.protocol_version));
        if told.observed_addr.is_some() {
            self.observed_addr = told.observed_addr;
        }
        Ok(())
    }

    /// Keeps what `last`, from another connection, says under a newer record: an answer may come
    /// later than what was said after it.
    pub(crate) fn keep_newer(&mut self, last: &Self) {
        let seq = |info: &Self| info.signed_record.as_ref().map(|record| record.seq);
        if seq(last) <= seq(self) {
            return;
        }
        if self.signed_record.is_some() {
            self.protocols.clone_from(&last.protocols);
        }
        self.listen_addrs.clone_from(&last.listen_addrs);
        self.signed_record.clone_from(&last.signed_record);
    }

    /// Takes the addresses of a valid record about this peer that is not older than the last one.
    fn certify(&mut self, envelope: &[u8], limits: &Limits) {
        let mut record_limits = RecordLimits::default();
        record_limits.max_addrs = limits.max_addrs;
        record_limits.max_bytes = limits.max_part;
        let record = match PeerRecord::open(envelope, &record_limits) {
            Ok(record) => record,
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "peer record ignored");
                return;
            }
        };
        if record.peer != self.peer {
            tracing::debug!(peer = %self.peer, about = %record.peer, "peer record ignored");
            return;
        }
        let last = self.signed_record.as_ref().map_or(0, |last| last.seq);
        if record.seq < last {
            return;
        }
        self.listen_addrs = addrs_of(self.peer, record.addrs);
        self.signed_record = Some(SignedRecord {
            seq: record.seq,
            envelope: Bytes::copy_from_slice(envelope),
        });
    }

    /// About how many bytes it takes to remember it.
    pub(crate) fn weight(&self) -> usize {
        let addrs: usize = self
            .listen_addrs
            .iter()
            .map(|addr| addr.len() + ENTRY)
            .sum();
        let protocols = self.protocols.iter();
        let protocols: usize = protocols.map(|id| id.as_str().len() + ENTRY).sum();
        let versions = self.agent_version.len() + self.protocol_version.len();
        let record = self.signed_record.as_ref();
        let record = record.map_or(0, |record| record.envelope.len());
        size_of::<Self>() + addrs + protocols + versions + record
    }
}

/// What an entry of a list takes beside its bytes.
const ENTRY: usize = 48;
