//! A list of peers and where they are.

use std::fmt;
use std::str::FromStr;

use p2p_core::{AddrExt, Multiaddr, PeerId};

/// Peers to begin with, in the order given, each with its addresses.
///
/// As text: one address a line, each ending in `/p2p/<peer id>`. Empty lines, and everything behind
/// a `#`, are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Invariant: no peer twice, none without an address.
    peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

/// How much of a line an error shows, in characters.
const SHOWN: usize = 128;

/// A line of a list is wrong. Nothing of the list is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} {wrong}")]
#[non_exhaustive]
pub struct ListError {
    /// Which line, from 1; or which address, if it was no text.
    pub line: usize,
    /// The line, cut to its first 128 characters.
    pub text: String,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// It says who, but not where.
    NoAddress,
    /// It says where, but not who: anybody could answer there.
    NoPeer,
    /// It is no address; what the parser says.
    NotAnAddress(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("says who, but not where: put an address in front"),
            Self::NoPeer => f.write_str("does not end in /p2p/<peer id>"),
            Self::NotAnAddress(why) => {
                let example = "/ip4/192.0.2.1/tcp/4001/p2p/<peer id>";
                write!(f, "is not an address such as {example}: {why}")
            }
        }
    }
}

impl List {
    /// A list of these addresses, each ending in `/p2p/<peer id>`.
    ///
    /// # Errors
    /// [`ListError`] names the first that is wrong.
    pub fn new(addrs: impl IntoIterator<Item = Multiaddr>) -> Result<Self, ListError> {
        let mut list = Self::default();
        for (at, addr) in addrs.into_iter().enumerate() {
            list.push(addr).map_err(|(addr, wrong)| ListError {
                line: at + 1,
                text: cut(&addr.to_string()),
                wrong,
            })?;
        }
        Ok(list)
    }

    /// The peers and their addresses, in the order given.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &[Multiaddr])> {
        self.peers
            .iter()
            .map(|(peer, addrs)| (*peer, addrs.as_slice()))
    }

    /// Where `peer` is, according to the list.
    pub(crate) fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let found = self.peers.iter().find(|(other, _)| other == peer);
        found.map(|(_, addrs)| addrs.clone()).unwrap_or_default()
    }

    /// Whether nobody is on it.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn push(&mut self, addr: Multiaddr) -> Result<(), (Multiaddr, Wrong)> {
        let Some(peer) = addr.peer() else {
            return Err((addr, Wrong::NoPeer));
        };
        if addr.without_peer().is_empty() {
            return Err((addr, Wrong::NoAddress));
        }
        match self.peers.iter_mut().find(|(other, _)| *other == peer) {
            Some((_, addrs)) if addrs.contains(&addr) => {}
            Some((_, addrs)) => addrs.push(addr),
            None => self.peers.push((peer, vec![addr])),
        }
        Ok(())
    }
}

impl FromStr for List {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let mut list = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |wrong| ListError {
                line: at + 1,
                text: cut(line),
                wrong,
            };
            let addr: Multiaddr = line
                .parse()
                .map_err(|error| wrong(Wrong::NotAnAddress(escaped(&error))))?;
            list.push(addr).map_err(|(_, why)| wrong(why))?;
        }
        Ok(list)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// What the parser says repeats the line, which may hold anything.
fn escaped(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.escape_debug().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn addresses_of_a_peer_are_gathered_and_comments_ignored() {
        let text = format!(
            "# hello\n\n/ip4/1.2.3.4/tcp/1/p2p/{PEER} # here\r\n  /dns4/a.b/tcp/2/p2p/{PEER}\n/ip4/1.2.3.4/tcp/1/p2p/{PEER}\n"
        );
        let list: List = text.parse().unwrap();
        let peers: Vec<_> = list.peers().collect();
        assert_eq!((peers.len(), peers[0].1.len()), (1, 2));
        assert!("# nobody\n".parse::<List>().unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        let says = |text: &str| text.parse::<List>().unwrap_err().to_string();
        assert_eq!(
            says("\n/ip4/1.2.3.4/tcp/1"),
            "line 2: \"/ip4/1.2.3.4/tcp/1\" does not end in /p2p/<peer id>"
        );
        assert_eq!(
            says(&format!("/p2p/{PEER}")),
            format!("line 1: \"/p2p/{PEER}\" says who, but not where: put an address in front")
        );
        let text = says("one.example:4001");
        assert!(
            text.starts_with("line 1: \"one.example:4001\" is not an address such as "),
            "{text}"
        );
        let long = says(&"x".repeat(10_000));
        assert!(long.len() < 400, "{long}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_names_a_line_that_it_has(text in "\\PC*(\n\\PC*){0,5}") {
            if let Err(error) = text.parse::<List>() {
                prop_assert!((1..=text.lines().count()).contains(&error.line));
            }
        }
    }
}
