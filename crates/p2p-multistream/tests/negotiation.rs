//! Two ends over an in-memory link: what is agreed, how many writes it takes, and what a hostile
//! remote achieves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod common;

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use common::{End, link, narrow_link};
use futures::future::{join, poll_immediate};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{AsyncRead, AsyncWrite};
use p2p_core::{Blame, Protocol};
use p2p_multistream::{Config, Error, Negotiated, NegotiationError, dial, dial_lazy, listen};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

const A: Protocol = Protocol::from_static("/a/1");
const B: Protocol = Protocol::from_static("/b/1");
const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";
const AGREE_A: &[u8] = b"\x13/multistream/1.0.0\n\x05/a/1\n";

#[test]
fn a_lazy_dial_gets_its_first_answer_in_one_round_trip_and_one_write_a_side() {
    block_on(async {
        let (near, far) = link();
        let (sent, answered) = (near.writes(), far.writes());

        let mut stream = dial_lazy(near, A);
        assert_eq!(
            sent.count(),
            0,
            "nothing is sent before there is something to send"
        );
        stream.write_all(b"question").await.unwrap();
        assert_eq!(sent.all(), [[AGREE_A, b"question"].concat()]);

        let (protocol, mut remote) = listen(far, &[B, A], &Config::default()).await.unwrap();
        assert_eq!(protocol, A);
        assert_eq!(read_n(&mut remote, 8).await, b"question");
        assert_eq!(answered.count(), 0, "the answer waits for company");
        remote.write_all(b"answer").await.unwrap();
        assert_eq!(answered.all(), [[AGREE_A, b"answer"].concat()]);

        assert_eq!(read_n(&mut stream, 6).await, b"answer");
        assert_eq!((sent.count(), answered.count()), (1, 1));
        assert!(stream.is_clear() && remote.is_clear());
    });
}

#[test]
fn a_vectored_first_write_is_one_write_too() {
    block_on(async {
        let (near, _far) = link();
        let sent = near.writes();
        let mut stream = dial_lazy(near, A);
        let parts = [io::IoSlice::new(b"head"), io::IoSlice::new(b"body")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 8);
        assert_eq!(sent.all(), [[AGREE_A, b"headbody"].concat()]);
    });
}

#[test]
fn a_dial_proposes_until_one_is_accepted() {
    block_on(async {
        let (near, far) = link();
        let (sent, answered) = (near.writes(), far.writes());
        let config = Config::default();
        let (dialed, listened) = join(dial(near, &[B, A], &config), async {
            let (protocol, mut stream) = listen(far, &[A], &config).await?;
            stream.flush().await?;
            Ok::<_, Error>((protocol, stream))
        })
        .await;
        assert_eq!((dialed.unwrap().0, listened.unwrap().0), (A, A));
        assert_eq!(
            sent.all(),
            [[GREETING, b"\x05/b/1\n"].concat(), b"\x05/a/1\n".to_vec()]
        );
        assert_eq!(
            answered.all(),
            [[GREETING, b"\x03na\n"].concat(), b"\x05/a/1\n".to_vec()]
        );
    });
}

#[test]
fn a_dial_that_is_refused_says_what_it_proposed() {
    block_on(async {
        let (near, far) = link();
        let config = Config::default();
        let (dialed, listened) = join(
            dial(near, &[A, B], &config),
            listen(far, &[] as &[Protocol; 0], &config),
        )
        .await;
        let Err(Error::Negotiation(error)) = dialed else {
            panic!("refused")
        };
        assert_eq!(
            error,
            NegotiationError::Refused {
                proposed: vec![A, B]
            }
        );
        assert!(
            matches!(listened, Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof)
        );
    });
}

#[test]
fn a_dial_without_proposals_is_refused_without_a_word() {
    block_on(async {
        let (near, _far) = link();
        let sent = near.writes();
        assert!(dial(near, &[], &Config::default()).await.is_err());
        assert_eq!(sent.count(), 0);
    });
}

#[test]
fn a_lazy_dial_that_is_refused_fails_when_it_reads_and_stays_failed() {
    block_on(async {
        let (near, mut far) = link();
        let mut stream = dial_lazy(near, A);
        stream.write_all(b"lost").await.unwrap();
        far.write_all(&[GREETING, b"\x03na\n"].concat())
            .await
            .unwrap();

        for _ in 0..2 {
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            let failed = NegotiationError::of(&error).unwrap();
            assert_eq!(*failed, NegotiationError::Refused { proposed: vec![A] });
            assert_eq!(failed.blame(), Blame::Remote);
        }
        assert!(NegotiationError::of(&stream.write(b"more").await.unwrap_err()).is_some());
        assert!(NegotiationError::of(&stream.flush().await.unwrap_err()).is_some());
        stream.close().await.unwrap();
        assert!(stream.try_into_inner().is_err());
    });
}

