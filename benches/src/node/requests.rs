//! The jobs about little messages: `conn`, `rpc`, `pingpong`, `first-byte`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use serde_json::{Value, json};

use super::args::{Dial, Ready};
use super::measure::{Meter, Reading, now, percentiles, round};
use super::serve::ECHO;
use super::{Node, Result};

/// Tasks take their work from here until it is used up.
#[derive(Clone)]
struct Work(Arc<AtomicUsize>);

impl Work {
    fn new(count: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(count)))
    }

    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

/// Runs `workers` tasks of their own, and gathers what they have measured.
async fn in_tasks<N: Node, F>(
    node: &N,
    workers: usize,
    make: impl Fn(usize) -> F,
) -> Result<Vec<Duration>>
where
    F: Future<Output = Result<Vec<Duration>>> + Send + 'static,
{
    let mut receivers = Vec::new();
    for index in 0..workers {
        let (sender, receiver) = futures::channel::oneshot::channel();
        let work = make(index);
        node.spawn(async move {
            // Nobody waits any more if another task has failed.
            let _ = sender.send(work.await);
        });
        receivers.push(receiver);
    }
    let mut samples = Vec::new();
    for receiver in receivers {
        samples.extend(receiver.await??);
    }
    Ok(samples)
}

/// The job `conn`.
///
/// # Errors
/// If a connection or a stream fails.
pub(crate) async fn conn<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let (count, concurrency) = (dial.n.unwrap_or(1000), dial.concurrency.unwrap_or(1));
    let nodes = if N::CONNECTS_TWICE {
        vec![node.clone(); concurrency]
    } else {
        let others = (0..concurrency).map(|_| N::start(&dial.options));
        try_join_all(others).await?
    };
    // The first connection pays for what is made once.
    for node in &nodes {
        once(node, &dial.options.addr, dial.ready).await?;
    }
    let work = Work::new(count);
    let meter = Meter::start(dial.listener_pid);
    let mut samples = in_tasks(node, concurrency, |index| {
        let node = nodes.get(index).unwrap_or(node).clone();
        let (work, addr, ready) = (work.clone(), dial.options.addr.clone(), dial.ready);
        async move {
            let mut samples = Vec::new();
            while work.take() {
                samples.push(once(&node, &addr, ready).await?);
            }
            Ok(samples)
        }
    })
    .await?;
    Ok(report(
        meter.read(),
        &mut samples,
        "conn_s",
        "cpu_us_per_conn",
    ))
}

/// Connects, waits until ready, and hangs up; returns how long it took to be ready.
async fn once<N: Node>(node: &N, addr: &str, ready: Ready) -> Result<Duration> {
    let started = now();
    let connection = node.connect(addr).await?;
    if ready == Ready::FirstByte {
        first_byte(node, &connection).await?;
    }
    let took = started.elapsed();
    node.disconnect(connection).await;
    Ok(took)
}

async fn first_byte<N: Node>(node: &N, connection: &N::Connection) -> Result<()> {
    let mut stream = node.open(connection, ECHO).await?;
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0]).await?;
    stream.close().await?;
    Ok(())
}

/// The job `rpc`.
///
/// # Errors
/// If the connection or a stream fails.
pub(crate) async fn rpc<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let (count, size) = (dial.n.unwrap_or(20_000), dial.size.unwrap_or(100));
    let connection = node.connect(&dial.options.addr).await?;
    requests(node, &connection, count / 20 + 1, dial.inflight, size).await?;
    let meter = Meter::start(dial.listener_pid);
    let mut samples = requests(node, &connection, count, dial.inflight, size).await?;
    let reading = meter.read();
    node.disconnect(connection).await;
    Ok(report(reading, &mut samples, "req_s", "cpu_us_per_req"))
}

