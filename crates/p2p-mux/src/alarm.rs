//! A timer that is armed lazily.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use p2p_core::{Instant, Rt, Timer};

/// Wakes the driver. A deadline that moves away does not move the timer: firing once too early is
/// cheaper than moving it with every frame.
#[derive(Default)]
pub(crate) struct Alarm(Option<(Instant, Box<dyn Timer>)>);

impl Alarm {
    /// Waits until `at`, or an earlier deadline that was asked for before. Returns when it will
    /// fire, or `None` if it just did.
    pub(crate) fn poll_at(
        &mut self,
        cx: &mut Context<'_>,
        at: Instant,
        rt: &Rt,
    ) -> Option<Instant> {
        let (armed, timer) = self.0.get_or_insert_with(|| (at, rt.timer(at)));
        if *armed > at {
            timer.reset(at);
            *armed = at;
        }
        match Pin::new(timer).poll(cx) {
            Poll::Pending => Some(*armed),
            Poll::Ready(()) => {
                *armed = Instant::FAR_FUTURE;
                None
            }
        }
    }
}
