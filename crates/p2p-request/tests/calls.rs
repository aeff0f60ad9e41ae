//! Requests between swarms.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{LATENCY, listen, patient, sim};
use futures::{AsyncReadExt, AsyncWriteExt, future};
use p2p_core::{Blame, ErrorCode, StreamReset};
use p2p_request::{Call, Refusal, RequestError, RequestExt};
use p2p_swarm::{Stream, Swarm};

const SHOUT: Call<String, String> = Call::new("/shout/1");
const BYTES: Call<Vec<u8>, Vec<u8>> = Call::new("/bytes/1").max_question(1000).max_answer(1000);

#[derive(Clone, PartialEq, prost::Message)]
struct Sum {
    #[prost(uint64, repeated, tag = "1")]
    numbers: Vec<u64>,
}

const ADD: Call<Sum, Sum> = Call::protobuf("/add/1");

fn shout(swarm: &Swarm) {
    let answer = |question: String, _| async move { Ok(question.to_uppercase()) };
    swarm.answer(&SHOUT, answer).unwrap();
}

#[test]
fn a_request_on_a_connection_takes_one_round_trip() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    shout(&b);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let answer = a.request(addr, &SHOUT, &"hello".to_owned()).await.unwrap();
        assert_eq!(answer, "HELLO");
        assert_eq!(a.rt().now() - start, 2 * LATENCY);

        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(connection.streams(), 0);
        assert_eq!(b.connections(&a.local_peer())[0].streams(), 0);
    });
}

#[test]
fn question_and_end_travel_together_and_so_do_answer_and_end() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    shout(&b);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr.clone()).await.unwrap();
        a.rt().sleep(Duration::from_secs(1)).await;
        sim.count_flights(&alice, &bob);
        a.request(addr, &SHOUT, &"hello".to_owned()).await.unwrap();
        assert_eq!(sim.flights(&alice, &bob).flights, 2);
    });
}

#[test]
fn protobuf_messages_need_no_wrapping() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let me = a.local_peer();
    b.answer(&ADD, move |question, peer| async move {
        assert_eq!(peer, me);
        let sum = question
            .numbers
            .iter()
            .try_fold(0u64, |sum, n| sum.checked_add(*n));
        let sum = sum.ok_or_else(|| Refusal::new(ErrorCode(7), "overflow"))?;
        Ok(Sum { numbers: vec![sum] })
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let question = Sum {
            numbers: vec![1, 2, 39],
        };
        let answer = a.request(addr.clone(), &ADD, &question).await.unwrap();
        assert_eq!(answer.numbers, [42]);

        let question = Sum {
            numbers: vec![u64::MAX, 1],
        };
        let error = a.request(addr, &ADD, &question).await.unwrap_err();
        assert!(
            matches!(error, RequestError::Refused { code: ErrorCode(7) }),
            "{error}"
        );
        assert_eq!(error.blame(), Blame::Remote);
    });
}

#[test]
fn a_refusal_and_a_failing_handler_cost_their_own_stream_only() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    b.answer(&SHOUT, |question: String, _| async move {
        let number: u64 = question.parse()?;
        Ok(number.to_string())
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let ask = async |text: &str| a.request(addr.clone(), &SHOUT, &text.to_owned()).await;
        assert_eq!(ask("1").await.unwrap(), "1");
        let connection = a.connections(&b.local_peer()).remove(0);
        let error = ask("one").await.unwrap_err();
        assert!(
            matches!(
                error,
                RequestError::Refused {
                    code: ErrorCode::NONE
                }
            ),
            "{error}"
        );
        assert_eq!(ask("2").await.unwrap(), "2");
        assert!(connection.end().is_none());
    });
}

