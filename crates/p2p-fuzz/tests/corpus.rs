//! What an honest remote says to each target: the fuzzers start from here.
//!
//! `P2P_BLESS=1 cargo test -p p2p-fuzz --test corpus` writes the files anew, but for those that
//! differ each time: they are written if they are missing.
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]

use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_core::{AddrExt, Multiaddr, Protocol, Role, Transport, frame, golden, uvarint};
use p2p_fuzz::TARGETS;
use p2p_identify::Announcement;
use p2p_keys::{Keypair, PeerRecord, SignedEnvelope};
use p2p_noise::Noise;
use p2p_plaintext::Plaintext;
use p2p_pnet::PreSharedKey;
use p2p_pubsub::wire::{Control, RpcOut};
use p2p_pubsub::{Author, MessageId};
use p2p_quic::Quic;
use p2p_sim::Sim;
use p2p_tls::Tls;
use p2p_yamux::wire::{Flags, Header, Kind};

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

/// Handshakes of libraries that draw their own keys.
const NEVER_THE_SAME: &[&str] = &["quic_listener", "tls_dialer", "tls_listener"];

/// One honest input for each target, in the order of the targets.
fn honest() -> Vec<(&'static str, Vec<u8>)> {
    let addr: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
    let addrs = [addr];
    let envelope = SignedEnvelope::seal(&pair(1), "domain", b"/type", vec![7; 20]).unwrap();
    let record = PeerRecord::seal(&pair(1), 5, &addrs).unwrap();
    let operations: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(37)).collect();
    vec![
        ("address", addrs[0].to_vec()),
        ("bootstrap_list", list()),
        ("dns_answer", names()),
        ("envelope", envelope.encode()),
        ("floodsub", flood()),
        ("frame", b"\x03\x05hello\x00".to_vec()),
        ("gossipsub", steps()),
        ("gossipsub_partial", parts()),
        ("http_answer", page().into_bytes()),
        ("http_request", b"\x07GET /top HTTP/1.1\r\n\r\n".to_vec()),
        (
            "identify",
            [&[64][..], &frame::encode(&identify(&addrs))].concat(),
        ),
        ("liveness", operations.clone()),
        ("mdns", link(&addrs)),
        ("mdns_packet", found(&addrs)),
        ("mplex", mplex()),
        ("mplex_operations", operations.clone()),
        (
            "multistream_dialer",
            lines(4, &["/multistream/1.0.0", "na", "/ipfs/ping/1.0.0"]),
        ),
        (
            "multistream_lazy",
            lines(7, &["/multistream/1.0.0", "/echo/1.0.0", "hello"]),
        ),
        (
            "multistream_listener",
            lines(0, &["/multistream/1.0.0", "ls", "/x", "/echo/1.0.0", "hi"]),
        ),
        ("multistream_token", lines(0, &["/echo/1.0.0"]).split_off(1)),
        ("noise_dialer", noise(Role::Dialer)),
        ("noise_listener", noise(Role::Listener)),
        ("peer_id", pair(1).to_peer_id().to_bytes()),
        ("peer_record", record.encode()),
        ("perf_client", [&[2][..], &[0; 64]].concat()),
        (
            "perf_server",
            [&[2][..], &100u64.to_be_bytes(), &[0; 64]].concat(),
        ),
        ("ping", [&[9][..], &[5; 64]].concat()),
        ("plaintext", plaintext()),
        ("pnet", [&[5][..], &[3; 24], b"anything"].concat()),
        (
            "pnet_key",
            PreSharedKey::new([7; 32]).to_file().as_bytes().to_vec(),
        ),
        ("private_key", pair(1).to_protobuf().to_vec()),
        ("public_key", pair(1).public().to_protobuf().to_vec()),
        ("pubsub_rpc", rpc()),
        ("quic_dialer", quic_answers()),
        ("quic_listener", quic_datagrams()),
        (
            "request_answer",
            [&[2][..], &frame::encode(&[1; 40])].concat(),
        ),
        (
            "request_question",
            [&[2][..], &frame::encode(&[1; 40])].concat(),
        ),
        ("socks", proxy()),
        ("store_record", stored(&addrs)),
        ("tls_certificate", certificate()),
        ("tls_dialer", tls(Role::Dialer)),
        ("tls_listener", tls(Role::Listener)),
        ("uvarint", uvarint::encode(uvarint::MAX).as_slice().to_vec()),
        ("websocket_dialer", web_answer()),
        ("websocket_listener", web_request()),
        ("yamux", yamux()),
        ("yamux_operations", operations),
    ]
}

