//! What the application thinks of a message before it is delivered and forwarded.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use p2p_core::{Budget, PeerId};

use crate::{Message, MessageId};

/// What a [`Validator`] thinks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Deliver and forward it.
    Accept,
    /// Neither deliver nor forward it; nobody is to blame.
    Ignore,
    /// It is invalid: whoever sent it loses score.
    Reject,
}

/// A message whose signature is right, for a [`Validator`].
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: MessageId,
    /// Who sent it to us first; its author is in the message.
    pub from: PeerId,
    /// The message.
    pub message: Arc<Message>,
}

/// Judges the messages of a topic. Cheap to clone.
#[derive(Clone)]
pub struct Validator {
    pub(crate) kind: Kind,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Now(Arc<Now>),
    Later { start: Arc<Start>, slots: Budget },
}

type Now = dyn Fn(&Candidate) -> Opinion + Send + Sync;
type Start = dyn Fn(Candidate) -> BoxFuture<'static, Opinion> + Send + Sync;

impl Validator {
    /// A function that answers at once. It runs where signatures are checked, several messages at
    /// a time: it must not wait for anything.
    pub fn new(judge: impl Fn(&Candidate) -> Opinion + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::Now(Arc::new(judge)),
        }
    }

    /// A function that takes its time. At most `concurrency` messages are judged at once; further
    /// ones are dropped as throttled, which is nobody's fault, and may come again by gossip. What
    /// takes longer than [`Config::validation_timeout`](crate::Config::validation_timeout) is
    /// dropped in the same way.
    pub fn later<Judging>(
        concurrency: usize,
        judge: impl Fn(Candidate) -> Judging + Send + Sync + 'static,
    ) -> Self
    where
        Judging: Future<Output = Opinion> + Send + 'static,
    {
        Self {
            kind: Kind::Later {
                start: Arc::new(move |candidate| judge(candidate).boxed()),
                slots: Budget::new("messages being judged", "concurrency", concurrency),
            },
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Now(_) => f.write_str("Validator"),
            Kind::Later { slots, .. } => write!(f, "Validator ({slots:?})"),
        }
    }
}
