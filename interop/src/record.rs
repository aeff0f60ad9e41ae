//! Records what each foreign peer sends to our node and what our node answers.
//!
//! ```text
//! dialer ---> proxy on loopback ---> listener
//!                 |
//!                 +--> tests/transcripts/<peer>-<role>-<security>-<muxer>.txt
//! ```
//!
//! Our node makes its keys from a known seed, so that the recorded handshake of noise can be replayed
//! to it: `tests/replay.rs`. Those of TLS are new each time: there a replay ends inside the handshake.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    cell::{Cell, Muxer, Peer, Security, Test, Transport},
    cli::Role,
    fixture::{Fixture, From},
    install::Programs,
    pair::{dial_args, listen_args},
    process::{Process, Program, now},
};

/// Our keys.
const SEED: u8 = 7;
/// What the two do: streams that end in every order, beside identify.
const TEST: Test = Test::Orders;
/// Each muxer in each security.
const STACKS: [(Security, Muxer); 6] = [
    (Security::Plaintext, Muxer::Yamux),
    (Security::Plaintext, Muxer::Mplex),
    (Security::Noise, Muxer::Yamux),
    (Security::Noise, Muxer::Mplex),
    (Security::Tls, Muxer::Yamux),
    (Security::Tls, Muxer::Mplex),
];
const DEADLINE: Duration = Duration::from_secs(60);
const BLOCK: usize = 64 * 1024;

/// Why a connection was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordError {
    /// The program of the peer is not there.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// The two did not do what they should.
    #[error("{cell}: {what}")]
    Failed { cell: String, what: String },
    /// A socket, a process or a file.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

/// Writes one file for each peer, role and stack into `to`.
pub(crate) fn record(
    peers: &[Peer],
    programs: &Programs,
    logs: &Path,
    to: &Path,
) -> Result<usize, RecordError> {
    fs::create_dir_all(to).map_err(failed("make the folder"))?;
    let mut written = 0;
    for &peer in peers {
        for role in [Role::Dial, Role::Listen] {
            for (security, muxer) in STACKS {
                let cell = cell(peer, role, security, muxer);
                let fixture = record_cell(&cell, peer, role, programs, logs)?;
                let (security, muxer) = (security.name(), muxer.name());
                let file = format!("{}-{}-{security}-{muxer}.txt", peer.name(), fixture.role);
                fs::write(to.join(&file), fixture.to_text()).map_err(failed("write"))?;
                eprintln!("{file}: {} chunks", fixture.chunks.len());
                written += 1;
            }
        }
    }
    Ok(written)
}

fn cell(peer: Peer, role: Role, security: Security, muxer: Muxer) -> Cell {
    let (dialer, listener) = match role {
        Role::Dial => (Peer::P2p, peer),
        Role::Listen => (peer, Peer::P2p),
    };
    Cell {
        dialer,
        listener,
        transport: Transport::Tcp,
        security,
        muxer,
        test: TEST,
    }
}

fn record_cell(
    cell: &Cell,
    peer: Peer,
    role: Role,
    programs: &Programs,
    logs: &Path,
) -> Result<Fixture, RecordError> {
    let wrong = |what: &str| RecordError::Failed {
        cell: cell.to_string(),
        what: what.into(),
    };
    let program = |peer: Peer| -> Result<&Program, RecordError> {
        let program = programs.get(&peer).and_then(|it| it.as_ref().ok());
        program.ok_or_else(|| RecordError::Missing(peer.name()))
    };
    let seed = ["--seed".to_owned(), SEED.to_string()];
    let seeded = |peer, mut args: Vec<String>| {
        if peer == Peer::P2p {
            args.extend(seed.clone());
        }
        args
    };
    let log = |name: &str| -> PathBuf { logs.join(format!("record.{name}.log")) };
    let until = now() + DEADLINE;

    let args = seeded(cell.listener, listen_args(cell));
    let mut listening = Process::start(program(cell.listener)?, &args, &log("listener"))
        .map_err(failed("start the listener"))?;
    listening.wait_for("listening", until);
    let address = listening.said("listening", "addr");
    let address = address.ok_or_else(|| wrong("nobody listens"))?;
    let proxy = Proxy::start(&address, role).map_err(failed("start the proxy"))?;

    let args = seeded(cell.dialer, dial_args(cell, &proxy.address, DEADLINE));
    let mut dialing = Process::start(program(cell.dialer)?, &args, &log("dialer"))
        .map_err(failed("start the dialer"))?;
    let done = dialing.wait_for("done", until);
    let (here, there) = match role {
        Role::Dial => (&dialing, &listening),
        Role::Listen => (&listening, &dialing),
    };
    // Whoever listens has said who it is with its address; of a dialer our node says it.
    let remote = match role {
        Role::Dial => there.said("listening", "addr").and_then(|addr| {
            let (_, id) = addr.rsplit_once("/p2p/")?;
            Some(id.to_owned())
        }),
        Role::Listen => here.said("connected", "peer"),
    };
    dialing.close_stdin();
    dialing.finish(until);
    let remote = match (remote, role) {
        (None, Role::Listen) => {
            listening.wait_for("connected", until);
            listening.said("connected", "peer")
        }
        (remote, _) => remote,
    };
    listening.close_stdin();
    listening.finish(until);
    if !done {
        // What failed is worth a recording as well: others will fail like that.
        eprintln!("{cell}: the dialer did not get done");
    }
    let mut fixture = proxy.recorded();
    fixture.peer = peer.name().into();
    fixture.role = match role {
        Role::Dial => "dial".into(),
        Role::Listen => "listen".into(),
    };
    fixture.stack = cell.stack();
    fixture.seed = SEED;
    fixture.remote = remote.ok_or_else(|| wrong("who the remote is was not told"))?;
    Ok(fixture)
}

/// Stands before a listener and keeps what passes through the first connection.
struct Proxy {
    /// To dial instead of the listener's.
    address: String,
    kept: Arc<Mutex<Fixture>>,
}

impl Proxy {
    /// `role` is ours.
    fn start(listener: &str, role: Role) -> io::Result<Self> {
        let port = |address: &str| -> Option<u16> {
            let (_, after) = address.split_once("/tcp/")?;
            after.split('/').next()?.parse().ok()
        };
        let port = port(listener).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let here = format!("/tcp/{}/", socket.local_addr()?.port());
        let address = listener.replacen(&format!("/tcp/{port}/"), &here, 1);
        let kept = Arc::new(Mutex::new(Fixture::default()));
        let (by_dialer, by_listener) = match role {
            Role::Dial => (From::Us, From::Remote),
            Role::Listen => (From::Remote, From::Us),
        };
        let keep = Arc::clone(&kept);
        thread::spawn(move || -> io::Result<()> {
            let (dialer, _) = socket.accept()?;
            let listener = TcpStream::connect(("127.0.0.1", port))?;
            let back = (listener.try_clone()?, dialer.try_clone()?);
            let keep_back = Arc::clone(&keep);
            thread::spawn(move || copy(back.0, back.1, by_listener, &keep_back));
            copy(dialer, listener, by_dialer, &keep);
            Ok(())
        });
        Ok(Self { address, kept })
    }

    fn recorded(&self) -> Fixture {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, who: From, keep: &Mutex<Fixture>) {
    let mut block = vec![0; BLOCK];
    while let Ok(read @ 1..) = from.read(&mut block) {
        let Some(bytes) = block.get(..read) else {
            break;
        };
        // Kept before it is passed on: an answer to it comes after it.
        keep.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(who, bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _gone_already = to.shutdown(Shutdown::Write);
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> RecordError {
    move |source| RecordError::Io { what, source }
}
