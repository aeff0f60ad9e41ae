//! What a name in an address comes to, with nothing else of the stack:
//! `cargo run -p p2p-dns --example dns_alone -- /dns4/localhost/tcp/4001`.

use p2p_dns::{Config, Resolver};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1);
    let addr = addr.unwrap_or_else(|| "/dns4/localhost/tcp/443/wss".to_owned());
    let resolver = Resolver::new(p2p_runtime::default_runtime(), Config::default());
    for resolved in p2p_runtime::block_on(resolver.resolve(&addr.parse()?))? {
        println!("{resolved}");
    }
    Ok(())
}
