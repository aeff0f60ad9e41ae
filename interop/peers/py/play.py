"""The tests of streams and connections, and `play`, where the first byte says what to do."""

import os
import time

import trio
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify_push.identify_push import push_identify_to_peers
from libp2p.network.stream.exceptions import StreamReset

from protocols import (
    ECHO,
    ECHO_BYTES,
    PERF,
    SIZE_BYTES,
    echo_on,
    echo_once,
    exchange,
    guarded,
    millis,
    read_pattern,
    read_some,
    write_pattern,
)

PLAY = TProtocol("/p2p-interop/play/1.0.0")
ADDED = TProtocol("/p2p-interop/added/1.0.0")

SAID = 1000
STREAMS = 200
STREAM_BYTES = 100
SLOW_BYTES = 2_000_000
FAST = 8
BIG_BYTES = 50_000_000
MINUTE = 60
IDLE_SECONDS = 120
# How long an end of a connection, or a push, may take.
NOTICE_SECONDS = 20
# How long the disappearance of a process may take over QUIC, where only silence tells of it.
SILENCE_SECONDS = 50
DISAPPEARANCE = "their disappearance"
# Connections that have ended before `x` ends the program.
ENDS_BEFORE_EXIT = 2


def serve(host, event, ends):
    """Does what the first byte of a stream says; interop/README.md lists the bytes."""

    async def play(stream):
        command = await read_exactly(stream, 1)
        match command:
            case b"a":
                event("ended", {"order": "a", "received": await read_pattern(stream)})
                await write_pattern(stream, SAID)
                await stream.close()
            case b"f":
                await end_first(stream, command, SAID)
            case b"n":
                await end_first(stream, command, 0)
            case b"w":
                await stream.write(command)
                event("reset", await saw(stream))
            case b"r":
                await read_exactly(stream, 4)
                await stream.reset()
            case b"p":
                await add_protocol(host)
                await stream.close()
            case b"q":
                await host.get_network().close_peer(stream.muxed_conn.peer_id)
            case b"x":
                with trio.move_on_after(NOTICE_SECONDS / 2):
                    await until(lambda: ends() >= ENDS_BEFORE_EXIT)
                os._exit(0)
            case _:
                raise ValueError(f"no such play: {command}")

    async def end_first(stream, command, size):
        await write_pattern(stream, size)
        await stream.close_write()
        received = await read_pattern(stream)
        event("ended", {"order": command.decode(), "received": received})

    host.set_stream_handler(PLAY, guarded("play", play))


async def read_exactly(stream, size):
    got = b""
    while len(got) < size:
        chunk = await read_some(stream, size - len(got))
        if not chunk:
            raise ValueError(f"ended after {len(got)} of {size} bytes")
        got += chunk
    return got


async def saw(stream):
    """How a stream ended that should have been reset."""
    try:
        while await read_some(stream):
            pass
        return {"saw": "end"}
    except StreamReset:
        return {"saw": "reset"}
    except Exception as error:
        return {"saw": f"{type(error).__name__}: {error}"}


async def add_protocol(host):
    async def serve_added(stream):
        await stream.close()

    host.set_stream_handler(ADDED, serve_added)
    # The library tells nobody by itself.
    await push_identify_to_peers(host)


async def until(condition):
    """Waits for something that has no event of its own."""
    while not condition():
        await trio.sleep(0.01)


async def play_stream(session, command):
    """A stream on which the other end was told what to do."""
    stream = await session.open(PLAY)
    await stream.write(command)
    return stream


async def test_orders(session):
    """Half-closes in every order, one stream each."""
    started = time.monotonic()
    fields = {}
    for name, run in [
        ("after", lambda: we_first(session, b"a")),
        # Both write before they read: py's mplex cannot do both at once.
        ("both", lambda: we_first(session, b"f")),
        ("first", lambda: they_first(session, b"f")),
        ("nothing", lambda: they_first(session, b"n")),
        ("empty", lambda: empty(session)),
    ]:
        try:
            fields[name] = await run()
        except Exception as error:
            raise RuntimeError(f"orders: {name}") from error
    session.event("orders", {**fields, "ms": millis(time.monotonic() - started)})


async def we_first(session, command):
    stream = await play_stream(session, command)
    await write_pattern(stream, SAID)
    await stream.close_write()
    return await read_pattern(stream)


