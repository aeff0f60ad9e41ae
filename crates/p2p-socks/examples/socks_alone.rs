//! Fetches a page through a proxy, with nothing else of the stack:
//! `cargo run -p p2p-socks --example socks_alone -- 127.0.0.1:9050 /dns4/example.com/tcp/80`.

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Link, Transport};
use p2p_socks::{Config, Socks5};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(proxy), Some(to)) = (args.next(), args.next()) else {
        println!("usage: socks_alone PROXY ADDRESS");
        return Ok(());
    };
    let proxy = Socks5::new(p2p_runtime::default_runtime(), Config::new(proxy.parse()?));
    p2p_runtime::block_on(async {
        let Link::Raw(mut io) = proxy.dial(to.parse()?, None).await?.link else {
            return Err("a proxy yields bytes".into());
        };
        io.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut page = String::new();
        io.read_to_string(&mut page).await?;
        println!("{page}");
        Ok(())
    })
}
