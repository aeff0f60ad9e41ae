//! Two ends of a WebSocket on loopback, with nothing else of the stack:
//! `cargo run -p p2p-websocket --example websocket_alone`.

use futures::future::try_join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Transport};
use p2p_tcp::Tcp;
use p2p_websocket::{Config, WebSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    p2p_runtime::block_on(async {
        let tcp = Tcp::new(p2p_runtime::default_runtime(), p2p_tcp::Config::default());
        let ws = WebSocket::new(tcp, Config::default())?;
        let mut listener = ws.listen("/ip4/127.0.0.1/tcp/0/ws".parse()?).await?;
        let at = listener.addrs().remove(0);
        println!("listening on {at}");
        let serve = async {
            listener
                .accept()
                .await?
                .link
                .await
                .map_err(std::io::Error::other)
        };
        let dial = async { ws.dial(at, None).await.map_err(std::io::Error::other) };
        let (dialed, served) = try_join(dial, serve).await?;
        let (Link::Raw(mut near), Link::Raw(mut far)) = (dialed.link, served) else {
            return Err("a WebSocket yields bytes".into());
        };
        near.write_all(b"hello from the web").await?;
        near.close().await?;
        let mut text = String::new();
        far.read_to_string(&mut text).await?;
        println!("heard {text:?}");
        Ok(())
    })
}