async def they_first(session, command):
    stream = await play_stream(session, command)
    received = await read_pattern(stream)
    await write_pattern(stream, SAID)
    await stream.close_write()
    return received


async def empty(session):
    stream = await session.open(ECHO)
    await stream.close_write()
    return await read_pattern(stream)


async def test_reset(session):
    """A reset from either side, and a sign of life after."""
    ours = await play_stream(session, b"w")
    await read_exactly(ours, 1)
    await ours.reset()
    theirs = await play_stream(session, b"r\0\0\0\0")
    fields = await saw(theirs)
    await echo_once(session, STREAM_BYTES)
    session.event("reset", fields)


async def test_streams(session):
    started = time.monotonic()
    streams = [await session.open(ECHO) for _ in range(STREAMS)]
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(echo_on, stream, STREAM_BYTES)
    elapsed = time.monotonic() - started
    session.event("streams", {"streams": STREAMS, "ms": millis(elapsed)})


async def test_slow(session):
    """Asks for a download and reads it only after the echoes beside it."""
    slow = await session.open(PERF)
    await slow.write(SLOW_BYTES.to_bytes(SIZE_BYTES, "big"))
    await slow.close_write()
    started = time.monotonic()
    for _ in range(FAST):
        await echo_once(session)
    fields = {"fast": FAST, "fast_ms": millis(time.monotonic() - started), "slow": 0}
    try:
        fields |= {"slow": await read_pattern(slow), "saw": "end"}
    except StreamReset:
        fields["saw"] = "reset"
    session.event("slow", fields)


async def test_big(session):
    up, _ = await exchange(session, BIG_BYTES, 0)
    _, down = await exchange(session, 0, BIG_BYTES)
    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange, session, BIG_BYTES, 0)
        nursery.start_soon(exchange, session, 0, BIG_BYTES)
    fields = {"up": BIG_BYTES, "down": BIG_BYTES, "both": 2 * BIG_BYTES}
    fields |= {"up_ms": millis(up), "down_ms": millis(down)}
    session.event("big", {**fields, "both_ms": millis(time.monotonic() - started)})


async def test_close(session):
    """They close, then we do, then they are gone without a word."""
    await play_stream(session, b"q")
    await gone(session, "their close")
    await session.host.connect(session.remote)
    # Before it the other end may not know of the connection yet.
    await echo_once(session, STREAM_BYTES)
    await session.host.get_network().close_peer(session.peer)
    await gone(session, "our close")
    await session.host.connect(session.remote)
    await play_stream(session, b"x")
    await gone(session, DISAPPEARANCE)
    session.event("close", {"ends": 3})


async def gone(session, what):
    network = session.host.get_network()
    silent = what == DISAPPEARANCE and "/quic" in str(session.remote.addrs[0])
    with trio.move_on_after(SILENCE_SECONDS if silent else NOTICE_SECONDS):
        await until(lambda: not network.get_connections(session.peer))
        return
    raise RuntimeError(f"{what} was not noticed")


async def test_push(session):
    """They add a protocol and tell us, then the other way round."""
    await session.identified.wait()
    stream = await play_stream(session, b"p")
    await read_pattern(stream)
    with trio.fail_after(NOTICE_SECONDS):
        await until(lambda: any(ADDED in it for it in session.pushes))
    await add_protocol(session.host)
    with trio.move_on_after(NOTICE_SECONDS):
        await session.stdin_closed()


async def test_minute(session):
    ping = PingService(session.host)
    worst = 0
    for _ in range(MINUTE):
        worst = max(worst, *(await ping.ping(session.peer)))
        await trio.sleep(1)
    session.event("minute", {"pings": MINUTE, "worst_ms": worst})


async def test_idle(session):
    network = session.host.get_network()
    before = network.get_connections(session.peer)
    await trio.sleep(IDLE_SECONDS)
    if not before or before != network.get_connections(session.peer):
        raise RuntimeError("idle: the connection ended meanwhile")
    started = time.monotonic()
    await echo_once(session)
    fields = {"idle_s": IDLE_SECONDS, "bytes": ECHO_BYTES}
    session.event("idle", {**fields, "ms": millis(time.monotonic() - started)})


TESTS = {
    "big": test_big,
    "close": test_close,
    "idle": test_idle,
    "minute": test_minute,
    "orders": test_orders,
    "push": test_push,
    "reset": test_reset,
    "slow": test_slow,
    "streams": test_streams,
}
