//! Dialing and listening: the transport below, TLS if asked for, the HTTP upgrade.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{accept_async_with_config, client_async_with_config};
use futures::future::{BoxFuture, FutureExt};
use futures_rustls::{TlsAcceptor, TlsConnector};
use p2p_core::{
    Blame, BoxIo, Cause, Dialed, Exceeded, Incoming, Link, Listener, Multiaddr, PeerId, Transport,
    TransportError,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::addr::Parsed;
use crate::stream::ByteStream;
use crate::{Config, HandshakeError, ServerCertificate, SetupError};

/// What is read at once, in bytes. Each connection has a buffer of this size, which is cleared
/// before each read; that of the library, 128 KiB, is more than all else that an idle one takes.
const READ_BUFFER: usize = 16 << 10;

/// WebSocket over another transport, most often TCP. Cheap to clone.
#[derive(Clone)]
pub struct WebSocket(Arc<Inner>);

struct Inner {
    below: Arc<dyn Transport>,
    messages: WebSocketConfig,
    client: Arc<ClientConfig>,
    /// `None`: no certificate, so no listening with TLS.
    server: Option<Arc<ServerConfig>>,
}

impl WebSocket {
    /// Dials and listens through `below`.
    ///
    /// # Errors
    /// [`SetupError`] if a certificate in `config` is not usable.
    pub fn new(below: impl Transport, config: Config) -> Result<Self, SetupError> {
        // Messages go out as they are written: joining them is the business of whoever writes.
        let messages = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * 1024 * 1024)
            .max_message_size(Some(config.max_message))
            .max_frame_size(Some(config.max_message));
        Ok(Self(Arc::new(Inner {
            below: Arc::new(below),
            messages,
            client: Arc::new(client(config.roots)?),
            server: config.certificate.map(server).transpose()?.map(Arc::new),
        })))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client(
    more: Vec<rustls::pki_types::CertificateDer<'static>>,
) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in more {
        roots.add(root)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn server(ours: ServerCertificate) -> Result<ServerConfig, SetupError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(ours.chain, ours.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl Inner {
    async fn dial(&self, addr: Multiaddr) -> Result<Dialed, TransportError> {
        let Some(parsed) = Parsed::new(&addr) else {
            return Err(TransportError::Unsupported { addr });
        };
        let dialed = match self.below.dial(parsed.below.clone(), None).await {
            // The error names what was dialed, not what is below it.
            Err(TransportError::Connect { source, .. }) => {
                return Err(TransportError::Connect { addr, source });
            }
            other => other?,
        };
        let local = dialed.local.map(|local| parsed.above(&local));
        let mut io = raw(dialed.link)?;
        if parsed.tls {
            let name = ServerName::try_from(parsed.server_name().to_owned())
                .map_err(|_| TransportError::Unsupported { addr: addr.clone() })?;
            let connector = TlsConnector::from(Arc::clone(&self.client));
            let stream = connector.connect(name, io).await.map_err(tls)?;
            io = Box::new(stream);
        }
        let (stream, _) = client_async_with_config(parsed.url(), io, Some(self.messages))
            .await
            .map_err(upgrade)?;
        Ok(Dialed {
            link: Link::Raw(Box::new(ByteStream::new(stream))),
            local,
        })
    }

    async fn serve(&self, link: Link, with_tls: bool) -> Result<Link, TransportError> {
        let mut io = raw(link)?;
        if let Some(config) = self.server.as_ref().filter(|_| with_tls) {
            let acceptor = TlsAcceptor::from(Arc::clone(config));
            io = Box::new(acceptor.accept(io).await.map_err(tls)?);
        }
        let stream = accept_async_with_config(io, Some(self.messages))
            .await
            .map_err(upgrade)?;
        Ok(Link::Raw(Box::new(ByteStream::new(stream))))
    }

    async fn listen(self: Arc<Self>, addr: Multiaddr) -> Result<Listening, TransportError> {
        let Some(parsed) = Parsed::new(&addr).filter(Parsed::is_for_listening) else {
            return Err(TransportError::Unsupported { addr });
        };
        if parsed.tls && self.server.is_none() {
            let why = "listening with TLS needs a certificate (setting: certificate)";
            let source = io::Error::new(io::ErrorKind::InvalidInput, why);
            return Err(TransportError::Listen { addr, source });
        }
        match self.below.listen(parsed.below.clone()).await {
            Ok(below) => Ok(Listening {
                transport: self,
                below,
                parsed,
            }),
            Err(TransportError::Listen { source, .. }) => {
                Err(TransportError::Listen { addr, source })
            }
            Err(other) => Err(other),
        }
    }
}

impl Transport for WebSocket {
    fn supports(&self, addr: &Multiaddr) -> bool {
        Parsed::new(addr).is_some_and(|parsed| self.0.below.supports(&parsed.below))
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let inner = Arc::clone(&self.0);
        async move { inner.dial(addr).await }.boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let inner = Arc::clone(&self.0);
        async move { Ok(Box::new(inner.listen(addr).await?) as Box<dyn Listener>) }.boxed()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocket").field(&self.0.below).finish()
    }
}

struct Listening {
    transport: Arc<Inner>,
    below: Box<dyn Listener>,
    parsed: Parsed,
}

impl Listener for Listening {
    fn addrs(&self) -> Vec<Multiaddr> {
        let below = self.below.addrs();
        below.iter().map(|addr| self.parsed.above(addr)).collect()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            let incoming = self.below.accept().await?;
            let transport = Arc::clone(&self.transport);
            let tls = self.parsed.tls;
            Ok(Incoming {
                remote: self.parsed.above(&incoming.remote),
                local: self.parsed.above(&incoming.local),
                link: async move { transport.serve(incoming.link.await?, tls).await }.boxed(),
            })
        }
        .boxed()
    }

    fn refusals(&mut self) -> Option<(Exceeded, u64)> {
        self.below.refusals()
    }
}

/// WebSocket goes over bytes only.
fn raw(link: Link) -> Result<BoxIo, TransportError> {
    match link {
        Link::Raw(io) => Ok(io),
        Link::Muxed(_) => {
            let what = "the transport below yields streams, not bytes";
            Err(TransportError::Handshake(Cause::new(Blame::Us, what)))
        }
    }
}

fn tls(error: io::Error) -> TransportError {
    failed(HandshakeError::of_tls(error))
}

fn upgrade(error: async_tungstenite::tungstenite::Error) -> TransportError {
    failed(HandshakeError::Upgrade(Box::new(error)))
}

fn failed(error: HandshakeError) -> TransportError {
    TransportError::Handshake(Cause::new(error.blame(), error))
}
