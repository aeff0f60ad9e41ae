//! A host on each runtime that is enabled, over real loopback sockets.

use std::future::Future;

use futures::{AsyncReadExt, AsyncWriteExt, io};
use p2p::{Host, Rt, Stream};

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// Dials, is identified, pings, moves a megabyte both ways, and leaves nothing behind.
#[cfg_attr(
    not(any(feature = "async-std", feature = "smol", feature = "tokio")),
    expect(dead_code, reason = "no runtime is enabled")
)]
async fn talk(rt: Rt) {
    let build = || Host::builder().runtime(rt.clone()).build();
    let (a, b) = (build().await.expect("a"), build().await.expect("b"));
    b.handle("/echo/1.0.0", echo).expect("free");
    let addr = b.listen("/ip4/127.0.0.1/tcp/0").await.expect("a free port");

    let connection = a.dial(&addr).await.expect("b is there");
    let identified = a.identify().expect("on").identified(&connection).await;
    assert_eq!(identified.expect("an answer").peer, b.peer_id());
    a.ping()
        .expect("on")
        .ping(b.peer_id())
        .await
        .expect("an echo");

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
    a.close().await;
    b.close().await;
    for host in [a, b] {
        let census = host.swarm().census();
        assert!(census.tasks.is_empty() && census.memory == 0, "{census:?}");
    }
}

#[cfg(feature = "async-std")]
#[test]
fn a_host_runs_on_async_std() {
    on(p2p::runtime::AsyncStd::new(), |talk| {
        p2p::runtime::AsyncStd::block_on(talk)
    });
}

#[cfg(feature = "smol")]
#[test]
fn a_host_runs_on_smol() {
    on(p2p::runtime::Smol::new(), |talk| {
        p2p::runtime::Smol::block_on(talk)
    });
}

#[cfg(feature = "tokio")]
#[test]
fn a_host_runs_on_tokio() {
    p2p::runtime::Tokio::block_on(async { talk(p2p::runtime::Tokio::current()).await });
}

#[cfg(any(feature = "async-std", feature = "smol"))]
fn on(rt: Rt, block_on: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()>>>)) {
    block_on(Box::pin(talk(rt)));
}
