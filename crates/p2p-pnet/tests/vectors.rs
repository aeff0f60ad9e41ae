//! The vectors: key files, fingerprints, and what goes over the wire.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use futures::executor::block_on;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_pnet::{KeyError, NONCE, PreSharedKey, Protected};
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
                near.close().await.unwrap();
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
        near.close().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), 18);
        assert_ne!(read, b"/multistream/1.0.0");
    });
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = PreSharedKey::from_file(&bytes);
    }
}
