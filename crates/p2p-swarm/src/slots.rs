//! A counter that its one owner can wait on.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::tasks::lock;

/// A fixed number of slots, handed out one by one to a single waiter.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiter: Option<Waker>,
}

/// One slot. Dropping it frees it.
pub(crate) struct Slot(Slots);

impl Slots {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, waiter: None })))
    }

    /// Waits for a free slot. Only one caller may wait at a time.
    ///
    /// Cancel-safe.
    pub(crate) async fn take(&self) -> Slot {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.free > 0 {
                state.free -= 1;
                return Poll::Ready(Slot(self.clone()));
            }
            state.waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let waiter = {
            let mut state = lock(&self.0.0);
            state.free += 1;
            state.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}
