//! QUIC picked alone: two nodes on loopback, one stream, no swarm.
//!
//! ```text
//! cargo run -p p2p-quic --example quic_alone
//! ```

use std::error::Error;
use std::sync::Arc;

use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Muxer, Rt, Transport};
use p2p_keys::Keypair;
use p2p_quic::{Config, Quic};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    p2p_runtime::block_on(async {
        let rt = p2p_runtime::default_runtime();
        let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let dialer = Quic::new(rt.clone(), &alice, Config::default())?;
        let server = Quic::new(rt.clone(), &bob, Config::default())?;
        let mut listener = server
            .listen("/ip4/127.0.0.1/udp/0/quic-v1".parse()?)
            .await?;
        let addr = listener.addrs().remove(0);
        println!("listening on {addr}");

        let dial = async {
            Ok::<_, Box<dyn Error + Send + Sync>>(dialer.dial(addr, Some(bob.to_peer_id())).await?)
        };
        let accept = async { Ok(listener.accept().await?.link.await?) };
        let (dialed, accepted) = try_join(dial, accept).await?;
        let (at_alice, at_bob) = (serve(&rt, dialed.link)?, serve(&rt, accepted)?);

        let mut question = at_alice.open().await?;
        question.write_all(b"who is there?").await?;
        question.close().await?;
        let mut stream = at_bob.accept().await?;
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await?;
        stream.write_all(format!("{heard} bob").as_bytes()).await?;
        stream.close().await?;
        let mut answer = String::new();
        question.read_to_string(&mut answer).await?;
        println!("{answer}");
        Ok(())
    })
}

/// Runs the connection behind `link` and returns its handle.
fn serve(rt: &Rt, link: Link) -> Result<Arc<dyn Muxer>, &'static str> {
    let Link::Muxed(established) = link else {
        return Err("QUIC needs no upgrade");
    };
    println!("connected to {}", established.peer);
    let driver = established.muxing.driver;
    rt.spawn("connection", Box::pin(async { drop(driver.await) }));
    Ok(established.muxing.muxer)
}
