//! What every provider promises, over real loopback sockets.
//!
//! No sleeps and no upper bounds on time: a provider that waits for nothing fails, a slow machine
//! does not.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    Datagram, Instant, Net, Received, Rt, TcpListener, TcpOptions, TcpStream, UdpOptions, UdpSocket,
};

/// One test for each promise and provider: the name of a failure says both.
macro_rules! on_every_provider {
    ($($promise:ident,)*) => {
        #[cfg(feature = "async-std")]
        mod async_std { $(#[test] fn $promise() {
            p2p_runtime::AsyncStd::block_on(async { super::$promise(p2p_runtime::AsyncStd::new()).await });
        })* }
        #[cfg(feature = "smol")]
        mod smol { $(#[test] fn $promise() {
            p2p_runtime::Smol::block_on(async { super::$promise(p2p_runtime::Smol::new()).await });
        })* }
        #[cfg(feature = "tokio")]
        mod tokio { $(#[test] fn $promise() {
            p2p_runtime::Tokio::block_on(async { super::$promise(p2p_runtime::Tokio::current()).await });
        })* }
    };
}

on_every_provider! {
    timers_fire_in_order_and_not_early,
    a_timer_in_the_past_fires_at_once,
    a_timer_can_be_moved_to_later,
    a_timer_can_be_moved_to_earlier,
    a_fired_timer_stays_fired_until_it_is_moved,
    the_far_future_does_not_come,
    spawned_tasks_run,
    tcp_carries_bytes_both_ways_with_half_close,
    tcp_carries_more_than_the_kernel_buffers,
    both_ends_agree_on_their_addresses,
    a_refused_connect_is_an_error,
    dropping_a_connect_closes_its_socket,
    dropping_a_stream_ends_the_other_side,
    closing_twice_is_no_error,
    accept_loses_nothing_when_dropped,
    a_taken_port_is_an_error,
    a_connect_can_start_from_the_listening_port,
    ipv6_sockets_carry_ipv6_only,
    udp_echoes,
    udp_waits_for_the_next_datagram,
    udp_refuses_what_it_cannot_do,
    udp_in_bulk_keeps_datagrams_apart_and_tells_where_they_went,
    localhost_resolves,
    an_invalid_name_does_not_resolve,
    the_loopback_interface_is_listed,
    randomness_differs,
    the_calendar_is_not_before_2025,
    readiness_is_remembered_across_many_small_messages,
}

async fn timers_fire_in_order_and_not_early(rt: Rt) {
    let start = rt.now();
    let fired = Arc::new(Mutex::new(Vec::new()));
    let set = |millis: u64| {
        let (rt, fired) = (rt.clone(), Arc::clone(&fired));
        let at = start + Duration::from_millis(millis);
        let timer = rt.timer(at);
        let wait = async move {
            timer.await;
            assert!(rt.now() >= at, "{millis} ms fired early");
            fired.lock().unwrap().push(millis);
        };
        (millis, wait)
    };
    // Set in one order and looked at in another: on a machine that was busy for so long that
    // several are due at once, whoever is looked at first is first.
    let mut timers = [60, 10, 110].map(set);
    timers.sort_by_key(|(millis, _)| *millis);
    join_all(timers.map(|(_, wait)| wait)).await;
    assert_eq!(*fired.lock().unwrap(), [10, 60, 110]);
}

async fn a_timer_in_the_past_fires_at_once(rt: Rt) {
    rt.timer(Instant::ZERO).await;
}

async fn a_timer_can_be_moved_to_later(rt: Rt) {
    let mut timer = rt.timer(rt.now() + Duration::from_millis(5));
    // Whether it fired already or not.
    let _ = poll_once(&mut timer).await;
    let later = rt.now() + Duration::from_millis(40);
    timer.reset(later);
    timer.await;
    assert!(rt.now() >= later);
}

async fn a_timer_can_be_moved_to_earlier(rt: Rt) {
    let mut timer = rt.timer(Instant::FAR_FUTURE);
    assert!(poll_once(&mut timer).await.is_pending());
    let sooner = rt.now() + Duration::from_millis(5);
    timer.reset(sooner);
    timer.await;
    assert!(rt.now() >= sooner);
}

