//! Two nodes of one process talk over `/memory`, without any runtime.
//!
//! `cargo run -p p2p-memory --example two_nodes`

use std::error::Error;

use futures::executor::block_on;
use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Multiaddr, Transport};
use p2p_memory::{Config, Hub, Memory};

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    block_on(async {
        let memory = Memory::new(Hub::new(), Config::default());
        let mut listener = memory.listen("/memory/0".parse()?).await?;
        let addr = listener.addrs().first().cloned().ok_or("no address")?;
        println!("listening on {addr}");

        let answer = async {
            let incoming = listener.accept().await?;
            println!("{} connected from {}", incoming.local, incoming.remote);
            let Link::Raw(mut io) = incoming.link.await? else {
                return Err("a memory link is raw".into());
            };
            let mut name = String::new();
            io.read_to_string(&mut name).await?;
            io.write_all(format!("hello, {name}").as_bytes()).await?;
            io.close().await?;
            Done::Ok(())
        };
        let (text, ()) = try_join(ask(&memory, addr.clone()), answer).await?;
        println!("the answer: {text}");
        Ok(())
    })
}

async fn ask(memory: &Memory, addr: Multiaddr) -> Done<String> {
    let Link::Raw(mut io) = memory.dial(addr, None).await?.link else {
        return Err("a memory link is raw".into());
    };
    io.write_all(b"neighbour").await?;
    io.close().await?;
    let mut text = String::new();
    io.read_to_string(&mut text).await?;
    Ok(text)
}
