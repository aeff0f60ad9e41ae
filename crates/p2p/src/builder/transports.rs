//! The roads of a host, best first.
//!
//! ```text
//!   /dns4/… ──> names ──> each of these
//!   /ip4/…/tcp/…/ws ──> WebSocket ──┐
//!   /ip4/…/tcp/… ──────────────────>├── TCP, or a proxy that dials
//!   /ip4/…/udp/…/quic-v1 ──────────> QUIC
//!   others ──> Unix sockets, what was added
//!
//!   with a key:    each of them below a private network, and no QUIC
//!   with a proxy:  no QUIC, no names of our own
//! ```

use std::sync::Arc;

use p2p_core::{Rt, Transport};
use p2p_keys::Keypair;
use p2p_tcp::Tcp;

use super::{HostBuilder, HostError};

/// With what everybody begins who is about to agree on a secure channel.
#[cfg(feature = "pnet")]
const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";

impl HostBuilder {
    pub(super) fn transports(
        &mut self,
        rt: &Rt,
        identity: &Keypair,
    ) -> Result<Vec<Arc<dyn Transport>>, HostError> {
        if !self.is_private() && is_forced() {
            return Err(HostError::NoPrivateNetwork);
        }
        #[cfg(all(feature = "mdns", feature = "socks"))]
        if self.mdns.is_some() && self.has_proxy() {
            return Err(HostError::MdnsBehindProxy);
        }
        let _ = identity;
        let mut roads: Vec<Arc<dyn Transport>> = Vec::new();
        if let Some(tcp) = self.tcp_or_proxy(rt) {
            #[cfg(feature = "websocket")]
            if let Some(config) = self.websocket.take() {
                let websocket = p2p_websocket::WebSocket::new(Arc::clone(&tcp), config)?;
                roads.push(Arc::new(websocket));
            }
            roads.push(tcp);
        }
        #[cfg(feature = "unix")]
        if let Some(config) = self.unix.take() {
            roads.push(Arc::new(p2p_unix::Unix::new(Rt::clone(rt), config)));
        }
        #[cfg(feature = "quic")]
        if let Some(config) = self.quic.take()
            && !self.is_private()
            && !self.has_proxy()
        {
            let quic = p2p_quic::Quic::new(Rt::clone(rt), identity, config)?;
            roads.push(Arc::new(quic));
        }
        roads.append(&mut self.added);
        #[cfg(feature = "pnet")]
        self.protect(rt, &mut roads)?;
        #[cfg(feature = "dns")]
        if let Some(config) = self.dns.take()
            && !self.has_proxy()
        {
            let dns = p2p_dns::Dns::new(Rt::clone(rt), config, roads.clone());
            roads.push(Arc::new(dns.gate(Arc::new(self.gates.clone()))));
        }
        Ok(roads)
    }

    fn tcp_or_proxy(&mut self, rt: &Rt) -> Option<Arc<dyn Transport>> {
        let tcp = self.tcp.take();
        let tcp = tcp.map(|config| Tcp::new(Rt::clone(rt), config));
        #[cfg(feature = "socks")]
        if let Some(config) = self.socks.clone() {
            let socks = p2p_socks::Socks5::new(Rt::clone(rt), config);
            return Some(match tcp {
                Some(tcp) => Arc::new(socks.listen_with(tcp)),
                None => Arc::new(socks),
            });
        }
        tcp.map(|tcp| Arc::new(tcp) as Arc<dyn Transport>)
    }

    /// Lays the private network below every road.
    #[cfg(feature = "pnet")]
    fn protect(&self, rt: &Rt, roads: &mut [Arc<dyn Transport>]) -> Result<(), HostError> {
        let Some(key) = &self.private else {
            return Ok(());
        };
        for road in roads {
            if !road.needs_upgrade() {
                return Err(HostError::NotPrivate);
            }
            let below = Arc::clone(road);
            let private = p2p_pnet::Private::new(below, key.clone(), Rt::clone(rt));
            *road = Arc::new(private.expect_greeting(GREETING));
        }
        Ok(())
    }

    /// Sets the services to tell no more than the roads do.
    pub(super) fn hide(&mut self) {
        #[cfg(all(feature = "mdns", feature = "pnet"))]
        if let (Some(mdns), Some(key)) = (&mut self.mdns, &self.private) {
            let network = &mut mdns.private_network;
            network.get_or_insert_with(|| key.fingerprint());
        }
        if self.has_proxy()
            && let Some(identify) = &mut self.identify
        {
            identify.announce_addrs = false;
            if identify.agent_version == p2p_identify::Config::default().agent_version {
                identify.agent_version = p2p_identify::Config::private().agent_version;
            }
        }
    }

    #[cfg_attr(
        not(feature = "socks"),
        expect(clippy::unused_self, reason = "the same call without the feature")
    )]
    fn has_proxy(&self) -> bool {
        #[cfg(feature = "socks")]
        let has = self.socks.is_some();
        #[cfg(not(feature = "socks"))]
        let has = false;
        has
    }

    #[cfg_attr(
        not(feature = "pnet"),
        expect(clippy::unused_self, reason = "the same call without the feature")
    )]
    fn is_private(&self) -> bool {
        #[cfg(feature = "pnet")]
        let is = self.private.is_some();
        #[cfg(not(feature = "pnet"))]
        let is = false;
        is
    }
}

/// Whether the environment forbids to run without a private network.
fn is_forced() -> bool {
    #[cfg(feature = "pnet")]
    let forced = p2p_pnet::is_forced();
    // A build that cannot have one has to refuse as well.
    #[cfg(not(feature = "pnet"))]
    let forced = std::env::var_os("LIBP2P_FORCE_PNET").is_some_and(|value| value == "1");
    forced
}
