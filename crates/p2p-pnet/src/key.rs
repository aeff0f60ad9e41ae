//! The key of a private network, and its file.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use salsa20::Salsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use sha3::Shake128;
use sha3::digest::{ExtendableOutput, Update, XofReader};
use zeroize::Zeroizing;

/// The first line of a key file.
const HEADER: &str = "/key/swarm/psk/1.0.0/";
/// The longest name of an encoding that an error shows, in bytes.
const LONGEST_NAME: usize = 16;

/// The key that all members of a private network share.
///
/// Reads the key files of other implementations: three lines, `/key/swarm/psk/1.0.0/`,
/// `/base16/` or `/base64/`, and the key. Shown as its [fingerprint](PreSharedKey::fingerprint),
/// never as itself.
#[derive(Clone)]
pub struct PreSharedKey(Zeroizing<[u8; 32]>);

/// Why a text is not a key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The second line names an unknown encoding.
    #[error("line 2 of the key file: {found:?} is not /base16/, /base64/ or /bin/")]
    Encoding {
        /// The line.
        found: String,
    },
    /// The first line is not the one of a key file.
    #[error("line 1 of the key file: not {HEADER}")]
    Header,
    /// The third line is not 32 bytes in the encoding that the second one names.
    #[error("line 3 of the key file: not 32 bytes in the encoding of line 2")]
    Key,
    /// The second line is no name of an encoding. It is not shown: where the name was left out, the
    /// key stands there.
    #[error("line 2 of the key file does not name an encoding: /base16/, /base64/ or /bin/")]
    NoEncoding,
}

impl KeyError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> p2p_core::Blame {
        p2p_core::Blame::Us
    }
}

impl PreSharedKey {
    /// The key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key file, which may hold the key as raw bytes (`/bin/`).
    ///
    /// # Errors
    /// [`KeyError`] says which line is wrong.
    pub fn from_file(file: &[u8]) -> Result<Self, KeyError> {
        let (header, rest) = line(file).ok_or(KeyError::Header)?;
        if header != HEADER.as_bytes() {
            return Err(KeyError::Header);
        }
        let (encoding, key) = line(rest).unwrap_or((rest, &[]));
        let text = key.trim_ascii();
        let bytes = match encoding {
            b"/base16/" => HEXLOWER_PERMISSIVE.decode(text).ok(),
            b"/base64/" => BASE64.decode(text).ok(),
            b"/bin/" => key.get(..32).map(<[u8]>::to_vec),
            other => return Err(unknown(other)),
        };
        let bytes = Zeroizing::new(bytes.ok_or(KeyError::Key)?);
        let key = bytes.as_slice().try_into().map_err(|_| KeyError::Key)?;
        Ok(Self::new(key))
    }

    /// The text of a key file with this key.
    pub fn to_file(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(HEXLOWER.encode(&*self.0));
        Zeroizing::new(format!("{HEADER}\n/base16/\n{}\n", *key))
    }

    /// What tells networks apart without telling the key: 32 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut stream = Zeroizing::new([0; 64]);
        Salsa20::new((&*self.0).into(), b"finprint".into()).apply_keystream(&mut *stream);
        let mut hash = Shake128::default();
        hash.update(&*stream);
        let mut fingerprint = [0; 16];
        hash.finalize_xof().read(&mut fingerprint);
        HEXLOWER.encode(&fingerprint)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PreSharedKey {
    type Err = KeyError;

    fn from_str(file: &str) -> Result<Self, KeyError> {
        Self::from_file(file.as_bytes())
    }
}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreSharedKey({})", self.fingerprint())
    }
}

/// What is wrong with a second line. Only what looks like a name is told on: a key must not get
/// into a log.
fn unknown(line: &[u8]) -> KeyError {
    let name = str::from_utf8(line).ok();
    let name = name.and_then(|line| line.strip_prefix('/')?.strip_suffix('/'));
    match name {
        Some(name) if name.len() <= LONGEST_NAME => KeyError::Encoding {
            found: format!("/{name}/"),
        },
        Some(_) | None => KeyError::NoEncoding,
    }
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}
