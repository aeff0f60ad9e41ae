//! Measurements over a pipe in memory.

use std::time::Duration;

use futures::future::{join, try_join};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_perf::{Config, Form, Pace, PerfError, Plan, Step, exchange, serve};
use p2p_sim::Sim;
use proptest::prelude::*;

/// A world with a clock of its own, and a pace in it.
fn world(form: Form, write: usize) -> (Sim, Pace) {
    let mut config = Config::default();
    config.form = form;
    config.write = write;
    let sim = Sim::new(1);
    let rt = sim.host("host").rt();
    (sim, Pace { rt, config })
}

proptest! {
    #[test]
    fn both_ends_agree_on_what_was_moved(
        upload in 0u64..200_000,
        download in 0u64..200_000,
        write in 1usize..70_000,
        plain: bool,
    ) {
        let (sim, pace) = world(if plain { Form::Plain } else { Form::Both }, write);
        let plan = Plan { upload, download };
        let (mut near, mut far) = p2p_memory::pipe(10_000);
        let mut steps = Vec::new();
        let ((), moved) = sim.block_on(try_join(
            exchange(&mut near, plan, &pace, |step| steps.push(step)),
            serve(&mut far, &pace),
        )).unwrap();
        prop_assert_eq!(moved, plan);
        let last = if download > 0 { Step::Downloaded(download) } else { Step::UploadDone };
        prop_assert_eq!(steps.last(), Some(&last));
        prop_assert_eq!(steps.contains(&Step::Uploaded(upload)), upload > 0);
    }

    #[test]
    fn whatever_a_client_sends_costs_no_more_than_is_allowed(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        plain: bool,
    ) {
        let (sim, mut pace) = world(if plain { Form::Plain } else { Form::Both }, 1000);
        pace.config.max_bytes = 5000;
        let (mut near, mut far) = p2p_memory::pipe(10_000);
        let client = async {
            near.write_all(&bytes).await.unwrap();
            near.close().await.unwrap();
            let mut got = Vec::new();
            // An error is what the refused get.
            let _ = near.read_to_end(&mut got).await;
            got.len()
        };
        let server = async {
            let served = serve(&mut far, &pace).await;
            drop(far);
            served
        };
        let (got, served) = sim.block_on(join(client, server));
        prop_assert!(got <= 5000);
        if let Ok(plan) = served {
            prop_assert_eq!(plan.download, got as u64);
        }
    }
}

#[test]
fn a_request_for_too_much_is_refused_before_anything_is_sent() {
    let (sim, mut pace) = world(Form::Plain, 1000);
    pace.config.max_bytes = 10;
    let (mut near, mut far) = p2p_memory::pipe(1000);
    let served = sim.block_on(async {
        near.write_all(&11u64.to_be_bytes()).await.unwrap();
        serve(&mut far, &pace).await
    });
    let refused = matches!(
        served,
        Err(PerfError::TooMuch {
            wanted: 11,
            max: 10
        })
    );
    assert!(refused, "{served:?}");
}

#[test]
fn a_server_that_sends_something_else_is_found_out() {
    for sent in [0, 9, 11] {
        let (sim, pace) = world(Form::Plain, 1000);
        let plan = Plan {
            upload: 0,
            download: 10,
        };
        let (mut near, mut far) = p2p_memory::pipe(1000);
        let server = async {
            far.write_all(&vec![0; sent]).await.unwrap();
            far.close().await.unwrap();
        };
        let (got, ()) = sim.block_on(join(exchange(&mut near, plan, &pace, |_| {}), server));
        let found = matches!(got, Err(PerfError::Length { wanted: 10, got }) if got == sent as u64);
        assert!(found, "{sent}: {got:?}");
    }
}

#[test]
fn a_remote_that_does_nothing_is_given_up() {
    let (sim, mut pace) = world(Form::Plain, 1000);
    pace.config.patience = Duration::from_secs(7);
    let (mut near, _far) = p2p_memory::pipe(1000);
    let served = sim.block_on(serve(&mut near, &pace));
    assert!(
        matches!(served, Err(PerfError::Stalled { .. })),
        "{served:?}"
    );
    assert_eq!(sim.now().elapsed_since_start(), Duration::from_secs(7));
}
