// A fault of @libp2p/noise 17.0.3: two ends with different orders of muxers never agree.
//
// src/noise.ts, getStreamMuxer: each end takes the first muxer of the other end's list that it has
// itself. The specification lets the dialer's order decide at both ends. With the same order at both
// it makes no difference, which is why nobody notices.
//
// Run beside the installed packages; prints what happened and leaves with 1 if the fault is there.

import { mplex } from '@libp2p/mplex'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

const node = async (streamMuxers, listen) => createLibp2p({
  addresses: { listen },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  connectionMonitor: { enabled: false },
  streamMuxers
})

const listener = await node([yamux(), mplex()], ['/ip4/127.0.0.1/tcp/0'])
const dialer = await node([mplex(), yamux()], [])
const accepted = new Promise(resolve => {
  listener.addEventListener('connection:open', ({ detail }) => resolve(detail), { once: true })
})
const dialed = await dialer.dial(listener.getMultiaddrs())
const { multiplexer } = await accepted
console.log(`the dialer speaks ${dialed.multiplexer}, the listener ${multiplexer}`)
process.exit(dialed.multiplexer === multiplexer ? 0 : 1)
