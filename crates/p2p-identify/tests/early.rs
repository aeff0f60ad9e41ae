//! Who has a connection before identify has heard of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::{keys, listen, patient, sim};
use futures::FutureExt;
use p2p_core::ErrorCode;
use p2p_identify::{Config, Identify, IdentifyError, IdentifyInfo};

type Seen = Arc<Mutex<Vec<Result<IdentifyInfo, IdentifyError>>>>;

#[test]
fn whoever_has_a_new_connection_first_waits_for_its_peer_to_be_identified() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let _ib = Identify::new(&b, keys(2), Config::default()).unwrap();
    let (service, seen) = (Arc::new(OnceLock::<Identify>::new()), Seen::default());
    // Watchers run in the order in which they came: this one before that of identify.
    let (early, heard) = (Arc::clone(&service), Arc::clone(&seen));
    a.watch_connections("early", move |connection| {
        let (identify, heard) = (early.get().unwrap().clone(), Arc::clone(&heard));
        let mut waiting = async move { identify.identified(&connection.upgrade()).await }.boxed();
        let at_once = (&mut waiting).now_or_never();
        async move {
            let result = match at_once {
                Some(result) => result,
                None => waiting.await,
            };
            heard.lock().unwrap().push(result);
        }
    });
    let ia = Identify::new(&a, keys(1), Config::default()).unwrap();
    service.set(ia.clone()).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let info = ia.identified(&connection).await.unwrap();
        a.rt().sleep(Duration::from_secs(1)).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(
            matches!(&seen[..], [Ok(early)] if *early == info),
            "{seen:?}"
        );

        connection.close(ErrorCode::NONE);
        connection.ended().await;
        a.rt().sleep(Duration::from_secs(1)).await;
        let error = ia.identified(&connection).await.unwrap_err();
        assert!(matches!(error, IdentifyError::Ended), "{error}");
    });
}
