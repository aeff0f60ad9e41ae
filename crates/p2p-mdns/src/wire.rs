//! Questions and answers as bytes.
//!
//! ```text
//!   question   PTR _p2p._udp.local
//!   answer     PTR _p2p._udp.local -> <name>._p2p._udp.local
//!              TXT <name>._p2p._udp.local -> "dnsaddr=<multiaddr>/p2p/<id>", one or more
//!              SRV <name>._p2p._udp.local -> <name>.local and a port
//!              A, AAAA <name>.local -> an IP address, for each of them
//! ```
//!
//! libp2p needs only TXT. The last two lines are for finders that stand on a library for all of
//! DNS-SD, as py-libp2p does: it counts nobody as found whose host has no address.
//!
//! The packets are those of DNS (RFC 1035) by simple-dns; what is in them is libp2p's.
//!
//! Spec: libp2p/specs `discovery/mdns.md`; RFC 6762, RFC 6763.

use std::net::IpAddr;
use std::time::Duration;

use p2p_core::{AddrExt, Multiaddr, PeerId, multiaddr_parts::Part};
use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

/// The question for all kinds of services (RFC 6763, section 9).
const ALL_SERVICES: &str = "_services._dns-sd._udp.local";
/// What stands before an address.
const DNSADDR: &str = "dnsaddr=";
/// The longest text in a TXT record, in bytes.
const MAX_TEXT: usize = 255;
/// The largest packet that we send, in bytes: what every link carries.
const MAX_SENT: usize = 1200;
/// The largest packet that we read, in bytes (RFC 6762, section 17).
const MAX_READ: usize = 9000;
/// IP addresses that one packet tells beside the texts.
const MAX_IPS: usize = 4;
/// Addresses that one packet may hold: more cannot fit.
const MAX_ADDRS: usize = 256;

/// The name of libp2p's service, or of that of a private network.
pub fn service_name(private_network: Option<&str>) -> String {
    match private_network {
        None => "_p2p._udp.local".to_owned(),
        Some(fingerprint) => format!("_p2p-{fingerprint}._udp.local"),
    }
}

/// What a packet of the group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Somebody asks who is there, or about us by name.
    Question,
    /// Somebody asks what kinds of services there are.
    Services,
    /// Somebody is there.
    Answer(Vec<Found>),
}

/// An address that somebody claims for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The peer.
    pub peer: PeerId,
    /// Its address, with `/p2p/<peer>`.
    pub addr: Multiaddr,
    /// How long to remember it. Zero: it is gone.
    pub ttl: Duration,
}

/// Reads a packet. `None`: it is not about `service`, or no packet at all; both are common on a
/// link. `instance` is our name.
pub fn decode(bytes: &[u8], service: &str, instance: &str) -> Option<Message> {
    if bytes.len() > MAX_READ {
        return None;
    }
    let packet = Packet::parse(bytes).ok()?;
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return question(&packet, service, instance);
    }
    let records = packet.answers.iter().chain(&packet.additional_records);
    let mut found = Vec::new();
    for record in records {
        if let RData::TXT(text) = &record.rdata
            && is_instance(&record.name, service)
        {
            let ttl = Duration::from_secs(record.ttl.into());
            found.extend(addrs(text).map(|(peer, addr)| Found { peer, addr, ttl }));
        }
        if found.len() > MAX_ADDRS {
            return None;
        }
    }
    (!found.is_empty()).then_some(Message::Answer(found))
}

/// The question who is there.
pub fn encode_question(service: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    let name = Name::new(service).ok()?;
    let (kind, class) = (QTYPE::TYPE(TYPE::PTR), QCLASS::CLASS(CLASS::IN));
    packet
        .questions
        .push(Question::new(name, kind, class, false));
    packet.build_bytes_vec().ok()
}

/// The answer that `addrs` reach us, in as many packets as it takes. `instance` is our name.
/// Addresses that do not fit a TXT record are left out.
pub fn encode_answers(
    service: &str,
    instance: &str,
    addrs: &[Multiaddr],
    ttl: Duration,
) -> Vec<Vec<u8>> {
    let texts = addrs.iter().map(|addr| (addr, format!("{DNSADDR}{addr}")));
    let texts: Vec<_> = texts.filter(|(_, text)| text.len() <= MAX_TEXT).collect();
    let mut packets = Vec::new();
    let mut rest = texts.as_slice();
    while !rest.is_empty() {
        let mut taken = 0;
        let mut room = MAX_SENT / 2;
        while let Some((_, text)) = rest
            .get(taken)
            .filter(|(_, text)| taken == 0 || text.len() < room)
        {
            room = room.saturating_sub(text.len() + 1);
            taken += 1;
        }
        let (now, later) = rest.split_at(taken);
        packets.extend(encode_answer(service, instance, now, ttl));
        rest = later;
    }
    packets
}

