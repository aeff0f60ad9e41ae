//! Known faults of the other implementations.
//!
//! An entry excuses a cell only if the cell failed and the failure shows the entry's symptom:
//! a cell that passes says `pass`, and a new failure in the same place says `fail`.

use crate::{
    cell::{Cell, Muxer, Peer, Security, Test, Transport},
    cli::Role,
};

/// A fault of a peer that we cannot mend.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Whose fault it is.
    pub(crate) of: Peer,
    /// Who has to be at the other end; `None` means anybody.
    pub(crate) with: Option<Peer>,
    /// The role of the faulty one.
    pub(crate) role: Option<Role>,
    /// `None` means any.
    pub(crate) transport: Option<Transport>,
    pub(crate) security: Option<Security>,
    pub(crate) muxer: Option<Muxer>,
    pub(crate) test: Option<Test>,
    /// One of these has to be in what the peers said or logged.
    pub(crate) symptoms: &'static [&'static str],
    pub(crate) cause: &'static str,
    /// Where to look it up.
    pub(crate) pointer: &'static str,
}

/// Versions are those of the lock files; look again when they move.
pub(crate) const KNOWN: &[Fault] = &[
    Fault {
        of: Peer::Js,
        with: Some(Peer::Rust),
        role: None,
        transport: None,
        security: None,
        muxer: Some(Muxer::Yamux),
        test: Some(Test::Transfer),
        symptoms: &["frame body is too large"],
        cause: "js sends one data frame as large as the send window; \
                rust ends the connection at a frame above 1 MiB",
        pointer: "@libp2p/yamux 8.0.3 src/stream.ts sendData; \
                  yamux 0.14.1 src/frame/io.rs MAX_FRAME_BODY_LEN",
    },
    Fault {
        of: Peer::Js,
        with: Some(Peer::Py),
        role: None,
        transport: None,
        security: Some(Security::Tls),
        muxer: None,
        test: None,
        symptoms: &["did not include the libp2p public key extension"],
        cause: "js looks for the libp2p extension in first place only; py puts two others before",
        pointer: "@libp2p/tls 3.1.10 src/utils.ts verifyPeerCertificate",
    },
    Fault {
        of: Peer::Py,
        with: Some(Peer::P2p),
        role: None,
        transport: None,
        security: Some(Security::Own),
        muxer: None,
        test: None,
        symptoms: &["QUICStreamClosedError"],
        cause: "py tells the clean end of a QUIC stream as a reset once both sides have ended it",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/stream.py read (QUICStreamClosedError)",
    },
    py_drops_unread(
        Test::Transfer,
        None,
        &[
            "asked for 5000000 bytes, got 499",
            "received: 499",
            "StreamReset",
        ],
    ),
    // The end is missing, within two packets or so. Of an echo: py sent back what it read.
    py_drops_unread(
        Test::Echo,
        Some(Role::Listen),
        &["sent 100000 bytes, got 99", "sent 100000 bytes, got 98"],
    ),
    py_drops_unread(
        Test::Big,
        Some(Role::Listen),
        &["received: 99999", "received: 99998", "received: 99997"],
    ),
    Fault {
        of: Peer::Py,
        with: Some(Peer::P2p),
        role: Some(Role::Listen),
        transport: None,
        security: Some(Security::Own),
        muxer: None,
        test: Some(Test::Slow),
        symptoms: &["waiting for the peer to acknowledge"],
        cause: "py gives a QUIC stream up whose reader lets it wait for 30 s",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/stream.py write",
    },
    Fault {
        of: Peer::Py,
        with: None,
        role: None,
        transport: None,
        security: None,
        muxer: None,
        test: Some(Test::Private),
        symptoms: &[
            "the keys may differ",
            "failed to negotiate the secure protocol",
        ],
        cause: "py protects a private network with Salsa20 and a nonce of 8 bytes: the spec wants \
                XSalsa20 and one of 24",
        pointer: "py-libp2p 0.8.1 libp2p/security/pnet/psk_conn.py PskConn; \
                  libp2p/specs pnet/Private-Networks-PSK-V1.md",
    },
    Fault {
        of: Peer::Js,
        with: None,
        role: Some(Role::Dial),
        transport: Some(Transport::Quic),
        security: None,
        muxer: None,
        test: Some(Test::Name),
        symptoms: &["Multiaddr is missing an ip4/ip6 component: /dns4/"],
        cause: "js cannot dial a name over QUIC",
        pointer: "@chainsafe/libp2p-quic 2.1.1 dist/src/utils.js",
    },
    Fault {
        of: Peer::Py,
        with: None,
        role: Some(Role::Dial),
        transport: Some(Transport::Quic),
        security: None,
        muxer: None,
        test: Some(Test::Name),
        symptoms: &["SwarmException: No supported transport found for peer"],
        cause: "py cannot dial a name over QUIC",
        pointer: "py-libp2p 0.8.1 libp2p/network/swarm.py dial_peer",
    },
    Fault {
        of: Peer::Js,
        with: None,
        role: None,
        transport: None,
        security: Some(Security::Own),
        muxer: None,
        test: Some(Test::Reset),
        symptoms: &["saw is end, not reset"],
        cause: "js reads a QUIC stream that was reset to a clean end",
        pointer: "@chainsafe/libp2p-quic 2.1.1 src/stream.ts readFromStream: every error that \
                  the native code calls Unknown ends in onRemoteCloseWrite",
    },
    Fault {
        of: Peer::Py,
        with: None,
        role: Some(Role::Listen),
        transport: Some(Transport::Quic),
        security: None,
        muxer: None,
        test: Some(Test::Streams),
        symptoms: &["Read timeout on stream 508"],
        cause: "py allows 128 QUIC streams at a time and not more, whatever its own limit of 1000 says: \
                a new one only for one that has ended",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/config.py MAX_INCOMING_STREAMS is not told to \
                  aioquic 1.7.2; quic/connection.py _write_connection_limits",
    },
    // Printed by our node: it refuses what js has cut, and only that.
    js_flood(Peer::P2p, &["Signature(BadSeqno)"]),
    // Printed by js: the numbers of py all begin with a zero.
    js_flood(
        Peer::Py,
        &["refused a message: StrictSigning: Invalid message signature"],
    ),
    Fault {
        of: Peer::Js,
        with: None,
        role: Some(Role::Listen),
        transport: None,
        security: None,
        muxer: None,
        test: None,
        symptoms: &["Cannot push data onto a stream that is closed"],
        cause: "js resets a stream whose proposal, data and end arrive together: it cannot give \
                back what it read beyond the proposal once the end is there",
        pointer: "@libp2p/utils 7.4.1 src/stream-utils.ts unwrap; reproduced by peers/js/faults/early-end.js",
    },
    Fault {
        of: Peer::Js,
        with: None,
        role: Some(Role::Dial),
        transport: None,
        security: Some(Security::Noise),
        muxer: None,
        test: Some(Test::Choose),
        symptoms: &["the dialer speaks "],
        cause: "as a dialer js takes the first muxer of the listener's list in the handshake, as a \
                listener the first of the dialer's: with different orders the two never agree",
        pointer: "@libp2p/noise 17.0.3 src/noise.ts getStreamMuxer; reproduced by peers/js/faults/early-muxer.js",
    },
    Fault {
        of: Peer::Py,
        with: None,
        role: Some(Role::Dial),
        transport: Some(Transport::Wss),
        security: None,
        muxer: None,
        test: None,
        symptoms: &[
            "OpenConnectionError: Cannot dial /ip4/",
            "OpenConnectionError: Cannot dial /dns4/",
            "has no attribute '_autotls_initialized'",
        ],
        cause: "py cannot dial WebSocket on TLS: its host adds the peer id to the address, which the \
                transport then does not know; and behind that a field is read that is never set",
        pointer: "py-libp2p 0.8.1 libp2p/transport/websocket/transport.py can_dial, _create_connection \
                  (_autotls_initialized); reproduced by peers/py/faults/wss_dial.py",
    },
    py_sees_no_address(Transport::Ws),
    py_sees_no_address(Transport::Wss),
    reads_a_reset_as_an_end(Peer::Py, Role::Dial, PY_RESET),
    reads_a_reset_as_an_end(Peer::Py, Role::Listen, PY_RESET),
    reads_a_reset_as_an_end(Peer::Rust, Role::Dial, RUST_RESET),
    reads_a_reset_as_an_end(Peer::Rust, Role::Listen, RUST_RESET),
    ends_instead_of_resetting(Role::Dial, &["listener: saw is end, not reset"]),
    ends_instead_of_resetting(Role::Listen, &["dialer: saw is end, not reset"]),
    rust_drops_streams(Test::Streams),
    rust_drops_streams(Test::Big),
    Fault {
        of: Peer::Rust,
        with: None,
        role: None,
        transport: None,
        security: None,
        muxer: None,
        test: Some(Test::FloodLax),
        // The first by rust; the other by our node, for each stream after the first one.
        symptoms: &["Failed to send floodsub message", "opened pubsub stream "],
        cause: "rust's floodsub writes each RPC to a stream of its own, reads one RPC of each stream, \
                and ends the connection when one of them fails; all others have one long stream each way",
        pointer: "libp2p-floodsub 0.48.0 src/protocol.rs upgrade_inbound, src/layer.rs \
                  on_connection_handler_event; rust-libp2p#6222; reproduced by \
                  peers/rust/examples/flood_one_rpc.rs",
    },
    rust_plaintext(Test::KeyEcdsa),
    rust_plaintext(Test::KeyRsa),
    Fault {
        of: Peer::Rust,
        with: None,
        role: Some(Role::Dial),
        transport: None,
        security: None,
        muxer: Some(Muxer::Mplex),
        test: Some(Test::Slow),
        symptoms: &["Frame buffer of substream is full"],
        cause: "a stream that nobody reads stops all others of the connection, by default",
        pointer: "libp2p-mplex 0.44.0 src/config.rs MaxBufferBehaviour::Block; reproduced by \
                  peers/rust/examples/mplex_block.rs",
    },
    Fault {
        of: Peer::Rust,
        with: None,
        role: Some(Role::Listen),
        transport: None,
        security: None,
        muxer: Some(Muxer::Mplex),
        test: Some(Test::Orders),
        symptoms: &[
            "listener: ends of \"a\": 0, not 1",
            "listener: ends of \"f\": 1, not 2",
            "listener: ends of \"n\": 0, not 1",
        ],
        cause: "what has arrived and is not read yet is thrown away when the connection ends",
        pointer: "libp2p-mplex 0.44.0 src/io.rs on_error: substreams are emptied, also at the \
                  regular end of the socket",
    },
];

