//! Key files in every form in use.
//!
//! The protobuf of the peer-ids spec is the standard form; other programs keep its base64 (kubo's
//! and js-ipfs' configuration) or hex. Reading finds out which one it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE,
};
use p2p::keys::Zeroizing;
use p2p::keys::{DecodeKeyError, Keypair, PublicKey};

use crate::cli::Form;
use crate::failure::Failure;

/// The most that is read of a file: twice the longest key, for its hex, and a little white space.
const MAX_FILE: usize = 2 * Keypair::MAX_PROTOBUF_LEN + 64;

/// The step of errors from here.
pub(crate) const STEP: &str = "key file";

/// What a key file holds.
#[derive(Debug)]
pub(crate) enum Held {
    Private(Keypair),
    Public(PublicKey),
}

impl Held {
    pub(crate) fn public(&self) -> &PublicKey {
        match self {
            Self::Private(pair) => pair.public(),
            Self::Public(key) => key,
        }
    }
}

/// Reads a private key in the standard form, for `--key`.
pub(crate) fn load(path: &Path) -> Result<Keypair, Failure> {
    match read(path)? {
        (Held::Private(pair), _) => Ok(pair),
        (Held::Public(_), _) => Err(Failure::new(
            format!("cannot use {} as the key of a node", path.display()),
            STEP,
            "it holds a public key, and a node has to sign",
        )
        .help("give the file of the private key; `p2p key make FILE` makes one")),
    }
}

/// Reads a key in any form; `-` is stdin.
pub(crate) fn read(path: &Path) -> Result<(Held, Form), Failure> {
    let bytes = read_bytes(path).map_err(|error| cannot_read(path, &error))?;
    decode(&bytes).map_err(|error| {
        Failure::new(format!("{} is not a key file", path.display()), STEP, error)
            .tried("the protobuf form, and base64 and hex of it")
            .help("give a file that `p2p key make FILE` or another node made")
    })
}

pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let help = if error.kind() == io::ErrorKind::NotFound {
        "check the name; `p2p key make FILE` makes a key file"
    } else {
        "check that it is a file that you may read"
    };
    Failure::new(format!("cannot read {}", path.display()), STEP, error).help(help)
}

/// Reads a file that may hold a secret; `-` is stdin.
pub(crate) fn read_bytes(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Twice the room, so that reading never moves the secret and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_FILE));
    let limit = MAX_FILE as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<(Held, Form), DecodeKeyError> {
    let error = match decode_protobuf(bytes) {
        Ok(held) => return Ok((held, Form::Protobuf)),
        Err(error) => error,
    };
    let text = bytes.trim_ascii();
    let hex = HEXLOWER_PERMISSIVE.decode(text).map(Zeroizing::new);
    if let Some(held) = hex.ok().and_then(|bytes| decode_protobuf(&bytes).ok()) {
        return Ok((held, Form::Hex));
    }
    for base64 in [BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD] {
        let decoded = base64.decode(text).map(Zeroizing::new);
        if let Some(held) = decoded.ok().and_then(|bytes| decode_protobuf(&bytes).ok()) {
            return Ok((held, Form::Base64));
        }
    }
    Err(error)
}

/// The error is that of the private key: public keys are the exception.
fn decode_protobuf(bytes: &[u8]) -> Result<Held, DecodeKeyError> {
    Keypair::from_protobuf(bytes)
        .map(Held::Private)
        .or_else(|error| {
            PublicKey::from_protobuf(bytes)
                .map(Held::Public)
                .map_err(|_| error)
        })
}

/// Writes a key in some form; `-` is stdout.
pub(crate) fn write(path: &Path, held: &Held, form: Form, force: bool) -> Result<(), Failure> {
    let bytes = encode(held, form);
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        return written.map_err(|error| Failure::new("cannot write to stdout", STEP, error));
    }
    write_file(path, &bytes, force).map_err(|error| cannot_write(path, &error))
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot write {}", path.display()), STEP, error);
    if error.kind() == io::ErrorKind::AlreadyExists {
        failure.help("choose another name, or give --force to replace it; what it holds is lost")
    } else {
        failure.help("check that the directory is there and that you may write to it")
    }
}

fn encode(held: &Held, form: Form) -> Zeroizing<Vec<u8>> {
    let protobuf = match held {
        Held::Private(pair) => pair.to_protobuf(),
        Held::Public(key) => Zeroizing::new(key.to_protobuf().to_vec()),
    };
    let text = |text: String| {
        let mut text = Zeroizing::new(text.into_bytes());
        text.push(b'\n');
        text
    };
    match form {
        Form::Protobuf => protobuf,
        Form::Base64 => text(BASE64.encode(&protobuf)),
        Form::Hex => text(HEXLOWER.encode(&protobuf)),
    }
}

/// Writes a file that only its owner can read. Without `force` there must be none; with it, a
/// reader finds the old one or the new one.
fn write_file(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    if !force {
        return write_new(path, bytes);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&beside);
    write_new(beside, bytes)?;
    std::fs::rename(beside, path).inspect_err(|_| remove(beside))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| remove(path))
}

/// Leaves no half of a secret behind.
fn remove(path: &Path) {
    // Nothing more can be done about it.
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2p::keys::KeyType;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_every_key_is_recognized() {
        for key_type in KeyType::ALL {
            let pair = Keypair::generate(key_type).unwrap();
            for form in [Form::Protobuf, Form::Base64, Form::Hex] {
                let held = Held::Private(pair.clone());
                let (read, found) = decode(&encode(&held, form)).unwrap();
                assert!(matches!(read, Held::Private(_)), "{key_type} {form:?}");
                assert_eq!((read.public(), found), (pair.public(), form));

                let held = Held::Public(pair.public().clone());
                let (read, found) = decode(&encode(&held, form)).unwrap();
                assert!(matches!(read, Held::Public(_)), "{key_type} {form:?}");
                assert_eq!((read.public(), found), (pair.public(), form));
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_reading_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[0-9a-fA-F+/=\n]{0,200}"
        ) {
            let _ = (decode(&bytes), decode(text.as_bytes()));
        }
    }
}
