//! A host of exactly what the command line names.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use futures::future::BoxFuture;
use p2p::core::{BoxIo, Role, Secured, Security, SecurityError};
use p2p::{
    Host, HostBuilder, HostError, KeyType, Keypair, Multiplexer, PeerId, Protocol, SecureChannel,
    noise::Noise, pnet::PreSharedKey, tls::Tls, websocket,
};

use super::error::{NodeError, unsupported};

/// What to offer, most wanted first.
#[derive(clap::Args, Debug)]
pub(crate) struct Stack {
    #[arg(long, default_value = "tcp")]
    transport: String,
    #[arg(long, value_delimiter = ',', default_value = "noise")]
    security: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "yamux")]
    muxer: Vec<String>,
    /// The kind of identity: ed25519, secp256k1, ecdsa or rsa.
    #[arg(long, default_value = "ed25519")]
    key: String,
    /// Whether the multiplexer is offered inside the security handshake: on or off.
    #[arg(long, default_value = "on")]
    early: String,
    /// Where certificate and key of a `wss` listener are, and the root that a dialer trusts.
    #[arg(long)]
    tls: Option<PathBuf>,
    /// The key file of a private network.
    #[arg(long)]
    swarm_key: Option<PathBuf>,
    /// Makes every key from this number, so that a recorded remote can be met again. Worthless as
    /// security.
    #[arg(long, hide = true)]
    seed: Option<u8>,
}

impl Stack {
    /// What other command lines than ours name; a transport may bring the others itself.
    pub(crate) fn of(transport: &str, security: Option<&str>, muxer: Option<&str>) -> Self {
        let list = |name: Option<&str>| name.into_iter().map(str::to_owned).collect();
        Self {
            transport: transport.into(),
            security: list(security),
            muxer: list(muxer),
            key: "ed25519".into(),
            early: "on".into(),
            tls: None,
            swarm_key: None,
            seed: None,
        }
    }

    /// Says whether `test` makes no sense with this stack.
    pub(super) fn check(&self, test: &str) -> Result<(), NodeError> {
        if test == "codes" && self.muxer.iter().any(|it| it == "mplex") {
            return Err(unsupported("error codes on", "mplex"));
        }
        Ok(())
    }