/// As it shows with each of those who notice.
const fn js_flood(with: Peer, symptoms: &'static [&'static str]) -> Fault {
    Fault {
        of: Peer::Js,
        with: Some(with),
        role: None,
        transport: None,
        security: None,
        muxer: None,
        test: Some(Test::Flood),
        symptoms,
        cause: "js floodsub keeps a sequence number without its leading zeros: of 256 messages that it \
                sends one has less than eight bytes of it, and what it receives with such a number \
                has a wrong signature for it",
        pointer: "@libp2p/floodsub 11.0.28 src/utils.ts bigIntFromBytes, bigIntToBytes; reproduced by \
                  peers/js/faults/flood-seqno.js",
    }
}

const fn py_drops_unread(
    test: Test,
    role: Option<Role>,
    symptoms: &'static [&'static str],
) -> Fault {
    Fault {
        of: Peer::Py,
        with: Some(Peer::P2p),
        role,
        transport: None,
        security: Some(Security::Own),
        muxer: None,
        test: Some(test),
        symptoms,
        cause: "py drops what it has received of a QUIC stream and not read when the end arrives",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/stream.py read (QUICStreamClosedError)",
    }
}

/// Which the test helper of rust-libp2p does, not rust-libp2p itself.
const fn rust_drops_streams(test: Test) -> Fault {
    Fault {
        of: Peer::Rust,
        with: None,
        role: Some(Role::Listen),
        transport: None,
        security: None,
        muxer: None,
        test: Some(test),
        symptoms: &["Channel is full, dropping inbound stream"],
        cause: "rust's libp2p-stream throws away incoming streams that come faster than one at a \
                time is taken",
        pointer: "libp2p-stream 0.5.0-alpha src/shared.rs on_inbound_stream, accept: channel(0)",
    }
}

