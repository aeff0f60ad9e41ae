//! Listens on all interfaces, dials itself over loopback and says hello.
//!
//! `cargo run -p p2p-tcp --example tcp_alone`

use std::error::Error;

use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{AddrExt, Link, Multiaddr, Transport};
use p2p_tcp::{Config, Tcp};

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    p2p_runtime::block_on(async {
        let tcp = Tcp::new(p2p_runtime::default_runtime(), Config::default());
        let mut listener = tcp.listen("/ip4/0.0.0.0/tcp/0".parse()?).await?;
        for addr in listener.addrs() {
            println!("listening on {addr}");
        }
        let loopback = |addr: &Multiaddr| addr.ip().is_some_and(|ip| ip.is_loopback());
        let addr = listener.addrs().into_iter().find(loopback);
        let addr = addr.ok_or("no loopback interface")?;

        let greet = async {
            let incoming = listener.accept().await?;
            println!("{} connected to {}", incoming.remote, incoming.local);
            if let Link::Raw(mut io) = incoming.link.await? {
                io.write_all(b"hello").await?;
                io.close().await?;
            }
            Done::Ok(())
        };
        let (text, ()) = try_join(read_all(&tcp, addr), greet).await?;
        println!("it says {text:?}");
        Ok(())
    })
}

async fn read_all(tcp: &Tcp, addr: Multiaddr) -> Done<String> {
    let mut text = String::new();
    if let Link::Raw(mut io) = tcp.dial(addr, None).await?.link {
        io.read_to_string(&mut text).await?;
    }
    Ok(text)
}
