//! An echo server and its client.
//!
//! ```text
//! cargo run -p p2p --example host_echo                  both in one process
//! cargo run -p p2p --example host_echo -- serve         prints its address and stays
//! cargo run -p p2p --example host_echo -- ask ADDRESS   in another terminal
//! ```

use std::error::Error;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, io};
use p2p::{Host, Multiaddr, Stream};

const ECHO: &str = "/echo/1.0.0";

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    p2p::block_on(async {
        match args.as_slice() {
            [] => {
                let (server, addr) = serve("/ip4/127.0.0.1/tcp/0").await?;
                ask(addr).await?;
                server.close().await;
                Ok(())
            }
            ["serve"] => {
                let (server, _) = serve("/ip4/127.0.0.1/tcp/0").await?;
                let mut events = server.events();
                while let Some(event) = events.next().await {
                    println!("{event:?}");
                }
                Ok(())
            }
            ["ask", addr] => ask(addr.parse()?).await,
            _ => Err("usage: host_echo [serve | ask ADDRESS]".into()),
        }
    })
}

async fn serve(addr: &str) -> Done<(Host, Multiaddr)> {
    let host = Host::builder().build().await?;
    host.handle(ECHO, echo)?;
    let addr = host.listen(addr).await?;
    println!("listening on {addr}");
    Ok((host, addr))
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn ask(addr: Multiaddr) -> Done<()> {
    let host = Host::builder().build().await?;
    let mut stream = host.open(addr, ECHO).await?;
    stream.write_all(b"hello").await?;
    stream.close().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{} answers {answer:?}", stream.peer());
    host.close().await;
    Ok(())
}
