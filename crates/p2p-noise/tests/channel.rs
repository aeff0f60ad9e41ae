//! The channel after the handshake: what is written is read, in few and large pieces, and nothing
//! that was tampered with gets through.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod common;

use std::io;
use std::pin::Pin;

use common::{End, link, narrow_link};
use futures::AsyncRead;
use futures::future::{join, poll_fn, poll_immediate};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Role;
use p2p_keys::Keypair;
use p2p_noise::handshake::{DhKey, Session, initiate};
use p2p_noise::{Channel, ChannelError, Noise};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

/// Plain bytes of a full record, and what a frame adds.
const RECORD: usize = 16 * 1024;
const OVERHEAD: usize = 2 + 16;

#[test]
fn small_writes_share_a_record_until_the_flush() {
    block_on(async {
        let (near, far) = link();
        let sent = near.writes();
        let (mut alice, mut bob) = channels(near, far).await;
        let before = sent.count();
        for _ in 0..100 {
            alice.write_all(&[7; 100]).await.unwrap();
        }
        assert_eq!(sent.count(), before, "nothing before the flush");
        alice.flush().await.unwrap();
        assert_eq!(
            sent.all()[before..]
                .iter()
                .map(Vec::len)
                .collect::<Vec<_>>(),
            [10_000 + OVERHEAD]
        );
        assert_eq!(read_n(&mut bob, 10_000).await, [7; 10_000]);
    });
}

#[test]
fn large_writes_are_several_full_records_each_and_stay_below_one_loopback_segment() {
    block_on(async {
        let (near, far) = link();
        let sent = near.writes();
        let (mut alice, mut bob) = channels(near, far).await;
        let before = sent.count();
        alice.write_all(&vec![9; 10 * RECORD]).await.unwrap();
        alice.flush().await.unwrap();
        let writes: Vec<usize> = sent.all()[before..].iter().map(Vec::len).collect();
        let full = 3 * (RECORD + OVERHEAD);
        assert_eq!(writes, [full, full, full, RECORD + OVERHEAD]);
        assert!(full <= 65_483);
        assert_eq!(read_n(&mut bob, 10 * RECORD).await, vec![9; 10 * RECORD]);
    });
}

#[test]
fn a_vectored_write_is_one_record() {
    block_on(async {
        let (near, far) = link();
        let sent = near.writes();
        let (mut alice, _bob) = channels(near, far).await;
        let before = sent.count();
        let parts = [
            io::IoSlice::new(b"header"),
            io::IoSlice::new(b""),
            io::IoSlice::new(b"body"),
        ];
        assert_eq!(alice.write_vectored(&parts).await.unwrap(), 10);
        alice.flush().await.unwrap();
        assert_eq!(
            sent.all()[before..]
                .iter()
                .map(Vec::len)
                .collect::<Vec<_>>(),
            [10 + OVERHEAD]
        );
    });
}

#[test]
fn a_writer_waits_when_the_link_takes_nothing() {
    block_on(async {
        let (near, far) = narrow_link(usize::MAX, 1000);
        let (mut alice, mut bob) = channels(near, far).await;
        let mut taken = 0;
        while let Some(count) = poll_immediate(alice.write(&[5; 20_000])).await {
            taken += count.unwrap();
            assert!(taken <= 1000 + 3 * RECORD, "staging is bounded");
        }
        let (written, read) = join(alice.flush(), read_n(&mut bob, taken)).await;
        written.unwrap();
        assert_eq!(read, vec![5; taken]);
    });
}

#[test]
fn close_delivers_what_was_written_and_ends_the_other_side_cleanly() {
    block_on(async {
        let (near, far) = link();
        let (mut alice, mut bob) = channels(near, far).await;
        alice.write_all(b"last words").await.unwrap();
        alice.close().await.unwrap();
        let mut all = Vec::new();
        bob.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last words");
        bob.write_all(b"still here").await.unwrap();
        bob.flush().await.unwrap();
        assert_eq!(read_n(&mut alice, 10).await, b"still here");
    });
}

