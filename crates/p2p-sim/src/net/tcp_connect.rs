//! Setting up connections: SYN, SYN-ACK, ACK, and everything that can go wrong.
//!
//! ```text
//!   dialer   SYN ------>           established, ACK ------->
//!   listener        half open, SYN-ACK ------>              established, accepted
//! ```
//!
//! The dialer is done after one round trip. A SYN that meets no listener is refused after one; a
//! SYN that is lost is sent again after 1 s, 2 s, 4 s, …, until the connect times out. Two hosts
//! that dial each other, from and to the same ports, get one connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use p2p_core::{TcpOptions, TcpStream};

use crate::net::lane::Payload;
use crate::net::listener::Listener;
use crate::net::route::{Arrival, Wire, target};
use crate::net::tcp::{Conn, End, Failure, Pair, Side, Stage, Taker};
use crate::net::tcp_stream::SimTcpStream;
use crate::net::{NetEvent, Proto};
use crate::slab::Key;
use crate::trace::What;
use crate::world::{HostId, Nanos, State, World, nanos, register};

/// A connection that is being set up.
pub(crate) struct Dial {
    pub(crate) host: HostId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) waker: Option<Waker>,
    since: Nanos,
    tries: u32,
    /// The SYN on its way, and its flight.
    syn: Option<(Wire, HostId, u32)>,
    stage: DialStage,
}

