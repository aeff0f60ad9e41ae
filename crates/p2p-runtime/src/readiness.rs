//! Whether one direction of a socket of async-io is worth trying.
//!
//! async-io forgets that a socket is ready as soon as it has said so, and saying so again costs
//! system calls and often a change of threads. Here readiness is remembered: a call is made at
//! once until it reports `WouldBlock`, and again after the next event. In between, a poll costs
//! no system call.
//!
//! An event counts when the reactor *wakes* us. What its `poll_readable` and `poll_writable`
//! return is not enough: they take an event that comes out of a wait already under way for a
//! stale one, each time they are asked, so a slow task could wait for ever on a ready socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// One direction of a socket.
pub(crate) struct Direction {
    event: Arc<Event>,
    /// Wakes `event`.
    waker: Waker,
}

struct Event {
    /// A call may succeed: none reported `WouldBlock` since the last event.
    ready: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Event {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Direction {
    /// Worth trying at once.
    pub(crate) fn new() -> Self {
        let event = Arc::new(Event {
            ready: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&event));
        Self { event, waker }
    }

    /// Makes `call` as soon as it does not block; `wait` asks the reactor for the next event.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        wait: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        // Before looking: an event after the look must find the task.
        self.event.task.register(cx.waker());
        while self.event.ready.load(Ordering::Acquire) {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Before asking: the event may come while we still do.
                    self.event.ready.store(false, Ordering::Release);
                    if let Poll::Ready(now) = wait(&mut Context::from_waker(&self.waker)) {
                        now?;
                        self.event.ready.store(true, Ordering::Release);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    use futures::task::noop_waker_ref;

    /// A socket and a reactor that never says "ready", only wakes.
    #[derive(Default)]
    struct Fake {
        bytes: Cell<usize>,
        calls: Cell<usize>,
        waiting: RefCell<Option<Waker>>,
    }

    impl Fake {
        fn poll(&self, direction: &Direction) -> Poll<io::Result<()>> {
            let wait = |cx: &mut Context<'_>| {
                *self.waiting.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            };
            let call = || {
                self.calls.set(self.calls.get() + 1);
                match self.bytes.get().checked_sub(1) {
                    None => Err(io::ErrorKind::WouldBlock.into()),
                    Some(rest) => {
                        self.bytes.set(rest);
                        Ok(())
                    }
                }
            };
            direction.poll(&Context::from_waker(noop_waker_ref()), wait, call)
        }

        fn event(&self) {
            self.waiting.take().expect("waits for an event").wake();
        }
    }

    #[test]
    fn every_event_leads_to_a_call_and_nothing_else_does() {
        let (fake, direction) = (Fake::default(), Direction::new());
        fake.bytes.set(2);
        assert!(fake.poll(&direction).is_ready());
        assert!(fake.poll(&direction).is_ready());
        assert!(fake.poll(&direction).is_pending());
        assert_eq!(fake.calls.get(), 3);
        assert!(fake.poll(&direction).is_pending());
        assert_eq!(fake.calls.get(), 3, "no call without an event");

        fake.event();
        assert!(fake.poll(&direction).is_pending());
        assert_eq!(fake.calls.get(), 4, "a stale event costs one call");
        fake.bytes.set(1);
        fake.event();
        assert!(fake.poll(&direction).is_ready());
    }

    #[test]
    fn an_event_while_asking_for_it_is_not_lost() {
        let direction = Direction::new();
        let calls = Cell::new(0);
        let polled = direction.poll(
            &Context::from_waker(noop_waker_ref()),
            |cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            },
            || {
                calls.set(calls.get() + 1);
                match calls.get() {
                    1 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            },
        );
        assert!(polled.is_ready());
    }
}