async fn a_fired_timer_stays_fired_until_it_is_moved(rt: Rt) {
    let mut timer = rt.timer(rt.now());
    (&mut timer).await;
    assert!(poll_once(&mut timer).await.is_ready());
    timer.reset(Instant::FAR_FUTURE);
    assert!(poll_once(&mut timer).await.is_pending());
    let again = rt.now() + Duration::from_millis(5);
    timer.reset(again);
    (&mut timer).await;
    assert!(rt.now() >= again);
}

async fn the_far_future_does_not_come(rt: Rt) {
    let mut never = rt.timer(Instant::FAR_FUTURE);
    let mut soon = rt.timer(rt.now() + Duration::from_millis(1));
    assert!(poll_once(&mut never).await.is_pending());
    (&mut soon).await;
    assert!(poll_once(&mut never).await.is_pending());
}

async fn spawned_tasks_run(rt: Rt) {
    let (done, finished): (Vec<_>, Vec<_>) = (0..10).map(|_| oneshot::channel()).unzip();
    for (number, done) in done.into_iter().enumerate() {
        rt.spawn("test", Box::pin(async move { done.send(number).unwrap() }));
    }
    let numbers: Vec<usize> = join_all(finished).await.into_iter().flatten().collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

async fn tcp_carries_bytes_both_ways_with_half_close(rt: Rt) {
    let (mut dialed, mut accepted) = connected(rt.net()).await;
    dialed.write_all(b"question").await.unwrap();
    dialed.close().await.unwrap();
    let mut question = Vec::new();
    accepted.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");

    accepted.write_all(b"answer").await.unwrap();
    accepted.close().await.unwrap();
    let mut answer = Vec::new();
    dialed.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
}

async fn tcp_carries_more_than_the_kernel_buffers(rt: Rt) {
    let (dialed, accepted) = connected(rt.net()).await;
    // Prime, so that a piece that is lost or twice there shows.
    let bytes = |first: u8| (first..first + 241).collect::<Vec<u8>>().repeat(50_000);
    let exchange = |stream: Box<dyn TcpStream>, sent: Vec<u8>| async move {
        let (mut reader, mut writer) = stream.split();
        let send = async {
            writer.write_all(&sent).await.unwrap();
            writer.close().await.unwrap();
        };
        let mut received = Vec::new();
        join(send, reader.read_to_end(&mut received))
            .await
            .1
            .unwrap();
        received
    };
    let (at_dialer, at_listener) =
        join(exchange(dialed, bytes(0)), exchange(accepted, bytes(1))).await;
    assert!(at_dialer == bytes(1), "{} bytes differ", at_dialer.len());
    assert!(
        at_listener == bytes(0),
        "{} bytes differ",
        at_listener.len()
    );
}

async fn both_ends_agree_on_their_addresses(rt: Rt) {
    let (mut listener, at) = listen(rt.net());
    assert_ne!(at.port(), 0);
    let (dialed, accepted) = join(dial(rt.net(), at), listener.accept()).await;
    let (accepted, from) = accepted.unwrap();
    assert_ne!(from.port(), 0);
    assert_eq!(dialed.local_addr().unwrap(), from);
    assert_eq!(dialed.peer_addr().unwrap(), at);
    assert_eq!(accepted.local_addr().unwrap(), at);
    assert_eq!(accepted.peer_addr().unwrap(), from);
}

async fn a_refused_connect_is_an_error(rt: Rt) {
    let (dialed, _accepted) = connected(rt.net()).await;
    // Taken, so that no other test listens there, but not listening.
    let at = dialed.local_addr().unwrap();
    let refused = rt.net().tcp_connect(at, &TcpOptions::default()).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
}

/// A listener whose queue is full leaves further connects waiting (on Linux).
#[cfg(target_os = "linux")]
async fn dropping_a_connect_closes_its_socket(rt: Rt) {
    let mut options = TcpOptions::default();
    options.backlog = 0;
    let listener = rt.net().tcp_listen(loopback(), &options).unwrap();
    let at = listener.local_addr().unwrap();
    let _fills_the_queue = dial(rt.net(), at).await;

    let from = free_port();
    options.bind = Some(from);
    let mut connect = rt.net().tcp_connect(at, &options);
    assert!(poll_once(&mut connect).await.is_pending());
    assert_eq!(bind_alone(from), Err(ErrorKind::AddrInUse));
    drop(connect);
    assert_eq!(bind_alone(from), Ok(()));
}

#[cfg(not(target_os = "linux"))]
async fn dropping_a_connect_closes_its_socket(rt: Rt) {
    let (mut listener, at) = listen(rt.net());
    let mut connect = rt.net().tcp_connect(at, &TcpOptions::default());
    drop(poll_once(&mut connect).await);
    drop(connect);
    let (mut accepted, _) = listener.accept().await.unwrap();
    assert!(matches!(accepted.read(&mut [0]).await, Ok(0) | Err(_)));
}

async fn dropping_a_stream_ends_the_other_side(rt: Rt) {
    let (dialed, mut accepted) = connected(rt.net()).await;
    drop(dialed);
    assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
}

async fn closing_twice_is_no_error(rt: Rt) {
    let (mut dialed, mut accepted) = connected(rt.net()).await;
    dialed.close().await.unwrap();
    accepted.close().await.unwrap();
    assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(dialed.read(&mut [0]).await.unwrap(), 0);
    dialed.close().await.unwrap();
    accepted.close().await.unwrap();
}

async fn accept_loses_nothing_when_dropped(rt: Rt) {
    const CONNECTIONS: usize = 8;
    let (mut listener, at) = listen(rt.net());
    let mut dialed = Vec::new();
    let mut accepted = Vec::new();
    for _ in 0..CONNECTIONS {
        // Begun and dropped before there is anything to accept, and maybe after.
        if let Poll::Ready(early) = poll_once(&mut listener.accept()).await {
            accepted.push(early.unwrap().1);
        }
        dialed.push(dial(rt.net(), at).await);
        if let Poll::Ready(early) = poll_once(&mut listener.accept()).await {
            accepted.push(early.unwrap().1);
        }
    }
    while accepted.len() < CONNECTIONS {
        accepted.push(listener.accept().await.unwrap().1);
    }
    let mut from: Vec<_> = dialed
        .iter()
        .map(|stream| stream.local_addr().unwrap())
        .collect();
    from.sort();
    accepted.sort();
    assert_eq!(accepted, from);
}

async fn a_taken_port_is_an_error(rt: Rt) {
    let (_listener, at) = listen(rt.net());
    let taken = rt.net().tcp_listen(at, &TcpOptions::default());
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::AddrInUse);
    let socket = rt.net().udp_bind(loopback()).unwrap();
    let taken = rt.net().udp_bind(socket.local_addr().unwrap());
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::AddrInUse);
}

