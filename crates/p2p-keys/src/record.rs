//! Peer records: the addresses of a peer, signed by itself (RFC 0003).
//!
//! Two forms are in use, which differ in domain and payload type only. Both are accepted; the
//! one of go and js is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multiaddr::{Multiaddr, Protocol};

use crate::proto::{self, Fields, Value};
use crate::{
    EnvelopeError, Keypair, PeerId, PeerIdExt as _, RecordError, RecordLimits, SignError,
    SignedEnvelope,
};

/// Domain and payload type in go and js.
const GO_FORM: (&str, &[u8]) = ("libp2p-peer-record", &[0x03, 0x01]);
/// Domain and payload type in rust-libp2p and in the text of the RFC.
const RUST_FORM: (&str, &[u8]) = ("libp2p-routing-state", b"/libp2p/routing-state-record");

const PEER_ID: u8 = 1;
const SEQ: u8 = 2;
const ADDRESSES: u8 = 3;
/// Inside [`ADDRESSES`].
const MULTIADDR: u8 = 1;

/// Where a peer can be reached, according to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who it is about, and who signed it.
    pub peer: PeerId,
    /// Which record is newer: replace what you have only by a higher one.
    pub seq: u64,
    /// The addresses, with or without the peer's own `/p2p/<id>` at the end.
    pub addrs: Vec<Multiaddr>,
}

impl PeerRecord {
    /// Signs a record about the owner of `keypair`. [`RecordSeq`] makes the numbers for `seq`.
    ///
    /// # Errors
    /// [`SignError`] if the cryptography library fails. With Ed25519 it does not.
    pub fn seal(
        keypair: &Keypair,
        seq: u64,
        addrs: &[Multiaddr],
    ) -> Result<SignedEnvelope, SignError> {
        let (domain, payload_type) = GO_FORM;
        let payload = encode(keypair.to_peer_id(), seq, addrs);
        SignedEnvelope::seal(keypair, domain, payload_type, payload)
    }

    /// Verifies and reads a record from the wire, in either form.
    ///
    /// Addresses that are empty, unreadable or end in another peer's id are skipped, and so are
    /// those beyond [`RecordLimits::max_addrs`].
    ///
    /// # Errors
    /// [`RecordError`] if it is too long, not validly signed, or not by the peer it is about.
    pub fn open(envelope: &[u8], limits: &RecordLimits) -> Result<Self, RecordError> {
        if envelope.len() > limits.max_bytes {
            return Err(RecordError::TooLong {
                len: envelope.len(),
                max: limits.max_bytes,
            });
        }
        let envelope = SignedEnvelope::decode(envelope)?;
        let form = [GO_FORM, RUST_FORM]
            .into_iter()
            .find(|(_, payload_type)| *payload_type == envelope.payload_type());
        let (domain, payload_type) = form.ok_or(EnvelopeError::PayloadType)?;
        let record = decode(envelope.open(domain, payload_type)?, limits.max_addrs)?;
        let signer = envelope.signer().to_peer_id();
        if record.peer == signer {
            Ok(record)
        } else {
            Err(RecordError::NotTheSigner {
                peer: Box::new(record.peer),
                signer: Box::new(signer),
            })
        }
    }
}

fn encode(peer: PeerId, seq: u64, addrs: &[Multiaddr]) -> Vec<u8> {
    let mut record = Vec::new();
    proto::put_bytes(&mut record, PEER_ID, &peer.to_bytes());
    if seq != 0 {
        proto::put_uint(&mut record, SEQ, seq);
    }
    for addr in addrs {
        let mut info = Vec::with_capacity(proto::bytes_field_len(addr.len()));
        proto::put_bytes(&mut info, MULTIADDR, addr.as_ref());
        proto::put_bytes(&mut record, ADDRESSES, &info);
    }
    record
}

fn decode(payload: &[u8], max_addrs: usize) -> Result<PeerRecord, RecordError> {
    let (mut peer, mut seq) = (None, None);
    for field in Fields::of(payload) {
        let (number, value) = field.map_err(|_| RecordError::Malformed("not protobuf"))?;
        let twice = match (u8::try_from(number), value) {
            (Ok(PEER_ID), Value::Bytes(id)) => peer.replace(id).is_some(),
            (Ok(SEQ), Value::Varint(number)) => seq.replace(number).is_some(),
            (Ok(PEER_ID | SEQ), _) => return Err(RecordError::Malformed("field of a wrong type")),
            _later_or_unknown => false,
        };
        if twice {
            return Err(RecordError::Malformed("field there twice"));
        }
    }
    let peer = peer.ok_or(RecordError::Malformed("no peer id"))?;
    let peer = PeerId::parse_bytes(peer).map_err(|_| RecordError::Malformed("not a peer id"))?;
    let addrs = bytes_fields(payload, ADDRESSES).filter_map(|info| decode_addr(info, peer));
    Ok(PeerRecord {
        peer,
        seq: seq.unwrap_or_default(),
        addrs: addrs.take(max_addrs).collect(),
    })
}

/// `None` for an address that is of no use, whatever the reason.
fn decode_addr(info: &[u8], peer: PeerId) -> Option<Multiaddr> {
    let addr = bytes_fields(info, MULTIADDR).next()?;
    let addr = Multiaddr::try_from(addr.to_vec()).ok()?;
    let last = addr.iter().last()?;
    let of_another = matches!(last, Protocol::P2p(other) if other != peer);
    (!of_another).then_some(addr)
}

/// The values of all fields of type `bytes` with this number.
fn bytes_fields(message: &[u8], wanted: u8) -> impl Iterator<Item = &[u8]> {
    Fields::of(message).filter_map(move |field| match field {
        Ok((number, Value::Bytes(value))) if number == wanted.into() => Some(value),
        _ => None,
    })
}

/// Makes the numbers that order the records of one peer: nanoseconds since 1970, so that they
/// grow over restarts, and always above the one before, so that they grow when the clock does
/// not.
#[derive(Debug, Default)]
pub struct RecordSeq(AtomicU64);

impl RecordSeq {
    /// Starts with the time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts above `last`, the newest number used before.
    pub fn after(last: u64) -> Self {
        Self(AtomicU64::new(last))
    }

    /// The next number, given the time since 1970. Stays at `u64::MAX` once there, in the year
    /// 2554.
    pub fn next(&self, unix_time: Duration) -> u64 {
        let nanos = u64::try_from(unix_time.as_nanos()).unwrap_or(u64::MAX);
        let above = |last: u64| nanos.max(last.saturating_add(1));
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(above(last))
            });
        above(last.unwrap_or_else(|last| last))
    }
}
