//! Putting a host together.

use std::fmt;

use p2p_core::{Gate, Multiplex, Rt, Security, Transport};
use p2p_identify::Identify;
use p2p_keys::Keypair;
use p2p_mplex::Mplex;
use p2p_noise::Noise;
use p2p_ping::Ping;
use p2p_plaintext::Plaintext;
use p2p_swarm::{BookStore, BuildError, Config, HandleError, Swarm, SwarmBuilder};
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

use crate::Host;

/// A secure channel that comes with the facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecureChannel {
    /// Noise XX. The default.
    Noise,
    /// No security at all: for tests and for debugging. Cannot be offered beside another one,
    /// because an attacker on the path would simply choose it.
    Plaintext,
}

/// A multiplexer that comes with the facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Multiplexer {
    /// Yamux: flow control for each stream. The default's first choice.
    Yamux,
    /// Mplex: deprecated, for old peers. The default's second choice.
    Mplex,
}

/// Why a host cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The parts do not make a swarm.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A service's protocol has a handler already.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The identity cannot be used for Noise.
    #[error("Noise cannot be set up with this identity")]
    Noise(#[from] p2p_noise::SetupError),
    /// The identity cannot be used for QUIC.
    #[cfg(feature = "quic")]
    #[error("QUIC cannot be set up with this identity")]
    Quic(#[from] p2p_quic::SetupError),
    /// No runtime was given, and no feature that brings one is enabled.
    #[error("no runtime: enable the feature async-std, smol or tokio, or pass one to runtime()")]
    NoRuntime,
}

/// Puts a [`Host`] together. Everything has a default.
pub struct HostBuilder {
    identity: Option<Keypair>,
    rt: Option<Rt>,
    config: Config,
    tcp: bool,
    #[cfg(feature = "quic")]
    quic: Option<p2p_quic::Config>,
    channels: Vec<SecureChannel>,
    muxers: Vec<Multiplexer>,
    extra: Vec<Extra>,
    identify: Option<p2p_identify::Config>,
    ping: Option<p2p_ping::Config>,
}

/// A part from elsewhere, added behind ours.
type Extra = Box<dyn FnOnce(SwarmBuilder) -> SwarmBuilder + Send>;

impl Default for HostBuilder {
    fn default() -> Self {
        Self {
            identity: None,
            rt: None,
            config: Config::default(),
            tcp: true,
            #[cfg(feature = "quic")]
            quic: Some(p2p_quic::Config::default()),
            channels: vec![SecureChannel::Noise],
            muxers: vec![Multiplexer::Yamux, Multiplexer::Mplex],
            extra: Vec::new(),
            identify: Some(p2p_identify::Config::default()),
            ping: Some(p2p_ping::Config::default()),
        }
    }
}

impl HostBuilder {
    /// Sets who we are. Default: a new Ed25519 key pair.
    pub fn identity(mut self, identity: Keypair) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the runtime. Default: the first enabled of async-std, smol, tokio.
    pub fn runtime(mut self, rt: Rt) -> Self {
        self.rt = Some(rt);
        self
    }

    /// Replaces the swarm's deadlines and limits.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whether TCP is spoken. Default: true.
    pub fn tcp(mut self, enabled: bool) -> Self {
        self.tcp = enabled;
        self
    }

    /// Sets QUIC up, or leaves it out. Default: on.
    #[cfg(feature = "quic")]
    pub fn quic(mut self, config: Option<p2p_quic::Config>) -> Self {
        self.quic = config;
        self
    }

    /// Replaces the secure channels, best first. Default: Noise.
    pub fn secure_channels(mut self, channels: &[SecureChannel]) -> Self {
        self.channels = channels.to_vec();
        self
    }

    /// Replaces the multiplexers, best first. Default: yamux, then mplex.
    pub fn multiplexers(mut self, muxers: &[Multiplexer]) -> Self {
        self.muxers = muxers.to_vec();
        self
    }

    /// Adds a transport.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.extra
            .push(Box::new(|swarm| swarm.transport(transport)));
        self
    }

    /// Adds a secure channel behind the others in preference.
    pub fn with_security(mut self, security: impl Security) -> Self {
        self.extra.push(Box::new(|swarm| swarm.security(security)));
        self
    }

    /// Adds a multiplexer behind the others in preference.
    pub fn with_muxer(mut self, muxer: impl Multiplex) -> Self {
        self.extra.push(Box::new(|swarm| swarm.muxer(muxer)));
        self
    }

    /// Sets where the address book is kept between runs. Default: nowhere.
    pub fn book_store(mut self, store: impl BookStore) -> Self {
        self.extra.push(Box::new(|swarm| swarm.book_store(store)));
        self
    }

    /// Adds a policy; all that were added must agree. Default: everything is allowed.
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.extra.push(Box::new(|swarm| swarm.gate(gate)));
        self
    }

    /// Sets up identify, or leaves it out. Default: on.
    pub fn identify(mut self, config: Option<p2p_identify::Config>) -> Self {
        self.identify = config;
        self
    }

    /// Sets up ping, or leaves it out. Default: on.
    pub fn ping(mut self, config: Option<p2p_ping::Config>) -> Self {
        self.ping = config;
        self
    }

    /// Starts the host.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`HostError`] names what is missing or contradictory.
    #[expect(
        clippy::unused_async,
        reason = "transports that must open something first come under the same call"
    )]
    pub async fn build(self) -> Result<Host, HostError> {
        let rt = match self.rt {
            Some(rt) => rt,
            None => crate::default_runtime().ok_or(HostError::NoRuntime)?,
        };
        let identity = self.identity.unwrap_or_else(Keypair::generate_ed25519);
        let mut swarm = Swarm::builder(Rt::clone(&rt), identity.to_peer_id()).config(self.config);
        if self.tcp {
            swarm = swarm.transport(Tcp::new(Rt::clone(&rt), p2p_tcp::Config::default()));
        }
        #[cfg(feature = "quic")]
        if let Some(config) = self.quic {
            swarm = swarm.transport(p2p_quic::Quic::new(Rt::clone(&rt), &identity, config)?);
        }
        for channel in self.channels {
            swarm = match channel {
                SecureChannel::Noise => {
                    let config = p2p_noise::Config::default();
                    swarm.security(Noise::with_runtime(&identity, config, Rt::clone(&rt))?)
                }
                SecureChannel::Plaintext => swarm.security(Plaintext::new(&identity)),
            };
        }
        for muxer in self.muxers {
            swarm = match muxer {
                Multiplexer::Yamux => swarm.muxer(Yamux::default()),
                Multiplexer::Mplex => swarm.muxer(Mplex::default()),
            };
        }
        for add in self.extra {
            swarm = add(swarm);
        }
        let swarm = swarm.build()?;
        let identify = match self.identify {
            Some(config) => Some(Identify::new(&swarm, identity.clone(), config)?),
            None => None,
        };
        let ping = match self.ping {
            Some(config) => Some(Ping::new(&swarm, config)?),
            None => None,
        };
        Ok(Host {
            swarm,
            identity,
            identify,
            ping,
        })
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("channels", &self.channels)
            .field("muxers", &self.muxers)
            .finish_non_exhaustive()
    }
}
