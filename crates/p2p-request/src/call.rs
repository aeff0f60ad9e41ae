//! The description of a protocol.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::Protocol;
use p2p_swarm::HandlerOptions;

use crate::error::BadMessage;
use crate::message::Message;

/// A request protocol: its id, how a question `Q` and an answer `A` are written, and its limits.
///
/// Made once, as a constant, and used by both ends:
///
/// ```
/// use std::time::Duration;
/// use p2p_request::Call;
///
/// const THUMBNAIL: Call<String, Vec<u8>> = Call::new("/thumbnail/1.0.0")
///     .max_question(256)
///     .max_answer(64 << 10)
///     .timeout(Duration::from_secs(5));
/// assert_eq!(THUMBNAIL.protocol().as_str(), "/thumbnail/1.0.0");
/// ```
pub struct Call<Q, A> {
    pub(crate) protocol: Protocol,
    pub(crate) question: Codec<Q>,
    pub(crate) answer: Codec<A>,
    pub(crate) max_question: usize,
    pub(crate) max_answer: usize,
    pub(crate) max_asking: NonZeroUsize,
    pub(crate) max_answering: usize,
    pub(crate) timeout: Duration,
}

/// How a type is written and read.
pub(crate) struct Codec<T> {
    pub(crate) encode: fn(&T) -> Vec<u8>,
    pub(crate) decode: fn(Bytes) -> Result<T, BadMessage>,
}

impl<T> Clone for Codec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Codec<T> {}

impl<Q: Message, A: Message> Call<Q, A> {
    /// A protocol whose messages are written by [`Message`].
    ///
    /// # Panics
    /// If `protocol` is not a protocol id; in a `const` that is a compile error.
    pub const fn new(protocol: &'static str) -> Self {
        let question = Codec {
            encode: Q::encode,
            decode: Q::decode,
        };
        let answer = Codec {
            encode: A::encode,
            decode: A::decode,
        };
        Self::with(Protocol::from_static(protocol), question, answer)
    }
}

impl<Q, A> Call<Q, A>
where
    Q: prost::Message + Default,
    A: prost::Message + Default,
{
    /// A protocol whose messages are protobuf.
    ///
    /// # Panics
    /// If `protocol` is not a protocol id; in a `const` that is a compile error.
    pub const fn protobuf(protocol: &'static str) -> Self {
        let question = Codec {
            encode: Q::encode_to_vec,
            decode: decode_protobuf,
        };
        let answer = Codec {
            encode: A::encode_to_vec,
            decode: decode_protobuf,
        };
        Self::with(Protocol::from_static(protocol), question, answer)
    }
}

fn decode_protobuf<M: prost::Message + Default>(bytes: Bytes) -> Result<M, BadMessage> {
    M::decode(bytes).map_err(BadMessage::new)
}

impl<Q, A> Call<Q, A> {
    const fn with(protocol: Protocol, question: Codec<Q>, answer: Codec<A>) -> Self {
        Self {
            protocol,
            question,
            answer,
            max_question: 1 << 20,
            max_answer: 1 << 20,
            max_asking: NonZeroUsize::new(32).expect("above zero"),
            max_answering: 64,
            timeout: Duration::from_secs(30),
        }
    }

    /// Replaces the id, for one that is known only at run time.
    #[must_use]
    pub fn protocol_id(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets how long a question may be, in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_question(mut self, bytes: usize) -> Self {
        self.max_question = bytes;
        self
    }

    /// Sets how long an answer may be, in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }

    /// Sets how many questions wait for their answers on one connection; further ones wait for
    /// their turn. Default: 32, which every implementation answers at a time.
    #[must_use]
    pub const fn max_asking(mut self, requests: NonZeroUsize) -> Self {
        self.max_asking = requests;
        self
    }

    /// Sets how many questions of one connection are answered at the same time; more are reset.
    /// Default: 64.
    #[must_use]
    pub const fn max_answering(mut self, requests: usize) -> Self {
        self.max_answering = requests;
        self
    }

    /// Sets how long a request may take on a connection, from waiting for its turn to the whole
    /// answer. An answerer gives up after the same time. Default: 30 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Its id.
    pub const fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    pub(crate) fn options(&self) -> HandlerOptions {
        HandlerOptions::default().max_streams(self.max_answering)
    }
}

impl<Q, A> Clone for Call<Q, A> {
    fn clone(&self) -> Self {
        Self {
            protocol: self.protocol.clone(),
            question: self.question,
            answer: self.answer,
            max_question: self.max_question,
            max_answer: self.max_answer,
            max_asking: self.max_asking,
            max_answering: self.max_answering,
            timeout: self.timeout,
        }
    }
}

impl<Q, A> fmt::Debug for Call<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("protocol", &self.protocol)
            .field("max_question", &self.max_question)
            .field("max_answer", &self.max_answer)
            .field("max_asking", &self.max_asking)
            .field("max_answering", &self.max_answering)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
