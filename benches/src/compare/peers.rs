//! The programs that are measured: ours, and those of others as far as they can be built here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the sources of the peers are.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// By name; what could not be built is left out, with a word on standard error.
pub(crate) type Programs = BTreeMap<String, PathBuf>;

pub(crate) fn install(wanted: &[String]) -> Programs {
    let mut programs = Programs::new();
    for name in wanted {
        let to = target().join("bench-peers").join(name);
        let built = match name.as_str() {
            "rust" => rust(&to),
            "go" => go(&to),
            _ => Err(format!("there is no peer {name}")),
        };
        match built {
            Ok(program) => {
                programs.insert(name.clone(), program);
            }
            Err(error) => eprintln!("{name}: left out: {error}"),
        }
    }
    programs
}

/// The target directory that this program was built in.
fn target() -> PathBuf {
    let ours = std::env::current_exe().unwrap_or_default();
    let target = ours.ancestors().nth(2).map(Path::to_path_buf);
    target.unwrap_or_default()
}

fn rust(to: &Path) -> Result<PathBuf, String> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(to)
        .arg("--manifest-path")
        .arg(Path::new(PEERS).join("rust/Cargo.toml"));
    step(&mut build)?;
    Ok(to.join("release/p2p-bench-rust-peer"))
}

fn go(to: &Path) -> Result<PathBuf, String> {
    let sources = Path::new(PEERS).join("go");
    if !sources.join("go.mod").exists() {
        return Err("it has no program yet".to_owned());
    }
    let program = to.join("peer");
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .current_dir(&sources);
    step(&mut build)?;
    Ok(program)
}

fn step(command: &mut Command) -> Result<(), String> {
    eprintln!("{command:?}");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
