//! Tasks, timers, and simulations that get stuck.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::future::{join, join_all, poll_fn};
use p2p_core::Instant;
use p2p_sim::{Config, Sim, Stuck};
use support::{MS, SEC, sleep, time};

#[test]
fn time_jumps_from_timer_to_timer() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let order = Mutex::new(Vec::new());
    let wait = |seconds| {
        let (host, order) = (&host, &order);
        async move {
            sleep(host, SEC * seconds).await;
            order.lock().unwrap().push((seconds, host.rt().now()));
        }
    };
    sim.block_on(join_all([30, 10, 20].map(wait)));
    let at = |seconds| (seconds, Instant::ZERO + SEC * seconds);
    assert_eq!(order.into_inner().unwrap(), [at(10), at(20), at(30)]);
}

#[test]
fn a_timer_that_was_moved_fires_at_its_new_time() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let rt = host.rt();
    for (first, then) in [(10, 20), (20, 10)] {
        let start = rt.now();
        let mut timer = rt.timer(start + SEC * first);
        sim.block_on(async {
            futures::poll!(&mut timer)
                .is_pending()
                .then_some(())
                .unwrap();
            timer.reset(start + SEC * then);
            timer.await;
        });
        assert_eq!(rt.now() - start, SEC * then);
    }
}

#[test]
fn a_timer_that_has_passed_fires_at_once() {
    let sim = Sim::new(1);
    let rt = sim.host("a").rt();
    sim.run_for(SEC);
    assert_eq!(time(&sim, rt.timer(Instant::ZERO)).1, Duration::ZERO);
}

#[test]
fn the_order_of_ready_tasks_comes_from_the_seed() {
    let order = |seed| {
        let sim = Sim::new(seed);
        let host = sim.host("a");
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..20 {
            let order = order.clone();
            host.spawn("task", async move { order.lock().unwrap().push(number) });
        }
        sim.run_until_idle();
        let order = order.lock().unwrap().clone();
        assert_eq!(order.len(), 20);
        order
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_deadlock_names_the_seed_and_who_waits() {
    let sim = Sim::new(42);
    let host = sim.host("alice");
    host.spawn("waits for nobody", std::future::pending());
    let stuck = sim.try_block_on(std::future::pending::<()>()).unwrap_err();
    assert!(matches!(stuck, Stuck::Deadlock(_)));
    let text = stuck.to_string();
    assert!(text.contains("seed 42"), "{text}");
    assert!(
        text.contains("1 x waits for nobody of host alice"),
        "{text}"
    );
}

#[test]
#[should_panic(expected = "deadlock: nothing can ever happen any more")]
fn a_deadlock_panics_in_block_on() {
    Sim::new(1).block_on(std::future::pending::<()>());
}

#[test]
fn a_timer_at_the_end_of_time_does_not_hide_a_deadlock() {
    let sim = Sim::new(1);
    let rt = sim.host("a").rt();
    let stuck = sim.try_block_on(rt.sleep_until(Instant::FAR_FUTURE));
    assert!(matches!(stuck, Err(Stuck::Deadlock(_))));
}

#[test]
fn a_task_that_wakes_itself_for_ever_is_named() {
    let mut config = Config::default();
    config.polls_per_instant = NonZeroU32::new(1000).unwrap();
    let sim = Sim::with_config(1, config);
    let host = sim.host("alice");
    host.spawn(
        "hamster",
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }),
    );
    let stuck = sim.try_block_on(sleep(&host, SEC)).unwrap_err();
    let Stuck::Runaway { task, report } = stuck else {
        panic!("{stuck}");
    };
    assert_eq!(task, "task hamster of host alice");
    assert_eq!((report.seed, report.at), (1, Instant::ZERO));
}

#[test]
fn a_future_that_is_never_done_while_things_go_on_is_an_error() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let ticker = host.clone();
    host.spawn("ticker", async move {
        loop {
            sleep(&ticker, 15 * SEC).await;
        }
    });
    let stuck = sim.try_block_on(std::future::pending::<()>()).unwrap_err();
    let text = stuck.to_string();
    assert!(text.contains("not done after 3600s"), "{text}");
    assert!(text.contains("setting: patience"), "{text}");
    assert!(text.contains("ticker of host a"), "{text}");
}

#[test]
fn run_for_lets_exactly_this_time_pass() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let ticks = Arc::new(AtomicUsize::new(0));
    let (count, ticker) = (ticks.clone(), host.clone());
    host.spawn("ticker", async move {
        loop {
            sleep(&ticker, 100 * MS).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    sim.run_for(SEC);
    assert_eq!(ticks.load(Ordering::Relaxed), 10);
    sim.run_for(50 * MS);
    assert_eq!(sim.now(), Instant::ZERO + 1050 * MS);
}

#[test]
fn dropping_a_simulation_drops_its_tasks() {
    let alive = Arc::new(());
    let sim = Sim::new(1);
    let host = sim.host("a");
    let held = alive.clone();
    let rt = host.rt();
    host.spawn("holds", async move {
        sleep_with(rt, held).await;
    });
    sim.run_for(SEC);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(sim);
    assert_eq!(Arc::strong_count(&alive), 1);
}

async fn sleep_with(rt: p2p_core::Rt, _held: Arc<()>) {
    rt.sleep(1000 * SEC).await;
}

#[test]
#[should_panic(expected = "the simulation runs already")]
fn block_on_inside_of_block_on_is_refused() {
    let sim = Sim::new(1);
    sim.block_on(async { sim.block_on(async {}) });
}

#[test]
fn wakers_of_an_earlier_block_on_do_no_harm() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let kept = Mutex::new(None);
    sim.block_on(async {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        *kept.lock().unwrap() = Some(waker);
    });
    kept.lock().unwrap().take().unwrap().wake();
    assert_eq!(time(&sim, sleep(&host, SEC)).1, SEC);
}

#[test]
fn the_unix_clock_can_be_wrong_and_the_monotonic_one_cannot() {
    let sim = Sim::new(1);
    let (right, fast, slow) = (sim.host("right"), sim.host("fast"), sim.host("slow"));
    fast.clock_ahead(90 * SEC);
    slow.clock_behind(3 * SEC);
    sim.run_for(5 * SEC);
    let truth = right.rt().unix_time();
    assert_eq!(truth, Duration::from_secs(1_767_225_605));
    assert_eq!(fast.rt().unix_time(), truth + 90 * SEC);
    assert_eq!(slow.rt().unix_time(), truth - 3 * SEC);
    assert_eq!(fast.rt().now(), slow.rt().now());
}

#[test]
fn each_host_has_its_own_randomness_from_the_seed_and_its_name() {
    let draw = |seed, names: &[&str], host: &str| {
        let sim = Sim::new(seed);
        for name in names {
            sim.host(name);
        }
        sim.find_host(host).unwrap().rt().random::<32>()
    };
    let alice = draw(1, &["alice", "bob"], "alice");
    assert_eq!(alice, draw(1, &["bob", "carol", "alice"], "alice"));
    assert_ne!(alice, draw(1, &["alice", "bob"], "bob"));
    assert_ne!(alice, draw(2, &["alice"], "alice"));
}

#[test]
fn a_task_can_be_woken_while_it_runs_and_while_another_does() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let (mut turns, mut others) = (0, 0);
    sim.block_on(join(
        poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns < 5 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        }),
        async {
            for _ in 0..5 {
                sleep(&host, MS).await;
                others += 1;
            }
        },
    ));
    assert_eq!(others, 5);
    assert!(turns >= 5);
}
