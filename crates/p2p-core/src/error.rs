//! Whose fault an error is, how it reads, and the numbers that tell a remote why.

use std::fmt;

/// Who to hold responsible for an error.
///
/// By convention each error enum of the workspace has a method `blame()`. It sets the log level
/// (`Us`: error, `Remote`: debug, `Network`: debug or info) and feeds the score of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// A wrong call, a wrong setting, or a bug of ours.
    Us,
    /// The remote broke a protocol or refused.
    Remote,
    /// Neither end: the path between them failed, or something took too long.
    Network,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "us",
            Self::Remote => "remote",
            Self::Network => "network",
        })
    }
}

/// The error of a protocol that a seam does not know, and whose fault that protocol says it is.
///
/// Reads as the error itself, and is one behind `*`: `cause.downcast_ref::<MyError>()`.
pub struct Cause {
    error: Box<dyn std::error::Error + Send + Sync>,
    blame: Blame,
}

impl Cause {
    /// `error`, for which `blame` is responsible.
    pub fn new(blame: Blame, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self { error, blame }
    }

    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// The error itself.
    pub fn into_inner(self) -> Box<dyn std::error::Error + Send + Sync> {
        self.error
    }
}

impl std::ops::Deref for Cause {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.error
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Prints an error with its sources, innermost last, leaving out sources that repeat.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(source) = next {
            let text = source.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            next = source.source();
        }
        Ok(())
    }
}

/// Why a stream or connection was ended, as a number on the wire.
///
/// Opaque: codes differ between implementations (go's stream codes are one higher than the
/// draft's), so behaviour must never depend on a remote's code. We emit the numbers of the draft
/// libp2p/specs#623.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// No error, or no reason given.
    pub const NONE: Self = Self(0);
    /// No protocol in common.
    pub const PROTOCOL_NEGOTIATION_FAILED: Self = Self(0x1000);
    /// A limit of ours was reached.
    pub const RESOURCE_LIMIT_EXCEEDED: Self = Self(0x1001);
    /// The remote asks too often.
    pub const RATE_LIMITED: Self = Self(0x1002);
    /// The remote broke a protocol.
    pub const PROTOCOL_VIOLATION: Self = Self(0x1003);
    /// Another connection to the same peer is used instead.
    pub const SUPPLANTED: Self = Self(0x1004);
    /// Nobody used the connection.
    pub const GARBAGE_COLLECTED: Self = Self(0x1005);
    /// We are shutting down.
    pub const SHUTDOWN: Self = Self(0x1006);
    /// Policy forbids it.
    pub const GATED: Self = Self(0x1007);
    /// The application's code does not fit the transport.
    pub const CODE_OUT_OF_RANGE: Self = Self(0x1008);

    /// The draft's name of this code, if it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "none",
            0x1000 => "protocol negotiation failed",
            0x1001 => "resource limit exceeded",
            0x1002 => "rate limited",
            0x1003 => "protocol violation",
            0x1004 => "supplanted",
            0x1005 => "garbage collected",
            0x1006 => "shutdown",
            0x1007 => "gated",
            0x1008 => "code out of range",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            _ if *self == Self::NONE => f.write_str("no reason given"),
            Some(name) => write!(f, "{:#x} ({name})", self.0),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
