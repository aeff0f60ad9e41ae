//! A runtime with nothing but a clock that stands still until it is moved.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use p2p_core::{
    BoxFuture, Instant, Net, Runtime, TcpListener, TcpOptions, TcpStream, Timer, UdpSocket,
};

/// A clock for tests. It has no tasks and no network.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    now: Instant,
    next: u64,
    armed: BTreeMap<(Instant, u64), Waker>,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock by `duration` and fires the timers on the way.
    pub fn advance(&self, duration: Duration) {
        let to = self.lock().now + duration;
        self.move_to(to);
    }

    /// Moves the clock to the next timer, if that is not after `end`; false if there is none.
    pub fn advance_to_next(&self, end: Instant) -> bool {
        let next = self.lock().armed.keys().next().map(|(at, _)| *at);
        let Some(next) = next.filter(|at| *at <= end) else {
            return false;
        };
        self.move_to(next);
        true
    }

    fn move_to(&self, to: Instant) {
        let mut fired = Vec::new();
        let mut timers = self.lock();
        timers.now = timers.now.max(to);
        while let Some(entry) = timers
            .armed
            .first_entry()
            .filter(|entry| entry.key().0 <= to)
        {
            fired.push(entry.remove());
        }
        drop(timers);
        fired.into_iter().for_each(Waker::wake);
    }
}

struct Alarm {
    clock: Clock,
    at: Instant,
    id: u64,
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.lock();
        if timers.now >= self.at {
            return Poll::Ready(());
        }
        timers.armed.insert((self.at, self.id), cx.waker().clone());
        Poll::Pending
    }
}

impl Timer for Alarm {
    fn reset(&mut self, at: Instant) {
        self.clock.lock().armed.remove(&(self.at, self.id));
        self.at = at;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clock.lock().armed.remove(&(self.at, self.id));
    }
}

impl Runtime for Clock {
    fn now(&self) -> Instant {
        self.lock().now
    }

    fn unix_time(&self) -> Duration {
        self.lock().now.elapsed_since_start()
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        let mut timers = self.lock();
        timers.next += 1;
        let id = timers.next;
        drop(timers);
        let clock = self.clone();
        Box::new(Alarm { clock, at, id })
    }

    fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {}

    fn fill_random(&self, dest: &mut [u8]) {
        dest.fill(4);
    }

    fn net(&self) -> &dyn Net {
        self
    }
}

impl Net for Clock {
    fn tcp_connect(
        &self,
        _: SocketAddr,
        _: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn TcpStream>>> {
        futures::future::ready(Err(none())).boxed()
    }

    fn tcp_listen(&self, _: SocketAddr, _: &TcpOptions) -> io::Result<Box<dyn TcpListener>> {
        Err(none())
    }

    fn udp_bind(&self, _: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        Err(none())
    }

    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        futures::future::ready(Err(none())).boxed()
    }

    fn interface_addrs(&self) -> io::Result<Vec<IpAddr>> {
        Err(none())
    }
}

fn none() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
