//! The vectors, and every split of every message.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use p2p_core::Protocol;
use p2p_multistream::wire::{self, Token, TokenError};
use proptest::prelude::*;
use serde_json::Value;

const MAX: usize = 1024;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/multistream.json")).unwrap()
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn encoded(token: Token<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(token, &mut bytes);
    bytes
}

#[test]
fn the_frames_of_the_vectors_read_and_write_the_same() {
    for frame in vectors()["frames"].as_array().unwrap() {
        let (text, bytes) = (frame["text"].as_str().unwrap(), unhex(&frame["hex"]));
        let (token, used) = wire::decode(&bytes, MAX).unwrap().unwrap();
        assert_eq!((token.text(), used), (text.as_bytes(), bytes.len()));
        assert_eq!(encoded(token), bytes, "{text}");
        for cut in 0..bytes.len() {
            assert_eq!(
                wire::decode(&bytes[..cut], MAX),
                Ok(None),
                "{text} at {cut}"
            );
        }
    }
}

#[test]
fn the_special_tokens_are_told_apart() {
    let decode = |bytes| wire::decode(bytes, MAX).unwrap().unwrap().0;
    assert_eq!(decode(b"\x13/multistream/1.0.0\n"), Token::Header);
    assert_eq!(decode(b"\x03na\n"), Token::Na);
    assert_eq!(decode(b"\x03ls\n"), Token::Ls);
    assert_eq!(decode(b"\x04/na\n"), Token::Protocol(b"/na"));
    assert_eq!(decode(b"\x01\n"), Token::Protocol(b""));
}

#[test]
fn the_invalid_messages_of_the_vectors_are_refused() {
    for case in vectors()["invalid"].as_array().unwrap() {
        let bytes = unhex(&case["hex"]);
        assert!(wire::decode(&bytes, MAX).is_err(), "{}", case["why"]);
    }
}

#[test]
fn a_length_is_refused_before_its_token_arrives() {
    assert_eq!(
        wire::decode(&[0x81, 0x08], MAX),
        Err(TokenError::TooLong {
            len: 1025,
            max: MAX
        })
    );
    assert_eq!(wire::decode(&[0x80, 0x80], MAX), Err(TokenError::Length));
    assert_eq!(wire::decode(&[0x80, 0x08], MAX), Ok(None));
}

#[test]
fn the_list_is_written_as_in_the_vectors() {
    let case = &vectors()["transcripts"][1];
    let mut bytes = Vec::new();
    wire::encode_list(
        &[
            Protocol::from_static("/dogs/0.1.0"),
            Protocol::from_static("/cats/1.1"),
        ],
        &mut bytes,
    );
    assert_eq!(bytes, unhex(&case["response"]));
}

#[test]
fn a_list_that_is_too_long_is_cut_between_protocols() {
    let many: Vec<Protocol> = (0..2000)
        .map(|number| Protocol::new(&format!("/protocol/{number:08}")).unwrap())
        .collect();
    let mut bytes = Vec::new();
    wire::encode_list(&many, &mut bytes);
    let (token, used) = wire::decode(&bytes, wire::MAX_TOKEN).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    let mut rest = token.text();
    let mut listed = 0;
    while let Some((_, used)) = wire::decode(rest, MAX).unwrap() {
        rest = &rest[used..];
        listed += 1;
    }
    assert_eq!((rest.len(), listed), (0, (wire::MAX_TOKEN - 1) / 20));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), max in 1usize..64) {
        if let Ok(Some((token, used))) = wire::decode(&bytes, max) {
            prop_assert!(token.text().len() < max);
            prop_assert_eq!(encoded(token), &bytes[..used]);
        }
    }

    #[test]
    fn what_is_written_is_read(text in "[ -~]{0,1000}", tail in proptest::collection::vec(any::<u8>(), 0..8)) {
        let token = Token::Protocol(text.as_bytes());
        let mut bytes = encoded(token);
        let len = bytes.len();
        for cut in 0..len {
            prop_assert_eq!(wire::decode(&bytes[..cut], MAX), Ok(None));
        }
        bytes.extend(tail);
        let (read, used) = wire::decode(&bytes, MAX).unwrap().unwrap();
        prop_assert_eq!((read.text(), used), (text.as_bytes(), len));
    }
}