#[test]
fn what_is_too_long_is_refused_at_the_side_that_made_it() {
    let sim = sim(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    b.answer(&BYTES, |question: Vec<u8>, _| async move {
        Ok(question.repeat(2))
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let ask = async |len| a.request(addr.clone(), &BYTES, &vec![0; len]).await;
        assert_eq!(ask(500).await.unwrap().len(), 1000);
        let error = ask(1001).await.unwrap_err();
        assert!(
            matches!(
                error,
                RequestError::QuestionTooLong {
                    len: 1001,
                    max: 1000
                }
            ),
            "{error}"
        );
        assert_eq!(error.blame(), Blame::Us);
        let error = ask(501).await.unwrap_err();
        let code = ErrorCode::RESOURCE_LIMIT_EXCEEDED;
        assert!(
            matches!(error, RequestError::Refused { code: c } if c == code),
            "{error}"
        );
    });
}

#[test]
fn a_hostile_asker_is_reset_before_anything_is_held_for_it() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    b.answer(&BYTES, |question: Vec<u8>, _| async move { Ok(question) })
        .unwrap();
    b.answer(&SHOUT, |question: String, _| async move { Ok(question) })
        .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let (bytes_call, shout_call) = (BYTES, SHOUT);
        let send = async |protocol, bytes: &[u8]| {
            let mut stream = connection.open(protocol).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.flush().await.unwrap();
            let error = stream.read(&mut [0]).await.unwrap_err();
            StreamReset::of(&error).unwrap().code
        };
        // 1001 bytes, and 2^63 - 1 of them.
        let code = send(bytes_call.protocol(), b"\xe9\x07").await;
        assert_eq!(code, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
        let code = send(
            bytes_call.protocol(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        )
        .await;
        assert_eq!(code, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
        // A length that is not in its shortest form.
        let code = send(bytes_call.protocol(), b"\x80\x00").await;
        assert_eq!(code, ErrorCode::PROTOCOL_VIOLATION);
        let code = send(shout_call.protocol(), b"\x01\xff").await;
        assert_eq!(code, ErrorCode::PROTOCOL_VIOLATION);
        assert!(connection.end().is_none());
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(b.connections(&a.local_peer())[0].streams(), 0);
    });
}

#[test]
fn a_hostile_answerer_is_told_by_what_it_did() {
    let sim = sim(7);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    // Answers with the question itself: a way to say what it should send.
    b.handle(BYTES.protocol(), |mut stream: Stream| async move {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await?;
        let (_length, said) = said.split_at(1);
        stream.write_all(said).await?;
        stream.close().await
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let ask = async |say: &[u8]| a.request(addr.clone(), &BYTES, &say.to_vec()).await;
        assert_eq!(ask(b"\x02ok").await.unwrap(), b"ok");
        let error = ask(b"\xe9\x07").await.unwrap_err();
        assert!(
            matches!(
                error,
                RequestError::AnswerTooLong {
                    len: 1001,
                    max: 1000
                }
            ),
            "{error}"
        );
        let error = ask(b"").await.unwrap_err();
        assert!(matches!(error, RequestError::NoAnswer), "{error}");
        let error = ask(b"\x05cut").await.unwrap_err();
        assert!(matches!(error, RequestError::Io(_)), "{error}");
        let error = ask(b"\x80\x00").await.unwrap_err();
        assert!(matches!(error, RequestError::BadAnswer(_)), "{error}");
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(connection.streams(), 0);
    });
}

#[test]
fn an_answer_may_take_longer_than_the_negotiation_of_a_stream() {
    let sim = sim(13);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let rt = b.rt().clone();
    b.answer(&SHOUT, move |question: String, _| {
        let rt = rt.clone();
        async move {
            rt.sleep(Duration::from_secs(25)).await;
            Ok(question)
        }
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let question = "slow".to_owned();
        let answer = a.request(addr, &SHOUT, &question).await.unwrap();
        assert_eq!(answer, question);
    });
}

#[test]
fn silence_ends_at_the_timeout_on_both_sides() {
    let sim = sim(8);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    b.answer(&SHOUT, |_, _| future::pending::<Result<String, Refusal>>())
        .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let error = a.request(addr, &SHOUT, &String::new()).await.unwrap_err();
        assert!(matches!(error, RequestError::TimedOut { .. }), "{error}");
        assert_eq!(a.rt().now() - start, Duration::from_secs(30));

        // One that opens a stream and says nothing.
        let mut stream = connection.open(SHOUT.protocol()).await.unwrap();
        stream.flush().await.unwrap();
        let back = b.connections(&a.local_peer()).remove(0);
        a.rt().sleep(Duration::from_secs(29)).await;
        assert_eq!(back.streams(), 1);
        a.rt().sleep(Duration::from_secs(2)).await;
        assert_eq!(back.streams(), 0);
        assert!(connection.end().is_none());
    });
}

