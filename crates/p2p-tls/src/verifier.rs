//! Our rules for certificates, as rustls asks for them.

use p2p_core::PeerId;
use p2p_keys::PublicKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError as RustlsCertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, PeerIncompatible, SignatureScheme,
};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::{CertificateError, certificate};

/// Verifies the certificates of libp2p peers, for clients and servers, for TLS and QUIC.
///
/// A refusal is a [`rustls::Error`] with a [`CertificateError`] inside; [`refusal`] finds it.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    /// Who must be there. `None`: anybody.
    pub expect: Option<PeerId>,
    /// Where the reason is kept if it refuses, for one handshake. Default: nowhere.
    pub verdict: Option<Verdict>,
}

/// Why a certificate was refused, for those whose library passes on words only. Cheap to clone;
/// clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<OnceLock<CertificateError>>);

impl Verdict {
    /// The reason, if it was.
    pub fn refusal(&self) -> Option<&CertificateError> {
        self.0.get()
    }
}

impl Verifier {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let checked = self.check(end_entity, others, now);
        checked.map(drop).map_err(|error| {
            if let Some(Verdict(verdict)) = &self.verdict {
                // The first one ended the handshake.
                let _ = verdict.set(error.clone());
            }
            refuse(error)
        })
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PublicKey, CertificateError> {
        if !others.is_empty() {
            let found = 1 + others.len();
            return Err(CertificateError::Count { found });
        }
        let key = certificate::verify(end_entity, Duration::from_secs(now.as_secs()))?;
        let found = key.to_peer_id();
        match self.expect {
            Some(expected) if expected != found => {
                Err(CertificateError::WrongPeer { expected, found })
            }
            Some(_) | None => Ok(key),
        }
    }

    fn verify_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = certificate::subject_public_key(certificate).map_err(refuse)?;
        rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(spki),
            signed,
            &certificate::algorithms(),
        )
    }
}

/// Our reason in an error of rustls, if it is ours.
pub fn refusal(error: &Error) -> Option<&CertificateError> {
    let Error::InvalidCertificate(RustlsCertificateError::Other(OtherError(inner))) = error else {
        return None;
    };
    inner.downcast_ref()
}

fn refuse(error: CertificateError) -> Error {
    Error::InvalidCertificate(RustlsCertificateError::Other(OtherError(Arc::new(error))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        certificate::algorithms().supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        certificate::algorithms().supported_schemes()
    }
}