#[test]
fn the_end_of_the_link_inside_a_record_is_not_a_clean_end() {
    block_on(async {
        for cut in 1..OVERHEAD + 5 {
            let (mut channel, mut raw, mut session) = channel_and_raw().await;
            let frame = frame(&session.seal(b"hello").unwrap());
            raw.write_all(&frame[..cut]).await.unwrap();
            raw.close().await.unwrap();
            let error = channel.read(&mut [0; 64]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(ChannelError::of(&error), Some(ChannelError::Truncated));
        }
    });
}

/// Attack: replayed, reordered, dropped, truncated, flipped and made-up records.
#[test]
fn a_record_that_was_tampered_with_ends_the_channel_for_good() {
    type Tamper = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    let cases: [(&str, Tamper); 8] = [
        ("flipped body", |mut records| {
            records[1][0] ^= 1;
            records
        }),
        ("flipped tag", |mut records| {
            *records[1].last_mut().unwrap() ^= 0x80;
            records
        }),
        ("replayed", |records| {
            vec![records[0].clone(), records[0].clone()]
        }),
        ("reordered", |records| {
            vec![records[0].clone(), records[2].clone(), records[1].clone()]
        }),
        ("dropped", |records| {
            vec![records[0].clone(), records[2].clone()]
        }),
        ("truncated", |mut records| {
            records[1].pop();
            records
        }),
        ("too short for a tag", |mut records| {
            records[1].truncate(15);
            records
        }),
        ("empty", |mut records| {
            records[1].clear();
            records
        }),
    ];
    for (name, tamper) in cases {
        // In place, for a small buffer, and straight into a large one.
        for buffer in [1, 5, 100] {
            block_on(async {
                let (mut channel, mut raw, mut session) = channel_and_raw().await;
                let good =
                    ["first", "second", "third"].map(|text| session.seal(text.as_bytes()).unwrap());
                for record in tamper(good.to_vec()) {
                    raw.write_all(&frame(&record)).await.unwrap();
                }
                assert_eq!(read_n(&mut channel, 5).await, b"first", "{name}");
                for _ in 0..2 {
                    let error = channel.read(&mut vec![0; buffer]).await.unwrap_err();
                    assert_eq!(
                        ChannelError::of(&error),
                        Some(ChannelError::Forged),
                        "{name}"
                    );
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                }
                let error = channel.write(b"x").await.unwrap_err();
                assert_eq!(ChannelError::of(&error), Some(ChannelError::Forged));
                assert!(channel.flush().await.is_err());
                channel.close().await.unwrap();
            });
        }
    }
}

#[test]
fn good_records_in_front_of_a_bad_one_are_delivered() {
    block_on(async {
        let (mut channel, mut raw, mut session) = channel_and_raw().await;
        let mut frames = frame(&session.seal(b"good").unwrap());
        frames.extend(frame(&[9; 40]));
        raw.write_all(&frames).await.unwrap();
        let mut buffer = [0xaa; 100];
        assert_eq!(channel.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(&buffer[..4], b"good");
        assert!(channel.read(&mut buffer).await.is_err());
    });
}

#[test]
fn the_longest_frame_is_accepted() {
    block_on(async {
        for buffer in [1000, 65_519, 100_000] {
            let (mut channel, mut raw, mut session) = channel_and_raw().await;
            let plain: Vec<u8> = (0..65_519u32).map(|index| index as u8).collect();
            let record = session.seal(&plain).unwrap();
            assert_eq!(record.len(), 65_535);
            raw.write_all(&frame(&record)).await.unwrap();
            let mut read: Vec<u8> = Vec::new();
            while read.len() < plain.len() {
                let mut part = vec![0; buffer];
                let count = channel.read(&mut part).await.unwrap();
                read.extend(&part[..count]);
            }
            assert_eq!(read, plain);
        }
    });
}

#[test]
fn empty_records_are_skipped_and_a_flood_of_them_lets_others_run() {
    block_on(async {
        let (mut channel, mut raw, mut session) = channel_and_raw().await;
        let mut frames = Vec::new();
        for _ in 0..200 {
            frames.extend(frame(&session.seal(&[]).unwrap()));
        }
        frames.extend(frame(&session.seal(b"at last").unwrap()));
        raw.write_all(&frames).await.unwrap();
        let mut buffer = [0; 16];
        let mut yields = 0;
        let count = poll_fn(|cx| {
            let polled = Pin::new(&mut channel).poll_read(cx, &mut buffer);
            yields += usize::from(polled.is_pending());
            polled
        })
        .await
        .unwrap();
        assert_eq!(&buffer[..count], b"at last");
        assert_eq!(yields, 3);
    });
}

#[test]
fn nobody_on_the_path_can_read_along() {
    block_on(async {
        let (near, far) = link();
        let sent = near.writes();
        let (mut alice, _bob) = channels(near, far).await;
        let before = sent.count();
        alice.write_all(b"a secret").await.unwrap();
        alice.flush().await.unwrap();
        alice.write_all(b"a secret").await.unwrap();
        alice.flush().await.unwrap();
        let wire = sent.all();
        assert!(
            wire.iter()
                .all(|bytes| !bytes.windows(8).any(|window| window == b"a secret"))
        );
        assert_ne!(
            wire[before],
            wire[before + 1],
            "the same text never looks the same"
        );
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_over_every_split(
        step in 1usize..3000,
        capacity in 1usize..5000,
        writes in proptest::collection::vec((any::<u8>(), 0usize..20_000, any::<bool>()), 0..12),
        reads in proptest::collection::vec(1usize..40_000, 1..8),
    ) {
        let expected: Vec<u8> = writes.iter().flat_map(|(byte, len, _)| vec![*byte; *len]).collect();
        let received = block_on(async {
            let (near, far) = narrow_link(step, capacity);
            let (mut alice, mut bob) = channels(near, far).await;
            let writing = async {
                for (byte, len, flush) in &writes {
                    alice.write_all(&vec![*byte; *len]).await.unwrap();
                    if *flush {
                        alice.flush().await.unwrap();
                    }
                }
                alice.close().await.unwrap();
            };
            let reading = async {
                let mut received: Vec<u8> = Vec::new();
                for size in reads.iter().cycle() {
                    let mut part = vec![0; *size];
                    match bob.read(&mut part).await.unwrap() {
                        0 => break,
                        count => received.extend(&part[..count]),
                    }
                }
                received
            };
            join(writing, reading).await.1
        });
        prop_assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
    }

    #[test]
    fn arbitrary_bytes_never_get_through(bytes in proptest::collection::vec(any::<u8>(), 1..300), size in 1usize..100) {
        block_on(async {
            let (mut channel, mut raw, _) = channel_and_raw().await;
            raw.write_all(&bytes).await.unwrap();
            raw.close().await.unwrap();
            let error = channel.read(&mut vec![0; size]).await.unwrap_err();
            assert!(ChannelError::of(&error).is_some());
        });
    }
}

/// Two ends of a channel.
async fn channels(near: End, far: End) -> (Channel<End>, Channel<End>) {
    let noise = || Noise::new(&Keypair::generate_ed25519()).unwrap();
    let (alice, bob) = (noise(), noise());
    let (alice, bob) = join(
        async {
            let mut remote = alice.secure(near, Role::Dialer, None, &[]).await.unwrap();
            remote.channel.flush().await.unwrap();
            remote.channel
        },
        async {
            bob.secure(far, Role::Listener, None, &[])
                .await
                .unwrap()
                .channel
        },
    )
    .await;
    (alice, bob)
}

/// A listener's channel, and the dialer's end as raw bytes with the keys to make records.
async fn channel_and_raw() -> (Channel<End>, End, Session) {
    let (near, mut far) = link();
    let noise = Noise::new(&Keypair::generate_ed25519()).unwrap();
    let (first, initiated) = initiate(&[], DhKey::generate().unwrap(), &[]);
    far.write_all(&frame(&first)).await.unwrap();
    let dialing = async {
        let len = read_n(&mut far, 2).await;
        let second = read_n(&mut far, u16::from_be_bytes([len[0], len[1]]).into()).await;
        let (_, proven) = initiated.read(&second).unwrap();
        let (key, identity) = (DhKey::generate().unwrap(), Keypair::generate_ed25519());
        let signed = [&b"noise-libp2p-static-key:"[..], key.public()].concat();
        let payload = [
            &[0x0a, 36][..],
            identity.public().as_protobuf(),
            &[0x12, 64],
            &identity.sign(&signed).unwrap(),
        ]
        .concat();
        let (third, session) = proven.write(&key, &payload).unwrap();
        far.write_all(&frame(&third)).await.unwrap();
        (far, session)
    };
    let (listened, (far, session)) =
        join(noise.secure(near, Role::Listener, None, &[]), dialing).await;
    (listened.unwrap().channel, far, session)
}

fn frame(record: &[u8]) -> Vec<u8> {
    [&u16::try_from(record.len()).unwrap().to_be_bytes(), record].concat()
}

async fn read_n(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}
