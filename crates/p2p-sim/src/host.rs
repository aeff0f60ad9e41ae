//! A simulated machine.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::Rt;

use crate::runtime::HostRuntime;
use crate::trace::What;
use crate::world::{HostId, State, World};

/// A handle to a simulated machine: its own addresses, clock, randomness, tasks and sockets.
///
/// Cheap to clone; clones are the same machine.
#[derive(Clone)]
pub struct Host {
    pub(crate) world: Arc<World>,
    pub(crate) id: HostId,
}

impl Host {
    pub(crate) fn new(world: Arc<World>, id: HostId) -> Self {
        Self { world, id }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.world.lock().host(self.id).name.to_string()
    }

    /// Its addresses, without loopback.
    pub fn addrs(&self) -> Vec<IpAddr> {
        self.world.lock().host(self.id).addrs.clone()
    }

    /// Its first address; loopback if it has none.
    pub fn ip(&self) -> IpAddr {
        let state = self.world.lock();
        let first = state.host(self.id).addrs.first().copied();
        first.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Its first address with `port`.
    pub fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// The runtime for what runs on this host: everything it spawns and opens belongs here.
    ///
    /// After a crash ask again: a runtime of an earlier life spawns and opens nothing.
    pub fn rt(&self) -> Rt {
        let life = self.world.lock().host(self.id).life;
        Arc::new(HostRuntime {
            world: self.world.clone(),
            host: self.id,
            life,
        })
    }

    /// Runs `task` on this host. `name` appears in the log, the census and deadlock reports.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.rt().spawn(name, Box::pin(task));
    }

    /// Whether it runs: not crashed, or restarted.
    pub fn is_up(&self) -> bool {
        self.world.lock().host(self.id).up
    }

    /// Pulls the plug. Its tasks and sockets vanish, and nobody is told: peers hear nothing
    /// until it is up again and answers their traffic with resets.
    ///
    /// What it had sent is still delivered. Its clock, randomness and addresses stay. Does
    /// nothing if it is down.
    pub fn crash(&self) {
        self.world.with(|state| state.crash(self.id));
        // Destructors of tasks are user code: not under the lock.
        drop(self.world.take_tasks(Some(self.id)));
    }

    /// Powers it on again, empty: spawn what shall run. Does nothing if it is up.
    pub fn restart(&self) {
        self.world.with(|state| {
            let host = state.host_mut(self.id);
            if !host.up {
                host.up = true;
                state.note(self.id, What::Restarted);
            }
        });
    }

    /// Sets its Unix clock ahead of the true time. The monotonic clock is not concerned.
    pub fn clock_ahead(&self, by: Duration) {
        self.skew(i128::try_from(by.as_nanos()).unwrap_or(i128::MAX));
    }

    /// Sets its Unix clock behind the true time. The monotonic clock is not concerned.
    pub fn clock_behind(&self, by: Duration) {
        self.skew(-i128::try_from(by.as_nanos()).unwrap_or(i128::MAX));
    }

    fn skew(&self, ahead: i128) {
        self.world.with(|state| {
            state.host_mut(self.id).skew = ahead;
            state.note(self.id, What::ClockSet { ahead });
        });
    }

    /// Limits its network card, in bytes a second; `None` is no limit. Everything that it sends
    /// shares `upload`, everything that it receives `download`, fairly.
    pub fn bandwidth(&self, upload: Option<NonZeroU64>, download: Option<NonZeroU64>) {
        self.world
            .with(|state| state.card_set(self.id, upload, download));
    }
}

impl State {
    fn crash(&mut self, id: HostId) {
        if !self.host(id).up {
            return;
        }
        let host = self.host_mut(id);
        host.up = false;
        host.life += 1;
        self.note(id, What::Crashed);
        self.tcp_crash(id);
        self.udp_crash(id);
        self.net.ports.retain(|(_, host, _), _| *host != id);
    }

    fn card_set(&mut self, id: HostId, up: Option<NonZeroU64>, down: Option<NonZeroU64>) {
        let upload = up.map(|rate| self.net.shapers.add(rate));
        let download = down.map(|rate| self.net.shapers.add(rate));
        let host = self.host_mut(id);
        let old = (host.upload.take(), host.download.take());
        (host.upload, host.download) = (upload, download);
        self.shaper_retire(old.0);
        self.shaper_retire(old.1);
        self.note(id, What::CardSet);
        let rate = |rate: Option<NonZeroU64>| rate.map_or(0, NonZeroU64::get);
        self.log.add_numbers([rate(up), rate(down)]);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.name())
    }
}
