//! The multiaddr vectors of go-multiaddr, rust-multiaddr and the spec, held against the crate
//! whose `Multiaddr` we re-export.
//!
//! Where the crate does not follow a vector, the vector stands in one of the lists at the end
//! with the reason. A version of the crate that changes its mind fails the test. Decapsulation
//! is left out: the crate has none, and nothing here needs it.
#![expect(clippy::unwrap_used, reason = "a broken vector file is a failed test")]

use p2p_core::{AddrExt as _, Multiaddr, PeerId};
use serde_json::Value;

#[test]
fn text_and_bytes_convert_into_each_other() {
    for case in list(&vectors()["string_to_bytes"]) {
        let (addr, bytes) = (parse(text(case, "string")).unwrap(), hex(text(case, "hex")));
        assert_eq!(addr.as_ref(), bytes, "{case}");
        let read = Multiaddr::try_from(bytes).unwrap();
        assert_eq!(read.to_string(), text(case, "string"));
    }
}

#[test]
fn valid_text_is_read_and_written_back() {
    let mut refused = 0;
    for key in ["valid_strings", "text_round_trip", "protocol_stack_inputs"] {
        for case in list(&vectors()[key]) {
            let given = text(case, "string");
            let listed = VALID_BUT_REFUSED
                .iter()
                .find(|(_, list)| list.contains(&given));
            let Some(addr) = parse(given) else {
                assert!(listed.is_some(), "refused: {case}");
                refused += 1;
                continue;
            };
            assert_eq!(listed, None, "no longer refused: {case}");
            assert_eq!(addr.to_string(), written(given), "{case}");
            assert_eq!(Multiaddr::try_from(addr.to_vec()).unwrap(), addr, "{case}");
        }
    }
    let listed: usize = VALID_BUT_REFUSED.iter().map(|(_, list)| list.len()).sum();
    assert_eq!(refused, listed, "every deviation was met");
}

#[test]
fn invalid_text_is_refused() {
    let mut accepted = 0;
    for case in list(&vectors()["invalid_strings"]) {
        let given = text(case, "string");
        let listed = INVALID_BUT_ACCEPTED.iter().any(|(_, text)| *text == given);
        assert_eq!(parse(given).is_some(), listed, "{case}");
        accepted += usize::from(listed);
    }
    assert_eq!(accepted, INVALID_BUT_ACCEPTED.len());
}

#[test]
fn bytes_are_read_or_refused() {
    for case in list(&vectors()["valid_bytes"]) {
        let addr = Multiaddr::try_from(hex(text(case, "hex"))).unwrap();
        assert_eq!(parse(&addr.to_string()), Some(addr));
    }
    for case in list(&vectors()["invalid_bytes"]) {
        // The crate takes no bytes for an empty address; whoever reads a list skips those.
        let empty = text(case, "why") == "empty";
        let read = Multiaddr::try_from(hex(text(case, "hex")));
        assert_eq!(read.is_ok(), empty, "{case}");
        assert!(read.is_err() || read.unwrap().is_empty());
    }
}

#[test]
fn old_names_are_read_and_new_ones_written() {
    for case in list(&vectors()["normalised"]) {
        let input = text(case, "input");
        let expected = (!input.ends_with('/')).then(|| text(case, "output").to_owned());
        assert_eq!(parse(input).map(|addr| addr.to_string()), expected);
    }
}

#[test]
fn every_protocol_of_the_table_has_its_name_and_code() {
    let vectors = vectors();
    for case in list(&vectors["protocols"]) {
        let name = text(case, "name");
        let addr = parse(&format!("/{name}{}", sample(name))).unwrap();
        let (code, _) = p2p_core::uvarint::decode(addr.as_ref()).unwrap();
        assert_eq!(code, case["code"].as_u64().unwrap(), "{name}");
        let written = addr.to_string();
        assert_eq!(
            written.split('/').nth(1),
            Some(name.replace("ipfs", "p2p")).as_deref()
        );
    }
}

#[test]
fn addresses_are_lists_of_components() {
    let vectors = vectors();
    for case in list(&vectors["split"]) {
        let parts: Vec<_> = parse(text(case, "string"))
            .unwrap()
            .iter()
            .map(|part| part.to_string())
            .collect();
        let expected: Vec<_> = list(&case["components"])
            .iter()
            .map(|c| c.as_str())
            .collect();
        assert_eq!(
            parts.iter().map(|p| Some(p.as_str())).collect::<Vec<_>>(),
            expected
        );
        let joined: Multiaddr = parts.concat().parse().unwrap();
        assert_eq!(joined.to_string(), text(case, "string"));
    }
    let feature = &vectors["spec_feature"];
    let addr = parse(text(feature, "string")).unwrap();
    assert_eq!(addr.as_ref(), hex(text(feature, "hex")));
    assert_eq!(Some(addr.len() as u64), feature["packed_size"].as_u64());
    for (part, expected) in addr.iter().zip(list(&feature["components"])) {
        assert_eq!(part.to_string(), text(expected, "string"));
        assert_eq!(
            Multiaddr::empty().with(part).to_vec(),
            hex(text(expected, "hex"))
        );
    }
}

