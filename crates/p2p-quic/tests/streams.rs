//! What QUIC promises of the streams of a connection, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use common::{MS, SEC, World, muxed, run, transfer};
use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use p2p_core::{BoxStream, Budget, ConnectionEnd, ErrorCode, StreamReset};
use p2p_quic::Config;

#[test]
fn streams_taken_back_before_they_are_accepted_harm_nobody() {
    let (sim, world) = World::new(16, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let rt = world.near.rt();
        for _ in 0..3 {
            near.open().await.unwrap().reset(ErrorCode(7));
        }
        // Stopped, and whatever that leads to acknowledged.
        rt.sleep(100 * MS).await;
        for _ in 0..3 {
            let mut taken = far.accept().await.unwrap();
            let error = taken.write_all(b"!").await.unwrap_err();
            assert_eq!(StreamReset::of(&error).unwrap().code, ErrorCode(7));
        }
        transfer(&*near, &*far, 100).await;
        rt.sleep(100 * MS).await;
        assert_eq!((near.streams(), far.streams()), (0, 0));
    });
}

#[test]
fn what_is_thrown_away_behind_a_dropped_stream_is_bounded() {
    let mut config = Config::default();
    config.max_lingering = 2;
    config.discard = 100_000;
    let (sim, world) = World::new(6, p2p_sim::Link::new(MS), config);
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let mut theirs = Vec::new();
        for _ in 0..3 {
            let mut question = near.open().await.unwrap();
            question.write_all(b"?").await.unwrap();
            let mut answer = far.accept().await.unwrap();
            answer.close().await.unwrap();
            drop(answer);
            theirs.push(question);
        }
        world.near.rt().sleep(10 * MS).await;
        let mut theirs = theirs.into_iter();
        let mut oldest = theirs.next().unwrap();
        assert!(oldest.write_all(b"!").await.is_err(), "more than two");
        let mut second = theirs.next().unwrap();
        second.write_all(&[0; 90_000]).await.unwrap();
        second.close().await.unwrap();
        let mut endless = theirs.next().unwrap();
        let mut wrote = 0;
        while endless.write_all(&[0; 10_000]).await.is_ok() {
            wrote += 10_000;
            world.near.rt().sleep(10 * MS).await;
        }
        assert_eq!(wrote, 100_000, "and the question");
        assert_eq!((near.streams(), far.streams()), (3, 0));
    });
}

#[test]
fn closing_delivers_what_was_written_and_then_the_code() {
    let (sim, world) = World::new(7, p2p_sim::Link::new(20 * MS), Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let send = async {
            let mut stream = near.open().await.unwrap();
            stream.write_all(&vec![7; 3_000_000]).await.unwrap();
            stream.close().await.unwrap();
            drop(stream);
            near.close(ErrorCode(42));
        };
        let receive = async {
            let mut stream = far.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 3_000_000);
            far.accept().await.err().unwrap()
        };
        let ((), end) = join(send, receive).await;
        assert!(matches!(end, ConnectionEnd::Remote(ErrorCode(42))), "{end}");
    });
}

#[test]
fn windows_grow_with_use_and_only_as_far_as_the_budget_goes() {
    for (limit, fast) in [(64 << 20, true), (320 << 10, false)] {
        let (sim, world) = World::new(8, p2p_sim::Link::new(50 * MS), Config::default());
        let budget = Budget::new("memory", "memory_budget", limit);
        let took = sim.block_on(async {
            let mut listener = world.listen().await;
            let accept = async {
                let far = muxed(listener.accept().await.unwrap().link.await.unwrap());
                far.muxing.muxer.charge(&budget).unwrap();
                far
            };
            let (near, far) = join(world.dial(), accept).await;
            let (near, far) = (near.unwrap(), run(&world.far.rt(), far));
            assert!(budget.used() > 0);
            let start = world.near.rt().now();
            transfer(&*near, &*far, 20 << 20).await;
            world.near.rt().now() - start
        });
        assert!(budget.used() <= limit);
        // 128 KiB each 100 ms would be 16 s.
        assert_eq!(took < 4 * SEC, fast, "{took:?} with {limit} bytes");
    }
    let (sim, world) = World::new(9, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        world.serve_echo().await;
        let near = world.connect().await.unwrap();
        let none = Budget::new("memory", "memory_budget", 1000);
        let refused = near.muxing.muxer.charge(&none).unwrap_err();
        assert_eq!(refused.setting, "memory_budget");
    });
}

