//! Key files: the protobuf form of a private key, readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{DecodeKeyError, Keypair, LoadError, PublicKey, SaveError};

impl Keypair {
    /// Reads a key file. Blocks for one small read.
    ///
    /// # Errors
    /// [`LoadError`] says whether it could not be read, or what else it holds.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = read(path).map_err(|source| LoadError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_protobuf(&bytes).map_err(|source| {
            let path = path.to_owned();
            match source {
                _ if PublicKey::from_protobuf(&bytes).is_ok() => LoadError::PublicKey { path },
                DecodeKeyError::UnknownType(_) | DecodeKeyError::Disabled(_) => {
                    LoadError::WrongType { path, source }
                }
                DecodeKeyError::Invalid { .. }
                | DecodeKeyError::NotAKey
                | DecodeKeyError::RsaSize { .. }
                | DecodeKeyError::TooLong { .. } => LoadError::NotAKeyFile { path, source },
            }
        })
    }

    /// Writes a new key file, which only its owner can read (mode 0600 on Unix). Blocks until it
    /// is on the disk.
    ///
    /// # Errors
    /// [`SaveError::Exists`] if there is a file already; nothing is ever overwritten.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let path = path.as_ref();
        write_new(path, &self.to_protobuf()).map_err(|source| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::AlreadyExists {
                SaveError::Exists { path }
            } else {
                SaveError::Io { path, source }
            }
        })
    }

    /// The same as [`Keypair::save`], but replaces a file that is there, in one step: a reader
    /// finds the old key or the new one.
    ///
    /// # Errors
    /// [`SaveError::Io`]; the old file is unchanged.
    pub fn save_replacing(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        let path = path.as_ref();
        replace(path, &self.to_protobuf()).map_err(|source| SaveError::Io {
            path: path.to_owned(),
            source,
        })
    }
}

/// Everything in a file, but never more than a little above the longest key.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = Keypair::MAX_PROTOBUF_LEN + 1;
    // Twice the room, so that reading never moves the secret and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * limit));
    File::open(path)?
        .take(limit as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file that was not there; on failure there is none afterwards.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path)?;
    write_new(&beside, bytes)?;
    let replaced = fs::rename(&beside, path);
    if replaced.is_err() {
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(format!(".{:016x}.new", u64::from_be_bytes(random)));
    Ok(path.with_file_name(name))
}
