"""py-libp2p behind the interop command line (interop/README.md).

Prints one JSON object per line on standard output, logs on standard error, and leaves with
0 or 1. A listener serves until its standard input closes.
"""

import argparse
import json
import logging
import os
import ssl
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.abc import INotifee
from libp2p.crypto import ed25519, rsa, secp256k1
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.discovery.events.peerDiscovery import peerDiscovery
from libp2p.host import basic_host
from libp2p.identity.identify_push import identify_push
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import (
    PLAINTEXT_PROTOCOL_ID,
    InsecureTransport,
)
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_PROTOCOL_ID
from libp2p.security.tls.transport import TLSTransport
from libp2p.stream_muxer.mplex.mplex import MPLEX_PROTOCOL_ID, Mplex
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL_ID
from libp2p.stream_muxer.yamux.yamux import Yamux

import play
import protocols
import pubsub

# How long a dialer stays after identify, so that the remote can finish its own.
LINGER_SECONDS = 3

SECURITIES = {
    "noise": (
        NOISE_PROTOCOL_ID,
        lambda keys: NoiseTransport(
            keys, noise_privkey=create_new_x25519_key_pair().private_key
        ),
    ),
    "plaintext": (PLAINTEXT_PROTOCOL_ID, InsecureTransport),
    "tls": (TLS_PROTOCOL_ID, TLSTransport),
}
MUXERS = {"mplex": (MPLEX_PROTOCOL_ID, Mplex), "yamux": (YAMUX_PROTOCOL_ID, Yamux)}
# ECC keys can be made, but not written down, and so they have no id.
KEYS = {
    "ed25519": ed25519.create_new_key_pair,
    "rsa": rsa.create_new_key_pair,
    "secp256k1": secp256k1.create_new_key_pair,
}
NAMES = {
    str(protocol): name
    for table in (SECURITIES, MUXERS)
    for name, (protocol, _) in table.items()
}


class Unsupported(Exception):
    """py-libp2p does not have what was asked for."""


def main():
    options = command_line()
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("LOG_LEVEL", "ERROR"))
    try:
        trio.run(listen if options.command == "listen" else dial, options)
    except trio.TooSlowError:
        event("error", {"message": "deadline passed"})
        leave(1)
    except BaseException as error:
        fields = {"message": describe(error)}
        if isinstance(error, Unsupported):
            fields["unsupported"] = True
        logging.error("failed", exc_info=error)
        event("error", fields)
        leave(1)
    leave(0)


