//! By which way a node reaches others, and whom it lets in: what every command has that starts one.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::Args;
use p2p::core::Multiaddr;
use p2p::pnet::PreSharedKey;
use p2p::{Chain, HostBuilder, socks, tcp, websocket};

use crate::failure::Failure;
use crate::keyfile;

const HEADING: &str = "By which way";

/// The options for it.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Speak only with nodes that have this key of a private network; no QUIC then
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    swarm_key: Option<PathBuf>,

    /// Dial through this SOCKS5 proxy only, and tell nobody where we are; no QUIC, no /dnsaddr then
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, help_heading = HEADING)]
    proxy: Option<String>,

    /// Use several networks at once where both ends can (Multipath TCP, on Linux)
    #[arg(long, conflicts_with = "proxy", help_heading = HEADING)]
    mptcp: bool,

    /// Trust these authorities too when dialing .../tls/ws and .../wss, as PEM
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    tls_root: Option<PathBuf>,
}

impl Reach {
    /// Adds what was asked for.
    pub(crate) fn add_to(&self, mut builder: HostBuilder) -> Result<HostBuilder, Failure> {
        if let Some(file) = &self.swarm_key {
            builder = builder.private_network(swarm_key(file)?);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.socks5(Some(socks::Config::new(find(proxy)?)));
        }
        let mut config = tcp::Config::default();
        config.multipath = self.mptcp;
        let builder = builder.tcp(Some(config));
        Ok(builder.websocket(Some(self.websocket()?)))
    }

    /// How WebSocket is set up for it.
    pub(crate) fn websocket(&self) -> Result<websocket::Config, Failure> {
        let mut config = websocket::Config::default();
        if let Some(file) = &self.tls_root {
            let failed = |cause: String| {
                let what = format!("cannot use the authorities in {}", file.display());
                Failure::new(what, "start", cause)
                    .help("a file in PEM, with -----BEGIN CERTIFICATE-----")
            };
            let pem = fs::read(file).map_err(|error| failed(error.to_string()))?;
            let trusted = config.trust_pem(&pem);
            trusted.map_err(|error| failed(Chain(&error).to_string()))?;
        }
        Ok(config)
    }

    /// Where to listen if nobody says.
    pub(crate) fn default_addrs(&self) -> impl Iterator<Item = Multiaddr> {
        let quic = self.swarm_key.is_none() && self.proxy.is_none();
        let addrs = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
        let addrs = addrs.into_iter().take(if quic { 2 } else { 1 });
        addrs.filter_map(|addr| addr.parse().ok())
    }

    /// Whether a proxy is to hide us.
    pub(crate) fn hides(&self) -> bool {
        self.proxy.is_some()
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) | None => Err("write it like 127.0.0.1:9050".to_owned()),
    }
}

fn find(proxy: &str) -> Result<SocketAddr, Failure> {
    let failed = |cause: String| {
        Failure::new(format!("cannot find the proxy {proxy}"), "start", cause)
            .help("its name or its address, and the port, such as 127.0.0.1:9050")
    };
    let mut addrs = proxy
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?;
    addrs.next().ok_or_else(|| failed("no address".to_owned()))
}

fn swarm_key(file: &Path) -> Result<PreSharedKey, Failure> {
    let name = file.display();
    let bytes = keyfile::read_bytes(file).map_err(|error| {
        Failure::new(format!("cannot read {name}"), keyfile::STEP, error)
            .help("the file with the key that all nodes of the private network share")
    })?;
    PreSharedKey::from_file(&bytes).map_err(|error| {
        let what = format!("{name} is not the key of a private network");
        Failure::new(what, keyfile::STEP, Chain(&error)).help(
            "three lines: /key/swarm/psk/1.0.0/, /base16/, and 64 hexadecimal digits that all \
             nodes of the network share",
        )
    })
}
