//! Listening sockets and their files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures::future::{BoxFuture, FutureExt, ready};
use p2p_core::multiaddr_parts::Part;
use p2p_core::{Incoming, Link, Listener, Multiaddr, UnixListener};

use crate::Unix;

impl Unix {
    pub(crate) async fn bind(&self, path: PathBuf) -> io::Result<Listening> {
        let path = match path.to_string_lossy().ends_with('/') {
            false => path,
            true => path.join(self.free_name()),
        };
        let socket = match self.listen_at(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !self.take_away(&path).await? {
                    return Err(error);
                }
                self.listen_at(&path)?
            }
            done => done?,
        };
        let at = Part::Unix(path.to_string_lossy().into_owned().into());
        Ok(Listening {
            socket,
            at: at.into(),
            _file: File::new(path),
        })
    }

    fn listen_at(&self, path: &Path) -> io::Result<Box<dyn UnixListener>> {
        self.rt.net().unix_listen(path, self.config.backlog)
    }

    /// Removes the socket at `path` if nobody listens on it any more; false if somebody does.
    ///
    /// Between a look and a removal another starter may have done both and listen there by now. So
    /// what is there is moved aside first, where nobody puts another one, and looked at once more.
    async fn take_away(&self, path: &Path) -> io::Result<bool> {
        if !self.is_left_over(path).await {
            return Ok(false);
        }
        // Short: the path of a socket is.
        let aside = u32::from_be_bytes(self.rt.random());
        let aside = path.with_file_name(format!("~{aside:08x}"));
        match fs::rename(path, &aside) {
            // Somebody else has taken it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            done => done?,
        }
        let was_left = self.is_left_over(&aside).await;
        if !was_left {
            // Fails if a third one listens there by now, which then stays.
            let _ = fs::hard_link(&aside, path);
        }
        fs::remove_file(&aside)?;
        Ok(was_left)
    }

    /// Whether `path` is a socket that nobody listens on any more.
    async fn is_left_over(&self, path: &Path) -> bool {
        let is_socket = fs::symlink_metadata(path).is_ok_and(|found| is_socket(&found));
        if !is_socket {
            return false;
        }
        let connected = self.rt.net().unix_connect(path).await;
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    fn free_name(&self) -> String {
        let random = u64::from_be_bytes(self.rt.random());
        format!("p2p-{random:016x}.sock")
    }
}

pub(crate) struct Listening {
    socket: Box<dyn UnixListener>,
    at: Multiaddr,
    _file: File,
}

impl Listener for Listening {
    fn addrs(&self) -> Vec<Multiaddr> {
        vec![self.at.clone()]
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>> {
        async {
            loop {
                match self.socket.accept().await {
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => return Err(error),
                    Ok(io) => {
                        return Ok(Incoming {
                            remote: self.at.clone(),
                            local: self.at.clone(),
                            link: ready(Ok(Link::Raw(io))).boxed(),
                        });
                    }
                }
            }
        }
        .boxed()
    }
}

/// Whether a connection ended before it was accepted: nothing to wait for, the next may be fine.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// The file of a listener, removed when that is dropped.
struct File {
    path: PathBuf,
    /// Which file it is: by then another one may have the path.
    id: Option<(u64, u64)>,
}

impl File {
    fn new(path: PathBuf) -> Self {
        let id = id(&path);
        Self { path, id }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.id.is_some() && id(&self.path) == self.id {
            // Left behind at worst, for the next one to take away.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(unix)]
fn is_socket(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
}

#[cfg(not(unix))]
fn id(_: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(not(unix))]
fn is_socket(_: &fs::Metadata) -> bool {
    false
}
