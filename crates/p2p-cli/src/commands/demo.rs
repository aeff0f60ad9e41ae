//! `p2p demo`: two nodes in one process do everything once, and every step is checked.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p::request::{BadMessage, Call, Message, Refusal, RequestError, RequestExt};
use p2p::{
    Chain, Connection, ErrorCode, Host, Keypair, Multiaddr, Multiplexer, Protocol, SecureChannel,
    Stream,
};

use super::identify;
use super::ping::Times;
use crate::cli::Demo;
use crate::failure::Failure;
use crate::output::{Output, Record, Style};
use crate::progress::Progress;
use crate::transfer::{self, Broken, Patience};
use crate::{explain, node, units};

/// Numbers are sent to be added up.
const SUM: Call<Numbers, Sum> = Call::new("/p2p-demo/sum/1.0.0")
    .max_question(1024)
    .max_answer(8);
/// Where bytes are sent to be compared and counted.
const TRANSFER: Protocol = Protocol::from_static("/p2p-demo/transfer/1.0.0");
/// What we expect the two to agree on.
const SECURITY: &str = "/noise";
const MUXER: &str = "/yamux/1.0.0";
/// How many pings are sent.
const PINGS: u32 = 10;
/// The numbers to add up.
const NUMBERS: [u64; 5] = [3, 1, 4, 1, 5];

pub(crate) async fn run(output: Output, args: Demo) -> Result<(), Failure> {
    output.line("two nodes in this process, over TCP on the loopback interface");
    let server = start(args.timeout).await?;
    let client = start(args.timeout).await?;
    let addr = listen(output, &server).await?;
    let connection = dial(output, &client, &server, &addr).await?;
    let demo = Run {
        output,
        args,
        server,
        client,
        connection,
    };
    demo.identify().await?;
    demo.ping().await?;
    demo.request().await?;
    demo.transfer().await?;
    demo.client.close().await;
    demo.server.close().await;
    let done = "everything happened, and was checked";
    output.line(output.styled(Style::Good, done));
    output.record(&Record::new("done").with("ok", true));
    Ok(())
}

async fn start(timeout: Duration) -> Result<Host, Failure> {
    let mut config = p2p::Config::default();
    config.dial_timeout = timeout;
    config.negotiation_timeout = timeout;
    let (channels, muxers) = ([SecureChannel::Noise], [Multiplexer::Yamux]);
    let identity = Keypair::generate_ed25519();
    node::build(identity, &channels, &muxers, config, timeout).await
}

/// Lets the server listen and answer.
async fn listen(output: Output, server: &Host) -> Result<Multiaddr, Failure> {
    let start = |error| Failure::new("cannot start the demo", "start", error);
    let swarm = server.swarm();
    swarm
        .answer(&SUM, |Numbers(all), _peer| async move {
            let sum = all.into_iter().try_fold(0, u64::checked_add);
            let overflow = || Refusal::new(ErrorCode::NONE, "the sum is too large");
            sum.map(Sum).ok_or_else(overflow)
        })
        .map_err(start)?;
    swarm
        .handle(TRANSFER, |stream: Stream| async move {
            let (mut reader, mut writer) = stream.split();
            let count = transfer::count(&mut reader).await?;
            writer.write_all(&count.to_be_bytes()).await?;
            writer.close().await
        })
        .map_err(start)?;
    let addr = server.listen("/ip4/127.0.0.1/tcp/0").await;
    let addr = addr.map_err(|error| Failure::new("cannot listen", "listen", Chain(&error)))?;
    output.field("listening", &addr);
    output.record(&Record::new("listening").text("addr", &addr));
    Ok(addr)
}

/// Lets the client dial, and checks who is there and what was agreed.
async fn dial(
    output: Output,
    client: &Host,
    server: &Host,
    addr: &Multiaddr,
) -> Result<Connection, Failure> {
    let connection = node::dial(client, format!("cannot dial {addr}"), addr).await?;
    let info = connection.info();
    let agreed = node::negotiated(info);
    check("the peer dialed", server.peer_id(), info.peer)?;
    check(
        "what was agreed",
        format!("{SECURITY}, {MUXER}"),
        agreed.clone(),
    )?;
    let all = info.timings.transport + info.timings.security + info.timings.muxer;
    output.field(
        "dialed",
        format!(
            "in {}: TCP {}, {SECURITY} {}, {MUXER} {}",
            units::duration(all),
            units::duration(info.timings.transport),
            units::duration(info.timings.security),
            units::duration(info.timings.muxer),
        ),
    );
    output.field("negotiated", agreed);
    output.record(&node::connected(&connection));
    Ok(connection)
}

/// Two nodes that are connected.
struct Run {
    output: Output,
    args: Demo,
    server: Host,
    client: Host,
    connection: Connection,
}

impl Run {
    async fn identify(&self) -> Result<(), Failure> {
        let what = "cannot identify the server";
        let info = node::identify(&self.client, &self.connection).await;
        let info = info.map_err(|error| identify::failure(what.to_owned(), &error))?;
        check("the agent", node::AGENT, &info.agent_version)?;
        let expected = self.server.swarm().protocols();
        check("the protocols", names(&expected), names(&info.protocols))?;
        let observed = info.observed_addr.as_ref().map(ToString::to_string);
        let local = self.connection.info().local.as_ref();
        check(
            "where the server sees us",
            local.map(ToString::to_string),
            observed.clone(),
        )?;
        let seen = observed.clone().unwrap_or_default();
        self.output.field(
            "identified",
            format!(
                "{}, answers {} protocols, sees us at {seen}",
                info.agent_version,
                expected.len()
            ),
        );
        let record = Record::new("identify")
            .text("peer", info.peer)
            .text("agent_version", &info.agent_version)
            .with("observed_addr", observed)
            .texts("protocols", &info.protocols);
        self.output.record(&record);
        Ok(())
    }

