//! The TLS of QUIC: the credentials of `p2p-tls`, and what its verifier said.
//!
//! Spec: libp2p/specs `tls/tls.md`; `quic/README.md` (the application protocol is `libp2p`; no
//! server name, no tickets, no 0-RTT).

use std::any::Any;
use std::sync::Arc;

use p2p_core::{Cause, PeerId, Rt, SecurityError, TransportError};
use p2p_keys::PublicKey;
use p2p_tls::{CertificateError, Credentials, Verdict, Verifier, certificate};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, NoneTokenStore, ServerConfig, TransportConfig, ValidationTokenConfig,
};
use rustls::pki_types::CertificateDer;

use crate::clock::Calendar;
use crate::error::{HandshakeError, SetupError};
use crate::{Config, ids};

/// The application protocol of every connection.
const ALPN: &[u8] = b"libp2p";
/// First datagrams of one dialer that are kept until its connection is accepted, in bytes.
const BUFFERED: u64 = 8 << 10;

/// Our certificate. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Identity(Credentials);

impl Identity {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self(credentials)
    }

    /// The settings of sockets that listen.
    pub(crate) fn server(
        &self,
        rt: &Rt,
        transport: &Arc<TransportConfig>,
        config: &Config,
    ) -> Result<Arc<ServerConfig>, SetupError> {
        let tls = self.0.server(vec![ALPN.to_vec()]);
        let tls = QuicServerConfig::try_from(tls)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        let mut tokens = ValidationTokenConfig::default();
        tokens.sent(0);
        server
            .transport_config(transport.clone())
            .validation_token_config(tokens)
            .time_source(Arc::new(Calendar(rt.clone())))
            // One more than we take: quinn would leave dialers without an answer.
            .max_incoming(config.max_handshakes.saturating_add(1))
            .incoming_buffer_size(BUFFERED)
            .incoming_buffer_size_total(BUFFERED * config.max_handshakes as u64);
        Ok(Arc::new(server))
    }

    /// `server` for one connection; and what becomes of the certificate that it shows.
    pub(crate) fn accepting(
        &self,
        server: &ServerConfig,
    ) -> Result<(Arc<ServerConfig>, Verdict), SetupError> {
        let verdict = Verdict::default();
        let verifier = Verifier {
            expect: None,
            verdict: Some(verdict.clone()),
        };
        let tls = self
            .0
            .server_with(Arc::new(verifier), vec![ALPN.to_vec()])?;
        let mut server = server.clone();
        server.crypto = Arc::new(QuicServerConfig::try_from(tls)?);
        Ok((Arc::new(server), verdict))
    }

    /// The settings for dialing `expect`, or anybody; and what becomes of the certificate.
    pub(crate) fn client(
        &self,
        rt: &Rt,
        transport: &Arc<TransportConfig>,
        expect: Option<PeerId>,
    ) -> Result<(ClientConfig, Verdict), SetupError> {
        let mut tls = self.0.client(expect, vec![ALPN.to_vec()]);
        let verdict = Verdict::default();
        let verifier = Verifier {
            expect,
            verdict: Some(verdict.clone()),
        };
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        client
            .transport_config(transport.clone())
            .token_store(Arc::new(NoneTokenStore));
        let rt = rt.clone();
        client.initial_dst_cid_provider(Arc::new(move || ids::first(&rt)));
        Ok((client, verdict))
    }
}

/// The host key in the certificate that the handshake verified.
pub(crate) fn remote_key(identity: Option<Box<dyn Any>>) -> Result<PublicKey, CertificateError> {
    let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    match chain.as_deref().map(Vec::as_slice) {
        Some([one]) => certificate::host_key(one),
        Some(others) => Err(CertificateError::Count {
            found: others.len(),
        }),
        None => Err(CertificateError::Count { found: 0 }),
    }
}

/// `error`, or why we refused a certificate: QUIC passes on words only.
pub(crate) fn explain(error: TransportError, verdict: &Verdict) -> TransportError {
    match verdict.refusal().cloned() {
        None => error,
        Some(CertificateError::WrongPeer { expected, found }) => {
            SecurityError::WrongPeer { expected, found }.into()
        }
        Some(refused) => {
            let refused = HandshakeError::Certificate(refused);
            SecurityError::Protocol(Cause::new(refused.blame(), refused)).into()
        }
    }
}
