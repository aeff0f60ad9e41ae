//! From the command line to the cells to run.

use clap::ValueEnum as _;

use crate::{
    cell::{Cell, Muxer, Peer, Security, Test, Transport},
    cli::{Role, Selection},
    pick::Pick,
};

/// The cells of a selection: pairs first, then transport, security, muxer, test, as the table shows them.
pub(crate) fn cells(selection: &Selection) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (dialer, listener) in pairs(selection) {
        for (transport, security, muxer) in stacks(selection) {
            for test in tests(&selection.test, security, muxer) {
                // Only our own dialer brings a second node for the other end of the chain, and
                // knows what an hour is made of.
                if matches!(test, Test::GossipChain | Test::Hour) && dialer != Peer::P2p {
                    continue;
                }
                // Only ours speaks one version alone.
                if test.version().is_some() && ![dialer, listener].contains(&Peer::P2p) {
                    continue;
                }
                cells.push(Cell {
                    dialer,
                    listener,
                    transport,
                    security,
                    muxer,
                    test,
                });
            }
        }
    }
    cells
}

/// What lies below the streams. Security and muxer make no difference on QUIC.
fn stacks(selection: &Selection) -> Vec<(Transport, Security, Muxer)> {
    let mut stacks = Vec::new();
    for &transport in &sorted(&selection.transport) {
        match transport {
            Transport::Quic => stacks.push((transport, Security::Own, Muxer::Own)),
            Transport::Tcp | Transport::Ws | Transport::Wss => {
                for &security in &sorted(&selection.security) {
                    for &muxer in &sorted(&selection.muxer) {
                        stacks.push((transport, security, muxer));
                    }
                }
            }
        }
    }
    stacks
}

/// The tests meant on a stack, in the order of the table. Without `--test`: `quick`.
fn tests(picks: &[Pick], security: Security, muxer: Muxer) -> Vec<Test> {
    let picks = if picks.is_empty() {
        &[Pick::Quick]
    } else {
        picks
    };
    let all = Test::value_variants().iter().copied();
    all.filter(|&test| picks.iter().any(|it| it.wants(test, security, muxer)))
        .collect()
}

