//! What libp2p puts into the payloads of messages 2 and 3.
//!
//! Spec: libp2p/specs `noise/README.md` and `connections/inlined-muxer-negotiation.md`.

use p2p_core::Protocol;
use p2p_keys::{Keypair, PublicKey, SignError};
use prost::Message;

use crate::HandshakeError;
use crate::handshake::DH;

/// What an identity signs, in front of its static key.
const SIGNED_PREFIX: &[u8] = b"noise-libp2p-static-key:";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) identity_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) identity_sig: Option<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    pub(crate) extensions: Option<Extensions>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Extensions {
    // Strings in the spec; remotes put anything there, and we only compare.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) stream_muxers: Vec<Vec<u8>>,
}

/// The payload that proves who owns a static key, without extensions.
pub(crate) fn prove(identity: &Keypair, static_key: &[u8; DH]) -> Result<Vec<u8>, SignError> {
    let payload = Payload {
        identity_key: Some(identity.public().as_protobuf().to_vec()),
        identity_sig: Some(identity.sign(&signed(static_key))?),
        extensions: None,
    };
    Ok(payload.encode_to_vec())
}

/// `proof` with our multiplexers, if there are any.
pub(crate) fn with_muxers(proof: &[u8], muxers: &[Protocol]) -> Vec<u8> {
    let mut bytes = proof.to_vec();
    if !muxers.is_empty() {
        let list = muxers.iter().map(|muxer| muxer.as_str().into());
        // Protobuf messages are merged by putting one behind the other.
        let more = Payload {
            extensions: Some(Extensions {
                stream_muxers: list.collect(),
            }),
            ..Payload::default()
        };
        bytes.extend(more.encode_to_vec());
    }
    bytes
}

/// Who sent a payload, and the multiplexers in it.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) public_key: PublicKey,
    pub(crate) muxers: Vec<Vec<u8>>,
}

/// Reads a payload and checks that its identity owns `static_key`.
pub(crate) fn verify(payload: &[u8], static_key: &[u8; DH]) -> Result<Verified, HandshakeError> {
    let payload = Payload::decode(payload).map_err(|_| HandshakeError::Payload)?;
    let (Some(key), Some(signature)) = (payload.identity_key, payload.identity_sig) else {
        return Err(HandshakeError::Payload);
    };
    let public_key = PublicKey::from_protobuf(&key)?;
    if !public_key.verify(&signed(static_key), &signature) {
        return Err(HandshakeError::BadSignature);
    }
    let extensions = payload.extensions.unwrap_or_default();
    Ok(Verified {
        public_key,
        muxers: extensions.stream_muxers,
    })
}

fn signed(static_key: &[u8; DH]) -> Vec<u8> {
    [SIGNED_PREFIX, static_key].concat()
}
