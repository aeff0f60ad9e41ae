//! Runs one cell: a listener, then a dialer, then the verdict.
//!
//! ```text
//! start listener -> `listening` -> start dialer -> ... -> dialer ends
//!                                   (identify, push: its input closes once both have heard)
//!                                -> close the listener's input -> listener ends -> judge
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    cell::{Cell, Outcome, Peer, Row, Security, Test, Transport},
    check::{heard_of_added, heard_of_served},
    cli::Role,
    faults, network,
    network::Network,
    process::{Process, Program, now},
    transcript::{Transcript, Verdict, judge},
    versions,
};

/// How long the listener may take for its own identify once the dialer's is done, and to leave.
const IDENTIFY_BACK: Duration = Duration::from_secs(2);
/// How long the listener may take to hear of the dialer's change: some collect changes for a second.
const PUSH_BACK: Duration = Duration::from_secs(6);
/// So much earlier than it would be ended, a dialer gives up by itself and can say where it was.
const GIVE_UP: Duration = Duration::from_secs(5);
/// A certificate for loopback with its key, known to everybody and so worth nothing, and the root
/// that a dialer of `wss` trusts.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/tls");
/// The keys of two private networks.
const SWARM_KEYS: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/peers/swarm/ours.key"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/peers/swarm/other.key"),
];
/// Of a log, how much of its end is shown for a failed cell.
const LOG_TAIL: usize = 400;

/// Runs `cell` to its end, within about `deadline`. `run` tells repetitions apart.
pub(crate) fn run(
    cell: &Cell,
    run: usize,
    listener: &Program,
    dialer: &Program,
    logs: &Path,
    deadline: Duration,
) -> Row {
    let deadline = deadline.max(cell.test.at_least());
    let log = |role: &str| logs.join(format!("{}.{role}.log", file_name(cell, run)));
    let (listener_log, dialer_log) = (log("listener"), log("dialer"));
    let mut started = now();
    let mut meet = |listener: &Program, dialer: &Program| {
        let logs = [&listener_log, &dialer_log];
        match Ends::run(cell, listener, dialer, logs, deadline) {
            Ok(ends) => {
                started = ends.dialed.unwrap_or(started);
                judge(cell, &ends.listener, ends.dialer.as_ref())
            }
            Err(error) => Verdict::Fail(format!("could not start a peer: {error}")),
        }
    };
    let verdict = if cell.test == Test::Mdns && [cell.dialer, cell.listener].contains(&Peer::Rust) {
        Verdict::Unsupported("libp2p-mdns is not in our peer of rust".into())
    } else if let Some(why) = nameless(cell) {
        Verdict::Unsupported(why.into())
    } else if let Some(lacking) = versions::lacking(cell) {
        Verdict::Unsupported(lacking)
    } else if network::is_wanted(cell) {
        match Network::open(&log("network"), now() + deadline) {
            Ok(network) => meet(&network.far(listener), &network.near(dialer)),
            Err(why) => Verdict::Missing(why),
        }
    } else {
        meet(listener, dialer)
    };
    let ms = u64::try_from((now() - started).as_millis()).unwrap_or(u64::MAX);
    let (outcome, detail) = match verdict {
        Verdict::Pass(measured) => (Outcome::Pass, measured),
        Verdict::Missing(what) => (Outcome::Missing, what),
        Verdict::Unsupported(what) => (Outcome::Unsupported, what),
        Verdict::Fail(cause) => explain(cell, &cause, [&dialer_log, &listener_log]),
    };
    Row {
        cell: *cell,
        outcome,
        ms,
        detail,
    }
}

/// What both ends said.
struct Ends {
    listener: Transcript,
    dialer: Option<Transcript>,
    /// When the dialer was started.
    dialed: Option<Instant>,
}