def leave(code):
    """Ends the program without waiting for the thread that reads standard input."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def command_line():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--transport", default="tcp")
    common.add_argument("--security", default="noise", help="several: comma between")
    common.add_argument("--muxer", default="yamux", help="several: comma between")
    common.add_argument("--test", default="ping", help="interop/README.md lists them")
    common.add_argument("--key", default="ed25519", help="|".join(KEYS))
    common.add_argument("--early", default="on", help="on|off")
    common.add_argument("--tls", default="", help="for wss: certificate, key, root")
    common.add_argument("--swarm-key", help="the key file of a private network")
    common.add_argument("--deadline", type=int, default=55, help="of a dialer, seconds")
    parser = argparse.ArgumentParser(prog="peer")
    commands = parser.add_subparsers(dest="command", required=True)
    listening = commands.add_parser("listen", parents=[common])
    listening.add_argument("--addr", default="/ip4/127.0.0.1/tcp/0")
    dialing = commands.add_parser("dial", parents=[common])
    dialing.add_argument("remote", help="an address; of the test mdns /p2p/ID alone")
    dialing.add_argument("--addr", default="/ip4/127.0.0.1/tcp/0", help="for mdns")
    return parser.parse_args()


def event(name, fields):
    """Prints one line for the runner."""
    print(json.dumps({"event": name, **fields}), flush=True)


def describe(error):
    """An error with what it groups or was caused by."""
    text = f"{type(error).__name__}: {error}"
    inner = getattr(error, "exceptions", None) or getattr(error, "errors", None)
    inner = inner or [error.__cause__ or error.__context__]
    return "; ".join([text] + [describe(it) for it in inner if it is not None])


def build_host(options, listen_addrs):
    """A host that offers exactly what the options name and reaches out to nobody."""
    if options.transport not in ("tcp", "quic", "ws", "wss"):
        raise Unsupported(f"py does not have transport {options.transport}")
    if options.test == "codes":
        raise Unsupported("py does not have stream error codes")
    if options.early == "off" and "plaintext" in options.security.split(","):
        raise Unsupported("py has no early muxer negotiation in plaintext")
    if options.key not in KEYS:
        raise Unsupported(f"py does not have key {options.key}")
    keys = KEYS[options.key]()
    if options.transport == "quic":
        # Secured and multiplexed by itself.
        return new_host(
            key_pair=keys,
            listen_addrs=listen_addrs,
            enable_quic=True,
            enable_mDNS=options.test == "mdns",
            disable_identify_address_discovery=True,
        )
    web = web_certificate(options) if options.transport == "wss" else {}
    # Always named: the default offers plaintext and secio beside the others.
    securities = {
        protocol: build(keys)
        for protocol, build in pick("security", SECURITIES, options.security)
    }
    return new_host(
        key_pair=keys,
        sec_opt=securities,
        muxer_opt=dict(pick("muxer", MUXERS, options.muxer)),
        listen_addrs=listen_addrs,
        enable_tcp=options.transport == "tcp",
        enable_websocket=options.transport != "tcp",
        enable_mDNS=options.test == "mdns",
        **web,
        disable_identify_address_discovery=True,
        psk=pre_shared_key(options.swarm_key),
    )


def pre_shared_key(path):
    """The key of a key file, in hexadecimal."""
    if path is None:
        return None
    with open(path) as file:
        return file.read().split()[2]


def web_certificate(options):
    """What a listener of wss shows, and what a dialer trusts."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(
        os.path.join(options.tls, "cert.pem"), os.path.join(options.tls, "key.pem")
    )
    client = ssl.create_default_context(cafile=os.path.join(options.tls, "ca.pem"))
    return {"tls_server_config": server, "tls_client_config": client}


def pick(kind, known, names):
    picked = []
    for name in names.split(","):
        if name not in known:
            raise Unsupported(f"py does not have {kind} {name}")
        picked.append(known[name])
    return picked


def watch_identify(seen):
    """Calls `seen` with what each identify told: the host keeps only part of it."""
    update_peerstore = basic_host.update_peerstore_from_identify

    async def update_and_tell(peerstore, peer_id, message, *more):
        await update_peerstore(peerstore, peer_id, message, *more)
        report_identify("identify", peer_id, message)
        seen(peer_id)

    basic_host.update_peerstore_from_identify = update_and_tell


def watch_pushes(seen):
    """Calls `seen` with the protocols of each push."""
    update_peerstore = identify_push.update_peerstore_from_identify

    async def update_and_tell(peerstore, peer_id, message, *more):
        await update_peerstore(peerstore, peer_id, message, *more)
        report_identify("push", peer_id, message)
        seen(list(message.protocols))

    identify_push.update_peerstore_from_identify = update_and_tell


def report_identify(name, peer_id, message):
    event(
        name,
        {
            "peer": str(peer_id),
            "agent": message.agent_version,
            "protocols": list(message.protocols),
            "addrs": [str(multiaddr.Multiaddr(it)) for it in message.listen_addrs],
            "observed": str(multiaddr.Multiaddr(message.observed_addr)),
            "signed": bool(message.signedPeerRecord),
        },
    )


def report_connection(connection):
    security = connection.get_negotiated_security_protocol()
    muxer = connection.get_negotiated_muxer_protocol()
    event(
        "connected",
        {
            "peer": str(connection.muxed_conn.peer_id),
            "security": NAMES.get(str(security), security),
            "muxer": NAMES.get(str(muxer), muxer),
        },
    )