/// Of the plaintext handshake: keys longer than those of Ed25519 and secp256k1 do not fit.
const fn rust_plaintext(test: Test) -> Fault {
    Fault {
        of: Peer::Rust,
        with: None,
        role: None,
        transport: None,
        security: Some(Security::Plaintext),
        muxer: None,
        test: Some(test),
        symptoms: &["Failed to decode protobuf"],
        cause: "rust takes no plaintext exchange of more than 100 bytes, and so no long public key",
        pointer: "libp2p-plaintext 0.44.0 src/handshake.rs",
    }
}

/// Over WebSocket.
const fn py_sees_no_address(transport: Transport) -> Fault {
    Fault {
        of: Peer::Py,
        with: None,
        role: Some(Role::Listen),
        transport: Some(transport),
        security: None,
        muxer: None,
        test: None,
        symptoms: &["observed as \"\""],
        cause: "py does not tell a WebSocket's remote how it is seen",
        pointer: "py-libp2p 0.8.1 libp2p/transport/websocket/connection.py get_remote_address: \
                  always None",
    }
}

const PY_RESET: &str = "libp2p 0.8.1 stream_muxer/yamux/yamux.py _finalize_stream_locked: the \
                        stream is gone before its reader wakes; mplex.py closes the reader's channel before it notes the reset";
const RUST_RESET: &str = "yamux 0.14.1 src/connection/stream.rs poll_read: a closed state reads 0; \
                          libp2p-mplex 0.44.0 src/io.rs poll_read_stream: the same";

