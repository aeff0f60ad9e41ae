//! Checks messages away from the router: signatures, then the application's validators.
//!
//! ```text
//!   reader: messages of one RPC ──> Batch ──> the reader itself, and idle workers of the pool
//!                                      └────> verdicts, in the order of the messages
//! ```
//!
//! A reader reads on when its batch is done: a peer that sends much waits for itself. What a
//! validator judges later does not hold it up; the validator's concurrency bounds that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures::future::poll_fn;
use futures::task::AtomicWaker;
use p2p_core::Permit;

use crate::router::{Ticket, Verdict};
use crate::state::Shared;
use crate::validator::{Candidate, Kind, Opinion, Validator};

/// A message to check.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) candidate: Candidate,
    pub(crate) validator: Option<Validator>,
}

/// What the quick part of a check said.
#[derive(Debug)]
enum Checked {
    Done(Verdict),
    /// A validator goes on; the permit is its place.
    Judging(Permit),
}

impl From<Opinion> for Verdict {
    fn from(opinion: Opinion) -> Self {
        match opinion {
            Opinion::Accept => Self::Accept,
            Opinion::Ignore => Self::Ignore,
            Opinion::Reject => Self::Reject,
        }
    }
}

/// Checks `jobs` and tells the router.
///
/// Dropping the future answers what is left with [`Verdict::Throttled`].
pub(crate) async fn check(shared: &Arc<Shared>, jobs: Vec<Job>) {
    let mut unanswered = Unanswered::new(shared, &jobs);
    let jobs = Arc::new(jobs);
    let checked = match jobs.as_slice() {
        [] => return,
        [job] => vec![check_one(shared, job)],
        _several => check_batch(shared, &jobs).await,
    };
    unanswered.tickets.clear();
    let mut judging = Vec::new();
    shared.step(|state, now| {
        for (job, checked) in jobs.iter().zip(checked) {
            match checked {
                Checked::Done(verdict) => state.router.handle_verdict(job.ticket, verdict, now),
                Checked::Judging(place) => {
                    state.router.handle_judging(job.ticket);
                    judging.push((job, place));
                }
            }
        }
    });
    for (job, place) in judging {
        judge_later(shared, job.clone(), place);
    }
}

fn check_one(shared: &Shared, job: &Job) -> Checked {
    let candidate = &job.candidate;
    if let Err(error) = shared.config.policy.verify(&candidate.message) {
        return Checked::Done(Verdict::BadSignature(error));
    }
    match job.validator.as_ref().map(|validator| &validator.kind) {
        None => Checked::Done(Verdict::Accept),
        Some(Kind::Now(judge)) => Checked::Done(judge(candidate).into()),
        Some(Kind::Later { slots, .. }) => match slots.reserve(1) {
            Ok(place) => Checked::Judging(place),
            Err(_full) => Checked::Done(Verdict::Throttled),
        },
    }
}

/// Lets a validator take its time, in a task of its own.
fn judge_later(shared: &Arc<Shared>, job: Job, place: Permit) {
    let mut unanswered = Unanswered::new(shared, std::slice::from_ref(&job));
    let Some(Kind::Later { start, .. }) = job.validator.map(|validator| validator.kind) else {
        return;
    };
    let Some(swarm) = shared.swarm.upgrade() else {
        return;
    };
    let (ticket, opinion) = (job.ticket, start(job.candidate));
    let timeout = shared.config.validation_timeout;
    swarm.spawn("pubsub validator", async move {
        let shared = Arc::clone(&unanswered.shared);
        let verdict = match shared.rt.timeout(timeout, opinion).await {
            Ok(opinion) => opinion.into(),
            Err(_late) => Verdict::Throttled,
        };
        drop(place);
        unanswered.tickets.clear();
        shared.step(|state, now| state.router.handle_verdict(ticket, verdict, now));
    });
}

/// Tickets that need an answer even if their check is dropped.
struct Unanswered {
    shared: Arc<Shared>,
    tickets: Vec<Ticket>,
}

impl Unanswered {
    fn new(shared: &Arc<Shared>, jobs: &[Job]) -> Self {
        Self {
            shared: Arc::clone(shared),
            tickets: jobs.iter().map(|job| job.ticket).collect(),
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.tickets.is_empty() {
            return;
        }
        self.shared.step(|state, now| {
            for ticket in self.tickets.drain(..) {
                state.router.handle_verdict(ticket, Verdict::Throttled, now);
            }
        });
    }
}

async fn check_batch(shared: &Shared, jobs: &Arc<Vec<Job>>) -> Vec<Checked> {
    let batch = Arc::new(Batch {
        jobs: Arc::clone(jobs),
        next: AtomicUsize::new(0),
        done: Mutex::new(Done {
            checked: jobs.iter().map(|_| None).collect(),
            left: jobs.len(),
        }),
        finished: AtomicWaker::new(),
    });
    shared.pool.offer(&batch);
    batch.work(shared).await;
    poll_fn(|cx| {
        batch.finished.register(cx.waker());
        let mut done = batch.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.left > 0 {
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut done.checked))
    })
    .await
    .into_iter()
    .map(|checked| checked.unwrap_or(Checked::Done(Verdict::Throttled)))
    .collect()
}

/// The messages of one RPC. Whoever takes a number checks that message.
struct Batch {
    jobs: Arc<Vec<Job>>,
    next: AtomicUsize,
    done: Mutex<Done>,
    finished: AtomicWaker,
}

struct Done {
    checked: Vec<Option<Checked>>,
    left: usize,
}

impl Batch {
    /// Takes jobs until none is left to take, and lets others run now and then.
    async fn work(&self, shared: &Shared) {
        for turn in 1u32.. {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(index) else {
                return;
            };
            let checked = check_one(shared, job);
            let last = {
                let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = done.checked.get_mut(index) {
                    *place = Some(checked);
                }
                done.left = done.left.saturating_sub(1);
                done.left == 0
            };
            if last {
                self.finished.wake();
            }
            if turn.is_multiple_of(TURNS) {
                yield_now().await;
            }
        }
    }
}

/// Batches that idle workers help with. Bounded by the number of readers, each of which has one.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    batches: VecDeque<Arc<Batch>>,
    idle: Vec<Waker>,
}

impl Pool {
    fn offer(&self, batch: &Arc<Batch>) {
        let woken = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.idle.is_empty() {
                return;
            }
            // The reader takes a part itself.
            let helpers = (batch.jobs.len() - 1).min(state.idle.len());
            let at = state.idle.len() - helpers;
            let woken = state.idle.split_off(at);
            state
                .batches
                .extend(woken.iter().map(|_| Arc::clone(batch)));
            woken
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// One worker: helps with one batch after the other until the swarm ends.
    pub(crate) async fn work(shared: Arc<Shared>) {
        loop {
            let batch = poll_fn(|cx| {
                let pool = &shared.pool;
                let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
                match state.batches.pop_front() {
                    Some(batch) => Poll::Ready(batch),
                    None => {
                        if !state.idle.iter().any(|idle| idle.will_wake(cx.waker())) {
                            state.idle.push(cx.waker().clone());
                        }
                        Poll::Pending
                    }
                }
            })
            .await;
            batch.work(&shared).await;
        }
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Checks in a row, of some tens of microseconds each, before others may run.
const TURNS: u32 = 4;
