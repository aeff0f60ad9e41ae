//! The provider on smol.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{BoxFuture, Instant, Net, Rt, Runtime, Timer};

use crate::{clock, entropy, reactor};

/// smol: its executor, which belongs to the whole process and starts with the first task.
///
/// It has one thread, or as many as the environment variable `SMOL_THREADS` says.
#[derive(Debug)]
pub struct Smol(());

impl Smol {
    /// A handle. All handles share one executor.
    #[expect(clippy::new_ret_no_self, reason = "`Rt` is what everybody takes")]
    pub fn new() -> Rt {
        Arc::new(Self(()))
    }

    /// Runs `future` on this thread until it is done; what it spawns runs on the executor's
    /// threads, and goes on afterwards.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        ::smol::block_on(future)
    }
}

impl Runtime for Smol {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn unix_time(&self) -> Duration {
        clock::unix_time()
    }

    fn timer(&self, at: Instant) -> Box<dyn Timer> {
        reactor::timer(at)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        tracing::trace!(task = name, "spawn");
        ::smol::spawn(task).detach();
    }

    fn fill_random(&self, dest: &mut [u8]) {
        entropy::fill(dest);
    }

    fn net(&self) -> &dyn Net {
        &reactor::Sockets
    }
}
