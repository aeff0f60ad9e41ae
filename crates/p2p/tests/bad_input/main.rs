//! What a user reads when the other end, a name, a proxy or a file is not what it should be: whole
//! texts, as a dial of a host tells them, each with the step that failed. docs/roads.md has the list.
#![cfg(all(
    feature = "tls",
    feature = "quic",
    feature = "dns",
    feature = "websocket"
))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod certificates;
mod names;
mod ports;
mod proxies;
mod web;

use std::time::Duration;

use p2p::{Host, HostBuilder, Keypair, Multiaddr, PeerId, SecureChannel};
use p2p_sim::{Link, Sim};

/// Two machines 10 ms apart.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) near: p2p_sim::Host,
    pub(crate) far: p2p_sim::Host,
}

impl World {
    pub(crate) fn new() -> Self {
        let sim = Sim::new(1);
        sim.default_link(Link::new(Duration::from_millis(10)));
        let near = sim.host_at("near", [std::net::Ipv4Addr::new(10, 0, 0, 1)]);
        let far = sim.host_at("far", [std::net::Ipv4Addr::new(10, 0, 0, 2)]);
        Self { sim, near, far }
    }

    /// A host far away, where it listens.
    pub(crate) fn listen(&self, far: HostBuilder, at: &str) -> Host {
        let far = far.identity(key(2)).runtime(self.far.rt());
        self.sim.block_on(async {
            let far = far.build().await.unwrap();
            far.listen(at).await.unwrap();
            far
        })
    }

    /// What a user reads who dials `to`.
    pub(crate) fn fail(&self, near: HostBuilder, to: &str) -> String {
        let near = near.identity(key(1)).runtime(self.near.rt());
        let to: Multiaddr = to.parse().unwrap();
        let error = self.sim.block_on(async {
            let near = near.build().await.unwrap();
            let failed = near.dial(to).await.map(|_| ());
            near.close().await;
            failed.unwrap_err()
        });
        let text = error.to_string();
        let names = [(peer(2), "FAR"), (peer(3), "OTHER")];
        let short =
            |text: String, (peer, name): (PeerId, &str)| text.replace(&peer.to_string(), name);
        names.into_iter().fold(text, short)
    }

    /// Somebody far away who says `greeting` to everybody on TCP port 4001, and nothing more.
    pub(crate) fn stranger(&self, greeting: &'static [u8]) {
        use futures::AsyncWriteExt;
        let rt = self.far.rt();
        let options = p2p::core::TcpOptions::default();
        let listener = rt.net().tcp_listen(self.far.socket(4001), &options);
        let mut listener = listener.unwrap();
        self.far.spawn("stranger", async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(greeting).await;
                held.push(stream);
            }
        });
    }
}

/// 1 is near, 2 is far, 3 is somebody else.
pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

pub(crate) fn peer(seed: u8) -> PeerId {
    key(seed).to_peer_id()
}

/// Hosts that secure their connections with Noise only, over TCP only.
pub(crate) fn plain() -> HostBuilder {
    Host::builder()
        .secure_channels(&[SecureChannel::Noise])
        .quic(None)
}

/// What a user reads of the only address that was dialed.
pub(crate) fn same(text: &str, to: &str, expected: &str) {
    assert_eq!(
        text,
        format!("the address did not work:\n  {to}: {expected}")
    );
}