#[derive(Clone, Copy, Debug)]
enum DialStage {
    /// No answer yet.
    Trying,
    /// The other side has answered; the answer is on its way.
    Answered(Key, Side),
    Done(Key, Side),
    Failed(io::ErrorKind, &'static str),
}

/// Until the first repetition of a SYN.
const FIRST_SYN: Nanos = 1_000_000_000;

impl State {
    /// Starts a connect of `host` to `to`.
    pub(crate) fn dial(
        &mut self,
        host: HostId,
        life: u32,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Key> {
        self.check_alive(host, life)?;
        if to.port() == 0 {
            let message = "cannot connect to port 0";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let remote = SocketAddr::new(target(to.ip()), to.port());
        let local = self.dial_from(host, remote, options)?;
        if self.net.tcp.pairs.contains_key(&(host, local, remote)) {
            self.port_release(Proto::Tcp, host, local.port());
            let message = format!("{local} is connected or connecting to {remote} already");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        let key = self.net.tcp.dials.insert(Dial {
            host,
            local,
            remote,
            waker: None,
            since: self.now,
            tries: 0,
            syn: None,
            stage: DialStage::Trying,
        });
        let pair = (host, local, remote);
        self.net.tcp.pairs.insert(pair, Pair::Dial(key));
        self.note(
            host,
            What::Connecting {
                from: local,
                to: remote,
            },
        );
        self.syn_send(key);
        Ok(key)
    }

    /// The local address of a dial. Its port counts as used.
    fn dial_from(
        &mut self,
        host: HostId,
        remote: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<SocketAddr> {
        let bind = options.bind.filter(|at| !at.ip().is_unspecified());
        let ip = match bind {
            Some(at) if at.is_ipv4() != remote.is_ipv4() => {
                let message = format!("cannot connect from {at} to {remote}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            Some(at) => {
                self.check_local(host, at.ip())?;
                at.ip()
            }
            None => self.source_ip(host, remote.ip())?,
        };
        let port = match options.bind.map_or(0, |at| at.port()) {
            0 => self.free_port(Proto::Tcp, host)?,
            port => {
                let taken = self.net.ports.contains_key(&(Proto::Tcp, host, port));
                if taken && !(options.reuse_port && self.port_shared(host, port)) {
                    let message = format!("port {port} is used and not shared");
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                }
                self.port_use(Proto::Tcp, host, port);
                port
            }
        };
        Ok(SocketAddr::new(ip, port))
    }

    fn syn_send(&mut self, key: Key) {
        let timeout = nanos(self.config.tcp.connect_timeout);
        let Some(dial) = self.net.tcp.dials.get_mut(key) else {
            return;
        };
        let wait = FIRST_SYN.saturating_mul(1 << dial.tries.min(30));
        dial.tries += 1;
        let deadline = dial.since.saturating_add(timeout);
        let (host, from, to) = (dial.host, dial.local, dial.remote);
        let retry = self.now.saturating_add(wait).min(deadline);
        self.after(retry - self.now, NetEvent::SynRetry { dial: key });

        let wire = self.outbound(Proto::Tcp, host, from, to);
        let why = match self.destination(Proto::Tcp, wire) {
            None => "nobody has this address",
            Some(_) if !self.has_addr(host, from.ip()) => "the sender has lost its address",
            Some(there) if !self.reachable(host, there) => "the path is cut or the host down",
            Some(there) if self.loses(host, there) => "lost",
            Some(there) => {
                let flight = self.tap_send(host, there, 0);
                if let Some(dial) = self.net.tcp.dials.get_mut(key) {
                    dial.syn = Some((wire, there, flight));
                }
                let delay = self.delay(host, there);
                return self.after(delay, NetEvent::SynArrive { dial: key });
            }
        };
        self.note(host, What::SynDropped { to, why });
    }

    fn loses(&mut self, from: HostId, to: HostId) -> bool {
        let loss = self.net.links.get(&self.config, from, to).loss;
        self.net.rng.chance(loss)
    }

    pub(crate) fn syn_retry(&mut self, key: Key) {
        let timeout = nanos(self.config.tcp.connect_timeout);
        let Some(dial) = self.net.tcp.dials.get(key) else {
            return;
        };
        let deadline = dial.since.saturating_add(timeout);
        match dial.stage {
            DialStage::Done(..) | DialStage::Failed(..) => {}
            DialStage::Trying | DialStage::Answered(..) if self.now >= deadline => {
                let message = "the remote does not answer";
                self.dial_fails(key, io::ErrorKind::TimedOut, message);
            }
            DialStage::Trying => self.syn_send(key),
            DialStage::Answered(..) => {
                self.after(deadline - self.now, NetEvent::SynRetry { dial: key });
            }
        }
    }

    pub(crate) fn syn_arrives(&mut self, key: Key) {
        let Some(dial) = self.net.tcp.dials.get(key) else {
            return;
        };
        let DialStage::Trying = dial.stage else {
            return;
        };
        let Some((wire, _, flight)) = dial.syn else {
            return;
        };
        let (host, remote) = (dial.host, dial.remote);
        let arrival = match self.inbound(Proto::Tcp, wire) {
            Ok(arrival) if self.reachable(host, arrival.host) => arrival,
            Ok(_) => {
                let why = "the path is cut or the host down";
                return self.note(host, What::SynDropped { to: remote, why });
            }
            Err(why) => return self.note(host, What::SynDropped { to: remote, why }),
        };
        self.tap_receive(host, arrival.host, flight);
        let pair = (arrival.host, arrival.to, arrival.from);
        match self.net.tcp.pairs.get(&pair).copied() {
            Some(Pair::Dial(other)) if other != key => return self.meet(key, other, arrival),
            Some(Pair::Conn(old)) => return self.syn_to_old(key, old, arrival),
            _ => {}
        }
        match self.find_listener(arrival.host, arrival.to) {
            None => self.refuse(key, host, arrival),
            Some(listener) => match self.half_open_begins(listener) {
                Ok(()) => self.answer(key, Taker::Listener(listener), arrival),
                Err(why) => {
                    let to = arrival.to;
                    self.note(arrival.host, What::SynDropped { to, why });
                }
            },
        }
    }

    /// Two dials meet on the way: one connection for both.
    fn meet(&mut self, key: Key, other: Key, arrival: Arrival) {
        let there = self.net.tcp.dials.get(other);
        if let Some(DialStage::Trying) = there.map(|dial| dial.stage) {
            self.answer(key, Taker::Dial(other), arrival);
        }
    }

    /// A SYN for a connection that exists. If its other end has forgotten it in a crash, so does
    /// this one now.
    fn syn_to_old(&mut self, key: Key, old: Key, arrival: Arrival) {
        let Some(conn) = self.net.tcp.conns.get(old) else {
            return;
        };
        let side = match conn.dialer.host == arrival.host {
            true => Side::Dialer,
            false => Side::Listener,
        };
        if conn.end(side.other()).stage == Stage::Gone {
            let pair = (arrival.host, arrival.to, arrival.from);
            self.net.tcp.pairs.remove(&pair);
            self.fail(old, side, Failure::Reset);
            self.cleanup(old);
            self.syn_arrives(key);
        }
    }

    fn refuse(&mut self, key: Key, host: HostId, arrival: Arrival) {
        let to = arrival.to;
        let why = "nobody listens there";
        self.note(arrival.host, What::SynDropped { to, why });
        let local = self.net.tcp.dials.get(key).map(|dial| dial.local.ip());
        let hears = local.is_some_and(|local| self.has_addr(host, local));
        if hears && self.reachable(arrival.host, host) {
            let delay = self.delay(arrival.host, host);
            self.after(delay, NetEvent::Refused { dial: key });
        }
    }

    /// The other side agrees: the connection is made, half open.
    fn answer(&mut self, key: Key, taker: Taker, arrival: Arrival) {
        let credit = self.config.tcp.buffer.get();
        let tcp = &mut self.net.tcp;
        let Some(dial) = tcp.dials.get_mut(key) else {
            return;
        };
        let serial = tcp.next_serial;
        tcp.next_serial += 1;
        let mut dialer = End::new(dial.host, dial.local, dial.remote, credit);
        dialer.holds_port = true;
        let pair = (dial.host, dial.local, dial.remote);
        let mut listener = End::new(arrival.host, arrival.to, arrival.from, credit);
        listener.holds_port = matches!(taker, Taker::Dial(_));
        let conn = tcp.conns.insert(Conn {
            serial,
            dialer,
            listener,
            taker,
            dial: key,
        });
        dial.stage = DialStage::Answered(conn, Side::Dialer);
        tcp.pairs.insert(pair, Pair::Conn(conn));
        let pair = (arrival.host, arrival.to, arrival.from);
        tcp.pairs.insert(pair, Pair::Conn(conn));
        if let Taker::Dial(other) = taker
            && let Some(dial) = tcp.dials.get_mut(other)
        {
            dial.stage = DialStage::Answered(conn, Side::Listener);
        }
        self.transmit(conn, Side::Listener, Payload::SynAck);
    }

    pub(crate) fn dial_refused(&mut self, key: Key) {
        if let Some(DialStage::Trying) = self.net.tcp.dials.get(key).map(|dial| dial.stage) {
            let message = "nobody listens there";
            self.dial_fails(key, io::ErrorKind::ConnectionRefused, message);
        }
    }

    /// The host of a dial has lost the address that it dials from.
    pub(crate) fn dial_aborted(&mut self, key: Key) {
        let stage = self.net.tcp.dials.get(key).map(|dial| dial.stage);
        if let Some(DialStage::Trying | DialStage::Answered(..)) = stage {
            let message = "the host has lost the address of this end";
            self.dial_fails(key, io::ErrorKind::ConnectionAborted, message);
        }
    }

    fn dial_fails(&mut self, key: Key, kind: io::ErrorKind, why: &'static str) {
        let Some(dial) = self.net.tcp.dials.get_mut(key) else {
            return;
        };
        let (host, to, stage) = (dial.host, dial.remote, dial.stage);
        dial.stage = DialStage::Failed(kind, why);
        self.wakes.extend(dial.waker.take());
        self.note(host, What::ConnectFailed { to, why });
        self.dial_leaves(key, stage);
    }

    /// What a dial that ends without a connection leaves behind.
    fn dial_leaves(&mut self, key: Key, stage: DialStage) {
        let Some(dial) = self.net.tcp.dials.get(key) else {
            return;
        };
        let (host, local, remote) = (dial.host, dial.local, dial.remote);
        match stage {
            DialStage::Trying => {
                let pair = (host, local, remote);
                if self.net.tcp.pairs.get(&pair) == Some(&Pair::Dial(key)) {
                    self.net.tcp.pairs.remove(&pair);
                }
                self.port_release(Proto::Tcp, host, local.port());
            }
            // The answer will find nobody, and is reset then.
            DialStage::Answered(conn, side) => {
                if let Some(conn) = self.net.tcp.conns.get_mut(conn) {
                    conn.end_mut(side).stage = Stage::Closed;
                }
                self.cleanup(conn);
            }
            DialStage::Done(conn, side) => self.close(conn, side),
            DialStage::Failed(..) => {}
        }
    }

    /// The dialer hears that the other side agrees.
    pub(crate) fn syn_ack_arrives(&mut self, key: Key) {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let dial = self.net.tcp.dials.get_mut(conn.dial);
        let Some(dial) = dial.filter(|_| conn.dialer.stage == Stage::Embryo) else {
            return self.abort(key, Side::Dialer);
        };
        conn.dialer.stage = Stage::Open;
        dial.stage = DialStage::Done(key, Side::Dialer);
        self.wakes.extend(dial.waker.take());
        let (host, conn) = (conn.dialer.host, conn.serial);
        self.note(host, What::Connected { conn });
        self.transmit(key, Side::Dialer, Payload::Ack);
    }

    /// The other side hears that the dialer knows.
    pub(crate) fn ack_arrives(&mut self, key: Key) {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        if conn.listener.stage != Stage::Embryo {
            return self.abort(key, Side::Listener);
        }
        let (serial, host, from) = (conn.serial, conn.listener.host, conn.listener.remote);
        conn.listener.stage = Stage::Open;
        match conn.taker {
            Taker::Dial(dial) => match self.net.tcp.dials.get_mut(dial) {
                Some(dial) => {
                    dial.stage = DialStage::Done(key, Side::Listener);
                    self.wakes.extend(dial.waker.take());
                    self.note(host, What::Connected { conn: serial });
                }
                None => self.abort(key, Side::Listener),
            },
            Taker::Listener(listener) => match self.net.tcp.listeners.get_mut(listener) {
                Some(listener) => {
                    let Listener {
                        half_open, queue, ..
                    } = listener;
                    *half_open = half_open.saturating_sub(1);
                    queue.push_back(key);
                    self.wakes.extend(listener.waker.take());
                    self.note(host, What::Accepted { conn: serial, from });
                }
                None => self.abort(key, Side::Listener),
            },
        }
    }
}

/// Waits for a [`Dial`]; gives it up when dropped.
pub(crate) struct Dialing {
    world: Arc<World>,
    dial: Option<Key>,
}

impl Dialing {
    pub(crate) fn start(
        world: Arc<World>,
        host: HostId,
        life: u32,
        to: SocketAddr,
        options: &TcpOptions,
    ) -> io::Result<Self> {
        let dial = Some(world.with(|state| state.dial(host, life, to, options))?);
        Ok(Self { world, dial })
    }
}

impl Future for Dialing {
    type Output = io::Result<Box<dyn TcpStream>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(key) = self.dial else {
            return Poll::Pending;
        };
        let result = self.world.with(|state| {
            let Some(dial) = state.net.tcp.dials.get_mut(key) else {
                let message = "the host has crashed";
                return Some(Err(io::Error::new(io::ErrorKind::NetworkDown, message)));
            };
            let (local, remote) = (dial.local, dial.remote);
            let result = match dial.stage {
                DialStage::Trying | DialStage::Answered(..) => {
                    let old = register(&mut dial.waker, cx.waker());
                    state.retired.extend(old);
                    return None;
                }
                DialStage::Done(conn, side) => Ok((conn, side, local, remote)),
                DialStage::Failed(kind, why) => Err(io::Error::new(kind, why)),
            };
            state.net.tcp.dials.remove(key);
            Some(result)
        });
        let Some(result) = result else {
            return Poll::Pending;
        };
        self.dial = None;
        let world = self.world.clone();
        Poll::Ready(result.map(|(conn, side, local, remote)| {
            let stream = SimTcpStream::new(world, conn, side, local, remote);
            let stream: Box<dyn TcpStream> = Box::new(stream);
            stream
        }))
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        let Some(key) = self.dial.take() else {
            return;
        };
        self.world.with(|state| {
            if let Some(stage) = state.net.tcp.dials.get(key).map(|dial| dial.stage) {
                state.dial_leaves(key, stage);
            }
            let dial = state.net.tcp.dials.remove(key);
            state.retired.extend(dial.and_then(|dial| dial.waker));
        });
    }
}
