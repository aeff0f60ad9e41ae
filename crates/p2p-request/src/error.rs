//! What can go wrong with a request, on either end.

use std::fmt;
use std::io;
use std::time::Duration;

use p2p_core::{Blame, ErrorCode, Exceeded, Protocol, StreamReset, frame};
use p2p_swarm::{DialError, OpenError};

/// Bytes that are not a message of the expected type.
#[derive(Debug, thiserror::Error)]
#[error("not a message of the expected type: {0}")]
pub struct BadMessage(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BadMessage {
    /// Says what is wrong with them.
    pub fn new(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(what.into())
    }
}

/// Why a request has no answer. The connection is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The answer is longer than allowed. It was not read.
    #[error("answer of {len} bytes, at most {max} allowed (setting: max_answer)")]
    AnswerTooLong {
        /// The announced length, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The answer cannot be read.
    #[error("bad answer")]
    BadAnswer(#[source] BadMessage),
    /// The peer could not be dialed. The question was not sent.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The stream or its connection failed. The question may have been answered.
    #[error("stream failed before the answer was complete")]
    Io(#[source] io::Error),
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// The remote ended the stream without an answer.
    #[error("the remote ended the stream without an answer")]
    NoAnswer,
    /// The connection gave no stream. The question was not sent.
    #[error(transparent)]
    Open(OpenError),
    /// The question is longer than allowed. It was not sent.
    #[error("question of {len} bytes, at most {max} allowed (setting: max_question)")]
    QuestionTooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The remote reset the stream: it refused, failed, or is too busy.
    #[error("the remote refused: {code}")]
    Refused {
        /// The reason given. Implementations differ in their codes: for people, and for peers
        /// that agreed on a meaning.
        code: ErrorCode,
    },
    /// No answer came in time. The question may have been answered.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// How long was waited: [`Call::timeout`](crate::Call::timeout), or less for a remote
        /// that does not even agree to the protocol.
        after: Duration,
    },
    /// The remote does not speak the protocol.
    #[error("the remote does not speak {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: Protocol,
    },
}

impl RequestError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::AnswerTooLong { .. }
            | Self::BadAnswer(_)
            | Self::NoAnswer
            | Self::Refused { .. }
            | Self::Unsupported { .. } => Blame::Remote,
            Self::Dial(error) => error.blame(),
            Self::Io(_) | Self::TimedOut { .. } => Blame::Network,
            Self::Limit(_) | Self::QuestionTooLong { .. } => Blame::Us,
            Self::Open(error) => error.blame(),
        }
    }

    pub(crate) fn from_io(error: io::Error, protocol: &Protocol) -> Self {
        // What a stream says whose proposed protocol was refused.
        if error.kind() == io::ErrorKind::Unsupported {
            let protocol = protocol.clone();
            return Self::Unsupported { protocol };
        }
        match StreamReset::of(&error) {
            Some(StreamReset {
                by: Blame::Remote,
                code,
            }) => Self::Refused { code },
            _ => Self::Io(error),
        }
    }

    pub(crate) fn from_frame(error: frame::Error, protocol: &Protocol) -> Self {
        match error {
            frame::Error::Ended => Self::NoAnswer,
            frame::Error::TooLong { len, max } => Self::AnswerTooLong { len, max },
            frame::Error::Length(error) => Self::BadAnswer(BadMessage::new(error)),
            frame::Error::Io(error) => Self::from_io(error, protocol),
            other => Self::Io(other.into()),
        }
    }
}

impl From<OpenError> for RequestError {
    fn from(error: OpenError) -> Self {
        if let OpenError::Dial(error) = error {
            Self::Dial(error)
        } else {
            Self::Open(error)
        }
    }
}

/// Why a question is not answered. Every error converts into one, so that `?` works in a handler.
///
/// The remote sees the code only.
#[derive(Debug)]
pub struct Refusal {
    code: ErrorCode,
    why: String,
}

impl Refusal {
    /// A refusal with a code for the remote and the reason for our own log.
    pub fn new(code: ErrorCode, why: impl fmt::Display) -> Self {
        Self {
            code,
            why: why.to_string(),
        }
    }

    /// What the remote is told.
    pub fn code(&self) -> ErrorCode {
        self.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (the remote is told: {})", self.why, self.code)
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    /// With [`ErrorCode::NONE`]: that we failed, and not why.
    fn from(error: E) -> Self {
        Self::new(ErrorCode::NONE, error)
    }
}

/// Why a question was not answered. Its stream is reset with [`ServeError::code`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Our answer is longer than allowed.
    #[error("our answer of {len} bytes is too long, at most {max} allowed (setting: max_answer)")]
    AnswerTooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The question cannot be read.
    #[error("bad question")]
    BadQuestion(#[source] BadMessage),
    /// The stream failed, or ended before the question was complete.
    #[error("stream failed")]
    Io(#[source] io::Error),
    /// There is no memory for the question.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// The question is longer than allowed. It was not read.
    #[error("question of {len} bytes, at most {max} allowed (setting: max_question)")]
    QuestionTooLong {
        /// The announced length, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The handler refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Question, handler and answer together took too long.
    #[error("not answered within {after:?}")]
    TimedOut {
        /// How long was waited: [`Call::timeout`](crate::Call::timeout).
        after: Duration,
    },
}

impl ServeError {
    /// What the remote is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::AnswerTooLong { .. } | Self::Limit(_) | Self::QuestionTooLong { .. } => {
                ErrorCode::RESOURCE_LIMIT_EXCEEDED
            }
            Self::BadQuestion(_) => ErrorCode::PROTOCOL_VIOLATION,
            Self::Io(_) | Self::TimedOut { .. } => ErrorCode::NONE,
            Self::Refused(refusal) => refusal.code(),
        }
    }

    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::AnswerTooLong { .. } | Self::Limit(_) | Self::Refused(_) => Blame::Us,
            Self::BadQuestion(_) | Self::QuestionTooLong { .. } => Blame::Remote,
            Self::Io(_) | Self::TimedOut { .. } => Blame::Network,
        }
    }
}

impl From<frame::Error> for ServeError {
    fn from(error: frame::Error) -> Self {
        match error {
            frame::Error::TooLong { len, max } => Self::QuestionTooLong { len, max },
            frame::Error::Length(error) => Self::BadQuestion(BadMessage::new(error)),
            frame::Error::Io(error) => Self::Io(error),
            error @ (frame::Error::Ended | _) => Self::Io(error.into()),
        }
    }
}
