//! The key commands, by the built binary.
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]

mod support;

use support::{TempDir, p2p};

#[test]
fn keys_of_every_type_are_made_and_shown() {
    let dir = TempDir::new("make");
    for (key_type, start) in [
        ("ed25519", "12D3KooW"),
        ("secp256k1", "16Uiu2HA"),
        ("ecdsa", "Qm"),
        ("rsa", "Qm"),
    ] {
        let file = dir.path(key_type);
        let made = p2p(&["key", "make", &file, "--type", key_type, "--json"]);
        made.assert_exit(0);
        let shown = p2p(&["key", "show", &file, "--json"]);
        shown.assert_exit(0);
        let (made, shown) = (&made.records()[0], &shown.records()[0]);
        assert!(
            made["peer_id"].as_str().unwrap().starts_with(start),
            "{made}"
        );
        assert_eq!(made["type"], key_type);
        for key in [
            "peer_id",
            "cid_base32",
            "cid_base36",
            "public_key_base64",
            "half",
            "form",
        ] {
            assert_eq!(made[key], shown[key], "{key}");
        }
    }
}

#[test]
fn a_key_file_is_not_replaced_unless_forced() {
    let dir = TempDir::new("force");
    let file = dir.path("node.key");
    p2p(&["key", "make", &file]).assert_exit(0);
    let before = std::fs::read(&file).unwrap();
    p2p(&["key", "make", &file]).assert_failed(&format!(
        "error: cannot write {file}\n  \
           step   key file: reading or writing a key\n  \
           cause  File exists (os error N)\n  \
           help   choose another name, or give --force to replace it; what it holds is lost\n"
    ));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    p2p(&["key", "make", &file, "--force"]).assert_exit(0);
    assert_ne!(std::fs::read(&file).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(dir.path("")).unwrap().count(),
        1,
        "nothing stays beside it"
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_a_key_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new("mode");
    let (file, text) = (dir.path("node.key"), dir.path("node.hex"));
    p2p(&["key", "make", &file]).assert_exit(0);
    p2p(&["key", "make", &file, "--force"]).assert_exit(0);
    p2p(&["key", "convert", &file, &text, "--to", "hex"]).assert_exit(0);
    for file in [file, text] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_key_survives_every_conversion() {
    let dir = TempDir::new("convert");
    let (first, back) = (dir.path("first.key"), dir.path("back.key"));
    p2p(&["key", "make", &first]).assert_exit(0);
    for form in ["protobuf", "base64", "hex"] {
        let other = dir.path(form);
        p2p(&["key", "convert", &first, &other, "--to", form]).assert_exit(0);
        let shown = p2p(&["key", "show", &other, "--json"]);
        assert_eq!(shown.records()[0]["form"], form);
        p2p(&[
            "key", "convert", &other, &back, "--to", "protobuf", "--force",
        ])
        .assert_exit(0);
        assert_eq!(
            std::fs::read(&back).unwrap(),
            std::fs::read(&first).unwrap()
        );
    }
}

#[test]
fn on_stdout_there_is_the_key_and_nothing_else() {
    let dir = TempDir::new("stdout");
    let file = dir.path("node.key");
    p2p(&["key", "make", &file]).assert_exit(0);
    let outcome = p2p(&["key", "convert", &file, "-", "--to", "hex"]);
    outcome.assert_exit(0);
    let expected: String = std::fs::read(&file)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(outcome.stdout, format!("{expected}\n"));
}

#[test]
fn showing_a_key_does_not_show_its_secret() {
    let dir = TempDir::new("secret");
    let (file, hex) = (dir.path("node.key"), dir.path("node.hex"));
    p2p(&["key", "make", &file]).assert_exit(0);
    p2p(&["key", "convert", &file, &hex, "--to", "base64"]).assert_exit(0);
    let secret = std::fs::read_to_string(&hex).unwrap();
    for args in [
        &["key", "show", &file][..],
        &["key", "show", &file, "--json"],
        &["-vv", "key", "show", &file],
    ] {
        let outcome = p2p(args);
        outcome.assert_exit(0);
        // The protobuf begins with four bytes that public keys do not have; then the secret.
        assert!(!outcome.stdout.contains(&secret[8..40]), "{outcome:?}");
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn help_and_version_are_answers_and_a_wrong_command_is_not() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["ping", "--help"],
        &["key", "convert", "-h"],
    ] {
        let outcome = p2p(args);
        outcome.assert_exit(0);
        assert_eq!(outcome.stderr, "");
    }
    let help = p2p(&["--help"]).stdout;
    assert!(help.contains("Exit codes:"), "{help}");
    for args in [
        &[][..],
        &["dance"],
        &["ping"],
        &["ping", "--count", "many", "/ip4/127.0.0.1/tcp/1"],
    ] {
        p2p(args).assert_exit(2);
    }
}
