//! `p2p perf`: how fast bytes move to and from a node.

use std::time::Duration;

use p2p::Rt;
use p2p::perf::{Config, Form, PROTOCOL, PerfError, Plan, Report, Step};

use crate::cli::Perf;
use crate::failure::Failure;
use crate::output::{Output, Record};
use crate::progress::Progress;
use crate::{explain, node, units};

pub(crate) async fn run(output: Output, args: Perf) -> Result<(), Failure> {
    let (host, connection) = node::connect(output, "measure", &args.remote).await?;
    let what = format!("cannot measure {}", args.remote.addr);
    let how = node::negotiated(connection.info());
    output.line(format!("perf {}: over {how}", connection.peer()));
    let mut config = Config::default();
    config.patience = args.remote.timeout;
    config.form = if args.both_lengths {
        Form::Both
    } else {
        Form::Plain
    };
    let perf = p2p::Perf::client(Rt::clone(host.swarm().rt()), config);
    let plan = Plan {
        upload: args.upload,
        download: args.download,
    };
    let mut shown = Progress::start(output, plan.upload);
    let tell = |step| match step {
        Step::Uploaded(done) | Step::Downloaded(done) => shown.set(done),
        Step::UploadDone => shown = Progress::start(output, plan.download),
    };
    let measured = perf.measure(&connection, plan, tell).await;
    drop(shown);
    let report = measured.map_err(|error| failure(what, &error))?;
    tell_all(output, &report);
    host.close().await;
    Ok(())
}

pub(crate) fn failure(what: String, error: &PerfError) -> Failure {
    match error {
        PerfError::Open(error) => explain::open(what, error, &PROTOCOL),
        // A remote without the protocol may reset the stream before its refusal is read.
        PerfError::Io(error) => explain::stream(what, error, &PROTOCOL).help(format!(
            "the other end must answer {}; `p2p listen --perf` does",
            PROTOCOL.as_str()
        )),
        PerfError::Stalled { after } => explain::no_answer(what, &PROTOCOL, *after),
        PerfError::Length { .. } | PerfError::TooMuch { .. } | _ => Failure::new(
            what, "check", error,
        )
        .help(
            "the other end answers this protocol differently; some test suites want --both-lengths",
        ),
    }
}

fn tell_all(output: Output, report: &Report) {
    let mut record = Record::new("perf");
    let moved: [(_, u64, Duration); 2] = [
        ("upload", report.plan.upload, report.upload_took),
        ("download", report.plan.download, report.download_took),
    ];
    for (way, bytes, took) in moved {
        if bytes > 0 {
            output.line(format!(
                "{way}: {} in {}, {}",
                units::bytes(bytes),
                units::duration(took),
                units::rate(bytes, took)
            ));
        }
        let (count, millis, rate) = match way {
            "upload" => ("upload_bytes", "upload_ms", "upload_bytes_per_second"),
            _ => ("download_bytes", "download_ms", "download_bytes_per_second"),
        };
        record = record
            .with(count, bytes)
            .with(millis, units::millis(took))
            .with(rate, units::per_second(bytes, took));
    }
    output.record(&record);
}
