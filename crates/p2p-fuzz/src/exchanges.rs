//! Exchanges with a remote that says anything, and hangs up.

use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Budget, Protocol, Role};
use p2p_identify::Limits;
use p2p_keys::Keypair;
use p2p_multistream::Config;
use p2p_noise::Noise;
use p2p_perf::{Form, Pace, Plan};
use p2p_plaintext::Plaintext;
use p2p_request::{Call, Refusal};
use p2p_sim::Sim;

use crate::http;
use crate::remote::{Remote, finish};

const ECHO: Protocol = Protocol::from_static("/echo/1.0.0");
const PING: Protocol = Protocol::from_static("/ipfs/ping/1.0.0");
const CALL: Call<Vec<u8>, Vec<u8>> = Call::new("/call/1.0.0").max_question(128).max_answer(128);
/// More than any of these exchanges writes or reads.
const ENOUGH: u64 = 1 << 20;

/// Reads what is left for the protocol behind a negotiation.
fn drain(mut stream: impl futures::AsyncRead + Unpin) {
    let mut left = Vec::new();
    // How it ends is for the protocol to judge.
    let _ = finish((&mut stream).take(ENOUGH).read_to_end(&mut left));
}

/// The listener of multistream-select.
pub fn multistream_listener(bytes: &[u8]) {
    let (remote, config) = (Remote::new(bytes), Config::default());
    if let Ok((protocol, stream)) = finish(p2p_multistream::listen(remote, &[ECHO, PING], &config))
    {
        assert!([ECHO, PING].contains(&protocol));
        drain(stream);
    }
}

/// The careful dialer of multistream-select.
pub fn multistream_dialer(bytes: &[u8]) {
    let (remote, config) = (Remote::new(bytes), Config::default());
    if let Ok((protocol, stream)) = finish(p2p_multistream::dial(remote, &[ECHO, PING], &config)) {
        assert!([ECHO, PING].contains(&protocol));
        drain(stream);
    }
}

/// The optimistic dialer of multistream-select.
pub fn multistream_lazy(bytes: &[u8]) {
    let mut stream = p2p_multistream::dial_lazy(Remote::new(bytes), ECHO);
    // The remote may have refused already.
    let _ = finish(stream.write_all(b"first"));
    drain(stream);
}

fn noise(bytes: &[u8], role: Role) {
    let identity = Keypair::ed25519_from_seed([1; 32]);
    // Fixed keys: a corpus holds answers that fit.
    let noise = Noise::with_fixed_keys(&identity, p2p_noise::Config::default(), [2; 32], [3; 32]);
    let Ok(noise) = noise else { return };
    let muxer = [Protocol::from_static("/yamux/1.0.0")];
    if let Ok(secured) = finish(noise.secure(Remote::new(bytes), role, None, &muxer)) {
        drain(secured.channel);
    }
}

/// The initiator of the Noise handshake, and the channel behind it.
pub fn noise_dialer(bytes: &[u8]) {
    noise(bytes, Role::Dialer);
}

/// The responder of the Noise handshake, and the channel behind it.
pub fn noise_listener(bytes: &[u8]) {
    noise(bytes, Role::Listener);
}

/// The exchange of plaintext.
pub fn plaintext(bytes: &[u8]) {
    let plaintext = Plaintext::new(&Keypair::ed25519_from_seed([1; 32]));
    // Whom it names is checked by its own tests.
    let _ = finish(plaintext.exchange(Remote::new(bytes), None)).is_ok();
}

/// A message of identify in one part or several.
pub fn identify(bytes: &[u8]) {
    let peer = Keypair::ed25519_from_seed([1; 32]);
    let (id, key) = (peer.to_peer_id(), peer.public().to_protobuf());
    let limits = Limits::default();
    let mut remote = Remote::new(bytes);
    let asked = p2p_identify::request(&mut remote, id, key, &limits);
    if let Ok(info) = finish(asked) {
        assert!(info.listen_addrs.len() <= limits.max_addrs);
        assert!(info.protocols.len() <= limits.max_protocols);
        assert!(info.agent_version.len() <= limits.max_version);
        assert!(info.protocol_version.len() <= limits.max_version);
        assert_eq!(info.peer, id);
    }
}