#[test]
fn values_are_found_by_name() {
    let vectors = vectors();
    for case in list(&vectors["values"]) {
        let Some(addr) = parse(text(case, "multiaddr")) else {
            // Paths of sockets, see the list.
            assert!(text(case, "multiaddr").contains("/unix/a/b"));
            continue;
        };
        for (name, value) in case["values"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            let component = format!("/{name}/{value}");
            let first = addr.iter().find(|part| part.tag() == name).unwrap();
            assert_eq!(first.to_string(), component.trim_end_matches('/'));
        }
    }
}

#[test]
fn a_peer_is_added_once() {
    let vectors = vectors();
    for case in list(&vectors["with_p2p"]) {
        let addr = parse(text(case, "multiaddr")).unwrap();
        let peer: PeerId = text(case, "peer").parse().unwrap();
        let (result, value) = match addr.clone().with_p2p(peer) {
            Ok(addr) => ("Ok", addr),
            Err(addr) => ("Err", addr),
        };
        assert_eq!(
            (result, value.to_string()),
            (text(case, "result"), text(case, "value").into())
        );
        // Ours does not fail: the last word counts.
        assert_eq!(addr.with_peer(peer).peer(), Some(peer));
        assert_eq!(addr.with_peer(peer).without_peer(), addr.without_peer());
    }
}

/// Valid elsewhere, refused by the crate, and why it does not matter or what to do about it.
const VALID_BUT_REFUSED: &[(&str, &[&str])] = &[
    (
        "peer ids in text are base58 only: convert CIDs before",
        &[
            "/ipfs/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
            "/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
            "/p2p/bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm",
            "/p2p/k51qzi5uqu5dhb6l8spkdx7yxafegfkee5by8h7lmjh2ehc2sgg34z7c15vzqs",
            "/p2p/bafzaajaiaejcalj543iwv2d7pkjt7ykvefrkfu7qjfi6sduakhso4lay6abn2d5u",
            "/ipfs/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234",
            "/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234",
            "/ip4/127.0.0.1/ipfs/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
            "/ip4/127.0.0.1/ipfs/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234",
            "/ip4/127.0.0.1/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
            "/ip4/127.0.0.1/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234",
            "/ip4/127.0.0.1/ipfs/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234/unix/stdio",
            "/ip4/127.0.0.1/p2p/k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7/tcp/1234/unix/stdio",
        ],
    ),
    (
        "a socket path ends at the next slash in the crate: we have no transport for it",
        &[
            "/unix/a/b/c/d/e",
            "/ip4/1.2.3.4/tcp/80/unix/a/b/c/d/e/f",
            "/unix/a/b/c/d",
            "/p2p/QmbHVEEepCi7rn7VL7Exxpd2Ci9NNB6ifvqwhsrbRMgQFP/unix/a/b/c",
        ],
    ),
    (
        "only go accepts a slash at the end",
        &["/ip4/127.0.0.1/tcp/1234/"],
    ),
    (
        "base32 with left-over bits that are not zero: we have no transport for garlic32",
        &["/garlic32/566niximlxdzpanmn4qouucvua3k7neniwss47li5r6ugoertzuqzwassw"],
    ),
];

/// Invalid elsewhere, accepted by the crate, and why that is no danger.
const INVALID_BUT_ACCEPTED: &[(&str, &str)] = &[
    ("an empty zone finds no interface", "/ip6zone/"),
    ("an empty zone finds no interface", "/ip6zone//ip6/fe80::1"),
    ("the empty address: no transport supports it", ""),
    (
        "a stray percent sign stands for itself",
        "/http-path/thisIsMissingAfullByte%f",
    ),
];

/// How the crate writes `given`: with the new name of `ipfs`, and certificate hashes in the
/// canonical base.
fn written(given: &str) -> String {
    given
        .replace("/ipfs/", "/p2p/")
        .replace(
            "b2uaraocy6yrdblb4sfptaddgimjmmpy",
            "u1QEQOFj2IjCsPJFfMAxmQxLGPw",
        )
        .replace(
            "zQmbWTwYGcmdyK9CYfNBcfs9nhZs17a6FQ4Y8oea278xx41",
            "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g",
        )
}

/// A value that the protocol takes, after its slash; nothing for those that take none.
fn sample(name: &str) -> String {
    match name {
        "ip4" => "/1.2.3.4".into(),
        "ip6" => "/::1".into(),
        "ipcidr" => "/24".into(),
        "tcp" | "udp" | "dccp" | "sctp" | "memory" => "/1".into(),
        "dns" | "dns4" | "dns6" | "dnsaddr" | "sni" | "ip6zone" | "unix" | "http-path" => {
            "/a".into()
        }
        "p2p" | "ipfs" => "/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC".into(),
        "onion" => "/aaimaq4ygg2iegci:80".into(),
        "onion3" => "/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234".into(),
        "certhash" => "/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g".into(),
        "garlic32" => "/566niximlxdzpanmn4qouucvua3k7neniwss47li5r6ugoertzuq".into(),
        "garlic64" => format!("/{}", "A".repeat(516)),
        _ => String::new(),
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/multiaddr.json")).unwrap()
}

/// A list; never an empty one, so that a test over it cannot pass by doing nothing.
fn list(value: &Value) -> &[Value] {
    let list = value.as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn parse(text: &str) -> Option<Multiaddr> {
    text.parse().ok()
}
