//! Against the `yamux` crate over a link in memory, in both roles.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use futures::executor::LocalPool;
use futures::future::{join, join_all, poll_fn};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures::task::{LocalSpawnExt, Spawn, SpawnExt};
use futures::{FutureExt, StreamExt, channel::mpsc};
use p2p_core::{Budget, ErrorCode, Multiplex, Muxer, Role, Rt};
use p2p_mux::conformance::{Clock, pattern, pipe};
use p2p_yamux::Yamux;
use proptest::prelude::*;
use yamux::{Connection, Mode};

/// Writes of these sizes, echoed by the other side.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, seed: u8, sizes: Vec<usize>) {
    let bytes = pattern(seed, sizes.iter().sum());
    let (mut reader, mut writer) = (&mut stream).split();
    let write = async {
        let mut rest = &bytes[..];
        for size in &sizes {
            let (head, tail) = rest.split_at(*size);
            writer.write_all(head).await.unwrap();
            writer.flush().await.unwrap();
            rest = tail;
        }
        writer.close().await.unwrap();
    };
    let mut echoed = Vec::new();
    let read = async { reader.read_to_end(&mut echoed).await.unwrap() };
    join(write, read).await;
    assert!(echoed == bytes, "{} bytes of {}", echoed.len(), bytes.len());
}

async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await.unwrap();
    writer.close().await.unwrap();
}

/// Runs the crate's connection: opens `count` streams, echoes those of the remote.
async fn drive_crate(
    mut connection: Connection<impl AsyncRead + AsyncWrite + Unpin>,
    mut opened: mpsc::UnboundedSender<yamux::Stream>,
    count: usize,
    spawner: impl Spawn,
) {
    for _ in 0..count {
        let stream = poll_fn(|cx| connection.poll_new_outbound(cx))
            .await
            .unwrap();
        let _ = opened.start_send(stream);
    }
    drop(opened);
    while let Some(Ok(stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
        spawner.spawn(echo(stream)).unwrap();
    }
}

async fn serve(muxer: Arc<dyn Muxer>, spawner: impl Spawn) {
    while let Ok(stream) = muxer.accept().await {
        spawner.spawn(echo(stream)).unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "both ends are ours; nobody fills it from outside"
)]
fn check(role: Role, streams: &[Vec<usize>]) {
    let pool = &mut LocalPool::new();
    let (our_end, their_end) = pipe(100_000);
    let clock: Rt = Arc::new(Clock::default());
    let budget = Budget::new("memory of the connection", "test", 64 << 20);
    let muxing = Yamux::default().start(Box::new(our_end), role, &clock, &budget);
    let mode = match role {
        Role::Dialer => Mode::Server,
        Role::Listener => Mode::Client,
    };
    let connection = Connection::new(their_end, yamux::Config::default(), mode);
    let (opened, theirs) = mpsc::unbounded();
    let spawner = pool.spawner();
    let count = streams.len();
    spawner
        .spawn_local(drive_crate(connection, opened, count, spawner.clone()))
        .unwrap();
    spawner
        .spawn_local(serve(muxing.muxer.clone(), spawner.clone()))
        .unwrap();
    let driver = spawner.spawn_local_with_handle(muxing.driver).unwrap();

    let ours = join_all(streams.iter().cloned().zip(0u8..).map(|(sizes, seed)| {
        let muxer = muxing.muxer.clone();
        async move { ask(muxer.open().await.unwrap(), seed, sizes).await }
    }));
    let sizes = streams.to_vec();
    let theirs = async {
        let theirs: Vec<_> = theirs.collect().await;
        join_all(
            theirs
                .into_iter()
                .zip(sizes)
                .map(|(stream, sizes)| ask(stream, 99, sizes)),
        )
        .await
    };
    let all = join(ours, theirs).map(drop);
    let mut all = spawner.spawn_local_with_handle(all).unwrap();
    pool.run_until_stalled();
    assert!(
        (&mut all).now_or_never().is_some(),
        "everybody waits for ever"
    );
    assert_eq!(muxing.muxer.streams(), 0, "streams left");
    muxing.muxer.close(ErrorCode::NONE);
    let end = pool.run_until(driver);
    drop(muxing.muxer);
    pool.run_until_stalled();
    assert_eq!(budget.used(), 0, "bytes left after {end}");
}

fn sizes() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let size = prop_oneof![4 => 0usize..2000, 1 => 0usize..400_000];
    // The crate never announces a stream on which nothing is written.
    let sizes = (1usize..2000, proptest::collection::vec(size, 0..8));
    let sizes = sizes.prop_map(|(first, rest)| [vec![first], rest].concat());
    proptest::collection::vec(sizes, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn as_dialer_we_understand_each_other(streams in sizes()) {
        check(Role::Dialer, &streams);
    }

    #[test]
    fn as_listener_we_understand_each_other(streams in sizes()) {
        check(Role::Listener, &streams);
    }
}
