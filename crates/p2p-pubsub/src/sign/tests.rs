use proptest::prelude::*;

use super::*;
use crate::wire::{message, put_bytes};

fn author(seed: u8) -> Author {
    Author::signing(Keypair::ed25519_from_seed([seed; 32]))
}

fn reread(raw: &[u8]) -> Message {
    let raw = bytes::Bytes::copy_from_slice(raw);
    Message::decode(raw).unwrap().unwrap()
}

#[test]
fn sequence_numbers_rise_even_if_the_clock_jumps_back() {
    let mut author = author(1);
    let mut seqno = |nanos| {
        let message = author
            .write("t".into(), b"", Duration::from_nanos(nanos))
            .unwrap();
        u64::from_be_bytes(message.seqno().unwrap().try_into().unwrap())
    };
    assert_eq!(seqno(1_700_000_000_000_000_000), 1_700_000_000_000_000_000);
    assert_eq!(seqno(1_700_000_000_000_000_000), 1_700_000_000_000_000_001);
    assert_eq!(seqno(5), 1_700_000_000_000_000_002);
}

#[test]
fn an_empty_payload_is_present_and_signed() {
    let message = author(1).write("t".into(), b"", Duration::ZERO).unwrap();
    let view = MessageView::parse(message.raw()).unwrap();
    assert_eq!(view.data, Some(&[][..]));
    assert_eq!(
        SignaturePolicy::StrictSign.verify(&reread(message.raw())),
        Ok(())
    );
}

#[test]
fn a_message_with_its_fields_in_another_order_still_verifies() {
    let message = author(1)
        .write("t".into(), b"data", Duration::ZERO)
        .unwrap();
    let mut shuffled = Vec::new();
    put_bytes(
        &mut shuffled,
        message::SIGNATURE,
        message.signature().unwrap(),
    );
    put_bytes(&mut shuffled, message::TOPIC, b"t");
    put_bytes(&mut shuffled, message::SEQNO, message.seqno().unwrap());
    put_bytes(&mut shuffled, message::DATA, b"data");
    put_bytes(&mut shuffled, message::FROM, message.from().unwrap());
    let shuffled = reread(&shuffled);
    assert_eq!(shuffled.signed_prefix(), None);
    assert_eq!(SignaturePolicy::StrictSign.verify(&shuffled), Ok(()));
}

#[test]
fn unknown_fields_are_covered_by_the_signature() {
    let message = author(1)
        .write("t".into(), b"data", Duration::ZERO)
        .unwrap();
    let mut extended = message.raw().to_vec();
    put_bytes(&mut extended, 9, b"not signed");
    let verdict = SignaturePolicy::StrictSign.verify(&reread(&extended));
    assert_eq!(verdict, Err(SignatureError::Invalid));
}

#[test]
fn a_key_of_somebody_else_is_refused() {
    let message = author(1)
        .write("t".into(), b"data", Duration::ZERO)
        .unwrap();
    let mut raw = message.raw().to_vec();
    let other = Keypair::ed25519_from_seed([2; 32]);
    put_bytes(&mut raw, message::KEY, other.public().as_protobuf());
    let verdict = SignaturePolicy::StrictSign.verify(&reread(&raw));
    assert_eq!(verdict, Err(SignatureError::BadKey));
}

/// CVE-2023-39533: refused by its length, and not as a signature that took long to check.
#[test]
fn a_huge_rsa_key_in_a_message_is_refused_unread() {
    let message = author(1)
        .write("t".into(), b"data", Duration::ZERO)
        .unwrap();
    let mut raw = message.raw().to_vec();
    let mut key = vec![0x08, 0x00];
    put_bytes(&mut key, 2, &[0xff; 16 * 1024]);
    put_bytes(&mut raw, message::KEY, &key);
    let verdict = SignaturePolicy::StrictSign.verify(&reread(&raw));
    assert_eq!(verdict, Err(SignatureError::BadKey));
}

#[test]
fn sequence_numbers_that_are_empty_or_short_are_refused() {
    let from = Keypair::ed25519_from_seed([1; 32]).to_peer_id().to_bytes();
    for seqno in [&[][..], &[0; 7], &[0; 9]] {
        let draft = Draft {
            from: Some(&from),
            data: b"d",
            seqno: Some(seqno),
            signature: Some(&[1; 64]),
            key: None,
        };
        let message = Message::encode("t".into(), &draft);
        let verdict = SignaturePolicy::StrictSign.verify(&message);
        assert_eq!(verdict, Err(SignatureError::BadSeqno), "{seqno:?}");
    }
}

#[test]
fn each_policy_refuses_what_the_other_asks_for() {
    let signed = author(1).write("t".into(), b"d", Duration::ZERO).unwrap();
    let bare = Author::anonymous()
        .write("t".into(), b"d", Duration::ZERO)
        .unwrap();
    assert_eq!(SignaturePolicy::StrictNoSign.verify(&bare), Ok(()));
    assert_eq!(
        SignaturePolicy::StrictNoSign.verify(&signed),
        Err(SignatureError::Unexpected)
    );
    assert_eq!(
        SignaturePolicy::StrictSign.verify(&bare),
        Err(SignatureError::Missing)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_byte_is_never_accepted_as_the_same_author(at: prop::sample::Index, flip in 1u8..) {
        let message = author(1).write("topic".into(), b"payload", Duration::from_nanos(9)).unwrap();
        let mut raw = message.raw().to_vec();
        let at = at.index(raw.len());
        raw[at] ^= flip;
        if let Ok(Some(changed)) = Message::decode(raw.into()) {
            prop_assert!(SignaturePolicy::StrictSign.verify(&changed).is_err());
        }
    }
}

#[test]
fn a_lax_network_takes_unsigned_messages_and_no_wrong_signatures() {
    let keypair = Keypair::ed25519_from_seed([1; 32]);
    let from = keypair.to_peer_id().to_bytes();
    let draft = Draft {
        from: Some(&from),
        data: b"unsigned",
        seqno: Some(&[7; 20]),
        ..Draft::default()
    };
    let unsigned = Message::encode("t".into(), &draft);
    assert_eq!(SignaturePolicy::Lax.verify(&unsigned), Ok(()));
    let signature = Some(&[0; 64][..]);
    let forged = Message::encode("t".into(), &Draft { signature, ..draft });
    let wrong = Err(SignatureError::Invalid);
    assert_eq!(SignaturePolicy::Lax.verify(&forged), wrong);
    let mut author = Author::signing(keypair);
    let signed = author.write("t".into(), b"signed", Duration::from_secs(1));
    assert_eq!(SignaturePolicy::Lax.verify(&signed.unwrap()), Ok(()));
}
