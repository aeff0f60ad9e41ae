//! The settings of discovery in the local network.

use std::time::Duration;

use crate::SetupError;

/// The longest fingerprint: a label of DNS has 63 bytes, and `_p2p-` stands in front.
const MAX_FINGERPRINT: usize = 58;

/// The settings of [`Mdns`](crate::Mdns) and of [`Discovery`](crate::Discovery).
///
/// What the local network can make us hold at most: `max_peers` × `max_addrs` addresses of at
/// most 255 bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// From one question to the next at the latest. Must be above zero. Default: 5 min.
    ///
    /// Whoever joins asks at once and is answered by all, then again after one, two, four seconds
    /// and so on: that only mends what was lost.
    pub query_interval: Duration,
    /// How long others may remember what we answer, in whole seconds. Must be above
    /// `query_interval`. Default: 6 min.
    pub ttl: Duration,
    /// The longest that we remember what others answer, whatever they wish. Must be above zero.
    /// Default: 1 h.
    pub max_ttl: Duration,
    /// From one answer of ours to the next at the earliest. Default: 1 s.
    ///
    /// RFC 6762, section 6, asks for no less: a flood of questions makes no flood of answers.
    pub answer_interval: Duration,
    /// Peers that are remembered; further ones are ignored until one is forgotten. Default: 512.
    pub max_peers: usize,
    /// Addresses remembered of one peer; further ones are ignored. Default: 16.
    pub max_addrs: usize,
    /// From one look at the interfaces to the next. Must be above zero. Default: 10 s.
    pub interface_interval: Duration,
    /// Fingerprint of a private network, in lower-case hexadecimal: only its members are asked
    /// for and answered. Default: none.
    pub private_network: Option<String>,
    /// Dial whom we find. Default: false, their addresses are only made known to the swarm.
    pub dial: bool,
    /// Dials of whom we find at a time, if `dial` says so; the others wait for their turn.
    /// Default: 16.
    ///
    /// A network full of peers that are not there leaves the rest of `max_pending_dials` to the
    /// program.
    pub max_dials: usize,
    /// Events kept for a subscriber that does not read them; older ones are dropped and counted.
    /// Default: 256.
    pub event_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            query_interval: Duration::from_secs(300),
            ttl: Duration::from_secs(360),
            max_ttl: Duration::from_secs(3600),
            answer_interval: Duration::from_secs(1),
            max_peers: 512,
            max_addrs: 16,
            interface_interval: Duration::from_secs(10),
            private_network: None,
            dial: false,
            max_dials: 16,
            event_backlog: 256,
        }
    }
}

impl Config {
    /// Refuses what would ask or look without pause, or be forgotten between two questions.
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        for (setting, value) in [
            ("query_interval", self.query_interval),
            ("max_ttl", self.max_ttl),
            ("interface_interval", self.interface_interval),
        ] {
            if value.is_zero() {
                return Err(SetupError::Zero { setting });
            }
        }
        let (ttl, query_interval) = (self.ttl, self.query_interval);
        if Duration::from_secs(ttl.as_secs()) <= query_interval {
            return Err(SetupError::Ttl {
                ttl,
                query_interval,
            });
        }
        let is_fingerprint = |text: &String| {
            (1..=MAX_FINGERPRINT).contains(&text.len())
                && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !self.private_network.as_ref().is_none_or(is_fingerprint) {
            let most = MAX_FINGERPRINT;
            return Err(SetupError::Fingerprint { most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Config)) -> Result<(), SetupError> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let zero = Duration::ZERO;
        let refused = |setting| Err(SetupError::Zero { setting });
        assert_eq!(checked(|_| {}), Ok(()));
        let found = checked(|config| config.query_interval = zero);
        assert_eq!(found, refused("query_interval"));
        assert_eq!(checked(|config| config.max_ttl = zero), refused("max_ttl"));
        let found = checked(|config| config.interface_interval = zero);
        assert_eq!(found, refused("interface_interval"));

        let (ttl, query_interval) = (Duration::from_millis(300_900), Duration::from_secs(300));
        assert_eq!(
            checked(|config| config.ttl = ttl),
            Err(SetupError::Ttl {
                ttl,
                query_interval
            })
        );

        let named = |text: String| checked(|config| config.private_network = Some(text));
        assert_eq!(named("00ff".repeat(8)), Ok(()));
        for bad in ["", "00FF", "00.f", "/base16/", &"0".repeat(59)] {
            let found = named(bad.to_owned());
            assert_eq!(found, Err(SetupError::Fingerprint { most: 58 }), "{bad:?}");
        }
    }
}