async fn a_connect_can_start_from_the_listening_port(rt: Rt) {
    let mut options = TcpOptions::default();
    options.reuse_port = true;
    let ours = rt.net().tcp_listen(loopback(), &options).unwrap();
    let ours_at = ours.local_addr().unwrap();
    let (mut theirs, theirs_at) = listen(rt.net());
    options.bind = Some(ours_at);
    let dialed = rt.net().tcp_connect(theirs_at, &options).await.unwrap();
    let (_accepted, from) = theirs.accept().await.unwrap();
    assert_eq!(dialed.local_addr().unwrap(), ours_at);
    assert_eq!(from, ours_at);
}

async fn ipv6_sockets_carry_ipv6_only(rt: Rt) {
    let options = TcpOptions::default();
    let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    if let Err(error) = rt.net().tcp_listen(at, &options) {
        return println!("skipped: no IPv6 here: {error}");
    }
    // The IPv4 port of the same number is still free, unless somebody else took just that one.
    let (mut listener, port) = (0..10)
        .find_map(|_| {
            let listener = rt.net().tcp_listen(at, &options).unwrap();
            let port = listener.local_addr().unwrap().port();
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            rt.net().tcp_listen(v4, &options).ok()?;
            Some((listener, port))
        })
        .unwrap();

    let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    let (mut dialed, accepted) = join(dial(rt.net(), to), listener.accept()).await;
    let (mut accepted, from) = accepted.unwrap();
    assert!(from.is_ipv6());
    dialed.write_all(b"six").await.unwrap();
    let mut six = [0; 3];
    accepted.read_exact(&mut six).await.unwrap();
    assert_eq!(&six, b"six");
}

