//! Opening and accepting streams, one and many.

use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::poll;
use p2p_core::Blame;

use super::{KIB, pass_turns, reset_of};
use crate::conformance::world::expect;
use crate::conformance::{Subject, World, pattern};

/// Dropping an accept future that was polled, or even woken, loses no stream.
pub fn a_cancelled_accept_loses_no_stream(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let accept = || pair.listener.muxer.accept();
        let (mut first, mut second) = (accept(), accept());
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        let mut stream = pair.dialer.muxer.open().await.unwrap();
        stream.write_all(b"here").await.unwrap();
        pass_turns(20).await;
        drop(first);
        let mut accepted = second.await.unwrap();
        stream.close().await.unwrap();
        expect(&mut accepted, b"here").await.unwrap();
    });
}

/// Streams beyond the limit are reset; those within it, and new ones later, go on.
pub fn a_refused_stream_leaves_the_connection_open(subject: &Subject) {
    World::check(&subject.eight, |pair| async move {
        let mut kept = Vec::new();
        for _ in 0..8 {
            kept.push(pair.stream().await);
        }
        for _ in 0..3 {
            let mut refused = pair.dialer.muxer.open().await.unwrap();
            refused.write_all(b"one too many").await.unwrap();
            let error = refused.read(&mut [0; 9]).await.unwrap_err();
            assert_eq!(reset_of(&error).by, Blame::Remote);
        }
        for (ours, theirs) in &mut kept {
            ours.write_all(b"still here").await.unwrap();
            ours.close().await.unwrap();
            expect(theirs, b"still here").await.unwrap();
            theirs.close().await.unwrap();
            expect(ours, b"").await.unwrap();
        }
        drop(kept);
        pass_turns(20).await;
        pair.stream().await;
    });
}

/// Both sides open streams at the same time, and no stream is taken for another.
pub fn both_sides_open_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let sides = [
            (&pair.dialer, &pair.listener),
            (&pair.listener, &pair.dialer),
        ];
        let all = sides.map(|(from, to)| {
            let (from, to) = (from.muxer.clone(), to.muxer.clone());
            async move {
                let opened = join_all((0..20u8).map(|seed| {
                    let from = from.clone();
                    async move {
                        let mut stream = from.open().await.unwrap();
                        stream.write_all(&[seed]).await.unwrap();
                        stream.write_all(&pattern(seed, 5 * KIB)).await.unwrap();
                        stream.close().await.unwrap();
                        expect(&mut stream, &[seed]).await.unwrap();
                    }
                }));
                let accepted = async {
                    for _ in 0..20 {
                        let mut stream = to.accept().await.unwrap();
                        let mut seed = [0];
                        stream.read_exact(&mut seed).await.unwrap();
                        expect(&mut stream, &pattern(seed[0], 5 * KIB))
                            .await
                            .unwrap();
                        stream.write_all(&seed).await.unwrap();
                        stream.close().await.unwrap();
                    }
                };
                join(opened, accepted).await;
            }
        });
        join_all(all).await;
    });
}

/// A hundred streams carry their own bytes at the same time.
pub fn many_streams_at_once(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let listener = pair.listener.muxer.clone();
        let tasks = pair.tasks.clone();
        let server = pair.tasks.spawn(async move {
            for _ in 0..100 {
                let mut stream = listener.accept().await.unwrap();
                tasks.run(async move {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                    stream.close().await.unwrap();
                });
            }
        });
        let muxer = &pair.dialer.muxer;
        join_all((0..100u8).map(|seed| async move {
            let mut stream = muxer.open().await.unwrap();
            let bytes = pattern(seed, 30 * KIB + usize::from(seed));
            stream.write_all(&bytes).await.unwrap();
            stream.close().await.unwrap();
            expect(&mut stream, &bytes).await.unwrap();
        }))
        .await;
        server.await;
    });
}
