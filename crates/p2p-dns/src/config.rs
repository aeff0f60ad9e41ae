//! Settings of the resolver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Settings of a [`Resolver`](crate::Resolver).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name servers to ask instead of the system's. Default: none, which is those of
    /// `/etc/resolv.conf` for `/dnsaddr`, and the system's own resolver, with its hosts file, for
    /// everything else.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take for one question; it is asked twice. Default: 2 s.
    pub timeout: Duration,
    /// How often a `/dnsaddr` may lead to another one. Default: 4.
    pub max_depth: usize,
    /// How many addresses a name may come to; further ones are dropped. Default: 100.
    pub max_addrs: usize,
    /// How many questions one address may cost. Default: 32.
    ///
    /// Somebody else's `/dnsaddr` records decide whom we ask: this is how often.
    pub max_questions: usize,
    /// How many answers are remembered. Default: 256.
    pub cache_entries: usize,
    /// The longest time for which an answer is remembered. Default: 1 h.
    pub max_ttl: Duration,
    /// How long it is remembered that there is no answer. Default: 30 s.
    pub negative_ttl: Duration,
    /// Between the dials of two addresses of one name. Default: 250 ms.
    pub dial_stagger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            max_depth: 4,
            max_addrs: 100,
            max_questions: 32,
            cache_entries: 256,
            max_ttl: Duration::from_secs(3600),
            negative_ttl: Duration::from_secs(30),
            dial_stagger: Duration::from_millis(250),
        }
    }
}

/// The name servers of the system.
pub(crate) fn system_servers() -> Vec<SocketAddr> {
    const MAX: usize = 3;
    let read = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let parsed = resolv_conf::Config::parse(read).unwrap_or_default();
    let ips = parsed.nameservers.iter().take(MAX).map(IpAddr::from);
    ips.map(|ip| SocketAddr::new(ip, 53)).collect()
}
