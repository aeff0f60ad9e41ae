//! The interop matrix: peers of go, js, py and rust against ours, and against each other.
//!
//! ```text
//! cli -> matrix -> install -> pair (process, transcript) -> report
//!                               |
//!                               +-- faults: what is known to be theirs
//! ```
//!
//! What a peer has to do, what a cell is and how to add a peer: `interop/README.md`.

mod cell;
mod check;
mod cli;
mod faults;
mod fixture;
mod install;
mod matrix;
mod network;
mod node;
mod page;
mod pair;
mod pick;
mod process;
mod record;
mod report;
mod testing;
mod transcript;
mod versions;

use std::{
    cmp::Reverse,
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
};

use clap::Parser as _;

use crate::{
    cell::{Cell, Outcome, Peer, Row},
    cli::{Cli, Command, RunArgs},
    install::Programs,
    process::now,
};

/// Pairs at a time if nobody says otherwise: more only make each other slow.
const MOST_JOBS: usize = 4;
/// So many more than cores: much of a cell is waiting.
const WAITING_JOBS: usize = 1;

/// Why nothing could be run at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum RunError {
    /// A file could not be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A peer could not be installed, and that was all there was to do.
    #[error("not every peer could be installed")]
    Install,
    /// Our own node failed; it has said why.
    #[error(transparent)]
    Node(#[from] node::NodeError),
    /// A connection could not be recorded.
    #[error(transparent)]
    Record(#[from] record::RecordError),
    /// The official test gave up.
    #[error(transparent)]
    Testing(Box<testing::TestingError>),
    /// This program does not know where it is.
    #[error("cannot find cargo's target directory: {0}")]
    Target(io::Error),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Install { peer } => install_only(&peer),
        Command::Node(args) => node::run(&args)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Page { rows, to } => page_of(&rows, &to),
        Command::Record { peer, to } => record_all(&peer, &to),
        Command::Run(args) => run(&args),
        Command::Testing(contract) => testing::run(&contract)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| RunError::Testing(Box::new(error))),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {}", p2p::Chain(&error));
        ExitCode::FAILURE
    })
}

fn install_only(peers: &[Peer]) -> Result<ExitCode, RunError> {
    let (ours, target) = places()?;
    match install::install(peers, &target, &ours)
        .values()
        .all(Result::is_ok)
    {
        true => Ok(ExitCode::SUCCESS),
        false => Err(RunError::Install),
    }
}