#[test]
fn an_answer_that_was_not_proposed_is_a_mismatch() {
    block_on(async {
        for answer in [&b"\x05/b/1\n"[..], b"\x03ls\n", GREETING] {
            let (near, mut far) = link();
            far.write_all(&[GREETING, answer].concat()).await.unwrap();
            let error = dial_lazy(near, A).read(&mut [0; 8]).await.unwrap_err();
            assert!(matches!(
                NegotiationError::of(&error),
                Some(NegotiationError::Mismatch { proposed, .. }) if *proposed == A
            ));

            let (near, mut far) = link();
            far.write_all(&[GREETING, answer].concat()).await.unwrap();
            let dialed = dial(near, &[A], &Config::default()).await;
            assert!(matches!(
                dialed,
                Err(Error::Negotiation(NegotiationError::Mismatch { .. }))
            ));
        }
    });
}

#[test]
fn a_read_before_anything_was_written_sends_the_proposal() {
    block_on(async {
        let (near, mut far) = link();
        let sent = near.writes();
        let mut stream = dial_lazy(near, A);
        assert!(poll_immediate(stream.read(&mut [0; 8])).await.is_none());
        assert_eq!(sent.all(), [AGREE_A]);
        far.write_all(&[AGREE_A, b"hi"].concat()).await.unwrap();
        assert_eq!(read_n(&mut stream, 2).await, b"hi");
    });
}

#[test]
fn closing_a_lazy_dial_sends_the_proposal_and_does_not_wait() {
    block_on(async {
        let (near, far) = link();
        let sent = near.writes();
        let mut stream = dial_lazy(near, A);
        assert!(poll_immediate(stream.close()).await.unwrap().is_ok());
        assert_eq!(sent.all(), [AGREE_A]);

        // The remote still answers, though we have closed our side, and we can read.
        let (protocol, mut remote) = listen(far, &[A], &Config::default()).await.unwrap();
        assert_eq!(protocol, A);
        assert_eq!(remote.read(&mut [0; 8]).await.unwrap(), 0);
        remote.write_all(b"late").await.unwrap();
        remote.close().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"late");
    });
}

#[test]
fn a_listener_that_only_closes_has_answered() {
    block_on(async {
        let (mut near, far) = link();
        let answered = far.writes();
        near.write_all(AGREE_A).await.unwrap();
        near.close().await.unwrap();
        let (_, mut stream) = listen(far, &[A], &Config::default()).await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(answered.all(), [AGREE_A]);
        assert!(answered.closed());
    });
}

#[test]
fn a_listener_that_waits_for_more_has_answered() {
    block_on(async {
        let (mut near, far) = link();
        let answered = far.writes();
        near.write_all(AGREE_A).await.unwrap();
        let (_, mut stream) = listen(far, &[A], &Config::default()).await.unwrap();
        assert_eq!(answered.count(), 0);
        assert!(poll_immediate(stream.read(&mut [0; 8])).await.is_none());
        assert_eq!(answered.all(), [AGREE_A]);
        assert!(stream.is_clear());
    });
}

#[test]
fn a_listener_greets_a_dialer_that_waits_for_the_greeting() {
    block_on(async {
        let (mut near, far) = link();
        near.write_all(GREETING).await.unwrap();
        let (ours, config) = ([A], Config::default());
        let mut listening = pin!(listen(far, &ours, &config));
        assert!(poll_immediate(&mut listening).await.is_none());
        assert_eq!(read_n(&mut near, GREETING.len()).await, GREETING);
        near.write_all(b"\x05/a/1\n").await.unwrap();
        assert_eq!(listening.await.unwrap().0, A);
    });
}

#[test]
fn an_answer_that_cannot_be_sent_does_not_spoil_what_was_received() {
    block_on(async {
        let (mut near, far) = link();
        far.break_writes();
        near.write_all(&[AGREE_A, b"news"].concat()).await.unwrap();
        let (_, mut stream) = listen(far, &[A], &Config::default()).await.unwrap();
        assert_eq!(read_n(&mut stream, 4).await, b"news");
        assert!(poll_immediate(stream.read(&mut [0; 8])).await.is_none());
        near.write_all(b"more").await.unwrap();
        near.close().await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"more");
        assert!(stream.write(b"x").await.is_err());
    });
}

#[test]
fn bytes_behind_the_answer_belong_to_the_protocol() {
    block_on(async {
        let (near, mut far) = link();
        // Looks like a negotiation, and is not one any more.
        let payload = [AGREE_A, &[0xff; 1000], b"\x03na\n"].concat();
        far.write_all(&[AGREE_A, &payload].concat()).await.unwrap();
        far.close().await.unwrap();
        let (_, mut stream) = dial(near, &[A], &Config::default()).await.unwrap();
        assert!(!stream.is_clear(), "read ahead");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, payload);
        assert!(stream.try_into_inner().is_ok());
    });
}

