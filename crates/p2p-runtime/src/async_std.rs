//! The provider on async-std.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_global_executor::GlobalExecutorConfig;
use p2p_core::{BoxFuture, Instant, Net, Rt, Runtime, Timer};

use crate::{clock, entropy, reactor};

/// async-std: its executor, which belongs to the whole process and starts with the first task.
#[derive(Debug)]
pub struct AsyncStd(());

impl AsyncStd {
    /// A handle. All handles share one executor.
    #[expect(clippy::new_ret_no_self, reason = "`Rt` is what everybody takes")]
    pub fn new() -> Rt {
        Arc::new(Self(()))
    }

    /// A handle, after starting the executor with `threads` threads; one is best for small nodes
    /// (see the [crate's](crate) figures).
    ///
    /// Only the first start counts: call it before anything else uses async-std. The environment
    /// variable `ASYNC_STD_THREAD_COUNT` overrides it.
    pub fn with_threads(threads: NonZeroUsize) -> Rt {
        async_global_executor::init_with_config(
            GlobalExecutorConfig::default()
                .with_env_var("ASYNC_STD_THREAD_COUNT")
                .with_min_threads(threads.get())
                .with_max_threads(threads.get())
                .with_thread_name_fn(|| "async-std/runtime".into()),
        );
        Self::new()
    }

    /// Runs `future` on this thread until it is done; what it spawns runs on the executor's
    /// threads, and goes on afterwards.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        ::async_std::task::block_on(future)
    }
}

impl Runtime for AsyncStd {
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
        drop(::async_std::task::spawn(task));
    }

    fn fill_random(&self, dest: &mut [u8]) {
        entropy::fill(dest);
    }

    fn net(&self) -> &dyn Net {
        &reactor::Sockets
    }
}
