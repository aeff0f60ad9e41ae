//! A host behind a SOCKS5 proxy: nothing goes around it, and nobody is told where the host is.
#![cfg(all(
    feature = "dns",
    feature = "quic",
    feature = "socks",
    feature = "websocket"
))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures::future::{FutureExt, try_join};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use p2p::core::TcpOptions;
use p2p::identify::{self, Event};
use p2p::socks::Config;
use p2p::{Host, IdentifyInfo, Rt};
use p2p_sim::Sim;

/// Us, a proxy, and somebody far away whom the proxy knows by name.
struct World {
    sim: Sim,
    us: p2p_sim::Host,
    proxy: p2p_sim::Host,
    far: p2p_sim::Host,
}

impl World {
    fn new() -> Self {
        let sim = Sim::new(1);
        sim.keep_events(100_000);
        let [us, proxy, far] = [1, 2, 3].map(|n| {
            let name = ["us", "proxy", "far"][usize::from(n) - 1];
            sim.host_at(name, [Ipv4Addr::new(10, 0, 0, n)])
        });
        sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 3)]);
        serve(&proxy.rt(), proxy.socket(1080));
        Self {
            sim,
            us,
            proxy,
            far,
        }
    }

    /// Us behind the proxy, and somebody far away on every road.
    async fn hosts(&self) -> [Host; 2] {
        let config = Config::new(self.proxy.socket(1080));
        let us = Host::builder().socks5(Some(config)).runtime(self.us.rt());
        let far = Host::builder().runtime(self.far.rt());
        let hosts = [us.build().await.unwrap(), far.build().await.unwrap()];
        for at in ["tcp/4001", "tcp/4002/ws", "udp/4001/quic-v1"] {
            let at = format!("/ip4/10.0.0.3/{at}");
            hosts[1].listen(at.as_str()).await.unwrap();
        }
        hosts
    }
}

#[test]
fn all_that_a_host_dials_and_all_names_go_through_the_proxy() {
    let world = World::new();
    world.sim.block_on(async {
        let [us, far] = world.hosts().await;
        for (at, there) in [
            ("/dns4/far.test/tcp/4001", "/ip4/10.0.0.2/"),
            ("/ip4/10.0.0.3/tcp/4001", "/ip4/10.0.0.2/"),
            ("/ip4/10.0.0.3/tcp/4002/ws", "/ip4/10.0.0.2/"),
        ] {
            let mut events = far.events();
            let connection = us.dial(at).await.unwrap();
            let remote = loop {
                if let p2p::Event::Connected { info } = events.next().await.unwrap() {
                    break info.remote.to_string();
                }
            };
            assert!(remote.starts_with(there), "{at}: seen at {remote}");
            connection.close(p2p::ErrorCode::NONE);
            connection.ended().await;
        }
        for at in [
            "/ip4/10.0.0.3/udp/4001/quic-v1",
            "/dnsaddr/far.test",
            "/dns4/far.test/udp/4001/quic-v1",
        ] {
            let error = us.dial(at).await.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("no transport for"), "{error}");
        }
        us.close().await;
        far.close().await;
    });
    let events = world.sim.last_events();
    let ours = |line: &&String| line.split_whitespace().nth(1) == Some("us");
    let ours: Vec<&String> = events.iter().filter(ours).collect();
    let connects = ours.iter().filter(|line| line.contains(" connect "));
    assert!(connects.clone().count() >= 3);
    for line in connects {
        assert!(
            line.ends_with("-> 10.0.0.2:1080"),
            "around the proxy: {line}"
        );
    }
    for line in ours {
        let leaks = ["datagram", "resolved", "10.0.0.3"];
        assert!(!leaks.iter().any(|leak| line.contains(leak)), "{line}");
    }
}

#[test]
fn nobody_is_told_where_a_host_behind_a_proxy_is_and_what_it_runs() {
    let world = World::new();
    world.sim.block_on(async {
        let [us, far] = world.hosts().await;
        us.listen("/ip4/10.0.0.1/tcp/4001").await.unwrap();
        let mut told = far.identify().unwrap().events();
        us.dial("/ip4/10.0.0.3/tcp/4001").await.unwrap();
        let info = loop {
            if let Event::Identified { info, .. } = told.next().await.unwrap() {
                break info;
            }
        };
        assert_eq!(info.agent_version, "p2p");
        assert_tells_no_addr(&info);
        // What is told later is as little.
        us.listen("/ip4/10.0.0.1/tcp/4002").await.unwrap();
        us.handle("/later/1", |_stream| async {}).unwrap();
        let info = loop {
            if let Event::Updated { info, .. } = told.next().await.unwrap() {
                break info;
            }
        };
        assert!(info.protocols.iter().any(|it| it.as_str() == "/later/1"));
        assert_tells_no_addr(&info);
        us.close().await;
        far.close().await;
    });
}