async fn udp_echoes(rt: Rt) {
    let client = rt.net().udp_bind(loopback()).unwrap();
    let server = rt.net().udp_bind(loopback()).unwrap();
    let (client_at, server_at) = (client.local_addr().unwrap(), server.local_addr().unwrap());
    assert_ne!(client_at.port(), 0);
    let echo = async {
        let mut buffer = [0; 2048];
        let question = receive(&server, &mut buffer).await;
        assert_eq!(question.from, client_at);
        assert_eq!((question.len, question.segment), (1200, 1200));
        send(&server, question.from, &buffer[..question.len]).await;
    };
    let ask = async {
        send(&client, server_at, &[7; 1200]).await;
        let mut buffer = [0; 2048];
        let answer = receive(&client, &mut buffer).await;
        assert_eq!(answer.from, server_at);
        assert_eq!(buffer[..answer.len], [7; 1200]);
    };
    join(echo, ask).await;
}

async fn udp_waits_for_the_next_datagram(rt: Rt) {
    let client = rt.net().udp_bind(loopback()).unwrap();
    let server = rt.net().udp_bind(loopback()).unwrap();
    let server_at = server.local_addr().unwrap();
    for round in 0..100u8 {
        let mut buffer = [0; 16];
        let mut receiving = Box::pin(receive(&server, &mut buffer));
        assert!(poll_once(&mut receiving).await.is_pending());
        send(&client, server_at, &[round]).await;
        assert_eq!(receiving.await.len, 1);
        assert_eq!(buffer[0], round);
    }
}

async fn udp_in_bulk_keeps_datagrams_apart_and_tells_where_they_went(rt: Rt) {
    const SIZE: usize = 1000;
    let mut options = UdpOptions::default();
    options.bulk = true;
    options.buffer = Some(1 << 20);
    let client = rt.net().udp_open(loopback(), &options).unwrap();
    let server = rt.net().udp_open(loopback(), &options).unwrap();
    let to = server.local_addr().unwrap();
    let count = client.max_segments().min(10);
    let contents: Vec<u8> = (0..count).flat_map(|n| [n as u8; SIZE]).collect();
    let datagram = Datagram {
        to,
        from: None,
        contents: &contents[..contents.len() - 1],
        segment: Some(SIZE),
        ecn: 0b10,
    };
    poll_fn(|cx| client.poll_send(cx, &datagram)).await.unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut seen = 0;
    while seen < count {
        let received = receive(&server, &mut buffer).await;
        assert_eq!(received.from, client.local_addr().unwrap());
        assert!(received.to.is_none_or(|ip| ip == to.ip()));
        for one in buffer[..received.len].chunks(received.segment) {
            let last = usize::from(seen + 1 == count);
            assert_eq!(one, &vec![seen as u8; SIZE - last][..]);
            seen += 1;
        }
    }
}

async fn udp_refuses_what_it_cannot_do(rt: Rt) {
    let socket = rt.net().udp_bind(loopback()).unwrap();
    let whole = Datagram::new(socket.local_addr().unwrap(), &[0; 100]);
    let refusal = async |datagram: Datagram<'_>| {
        let sent = poll_fn(|cx| socket.poll_send(cx, &datagram)).await;
        sent.unwrap_err().kind()
    };
    let many = Datagram {
        segment: Some(50),
        ..whole
    };
    assert_eq!(refusal(many).await, ErrorKind::InvalidInput);
    let from = Datagram {
        from: Some(Ipv4Addr::LOCALHOST.into()),
        ..whole
    };
    assert_eq!(refusal(from).await, ErrorKind::Unsupported);
    assert_eq!(socket.max_segments(), 1);
}

