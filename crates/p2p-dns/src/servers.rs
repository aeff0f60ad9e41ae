//! Which name servers are asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use p2p_core::{Instant, Rt};

use crate::Config;

/// How long the file of the system counts: a machine that comes to another network has other
/// servers there.
const FRESH: Duration = Duration::from_secs(30);

/// The name servers to ask.
#[derive(Debug)]
pub(crate) enum Servers {
    /// Those of the settings.
    Set(Vec<SocketAddr>),
    /// Those of the system.
    System(System),
}

impl Servers {
    pub(crate) fn new(rt: &Rt, config: &Config) -> Self {
        if !config.servers.is_empty() || rt.is_reproducible() {
            return Self::Set(config.servers.clone());
        }
        Self::System(System::default())
    }

    pub(crate) fn list(&self, now: Instant) -> Vec<SocketAddr> {
        match self {
            Self::Set(servers) => servers.clone(),
            Self::System(system) => system.list(now, read),
        }
    }
}

/// What the system said, and when.
#[derive(Debug, Default)]
pub(crate) struct System(Mutex<Option<(Instant, Vec<SocketAddr>)>>);

impl System {
    fn list(&self, now: Instant, read: impl FnOnce() -> Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((since, servers)) if now < *since + FRESH => servers.clone(),
            Some(_) | None => {
                let servers = read();
                *known = Some((now, servers.clone()));
                servers
            }
        }
    }
}

fn read() -> Vec<SocketAddr> {
    /// As many as the system's own resolver asks.
    const MAX: usize = 3;
    let read = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let parsed = resolv_conf::Config::parse(read).unwrap_or_default();
    let ips = parsed.nameservers.iter().take(MAX).map(IpAddr::from);
    ips.map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_system_are_read_again_after_half_a_minute() {
        let system = System::default();
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let server = |last| vec![SocketAddr::from(([192, 0, 2, last], 53))];
        assert_eq!(system.list(at(5), || server(1)), server(1));
        assert_eq!(system.list(at(34), || server(2)), server(1));
        assert_eq!(system.list(at(35), || server(2)), server(2));
        assert_eq!(system.list(at(64), || server(3)), server(2));
    }
}
