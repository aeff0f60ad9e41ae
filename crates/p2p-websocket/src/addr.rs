//! The addresses of WebSocket.
//!
//! ```text
//!   /ip4/1.2.3.4/tcp/80       /ws                    plain
//!   /ip4/1.2.3.4/tcp/80       /sni/example.com/ws    plain, of the host that has this name
//!   /ip4/1.2.3.4/tcp/443      /tls/ws  or /wss       over TLS, for the address as a name
//!   /ip4/1.2.3.4/tcp/443      /tls/sni/example.com/ws
//!   `------- below -------'   `----- suffix -----'
//! ```
//!
//! The second form is what `p2p-dns` makes of `/dns4/example.com/tcp/80/ws`: many hosts share one
//! address, and the request must say which of them is meant. It is for dialing only.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "addresses have many parts, and ours are few"
)]

use p2p_core::multiaddr_parts::Part;
use p2p_core::{AddrExt, Multiaddr};

/// An address of WebSocket, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    /// What the transport below dials or listens on.
    pub(crate) below: Multiaddr,
    /// What comes behind it, without a peer; without TLS also without a name.
    pub(crate) suffix: Multiaddr,
    pub(crate) tls: bool,
    /// The name of the remote, if it is not its address. Over TLS it must prove it.
    pub(crate) sni: Option<String>,
    pub(crate) path: String,
    host: String,
    port: u16,
}

impl Parsed {
    /// `None`: not an address of WebSocket.
    pub(crate) fn new(addr: &Multiaddr) -> Option<Self> {
        let addr = addr.without_peer();
        let mut parts = addr.iter().peekable();
        let host = match parts.next()? {
            Part::Ip4(ip) => ip.to_string(),
            Part::Ip6(ip) => format!("[{ip}]"),
            _ => return None,
        };
        let Some(Part::Tcp(port)) = parts.next() else {
            return None;
        };
        let below: Multiaddr = addr.iter().take(2).collect();
        let mut suffix: Multiaddr = addr.iter().skip(2).collect();
        let mut tls = parts.next_if(|part| *part == Part::Tls).is_some();
        let sni = match parts.peek() {
            Some(Part::Sni(name)) => Some(name.to_string()),
            _ => None,
        };
        if sni.is_some() {
            parts.next();
        }
        if sni.is_some() && !tls {
            suffix = addr.iter().skip(3).collect();
        }
        let path = match parts.next()? {
            Part::Ws(path) => path.into_owned(),
            Part::Wss(path) if !tls && sni.is_none() => {
                tls = true;
                path.into_owned()
            }
            _ => return None,
        };
        parts.next().is_none().then_some(Self {
            below,
            suffix,
            tls,
            sni,
            path,
            host,
            port,
        })
    }

    /// The URL of the HTTP request. Its host and port become the header `Host`, which leaves the
    /// usual port out (RFC 6455, section 4.1).
    pub(crate) fn url(&self) -> String {
        let (scheme, usual) = if self.tls { ("wss", 443) } else { ("ws", 80) };
        let host = self.sni.as_ref().unwrap_or(&self.host);
        let path = self.path.trim_start_matches('/');
        if self.port == usual {
            format!("{scheme}://{host}/{path}")
        } else {
            format!("{scheme}://{host}:{}/{path}", self.port)
        }
    }

    /// Whether somebody can listen there: a plain server has no name to prove.
    pub(crate) fn is_for_listening(&self) -> bool {
        self.tls || self.sni.is_none()
    }

    /// The name that TLS proves: an address without its brackets if there is no other.
    pub(crate) fn server_name(&self) -> &str {
        let host = self.sni.as_ref().unwrap_or(&self.host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// An address of the transport below, as one of WebSocket.
    pub(crate) fn above(&self, below: &Multiaddr) -> Multiaddr {
        below.iter().chain(self.suffix.iter()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn parse(text: &str) -> Option<Parsed> {
        Parsed::new(&text.parse().unwrap())
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, url, name) in [
            ("/ip4/1.2.3.4/tcp/80/ws", "ws://1.2.3.4/", "1.2.3.4"),
            ("/ip4/1.2.3.4/tcp/81/ws", "ws://1.2.3.4:81/", "1.2.3.4"),
            ("/ip4/1.2.3.4/tcp/80/wss", "wss://1.2.3.4:80/", "1.2.3.4"),
            ("/ip6/::1/tcp/5/tls/ws", "wss://[::1]:5/", "::1"),
            ("/ip4/1.2.3.4/tcp/443/tls/sni/a.b/ws", "wss://a.b/", "a.b"),
            ("/ip4/1.2.3.4/tcp/80/tls/sni/a.b/ws", "wss://a.b:80/", "a.b"),
        ] {
            for text in [text.to_owned(), format!("{text}{PEER}")] {
                let parsed = parse(&text).unwrap();
                assert_eq!((parsed.url().as_str(), parsed.server_name()), (url, name));
                let whole = parsed.above(&parsed.below).to_string();
                assert_eq!(whole, text.trim_end_matches(PEER));
            }
        }
    }

    #[test]
    fn a_plain_address_may_have_a_name_that_only_its_request_tells() {
        let parsed = parse("/ip4/1.2.3.4/tcp/8080/sni/a.b/ws").unwrap();
        assert_eq!(parsed.url(), "ws://a.b:8080/");
        assert!(!parsed.is_for_listening());
        let whole = parsed.above(&parsed.below).to_string();
        assert_eq!(whole, "/ip4/1.2.3.4/tcp/8080/ws");
    }

    #[test]
    fn other_addresses_are_not_of_websocket() {
        for text in [
            "/ip4/1.2.3.4/tcp/80",
            "/ip4/1.2.3.4/udp/80/ws",
            "/ip4/1.2.3.4/tcp/80/tls",
            "/ip4/1.2.3.4/tcp/80/tls/wss",
            "/ip4/1.2.3.4/tcp/80/sni/a.b/wss",
            "/ip4/1.2.3.4/tcp/80/sni/a.b",
            "/ip4/1.2.3.4/tcp/80/ws/ws",
            "/ip4/1.2.3.4/tcp/80/ws/p2p-circuit",
            "/dns4/a.b/tcp/80/ws",
            "/memory/1/ws",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
