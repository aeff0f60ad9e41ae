//! Listening sockets.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use p2p_core::{BoxFuture, TcpListener, TcpOptions, TcpStream};

use crate::net::Proto;
use crate::net::route::overlap;
use crate::net::tcp::{Side, Taker};
use crate::net::tcp_stream::SimTcpStream;
use crate::slab::Key;
use crate::trace::What;
use crate::world::{HostId, State, World, register};

/// A listening socket.
pub(crate) struct Listener {
    pub(crate) host: HostId,
    pub(crate) at: SocketAddr,
    pub(crate) waker: Option<Waker>,
    /// Connections whose dialer has not confirmed yet.
    pub(crate) half_open: usize,
    /// Established connections that wait to be accepted.
    pub(crate) queue: VecDeque<Key>,
    backlog: usize,
    shared: bool,
}

impl State {
    fn listen(
        &mut self,
        host: HostId,
        life: u32,
        at: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<(Key, SocketAddr)> {
        self.check_alive(host, life)?;
        self.check_local(host, at.ip())?;
        let port = match at.port() {
            0 => self.free_port(Proto::Tcp, host)?,
            port => {
                let shared = options.reuse_port;
                if self.listener_in_the_way(host, at, shared) {
                    let message = format!("{at} of host {} is in use", self.host(host).name);
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                }
                self.port_use(Proto::Tcp, host, port);
                port
            }
        };
        let at = SocketAddr::new(at.ip(), port);
        let key = self.net.tcp.listeners.insert(Listener {
            host,
            at,
            waker: None,
            half_open: 0,
            queue: VecDeque::new(),
            backlog: usize::try_from(options.backlog)
                .unwrap_or(usize::MAX)
                .max(1),
            shared: options.reuse_port,
        });
        let listening = self.net.tcp.listening.entry((host, port)).or_default();
        listening.push(key);
        self.note(host, What::Listening { at });
        Ok((key, at))
    }

    fn listener_in_the_way(&self, host: HostId, at: SocketAddr, shared: bool) -> bool {
        let keys = self.net.tcp.listening.get(&(host, at.port()));
        let listeners = keys.into_iter().flatten();
        listeners
            .filter_map(|key| self.net.tcp.listeners.get(*key))
            .any(|other| overlap(other.at.ip(), at.ip()) && !(shared && other.shared))
    }

    /// Whether everyone who listens on `port` shares it.
    pub(crate) fn port_shared(&self, host: HostId, port: u16) -> bool {
        let keys = self.net.tcp.listening.get(&(host, port));
        let mut listeners = keys.into_iter().flatten();
        listeners.all(|key| {
            let listener = self.net.tcp.listeners.get(*key);
            listener.is_none_or(|listener| listener.shared)
        })
    }

    /// Who listens at `at`: an exact address goes before one that stands for all.
    pub(crate) fn find_listener(&mut self, host: HostId, at: SocketAddr) -> Option<Key> {
        let tcp = &self.net.tcp;
        let keys = tcp.listening.get(&(host, at.port()))?;
        let mut found: Vec<(Key, bool)> = keys
            .iter()
            .filter_map(|key| Some((*key, tcp.listeners.get(*key)?.at.ip())))
            .filter(|(_, ip)| overlap(*ip, at.ip()))
            .map(|(key, ip)| (key, ip == at.ip()))
            .collect();
        if found.iter().any(|(_, exact)| *exact) {
            found.retain(|(_, exact)| *exact);
        }
        let index = match found.len() {
            0 | 1 => 0,
            many => usize::try_from(self.net.rng.below(many as u64)).unwrap_or(0),
        };
        found.get(index).map(|(key, _)| *key)
    }

    /// Room for one more connection in the backlog; the error says why not.
    pub(crate) fn half_open_begins(&mut self, key: Key) -> Result<(), &'static str> {
        let listener = self.net.tcp.listeners.get_mut(key);
        let listener = listener.ok_or("nobody listens there")?;
        if listener.half_open + listener.queue.len() >= listener.backlog {
            return Err("the backlog is full");
        }
        listener.half_open += 1;
        Ok(())
    }

    /// A half-open connection came to nothing.
    pub(crate) fn half_open_ends(&mut self, taker: Taker) {
        if let Taker::Listener(key) = taker
            && let Some(listener) = self.net.tcp.listeners.get_mut(key)
        {
            listener.half_open = listener.half_open.saturating_sub(1);
        }
    }

    fn listener_drop(&mut self, key: Key) {
        let Some(listener) = self.net.tcp.listeners.remove(key) else {
            return;
        };
        let at = (listener.host, listener.at.port());
        if let Some(keys) = self.net.tcp.listening.get_mut(&at) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.net.tcp.listening.remove(&at);
            }
        }
        self.port_release(Proto::Tcp, listener.host, listener.at.port());
        let at = listener.at;
        self.note(listener.host, What::ListenEnded { at });
        self.retired.extend(listener.waker);
        for conn in listener.queue {
            self.abort(conn, Side::Listener);
        }
    }
}

/// The handle of a [`Listener`].
pub(crate) struct SimTcpListener {
    world: Arc<World>,
    key: Key,
    at: SocketAddr,
}

impl SimTcpListener {
    pub(crate) fn listen(
        world: Arc<World>,
        host: HostId,
        life: u32,
        at: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let (key, at) = world.with(|state| state.listen(host, life, at, options))?;
        Ok(Self { world, key, at })
    }

    fn poll_accept(&self, waker: &Waker) -> Poll<io::Result<SimTcpStream>> {
        self.world.with(|state| {
            let Some(listener) = state.net.tcp.listeners.get_mut(self.key) else {
                let message = "the host has crashed";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::NetworkDown, message)));
            };
            let Some(conn) = listener.queue.pop_front() else {
                let old = register(&mut listener.waker, waker);
                state.retired.extend(old);
                return Poll::Pending;
            };
            let end = state.net.tcp.conns.get(conn).map(|conn| &conn.listener);
            let (local, remote) = end.map_or((self.at, self.at), |end| (end.local, end.remote));
            let world = self.world.clone();
            let stream = SimTcpStream::new(world, conn, Side::Listener, local, remote);
            Poll::Ready(Ok(stream))
        })
    }
}

impl TcpListener for SimTcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn TcpStream>, SocketAddr)>> {
        Box::pin(async move {
            let stream = poll_fn(|cx| self.poll_accept(cx.waker())).await?;
            let from = stream.peer_addr()?;
            let stream: Box<dyn TcpStream> = Box::new(stream);
            Ok((stream, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for SimTcpListener {
    fn drop(&mut self) {
        self.world.with(|state| state.listener_drop(self.key));
    }
}