impl Ends {
    fn run(
        cell: &Cell,
        listener: &Program,
        dialer: &Program,
        [listener_log, dialer_log]: [&PathBuf; 2],
        deadline: Duration,
    ) -> io::Result<Self> {
        let until = now() + deadline;
        let mut listening = Process::start(listener, &listen_args(cell), listener_log)?;
        let address = listening
            .wait_for("listening", until)
            .then(|| listening.said("listening", "addr"))
            .flatten();
        let Some(address) = address else {
            // One that is too late already is ended as it stands: whether it would still have left
            // by itself is nothing to depend on.
            if now() < until {
                listening.close_stdin();
            }
            return Ok(Self {
                listener: listening.finish(until),
                dialer: None,
                dialed: None,
            });
        };
        let address = match address.rsplit_once("/p2p/") {
            // It has to be found.
            Some((_, peer)) if cell.test == Test::Mdns => format!("/p2p/{peer}"),
            _ if cell.test == Test::Name => by_name(&address),
            _ => address,
        };
        let dialed = now();
        let within = deadline.saturating_sub(GIVE_UP);
        let mut dialing = Process::start(dialer, &dial_args(cell, &address, within), dialer_log)?;
        match cell.test.spoken() {
            "identify" if dialing.wait_for("identify", until) => {
                listening.wait_until(heard_of_served, until.min(now() + IDENTIFY_BACK));
            }
            "push" if dialing.wait_until(heard_of_added, until) => {
                listening.wait_until(heard_of_added, until.min(now() + PUSH_BACK));
            }
            _ => {}
        }
        dialing.close_stdin();
        let dialer = dialing.finish(until);
        listening.close_stdin();
        // The listener only has to leave: it is not to blame for a dialer that was too slow.
        let listener = listening.finish(until.max(now() + IDENTIFY_BACK));
        Ok(Self {
            listener,
            dialer: Some(dialer),
            dialed: Some(dialed),
        })
    }
}

/// Why the dialer is not asked to dial a name.
fn nameless(cell: &Cell) -> Option<&'static str> {
    match (cell.test, cell.dialer, cell.transport) {
        (Test::Name, Peer::Rust, _) => Some("libp2p-dns is not in our peer of rust"),
        // That question would leave this machine.
        (Test::Name, Peer::Py, Transport::Tcp) => {
            Some("py asks a name server for every name, also for that of this machine")
        }
        _ => None,
    }
}

/// The same place by the name that every machine has for itself.
fn by_name(address: &str) -> String {
    address.replacen("/ip4/127.0.0.1/", "/dns4/localhost/", 1)
}

pub(crate) fn listen_args(cell: &Cell) -> Vec<String> {
    // Whoever listens serves an hour's traffic with what it serves anyway.
    let test = if cell.test == Test::Hour {
        Test::Echo
    } else {
        cell.test
    };
    let mut args = words(["listen"]);
    args.extend(stack_args(cell, Role::Listen));
    args.extend(words(["--test", test.spoken()]));
    args.extend(words(["--addr", &listen_addr(cell, network::FAR)]));
    args
}

pub(crate) fn dial_args(cell: &Cell, address: &str, within: Duration) -> Vec<String> {
    let mut args = words(["dial", address]);
    args.extend(stack_args(cell, Role::Dial));
    args.extend(words(["--test", cell.test.spoken()]));
    args.extend(words(["--deadline", &within.as_secs().to_string()]));
    if cell.test == Test::Mdns {
        args.extend(words(["--addr", &listen_addr(cell, network::NEAR)]));
    }
    args
}

/// `there` is where a peer is if the two have a network of their own.
fn listen_addr(cell: &Cell, there: &str) -> String {
    let loopback = cell.transport.listen_addr();
    if network::is_wanted(cell) {
        network::moved(loopback, there)
    } else {
        loopback.into()
    }
}

fn stack_args(cell: &Cell, role: Role) -> Vec<String> {
    let (security, muxer) = offers(cell, role);
    let mut args = words(["--transport", cell.transport.name()]);
    args.extend(words(["--security", &security, "--muxer", &muxer]));
    if let Some(key) = cell.test.key() {
        args.extend(words(["--key", key]));
    }
    if cell.transport == Transport::Wss {
        args.extend(words(["--tls", TLS]));
    }
    let [ours, other] = SWARM_KEYS;
    match (cell.test, role) {
        (Test::PrivateOther, Role::Dial) => args.extend(words(["--swarm-key", other])),
        (Test::Private | Test::PrivateOther, _) => args.extend(words(["--swarm-key", ours])),
        _ => {}
    }
    if cell.test == Test::Late && role == Role::Dial {
        args.extend(words(["--early", "off"]));
    }
    if let (Peer::P2p, Some(version)) = (cell.end(role), cell.test.version()) {
        args.extend(words(["--version", version]));
    }
    args
}

