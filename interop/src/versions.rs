//! Which versions of gossipsub everybody speaks, and whether a cell spoke the one that it is about.
//!
//! In such a cell our node speaks that version alone. Where the other end does not have it, by the
//! list here, the cell is `unsupported` and not run. A cell that is run checks the list: the other
//! end's identify has to name the same.

use std::collections::BTreeSet;

use crate::{
    cell::{Cell, Peer},
    transcript::{Event, Transcript},
};

const V1_0: &str = "/meshsub/1.0.0";
const V1_1: &str = "/meshsub/1.1.0";
const V1_2: &str = "/meshsub/1.2.0";
const V1_3: &str = "/meshsub/1.3.0";
/// How the id of each version starts.
const FAMILY: &str = "/meshsub/";

/// What `peer` speaks, and where its sources say so.
fn spoken(peer: Peer) -> (&'static [&'static str], &'static str) {
    match peer {
        Peer::Go => (
            &[V1_0, V1_1, V1_2, V1_3],
            "go-libp2p-pubsub 0.17.0 gossipsub_feat.go GossipSubDefaultProtocols",
        ),
        Peer::Js => (
            &[V1_0, V1_1, V1_2],
            "@libp2p/gossipsub 17.1.1 src/constants.ts versionLadder",
        ),
        Peer::P2p => (&[V1_0, V1_1, V1_2, V1_3], "p2p-pubsub Version::ALL"),
        Peer::Py => (
            &[V1_0, V1_1, V1_2, V1_3],
            "py-libp2p 0.8.1 libp2p/pubsub/gossipsub.py add_peer; what is newer we do not have",
        ),
        Peer::Rust => (
            &[V1_0, V1_1, V1_2, V1_3],
            "libp2p-gossipsub 0.50.1 src/protocol.rs ProtocolConfig::default",
        ),
    }
}

/// Who does not speak the version that the cell is about, and by which evidence.
pub(crate) fn lacking(cell: &Cell) -> Option<String> {
    let wanted = cell.test.version()?;
    let ends = [("dialer", cell.dialer), ("listener", cell.listener)];
    ends.into_iter().find_map(|(role, peer)| {
        let (versions, pointer) = spoken(peer);
        let lacks = !versions.contains(&wanted);
        let name = peer.name();
        lacks.then(|| format!("{role}: {name} does not speak {wanted} ({pointer})"))
    })
}

/// Both ends have to tell that they spoke the cell's version with the other one, and nothing else;
/// the list here has to be what the other end tells of itself.
pub(crate) fn check(cell: &Cell, dialer: &Transcript, listener: &Transcript) -> Result<(), String> {
    let Some(wanted) = cell.test.version() else {
        return Ok(());
    };
    let ends = [
        ("dialer", dialer, cell.listener),
        ("listener", listener, cell.dialer),
    ];
    for (role, said, other) in ends {
        let at = |what: String| format!("{role}: {what}");
        let negotiated = family(said.require("pubsub").map_err(at)?);
        if negotiated != BTreeSet::from([wanted]) {
            return Err(at(format!("spoke {negotiated:?}, not {wanted} alone")));
        }
        // Ours speaks one version alone, and so tells of one alone.
        if other == Peer::P2p {
            continue;
        }
        let (listed, (versions, pointer)) = (said.require("identify").map_err(at)?, spoken(other));
        let (listed, versions) = (family(listed), versions.iter().copied().collect());
        if listed != versions {
            let other = other.name();
            return Err(at(format!(
                "{other} says that it speaks {listed:?}, not {versions:?} ({pointer})"
            )));
        }
    }
    Ok(())
}

fn family(event: &Event) -> BTreeSet<&str> {
    let all = event.list("protocols").iter().filter_map(|it| it.as_str());
    all.filter(|id| id.starts_with(FAMILY)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cell::Test;
    use crate::transcript::{
        Verdict, judge,
        tests::{cell, dialer, listener},
    };

    #[test]
    fn what_a_peer_does_not_speak_is_said_with_evidence() {
        let with = |listener, test| Cell {
            listener,
            ..cell(test)
        };

        let text = lacking(&with(Peer::Js, Test::Gossip1_3)).unwrap();

        assert!(text.starts_with("listener: js does not speak /meshsub/1.3.0 (@libp2p"));
        assert_eq!(lacking(&with(Peer::Js, Test::Gossip1_2)), None);
        assert_eq!(lacking(&with(Peer::Go, Test::Gossip1_3)), None);
        assert_eq!(lacking(&with(Peer::Js, Test::Gossip)), None);
    }

    #[test]
    fn both_ends_have_to_have_spoken_the_version_and_no_other() {
        let right = [V1_1];
        let judge_it = |ours: &[&str], theirs: &[&str]| met(ours, theirs, &ALL);

        assert!(matches!(judge_it(&right, &right), Verdict::Pass(_)));
        assert!(fails(
            &judge_it(&[V1_0], &right),
            "dialer: spoke {\"/meshsub/1.0.0\"}"
        ));
        assert!(fails(&judge_it(&right, &[V1_2]), "listener: spoke"));
        assert!(fails(&judge_it(&right, &[V1_1, V1_2]), "listener: spoke"));
        assert!(fails(&judge_it(&[], &right), "dialer: spoke {}"));
        assert!(fails(
            &judge_it(&right, &["/floodsub/1.0.0"]),
            "listener: spoke {}"
        ));
    }

    #[test]
    fn a_list_that_is_not_what_the_peer_tells_of_itself_fails() {
        let newer = [V1_0, V1_1, V1_2, V1_3, "/meshsub/1.4.0", "/ipfs/ping/1.0.0"];

        assert!(matches!(
            met(&[V1_1], &[V1_1], &newer[..4]),
            Verdict::Pass(_)
        ));
        assert!(fails(
            &met(&[V1_1], &[V1_1], &newer),
            "go says that it speaks"
        ));
        assert!(fails(
            &met(&[V1_1], &[V1_1], &ALL[..3]),
            "go says that it speaks"
        ));
    }

    const ALL: [&str; 4] = [V1_0, V1_1, V1_2, V1_3];

    /// We dial go for version 1.1.
    fn met(ours: &[&str], theirs: &[&str], listed: &[&str]) -> Verdict {
        let pubsub = |protocols: &[&str]| -> Value {
            json!({ "event": "pubsub", "received": 506, "protocols": protocols })
        };
        let identify = json!({ "event": "identify", "peer": "L", "protocols": listed });
        judge(
            &cell(Test::Gossip1_1),
            &listener(&[pubsub(theirs)]),
            Some(&dialer(&[identify, pubsub(ours)])),
        )
    }

    fn fails(verdict: &Verdict, with: &str) -> bool {
        matches!(verdict, Verdict::Fail(text) if text.contains(with))
    }
}
