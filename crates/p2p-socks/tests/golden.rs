//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-socks --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::io;

use p2p_core::golden::{Remote, Texts, block_on};
use p2p_socks::{Destination, Login, Refused, SocksError, connect};

#[test]
fn every_error_reads_as_it_should() {
    let name = |len| Destination::Name("n".repeat(len));
    let login = Login {
        user: "alice".to_owned(),
        password: "p".repeat(256),
    };
    let short = Login {
        user: "alice".to_owned(),
        password: "secret".to_owned(),
    };
    let via = |said: &[u8], login, to| {
        let mut proxy = Remote::saying(said);
        block_on(connect(&mut proxy, login, &to, 443)).unwrap_err()
    };
    let mut errors = vec![
        via(&[5, 0xff], None, name(9)),
        via(b"HTTP/1.1", None, name(9)),
        via(&[5, 0, 4, 0, 0, 1], None, name(9)),
        via(&[5, 0, 5, 0, 0, 9], None, name(9)),
        via(&[5, 2, 1, 1], Some(&short), name(9)),
        via(&[5, 2], Some(&login), name(9)),
        via(&[], None, name(256)),
        via(&[], None, name(9)),
    ];
    let codes = (1..=9).map(|code| via(&[5, 0, 5, code, 0, 1], None, name(9)));
    errors.extend(codes);
    errors.push(SocksError::Unreachable(
        io::ErrorKind::ConnectionRefused.into(),
    ));
    let mut texts = Texts::default();
    texts.blamed("SocksError", SocksError::blame, errors);
    texts.lines("Refused", [Refused(5), Refused(200)]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
