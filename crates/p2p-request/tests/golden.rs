//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-request --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::golden::{Remote, Texts, block_on};
use p2p_core::{Blame, Budget, ErrorCode, Protocol, StreamReset, frame};
use p2p_request::{Call, Message, Refusal, RequestError, ServeError, answer, ask};
use p2p_swarm::{DialError, OpenError};

const ECHO: Call<String, String> = Call::new("/echo/1").max_question(9).max_answer(9);

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    let bad = [
        <()>::decode(Bytes::from_static(b"more")),
        String::decode(Bytes::from_static(b"\xff")).map(drop),
    ];
    texts.errors("BadMessage", bad.map(Result::unwrap_err));
    texts.blamed("RequestError", RequestError::blame, asked());
    texts.blamed("ServeError", ServeError::blame, served());
    texts.lines("Refusal", refusals());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn refusals() -> [Refusal; 3] {
    [
        Refusal::new(ErrorCode::RATE_LIMITED, "too many questions"),
        Refusal::new(ErrorCode(7), "no such thing"),
        Refusal::from(io::Error::other("the disk is full")),
    ]
}

fn asked() -> Vec<RequestError> {
    let reset = |by| {
        let code = ErrorCode::RESOURCE_LIMIT_EXCEEDED;
        io::Error::from(StreamReset { by, code })
    };
    let no_room = Budget::new("memory of a peer", "peer_memory", 1);
    let room = Budget::unlimited();
    let ask = |said: &[u8], question: &str, budget| {
        let question = question.to_owned();
        block_on(ask(&mut Remote::saying(said), &ECHO, &question, budget)).unwrap_err()
    };
    vec![
        ask(&[10], "?", &room),
        ask(&[0x80, 0], "?", &room),
        ask(&frame::encode(b"\xff"), "?", &room),
        ask(&[], "?", &room),
        ask(&[5, 1], "?", &room),
        ask(&[5], "?", &no_room),
        ask(&[], "much too long", &room),
        RequestError::Dial(DialError::Closed),
        RequestError::Io(reset(Blame::Us)),
        RequestError::Open(OpenError::Timeout(Duration::from_secs(10))),
        RequestError::Refused {
            code: ErrorCode::RATE_LIMITED,
        },
        RequestError::TimedOut {
            after: Duration::from_secs(30),
        },
        RequestError::Unsupported {
            protocol: Protocol::from_static("/echo/1"),
        },
    ]
}

fn served() -> Vec<ServeError> {
    let no_room = Budget::new("memory of a peer", "peer_memory", 1);
    let room = Budget::unlimited();
    let serve = |said: &[u8], budget| {
        let reply = |question: String| async move {
            match question.as_str() {
                "no" => Err(Refusal::new(ErrorCode::GATED, "not for you")),
                _ => Ok(question.repeat(10)),
            }
        };
        block_on(answer(&mut Remote::saying(said), &ECHO, budget, reply)).unwrap_err()
    };
    vec![
        serve(&frame::encode(b"?"), &room),
        serve(&frame::encode(b"\xff"), &room),
        serve(&[0x80, 0], &room),
        serve(&[], &room),
        serve(&[5, 1], &room),
        serve(&[5], &no_room),
        serve(&[10], &room),
        serve(&frame::encode(b"no"), &room),
        ServeError::TimedOut {
            after: Duration::from_secs(30),
        },
    ]
}