/// Dialer and listener. Without `--pair`: we with each peer. `--role` is the role of the first.
fn pairs(selection: &Selection) -> Vec<(Peer, Peer)> {
    let mut pairs = Vec::new();
    let mut add = |first: Peer, second: Peer| {
        for &role in &sorted(&selection.role) {
            let pair = match role {
                Role::Dial => (first, second),
                Role::Listen => (second, first),
            };
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    };
    if selection.pair.is_empty() {
        for &peer in &sorted(&selection.peer) {
            add(Peer::P2p, peer);
        }
    }
    for pair in &selection.pair {
        add(pair.first, pair.second);
    }
    pairs
}

/// In the order of the table, once each; all of them if none was named.
fn sorted<T: Copy + Ord + Defaults>(named: &[T]) -> Vec<T> {
    let mut values = if named.is_empty() {
        T::defaults()
    } else {
        named.to_vec()
    };
    values.sort();
    values.dedup();
    values
}

/// What an absent filter stands for.
trait Defaults: Sized {
    fn defaults() -> Vec<Self>;
}

impl Defaults for Peer {
    fn defaults() -> Vec<Self> {
        Self::FOREIGN.to_vec()
    }
}

impl Defaults for Role {
    fn defaults() -> Vec<Self> {
        vec![Self::Dial, Self::Listen]
    }
}

impl Defaults for Transport {
    fn defaults() -> Vec<Self> {
        vec![Self::Tcp]
    }
}

impl Defaults for Security {
    fn defaults() -> Vec<Self> {
        vec![Self::Plaintext, Self::Noise, Self::Tls]
    }
}

impl Defaults for Muxer {
    fn defaults() -> Vec<Self> {
        vec![Self::Yamux, Self::Mplex]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Pair;

    #[test]
    fn without_filters_we_meet_every_peer_in_both_roles_and_every_combination() {
        let cells = cells(&Selection {
            test: vec![Pick::Gate],
            ..Selection::default()
        });

        assert_eq!(cells.len(), 4 * 2 * 3 * 2 * 4);
        assert!(
            cells
                .iter()
                .all(|cell| (cell.dialer == Peer::P2p) != (cell.listener == Peer::P2p))
        );
    }

    #[test]
    fn quic_has_no_security_and_no_muxer_to_choose() {
        let selection = Selection {
            peer: vec![Peer::Go],
            transport: vec![Transport::Quic, Transport::Tcp],
            test: vec![Pick::One(Test::Ping)],
            ..Selection::default()
        };

        assert_eq!(cells(&selection).len(), 2 * (3 * 2 + 1));
    }

    #[test]
    fn a_pair_replaces_us_and_runs_both_ways() {
        let selection = Selection {
            pair: vec![Pair {
                first: Peer::Js,
                second: Peer::Go,
            }],
            test: vec![Pick::One(Test::Ping)],
            muxer: vec![Muxer::Yamux],
            security: vec![Security::Tls],
            ..Selection::default()
        };

        let pairs: Vec<_> = cells(&selection)
            .iter()
            .map(|it| (it.dialer, it.listener))
            .collect();

        assert_eq!(pairs, [(Peer::Js, Peer::Go), (Peer::Go, Peer::Js)]);
    }

    #[test]
    fn a_peer_paired_with_itself_runs_once() {
        let selection = Selection {
            pair: vec![Pair {
                first: Peer::Py,
                second: Peer::Py,
            }],
            ..Selection::default()
        };

        assert_eq!(pairs(&selection), [(Peer::Py, Peer::Py)]);
    }

    #[test]
    fn the_role_is_ours() {
        let selection = Selection {
            peer: vec![Peer::Go],
            role: vec![Role::Listen],
            ..Selection::default()
        };

        assert_eq!(pairs(&selection), [(Peer::Go, Peer::P2p)]);
    }

    #[test]
    fn a_filter_named_twice_or_out_of_order_gives_the_same_cells() {
        let selection = |test: Vec<Test>| Selection {
            test: test.into_iter().map(Pick::One).collect(),
            ..Selection::default()
        };

        assert_eq!(
            cells(&selection(vec![Test::Echo, Test::Ping, Test::Echo])),
            cells(&selection(vec![Test::Ping, Test::Echo]))
        );
    }

    #[test]
    fn the_quick_choice_has_every_short_test_but_the_largest_and_stays_small() {
        let of = |pick| {
            cells(&Selection {
                test: vec![pick],
                ..Selection::default()
            })
        };
        let (quick, all) = (of(Pick::Quick), of(Pick::All));

        let missing: Vec<_> = Test::value_variants()
            .iter()
            .filter(|test| !quick.iter().any(|cell| cell.test == **test))
            .collect();
        let left_out = [
            Test::Big,
            Test::Mdns,
            Test::KeyEd25519,
            Test::Minute,
            Test::Idle,
            Test::Hour,
        ];
        assert_eq!(missing, left_out.iter().collect::<Vec<_>>());
        assert_eq!(quick, cells(&Selection::default()));
        assert!(quick.iter().all(|cell| all.contains(cell)));
        assert!(quick.len() < 440, "{}", quick.len());
    }

    #[test]
    fn a_test_that_is_named_runs_also_where_it_makes_no_sense() {
        let of = |pick| {
            cells(&Selection {
                test: vec![pick],
                muxer: vec![Muxer::Mplex],
                ..Selection::default()
            })
        };

        assert!(of(Pick::All).iter().all(|cell| cell.test != Test::Codes));
        assert_eq!(of(Pick::One(Test::Codes)).len(), 4 * 2 * 3);
    }
}
