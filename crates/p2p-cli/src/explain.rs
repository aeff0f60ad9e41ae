//! From the errors of the stack to what to do about them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an error without advice of its own gets the general one"
)]

use std::io;
use std::time::Duration;

use p2p::core::{ConnectionEnd, Multiaddr, Protocol, SecurityError, StreamReset, TransportError};
use p2p::multistream::NegotiationError;
use p2p::pnet::KeysMayDiffer;
use p2p::socks::SocksError;
use p2p::swarm::{Chain, DialError, OpenError, Step, UpgradeError};
use p2p::websocket::HandshakeError;

use crate::failure::Failure;
use crate::units;

/// A connection that could not be made.
pub(crate) fn dial(what: impl Into<String>, error: &DialError) -> Failure {
    let DialError::AllFailed { attempts, .. } = error else {
        return Failure::new(what, "admission", Chain(error));
    };
    let Some(last) = attempts.last() else {
        return Failure::new(what, "transport", Chain(error));
    };
    let failure = attempted(what, &last.addr, &last.error);
    attempts.iter().fold(failure, |failure, attempt| {
        failure.tried(format!(
            "{}, for {}",
            attempt.addr,
            units::duration(attempt.took)
        ))
    })
}

/// An address that could not be reached.
pub(crate) fn attempted(
    what: impl Into<String>,
    addr: &Multiaddr,
    error: &UpgradeError,
) -> Failure {
    Failure::new(what, step(error.step()), cause(error)).help(advice(addr, error))
}

/// A stream that could not be opened.
pub(crate) fn open(what: impl Into<String>, error: &OpenError, protocol: &Protocol) -> Failure {
    match error {
        OpenError::Dial(error) => dial(what, error),
        OpenError::Timeout(after) => no_answer(what, protocol, *after),
        OpenError::Muxer(_) | OpenError::Negotiation(_) | OpenError::Protocol(_) => {
            Failure::new(what, "protocol", Chain(error))
        }
        other => Failure::new(what, "protocol", Chain(other)),
    }
    .tried(format!("a stream for {protocol}"))
}

/// A stream that failed while it was used.
pub(crate) fn stream(what: impl Into<String>, error: &io::Error, protocol: &Protocol) -> Failure {
    if let Some(refused) = NegotiationError::of(error) {
        return unsupported(what, protocol, refused);
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return Failure::new(what, "protocol", error).help(SLOW);
    }
    let failure = Failure::new(what, "exchange", Chain(error));
    if StreamReset::of(error).is_some() {
        failure.help("the other end gave up on this stream; its log may say why")
    } else if ConnectionEnd::of(error).is_some() {
        failure.help("check that the other end is still running; its log may say why it hung up")
    } else {
        failure
    }
}

/// A protocol that the other end does not speak.
pub(crate) fn unsupported(
    what: impl Into<String>,
    protocol: &Protocol,
    cause: impl std::fmt::Display,
) -> Failure {
    Failure::new(what, "protocol", cause)
        .tried(format!("a stream for {protocol}"))
        .help("`p2p identify ADDR` shows which protocols the other end answers")
}

/// An answer that did not come in time.
pub(crate) fn no_answer(
    what: impl Into<String>,
    to: impl std::fmt::Display,
    after: Duration,
) -> Failure {
    let after = units::duration(after);
    Failure::new(
        what,
        "exchange",
        format!("no answer to {to} within {after}"),
    )
    .help(SLOW)
}

/// What helps against most silences.
pub(crate) const SLOW: &str =
    "if the other end is slow or far away, give it more time with --timeout";

/// What may be behind an early end.
const HUNG_UP: &str = "the other end hung up: it may not be a libp2p node, want another --security or \
                       --swarm-key, or have no room";

fn step(step: Step) -> &'static str {
    match step {
        Step::Admission => "admission",
        Step::Transport => "transport",
        Step::Security => "security",
        Step::Muxer => "muxer",
        _ => "connection",
    }
}

fn cause(error: &UpgradeError) -> String {
    let UpgradeError::Timeout { step, after, .. } = error else {
        return Chain(error).to_string();
    };
    let after = units::duration(*after);
    if *step == Step::Transport {
        format!("the socket did not open within {after}")
    } else {
        format!("the other end took the connection, and then did not answer within {after}")
    }
}