async fn localhost_resolves(rt: Rt) {
    let addrs = rt.net().resolve("localhost").await.unwrap();
    assert!(!addrs.is_empty());
    assert!(addrs.iter().all(IpAddr::is_loopback), "{addrs:?}");
    // More at once than there are threads; some are given up.
    let lookups: Vec<_> = (0..20).map(|_| rt.net().resolve("localhost")).collect();
    let kept = lookups.into_iter().skip(10);
    assert!(
        join_all(kept)
            .await
            .into_iter()
            .all(|answer| answer.unwrap() == addrs)
    );
    let literal = rt.net().resolve("::1").await.unwrap();
    assert_eq!(literal, [IpAddr::from(Ipv6Addr::LOCALHOST)]);
}

async fn an_invalid_name_does_not_resolve(rt: Rt) {
    for name in ["", "a\0b", &"x".repeat(1000)] {
        let refused = rt.net().resolve(name).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name:?}");
    }
}

async fn the_loopback_interface_is_listed(rt: Rt) {
    let addrs = rt.net().interface_addrs().unwrap();
    assert!(addrs.contains(&Ipv4Addr::LOCALHOST.into()), "{addrs:?}");
    assert!(addrs.is_sorted());
    assert_eq!(addrs, rt.net().interface_addrs().unwrap());
}

async fn randomness_differs(rt: Rt) {
    let (first, second) = (rt.random::<32>(), rt.random::<32>());
    assert_ne!(first, second);
    assert_ne!(first, [0; 32]);
}

async fn the_calendar_is_not_before_2025(rt: Rt) {
    assert!(rt.unix_time() > Duration::from_secs(1_735_689_600));
}

/// Each message is waited for: a wake-up lost anywhere hangs here.
async fn readiness_is_remembered_across_many_small_messages(rt: Rt) {
    const ROUNDS: u32 = 2_000;
    let (mut dialed, mut accepted) = connected(rt.net()).await;
    rt.spawn(
        "echo",
        Box::pin(async move {
            let mut message = [0; 4];
            while accepted.read_exact(&mut message).await.is_ok() {
                accepted.write_all(&message).await.unwrap();
            }
        }),
    );
    for round in 0..ROUNDS {
        dialed.write_all(&round.to_be_bytes()).await.unwrap();
        let mut echo = [0; 4];
        dialed.read_exact(&mut echo).await.unwrap();
        assert_eq!(u32::from_be_bytes(echo), round);
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

fn listen(net: &dyn Net) -> (Box<dyn TcpListener>, SocketAddr) {
    let listener = net.tcp_listen(loopback(), &TcpOptions::default()).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

async fn dial(net: &dyn Net, to: SocketAddr) -> Box<dyn TcpStream> {
    net.tcp_connect(to, &TcpOptions::default()).await.unwrap()
}

async fn connected(net: &dyn Net) -> (Box<dyn TcpStream>, Box<dyn TcpStream>) {
    let (mut listener, at) = listen(net);
    let (dialed, accepted) = join(dial(net, at), listener.accept()).await;
    (dialed, accepted.unwrap().0)
}

async fn send(socket: &Arc<dyn UdpSocket>, to: SocketAddr, contents: &[u8]) {
    let datagram = Datagram::new(to, contents);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await.unwrap();
}

async fn receive(socket: &Arc<dyn UdpSocket>, buffer: &mut [u8]) -> Received {
    poll_fn(|cx| socket.poll_recv(cx, buffer)).await.unwrap()
}

/// One poll with the task's own waker.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx))).await
}

/// A port that was free a moment ago.
#[cfg(target_os = "linux")]
fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind(loopback()).unwrap();
    socket.local_addr().unwrap()
}

/// Whether nobody else has a TCP socket at `at`.
#[cfg(target_os = "linux")]
fn bind_alone(at: SocketAddr) -> Result<(), ErrorKind> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&at.into()).map_err(|error| error.kind())
}