#[test]
fn every_target_starts_from_what_an_honest_remote_says() {
    let honest = honest();
    let names: Vec<&str> = honest.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        TARGETS.iter().map(|target| target.name).collect::<Vec<_>>()
    );
    for (name, bytes) in honest {
        assert!(!bytes.is_empty(), "{name}: nothing was said");
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let file = dir.join("honest");
        if NEVER_THE_SAME.contains(&name) && file.exists() {
            assert!(!fs::read(&file).unwrap().is_empty(), "{name}: bless it");
        } else {
            golden::compare(file, bytes);
        }
    }
}

fn lines(piece: u8, lines: &[&str]) -> Vec<u8> {
    let mut out = vec![piece];
    for line in lines {
        out.extend(frame::encode(format!("{line}\n").as_bytes()));
    }
    out
}

fn identify(addrs: &[Multiaddr]) -> Vec<u8> {
    let protocols = [Protocol::from_static("/echo/1.0.0")];
    let said = Announcement::new(&pair(1), addrs, &protocols, "agent/1", "ipfs/0.1.0", 9).unwrap();
    said.encode(addrs.first())
}

fn rpc() -> Vec<u8> {
    let ids = vec![MessageId::new(b"one"), MessageId::new(b"two")];
    let mut author = Author::signing(pair(1));
    let message = author
        .write("t".into(), b"hello", Duration::from_secs(1))
        .unwrap();
    let mut bytes = Vec::new();
    RpcOut {
        control: vec![
            Control::Subscription(true, "t".into()),
            Control::Graft("t".into()),
            Control::IHave("t".into(), ids.clone().into()),
            Control::IWant(ids.clone()),
            Control::IDontWant(ids),
            Control::Prune {
                topic: "t".into(),
                peers: Vec::new(),
                backoff: Some(60),
            },
        ],
        messages: vec![message.into()],
    }
    .encode(&mut bytes);
    bytes
}

/// A peer joins, says everything, time passes, and it leaves.
fn steps() -> Vec<u8> {
    let (mut bytes, said) = (vec![1, 0], rpc());
    for part in [said.clone(), said.into_iter().take(4).collect()] {
        bytes.extend([3, u8::try_from(part.len().min(255)).unwrap()]);
        bytes.extend(part.iter().take(255));
    }
    bytes.extend([2, 100]);
    bytes.extend(std::iter::repeat_n(0, 100));
    bytes.extend([0, 0]);
    bytes
}

/// The same, and we publish and leave the topic; the second peer brings a message.
fn flood() -> Vec<u8> {
    let mut author = Author::signing(pair(1));
    let message = author.write("t".into(), b"hello", Duration::from_secs(1));
    let join = Control::Subscription(true, "t".into());
    let rpc = |control, messages| {
        let mut bytes = Vec::new();
        RpcOut { control, messages }.encode(&mut bytes);
        bytes
    };
    let joined = rpc(vec![join], Vec::new());
    let told = rpc(Vec::new(), vec![message.unwrap().into()]);
    let mut bytes = vec![1, 0, 9, 0];
    for (what, said) in [
        (3, &joined[..]),
        (7, b"ours"),
        (11, &told),
        (6, b""),
        (0, b""),
    ] {
        bytes.extend([what, u8::try_from(said.len()).unwrap()]);
        bytes.extend(said);
    }
    bytes
}

/// Two peers come and speak of a message in parts, of which we have some.
fn parts() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 9, 1, 0];
    for (who, how, said) in [
        (6, 0x49, &b"g\x05"[..]),
        (3, 0x3a, b"g"),
        (14, 0x69, b"g\x0fparts"),
        (2, 0, &[0; 50]),
    ] {
        bytes.extend([who, how, u8::try_from(said.len()).unwrap()]);
        bytes.extend(said);
    }
    bytes.extend([0, 0, 0]);
    bytes
}

fn yamux() -> Vec<u8> {
    let frame = |kind, flags, length| Header {
        kind,
        flags,
        stream: 1,
        length,
    };
    let mut bytes = vec![16];
    bytes.extend(frame(Kind::WindowUpdate, Flags::SYN, 0).encode());
    bytes.extend(frame(Kind::Data, Flags(0), 5).encode());
    bytes.extend(b"hello");
    bytes.extend(frame(Kind::Data, Flags::FIN, 0).encode());
    let ping = Header {
        stream: 0,
        ..frame(Kind::Ping, Flags::SYN, 7)
    };
    bytes.extend(ping.encode());
    bytes
}

