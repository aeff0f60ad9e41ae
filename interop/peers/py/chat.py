"""A chat with py-libp2p: every line of standard input goes out, what others write is shown.

python chat.py TOPIC ADDR: docs/chat.md
"""

import os
import sys

import multiaddr
import trio
from libp2p import new_host
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service


async def main(topic, addr):
    host = new_host()
    router = GossipSub(
        [PROTOCOL_ID_V12, PROTOCOL_ID_V11, PROTOCOL_ID], 6, 5, 12, heartbeat_interval=1
    )
    pubsub = Pubsub(host, router)
    async with host.run(listen_addrs=[]), background_trio_service(pubsub):
        await pubsub.wait_until_ready()
        async with background_trio_service(router), trio.open_nursery() as nursery:
            messages = await pubsub.subscribe(topic)
            await host.connect(info_from_p2p_addr(multiaddr.Multiaddr(addr)))
            while not pubsub.peer_topics.get(topic):
                await trio.sleep(0.05)
            print("joined", flush=True)
            nursery.start_soon(show, messages, host.get_id())
            await publish_lines(pubsub, topic)
    os._exit(0)


async def show(messages, own):
    while True:
        message = await messages.get()
        author = bytes(message.from_id)
        if author != own.to_bytes():
            name = type(own)(author).to_base58()[-8:]
            print(f"{name}: {message.data.decode(errors='replace')}", flush=True)


async def publish_lines(pubsub, topic):
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        await pubsub.publish(topic, line.rstrip("\n").encode())
    # What was published is still on its way.
    await trio.sleep(1)
    os._exit(0)


trio.run(main, *sys.argv[1:3])
