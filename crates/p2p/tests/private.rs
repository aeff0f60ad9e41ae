//! Nothing leads out of a private network.
#![cfg(all(feature = "pnet", feature = "quic"))]
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use p2p::memory::{self, Hub, Memory};
use p2p::pnet::PreSharedKey;
use p2p::{Host, HostBuilder, HostError, quic};
use p2p_sim::Sim;

fn private(byte: u8) -> HostBuilder {
    Host::builder().private_network(PreSharedKey::new([byte; 32]))
}

/// What comes of a dial in memory, with a transport that was added.
fn dial(ours: HostBuilder, theirs: HostBuilder) -> Result<(), String> {
    let (sim, hub) = (Sim::new(1), Hub::new());
    let (near, far) = (sim.host("near"), sim.host("far"));
    let added = |builder: HostBuilder, machine: &p2p_sim::Host| {
        let memory = Memory::new(hub.clone(), memory::Config::default());
        builder.with_transport(memory).runtime(machine.rt()).build()
    };
    sim.block_on(async {
        let far = added(theirs, &far).await.unwrap();
        far.handle("/greet/1", |mut stream| async move {
            stream.write_all(b"!").await?;
            stream.close().await
        })
        .unwrap();
        let addr = far.listen("/memory/1").await.unwrap();
        let near = added(ours, &near).await.unwrap();
        let opened = near.open(addr, "/greet/1").await;
        let heard = match opened {
            Err(error) => Err(error.to_string()),
            Ok(mut stream) => {
                stream.read_exact(&mut [0]).await.unwrap();
                Ok(())
            }
        };
        near.close().await;
        far.close().await;
        heard
    })
}

#[test]
fn what_is_added_to_a_host_is_private_too() {
    assert_eq!(dial(private(7), private(7)), Ok(()));
    assert_eq!(dial(Host::builder(), Host::builder()), Ok(()));
    for stranger in [private(8), Host::builder()] {
        assert!(dial(private(7), stranger).is_err(), "a way around the key");
    }
    assert!(dial(Host::builder(), private(7)).is_err(), "a way in");
}

#[test]
fn another_key_is_told_as_what_it_may_be_and_blamed_on_nobody() {
    let error = dial(private(7), private(8)).unwrap_err();
    assert!(error.contains("or the keys may differ"), "{error}");
    assert!(!error.contains("the remote does not"), "{error}");
}

#[test]
fn a_transport_that_secures_its_links_itself_is_refused() {
    let rt = Sim::new(1).host("us").rt();
    let identity = p2p::Keypair::ed25519_from_seed([1; 32]);
    let quic = quic::Quic::new(rt.clone(), &identity, quic::Config::default());
    let builder = private(7).with_transport(quic.unwrap()).runtime(rt);
    let built = builder.build().now_or_never().unwrap();
    assert!(matches!(built, Err(HostError::NotPrivate)));
}

#[cfg(feature = "mdns")]
#[test]
fn in_the_local_network_members_look_for_members() {
    let sim = Sim::new(1);
    let machines = ["one", "two", "other", "open"].map(|name| sim.host(name));
    let found = sim.block_on(async {
        let key = [Some(7), Some(7), Some(8), None];
        let mut hosts = Vec::new();
        for (machine, key) in machines.iter().zip(key) {
            let builder = key.map_or_else(Host::builder, private);
            let builder = builder.mdns(Some(p2p::mdns::Config::default()));
            let host = builder.runtime(machine.rt()).build().await.unwrap();
            let at = format!("/ip4/{}/tcp/4001", machine.ip());
            host.listen(at.as_str()).await.unwrap();
            hosts.push(host);
        }
        let rt = machines[0].rt();
        rt.sleep(std::time::Duration::from_secs(30)).await;
        let found = hosts.iter().map(|host| {
            let peers = host.mdns().unwrap().peers();
            let of = |peer| hosts.iter().position(|host| host.peer_id() == peer);
            peers.keys().map(|peer| of(*peer).unwrap()).collect()
        });
        let found: Vec<Vec<usize>> = found.collect();
        for host in hosts {
            host.close().await;
        }
        found
    });
    assert_eq!(found, [vec![1], vec![0], vec![], vec![]]);
}
