//! The address book in a file: [`redb`], an embedded database.
//!
//! ```text
//!   open ── a database ──> use it
//!        └─ damaged ──> moved aside as FILE.damaged, and started fresh
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use p2p_core::PeerId;
use redb::{Database, ReadableTable, TableDefinition, TableError};

use crate::store::{BookStore, StoreError, StoredPeer};

/// Peer ids to records.
const PEERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("peers");

/// Keeps an address book in a file.
pub struct RedbStore {
    db: Database,
    path: PathBuf,
}

/// A [`RedbStore`] that was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The store.
    pub store: RedbStore,
    /// Where the file was moved that was there and could not be read. `None`: it could.
    pub moved_aside: Option<PathBuf>,
}

impl RedbStore {
    /// Opens the database at `path`, made if needed. A file that is no database, or a damaged one,
    /// is moved aside, after an attempt to repair it, and reported; then a fresh one is made.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be opened or made, or another process has it open. It is
    /// left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Opened, StoreError> {
        let path = path.as_ref();
        match Self::try_open(path) {
            Ok(store) => Ok(Opened {
                store,
                moved_aside: None,
            }),
            Err(Failure::Damage(why)) => {
                let aside = set_aside(path)?;
                tracing::error!(path = %path.display(), moved_to = %aside.display(), %why,
                    "the address book is damaged and was moved aside; starting with an empty one");
                let store = Self::try_open(path).map_err(|failure| at(path, &failure))?;
                Ok(Opened {
                    store,
                    moved_aside: Some(aside),
                })
            }
            Err(failure) => Err(at(path, &failure)),
        }
    }

    fn try_open(path: &Path) -> Result<Self, Failure> {
        guarded(|| {
            let mut db = Database::create(path)?;
            // The file is small: a look at all of it is worth a host that starts.
            db.check_integrity()?;
            let store = Self {
                db,
                path: path.to_owned(),
            };
            store.records(&mut |_| {})?;
            Ok(store)
        })
    }

    /// Calls `each` with every record.
    fn records(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), redb::Error> {
        let read = self.db.begin_read()?;
        let table = match read.open_table(PEERS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for record in table.iter()? {
            let (_, value) = record?;
            each(value.value());
        }
        Ok(())
    }

    fn write(&self, changes: &BTreeMap<PeerId, Option<StoredPeer>>) -> Result<(), redb::Error> {
        let write = self.db.begin_write()?;
        {
            let mut table = write.open_table(PEERS)?;
            for (peer, stored) in changes {
                let key = peer.to_bytes();
                match stored {
                    Some(stored) => table.insert(key.as_slice(), stored.encode().as_slice())?,
                    None => table.remove(key.as_slice())?,
                };
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl BookStore for RedbStore {
    fn load(&self, max: usize) -> Result<Vec<StoredPeer>, StoreError> {
        let mut peers = Vec::new();
        let mut damaged = 0;
        let mut each = |value: &[u8]| match StoredPeer::decode(value) {
            Ok(peer) => {
                peers.push(peer);
                // There may be more than are wanted, and than should be held at once.
                if peers.len() / 2 > max {
                    keep_newest(&mut peers, max);
                }
            }
            Err(_) => damaged += 1,
        };
        let read = guarded(|| self.records(&mut each));
        read.map_err(|failure| at(&self.path, &failure))?;
        keep_newest(&mut peers, max);
        if damaged > 0 {
            tracing::warn!(
                damaged,
                "records of the address book cannot be read and are ignored"
            );
        }
        Ok(peers)
    }

    fn save(&self, changes: &BTreeMap<PeerId, Option<StoredPeer>>) -> Result<(), StoreError> {
        let written = guarded(|| self.write(changes));
        written.map_err(|failure| at(&self.path, &failure))
    }
}

/// Keeps the `max` whose addresses expire last, in that order.
fn keep_newest(peers: &mut Vec<StoredPeer>, max: usize) {
    peers.sort_by_cached_key(|peer| {
        let expire = peer.addrs.iter().map(|one| one.expires.unwrap_or(u64::MAX));
        expire.max()
    });
    peers.drain(..peers.len().saturating_sub(max));
}

/// Why the database could not be used.
enum Failure {
    /// Its contents are at fault.
    Damage(String),
    /// The disk, or another process.
    Other(redb::Error),
}

/// Runs `work`. The database asserts what it believes of its file: a damaged one makes it panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) if is_damage(&error) => Err(Failure::Damage(error.to_string())),
        Ok(Err(error)) => Err(Failure::Other(error)),
        Err(_) => Err(Failure::Damage("its structure makes no sense".to_owned())),
    }
}

fn at(path: &Path, failure: &Failure) -> StoreError {
    let path = path.display();
    match failure {
        Failure::Damage(why) => StoreError(format!("{path} is damaged: {why}")),
        Failure::Other(error) => StoreError(format!("{path}: {error}")),
    }
}

/// Whether the contents are at fault, rather than the disk or another process.
fn is_damage(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    if let redb::Error::Io(error) = error {
        return matches!(error.kind(), InvalidData | UnexpectedEof);
    }
    matches!(
        error,
        redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
    )
}

/// Renames the file to the first free name of `FILE.damaged`, `FILE.damaged-2`, …
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let failed = |text: String| StoreError(format!("{}: damaged, and {text}", path.display()));
    for n in 1..=MAX_ASIDE {
        let mut name = path.as_os_str().to_owned();
        name.push(".damaged");
        if n > 1 {
            name.push(format!("-{n}"));
        }
        let aside = PathBuf::from(name);
        if !aside.exists() {
            fs::rename(path, &aside).map_err(|error| failed(error.to_string()))?;
            return Ok(aside);
        }
    }
    Err(failed(format!("{MAX_ASIDE} damaged ones lie beside it")))
}

/// Damaged files kept: whoever has more should look into it.
const MAX_ASIDE: usize = 100;

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedbStore at {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_names_the_file_and_the_way_out() {
        let path = Path::new("/var/lib/node/book.redb");
        let no_space = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let says = |failure: Failure| at(path, &failure).to_string();
        assert_eq!(
            says(Failure::Other(redb::Error::Io(no_space))),
            "address book: /var/lib/node/book.redb: I/O error: no storage space"
        );
        assert_eq!(
            says(Failure::Other(redb::Error::DatabaseAlreadyOpen)),
            "address book: /var/lib/node/book.redb: Database already open. Cannot acquire lock."
        );
        assert_eq!(
            says(Failure::Damage("its structure makes no sense".to_owned())),
            "address book: /var/lib/node/book.redb is damaged: its structure makes no sense"
        );
    }
}
