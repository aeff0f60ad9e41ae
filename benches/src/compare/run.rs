//! One case, turn by turn.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use p2p_runtime::Tokio;
use p2p_yamux::Yamux;
use serde_json::Value;

use super::cases::{Against, Case};
use super::peers::{Program, Programs};
use super::{Row, Spread};
use crate::muxers::{self, Load};
use crate::node::Result;

/// What one turn may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// One side of a comparison.
struct Side {
    name: String,
    program: Program,
    stack: String,
    flags: Vec<String>,
}

/// What one turn came to.
struct Turn {
    value: f64,
    cpu: Option<f64>,
    peak: f64,
}

/// Measures `case` against everybody that it is for.
pub(crate) fn rows(case: &Case, programs: &Programs, runs: usize) -> Vec<Row> {
    if case.against == Against::YamuxCrate {
        return muxer_rows(case, runs);
    }
    let Ok(ours) = std::env::current_exe().map(Program::from) else {
        return Vec::new();
    };
    let side = |name: &str, program: &Program, stack: String, flags: &[&str]| Side {
        name: name.to_owned(),
        program: program.clone(),
        stack,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let us = side("ours", &ours, case.stack(), &[]);
    let sides: Vec<(Side, Side)> = match case.against {
        Against::Peers => programs
            .iter()
            .map(|(name, program)| {
                let us = side("ours", &ours, case.stack(), &[]);
                (us, side(name, program, case.stack(), &[]))
            })
            .collect(),
        Against::Floor => {
            let raw = match case.security {
                "plaintext" => "raw",
                _ => "raw+aead",
            };
            vec![(us, side("floor", &ours, raw.to_owned(), &[]))]
        }
        Against::OursOnTokio => {
            let std = ["--runtime", "async-std"];
            let on_std = side("async-std", &ours, case.stack(), &std);
            vec![(on_std, side("tokio", &ours, case.stack(), &[]))]
        }
        Against::YamuxCrate => Vec::new(),
    };
    let measured = sides
        .iter()
        .map(|(us, them)| alternate(case, us, them, runs));
    measured
        .filter_map(|row| match row {
            Ok(row) => Some(row),
            Err(error) => {
                eprintln!("{}: {error}", case.name());
                None
            }
        })
        .collect()
}

fn alternate(case: &Case, us: &Side, them: &Side, runs: usize) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(turn(case, us)?);
        theirs.push(turn(case, them)?);
    }
    let spread = |turns: &[Turn]| Spread::of(turns.iter().map(|turn| turn.value).collect());
    let cpu = |turns: &[Turn]| Spread::of(turns.iter().filter_map(|turn| turn.cpu).collect());
    let peak = |turns: &[Turn]| turns.iter().map(|turn| turn.peak).fold(0.0, f64::max);
    Ok(Row {
        case: case.clone(),
        peer: them.name.clone(),
        ours: spread(&ours).ok_or("no runs")?,
        theirs: spread(&theirs).ok_or("no runs")?,
        cpu: cpu(&ours).zip(cpu(&theirs)),
        peak: (peak(&ours), peak(&theirs)),
        runs,
    })
}

fn turn(case: &Case, side: &Side) -> Result<Turn> {
    if case.alone {
        let mut command = Command::new(&side.program.path);
        command.args(&side.program.args).args(&case.flags);
        command.args(["--stack", &side.stack]);
        let started = Started::start(command)?;
        if std::env::var_os("BENCH_VERBOSE").is_some() {
            eprintln!("{}: {}", side.name, started.line);
        }
        return turn_of(case, side, &started.line);
    }
    let mut listen = [&["listen".to_owned()], &case.both_flags[..], &side.flags].concat();
    if side.stack == "quic" {
        listen.extend(["--addr", "/ip4/127.0.0.1/udp/0/quic-v1"].map(str::to_owned));
    }
    let listener = Started::new(&side.program, &side.stack, &listen, 1)?;
    let mut addr = listener.said("listening").unwrap_or_default();
    let proxy = match case.rtt_ms {
        None => None,
        Some(rtt) => {
            let to = socket(&addr).ok_or("no socket address")?;
            let proxy = Started::proxy(&to, rtt)?;
            let suffix = addr
                .split_once("/p2p/")
                .map(|(_, peer)| format!("/p2p/{peer}"));
            addr = proxy.said("listening").unwrap_or_default() + &suffix.unwrap_or_default();
            Some(proxy)
        }
    };
    let mut dial = [
        &["dial".to_owned()],
        &case.both_flags[..],
        &side.flags,
        &case.flags,
    ]
    .concat();
    if side.name == "js" {
        lighten(&mut dial);
    }
    dial.extend(["--addr".to_owned(), addr]);
    dial.extend(["--listener-pid".to_owned(), listener.child.id().to_string()]);
    let dialer = Started::new(&side.program, &side.stack, &dial, 0)?;
    drop(proxy);
    turn_of(case, side, &dialer.line)
}

