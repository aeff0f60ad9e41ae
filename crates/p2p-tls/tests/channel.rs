//! Our records and those of rustls: each reads what the other writes.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

use std::error::Error as _;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::executor::block_on;
use futures::future::{join, poll_immediate};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use p2p_core::{Blame, Role};
use p2p_keys::Keypair;
use p2p_tls::{Channel, ChannelError, Credentials, Tls, Verifier};
use proptest::prelude::*;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;

type Ours = Channel<p2p_memory::Pipe>;
type Theirs = TlsStream<p2p_memory::Pipe>;

/// A channel with rustls at its other end. `capacity`: of the pipe, in bytes.
fn meet(role: Role, capacity: usize) -> (Ours, Theirs) {
    let tls = Tls::new(&Keypair::generate_ed25519()).unwrap();
    let other = Credentials::new(&Keypair::generate_ed25519()).unwrap();
    let (near, far) = p2p_memory::pipe(capacity);
    let ours = async {
        let mut remote = tls.secure(near, role, None, &[]).await.unwrap();
        remote.channel.flush().await.unwrap();
        remote.channel
    };
    let theirs = async {
        match role {
            Role::Dialer => {
                let config = Arc::new(other.server(Vec::new()));
                TlsStream::from(TlsAcceptor::from(config).accept(far).await.unwrap())
            }
            Role::Listener => {
                let config = Arc::new(other.client(None, Vec::new()));
                let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
                let mut dialed = TlsConnector::from(config).connect(name, far).await.unwrap();
                dialed.flush().await.unwrap();
                TlsStream::from(dialed)
            }
        }
    };
    block_on(join(ours, theirs))
}

/// What is below the channel of rustls.
fn raw(theirs: &mut Theirs) -> &mut p2p_memory::Pipe {
    match theirs {
        TlsStream::Client(stream) => stream.get_mut().0,
        TlsStream::Server(stream) => stream.get_mut().0,
    }
}

/// Writes pieces, each of which says its number, and ends.
async fn write(mut to: impl AsyncWrite + Unpin, pieces: &[(usize, bool)]) -> io::Result<()> {
    for (number, (len, flush)) in pieces.iter().enumerate() {
        to.write_all(&vec![number as u8; *len]).await?;
        if *flush {
            to.flush().await?;
        }
    }
    to.close().await
}

async fn read(mut from: impl AsyncRead + Unpin, size: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut part) = (Vec::new(), vec![0; size]);
    loop {
        match from.read(&mut part).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(part.get(..count).unwrap()),
        }
    }
}

fn expected(pieces: &[(usize, bool)]) -> Vec<u8> {
    let bytes = |(number, (len, _)): (usize, &(usize, bool))| vec![number as u8; *len];
    pieces.iter().enumerate().flat_map(bytes).collect()
}

fn pieces() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0_usize..40_000, any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_read_what_the_other_writes(
        dials in any::<bool>(),
        capacity in 1_usize..50_000,
        there in pieces(),
        back in pieces(),
        size in 1_usize..40_000,
    ) {
        let role = if dials { Role::Dialer } else { Role::Listener };
        let (ours, theirs) = meet(role, capacity);
        let (our_read, our_write) = ours.split();
        let (their_read, their_write) = theirs.split();
        let (written, read_there) = block_on(join(
            join(write(our_write, &there), write(their_write, &back)),
            join(read(their_read, size), read(our_read, size)),
        ));
        written.0.unwrap();
        written.1.unwrap();
        prop_assert!(read_there.0.unwrap() == expected(&there));
        prop_assert!(read_there.1.unwrap() == expected(&back));
    }
}

#[test]
fn keys_that_rustls_changes_are_followed_and_answered() {
    for role in [Role::Dialer, Role::Listener] {
        let (mut ours, mut theirs) = meet(role, 64 * 1024);
        block_on(async {
            for round in 0..5_u8 {
                match &mut theirs {
                    TlsStream::Client(stream) => stream.get_mut().1.refresh_traffic_keys(),
                    TlsStream::Server(stream) => stream.get_mut().1.refresh_traffic_keys(),
                }
                .unwrap();
                let mut buffer = [0; 1000];
                theirs.write_all(&[round; 1000]).await.unwrap();
                theirs.flush().await.unwrap();
                ours.read_exact(&mut buffer).await.unwrap();
                assert_eq!(buffer, [round; 1000]);
                // rustls has asked for a new key of ours, too.
                ours.write_all(&[round; 1000]).await.unwrap();
                ours.flush().await.unwrap();
                theirs.read_exact(&mut buffer).await.unwrap();
                assert_eq!(buffer, [round; 1000]);
            }
        });
    }
}

#[test]
fn rustls_hears_our_farewell_and_we_hear_its() {
    let (mut ours, mut theirs) = meet(Role::Dialer, 64 * 1024);
    block_on(async {
        ours.write_all(b"bye").await.unwrap();
        ours.close().await.unwrap();
        let mut text = Vec::new();
        theirs.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"bye");
        theirs.write_all(b"and you").await.unwrap();
        theirs.close().await.unwrap();
        text.clear();
        ours.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"and you");
    });
}

