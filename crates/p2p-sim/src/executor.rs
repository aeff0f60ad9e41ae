//! Runs tasks, one at a time, on the thread that asks for it.
//!
//! ```text
//!          wake                        nothing ready
//!   task --------> ready queue ------------------------> next event: time jumps there
//!     ^                |    ^                                 |
//!     |  poll one,     |    +---------------------------------+
//!     |  seeded choice |                 wakes
//!     +----------------+
//! ```
//!
//! Which of the ready tasks runs next is drawn from the seed, so that different seeds try
//! different interleavings. Time stands still while any task is ready.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use p2p_core::{BoxFuture, Instant};

use crate::error::{Report, Stuck};
use crate::net::Event;
use crate::rng::Rng;
use crate::slab::{Key, Slab};
use crate::trace::What;
use crate::world::{HostId, Nanos, State, World};

/// Tasks that were woken and not yet polled.
pub(crate) struct Ready(Mutex<ReadyQueue>);

struct ReadyQueue {
    tasks: Vec<TaskId>,
    rng: Rng,
}

/// A task, or the future given to `block_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskId {
    Root,
    Spawned(Key),
}

impl Ready {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(ReadyQueue {
            tasks: Vec::new(),
            rng: Rng::new(seed, "scheduler"),
        }))
    }

    fn push(&self, task: TaskId) {
        self.lock().tasks.push(task);
    }

    fn pick(&self) -> Option<TaskId> {
        let queue = &mut *self.lock();
        let picked = match queue.tasks.len() {
            0 => return None,
            1 => 0,
            len => usize::try_from(queue.rng.below(len as u64)).unwrap_or(0),
        };
        Some(queue.tasks.swap_remove(picked))
    }

    fn forget_root(&self) {
        self.lock().tasks.retain(|task| *task != TaskId::Root);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReadyQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts its task in the ready queue, once until the task is polled.
struct TaskWaker {
    task: TaskId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.task);
        }
    }
}

/// All spawned tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    slab: Slab<Task>,
    next: u64,
    /// Polls since time last passed.
    polls: u64,
    /// All polls ever.
    pub(crate) polls_total: u64,
    /// The task being polled, to name it when it panics.
    pub(crate) current: Option<(HostId, &'static str)>,
}

struct Task {
    host: HostId,
    life: u32,
    name: &'static str,
    serial: u64,
    /// Absent while it is being polled.
    body: Option<Body>,
    polled_at: Nanos,
    polls: u32,
}

/// What runs of a task.
pub(crate) struct Body {
    future: BoxFuture<'static, ()>,
    waker: Waker,
    flag: Arc<TaskWaker>,
}

impl Tasks {
    /// Live tasks as (host, name).
    pub(crate) fn names(&self) -> impl Iterator<Item = (HostId, &'static str)> {
        self.slab.iter().map(|(_, task)| (task.host, task.name))
    }
}

/// How far to run.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// The root future is done; not beyond this time.
    Done(Nanos),
    /// This time is reached.
    Time(Nanos),
    /// Nothing can happen any more; not beyond this time.
    Idle(Nanos),
}

enum Advance {
    Moved,
    Nothing,
    TooFar,
}

impl World {
    /// Adds a task of `host`. One of an earlier life of the host is dropped at once.
    pub(crate) fn spawn(
        &self,
        host: HostId,
        life: u32,
        name: &'static str,
        future: BoxFuture<'static, ()>,
    ) {
        let mut state = self.lock();
        if !state.alive(host, life) {
            drop(state);
            drop(future);
            return;
        }
        let serial = state.tasks.next;
        state.tasks.next += 1;
        let key = state.tasks.slab.insert(Task {
            host,
            life,
            name,
            serial,
            body: None,
            polled_at: 0,
            polls: 0,
        });
        let flag = Arc::new(TaskWaker {
            task: TaskId::Spawned(key),
            queued: AtomicBool::new(false),
            ready: self.ready.clone(),
        });
        let waker = Waker::from(flag.clone());
        if let Some(task) = state.tasks.slab.get_mut(key) {
            task.body = Some(Body {
                future,
                waker: waker.clone(),
                flag,
            });
        }
        state.note(host, What::TaskSpawned { serial, name });
        drop(state);
        waker.wake();
    }

