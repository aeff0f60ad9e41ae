//! Limits for machines of other sizes than the default's.

use p2p_swarm::{Config, Limits};

use crate::{Host, HostBuilder};

impl Host {
    /// Starts a host for a small device: all remotes together can make it hold 16 MiB, on at most
    /// 64 connections. Everything else is as in [`Host::builder`].
    pub fn device() -> HostBuilder {
        HostBuilder::default().config(device())
    }

    /// Starts a host for a server: all remotes together can make it hold 2 GiB, on at most 10,000
    /// connections. Everything else is as in [`Host::builder`].
    ///
    /// Each connection takes a file descriptor: the system has to allow as many.
    pub fn server() -> HostBuilder {
        HostBuilder::default().config(server())
    }
}

fn device() -> Config {
    let mut limits = Limits::with_memory_budget(16 << 20);
    limits.max_connections = 64;
    limits.max_connections_per_prefix = 16;
    limits.max_pending_incoming = 16;
    limits.max_pending_per_prefix = 8;
    limits.max_pending_dials = 16;
    limits.max_attempts = 32;
    limits.max_streams = 1024;
    limits.max_streams_per_peer = 256;
    limits.max_streams_per_connection = 128;
    limits.max_known_peers = 512;
    limits.max_known_bytes = 1 << 20;
    with(limits)
}

fn server() -> Config {
    // What one peer can take stays that of the default.
    let default = Limits::default();
    let mut limits = Limits::with_memory_budget(2 << 30);
    limits.peer_memory = default.peer_memory;
    limits.connection_memory = default.connection_memory;
    limits.max_connections = 10_000;
    limits.max_connections_per_prefix = 1024;
    limits.max_pending_incoming = 1024;
    limits.max_pending_per_prefix = 64;
    limits.max_pending_dials = 512;
    limits.max_attempts = 640;
    limits.max_streams = 262_144;
    limits.max_known_peers = 65_536;
    limits.max_known_bytes = 128 << 20;
    with(limits)
}

fn with(limits: Limits) -> Config {
    let mut config = Config::default();
    config.limits = limits;
    config
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn the_presets_contradict_nothing_and_one_peer_never_takes_a_host() {
        for config in [device(), Config::default(), server()] {
            let rt = p2p_sim::Sim::new(1).host("a").rt();
            let host = HostBuilder::default().runtime(rt).config(config.clone());
            host.build().now_or_never().unwrap().unwrap();
            let (limits, one) = (&config.limits, config.limits.one_peer());
            assert!(one.memory <= limits.memory_budget / 4, "{one:?}");
            assert!(one.streams <= limits.max_streams / 4, "{one:?}");
        }
    }

    #[test]
    fn a_device_is_bound_tighter_than_the_default_and_a_server_wider() {
        let sizes = [device(), Config::default(), server()].map(|config| {
            let limits = config.limits;
            (
                limits.memory_budget,
                limits.max_connections,
                limits.max_streams,
            )
        });
        assert!(sizes.is_sorted(), "{sizes:?}");
    }
}