async fn requests<N: Node>(
    node: &N,
    connection: &N::Connection,
    count: usize,
    inflight: usize,
    size: usize,
) -> Result<Vec<Duration>> {
    let work = Work::new(count);
    in_tasks(node, inflight, |_| {
        let (node, connection, work) = (node.clone(), connection.clone(), work.clone());
        async move {
            let question = vec![7; size];
            let mut answer = vec![0; size + 1];
            let mut samples = Vec::new();
            while work.take() {
                let started = now();
                let mut stream = node.open(&connection, ECHO).await?;
                stream.write_all(&question).await?;
                stream.close().await?;
                let mut got = 0;
                loop {
                    let room = answer.get_mut(got..).unwrap_or_default();
                    match stream.read(room).await? {
                        0 => break,
                        count => got += count,
                    }
                }
                if got != size {
                    return Err(format!("asked {size} bytes, got {got} back").into());
                }
                samples.push(started.elapsed());
            }
            Ok(samples)
        }
    })
    .await
}

/// The job `pingpong`.
///
/// # Errors
/// If the connection or the stream fails.
pub(crate) async fn pingpong<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let (count, size) = (dial.n.unwrap_or(20_000), dial.size.unwrap_or(32));
    let connection = node.connect(&dial.options.addr).await?;
    let stream = node.open(&connection, ECHO).await?;
    let stream = rounds(stream, count / 20 + 1, size).await?.0;
    let meter = Meter::start(dial.listener_pid);
    let (stream, mut samples) = rounds(stream, count, size).await?;
    let reading = meter.read();
    drop(stream);
    node.disconnect(connection).await;
    Ok(report(reading, &mut samples, "req_s", "cpu_us_per_req"))
}

async fn rounds<S>(mut stream: S, count: usize, size: usize) -> Result<(S, Vec<Duration>)>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    let question = vec![7; size];
    let mut answer = vec![0; size];
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let started = now();
        stream.write_all(&question).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        samples.push(started.elapsed());
    }
    Ok((stream, samples))
}

/// The job `first-byte`.
///
/// # Errors
/// If a connection or a stream fails.
pub(crate) async fn first_byte_job<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let mut steps: [Vec<Duration>; 3] = Default::default();
    for _ in 0..dial.n.unwrap_or(5) {
        let started = now();
        let connection = node.connect(&dial.options.addr).await?;
        let established = started.elapsed();
        first_byte(node, &connection).await?;
        let first = started.elapsed();
        let started = now();
        first_byte(node, &connection).await?;
        let took = [established, first, started.elapsed()];
        for (step, took) in steps.iter_mut().zip(took) {
            step.push(took);
        }
        node.disconnect(connection).await;
    }
    let [established, first_byte, second_stream] = steps.map(|mut samples| {
        samples.sort_unstable();
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        let ms = median.as_secs_f64() * 1000.0;
        json!({ "ms": round(ms), "rtts": round(ms / dial.rtt_ms) })
    });
    Ok(json!({
        "established": established, "first_byte": first_byte, "second_stream": second_stream,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn report(reading: Reading, samples: &mut [Duration], rate: &str, cpu: &str) -> Value {
    let count = samples.len() as f64;
    json!({
        rate: round(count / reading.wall),
        cpu: round(reading.cpu() * 1e6 / count),
        "latency": percentiles(samples),
    })
}

/// Connects `count` times, `concurrency` at a time, each from a node of its own.
///
/// # Errors
/// If a connection fails.
pub(crate) async fn connect_many<N: Node>(
    dial: &Dial,
    count: usize,
    concurrency: usize,
) -> Result<Vec<(N, N::Connection)>> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let more = concurrency.min(count - held.len());
        let dials = (0..more).map(|_| async {
            let node = N::start(&dial.options).await?;
            let connection = node.connect(&dial.options.addr).await?;
            Ok((node, connection))
        });
        for dialed in join_all(dials).await {
            let dialed: Result<_> = dialed;
            held.push(dialed?);
        }
    }
    Ok(held)
}