#[test]
fn an_unknown_protocol_and_an_unreachable_peer_are_told_apart() {
    let sim = sim(9);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let error = a.request(addr, &SHOUT, &String::new()).await.unwrap_err();
        assert!(
            matches!(&error, RequestError::Unsupported { protocol }
            if protocol == SHOUT.protocol()),
            "{error}"
        );
        let nobody = common::keys(9).to_peer_id();
        let error = a.request(nobody, &SHOUT, &String::new()).await.unwrap_err();
        assert!(matches!(error, RequestError::Dial(_)), "{error}");
        assert_eq!(error.blame(), Blame::Us);
    });
}

#[test]
fn requests_beyond_the_limit_wait_for_their_turn() {
    let sim = sim(10);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let call = SHOUT
        .max_asking(NonZeroUsize::new(3).unwrap())
        .max_answering(3);
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let rt = b.rt().clone();
    let counted = Arc::clone(&most);
    b.answer(&call, move |question: String, _| {
        let (rt, busy, most) = (rt.clone(), Arc::clone(&busy), Arc::clone(&counted));
        async move {
            most.fetch_max(busy.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            rt.sleep(Duration::from_millis(10)).await;
            busy.fetch_sub(1, Ordering::Relaxed);
            Ok(question)
        }
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr.clone()).await.unwrap();
        let question = String::new();
        let asked = (0..100).map(|_| a.request(addr.clone(), &call, &question));
        let answered = future::join_all(asked).await;
        // Nobody is refused although only three are served at a time.
        assert_eq!(answered.iter().filter(|answer| answer.is_ok()).count(), 100);
        assert_eq!(most.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_dropped_request_frees_its_place_and_resets_its_stream() {
    let sim = sim(11);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let call = SHOUT.max_asking(NonZeroUsize::MIN);
    b.answer(&call, |question: String, _| async move {
        if question.is_empty() {
            future::pending::<()>().await;
        }
        Ok(question)
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let second = Duration::from_secs(1);
        let (empty, full) = (String::new(), "x".to_owned());
        let stuck = a.request(addr.clone(), &call, &empty);
        assert!(a.rt().timeout(second, stuck).await.is_err());
        assert_eq!(a.request(addr, &call, &full).await.unwrap(), "x");
        a.rt().sleep(second).await;
        assert_eq!(connection.streams(), 0);
    });
}

#[test]
fn questions_are_paid_for_before_they_are_read() {
    let sim = sim(12);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = p2p_swarm::Config::default();
    config.limits.connection_memory = 600 << 10;
    let (a, b) = (patient(&alice, 1), common::swarm_with(&bob, 2, config));
    let call: Call<Vec<u8>, ()> = Call::new("/big/1");
    b.answer(&call, |_, _| async { Ok(()) }).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let error = a.request(addr, &call, &vec![0; 1 << 20]).await.unwrap_err();
        let code = ErrorCode::RESOURCE_LIMIT_EXCEEDED;
        assert!(
            matches!(error, RequestError::Refused { code: c } if c == code),
            "{error}"
        );
        assert!(connection.end().is_none());
    });
}