#[test]
fn ls_is_answered_and_the_negotiation_goes_on() {
    block_on(async {
        let (mut near, far) = link();
        near.write_all(&[GREETING, b"\x03ls\n\x05/a/1\n"].concat())
            .await
            .unwrap();
        let (protocol, _stream) = listen(far, &[A, B], &Config::default()).await.unwrap();
        assert_eq!(protocol, A);
        let expected = [GREETING, b"\x0d\x05/a/1\n\x05/b/1\n\n"].concat();
        assert_eq!(read_n(&mut near, expected.len()).await, expected);
    });
}

#[test]
fn a_closure_can_decide_what_is_supported() {
    block_on(async {
        let (near, far) = link();
        let ours = |id: &str| id.starts_with("/b/").then(|| Protocol::new(id).unwrap());
        let mut stream = dial_lazy(near, B);
        stream.flush().await.unwrap();
        let (protocol, _) = listen(far, &ours, &Config::default()).await.unwrap();
        assert_eq!(protocol, B);
    });
}

/// Attack: slow loris. Time is the caller's to bound (`p2p-swarm`, `tests/stalls.rs`): what is here
/// of it is a negotiation that no single byte completes.
#[test]
fn a_negotiation_that_comes_a_byte_at_a_time_is_pending_until_its_last() {
    block_on(async {
        let (mut near, far) = link();
        let (ours, config) = ([A], Config::default());
        let mut listening = pin!(listen(far, &ours, &config));
        for byte in &AGREE_A[..AGREE_A.len() - 1] {
            near.write_all(&[*byte]).await.unwrap();
            assert!(poll_immediate(&mut listening).await.is_none());
        }
        near.write_all(b"\n").await.unwrap();
        assert_eq!(listening.await.unwrap().0, A);
    });
}

/// Attack: 10 000 proposals or `ls`.
#[test]
fn a_remote_that_proposes_without_end_is_refused_after_32() {
    for flood in [
        &b"\x05/x/1\n"[..],
        b"\x03ls\n",
        b"\x03na\n",
        b"\x01\n",
        GREETING,
    ] {
        block_on(async {
            let (near, far) = link();
            let (mut reader, mut writer) = near.split();
            let answered = far.writes();
            let (ours, config) = ([A], Config::default());
            let mut listening = pin!(listen(far, &ours, &config));
            writer.write_all(GREETING).await.unwrap();
            let mut error = None;
            for _ in 0..10_000 {
                writer.write_all(flood).await.unwrap();
                if let Some(done) = poll_immediate(&mut listening).await {
                    error = done.err();
                    break;
                }
            }
            assert!(matches!(
                error,
                Some(Error::Negotiation(NegotiationError::TooManyProposals {
                    max: 32
                }))
            ));
            assert_eq!(
                answered.count(),
                32,
                "one for each proposal, the greeting with the first"
            );
            assert!(reader.read(&mut [0; 64]).await.unwrap() > 0);
        });
    }
}

/// Attack: a line of 64 KiB, or one that never ends.
#[test]
fn a_long_line_is_refused_by_its_length() {
    block_on(async {
        for line in [
            &b"\x80\x80\x04"[..],
            b"\xff\xff\xff",
            b"\x81\x08/aaaa",
            b"\x00",
            b"\x83\x00na\n",
        ] {
            let (mut near, far) = link();
            near.write_all(&[GREETING, line].concat()).await.unwrap();
            let listened = listen(far, &[A], &Config::default()).await;
            assert!(matches!(
                listened,
                Err(Error::Negotiation(NegotiationError::Malformed(_)))
            ));
        }
    });
}

/// Attack: the newline is missing.
#[test]
fn a_token_without_newline_is_refused() {
    block_on(async {
        let (mut near, far) = link();
        near.write_all(&[GREETING, b"\x05/a/1x"].concat())
            .await
            .unwrap();
        let listened = listen(far, &[A], &Config::default()).await;
        let Err(Error::Negotiation(NegotiationError::Malformed(why))) = listened else {
            panic!("malformed")
        };
        assert_eq!(why, p2p_multistream::wire::TokenError::NoNewline);
    });
}

/// Attack: a dialer's optimistic payload, chosen by somebody else, looks like a proposal.
#[test]
fn payload_for_a_refused_protocol_never_becomes_a_proposal() {
    block_on(async {
        let (near, far) = link();
        let mut stream = dial_lazy(near, B);
        stream.write_all(b"\x05/a/1\nfor a").await.unwrap();
        let listened = listen(far, &[A], &Config::default()).await;
        assert!(matches!(
            listened,
            Err(Error::Negotiation(NegotiationError::PayloadForRefused { refused })) if refused == "/b/1"
        ));
        // The dialer still learns why.
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert!(matches!(
            NegotiationError::of(&error),
            Some(NegotiationError::Refused { .. })
        ));
    });
}

