//! Large buffers that belong to a channel only while it has something in them.
//!
//! A channel takes a buffer when bytes come or go and gives it back when it has none left, so an
//! idle channel holds nothing, and a busy thread works in a few buffers that stay in the cache
//! and were zeroed once. Each thread keeps its own spares: no lock, and no unbounded pile.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::NOTICE;

/// What a read takes at most, in bytes. The longest record fits.
pub(crate) const RECEIVE_BUFFER: usize = 128 * 1024;

/// What is written at once at most, in bytes: three full records and a notice. One byte more than
/// 65,483 would leave a tiny second segment on a loopback link, with a wake-up of its own.
pub(crate) const SEND_BUFFER: usize = 3 * (RECORD + OVERHEAD) + NOTICE;

/// Plain bytes in a full record that we send. Ciphers are fastest a byte around here.
pub(crate) const RECORD: usize = 16 * 1024;

/// What sealing adds to a record at most, in bytes.
pub(crate) const OVERHEAD: usize = 32;

/// How many spare buffers of each size a thread keeps.
const SPARES: usize = 4;

thread_local! {
    static POOL: Pool = const { Pool { receive: RefCell::new(Vec::new()), send: RefCell::new(Vec::new()) } };
}

struct Pool {
    receive: RefCell<Vec<Vec<u8>>>,
    send: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    /// The spares of this size, if it is one of ours.
    fn of(&self, size: usize) -> Option<&RefCell<Vec<Vec<u8>>>> {
        match size {
            RECEIVE_BUFFER => Some(&self.receive),
            SEND_BUFFER => Some(&self.send),
            _ => None,
        }
    }
}

/// A large buffer of initialised bytes of no meaning, a small one, or none at all.
#[derive(Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// A buffer of `size` bytes: [`RECEIVE_BUFFER`] or [`SEND_BUFFER`].
    pub(crate) fn take(size: usize) -> Self {
        let spare = POOL.try_with(|pool| pool.of(size)?.borrow_mut().pop());
        // The pool of an ending thread is gone: then the buffer is a new one.
        Self(spare.ok().flatten().unwrap_or_else(|| vec![0; size]))
    }

    /// A small buffer with exactly these bytes, not of the pool.
    pub(crate) fn small(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.0);
        let _ = POOL.try_with(|pool| {
            if let Some(spares) = pool.of(bytes.len())
                && let mut spares = spares.borrow_mut()
                && spares.len() < SPARES
            {
                spares.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