/// What to do about a failed attempt.
fn advice(addr: &Multiaddr, error: &UpgradeError) -> String {
    match error {
        UpgradeError::Transport(error) => transport_advice(addr, error),
        UpgradeError::Timeout { step, .. } if *step == Step::Transport => {
            "check the address and whether a firewall drops the packets; if it is far away, give \
             it more time with --timeout"
                .to_owned()
        }
        UpgradeError::Timeout { .. } => {
            "check that the port is that of a libp2p node: something else may be waiting for us to \
             speak; if it is slow, give it more time with --timeout"
                .to_owned()
        }
        UpgradeError::Negotiation(error) => security_advice(error),
        UpgradeError::Muxer(_) => {
            "the two ends have no multiplexer in common; try --muxer yamux,mplex".to_owned()
        }
        UpgradeError::Security(error) => handshake_advice(addr, error),
        UpgradeError::SelfDial => {
            "both ends have the same key: give one of them another key file".to_owned()
        }
        _ => "this is a rule or limit of our own node".to_owned(),
    }
}

fn transport_advice(addr: &Multiaddr, error: &TransportError) -> String {
    match error {
        TransportError::Connect { source, .. } => match source.kind() {
            _ if socks_error(source).is_some() => proxy_advice(source),
            io::ErrorKind::ConnectionRefused => {
                "nothing listens there: check the port, and that the other end is running"
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "there is no way to this address from here: check it, and the network"
            }
            _ => "check the address, and that the other end is running",
        }
        .to_owned(),
        TransportError::Security(error) => handshake_advice(addr, error),
        TransportError::Handshake(error) if is_unknown_authority(&**error) => {
            "if it is an authority of your own, give its certificate with --tls-root".to_owned()
        }
        TransportError::Handshake(_) => {
            "the other end is there, but did not finish the handshake: it may have no room, or \
             not be a libp2p node"
                .to_owned()
        }
        TransportError::Unsupported { .. } => {
            "this program dials TCP, QUIC and WebSocket: /ip4|ip6|dns/…/tcp/…, \
             /ip4|ip6|dns/…/udp/…/quic-v1 and /ip4|ip6|dns/…/tcp/…/ws or /wss, with or without \
             /p2p/PEER; no QUIC with --swarm-key, no QUIC and no /dnsaddr with --proxy"
                .to_owned()
        }
        _ => "check the address".to_owned(),
    }
}

fn security_advice(error: &p2p::multistream::Error) -> String {
    let error = match error {
        p2p::multistream::Error::Negotiation(error) => error,
        p2p::multistream::Error::Io(error) => return broken_off(error),
        _ => return HUNG_UP.to_owned(),
    };
    match error {
        NegotiationError::NotMultistream { found } if found.starts_with("HTTP/") => {
            "this is a web server, not a libp2p node: check the port".to_owned()
        }
        NegotiationError::Refused { .. } => {
            "the other end is a libp2p node, but wants another secure channel; try --security \
             tls,noise or, for tests, --security plaintext"
                .to_owned()
        }
        _ => "this is not a libp2p node: check the port".to_owned(),
    }
}

fn handshake_advice(addr: &Multiaddr, error: &SecurityError) -> String {
    match error {
        SecurityError::WrongPeer { found, .. } => {
            use p2p::core::AddrExt;
            format!(
                "somebody else answers at this address: if that is who you want, dial {}; if not, \
                 ask for the new address",
                addr.with_peer(*found)
            )
        }
        SecurityError::Io(error) => broken_off(error),
        SecurityError::NoCommonMuxer { .. } => {
            "the two ends have no multiplexer in common; try --muxer yamux,mplex".to_owned()
        }
        _ => "the other end broke the handshake: it may speak another version of it".to_owned(),
    }
}

/// What a proxy did, if there is one.
fn socks_error(source: &io::Error) -> Option<&SocksError> {
    source.get_ref()?.downcast_ref()
}

fn proxy_advice(source: &io::Error) -> &'static str {
    match socks_error(source) {
        Some(SocksError::Refused(_)) => {
            "the proxy is there and does not get through: check the address, and what the proxy \
             allows"
        }
        _ => "check --proxy: there has to be a proxy that speaks SOCKS5 and wants no password",
    }
}

fn is_unknown_authority(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(HandshakeError::UnknownAuthority(_)))
}

fn broken_off(error: &io::Error) -> String {
    if KeysMayDiffer::is_in(error) {
        return "both ends need the same --swarm-key".to_owned();
    }
    HUNG_UP.to_owned()
}
