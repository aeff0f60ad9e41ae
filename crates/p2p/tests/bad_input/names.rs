//! Names that lead nowhere, asked of a name server that the test plays.

use std::future::poll_fn;

use p2p::core::Datagram;
use p2p::{HostBuilder, dns};

use crate::{World, plain, same};

/// What the server says to a question.
#[derive(Clone, Copy)]
enum Says {
    /// There is no such name.
    NoName,
    /// There is, and nothing of that kind.
    Nothing,
    /// That it will not tell.
    Refused,
    /// No word.
    Silence,
    /// A record of text.
    Text(&'static str),
}

/// Starts a name server far away, and a host that asks it.
fn asking(world: &World, says: Says) -> HostBuilder {
    asking_often(world, says, 1)
}

/// The same; the host takes it for so many servers.
fn asking_often(world: &World, says: Says, servers: usize) -> HostBuilder {
    let udp = world.far.rt().net().udp_bind(world.far.socket(53)).unwrap();
    world.far.spawn("names", async move {
        let mut buffer = [0; 512];
        loop {
            let received = poll_fn(|cx| udp.poll_recv(cx, &mut buffer)).await.unwrap();
            let Some(reply) = reply(&buffer[..received.len], says) else {
                continue;
            };
            let datagram = Datagram::new(received.from, &reply);
            poll_fn(|cx| udp.poll_send(cx, &datagram)).await.unwrap();
        }
    });
    let mut config = dns::Config::default();
    config.servers = vec![world.far.socket(53); servers];
    plain().dns(Some(config))
}

/// RFC 1035: a header of 12 bytes, the question as it came up to its end, and at most one record.
fn reply(question: &[u8], says: Says) -> Option<Vec<u8>> {
    let name = question[12..].iter().position(|byte| *byte == 0)?;
    let asked = &question[12..12 + name + 5];
    let (code, text) = match says {
        Says::NoName => (3, None),
        Says::Nothing => (0, None),
        Says::Refused => (5, None),
        Says::Silence => return None,
        Says::Text(text) => (0, Some(text)),
    };
    let answers = u8::from(text.is_some());
    let mut reply = vec![
        question[0],
        question[1],
        0x81,
        0x80 | code,
        0,
        1,
        0,
        answers,
        0,
        0,
        0,
        0,
    ];
    reply.extend_from_slice(asked);
    if let Some(text) = text {
        let len = u8::try_from(text.len()).unwrap();
        // The name above, TXT, IN, an hour.
        reply.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 14, 16, 0, len + 1, len]);
        reply.extend_from_slice(text.as_bytes());
    }
    Some(reply)
}

fn lead_nowhere(to: &str, says: Says, took: &str, expected: &str) {
    let world = World::new();
    let near = asking(&world, says);
    let text = world.fail(near, to);
    let expected = format!("transport failed after {took}: cannot connect to {to}: {expected}");
    same(&text, to, &expected);
}

#[test]
fn a_name_that_does_not_exist_is_named_on_every_road() {
    for to in [
        "/dns4/nobody.test/tcp/4001",
        "/dns/nobody.test/tcp/443/tls/ws",
        "/dns6/nobody.test/tcp/80/ws",
    ] {
        lead_nowhere(to, Says::NoName, "20.0ms", "nobody.test does not exist");
    }
    let to = "/dnsaddr/nobody.test";
    let expected = "_dnsaddr.nobody.test does not exist";
    lead_nowhere(to, Says::NoName, "20.0ms", expected);
}

#[test]
fn a_name_without_an_address_says_what_it_lacks() {
    for (to, lacks) in [
        (
            "/dns4/empty.test/tcp/4001",
            "empty.test has no IPv4 address",
        ),
        (
            "/dns6/empty.test/tcp/4001",
            "empty.test has no IPv6 address",
        ),
        ("/dns/empty.test/tcp/4001", "empty.test has no address"),
        (
            "/dnsaddr/empty.test",
            "_dnsaddr.empty.test has no dnsaddr record",
        ),
    ] {
        lead_nowhere(to, Says::Nothing, "20.0ms", lacks);
    }
}

#[test]
fn a_name_that_leads_in_a_circle_is_told_from_one_that_leads_too_far() {
    let to = "/dnsaddr/loop.test";
    let says = Says::Text("dnsaddr=/dnsaddr/loop.test");
    let expected =
        "loop.test leads in a circle: its records come back to names that were asked before";
    lead_nowhere(to, says, "20.0ms", expected);
}

#[test]
fn a_name_server_that_refuses_or_is_silent_is_named() {
    let to = "/dns4/far.test/tcp/4001";
    let refused =
        "name server 10.0.0.2:53 has no answer for far.test: it refuses to answer (REFUSED)";
    lead_nowhere(to, Says::Refused, "40.0ms", refused);
    let silent = "no name server answered for far.test (1 asked; setting: timeout)";
    lead_nowhere(to, Says::Silence, "4.0s", silent);
}

#[test]
fn name_servers_that_are_all_silent_cost_less_than_the_dial_may_take() {
    let world = World::new();
    let near = asking_often(&world, Says::Silence, 3);
    let to = "/dns4/far.test/tcp/4001";
    let text = world.fail(near, to);
    let expected = "transport failed after 5.0s: cannot connect to /dns4/far.test/tcp/4001: looking up \
                    far.test took longer than 5s (setting: patience)";
    same(&text, to, expected);
}

#[test]
fn a_name_that_leads_to_a_closed_port_shows_the_address_behind_it() {
    let world = World::new();
    let near = asking(&world, Says::Text("dnsaddr=/ip4/10.0.0.2/tcp/4001"));
    let text = world.fail(near, "/dnsaddr/far.test");
    let expected = "transport failed after 40.0ms: cannot connect to /ip4/10.0.0.2/tcp/4001: nobody \
                    listens there";
    same(&text, "/dnsaddr/far.test", expected);
}
