//! The one message of plaintext 2.0.

use p2p_core::PeerId;
use p2p_keys::PublicKey;
use prost::Message;

use crate::PlaintextError;

#[derive(Clone, PartialEq, Message)]
struct Exchange {
    #[prost(bytes = "vec", optional, tag = "1")]
    id: Option<Vec<u8>>,
    // A message in the spec. A message and its bytes look the same on the wire, and a key has
    // one valid encoding.
    #[prost(bytes = "vec", optional, tag = "2")]
    public_key: Option<Vec<u8>>,
}

/// What we say of ourselves.
pub(crate) fn encode(id: PeerId, public_key: &PublicKey) -> Vec<u8> {
    let exchange = Exchange {
        id: Some(id.to_bytes()),
        public_key: Some(public_key.as_protobuf().to_vec()),
    };
    exchange.encode_to_vec()
}

/// The remote's key, if its id is that of its key.
pub(crate) fn decode(message: &[u8]) -> Result<PublicKey, PlaintextError> {
    let exchange =
        Exchange::decode(message).map_err(|error| PlaintextError::Malformed(error.to_string()))?;
    let (Some(id), Some(key)) = (exchange.id, exchange.public_key) else {
        let what = "the id or the key is missing";
        return Err(PlaintextError::Malformed(what.to_owned()));
    };
    let public_key = PublicKey::from_protobuf(&key)?;
    let of_key = public_key.to_peer_id();
    if id != of_key.to_bytes() {
        return Err(PlaintextError::NotItsKey { of_key });
    }
    Ok(public_key)
}
