"""Ping, echo and transfer: both sides, and the tests. Identify comes with the host."""

import dataclasses
import logging
import secrets
import time
from collections.abc import Callable

import trio

from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import PeerInfo

ECHO = TProtocol("/p2p-interop/echo/1.0.0")
PERF = TProtocol("/perf/1.0.0")

PINGS = 5
ECHO_ROUNDS = 2
ECHO_BYTES = 100_000
TRANSFER_BYTES = 5_000_000
BLOCK = 64 * 1024
SIZE_BYTES = 8
# Byte i of a transfer is i modulo this: a lost, doubled or moved piece shows.
PATTERN_MODULUS = 251
PATTERN = bytes(range(PATTERN_MODULUS)) * (BLOCK // PATTERN_MODULUS + 2)


@dataclasses.dataclass
class Session:
    """What a test works with."""

    host: IHost
    remote: PeerInfo
    event: Callable
    identified: trio.Event
    # The protocols of each identify push so far.
    pushes: list
    stdin_closed: Callable

    @property
    def peer(self):
        return self.remote.peer_id

    async def open(self, protocol):
        return await self.host.new_stream(self.peer, [protocol])


def serve(host, event):
    """Answers what the tests ask for."""

    async def transfer(stream):
        await serve_transfer(stream, event)

    host.set_stream_handler(ECHO, guarded("echo", serve_echo))
    host.set_stream_handler(PERF, guarded("transfer", transfer))


def guarded(name, handler):
    async def handle(stream):
        try:
            await handler(stream)
        except Exception:
            logging.exception("serving %s", name)
            await stream.reset()

    return handle


async def serve_echo(stream):
    while chunk := await read_some(stream):
        await stream.write(chunk)
    await stream.close()


async def serve_transfer(stream, event):
    size = b""
    while len(size) < SIZE_BYTES:
        chunk = await read_some(stream, SIZE_BYTES - len(size))
        if not chunk:
            raise ValueError(f"ended within the size, after {len(size)} bytes")
        size += chunk
    event("transfer", {"received": await read_pattern(stream)})
    await write_pattern(stream, int.from_bytes(size, "big"))
    await stream.close()


async def test_ping(session):
    rtts = await PingService(session.host).ping(session.peer, ping_amt=PINGS)
    session.event("ping", {"rtts_ms": rtts})


async def test_echo(session):
    started = time.monotonic()
    for round_number in range(1, ECHO_ROUNDS + 1):
        try:
            await echo_once(session)
        except Exception as error:
            raise RuntimeError(f"echo: round {round_number}") from error
    elapsed = time.monotonic() - started
    session.event(
        "echo", {"rounds": ECHO_ROUNDS, "bytes": ECHO_BYTES, "ms": millis(elapsed)}
    )


async def echo_once(session, size=ECHO_BYTES):
    await echo_on(await session.open(ECHO), size)


async def echo_on(stream, size):
    """Reads only once all is written: a read of py's mplex that waits holds up every write."""
    sent = secrets.token_bytes(size)
    await stream.write(sent)
    await stream.close_write()
    got = bytearray()
    while chunk := await read_some(stream):
        got += chunk
    if got != sent:
        raise ValueError(f"sent {len(sent)} bytes, got {len(got)} others back")


async def test_transfer(session):
    up, down = await exchange(session, TRANSFER_BYTES, TRANSFER_BYTES)
    session.event(
        "transfer",
        {
            "sent": TRANSFER_BYTES,
            "received": TRANSFER_BYTES,
            "up_ms": millis(up),
            "down_ms": millis(down),
        },
    )


async def exchange(session, upload, download):
    """One run of /perf/1.0.0; returns how long each way took."""
    stream = await session.open(PERF)
    started = time.monotonic()
    await stream.write(download.to_bytes(SIZE_BYTES, "big"))
    await write_pattern(stream, upload)
    await stream.close_write()
    uploaded = time.monotonic()
    received = await read_pattern(stream)
    if received != download:
        raise ValueError(f"asked for {download} bytes, got {received}")
    return uploaded - started, time.monotonic() - uploaded


TESTS = {
    "ping": test_ping,
    "mdns": test_ping,  # once found
    "echo": test_echo,
    "transfer": test_transfer,
}


async def read_some(stream, limit=BLOCK):
    """The next bytes; none at the end."""
    try:
        return await stream.read(limit)
    except StreamEOF:
        return b""


async def write_pattern(stream, total):
    sent = 0
    while sent < total:
        start, length = sent % PATTERN_MODULUS, min(BLOCK, total - sent)
        await stream.write(PATTERN[start : start + length])
        sent += length


async def read_pattern(stream):
    """Reads to the end and returns how many bytes came."""
    received = 0
    while chunk := await read_some(stream):
        start = received % PATTERN_MODULUS
        if chunk != PATTERN[start : start + len(chunk)]:
            raise ValueError(f"wrong bytes between {received} and {received + len(chunk)}")
        received += len(chunk)
    return received


def millis(seconds):
    return round(seconds * 1000, 3)
