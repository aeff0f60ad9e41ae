//! Putting a host together.

mod transports;

use std::fmt;
use std::sync::Arc;

use p2p_core::{Gate, Multiplex, Rt, Security, Transport};
use p2p_identify::Identify;
use p2p_keys::Keypair;
use p2p_mplex::Mplex;
use p2p_noise::Noise;
use p2p_ping::Ping;
use p2p_plaintext::Plaintext;
use p2p_swarm::{BookStore, BuildError, Config, Events, Gates, HandleError, Swarm, SwarmBuilder};
use p2p_yamux::Yamux;

use crate::Host;

/// A secure channel that comes with the facade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecureChannel {
    /// Noise XX.
    Noise,
    /// No security at all: for tests and for debugging. Cannot be offered beside another one,
    /// because an attacker on the path would simply choose it.
    Plaintext,
    /// TLS 1.3.
    #[cfg(feature = "tls")]
    Tls,
}

impl SecureChannel {
    /// The default: TLS and Noise, TLS first where the processor has AES, which makes it several
    /// times cheaper a byte.
    pub fn preferred() -> Vec<Self> {
        #[cfg(feature = "tls")]
        let channels = if p2p_tls::cpu_has_aes() {
            vec![Self::Tls, Self::Noise]
        } else {
            vec![Self::Noise, Self::Tls]
        };
        #[cfg(not(feature = "tls"))]
        let channels = vec![Self::Noise];
        channels
    }
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
    /// The bootstrap list is of no use.
    #[cfg(feature = "bootstrap")]
    #[error(transparent)]
    Bootstrap(#[from] p2p_bootstrap::BootstrapError),
    /// The parts do not make a swarm.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A service's protocol has a handler already.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// Identify cannot start.
    #[error("identify cannot be set up")]
    Identify(#[from] p2p_identify::SetupError),
    /// Multicast DNS tells the local network what a proxy is to hide.
    #[cfg(all(feature = "mdns", feature = "socks"))]
    #[error("mdns() tells the local network who and where we are, which socks5() is to hide")]
    MdnsBehindProxy,
    /// mDNS cannot be used with these settings.
    #[cfg(feature = "mdns")]
    #[error("mDNS cannot be set up")]
    Mdns(#[from] p2p_mdns::SetupError),
    /// The identity cannot be used for Noise.
    #[error("Noise cannot be set up with this identity")]
    Noise(#[from] p2p_noise::SetupError),
    /// The identity cannot be used for QUIC.
    #[cfg(feature = "quic")]
    #[error("QUIC cannot be set up with this identity")]
    Quic(#[from] p2p_quic::SetupError),
    /// The environment forbids to run without a private network, and there is no key for one.
    #[cfg_attr(
        feature = "pnet",
        error("LIBP2P_FORCE_PNET is set, and no key of a private network was given")
    )]
    #[cfg_attr(
        not(feature = "pnet"),
        error("LIBP2P_FORCE_PNET is set, and this build has no private networks (feature pnet)")
    )]
    NoPrivateNetwork,
    /// No runtime was given, and no feature that brings one is enabled.
    #[error("no runtime: enable the feature async-std, smol or tokio, or pass one to runtime()")]
    NoRuntime,
    /// A transport that was added secures its links itself: they would go around the key.
    #[cfg(feature = "pnet")]
    #[error(
        "a transport passed to with_transport() secures its links itself, and cannot be used in a \
         private network"
    )]
    NotPrivate,
    /// The identity cannot be used for TLS.
    #[cfg(feature = "tls")]
    #[error("TLS cannot be set up with this identity")]
    Tls(#[from] p2p_tls::SetupError),
    /// WebSocket cannot be used with these settings.
    #[cfg(feature = "websocket")]
    #[error("WebSocket cannot be set up")]
    WebSocket(#[from] p2p_websocket::SetupError),
}

/// Puts a [`Host`] together. Everything has a default.
pub struct HostBuilder {
    identity: Option<Keypair>,
    rt: Option<Rt>,
    config: Config,
    tcp: Option<p2p_tcp::Config>,
    #[cfg(feature = "socks")]
    socks: Option<p2p_socks::Config>,
    #[cfg(feature = "quic")]
    quic: Option<p2p_quic::Config>,
    #[cfg(feature = "websocket")]
    websocket: Option<p2p_websocket::Config>,
    #[cfg(feature = "dns")]
    dns: Option<p2p_dns::Config>,
    #[cfg(feature = "pnet")]
    private: Option<p2p_pnet::PreSharedKey>,
    #[cfg(feature = "unix")]
    unix: Option<p2p_unix::Config>,
    #[cfg(feature = "bootstrap")]
    bootstrap: Option<(p2p_bootstrap::List, p2p_bootstrap::Config)>,
    #[cfg(feature = "mdns")]
    mdns: Option<p2p_mdns::Config>,
    gates: Gates,
    channels: Vec<SecureChannel>,
    muxers: Vec<Multiplexer>,
    added: Vec<Arc<dyn Transport>>,
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
            tcp: Some(p2p_tcp::Config::default()),
            #[cfg(feature = "socks")]
            socks: None,
            #[cfg(feature = "quic")]
            quic: Some(p2p_quic::Config::default()),
            #[cfg(feature = "websocket")]
            websocket: Some(p2p_websocket::Config::default()),
            #[cfg(feature = "dns")]
            dns: Some(p2p_dns::Config::default()),
            #[cfg(feature = "pnet")]
            private: None,
            #[cfg(feature = "unix")]
            unix: Some(p2p_unix::Config::default()),
            #[cfg(feature = "bootstrap")]
            bootstrap: None,
            #[cfg(feature = "mdns")]
            mdns: None,
            gates: Gates::default(),
            channels: SecureChannel::preferred(),
            muxers: vec![Multiplexer::Yamux, Multiplexer::Mplex],
            added: Vec::new(),
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

    /// Sets TCP up, or leaves it out, and WebSocket with it. Default: on.
    pub fn tcp(mut self, config: Option<p2p_tcp::Config>) -> Self {
        self.tcp = config;
        self
    }

    /// Dials through this SOCKS5 proxy, such as that of Tor, and in no other way. Default: no proxy.
    ///
    /// TCP and WebSocket are dialed through it, and names and onion services, which it looks up
    /// itself: nothing is asked of a name server. What does not fit through it is off, whatever is
    /// set: QUIC, and the names of [`HostBuilder::dns`], so that `/dnsaddr` cannot be dialed.
    /// Identify tells nobody our addresses, and not our version either unless it was given another
    /// [`agent_version`](p2p_identify::Config::agent_version). Listening is as without a proxy:
    /// where we listen we are seen. So are Unix sockets, and what [`HostBuilder::with_transport`]
    /// adds.
    #[cfg(feature = "socks")]
    pub fn socks5(mut self, config: Option<p2p_socks::Config>) -> Self {
        self.socks = config;
        self
    }

    /// Sets QUIC up, or leaves it out. Default: on.
    #[cfg(feature = "quic")]
    pub fn quic(mut self, config: Option<p2p_quic::Config>) -> Self {
        self.quic = config;
        self
    }

    /// Sets up WebSocket, or leaves it out. Default: on, without a certificate of the web.
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self, config: Option<p2p_websocket::Config>) -> Self {
        self.websocket = config;
        self
    }

    /// Sets up names in addresses, or leaves them out. Default: on, by the system's resolver.
    #[cfg(feature = "dns")]
    pub fn dns(mut self, config: Option<p2p_dns::Config>) -> Self {
        self.dns = config;
        self
    }

    /// Sets up Unix sockets, or leaves them out. Default: on.
    #[cfg(feature = "unix")]
    pub fn unix(mut self, config: Option<p2p_unix::Config>) -> Self {
        self.unix = config;
        self
    }

    /// Stays connected with peers of `list`. Default: none.
    #[cfg(feature = "bootstrap")]
    pub fn bootstrap(mut self, list: p2p_bootstrap::List, config: p2p_bootstrap::Config) -> Self {
        self.bootstrap = Some((list, config));
        self
    }

    /// Finds the peers of the local network, and is found by them, or not. Default: not, because
    /// it tells everybody in that network that we are there. In a private network only its members
    /// are asked for, unless `config` names another one.
    #[cfg(feature = "mdns")]
    pub fn mdns(mut self, config: Option<p2p_mdns::Config>) -> Self {
        self.mdns = config;
        self
    }

    /// Speaks only with those who have this key, over TCP, WebSocket, Unix sockets and what
    /// [`HostBuilder::with_transport`] adds; QUIC is off then. Default: none.
    ///
    /// With `LIBP2P_FORCE_PNET=1` in the environment there is no host without one.
    #[cfg(feature = "pnet")]
    pub fn private_network(mut self, key: p2p_pnet::PreSharedKey) -> Self {
        self.private = Some(key);
        self
    }

    /// Replaces the secure channels, best first. Default: [`SecureChannel::preferred`].
    pub fn secure_channels(mut self, channels: &[SecureChannel]) -> Self {
        self.channels = channels.to_vec();
        self
    }

    /// Replaces the multiplexers, best first. Default: yamux, then mplex.
    pub fn multiplexers(mut self, muxers: &[Multiplexer]) -> Self {
        self.muxers = muxers.to_vec();
        self
    }

    /// Adds a transport, for addresses that those above do not take: leave one out to replace it.
    ///
    /// In a private network its links are protected as all others are.
    pub fn with_transport(mut self, transport: impl Transport) -> Self {
        self.added.push(Arc::new(transport));
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

    /// Adds a policy; all that were added must agree. They are also asked about the addresses that
    /// a name comes to. Default: everything is allowed.
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Arc::new(gate));
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
    pub async fn build(self) -> Result<Host, HostError> {
        let (host, _) = self.build_with_events().await?;
        Ok(host)
    }

    /// Starts the host and tells of everything that happens from its first moment on.
    ///
    /// [`Host::events`] tells what happens from the call on. Peers of a bootstrap list or of the
    /// local network may be there by then.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`HostError`] names what is missing or contradictory.
    #[expect(
        clippy::unused_async,
        reason = "transports that must open something first come under the same call"
    )]
    pub async fn build_with_events(mut self) -> Result<(Host, Events), HostError> {
        let rt = match self.rt.take() {
            Some(rt) => rt,
            None => crate::default_runtime().ok_or(HostError::NoRuntime)?,
        };
        let identity = self
            .identity
            .take()
            .unwrap_or_else(Keypair::generate_ed25519);
        let transports = self.transports(&rt, &identity)?;
        self.hide();
        let mut swarm = Swarm::builder(Rt::clone(&rt), identity.to_peer_id())
            .config(self.config)
            .gate(self.gates);
        for transport in transports {
            swarm = swarm.transport(transport);
        }
        for channel in self.channels {
            swarm = match channel {
                SecureChannel::Noise => {
                    let config = p2p_noise::Config::default();
                    swarm.security(Noise::with_runtime(&identity, config, Rt::clone(&rt))?)
                }
                #[cfg(feature = "tls")]
                SecureChannel::Tls => {
                    swarm.security(p2p_tls::Tls::with_runtime(&identity, Rt::clone(&rt))?)
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
        let events = swarm.events();
        let identify = match self.identify {
            Some(config) => Some(Identify::new(&swarm, identity.clone(), config)?),
            None => None,
        };
        let ping = match self.ping {
            Some(config) => Some(Ping::new(&swarm, config)?),
            None => None,
        };
        #[cfg(feature = "bootstrap")]
        let bootstrap = match self.bootstrap {
            Some((list, config)) => Some(p2p_bootstrap::Bootstrap::new(&swarm, &list, config)?),
            None => None,
        };
        #[cfg(feature = "mdns")]
        let mdns = match self.mdns {
            Some(config) => Some(p2p_mdns::Mdns::new(&swarm, config)?),
            None => None,
        };
        let host = Host {
            #[cfg(feature = "bootstrap")]
            bootstrap,
            #[cfg(feature = "mdns")]
            mdns,
            swarm,
            identity,
            identify,
            ping,
        };
        Ok((host, events))
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
