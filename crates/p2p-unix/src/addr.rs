//! Between paths, addresses and what people type.

use std::path::{Path, PathBuf};

use p2p_core::multiaddr_parts::{Error, Part};
use p2p_core::{Multiaddr, PeerId};

/// What has no address, or is none.
#[derive(Debug)]
#[non_exhaustive]
pub enum InvalidAddr {
    /// It begins with `/unix`, and there is no path behind it.
    NoPath,
    /// A multiaddr has only absolute paths.
    Relative(PathBuf),
    /// A multiaddr is text.
    NotText(PathBuf),
    /// It does not begin with `/unix/`, and is no other address either.
    Other(Error),
}

impl std::fmt::Display for InvalidAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPath => f.write_str("no path behind /unix: write it as /unix/run/p2p.sock"),
            Self::Relative(path) => {
                write!(
                    f,
                    "{} is not an absolute path: begin it with /",
                    path.display()
                )
            }
            Self::NotText(path) => write!(f, "{} is not UTF-8", path.display()),
            Self::Other(_) => {
                f.write_str("not an address such as /unix/run/p2p.sock or /ip4/127.0.0.1/tcp/4001")
            }
        }
    }
}

impl std::error::Error for InvalidAddr {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Other(error) => Some(error),
            Self::NoPath | Self::Relative(_) | Self::NotText(_) => None,
        }
    }
}

/// The address of `path`.
///
/// # Errors
/// [`InvalidAddr`] if `path` is not absolute or not UTF-8.
pub fn addr(path: &Path) -> Result<Multiaddr, InvalidAddr> {
    let text = path
        .to_str()
        .ok_or_else(|| InvalidAddr::NotText(path.to_owned()))?;
    if !text.starts_with('/') {
        return Err(InvalidAddr::Relative(path.to_owned()));
    }
    Ok(Multiaddr::from(Part::Unix(text.into())))
}

/// Reads an address of any kind. Of `/unix/a/b/p2p/<id>`, `/a/b` is the path, as is `/a/b` of
/// `/unix//a/b`, which is how a [`Multiaddr`] is displayed.
///
/// # Errors
/// [`InvalidAddr`].
pub fn parse(text: &str) -> Result<Multiaddr, InvalidAddr> {
    let Some(rest) = text.strip_prefix("/unix/") else {
        return match text {
            "/unix" => Err(InvalidAddr::NoPath),
            other => other.parse().map_err(InvalidAddr::Other),
        };
    };
    let (path, peer) = split_peer(rest);
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Err(InvalidAddr::NoPath);
    }
    let mut found = Multiaddr::from(Part::Unix(format!("/{path}").into()));
    if let Some(peer) = peer {
        found.push(Part::P2p(peer));
    }
    Ok(found)
}

/// What is before `/p2p/<id>` at the end, and the id.
fn split_peer(text: &str) -> (&str, Option<PeerId>) {
    match text.rsplit_once("/p2p/") {
        Some((path, id)) => match id.parse() {
            Ok(peer) => (path, Some(peer)),
            Err(_) => (text, None),
        },
        None => (text, None),
    }
}

/// The path of `/unix/<path>`, with or without a `/p2p/<id>` behind it.
pub(crate) fn path_of(addr: &Multiaddr) -> Option<PathBuf> {
    let mut parts = addr.iter();
    let Some(Part::Unix(path)) = parts.next() else {
        return None;
    };
    match (parts.next(), parts.next()) {
        (None | Some(Part::P2p(_)), None) => {}
        _ => return None,
    }
    let path = path.trim_start_matches('/');
    (!path.is_empty()).then(|| PathBuf::from(format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn what_is_typed_becomes_a_path_and_a_peer() {
        let with_peer = format!("/unix/run/p2p.sock/p2p/{PEER}");
        let in_p2p = "/unix/p2p/p2p/node.sock";
        for (text, path, peer) in [
            ("/unix/run/p2p.sock", "/run/p2p.sock", false),
            ("/unix//run/p2p.sock", "/run/p2p.sock", false),
            (&with_peer, "/run/p2p.sock", true),
            (in_p2p, "/p2p/p2p/node.sock", false),
            ("/unix/run/", "/run/", false),
        ] {
            let addr = parse(text).unwrap();
            assert_eq!(path_of(&addr).unwrap().to_str(), Some(path), "{text}");
            assert_eq!(addr.iter().count(), 1 + usize::from(peer), "{text}");
            assert_eq!(parse(&addr.to_string()).unwrap(), addr, "{addr}");
        }
        for text in ["/unix", "/unix/", "/unix//", &format!("/unix//p2p/{PEER}")] {
            assert!(matches!(parse(text), Err(InvalidAddr::NoPath)), "{text}");
        }
        assert!(parse("/ip4/1.2.3.4/tcp/5").is_ok());
        assert!(matches!(parse("/nonsense"), Err(InvalidAddr::Other(_))));
    }

    #[test]
    fn a_relative_path_has_no_address() {
        let error = addr(Path::new("p2p.sock")).unwrap_err();
        let text = "p2p.sock is not an absolute path: begin it with /";
        assert_eq!(error.to_string(), text);
        let absolute = addr(Path::new("/run/p2p.sock")).unwrap();
        assert_eq!(path_of(&absolute), Some("/run/p2p.sock".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(/unix)?/?[a-z0-9/.]{0,40}|.{0,20}") {
            if let Ok(addr) = parse(&text) {
                let _ = path_of(&addr);
            }
        }
    }
}