fn mplex() -> Vec<u8> {
    let flag = |kind: u64| uvarint::encode(3 << 3 | kind).as_slice().to_vec();
    let mut bytes = vec![17];
    // Opened with a name, a message, closed; the same number by us is another stream.
    for (kind, payload) in [
        (0, &b"name"[..]),
        (2, b"hello"),
        (4, b""),
        (1, b"late"),
        (6, b""),
    ] {
        bytes.extend(flag(kind));
        bytes.extend(frame::encode(payload));
    }
    bytes
}

/// What the remote of a Noise end with the keys of the target says.
fn noise(role: Role) -> Vec<u8> {
    let config = p2p_noise::Config::default;
    let ours = Noise::with_fixed_keys(&pair(1), config(), [2; 32], [3; 32]).unwrap();
    let theirs = Noise::with_fixed_keys(&pair(4), config(), [5; 32], [6; 32]).unwrap();
    let muxer = [Protocol::from_static("/yamux/1.0.0")];
    recorded(|near, far| async {
        let near = async {
            let mut near = ours.secure(near, role, None, &muxer).await.unwrap().channel;
            near.write_all(b"from us").await.unwrap();
            near.flush().await.unwrap();
            near.read_exact(&mut [0; 9]).await.unwrap();
        };
        let far = async {
            let mut far = theirs
                .secure(far, role.other(), None, &muxer)
                .await
                .unwrap()
                .channel;
            far.write_all(b"from them").await.unwrap();
            far.flush().await.unwrap();
            far.read_exact(&mut [0; 7]).await.unwrap();
        };
        join(near, far).await;
    })
}

fn plaintext() -> Vec<u8> {
    recorded(|near, far| async {
        let (ours, theirs) = (Plaintext::new(&pair(1)), Plaintext::new(&pair(4)));
        let (near, far) = join(ours.exchange(near, None), theirs.exchange(far, None)).await;
        assert!(near.is_ok() && far.is_ok());
    })
}

fn list() -> Vec<u8> {
    let peer = |n| pair(n).to_peer_id();
    let (one, two) = (peer(1), peer(2));
    format!("# ours\n/ip4/192.0.2.1/tcp/4001/p2p/{one}\n\n/dnsaddr/a.test/p2p/{two} # far\n").into()
}

/// A record for `_dnsaddr.a.test`, an address and an alias: each target takes what it asked for.
fn names() -> Vec<u8> {
    let text = format!(
        "dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/{}",
        pair(1).to_peer_id()
    );
    let text = [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let record = |kind: u8, data: &[u8]| {
        let len = u16::try_from(data.len()).unwrap().to_be_bytes();
        // The name that was asked for, this kind, the internet, for a minute.
        [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60][..], &len, data].concat()
    };
    let mut bytes = vec![0];
    // An answer without an error: one question, three records.
    bytes.extend([0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0]);
    bytes.extend(record(16, &text));
    bytes.extend(record(1, &[192, 0, 2, 1]));
    bytes.extend(record(16, b"\x18dnsaddr=/dnsaddr/b.a.test"));
    bytes
}

fn found(addrs: &[Multiaddr]) -> Vec<u8> {
    let addrs: Vec<Multiaddr> = addrs
        .iter()
        .map(|addr| addr.with_peer(pair(2).to_peer_id()))
        .collect();
    let ttl = Duration::from_secs(120);
    p2p_mdns::wire::encode_answers("_p2p._udp.local", "somebody", &addrs, ttl).remove(0)
}