/// The answering end of ping.
pub fn ping(bytes: &[u8]) {
    if let Ok(answered) = finish(p2p_ping::answer(&mut Remote::new(bytes))) {
        let said = bytes.len().saturating_sub(1);
        assert_eq!(answered, (said / p2p_ping::SIZE) as u64);
    }
}

/// The answering end of a request.
pub fn request_question(bytes: &[u8]) {
    let budget = Budget::new("test", "test", 64);
    let (mut remote, call) = (Remote::new(bytes), CALL);
    let answer = p2p_request::answer(&mut remote, &call, &budget, |question| async {
        assert!(question.len() <= 64, "paid for");
        Ok::<_, Refusal>(question)
    });
    // What is wrong with it, the peer is told.
    let _ = finish(answer).is_ok();
    assert_eq!(budget.used(), 0);
}

/// The asking end of a request.
pub fn request_answer(bytes: &[u8]) {
    let budget = Budget::new("test", "test", 64);
    let (mut remote, call, question) = (Remote::new(bytes), CALL, b"question".to_vec());
    let asked = p2p_request::ask(&mut remote, &call, &question, &budget);
    if let Ok(answer) = finish(asked) {
        assert!(answer.len() <= 64, "paid for");
    }
    assert_eq!(budget.used(), 0);
}

/// The clock of a transfer, and limits that input reaches. The first byte says which form.
fn pace(sim: &Sim, bytes: &[u8]) -> Pace {
    let mut config = p2p_perf::Config::default();
    config.max_bytes = 1 << 16;
    config.patience = Duration::from_secs(1);
    if bytes.first().is_some_and(|first| first % 4 < 2) {
        config.form = Form::Both;
    }
    let rt = sim.host("host").rt();
    Pace { rt, config }
}

/// The answering end of perf: it counts what it gets, and sends no more than it may.
pub fn perf_server(bytes: &[u8]) {
    let sim = Sim::new(1);
    let pace = pace(&sim, bytes);
    let said = bytes.len().saturating_sub(1) as u64;
    let mut remote = Remote::new(bytes);
    if let Ok(moved) = finish(p2p_perf::serve(&mut remote, &pace)) {
        assert!(moved.download <= pace.config.max_bytes);
        assert!(moved.upload < said);
    }
    assert!(sim.census().is_empty(), "{}", sim.census());
}

/// The asking end of perf: it wants exactly what it asked for.
pub fn perf_client(bytes: &[u8]) {
    let sim = Sim::new(1);
    let pace = pace(&sim, bytes);
    let said = bytes.len().saturating_sub(1) as u64;
    let plan = Plan {
        upload: 100,
        download: 64,
    };
    let mut remote = Remote::new(bytes);
    let moved = finish(p2p_perf::exchange(&mut remote, plan, &pace, |_| {}));
    assert_eq!(moved.is_ok(), said == plan.download);
    assert!(sim.census().is_empty(), "{}", sim.census());
}

/// A request for a page of a node: it is read to its end, and not far beyond what it may take.
pub fn http_request(bytes: &[u8]) {
    const MAX: usize = 64;
    let said = bytes.get(1..).unwrap_or_default();
    let mut ends = said.windows(http::END.len());
    let end = ends.position(|tail| tail == http::END);
    let end = end.map(|at| at + http::END.len());
    match finish(http::request_line(Remote::new(bytes), MAX)) {
        Ok(Some(line)) => {
            let first = said.split(|byte| *byte == b'\r').next();
            assert_eq!(line, String::from_utf8_lossy(first.unwrap_or_default()));
            assert!(end.is_some());
        }
        Ok(None) => assert!(said.len() > MAX && end.is_none_or(|end| end > MAX)),
        Err(_) => assert!(said.len() <= MAX && end.is_none()),
    }
}
