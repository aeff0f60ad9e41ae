"""The pubsub tests: both ends send a series of messages, the listener once it has the dialer's."""

import contextlib
import functools

import trio
from libp2p.pubsub import floodsub, gossipsub
from libp2p.pubsub import pubsub as library
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.tools.anyio_service import background_trio_service

TOPIC = "p2p-interop"
# Room for a whole series: what does not fit is lost.
library.SUBSCRIPTION_CHANNEL_SIZE = 2048
library.RpcQueue = functools.partial(RpcQueue, max_size=2048)
BURST = 500
# KiB, after the burst.
SIZES = [1, 8, 60, 300, 900]
COUNT = 1 + BURST + len(SIZES)
PATTERN = bytes(i % 251 for i in range(1024 * max(SIZES)))

# py-libp2p always writes author and sequence number: it has no anonymous messages.
FLAVOURS = {"gossip", "gossip-chain", "flood"}


def series(host, test, letter, event):
    """The series of a pubsub test; nothing for other tests."""
    return Series(host, test, letter, event) if test in FLAVOURS else None


@contextlib.asynccontextmanager
async def running(series):
    """Runs pubsub and subscribes, before anybody is connected."""
    if series is None:
        yield
        return
    async with background_trio_service(series.pubsub):
        await series.pubsub.wait_until_ready()
        if isinstance(series.pubsub.router, gossipsub.GossipSub):
            async with background_trio_service(series.pubsub.router):
                await series.subscribe()
                yield
        else:
            await series.subscribe()
            yield


def build_router(test):
    if test == "flood":
        return floodsub.FloodSub([floodsub.PROTOCOL_ID])
    protocols = [
        gossipsub.PROTOCOL_ID_V13,
        gossipsub.PROTOCOL_ID_V12,
        gossipsub.PROTOCOL_ID_V11,
        gossipsub.PROTOCOL_ID,
    ]
    # Without its limit of ten messages a second.
    return gossipsub.GossipSub(
        protocols, 6, 5, 12, heartbeat_interval=1, spam_protection_enabled=False
    )


class Series:
    def __init__(self, host, test, letter, event):
        self.letter = letter
        self.other = b"L" if letter == b"D" else b"D"
        self.event = event
        self.pubsub = Pubsub(host, build_router(test))
        self.messages = None

    async def subscribe(self):
        self.messages = await self.pubsub.subscribe(TOPIC)

    async def dial(self):
        """Reads while it writes: what we publish comes back to our own small buffer."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.receive)
            await self.send()

    async def listen(self):
        await self.receive()
        await self.send()

    async def send(self):
        while not self.pubsub.peer_topics.get(TOPIC):
            await trio.sleep(0.005)
        for index in range(COUNT):
            await self.pubsub.publish(TOPIC, payload(self.letter, index))
            await trio.sleep(0)

    async def receive(self):
        got = set()
        while len(got) < COUNT:
            data = bytes((await self.messages.get()).data)
            if data[:1] == self.letter:
                continue
            index = int.from_bytes(data[1:5], "big")
            if index >= COUNT or data != payload(self.other, index):
                raise ValueError(f"message {index} is wrong")
            if index in got:
                raise ValueError(f"message {index} came twice")
            got.add(index)
        spoken = sorted(set(self.pubsub.router.peer_protocol.values()))
        self.event("pubsub", {"received": len(got), "protocols": spoken})


def payload(letter, index):
    size = 64 if index == 0 else 1024 if index <= BURST else SIZES[index - BURST - 1] * 1024
    return letter + index.to_bytes(4, "big") + PATTERN[5:size]