/// Whoever reads cannot tell a whole answer from half of one.
const fn reads_a_reset_as_an_end(of: Peer, role: Role, pointer: &'static str) -> Fault {
    let symptoms = match role {
        Role::Dial => &["dialer: saw is end, not reset"],
        Role::Listen => &["listener: saw is end, not reset"],
    };
    Fault {
        of,
        with: None,
        role: Some(role),
        transport: None,
        security: None,
        muxer: None,
        test: Some(Test::Reset),
        symptoms,
        cause: "reads a stream that was reset to a clean end",
        pointer,
    }
}

/// Of rust over QUIC, by the role of rust.
const fn ends_instead_of_resetting(role: Role, symptoms: &'static [&'static str]) -> Fault {
    Fault {
        of: Peer::Rust,
        with: None,
        role: Some(role),
        transport: None,
        security: None,
        muxer: Some(Muxer::Own),
        test: Some(Test::Reset),
        symptoms,
        cause: "cannot reset a stream over QUIC: one that is dropped before its end ends cleanly",
        pointer: "quinn 0.11 src/send_stream.rs Drop for SendStream finishes it; libp2p-quic 0.14.0 \
                  src/connection/stream.rs has no other end",
    }
}

/// The fault that explains a failed cell. `evidence` is everything the peers said and logged.
pub(crate) fn explain(cell: &Cell, evidence: &str) -> Option<&'static Fault> {
    KNOWN
        .iter()
        .find(|fault| fault.concerns(cell) && fault.shows_in(evidence))
}

/// Whether a fault of this very test may show: such a cell may wait for its whole deadline.
pub(crate) fn may_wait(cell: &Cell) -> bool {
    KNOWN
        .iter()
        .any(|fault| fault.test.is_some() && fault.concerns(cell))
}

impl Fault {
    fn concerns(&self, cell: &Cell) -> bool {
        let is = |role, peer: Peer, other: Peer| {
            peer == self.of
                && self.with.is_none_or(|with| with == other)
                && self.role.is_none_or(|wanted| wanted == role)
        };
        let (dialer, listener) = (cell.dialer, cell.listener);
        (is(Role::Dial, dialer, listener) || is(Role::Listen, listener, dialer))
            && self.transport.is_none_or(|it| it == cell.transport)
            && self
                .security
                .is_none_or(|security| security == cell.security)
            && self.muxer.is_none_or(|muxer| muxer == cell.muxer)
            && self.test.is_none_or(|test| test == cell.test)
    }

    fn shows_in(&self, evidence: &str) -> bool {
        self.symptoms
            .iter()
            .any(|symptom| evidence.contains(symptom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: &str = "connection closed: frame body is too large (1572852)";

    #[test]
    fn the_symptom_in_the_right_cell_is_explained_in_both_roles() {
        assert!(explain(&cell(Peer::Js, Peer::Rust), LARGE).is_some());
        assert!(explain(&cell(Peer::Rust, Peer::Js), LARGE).is_some());
    }

    #[test]
    fn another_failure_in_the_same_cell_is_not() {
        assert!(explain(&cell(Peer::Js, Peer::Rust), "connection refused").is_none());
    }

    #[test]
    fn the_same_symptom_elsewhere_is_not() {
        assert!(explain(&cell(Peer::Js, Peer::P2p), LARGE).is_none());
        let mplex = Cell {
            muxer: Muxer::Mplex,
            ..cell(Peer::Js, Peer::Rust)
        };
        assert!(explain(&mplex, LARGE).is_none());
    }

    #[test]
    fn nothing_is_theirs_only_because_it_took_too_long() {
        let late = [
            "dialer: not done in time, last said `connected`",
            "listener: not done within 55s",
            "dialer: deadline passed",
            "dialer: left with 1 after `connected`",
            "connection closed: no error",
        ];
        for fault in KNOWN {
            assert!(!late.iter().any(|text| fault.shows_in(text)), "{fault:?}");
        }
    }

    #[test]
    fn every_reproduction_that_is_named_is_there() {
        let peers = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let named: Vec<_> = KNOWN
            .iter()
            .flat_map(|fault| fault.pointer.split_whitespace())
            .filter(|word| word.starts_with("peers/"))
            .collect();
        assert!(named.len() > 5, "{named:?}");
        for file in named {
            assert!(peers.join(file.trim_end_matches(';')).is_file(), "{file}");
        }
    }

    #[test]
    fn every_fault_says_who_why_and_where() {
        for fault in KNOWN {
            assert!(
                !fault.cause.is_empty() && !fault.pointer.is_empty(),
                "{fault:?}"
            );
            assert!(fault.symptoms.iter().all(|it| !it.is_empty()), "{fault:?}");
            assert!(!fault.symptoms.is_empty(), "{fault:?}");
        }
    }

    fn cell(dialer: Peer, listener: Peer) -> Cell {
        Cell {
            dialer,
            listener,
            transport: Transport::Tcp,
            security: Security::Noise,
            muxer: Muxer::Yamux,
            test: Test::Transfer,
        }
    }
}