fn encode_answer(
    service: &str,
    instance: &str,
    texts: &[(&Multiaddr, String)],
    ttl: Duration,
) -> Option<Vec<u8>> {
    let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let full = format!("{instance}.{service}");
    let name = Name::new(&full).ok()?;
    let mut packet = reply();
    packet.answers.push(ResourceRecord::new(
        Name::new(service).ok()?,
        CLASS::IN,
        ttl,
        RData::PTR(PTR(name.clone())),
    ));
    let mut record = TXT::new();
    for (_, text) in texts {
        record.add_string(text).ok()?;
    }
    let host = format!("{instance}.local");
    let host = Name::new(&host).ok()?;
    let addrs: Vec<_> = texts.iter().map(|(addr, _)| *addr).collect();
    let mut tell = |name: &Name<'_>, what| {
        let record = ResourceRecord::new(name.clone().into_owned(), CLASS::IN, ttl, what);
        packet.additional_records.push(record);
    };
    tell(&name, RData::TXT(record.into_owned()));
    tell(&name, RData::SRV(srv(&host, &addrs)));
    ips(&addrs).for_each(|ip| tell(&host, ip));
    packet.build_bytes_vec().ok()
}

/// Where a host is, with the port of its first address that has one.
fn srv(host: &Name<'_>, addrs: &[&Multiaddr]) -> SRV<'static> {
    let port = addrs.iter().flat_map(|addr| addr.iter()).find_map(port);
    SRV {
        priority: 0,
        weight: 0,
        port: port.unwrap_or_default(),
        target: host.clone().into_owned(),
    }
}

fn port(part: Part<'_>) -> Option<u16> {
    if let Part::Tcp(port) | Part::Udp(port) = part {
        Some(port)
    } else {
        None
    }
}

/// The first few IP addresses, each once.
fn ips(addrs: &[&Multiaddr]) -> impl Iterator<Item = RData<'static>> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in addrs.iter().filter_map(|addr| addr.ip()) {
        if !ips.contains(&ip) && ips.len() < MAX_IPS {
            ips.push(ip);
        }
    }
    ips.into_iter().map(|ip| match ip {
        IpAddr::V4(ip) => RData::A(A::from(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA::from(ip)),
    })
}

/// The answer that there is our kind of service.
pub fn encode_services(service: &str, ttl: Duration) -> Option<Vec<u8>> {
    let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let mut packet = reply();
    packet.answers.push(ResourceRecord::new(
        Name::new(ALL_SERVICES).ok()?,
        CLASS::IN,
        ttl,
        RData::PTR(PTR(Name::new(service).ok()?)),
    ));
    packet.build_bytes_vec().ok()
}

fn reply() -> Packet<'static> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet
}

/// What a packet asks; who is there before all else.
fn question(packet: &Packet<'_>, service: &str, instance: &str) -> Option<Message> {
    let mut services = None;
    for question in &packet.questions {
        let name = question.qname.to_string();
        let pointers = matches!(question.qtype, QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY);
        // One answer tells all that there is to be asked of us, whatever the type.
        if pointers && is(&name, service) || is_ours(&name, service, instance) {
            return Some(Message::Question);
        }
        if pointers && is(&name, ALL_SERVICES) {
            services = Some(Message::Services);
        }
    }
    services
}

/// Whether it is the name of our instance, or of the host that it is on.
fn is_ours(name: &str, service: &str, instance: &str) -> bool {
    name.split_once('.').is_some_and(|(first, behind)| {
        is(first, instance) && (is(behind, service) || is(behind, "local"))
    })
}

/// Names of DNS are equal whatever their case.
fn is(name: &str, expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected)
}

fn is_instance(name: &Name<'_>, service: &str) -> bool {
    let name = name.to_string();
    let (_, behind) = name.split_once('.').unwrap_or_default();
    is(behind, service)
}

