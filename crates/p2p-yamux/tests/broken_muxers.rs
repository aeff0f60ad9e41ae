//! Each rule of the suite of multiplexers can be broken: by yamux with one thing wrong, and the rule
//! says which it is, where it comes from, and what it saw.
#![expect(clippy::wildcard_enum_match_arm, reason = "a fault concerns one place")]

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Either, poll_fn, select};
use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::conformance::faulty::{Fault, Faulty, broken, close_at_once};
use p2p_core::{
    BoxIo, BoxStream, Budget, ConnectionEnd, ErrorCode, Multiplex, MuxedStream, Muxer, Muxing,
    OpenError, Protocol, Role, Rt,
};
use p2p_mux::conformance::rules::no_wake_up_is_lost_within;
use p2p_mux::conformance::{RULES, Subject, rule};
use p2p_yamux::{Config, Yamux};

/// What is wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// Of the streams as many are lost as accepts were dropped.
    AcceptTakesAlong,
    /// What a stream carries.
    Bytes(Fault),
    /// What a stream carries that a side of this role has.
    BytesOf(Role, Fault),
    /// The driver ends with a close, whatever is not sent.
    CloseIsAbrupt,
    /// The driver never ends once there was a close.
    CloseNeverEnds,
    /// A dropped driver does not end anything.
    DriverIsForgotten,
    /// What becomes of a dropped stream.
    Dropped(fn(BoxStream)),
    /// Only so many streams are opened.
    FewOpen(usize),
    Nothing,
    /// Who does not get a stream waits for one.
    OpenHangs,
    /// Who has opened a stream accepts none.
    OpensOrAccepts,
    /// A writer that waits holds up the writers of other streams.
    WritersQueue,
}

/// Yamux, but for one thing.
#[derive(Clone, Debug)]
struct Broken {
    yamux: Yamux,
    wrong: Wrong,
}

#[derive(Debug)]
struct BrokenMuxer {
    inner: Arc<dyn Muxer>,
    role: Role,
    wrong: Wrong,
    opened: AtomicUsize,
    /// Accepts that were dropped while they waited.
    dropped: Arc<AtomicUsize>,
    closed: Mutex<Option<oneshot::Sender<ErrorCode>>>,
    busy: Arc<AtomicU64>,
}

macro_rules! broken {
    ($($rule:ident: $wrong:expr => $seen:expr;)*) => {
        $(#[test]
        fn $rule() {
            is_noticed(stringify!($rule), $wrong, $seen);
        })*

        #[test]
        fn every_rule_but_that_on_threads_can_be_broken() {
            let here = [$(stringify!($rule)),*];
            let rules = RULES.iter().map(|rule| rule.name);
            assert!(rules.filter(|name| *name != ON_THREADS).eq(here));
        }
    };
}

const ON_THREADS: &str = "no_wake_up_is_lost_between_threads";
const HANGS: &str = "everybody waits and nothing will happen any more";

broken! {
    a_cancelled_accept_loses_no_stream: Wrong::AcceptTakesAlong => HANGS;
    a_close_of_the_connection_delivers_what_was_written:
        Wrong::CloseIsAbrupt => "bytes of 20480";
    a_close_of_the_connection_never_hangs: Wrong::CloseNeverEnds => HANGS;
    a_dropped_driver_ends_everything: Wrong::DriverIsForgotten => HANGS;
    a_dropped_open_stream_is_reset:
        Wrong::Dropped(|mut stream| close_at_once(&mut stream)) => "`Result::unwrap_err()`";
    a_lost_link_reaches_everybody: Wrong::Bytes(Fault::ErrorIsEnd) => "the connection is over";
    a_refused_stream_leaves_the_connection_open: Wrong::Nothing => HANGS;
    a_reset_by_the_acceptor_reaches_both_ends:
        Wrong::BytesOf(Role::Listener, Fault::ResetIsClose) => HANGS;
    a_reset_by_the_opener_reaches_both_ends:
        Wrong::BytesOf(Role::Dialer, Fault::ResetIsClose) => HANGS;
    a_reset_interrupts_a_blocked_writer: Wrong::Bytes(Fault::ErrorHangs) => HANGS;
    a_slow_reader_harms_only_itself: Wrong::WritersQueue => HANGS;
    a_stopped_reader_stops_its_writer_and_memory_stays_bounded:
        Wrong::Bytes(Fault::Hoards) => "nothing stops the writer";
    a_stream_carries_bytes_both_ways:
        Wrong::Bytes(Fault::ChangesByte(9000)) => "other bytes than were written";
    an_open_after_the_remote_closed_fails: Wrong::OpenHangs => HANGS;
    both_sides_open_at_once: Wrong::OpensOrAccepts => HANGS;
    close_then_drop_delivers_everything:
        Wrong::Dropped(|mut stream| stream.reset(ErrorCode::NONE)) => "ConnectionReset";
    either_end_may_close_first:
        Wrong::Bytes(Fault::CloseEndsBoth) => "clean end before everything was delivered";
    many_streams_at_once: Wrong::FewOpen(99) => HANGS;
    nothing_is_left_when_all_streams_are_done:
        Wrong::Dropped(std::mem::forget) => "streams left";
    split_halves_carry_64_mib_both_ways_at_once: Wrong::Bytes(Fault::HalfDuplex) => HANGS;
    writing_after_close_is_a_broken_pipe:
        Wrong::Bytes(Fault::WritesAfterClose) => "`Result::unwrap_err()`";
}

/// The rule with the patience of somebody who knows that it is in vain.
#[test]
fn a_wake_up_that_is_lost_between_threads_is_noticed() {
    let seen = broken(ON_THREADS, rule(ON_THREADS).spec, || {
        let subject = subject(Wrong::Bytes(Fault::NeverWakes));
        let patience = Duration::from_secs(1);
        rule(ON_THREADS).judge(|| no_wake_up_is_lost_within(patience, &subject));
    });
    assert!(seen.starts_with("a wake-up is lost"), "{seen}");
}