class ReportConnections(INotifee):
    def __init__(self, tells_connected):
        self.tells_connected = tells_connected
        self.ends = 0

    async def connected(self, network, conn):
        if self.tells_connected:
            report_connection(conn)

    async def disconnected(self, network, conn):
        self.ends += 1
        event("disconnected", {"peer": str(conn.muxed_conn.peer_id)})

    async def opened_stream(self, network, stream):
        pass

    async def closed_stream(self, network, stream):
        pass

    async def listen(self, network, multiaddr):
        pass

    async def listen_close(self, network, multiaddr):
        pass


async def listen(options):
    addr = multiaddr.Multiaddr(options.addr)
    if options.test.startswith(("gossip", "flood")) and options.test not in pubsub.FLAVOURS:
        raise Unsupported(f"py does not have test {options.test}")
    host = build_host(options, [addr])
    watch_identify(lambda peer_id: None)
    watch_pushes(lambda protocols: None)
    reports = ReportConnections(tells_connected=True)
    host.get_network().register_notifee(reports)
    protocols.serve(host, event)
    play.serve(host, event, lambda: reports.ends)
    series = pubsub.series(host, options.test, b"L", event)
    async with host.run(listen_addrs=[addr]), pubsub.running(series):
        async with trio.open_nursery() as nursery:
            if series is not None:
                nursery.start_soon(series.listen)
            for listening in host.get_addrs():
                event("listening", {"addr": str(listening)})
            await stdin_closed()
            leave(0)


async def dial(options):
    started = time.monotonic()
    test = {**protocols.TESTS, **play.TESTS, "identify": test_identify}.get(options.test)
    is_pubsub = options.test in pubsub.FLAVOURS
    if test is None and not is_pubsub:
        raise Unsupported(f"py does not have test {options.test}")
    finds = options.test == "mdns"
    listen_addrs = [multiaddr.Multiaddr(options.addr)] if finds else []
    # Before the host: it listens to the network as soon as it is made.
    found = watch_discovery() if finds else None
    host = build_host(options, listen_addrs or None)
    session = protocols.Session(
        host=host,
        remote=None if finds else info_from_p2p_addr(multiaddr.Multiaddr(options.remote)),
        event=event,
        identified=trio.Event(),
        pushes=[],
        stdin_closed=stdin_closed,
    )
    watch_identify(lambda peer_id: session.identified.set())
    watch_pushes(session.pushes.append)
    reports = ReportConnections(tells_connected=False)
    host.get_network().register_notifee(reports)
    protocols.serve(host, event)
    play.serve(host, event, lambda: reports.ends)
    with trio.fail_after(options.deadline):
        series = pubsub.series(host, options.test, b"D", event)
        async with host.run(listen_addrs=listen_addrs), pubsub.running(series):
            if finds:
                session.remote = await find(found, options.remote)
            await host.connect(session.remote)
            for connection in host.get_network().get_connections(session.peer):
                report_connection(connection)
            if series is not None:
                await series.dial()
            else:
                await test(session)
            event("done", {"ms": millis(time.monotonic() - started)})
            await host.close()
            leave(0)


def watch_discovery():
    """Whom the local network tells of. The library calls from a thread of its own."""
    send, receive = trio.open_memory_channel(64)
    token = trio.lowlevel.current_trio_token()

    def keep(info):
        token.run_sync_soon(send.send_nowait, info)

    peerDiscovery.register_peer_discovered_handler(keep)
    return receive


async def find(found, addr):
    """The peer that `/p2p/ID` names, as soon as the local network tells where it is."""
    async for info in found:
        if addr == f"/p2p/{info.peer_id}":
            addrs = [str(it) for it in info.addrs]
            event("found", {"peer": str(info.peer_id), "addrs": addrs})
            return info


async def test_identify(session):
    await session.identified.wait()
    with trio.move_on_after(LINGER_SECONDS):
        await stdin_closed()


async def stdin_closed():
    """Returns when whoever started us closes our standard input, or dies."""
    await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)


def millis(seconds):
    return round(seconds * 1000, 3)


if __name__ == "__main__":
    main()