/// The addresses in a TXT record that say whose they are. Others are not for us.
fn addrs(text: &TXT<'_>) -> impl Iterator<Item = (PeerId, Multiaddr)> {
    let texts: Vec<_> = text
        .iter_raw()
        .filter(|(key, _)| key.eq_ignore_ascii_case(b"dnsaddr"))
        .filter_map(|(_, value)| {
            let addr: Multiaddr = std::str::from_utf8(value?).ok()?.parse().ok()?;
            Some((addr.peer()?, addr))
        })
        .collect();
    texts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const TTL: Duration = Duration::from_secs(360);
    const US: &str = "us";

    fn addr(n: usize) -> Multiaddr {
        format!(
            "/ip4/10.0.{}.{}/udp/4001/quic-v1/p2p/{PEER}",
            n / 256,
            n % 256
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn a_question_is_the_one_of_the_spec_and_comes_back() {
        let service = service_name(None);
        let bytes = encode_question(&service).unwrap();
        let mut expected = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        expected.extend(b"\x04_p2p\x04_udp\x05local\x00\x00\x0c\x00\x01");
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes, &service, US), Some(Message::Question));
        assert_eq!(decode(&bytes, "_p2p-00ff._udp.local", US), None);
    }

    #[test]
    fn the_question_for_services_is_known_and_answered() {
        let bytes = encode_question(ALL_SERVICES).unwrap();
        let service = service_name(None);
        assert_eq!(decode(&bytes, &service, US), Some(Message::Services));
        let answer = encode_services(&service, TTL).unwrap();
        let packet = Packet::parse(&answer).unwrap();
        let RData::PTR(pointer) = &packet.answers[0].rdata else {
            panic!("not a pointer")
        };
        assert!(is(&pointer.0.to_string(), &service));
        assert_eq!(decode(&answer, &service, US), None, "names no peer");
    }

    /// A question for `name`, as others ask it: with the bit that wants the answer for itself alone.
    fn asks(names: &[(&str, TYPE)]) -> Vec<u8> {
        let mut packet = Packet::new_query(0);
        for (name, kind) in names {
            let name = Name::new(name).unwrap();
            let (kind, class) = (QTYPE::TYPE(*kind), QCLASS::CLASS(CLASS::IN));
            packet
                .questions
                .push(Question::new(name, kind, class, true));
        }
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn whoever_asks_about_us_by_name_asks_us_and_nobody_else() {
        let service = service_name(None);
        let decode = |names: &[_]| decode(&asks(names), &service, US);
        for kind in [TYPE::SRV, TYPE::TXT] {
            let asked = decode(&[("Us._p2p._udp.local", kind)]);
            assert_eq!(asked, Some(Message::Question));
            assert_eq!(decode(&[("them._p2p._udp.local", kind)]), None);
            assert_eq!(decode(&[("us._p2p-00ff._udp.local", kind)]), None);
        }
        for kind in [TYPE::A, TYPE::AAAA] {
            assert_eq!(decode(&[("us.local", kind)]), Some(Message::Question));
            assert_eq!(decode(&[("us", kind), ("them.local", kind)]), None);
        }
        let both = [(ALL_SERVICES, TYPE::PTR), ("_p2p._udp.local", TYPE::PTR)];
        assert_eq!(decode(&both), Some(Message::Question), "the rarer one last");
        assert_eq!(decode(&both[..1]), Some(Message::Services));
    }

    #[test]
    fn addresses_that_do_not_say_whose_they_are_are_ignored() {
        let service = service_name(None);
        let stranger: Multiaddr = "/ip4/1.2.3.4/tcp/1".parse().unwrap();
        let packets = encode_answers(&service, "abc", &[stranger, addr(1)], TTL);
        let Some(Message::Answer(found)) = decode(&packets[0], &service, US) else {
            panic!("no answer")
        };
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].addr, found[0].ttl), (&addr(1), TTL));
    }

    #[test]
    fn who_looks_for_a_host_finds_name_port_and_addresses() {
        let v6 = format!("/ip6/fd00::1/tcp/5/p2p/{PEER}").parse().unwrap();
        let packets = encode_answers("_p2p._udp.local", "abc", &[addr(1), v6, addr(1)], TTL);
        let packet = Packet::parse(&packets[0]).unwrap();
        let said: Vec<_> = packet.additional_records[1..]
            .iter()
            .map(|record| (record.name.to_string(), record.rdata.clone()))
            .collect();

        let [
            (service, RData::SRV(srv)),
            (host, RData::A(v4)),
            (again, RData::AAAA(v6)),
        ] = said.as_slice()
        else {
            panic!("{said:?}")
        };
        assert_eq!(service, "abc._p2p._udp.local");
        assert_eq!((srv.target.to_string(), srv.port), (host.clone(), 4001));
        assert_eq!((host.as_str(), again.as_str()), ("abc.local", "abc.local"));
        assert_eq!(v4.address, u32::from_be_bytes([10, 0, 0, 1]));
        assert_eq!(v6.address >> 112, 0xfd00);
    }

    proptest! {
        #[test]
        fn what_is_answered_is_found(count in 0usize..100, secs in 0u32..10_000) {
            let service = service_name(Some("00ff"));
            let addrs: Vec<_> = (0..count).map(addr).collect();
            let ttl = Duration::from_secs(secs.into());
            let mut found = Vec::new();
            for packet in encode_answers(&service, "abc", &addrs, ttl) {
                prop_assert!(packet.len() <= MAX_SENT);
                let Some(Message::Answer(some)) = decode(&packet, &service, US) else {
                    panic!("not an answer")
                };
                prop_assert!(some.iter().all(|one| one.ttl == ttl));
                found.extend(some.into_iter().map(|one| one.addr));
            }
            prop_assert_eq!(found, addrs);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes, "_p2p._udp.local", US);
        }

        #[test]
        fn damaged_answers_never_panic(at in 0usize..400, with in any::<u8>(), cut in 0usize..400) {
            let service = service_name(None);
            let mut bytes = encode_answers(&service, "abc", &[addr(1), addr(2)], TTL).remove(0);
            let len = bytes.len();
            bytes[at % len] = with;
            let _ = decode(&bytes, &service, US);
            let _ = decode(&bytes[..cut % len], &service, US);
        }
    }
}
