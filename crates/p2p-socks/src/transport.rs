//! The proxy as a transport that dials.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "addresses have many parts, and ours are few"
)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use p2p_core::multiaddr_parts::Part;
use p2p_core::{
    AddrExt, Dialed, Link, Listener, Multiaddr, PeerId, Rt, TcpOptions, Transport, TransportError,
};

use crate::{Destination, SocksError, connect};

/// Settings of a [`Socks5`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where the proxy is. Default: none, it is the argument of [`Config::new`].
    pub proxy: SocketAddr,
    /// Who we are to the proxy, if it asks. Default: none, and a proxy that insists refuses us.
    ///
    /// Tor takes different users for different circuits.
    pub login: Option<Login>,
}

impl Config {
    /// The proxy at this address, without a login.
    pub fn new(proxy: SocketAddr) -> Self {
        Self { proxy, login: None }
    }
}

/// A user and a password.
#[derive(Clone)]
pub struct Login {
    /// At most 255 bytes.
    pub user: String,
    /// At most 255 bytes.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// Dials TCP addresses, names and onion services through a SOCKS5 proxy. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Socks5 {
    rt: Rt,
    config: Config,
    listens: Option<Arc<dyn Transport>>,
}

impl Socks5 {
    /// Reaches the proxy through the sockets of `rt`.
    pub fn new(rt: Rt, config: Config) -> Self {
        Self {
            rt,
            config,
            listens: None,
        }
    }

    /// Listens with another transport, which never dials: a proxy takes nobody's calls for us.
    /// Default: listening is [`TransportError::Unsupported`].
    ///
    /// An onion service of ours, for example, leads to a port that we listen on.
    pub fn listen_with(mut self, transport: impl Transport) -> Self {
        self.listens = Some(Arc::new(transport));
        self
    }

    async fn dial(&self, addr: Multiaddr) -> Result<Dialed, TransportError> {
        let Some((to, port)) = destination(&addr) else {
            return Err(TransportError::Unsupported { addr });
        };
        match self.connect(&to, port).await {
            Ok(link) => Ok(Dialed { link, local: None }),
            Err(error) => {
                let source = io::Error::from(error);
                Err(TransportError::Connect { addr, source })
            }
        }
    }

    async fn connect(&self, to: &Destination, port: u16) -> Result<Link, SocksError> {
        let options = TcpOptions::default();
        let connected = self.rt.net().tcp_connect(self.config.proxy, &options).await;
        let mut stream = connected.map_err(SocksError::Unreachable)?;
        connect(&mut stream, self.config.login.as_ref(), to, port).await?;
        Ok(Link::Raw(stream))
    }
}

impl Transport for Socks5 {
    fn supports(&self, addr: &Multiaddr) -> bool {
        destination(addr).is_some()
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let socks = self.clone();
        async move { Self::dial(&socks, addr).await }.boxed()
    }

    /// With the transport of [`Socks5::listen_with`].
    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        match &self.listens {
            Some(transport) => transport.listen(addr),
            None => async move { Err(TransportError::Unsupported { addr }) }.boxed(),
        }
    }
}

/// Host and port, if that is all of the address.
fn destination(addr: &Multiaddr) -> Option<(Destination, u16)> {
    let addr = addr.without_peer();
    let mut parts = addr.iter();
    let host = match parts.next()? {
        Part::Ip4(ip) => Destination::Ip(ip.into()),
        Part::Ip6(ip) => Destination::Ip(ip.into()),
        Part::Dns(name) | Part::Dns4(name) | Part::Dns6(name) => {
            Destination::Name(name.into_owned())
        }
        Part::Onion3(onion) => {
            let name = Part::Onion3(onion.clone()).to_string();
            let name = name.trim_start_matches("/onion3/");
            let name = name.split(':').next()?;
            let name = Destination::Name(format!("{name}.onion"));
            return parts.next().is_none().then_some((name, onion.port()));
        }
        _ => return None,
    };
    match (parts.next(), parts.next()) {
        (Some(Part::Tcp(port)), None) => Some((host, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_onions_go_to_the_proxy_as_they_are() {
        let onion = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
        let to = |text: &str| destination(&text.parse().unwrap());
        let name = |name: &str| Destination::Name(name.to_owned());
        assert_eq!(
            to("/ip4/1.2.3.4/tcp/5"),
            Some((Destination::Ip([1, 2, 3, 4].into()), 5))
        );
        assert_eq!(to("/dns/a.example/tcp/5"), Some((name("a.example"), 5)));
        assert_eq!(
            to(&format!("/onion3/{onion}:1234")),
            Some((name(&format!("{onion}.onion")), 1234))
        );
        for other in ["/ip4/1.2.3.4/udp/5", "/ip4/1.2.3.4/tcp/5/ws", "/memory/1"] {
            assert_eq!(to(other), None, "{other}");
        }
    }
}
