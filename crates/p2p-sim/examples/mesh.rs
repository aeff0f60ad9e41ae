//! A mesh of hosts that echo: `cargo run --release -p p2p-sim --example mesh -- 1000 10`.
//!
//! Each host keeps connections to eight others open and sends a message through each every 15 s
//! of virtual time. The arguments are hosts, virtual minutes and seed.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p_core::TcpOptions;
use p2p_sim::{Host, Link, Sim};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| arguments.next().and_then(Result::ok).unwrap_or(default);
    let (hosts, minutes, seed) = (next(1000) as usize, next(10), next(1));

    let sim = Sim::new(seed);
    sim.default_link(Link::new(Duration::from_millis(40)).jitter(Duration::from_millis(20)));
    let mesh = sim.hosts(hosts);
    for (index, host) in mesh.iter().enumerate() {
        host.spawn("serve", serve(host.clone()));
        for step in 1..=8 {
            let to = (index + step * step * 7) % hosts;
            if let Some(to) = mesh.get(to) {
                host.spawn("chat", chat(host.clone(), to.clone()));
            }
        }
    }
    sim.run_for(Duration::from_secs(60 * minutes));

    let streams: usize = sim
        .census()
        .hosts
        .values()
        .map(|host| host.tcp_streams)
        .sum();
    println!(
        "{hosts} hosts, {} connections, {:?}",
        streams / 2,
        sim.stats()
    );
    println!("seed {seed} gives {}", sim.hash());
}

/// Echoes on port 7.
async fn serve(host: Host) {
    let rt = host.rt();
    let Ok(mut listener) = rt.net().tcp_listen(host.socket(7), &TcpOptions::default()) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let (reader, mut writer) = stream.split();
        host.spawn("echo", async move {
            // However the connection ends, it is over.
            let _ = futures::io::copy(reader, &mut writer).await;
        });
    }
}

/// Sends a message every 15 s and waits for its echo.
async fn chat(host: Host, to: Host) {
    let (rt, options) = (host.rt(), TcpOptions::default());
    let Ok(mut stream) = rt.net().tcp_connect(to.socket(7), &options).await else {
        return;
    };
    let mut echo = [0; 32];
    loop {
        let message = rt.random::<32>();
        if stream.write_all(&message).await.is_err() || stream.read_exact(&mut echo).await.is_err()
        {
            return;
        }
        assert_eq!(message, echo);
        rt.sleep(Duration::from_secs(15)).await;
    }
}
