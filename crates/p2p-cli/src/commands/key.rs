//! `p2p key`: makes, shows and converts key files.

use std::path::Path;

use data_encoding::BASE64;
use p2p::keys::{CidBase, KeyType, Keypair, PeerIdExt};

use crate::cli::{Form, Key, KeyConvert, KeyMake, KeyShow, KeyTypeArg};
use crate::failure::Failure;
use crate::keyfile::{self, Held};
use crate::output::{Output, Record, Style};

pub(crate) fn run(output: Output, key: Key) -> Result<(), Failure> {
    match key {
        Key::Make(args) => make(output, &args),
        Key::Show(args) => show(output, &args),
        Key::Convert(args) => convert(output, &args),
    }
}

fn make(output: Output, args: &KeyMake) -> Result<(), Failure> {
    let pair = Keypair::generate(args.key_type.into())
        .map_err(|error| Failure::new("cannot make a key", "key file", error))?;
    let held = Held::Private(pair);
    keyfile::write(&args.file, &held, Form::Protobuf, args.force)?;
    tell(output, "made", &args.file, &held, Form::Protobuf);
    Ok(())
}

fn show(output: Output, args: &KeyShow) -> Result<(), Failure> {
    let (held, form) = keyfile::read(&args.file)?;
    tell(output, "key", &args.file, &held, form);
    Ok(())
}

fn convert(output: Output, args: &KeyConvert) -> Result<(), Failure> {
    let (held, _) = keyfile::read(&args.input)?;
    keyfile::write(&args.output, &held, args.to, args.force)?;
    // On stdout there is the key itself, and nothing else.
    if args.output != Path::new("-") {
        tell(output, "converted", &args.output, &held, args.to);
    }
    Ok(())
}

/// Prints what a key file holds, in both forms; never the secret.
fn tell(output: Output, event: &'static str, file: &Path, held: &Held, form: Form) {
    let public = held.public();
    let peer = public.to_peer_id();
    let half = match held {
        Held::Private(_) => "private",
        Held::Public(_) => "public",
    };
    let key_type = name(public.key_type());
    let form = form_name(form);
    let public_key = BASE64.encode(public.as_protobuf());
    let (base32, base36) = (peer.to_cid(CidBase::Base32), peer.to_cid(CidBase::Base36));

    output.line(output.styled(Style::Bold, file.display()));
    output.field("key", format!("{half}, {key_type}, as {form}"));
    output.field("peer id", peer);
    output.field("  as CID", &base32);
    output.field("  in DNS", &base36);
    output.field("public key", &public_key);
    output.record(
        &Record::new(event)
            .text("file", file.display())
            .text("half", half)
            .text("type", key_type)
            .text("form", form)
            .text("peer_id", peer)
            .text("cid_base32", base32)
            .text("cid_base36", base36)
            .text("public_key_base64", public_key),
    );
}

fn name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Rsa => "rsa",
        KeyType::Ed25519 => "ed25519",
        KeyType::Secp256k1 => "secp256k1",
        KeyType::Ecdsa => "ecdsa",
    }
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Protobuf => "protobuf",
        Form::Base64 => "base64",
        Form::Hex => "hex",
    }
}

impl From<KeyTypeArg> for KeyType {
    fn from(arg: KeyTypeArg) -> Self {
        match arg {
            KeyTypeArg::Ed25519 => Self::Ed25519,
            KeyTypeArg::Secp256k1 => Self::Secp256k1,
            KeyTypeArg::Ecdsa => Self::Ecdsa,
            KeyTypeArg::Rsa => Self::Rsa,
        }
    }
}
