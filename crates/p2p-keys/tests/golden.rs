//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-keys --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![cfg(feature = "secp256k1")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use p2p_core::Chain;
use p2p_core::golden::Texts;
use p2p_keys::{
    DecodeKeyError, EnvelopeError, GenerateError, KeyType, Keypair, LoadError, PeerId, PeerIdError,
    PeerIdExt as _, PeerRecord, PublicKey, RecordError, RecordLimits, SaveError, SignError,
    SignedEnvelope,
};

const RSA: u8 = 0;
const ED25519: u8 = 1;
const SECP256K1: u8 = 2;
const ECDSA: u8 = 3;

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    let key_type = KeyType::Ecdsa;
    texts.blamed("DecodeKeyError", DecodeKeyError::blame, keys());
    texts.blamed("GenerateError", GenerateError::blame, generated());
    texts.blamed("SignError", SignError::blame, [SignError { key_type }]);
    texts.blamed("PeerIdError", PeerIdError::blame, ids());
    texts.lines("LoadError", loads());
    texts.lines("SaveError", saves());
    texts.blamed("EnvelopeError", EnvelopeError::blame, envelopes());
    texts.blamed("RecordError", RecordError::blame, records());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

/// The protobuf of a key with fewer than 128 bytes.
fn key(kind: u8, data: &[u8]) -> Vec<u8> {
    let len = u8::try_from(data.len()).unwrap();
    [&[8, kind, 0x12, len], data].concat()
}

fn keys() -> Vec<DecodeKeyError> {
    let public: [&[u8]; 9] = [
        b"not a key",
        &[0; 1101],
        &key(9, &[]),
        &key(RSA, b"not a key"),
        &key(ED25519, &[2; 31]),
        &key(SECP256K1, &[2; 32]),
        &key(SECP256K1, &[4; 33]),
        &key(ECDSA, b"not a key"),
        &key(ECDSA, &off_the_curve()),
    ];
    let own = pair(1).to_protobuf().to_vec();
    let mut of_another = own.clone();
    of_another[40] ^= 1;
    let mut differ = key(ED25519, &[&own[4..], &own[36..]].concat());
    differ[90] ^= 1;
    let private: [&[u8]; 9] = [
        &[0; 5001],
        &key(RSA, b"not a key"),
        &key(ED25519, &[1; 63]),
        &of_another,
        &differ,
        &key(SECP256K1, &[1; 31]),
        &key(SECP256K1, &[0; 32]),
        &key(ECDSA, b"not a key"),
        &key(ECDSA, &[0; 127]),
    ];
    let public = public.map(|bytes| PublicKey::from_protobuf(bytes).unwrap_err());
    let private = private.map(|bytes| Keypair::from_protobuf(bytes).unwrap_err());
    let made = [
        DecodeKeyError::Disabled(KeyType::Secp256k1),
        DecodeKeyError::RsaSize { bits: 1024 },
    ];
    public.into_iter().chain(private).chain(made).collect()
}

/// The `SubjectPublicKeyInfo` of what is no point of P-256.
fn off_the_curve() -> Vec<u8> {
    let pair = Keypair::generate(KeyType::Ecdsa).unwrap();
    let mut info = pair.public().as_protobuf()[4..].to_vec();
    let last = info.len() - 64;
    info[last..].fill(1);
    info
}

fn generated() -> [GenerateError; 3] {
    [
        GenerateError::Backend(KeyType::Rsa),
        GenerateError::Disabled(KeyType::Secp256k1),
        Keypair::generate_rsa(1024).unwrap_err(),
    ]
}

fn ids() -> [PeerIdError; 6] {
    let long = "b".repeat(400);
    let texts = ["nowhere!", "Qm0", "1", &long, "bafyaa", "Qmaa"];
    texts.map(|text| PeerId::parse_any(text).unwrap_err())
}

/// `DIR` stands for the folder of the files.
fn loads() -> Vec<String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let missing = LoadError::Io {
        path: dir.join("host.key"),
        source: ErrorKind::NotFound.into(),
    };
    let pair = pair(1);
    let files: [&[u8]; 4] = [
        b"not a key",
        &[0; 6000],
        pair.public().as_protobuf(),
        &key(9, &[]),
    ];
    let read = files.iter().map(|bytes| {
        let path = dir.join("golden.key");
        fs::write(&path, bytes).unwrap();
        Keypair::load(&path).unwrap_err()
    });
    let all = [missing].into_iter().chain(read);
    all.map(|error| in_dir(error.blame(), &Chain(&error)))
        .collect()
}

fn saves() -> [String; 2] {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("taken.key");
    fs::write(&path, "taken").unwrap();
    let exists = pair(1).save(&path).unwrap_err();
    let source = ErrorKind::PermissionDenied.into();
    [exists, SaveError::Io { path, source }].map(|error| in_dir(error.blame(), &Chain(&error)))
}

fn in_dir(blame: p2p_keys::Blame, error: &Chain<'_>) -> String {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("");
    let text = error.to_string().replace(dir.to_str().unwrap(), "DIR/");
    format!("[blame {blame}] {text}")
}

fn envelopes() -> Vec<EnvelopeError> {
    let sealed = SignedEnvelope::seal(&pair(1), "domain", b"/type", vec![7; 20]).unwrap();
    let public = sealed.signer().as_protobuf();
    let field = |number: u8, bytes: &[u8]| {
        [
            &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()],
            bytes,
        ]
        .concat()
    };
    let bytes: [Vec<u8>; 6] = [
        vec![0xff],
        vec![8, 1],
        [field(1, public), field(1, public)].concat(),
        field(5, b"signature"),
        field(1, public),
        [field(1, b"not a key"), field(5, b"signature")].concat(),
    ];
    let mut all: Vec<EnvelopeError> = bytes
        .iter()
        .map(|bytes| SignedEnvelope::decode(bytes).unwrap_err())
        .collect();
    all.push(sealed.open("domain", b"/other").unwrap_err());
    all.push(sealed.open("elsewhere", b"/type").unwrap_err());
    all
}

fn records() -> Vec<RecordError> {
    let (domain, payload_type) = ("libp2p-peer-record", &[3, 1]);
    let other = pair(2).to_peer_id().to_bytes();
    let of_another = [&[10, u8::try_from(other.len()).unwrap()], &other[..]].concat();
    let payloads: [&[u8]; 6] = [
        &[0xff],
        &[8, 1],
        &[16, 1, 16, 1],
        &[16, 1],
        &[10, 3, 1, 2, 3],
        &of_another,
    ];
    let limits = RecordLimits::default();
    let open = |envelope: &[u8]| PeerRecord::open(envelope, &limits).unwrap_err();
    let mut all: Vec<RecordError> = payloads
        .iter()
        .map(|payload| {
            let payload = payload.to_vec();
            let sealed = SignedEnvelope::seal(&pair(1), domain, payload_type, payload);
            open(&sealed.unwrap().encode())
        })
        .collect();
    all.push(open(&[0; 8193]));
    all.push(open(&[]));
    all
}
