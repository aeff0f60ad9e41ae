//! How connections end, and who hears of it.

use std::sync::Arc;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Budget, ConnectionEnd, OpenError, Role, Rt};

use super::{CODE, KIB, accept_ends, ended, pass_turns};
use crate::conformance::{Subject, World, pattern, pipe};

/// Bytes written before the connection is closed arrive; then the end does, not an end of file.
pub fn a_close_of_the_connection_delivers_what_was_written(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, mut theirs) = pair.stream().await;
        let bytes = pattern(1, 20 * KIB);
        ours.write_all(&bytes).await.unwrap();
        pair.dialer.muxer.close(CODE);
        assert_eq!(ended(&ours.write_all(b"more").await), "local");

        let mut received = Vec::new();
        let error = theirs.read_to_end(&mut received).await.unwrap_err();
        assert!(ConnectionEnd::of(&error).is_some(), "{error:?}");
        assert!(
            received == bytes,
            "{} bytes of {}",
            received.len(),
            bytes.len()
        );
        let (here, there) = join(pair.dialer.end.clone(), pair.listener.end.clone()).await;
        assert!(matches!(here, ConnectionEnd::Local(CODE)), "{here:?}");
        let told = matches!(there, ConnectionEnd::Remote(CODE) | ConnectionEnd::Eof);
        assert!(told, "{there:?}");
    });
}

/// An orderly end comes to an end although the remote reads nothing and says nothing.
pub fn a_close_of_the_connection_never_hangs(subject: &Subject) {
    let multiplex = subject.normal.clone();
    World::check(&subject.normal, |pair| async move {
        let (mute_end, io) = pipe(100);
        let clock: Rt = Arc::new(pair.clock.clone());
        let muxing = multiplex.start(Box::new(io), Role::Dialer, &clock, &Budget::unlimited());
        let driver = pair.tasks.spawn(muxing.driver);
        let mut stream = muxing.muxer.open().await.unwrap();
        stream.write_all(&[0; 4 * KIB]).await.unwrap();
        muxing.muxer.close(CODE);
        let end = driver.await;
        assert!(matches!(end, ConnectionEnd::Local(CODE)), "{end:?}");
        drop(mute_end);
    });
}

/// A dropped driver ends reads, writes, opens and accepts with `Dropped`.
pub fn a_dropped_driver_ends_everything(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (mut ours, _theirs) = pair.stream().await;
        let accept = pair.tasks.spawn(accept_ends(pair.dialer.muxer.clone()));
        pass_turns(3).await;
        pair.dialer.driver.abort();
        assert_eq!(ended(&ours.read(&mut [0; 9]).await), "dropped");
        assert_eq!(ended(&ours.write(&[0; 9]).await), "dropped");
        assert_eq!(accept.await, "dropped");
        let opened = pair.dialer.muxer.open().await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::Ended(ConnectionEnd::Dropped))),
            "{opened:?}"
        );
        let there = pair.listener.end.clone().await;
        assert!(matches!(there, ConnectionEnd::Eof), "{there:?}");
    });
}

/// A link that fails ends readers, writers, openers and accepters of both sides, with an error.
pub fn a_lost_link_reaches_everybody(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let (ours, mut theirs) = pair.stream().await;
        let (mut reader, mut writer) = ours.split();
        let reader = pair
            .tasks
            .spawn(async move { ended(&reader.read(&mut [0; 9]).await) });
        let writer = pair.tasks.spawn(async move {
            let bytes = vec![0; 64 * KIB];
            loop {
                if let Err(error) = writer.write_all(&bytes).await {
                    return ended::<()>(&Err(error));
                }
            }
        });
        let accept = pair.tasks.spawn(accept_ends(pair.listener.muxer.clone()));
        pass_turns(50).await;
        pair.link.cut();
        assert_eq!(reader.await, "io");
        assert_eq!(writer.await, "io");
        assert_eq!(accept.await, "io");
        let mut received = Vec::new();
        assert_eq!(ended(&theirs.read_to_end(&mut received).await), "io");
        for side in [&pair.dialer, &pair.listener] {
            let end = side.end.clone().await;
            assert!(matches!(end, ConnectionEnd::Io(_)), "{end:?}");
            let opened = side.muxer.open().await.map(|_| ());
            assert!(matches!(opened, Err(OpenError::Ended(_))), "{opened:?}");
        }
    });
}

/// Once the remote has closed the connection, opening and accepting fail.
pub fn an_open_after_the_remote_closed_fails(subject: &Subject) {
    World::check(&subject.normal, |pair| async move {
        let accept = pair.tasks.spawn(accept_ends(pair.dialer.muxer.clone()));
        pass_turns(3).await;
        pair.listener.muxer.close(CODE);
        let opened = pair.listener.muxer.open().await.map(|_| ());
        assert!(matches!(
            opened,
            Err(OpenError::Ended(ConnectionEnd::Local(CODE)))
        ));
        pair.dialer.end.clone().await;
        let opened = pair.dialer.muxer.open().await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::Ended(_) | OpenError::GoneAway)),
            "{opened:?}"
        );
        assert!(["remote", "eof"].contains(&accept.await));
    });
}
