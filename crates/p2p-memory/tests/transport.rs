//! Dialing and listening on `/memory/<number>`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;

use futures::future::FutureExt;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxIo, Dialed, Incoming, Link, Listener, Multiaddr, Transport, TransportError};
use p2p_memory::{Config, Hub, Memory};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[test]
fn a_dialed_connection_is_accepted_and_carries_bytes_both_ways() {
    let memory = memory();
    let mut listener = listen(&memory, "/memory/7").unwrap();
    assert_eq!(listener.addrs(), [addr("/memory/7")]);

    let dialed = dial(&memory, &format!("/memory/7/p2p/{PEER}")).unwrap();
    let incoming = accept(&mut *listener);
    assert_eq!(incoming.local, addr("/memory/7"));
    assert_eq!(Some(incoming.remote.clone()), dialed.local);

    let (mut near, mut far) = (raw(dialed.link), link_of(incoming));
    block_on(async {
        near.write_all(b"there").await.unwrap();
        far.write_all(b"back!").await.unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"there");
        near.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"back!");
    });
}

#[test]
fn port_zero_picks_numbers_that_are_free_and_differ() {
    let memory = memory();
    let first = listen(&memory, "/memory/0").unwrap();
    let second = listen(&memory, "/memory/0").unwrap();
    assert_ne!(first.addrs(), second.addrs());
    for addr in first.addrs().into_iter().chain(second.addrs()) {
        assert_ne!(addr.to_string(), "/memory/0");
        dial(&memory, &addr.to_string()).unwrap();
    }
}

#[test]
fn a_hub_knows_who_listens_and_forgets_who_does_not() {
    let hub = Hub::new();
    let memory = Memory::new(hub.clone(), Config::default());
    let one = listen(&memory, "/memory/9").unwrap();
    let two = listen(&memory, "/memory/3").unwrap();
    dial(&memory, "/memory/9").unwrap();
    assert_eq!(hub.numbers(), [3, 9]);
    drop(one);
    assert_eq!(hub.numbers(), [3]);
    drop(two);
    assert_eq!(hub.numbers(), []);
}

#[test]
fn each_listener_gets_its_own_connections() {
    let memory = memory();
    let mut one = listen(&memory, "/memory/1").unwrap();
    let mut two = listen(&memory, "/memory/2").unwrap();
    let to_two = dial(&memory, "/memory/2").unwrap();
    let to_one = dial(&memory, "/memory/1").unwrap();
    assert_eq!(Some(accept(&mut *one).remote), to_one.local);
    assert_eq!(Some(accept(&mut *two).remote), to_two.local);
    assert!(one.accept().now_or_never().is_none());
}