/// What a peer offers, most wanted first. In `choose` the dialer wants what the cell names most,
/// the listener least; the dialer's wish counts.
fn offers(cell: &Cell, role: Role) -> (String, String) {
    let (security, muxer) = (cell.security.name(), cell.muxer.name());
    if cell.test != Test::Choose {
        return (security.into(), muxer.into());
    }
    let peer = cell.end(role);
    let list = |wanted: &str, known: &[&'static str]| {
        let mut all: Vec<_> = known.iter().copied().filter(|it| *it != wanted).collect();
        match role {
            Role::Dial => all.insert(0, wanted),
            Role::Listen => all.push(wanted),
        }
        all.join(",")
    };
    let securities = match (peer, cell.security) {
        // We refuse to offer plaintext beside anything else.
        (Peer::P2p, Security::Plaintext | Security::Own) => security.into(),
        (Peer::P2p, Security::Noise | Security::Tls) => list(security, &["tls", "noise"]),
        (Peer::Go | Peer::Js | Peer::Py | Peer::Rust, _) => {
            list(security, &["tls", "noise", "plaintext"])
        }
    };
    (securities, list(muxer, &["yamux", "mplex"]))
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(String::from).to_vec()
}

/// A failure as theirs, if `faults` knows it; else with the ends of the logs.
fn explain(cell: &Cell, cause: &str, logs: [&PathBuf; 2]) -> (Outcome, String) {
    let logs = logs.map(|log| fs::read(log).unwrap_or_default());
    let [dialer_log, listener_log] = logs.map(|log| String::from_utf8_lossy(&log).into_owned());
    let evidence = format!("{cause}\n{dialer_log}\n{listener_log}");
    if let Some(fault) = faults::explain(cell, &evidence) {
        return (
            Outcome::Theirs,
            format!("{} ({})", fault.cause, fault.pointer),
        );
    }
    let mut detail = cause.to_owned();
    for (role, log) in [("dialer", dialer_log), ("listener", listener_log)] {
        let end = tail(log.trim());
        if !end.is_empty() {
            detail.push_str(&format!("\n{role} log: {end}"));
        }
    }
    (Outcome::Fail, detail)
}

/// The last lines of a log.
fn tail(log: &str) -> &str {
    let cut = log.len().saturating_sub(LOG_TAIL);
    match log
        .char_indices()
        .find(|(at, char)| *at >= cut && (cut == 0 || *char == '\n'))
    {
        Some((at, _)) => log.get(at..).unwrap_or_default().trim_start(),
        None => log,
    }
}