    /// Where a dialer listens beside what it dials.
    pub(super) fn listen_addr(&self) -> &'static str {
        match self.transport.as_str() {
            "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
            _ => "/ip4/127.0.0.1/tcp/0",
        }
    }

    /// The host, with nothing but identify and ping on it.
    pub(crate) async fn host(&self) -> Result<Host, NodeError> {
        let identity = self.identity()?;
        let mut builder = Host::builder().identity(identity.clone());
        if let Some(path) = &self.swarm_key {
            builder = builder.private_network(swarm_key(path)?);
        }
        let builder = match self.transport.as_str() {
            "tcp" => self.upgrades(builder.quic(None).websocket(None), &identity)?,
            "ws" => {
                let web = self.web();
                self.upgrades(builder.quic(None).websocket(Some(web)), &identity)?
            }
            "wss" => {
                let web = self.web_certificate()?;
                self.upgrades(builder.quic(None).websocket(Some(web)), &identity)?
            }
            // Secured and multiplexed by itself.
            "quic" => builder.tcp(None),
            other => return Err(unsupported("transport", other)),
        };
        Ok(builder.build().await?)
    }

    /// Without a secure channel to cut it, js sends what its muxer gives it in one message: a frame
    /// of a whole window.
    fn web(&self) -> websocket::Config {
        let mut config = websocket::Config::default();
        if self.security.iter().any(|it| it == "plaintext") {
            config.max_message = 64 << 20;
        }
        config
    }

    /// Shows the certificate as a listener, and trusts its root as a dialer.
    fn web_certificate(&self) -> Result<websocket::Config, NodeError> {
        let folder = self.tls.clone().unwrap_or_default();
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| NodeError::File { path, source })
        };
        let certificate =
            websocket::ServerCertificate::from_pem(&read("cert.pem")?, &read("key.pem")?)?;
        let mut config = self.web();
        config.certificate = Some(certificate);
        config.roots = vec![read("ca.der")?.into()];
        Ok(config)
    }

    /// Offers the secure channels and multiplexers.
    fn upgrades(&self, builder: HostBuilder, identity: &Keypair) -> Result<HostBuilder, NodeError> {
        if self.early == "off" && self.security.iter().any(|it| it == "plaintext") {
            return Err(unsupported("early muxer negotiation in", "plaintext"));
        }
        let mut channels = Vec::new();
        let mut unusual = Vec::new();
        for name in &self.security {
            let (channel, other) = match name.as_str() {
                "noise" => (SecureChannel::Noise, self.unusual_noise(identity)?),
                "plaintext" => (SecureChannel::Plaintext, None),
                "tls" => (SecureChannel::Tls, self.late_tls(identity)?),
                _ => return Err(unsupported("security", name)),
            };
            match other {
                Some(other) => unusual.push(other),
                None => channels.push(channel),
            }
        }
        let muxers: Vec<_> = self
            .muxer
            .iter()
            .map(|it| muxer(it))
            .collect::<Result<_, _>>()?;
        let builder = builder.secure_channels(&channels).multiplexers(&muxers);
        Ok(unusual
            .into_iter()
            .fold(builder, HostBuilder::with_security))
    }

    fn identity(&self) -> Result<Keypair, NodeError> {
        if let Some(seed) = self.seed {
            return Ok(Keypair::ed25519_from_seed([seed; 32]));
        }
        let key_type = match self.key.as_str() {
            "ecdsa" => KeyType::Ecdsa,
            "ed25519" => KeyType::Ed25519,
            "rsa" => KeyType::Rsa,
            "secp256k1" => KeyType::Secp256k1,
            _ => return Err(unsupported("key", &self.key)),
        };
        Ok(Keypair::generate(key_type)?)
    }

    /// Noise with known keys or without early multiplexer negotiation, if one was asked for.
    fn unusual_noise(&self, identity: &Keypair) -> Result<Option<Late>, NodeError> {
        let config = p2p::noise::Config::default();
        let noise = match (self.seed, self.early.as_str()) {
            (Some(seed), _) => {
                Noise::with_fixed_keys(identity, config, [seed; 32], [seed ^ 0x55; 32])
            }
            (None, "on") => return Ok(None),
            (None, "off") => Noise::with_runtime(identity, config, p2p::runtime::default_runtime()),
            (None, other) => return Err(unsupported("early muxer negotiation", other)),
        };
        Ok(Some(Late {
            inner: Box::new(noise.map_err(HostError::from)?),
            offers: self.early == "on",
        }))
    }

    /// TLS without early multiplexer negotiation, if that was asked for.
    fn late_tls(&self, identity: &Keypair) -> Result<Option<Late>, NodeError> {
        match self.early.as_str() {
            "on" => Ok(None),
            "off" => Ok(Some(Late {
                inner: Box::new(Tls::new(identity).map_err(HostError::from)?),
                offers: false,
            })),
            other => Err(unsupported("early muxer negotiation", other)),
        }
    }
}

fn swarm_key(path: &Path) -> Result<PreSharedKey, NodeError> {
    let file = fs::read(path).map_err(|source| NodeError::File {
        path: path.into(),
        source,
    })?;
    Ok(PreSharedKey::from_file(&file)?)
}

fn muxer(name: &str) -> Result<Multiplexer, NodeError> {
    match name {
        "mplex" => Ok(Multiplexer::Mplex),
        "yamux" => Ok(Multiplexer::Yamux),
        _ => Err(unsupported("muxer", name)),
    }
}

/// A secure channel that may leave the multiplexer to be negotiated afterwards.
struct Late {
    inner: Box<dyn Security>,
    /// Whether it offers multiplexers inside the handshake.
    offers: bool,
}

impl Security for Late {
    fn protocol(&self) -> Protocol {
        self.inner.protocol()
    }

    fn secure(
        &self,
        io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>> {
        let muxers = if self.offers { muxers } else { Vec::new() };
        self.inner.secure(io, role, expect, muxers)
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late({})", self.inner.protocol())
    }
}
