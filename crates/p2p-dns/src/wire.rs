//! Questions to name servers and their answers.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "records and answer codes are many, and ours are few"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// The longest answer that we ask to get in one datagram, in bytes: fits every path.
const DATAGRAM: u16 = 1232;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Txt,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Records, and how long they hold. May be none.
    Records(Vec<Record>, Duration),
    /// There is no such name.
    NoSuchName,
    /// It did not fit: ask again over TCP.
    Truncated,
    /// It does not want to, or cannot.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Ip(IpAddr),
    Text(String),
}

impl Kind {
    fn code(self) -> TYPE {
        match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Txt => TYPE::TXT,
        }
    }

    /// Its name in errors.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::A => "IPv4 address",
            Self::Aaaa => "IPv6 address",
            Self::Txt => "dnsaddr record",
        }
    }
}

/// A question as a packet. `None`: the name cannot be asked for.
pub(crate) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    let (kind, class) = (QTYPE::TYPE(kind.code()), QCLASS::CLASS(CLASS::IN));
    packet
        .questions
        .push(Question::new(name, kind, class, false));
    *packet.opt_mut() = Some(OPT {
        opt_codes: Vec::new(),
        udp_packet_size: DATAGRAM,
        version: 0,
    });
    packet.build_bytes_vec().ok()
}

/// The answer in a packet. `None`: it is not one to this question.
pub(crate) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    let packet = Packet::parse(bytes).ok()?;
    let asked = packet.questions.first()?;
    let same_name = asked.qname.to_string().eq_ignore_ascii_case(name);
    let same = same_name && asked.qtype == QTYPE::TYPE(kind.code());
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !same {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Answer::Truncated);
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Some(Answer::NoSuchName),
        other => return Some(Answer::Refused(refused(other))),
    }
    let mut records = Vec::new();
    let mut ttl = u32::MAX;
    for answer in packet.answers {
        // Other names are what the one that was asked for is an alias of: the server follows.
        let record = match (kind, answer.rdata) {
            (Kind::A, RData::A(a)) => Record::Ip(Ipv4Addr::from(a.address).into()),
            (Kind::Aaaa, RData::AAAA(aaaa)) => Record::Ip(Ipv6Addr::from(aaaa.address).into()),
            (Kind::Txt, RData::TXT(txt)) => match String::try_from(txt) {
                Ok(text) => Record::Text(text),
                Err(_) => continue,
            },
            _ => continue,
        };
        ttl = ttl.min(answer.ttl);
        records.push(record);
    }
    Some(Answer::Records(records, Duration::from_secs(ttl.into())))
}

/// A code that is no answer, in words.
fn refused(code: RCODE) -> String {
    match code {
        RCODE::FormatError => "it does not understand the question (FORMERR)".to_owned(),
        RCODE::NotImplemented => "it does not answer such questions (NOTIMP)".to_owned(),
        RCODE::Refused => "it refuses to answer (REFUSED)".to_owned(),
        RCODE::ServerFailure => "it failed to find out (SERVFAIL)".to_owned(),
        other => format!("it says {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_question_names_what_it_asks_for_and_is_no_answer() {
        let bytes = question(7, "a.example", Kind::Txt).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.id(), packet.questions.len()), (7, 1));
        assert_eq!(packet.questions[0].qname.to_string(), "a.example");
        assert_eq!(answer(&bytes, 7, "a.example", Kind::Txt), None);
        assert_eq!(question(7, &"a".repeat(64), Kind::A), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = answer(&bytes, 7, "a.example", Kind::Txt);
        }

        /// The header and the question are right, and then nonsense.
        #[test]
        fn an_answer_that_goes_on_with_nonsense_harms_nothing(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            answers in any::<u8>(),
        ) {
            let mut bytes = question(7, "a.example", Kind::Txt).unwrap();
            bytes.truncate(12 + 11 + 4);
            bytes[2] |= 0x80;
            bytes[7] = answers;
            bytes[11] = 0;
            bytes.extend(tail);
            let _ = answer(&bytes, 7, "a.example", Kind::Txt);
        }
    }
}
