//! The exchange over a pipe, with whatever bytes.

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Budget;
use p2p_request::{Call, Message, RequestError, answer, ask};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

const ECHO: Call<Vec<u8>, Vec<u8>> = Call::new("/echo/1").max_question(300).max_answer(300);

proptest! {
    #[test]
    fn every_message_comes_back(question in proptest::collection::vec(any::<u8>(), 0..300), room in 1usize..64) {
        let (mut near, mut far) = p2p_memory::pipe(room);
        let budget = Budget::new("test", "test", 300);
        let (asked, answered) = block_on(join(
            ask(&mut near, &ECHO, &question, &budget),
            answer(&mut far, &ECHO, &Budget::unlimited(), |question| async { Ok(question) }),
        ));
        answered.unwrap();
        prop_assert_eq!(asked.unwrap(), question);
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn arbitrary_questions_never_panic_and_are_never_too_long(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut near, mut far) = p2p_memory::pipe(1024);
        block_on(async {
            near.write_all(&bytes).await.unwrap();
            near.close().await.unwrap();
            let handler = |question: Vec<u8>| async move {
                assert!(question.len() <= 300);
                Ok(Vec::new())
            };
            let _ = answer(&mut far, &ECHO, &Budget::unlimited(), handler).await;
        });
    }

    #[test]
    fn arbitrary_answers_never_panic_and_are_never_too_long(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (mut near, mut far) = p2p_memory::pipe(1024);
        let budget = Budget::new("test", "test", 300);
        block_on(async {
            far.write_all(&bytes).await.unwrap();
            far.close().await.unwrap();
            if let Ok(answer) = ask(&mut near, &ECHO, &Vec::new(), &budget).await {
                assert!(answer.len() <= 300);
            }
        });
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn text_is_text_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
        let decoded = String::decode(bytes.clone().into());
        prop_assert_eq!(decoded.ok(), String::from_utf8(bytes).ok());
    }
}

#[test]
fn an_answer_that_does_not_fit_in_the_budget_is_not_read() {
    let (mut near, mut far) = p2p_memory::pipe(1024);
    let budget = Budget::new("test", "test", 10);
    block_on(async {
        far.write_all(b"\x0bhello world").await.unwrap();
        let error = ask(&mut near, &ECHO, &Vec::new(), &budget)
            .await
            .unwrap_err();
        assert!(matches!(error, RequestError::Limit(_)), "{error}");
        let mut rest = String::new();
        drop(far);
        let _ = near.read_to_string(&mut rest).await;
        assert_eq!(rest, "hello world");
    });
}
