//! `p2p chat`, `p2p pub`, `p2p sub`: topics on the command line.

use std::fs::File;
use std::io::{BufRead, BufWriter, Write};
use std::time::Duration;

use futures::SinkExt;
use futures::channel::mpsc;
use futures::stream::{self, StreamExt};
use p2p::pubsub::{Presence, Received, Topic, TraceLog};
use p2p::{Chain, GossipConfig, Host, PeerId, Pubsub};

use crate::cli::TopicArgs;
use crate::failure::Failure;
use crate::output::{Output, Record, clean};
use crate::{node, signals};

/// How long a node waits for what others say about themselves.
const ANSWER: Duration = Duration::from_secs(10);
/// Lines typed and not yet sent.
const TYPED: usize = 64;
/// Between two looks at mesh and scores.
const LOOK: Duration = Duration::from_secs(1);

/// Something to show or to do.
enum Turn {
    Line(String),
    Message(Received),
    Peer(Presence),
    Look,
    Stop,
}

/// A node in a topic.
struct Member {
    host: Host,
    pubsub: Pubsub,
}

/// `p2p chat TOPIC`: lines of stdin go out, messages come in.
pub(crate) async fn chat(output: Output, args: TopicArgs) -> Result<(), Failure> {
    let stop = stream::once(signals::stop(false)?)
        .map(|_| Turn::Stop)
        .boxed_local();
    let member = join(output, &args).await?;
    talk(output, &args, &member, stop, stdin_lines()).await?;
    member.host.close().await;
    Ok(())
}

/// `p2p sub TOPIC`: messages come in.
pub(crate) async fn sub(output: Output, args: TopicArgs) -> Result<(), Failure> {
    let stop = stream::once(signals::stop(true)?)
        .map(|_| Turn::Stop)
        .boxed_local();
    let member = join(output, &args).await?;
    talk(output, &args, &member, stop, stream::pending()).await?;
    member.host.close().await;
    Ok(())
}

/// `p2p pub TOPIC`: every line of stdin is a message, each waits for a subscriber.
pub(crate) async fn publish(output: Output, args: TopicArgs) -> Result<(), Failure> {
    let member = join(output, &args).await?;
    let mut lines = stdin_lines();
    while let Some(line) = lines.next().await {
        let sent = member.pubsub.publish_when_ready(args.topic.as_str(), line);
        let published = sent.await.map_err(|error| not_sent(&args, &error))?;
        output.line(format!("sent to {} peers", published.sent));
        output.record(&Record::new("published").with("peers", published.sent));
    }
    // What was published is still on its way to the peers.
    let rt = member.host.swarm().rt();
    rt.sleep(args.linger).await;
    member.host.close().await;
    Ok(())
}

fn not_sent(args: &TopicArgs, error: &p2p::pubsub::PublishFailed) -> Failure {
    Failure::new(
        format!("cannot publish in {}", args.topic),
        "publish",
        Chain(error),
    )
}

async fn join(output: Output, args: &TopicArgs) -> Result<Member, Failure> {
    let host = node::start(&args.node, p2p::Config::default(), ANSWER).await?;
    let start = |cause: String| Failure::new("cannot start pubsub", "start", cause);
    let config = GossipConfig::default();
    let pubsub = match args.floodsub {
        true => Pubsub::flood(&host, config.base),
        false => Pubsub::gossip(&host, config),
    };
    let pubsub = pubsub.map_err(|error| start(Chain(&error).to_string()))?;
    if let Some(file) = &args.trace {
        let file = File::create(file).map_err(|error| {
            start(format!("{}: {error}", file.display())).help("choose another file for --trace")
        })?;
        trace(&host, &pubsub, file);
    }
    let listening = host.swarm().listen(args.listen.clone()).await;
    let addrs = listening.map_err(|error| {
        let what = format!("cannot listen on {}", args.listen);
        Failure::new(what, "listen", Chain(&error)).help("choose another port or 0")
    })?;
    for addr in addrs {
        output.aside(format!("listening on {addr}"));
        output.record(&Record::new("listening").text("addr", addr));
    }
    for addr in &args.peers {
        node::dial(&host, format!("cannot reach {addr}"), addr).await?;
    }
    Ok(Member { host, pubsub })
}

