//! Addresses as people type them.

use std::net::SocketAddr;

use p2p::core::{AddrExt, Multiaddr};
use p2p::keys::{PeerId, PeerIdExt};

/// The form to show to whoever typed something else.
const EXAMPLE: &str = "/ip4/127.0.0.1/tcp/4001 or /ip4/127.0.0.1/tcp/4001/p2p/PEER";

/// Reads a multiaddr; the error says what it could have been.
pub(crate) fn parse(text: &str) -> Result<Multiaddr, String> {
    if text.starts_with("/unix") {
        return p2p::unix::parse(text).map_err(|error| {
            format!("{error}; write it like /unix/run/p2p.sock, with an absolute path")
        });
    }
    if text.starts_with('/') {
        return text
            .parse()
            .map_err(|error| format!("{}; {}", reason(&error), hint(text)));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let addr = Multiaddr::from_tcp_socket(socket);
        return Err(format!("not an address of libp2p; write {addr}"));
    }
    if PeerId::parse_any(text).is_ok() {
        return Err(format!(
            "a peer id, which says who but not where; write the address in front of it, such as \
             /ip4/127.0.0.1/tcp/4001/p2p/{text}"
        ));
    }
    Err(format!(
        "not an address of libp2p, which starts with a slash; write it like {EXAMPLE}"
    ))
}

fn reason(error: &p2p::core::multiaddr_parts::Error) -> String {
    let text = error.to_string();
    // The innermost reason only: the layers around it repeat "invalid".
    let inner = std::error::Error::source(error).map(ToString::to_string);
    inner.unwrap_or(text).trim_end_matches('.').to_owned()
}

/// What is most likely wrong.
fn hint(text: &str) -> String {
    let mut parts = text.split('/').skip(1);
    while let Some(name) = parts.next() {
        let example = match name {
            "ip4" => "127.0.0.1",
            "ip6" => "::1",
            "dns" | "dns4" | "dns6" | "dnsaddr" => "example.com",
            "tcp" | "udp" => "4001",
            "p2p" | "ipfs" => "12D3KooW…",
            "ws" | "wss" | "quic-v1" | "tls" => continue,
            _ => break,
        };
        let one = format!("/{name}/{}", parts.next().unwrap_or_default());
        if one.parse::<Multiaddr>().is_err() {
            return format!("{one} is wrong, it should look like /{name}/{example}");
        }
    }
    format!("write it like {EXAMPLE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_good_address_is_read() {
        for text in [
            "/ip4/127.0.0.1/tcp/4001",
            &format!("/ip6/::1/tcp/1/p2p/{PEER}"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_error_shows_what_to_write_instead() {
        for (text, help) in [
            ("127.0.0.1:4001", "write /ip4/127.0.0.1/tcp/4001"),
            ("[::1]:5", "write /ip6/::1/tcp/5"),
            (PEER, "who but not where"),
            ("http://example.com", "starts with a slash"),
            ("", "starts with a slash"),
            (
                "/ip4/300.0.0.1/tcp/1",
                "/ip4/300.0.0.1 is wrong, it should look like /ip4/127.0.0.1",
            ),
            (
                "/ip4/1.2.3.4/tcp/99999",
                "/tcp/99999 is wrong, it should look like /tcp/4001",
            ),
            ("/ip4/1.2.3.4/tcp", "/tcp/ is wrong"),
            ("/unix", "write it like /unix/run/p2p.sock"),
            ("/ip4/1.2.3.4/tcp/1/p2p/me", "/p2p/me is wrong"),
            ("/nonsense", "write it like /ip4/127.0.0.1/tcp/4001"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "/?[a-z0-9/.:]{0,40}|.{0,20}") {
            let _ = parse(&text);
        }
    }
}
