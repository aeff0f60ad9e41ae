//! Key files: what is written, what is refused, and with which words.
#![cfg(feature = "secp256k1")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use p2p_keys::{KeyType, Keypair, LoadError, SaveError};

/// A directory of its own for each test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let id = Keypair::generate_ed25519().to_peer_id();
        let path = std::env::temp_dir().join(format!("p2p-keys-{test}-{id}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_kind_of_key_survives_a_file() {
    let dir = Dir::new("survives");
    for key_type in KeyType::ALL {
        let path = dir.0.join(key_type.to_string());
        let keypair = Keypair::generate(key_type).unwrap();
        keypair.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), *keypair.to_protobuf());
        let loaded = Keypair::load(&path).unwrap();
        assert_eq!(loaded.public(), keypair.public());
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_key_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = Dir::new("owner");
    let path = dir.0.join("key");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    Keypair::generate_ed25519().save(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Keypair::generate_ed25519().save_replacing(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_file_is_never_overwritten_unless_asked() {
    let dir = Dir::new("overwritten");
    let path = dir.file("key", b"precious");
    let keypair = Keypair::generate_ed25519();
    let refused = keypair.save(&path).unwrap_err();
    assert!(matches!(refused, SaveError::Exists { .. }));
    assert!(
        refused
            .to_string()
            .ends_with("exists, and is not overwritten")
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    keypair.save_replacing(&path).unwrap();
    assert_eq!(Keypair::load(&path).unwrap().public(), keypair.public());
    assert_eq!(dir.names(), ["key"], "nothing is left beside it");
}

#[test]
fn a_failed_save_leaves_nothing_behind() {
    let dir = Dir::new("failed");
    let keypair = Keypair::generate_ed25519();
    let missing = dir.0.join("no such directory").join("key");
    for result in [keypair.save(&missing), keypair.save_replacing(&missing)] {
        assert!(matches!(result.unwrap_err(), SaveError::Io { .. }));
    }
    fs::create_dir(dir.0.join("directory")).unwrap();
    let refused = keypair.save_replacing(dir.0.join("directory")).unwrap_err();
    assert!(matches!(refused, SaveError::Io { .. }));
    assert_eq!(dir.names(), ["directory"]);
}

#[test]
fn whatever_is_not_a_key_file_is_called_one() {
    let dir = Dir::new("not");
    for content in [
        &b""[..],
        b"-----BEGIN PRIVATE KEY-----\n",
        b"hello",
        &[0; 100],
        &[8; 1_000_000],
        &[8, 1, 0x12, 2, 0, 0],
    ] {
        let path = dir.file("key", content);
        let refused = Keypair::load(&path).unwrap_err();
        assert!(
            matches!(refused, LoadError::NotAKeyFile { .. }),
            "{refused:?}"
        );
        assert!(refused.to_string().ends_with("key is not a key file"));
        assert!(refused.source().is_some());
    }
}

#[test]
fn public_keys_unknown_types_and_missing_files_are_told_apart() {
    let dir = Dir::new("apart");
    for key_type in KeyType::ALL {
        let public = Keypair::generate(key_type).unwrap().public().to_protobuf();
        let refused = Keypair::load(dir.file("public", &public)).unwrap_err();
        assert!(
            matches!(refused, LoadError::PublicKey { .. }),
            "{refused:?}"
        );
    }
    let unknown = dir.file("unknown", &[8, 7, 0x12, 1, 0]);
    let refused = Keypair::load(unknown).unwrap_err();
    assert!(
        matches!(refused, LoadError::WrongType { .. }),
        "{refused:?}"
    );
    for missing in [dir.0.join("missing"), dir.0.clone()] {
        let refused = Keypair::load(missing).unwrap_err();
        assert!(matches!(refused, LoadError::Io { .. }), "{refused:?}");
    }
}
