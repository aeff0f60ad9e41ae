//! rust-libp2p behind the interop command line (interop/README.md).
//!
//! Prints one JSON object per line on standard output, logs on standard error, and leaves
//! with 0 or 1. A listener serves until its standard input closes.

mod node;
mod play;
mod protocols;
mod pubsub;
mod upgrades;

use std::{
    error::Error, fmt, io::Write as _, path::PathBuf, process::ExitCode, time::Duration,
};

use libp2p_websocket::tls;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tracing_subscriber::EnvFilter;

/// What these do to streams they say in `debug` only.
const FILTER: &str = "info,libp2p_floodsub=debug,libp2p_mplex::io=debug,libp2p_stream=debug";

const USAGE: &str = "usage:
  peer listen --transport tcp|quic|ws|wss --security plaintext|noise|tls --muxer yamux|mplex [--addr MULTIADDR] [--test TEST]
  peer dial ADDR --transport tcp|quic|ws|wss --security .. --muxer .. --test TEST [--deadline SECONDS]
both: [--key ed25519|secp256k1|ecdsa|rsa] [--early on|off] [--tls FOLDER] [--swarm-key FILE]; tests: interop/README.md";

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The command line. Security and muxer are lists, most wanted first.
pub(crate) struct Options {
    pub(crate) transport: String,
    pub(crate) security: Vec<String>,
    pub(crate) muxer: Vec<String>,
    pub(crate) addr: String,
    pub(crate) test: String,
    pub(crate) key: String,
    pub(crate) early: String,
    /// Where certificate and key of a `wss` listener are.
    pub(crate) tls: PathBuf,
    /// The key file of a private network.
    pub(crate) swarm_key: Option<PathBuf>,
    pub(crate) deadline: Duration,
}

impl Options {
    /// Shows the certificate as a listener, and trusts it as a dialer.
    pub(crate) fn tls(&self) -> Result<tls::Config> {
        let read = |name: &str| std::fs::read(self.tls.join(name));
        let certificate = tls::Certificate::new(read("cert.der")?);
        let key = tls::PrivateKey::new(read("key.der")?);
        let mut config = tls::Config::builder();
        config.server(key, [certificate])?;
        config.add_trust(&tls::Certificate::new(read("ca.der")?))?;
        Ok(config.finish())
    }
}

/// rust-libp2p does not have what was asked for.
#[derive(Debug)]
pub(crate) struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rust does not have {}", self.0)
    }
}

impl Error for Unsupported {}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| FILTER.into()))
        .with_writer(std::io::stderr)
        .init();
    match run(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut fields = json!({ "message": chain(error.as_ref()) });
            if error.is::<Unsupported>() {
                fields["unsupported"] = Value::Bool(true);
            }
            event("error", fields);
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Vec<String>) -> Result<()> {
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("listen") => node::listen(parse(args)?).await,
        Some("dial") => {
            let addr = args.next().ok_or(USAGE)?;
            let options = Options {
                addr,
                ..parse(args)?
            };
            tokio::time::timeout(options.deadline, node::dial(options))
                .await
                .map_err(|_| "deadline passed")?
        }
        _ => Err(USAGE.into()),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let list = |words: String| words.split(',').map(String::from).collect();
    let mut options = Options {
        transport: "tcp".into(),
        security: vec!["noise".into()],
        muxer: vec!["yamux".into()],
        addr: "/ip4/127.0.0.1/tcp/0".into(),
        test: "ping".into(),
        key: "ed25519".into(),
        early: "on".into(),
        tls: PathBuf::new(),
        swarm_key: None,
        deadline: Duration::from_secs(55),
    };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--transport" => options.transport = value,
            "--security" => options.security = list(value),
            "--muxer" => options.muxer = list(value),
            "--addr" => options.addr = value,
            "--test" => options.test = value,
            "--key" => options.key = value,
            "--early" => options.early = value,
            "--tls" => options.tls = value.into(),
            "--swarm-key" => options.swarm_key = Some(value.into()),
            "--deadline" => options.deadline = Duration::from_secs(value.parse()?),
            _ => return Err(format!("unexpected argument {flag}\n{USAGE}").into()),
        }
    }
    Ok(options)
}

/// Prints one line for the runner.
pub(crate) fn event(name: &str, mut fields: Value) {
    fields["event"] = name.into();
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{fields}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(1); // Nobody listens any more.
    }
}

/// Returns when whoever started us closes our standard input, or dies.
pub(crate) async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while stdin.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
}

/// An error with its causes, once each.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
