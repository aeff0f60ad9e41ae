//! Two sessions on one thread, and the time between them.
#![expect(
    clippy::indexing_slicing,
    reason = "a rule that is broken is a failed test"
)]

use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::executor::{LocalPool, LocalSpawner};
use futures::future::{AbortHandle, BoxFuture, Shared, abortable};
use futures::io::AsyncWriteExt;
use futures::task::LocalSpawnExt;
use futures::{AsyncReadExt, FutureExt};
use p2p_core::{BoxStream, Budget, ConnectionEnd, Multiplex, Muxer, Role, Rt, Runtime};

use super::{Clock, Cutter, pipe};

/// What the link holds each way, in bytes.
const LINK: usize = 256 * 1024;
/// How long a rule may take on its own clock.
const PATIENCE: Duration = Duration::from_secs(600);

/// A single thread with tasks and a clock.
#[derive(Debug)]
pub struct World {
    pool: LocalPool,
    clock: Clock,
}

/// Two sessions over one link.
pub struct Pair {
    /// The side with the role of the dialer.
    pub dialer: Side,
    /// The other one.
    pub listener: Side,
    /// Cuts the link.
    pub link: Cutter,
    /// Runs tasks beside the rule.
    pub tasks: Tasks,
    /// Both sessions' clock.
    pub clock: Clock,
}

/// One end of a connection.
#[derive(Clone)]
pub struct Side {
    /// Opens and accepts.
    pub muxer: Arc<dyn Muxer>,
    /// What this side's session holds.
    pub budget: Budget,
    /// How the connection ended.
    pub end: Shared<BoxFuture<'static, ConnectionEnd>>,
    /// Drops the driver.
    pub driver: AbortHandle,
}

/// Starts tasks beside the rule; each has its turn before the rule has its next one.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    new: Vec<BoxFuture<'static, ()>>,
    starter: Option<Waker>,
}

impl Tasks {
    /// Runs `task` beside the caller; the returned future waits for its result.
    pub fn spawn<T: Send + Sync + Clone + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Shared<BoxFuture<'static, T>> {
        let task = task.boxed().shared();
        let run = task.clone().map(|_| ()).boxed();
        self.run(run);
        task
    }

    /// Runs `task` beside the caller.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut queue = self.lock();
        queue.new.push(task.boxed());
        let starter = queue.starter.take();
        drop(queue);
        starter.into_iter().for_each(Waker::wake);
    }

    /// Starts what is there now and whatever comes.
    fn poll_start(&self, spawner: &LocalSpawner, cx: &Context<'_>) {
        let mut queue = self.lock();
        queue.starter = Some(cx.waker().clone());
        for task in queue.new.drain(..) {
            spawner.spawn_local(task).expect("the pool lives");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().expect("no task panicked")
    }
}

impl World {
    /// Runs `rule` on a pair of sessions of `multiplex`.
    ///
    /// # Panics
    /// If the rule does, or if it waits for ever.
    pub fn check<F: Future<Output = ()> + Send + 'static>(
        multiplex: &Arc<dyn Multiplex>,
        rule: impl FnOnce(Pair) -> F,
    ) {
        let mut world = Self {
            pool: LocalPool::new(),
            clock: Clock::default(),
        };
        let (dialer_io, listener_io) = pipe(LINK);
        let link = dialer_io.cutter();
        let tasks = Tasks::default();
        let pair = Pair {
            dialer: world.side(multiplex, dialer_io, Role::Dialer, &tasks),
            listener: world.side(multiplex, listener_io, Role::Listener, &tasks),
            link,
            tasks: tasks.clone(),
            clock: world.clock.clone(),
        };
        world.run(&tasks, rule(pair));
    }

    fn side(
        &self,
        multiplex: &Arc<dyn Multiplex>,
        io: super::End,
        role: Role,
        tasks: &Tasks,
    ) -> Side {
        let budget = Budget::new("memory of the connection", "conformance", 64 << 20);
        let rt: Rt = Arc::new(self.clock.clone());
        let muxing = multiplex.start(Box::new(io), role, &rt, &budget);
        let (driver, handle) = abortable(muxing.driver);
        let end = driver.map(|end| end.unwrap_or(ConnectionEnd::Dropped));
        Side {
            muxer: muxing.muxer,
            budget,
            end: tasks.spawn(end),
            driver: handle,
        }
    }

    fn run(&mut self, tasks: &Tasks, rule: impl Future<Output = ()> + Send + 'static) {
        let done = tasks.spawn(rule);
        let end = self.clock.now() + PATIENCE;
        let (spawner, tasks) = (self.pool.spawner(), tasks.clone());
        let starts = poll_fn({
            let spawner = spawner.clone();
            move |cx| {
                tasks.poll_start(&spawner, cx);
                Poll::Pending
            }
        });
        spawner.spawn_local(starts).expect("the pool lives");
        loop {
            self.pool.run_until_stalled();
            if done.peek().is_some() {
                return;
            }
            let waits = self.clock.advance_to_next(end);
            assert!(waits, "everybody waits and nothing will happen any more");
        }
    }
}

impl Pair {
    /// Waits on the pair's clock.
    ///
    /// Cancel-safe.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.timer(self.clock.now() + duration).await;
    }

    /// A stream from dialer to listener, known to both, after a byte was exchanged each way.
    ///
    /// Not cancel-safe: the stream is reset.
    ///
    /// # Panics
    /// If any of that fails.
    pub async fn stream(&self) -> (BoxStream, BoxStream) {
        let mut ours = self.dialer.muxer.open().await.expect("opens");
        ours.write_all(&[1]).await.expect("writes");
        let mut theirs = self.listener.muxer.accept().await.expect("accepts");
        let mut byte = [0];
        theirs.read_exact(&mut byte).await.expect("reads");
        theirs.write_all(&[2]).await.expect("writes");
        ours.read_exact(&mut byte).await.expect("reads");
        assert_eq!(byte, [2]);
        (ours, theirs)
    }
}

/// `len` bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Reads to the end and compares on the way.
pub(super) async fn expect(
    reader: &mut (impl futures::AsyncRead + Unpin),
    expected: &[u8],
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        assert!(at + count <= expected.len(), "more bytes than were written");
        assert!(
            buffer[..count] == expected[at..at + count],
            "other bytes than were written"
        );
        at += count;
    }
    assert_eq!(
        at,
        expected.len(),
        "clean end before everything was delivered"
    );
    Ok(())
}
