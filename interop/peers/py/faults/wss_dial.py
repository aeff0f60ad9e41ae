"""py-libp2p 0.8.1 cannot dial WebSocket on TLS. Prints what its host hides, and leaves with 1.

The host adds the peer id to an address, and with it the transport does not know the address any
more; without it, the dial reads a field that is never set.
"""

import sys

import trio
from libp2p.transport.websocket.transport import WebsocketTransport
from multiaddr import Multiaddr


PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


async def main():
    faults = []
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, trio.aclose_forcefully, 0)
        port = listeners[0].socket.getsockname()[1]
        try:
            # The listener closes what it accepts; it does not come to that.
            addr = Multiaddr(f"/ip4/127.0.0.1/tcp/{port}/tls/ws")
            await WebsocketTransport(None).dial(addr)
        except Exception as error:
            faults.append(str(error))
        try:
            await WebsocketTransport(None).dial(Multiaddr(f"{addr}/p2p/{PEER}"))
        except Exception as error:
            faults.append(str(error))
        nursery.cancel_scope.cancel()
    print("\n".join(faults) or "both were dialed")
    sys.exit(bool(faults))


trio.run(main)
