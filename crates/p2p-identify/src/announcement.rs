//! What we say about ourselves.

use bytes::Bytes;
use p2p_core::{AddrExt, Multiaddr, Protocol, uvarint};
use p2p_keys::{Keypair, PeerRecord, SignError};
use prost::Message as _;

use crate::proto::Part;

/// The longest message that we send, in bytes: rust-libp2p reads no more.
pub const MAX_SENT: usize = 4096;

/// Room kept for the observed address, which differs between connections.
const OBSERVED: usize = 256;
/// Addresses that stay, however many protocols there are.
const LAST_ADDRS: usize = 4;

/// What we say about ourselves, ready to be sent.
///
/// It fits in one message of [`MAX_SENT`] bytes. What does not fit is left out in this order:
/// addresses from the back until four are left, protocols from the back, the remaining addresses.
#[derive(Clone, Debug)]
pub struct Announcement {
    part: Part,
}

impl Announcement {
    /// Puts it together and signs the peer record. Addresses lose a `/p2p` at their end; `seq`
    /// orders our records and only ever grows.
    ///
    /// # Errors
    /// [`SignError`] if the cryptography library fails. With Ed25519 it does not.
    pub fn new(
        keypair: &Keypair,
        listen_addrs: &[Multiaddr],
        protocols: &[Protocol],
        agent_version: &str,
        protocol_version: &str,
        seq: u64,
    ) -> Result<Self, SignError> {
        let addrs: Vec<Multiaddr> = listen_addrs.iter().map(AddrExt::without_peer).collect();
        let mut part = Part {
            public_key: Some(keypair.public().to_protobuf()),
            protocol_version: Some(text(protocol_version)),
            agent_version: Some(text(agent_version)),
            ..Part::default()
        };
        let record = record_len(keypair, seq)?;
        let room = MAX_SENT.saturating_sub(part.encoded_len() + OBSERVED);
        let (addr_count, protocol_count) = fit(&addrs, protocols, record, room);
        if (addr_count, protocol_count) != (addrs.len(), protocols.len()) {
            tracing::warn!(
                addrs = addrs.len() - addr_count,
                protocols = protocols.len() - protocol_count,
                "more addresses or protocols than fit in an identify message; some are left out"
            );
        }
        let addrs = addrs.get(..addr_count).unwrap_or_default();
        let protocols = protocols.iter().take(protocol_count);
        part.listen_addrs = addrs
            .iter()
            .map(|addr| Bytes::from(addr.to_vec()))
            .collect();
        part.protocols = protocols.map(|id| text(id.as_str())).collect();
        if !addrs.is_empty() {
            let envelope = PeerRecord::seal(keypair, seq, addrs)?;
            part.signed_peer_record = Some(envelope.encode().into());
        }
        Ok(Self { part })
    }

    /// The message for a peer that we see at `observed`.
    pub fn encode(&self, observed: Option<&Multiaddr>) -> Vec<u8> {
        let mut part = self.part.clone();
        let observed = observed.map(|addr| Bytes::from(addr.without_peer().to_vec()));
        // With its tag and length.
        part.observed_addr = observed.filter(|addr| addr.len() + 3 <= OBSERVED);
        part.encode_to_vec()
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The length of a record field without addresses, with room for lengths that grow.
fn record_len(keypair: &Keypair, seq: u64) -> Result<usize, SignError> {
    let envelope = PeerRecord::seal(keypair, seq, &[])?;
    Ok(envelope.encode().len() + 16)
}

/// The length of a field that holds `len` bytes.
fn field_len(len: usize) -> usize {
    1 + uvarint::encode(len as u64).as_slice().len() + len
}

/// How many addresses and protocols fit in `room`.
fn fit(addrs: &[Multiaddr], protocols: &[Protocol], record: usize, room: usize) -> (usize, usize) {
    // Once in the list, and once in the record with a wrapper around it.
    let addr_len = |addr: &Multiaddr| field_len(addr.len()) + field_len(field_len(addr.len()));
    let protocol_len = |id: &Protocol| field_len(id.as_str().len());
    let total = |(some_addrs, some_protocols): (usize, usize)| {
        let record = if some_addrs == 0 { 0 } else { record };
        record
            + addrs.iter().take(some_addrs).map(addr_len).sum::<usize>()
            + protocols
                .iter()
                .take(some_protocols)
                .map(protocol_len)
                .sum::<usize>()
    };
    let mut counts = (addrs.len(), protocols.len());
    while total(counts) > room {
        match counts {
            (addrs, protocols) if addrs > LAST_ADDRS => counts = (addrs - 1, protocols),
            (addrs, protocols) if protocols > 0 => counts = (addrs, protocols - 1),
            (addrs, _) if addrs > 0 => counts = (addrs - 1, 0),
            _ => break,
        }
    }
    counts
}