fn file_name(cell: &Cell, run: usize) -> String {
    let name = cell.to_string();
    let name = name.replace(" -> ", "-").replace([' ', '/'], "_");
    if run == 0 {
        name
    } else {
        format!("{name}.{run}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Muxer;

    #[test]
    fn the_arguments_are_those_of_the_interop_command_line() {
        let args = dial_args(&CELL, "/ip4/127.0.0.1/tcp/1/p2p/Q", Duration::from_secs(55));

        let expected = "dial /ip4/127.0.0.1/tcp/1/p2p/Q --transport tcp --security noise \
                        --muxer mplex --test echo --deadline 55";
        assert_eq!(args.join(" "), expected);
        let expected = "listen --transport tcp --security noise --muxer mplex --test echo \
                        --addr /ip4/127.0.0.1/tcp/0";
        assert_eq!(listen_args(&CELL).join(" "), expected);
    }

    #[test]
    fn who_has_to_be_found_is_named_without_an_address() {
        let cell = Cell {
            test: Test::Mdns,
            ..CELL
        };

        let args = dial_args(&cell, "/p2p/Q", Duration::from_secs(55)).join(" ");
        assert!(args.starts_with("dial /p2p/Q --transport tcp"), "{args}");
        assert!(args.ends_with("--addr /ip4/10.9.0.1/tcp/0"), "{args}");
        let args = listen_args(&cell).join(" ");
        assert!(args.ends_with("--addr /ip4/10.9.0.2/tcp/0"), "{args}");
    }

    #[test]
    fn a_name_stands_for_the_address_and_nothing_else_changes() {
        assert_eq!(
            by_name("/ip4/127.0.0.1/tcp/4001/tls/ws/p2p/Q"),
            "/dns4/localhost/tcp/4001/tls/ws/p2p/Q"
        );
    }

    #[test]
    fn a_tail_starts_at_a_line() {
        let log = format!("first {}\nlast line", "x".repeat(2 * LOG_TAIL));

        assert_eq!(tail("short"), "short");
        assert_eq!(
            tail(&format!("{log}\n{}", "y".repeat(LOG_TAIL - 20)))
                .lines()
                .count(),
            2
        );
    }

    #[test]
    fn a_cell_names_a_file() {
        assert_eq!(file_name(&CELL, 0), "py-rust_tcp_noise_mplex_echo");
        assert_eq!(file_name(&CELL, 2), "py-rust_tcp_noise_mplex_echo.2");
    }

    #[test]
    fn in_choose_the_dialer_wants_most_what_the_listener_wants_least() {
        let cell = Cell {
            test: Test::Choose,
            ..CELL
        };
        let ours = Cell {
            listener: Peer::P2p,
            ..cell
        };

        let dialer = offers(&cell, Role::Dial);
        assert_eq!(dialer, ("noise,tls,plaintext".into(), "mplex,yamux".into()));
        let listener = offers(&cell, Role::Listen);
        assert_eq!(
            listener,
            ("tls,plaintext,noise".into(), "yamux,mplex".into())
        );
        let ours = offers(&ours, Role::Listen);
        assert_eq!(ours, ("tls,noise".into(), "yamux,mplex".into()));
    }

    #[test]
    fn only_over_wss_a_certificate_is_named() {
        let line = |transport| stack_args(&Cell { transport, ..CELL }, Role::Dial).join(" ");

        assert!(line(Transport::Wss).ends_with("peers/tls"));
        assert!(!line(Transport::Ws).contains("--tls"));
    }

    #[test]
    fn a_test_may_be_another_one_with_options() {
        let line = |test, role| stack_args(&Cell { test, ..CELL }, role).join(" ");

        assert!(line(Test::KeyRsa, Role::Listen).ends_with("--key rsa"));
        assert!(line(Test::Late, Role::Dial).ends_with("--early off"));
        assert!(!line(Test::Late, Role::Listen).contains("--early"));
        assert_eq!(
            line(Test::Private, Role::Dial),
            line(Test::Private, Role::Listen)
        );
        assert!(line(Test::PrivateOther, Role::Dial).ends_with("other.key"));
        assert!(line(Test::PrivateOther, Role::Listen).ends_with("ours.key"));
    }

    #[test]
    fn only_ours_is_told_to_speak_one_version_alone() {
        let cell = Cell {
            dialer: Peer::P2p,
            test: Test::Gossip1_1,
            ..CELL
        };

        let ours = dial_args(&cell, "A", Duration::from_secs(1)).join(" ");
        let theirs = listen_args(&cell).join(" ");

        assert!(
            ours.contains("--version /meshsub/1.1.0 --test gossip "),
            "{ours}"
        );
        assert!(theirs.contains("--muxer mplex --test gossip "), "{theirs}");
    }

    #[test]
    fn a_version_that_the_other_end_lacks_is_unsupported_without_a_run() {
        let cell = Cell {
            listener: Peer::P2p,
            dialer: Peer::Js,
            test: Test::Gossip1_3,
            ..CELL
        };
        let nobody = Program {
            path: "/nobody/starts/this".into(),
            args: Vec::new(),
        };

        let row = run(
            &cell,
            0,
            &nobody,
            &nobody,
            &std::env::temp_dir(),
            Duration::ZERO,
        );

        assert_eq!(row.outcome, Outcome::Unsupported);
        assert!(row.detail.contains("js does not speak"), "{}", row.detail);
    }

    #[cfg(unix)]
    #[test]
    fn a_listener_that_never_listens_fails_and_nobody_dials() {
        let mute = shell("cat > /dev/null");

        let row = run(
            &CELL,
            0,
            &mute,
            &shell("exit 9"),
            &std::env::temp_dir(),
            SHORT,
        );

        assert_eq!(row.outcome, Outcome::Fail);
        assert!(
            row.detail.starts_with("listener: not done in time"),
            "{}",
            row.detail
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_dialer_that_hangs_fails_within_the_deadline() {
        let listener = shell(
            "echo '{\"event\":\"listening\",\"addr\":\"/ip4/127.0.0.1/tcp/1/p2p/Q\"}'; cat >&2",
        );

        let row = run(
            &CELL,
            0,
            &listener,
            &shell("sleep 300"),
            &std::env::temp_dir(),
            SHORT,
        );

        assert_eq!(row.outcome, Outcome::Fail);
        assert!(
            row.detail.starts_with("dialer: not done in time"),
            "{}",
            row.detail
        );
    }

    #[cfg(unix)]
    const SHORT: Duration = Duration::from_secs(1);

    const CELL: Cell = Cell {
        dialer: Peer::Py,
        listener: Peer::Rust,
        transport: Transport::Tcp,
        security: Security::Noise,
        muxer: Muxer::Mplex,
        test: Test::Echo,
    };

    #[cfg(unix)]
    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
        }
    }
}
