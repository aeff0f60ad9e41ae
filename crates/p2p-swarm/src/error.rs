//! What can go wrong between an address and a stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{
    Blame, Chain, Denied, Exceeded, InvalidProtocol, Multiaddr, PeerId, Protocol, SecurityError,
    TransportError,
};

use crate::target::InvalidTarget;

/// A step on the way from an address to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// Our own policy and limits.
    Admission,
    /// The socket.
    Transport,
    /// Who is there: choosing a secure channel and its handshake.
    Security,
    /// Choosing a multiplexer.
    Muxer,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admission => "admission",
            Self::Transport => "transport",
            Self::Security => "security",
            Self::Muxer => "muxer",
        })
    }
}

/// Why an address, or an incoming link, did not become a connection. Nothing stays open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Dials to this address failed lately, and nobody named it for this one.
    #[error(
        "left alone for another {left:.1?} after {failures} failures; Swarm::reset_backoff ends that"
    )]
    Backoff {
        /// Failures in a row.
        failures: u32,
        /// Until it will be tried again.
        left: Duration,
    },
    /// Our policy said no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The dial had taken too long when this address was still under way, or not yet begun.
    #[error("given up because the dial took {after:?} (setting: dial_deadline)")]
    GivenUp {
        /// How long.
        after: Duration,
    },
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// No multiplexer could be agreed on.
    #[error("no multiplexer agreed on")]
    Muxer(#[source] p2p_multistream::Error),
    /// The secure channel could not be agreed on: what answers is not a libp2p node, or speaks
    /// none of our secure channels.
    #[error("no secure channel agreed on")]
    Negotiation(#[source] p2p_multistream::Error),
    /// The handshake of the secure channel failed.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The swarm is closing.
    #[error("the swarm is closed")]
    Closed,
    /// We reached ourselves.
    #[error("the address is our own")]
    SelfDial,
    /// A step was not done in time.
    #[error("no answer within {after:?} (setting: {setting})")]
    Timeout {
        /// What was being waited for.
        step: Step,
        /// How long.
        after: Duration,
        /// The field of [`Config`](crate::Config) that says how long.
        setting: &'static str,
    },
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl UpgradeError {
    /// How far it came.
    pub fn step(&self) -> Step {
        match self {
            Self::Backoff { .. }
            | Self::Denied(_)
            | Self::GivenUp { .. }
            | Self::Limit(_)
            | Self::Closed
            | Self::SelfDial => Step::Admission,
            Self::Muxer(_) => Step::Muxer,
            Self::Negotiation(_)
            | Self::Security(_)
            | Self::Transport(TransportError::Security(_)) => Step::Security,
            Self::Timeout { step, .. } => *step,
            Self::Transport(_) => Step::Transport,
        }
    }

    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Denied(_) | Self::Limit(_) | Self::Closed | Self::SelfDial => Blame::Us,
            Self::Muxer(error) | Self::Negotiation(error) => error.blame(),
            Self::Security(error) => error.blame(),
            Self::Backoff { .. } | Self::GivenUp { .. } | Self::Timeout { .. } => Blame::Network,
            Self::Transport(error) => error.blame(),
        }
    }

    /// The limit that refused it, if one did.
    pub fn exceeded(&self) -> Option<&Exceeded> {
        if let Self::Limit(exceeded) | Self::Transport(TransportError::Limit(exceeded)) = self {
            return Some(exceeded);
        }
        None
    }

    /// Whether it says something about the address, rather than about us.
    pub(crate) fn concerns_address(&self) -> bool {
        match self {
            Self::Backoff { .. }
            | Self::Denied(_)
            | Self::GivenUp { .. }
            | Self::Limit(_)
            | Self::Closed
            | Self::SelfDial
            | Self::Transport(TransportError::Limit(_) | TransportError::Unsupported { .. }) => {
                false
            }
            Self::Muxer(_)
            | Self::Negotiation(_)
            | Self::Security(_)
            | Self::Timeout { .. }
            | Self::Transport(_) => true,
        }
    }

    /// Whether somebody else answered than was expected.
    pub(crate) fn is_wrong_peer(&self) -> bool {
        matches!(
            self,
            Self::Security(SecurityError::WrongPeer { .. })
                | Self::Transport(TransportError::Security(SecurityError::WrongPeer { .. }))
        )
    }
}

/// One address that was tried in vain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub addr: Multiaddr,
    /// What went wrong there.
    pub error: Arc<UpgradeError>,
    /// From the start of this attempt to its end.
    pub took: Duration,
}

/// Why a peer could not be dialed. Nothing stays open.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Every address failed. At most the first 16 are listed.
    #[error("{}", list(.attempts, *.more, *.left_out))]
    AllFailed {
        /// The addresses in the order in which they failed.
        attempts: Arc<[Attempt]>,
        /// Failed addresses that are not listed.
        more: usize,
        /// Addresses that were not tried, because one dial tries at most
        /// [`Limits::max_dial_addrs`](crate::Limits::max_dial_addrs).
        left_out: usize,
    },
    /// The swarm is closed.
    #[error("the swarm is closed")]
    Closed,
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// Nothing is known of where this peer could be.
    #[error("no address known for {peer}; add one with Swarm::add_addrs or dial a full address")]
    NoAddress {
        /// The peer.
        peer: PeerId,
    },
    /// The peer is ourselves.
    #[error("cannot dial ourselves ({peer})")]
    SelfDial {
        /// Our own id.
        peer: PeerId,
    },
    /// The text is neither an address nor a peer id.
    #[error(transparent)]
    Target(#[from] InvalidTarget),
}

/// The most attempts that an error lists.
pub(crate) const MAX_ATTEMPTS: usize = 16;

