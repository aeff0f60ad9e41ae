//! The exchange alone, over a pipe: one end says who it is, the other learns it.

use futures::executor::block_on;
use futures::future::join;
use p2p_identify::{Announcement, Limits, request, send};
use p2p_keys::Keypair;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = Keypair::generate_ed25519();
    let addrs = ["/ip4/192.0.2.1/tcp/4001".parse()?];
    let protocols = ["/chat/1.0.0".try_into()?];
    let said = Announcement::new(&keys, &addrs, &protocols, "example/1.0", "ipfs/0.1.0", 1)?;

    let (mut asker, mut answerer) = p2p_memory::pipe(8192);
    let seen_at = "/ip4/198.51.100.7/tcp/50000".parse()?;
    let message = said.encode(Some(&seen_at));
    let (peer, key) = (keys.to_peer_id(), keys.public().to_protobuf());
    let (info, sent) = block_on(join(
        request(&mut asker, peer, key, &Limits::default()),
        send(&mut answerer, &message),
    ));
    sent?;
    println!("{:#?}", info?);
    Ok(())
}
