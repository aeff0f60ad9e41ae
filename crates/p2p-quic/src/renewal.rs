//! How a node that starts anew is recognised by those who knew it before.
//!
//! A process that is killed tells nobody. When it runs again, at the same address, the datagrams
//! of its old connections are answered with a stateless reset, which ends them at once. Their
//! owners believe it because its token, and that the connection id is one of ours, follow from
//! what is still the same: the identity and the address.
//!
//! The address is part of it because whoever can get a token for a connection can end it: two
//! nodes that share an identity must not answer for each other (RFC 9000, section 21.11).
//!
//! Spec: RFC 9000, section 10.3.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use p2p_core::Rt;
use p2p_keys::Keypair;
use quinn_proto::EndpointConfig;

use crate::ids::ConnectionIds;

/// What the keys of our sockets are made from.
pub(crate) struct Renewal(Key);

impl Renewal {
    pub(crate) fn new(identity: &Keypair) -> Self {
        Self(Key::new(HMAC_SHA256, &identity.to_protobuf()))
    }

    /// The settings of a socket bound to `at`, and the names of its connections.
    pub(crate) fn settings(&self, at: SocketAddr, rt: &Rt) -> (EndpointConfig, ConnectionIds) {
        let resets = self.derive("stateless resets", at);
        let ids = ConnectionIds::new(self.derive("connection ids", at), rt.clone());
        let mut settings = EndpointConfig::new(Arc::new(resets));
        let maker = ids.clone();
        settings.cid_generator(move || Box::new(maker.clone()));
        (settings, ids)
    }

    fn derive(&self, purpose: &str, at: SocketAddr) -> Key {
        let context = format!("p2p-quic: {purpose} of {at}");
        Key::new(
            HMAC_SHA256,
            hmac::sign(&self.0, context.as_bytes()).as_ref(),
        )
    }
}
