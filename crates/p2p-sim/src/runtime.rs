//! A host as a [`Runtime`] and a [`Net`].

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{
    BoxFuture, Instant, Net, Runtime, TcpListener, TcpOptions, TcpStream, Timer, UdpOptions,
    UdpSocket,
};

use crate::net::listener::SimTcpListener;
use crate::net::tcp_connect::Dialing;
use crate::net::udp::SimUdpSocket;
use crate::timers::SimTimer;
use crate::world::{HostId, World};

/// One life of a host.
pub(crate) struct HostRuntime {
    pub(crate) world: Arc<World>,
    pub(crate) host: HostId,
    pub(crate) life: u32,
}

impl Runtime for HostRuntime {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.world.now())
    }

    fn unix_time(&self) -> Duration {
        self.world.lock().unix_time(self.host)
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        Box::new(SimTimer::new(self.world.clone(), self.host, at))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.world.spawn(self.host, self.life, name, task);
    }

    fn fill_random(&self, dest: &mut [u8]) {
        self.world.lock().host_mut(self.host).rng.fill(dest);
    }

    fn net(&self) -> &dyn Net {
        self
    }

    fn is_reproducible(&self) -> bool {
        true
    }
}

impl Net for HostRuntime {
    fn tcp_connect(
        &self,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        let (world, host, life) = (self.world.clone(), self.host, self.life);
        let options = options.clone();
        Box::pin(async move { Dialing::start(world, host, life, to, &options)?.await })
    }

    fn tcp_listen(&self, at: SocketAddr, options: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        let world = self.world.clone();
        let listener = SimTcpListener::listen(world, self.host, self.life, at, options)?;
        Ok(Box::new(listener))
    }

    fn udp_bind(&self, at: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.udp_open(at, &UdpOptions::default())
    }

    fn udp_open(&self, at: SocketAddr, options: &UdpOptions) -> io::Result<Arc<dyn UdpSocket>> {
        let world = self.world.clone();
        let group = options.group.map(|group| group.addr);
        let socket = SimUdpSocket::bind(world, self.host, self.life, at, group)?;
        Ok(Arc::new(socket))
    }

    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        if let Ok(addr) = host.parse() {
            return Box::pin(async move { Ok(vec![addr]) });
        }
        let name = host.to_owned();
        let (world, id, life) = (self.world.clone(), self.host, self.life);
        Box::pin(async move {
            let takes = world.lock().config.resolve;
            let at = Instant::from_nanos(world.now()) + takes;
            SimTimer::new(world.clone(), id, at).await;
            let mut state = world.lock();
            state.check_alive(id, life)?;
            state.resolve(id, &name)
        })
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        let state = self.world.lock();
        state.check_alive(self.host, self.life)?;
        let mut addrs = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        addrs.extend(&state.host(self.host).addrs);
        Ok(addrs)
    }
}

impl fmt::Debug for HostRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.world.lock().host(self.host).name.clone();
        write!(f, "host {name} of a {:?}", self.world)
    }
}
