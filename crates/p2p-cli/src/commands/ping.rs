//! `p2p ping`: round trips to a node.

use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use p2p::Rt;
use p2p::ping::{PROTOCOL, PingError, Pinger, SIZE};

use crate::cli::Ping;
use crate::failure::Failure;
use crate::output::{Output, Record, Style};
use crate::signals::Stop;
use crate::{explain, node, signals, units};

pub(crate) async fn run(output: Output, args: Ping) -> Result<(), Failure> {
    let mut stop = signals::stop(false)?;
    let connected = node::connect(output, "ping", &args.remote);
    let (host, connection) = match select(&mut stop, connected.boxed()).await {
        Either::Left(_) => {
            return Err(Failure::new(what(&args), "start", "interrupted"));
        }
        Either::Right((connected, _)) => connected?,
    };
    let peer = connection.peer();
    let how = node::negotiated(connection.info());
    output.line(format!("ping {peer}: {SIZE} bytes over {how}"));
    let ping = node::ping(&host)?;
    let pinger = ping.pinger(peer).await;
    let pinger = pinger.map_err(|error| failure(what(&args), &error))?;
    let rt = host.swarm().rt().clone();
    let mut series = Series {
        output,
        rt: rt.clone(),
        pinger,
        times: Times::default(),
    };
    let start = rt.now();
    let ended = series.run(&args, &mut stop).await;
    let times = series.times;
    summary(output, &peer.to_string(), &times, rt.now() - start);
    host.close().await;
    ended?;
    if times.lost() > 0 {
        let cause = format!("{} of {} pings were not answered", times.lost(), times.sent);
        return Err(Failure::new(what(&args), "exchange", cause).help(explain::SLOW));
    }
    Ok(())
}

fn what(args: &Ping) -> String {
    format!("cannot ping {}", args.remote.addr)
}

/// A series of pings under way.
struct Series {
    output: Output,
    rt: Rt,
    pinger: Pinger,
    times: Times,
}

impl Series {
    /// Pings until the count is reached, somebody stops it, or it makes no sense any more.
    async fn run(
        &mut self,
        args: &Ping,
        stop: &mut oneshot::Receiver<Stop>,
    ) -> Result<(), Failure> {
        let last = if args.count == 0 {
            u64::MAX
        } else {
            args.count
        };
        for seq in 1..=last {
            let due = self.rt.now() + args.interval;
            let pinged = match select(&mut *stop, self.pinger.ping().boxed()).await {
                Either::Left(_) => return Ok(()),
                Either::Right((pinged, _)) => pinged,
            };
            match pinged {
                Ok(rtt) => self.answered(seq, rtt),
                Err(error) => self.lost(args, seq, &error)?,
            }
            if seq < last {
                let pause = self.rt.sleep_until(due).boxed();
                if let Either::Left(_) = select(&mut *stop, pause).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, seq: u64, rtt: Duration) {
        self.times.answered(rtt);
        let time = units::millis(rtt);
        self.output
            .line(format!("{SIZE} bytes back: seq={seq} time={time:.3} ms"));
        let record = Record::new("ping").with("seq", seq).with("rtt_ms", time);
        self.output.record(&record);
    }

    /// Goes on after a ping that got lost, but not after one that shows that none can arrive.
    fn lost(&mut self, args: &Ping, seq: u64, error: &PingError) -> Result<(), Failure> {
        self.times.sent += 1;
        if !matches!(error, PingError::TimedOut { .. }) {
            return Err(failure(what(args), error));
        }
        let style = self.output.styled(Style::Bad, "lost");
        self.output.line(format!("{style}: seq={seq}: {error}"));
        self.output
            .record(&Record::new("lost").with("seq", seq).text("cause", error));
        Ok(())
    }
}

/// A ping that cannot be repeated.
pub(crate) fn failure(what: String, error: &PingError) -> Failure {
    match error {
        PingError::Open(error) => explain::open(what, error, &PROTOCOL),
        PingError::Io(error) => explain::stream(what, error, &PROTOCOL),
        PingError::Unsupported => explain::unsupported(what, &PROTOCOL, error),
        PingError::TimedOut { after } => explain::no_answer(what, "a ping", *after),
        PingError::Closed | PingError::Echo(_) | _ => {
            Failure::new(what, "exchange", error).help("the other end answers pings wrongly")
        }
    }
}

/// The round trips so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    sent: u64,
    answered: u64,
    min: Option<Duration>,
    max: Duration,
    /// Seconds.
    sum: f64,
    /// Seconds squared.
    squares: f64,
}

impl Times {
    pub(crate) fn answered(&mut self, rtt: Duration) {
        self.sent += 1;
        self.answered += 1;
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.max = self.max.max(rtt);
        self.sum += rtt.as_secs_f64();
        self.squares += rtt.as_secs_f64().powi(2);
    }

    /// The summary as a record.
    pub(crate) fn record(&self) -> Record {
        let statistics = self.statistics().map(|all| all.map(units::millis));
        let [min, avg, max, mdev] = statistics.map_or([None; 4], |all| all.map(Some));
        Record::new("summary")
            .with("sent", self.sent)
            .with("answered", self.answered)
            .with("lost", self.lost())
            .with("min_ms", min)
            .with("avg_ms", avg)
            .with("max_ms", max)
            .with("mdev_ms", mdev)
    }

    fn lost(&self) -> u64 {
        self.sent - self.answered
    }

    /// Minimum, average, maximum and standard deviation; `None` if nothing was answered.
    pub(crate) fn statistics(&self) -> Option<[Duration; 4]> {
        let count = self.answered as f64;
        let average = self.sum / count;
        // Rounding can make it a little less than zero.
        let variance = (self.squares / count - average.powi(2)).max(0.0);
        Some([
            self.min?,
            Duration::from_secs_f64(average),
            self.max,
            Duration::from_secs_f64(variance.sqrt()),
        ])
    }
}

fn summary(output: Output, peer: &str, times: &Times, took: Duration) {
    let lost = 100.0 * times.lost() as f64 / times.sent.max(1) as f64;
    output.line(format!("--- {peer}"));
    output.line(format!(
        "{} sent, {} answered, {lost:.0} % lost, {}",
        times.sent,
        times.answered,
        units::duration(took)
    ));
    let statistics = times.statistics().map(|all| all.map(units::millis));
    if let Some([min, avg, max, mdev]) = statistics {
        output.line(format!(
            "rtt min/avg/max/mdev = {min:.3}/{avg:.3}/{max:.3}/{mdev:.3} ms"
        ));
    }
    output.record(&times.record());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_answered_pings() {
        let mut times = Times::default();
        assert_eq!(times.statistics(), None);
        for millis in [1, 2, 3, 6] {
            times.answered(Duration::from_millis(millis));
        }
        times.sent += 1;
        let [min, avg, max, mdev] = times.statistics().unwrap().map(units::millis);
        assert_eq!((min, avg, max, mdev), (1.0, 3.0, 6.0, 1.871));
        assert_eq!(times.lost(), 1);
    }
}
