//! The TLS of QUIC: the credentials of `p2p-tls`, and what its verifier said.
//!
//! Spec: libp2p/specs `tls/tls.md`; `quic/README.md` (the application protocol is `libp2p`; no
//! server name, no tickets, no 0-RTT).

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use p2p_core::{PeerId, Rt, SecurityError, TransportError};
use p2p_keys::PublicKey;
use p2p_tls::{CertificateError, Credentials, Verifier, certificate, refusal};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, NoneTokenStore, ServerConfig, TransportConfig, ValidationTokenConfig,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::clock::Calendar;
use crate::error::{HandshakeError, SetupError};
use crate::{Config, ids};

/// The application protocol of every connection.
const ALPN: &[u8] = b"libp2p";
/// First datagrams of one dialer that are kept until its connection is accepted, in bytes.
const BUFFERED: u64 = 8 << 10;

/// Our certificate.
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

    /// The settings for dialing `expect`, or anybody; and what becomes of the certificate.
    pub(crate) fn client(
        &self,
        rt: &Rt,
        transport: &Arc<TransportConfig>,
        expect: Option<PeerId>,
    ) -> Result<(ClientConfig, Verdict), SetupError> {
        let mut tls = self.0.client(expect, vec![ALPN.to_vec()]);
        let verdict = Verdict::default();
        let verifier = Noting {
            inner: Verifier { expect },
            verdict: verdict.clone(),
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

/// Why a dialer refused a certificate: QUIC passes on words only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<CertificateError>>>);

impl Verdict {
    fn note(&self, refused: &Error) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = refusal(refused).cloned();
    }

    /// `error`, or the reason that it came from.
    pub(crate) fn explain(&self, error: TransportError) -> TransportError {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.take() {
            None => error,
            Some(CertificateError::WrongPeer { expected, found }) => {
                SecurityError::WrongPeer { expected, found }.into()
            }
            Some(refused) => {
                SecurityError::Protocol(Box::new(HandshakeError::Certificate(refused))).into()
            }
        }
    }
}

/// A [`Verifier`] that notes why it refused.
#[derive(Debug)]
struct Noting {
    inner: Verifier,
    verdict: Verdict,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .inspect_err(|refused| self.verdict.note(refused))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(&self.inner, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(&self.inner, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(&self.inner)
    }
}
