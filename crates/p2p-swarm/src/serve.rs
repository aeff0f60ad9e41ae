//! The task of an incoming stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::Span;

use crate::stream::boxed;

/// What a handler does with a stream.
pub(crate) type Served = BoxFuture<'static, ()>;

/// Negotiates the protocol of an incoming stream, and then does what its handler does with it.
///
/// Not an async function: there is one for each open stream, it lives as long as that, and what the
/// negotiation needs is given back before the handler begins.
pub(crate) struct Serve {
    stage: Stage,
    /// What it is logged in, if anybody listens to that.
    span: Option<Box<Span>>,
}

enum Stage {
    Negotiating(BoxFuture<'static, Option<Served>>),
    Serving(Served),
    Done,
}

impl Serve {
    /// Runs `agreed`, and then what comes of it, all in `span`.
    pub(crate) fn new(
        agreed: impl Future<Output = Option<Served>> + Send + 'static,
        span: Span,
    ) -> Self {
        Self {
            stage: Stage::Negotiating(agreed.boxed()),
            span: boxed(span),
        }
    }
}

impl Future for Serve {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stage, span } = self.get_mut();
        let _in_span = span.as_deref().map(Span::enter);
        loop {
            *stage = match stage {
                Stage::Negotiating(agreed) => {
                    ready!(agreed.poll_unpin(cx)).map_or(Stage::Done, Stage::Serving)
                }
                Stage::Serving(served) => {
                    ready!(served.poll_unpin(cx));
                    Stage::Done
                }
                Stage::Done => return Poll::Ready(()),
            };
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // What a handler that is cut off says is said in its span, too.
        let _in_span = self.span.as_deref().map(Span::enter);
        self.stage = Stage::Done;
    }
}