/// We have an address, somebody asks, somebody is there, time passes.
fn link(addrs: &[Multiaddr]) -> Vec<u8> {
    let question = p2p_mdns::wire::encode_question("_p2p._udp.local").unwrap();
    let mut bytes = vec![1, 1, 0, 0, 0, 0];
    for mut packet in [question, found(addrs)] {
        packet.resize(packet.len().next_multiple_of(4), 0);
        bytes.extend([2, u8::try_from(packet.len() / 4).unwrap()]);
        bytes.extend(packet);
    }
    bytes.extend([0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn page() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2";
    format!("{head}\r\nConnection: close\r\n\r\nhi")
}

/// A peer with an address that worked and is signed, the number of its record, and a protocol.
fn stored(addrs: &[Multiaddr]) -> Vec<u8> {
    let peer = pair(1).to_peer_id();
    let put = |bytes: &[u8]| frame::encode(bytes);
    let addr = addrs.first().unwrap().with_peer(peer);
    let record = [
        &[1][..],
        &put(&peer.to_bytes()),
        &[1],
        &7u64.to_be_bytes(),
        &[1, 5],
        &1_800_000_000u64.to_be_bytes(),
        &put(addr.as_ref()),
        &[1],
        &put(b"/echo/1.0.0"),
    ]
    .concat();
    assert!(p2p_swarm::StoredPeer::decode(&record).is_ok());
    record
}

fn certificate() -> Vec<u8> {
    let certified = p2p_tls::certificate::generate_from_seed(&pair(1), [2; 32]).unwrap();
    certified.certificate.to_vec()
}

/// What the remote of a TLS end says.
fn tls(role: Role) -> Vec<u8> {
    let (ours, theirs) = (Tls::new(&pair(1)).unwrap(), Tls::new(&pair(4)).unwrap());
    let muxer = [Protocol::from_static("/yamux/1.0.0")];
    recorded(|near, far| async {
        // A dialer's last message goes out with its first bytes.
        let near = async {
            let mut remote = ours.secure(near, role, None, &muxer).await.unwrap();
            remote.channel.flush().await.unwrap();
        };
        let far = async {
            let far = theirs.secure(far, role.other(), None, &muxer);
            let mut remote = far.await.unwrap();
            remote.channel.flush().await.unwrap();
        };
        join(near, far).await;
    })
}

/// A proxy that asks for no login and connects.
fn proxy() -> Vec<u8> {
    let answer = [5, 0, 0, 1, 192, 0, 2, 1, 0x1f, 0x90];
    [&[6, 5, 0][..], &answer, b"from behind"].concat()
}

fn web_answer() -> Vec<u8> {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    [&[32], answer.as_bytes(), &[0x82, 2, 1, 2]].concat()
}

/// The upgrade, which fills its pieces, and behind it a ping, a message in two frames, the end.
fn web_request() -> Vec<u8> {
    const PIECE: usize = 64;
    let headers = " HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let mut request = "GET /".to_owned();
    while !(request.len() + headers.len()).is_multiple_of(PIECE) {
        request.push('a');
    }
    request.push_str(headers);
    let frames = [
        &[0x89, 0x80, 1, 2, 3, 4][..],
        &[0x02, 0x83, 1, 2, 3, 4, 5, 6, 7],
        &[0x80, 0x82, 1, 2, 3, 4, 5, 6],
        &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8],
    ];
    [&[64], request.as_bytes(), &frames.concat()].concat()
}

/// What a dialer sends to somebody who never answers.
fn quic_datagrams() -> Vec<u8> {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    let dialer = Quic::new(near.rt(), &pair(1), p2p_quic::Config::default()).unwrap();
    let socket = far.rt().net().udp_bind(far.socket(4001)).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    far.spawn("hears", async move {
        let mut buffer = vec![0; 2048];
        loop {
            let received = poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await;
            let len = received.unwrap().len;
            let mut heard = hears.lock().unwrap();
            if heard.len() < 2000 {
                heard.extend(u16::try_from(len).unwrap().to_be_bytes());
                heard.extend(buffer.iter().take(len));
            }
        }
    });
    let addr = format!("/ip4/{}/udp/4001/quic-v1", far.ip());
    let dial = dialer.dial(addr.parse().unwrap(), None);
    let dialed = sim.block_on(near.rt().timeout(Duration::from_secs(10), dial));
    assert!(dialed.is_err());
    let heard = heard.lock().unwrap();
    heard.clone()
}

/// A long header that says nothing, another version, nonsense.
fn quic_answers() -> Vec<u8> {
    let answers = [
        // Retry without a token.
        [&[0xf1, 0, 0, 0, 1][..], &[7; 40]].concat(),
        // Only a version that nobody has.
        vec![0x81, 0, 0, 0, 0, 0x0a, 0x1a, 0x2a, 0x3a],
        // A short header.
        [&[0x40][..], &[3; 40]].concat(),
    ];
    let mut bytes = Vec::new();
    for answer in answers {
        bytes.extend(u16::try_from(answer.len()).unwrap().to_be_bytes());
        bytes.extend(answer);
    }
    bytes
}

/// What `near` reads, behind the size of its pieces.
fn recorded<Talk: Future<Output = ()>>(
    talk: impl FnOnce(Recorder, p2p_memory::Pipe) -> Talk,
) -> Vec<u8> {
    let (near, far) = p2p_memory::pipe(64 << 10);
    let read = Arc::new(Mutex::new(vec![33]));
    let near = Recorder {
        io: near,
        read: Arc::clone(&read),
    };
    block_on(talk(near, far));
    let read = read.lock().unwrap();
    read.clone()
}

/// One end of a pipe, and everything that it has read.
struct Recorder {
    io: p2p_memory::Pipe,
    read: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = polled {
            self.read.lock().unwrap().extend(buffer.iter().take(count));
        }
        polled
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
