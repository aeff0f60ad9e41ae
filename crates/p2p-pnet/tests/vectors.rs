//! The vectors: key files, fingerprints, and what goes over the wire.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_pnet::{KeyError, KeysMayDiffer, NONCE, PreSharedKey, Protected};
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/pnet.json")).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap().as_bytes();
    data_encoding::HEXLOWER_PERMISSIVE.decode(text).unwrap()
}

fn key(value: &Value) -> PreSharedKey {
    PreSharedKey::new(unhex(value).try_into().unwrap())
}

#[test]
fn key_files_are_read_or_refused_as_the_vectors_say() {
    let vectors = vectors();
    for case in vectors["key_files"].as_array().unwrap() {
        let read = case["text"].as_str().unwrap().parse::<PreSharedKey>();
        if case["valid"].as_bool().unwrap() {
            let expected = key(&case["psk_hex"]);
            let read = read.unwrap();
            assert_eq!(read.fingerprint(), expected.fingerprint());
            let again = read.to_file().parse::<PreSharedKey>().unwrap();
            assert_eq!(again.fingerprint(), expected.fingerprint());
        } else {
            assert!(read.is_err(), "{case}");
        }
    }
}

#[test]
fn a_wrong_line_is_named() {
    let error = |text: &str| text.parse::<PreSharedKey>().unwrap_err();
    assert_eq!(error("a\nb\nc"), KeyError::Header);
    let header = "/key/swarm/psk/1.0.0/\n";
    assert!(matches!(
        error(&format!("{header}/x/\ny")),
        KeyError::Encoding { .. }
    ));
    for key in ["", "00", &"0".repeat(66), "no hex at all"] {
        assert_eq!(error(&format!("{header}/base16/\n{key}")), KeyError::Key);
    }
    let binary = [header.as_bytes(), b"/bin/\n", &[7; 32], b"\n"].concat();
    let read = PreSharedKey::from_file(&binary).unwrap();
    assert_eq!(read.fingerprint(), PreSharedKey::new([7; 32]).fingerprint());
}

#[test]
fn a_key_whose_encoding_was_left_out_is_not_shown() {
    let header = "/key/swarm/psk/1.0.0/\n";
    let hex = "8f3a".repeat(16);
    let base64 = format!("/{}/", "Qk7x".repeat(11));
    for key in [hex, base64] {
        for file in [format!("{header}{key}"), format!("{header}{key}\n\n")] {
            let error = file.parse::<PreSharedKey>().unwrap_err();
            assert_eq!(error, KeyError::NoEncoding);
            let text = format!("{error} {error:?}");
            assert!(!text.contains(&key[1..9]), "{text}");
        }
    }
}

#[test]
fn fingerprints_are_those_of_the_vectors() {
    for case in vectors()["fingerprints"].as_array().unwrap() {
        let fingerprint = case["fingerprint"].as_str().unwrap();
        assert_eq!(key(&case["psk_hex"]).fingerprint(), fingerprint);
    }
}

#[test]
fn the_connections_of_the_vectors_come_out_byte_for_byte() {
    for case in vectors()["connections"].as_array().unwrap() {
        for (ours, theirs) in [("dialer", "listener"), ("listener", "dialer")] {
            let part = |side: &str, what: &str| unhex(&case[format!("{side}_{what}_hex")]);
            let (near, mut far) = p2p_memory::pipe(4096);
            let nonce = part(ours, "nonce").try_into().unwrap();
            let mut near = Protected::new(near, &key(&case["psk_hex"]), nonce);
            block_on(async {
                for byte in part(ours, "plaintext").chunks(5) {
                    near.write_all(byte).await.unwrap();
                }
                // Closing waits for the other nonce, and need not be done for the end to be heard.
                assert!(futures::poll!(near.close()).is_pending());
                let mut wire = Vec::new();
                far.read_to_end(&mut wire).await.unwrap();
                assert_eq!(wire, part(ours, "wire"));
                for byte in part(theirs, "wire").chunks(7) {
                    far.write_all(byte).await.unwrap();
                }
                far.close().await.unwrap();
                let mut read = Vec::new();
                near.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, part(theirs, "plaintext"));
            });
        }
    }
}

#[test]
fn a_reader_that_says_nothing_sends_its_nonce_all_the_same() {
    let (near, mut far) = p2p_memory::pipe(4096);
    let mut near = Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]);
    block_on(async {
        assert!(futures::poll!(near.read(&mut [0; 8])).is_pending());
        let mut nonce = [0; NONCE];
        far.read_exact(&mut nonce).await.unwrap();
        assert_eq!(nonce, [9; NONCE]);
    });
}

#[test]
fn with_another_key_nothing_is_understood() {
    let (near, far) = p2p_memory::pipe(4096);
    let mut near = Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]);
    let mut far = Protected::new(far, &PreSharedKey::new([2; 32]), [8; NONCE]);
    block_on(async {
        near.write_all(b"/multistream/1.0.0").await.unwrap();
        assert!(futures::poll!(near.close()).is_pending());
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), 18);
        assert_ne!(read, b"/multistream/1.0.0");
    });
}

const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";

