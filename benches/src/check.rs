//! What CI can hold against a change: ratios within one run, and counts. No absolute time.
//!
//! - Our yamux beside the `yamux` crate, over the same pipe, by the CPU time of one thread. The
//!   thresholds are well below what is measured (docs/benchmarks.md): a busy or small machine
//!   passes, a change that copies or wakes once more for each write does not.
//! - How often the link is written to for many small writes and requests: the tests below, which
//!   count and do not depend on time at all.

use p2p_runtime::Tokio;
use p2p_yamux::Yamux;

use crate::muxers::{self, Load};
use crate::node::Result;

/// Turns of each; the best of them counts, since what disturbs only ever makes slower.
const TURNS: usize = 7;
/// Turns before a ratio below its threshold counts: a machine that is busy for a moment is not.
const MOST_TURNS: usize = 5 * TURNS;

/// How many times less CPU than the `yamux` crate ours has to take. Large writes cost little but their
/// copies, of which both make as many: one more would halve the ratio. Each takes a quarter of a second
/// or so: some systems count CPU time in steps of 10 ms.
const THRESHOLDS: [(Load, f64); 3] = [
    (
        Load {
            streams: 1,
            write: 65_536,
            writes: 20_000,
            flush: false,
        },
        0.9,
    ),
    (
        Load {
            streams: 1,
            write: 1024,
            writes: 300_000,
            flush: true,
        },
        2.5,
    ),
    (
        Load {
            streams: 100,
            write: 100,
            writes: 3000,
            flush: true,
        },
        3.5,
    ),
];

/// Measures, prints, and fails below a threshold.
pub(crate) fn check() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _inside = runtime.enter();
    let (rt, yamux) = (Tokio::new(runtime.handle().clone()), Yamux::default());
    let mut slower = 0;
    for (load, threshold) in THRESHOLDS {
        let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
        let mut ratio = 0.0;
        for turn in 0..MOST_TURNS {
            if turn >= TURNS && ratio >= threshold {
                break;
            }
            ours = ours.min(muxers::ours(&yamux, &rt, load));
            theirs = theirs.min(muxers::yamux_crate(load));
            ratio = theirs / ours;
        }
        println!(
            "yamux, {} streams, writes of {} bytes: {ratio:.2} times less CPU than the yamux crate (at least {threshold})",
            load.streams, load.write
        );
        slower += usize::from(ratio < threshold);
    }
    match slower {
        0 => Ok(()),
        _ => Err(format!("{slower} of these have become slower").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use futures::executor::LocalPool;
    use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use futures::task::LocalSpawnExt;
    use p2p_core::{Budget, Multiplex, Muxing, Role};
    use p2p_memory::Pipe;

    use super::*;

    /// A pipe that counts the writes.
    struct Counted {
        pipe: Pipe,
        writes: Arc<AtomicUsize>,
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.pipe).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.pipe).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.pipe).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.pipe).poll_close(cx)
        }
    }

    /// Runs `work` with the dialer's end, and returns how often that end and the other wrote.
    fn writes<F: Future<Output = ()>>(work: impl FnOnce(Muxing) -> F) -> (usize, usize) {
        let rt = p2p_runtime::default_runtime();
        let (near, far) = p2p_memory::pipe(1 << 20);
        let counts = [Arc::<AtomicUsize>::default(), Arc::default()];
        let [near, far] = [(near, &counts[0]), (far, &counts[1])].map(|(pipe, writes)| Counted {
            pipe,
            writes: Arc::clone(writes),
        });
        let budget = Budget::unlimited();
        let yamux = Yamux::default();
        let client = yamux.start(Box::new(near), Role::Dialer, &rt, &budget);
        let server = yamux.start(Box::new(far), Role::Listener, &rt, &budget);
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let driver = server.driver;
        spawner
            .spawn_local(async move { drop(driver.await) })
            .unwrap();
        let tasks = spawner.clone();
        let accept = async move {
            while let Ok(stream) = server.muxer.accept().await {
                let echo = async move {
                    let (reader, mut writer) = stream.split();
                    futures::io::copy(reader, &mut writer).await.unwrap();
                    writer.close().await.unwrap();
                };
                tasks.spawn_local(echo).unwrap();
            }
        };
        spawner.spawn_local(accept).unwrap();
        let driver = client.driver;
        spawner
            .spawn_local(async move { drop(driver.await) })
            .unwrap();
        pool.run_until(work(Muxing {
            muxer: client.muxer,
            driver: Box::pin(std::future::pending()),
        }));
        let [near, far] = counts.map(|count| count.load(Ordering::Relaxed));
        (near, far)
    }

    #[test]
    fn a_request_on_a_stream_of_its_own_costs_two_writes_at_each_end_at_most() {
        let (near, far) = writes(|muxing| async move {
            for _ in 0..1000 {
                let mut stream = muxing.muxer.open().await.unwrap();
                stream.write_all(&[7; 100]).await.unwrap();
                stream.close().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.len(), 100);
            }
        });
        assert!(near <= 2000 && far <= 2000, "{near} and {far} writes");
    }

    #[test]
    fn many_small_messages_leave_in_few_writes() {
        let (near, _) = writes(|muxing| async move {
            let stream = muxing.muxer.open().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let send = async {
                for _ in 0..10_000 {
                    writer.write_all(&[7; 100]).await.unwrap();
                    writer.flush().await.unwrap();
                }
                writer.close().await.unwrap();
            };
            let mut got = 0;
            let receive = async {
                let mut buffer = vec![0; 65_536];
                loop {
                    match reader.read(&mut buffer).await.unwrap() {
                        0 => return,
                        count => got += count,
                    }
                }
            };
            futures::join!(send, receive);
            assert_eq!(got, 1_000_000);
        });
        // A megabyte in pieces of 48 KiB, with credit in between.
        assert!(near <= 100, "{near} writes for 10,000 messages");
    }
}
