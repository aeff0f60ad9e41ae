//! Hosts on each runtime, over real loopback sockets: the same crates, whatever features they have.

use futures::{AsyncReadExt, AsyncWriteExt, io};
use p2p::runtime::{AsyncStd, Smol, Tokio};
use p2p::{Call, Host, Refusal, Rt, Stream};

const REVERSE: Call<Vec<u8>, Vec<u8>> = Call::new("/reverse/1.0.0");

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// What hosts do with each other, by the first choice of roads and by others.
async fn talk(rt: Rt) {
    defaults(rt.clone()).await;
    #[cfg(feature = "pubsub")]
    publish(rt.clone()).await;
    #[cfg(feature = "websocket")]
    over_websocket_and_mplex(rt).await;
}

/// Dials, is identified, pings, asks, moves a megabyte both ways, and leaves nothing behind.
async fn defaults(rt: Rt) {
    let build = || Host::builder().runtime(rt.clone()).build();
    let (a, b) = (build().await.expect("a"), build().await.expect("b"));
    b.handle("/echo/1.0.0", echo).expect("free");
    b.answer(&REVERSE, |question, _| async move {
        Ok::<_, Refusal>(question.into_iter().rev().collect())
    })
    .expect("free");
    let addr = b.listen("/ip4/127.0.0.1/tcp/0").await.expect("a free port");

    let connection = a.dial(&addr).await.expect("b is there");
    let identified = a.identify().expect("on").identified(&connection).await;
    assert_eq!(identified.expect("an answer").peer, b.peer_id());
    a.ping()
        .expect("on")
        .ping(b.peer_id())
        .await
        .expect("an echo");

    let answer = a.request(&addr, &REVERSE, &b"abc".to_vec()).await;
    assert_eq!(answer.expect("an answer"), b"cba");

    let stream = a.open(&addr, "/echo/1.0.0").await.expect("a stream");
    let (mut reader, mut writer) = stream.split();
    let sent: Vec<u8> = (0..1u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    let mut got = Vec::new();
    let write = async {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    let both = futures::future::try_join(write, reader.read_to_end(&mut got)).await;
    both.expect("the echo");
    assert!(got == sent);

    drop((reader, writer, connection));
    leave_nothing([a, b]).await;
}

/// A message in a topic, by gossipsub.
#[cfg(feature = "pubsub")]
async fn publish(rt: Rt) {
    use futures::StreamExt;
    use p2p::pubsub::Received;
    use p2p::{GossipConfig, Pubsub};

    let build = || Host::builder().runtime(rt.clone()).build();
    let (a, b) = (build().await.expect("a"), build().await.expect("b"));
    let start = |host| Pubsub::gossip(host, GossipConfig::default()).expect("its protocols");
    let (says, hears) = (start(&a), start(&b));
    let mut heard = hears.subscribe("news");
    let addr = b.listen("/ip4/127.0.0.1/tcp/0").await.expect("a free port");
    let connection = a.dial(&addr).await.expect("b is there");
    let said = says.subscribe("news");
    said.publish_when_ready(b"hello").await.expect("b is there");
    let Some(Received::Message { message, from, .. }) = heard.next().await else {
        panic!("no message");
    };
    assert_eq!((&message.data()[..], from), (&b"hello"[..], a.peer_id()));

    let budgets = [&a, &b].map(|host| host.swarm().budget().clone());
    a.close().await;
    b.close().await;
    // What a router remembers, it remembers as long as its host lives.
    drop((says, hears, said, heard, message, connection, a, b));
    for budget in budgets {
        assert_eq!(budget.used(), 0, "{budget:?}");
    }
}

/// Noise and mplex over WebSocket: the roads and the multiplexer that are not the first choice.
#[cfg(feature = "websocket")]
async fn over_websocket_and_mplex(rt: Rt) {
    use p2p::{Multiplexer, Protocol, SecureChannel};

    let build = || {
        Host::builder()
            .runtime(rt.clone())
            .secure_channels(&[SecureChannel::Noise])
            .multiplexers(&[Multiplexer::Mplex])
            .build()
    };
    let (a, b) = (build().await.expect("a"), build().await.expect("b"));
    b.handle("/echo/1.0.0", echo).expect("free");
    let addr = b.listen("/ip4/127.0.0.1/tcp/0/ws").await;
    let stream = a.open(addr.expect("a free port"), "/echo/1.0.0").await;
    let mut stream = stream.expect("a stream");
    let muxer = stream.connection().info().muxer.clone();
    assert_eq!(muxer, Some(Protocol::from_static("/mplex/6.7.0")));
    stream.write_all(b"hello").await.expect("b reads");
    stream.close().await.expect("b reads");
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed).await.expect("the echo");
    assert_eq!(echoed, b"hello");

    drop(stream);
    leave_nothing([a, b]).await;
}

async fn leave_nothing(hosts: [Host; 2]) {
    for host in &hosts {
        host.close().await;
    }
    for host in &hosts {
        let census = host.swarm().census();
        assert!(census.tasks.is_empty() && census.memory == 0, "{census:?}");
    }
}

#[test]
fn hosts_talk_on_async_std() {
    AsyncStd::block_on(talk(AsyncStd::new()));
}

#[test]
fn hosts_talk_on_smol() {
    Smol::block_on(talk(Smol::new()));
}

#[test]
fn hosts_talk_on_tokio() {
    Tokio::block_on(async { talk(Tokio::current()).await });
}