#[test]
fn streams_that_nobody_reads_do_not_stop_the_others() {
    let (sim, world) = World::new(10, p2p_sim::Link::new(10 * MS), Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let mut unread = Vec::new();
        for _ in 0..3 {
            let mut stream = near.open().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            unread.push(far.accept().await.unwrap());
            world.near.rt().spawn(
                "flood",
                Box::pin(async move {
                    let _ = stream.write_all(&vec![1; 16 << 20]).await;
                    futures::future::pending::<()>().await;
                }),
            );
        }
        world.near.rt().sleep(10 * SEC).await;
        transfer(&*near, &*far, 5 << 20).await;
        drop(unread);
    });
}

#[test]
fn ten_thousand_streams_one_after_another_leave_nothing_behind() {
    let (sim, world) = World::new(15, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        for n in 0..10_000 {
            let mut ours = near.open().await.unwrap();
            ours.write_all(b"x").await.unwrap();
            let mut theirs = far.accept().await.unwrap();
            match n % 3 {
                0 => {
                    let (here, there) = join(ours.close(), theirs.close()).await;
                    here.and(there).unwrap();
                }
                1 => ours.reset(ErrorCode(7)),
                // Dropped, which resets it.
                _ => {}
            }
        }
        world.near.rt().sleep(SEC).await;
        assert_eq!((near.streams(), far.streams()), (0, 0));
        let mut ours = near.open().await.unwrap();
        ours.write_all(b"and another").await.unwrap();
        let mut theirs = far.accept().await.unwrap();
        theirs.read_exact(&mut [0; 11]).await.unwrap();
    });
}

#[test]
fn a_slow_reader_loses_nothing() {
    let (sim, world) = World::new(15, p2p_sim::Link::new(10 * MS), Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
        let send = async {
            let mut stream = near.open().await.unwrap();
            stream.write_all(&sent).await.unwrap();
            // It ends while most of it is unread.
            stream.close().await.unwrap();
        };
        let receive = async {
            let mut stream = far.accept().await.unwrap();
            let (rt, mut got, mut piece) = (world.far.rt(), Vec::new(), vec![0; 20_000]);
            rt.sleep(120 * SEC).await;
            loop {
                let n = stream.read(&mut piece).await.unwrap();
                if n == 0 {
                    return got;
                }
                got.extend_from_slice(&piece[..n]);
                rt.sleep(SEC).await;
            }
        };
        let ((), got) = join(send, receive).await;
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    });
}

#[test]
fn a_request_beside_bulk_on_a_bad_link_is_not_starved() {
    // Datagrams overtake each other, which the sender takes for loss: some 40 kB a second.
    let link = p2p_sim::Link::new(70 * MS).jitter(23 * MS);
    let (sim, world) = World::new(21, link, Config::default());
    sim.block_on(async {
        let (near, far) = world.pair().await;
        let (rt, far_rt) = (world.near.rt(), world.far.rt());
        let serve = async move {
            while let Ok(mut stream) = far.accept().await {
                let answer = async move {
                    let _ = copy(&mut stream, &mut sink()).await;
                    let _ = stream.close().await;
                };
                far_rt.spawn("answer", Box::pin(answer));
            }
        };
        world.far.rt().spawn("serve", Box::pin(serve));
        for _ in 0..8 {
            let mut bulk = near.open().await.unwrap();
            let write = async move { while bulk.write_all(&[0; 1 << 20]).await.is_ok() {} };
            rt.spawn("bulk", Box::pin(write));
        }
        let mut took = Vec::new();
        for _ in 0..20 {
            rt.sleep(SEC).await;
            let start = rt.now();
            let mut request = near.open().await.unwrap();
            request.write_all(b"?").await.unwrap();
            request.close().await.unwrap();
            request.read_to_end(&mut Vec::new()).await.unwrap();
            took.push(rt.now() - start);
        }
        let mean = took.iter().sum::<std::time::Duration>() / 20;
        assert!(mean < 2 * SEC, "{took:?}");
    });
}

#[test]
fn who_wrote_longest_ago_is_woken_first() {
    let (sim, world) = World::new(22, p2p_sim::Link::new(20 * MS), Config::default());
    sim.block_on(async {
        let (near, _far) = world.pair().await;
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut streams = Vec::new();
        for name in 0..3 {
            let waker = Waker::from(Arc::new(Named(name, Arc::clone(&woken))));
            streams.push((near.open().await.unwrap(), waker));
        }
        let write = |(stream, waker): &mut (BoxStream, Waker)| {
            let cx = &mut Context::from_waker(waker);
            Pin::new(stream).poll_write(cx, &[0; 1 << 16]).is_ready()
        };
        for stream in &mut streams {
            assert!(write(stream));
        }
        // The first writes once more and leaves no room.
        while write(&mut streams[0]) {}
        for stream in &mut streams {
            assert!(!write(stream));
        }
        world.near.rt().sleep(SEC).await;
        assert_eq!(*woken.lock().unwrap(), [1, 2, 0]);
    });
}

/// Notes that it was woken.
struct Named(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}
