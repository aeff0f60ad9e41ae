//! Multiplexers alone: two sessions over a pipe in memory, everything on this thread.
//!
//! Ours beside the `yamux` crate of rust-libp2p, moved by the same tasks over the same pipe. What
//! counts is the CPU time of the thread, so that a busy machine disturbs little.

use std::fs;

use futures::executor::LocalPool;
use futures::future::{join_all, poll_fn};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use p2p_core::{Budget, Multiplex, Role, Rt};

/// Bytes under way in the pipe at most.
const PIPE: usize = 1 << 20;

/// What is sent over each stream, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Streams at a time.
    pub(crate) streams: usize,
    /// Bytes of a write.
    pub(crate) write: usize,
    /// Writes of a stream.
    pub(crate) writes: usize,
    /// Whether each write is flushed, as a message is.
    pub(crate) flush: bool,
}

/// CPU seconds of this thread; zero where the system does not tell.
pub(crate) fn thread_cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: u64 = text
        .split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let seconds = nanos as f64 / 1e9;
    seconds
}

/// CPU seconds that our `muxer` takes for `load`, both ends.
pub(crate) fn ours(muxer: &dyn Multiplex, rt: &Rt, load: Load) -> f64 {
    let (near, far) = p2p_memory::pipe(PIPE);
    let budget = Budget::unlimited();
    let client = muxer.start(Box::new(near), Role::Dialer, rt, &budget);
    let server = muxer.start(Box::new(far), Role::Listener, rt, &budget);
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let spawn = |task: futures::future::LocalBoxFuture<'static, ()>| {
        spawner.spawn_local(task).expect("the pool runs");
    };
    let (client_driver, server_driver) = (client.driver, server.driver);
    spawn(Box::pin(async move { drop(client_driver.await) }));
    spawn(Box::pin(async move { drop(server_driver.await) }));
    let tasks = spawner.clone();
    spawn(Box::pin(async move {
        while let Ok(stream) = server.muxer.accept().await {
            let spawned = tasks.spawn_local(async move { receive(stream).await });
            spawned.expect("the pool runs");
        }
    }));
    let before = thread_cpu();
    pool.run_until(async {
        let streams = (0..load.streams).map(|_| async {
            let stream = client.muxer.open().await.expect("a stream opens");
            send(stream, load).await;
        });
        join_all(streams).await;
    });
    thread_cpu() - before
}

/// CPU seconds that the pipe takes for the bytes of `load` without any muxer: nobody is faster.
pub(crate) fn pipe_alone(load: Load) -> f64 {
    let (near, far) = p2p_memory::pipe(PIPE);
    let mut pool = LocalPool::new();
    let spawned = pool.spawner().spawn_local(receive(far));
    spawned.expect("the pool runs");
    let before = thread_cpu();
    let load = Load {
        writes: load.writes * load.streams,
        ..load
    };
    pool.run_until(send(near, load));
    thread_cpu() - before
}

/// CPU seconds that the `yamux` crate takes for `load`, both ends.
pub(crate) fn yamux_crate(load: Load) -> f64 {
    let (near, far) = p2p_memory::pipe(PIPE);
    let client = yamux::Connection::new(near, yamux::Config::default(), yamux::Mode::Client);
    let server = yamux::Connection::new(far, yamux::Config::default(), yamux::Mode::Server);
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let tasks = spawner.clone();
    let serve = async move {
        let mut server = server;
        while let Some(Ok(stream)) = poll_fn(|cx| server.poll_next_inbound(cx)).await {
            let spawned = tasks.spawn_local(async move { receive(stream).await });
            spawned.expect("the pool runs");
        }
    };
    spawner.spawn_local(serve).expect("the pool runs");
    let before = thread_cpu();
    let mut client = client;
    let streams: Vec<_> = pool.run_until(async {
        let mut streams = Vec::new();
        while streams.len() < load.streams {
            let stream = poll_fn(|cx| client.poll_new_outbound(cx)).await;
            streams.push(stream.expect("a stream opens"));
        }
        streams
    });
    let drive =
        async move { while let Some(Ok(_)) = poll_fn(|cx| client.poll_next_inbound(cx)).await {} };
    spawner.spawn_local(drive).expect("the pool runs");
    pool.run_until(join_all(
        streams.into_iter().map(|stream| send(stream, load)),
    ));
    thread_cpu() - before
}

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    stream.close().await.expect("the stream closes");
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, load: Load) {
    let block = vec![7; load.write];
    for _ in 0..load.writes {
        stream.write_all(&block).await.expect("the stream writes");
        if load.flush {
            stream.flush().await.expect("the stream flushes");
        }
    }
    stream.close().await.expect("the stream closes");
    // The other end closes when it has read everything.
    let read = stream.read(&mut [0]).await;
    assert!(matches!(read, Ok(0)), "not the end: {read:?}");
}