fn assert_tells_no_addr(info: &IdentifyInfo) {
    assert_eq!(info.listen_addrs, []);
    let record = info.signed_record.as_ref();
    let bytes = record.map_or(&b""[..], |record| &record.envelope);
    // As /ip4/10.0.0.1 is written.
    let ours = [4, 10, 0, 0, 1];
    assert!(!bytes.windows(ours.len()).any(|part| part == ours));
}

#[test]
fn a_host_that_says_who_it_is_does_so_behind_a_proxy_too_and_still_not_where() {
    let world = World::new();
    world.sim.block_on(async {
        let mut said = identify::Config::default();
        said.agent_version = "our-wallet/1".to_owned();
        let proxy = Config::new(world.proxy.socket(1080));
        let us = Host::builder().identify(Some(said)).socks5(Some(proxy));
        let us = us.runtime(world.us.rt()).build().await.unwrap();
        us.listen("/ip4/10.0.0.1/tcp/4001").await.unwrap();
        let far = Host::builder().runtime(world.far.rt());
        let far = far.build().await.unwrap();
        let addr = far.listen("/ip4/10.0.0.3/tcp/4001").await.unwrap();
        let mut told = far.identify().unwrap().events();
        us.dial(addr).await.unwrap();
        let info = loop {
            if let Event::Identified { info, .. } = told.next().await.unwrap() {
                break info;
            }
        };
        assert_eq!(info.agent_version, "our-wallet/1");
        assert_tells_no_addr(&info);
        us.close().await;
        far.close().await;
    });
}

#[cfg(feature = "mdns")]
#[test]
fn a_host_does_not_hide_and_shout_at_the_same_time() {
    let world = World::new();
    let proxy = Config::new(world.proxy.socket(1080));
    let mdns = p2p::mdns::Config::default();
    let us = Host::builder().socks5(Some(proxy)).mdns(Some(mdns));
    let built = us.runtime(world.us.rt()).build().now_or_never();
    let built = built.expect("nothing to wait for");
    assert!(matches!(built, Err(p2p::HostError::MdnsBehindProxy)));
}

/// A proxy without a login.
fn serve(rt: &Rt, at: SocketAddr) {
    let mut listener = rt.net().tcp_listen(at, &TcpOptions::default()).unwrap();
    let accepting = Rt::clone(rt);
    let accept = async move {
        while let Ok((client, _)) = listener.accept().await {
            let one = serve_one(Rt::clone(&accepting), client);
            accepting.spawn("proxied", one.map(drop).boxed());
        }
    };
    rt.spawn("proxy", accept.boxed());
}

async fn serve_one(rt: Rt, mut client: Box<dyn p2p::core::TcpStream>) -> io::Result<()> {
    client.read_exact(&mut [0; 3]).await?;
    client.write_all(&[5, 0]).await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let ip: IpAddr = if head[3] == 1 {
        let mut ip = [0; 4];
        client.read_exact(&mut ip).await?;
        ip.into()
    } else {
        let mut len = [0];
        client.read_exact(&mut len).await?;
        let mut name = vec![0; len[0].into()];
        client.read_exact(&mut name).await?;
        rt.net()
            .resolve(std::str::from_utf8(&name).unwrap())
            .await?[0]
    };
    let mut port = [0; 2];
    client.read_exact(&mut port).await?;
    let to = SocketAddr::new(ip, u16::from_be_bytes(port));
    let there = rt.net().tcp_connect(to, &TcpOptions::default()).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    client.flush().await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_there, mut to_there) = there.split();
    let out = async {
        futures::io::copy(&mut from_client, &mut to_there).await?;
        to_there.close().await
    };
    let back = async {
        futures::io::copy(&mut from_there, &mut to_client).await?;
        to_client.close().await
    };
    try_join(out, back).await?;
    Ok(())
}
