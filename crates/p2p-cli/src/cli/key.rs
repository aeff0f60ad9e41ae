//! Keys and their files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a new key and write it to a file
    ///
    /// The file has the protobuf form that all implementations read. A file that is there
    /// already is kept, unless --force is given.
    #[command(after_help = "\
Examples:
  p2p key make node.key
  p2p key make old-style.key --type rsa --force")]
    Make(KeyMake),

    /// Show type and peer id of a key file, never the secret
    ///
    /// Reads private and public keys, as protobuf bytes or as base64 or hex text of them, and
    /// prints the peer id in every form in use.
    #[command(after_help = "\
Examples:
  p2p key show node.key
  p2p key show --json node.key | jq -r .peer_id")]
    Show(KeyShow),

    /// Write a key in another form
    ///
    /// IN may have any form. Base64 is what the configuration files of other nodes hold
    /// (`Identity.PrivKey` of kubo); protobuf is the form to keep, and what --key reads. The text
    /// forms are as secret as the key.
    #[command(after_help = "\
Examples:
  p2p key convert node.key node.b64 --to base64
  jq -r .Identity.PrivKey ~/.ipfs/config | p2p key convert - node.key --to protobuf")]
    Convert(KeyConvert),
}

#[derive(Debug, Args)]
pub(crate) struct KeyMake {
    /// The file to write
    pub(crate) file: PathBuf,

    /// The algorithm
    #[arg(long = "type", value_enum, default_value_t = KeyTypeArg::Ed25519)]
    pub(crate) key_type: KeyTypeArg,

    /// Replace a file that is there already; its key is lost
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeyShow {
    /// The file to read; - is stdin
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct KeyConvert {
    /// The file to read; - is stdin
    pub(crate) input: PathBuf,

    /// The file to write; - is stdout
    pub(crate) output: PathBuf,

    /// The form to write
    #[arg(long, value_enum)]
    pub(crate) to: Form,

    /// Replace a file that is there already; what it holds is lost
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyTypeArg {
    Ed25519,
    Secp256k1,
    Ecdsa,
    Rsa,
}

/// The form of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The bytes of the protobuf of the peer-ids spec
    Protobuf,
    /// Their base64, with padding
    Base64,
    /// Their hex
    Hex,
}