    /// Runs `root` to its end.
    pub(crate) fn run_root<F: Future>(&self, root: F, limit: Nanos) -> Result<F::Output, Stuck> {
        let mut root = std::pin::pin!(root);
        let flag = Arc::new(TaskWaker {
            task: TaskId::Root,
            queued: AtomicBool::new(false),
            ready: self.ready.clone(),
        });
        let waker = Waker::from(flag.clone());
        waker.wake_by_ref();
        let mut output = None;
        let mut poll_root = || {
            flag.queued.store(false, Ordering::Relaxed);
            match root.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => output = Some(value),
                Poll::Pending => return false,
            }
            true
        };
        let ran = self.run(&mut poll_root, Until::Done(limit));
        // A waker that outlives this call must not reach the next root.
        flag.queued.store(true, Ordering::Relaxed);
        self.ready.forget_root();
        ran?;
        Ok(output.expect("run until the root was done"))
    }

    /// Runs everything until `until`. `poll_root` says whether the root future is done.
    pub(crate) fn run(
        &self,
        poll_root: &mut dyn FnMut() -> bool,
        until: Until,
    ) -> Result<(), Stuck> {
        let (Until::Done(limit) | Until::Time(limit) | Until::Idle(limit)) = until;
        let mut wakes = Vec::new();
        let mut root_polls = (0, 0);
        loop {
            while let Some(id) = self.ready.pick() {
                match id {
                    TaskId::Spawned(key) => self.poll_task(key)?,
                    TaskId::Root => {
                        if poll_root() {
                            return Ok(());
                        }
                        self.count_root(&mut root_polls)?;
                    }
                }
            }
            match (self.advance(limit, &mut wakes), until) {
                (Advance::Moved, _) => {}
                (Advance::Nothing, Until::Idle(_)) => return Ok(()),
                (Advance::Nothing | Advance::TooFar, Until::Time(at)) => {
                    self.set_now(&mut self.lock(), at);
                    return Ok(());
                }
                (Advance::Nothing, Until::Done(_)) => {
                    return Err(Stuck::Deadlock(Box::new(self.report())));
                }
                (Advance::TooFar, Until::Done(_) | Until::Idle(_)) => {
                    let patience = self.lock().config.patience;
                    let report = Box::new(self.report());
                    return Err(Stuck::Patience { patience, report });
                }
            }
        }
    }

    fn poll_task(&self, key: Key) -> Result<(), Stuck> {
        let mut state = self.lock();
        let (now, limit) = (state.now, state.config.polls_per_instant.get());
        state.tasks.polls += 1;
        state.tasks.polls_total += 1;
        let runaway = state.tasks.polls > u64::from(limit) * 50;
        let Some(task) = state.tasks.slab.get_mut(key) else {
            return Ok(());
        };
        task.polls = if task.polled_at == now {
            task.polls + 1
        } else {
            1
        };
        task.polled_at = now;
        let (host, life, name) = (task.host, task.life, task.name);
        if runaway || task.polls > limit {
            drop(state);
            return Err(self.runaway(Some((host, name))));
        }
        let Some(mut body) = task.body.take() else {
            return Ok(());
        };
        state.tasks.current = Some((host, name));
        drop(state);

        body.flag.queued.store(false, Ordering::Relaxed);
        let polled = body
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&body.waker));
        if polled.is_ready() {
            // An ended task is never woken again, whoever still holds its waker.
            body.flag.queued.store(true, Ordering::Relaxed);
        }

        let mut state = self.lock();
        state.tasks.current = None;
        if polled.is_pending() && state.alive(host, life) {
            if let Some(task) = state.tasks.slab.get_mut(key) {
                task.body = Some(body);
            }
            return Ok(());
        }
        if let Some(task) = state.tasks.slab.remove(key) {
            let (serial, name) = (task.serial, task.name);
            state.note(host, What::TaskEnded { serial, name });
        }
        drop(state);
        drop(body);
        Ok(())
    }

    fn count_root(&self, (at, polls): &mut (Nanos, u32)) -> Result<(), Stuck> {
        let mut state = self.lock();
        state.tasks.polls += 1;
        state.tasks.polls_total += 1;
        let limit = state.config.polls_per_instant.get();
        *polls = if *at == state.now { *polls + 1 } else { 1 };
        *at = state.now;
        drop(state);
        if *polls > limit {
            return Err(self.runaway(None));
        }
        Ok(())
    }

    /// Moves time to the next event and lets everything of that instant happen.
    fn advance(&self, limit: Nanos, wakes: &mut Vec<Waker>) -> Advance {
        let mut state = self.lock();
        match state.queue.next_at() {
            None => return Advance::Nothing,
            Some(at) if at > limit => return Advance::TooFar,
            Some(at) if at > state.now => {
                self.set_now(&mut state, at);
                state.tasks.polls = 0;
            }
            Some(_) => {}
        }
        let now = state.now;
        while let Some(event) = state.queue.pop_due(now) {
            state.happen(event);
        }
        std::mem::swap(&mut state.wakes, wakes);
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        for waker in wakes.drain(..) {
            waker.wake();
        }
        drop(retired);
        Advance::Moved
    }

    /// Takes the tasks of `host` out, or all; the caller drops them.
    pub(crate) fn take_tasks(&self, host: Option<HostId>) -> Vec<Body> {
        let mut state = self.lock();
        let keys = state
            .tasks
            .slab
            .keys_where(|task| host.is_none_or(|host| task.host == host));
        let mut taken = Vec::new();
        for key in keys {
            if let Some(task) = state.tasks.slab.remove(key) {
                let (serial, name) = (task.serial, task.name);
                state.note(task.host, What::TaskEnded { serial, name });
                taken.extend(task.body);
            }
        }
        taken
    }

    fn runaway(&self, task: Option<(HostId, &'static str)>) -> Stuck {
        let state = self.lock();
        let task = match task {
            Some((host, name)) => format!("task {name} of host {}", state.host(host).name),
            None => "the future given to block_on".to_owned(),
        };
        drop(state);
        let report = Box::new(self.report());
        Stuck::Runaway { task, report }
    }

    fn report(&self) -> Report {
        let state = self.lock();
        let mut tasks = BTreeMap::new();
        for (host, name) in state.tasks.names() {
            *tasks
                .entry((state.host(host).name.to_string(), name))
                .or_default() += 1;
        }
        Report {
            seed: self.seed,
            at: Instant::from_nanos(state.now),
            tasks,
        }
    }
}

impl State {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Timer { key, at } => self.timer_fire(key, at),
            Event::Net(event) => self.net_event(event),
        }
    }
}
