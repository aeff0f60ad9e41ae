//! Mplex over a link in memory, both ends on one thread: `cargo bench -p p2p-mplex`. Figures are
//! CPU time, medians of five runs. Linux only.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]

use p2p_mplex::{Config, Mplex};
use p2p_mux::conformance::load;

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
        "{:12} {:>9} {:>8} {:>9}",
        "job", "max frame", "s/GiB", "ns/write"
    );
    for (name, streams, size, total) in jobs {
        for max_frame in [4, 8, 16, 32, 64] {
            let mut config = Config::default();
            config.max_frame = max_frame << 10;
            let mplex = Mplex::new(config);
            let runs = (0..5).map(|_| time(|| load::bulk(&mplex, streams, size, total)));
            let seconds = median(runs.collect());
            let (gib, writes) = (total as f64 / GIB as f64, (total / size) as f64);
            let (per_gib, per_write) = (seconds / gib, seconds / writes * 1e9);
            println!("{name:12} {max_frame:6} KiB {per_gib:8.3} {per_write:9.0}");
        }
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