/// Writes what pubsub does into `file`, a JSON object a line.
fn trace(host: &Host, pubsub: &Pubsub, file: File) {
    let mut traces = pubsub.traces();
    let rt = host.swarm().rt().clone();
    let log = TraceLog::new(host.peer_id(), rt.unix_time(), rt.now());
    host.swarm().spawn("pubsub trace", async move {
        let mut file = BufWriter::new(file);
        while let Some(traced) = traces.next().await {
            // A full disk is no reason to stop talking.
            if writeln!(file, "{}", log.json(&traced)).is_err() || file.flush().is_err() {
                return;
            }
        }
    });
}

async fn talk(
    output: Output,
    args: &TopicArgs,
    member: &Member,
    stop: stream::LocalBoxStream<'_, Turn>,
    lines: impl futures::Stream<Item = String>,
) -> Result<(), Failure> {
    let topic = Topic::new(&args.topic);
    let chat = member.pubsub.subscribe(topic.clone());
    let present = chat.subscribers().map(Turn::Peer).boxed_local();
    let rt = member.host.swarm().rt().clone();
    let looks = stream::unfold(rt, |rt| async move {
        rt.sleep(LOOK).await;
        Some((Turn::Look, rt))
    });
    let looks = looks
        .filter(|_| std::future::ready(args.mesh))
        .boxed_local();
    let lines = lines.map(Turn::Line).boxed_local();
    let messages = chat.map(Turn::Message).boxed_local();
    let mut turns = stream::select_all([stop, present, looks, lines, messages]);
    let mut shown = String::new();
    while let Some(turn) = turns.next().await {
        match turn {
            Turn::Stop => break,
            Turn::Line(line) => {
                let sent = member.pubsub.publish(topic.clone(), line).await;
                if let Err(error) = sent {
                    output.aside(format!("not sent: {}", Chain(&error)));
                }
            }
            Turn::Message(received) => show(output, &received),
            Turn::Peer(presence) => show_peer(output, presence),
            Turn::Look => {
                let view = mesh_view(&member.pubsub, &topic);
                if view != shown {
                    output.aside(&view);
                    shown = view;
                }
            }
        }
    }
    Ok(())
}

fn show(output: Output, received: &Received) {
    match received {
        Received::Lagged(lost) => {
            output.aside(format!("{lost} messages lost: too many at once"));
            output.record(&Record::new("lagged").with("count", *lost));
        }
        Received::Message { from, message, .. } => {
            let text = String::from_utf8_lossy(&message.data()).into_owned();
            let author = message.source();
            let who = author.map_or_else(|| "somebody".to_owned(), short);
            output.line(format!("{who}: {}", clean(&text)));
            let record = Record::new("message")
                .with("author", author.map(|author| author.to_string()))
                .text("from", from)
                .text("text", text);
            output.record(&record);
        }
    }
}

fn show_peer(output: Output, presence: Presence) {
    let (event, peer) = match presence {
        Presence::Joined(peer) => ("joined", peer),
        Presence::Left(peer) => ("left", peer),
        Presence::Lagged(_) => return,
    };
    output.aside(format!("{} {event}", short(peer)));
    output.record(&Record::new(event).text("peer", peer));
}

/// Who is in the mesh, with scores.
fn mesh_view(pubsub: &Pubsub, topic: &Topic) -> String {
    let mesh = pubsub.mesh(topic.clone());
    let known = pubsub.peers(topic.clone()).len();
    let peers: Vec<String> = mesh
        .iter()
        .map(|peer| format!("{} {:.1}", short(*peer), pubsub.score(peer)))
        .collect();
    format!("mesh {} of {known}: {}", mesh.len(), peers.join(", "))
}

/// The end of a peer id: its start is the same for all.
fn short(peer: PeerId) -> String {
    let text = peer.to_string();
    let start = text.len().saturating_sub(8);
    text.get(start..).unwrap_or_default().to_owned()
}

/// The lines of stdin. A thread waits for them: stdin cannot be polled everywhere.
fn stdin_lines() -> mpsc::Receiver<String> {
    let (mut sender, receiver) = mpsc::channel(TYPED);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if p2p::block_on(sender.send(line)).is_err() {
                return;
            }
        }
    });
    receiver
}
