//! From bytes to a message, and back.

use futures::io::AsyncReadExt;
use p2p_core::{AddrExt, frame as frames, uvarint as varint};
use p2p_keys::{Keypair, PeerId, PeerIdExt, PeerRecord, PublicKey, RecordLimits, SignedEnvelope};
use p2p_multistream::wire as tokens;
use p2p_pubsub::wire::{Rpc, WireLimits};
use p2p_swarm::StoredPeer;

use crate::http;
use crate::remote::{Remote, finish};

/// The varint of multiformats: what decodes is the shortest form.
pub fn uvarint(bytes: &[u8]) {
    if let Ok((value, used)) = varint::decode(bytes) {
        assert_eq!(Some(varint::encode(value).as_slice()), bytes.get(..used));
    }
}

/// Length-prefixed messages: none is longer than allowed, and nothing behind one is touched.
pub fn frame(bytes: &[u8]) {
    const MAX: usize = 64;
    let mut remote = Remote::new(bytes);
    let mut used = 1.min(bytes.len());
    let end = loop {
        match finish(frames::read(&mut remote, MAX)) {
            Ok(message) => {
                assert!(message.len() <= MAX);
                let written = frames::encode(&message);
                assert_eq!(Some(&*written), bytes.get(used..used + written.len()));
                used += written.len();
            }
            Err(error) => break error,
        }
    };
    if matches!(end, frames::Error::Ended) {
        assert_eq!(used, bytes.len());
        assert!(matches!(finish(remote.read(&mut [0])), Ok(0)));
    }
}

/// A public key: only one encoding of a key is one.
pub fn public_key(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_protobuf(bytes) {
        assert_eq!(&*key.to_protobuf(), bytes);
        assert!(!key.verify(b"nobody signed this", bytes));
        let id = key.to_peer_id();
        assert_eq!(PeerId::parse_any(&id.to_string()).as_ref(), Ok(&id));
    }
}

/// A private key: what is read can sign, and is written the same.
pub fn private_key(bytes: &[u8]) {
    if let Ok(pair) = Keypair::from_protobuf(bytes) {
        let again = Keypair::from_protobuf(&pair.to_protobuf()).map(|again| again.to_peer_id());
        assert!(again.is_ok_and(|id| id == pair.to_peer_id()));
    }
}

/// A signed envelope: what decodes is encoded the same, and opens for nobody else's purpose.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = SignedEnvelope::decode(bytes) {
        let again = SignedEnvelope::decode(&envelope.encode());
        assert!(again.is_ok_and(|again| again.signer() == envelope.signer()));
        assert!(
            envelope
                .open("a purpose that nobody signs for", b"/")
                .is_err()
        );
    }
}

/// A signed peer record: its limits hold.
pub fn peer_record(bytes: &[u8]) {
    let limits = RecordLimits::default();
    if let Ok(record) = PeerRecord::open(bytes, &limits) {
        assert!(bytes.len() <= limits.max_bytes);
        assert!(record.addrs.len() <= limits.max_addrs);
    }
}

/// A peer id, as bytes and as text.
pub fn peer_id(bytes: &[u8]) {
    if let Ok(id) = PeerId::from_bytes(bytes) {
        assert_eq!(PeerId::from_bytes(&id.to_bytes()).ok(), Some(id));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(id) = PeerId::parse_any(text)
    {
        assert_eq!(PeerId::parse_any(&id.to_string()).ok(), Some(id));
    }
}

/// A line of multistream-select: what decodes is written the same.
pub fn multistream_token(bytes: &[u8]) {
    const MAX: usize = 1024;
    if let Ok(Some((token, used))) = tokens::decode(bytes, MAX) {
        let mut written = Vec::new();
        tokens::encode(token, &mut written);
        assert_eq!(Some(&*written), bytes.get(..used));
    }
}

/// An RPC of pubsub: its limits hold.
pub fn pubsub_rpc(bytes: &[u8]) {
    let limits = WireLimits::default();
    if let Ok(rpc) = Rpc::parse(bytes, &limits) {
        // Parsed once, every part is there, and their number is bounded by the bytes.
        assert!(rpc.parts().count() <= bytes.len());
    }
}

/// What is stored of a peer in an address book: what decodes is encoded the same, and is all about
/// this peer.
pub fn store_record(bytes: &[u8]) {
    if let Ok(stored) = StoredPeer::decode(bytes) {
        let mut addrs = stored.addrs.iter();
        assert!(addrs.all(|one| one.addr.peer() == Some(stored.peer)));
        assert!(stored.addrs.len() + stored.protocols.len() <= bytes.len());
        assert_eq!(StoredPeer::decode(&stored.encode()), Ok(stored));
    }
}

/// The answer to a request for a page of a node: its body is its end.
pub fn http_answer(bytes: &[u8]) {
    if let Ok(body) = http::body(bytes.to_vec()) {
        let head = bytes.strip_suffix(body.as_bytes());
        assert!(head.is_some_and(|head| head.ends_with(http::END)));
    }
}
