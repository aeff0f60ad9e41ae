//! Settings of a swarm: deadlines and limits.

use std::time::Duration;

use crate::error::BuildError;
use crate::limits::Limits;

/// Deadlines, habits and limits of a [`Swarm`](crate::Swarm).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long one address may take to become a connection: transport, security and
    /// multiplexer together. Default: 10 s.
    pub dial_timeout: Duration,
    /// How long a dial may take with all its addresses, those that wait for their turn included.
    /// Must be above zero. Default: 30 s.
    pub dial_deadline: Duration,
    /// From starting one address to starting the next while none has answered. Default: 250 ms.
    ///
    /// Shorter finds a working address sooner and wastes more handshakes. It is also the head
    /// start of QUIC before TCP.
    pub dial_stagger: Duration,
    /// How long an address is left alone after a dial to it failed; twice as long after each
    /// further failure. Addresses that a dial names are tried all the same. Default: 1 s.
    pub dial_backoff: Duration,
    /// The longest that this can become. Default: 5 min.
    pub dial_backoff_max: Duration,
    /// How long an incoming connection may take to be secured and multiplexed. Default: 10 s.
    pub upgrade_timeout: Duration,
    /// How long the protocol of a stream may be negotiated. Default: 10 s.
    pub negotiation_timeout: Duration,
    /// How long a connection is kept that nobody uses while there are more than `low_water`.
    /// Must be above zero. Default: 60 s.
    ///
    /// With no more than that, unused connections cost little and are kept: whoever dialed us may
    /// rely on it. Zero as `low_water` closes all of them.
    pub idle_timeout: Duration,
    /// How long the lesser of two connections with the same peer, dialed from both sides at once,
    /// is kept after its last use. Must be above zero. Default: 5 s.
    pub supplant_timeout: Duration,
    /// How long [`Swarm::close`](crate::Swarm::close) waits for connections to end in order
    /// before it drops them, and after that for tasks to end. Default: 5 s.
    pub shutdown_timeout: Duration,
    /// Connections above which some are closed, the least useful first. Default: none, which
    /// means seven eighths of [`Limits::max_connections`].
    pub high_water: Option<usize>,
    /// Connections that are left then, and up to which unused ones are kept. Default: none, which
    /// means three quarters of [`Limits::max_connections`].
    pub low_water: Option<usize>,
    /// How old a connection must be to be closed for that reason. Default: 20 s.
    pub trim_grace: Duration,
    /// How long an address of a peer is remembered that we were told of, from then or from the
    /// end of the last connection. Default: 1 hour.
    pub addr_ttl: Duration,
    /// Observers, each from another prefix, that must see us at an address before we believe it.
    /// Default: 3.
    pub observers_needed: usize,
    /// How long an observer's word counts. Default: 30 min.
    pub observation_ttl: Duration,
    /// How often the interfaces are looked at for new addresses while we listen on all of them.
    /// Default: 10 s.
    pub interface_interval: Duration,
    /// How often changes of the address book are stored, if it is stored at all. Default: 30 s.
    pub store_interval: Duration,
    /// Whether the bytes of every connection are counted. Default: false.
    ///
    /// For links that their transport does not secure itself.
    pub count_bytes: bool,
    /// What remotes can make us hold or do. Default: see [`Limits`].
    pub limits: Limits,
    /// Events kept for a subscriber that does not read them; older ones are dropped and
    /// counted. Default: 256.
    pub event_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(10),
            dial_deadline: Duration::from_secs(30),
            dial_stagger: Duration::from_millis(250),
            dial_backoff: Duration::from_secs(1),
            dial_backoff_max: Duration::from_secs(300),
            upgrade_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            supplant_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(5),
            high_water: None,
            low_water: None,
            trim_grace: Duration::from_secs(20),
            addr_ttl: Duration::from_secs(3600),
            observers_needed: 3,
            observation_ttl: Duration::from_secs(1800),
            interface_interval: Duration::from_secs(10),
            store_interval: Duration::from_secs(30),
            count_bytes: false,
            limits: Limits::default(),
            event_backlog: 256,
        }
    }
}

impl Config {
    /// The low and the high water mark in force.
    pub fn water(&self) -> (usize, usize) {
        let max = self.limits.max_connections;
        let high = self.high_water.unwrap_or(max - max / 8).min(max);
        let low = self.low_water.unwrap_or(max - max / 4);
        (low.min(high), high)
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        self.limits.check()?;
        if self.observers_needed == 0 {
            let setting = "observers_needed";
            return Err(BuildError::Zero { setting });
        }
        let times = [
            ("dial_timeout", self.dial_timeout),
            ("dial_deadline", self.dial_deadline),
            ("upgrade_timeout", self.upgrade_timeout),
            ("negotiation_timeout", self.negotiation_timeout),
            ("idle_timeout", self.idle_timeout),
            ("supplant_timeout", self.supplant_timeout),
            ("interface_interval", self.interface_interval),
            ("store_interval", self.store_interval),
        ];
        if let Some((setting, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(BuildError::Zero { setting });
        }
        let max = self.limits.max_connections;
        let (low, high) = (self.low_water, self.high_water);
        let contradictions = [
            ("low_water", low, "high_water", high),
            ("high_water", high, "max_connections", Some(max)),
            ("low_water", low, "max_connections", Some(max)),
            // The one that is in force, if none is set.
            ("low_water", low, "high_water", Some(self.water().1)),
        ];
        for (part, value, whole, limit) in contradictions {
            if let (Some(value), Some(limit)) = (value, limit)
                && value > limit
            {
                return Err(BuildError::Contradiction {
                    part,
                    value,
                    whole,
                    limit,
                });
            }
        }
        if self.dial_backoff > self.dial_backoff_max {
            return Err(BuildError::Backoff {
                first: self.dial_backoff,
                longest: self.dial_backoff_max,
            });
        }
        Ok(())
    }
}
