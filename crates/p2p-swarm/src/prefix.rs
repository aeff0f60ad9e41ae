//! Parts of the IP address space, and who counts as one source.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use p2p_core::{AddrExt, Multiaddr};

/// A block of IP addresses, such as `10.0.0.0/8` or `2001:db8::/32`.
///
/// IPv4-mapped IPv6 addresses count as IPv4. A bare address is a block of one.
///
/// ```
/// use p2p_swarm::IpPrefix;
///
/// let block: IpPrefix = "192.0.2.77/24".parse()?;
/// assert_eq!(block.to_string(), "192.0.2.0/24");
/// assert!(block.contains("192.0.2.1".parse().unwrap()));
/// # Ok::<(), p2p_swarm::InvalidPrefix>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    /// Invariant: bits beyond `len` are zero.
    first: IpAddr,
    len: u8,
}

/// A text is not an [`IpPrefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a block of IP addresses such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidPrefix {
    /// The refused text, cut to its first 64 characters.
    pub text: String,
}

impl IpPrefix {
    /// The block of the first `len` bits of `ip`; `len` is cut to the length of an address.
    pub fn new(ip: IpAddr, len: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let len = len.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                let first = Ipv4Addr::from(u32::from(ip) & mask).into();
                Self { first, len }
            }
            IpAddr::V6(ip) => {
                let len = len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                let first = Ipv6Addr::from(u128::from(ip) & mask).into();
                Self { first, len }
            }
        }
    }

    /// Whether `ip` is one of the block.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && Self::new(ip, self.len) == *self
    }
}

/// How many bits of an address make one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grain {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
}

impl Grain {
    /// Which source `addr` counts for. `None`: this machine itself, or no IP address.
    pub(crate) fn source(self, addr: &Multiaddr) -> Option<IpPrefix> {
        let ip = addr.ip()?.to_canonical();
        match ip {
            _ if ip.is_loopback() => None,
            IpAddr::V4(_) => Some(IpPrefix::new(ip, self.v4)),
            IpAddr::V6(_) => Some(IpPrefix::new(ip, self.v6)),
        }
    }
}

impl FromStr for IpPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let invalid = || InvalidPrefix {
            text: text.chars().take(64).collect(),
        };
        let (ip, len) = match text.split_once('/') {
            Some((ip, len)) => (ip, Some(len)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let len: u8 = match len {
            Some(len) => len.parse().map_err(|_| invalid())?,
            None => most,
        };
        if len > most {
            return Err(invalid());
        }
        // A block of mapped addresses is the block of the IPv4 addresses in it.
        let mapped = ip.is_ipv6() && ip.to_canonical().is_ipv4();
        match (mapped, len.checked_sub(96)) {
            (true, Some(len)) => Ok(Self::new(ip, len)),
            (true, None) => Err(invalid()),
            (false, _) => Ok(Self::new(ip, len)),
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.len)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_holds_the_addresses_that_share_its_first_bits() {
        assert!(block("10.0.0.0/8").contains("10.255.1.1".parse().unwrap()));
        assert!(!block("10.0.0.0/8").contains("11.0.0.0".parse().unwrap()));
        assert!(block("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(!block("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(block("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(block("1.2.3.0/24").contains("::ffff:1.2.3.4".parse().unwrap()));
        assert_eq!(block("::ffff:1.2.3.4/120"), block("1.2.3.0/24"));
        assert_eq!(block("1.2.3.4").to_string(), "1.2.3.4/32");
    }

    #[test]
    fn nonsense_is_no_block() {
        for text in [
            "",
            "/",
            "1.2.3.4/33",
            "1.2.3/8",
            "::1/129",
            "a/8",
            "::ffff:1.2.3.4/8",
            "1.1.1.1/-1",
        ] {
            assert!(text.parse::<IpPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_machine_is_no_source_to_itself() {
        let grain = Grain { v4: 24, v6: 48 };
        let source = |text: &str| grain.source(&text.parse().unwrap());
        assert_eq!(source("/ip4/127.0.0.1/tcp/1"), None);
        assert_eq!(source("/ip6/::1/tcp/1"), None);
        assert_eq!(source("/memory/1"), None);
        assert_eq!(source("/ip4/192.0.2.9/tcp/1"), Some(block("192.0.2.0/24")));
        assert_eq!(
            source("/ip6/2001:db8:1:2::3/tcp/1"),
            Some(block("2001:db8:1::/48"))
        );
    }

    proptest! {
        #[test]
        fn any_text_parses_or_does_not_and_what_parses_reads_back(text in "[0-9a-f:./]{0,40}") {
            if let Ok(block) = text.parse::<IpPrefix>() {
                prop_assert_eq!(block.to_string().parse::<IpPrefix>(), Ok(block));
            }
        }
    }
}