/// Attack: a link that is cut so that it looks like an end.
#[test]
fn a_link_that_ends_without_farewell_was_cut() {
    let (mut ours, mut theirs) = meet(Role::Listener, 64 * 1024);
    block_on(raw(&mut theirs).close()).unwrap();
    let error = block_on(ours.read(&mut [0; 9])).unwrap_err();
    assert_eq!(ChannelError::of(&error), Some(ChannelError::Truncated));
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_is_forged_ends_the_channel_and_rustls_is_told_why() {
    let (ours, mut theirs) = meet(Role::Dialer, 64 * 1024);
    // A record that nobody sealed, past the channel of rustls.
    let mut ours = ours;
    block_on(async {
        let raw = raw(&mut theirs);
        raw.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
        raw.write_all(&[9; 20]).await.unwrap();
        for _ in 0..2 {
            let error = ours.read(&mut [0; 9]).await.unwrap_err();
            assert_eq!(ChannelError::of(&error), Some(ChannelError::Forged));
        }
        assert!(poll_immediate(ours.write(b"x")).await.unwrap().is_err());
        let told = theirs.read(&mut [0; 9]).await.unwrap_err();
        let told = told.get_ref().unwrap().downcast_ref().cloned();
        let expected = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(told, Some(expected));
    });
}

/// Attack: rustls may try each of them again with every further one.
#[test]
fn empty_records_end_a_handshake() {
    let tls = Tls::new(&Keypair::generate_ed25519()).unwrap();
    let (near, mut far) = p2p_memory::pipe(64 * 1024);
    block_on(async {
        far.write_all(&[23, 3, 3, 0, 0]).await.unwrap();
        let error = tls.secure(near, Role::Dialer, None, &[]).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Remote);
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .contains("InvalidEmptyPayload")
        );
    });
}

/// Attack: what comes along with the last record, in records of any version.
#[test]
fn what_comes_with_the_last_record_of_a_handshake_waits_for_its_end() {
    for version in [[3, 3], [0xfe, 0xff], [3, 1]] {
        let tls = Tls::new(&Keypair::generate_ed25519()).unwrap();
        let other = Credentials::new(&Keypair::generate_ed25519()).unwrap();
        let (near, far) = p2p_memory::pipe(64 * 1024);
        let config = Arc::new(other.client(None, Vec::new()));
        let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
        let dial = async {
            let late = Late {
                below: far,
                held: Vec::new(),
                version,
            };
            let mut dialed = TlsConnector::from(config)
                .connect(name, late)
                .await
                .unwrap();
            dialed.write_all(b"with the handshake").await.unwrap();
            dialed.close().await.unwrap();
        };
        let listen = async {
            let mut remote = tls.secure(near, Role::Listener, None, &[]).await.unwrap();
            let mut text = Vec::new();
            remote.channel.read_to_end(&mut text).await.unwrap();
            text
        };
        assert_eq!(block_on(join(dial, listen)).1, b"with the handshake");
    }
}

/// Writes everything behind the first record in one piece when it is closed, as records of another
/// version.
struct Late {
    below: p2p_memory::Pipe,
    held: Vec<u8>,
    version: [u8; 2],
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.below).poll_read(cx, buf)
    }
}

impl AsyncWrite for Late {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // The first message of a handshake is in the clear.
        if self.held.is_empty() && buf.first() == Some(&22) {
            return Pin::new(&mut self.below).poll_write(cx, buf);
        }
        self.held.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut rest = &mut this.held[..];
        while let [23, high, low, len @ ..] = rest {
            (*high, *low) = (this.version[0], this.version[1]);
            let len = 2 + usize::from(u16::from_be_bytes([len[0], len[1]]));
            rest = &mut std::mem::take(&mut rest)[3 + len..];
        }
        while !this.held.is_empty() {
            let count = ready!(Pin::new(&mut this.below).poll_write(cx, &this.held))?;
            this.held.drain(..count);
        }
        Pin::new(&mut this.below).poll_close(cx)
    }
}

/// A dialer is done before the listener looks at its certificate.
#[test]
fn a_dialer_whose_certificate_is_refused_reads_so() {
    let tls = Tls::new(&Keypair::generate_ed25519()).unwrap();
    let other = Credentials::new(&Keypair::generate_ed25519()).unwrap();
    let verifier = Verifier {
        expect: Some(Keypair::generate_ed25519().to_peer_id()),
        ..Verifier::default()
    };
    let config = other.server_with(Arc::new(verifier), Vec::new()).unwrap();
    let (near, far) = p2p_memory::pipe(64 * 1024);
    let dial = async {
        let mut remote = tls.secure(near, Role::Dialer, None, &[]).await.unwrap();
        remote.channel.flush().await.unwrap();
        remote.channel.read(&mut [0; 9]).await.unwrap_err()
    };
    let listen = TlsAcceptor::from(Arc::new(config)).accept(far);
    let (error, refused) = block_on(join(dial, listen));
    assert!(refused.is_err());
    let error = ChannelError::of(&error).unwrap();
    assert!(matches!(error, ChannelError::Alert(_)), "{error}");
    assert_eq!(error.blame(), Blame::Network);
}