fn page_of(files: &[PathBuf], to: &Path) -> Result<ExitCode, RunError> {
    let mut rows = Vec::new();
    for path in files {
        let file = |source| RunError::File {
            path: path.clone(),
            source,
        };
        let text = fs::read_to_string(path).map_err(file)?;
        for line in text.lines() {
            let row = serde_json::from_str(line).ok();
            let row = row.and_then(|it| Row::from_json(&it));
            let wrong = || file(io::ErrorKind::InvalidData.into());
            rows.push(row.ok_or_else(wrong)?);
        }
    }
    fs::write(to, page::page(&rows)).map_err(|source| RunError::File {
        path: to.to_owned(),
        source,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn record_all(peers: &[Peer], to: &Path) -> Result<ExitCode, RunError> {
    let (ours, target) = places()?;
    let logs = logs(&target)?;
    let mut all = peers.to_vec();
    all.push(Peer::P2p);
    let programs = install::install(&all, &target, &ours);
    let written = record::record(peers, &programs, &logs, to)?;
    eprintln!("{written} recordings in {}", to.display());
    Ok(ExitCode::SUCCESS)
}

/// Where the peers' standard error goes.
fn logs(target: &Path) -> Result<PathBuf, RunError> {
    let logs = target.join("interop/logs");
    fs::create_dir_all(&logs).map_err(|source| RunError::File {
        path: logs.clone(),
        source,
    })?;
    Ok(logs)
}

fn run(args: &RunArgs) -> Result<ExitCode, RunError> {
    let (ours, target) = places()?;
    let logs = logs(&target)?;
    let cells = repeated(&matrix::cells(&args.selection), args.repeat.get());
    let mut peers: Vec<Peer> = cells
        .iter()
        .flat_map(|(it, _)| [it.dialer, it.listener])
        .collect();
    peers.sort();
    peers.dedup();
    let programs = install::install(&peers, &target, &ours);
    let started = now();
    let rows = run_all(&cells, &programs, &logs, args);
    println!("{}", report::report(&rows));
    eprintln!(
        "{} cells in {:.0?}; logs in {}",
        rows.len(),
        now() - started,
        logs.display()
    );
    let file = |path: &Path| {
        let path = path.to_owned();
        |source| RunError::File { path, source }
    };
    if let Some(path) = &args.json {
        write_rows(&rows, path).map_err(file(path))?;
    }
    if let Some(path) = &args.report {
        fs::write(path, page::page(&rows)).map_err(file(path))?;
    }
    let bad = |row: &Row| {
        let required = |peer| args.require.contains(&peer);
        row.outcome == Outcome::Fail
            || row.outcome == Outcome::Missing
                && (required(row.cell.dialer) || required(row.cell.listener))
    };
    Ok(if rows.iter().any(bad) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// This program, and cargo's target directory, in which it lies as `<profile>/p2p-interop`.
fn places() -> Result<(PathBuf, PathBuf), RunError> {
    let ours = std::env::current_exe().map_err(RunError::Target)?;
    let target = ours.ancestors().nth(2).map(Path::to_owned);
    let target = target.ok_or_else(|| RunError::Target(io::ErrorKind::NotFound.into()))?;
    Ok((ours, target))
}

/// Each cell so many times, with the number of the repetition; all of them once, then again.
fn repeated(cells: &[Cell], times: usize) -> Vec<(Cell, usize)> {
    let each = |run| cells.iter().map(move |cell| (*cell, run));
    (0..times).flat_map(each).collect()
}

/// Runs the cells, several at a time; the rows come back in the order of the cells.
fn run_all(cells: &[(Cell, usize)], programs: &Programs, logs: &Path, args: &RunArgs) -> Vec<Row> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args
        .jobs
        .map_or_else(|| (cores + WAITING_JOBS).min(MOST_JOBS), NonZeroUsize::get);
    let queue = Mutex::new(longest_first(cells));
    let (done, rows) = channel();
    thread::scope(|scope| {
        for _ in 0..jobs.min(cells.len()) {
            let (queue, done) = (&queue, done.clone());
            scope.spawn(move || work(queue, programs, logs, args, &done));
        }
        drop(done);
        let mut all: Vec<(usize, Row)> = Vec::new();
        for (index, row) in rows {
            all.push((index, row));
            progress(all.len(), cells.len(), all.last().map(|(_, row)| row));
        }
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, row)| row).collect()
    })
}

/// A cell, the number of its repetition, and the place of its row.
type Job<'a> = (usize, &'a (Cell, usize));

/// What takes long, or waits, begins while there is something else to do beside it.
fn longest_first(cells: &[(Cell, usize)]) -> VecDeque<Job<'_>> {
    let mut jobs: Vec<_> = cells.iter().enumerate().collect();
    jobs.sort_by_key(|(_, (cell, _))| Reverse((cell.test.at_least(), faults::may_wait(cell))));
    jobs.into()
}

/// One worker: takes the next cell until there is none.
fn work(
    queue: &Mutex<VecDeque<Job<'_>>>,
    programs: &Programs,
    logs: &Path,
    args: &RunArgs,
    done: &Sender<(usize, Row)>,
) {
    loop {
        let next = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some((index, (cell, run))) = next else {
            return;
        };
        let row = match (programs.get(&cell.listener), programs.get(&cell.dialer)) {
            (Some(Ok(listener)), Some(Ok(dialer))) => {
                pair::run(cell, *run, listener, dialer, logs, args.deadline)
            }
            (Some(Err(error)), _) | (_, Some(Err(error))) => missing(cell, &error.to_string()),
            (None, _) | (_, None) => missing(cell, "not installed"),
        };
        if done.send((index, row)).is_err() {
            return;
        }
    }
}

fn missing(cell: &Cell, why: &str) -> Row {
    Row {
        cell: *cell,
        outcome: Outcome::Missing,
        ms: 0,
        detail: why.into(),
    }
}

fn progress(done: usize, all: usize, row: Option<&Row>) {
    if let Some(row) = row {
        let cell = row.cell.to_string();
        eprintln!(
            "[{done:3}/{all}] {cell:45} {:11} {:6} ms",
            row.outcome.name(),
            row.ms
        );
    }
}

/// One JSON object per line.
fn write_rows(rows: &[Row], path: &Path) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create(path)?);
    for row in rows {
        writeln!(file, "{}", row.to_json())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Muxer, Security, Test, Transport};

    #[test]
    fn what_takes_long_or_may_wait_begins_first() {
        let cell = |listener, test| Cell {
            dialer: Peer::P2p,
            listener,
            transport: Transport::Tcp,
            security: Security::Noise,
            muxer: Muxer::Yamux,
            test,
        };
        let cells = [
            (cell(Peer::Go, Test::Ping), 0),
            (cell(Peer::Rust, Test::Reset), 0),
            (cell(Peer::Go, Test::Minute), 0),
            (cell(Peer::Go, Test::Echo), 0),
        ];

        let order: Vec<_> = longest_first(&cells)
            .iter()
            .map(|(index, _)| *index)
            .collect();

        assert_eq!(order, [2, 1, 0, 3]);
    }
}
