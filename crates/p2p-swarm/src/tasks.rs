//! The tasks of one swarm: counted, named, and ended with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use p2p_core::Rt;
use pin_project_lite::pin_project;

/// A group of spawned tasks. Cheap to clone; clones are the same group.
#[derive(Clone)]
pub(crate) struct Tasks {
    rt: Rt,
    group: Arc<Group>,
}

#[derive(Default)]
struct Group {
    /// No task goes on, and no further one is started.
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By [`Entry::at`].
    tasks: Vec<Option<Live>>,
    free: Vec<usize>,
    /// To be woken when the last task has ended.
    waiting: Vec<Waker>,
    /// What is left to do when the last task of a closed group has ended.
    after: Option<Box<dyn FnOnce() + Send>>,
}

/// A task that has not ended.
struct Live {
    name: &'static str,
    /// Makes it notice that the group is closed, once it has run.
    waker: Option<Waker>,
}

impl Tasks {
    pub(crate) fn new(rt: Rt) -> Self {
        Self {
            rt,
            group: Arc::default(),
        }
    }

    /// Runs `task` until it is done or the group is aborted. In an aborted group it is dropped
    /// without being run.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(at) = self.group.enter(name) else {
            return;
        };
        let task = Task {
            work: Some(task),
            known: 0,
            entry: Entry {
                group: Arc::clone(&self.group),
                at,
            },
        };
        self.rt.spawn(name, task.boxed());
    }

    /// Names of the tasks that are alive, one entry per task.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let state = lock(&self.group.state);
        state.tasks.iter().flatten().map(|task| task.name).collect()
    }

    /// Ends every task where it stands, and starts no further one. `after` is called when the last
    /// of them has ended, so that what they say in ending is still heard.
    pub(crate) fn abort_all(&self, after: impl FnOnce() + Send + 'static) {
        let wakers: Vec<Waker> = {
            let mut state = lock(&self.group.state);
            self.group.closed.store(true, Ordering::SeqCst);
            if state.is_empty() {
                drop(state);
                return after();
            }
            state.after = Some(Box::new(after));
            let live = state.tasks.iter_mut().flatten();
            live.filter_map(|task| task.waker.take()).collect()
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits until no task is alive.
    ///
    /// Cancel-safe.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.group.state);
            if state.is_empty() {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Group {
    /// A place for one more task; none if the group is closed.
    fn enter(&self, name: &'static str) -> Option<usize> {
        let mut state = lock(&self.state);
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let task = Some(Live { name, waker: None });
        if let Some(at) = state.free.pop() {
            *state.tasks.get_mut(at)? = task;
            return Some(at);
        }
        state.tasks.push(task);
        Some(state.tasks.len() - 1)
    }

    fn leave(&self, at: usize) {
        // A waker is dropped without the lock: it may be the last of its task.
        let _task;
        let (waiting, after) = {
            let mut state = lock(&self.state);
            _task = state.tasks.get_mut(at).and_then(Option::take);
            state.free.push(at);
            if !state.is_empty() {
                return;
            }
            (state.tasks, state.free) = Default::default();
            (std::mem::take(&mut state.waiting), state.after.take())
        };
        if let Some(after) = after {
            after();
        }
        for waker in waiting {
            waker.wake();
        }
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.tasks.len() == self.free.len()
    }
}

pin_project! {
    /// Does its work unless the group is closed.
    struct Task<F> {
        // Dropped first: what it says in ending is still heard.
        #[pin]
        work: Option<F>,
        // Which waker the group has: its address is nobody else's while the group has it.
        known: usize,
        entry: Entry,
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // Cheaper to keep than the waker itself: there is a task for each stream.
        let waker = cx.waker().data().addr().wrapping_add(1);
        if std::mem::replace(this.known, waker) != waker {
            this.entry.register(cx.waker());
        }
        // Only now: who closes the group from here on finds the waker.
        if !this.entry.group.closed.load(Ordering::SeqCst)
            && let Some(work) = this.work.as_mut().as_pin_mut()
            && work.poll(cx).is_pending()
        {
            return Poll::Pending;
        }
        this.work.set(None);
        Poll::Ready(())
    }
}

/// The place of a task in its group, until it is dropped: with the task, also when the runtime
/// drops that unfinished.
struct Entry {
    group: Arc<Group>,
    at: usize,
}

impl Entry {
    fn register(&self, waker: &Waker) {
        let mut waker = Some(waker.clone());
        if let Some(Some(task)) = lock(&self.group.state).tasks.get_mut(self.at) {
            std::mem::swap(&mut task.waker, &mut waker);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.group.leave(self.at);
    }
}

/// Locks, also after a panic elsewhere: the state is consistent between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use p2p_sim::Sim;

    use super::*;

    /// Counts when it is dropped.
    struct Guard(Arc<AtomicUsize>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_aborted_group_ends_what_waits_and_starts_nothing() {
        let sim = Sim::new(1);
        let rt = sim.host("host").rt();
        let tasks = Tasks::new(Rt::clone(&rt));
        let dropped = Arc::<AtomicUsize>::default();
        let run = |name| {
            let guard = Guard(Arc::clone(&dropped));
            tasks.spawn(name, async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        };
        sim.block_on(async {
            run("first");
            run("second");
            tasks.spawn("short", async {});
            rt.sleep(std::time::Duration::from_secs(1)).await;
            assert_eq!(tasks.names(), ["first", "second"]);
            run("third");
            assert_eq!(
                tasks.names(),
                ["first", "second", "third"],
                "its place is used again"
            );
            let (told, seen) = (Arc::<AtomicUsize>::default(), Arc::clone(&dropped));
            let tell = Arc::clone(&told);
            // The third has never run: nobody can wake it, and it ends all the same.
            tasks.abort_all(move || {
                tell.store(seen.load(Ordering::SeqCst), Ordering::SeqCst);
            });
            tasks.ended().await;
            assert_eq!(
                told.load(Ordering::SeqCst),
                3,
                "after all of them were dropped"
            );
            run("late");
            assert_eq!(dropped.load(Ordering::SeqCst), 4, "dropped at once");
            assert!(tasks.names().is_empty());
            let again = Arc::clone(&told);
            tasks.abort_all(move || again.store(9, Ordering::SeqCst));
            assert_eq!(told.load(Ordering::SeqCst), 9, "nobody to wait for");
        });
    }
}
