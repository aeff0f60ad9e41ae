//! Settings of the resolver.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Settings of a [`Resolver`](crate::Resolver).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name servers to ask instead of the system's. Default: none, which is those of
    /// `/etc/resolv.conf` for `/dnsaddr`, and the system's own resolver, with its hosts file, for
    /// everything else.
    ///
    /// A [reproducible](p2p_core::Runtime::is_reproducible) runtime, as that of the simulator, has
    /// no such file: there `/dnsaddr` needs servers.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take for one question; it is asked twice. Default: 2 s.
    pub timeout: Duration,
    /// How long one address may take to resolve, with all its questions and servers, and with the
    /// system's own resolver. Default: 5 s.
    ///
    /// Less than what a dial may take, so that it fails with the name and not with the dial's
    /// deadline, and so that addresses that are found late are still dialed.
    pub patience: Duration,
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
    /// How long an answer of the system's resolver is remembered, which does not say how long it
    /// holds. Default: 30 s.
    pub system_ttl: Duration,
    /// How long it is remembered that there is no answer. Default: 30 s.
    ///
    /// That a server is silent, or that the system's resolver fails, is not remembered: it may be
    /// the network, and that may be back.
    pub negative_ttl: Duration,
    /// How many addresses of one name are dialed, the best ones; further ones are left out.
    /// Default: 16.
    pub max_dials: NonZeroUsize,
    /// How many of them are dialed at a time; the others wait until one has failed. Default: 8.
    ///
    /// To the swarm all of them are one dial: this is how many sockets it may hold.
    pub max_parallel_dials: NonZeroUsize,
    /// Between the dials of two addresses of one name. Default: 250 ms.
    pub dial_stagger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            patience: Duration::from_secs(5),
            max_depth: 4,
            max_addrs: 100,
            max_questions: 32,
            cache_entries: 256,
            max_ttl: Duration::from_secs(3600),
            system_ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(30),
            max_dials: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
            max_parallel_dials: NonZeroUsize::new(8).unwrap_or(NonZeroUsize::MIN),
            dial_stagger: Duration::from_millis(250),
        }
    }
}
