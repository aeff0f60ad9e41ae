//! What becomes of the files of sockets.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use futures::future::{join, join_all};
use futures::io::AsyncReadExt;
use p2p_core::{Blame, Link, Listener, Transport, TransportError};
use p2p_runtime::{AsyncStd, block_on};
use p2p_unix::{Config, Unix, addr, parse};

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("p2p-unix-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("node.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unix() -> Unix {
    Unix::new(AsyncStd::new(), Config::default())
}

async fn listen(path: &Path) -> Result<Box<dyn Listener>, TransportError> {
    unix().listen(addr(path).unwrap()).await
}

#[test]
fn what_a_killed_process_left_is_taken_away() {
    let directory = Directory::new("left");
    // The standard library's listener leaves its file behind.
    drop(UnixListener::bind(directory.file()).unwrap());
    assert!(directory.file().exists());
    block_on(async {
        let mut listener = listen(&directory.file()).await.unwrap();
        let to = listener.addrs().remove(0);
        let (dialed, accepted) = join(unix().dial(to, None), listener.accept()).await;
        dialed.unwrap();
        accepted.unwrap();
    });
    assert!(
        !directory.file().exists(),
        "a listener takes its file along"
    );
}

#[test]
fn a_socket_in_use_and_other_files_are_left_alone() {
    let directory = Directory::new("alone");
    block_on(async {
        let kept = UnixListener::bind(directory.file()).unwrap();
        let error = listen(&directory.file()).await.map(drop).unwrap_err();
        assert_eq!(listen_error(&error), io::ErrorKind::AddrInUse);
        assert_eq!(error.blame(), Blame::Us);
        drop(kept);
        fs::remove_file(directory.file()).unwrap();

        fs::write(directory.file(), "precious").unwrap();
        let error = listen(&directory.file()).await.map(drop).unwrap_err();
        assert_eq!(listen_error(&error), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(directory.file()).unwrap(), b"precious");
    });
}

#[test]
fn a_listener_leaves_the_file_of_its_successor() {
    let directory = Directory::new("successor");
    block_on(async {
        let first = listen(&directory.file()).await.unwrap();
        fs::remove_file(directory.file()).unwrap();
        let _second = listen(&directory.file()).await.unwrap();
        drop(first);
        assert!(directory.file().exists());
    });
}

#[test]
fn errors_name_the_address_and_the_reason() {
    let directory = Directory::new("errors");
    block_on(async {
        let nobody = addr(&directory.file()).unwrap();
        let error = unix().dial(nobody.clone(), None).await.map(drop);
        let Err(TransportError::Connect {
            addr: named,
            source,
        }) = error
        else {
            panic!("connected to nobody");
        };
        assert_eq!((named, source.kind()), (nobody, io::ErrorKind::NotFound));

        let long = directory.0.join("x".repeat(200));
        let error = listen(&long).await.map(drop).unwrap_err();
        assert_eq!(listen_error(&error), io::ErrorKind::InvalidInput);
        let nowhere = directory.0.join("nowhere/node.sock");
        let error = listen(&nowhere).await.map(drop).unwrap_err();
        assert_eq!(listen_error(&error), io::ErrorKind::NotFound);
    });
}

#[test]
fn dialers_wait_for_a_listener_without_room() {
    let directory = Directory::new("room");
    block_on(async {
        let mut config = Config::default();
        config.backlog = 1;
        let unix = Unix::new(AsyncStd::new(), config);
        let mut listener = unix.listen(addr(&directory.file()).unwrap()).await.unwrap();
        let to = listener.addrs().remove(0);
        let dials = join_all((0..10).map(|_| unix.dial(to.clone(), None)));
        let accept = async {
            for _ in 0..10 {
                drop(listener.accept().await.unwrap().link.await.unwrap());
            }
        };
        let (dialed, ()) = join(dials, accept).await;
        for dialed in dialed {
            let Link::Raw(mut io) = dialed.unwrap().link else {
                panic!("bytes only");
            };
            assert_eq!(io.read(&mut [0; 1]).await.unwrap(), 0);
        }
    });
}

#[test]
fn an_address_from_text_leads_to_the_same_socket() {
    let directory = Directory::new("text");
    block_on(async {
        let mut listener = listen(&directory.file()).await.unwrap();
        let text = format!("/unix{}", directory.file().display());
        let (dialed, accepted) =
            join(unix().dial(parse(&text).unwrap(), None), listener.accept()).await;
        dialed.unwrap();
        assert_eq!(accepted.unwrap().local, listener.addrs().remove(0));
    });
}

fn listen_error(error: &TransportError) -> io::ErrorKind {
    let TransportError::Listen { source, .. } = error else {
        panic!("not a Listen error: {error}");
    };
    source.kind()
}