fn turn_of(case: &Case, side: &Side, result: &Value) -> Result<Turn> {
    let number = |key: &str| result.pointer(key).and_then(Value::as_f64);
    let name = &side.name;
    Ok(Turn {
        value: number(case.key).ok_or_else(|| format!("{name}: no {} in {result}", case.key))?,
        cpu: case.cpu_key.and_then(number),
        peak: number("/dialer_peak_mib").unwrap_or(0.0)
            + number("/listener_peak_mib").unwrap_or(0.0),
    })
}

/// Less work for the same rate: js-libp2p would be at it for minutes.
fn lighten(flags: &mut [String]) {
    let mut flag = String::new();
    for value in flags {
        let less = match (flag.as_str(), value.as_str()) {
            ("--bytes", _) => "16m",
            ("--n", "60000" | "20000" | "10000") => "1500",
            ("--n", "3000" | "4000" | "1000" | "500") => "150",
            _ => value.as_str(),
        }
        .to_owned();
        flag = std::mem::replace(value, less);
    }
}

/// `127.0.0.1:PORT` of a multiaddr, or of itself.
fn socket(addr: &str) -> Option<String> {
    let parts: Vec<&str> = addr.split('/').collect();
    match parts.as_slice() {
        [plain] => Some((*plain).to_owned()),
        ["", "ip4", ip, "tcp", port, ..] => Some(format!("{ip}:{port}")),
        _ => None,
    }
}

/// A program that has said its first line. Dropping it ends it.
struct Started {
    child: Child,
    line: Value,
}

impl Started {
    /// Each end has a core of its own, where the system lets it be pinned.
    fn new(program: &Program, stack: &str, args: &[String], core: usize) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(&program.path);
        if Command::new("taskset").arg("--version").output().is_err() {
            command = Command::new(&program.path);
        }
        command
            .args(&program.args)
            .args(args)
            .args(["--stack", stack]);
        Self::start(command)
    }

    fn proxy(to: &str, rtt_ms: f64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["delayproxy", "--to", to, "--rtt-ms", &rtt_ms.to_string()]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut started = Self {
            child,
            line: Value::Null,
        };
        let (say, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let line = BufReader::new(stdout).lines().next();
            // Nobody waits any more: it was too late.
            let _ = say.send(line);
        });
        let line = heard.recv_timeout(PATIENCE)?.ok_or("it said nothing")??;
        started.line = serde_json::from_str(&line)?;
        Ok(started)
    }

    fn said(&self, key: &str) -> Option<String> {
        Some(self.line.get(key)?.as_str()?.to_owned())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both sides within this process; what counts is the CPU time of one thread.
fn muxer_rows(case: &Case, runs: usize) -> Vec<Row> {
    let bytes = match case.write {
        ..512 => 40 << 20,
        512..8192 => 200 << 20,
        _ => 512 << 20,
    };
    let load = Load {
        streams: case.streams,
        write: case.write,
        writes: bytes / case.write.max(1) / case.streams.max(1),
        flush: case.write < 8192,
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let gib = (load.streams * load.write * load.writes) as f64 / (1u64 << 30) as f64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("the operating system has room for a runtime");
    let _inside = runtime.enter();
    let (rt, yamux) = (Tokio::new(runtime.handle().clone()), Yamux::default());
    let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        ours.push(gib / muxers::ours(&yamux, &rt, load));
        theirs.push(gib / muxers::yamux_crate(load));
        alone.push(gib / muxers::pipe_alone(load));
    }
    let none = Spread {
        median: 0.0,
        least: 0.0,
        most: 0.0,
    };
    let spread = |turns| Spread::of(turns).unwrap_or(none);
    let ours = spread(ours);
    let inverse = |spread: Spread| Spread {
        median: 1.0 / spread.median,
        least: 1.0 / spread.most,
        most: 1.0 / spread.least,
    };
    [("yamux crate", theirs), ("the pipe alone", alone)]
        .map(|(peer, turns)| {
            let theirs = spread(turns);
            Row {
                case: case.clone(),
                peer: peer.to_owned(),
                ours,
                theirs,
                cpu: Some((inverse(ours), inverse(theirs))),
                peak: (0.0, 0.0),
                runs,
            }
        })
        .into()
}
