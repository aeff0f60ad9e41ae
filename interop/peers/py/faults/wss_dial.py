"""py-libp2p 0.8.1 cannot dial WebSocket on TLS. Prints the error that its host hides."""

import trio
from libp2p.transport.websocket.transport import WebsocketTransport
from multiaddr import Multiaddr


async def main():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, trio.aclose_forcefully, 0)
        port = listeners[0].socket.getsockname()[1]
        try:
            # The listener closes what it accepts; it does not come to that.
            addr = Multiaddr(f"/ip4/127.0.0.1/tcp/{port}/tls/ws")
            await WebsocketTransport(None).dial(addr)
        except Exception as error:
            print(error)
        nursery.cancel_scope.cancel()


trio.run(main)
