//! Which numbers are listened on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc;

use crate::Pipe;

/// Free numbers are picked from here on, so that they rarely meet numbers that people choose.
const FIRST_FREE: u64 = 1 << 16;

/// A place where memory transports meet. Cheap to clone; clones are the same place.
///
/// There is no hub for the whole process: two tests, or two simulated networks, never meet by
/// accident.
#[derive(Clone)]
pub struct Hub(Arc<Mutex<Registry>>);

struct Registry {
    /// The backlog of each number that is listened on.
    listeners: BTreeMap<u64, mpsc::Sender<Arrival>>,
    /// The number to try next when any will do.
    next_free: u64,
}

/// A connection that waits to be accepted.
pub(crate) struct Arrival {
    /// The dialer's number.
    pub(crate) from: u64,
    /// The listener's end.
    pub(crate) pipe: Pipe,
}

impl Hub {
    /// A place of its own.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry {
            listeners: BTreeMap::new(),
            next_free: FIRST_FREE,
        })))
    }

    /// The numbers that somebody listens on, in order.
    pub fn numbers(&self) -> Vec<u64> {
        self.lock().listeners.keys().copied().collect()
    }

    /// Starts to listen on `number`; 0 picks a free one.
    pub(crate) fn listen(&self, number: u64, backlog: NonZeroUsize) -> io::Result<Registration> {
        let mut registry = self.lock();
        let number = match number {
            0 => registry.pick_free(),
            chosen => chosen,
        };
        // A channel has one slot for its sender besides its buffer.
        let (sender, arrivals) = mpsc::channel(backlog.get() - 1);
        match registry.listeners.entry(number) {
            Entry::Occupied(_) => Err(io::ErrorKind::AddrInUse.into()),
            Entry::Vacant(entry) => {
                entry.insert(sender);
                Ok(Registration {
                    hub: self.clone(),
                    number,
                    arrivals,
                })
            }
        }
    }

    /// Puts `pipe` into the backlog of `number`; returns the dialer's number.
    pub(crate) fn connect(&self, number: u64, pipe: Pipe) -> io::Result<u64> {
        let mut registry = self.lock();
        let from = registry.pick_free();
        let Some(backlog) = registry.listeners.get_mut(&number) else {
            return Err(refused("nobody listens there"));
        };
        let sent = backlog.try_send(Arrival { from, pipe });
        // Dropping the pipe wakes nobody: its other end is still the caller's.
        sent.map_err(|_| refused("the listener's backlog is full"))?;
        Ok(from)
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.numbers()).finish()
    }
}

impl Registry {
    /// A number that nobody listens on and that was not picked before.
    fn pick_free(&mut self) -> u64 {
        loop {
            let number = self.next_free;
            self.next_free = number.checked_add(1).unwrap_or(FIRST_FREE);
            if !self.listeners.contains_key(&number) {
                return number;
            }
        }
    }
}

/// The right to a number. Dropping it frees the number and drops what waits in the backlog.
pub(crate) struct Registration {
    hub: Hub,
    pub(crate) number: u64,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let sender = self.hub.lock().listeners.remove(&self.number);
        drop(sender);
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, why)
}
