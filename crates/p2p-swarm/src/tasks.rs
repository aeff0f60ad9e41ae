//! The tasks of one swarm: counted, named, and ended with it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use futures::FutureExt;
use futures::future::{AbortHandle, abortable};
use p2p_core::Rt;

/// A group of spawned tasks. Cheap to clone; clones are the same group.
#[derive(Clone)]
pub(crate) struct Tasks {
    rt: Rt,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    next: u64,
    live: BTreeMap<u64, (&'static str, AbortHandle)>,
    /// No further task is started.
    closed: bool,
    waiting: Vec<Waker>,
    /// What is left to do when the last task of a closed group has ended.
    after: Option<Box<dyn FnOnce() + Send>>,
}

impl Tasks {
    pub(crate) fn new(rt: Rt) -> Self {
        Self {
            rt,
            state: Arc::default(),
        }
    }

    /// Runs `task` until it is done or the group is aborted. In an aborted group it is dropped
    /// without being run.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (task, abort) = abortable(task);
        let entry = {
            let mut state = lock(&self.state);
            if state.closed {
                return;
            }
            let id = state.next;
            state.next += 1;
            state.live.insert(id, (name, abort));
            // Dropped with the task, also when the runtime drops it unfinished.
            Entry {
                state: Arc::clone(&self.state),
                id,
            }
        };
        // Not an async block: that would hold the task twice.
        self.rt.spawn(name, task.map(move |_| drop(entry)).boxed());
    }

    /// Names of the tasks that are alive, one entry per task.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        lock(&self.state)
            .live
            .values()
            .map(|(name, _)| *name)
            .collect()
    }

    /// Ends every task where it stands, and starts no further one. `after` is called when the last
    /// of them has ended, so that what they say in ending is still heard.
    pub(crate) fn abort_all(&self, after: impl FnOnce() + Send + 'static) {
        let (handles, after) = {
            let mut state = lock(&self.state);
            state.closed = true;
            let live = state.live.values();
            let handles: Vec<AbortHandle> = live.map(|(_, abort)| abort.clone()).collect();
            if handles.is_empty() {
                (handles, Some(after))
            } else {
                state.after = Some(Box::new(after));
                (handles, None)
            }
        };
        for handle in handles {
            handle.abort();
        }
        if let Some(after) = after {
            after();
        }
    }

    /// Waits until no task is alive.
    ///
    /// Cancel-safe.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.state);
            if state.live.is_empty() {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

struct Entry {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (waiting, after) = {
            let mut state = lock(&self.state);
            state.live.remove(&self.id);
            if state.live.is_empty() {
                (std::mem::take(&mut state.waiting), state.after.take())
            } else {
                (Vec::new(), None)
            }
        };
        if let Some(after) = after {
            after();
        }
        for waker in waiting {
            waker.wake();
        }
    }
}

/// Locks, also after a panic elsewhere: the state is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