#[test]
fn without_a_fault_every_rule_holds() {
    let mut subject = subject(Wrong::Nothing);
    let mut config = Config::default();
    config.max_inbound = 8;
    subject.eight = Arc::new(Broken {
        yamux: Yamux::new(config),
        wrong: Wrong::Nothing,
    });
    p2p_mux::conformance::run_all(&subject);
}

fn is_noticed(name: &str, wrong: Wrong, expected: &str) {
    let rule = rule(name);
    let seen = broken(rule.name, rule.spec, || rule.check(&subject(wrong)));
    assert!(seen.contains(expected), "{name} saw: {seen}");
}

/// Neither has a limit of eight.
fn subject(wrong: Wrong) -> Subject {
    let yamux = Yamux::default();
    let broken = Arc::new(Broken { yamux, wrong });
    Subject {
        normal: broken.clone(),
        eight: broken,
    }
}

impl Multiplex for Broken {
    fn protocol(&self) -> Protocol {
        self.yamux.protocol()
    }

    fn start(&self, io: BoxIo, role: Role, rt: &Rt, budget: &Budget) -> Muxing {
        let Muxing { muxer, driver } = self.yamux.start(io, role, rt, budget);
        let (close, closed) = oneshot::channel();
        let muxer = BrokenMuxer {
            inner: muxer,
            role,
            wrong: self.wrong,
            opened: AtomicUsize::new(0),
            dropped: Arc::default(),
            closed: Mutex::new(Some(close)),
            busy: Arc::default(),
        };
        Muxing {
            muxer: Arc::new(muxer),
            driver: self.driver(driver, closed),
        }
    }
}

impl Broken {
    fn driver(
        &self,
        driver: BoxFuture<'static, ConnectionEnd>,
        closed: oneshot::Receiver<ErrorCode>,
    ) -> BoxFuture<'static, ConnectionEnd> {
        match self.wrong {
            Wrong::CloseIsAbrupt => async {
                match select(closed, driver).await {
                    Either::Left((code, _)) => ConnectionEnd::Local(code.unwrap_or_default()),
                    Either::Right((end, _)) => end,
                }
            }
            .boxed(),
            Wrong::CloseNeverEnds => async {
                let end = driver.await;
                match end {
                    ConnectionEnd::Local(_) => pending().await,
                    end => end,
                }
            }
            .boxed(),
            Wrong::DriverIsForgotten => {
                let mut driver = std::mem::ManuallyDrop::new(driver);
                poll_fn(move |cx| driver.poll_unpin(cx)).boxed()
            }
            _ => driver,
        }
    }
}

impl BrokenMuxer {
    fn stream(&self) -> impl Fn(BoxStream) -> BoxStream + Send + 'static {
        let (wrong, role, busy) = (self.wrong, self.role, self.busy.clone());
        move |stream| match wrong {
            Wrong::Bytes(fault) => Box::new(Faulty::new(stream, fault)),
            Wrong::BytesOf(of, fault) if of == role => Box::new(Faulty::new(stream, fault)),
            Wrong::Dropped(with) => Box::new(Faulty::new(stream, Fault::Nothing).on_drop(with)),
            Wrong::WritersQueue => Box::new(Queued {
                stream,
                busy: busy.clone(),
            }),
            _ => stream,
        }
    }
}

/// Counts when it is dropped.
struct Drops(Arc<AtomicUsize>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Muxer for BrokenMuxer {
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, OpenError>> {
        let (wrong, make, open) = (self.wrong, self.stream(), self.inner.open());
        let opened = self.opened.fetch_add(1, Relaxed);
        async move {
            if matches!(wrong, Wrong::FewOpen(count) if opened >= count) {
                return pending().await;
            }
            match open.await {
                Err(_) if matches!(wrong, Wrong::OpenHangs) => pending().await,
                opened => opened.map(make),
            }
        }
        .boxed()
    }

    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>> {
        if matches!(self.wrong, Wrong::OpensOrAccepts) && self.opened.load(Relaxed) > 0 {
            return pending().boxed();
        }
        let (make, accept, dropped) = (self.stream(), self.inner.accept(), self.dropped.clone());
        if !matches!(self.wrong, Wrong::AcceptTakesAlong) {
            return accept.map(|stream| stream.map(make)).boxed();
        }
        let waits = Drops(dropped.clone());
        async move {
            let stream = accept.await;
            if dropped.load(Relaxed) > 0 {
                return pending().await;
            }
            std::mem::forget(waits);
            stream.map(make)
        }
        .boxed()
    }

    fn close(&self, code: ErrorCode) {
        self.inner.close(code);
        let closed = self.closed.lock().ok().and_then(|mut closed| closed.take());
        // Only one kind of driver asks.
        let _ = closed.map(|closed| closed.send(code));
    }

    fn streams(&self) -> usize {
        self.inner.streams()
    }
}

/// Waits while a writer of another stream does.
struct Queued {
    stream: BoxStream,
    /// Whose writer waits: the number of the stream and one, or nobody.
    busy: Arc<AtomicU64>,
}

impl AsyncRead for Queued {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Queued {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let us = self.stream.id() + 1;
        if ![0, us].contains(&self.busy.load(Relaxed)) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        let waits = if written.is_pending() { us } else { 0 };
        self.busy.store(waits, Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl MuxedStream for Queued {
    fn reset(&mut self, code: ErrorCode) {
        self.stream.reset(code);
    }

    fn id(&self) -> u64 {
        self.stream.id()
    }
}