#[test]
fn what_does_not_begin_with_the_greeting_is_told_as_another_key() {
    for (their_key, size) in [(1, 1), (1, 7), (1, 40), (2, 1), (2, 40)] {
        let (near, far) = p2p_memory::pipe(4096);
        let mut near =
            Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]).expect_greeting(GREETING);
        let mut far = Protected::new(far, &PreSharedKey::new([their_key; 32]), [8; NONCE]);
        let said = [GREETING, b"and whatever follows"].concat();
        block_on(async {
            far.write_all(&said).await.unwrap();
            assert!(futures::poll!(far.close()).is_pending());
            let mut read = Vec::new();
            let outcome = loop {
                let mut part = vec![0; size];
                match near.read(&mut part).await {
                    Ok(0) => break Ok(read),
                    Ok(count) => read.extend_from_slice(&part[..count]),
                    Err(error) => break Err(error),
                }
            };
            if their_key == 1 {
                assert_eq!(outcome.unwrap(), said);
            } else {
                assert!(KeysMayDiffer::is_in(&outcome.unwrap_err()));
            }
        });
    }
}

#[test]
fn who_hangs_up_before_the_greeting_may_have_another_key() {
    for said in [0, 10, NONCE, NONCE + 10, NONCE + GREETING.len()] {
        for resets in [false, true] {
            let (near, mut far) = p2p_memory::pipe(4096);
            let mut near = Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE])
                .expect_greeting(GREETING);
            block_on(async {
                let wire = greeting_on_the_wire().await;
                far.write_all(&wire[..said]).await.unwrap();
                if !resets {
                    far.close().await.unwrap();
                }
                drop(far);
                let mut read = Vec::new();
                let ended = near.read_to_end(&mut read).await.err();
                let begun = said == wire.len();
                let told = ended.is_some_and(|error| KeysMayDiffer::is_in(&error));
                assert_eq!(told, !begun, "{said} bytes, {resets}");
            });
        }
    }
}

#[test]
fn a_write_that_fails_before_the_greeting_tells_of_another_key() {
    for greeted in [false, true] {
        let (near, mut far) = p2p_memory::pipe(4096);
        let mut near =
            Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]).expect_greeting(GREETING);
        block_on(async {
            if greeted {
                far.write_all(&greeting_on_the_wire().await).await.unwrap();
                near.read_exact(&mut [0; GREETING.len()]).await.unwrap();
            }
            drop(far);
            let written = near.write_all(b"hello").await;
            let outcomes = [written, near.flush().await, near.close().await];
            for error in outcomes.map(Result::unwrap_err) {
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                assert_eq!(KeysMayDiffer::is_in(&error), !greeted);
            }
        });
    }
}

/// What a member with the key `[1; 32]` says first.
async fn greeting_on_the_wire() -> Vec<u8> {
    let (member, mut tap) = p2p_memory::pipe(4096);
    let mut member = Protected::new(member, &PreSharedKey::new([1; 32]), [8; NONCE]);
    member.write_all(GREETING).await.unwrap();
    let mut wire = vec![0; NONCE + GREETING.len()];
    tap.read_exact(&mut wire).await.unwrap();
    wire
}

/// How often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_writer_that_waits_is_woken_although_a_reader_of_another_task_reads_meanwhile() {
    let (near, mut far) = p2p_memory::pipe(1);
    let mut near = Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]);
    let [writer, reader] = [(); 2].map(|()| Arc::new(Woken::default()));
    let wakers = [&writer, &reader].map(|one| Waker::from(Arc::clone(one)));
    let [mut writes, mut reads] = [&wakers[0], &wakers[1]].map(Context::from_waker);
    let mut heard = Vec::new();
    for turn in 1.. {
        let woken = writer.0.load(Ordering::Relaxed);
        if Pin::new(&mut near).poll_flush(&mut writes).is_ready() {
            break;
        }
        let read = Pin::new(&mut near).poll_read(&mut reads, &mut [0; 8]);
        assert!(read.is_pending());
        let mut byte = [0];
        block_on(far.read_exact(&mut byte)).unwrap();
        heard.extend(byte);
        let again = writer.0.load(Ordering::Relaxed);
        assert_eq!(
            again,
            woken + 1,
            "turn {turn}: there is room, and nobody says so"
        );
    }
    block_on(far.read_exact(&mut [0])).unwrap();
    assert_eq!(heard, [9; NONCE - 1]);
}

#[test]
fn a_reader_and_whoever_closes_both_hear_of_the_nonce() {
    for end in [false, true] {
        let (near, mut far) = p2p_memory::pipe(100);
        let mut near = Protected::new(near, &PreSharedKey::new([1; 32]), [9; NONCE]);
        let [reader, closer] = [(); 2].map(|()| Arc::new(Woken::default()));
        let wakers = [&reader, &closer].map(|one| Waker::from(Arc::clone(one)));
        let [mut reads, mut closes] = [&wakers[0], &wakers[1]].map(Context::from_waker);
        let read = Pin::new(&mut near).poll_read(&mut reads, &mut [0; 8]);
        assert!(read.is_pending());
        assert!(Pin::new(&mut near).poll_close(&mut closes).is_pending());

        block_on(async {
            match end {
                true => far.close().await.unwrap(),
                false => far.write_all(&[8; NONCE]).await.unwrap(),
            }
        });

        let woken = [reader, closer].map(|one| one.0.load(Ordering::Relaxed));
        assert_eq!(woken, [1, 1]);
        assert!(Pin::new(&mut near).poll_close(&mut closes).is_ready());
        let read = Pin::new(&mut near).poll_read(&mut reads, &mut [0; 8]);
        assert_eq!(read.is_ready(), end);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = PreSharedKey::from_file(&bytes);
    }
}
