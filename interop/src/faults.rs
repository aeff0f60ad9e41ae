//! Known faults of the other implementations.
//!
//! An entry excuses a cell only if the cell failed and the failure shows the entry's symptom:
//! a cell that passes says `pass`, and a new failure in the same place says `fail`.

use crate::cell::{Cell, Muxer, Peer, Security, Test};

/// A fault of a peer that we cannot mend.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Who has to be there, in whichever role.
    pub(crate) between: [Peer; 2],
    /// `None` means any.
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
        between: [Peer::Js, Peer::Rust],
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
        between: [Peer::Js, Peer::Py],
        security: Some(Security::Tls),
        muxer: None,
        test: None,
        symptoms: &["did not include the libp2p public key extension"],
        cause: "js looks for the libp2p extension in first place only; py puts two others before",
        pointer: "@libp2p/tls 3.1.10 src/utils.ts verifyPeerCertificate",
    },
    Fault {
        between: [Peer::P2p, Peer::Py],
        security: Some(Security::Own),
        muxer: None,
        test: Some(Test::Echo),
        symptoms: &["StreamReset"],
        cause: "py tells the clean end of a QUIC stream as a reset once both sides have ended it",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/stream.py read (QUICStreamClosedError)",
    },
    Fault {
        between: [Peer::P2p, Peer::Py],
        security: Some(Security::Own),
        muxer: None,
        test: Some(Test::Transfer),
        symptoms: &["asked for 5000000 bytes, got 499", "StreamReset"],
        cause: "py drops what it has received of a QUIC stream and not read when the end arrives",
        pointer: "py-libp2p 0.8.1 libp2p/transport/quic/stream.py read (QUICStreamClosedError)",
    },
    Fault {
        between: [Peer::Js, Peer::P2p],
        security: None,
        muxer: None,
        test: Some(Test::Flood),
        symptoms: &["not done in time", "deadline passed"],
        cause: "js floodsub writes without waiting for its own writes; in a long series messages \
                are lost without a word, towards every peer",
        pointer: "@libp2p/floodsub 11.0.28 src/peer-streams.ts write",
    },
    Fault {
        between: [Peer::Js, Peer::Go],
        security: None,
        muxer: None,
        test: Some(Test::Flood),
        symptoms: &["not done in time", "deadline passed"],
        cause: "js floodsub writes without waiting for its own writes; in a long series messages \
                are lost without a word, towards every peer",
        pointer: "@libp2p/floodsub 11.0.28 src/peer-streams.ts write",
    },
    Fault {
        between: [Peer::Js, Peer::Py],
        security: None,
        muxer: None,
        test: Some(Test::Flood),
        symptoms: &["not done in time", "deadline passed"],
        cause: "js floodsub writes without waiting for its own writes; in a long series messages \
                are lost without a word, towards every peer",
        pointer: "@libp2p/floodsub 11.0.28 src/peer-streams.ts write",
    },
];

/// The fault that explains a failed cell. `evidence` is everything the peers said and logged.
pub(crate) fn explain(cell: &Cell, evidence: &str) -> Option<&'static Fault> {
    KNOWN
        .iter()
        .find(|fault| fault.concerns(cell) && fault.shows_in(evidence))
}

impl Fault {
    fn concerns(&self, cell: &Cell) -> bool {
        let [one, other] = self.between;
        let pair = (cell.dialer, cell.listener);
        (pair == (one, other) || pair == (other, one))
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
    use crate::cell::Transport;

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
