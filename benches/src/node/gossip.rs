//! The jobs about publish and subscribe: `gossip-chain`, `gossip-mesh`, each in one process.
//!
//! ```text
//!   gossip-chain:  publisher ──> forwarder ──> receiver        a thread each; what counts is the
//!                                                              CPU time of the forwarder's thread
//!   gossip-mesh:   50 nodes, each connected to about ten       what counts is that of the process
//! ```
//!
//! Both run at full rate: so many messages are on their way at a time, and each that has arrived
//! everywhere makes room for the next.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use futures::channel::oneshot;
use futures::future::{Either, poll_fn, select};
use futures::task::AtomicWaker;
use serde_json::{Value, json};

use super::Result;
use super::args::Gossip as Args;
use super::measure::{Meter, now, round};

/// What is called with each message that arrives.
pub(crate) type OnMessage = Arc<dyn Fn() + Send + Sync>;

/// A node in the one topic of the job.
pub(crate) trait Gossip: Clone + Send + Sync + 'static {
    /// A node with an identity of its own, in the topic.
    ///
    /// # Errors
    /// If the stack does not have what `args` ask for.
    fn join(args: &Args, on_message: OnMessage) -> impl Future<Output = Result<Self>> + Send;

    /// Listens, and returns where.
    ///
    /// # Errors
    /// If it cannot listen there.
    fn listen(&self, addr: &str) -> impl Future<Output = Result<String>> + Send;

    /// Connects to another node.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn connect(&self, addr: &str) -> impl Future<Output = Result<()>> + Send;

    /// Publishes a message, sooner or later.
    ///
    /// # Errors
    /// If it never will.
    fn publish(&self, data: Vec<u8>) -> impl Future<Output = Result<()>> + Send;

    /// Waits for some seconds.
    fn sleep(seconds: f64) -> impl Future<Output = ()> + Send;

    /// Runs `work` to its end on a runtime of its own with so many threads; with one it is the
    /// caller's.
    ///
    /// # Errors
    /// What the work ends with.
    fn run<T: Send + 'static>(
        args: &Args,
        threads: usize,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T>;
}

/// Messages that have arrived, over all nodes.
#[derive(Default)]
struct Arrived {
    count: AtomicU64,
    waiting: AtomicWaker,
}

impl Arrived {
    fn on_message(self: &Arc<Self>) -> OnMessage {
        let arrived = Arc::clone(self);
        Arc::new(move || {
            arrived.count.fetch_add(1, Ordering::Relaxed);
            arrived.waiting.wake();
        })
    }

    fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until `count` messages have arrived; false if nothing has for five seconds.
    async fn at_least<G: Gossip>(&self, count: u64) -> bool {
        loop {
            let before = self.get();
            let enough = poll_fn(|cx| {
                self.waiting.register(cx.waker());
                match self.get() >= count {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            let patience = std::pin::pin!(G::sleep(5.0));
            match select(enough, patience).await {
                Either::Left(_) => return true,
                Either::Right(_) if self.get() == before => return false,
                Either::Right(_) => {}
            }
        }
    }
}

/// Publishes `count` messages, each from a node that `next` chooses, and waits for all of them.
/// Returns how many arrived.
async fn full_rate<'a, G: Gossip>(
    args: &Args,
    arrived: &Arrived,
    count: u64,
    copies: u64,
    mut next: impl FnMut(u64) -> &'a G,
) -> Result<u64> {
    let start = arrived.get();
    for number in 0..count {
        let most = number.saturating_sub(args.window) * copies;
        if arrived.get() - start < most && !arrived.at_least::<G>(start + most).await {
            return Err(format!("lost on the way: {} of {most}", arrived.get() - start).into());
        }
        let mut data = vec![7; args.size.max(8)];
        if let Some(head) = data.first_chunk_mut::<8>() {
            // Also the id of messages without an author.
            *head = (start + number * copies).to_be_bytes();
        }
        next(number).publish(data).await?;
    }
    arrived.at_least::<G>(start + count * copies).await;
    Ok(arrived.get() - start)
}

/// The job `gossip-chain`.
///
/// # Errors
/// If a node fails.
pub(crate) fn chain<G: Gossip>(args: &Args) -> Result<Value> {
    let arrived = Arc::new(Arrived::default());
    let (say_addr, addr) = mpsc::channel();
    let (mut threads, mut stops) = (Vec::new(), Vec::new());
    for on_message in [Arc::new(|| {}) as OnMessage, arrived.on_message()] {
        let (stop, stopped) = oneshot::channel::<()>();
        let (say_tid, tid) = mpsc::channel();
        let forwarder = match stops.is_empty() {
            true => None,
            false => Some(addr.recv()?),
        };
        let (args, say_addr) = (args.clone(), say_addr.clone());
        let name = match stops.is_empty() {
            true => "forwarder",
            false => "receiver",
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || -> Result<()> {
            say_tid.send(this_thread())?;
            G::run(&args.clone(), 1, async move {
                let node = G::join(&args, on_message).await?;
                match &forwarder {
                    None => {
                        let addr = node.listen("/ip4/127.0.0.1/tcp/0").await?;
                        // Once for the receiver, once for the publisher.
                        say_addr.send(addr.clone())?;
                        say_addr.send(addr)?;
                    }
                    Some(addr) => node.connect(addr).await?,
                }
                // The other end goes away: the same.
                let _ = stopped.await;
                Ok(())
            })
        })?;
        stops.push(stop);
        threads.push((thread, tid.recv()?));
    }
    let (addr, tids) = (
        addr.recv()?,
        threads
            .iter()
            .map(|(_, tid)| tid.clone())
            .collect::<Vec<_>>(),
    );
    let work = args.clone();
    let result = G::run(args, 1, async move {
        let node = G::join(&work, Arc::new(|| {})).await?;
        node.connect(&addr).await?;
        G::sleep(SETTLE).await;
        // What is made once, and what grows to its size.
        full_rate(&work, &arrived, work.n / 10, 1, |_| &node).await?;
        let tids = [vec![this_thread()], tids].concat();
        let cpu = || tids.iter().map(|tid| thread_cpu(tid)).collect::<Vec<_>>();
        let (before, started) = (cpu(), now());
        let received = full_rate(&work, &arrived, work.n, 1, |_| &node).await?;
        let (wall, after) = (started.elapsed().as_secs_f64(), cpu());
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let count = received as f64;
        let each = |at: usize| {
            let times = after.get(at).zip(before.get(at));
            times.map_or(0.0, |(after, before)| (after - before) * 1e6 / count)
        };
        Ok(json!({
            "received": received,
            "sent": work.n,
            "msg_s": round(count / wall),
            "publisher_cpu_us": round(each(0)),
            "forwarder_cpu_us": round(each(1)),
            "receiver_cpu_us": round(each(2)),
            "msg_per_forwarder_cpu_s": round(1e6 / each(1)),
        }))
    });
    drop(stops);
    for (thread, _) in threads {
        thread.join().map_err(|_| "a node panicked")??;
    }
    result
}

/// The job `gossip-mesh`.
///
/// # Errors
/// If a node fails.
pub(crate) fn mesh<G: Gossip>(args: &Args) -> Result<Value> {
    let work = args.clone();
    G::run(args, args.threads, async move {
        let arrived = Arc::new(Arrived::default());
        let (mut nodes, mut addrs) = (Vec::new(), Vec::new());
        for _ in 0..work.nodes.max(2) {
            let node = G::join(&work, arrived.on_message()).await?;
            addrs.push(node.listen("/ip4/127.0.0.1/tcp/0").await?);
            nodes.push(node);
        }
        let mut dice = Dice(1);
        for (from, to) in links(nodes.len(), work.degree, &mut dice) {
            if let (Some(from), Some(to)) = (nodes.get(from), addrs.get(to)) {
                from.connect(to).await?;
            }
        }
        G::sleep(SETTLE).await;
        let copies = nodes.len() as u64 - 1;
        let first = nodes.first().ok_or("no nodes")?;
        let mut any = |_| {
            let at = dice.below(nodes.len());
            nodes.get(at).unwrap_or(first)
        };
        // Every node has been an author a few times.
        full_rate(&work, &arrived, work.n / 10, copies, &mut any).await?;
        let meter = Meter::start(None);
        let received = full_rate(&work, &arrived, work.n, copies, &mut any).await?;
        let used = meter.read();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (count, sent) = (received as f64, (work.n * copies) as f64);
        Ok(json!({
            "delivered": round(count / sent),
            "deliveries_s": round(count / used.wall),
            "cores": round(used.cpu() / used.wall),
            "cpu_us_per_delivery": round(used.cpu() * 1e6 / count),
            "deliveries_per_cpu_s": round(count / used.cpu()),
        }))
    })
}

/// A ring, so that all are connected, and chords up to the mean degree; the same in every run.
fn links(nodes: usize, degree: usize, dice: &mut Dice) -> BTreeSet<(usize, usize)> {
    let ring = (0..nodes).map(|at| (at, (at + 1) % nodes));
    let mut links: BTreeSet<_> = ring.collect();
    let most = nodes * (nodes - 1) / 2;
    while links.len() < (nodes * degree / 2).min(most) {
        let (a, b) = (dice.below(nodes), dice.below(nodes));
        if a != b && !links.contains(&(b, a)) {
            links.insert((a, b));
        }
    }
    links
}

/// Choices that are the same in every run and for every stack.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }
}

/// The directory of the calling thread below `/proc`; empty where there is none.
fn this_thread() -> String {
    let link = fs::read_link("/proc/thread-self").unwrap_or_default();
    format!("/proc/{}", link.display())
}

/// CPU seconds that a thread has used; zero where the system does not tell.
fn thread_cpu(thread: &str) -> f64 {
    let text = fs::read_to_string(format!("{thread}/schedstat")).unwrap_or_default();
    let nanos = text.split_whitespace().next();
    nanos
        .and_then(|nanos| nanos.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

/// Seconds until meshes stand.
const SETTLE: f64 = 5.0;