fn list(attempts: &[Attempt], more: usize, left_out: usize) -> String {
    let mut text = format!("none of {} addresses worked:", attempts.len() + more);
    if attempts.len() == 1 && more == 0 {
        text = "the address did not work:".to_owned();
    }
    for Attempt { addr, error, took } in attempts {
        let step = error.step();
        text += &format!(
            "\n  {addr}: {step} failed after {:.1?}: {}",
            took,
            Chain(&**error)
        );
    }
    if more > 0 {
        text += &format!("\n  and {more} more");
    }
    if left_out > 0 {
        text += &format!("\n  {left_out} more were not tried (setting: max_dial_addrs)");
    }
    text
}

impl DialError {
    /// Who to hold responsible: the remote if any address got as far as blaming it, us if nothing
    /// ever left this host.
    pub fn blame(&self) -> Blame {
        match self {
            Self::AllFailed { attempts, .. } => {
                let mut blames = attempts.iter().map(|attempt| attempt.error.blame());
                if blames.clone().any(|blame| blame == Blame::Remote) {
                    Blame::Remote
                } else if blames.all(|blame| blame == Blame::Us) {
                    Blame::Us
                } else {
                    Blame::Network
                }
            }
            Self::Closed
            | Self::Limit(_)
            | Self::NoAddress { .. }
            | Self::SelfDial { .. }
            | Self::Target(_) => Blame::Us,
        }
    }
}

/// Why no stream could be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer could not be dialed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection gave no stream.
    #[error(transparent)]
    Muxer(#[from] p2p_core::OpenError),
    /// None of the protocols could be agreed on.
    #[error("no protocol agreed on: {0}")]
    Negotiation(#[source] Arc<p2p_multistream::Error>),
    /// The protocol id is not one.
    #[error(transparent)]
    Protocol(#[from] InvalidProtocol),
    /// The remote did not answer the proposals in time.
    #[error("no answer to the proposed protocols within {0:?} (setting: negotiation_timeout)")]
    Timeout(Duration),
}

impl OpenError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Dial(error) => error.blame(),
            Self::Muxer(error) => error.blame(),
            Self::Negotiation(error) => error.blame(),
            Self::Protocol(_) => Blame::Us,
            Self::Timeout(_) => Blame::Network,
        }
    }
}

/// Why an incoming stream ended before it had a protocol.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// No protocol could be agreed on.
    #[error("no protocol agreed on for an incoming stream: {0}")]
    Negotiation(#[source] Arc<p2p_multistream::Error>),
    /// The remote did not name a protocol in time.
    #[error("no protocol named for an incoming stream within {0:?} (setting: negotiation_timeout)")]
    Timeout(Duration),
}

impl StreamError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Negotiation(error) => error.blame(),
            Self::Timeout(_) => Blame::Remote,
        }
    }

    /// For counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Negotiation(_) => "stream negotiation",
            Self::Timeout(_) => "stream timeout",
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The swarm is closed.
    #[error("the swarm is closed")]
    Closed,
    /// The address names a peer that is not us.
    #[error("{addr} names another peer; listen addresses end before /p2p or with our own id")]
    NotOurs {
        /// The address.
        addr: Multiaddr,
    },
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl ListenError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Closed | Self::NotOurs { .. } => Blame::Us,
            Self::Transport(error) => error.blame(),
        }
    }
}

/// Why a protocol cannot be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// It has a handler already.
    #[error("{0} has a handler already; remove it first, with Swarm::unhandle")]
    Taken(Protocol),
    /// The protocol id is not one.
    #[error(transparent)]
    Protocol(#[from] InvalidProtocol),
}

/// Why a swarm cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A channel without security beside one with it: an attacker on the path would choose it.
    #[error("{0} gives no security and cannot be offered beside a secure channel: choose one")]
    Insecure(Protocol),
    /// The first wait is longer than the longest.
    #[error("dial_backoff ({first:?}) is more than dial_backoff_max ({longest:?})")]
    Backoff {
        /// The value of `dial_backoff`.
        first: Duration,
        /// The value of `dial_backoff_max`.
        longest: Duration,
    },
    /// Two settings contradict each other.
    #[error("{part} ({value}) is more than {whole} ({limit})")]
    Contradiction {
        /// The setting that is too high.
        part: &'static str,
        /// Its value.
        value: usize,
        /// The setting that it must not exceed.
        whole: &'static str,
        /// Its value.
        limit: usize,
    },
    /// A transport needs a multiplexer.
    #[error("no multiplexer: add one, or only transports that bring their own")]
    NoMuxer,
    /// A transport needs a secure channel.
    #[error("no secure channel: add one, or only transports that bring their own")]
    NoSecurity,
    /// Without a transport nobody can be reached.
    #[error("no transport: add one")]
    NoTransport,
    /// The setting is too small to be shared.
    #[error("{setting} is {value}, and must be at least {least}")]
    TooLittle {
        /// The field of [`Limits`](crate::Limits).
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The least that it can be.
        least: usize,
    },
    /// The setting is beyond what there is.
    #[error("{setting} is {value}, and can be at most {most}")]
    TooMany {
        /// The field of [`Limits`](crate::Limits).
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The most that it can be.
        most: usize,
    },
    /// The setting must be above zero.
    #[error("{setting} must be above zero")]
    Zero {
        /// The field of [`Config`](crate::Config).
        setting: &'static str,
    },
    /// A part may not take more than the whole.
    #[error("{part} ({wanted} bytes) is more than {whole} ({limit} bytes)")]
    Memory {
        /// The field of [`Config`](crate::Config) for the part.
        part: &'static str,
        /// Its value.
        wanted: usize,
        /// The field for the whole.
        whole: &'static str,
        /// Its value.
        limit: usize,
    },
}
