//! Connections over simulated links.

use std::io;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Instant, Rt, TcpOptions, TcpStream};
use p2p_sim::{Host, Link, Sim, Stuck};

const MS: Duration = Duration::from_millis(1);

fn options() -> TcpOptions {
    TcpOptions::default()
}

async fn connect(host: &Host, to: &Host) -> io::Result<Box<dyn TcpStream>> {
    let rt = host.rt();
    rt.net().tcp_connect(to.socket(7), &options()).await
}

/// Echoes everything on port 7, until the host ends.
fn serve_echo(host: &Host) {
    let rt: Rt = host.rt();
    let mut listener = rt
        .net()
        .tcp_listen("0.0.0.0:7".parse().unwrap(), &options())
        .unwrap();
    host.spawn("accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            rt.spawn(
                "echo",
                Box::pin(async move {
                    let (reader, mut writer) = stream.split();
                    let _ = futures::io::copy(reader, &mut writer).await;
                    let _ = writer.close().await;
                }),
            );
        }
    });
}

#[test]
fn a_connect_takes_two_latencies_and_an_echo_two_more() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(50 * MS));
    serve_echo(&b);

    let (connected, echoed) = sim.block_on(async {
        let mut stream = connect(&a, &b).await.unwrap();
        let connected = a.rt().now();
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
        (connected, a.rt().now())
    });

    assert_eq!(connected, Instant::ZERO + 100 * MS);
    assert_eq!(echoed, Instant::ZERO + 200 * MS);
}

#[test]
fn a_deadlock_names_the_seed_and_who_waits() {
    let sim = Sim::new(42);
    let host = sim.host("alice");
    host.spawn("waits for nobody", std::future::pending());
    let stuck = sim.try_block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(stuck, Stuck::Deadlock(_)));
    let text = stuck.to_string();
    assert!(text.contains("seed 42"), "{text}");
    assert!(text.contains("waits for nobody of host alice"), "{text}");
}
