//! Dialing and listening over loopback.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use futures::future::{FutureExt, join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    AddrExt, Blame, BoxIo, Dialed, Incoming, Link, Listener, Multiaddr, Transport, TransportError,
};
use p2p_runtime::block_on;
use p2p_tcp::{Config, Tcp};

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[test]
fn a_dialed_connection_is_accepted_and_carries_bytes_both_ways() {
    carries_bytes("/ip4/127.0.0.1/tcp/0");
}

#[test]
fn ipv6_works_as_well() {
    if let Err(error) = std::net::TcpListener::bind("[::1]:0") {
        return println!("skipped: cannot bind ::1: {error}");
    }
    carries_bytes("/ip6/::1/tcp/0");
}

#[test]
fn ipv4_written_as_ipv6_is_ipv4() {
    block_on(async {
        let tcp = tcp();
        let mut listener = listen(&tcp, "/ip6/::ffff:127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        assert!(at.to_string().starts_with("/ip4/127.0.0.1/tcp/"), "{at}");
        let port = at.tcp_socket().unwrap().port();
        let mapped = addr(&format!("/ip6/::ffff:127.0.0.1/tcp/{port}"));
        let (dialed, incoming) = connect(&tcp, mapped, &mut *listener).await;
        assert_eq!(Some(incoming.remote), dialed.local);
    });
}

#[test]
fn an_address_may_end_with_a_peer() {
    block_on(async {
        let tcp = tcp();
        let at = addr(&format!("/ip4/127.0.0.1/tcp/0/p2p/{PEER}"));
        assert!(tcp.supports(&at));
        let mut listener = tcp.listen(at.clone()).await.unwrap();
        let to = listener.addrs()[0].with_peer(at.peer().unwrap());
        let (_, incoming) = connect(&tcp, to, &mut *listener).await;
        assert_eq!(incoming.remote.peer(), None);
        assert_eq!(incoming.local, listener.addrs()[0]);
    });
}

#[test]
fn an_unspecified_address_is_reported_as_those_of_the_interfaces() {
    block_on(async {
        let tcp = tcp();
        let rt = p2p_runtime::default_runtime();
        let mut listener = listen(&tcp, "/ip4/0.0.0.0/tcp/0").await;
        let sockets: Vec<_> = listener
            .addrs()
            .iter()
            .map(|addr| addr.tcp_socket().unwrap())
            .collect();
        let interfaces = rt.net().interface_addrs().unwrap();
        let expected: Vec<IpAddr> = interfaces.into_iter().filter(IpAddr::is_ipv4).collect();
        let ips: Vec<IpAddr> = sockets.iter().map(|socket| socket.ip()).collect();
        assert_eq!(ips, expected);
        assert!(sockets.iter().all(|socket| socket.port() != 0));

        let loopback = sockets.iter().find(|socket| socket.ip().is_loopback());
        let to = Multiaddr::from_tcp_socket(*loopback.unwrap());
        let (_, incoming) = connect(&tcp, to.clone(), &mut *listener).await;
        assert_eq!(incoming.local, to, "the real address, not 0.0.0.0");
    });
}

#[test]
fn each_listener_gets_its_own_connections() {
    block_on(async {
        let tcp = tcp();
        let mut one = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let mut two = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        assert_ne!(one.addrs(), two.addrs());
        let to_two = tcp.dial(two.addrs()[0].clone(), None).await.unwrap();
        let to_one = tcp.dial(one.addrs()[0].clone(), None).await.unwrap();
        assert_eq!(Some(one.accept().await.unwrap().remote), to_one.local);
        assert_eq!(Some(two.accept().await.unwrap().remote), to_two.local);
    });
}

#[test]
fn a_dial_to_nobody_is_refused_and_names_the_address() {
    block_on(async {
        let tcp = tcp();
        let listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let dialed = tcp.dial(listener.addrs()[0].clone(), None).await.unwrap();
        // Taken, so that no other test listens there, but not listening.
        let at = dialed.local.clone().unwrap();
        let error = tcp.dial(at.clone(), None).await.err().unwrap();
        assert_eq!(error.to_string(), format!("cannot connect to {at}"));
        assert_eq!(error.blame(), Blame::Network);
        assert_eq!(kind_of(&error), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn listening_on_a_taken_port_fails_and_names_the_address() {
    block_on(async {
        let tcp = tcp();
        let listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        let error = tcp.listen(at.clone()).await.err().unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on {at}"));
        assert_eq!(kind_of(&error), ErrorKind::AddrInUse);
    });
}

#[test]
fn addresses_that_are_for_listening_only_are_not_dialed() {
    block_on(async {
        for (wrong, reason) in [
            ("/ip4/127.0.0.1/tcp/0", "port 0"),
            ("/ip4/0.0.0.0/tcp/4001", "unspecified"),
            ("/ip6/::/tcp/4001", "unspecified"),
            ("/ip6/::ffff:0.0.0.0/tcp/4001", "unspecified"),
        ] {
            let error = tcp().dial(addr(wrong), None).await.err().unwrap();
            assert_eq!(kind_of(&error), ErrorKind::InvalidInput, "{wrong}");
            let source = error.source().unwrap().to_string();
            assert!(source.contains(reason), "{wrong}: {source}");
        }
    });
}

#[test]
fn other_kinds_of_addresses_are_not_supported() {
    block_on(async {
        let tcp = tcp();
        for wrong in [
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/localhost/tcp/1",
            "/memory/1",
            &format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}/p2p-circuit"),
        ] {
            let at = addr(wrong);
            assert!(!tcp.supports(&at), "{wrong}");
            let dialed = tcp.dial(at.clone(), None).await.err().unwrap();
            assert!(matches!(dialed, TransportError::Unsupported { addr } if addr == at));
            let listening = tcp.listen(at.clone()).await.err().unwrap();
            assert!(matches!(listening, TransportError::Unsupported { addr } if addr == at));
        }
        assert!(!tcp.supports(&Multiaddr::empty()));
    });
}

#[test]
fn a_dropped_listener_frees_its_port_and_keeps_its_connections() {
    block_on(async {
        let tcp = tcp();
        let mut listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        let (dialed, incoming) = connect(&tcp, at.clone(), &mut *listener).await;
        let (mut near, mut far) = (raw(dialed.link), raw(incoming.link.await.unwrap()));
        drop(listener);
        tcp.dial(at.clone(), None).await.err().unwrap();
        far.write_all(b"still here").await.unwrap();
        // The end that closes first is the one that lingers: ours, on the listening port.
        far.close().await.unwrap();
        let mut text = String::new();
        near.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "still here");
        drop((near, far));
        assert_eq!(listen(&tcp, &at.to_string()).await.addrs(), [at]);
    });
}

#[test]
fn closing_anywhere_reaches_the_other_end() {
    block_on(async {
        let tcp = tcp();
        let mut listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        // The dialer goes away before it is accepted.
        drop(tcp.dial(at.clone(), None).await.unwrap());
        let incoming = listener.accept().await.unwrap();
        assert_ended(raw(incoming.link.await.unwrap())).await;
        // The connection is accepted and its link never asked for.
        let (dialed, incoming) = connect(&tcp, at.clone(), &mut *listener).await;
        drop(incoming);
        assert_ended(raw(dialed.link)).await;
        // The listener goes away with the connection in its backlog.
        let dialed = tcp.dial(at.clone(), None).await.unwrap();
        drop(listener);
        assert_ended(raw(dialed.link)).await;
    });
}

#[test]
fn futures_that_are_dropped_unpolled_open_nothing() {
    block_on(async {
        let tcp = tcp();
        let mut listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        drop(tcp.dial(at.clone(), None));
        assert!(listener.accept().now_or_never().is_none());
        let (dialed, incoming) = connect(&tcp, at.clone(), &mut *listener).await;
        assert_eq!(Some(incoming.remote), dialed.local);
        drop(listener);
        drop(tcp.listen(at.clone()));
        listen(&tcp, &at.to_string()).await;
    });
}

#[test]
fn dials_start_from_the_listening_port_if_asked_to() {
    block_on(async {
        let ours = tcp_dialing_from_its_port();
        let own = listen(&ours, "/ip4/127.0.0.1/tcp/0").await;
        let mut theirs = listen(&tcp(), "/ip4/127.0.0.1/tcp/0").await;
        let to = theirs.addrs()[0].clone();

        let (first, incoming) = connect(&ours, to.clone(), &mut *theirs).await;
        assert_eq!(first.local.clone().unwrap(), own.addrs()[0]);
        assert_eq!(incoming.remote, own.addrs()[0]);
        // Only one connection fits between two addresses: the next takes another port.
        let (second, incoming) = connect(&ours, to.clone(), &mut *theirs).await;
        assert_ne!(second.local.clone().unwrap(), own.addrs()[0]);
        assert_eq!(Some(incoming.remote), second.local);
        // Nobody listens any more: nothing to start from.
        let own_addr = own.addrs()[0].clone();
        drop((first, own));
        let (third, _) = connect(&ours, to, &mut *theirs).await;
        assert_ne!(third.local, Some(own_addr));
    });
}

#[test]
fn a_dial_to_our_own_listening_port_reaches_the_listener() {
    block_on(async {
        let tcp = tcp_dialing_from_its_port();
        let mut listener = listen(&tcp, "/ip4/127.0.0.1/tcp/0").await;
        let at = listener.addrs()[0].clone();
        let (dialed, incoming) = connect(&tcp, at.clone(), &mut *listener).await;
        assert_ne!(dialed.local, Some(at));
        assert_eq!(Some(incoming.remote), dialed.local);
    });
}

fn carries_bytes(at: &str) {
    block_on(async {
        let tcp = tcp();
        let mut listener = listen(&tcp, at).await;
        let to = listener.addrs()[0].clone();
        assert_ne!(to, addr(at), "a real port");
        let (dialed, incoming) = connect(&tcp, to.clone(), &mut *listener).await;
        assert_eq!(incoming.local, to);
        assert_eq!(Some(incoming.remote), dialed.local);

        let (mut near, mut far) = (raw(dialed.link), raw(incoming.link.await.unwrap()));
        near.write_all(b"there").await.unwrap();
        near.close().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "there");
        far.write_all(b"and back").await.unwrap();
        far.close().await.unwrap();
        text.clear();
        near.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "and back");
    });
}

fn tcp() -> Tcp {
    Tcp::new(p2p_runtime::default_runtime(), Config::default())
}

fn tcp_dialing_from_its_port() -> Tcp {
    let mut config = Config::default();
    config.dial_from_listening_port = true;
    Tcp::new(p2p_runtime::default_runtime(), config)
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

async fn listen(tcp: &Tcp, at: &str) -> Box<dyn Listener> {
    tcp.listen(addr(at)).await.unwrap()
}

async fn connect(tcp: &Tcp, to: Multiaddr, listener: &mut dyn Listener) -> (Dialed, Incoming) {
    let (dialed, incoming) = join(tcp.dial(to, None), listener.accept()).await;
    (dialed.unwrap(), incoming.unwrap())
}

fn raw(link: Link) -> BoxIo {
    match link {
        Link::Raw(io) => io,
        Link::Muxed(_) => panic!("a TCP link is raw"),
    }
}

fn kind_of(error: &TransportError) -> ErrorKind {
    let source = error.source().unwrap();
    source.downcast_ref::<io::Error>().unwrap().kind()
}

/// The other end is gone: the end of the file, or a reset.
async fn assert_ended(mut io: BoxIo) {
    assert!(matches!(io.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}
