//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-multistream --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;

use p2p_core::Protocol;
use p2p_core::golden::{Remote, Texts, block_on};
use p2p_multistream::wire::{self, TokenError};
use p2p_multistream::{Config, Error, NegotiationError, dial, listen};

const PROPOSED: Protocol = Protocol::from_static("/a/1");

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    let [hung_up, refused, rest @ ..] = negotiations();
    texts.blamed("Error", Error::blame, [hung_up, refused]);
    let rest = rest.map(|error| {
        let error = std::io::Error::from(error);
        NegotiationError::of(&error).unwrap().clone()
    });
    texts.blamed("NegotiationError", NegotiationError::blame, rest);
    texts.errors("TokenError", tokens());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn said(bytes: &[u8]) -> Remote {
    Remote::saying([b"\x13/multistream/1.0.0\n", bytes].concat())
}

fn negotiations() -> [Error; 9] {
    let mut config = Config::default();
    let dialed = |remote| block_on(dial(remote, &[PROPOSED], &Config::default())).unwrap_err();
    let listened =
        |bytes, config: &Config| block_on(listen(said(bytes), &[PROPOSED], config)).unwrap_err();
    let pushy = listened(b"\x05/b/1\nnow", &config);
    config.max_proposals = NonZeroUsize::MIN;
    [
        dialed(said(b"")),
        dialed(said(b"\x03na\n")),
        dialed(said(b"\x03na\n")),
        dialed(said(b"\xff\x0f")),
        dialed(said(b"\x05/b/1\n")),
        dialed(Remote::saying(*b"HTTP/1.1 400 Bad Request\r\n")),
        dialed(Remote::saying(*b"\x1b[2J\xff")),
        pushy,
        listened(b"\x05/b/1\n", &config),
    ]
}

fn tokens() -> [TokenError; 3] {
    let bytes: [&[u8]; 3] = [b"\xff\xff", b"\x05/b/1/", b"\xff\x0f"];
    bytes.map(|bytes| wire::decode(bytes, 1024).unwrap_err())
}
