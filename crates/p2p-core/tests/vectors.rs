//! The varint vectors of the multiformats implementations.
#![expect(clippy::unwrap_used, reason = "a broken vector file is a failed test")]

use p2p_core::uvarint::{self, Error};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/varint.json")).unwrap()
}

fn bytes(case: &Value) -> Vec<u8> {
    let hex = case["hex"].as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

#[test]
fn valid_varints_decode_and_encode() {
    let vectors = vectors();
    let sizes = vectors["sizes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["decodable"] == true);
    let mut seen = 0;
    for case in vectors["valid"].as_array().unwrap().iter().chain(sizes) {
        let (value, bytes) = (number(&case["value"]), bytes(case));
        assert_eq!(uvarint::decode(&bytes), Ok((value, bytes.len())), "{case}");
        assert_eq!(uvarint::encode(value).as_slice(), bytes, "{case}");
        seen += 1;
    }
    assert!(seen > 40);
    assert_eq!(
        uvarint::decode(&bytes(&vectors["max_valid"])).unwrap().0,
        uvarint::MAX
    );
}

#[test]
fn invalid_varints_fail_for_the_stated_reason() {
    for case in vectors()["invalid"].as_array().unwrap() {
        let expected = match case["error"].as_str().unwrap() {
            "overflow" => Error::Overflow,
            reason if reason.starts_with("underflow") || reason == "eof" => Error::Underflow,
            _ => Error::NotMinimal,
        };
        assert_eq!(uvarint::decode(&bytes(case)), Err(expected), "{case}");
    }
}
