//! Work to measure a multiplexer by: one thread, a link in memory, no clock.

use std::sync::Arc;

use futures::executor::LocalPool;
use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use p2p_core::{BoxStream, Budget, Multiplex, Muxer, Role, Rt};

use super::{Clock, pipe};

/// What the link holds each way, in bytes.
const LINK: usize = 1024 * 1024;

/// Two started sessions whose drivers run in `pool`.
///
/// # Panics
/// If the pool is gone.
pub fn sessions(pool: &LocalPool, multiplex: &dyn Multiplex) -> [Arc<dyn Muxer>; 2] {
    let rt: Rt = Arc::new(Clock::default());
    let (dialer, listener) = pipe(LINK);
    [(dialer, Role::Dialer), (listener, Role::Listener)].map(|(io, role)| {
        let muxing = multiplex.start(Box::new(io), role, &rt, &Budget::unlimited());
        let driver = async { drop(muxing.driver.await) };
        pool.spawner().spawn_local(driver).expect("the pool lives");
        muxing.muxer
    })
}

/// Moves `total` bytes from dialer to listener over `streams` streams in writes of `size` bytes.
///
/// # Panics
/// If the multiplexer fails.
pub fn bulk(multiplex: &dyn Multiplex, streams: usize, size: usize, total: usize) {
    let mut pool = LocalPool::new();
    let [dialer, listener] = sessions(&pool, multiplex);
    let writes = total / size / streams;
    let send = join_all((0..streams).map(|_| send(dialer.open(), size, writes)));
    let receive = join_all((0..streams).map(|_| receive(listener.accept())));
    let (_, received) = pool.run_until(join(send, receive));
    assert_eq!(received.iter().sum::<usize>(), writes * size * streams);
}

/// The same through the link alone: what no multiplexer can be faster than.
///
/// # Panics
/// If the link fails.
pub fn floor(size: usize, total: usize) {
    let mut pool = LocalPool::new();
    let (mut dialer, mut listener) = pipe(LINK);
    let message = vec![7; size];
    let send = async {
        for _ in 0..total / size {
            dialer.write_all(&message).await.expect("writes");
        }
        dialer.close().await.expect("closes");
    };
    let receive = async {
        let mut buffer = vec![0; 64 * 1024];
        while listener.read(&mut buffer).await.expect("reads") > 0 {}
    };
    pool.run_until(join(send, receive));
}

async fn send<E: std::fmt::Debug>(
    open: impl Future<Output = Result<BoxStream, E>>,
    size: usize,
    writes: usize,
) {
    let mut stream = open.await.expect("opens");
    let message = vec![7; size];
    for _ in 0..writes {
        stream.write_all(&message).await.expect("writes");
        stream.flush().await.expect("flushes");
    }
    stream.close().await.expect("closes");
}

async fn receive<E: std::fmt::Debug>(accept: impl Future<Output = Result<BoxStream, E>>) -> usize {
    let mut stream = accept.await.expect("accepts");
    let mut buffer = vec![0; 64 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer).await.expect("reads") {
            0 => return received,
            count => received += count,
        }
    }
}
