//! `p2p identify`: everything that a node tells about itself.

use p2p::PublicKey;
use p2p::identify::{IdentifyError, IdentifyInfo, PROTOCOL};
use p2p::keys::{CidBase, PeerIdExt};

use crate::cli::Identify;
use crate::failure::Failure;
use crate::output::{Output, Record, Style};
use crate::{explain, node};

pub(crate) async fn run(output: Output, args: Identify) -> Result<(), Failure> {
    let (host, connection) = node::connect(output, "identify", &args.remote).await?;
    let info = node::identify(&host, &connection).await;
    let info =
        info.map_err(|error| failure(format!("cannot identify {}", args.remote.addr), &error))?;
    tell(output, &info);
    host.close().await;
    Ok(())
}

/// An exchange that told nothing.
pub(crate) fn failure(what: String, error: &IdentifyError) -> Failure {
    match error {
        IdentifyError::Open(error) => explain::open(what, error, &PROTOCOL),
        IdentifyError::Io(error) => explain::stream(what, error, &PROTOCOL),
        IdentifyError::Unsupported => explain::unsupported(what, &PROTOCOL, error),
        IdentifyError::TimedOut { after } => explain::no_answer(what, "identify", *after),
        IdentifyError::Decode(_)
        | IdentifyError::Empty
        | IdentifyError::Ended
        | IdentifyError::Limit(_)
        | IdentifyError::TooLong { .. }
        | IdentifyError::TooManyParts { .. }
        | IdentifyError::WrongKey
        | _ => Failure::new(what, "exchange", error)
            .help("the other end answers identify wrongly, or we are at a limit of ours"),
    }
}

fn tell(output: Output, info: &IdentifyInfo) {
    let key_type = PublicKey::from_protobuf(&info.public_key)
        .map_or_else(|_| "unknown".to_owned(), |key| key.key_type().to_string());
    output.line(output.styled(Style::Bold, info.peer));
    output.field("as CID", info.peer.to_cid(CidBase::Base32));
    output.field("key", &key_type);
    output.field("agent", or_nothing(&info.agent_version));
    output.field("network", or_nothing(&info.protocol_version));
    let observed = info.observed_addr.as_ref().map(ToString::to_string);
    output.field(
        "sees us at",
        or_nothing(observed.as_deref().unwrap_or_default()),
    );
    list(output, "listens on", info.listen_addrs.iter());
    list(output, "answers", info.protocols.iter());
    let seq = info.signed_record.as_ref().map(|record| record.seq);
    let record = seq.map_or_else(
        || "none".to_owned(),
        |seq| format!("number {seq}, verified"),
    );
    output.field("peer record", record);
    output.record(
        &Record::new("identify")
            .text("peer", info.peer)
            .text("key_type", key_type)
            .text("agent_version", &info.agent_version)
            .text("protocol_version", &info.protocol_version)
            .with("observed_addr", observed)
            .texts("listen_addrs", &info.listen_addrs)
            .texts("protocols", &info.protocols)
            .with("record_seq", seq),
    );
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() {
        "(does not say)"
    } else {
        text
    }
}

/// Prints a list in the column of the values; `name` before its first line.
fn list(output: Output, name: &str, values: impl Iterator<Item: std::fmt::Display>) {
    let mut before = name;
    for value in values {
        output.field(before, value);
        before = "";
    }
    if before == name {
        output.field(name, "(does not say)");
    }
}
