/**
 * Runs in the browser: dials the address behind the `#` of the page's own, pings, asks for
 * identify and has 100 kB echoed; posts what it saw to where it came from.
 */
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const ECHO = '/p2p-interop/echo/1.0.0'
const BYTES = 100_000

async function talk (addr) {
  const node = await createLibp2p({
    addresses: { listen: [] },
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // In a browser the default denies loopback and what is not TLS.
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), ping: ping() }
  })
  const identified = new Promise(resolve => node.addEventListener('peer:identify', resolve, { once: true }))
  const connection = await node.dial(multiaddr(addr))
  const rtt = await node.services.ping.ping(connection.remotePeer)
  const { detail } = await identified
  const echoed = await echo(connection)
  const saw = {
    peer: connection.remotePeer.toString(),
    security: connection.encryption,
    muxer: connection.multiplexer,
    agent: detail.agentVersion,
    protocols: detail.protocols,
    rtt,
    echoed
  }
  await node.stop()
  return saw
}

/** How many bytes came back as they were sent. */
async function echo (connection) {
  const sent = Uint8Array.from({ length: BYTES }, (_, i) => i % 251)
  const stream = await connection.newStream(ECHO)
  let same = 0
  const receive = (async () => {
    for await (const chunk of stream) {
      for (const byte of chunk.subarray()) {
        if (byte !== sent[same]) {
          throw new Error(`byte ${same} differs`)
        }
        same++
      }
    }
  })()
  for (let at = 0; at < BYTES; at += 10_000) {
    if (!stream.send(sent.subarray(at, at + 10_000))) {
      await stream.onDrain()
    }
  }
  await stream.close()
  await receive
  return same
}

const post = outcome => fetch('/outcome', { method: 'POST', body: JSON.stringify(outcome) })

talk(location.hash.slice(1)).then(
  saw => post({ saw }),
  error => post({ error: `${error.stack ?? error}` })
)
