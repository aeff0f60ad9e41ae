//! Who is alive: for tests that assert that nothing is left.

use std::collections::BTreeMap;
use std::fmt;

use crate::net::tcp::Stage;
use crate::world::{HostId, State};

/// What is alive in a simulation at one time. Its [`Display`](fmt::Display) names every host
/// that has anything, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// By host name.
    pub hosts: BTreeMap<String, HostCensus>,
    /// Connections that no application has any more and that still have to tell each other.
    /// `run_until_idle` ends them.
    pub lingering: usize,
}

/// What is alive on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCensus {
    /// Tasks by name.
    pub tasks: BTreeMap<&'static str, usize>,
    /// Connected TCP sockets, accepted or waiting to be.
    pub tcp_streams: usize,
    /// Connects under way.
    pub tcp_connects: usize,
    /// Listening TCP sockets.
    pub tcp_listeners: usize,
    /// Datagram sockets.
    pub udp_sockets: usize,
    /// Timers that somebody waits for.
    pub timers: usize,
}

impl HostCensus {
    /// Whether nothing is alive.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many tasks are alive.
    pub fn task_count(&self) -> usize {
        self.tasks.values().sum()
    }

    /// How many sockets of any kind are open.
    pub fn sockets(&self) -> usize {
        self.tcp_streams + self.tcp_connects + self.tcp_listeners + self.udp_sockets
    }
}

impl Census {
    /// Whether nothing is alive on any host.
    pub fn is_empty(&self) -> bool {
        self.lingering == 0 && self.hosts.values().all(HostCensus::is_empty)
    }

    /// What is alive on the host with this name; `None` if there is no such host.
    pub fn host(&self, name: &str) -> Option<&HostCensus> {
        self.hosts.get(name)
    }

    pub(crate) fn take(state: &State) -> Self {
        let mut counts: BTreeMap<HostId, HostCensus> = BTreeMap::new();
        for (host, name) in state.tasks.names() {
            let tasks = &mut counts.entry(host).or_default().tasks;
            *tasks.entry(name).or_default() += 1;
        }
        for host in state.timers.hosts() {
            counts.entry(host).or_default().timers += 1;
        }
        let mut lingering = 0;
        for (_, conn) in state.net.tcp.conns.iter() {
            let mut held = false;
            for end in [&conn.dialer, &conn.listener] {
                if end.stage == Stage::Open {
                    counts.entry(end.host).or_default().tcp_streams += 1;
                    held = true;
                }
            }
            lingering += usize::from(!held);
        }
        for (_, dial) in state.net.tcp.dials.iter() {
            counts.entry(dial.host).or_default().tcp_connects += 1;
        }
        for (_, listener) in state.net.tcp.listeners.iter() {
            counts.entry(listener.host).or_default().tcp_listeners += 1;
        }
        for host in state.net.udp.hosts() {
            counts.entry(host).or_default().udp_sockets += 1;
        }
        let hosts = (0u32..).zip(&state.hosts);
        let hosts = hosts.map(|(index, host)| {
            let census = counts.remove(&HostId(index)).unwrap_or_default();
            (host.name.to_string(), census)
        });
        Self {
            hosts: hosts.collect(),
            lingering,
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing is alive");
        }
        let mut newline = "";
        for (name, host) in self.hosts.iter().filter(|(_, host)| !host.is_empty()) {
            write!(f, "{newline}{name}:")?;
            newline = "\n";
            for (task, count) in &host.tasks {
                write!(f, " {count} x task {task},")?;
            }
            let sockets = host.sockets();
            write!(f, " {sockets} sockets, {} timers", host.timers)?;
        }
        if self.lingering > 0 {
            write!(f, "{newline}{} lingering connections", self.lingering)?;
        }
        Ok(())
    }
}