#[test]
fn a_remote_that_speaks_http_is_recognised_by_its_first_bytes() {
    block_on(async {
        let (mut near, far) = link();
        near.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let listened = listen(far, &[A], &Config::default()).await;
        let Err(Error::Negotiation(error)) = listened else {
            panic!("not multistream")
        };
        assert_eq!(
            error.to_string(),
            "the remote does not speak multistream-select: it sent \"GET / HTTP/1.1\\r\\n\""
        );
    });
}

#[test]
fn a_remote_that_hangs_up_is_not_a_clean_end() {
    block_on(async {
        for cut in 0..AGREE_A.len() {
            let (near, mut far) = link();
            far.write_all(&AGREE_A[..cut]).await.unwrap();
            drop(far);
            let error = dial_lazy(near, A).read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
    });
}

#[test]
fn a_reset_below_is_not_mistaken_for_an_answer() {
    struct Reset;
    impl AsyncRead for Reset {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
    impl AsyncWrite for Reset {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let error = block_on(dial_lazy(Reset, A).read_to_end(&mut Vec::new())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn read_n(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn talk(mut stream: Negotiated<End>, payload: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = (&mut stream).split();
    let mut received = Vec::new();
    let (sent, read) = join(
        async {
            writer.write_all(payload).await?;
            writer.close().await
        },
        reader.read_to_end(&mut received),
    )
    .await;
    sent.unwrap();
    read.unwrap();
    received
}

proptest! {
    #[test]
    fn both_payloads_survive_every_split(
        step in 1usize..40,
        capacity in 1usize..200,
        lazy: bool,
        there in proptest::collection::vec(any::<u8>(), 0..300),
        back in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (near, far) = narrow_link(step, capacity);
        let config = Config::default();
        let (at_dialer, at_listener) = block_on(join(
            async {
                let stream = if lazy {
                    dial_lazy(near, A)
                } else {
                    dial(near, &[A], &config).await.unwrap().1
                };
                talk(stream, &there).await
            },
            async {
                let (_, stream) = listen(far, &[A], &config).await.unwrap();
                talk(stream, &back).await
            },
        ));
        prop_assert_eq!(at_dialer, back);
        prop_assert_eq!(at_listener, there);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_agree_by_chance(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        greeted: bool,
    ) {
        let sent = if greeted { [GREETING, &bytes].concat() } else { bytes };
        let accepted = block_on(async {
            let (mut near, far) = link();
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            listen(far, &[A, B], &Config::default()).await
        });
        if let Ok((protocol, _)) = accepted {
            let id = protocol.as_str().as_bytes();
            prop_assert!(sent.starts_with(GREETING));
            prop_assert!(sent.windows(id.len()).any(|window| window == id));
        }
        let agreed = block_on(async {
            let (mut near, far) = link();
            near.write_all(&sent).await.unwrap();
            near.close().await.unwrap();
            dial(far, &[A, B], &Config::default()).await.is_ok()
        });
        prop_assert_eq!(agreed, sent.starts_with(AGREE_A));
    }
}

#[test]
fn a_waiting_reader_does_not_take_the_wake_up_of_a_waiting_writer() {
    let link = Jammed::default();
    let mut stream = dial_lazy(link.clone(), A);
    let (writer, reader) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let (write_waker, read_waker) = (writer.clone().into(), reader.clone().into());
    let mut write_cx = Context::from_waker(&write_waker);
    let mut read_cx = Context::from_waker(&read_waker);

    // The halves of a split stream, each in a task of its own.
    let mut stream = Pin::new(&mut stream);
    assert!(
        stream
            .as_mut()
            .poll_write(&mut write_cx, b"question")
            .is_pending()
    );
    assert!(
        stream
            .as_mut()
            .poll_read(&mut read_cx, &mut [0; 8])
            .is_pending()
    );
    link.clear();
    if reader.0.load(Ordering::SeqCst) > 0 {
        assert!(
            stream
                .as_mut()
                .poll_read(&mut read_cx, &mut [0; 8])
                .is_pending()
        );
    }

    assert_eq!(writer.0.load(Ordering::SeqCst), 1);
    assert!(
        stream
            .as_mut()
            .poll_write(&mut write_cx, b"question")
            .is_ready()
    );
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A link that takes nothing until it is cleared, brings nothing, and wakes who asked last.
#[derive(Clone, Default)]
struct Jammed(Arc<Mutex<(bool, Option<Waker>)>>);

impl Jammed {
    fn clear(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        waker.unwrap().wake();
    }
}

impl AsyncRead for Jammed {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Jammed {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(Ok(bytes.len()));
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
