//! Yamux over a link in memory, both ends on one thread, beside the `yamux` crate on the same
//! link: `cargo bench -p p2p-yamux`. Figures are CPU time, medians of
//! five alternating runs. Linux only.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]

use futures::executor::LocalPool;
use futures::future::{join, join_all, poll_fn};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use p2p_mux::conformance::{load, pipe};
use p2p_yamux::Yamux;
use yamux::{Connection, Mode, Stream};

const GIB: usize = 1 << 30;

fn main() {
    let jobs = [
        ("64 KiB x1", 1, 64 << 10, GIB),
        ("64 KiB x100", 100, 64 << 10, GIB),
        ("1 KiB x1", 1, 1 << 10, GIB / 4),
        ("100 B x1", 1, 100, 100 << 20),
        ("100 B x100", 100, 100, 100 << 20),
    ];
    println!(
        "{:12} {:>12} {:>12} {:>10} {:>10} {:>6}",
        "job", "ours s/GiB", "crate", "ns/write", "crate", "ratio"
    );
    let floor = median(
        (0..5)
            .map(|_| time(|| load::floor(64 << 10, GIB)))
            .collect(),
    );
    println!("the link alone: {floor:.3} s/GiB");
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    for (name, streams, size, total) in jobs {
        if only
            .as_ref()
            .is_some_and(|only| !name.contains(only.as_str()))
        {
            continue;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            ours.push(time(|| load::bulk(&Yamux::default(), streams, size, total)));
            theirs.push(time(|| crate_bulk(streams, size, total)));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let (gib, writes) = (total as f64 / GIB as f64, (total / size) as f64);
        println!(
            "{name:12} {:12.3} {:12.3} {:10.0} {:10.0} {:6.2}",
            ours / gib,
            theirs / gib,
            ours / writes * 1e9,
            theirs / writes * 1e9,
            theirs / ours
        );
    }
}

/// CPU seconds of this thread.
fn time(job: impl FnOnce()) -> f64 {
    let start = cpu();
    job();
    cpu() - start
}

fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = stat.split(' ').next().unwrap().parse().unwrap();
    nanos / 1e9
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.swap_remove(seconds.len() / 2)
}

/// The same job with the `yamux` crate.
fn crate_bulk(streams: usize, size: usize, total: usize) {
    let mut pool = LocalPool::new();
    let (dialer, listener) = pipe(1 << 20);
    let mut dialer = Connection::new(dialer, yamux::Config::default(), Mode::Client);
    let mut listener = Connection::new(listener, yamux::Config::default(), Mode::Server);
    let writes = total / size / streams;
    let (accepted, mut inbound) = futures::channel::mpsc::channel::<Stream>(streams);
    let mut accepted = accepted;
    let accept = async move {
        while let Some(Ok(stream)) = poll_fn(|cx| listener.poll_next_inbound(cx)).await {
            let _ = accepted.try_send(stream);
        }
    };
    pool.spawner().spawn_local(accept).unwrap();
    let (opened, mut outbound) = futures::channel::mpsc::channel::<Stream>(streams);
    let mut opened = opened;
    let open = async move {
        for _ in 0..streams {
            let stream = poll_fn(|cx| dialer.poll_new_outbound(cx)).await.unwrap();
            let _ = opened.try_send(stream);
        }
        while let Some(Ok(_)) = poll_fn(|cx| dialer.poll_next_inbound(cx)).await {}
    };
    pool.spawner().spawn_local(open).unwrap();
    let spawner = pool.spawner();
    pool.run_until(async move {
        let mut tasks = Vec::new();
        for _ in 0..streams {
            let mut stream = futures::StreamExt::next(&mut outbound).await.unwrap();
            let send = async move {
                let message = vec![7; size];
                for _ in 0..writes {
                    stream.write_all(&message).await.unwrap();
                    stream.flush().await.unwrap();
                }
                stream.close().await.unwrap();
            };
            tasks.push(spawner.spawn_local_with_handle(send).unwrap());
        }
        let mut received = 0;
        let receive = async {
            let mut readers = Vec::new();
            for _ in 0..streams {
                let mut stream = futures::StreamExt::next(&mut inbound).await.unwrap();
                readers.push(async move {
                    let mut buffer = vec![0; 64 << 10];
                    let mut received = 0;
                    loop {
                        match stream.read(&mut buffer).await.unwrap() {
                            0 => return received,
                            count => received += count,
                        }
                    }
                });
            }
            received = join_all(readers).await.iter().sum();
        };
        join(join_all(tasks), receive).await;
        assert_eq!(received, writes * size * streams);
    });
}
