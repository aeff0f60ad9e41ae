//! `p2p echo`: sends something and compares what comes back.

use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use p2p::Stream;

use crate::cli::Echo;
use crate::failure::Failure;
use crate::output::{Output, Record};
use crate::progress::Progress;
use crate::transfer::{self, Broken, Patience};
use crate::{explain, node, units};

pub(crate) async fn run(output: Output, args: Echo) -> Result<(), Failure> {
    let (host, connection) = node::connect(output, "echo through", &args.remote).await?;
    let what = format!("cannot echo through {}", args.remote.addr);
    let rt = host.swarm().rt().clone();
    let stream = connection.open(&args.protocol).await;
    let stream = stream.map_err(|error| explain::open(what.as_str(), &error, &args.protocol))?;
    let (content, len) = match args.bytes {
        Some(len) => (Content::Generated(len), len),
        None => (Content::Text(args.text.clone()), args.text.len() as u64),
    };
    let progress = Progress::start(output, len);
    let start = rt.now();
    let patience = Patience {
        rt: rt.clone(),
        timeout: args.remote.timeout,
    };
    let echoed = exchange(stream, content, &patience, progress).await;
    let took = rt.now() - start;
    match echoed {
        Ok(text) => tell(output, &args, text, len, took),
        Err(Broken::Late) => {
            return Err(explain::no_answer(
                what,
                &args.protocol,
                args.remote.timeout,
            ));
        }
        Err(Broken::Stream(error)) => {
            return Err(explain::stream(what, &error, &args.protocol));
        }
        Err(Broken::Wrong(cause)) => {
            return Err(Failure::new(what, "check", cause)
                .tried(format!(
                    "to compare {} sent on {}",
                    units::bytes(len),
                    args.protocol
                ))
                .help("the other end answers this protocol with something else than an echo"));
        }
    }
    host.close().await;
    Ok(())
}

fn tell(output: Output, args: &Echo, text: Option<String>, len: u64, took: Duration) {
    match text {
        Some(text) => output.line(text),
        None => output.line(format!(
            "{} came back unchanged in {}, {} each way",
            units::bytes(len),
            units::duration(took),
            units::rate(len, took)
        )),
    }
    let record = Record::new("echo")
        .text("protocol", &args.protocol)
        .with("bytes", len)
        .with("ms", units::millis(took))
        .with("bytes_per_second", units::per_second(len, took));
    output.record(&record);
}

/// What to send.
enum Content {
    Generated(u64),
    Text(String),
}

/// Sends and receives at the same time: with no flow control of its own, or full buffers, an echo
/// that nobody reads would hold up what is still to be sent.
async fn exchange(
    stream: Stream,
    content: Content,
    patience: &Patience,
    mut progress: Progress,
) -> Result<Option<String>, Broken> {
    let (mut reader, mut writer) = stream.split();
    match content {
        Content::Text(text) => {
            let sent = async {
                patience.with(writer.write_all(text.as_bytes())).await?;
                patience.with(writer.close()).await
            };
            let (back, ()) = futures::try_join!(receive_text(&mut reader, &text, patience), sent)?;
            Ok(Some(back))
        }
        Content::Generated(len) => {
            let mut unseen = Progress::Hidden;
            let sent = transfer::send(&mut writer, len, patience, &mut unseen);
            let received = transfer::receive(&mut reader, len, patience, &mut progress);
            futures::try_join!(received, sent)?;
            Ok(None)
        }
    }
}

async fn receive_text(
    from: &mut (impl AsyncRead + Unpin),
    sent: &str,
    patience: &Patience,
) -> Result<String, Broken> {
    let mut back = Vec::new();
    // One byte more than was sent is enough to see that it differs.
    let mut limited = from.take(sent.len() as u64 + 1);
    patience.with(limited.read_to_end(&mut back)).await?;
    if back == sent.as_bytes() {
        return Ok(sent.to_owned());
    }
    let back = String::from_utf8_lossy(&back);
    Err(Broken::Wrong(format!(
        "sent {sent:?}, but {back:?} came back"
    )))
}