    async fn ping(&self) -> Result<(), Failure> {
        let what = "cannot ping the server";
        let failed = |error| super::ping::failure(what.to_owned(), &error);
        let pinger = node::ping(&self.client)?
            .pinger(self.connection.peer())
            .await;
        let mut pinger = pinger.map_err(failed)?;
        let mut times = Times::default();
        for _ in 0..PINGS {
            times.answered(pinger.ping().await.map_err(failed)?);
        }
        pinger.close().await;
        let statistics = times.statistics().unwrap_or_default();
        let [min, avg, max, _] = statistics.map(units::millis);
        self.output.field(
            "pinged",
            format!("{PINGS} times, min/avg/max {min:.3}/{avg:.3}/{max:.3} ms"),
        );
        self.output.record(&times.record());
        Ok(())
    }

    async fn request(&self) -> Result<(), Failure> {
        let what = "cannot ask the server";
        let swarm = self.client.swarm();
        let question = Numbers(NUMBERS.to_vec());
        let start = swarm.rt().now();
        let answer = swarm.request(self.connection.peer(), &SUM, &question).await;
        let answer = answer.map_err(|error| match &error {
            RequestError::Open(error) => explain::open(what, error, SUM.protocol()),
            RequestError::Dial(error) => explain::dial(what, error),
            RequestError::Io(error) => explain::stream(what, error, SUM.protocol()),
            RequestError::AnswerTooLong { .. }
            | RequestError::BadAnswer(_)
            | RequestError::Limit(_)
            | RequestError::NoAnswer
            | RequestError::QuestionTooLong { .. }
            | RequestError::Refused { .. }
            | RequestError::TimedOut { .. }
            | RequestError::Unsupported { .. }
            | _ => Failure::new(what, "exchange", Chain(&error)),
        })?;
        let took = swarm.rt().now() - start;
        check("the answer", NUMBERS.iter().sum::<u64>(), answer.0)?;
        let text = NUMBERS.map(|number| number.to_string()).join(" + ");
        self.output.field(
            "asked",
            format!(
                "{text} = {}, answered in {}",
                answer.0,
                units::duration(took)
            ),
        );
        let record = Record::new("request")
            .text("protocol", SUM.protocol())
            .with("question", NUMBERS.to_vec())
            .with("answer", answer.0)
            .with("ms", units::millis(took));
        self.output.record(&record);
        Ok(())
    }

    async fn transfer(&self) -> Result<(), Failure> {
        let what = "cannot send through a stream";
        let len = self.args.size;
        let rt = self.client.swarm().rt().clone();
        let stream = self.connection.open(&TRANSFER).await;
        let stream = stream.map_err(|error| explain::open(what, &error, &TRANSFER))?;
        let patience = Patience {
            rt: rt.clone(),
            timeout: self.args.timeout,
        };
        let start = rt.now();
        let progress = Progress::start(self.output, len);
        let counted = send_and_ask(stream, len, &patience, progress).await;
        let counted = counted.map_err(|error| match error {
            Broken::Late => explain::no_answer(what, TRANSFER, self.args.timeout),
            Broken::Stream(error) => explain::stream(what, &error, &TRANSFER),
            Broken::Wrong(cause) => Failure::new(what, "check", cause),
        })?;
        let took = rt.now() - start;
        check("the bytes that arrived", len, counted)?;
        let (size, rate) = (units::bytes(len), units::rate(len, took));
        let took_text = units::duration(took);
        self.output.field(
            "sent",
            format!("{size} in {took_text}, {rate}; every byte compared"),
        );
        let record = Record::new("transfer")
            .with("bytes", len)
            .with("ms", units::millis(took))
            .with("bytes_per_second", units::per_second(len, took));
        self.output.record(&record);
        Ok(())
    }
}

/// Sends `len` bytes; returns how many the other end has compared and counted.
async fn send_and_ask(
    stream: Stream,
    len: u64,
    patience: &Patience,
    mut progress: Progress,
) -> Result<u64, Broken> {
    let (mut reader, mut writer) = stream.split();
    transfer::send(&mut writer, len, patience, &mut progress).await?;
    let mut answer = Vec::new();
    let mut limited = (&mut reader).take(9);
    patience.with(limited.read_to_end(&mut answer)).await?;
    let counted = <[u8; 8]>::try_from(answer).map(u64::from_be_bytes);
    counted.map_err(|answer| Broken::Wrong(format!("answered {answer:?} instead of a number")))
}

/// The demo fails unless it got what it expects.
fn check<T: PartialEq<U> + Debug, U: Debug>(
    what: &str,
    expected: T,
    found: U,
) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let cause = format!("{what}: expected {expected:?}, found {found:?}");
    let help = "this is a fault of this program: please report it with the output of -vv";
    Err(Failure::new("the demo went wrong", "check", cause).help(help))
}

/// The question: numbers to add up, 8 bytes each.
struct Numbers(Vec<u64>);

impl Message for Numbers {
    fn encode(&self) -> Vec<u8> {
        self.0.iter().copied().flat_map(u64::to_be_bytes).collect()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let (numbers, rest) = bytes.as_chunks();
        if rest.is_empty() {
            Ok(Self(
                numbers.iter().copied().map(u64::from_be_bytes).collect(),
            ))
        } else {
            Err(BadMessage::new("not a multiple of 8 bytes"))
        }
    }
}

/// The answer: 8 bytes.
struct Sum(u64);

impl Message for Sum {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        let bytes = <[u8; 8]>::try_from(&*bytes).map_err(BadMessage::new)?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

fn names(protocols: &[Protocol]) -> Vec<&str> {
    protocols.iter().map(Protocol::as_str).collect()
}