#[test]
fn a_dial_to_nobody_is_refused() {
    let memory = memory();
    assert_eq!(
        dial_error(&memory, "/memory/1"),
        ErrorKind::ConnectionRefused
    );
    let listener = listen(&memory, "/memory/1").unwrap();
    drop(listener);
    assert_eq!(
        dial_error(&memory, "/memory/1"),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn number_zero_cannot_be_dialed() {
    assert_eq!(dial_error(&memory(), "/memory/0"), ErrorKind::InvalidInput);
}

#[test]
fn a_number_is_taken_while_its_listener_lives() {
    let memory = memory();
    let listener = listen(&memory, "/memory/5").unwrap();
    let error = listen(&memory, "/memory/5").err().unwrap();
    let TransportError::Listen { addr: at, source } = error else {
        panic!("{error}");
    };
    assert_eq!(at, addr("/memory/5"));
    assert_eq!(source.kind(), ErrorKind::AddrInUse);
    drop(listener);
    listen(&memory, "/memory/5").unwrap();
}

#[test]
fn a_full_backlog_refuses_and_has_room_again_after_an_accept() {
    let mut config = Config::default();
    config.backlog = NonZeroUsize::new(2).unwrap();
    let memory = Memory::new(Hub::new(), config);
    let mut listener = listen(&memory, "/memory/1").unwrap();
    let waiting = [
        dial(&memory, "/memory/1").unwrap(),
        dial(&memory, "/memory/1").unwrap(),
    ];
    assert_eq!(
        dial_error(&memory, "/memory/1"),
        ErrorKind::ConnectionRefused
    );
    accept(&mut *listener);
    let third = dial(&memory, "/memory/1").unwrap();
    assert_eq!(Some(accept(&mut *listener).remote), waiting[1].local);
    assert_eq!(Some(accept(&mut *listener).remote), third.local);
}

#[test]
fn hubs_do_not_meet() {
    let _listener = listen(&memory(), "/memory/1").unwrap();
    assert_eq!(
        dial_error(&memory(), "/memory/1"),
        ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    let memory = memory();
    let mut listener = listen(&memory, "/memory/1").unwrap();
    assert!(listener.accept().now_or_never().is_none());
    let dialed = dial(&memory, "/memory/1").unwrap();
    drop(listener.accept());
    assert_eq!(Some(accept(&mut *listener).remote), dialed.local);
}

#[test]
fn a_dial_future_that_is_dropped_unpolled_connects_nowhere() {
    let memory = memory();
    let mut listener = listen(&memory, "/memory/1").unwrap();
    drop(memory.dial(addr("/memory/1"), None));
    assert!(listener.accept().now_or_never().is_none());
}

#[test]
fn closing_anywhere_reaches_the_other_end() {
    let memory = memory();
    let connect = || {
        let listener = listen(&memory, "/memory/0").unwrap();
        let dialed = dial(&memory, &listener.addrs()[0].to_string()).unwrap();
        (listener, raw(dialed.link))
    };
    // The listener goes away with the connection in its backlog.
    let (listener, mut dialed) = connect();
    drop(listener);
    assert_eq!(read(&mut dialed), Err(ErrorKind::ConnectionReset));
    // The connection is accepted and its link never asked for.
    let (mut listener, mut dialed) = connect();
    drop(accept(&mut *listener));
    assert_eq!(read(&mut dialed), Err(ErrorKind::ConnectionReset));
    // The dialer goes away before it is accepted.
    let (mut listener, dialed) = connect();
    drop(dialed);
    let mut accepted = link_of(accept(&mut *listener));
    assert_eq!(read(&mut accepted), Err(ErrorKind::ConnectionReset));
    // The listener goes away, the connection stays.
    let (mut listener, mut dialed) = connect();
    let mut accepted = link_of(accept(&mut *listener));
    drop(listener);
    block_on(dialed.close()).unwrap();
    assert_eq!(read(&mut accepted), Ok(0));
    block_on(accepted.write_all(b"x")).unwrap();
    assert_eq!(read(&mut dialed), Ok(1));
}

#[test]
fn other_kinds_of_addresses_are_not_supported() {
    let memory = memory();
    for wrong in [
        "/ip4/127.0.0.1/tcp/1",
        "/memory/1/ws",
        &format!("/p2p/{PEER}"),
        &format!("/memory/1/p2p/{PEER}/p2p-circuit"),
        &format!("/p2p/{PEER}/memory/1"),
    ] {
        assert!(!memory.supports(&addr(wrong)), "{wrong}");
        let refused = dial(&memory, wrong).err().unwrap();
        assert!(
            matches!(refused, TransportError::Unsupported { .. }),
            "{wrong}"
        );
        let refused = listen(&memory, wrong).err().unwrap();
        assert!(
            matches!(refused, TransportError::Unsupported { .. }),
            "{wrong}"
        );
    }
    assert!(!memory.supports(&Multiaddr::empty()));
    assert!(memory.supports(&addr(&format!("/memory/1/p2p/{PEER}"))));
}

proptest! {
    /// Any order of listening, dialing, accepting and dropping matches a plain count.
    #[test]
    fn a_backlog_holds_what_was_dialed_and_not_accepted(
        backlog in 1usize..5,
        steps in proptest::collection::vec(0u8..4, 0..60),
    ) {
        let mut config = Config::default();
        config.backlog = NonZeroUsize::new(backlog).unwrap();
        let memory = Memory::new(Hub::new(), config);
        let mut listener = None;
        let mut waiting = std::collections::VecDeque::new();
        for step in steps {
            match step {
                0 => {
                    let taken = listener.is_some();
                    match listen(&memory, "/memory/9") {
                        Ok(new) => { prop_assert!(!taken); listener = Some(new); }
                        Err(_) => prop_assert!(taken),
                    }
                }
                1 => match dial(&memory, "/memory/9") {
                    Ok(dialed) => {
                        prop_assert!(listener.is_some() && waiting.len() < backlog);
                        waiting.push_back(dialed);
                    }
                    Err(_) => prop_assert!(listener.is_none() || waiting.len() == backlog),
                },
                2 => if let Some(listener) = &mut listener {
                    let accepted = listener.accept().now_or_never();
                    let expected = waiting.pop_front().and_then(|dialed| dialed.local);
                    prop_assert_eq!(accepted.map(|incoming| incoming.unwrap().remote), expected);
                },
                _ => {
                    listener = None;
                    waiting.clear();
                }
            }
        }
    }
}

fn memory() -> Memory {
    Memory::new(Hub::new(), Config::default())
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn dial(memory: &Memory, to: &str) -> Result<Dialed, TransportError> {
    block_on(memory.dial(addr(to), None))
}

fn dial_error(memory: &Memory, to: &str) -> ErrorKind {
    let error = dial(memory, to).err().unwrap();
    let TransportError::Connect { addr: at, source } = error else {
        panic!("{error}");
    };
    assert_eq!(at, addr(to));
    source.kind()
}

fn listen(memory: &Memory, at: &str) -> Result<Box<dyn Listener>, TransportError> {
    block_on(memory.listen(addr(at)))
}

fn accept(listener: &mut dyn Listener) -> Incoming {
    block_on(listener.accept()).unwrap()
}

fn link_of(incoming: Incoming) -> BoxIo {
    raw(block_on(incoming.link).unwrap())
}

fn raw(link: Link) -> BoxIo {
    match link {
        Link::Raw(io) => io,
        Link::Muxed(_) => panic!("a memory link is raw"),
    }
}

fn read(io: &mut BoxIo) -> Result<usize, ErrorKind> {
    let read = io
        .read(&mut [0; 8])
        .now_or_never()
        .expect("an answer at once");
    read.map_err(|error: io::Error| error.kind())
}
