//! An identity of one's own: make a key or load it, show who it is, and tell others where to
//! find it.
//!
//! `cargo run -p p2p-keys --example identity -- my.key`

use std::env;
use std::error::Error;
use std::path::Path;

use p2p_keys::{CidBase, Keypair, PeerIdExt, PeerRecord, RecordLimits};

fn main() -> Result<(), Box<dyn Error>> {
    let keypair = match env::args().nth(1) {
        Some(path) if Path::new(&path).exists() => Keypair::load(path)?,
        Some(path) => {
            let keypair = Keypair::generate_ed25519();
            keypair.save(path)?;
            keypair
        }
        None => Keypair::generate_ed25519(),
    };
    println!("key type  {}", keypair.key_type());
    println!("peer id   {}", keypair.to_peer_id());
    println!("as a CID  {}", keypair.to_peer_id().to_cid(CidBase::Base36));

    let envelope = PeerRecord::seal(&keypair, 1, &["/ip4/127.0.0.1/tcp/4001".parse()?])?;
    let bytes = envelope.encode();
    println!("sealed    {} bytes, for anybody to check:", bytes.len());

    let record = PeerRecord::open(&bytes, &RecordLimits::default())?;
    println!("reach     {} at {:?}", record.peer, record.addrs);
    Ok(())
}
